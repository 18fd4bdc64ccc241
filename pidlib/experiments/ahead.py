"""The first step of all experiments: run the models and the trainings that notebooks need.

The functions are not in ``__main__``, where worker processes could not import them.
"""

from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context

from tqdm import tqdm

from pidlib.experiments.draw import names, notebook_module
from pidlib.experiments.extractions import Query, Request, extractions
from pidlib.experiments.preset import Preset


def all_requests(preset: Preset) -> list[Request]:
    """The requests of all notebooks."""
    return [
        request
        for module in map(notebook_module, names())
        if hasattr(module, "requests")
        for request in module.requests(preset)
    ]


def extract_model(preset: Preset, model: str, progress: bool = False) -> int:
    """Answer all requests to one model and run its preparations; return the number of samples."""
    queries: dict[tuple[str, ...], dict[Query, None]] = {}
    for request in all_requests(preset):
        if model in request.models:
            queries.setdefault(tuple(request.benchmarks), {}).update(dict.fromkeys(request.queries))
    count = sum(
        len(answer.extraction)
        for benchmarks, distinct in queries.items()
        for answers in extractions(
            preset, Request([model], benchmarks, tuple(distinct)), progress=progress
        )
        for answer in answers
    )
    for module in map(notebook_module, names()):
        if hasattr(module, "prepare_model"):
            count += module.prepare_model(preset, model)
    return count


def prepare(preset: Preset, name: str) -> str:
    """Run what a notebook prepares besides extractions, such as trainings."""
    notebook_module(name).prepare(preset)
    return name


def run(preset: Preset, jobs: int = 1) -> None:
    """Answer all requests and run all preparations, `jobs` processes at a time."""
    models = list(dict.fromkeys(name for each in all_requests(preset) for name in each.models))
    prepared = [name for name in names() if hasattr(notebook_module(name), "prepare")]
    if jobs == 1:
        count = sum(extract_model(preset, model, progress=True) for model in models)
        for name in prepared:
            prepare(preset, name)
    else:
        with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
            futures = [pool.submit(extract_model, preset, model) for model in models]
            others = [pool.submit(prepare, preset, name) for name in prepared]
            try:
                total = len(futures) + len(others)
                done = as_completed([*futures, *others])
                for future in tqdm(done, total=total, desc="models and trainings"):
                    future.result()
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise
            count = sum(future.result() for future in futures)
    tqdm.write(f"{len(models)} models answered {count:,} questions; cached in {preset.cache}")
    from pidlib.experiments.reweighting import outcomes  # imports transformers and peft

    outcomes.rerun(preset, jobs)
