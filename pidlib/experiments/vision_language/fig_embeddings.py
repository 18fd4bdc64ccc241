"""Which atoms do a model's embeddings have?

The sources are pooled embeddings at the input of the language model, the target is the last state
at the answer position; all become k-means codes, by codebooks of other samples, or are decomposed
by their covariance (estimator ``Gaussian``).
"""

import numpy as np
import pandas as pd

from pidlib._common import fingerprint
from pidlib.experiments import ATOMS, Preset, Request, booktabs, extract_all, style, validate
from pidlib.experiments import decision_profiles as profiles
from pidlib.experiments.vision_language.panels import compare
from pidlib.extraction import SOURCES

COLUMNS = ATOMS


def requests(preset: Preset) -> list[Request]:
    """States at the answer position after every block, for the codebooks and to profile."""
    return [profiles.embedding_request(preset)]


def measure(preset: Preset) -> pd.DataFrame:
    """Atoms of each model on each benchmark, with null, correction and interval."""
    settings = preset.model_dump(include={"n_clusters", *profiles.ESTIMATION})
    options = {"seed": preset.seed, "n_draws": min(profiles.N_DRAWS, preset.n_permutations)}
    tables = []
    for fitted, (states, columns) in extract_all(preset, *requests(preset)):
        applied = columns.pop("fingerprint")
        key = fingerprint(fitted=fitted.columns["fingerprint"], applied=applied, **settings)
        rows = profiles.embedding_profile(preset, fitted.extraction, states)
        tables.append(rows.assign(**columns, fingerprint=key))
        parts = [*(states.embeddings[name] for name in SOURCES), states.hidden[:, -1]]
        key = fingerprint(applied=applied, **profiles.GAUSSIAN, **options)
        columns |= {"layer": states.layers[-1], "seed": preset.seed, "fingerprint": key}
        tables.append(profiles.gaussian_rows(parts, **options).assign(**columns))
    return validate(pd.concat(tables).assign(experiment="vision_language"), COLUMNS)


def figure(table: pd.DataFrame) -> style.Figure:
    """Atoms corrected for sampling bias as bars, plug-in values as markers."""
    table = table[table["estimator"] == "exact"]
    # the interval is of the corrected value
    plug_in = table.assign(corrected_bits=np.nan, ci_low=np.nan, ci_high=np.nan)
    words = "bars: corrected for bias; markers: plug-in", "null of plug-in: shuffled"
    return compare(table.assign(bits=table["corrected_bits"]), plug_in, *words)


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
    return booktabs(["benchmark", "model", *symbols], rows, align="ll" + "r" * 8)
