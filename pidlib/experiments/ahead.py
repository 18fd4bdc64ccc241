"""The first step of all experiments: run the models and the trainings that notebooks need.

The functions are not in ``__main__``, where worker processes could not import them.
"""

from functools import partial
from types import ModuleType

from tqdm import tqdm

from pidlib.experiments.draw import names, notebook_module
from pidlib.experiments.extractions import Query, Request, check_names, extractions
from pidlib.experiments.preset import Preset
from pidlib.experiments.processes import run_all
from pidlib.experiments.reweighting import outcomes


def modules_with(function: str) -> list[ModuleType]:
    """The modules of notebooks that have a function of this name."""
    return [module for module in map(notebook_module, names()) if hasattr(module, function)]


def all_requests(preset: Preset) -> list[Request]:
    """The requests of all notebooks."""
    return [each for module in modules_with("requests") for each in module.requests(preset)]


def extract_model(preset: Preset, model: str, progress: bool = False) -> int:
    """Answer all requests to one model; return the number of samples."""
    queries: dict[tuple[str, ...], dict[Query, None]] = {}
    for request in all_requests(preset):
        if model in request.models:
            queries.setdefault(tuple(request.benchmarks), {}).update(dict.fromkeys(request.queries))
    count = 0
    for benchmarks, distinct in queries.items():
        request = Request([model], benchmarks, tuple(distinct))
        for answers in extractions(preset, request, progress=progress):
            count += sum(len(answer.extraction) for answer in answers)
    return count


def run(preset: Preset, jobs: int = 1) -> None:
    """Answer all requests and run all preparations, `jobs` processes at a time."""
    requests = all_requests(preset)
    check_names(preset, requests)
    models = list(dict.fromkeys(name for each in requests for name in each.models))
    # first the longest: no core should be left alone with it at the end
    tasks = [partial(module.prepare, preset) for module in modules_with("prepare")]
    tasks += [partial(extract_model, preset, model, progress=jobs == 1) for model in models]
    counts = tqdm(run_all(tasks, jobs), "models and trainings", len(tasks))
    count = sum(filter(None, counts))  # preparations of a notebook return None
    tqdm.write(f"{len(models)} models answered {count:,} questions; cached in {preset.cache}")
    tqdm.write(outcomes.rerun(preset, jobs))
