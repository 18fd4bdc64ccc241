"""The models of a preset on its benchmarks: asked once, kept in the cache, and turned into rows of the results."""

import argparse
import hashlib
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import pandas as pd
from tqdm.auto import tqdm

from pidlib import results
from pidlib.benchmarks import Sample
from pidlib.benchmarks import load as load_samples
from pidlib.experiment import Preset, fingerprint, load_preset, project_root
from pidlib.extraction import PASSES, Extraction, extract
from pidlib.models import LoadedModel
from pidlib.models import load as load_model
from pidlib.profiles import decision_profile, embedding_profile

LAYERS = (-1,)  # the answer-position state is read after the last block


class Run(NamedTuple):
    """One model on one benchmark: what it answered, and the columns that say so in every row made from it."""

    extraction: Extraction
    columns: dict[str, str | int]


def runs(preset: Preset, benchmarks: Sequence[str] | None = None, *, progress: bool = False) -> Iterator[Run]:
    """Ask every model of a preset the questions of its benchmarks, or read what it answered from the cache.

    A folder of the cache is named by the hash of all that is meant to change the numbers (weights, questions, pictures, passes, seed),
    so it is never stale; an interrupted one goes on where it stopped.

    Parameters
    ----------
    preset
        Models, benchmarks, split, sizes, seed and the cache.
    benchmarks
        Some of them; all of the preset's, if left out.
    progress
        Show a bar within each run beside the bar over all runs.
    """
    benchmarks = preset.benchmarks if benchmarks is None else tuple(benchmarks)
    with tqdm(total=len(preset.models) * len(benchmarks), desc="models x benchmarks", unit="run") as bar:
        for name in preset.models:
            name, _, revision = name.partition("@")
            loaded = load_model(name, revision=revision or None, device=preset.device)
            for benchmark in benchmarks:
                bar.set_postfix_str(f"{name} {benchmark}")
                yield _run(preset, loaded, benchmark, progress)
                bar.update()


def _run(preset: Preset, loaded: LoadedModel, benchmark: str, progress: bool) -> Run:
    samples = load_samples(benchmark, preset.split, n=preset.n_samples, seed=preset.seed)
    asked = {"passes": PASSES, "partners": preset.partners, "layers": LAYERS, "seed": preset.seed}
    mark = fingerprint(family=loaded.family.name, revision=loaded.revision, samples=_digest(samples), **asked)
    folder = project_root() / preset.cache / mark
    extraction = extract(loaded, samples, **asked, batch_size=preset.batch_size, folder=folder, progress=progress)
    place = {"benchmark": benchmark, "split": preset.split, "model": loaded.name, "revision": loaded.revision}
    return Run(extraction, place | {"n_samples": len(samples), "fingerprint": mark})


def _digest(samples: Sequence[Sample]) -> str:
    """The hash of every question and of every pixel."""
    digest = hashlib.sha256()
    for sample in samples:
        digest.update(repr(sample).encode() + sample.image.tobytes())
    return digest.hexdigest()


def decision_profiles(
    preset: Preset, experiment: str, benchmarks: Sequence[str] | None = None, estimators: Sequence[str] = ("exact",)
) -> pd.DataFrame:
    """Atoms of the models' decisions, for each way to ask one modality alone and each estimator, as rows of the results."""
    tables = []
    for extraction, columns in runs(preset, benchmarks):
        for unimodal in preset.unimodal:
            for estimator in estimators:
                made = {"unimodal": unimodal, "estimator": estimator, "n_bootstrap": preset.n_bootstrap, "seed": preset.seed}
                mark = fingerprint(extraction=columns["fingerprint"], tau=preset.tau, n_batches=preset.n_batches, **made)
                told = columns | {"experiment": experiment, "fingerprint": mark}
                tables.append(decision_profile(extraction, tau=preset.tau, n_batches=preset.n_batches, **made, **told))
    return results.tidy(pd.concat(tables, ignore_index=True))


def embedding_profiles(preset: Preset, experiment: str, benchmarks: Sequence[str] | None = None) -> pd.DataFrame:
    """Atoms of clustered embeddings about the answer-position state, with null, correction and interval, as rows of the results."""
    sizes = {name: getattr(preset, name) for name in ("n_clusters", "n_permutations", "n_bootstrap", "seed")}
    tables = []
    for extraction, columns in runs(preset, benchmarks):
        told = columns | {"experiment": experiment, "fingerprint": fingerprint(extraction=columns["fingerprint"], **sizes)}
        tables.append(embedding_profile(extraction, **sizes, **told))
    return results.tidy(pd.concat(tables, ignore_index=True))


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m pidlib.runs", description="The first step alone: run the models, fill the cache.")
    parser.add_argument("--preset", default="offline", help="smoke, offline, paper, or the path of a .yaml file")
    preset = load_preset(parser.parse_args().preset)
    count = sum(len(run.extraction) for run in runs(preset, progress=True))
    tqdm.write(f"wrote the answers of {len(preset.models)} models to {count} questions in {preset.cache}")


if __name__ == "__main__":
    main()
