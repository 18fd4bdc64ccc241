"""The first step of all experiments: run the models and the trainings that notebooks need."""

from collections.abc import Sequence
from functools import partial
from operator import attrgetter
from types import ModuleType

from pidlib._common import single_thread, unknown_name
from pidlib.experiments.draw import names, notebook_module
from pidlib.experiments.extractions import Query, Request, check_names, extract_missing
from pidlib.experiments.preset import Preset
from pidlib.experiments.processes import Task
from pidlib.experiments.reweighting.outcomes import load_committed, made_here, outcome
from pidlib.experiments.reweighting.plan import all_trainings
from pidlib.experiments.reweighting.settings import TrainingSpec
from pidlib.experiments.validation import fig_coverage


def modules_with(function: str) -> list[ModuleType]:
    """The modules of notebooks that have a function of this name."""
    return [module for module in map(notebook_module, names()) if hasattr(module, function)]


def all_requests(preset: Preset) -> list[Request]:
    """The requests of all notebooks."""
    return [each for module in modules_with("requests") for each in module.requests(preset)]


def queries(
    preset: Preset, models: Sequence[str] = (), *, strict: bool = True
) -> dict[str, list[tuple[str, Query]]]:
    """The different queries of all notebooks to each model, or to some, with their benchmarks.

    Raises a ValueError for an unknown model, and if ``strict`` one for all names without a commit.
    """
    by_model: dict[str, dict[tuple[str, Query], None]] = {}
    for request in all_requests(preset):
        for model in request.models:
            pairs = [(name, query) for name in request.benchmarks for query in request.queries]
            by_model.setdefault(model, {}).update(dict.fromkeys(pairs))
    for model in models:
        if model not in by_model:
            raise ValueError(unknown_name(f"model of preset {preset.name}", model, by_model))
    chosen = {model: list(by_model[model]) for model in models or by_model}
    if strict:
        names = dict.fromkeys(name for pairs in chosen.values() for name, _ in pairs)
        check_names(preset, list(chosen), list(names))
    return chosen


def extract_tasks(preset: Preset, models: Sequence[str] = ()) -> list[Task]:
    """All extractions and trainings of a preset, or those of some models; the longest first."""
    asked = queries(preset, models)
    tasks = [
        Task(module.__name__, preset.fusion_tower, partial(module.prepare, preset))
        for module in modules_with("prepare")
    ]
    if not models or set(models) & set(preset.bases):
        known = set(load_committed()["fingerprint"])
        tasks += training_tasks(preset, made_here(preset, all_trainings(preset), known))
    for model, pairs in asked.items():
        for name, query in pairs:
            tasks.append(Task(model, model, partial(extract_missing, preset, query, model, name)))
    return [task for task in tasks if not models or task.model in models]


def training_tasks(preset: Preset, specs: Sequence[TrainingSpec]) -> list[Task]:
    """Trainings; those of a group share scores."""
    parts = attrgetter("base", "trained_on", "seed")
    return [
        Task("{} on {}, seed {}".format(*parts(spec)), spec.base, partial(_train, preset, spec))
        for spec in sorted(specs, key=parts)
    ]


def coverage_tasks(preset: Preset) -> list[Task]:
    """The cells of the coverage study."""
    return [
        Task(f"{cell.kind} {cell.law} {cell.n_samples}", "", partial(_measure, preset, cell))
        for cell in fig_coverage.plan(preset)
    ]


def _train(preset: Preset, spec: TrainingSpec) -> None:
    with single_thread():
        outcome(preset, spec)


def _measure(preset: Preset, cell: fig_coverage.Cell) -> None:
    with single_thread():
        fig_coverage.measure_cell(preset, cell)
