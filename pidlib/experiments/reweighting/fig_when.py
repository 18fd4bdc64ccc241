"""When do PID weights beat uniform weights: by strength of the prior, length of training, base?"""

import re

import numpy as np
import pandas as pd

from pidlib.benchmarks import names
from pidlib.experiments import Preset, style
from pidlib.experiments.reweighting import paired, plan
from pidlib.experiments.reweighting.fig_ablation import NULL_BAND, TRAINED_COLORS
from pidlib.experiments.reweighting.settings import TrainingSpec
from pidlib.reweighting import CONDITIONS, Condition

COLUMNS = paired.COLUMNS
_AXES = {"prior strength": "captions that are right, %", "training length": "steps of training"}
_AXES |= {"base": "base (a column each)"}


def trainings(preset: Preset) -> list[TrainingSpec]:
    """The trainings of all levels."""
    return [arm.spec for arm in plan.when_arms(preset)]


def measure(preset: Preset) -> pd.DataFrame:
    """Compare PID with uniform weights at each level of each axis."""
    return paired.compare_arms(preset, plan.when_arms(preset))


def figure(table: pd.DataFrame) -> style.Figure:
    """A column per axis; above, accuracies of the conditions; below, PID minus uniform weights."""
    table = table[table["measure"] == "accuracy"]
    shown = [name for name in _AXES if name in set(table["axis"])]
    trained = list(table.loc[table["axis"] == "base", "trained_on"].unique())
    captions = next((name for name in trained if name in names("prior")), trained[0])
    figure = style.page(4.4)
    axes = figure.subplots(2, len(shown), sharey="row", sharex="col", squeeze=False)
    for (above, below), name in zip(axes.T, shown, strict=True):
        rows = table[table["axis"] == name]
        levels = rows["level"].unique()
        levels = pd.Series(np.arange(len(levels)), levels)
        by_training = dict(list(rows.groupby("trained_on", sort=False)))
        groups = {captions: rows} if name == "prior strength" else by_training
        for index, (benchmark, group) in enumerate(groups.items()):
            color = TRAINED_COLORS[trained.index(benchmark)]
            side = 0.18 * (index - (len(groups) - 1) / 2)
            _draw_accuracies(above, group, levels + side, color)
            pid = group[group["condition"] == Condition.PID]
            pid = pid[pid["against"] == Condition.UNIFORM]
            numbers = style.floats(pid, "difference", "ci_low", "ci_high", "null_high")
            value, low, high, null = 100 * numbers
            x = (levels + side)[pid["level"]].to_numpy()
            below.use_sticky_edges = False
            below.bar(x, 2 * np.nan_to_num(null), 0.13, bottom=-np.nan_to_num(null), **NULL_BAND)
            style.interval(below, x, low, high, color=color)
            style.points(below, x, value, "D", color=color, markeredgewidth=0.3)
        below.axhline(0, color=style.INK, linewidth=0.6, zorder=1)
        labels = list(levels.index)
        if name == "base":
            labels = [re.sub(",? ", "\n", style.model_name(each)) for each in labels]
        below.set_xticks(range(len(levels)), labels, fontsize=6 if name == "base" else None)
        below.set(xlim=(-0.5, len(levels) - 0.5), xlabel=_AXES[name])
    axes[0, 0].set_ylabel("accuracy, balanced questions")
    axes[1, 0].set_ylabel("PID minus uniform, points")
    colors = dict(zip(trained, TRAINED_COLORS, strict=False))
    handles = style.condition_handles(plan.USUAL, CONDITIONS)
    handles += style.color_handles(colors, "trained on ", linewidth=1.2)
    handles.append(style.null_handle("signs at random, 95 %"))
    figure.legend(handles=handles, loc="outside upper center", ncols=3)
    return figure


def _draw_accuracies(ax: style.Axes, rows: pd.DataFrame, places: pd.Series, color: str) -> None:
    """Accuracies with the standard deviation over seeds, joined if the levels are ordered."""
    for condition in plan.USUAL:
        part = rows[rows["condition"] == condition].drop_duplicates("level")
        x = places[part["level"]].to_numpy()
        value, spread = style.floats(part, "value", "spread")
        marker, face = style.CONDITION_STYLES[condition]
        if condition != Condition.BASE:
            style.interval(ax, x, value - spread, value + spread, color=color, linewidth=0.6)
        if (rows["axis"] != "base").all():
            line = ":" if condition == Condition.BASE else "-"
            ax.plot(x, value, color=color, linewidth=0.6, linestyle=line)
        style.points(ax, x, value, marker, color=face, markeredgecolor=color, markersize=3)
