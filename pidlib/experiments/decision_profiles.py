"""Atoms of the models of a preset, from their decisions and from their embeddings."""

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd
from jaxtyping import Int

from pidlib.decomposition.codes import N_COMPONENTS, quantize
from pidlib.decomposition.estimate import estimate
from pidlib.decomposition.gaussian import gaussian_pid
from pidlib.experiments import Extracted, Preset, Query, Request
from pidlib.experiments.definitions import with_others
from pidlib.extraction import FULL, PASSES, SOURCES, Extraction, drawn
from pidlib.profiles.modes import measure_mode

CODES = {"source_a": "vision", "source_b": "language", "unimodal": "codes", "estimator": "exact"}
ESTIMATION = {"n_permutations", "n_bootstrap", "seed"}  # settings of `pidlib.estimate`
GAUSSIAN = {"n_components": N_COMPONENTS, "shrinkage": 0.1}  # a function has infinite bits
N_DRAWS = 49  # of `gaussian_rows`, which each take a solution; the least p-value is .02


def request(preset: Preset, benchmarks: Sequence[str] = ()) -> Request:
    """All passes of a profile of the preset's models, by default on all of its benchmarks."""
    partners = preset.partners if "resampled" in preset.unimodal else 0
    asked = preset.split, preset.n_samples, preset.seed, drawn(PASSES, preset.draws)
    return Request(preset.models, benchmarks or preset.benchmarks, (Query(*asked, partners),))


def mode_profiles(
    preset: Preset, answer: Extracted, experiment: str, others: bool = False, **identified: str
) -> Iterator[pd.DataFrame]:
    """Atoms of decisions by mode, and by `others` of `definitions`; `identified` by fingerprint."""
    settings = preset.model_dump(include={"tau", "n_halves", "seed"})
    for unimodal in preset.unimodal:
        measured = measure_mode(answer.extraction, unimodal, **settings, device=preset.device)
        columns = answer.row_columns(experiment, unimodal=unimodal, **settings, **identified)
        rows = with_others(measured.rows, measured.solved.others if others else {})
        yield rows.assign(**columns, estimator="exact", seed=preset.seed)


def embedding_request(preset: Preset) -> Request:
    """States at the answer position after every block: of samples to fit codes, and to profile."""
    fitted = "validation" if preset.split == "train" else "train"
    query = Query(preset.split, preset.n_embedded, preset.seed, (FULL,), layers=None)
    return Request(preset.models, preset.benchmarks, (query._replace(split=fitted), query))


def embedding_profile(preset: Preset, fitted: Extraction, applied: Extraction) -> pd.DataFrame:
    """Atoms of the codes of pooled embeddings about that of the last state at the answer."""
    k, options = preset.n_clusters, preset.model_dump(include=ESTIMATION)
    result = estimate(*embedding_codes(fitted, applied, k, preset.seed), **options)
    fixed = CODES | {"layer": applied.layers[-1], "n_codes": k, "seed": preset.seed}
    return pd.DataFrame(result.rows()).assign(**fixed)


def gaussian_rows(parts: Sequence[np.ndarray], seed: int, n_draws: int = N_DRAWS) -> pd.DataFrame:
    """Atoms of two sources and a target, [n, d] each, by covariance; none if one is constant."""
    if any(np.ptp(part, axis=0).max() <= 1e-6 * np.abs(part).max() for part in parts):
        return pd.DataFrame()
    rows = gaussian_pid(*parts, **GAUSSIAN, n_draws=n_draws, seed=seed).rows()
    return pd.DataFrame(rows).assign(**CODES | {"unimodal": "embeddings", "estimator": "Gaussian"})


def embedding_codes(
    fitted: Extraction, applied: Extraction, n_clusters: int, seed: int = 0, **options: bool
) -> tuple[Int[np.ndarray, " n"], ...]:
    """Codes of vision, language and the last state, by codebooks of other samples: `quantize`."""
    if shared := set(fitted.sample_ids) & set(applied.sample_ids):
        text = f"{len(shared)} are in both, such as {min(shared)}; give your table a column split"
        raise ValueError(f"codebooks must come from other samples, but {text}")
    if fitted.hidden is None or applied.hidden is None:
        raise ValueError("this extraction has no states; extract with layers=(..., last)")
    pairs = [(fitted.embeddings[name], applied.embeddings[name]) for name in SOURCES]
    pairs.append((fitted.hidden[:, -1], applied.hidden[:, -1]))
    return tuple(quantize(*pair, n_clusters, seed, **options) for pair in pairs)
