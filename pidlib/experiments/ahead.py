"""The first step of all experiments: run the models and the trainings that notebooks need."""

from collections.abc import Sequence
from functools import partial
from itertools import product
from operator import attrgetter

from pidlib._common import single_thread, unknown_name
from pidlib.experiments.draw import names, notebook_module
from pidlib.experiments.extractions import Queries, Query, Request, check_names, extract_missing
from pidlib.experiments.preset import Preset
from pidlib.experiments.processes import Task
from pidlib.experiments.reweighting.outcomes import load_committed, made_here, outcome
from pidlib.experiments.reweighting.plan import all_conditions, all_trainings
from pidlib.experiments.reweighting.settings import TrainingSpec
from pidlib.experiments.validation import fig_coverage
from pidlib.experiments.vision_language import fig_fusion


def all_requests(preset: Preset) -> list[Request]:
    """The requests of all notebooks."""
    modules = map(notebook_module, names(preset.experiment))
    return [r for each in modules if hasattr(each, "requests") for r in each.requests(preset)]


def queries(preset: Preset, models: Sequence[str] = (), strict: bool = True) -> Queries:
    """The different queries of all notebooks to each model, or to some, with their benchmarks.

    Raises a ValueError for an unknown model, and if ``strict`` one for all names without a commit.
    """
    by_model: dict[str, dict[tuple[str, Query], None]] = {}
    for request in all_requests(preset):
        pairs = dict.fromkeys(product(request.benchmarks, request.queries))
        for model in request.models:
            by_model.setdefault(model, {}).update(pairs)
    if unknown := [model for model in models if model not in by_model]:
        raise ValueError(unknown_name(f"model of preset {preset.name}", unknown[0], by_model))
    chosen = {model: list(by_model[model]) for model in models or by_model}
    if strict:
        names = dict.fromkeys(name for pairs in chosen.values() for name, _ in pairs)
        trained = Request(preset.bases, preset.base_benchmarks, ())
        is_trained = not models or set(models) & set(preset.bases)
        check_names(preset, [Request(list(chosen), list(names), ())] + [trained] * bool(is_trained))
    return chosen


def extract_tasks(preset: Preset, models: Sequence[str] = ()) -> list[Task]:
    """All extractions and trainings of a preset, or those of some models; the longest first."""
    asked, own = queries(preset, models), preset.experiment  # whose trainings are those of table 3
    tasks = [Task("fusion", preset.fusion_tower, partial(fig_fusion.prepare, preset))] * (not own)
    if not models or set(models) & set(preset.bases):
        known = set(load_committed()["fingerprint"])
        needed = all_conditions(preset) if own else all_trainings(preset)
        tasks += training_tasks(preset, made_here(preset, needed, known))
    for model, pairs in asked.items():
        run = partial(extract_missing, preset, model)
        tasks += [Task(model, model, partial(run, *pair)) for pair in pairs]
    return [task for task in tasks if not models or task.model in models]


def training_tasks(preset: Preset, specs: Sequence[TrainingSpec]) -> list[Task]:
    """Trainings, on one thread as batches are small; those of a group share scores."""
    parts, run = attrgetter("base", "trained_on", "seed"), partial(single_thread()(outcome), preset)
    named = (("{} on {}, seed {}".format(*parts(spec)), spec) for spec in sorted(specs, key=parts))
    return [Task(name, spec.base, partial(run, spec)) for name, spec in named]


def coverage_tasks(preset: Preset) -> list[Task]:
    """The cells of the coverage study."""
    cells, run = fig_coverage.plan(preset), single_thread()(fig_coverage.measure_cell)
    return [Task("{} {} {}".format(*cell), "", partial(run, preset, cell)) for cell in cells]
