"""How much do picture and question contribute to the states of a model of pretrained parts?"""

from collections.abc import Iterator

import numpy as np
import pandas as pd

from pidlib.decomposition.codes import quantize
from pidlib.decomposition.estimate import estimate
from pidlib.experiments import Preset, Query, Request, decision_profiles, extract_all, style
from pidlib.experiments.real.table_profiles import name
from pidlib.experiments.tables import ATOMS, booktabs, declare, heading, validate, with_interval
from pidlib.extraction import FULL, SOURCES

SHARES = ("contribution", "contribution_low", "contribution_high")  # U_l / (U_l + U_v), of codes
COLUMNS = declare(ATOMS, *SHARES, "unique_p")
_KINDS = {"exact": "codes", "Gaussian": "covariance"}


def requests(preset: Preset) -> list[Request]:
    """The last state of each model of the population, with both modalities."""
    query = Query(preset.split, preset.n_contributions, preset.seed, (FULL,), layers=(-1,))
    return [Request(preset.population, preset.benchmarks, (query,))]


def measure(preset: Preset) -> pd.DataFrame:
    """Atoms of embeddings about the last state; a first third of the questions fits codebooks."""
    settings, k = preset.model_dump(include=decision_profiles.ESTIMATION), preset.contribution_codes
    options = {"n_clusters": k, "seed": preset.seed, "allow_degenerate": True}
    draws, tables = min(decision_profiles.N_DRAWS, preset.n_permutations), []
    for (answer,) in extract_all(preset, *requests(preset)):
        states, third = answer.extraction, len(answer.extraction) // 3
        parts = [*(states.embeddings[source] for source in SOURCES), states.hidden[:, -1]]
        codes = (quantize(part[:third], part[third:], **options) for part in parts)
        result = estimate(*codes, **settings)
        shares = {f"unique_{source}": result.contribution(source) for source in SOURCES}
        rows = pd.DataFrame(result.rows()).join(pd.DataFrame(shares).T, on="atom")
        linear = decision_profiles.gaussian_rows(parts, preset.seed, draws)
        columns = answer.row_columns("real", n_clusters=k, n_draws=draws, **settings)
        columns["layer"] = states.layers[-1]
        tables.append(linear.assign(**columns))
        columns |= decision_profiles.CODES | {"n_codes": k, "n_samples": len(states) - third}
        tables.append(rows.assign(**columns))
    return validate(pd.concat(tables).assign(seed=preset.seed), COLUMNS)


def summary(table: pd.DataFrame) -> Iterator[str]:
    """Sentences: in how many cells there is a share, and whether it is mostly of language."""
    cells = table[(table["estimator"] == "exact") & (table["atom"] == "unique_language")]
    known = cells.dropna(subset="contribution")
    language, vision = known["contribution_low"] > 0.5, known["contribution_high"] < 0.5
    text = f"Unique information is significant in {len(known)} of {len(cells)} cells; language "
    yield f"{text}leads, with its interval, in {language.sum()} and vision in {vision.sum()}."
    means = table[table["atom"] == "synergy"].groupby("estimator", sort=False)["corrected_bits"]
    for estimator, bits in means.mean().dropna().items():
        yield f"Synergy by {_KINDS[estimator]} is {bits:.2f} bits on average."


def latex(table: pd.DataFrame) -> str:
    """Shares of language by task and model; below, the means of the atoms over models."""
    tasks, models = list(table["benchmark"].unique()), list(table["model"].unique())
    header = ["", *map(name, tasks)]
    shares = table[(table["estimator"] == "exact") & (table["atom"] == "unique_language")]
    cells = shares.set_index(["model", "benchmark"])[list(SHARES)].astype(float) * 100
    lines = [heading(r"$C_\ell$ of codes, per cent with 95\,\% interval", len(header))]
    for model in models:
        rows = (cells.loc[(model, task)] for task in tasks)
        shown = [None if np.isnan(row.iloc[0]) else with_interval(*row, digits=0) for row in rows]
        lines.append([style.model_name(model).replace("_", " "), *shown])
    for estimator, kind in _KINDS.items():
        lines.append(heading(f"atoms by {kind}, bits, mean over models", len(header), r"\midrule"))
        block = table[table["estimator"] == estimator]
        means = block.groupby(["atom", "benchmark"])["corrected_bits"].mean().astype(float)
        for atom in style.VISION_LANGUAGE:
            lines.append([style.SYMBOLS[atom], *(means.get((atom, task)) for task in tasks)])
    return booktabs(header, lines, digits=2)
