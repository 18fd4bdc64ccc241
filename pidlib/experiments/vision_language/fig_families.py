r"""Are the profiles of two models alike if they share a family, a size, or only their accuracy?

Spearman's :math:`\rho` of each pair of models over the atoms on all benchmarks: ``profile``, or
``deviation`` from the mean model, about -1 / (n - 1) for unrelated models.
"""

from textwrap import fill

import numpy as np
import pandas as pd
from jaxtyping import Bool

from pidlib._common import derive_seed, fingerprint
from pidlib.experiments import COMPUTED, Preset, declare, population, style, validate
from pidlib.experiments.statistics import permutation_p, standardized_ranks
from pidlib.experiments.words import listed, number, p_value

MEASURES = {"profile": "all four atoms", "deviation": "four atoms minus the mean of all models"}
GROUPS = ("same family", "same family and size", "same size", "alike in accuracy")
_MEAN = {"marker": "|", "linestyle": "", "color": style.INK, "markeredgewidth": 2}
COLUMNS = declare(
    "experiment measure kin model_a model_b family_a family_b size_a size_b accuracy_apart rho",
    f"null_mean null_low null_high null_p n_pairs n_cells n_samples seed {COMPUTED}",
    required="experiment measure n_cells n_samples fingerprint",
)


requests = population.requests


def measure(preset: Preset) -> pd.DataFrame:
    """Rank correlations of all pairs, and their means over the pairs of each group."""
    return pair_correlations(population.population_table(preset), preset.n_resamples, preset.seed)


def pair_correlations(models: pd.DataFrame, n_resamples: int, seed: int = 0) -> pd.DataFrame:
    """A row for each pair of models, then for the mean of each of `GROUPS` with its null."""
    columns = {"family": "first", "size": "first", "accuracy": "mean"}
    facts = models.groupby("model", sort=False).agg(columns).reset_index()
    atoms = [f"{atom}_bits" for atom in population.ATOMS]
    profiles = models.pivot(index="model", columns="benchmark", values=atoms)
    profiles = profiles.loc[facts["model"]].to_numpy(float)
    upper = np.triu_indices(len(facts), 1)
    a, b = (facts.iloc[side].reset_index(drop=True) for side in upper)
    pairs = a.add_suffix("_a").join(b.add_suffix("_b"))
    pairs["accuracy_apart"] = (pairs.pop("accuracy_a") - pairs.pop("accuracy_b")).abs()
    generator, n = np.random.default_rng(derive_seed(seed, "agreement")), len(facts)
    orders = [np.arange(n), *(generator.permutation(n) for _ in range(n_resamples))]
    parts = []
    for name in MEASURES:
        centre = profiles.mean(0) if name == "deviation" else 0
        ranks = standardized_ranks((profiles - centre).round(population.DECIMALS).T)
        rho = ranks.T @ ranks
        permuted = np.stack([rho[np.ix_(order, order)][upper] for order in orders])
        parts.append(pairs.assign(rho=rho[upper], measure=name))
        for group, chosen in pair_groups(pairs).items():
            row = {"kin": group, "n_pairs": chosen.sum(), "measure": name}
            if chosen.any() and not chosen.all():
                mean, *null = np.nanmean(permuted[:, chosen], axis=1)
                row |= {"rho": mean, "null_mean": np.mean(null)}
                row["null_low"], row["null_high"] = np.quantile(null, (0.025, 0.975))
                row["null_p"] = permutation_p(mean, np.array(null))
            parts.append(pd.DataFrame([row]))
    key = {"population": models["fingerprint"].tolist(), "n_resamples": n_resamples, "seed": seed}
    shared = {"experiment": models["experiment"].iloc[0], "n_samples": models["n_samples"].min()}
    shared |= {"n_cells": profiles.shape[1], "converged": bool(models["converged"].all())}
    shared |= {"seed": seed, "fingerprint": fingerprint(**key)}
    return validate(pd.concat(parts).assign(**shared), COLUMNS)


def pair_groups(pairs: pd.DataFrame) -> dict[str, Bool[np.ndarray, " pairs"]]:
    """Which pairs belong to each of `GROUPS`; alike in accuracy are those below the median."""
    same = (pairs[f"{name}_a"] == pairs[f"{name}_b"] for name in ("family", "size"))
    family, size = (each.to_numpy(bool, na_value=False) for each in same)
    apart = pairs["accuracy_apart"].to_numpy(float)
    chosen = (family, family & size, size, apart < np.median(apart))
    return dict(zip(GROUPS, chosen, strict=True))


def figure(table: pd.DataFrame) -> style.Figure:
    """The pairs of each group and their mean, with its null; a panel for each measure."""
    result = style.page(2.7)
    axes = result.subplots(1, len(MEASURES), sharey=True)
    y = np.arange(len(GROUPS))
    for ax, (name, title) in zip(axes, MEASURES.items(), strict=True):
        rows = table[table["measure"] == name]
        pairs = rows[rows["kin"].isna()]
        means = rows.dropna(subset="kin").set_index("kin").reindex(GROUPS)
        for place, chosen in zip(y, pair_groups(pairs).values(), strict=True):
            rho = style.floats(pairs.loc[chosen, "rho"])
            look = {"color": style.OTHERS[1], "markersize": 3, "markeredgewidth": 0, "zorder": 2}
            ax.plot(rho, place + 0.04 * (np.arange(len(rho)) % 7 - 3), ".", **look)
        mean, low, high = style.floats(means, "rho", "null_low", "null_high")
        ax.barh(y, high - low, 0.6, low, color=style.NULL, linewidth=0, zorder=1)
        ax.plot(mean, y, markersize=19, zorder=3, **_MEAN)
        for place, row in zip(y, means.itertuples(), strict=True):
            if pd.notna(row.rho):
                off = int(row.rho > row.null_high) - int(row.rho < row.null_low)
                null = f"{number(row.null_low)} to {number(row.null_high)}"
                text = f"{number(row.rho)}, {p_value(row.null_p)}\n"
                text += f"{('inside', 'above', 'below')[off]} null {null}"
                look = {"fontsize": 7, "weight": "bold" if off else "normal"}
                ax.text(2.2, place, text, ha="right", va="center", linespacing=1.1, **look)
        ax.axvline(0, color=style.FAINT, linewidth=0.6, zorder=0)
        above = fill(f"more alike than chance: {listed(means.index[mean > high])}", 56)
        ax.set(title=f"{title}\n{above}", xlim=(-1.05, 2.25))
        ax.set_xticks([-1, 0, 1])
        ax.grid(visible=False)
    labels = [group.replace(" and", "\nand") for group in GROUPS[:-1]]
    style.name_rows(axes[0], [*labels, "similar accuracy: closer\nthan the median pair"])
    words = r"rank correlation $\rho$ of a pair over benchmarks; $p$ one-sided: at least as high"
    result.supxlabel(words, fontsize="medium")
    pair = style.handle("a pair of models", marker=".", color=style.OTHERS[1])
    null = style.null_handle("null: models permuted, two-sided 95 % of means")
    style.legend(result, 3, pair, style.handle("mean of pairs", markersize=9, **_MEAN), null)
    return result
