"""Figure of the fusion study: C_language by mechanism and seed, what the models can do, and how far the mechanism moves C_language."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from pidlib.figures import marks
from pidlib.results import drawable

_NAMES = {
    "concatenation": "concatenation",
    "product": "product",
    "bilinear": "low-rank bilinear",
    "co_attention": "co-attention",
    "language_queries": "text queries vision",
    "vision_queries": "vision queries text",
}
_TARGETS = {  # place within a row, marker, face, short and long name
    "hidden": (-0.25, "o", "white", "hidden", "about the hidden layer"),
    "hidden, same sources": (0.0, "D", "#b8d4ea", "same sources", "the same, sources of concatenation"),
    "answer": (0.25, "s", marks.FAINT, "answer", "about the model's answer"),
}


def fig_fusion(table: pd.DataFrame, *, allow_unconverged: bool = False) -> Figure:
    """A column per benchmark: C_language of each mechanism and seed, accuracies, and the range of the mechanisms' means beside its null."""
    table = drawable(table, allow_unconverged=allow_unconverged)
    models, moved, published = (table[table["kind"] == kind] for kind in ("model", "moved", "published"))
    models = models.drop_duplicates(["benchmark", "target", "model", "seed"])
    benchmarks = list(models["benchmark"].unique())
    figure = Figure(figsize=(marks.PAGE, 5.0))
    axes = figure.subplots(3, len(benchmarks), squeeze=False, sharey="row", sharex="row", height_ratios=(8, 4.5, 2.6))
    for (shares, right, points), benchmark in zip(axes.T, benchmarks, strict=True):
        here = models[models["benchmark"] == benchmark]
        shares.set_title(marks.benchmark_name(benchmark))
        _shares(shares, here)
        _accuracy(right, here)
        _moved(points, moved[moved["benchmark"] == benchmark], published)
    for ax in axes[:2, 0]:
        ax.set_yticks(range(len(_NAMES)), _NAMES.values())
        ax.set_ylim(len(_NAMES) - 0.5, -0.5)
    axes[0, 0].set_xlim(-0.03, 1.03)
    axes[2, 0].set_yticks(range(len(_TARGETS)), [short for *_, short, _ in _TARGETS.values()])
    axes[2, 0].set_ylim(len(_TARGETS) - 0.4, -0.6)
    axes[2, 0].set_xlim(left=0)
    targets = [
        Line2D([], [], linestyle="", marker=marker, color=face, markeredgecolor=marks.INK, markersize=4, label=words)
        for _, marker, face, _, words in _TARGETS.values()
    ]
    mean = Line2D([], [], linestyle="", marker="|", markersize=8, color=marks.INK, label="mean")
    once = Line2D([], [], linestyle="", marker="x", markersize=4, color=marks.INK, label="one training of each: mean over seeds")
    null = marks.null_handle("null")
    figure.legend(handles=[*targets, mean, null], loc="outside upper center", ncols=5)
    if len(published):
        line = Line2D(
            [], [], color=marks.OTHERS[0], linestyle="--", label=f"published: up to {published['moved'].iloc[0]:g} points, {_of(published)}"
        )
        figure.legend(handles=[line, once], loc="outside lower center", ncols=2)
    return figure


def _of(published: pd.DataFrame) -> str:
    return f"{published['model'].iloc[0]} on {published['benchmark'].iloc[0]} (grade {published['grade'].iloc[0]})"


def _shares(ax: Axes, models: pd.DataFrame) -> None:
    ax.set_xlabel("$C_{language}$")
    if models["contribution"].isna().all():
        ax.text(0.5, 0.5, "not defined:\nno unique information\nabove its null", transform=ax.transAxes, ha="center", va="center")
    for (mechanism, target), some in models.groupby(["model", "target"]):
        place, marker, face, *_ = _TARGETS[target]
        row = list(_NAMES).index(mechanism) + place
        values, low, high = (
            some[name].to_numpy(float, na_value=np.nan) for name in ("contribution", "contribution_low", "contribution_high")
        )
        ax.hlines(np.full(len(some), row), low, high, color=marks.FAINT, linewidth=0.7, alpha=0.5)
        marks.points(ax, values, np.full(len(some), row), marker, color=face, markersize=2.8, markeredgewidth=0.6)
        if np.isfinite(values).any():
            ax.plot(np.nanmean(values), row, "|", color=marks.INK, markersize=9, zorder=6)


def _accuracy(ax: Axes, models: pd.DataFrame) -> None:
    ax.set_xlabel("accuracy")
    ax.axvspan(0, models["prior"].iloc[0], color=marks.NULL, alpha=0.6, linewidth=0)
    one = models[models["target"] == "hidden"]
    marks.points(ax, one["accuracy"].to_numpy(float), [list(_NAMES).index(name) for name in one["model"]], "o", markersize=2.8)
    ax.set_xlim(0, 1.03)


def _moved(ax: Axes, moved: pd.DataFrame, published: pd.DataFrame) -> None:
    ax.set_xlabel("$C_{language}$ moved (points)")
    for row, (target, (_, marker, face, *_)) in enumerate(_TARGETS.items()):
        one = moved[moved["target"] == target]
        value, high, low, top = (one[name].to_numpy(float, na_value=np.nan) for name in ("moved", "null_high", "ci_low", "ci_high"))
        ax.barh([row] * len(one), np.nan_to_num(high), 0.7, color=marks.NULL, alpha=0.75)
        ax.hlines([row] * len(one), low, top, color=marks.INK, linewidth=0.8)
        marks.points(ax, value, [row] * len(one), marker, color=face)
        ax.plot(one["moved_once"].to_numpy(float, na_value=np.nan), [row] * len(one), "x", color=marks.INK, markersize=4)
        if np.isnan(value).any():
            ax.text(0.5, row, "not defined", transform=ax.get_yaxis_transform(), ha="center", va="center")
    for points in published["moved"].astype(float):
        ax.axvline(points, color=marks.OTHERS[0], linestyle="--", linewidth=1)
