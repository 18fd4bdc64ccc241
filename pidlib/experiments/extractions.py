"""Queries to the models of a preset, and the cached extractions that answer them."""

from collections.abc import Callable, Iterator, Sequence
from types import ModuleType
from typing import NamedTuple

from tqdm.auto import tqdm

from pidlib import benchmarks
from pidlib._common import fingerprint, project_root
from pidlib.benchmarks import Sample
from pidlib.experiments.preset import Preset
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
        """Columns with the experiment and a fingerprint of the extraction and the settings."""
        identified = fingerprint(extraction=self.columns["fingerprint"], **settings)
        return self.columns | {"experiment": experiment, "fingerprint": identified}


def extractions(
    preset: Preset, request: Request, *, progress: bool = False
) -> Iterator[tuple[Extracted, ...]]:
    """Extract, or read from the cache, for every model and benchmark; one result per query.

    A folder of the cache is named by the hash of everything that changes its numbers (weights,
    questions, pictures, passes, seed), so it is never stale; an interrupted extraction resumes. All
    names are checked before the first model is loaded. With `progress` each extraction has a bar.
    """
    for name, _, revision in (name.partition("@") for name in request.models):
        resolve(name, revision or None, allow_unpinned=preset.allow_unpinned)
    for benchmark in request.benchmarks:
        benchmarks.check_available(benchmark, allow_unpinned=preset.allow_unpinned)
    total = len(request.models) * len(request.benchmarks)
    options = {"device": preset.device, "allow_unpinned": preset.allow_unpinned}
    with tqdm(total=total, desc="models x benchmarks", unit="run") as bar:
        for name in request.models:
            model = load_model(name, **options)
            for benchmark in request.benchmarks:
                bar.set_postfix_str(f"{model.name} {benchmark}")
                yield tuple(
                    extracted(preset, query, model, benchmark, progress)
                    for query in request.queries
                )
                bar.update()


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
    columns |= {"revision": model.revision, "n_samples": len(samples)}
    columns["fingerprint"] = extraction.fingerprint
    return Extracted(extraction, columns)
