"""Queries to the models of a preset, and the cached extractions that answer them."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from types import ModuleType
from typing import NamedTuple

from tqdm.auto import tqdm

from pidlib import benchmarks
from pidlib._common import fingerprint, project_root
from pidlib.benchmarks import Sample
from pidlib.experiments.preset import Preset, parse_model
from pidlib.extraction import Extraction, extract
from pidlib.models import LoadedModel, load_model
from pidlib.models.load import resolve


class Query(NamedTuple):
    """What to extract from a model on a benchmark; every field changes the numbers.

    ``layers`` None means every block; ``options`` lists the candidates in the question; ``tokens``
    keeps single tokens; ``mask`` replaces absent modalities; ``change`` replaces the samples, as an
    intervention does.
    """

    split: str
    n_samples: int
    seed: int
    passes: tuple[str, ...]
    partners: int = 0
    layers: tuple[int, ...] | None = ()
    options: bool = False
    tokens: bool = False
    mask: str = "noise"
    change: Callable[[list[Sample]], list[Sample]] = list


class Request(NamedTuple):
    """Queries to be answered by each model on each benchmark."""

    models: Sequence[str]
    benchmarks: Sequence[str]
    queries: tuple[Query, ...]


class Extracted(NamedTuple):
    """The extraction of one query, and the columns that identify it in every row of a table."""

    extraction: Extraction
    columns: dict[str, str | int]

    def row_columns(self, experiment: str, **settings: object) -> dict[str, object]:
        """Columns with the experiment, tau, and a fingerprint of extraction and settings."""
        identified = fingerprint(extraction=self.columns["fingerprint"], **settings)
        named = {"experiment": experiment, "fingerprint": identified}
        return self.columns | named | {"tau": settings.get("tau")}


def extractions(
    preset: Preset, request: Request, *, progress: bool = False
) -> Iterator[tuple[Extracted, ...]]:
    """Extract, or read from the cache, for every model and benchmark; one result per query.

    A folder of the cache is named by the hash of everything that changes its numbers (weights,
    questions, pictures, passes, seed), so it is never stale; an interrupted extraction resumes. All
    names are checked before the first model is loaded. With `progress` each extraction has a bar.
    """
    check_names(preset, [request])
    total = len(request.models) * len(request.benchmarks)
    with tqdm(total=total, desc="models x benchmarks", unit="run") as bar:
        for name in request.models:
            model = load_named(name, preset.device, preset.allow_unpinned)
            for benchmark in request.benchmarks:
                bar.set_postfix_str(f"{model.name} {benchmark}")
                yield tuple(
                    extracted(preset, query, model, benchmark, progress)
                    for query in request.queries
                )
                bar.update()


def check_names(preset: Preset, requests: Sequence[Request]) -> None:
    """Raise one ValueError for all models and benchmarks that cannot be loaded; load nothing."""
    faults, unpinned = [], {"allow_unpinned": preset.allow_unpinned}
    models = dict.fromkeys(name for request in requests for name in request.models)
    checks = [partial(resolve, *parse_model(name)[1:], **unpinned) for name in models]
    names = dict.fromkeys(name for request in requests for name in request.benchmarks)
    checks += [partial(benchmarks.check_available, name, **unpinned) for name in names]
    for check in checks:
        try:
            check()
        except (ValueError, OSError) as error:
            faults.append(str(error))
    if faults:
        raise ValueError("\n".join(faults))


def load_named(name: str, device: str, allow_unpinned: bool) -> LoadedModel:
    """Load a model of a preset; its name is the label, if it has one."""
    label, place, revision = parse_model(name)
    options = {"revision": revision, "device": device, "allow_unpinned": allow_unpinned}
    return replace(load_model(place, **options), name=label)


def extract_requests(preset: Preset, module: ModuleType) -> str:
    """Answer the requests of a notebook's module ahead of its measurements; return a summary."""
    sizes = [
        len(answer.extraction)
        for request in module.requests(preset)
        for answers in extractions(preset, request)
        for answer in answers
    ]
    return f"{len(sizes)} extractions of {sum(sizes):,} samples in {preset.cache}"


def extracted(
    preset: Preset, query: Query, model: LoadedModel, benchmark: str, progress: bool = False
) -> Extracted:
    """Answer one query of one model on one benchmark, or read the answer from the cache."""
    unpinned = {"allow_unpinned": preset.allow_unpinned}
    source = benchmark, query.split, query.n_samples, query.seed
    samples = query.change(benchmarks.load(*source, options=query.options, **unpinned))
    every = range(len(model.family.blocks_of(model.model)))
    layers = tuple(every if query.layers is None else query.layers)
    names = ("passes", "partners", "seed", "tokens", "mask")
    options = {name: getattr(query, name) for name in names}
    options |= {"cache": project_root() / preset.cache, "batch_size": preset.batch_size}
    extraction = extract(model, samples, layers=layers, progress=progress, **options)
    columns = {"benchmark": samples[0].benchmark, "split": query.split, "model": model.name}
    columns |= {"revision": model.revision, "family": model.family.name, "n_samples": len(samples)}
    columns["benchmark_revision"] = benchmarks.revision(benchmark, **unpinned) or None
    columns |= {"dtype": str(model.model.dtype).removeprefix("torch."), "partners": query.partners}
    columns["fingerprint"] = extraction.fingerprint
    return Extracted(extraction, columns)
