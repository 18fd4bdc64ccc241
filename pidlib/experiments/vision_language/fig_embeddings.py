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
from pidlib.experiments.words import largest, share
from pidlib.extraction import SOURCES

COLUMNS = ATOMS
_TITLES = {"exact": "Codes", "Gaussian": "Covariance"}


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
    """Atoms of codes and of covariances, means over models; how often each is clearly largest."""
    benchmarks = list(table["benchmark"].unique())
    result = style.page(0.31 * len(benchmarks) + 1.1)
    axes = result.subplots(1, len(_TITLES), sharey=True)
    leading = largest(table, ["benchmark", "model", "estimator"]).unstack("estimator")
    leading = leading.reindex(columns=list(_TITLES))
    known = leading.dropna()
    same = share(known["exact"] == known["Gaussian"])
    texts = (
        f"clear in {share(leading['exact'].notna())} cells",
        f"the same in {same} cells clear in both",
    )
    for ax, (estimator, title), text in zip(axes, _TITLES.items(), texts, strict=True):
        rows = table[table["estimator"] == estimator]
        for index, atom in enumerate(style.VISION_LANGUAGE):
            group = rows[rows["atom"] == atom].groupby("benchmark")
            bits = group["corrected_bits"].agg(["mean", "min", "max"]).reindex(benchmarks)
            mean, low, high = style.floats(bits, "mean", "min", "max")
            y, color = np.arange(len(benchmarks)) + 0.2 * (index - 1.5), style.COLORS[atom]
            look = {"hatch": style.HATCHES[atom], "edgecolor": "white", "linewidth": 0}
            ax.barh(y, mean, 0.2, color=color, **look)
            ax.hlines(y, low, high, color=style.INK, linewidth=0.7, zorder=4)
        for y, benchmark in enumerate(benchmarks):
            atoms = leading.loc[benchmark, estimator].value_counts()
            words = ", ".join(f"{style.SYMBOLS[atom]} {n}" for atom, n in atoms.items())
            words = words or "none" if benchmark in set(rows["benchmark"]) else "constant"
            style.beside(ax, y, words)
        ax.axvline(0, color=style.INK, linewidth=0.6)
        ax.grid(visible=False, axis="y")
        ax.set(title=f"{title}: largest atom\n{text}", xlabel="bits, mean over models")
    style.name_rows(axes[0], list(map(style.benchmark_name, benchmarks)))
    words = style.handle(f"right: clearly largest in how many of {table['model'].nunique()}")
    line = style.line_handle("range over models", 0.7)
    style.legend(result, 3, *style.atom_handles(), line, words)
    return result


def latex(table: pd.DataFrame) -> str:
    """Corrected atoms in bits by codes and by covariance; dashes where a source is constant."""
    keys = ["benchmark", "model"]
    columns = {"index": keys, "columns": ["estimator", "atom"], "values": "corrected_bits"}
    cells = table.pivot(**columns).reindex(index=table.set_index(keys).index.unique())
    chosen = [(name, atom) for name in ("exact", "Gaussian") for atom in style.VISION_LANGUAGE]
    cells = cells.reindex(columns=pd.MultiIndex.from_tuples(chosen)).astype(float)
    symbols = [f"{style.SYMBOLS[atom]}{' Gaussian' * (name != 'exact')}" for name, atom in chosen]
    names = ((style.benchmark_name(name), style.model_name(model)) for name, model in cells.index)
    rows = [[*each, *bits] for each, bits in zip(names, cells.to_numpy(), strict=True)]
    return booktabs(["benchmark", "model", *symbols], rows, align="ll" + "r" * 8)
