r"""Are the profiles of two models alike if they share a family, a size, or only their accuracy?

Spearman's :math:`\rho` of each pair of models over the atoms on all benchmarks: ``profile``, or
``deviation`` from the mean model, about -1 / (n - 1) for unrelated models.
"""

import numpy as np
import pandas as pd
from jaxtyping import Bool
from matplotlib.image import AxesImage

from pidlib._common import derive_seed, fingerprint
from pidlib.experiments import COMPUTED, Preset, Request, declare, population, style, validate
from pidlib.experiments.population import ATOMS, DECIMALS
from pidlib.experiments.statistics import permutation_p, standardized_ranks

MEASURES = {"profile": ("o", "atoms"), "deviation": ("D", "minus the mean model")}
GROUPS = ("same family", "same family and size", "same size", "alike in accuracy")
COLUMNS = declare(
    "experiment measure kin model_a model_b family_a family_b size_a size_b accuracy_apart rho",
    f"null_mean null_low null_high null_p n_pairs n_cells n_samples seed {COMPUTED}",
    required="experiment measure n_cells n_samples fingerprint",
)


def requests(preset: Preset) -> list[Request]:
    """Both modalities and each alone, of the population."""
    return [population.request(preset)]


def measure(preset: Preset) -> pd.DataFrame:
    """Rank correlations of all pairs, and their means over the pairs of each group."""
    return pair_correlations(population.population_table(preset), preset.n_resamples, preset.seed)


def pair_correlations(models: pd.DataFrame, n_resamples: int, seed: int = 0) -> pd.DataFrame:
    """A row for each pair of models, then a row for the mean of each of `GROUPS`, named in ``kin``.

    ``alike in accuracy`` are the pairs whose mean accuracies differ by less than the median:
    equally trained rather than equally built. The null permutes the models. ``rho`` is missing for
    constant profiles, and for a group of no pair or of all pairs.
    """
    columns = {"family": "first", "size": "first", "accuracy": "mean"}
    facts = models.groupby("model", sort=False).agg(columns).reset_index()
    atoms = [f"{atom}_bits" for atom in ATOMS]
    profiles = models.pivot(index="model", columns="benchmark", values=atoms)
    profiles = profiles.loc[facts["model"]].to_numpy(float)
    upper = np.triu_indices(len(facts), 1)
    a, b = (facts.iloc[side].reset_index(drop=True) for side in upper)
    pairs = a.add_suffix("_a").join(b.add_suffix("_b"))
    pairs["accuracy_apart"] = (pairs.pop("accuracy_a") - pairs.pop("accuracy_b")).abs()
    generator = np.random.default_rng(derive_seed(seed, "agreement"))
    orders = [np.arange(len(facts))]
    orders += [generator.permutation(len(facts)) for _ in range(n_resamples)]
    parts = []
    for name in MEASURES:
        centre = profiles.mean(0) if name == "deviation" else 0
        ranks = standardized_ranks((profiles - centre).round(DECIMALS).T)
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
    population = models["fingerprint"].tolist()
    key = fingerprint(population=population, n_resamples=n_resamples, seed=seed)
    shared = {"experiment": models["experiment"].iloc[0], "n_samples": models["n_samples"].min()}
    shared |= {"n_cells": profiles.shape[1], "converged": bool(models["converged"].all())}
    return validate(pd.concat(parts).assign(**shared, seed=seed, fingerprint=key), COLUMNS)


def pair_groups(pairs: pd.DataFrame) -> dict[str, Bool[np.ndarray, " pairs"]]:
    """Which pairs belong to each of `GROUPS`."""
    same = (pairs[f"{name}_a"] == pairs[f"{name}_b"] for name in ("family", "size"))
    family, size = (each.to_numpy(bool, na_value=False) for each in same)
    apart = pairs["accuracy_apart"].to_numpy(float)
    chosen = (family, family & size, size, apart < np.median(apart))
    return dict(zip(GROUPS, chosen, strict=True))


def figure(table: pd.DataFrame) -> style.Figure:
    """All pairs in the order of families, and the pairs of each group against permuted models."""
    result = style.page(3.7)
    left, right = result.subplots(1, 2, width_ratios=(1.2, 1))
    image = _draw_pairs(left, table[table["kin"].isna()])
    place = {"location": "bottom", "shrink": 0.9, "aspect": 35, "pad": 0.03}
    bar = result.colorbar(image, ax=left, ticks=[-1, -0.5, 0, 0.5, 1], **place)
    bar.set_label("below: atoms; above: atoms minus those of the mean model")
    for index, (name, rows) in enumerate(table.groupby("measure", sort=False)):
        pairs = rows[rows["kin"].isna()]
        y = np.arange(len(GROUPS)) + (index - 0.5) * 0.42
        look = {"color": style.OTHERS[1], "markersize": 3, "markeredgewidth": 0, "zorder": 2}
        for place, chosen in zip(y, pair_groups(pairs).values(), strict=True):
            rho = style.floats(pairs.loc[chosen, "rho"])
            right.plot(rho, place + 0.04 * (np.arange(len(rho)) % 7 - 3), ".", **look)
        means = rows.dropna(subset="kin").set_index("kin").reindex(GROUPS)
        mean, low, high = style.floats(means, "rho", "null_low", "null_high")
        look = {"color": style.NULL, "edgecolor": style.FAINT, "linewidth": 0.6, "zorder": 1}
        right.barh(y, high - low, 0.36, low, **look)
        right.plot(mean, y, MEASURES[name][0], color=style.INK, markersize=4, zorder=3)
    labels = [group.replace(" and", "\nand").replace(" in", "\nin") for group in GROUPS]
    right.set_yticks(range(len(GROUPS)), labels)
    right.set(xlabel=r"rank correlation $\rho$ of two models", xlim=(-1.05, 1.05))
    right.set_ylim(len(GROUPS) - 0.5, -0.5)
    right.grid(visible=False)
    right.axvline(0, color=style.NULL, linewidth=0.8, zorder=0)
    entries = ((f"mean, {words}", marker, style.INK) for marker, words in MEASURES.values())
    handles = style.marker_handles(entries, markersize=4)
    handles.append(style.handle("pairs", marker=".", color=style.OTHERS[1]))
    handles.append(style.null_handle("95 % of means, labels shuffled"))
    result.legend(handles=handles, loc="outside upper center", ncols=4)
    return result


def _draw_pairs(ax: style.Axes, pairs: pd.DataFrame) -> AxesImage:
    """Models ordered by family, size and name; `profile` below the diagonal, `deviation` above."""
    order = ["family", "size", "model"]
    sides = [pairs[[f"{name}_{side}" for name in order]].set_axis(order, axis=1) for side in "ab"]
    models = pd.concat(sides).drop_duplicates("model").sort_values(order)
    place = {name: index for index, name in enumerate(models["model"])}
    image = np.full((len(models), len(models)), np.nan)
    for row, rho in zip(pairs.itertuples(), style.floats(pairs["rho"]), strict=True):
        first, second = sorted((place[row.model_a], place[row.model_b]))
        image[(second, first) if row.measure == "profile" else (first, second)] = rho
    drawn = ax.imshow(image, cmap="RdBu_r", vmin=-1, vmax=1)
    families = models["family"].to_numpy()
    ends = np.flatnonzero(families[1:] != families[:-1]) + 0.5
    for line in (ax.hlines, ax.vlines):
        line(ends, -0.5, len(models) - 0.5, color="white", linewidth=1)
    labels = [f"{style.model_name(name)}  {n}" for n, name in enumerate(models["model"], 1)]
    ax.set_yticks(range(len(models)), labels, fontsize=5.5)
    ax.set_xticks(range(len(models)), range(1, len(models) + 1), fontsize=5)
    ax.grid(visible=False)
    ax.spines[:].set_visible(False)
    ax.tick_params(length=0)
    return drawn
