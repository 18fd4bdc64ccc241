"""The models of a preset on its benchmarks: asked once, kept in the cache, and turned into rows of the results."""

from collections.abc import Callable, Iterator, Sequence
from itertools import product
from typing import NamedTuple

import pandas as pd
from filelock import FileLock
from tqdm.auto import tqdm

from pidlib import results
from pidlib.benchmarks import Sample
from pidlib.benchmarks import load as load_samples
from pidlib.benchmarks import locate as locate_samples
from pidlib.experiment import Preset, fingerprint, project_root
from pidlib.extraction import PASSES, Extraction, extract
from pidlib.extraction.extractor import identity
from pidlib.extraction.masking import FULL
from pidlib.models import LoadedModel
from pidlib.models import load as load_model
from pidlib.models.registry import locate
from pidlib.profiles import BATCH, NOISE, decision_profile, diagnose, embedding_profile


class Asked(NamedTuple):
    """What a model is asked about a benchmark: all of it changes the numbers.

    ``layers`` None means every block; with ``options`` questions list their candidates; with ``tokens`` single tokens are kept; ``change``
    makes other samples of those of the benchmark, as an intervention does.
    """

    split: str
    n_samples: int
    seed: int
    passes: tuple[str, ...]
    partners: int = 0
    layers: tuple[int, ...] | None = ()
    options: bool = False
    tokens: bool = False
    change: Callable[[list[Sample]], list[Sample]] = list


class Run(NamedTuple):
    """One model on one benchmark: what it answered, and the columns that say so in every row made from it."""

    extraction: Extraction
    columns: dict[str, str | int]


def decisions(preset: Preset) -> tuple[Asked]:
    """For profiles of decisions: both modalities, each alone, none, and pictures with the questions of others."""
    partners = preset.partners if "resampled" in preset.unimodal else 0
    return (Asked(preset.split, preset.n_samples, preset.seed, (*PASSES, *NOISE), partners),)


def embeddings(preset: Preset) -> tuple[Asked, Asked]:
    """For profiles of embeddings: the answer-position state after every block, of samples to fit codes on and of those profiled."""
    fitted = "validation" if preset.split == "train" else "train"
    return tuple(Asked(split, preset.n_embedded, preset.seed, (FULL,), layers=None) for split in (fitted, preset.split))


def runs(
    preset: Preset,
    asked: Sequence[Asked],
    benchmarks: Sequence[str] | None = None,
    *,
    models: Sequence[str] | None = None,
    progress: bool = False,
) -> Iterator[tuple[Run, ...]]:
    """Ask every model about each benchmark, or read what it answered from the cache; a run for each entry of `asked`.

    A folder of the cache is named by the hash of all that is meant to change the numbers (weights, questions, pictures, passes, seed),
    so it is never stale; an interrupted one goes on where it stopped.

    Parameters
    ----------
    preset
        Models, benchmarks and the cache.
    asked
        From `decisions` or `embeddings`.
    benchmarks
        Some of them; all of the preset's, if left out.
    models
        ``preset.models``, the exemplars, if left out; or ``preset.population``.
    progress
        Show a bar within each run beside the bar over all runs.
    """
    benchmarks = preset.benchmarks if benchmarks is None else tuple(benchmarks)
    models = preset.models if models is None else tuple(models)
    named = [(name, revision or None) for name, _, revision in (model.partition("@") for model in models)]
    for name, revision in named:  # all of them, before the first works for hours
        locate(name, revision, allow_unpinned=preset.allow_unpinned)
    for benchmark in benchmarks:
        locate_samples(benchmark, allow_unpinned=preset.allow_unpinned)
    with tqdm(total=len(models) * len(benchmarks), desc="models x benchmarks", unit="run") as bar:
        for name, revision in named:
            loaded = load_model(name, revision=revision, device=preset.device, allow_unpinned=preset.allow_unpinned)
            for benchmark in benchmarks:
                bar.set_postfix_str(f"{name} {benchmark}")
                yield tuple(run(preset, one, loaded, benchmark, progress) for one in asked)
                bar.update()


def run(preset: Preset, asked: Asked, loaded: LoadedModel, benchmark: str, progress: bool = False) -> Run:
    """Ask one model about one benchmark, or read what it answered from the cache."""
    wanted = {"n": asked.n_samples, "seed": asked.seed, "options": asked.options, "allow_unpinned": preset.allow_unpinned}
    samples = asked.change(load_samples(benchmark, asked.split, **wanted))
    layers = range(len(loaded.family.blocks_of(loaded.model))) if asked.layers is None else asked.layers
    told = {"passes": asked.passes, "partners": asked.partners, "layers": tuple(layers), "seed": asked.seed, "tokens": asked.tokens}
    mark = fingerprint(**identity(loaded, samples, **told))
    folder = project_root() / preset.cache / mark
    folder.mkdir(parents=True, exist_ok=True)
    kept = {"folder": folder, "batch_size": preset.batch_size, "progress": progress}
    place = {"benchmark": samples[0].benchmark, "split": asked.split, "model": loaded.name, "revision": loaded.revision}
    with FileLock(folder / ".lock"):  # two notebooks that ask for the same at once make it once
        return Run(extract(loaded, samples, **told, **kept), place | {"n_samples": len(samples), "fingerprint": mark})


def decision_profiles(
    preset: Preset, experiment: str, benchmarks: Sequence[str] | None = None, estimators: Sequence[str] = ("exact",)
) -> pd.DataFrame:
    """Atoms of the models' decisions, for each way to ask one modality alone and each estimator, as rows of the results."""
    tables, shared = [], {name: getattr(preset, name) for name in ("tau", "n_bootstrap", "seed")}
    for (run,) in runs(preset, decisions(preset), benchmarks):
        for unimodal, estimator in product(preset.unimodal, estimators):
            made = shared | {"unimodal": unimodal, "estimator": estimator}
            made |= {"n_batches": preset.n_batches} if estimator == "BATCH" else {}
            settled = made | BATCH if estimator == "BATCH" else made
            told = run.columns | {"experiment": experiment, "fingerprint": fingerprint(extraction=run.columns["fingerprint"], **settled)}
            tables.append(decision_profile(run.extraction, **made, **told))
    return results.tidy(pd.concat(tables, ignore_index=True))


def embedding_profiles(preset: Preset, experiment: str, benchmarks: Sequence[str] | None = None) -> pd.DataFrame:
    """Atoms of clustered embeddings about the answer-position state, with null, correction and interval, as rows of the results."""
    made = {name: getattr(preset, name) for name in ("n_clusters", "n_permutations", "n_bootstrap", "seed")}
    tables = []
    for fitted, applied in runs(preset, embeddings(preset), benchmarks):
        mark = fingerprint(fitted=fitted.columns["fingerprint"], applied=applied.columns["fingerprint"], **made)
        told = applied.columns | {"experiment": experiment, "fingerprint": mark}
        tables.append(embedding_profile(fitted.extraction, applied.extraction, **made, **told))
    return results.tidy(pd.concat(tables, ignore_index=True))


def diagnostics(preset: Preset, experiment: str = "vision_language") -> pd.DataFrame:
    """What to know of each model on each benchmark before its profile is believed; see `pidlib.profiles.diagnose`."""
    rows = [run.columns | diagnose(run.extraction, preset.tau) for (run,) in runs(preset, decisions(preset))]
    return pd.DataFrame(rows).assign(experiment=experiment)
