"""Atoms of the models of a preset, from their decisions and from their embeddings."""

from collections.abc import Sequence
from itertools import product

import numpy as np
import pandas as pd
from jaxtyping import Int

from pidlib._common import fingerprint
from pidlib.decomposition.batch import batch_pid
from pidlib.decomposition.codes import quantise
from pidlib.decomposition.estimate import estimate
from pidlib.experiments.extractions import Query, Request, extractions
from pidlib.experiments.preset import Preset
from pidlib.experiments.tables import ATOMS, validate
from pidlib.extraction import PASSES, Extraction
from pidlib.extraction.masking import FULL, SOURCES
from pidlib.profiles.modes import NOISE, measure_mode

BATCH = {"epochs": 20, "batch_size": 64}  # within the published ranges, for a few hundred samples


def request(
    preset: Preset,
    benchmarks: Sequence[str] | None = None,
    models: Sequence[str] | None = None,
) -> Request:
    """All passes of a profile; by default of the preset's models on all of its benchmarks."""
    partners = preset.partners if "resampled" in preset.unimodal else 0
    query = Query(preset.split, preset.n_samples, preset.seed, (*PASSES, *NOISE), partners)
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
    shared = {name: getattr(preset, name) for name in ("tau", "n_bootstrap", "seed")}
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


def embedding_request(preset: Preset, benchmarks: Sequence[str] | None = None) -> Request:
    """States at the answer position after every block: of samples to fit codes, and to profile."""
    fitted = "validation" if preset.split == "train" else "train"
    queries = tuple(
        Query(split, preset.n_embedded, preset.seed, (FULL,), layers=None)
        for split in (fitted, preset.split)
    )
    names = preset.benchmarks if benchmarks is None else benchmarks
    return Request(preset.models, names, queries)


def embedding_profiles(
    preset: Preset, experiment: str, benchmarks: Sequence[str] | None = None
) -> pd.DataFrame:
    """Atoms of clustered embeddings about the answer-position state, with null and interval.

    The codes are fitted on samples of another split, see `embedding_profile`.
    """
    names = ("n_clusters", "n_permutations", "n_bootstrap", "seed")
    settings = {name: getattr(preset, name) for name in names}
    profiles = []
    for fitted, applied in extractions(preset, embedding_request(preset, benchmarks)):
        pair = {"fitted": fitted, "applied": applied}
        identities = {name: answer.columns["fingerprint"] for name, answer in pair.items()}
        columns = applied.columns | {"fingerprint": fingerprint(**identities, **settings)}
        states = fitted.extraction, applied.extraction
        profiles.append(embedding_profile(*states, **settings, **columns, experiment=experiment))
    return validate(pd.concat(profiles, ignore_index=True), ATOMS)


def decision_profile(
    extraction: Extraction,
    *,
    unimodal: str,
    estimator: str = "exact",
    tau: float = 0.3,
    n_bootstrap: int = 100,
    n_batches: int = 50,
    seed: int = 0,
    device: str | None = None,
    **columns: object,
) -> pd.DataFrame:
    """Atoms of a model's decisions in a unimodal mode, a row each.

    Parameters
    ----------
    extraction, unimodal, tau, n_bootstrap, seed, device
        As in `pidlib.profiles.measure_mode`.
    estimator
        ``"exact"``, with certified bounds, interval and null; or ``"BATCH"``, with the spread over
        batches, neither bounds nor null.
    n_batches
        Random batches of BATCH.
    columns
        Further columns, the same in every row.
    """
    if estimator not in ("exact", "BATCH"):
        raise ValueError(f"unknown estimator {estimator!r}; choose 'exact' or 'BATCH'")
    if estimator == "exact":
        rows = measure_mode(extraction, unimodal, tau, n_bootstrap, seed, device).rows
    else:
        rows = _batch_rows(extraction, unimodal, tau, n_batches, seed)
    fixed = {"source_a": "vision", "source_b": "language", "unimodal": unimodal, "seed": seed}
    return rows.assign(**fixed, estimator=estimator, **columns)


def _batch_rows(
    extraction: Extraction, unimodal: str, tau: float, n_batches: int, seed: int
) -> pd.DataFrame:
    """Atoms by BATCH and their 95 % range over batches, both clamped at zero as published."""
    embeddings = dict(extraction.embeddings)
    if unimodal == "masked":
        decisions = extraction.masked(tau)
    else:
        decisions, index = extraction.resampled(tau), extraction.pairs.index.T
        pairs = zip(SOURCES, index, strict=True)
        embeddings = {name: embeddings[name][rows] for name, rows in pairs}
    result = batch_pid(decisions, embeddings=embeddings, n_batches=n_batches, seed=seed, **BATCH)
    atoms = list(result.spread)
    value, spread = (pd.Series(by)[atoms] for by in (result.unclamped, result.spread))
    ends = {"ci_low": value - 1.96 * spread, "ci_high": value + 1.96 * spread}
    rows = pd.DataFrame({"value_bits": pd.Series(result.atoms)[atoms]} | ends)
    return rows.assign(**rows[list(ends)].clip(lower=0)).rename_axis("atom").reset_index()


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
    """Atoms of pooled embeddings about the state at the answer position, a row each.

    Sources are the mean input embeddings of picture and question, the target is the last extracted
    state; all are quantized by codebooks fitted on other samples.

    Parameters
    ----------
    fitted, applied
        Extractions of disjoint samples with the last layer: for the codebooks, and to profile.
    n_clusters
        Codes of each variable; its cube should be well below the number of samples.
    n_permutations, n_bootstrap, seed
        As in `pidlib.estimate`.
    columns
        Further columns, the same in every row.
    """
    options = {"n_permutations": n_permutations, "n_bootstrap": n_bootstrap, "seed": seed}
    result = estimate(*embedding_codes(fitted, applied, n_clusters, seed), **options)
    fixed = {"source_a": "vision", "source_b": "language", "unimodal": "codes", "seed": seed}
    fixed |= {"estimator": "exact", "layer": applied.layers[-1], "n_codes": n_clusters}
    return pd.DataFrame(result.rows()).assign(**fixed, **columns)


def embedding_codes(
    fitted: Extraction,
    applied: Extraction,
    n_clusters: int,
    seed: int = 0,
    *,
    allow_degenerate: bool = False,
) -> tuple[Int[np.ndarray, " n"], ...]:
    """Codes of vision, of language and of the answer-position state, by codebooks of other samples.

    Raises
    ------
    ValueError
        If the extractions share samples, or have no layers.
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
    return tuple(quantise(*pair, n_clusters, **options) for pair in pairs)
