"""Atoms of the models of a preset, from their decisions and from their embeddings."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import product

import numpy as np
import pandas as pd
from jaxtyping import Int

from pidlib.decomposition.batch import batch_pid
from pidlib.decomposition.codes import N_COMPONENTS, quantize
from pidlib.decomposition.estimate import estimate
from pidlib.decomposition.gaussian import gaussian_pid
from pidlib.decomposition.resampling import N_HALVES
from pidlib.experiments.extractions import Extracted, Query, Request, extractions
from pidlib.experiments.preset import Preset
from pidlib.experiments.statistics import normal_interval
from pidlib.experiments.tables import ATOMS, validate
from pidlib.extraction import PASSES, Extraction
from pidlib.extraction.masking import FULL, SOURCES, drawn
from pidlib.profiles.modes import measure_mode

BATCH = {"epochs": 20, "batch_size": 64}  # within the published ranges, for a few hundred samples
# Columns that all atoms of codes share.
CODES = {"source_a": "vision", "source_b": "language", "unimodal": "codes", "estimator": "exact"}
# Of `gaussian_rows`: as many components as codes have; noise, since a function has infinite bits;
# and draws, which each take a solution (the least p-value is .02).
GAUSSIAN, N_DRAWS = {"n_components": N_COMPONENTS, "shrinkage": 0.1}, 49


def request(
    preset: Preset, benchmarks: Sequence[str] | None = None, models: Sequence[str] | None = None
) -> Request:
    """All passes of a profile; by default of the preset's models on all of its benchmarks."""
    partners = preset.partners if "resampled" in preset.unimodal else 0
    passes = drawn(PASSES, preset.draws)
    query = Query(preset.split, preset.n_samples, preset.seed, passes, partners)
    models = preset.models if models is None else models
    return Request(models, preset.benchmarks if benchmarks is None else benchmarks, (query,))


def decision_profiles(
    preset: Preset,
    experiment: str,
    benchmarks: Sequence[str] | None = None,
    estimators: Sequence[str] = ("exact",),
) -> pd.DataFrame:
    """Atoms of the models' decisions, for each unimodal mode and each estimator.

    By default on all benchmarks of the preset. The estimators are those of `decision_profile`.
    """
    profiles = []
    shared = preset.model_dump(include={"tau", "n_halves", "seed"})
    for (answer,) in extractions(preset, request(preset, benchmarks)):
        for unimodal, estimator in product(preset.unimodal, estimators):
            settings = shared | {"unimodal": unimodal, "estimator": estimator}
            if estimator == "BATCH":
                settings["n_batches"] = preset.n_batches
            training = BATCH if estimator == "BATCH" else {}
            columns = answer.row_columns(experiment, **settings, **training)
            options = settings | {"device": preset.device}
            profiles.append(decision_profile(answer.extraction, **options, **columns))
    return validate(pd.concat(profiles, ignore_index=True), ATOMS)


def mode_profiles(preset: Preset, answer: Extracted, experiment: str) -> Iterator[pd.DataFrame]:
    """Atoms of the decisions of one model for each unimodal mode."""
    settings = preset.model_dump(include={"tau", "n_halves", "seed"})
    for unimodal in preset.unimodal:
        columns = answer.row_columns(experiment, unimodal=unimodal, **settings)
        options = settings | {"unimodal": unimodal, "device": preset.device}
        yield decision_profile(answer.extraction, **options, **columns)


def embedding_request(preset: Preset) -> Request:
    """States at the answer position after every block: of samples to fit codes, and to profile."""
    fitted = "validation" if preset.split == "train" else "train"
    queries = tuple(
        Query(split, preset.n_embedded, preset.seed, (FULL,), layers=None)
        for split in (fitted, preset.split)
    )
    return Request(preset.models, preset.benchmarks, queries)


def decision_profile(
    extraction: Extraction,
    *,
    unimodal: str,
    estimator: str = "exact",
    tau: float = 0.3,
    n_halves: int = N_HALVES,
    n_batches: int = 50,
    seed: int = 0,
    device: str | None = None,
    **columns: object,
) -> pd.DataFrame:
    """Atoms of a model's decisions in a unimodal mode, a row each, with further columns.

    The estimator ``"exact"`` gives certified bounds, corrected values, interval and null, see
    `pidlib.profiles.measure_mode`; ``"BATCH"``, as published, the range over `n_batches` random
    batches, and none of these.
    """
    if estimator == "exact":
        rows = measure_mode(extraction, unimodal, tau, n_halves, seed, device).rows
    elif estimator == "BATCH":
        rows = _batch_rows(extraction, unimodal, tau, n_batches, seed)
    else:
        raise ValueError(f"unknown estimator {estimator!r}; choose 'exact' or 'BATCH'")
    fixed = {"source_a": "vision", "source_b": "language", "unimodal": unimodal, "seed": seed}
    return rows.assign(**fixed, estimator=estimator, **columns)


def _batch_rows(
    extraction: Extraction, unimodal: str, tau: float, n_batches: int, seed: int
) -> pd.DataFrame:
    """Atoms by BATCH and their range over batches, as published: not reconciled, clamped at 0."""
    embeddings, decisions = dict(extraction.embeddings), getattr(extraction, unimodal)(tau)
    decisions = replace(decisions, reconciliation="none")
    if unimodal == "resampled":
        pairs = zip(SOURCES, extraction.pairs.index.T, strict=True)
        embeddings = {name: embeddings[name][rows] for name, rows in pairs}
    result = batch_pid(decisions, embeddings=embeddings, n_batches=n_batches, seed=seed, **BATCH)
    value, spread = pd.Series(result.atoms), pd.Series(result.spread)
    low, high = normal_interval(value, spread)
    rows = pd.DataFrame({"value_bits": value, "ci_low": low, "ci_high": high})
    return rows.clip(lower=0).reset_index(names="atom")


def embedding_profile(
    fitted: Extraction,
    applied: Extraction,
    *,
    n_clusters: int,
    n_permutations: int = 200,
    n_bootstrap: int = 200,
    seed: int = 0,
    **columns: object,
) -> pd.DataFrame:
    """Atoms of pooled embeddings about the state at the answer position, with further columns.

    Sources are the mean input embeddings of picture and question, the target is the last state of
    the extraction `applied`; each becomes one of `n_clusters` codes, by codebooks of the samples
    `fitted`. The cube of `n_clusters` should be well below the number of samples. For the other
    numbers see `pidlib.estimate`.
    """
    options = {"n_permutations": n_permutations, "n_bootstrap": n_bootstrap, "seed": seed}
    result = estimate(*embedding_codes(fitted, applied, n_clusters, seed), **options)
    fixed = CODES | {"layer": applied.layers[-1], "n_codes": n_clusters, "seed": seed}
    return pd.DataFrame(result.rows()).assign(**fixed, **columns)


def gaussian_rows(
    parts: Sequence[np.ndarray], seed: int = 0, n_draws: int = N_DRAWS
) -> pd.DataFrame:
    """Atoms of two sources and a target, [n, d] each, by their covariance alone, a row each.

    There are no rows if a part is constant. `GAUSSIAN` adds a tenth of noise to all components, so
    the bits compare with each other, not with those of codes.
    """
    if any(np.ptp(part, axis=0).max() <= 1e-6 * np.abs(part).max() for part in parts):
        return pd.DataFrame()
    options = {"n_permutations": n_draws, "n_bootstrap": n_draws, "seed": seed}
    rows = gaussian_pid(*parts, **GAUSSIAN, **options).rows()
    return pd.DataFrame(rows).assign(**CODES | {"unimodal": "embeddings", "estimator": "Gaussian"})


def embedding_codes(
    fitted: Extraction,
    applied: Extraction,
    n_clusters: int,
    seed: int = 0,
    *,
    allow_degenerate: bool = False,
) -> tuple[Int[np.ndarray, " n"], ...]:
    """Codes of vision, of language and of the answer-position state, by codebooks of other samples.

    Raises a ValueError if the extractions share samples, or have no layers.
    """
    shared = set(fitted.sample_ids) & set(applied.sample_ids)
    if shared:
        raise ValueError(
            f"codebooks must come from other samples, but {len(shared)} are in both, such as "
            f"{min(shared)}"
        )
    for extraction in (fitted, applied):
        if extraction.hidden is None:
            raise ValueError("this extraction has no states; extract with layers=(..., last)")
    pairs = [(fitted.embeddings[name], applied.embeddings[name]) for name in SOURCES]
    pairs.append((fitted.hidden[:, -1], applied.hidden[:, -1]))
    options = {"seed": seed, "allow_degenerate": allow_degenerate}
    return tuple(quantize(*pair, n_clusters, **options) for pair in pairs)
