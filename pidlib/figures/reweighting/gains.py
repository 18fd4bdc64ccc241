"""What PID weights gain: against the synergy of the base, by the numbers of the method, and by prior, length of training and base."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from pidlib.benchmarks import PRIOR
from pidlib.figures import marks
from pidlib.results import drawable
from pidlib.reweighting import CONDITIONS
from pidlib.reweighting_tables import BASE, PID, UNIFORM

_AGAINST = {BASE: "gain over the base", UNIFORM: "gain over uniform weights"}
_MEASURES = {"accuracy": "accuracy, points", "synergy": "$S$, bits", "unique_language": r"$U_\ell$, bits"}
_TRAINED = (marks.OTHERS[1], marks.OTHERS[3], marks.OTHERS[2], marks.OTHERS[4])  # what was trained on; orange is the PID weights
_AXES = {"prior strength": "captions that are right, %", "training length": "steps of training", "base": "base (a column each)"}


def fig_gain(table: pd.DataFrame, *, allow_unconverged: bool = False) -> Figure:
    """Gain in accuracy against the base's synergy, a marker for each base, training and benchmark, dots its seeds; rho in the corner."""
    table = drawable(table, allow_unconverged=allow_unconverged)
    cells, seeds, ranked = (table[table["kind"] == kind] for kind in ("gain", "seed", "rank"))
    ranked = ranked[ranked["level"] == "all"]
    bases, trained = list(cells["base"].unique()), list(cells["trained_on"].unique())
    colors = dict(zip(trained, _TRAINED, strict=False))
    figure = Figure(figsize=(marks.PAGE, 3.6))
    for ax, (against, words) in zip(figure.subplots(1, 2), _AGAINST.items(), strict=True):
        ax.axhline(0, color=marks.INK, linewidth=0.6, zorder=1)
        for one in seeds[seeds["against"] == against].itertuples():
            ax.plot(one.base_value, 100 * one.difference, ".", color=colors[one.trained_on], markersize=1.8, alpha=0.4, zorder=2)
        for one in cells[cells["against"] == against].dropna(subset="base_value").itertuples():
            marks.interval(ax, [one.base_value], [_points(one.ci_low)], [_points(one.ci_high)])
            marker = marks.MARKERS[bases.index(one.base)]
            marks.points(ax, [one.base_value], [_points(one.difference)], marker, color=colors[one.trained_on], markeredgewidth=0.4)
        ax.set(xlabel="synergy $S$ of the base there (balanced: of its profile), bits", ylabel="accuracy, points")
        ax.set_title(words + _rho(ranked[ranked["against"] == against]))
    shades = [
        Line2D([], [], linestyle="", marker="s", markersize=3.6, color=color, label=f"trained on {marks.benchmark_name(name)}")
        for name, color in colors.items()
    ]
    figure.legend(handles=[*marks.model_handles(bases), *shades], loc="outside upper center", ncols=3)
    return figure


def _points(share: float) -> float:
    return np.nan if pd.isna(share) else 100 * share


def _rho(ranked: pd.DataFrame) -> str:
    if ranked.empty or pd.isna(ranked["value"].iloc[0]):
        return ""
    row = ranked.iloc[0]
    text = f"$\\rho$ = {row['value']:.2f} [{row['ci_low']:.2f}, {row['ci_high']:.2f}] over seeds, null up to {row['null_high']:.2f}"
    return "\n" + text.replace("-", "−")


def fig_ablation(table: pd.DataFrame, *, allow_unconverged: bool = False) -> Figure:
    """PID weights less uniform ones, a row for each level of each axis, a column for each measure; both trainings side by side."""
    table = drawable(table, allow_unconverged=allow_unconverged)
    table = table[(table["condition"] == PID) & (table["against"] == UNIFORM)]
    rows = table[["axis", "level"]].drop_duplicates().reset_index(drop=True)
    gaps = pd.factorize(rows["axis"])[0]
    places = {key: index + 0.6 * gap for index, (key, gap) in enumerate(zip(map(tuple, rows.to_numpy()), gaps, strict=True))}
    trained = list(table["trained_on"].unique())
    figure = Figure(figsize=(marks.PAGE, 0.2 * max(places.values()) + 1.3))
    axes = figure.subplots(1, len(_MEASURES), sharey=True)
    for ax, (measure, words) in zip(axes, _MEASURES.items(), strict=True):
        for index, name in enumerate(trained):
            some = table[(table["measure"] == measure) & (table["trained_on"] == name)]
            y = [places[key] + 0.3 * (index - (len(trained) - 1) / 2) for key in zip(some["axis"], some["level"], strict=True)]
            _forest(ax, some, y, _TRAINED[index], marks.MARKERS[index])
        ax.axvline(0, color=marks.INK, linewidth=0.6, zorder=1)
        ax.set_xlabel(words)
        ax.grid(axis="x")
        ax.grid(visible=False, axis="y")
    axes[0].set_yticks(list(places.values()), [f"{axis}: {level}" for axis, level in places], fontsize=6.5)
    axes[0].set_ylim(max(places.values()) + 0.6, -0.6)
    figure.supxlabel("PID weights less uniform", fontsize="medium")
    handles = [
        Line2D([], [], color=_TRAINED[i], marker=marks.MARKERS[i], linewidth=0.9, label=marks.benchmark_name(name))
        for i, name in enumerate(trained)
    ]
    null = marks.null_handle("signs at random, 95 %")
    figure.legend(handles=[*handles, null], loc="outside upper center", ncols=3)
    return figure


def _forest(ax: Axes, rows: pd.DataFrame, y: Sequence[float], color: str, marker: str) -> None:
    factor = 100 if rows["measure"].eq("accuracy").all() else 1
    value, low, high, null = (
        factor * rows[name].to_numpy(float, na_value=np.nan) for name in ("difference", "ci_low", "ci_high", "null_high")
    )
    ax.use_sticky_edges = False
    ax.barh(y, 2 * np.nan_to_num(null), 0.26, left=-np.nan_to_num(null), color=marks.NULL, alpha=0.75, linewidth=0, zorder=0.5)
    ax.hlines(y, low, high, color=color, linewidth=0.9)
    ax.plot(value, y, marker, color=color, markersize=3, markeredgecolor="white", markeredgewidth=0.3, zorder=3)


def fig_when(table: pd.DataFrame, *, allow_unconverged: bool = False) -> Figure:
    """By strength of the prior, length of training and base: above, accuracies on balanced questions; below, PID less uniform weights."""
    table = drawable(table, allow_unconverged=allow_unconverged)
    table = table[table["measure"] == "accuracy"]
    shown = [name for name in _AXES if name in set(table["axis"])]
    trained = list(table.loc[table["axis"] == "base", "trained_on"].unique())
    captions = next((one for one in trained if one in PRIOR), trained[0])
    figure = Figure(figsize=(marks.PAGE, 4.4))
    axes = figure.subplots(2, len(shown), sharey="row", sharex="col", squeeze=False)
    for (above, below), name in zip(axes.T, shown, strict=True):
        here = table[table["axis"] == name]
        levels = list(here["level"].unique())
        groups = {captions: here} if name == "prior strength" else dict(list(here.groupby("trained_on", sort=False)))
        for on, some in groups.items():
            color = _TRAINED[trained.index(on)]
            side = 0.18 * (list(groups).index(on) - (len(groups) - 1) / 2)
            _accuracies(above, some, levels, side, color, joined=name != "base")
            _differences(below, some[(some["condition"] == PID) & (some["against"] == UNIFORM)], levels, side, color)
        below.axhline(0, color=marks.INK, linewidth=0.6, zorder=1)
        labels = [marks.model_name(one).replace(", ", " ").replace(" ", "\n") for one in levels] if name == "base" else levels
        below.set_xticks(range(len(levels)), labels, fontsize=6 if name == "base" else None)
        below.set_xlim(-0.5, len(levels) - 0.5)
        below.set_xlabel(_AXES[name])
    axes[0, 0].set_ylabel("accuracy, balanced questions")
    axes[1, 0].set_ylabel("PID less uniform, points")
    handles = [
        Line2D([], [], color=_TRAINED[i], linewidth=1.2, label=f"trained on {marks.benchmark_name(name)}") for i, name in enumerate(trained)
    ]
    handles = [*marks.condition_handles((BASE, UNIFORM, PID), CONDITIONS), *handles, marks.null_handle("signs at random, 95 %")]
    figure.legend(handles=handles, loc="outside upper center", ncols=3)
    return figure


def _accuracies(ax: Axes, rows: pd.DataFrame, levels: Sequence[str], side: float, color: str, joined: bool) -> None:
    """A line for each condition, where the levels have an order; a whisker is the standard deviation of the seeds."""
    for letter in (BASE, UNIFORM, PID):
        some = rows[rows["condition"] == letter].drop_duplicates("level")
        x = [levels.index(level) + side for level in some["level"]]
        value, spread = (some[name].to_numpy(float, na_value=np.nan) for name in ("value", "spread"))
        face, marker = marks.CONDITION_LOOKS[letter]
        if letter != BASE:
            marks.interval(ax, x, value - spread, value + spread, color=color, linewidth=0.6)
        if joined:
            ax.plot(x, value, color=color, linewidth=0.6, linestyle=":" if letter == BASE else "-")
        marks.points(ax, x, value, marker, color=face, markeredgecolor=color, markersize=3)


def _differences(ax: Axes, rows: pd.DataFrame, levels: Sequence[str], side: float, color: str) -> None:
    x = np.array([levels.index(level) + side for level in rows["level"]])
    value, low, high, null = (
        100 * rows[name].to_numpy(float, na_value=np.nan) for name in ("difference", "ci_low", "ci_high", "null_high")
    )
    ax.use_sticky_edges = False
    ax.bar(x, 2 * np.nan_to_num(null), 0.13, bottom=-np.nan_to_num(null), color=marks.NULL, alpha=0.75, linewidth=0, zorder=0.5)
    marks.interval(ax, x, low, high, color=color)
    marks.points(ax, x, value, "D", color=color, markeredgewidth=0.3)
