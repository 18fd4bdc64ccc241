"""Do embeddings have the same atoms as decisions?

The sources are pooled embeddings at the input of the language model, the target is the last state
at the answer position; all become k-means codes, by codebooks of other samples, or are decomposed
by their covariance (estimator ``Gaussian``).
"""

import numpy as np
import pandas as pd

from pidlib._common import fingerprint
from pidlib.experiments import Preset, Request, extract_all, style, tables
from pidlib.experiments.decision_profiles import (
    ESTIMATION,
    GAUSSIAN,
    N_DRAWS,
    embedding_profile,
    embedding_request,
    gaussian_rows,
)
from pidlib.experiments.tables import ATOMS, validate
from pidlib.experiments.vision_language.panels import compare
from pidlib.extraction import SOURCES

COLUMNS = ATOMS


def requests(preset: Preset) -> list[Request]:
    """States at the answer position, of samples for the codebooks and of samples to profile."""
    return [embedding_request(preset)]


def measure(preset: Preset) -> pd.DataFrame:
    """Atoms of each model on each benchmark, with null, correction and interval."""
    settings = preset.model_dump(include={"n_clusters", *ESTIMATION})
    profiles = []
    for fitted, (states, columns) in extract_all(preset, *requests(preset)):
        applied = columns["fingerprint"]
        key = fingerprint(fitted=fitted.columns["fingerprint"], applied=applied, **settings)
        profile = embedding_profile(preset, fitted.extraction, states)
        profiles.append(profile.assign(**columns | {"fingerprint": key}))
        parts = [*(states.embeddings[name] for name in SOURCES), states.hidden[:, -1]]
        options = {"seed": preset.seed, "n_draws": min(N_DRAWS, preset.n_permutations)}
        key = fingerprint(applied=applied, **GAUSSIAN, **options)
        fixed = {"layer": states.layers[-1], "seed": preset.seed, "fingerprint": key}
        profiles.append(gaussian_rows(parts, **options).assign(**columns | fixed))
    return validate(pd.concat(profiles).assign(experiment="vision_language"), COLUMNS)


def figure(table: pd.DataFrame) -> style.Figure:
    """Atoms corrected for sampling bias as bars, plug-in values as markers."""
    table = table[table["estimator"] == "exact"]
    bars = table.assign(bits=table["corrected_bits"])
    # the interval is of the corrected value
    plug_in = table.assign(corrected_bits=np.nan, ci_low=np.nan, ci_high=np.nan)
    words = "bars: corrected for bias; markers: plug-in"
    return compare(bars, plug_in, words, "null of plug-in: shuffled")


def latex(table: pd.DataFrame) -> str:
    """Corrected atoms in bits by codes and by covariance; dashes where a source is constant."""
    keys = ["benchmark", "model"]
    columns = {"index": keys, "columns": ["estimator", "atom"], "values": "corrected_bits"}
    cells = table.pivot(**columns).reindex(index=table.set_index(keys).index.unique())
    chosen = [(name, atom) for name in ("exact", "Gaussian") for atom in style.VISION_LANGUAGE]
    cells = cells.reindex(columns=pd.MultiIndex.from_tuples(chosen)).astype(float)
    symbols = [f"{style.SYMBOLS[atom]}{' Gaussian' * (name != 'exact')}" for name, atom in chosen]
    rows = [
        [style.benchmark_name(benchmark), style.model_name(model), *cells.loc[benchmark, model]]
        for benchmark, model in cells.index
    ]
    return tables.booktabs(["benchmark", "model", *symbols], rows, align="ll" + "r" * 8)
