"""Queries to the models of a preset, and the cached extractions that answer them."""

import re
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from importlib.metadata import version
from itertools import chain, product
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

import torch
from tokenizers import Tokenizer
from tqdm.auto import tqdm

from pidlib import benchmarks
from pidlib._common import Deferred, code_version, fingerprint, project_root
from pidlib.benchmarks import Sample
from pidlib.experiments.preset import Preset, in_project, parse_model
from pidlib.extraction import Extraction, extract
from pidlib.extraction.extractor import identity, model_facts, sample_facts
from pidlib.extraction.store import Shard, Store, open_store
from pidlib.models import LoadedModel, families, load_model
from pidlib.models import load as loading
from pidlib.models.families import family_named
from pidlib.models.load import adapted_revision, download, folder_revision, latest_revision


class Query(NamedTuple):
    """What to extract from a model on a benchmark; every field changes the numbers."""

    split: str
    n_samples: int
    seed: int
    passes: tuple[str, ...]
    partners: int = 0
    layers: tuple[int, ...] | None = ()  # None: after every block
    options: bool = False  # list the candidates in the question
    tokens: bool = False  # keep single tokens
    mask: str = "noise"  # in place of absent modalities
    change: Callable[[list[Sample]], list[Sample]] = list  # of the samples, as by an intervention


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


def extract_all(preset: Preset, request: Request) -> Iterator[tuple[Extracted, ...]]:
    """Extract, or read from the cache, for every model and benchmark; one result per query."""
    check_names(preset, [request])
    total = len(request.models) * len(request.benchmarks)
    with tqdm(total=total, desc="models x benchmarks", unit="run") as bar:
        for model in (find_model(preset, name) for name in request.models):
            for benchmark in request.benchmarks:
                bar.set_postfix_str(f"{model.name} {benchmark}")
                yield tuple(extracted(preset, q, model, benchmark) for q in request.queries)
                bar.update()


def check_names(preset: Preset, requests: Sequence[Request]) -> None:
    """Raise one ValueError for all models and benchmarks that cannot be loaded; load nothing."""
    faults, check_source = [], benchmarks.check_available
    checks = [(base_of, name) for request in requests for name in request.models]
    checks += [(check_source, name) for request in requests for name in request.benchmarks]
    for check, name in dict.fromkeys(checks):
        try:
            check(name, allow_unpinned=preset.allow_unpinned)
        except (ValueError, OSError) as error:
            faults.append(str(error))
    if faults := faults or dict.fromkeys(chain(*map(_unknown_words, requests))):
        raise ValueError("\n".join(faults))


def _unknown_words(request: Request) -> Iterator[str]:
    """The candidates of tables that models in folders have no tokens for; warn of other words."""
    tables = [name for name in request.benchmarks if name.startswith("table:")]
    for table, split in product(tables, dict.fromkeys(query.split for query in request.queries)):
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", ".* fewer than", UserWarning)
            samples = benchmarks.load(table, split, 8)
        asked = re.findall(r"\w+", " ".join(sample.text for sample in samples))
        for name in request.models:
            folder = base_of(name, allow_unpinned=True)[1]
            if folder is None or not (folder / "tokenizer.json").is_file():
                continue
            model, advice = parse_model(name)[0], "use its words, or another model"
            unknown = _unknown(folder, [*samples[0].candidates, *asked])
            if missing := ", ".join(word for word in samples[0].candidates if word in unknown):
                yield f"{model} has no tokens for {missing}, candidates of {table}; {advice}"
            if missing := [word for word in unknown if word in asked]:
                shown = ", ".join(missing[:8]) + " ..." * (len(missing) > 8)
                text = f"{model} has no tokens for {shown} in questions of {table}; {advice}"
                warnings.warn(text, stacklevel=3)


def _unknown(folder: Path, words: Sequence[str]) -> list[str]:
    """The words that the tokenizer in a folder reads as an unknown token, or not at all."""
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    special = {id for id, token in tokenizer.get_added_tokens_decoder().items() if token.special}
    read = {word: tokenizer.encode(f" {word}", add_special_tokens=False).ids for word in words}
    return [word for word, ids in read.items() if not ids or special & set(ids)]


def extract_requests(preset: Preset, module: ModuleType) -> str:
    """Answer the requests of a notebook's module ahead of its measurements; return a summary."""
    runs = chain.from_iterable(extract_all(preset, each) for each in module.requests(preset))
    sizes = [len(answer.extraction) for answers in runs for answer in answers]
    return f"{len(sizes)} extractions of {sum(sizes):,} samples in {preset.cache}"


def base_of(name: str, *, allow_unpinned: bool = False) -> tuple[str, Path | None, str | None, str]:
    """The base of a model, its folder or its commit on the hub, and the folder of its adapter.

    Raises what `resolve` does; a ValueError for a folder without a processor or adapter.
    """
    base, commit, adapter = loading.split_adapter(*parse_model(name)[1:])
    base = in_project(str(base))  # as an adapter names it
    folder, commit = loading.resolve(base, commit, allow_unpinned=allow_unpinned)
    if folder:
        loading.check_processor(folder)
    if adapter:
        loading.adapter_facts(adapter)
    return base, folder, commit, adapter


def find_model(preset: Preset, name: str) -> LoadedModel:
    """A model described by the cache, else by its configuration; loaded when first needed."""
    label = parse_model(name)[0]
    base, folder, commit, adapter = base_of(name, allow_unpinned=preset.allow_unpinned)
    commit = commit or (None if folder else latest_revision(base))
    revision = commit or folder_revision(folder)
    identified = adapted_revision(adapter, revision) if adapter else revision

    def describe() -> Shard:
        from pidlib.models._transformers import transformers

        source = str(folder or download(base, revision, ["config.json"]))
        config = transformers.AutoConfig.from_pretrained(source, trust_remote_code=False)
        saved, family = config.dtype, family_named(config.model_type)
        if family.submodel:
            config = getattr(config, f"{family.submodel}_config", config)
        dtype = (saved or torch.float32) if preset.dtype == "auto" else getattr(torch, preset.dtype)
        return Shard({}, model_facts(config, identified, dtype))

    identity = {"kind": "model", "revision": identified, "dtype": preset.dtype}
    identity["code"] = code_version(families, model_facts, find_model)
    identity["transformers"] = version("transformers")
    with open_store(project_root() / preset.cache, identity, {}) as store:
        facts = store.fill({"facts": describe})[0].facts
    dtype = getattr(torch, facts["dtype"].removeprefix("torch."))
    place = f"{base}+{adapter}" if adapter else base
    load = partial(load_model, place, revision=commit, device=preset.device, dtype=dtype)
    return Deferred(load, name=label, revision=identified, facts=facts)


def extracted(
    preset: Preset, query: Query, model: LoadedModel, benchmark: str, progress: bool = False
) -> Extracted:
    """Answer one query of one model on one benchmark, or read the answer from the cache."""
    samples = _samples(preset, query, benchmark)
    cached = {"cache": project_root() / preset.cache, "batch_size": preset.batch_size}
    extraction = extract(model, samples, progress=progress, **_settings(query, model), **cached)
    facts = getattr(model, "facts", None)
    facts = facts or model_facts(model.model.config, model.revision, model.model.dtype)
    commit = benchmarks.revision(benchmark, allow_unpinned=preset.allow_unpinned)
    columns = {"benchmark": samples[0].benchmark, "split": query.split, "model": model.name}
    columns |= {"revision": model.revision, "family": family_named(facts["family"]).name}
    columns |= {"benchmark_revision": commit or None, "n_samples": len(samples)}
    columns |= {"dtype": facts["dtype"].removeprefix("torch."), "partners": query.partners}
    return Extracted(extraction, columns | {"fingerprint": extraction.fingerprint})


Queries = Mapping[str, Sequence[tuple[str, Query]]]  # by model: benchmarks and queries
# Facts of samples that were loaded before, and the last model, in this process.
_known: dict[tuple[str, Query], Mapping] = {}
_last: dict[tuple[str, str, str], LoadedModel] = {}


def extract_missing(preset: Preset, name: str, benchmark: str, query: Query) -> None:
    """Make an extraction unless the cache has it, complete; it is not read then."""
    if (chosen := (name, preset.device, preset.dtype)) not in _last:
        _last.clear()  # the weights of one model at a time
        _last[chosen] = find_model(preset, name)
    if (key := (benchmark, query)) not in _known:
        _known[key] = sample_facts(_samples(preset, query, benchmark))
    described = identity(_last[chosen], _known[key], **_settings(query, _last[chosen]))
    if not Store(project_root() / preset.cache / fingerprint(**described), described).is_complete:
        extracted(preset, query, _last[chosen], benchmark, progress=True)


def _samples(preset: Preset, query: Query, benchmark: str) -> list[Sample]:
    options = {"options": query.options, "allow_unpinned": preset.allow_unpinned}
    return query.change(benchmarks.load(benchmark, *query[:3], **options))


def _settings(query: Query, model: LoadedModel) -> dict[str, object]:
    settings = {name: getattr(query, name) for name in ("partners", "seed", "tokens", "mask")}
    layers = tuple(range(model.facts["depth"])) if query.layers is None else query.layers
    return settings | {"passes": list(query.passes), "layers": layers}
