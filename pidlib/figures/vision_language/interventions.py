"""Figure of what interventions cost the models of a population, and of what foretells it."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from pidlib.figures import marks
from pidlib.predictors import POOLED
from pidlib.results import drawable

_ATOMS = ("synergy", "unique_vision", "unique_language", "redundancy")
_WORDS = {atom: marks.SYMBOLS[atom] for atom in _ATOMS} | {
    "co_information": "$R - S$",
    "divergence": "KL",
    "moved_language": "moved",
    "accuracy": "accuracy",
    "accuracy_language": "without picture",
    "masked_drop": "masked drop",
    "perceptual_score": "perceptual score",
    "vision_share": "V-SHAP",
}


_TITLES = {
    "noise": "picture\nnoise",
    "blank": "picture\nblank",
    "no image": "picture\nnone",
    "resampled": "picture of\nanother",
    "pixels": "pixels\nshuffled",
    "patches": "patches\nshuffled",
    "blurred": "picture\nblurred",
    "words": "words\nshuffled",
    "question": "question\nof another",
    "words as noise": "words\nnoise",
}


def fig_interventions(table: pd.DataFrame, *, allow_unconverged: bool = False) -> Figure:
    """Above, the accuracy that each intervention costs each model, by benchmark; below, what it is foretold by."""
    table = drawable(table, allow_unconverged=allow_unconverged)
    drops = table[table["kind"] == "drop"]
    outcomes = list(table.loc[table["kind"] == "correlation", "intervention"].unique())
    figure = Figure(figsize=(marks.PAGE, 6.4))
    above, below = figure.subfigures(2, 1, height_ratios=[1, 1.75])
    _drops(above, drops, outcomes)
    found = table[table["kind"] == "correlation"]
    _foretold(below, found[~found["benchmark"].isin(drops["benchmark"])], outcomes)  # means over benchmarks, and over all cells
    return figure


def _drops(figure: Figure, drops: pd.DataFrame, outcomes: Sequence[str]) -> None:
    """A panel per intervention and in it a column of points per benchmark, a point for each model; its bar is their mean."""
    benchmarks = list(drops["benchmark"].unique())
    axes = figure.subplots(1, len(outcomes), sharey=True, squeeze=False)[0]
    for ax, outcome in zip(axes, outcomes, strict=True):
        rows = drops[drops["intervention"] == outcome]
        for place, benchmark in enumerate(benchmarks):
            here = rows[rows["benchmark"] == benchmark]
            ax.barh(place, here["value"].mean(), 0.8, color=marks.NULL, linewidth=0)
            beside = place + np.linspace(-0.3, 0.3, len(here)) if len(here) > 1 else [place]
            ax.hlines(beside, here["ci_low"], here["ci_high"], color=marks.FAINT, linewidth=0.4, zorder=2)
            ax.plot(here["value"], beside, ".", color=marks.INK, markersize=1.8, zorder=3)
        ax.axvline(0, color=marks.INK, linewidth=0.6)
        ax.set_title(_TITLES[outcome], pad=3)
        ax.set_xlim(-0.35, 1.08)
        ax.set_xticks([0, 0.5, 1], ["0", ".5", "1"])
    axes[0].set_yticks(range(len(benchmarks)), map(marks.benchmark_name, benchmarks))
    axes[0].invert_yaxis()
    figure.supxlabel("accuracy lost", fontsize="medium")


def _foretold(figure: Figure, rows: pd.DataFrame, outcomes: Sequence[str]) -> None:
    """The same panels: rank correlation with the drop, a line per quantity, a marker for each mean over benchmarks and for all cells."""
    axes = figure.subplots(1, len(outcomes), sharey=True, squeeze=False)[0]
    quantities, names = list(rows["quantity"].unique()), list(rows["benchmark"].unique())
    sides = np.linspace(-0.3, 0.3, len(names))
    markers = dict(zip(names, [*"oD^s"[: len(names) - 1], "o"], strict=True))
    for ax, outcome in zip(axes, outcomes, strict=True):
        for side, (name, marker) in zip(sides, markers.items(), strict=True):
            here = rows[(rows["intervention"] == outcome) & (rows["benchmark"] == name)].set_index("quantity").reindex(quantities)
            _correlated(ax, here, np.arange(len(quantities)) + side, 0.55 / len(names), marker, filled=name != POOLED)
        ax.axvline(0, color=marks.INK, linewidth=0.6)
        ax.axhline(len(_ATOMS) + 0.5, color=marks.FAINT, linewidth=0.5)
        ax.set_xlim(-1.15, 1.15)
        ax.set_xticks([-1, 0, 1])
    axes[0].set_yticks(range(len(quantities)), [_WORDS[name] for name in quantities])
    axes[0].invert_yaxis()
    figure.supxlabel("Spearman's $\\rho$ with the accuracy lost", fontsize="medium")
    faces = {name: "white" if name == POOLED else marks.INK for name in names}
    handles = [
        Line2D([], [], linestyle="", marker=markers[name], color=face, markeredgecolor=marks.INK, markersize=3.4, label=name)
        for name, face in faces.items()
    ]
    figure.legend(handles=[*handles, marks.null_handle("models permuted, 95 %")], loc="outside upper center", ncols=3)


def _correlated(ax: Axes, rows: pd.DataFrame, places: np.ndarray, width: float, marker: str, filled: bool) -> None:
    value, low, high, null_low, null_high = (
        rows[name].to_numpy(float, na_value=np.nan) for name in ("value", "ci_low", "ci_high", "null_low", "null_high")
    )
    ax.barh(places, null_high - null_low, width, left=null_low, color=marks.NULL, linewidth=0, zorder=1)
    ax.hlines(places, low, high, color=marks.INK, linewidth=0.9, zorder=2)
    colors = [marks.COLORS.get(name, marks.INK) for name in rows.index]
    ax.scatter(value, places, s=5, marker=marker, facecolors=colors if filled else "white", edgecolors=colors, linewidths=0.6, zorder=3)
