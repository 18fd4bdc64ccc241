"""When do PID weights beat uniform weights: by strength of the prior, length of training, base?"""

import re

import numpy as np
import pandas as pd

from pidlib.benchmarks import names
from pidlib.experiments import Preset, style
from pidlib.experiments.reweighting import paired, plan
from pidlib.experiments.reweighting.fig_ablation import NULL_BAND, TRAINED_COLORS
from pidlib.experiments.reweighting.settings import TrainingSpec
from pidlib.reweighting import Condition

COLUMNS = paired.COLUMNS
_AXES = {"prior strength": "captions that are right, %", "training length": "steps of training"}
_AXES |= {"base": "base"}


def trainings(preset: Preset) -> list[TrainingSpec]:
    """The trainings of all levels."""
    return [arm.spec for arm in plan.when_arms(preset)]


def measure(preset: Preset) -> pd.DataFrame:
    """Compare PID with uniform weights at each level of each axis."""
    return paired.compare_arms(preset, plan.when_arms(preset))


def figure(table: pd.DataFrame) -> style.Figure:
    """A column per axis; above, accuracies; below, PID minus uniform weights."""
    figure, panels = style.page(4.0), _panels(table)
    axes = figure.subplots(2, len(panels), sharey="row", sharex="col", squeeze=False)
    for ax, rows in zip(axes[0], panels, strict=True):
        for (color, condition), part in rows.groupby(["color", "condition"]):
            marker = {Condition.BASE: "_", Condition.UNIFORM: "s"}.get(condition, "")
            part = part.drop_duplicates("level")
            line = ("-" if marker == "s" else ":") if rows["axis"].iloc[0] != "base" else ""
            if marker:
                look = {"color": color, "markeredgecolor": color, "linestyle": line}
                style.points(ax, part["x"], part["value"], marker, linewidth=0.8, **look)
    entries = [("after uniform weights", "s", style.INK), ("untrained base", "_", style.INK)]
    handles = style.marker_handles(entries) + _draw_differences(axes[1], panels)
    axes[0, 0].set_ylabel("accuracy, balanced questions")
    axes[1, 0].set_ylabel("PID minus uniform, points")
    style.legend(figure, 3, *handles)
    return figure


def column(table: pd.DataFrame) -> style.Figure:
    """Only PID minus uniform weights."""
    panels = _panels(table)
    figure = style.column(1.4 * len(panels) + 0.9)
    axes = figure.subplots(len(panels), 1, sharey=True, squeeze=False)[:, 0]
    style.legend(figure, 2, *_draw_differences(axes, panels))
    figure.supylabel("accuracy, PID minus uniform weights, points", fontsize="medium")
    return figure


def _panels(table: pd.DataFrame) -> list[pd.DataFrame]:
    """Accuracies of each axis, with a place, color and name of each row."""
    table = table[table["measure"] == "accuracy"]
    trained = list(table.loc[table["axis"] == "base", "trained_on"].unique())
    captions = next((name for name in trained if name in names("prior")), trained[0])
    of = table["trained_on"].mask(table["axis"] == "prior strength", captions)
    table = table.assign(color=of.map(dict(zip(trained, TRAINED_COLORS, strict=False))))
    table["name"] = [re.sub(": [0-9]+ .*", "", style.benchmark_name(name)) for name in of]
    panels = []
    for axis in (name for name in _AXES if name in set(table["axis"])):
        rows = table[table["axis"] == axis]
        side = pd.factorize(rows["color"])[0]
        panels.append(
            rows.assign(x=pd.factorize(rows["level"])[0] + 0.18 * (side - side.max() / 2))
        )
    return panels


def _draw_differences(axes: np.ndarray, panels: list[pd.DataFrame]) -> list[style.Artist]:
    """PID minus uniform weights, hollow where not clear; the entries of the legend."""
    for ax, rows in zip(axes, panels, strict=True):
        pid = rows[(rows["condition"] == Condition.PID) & (rows["against"] == Condition.UNIFORM)]
        numbers = style.floats(pid, "difference", "ci_low", "ci_high", "null_high")
        x, (value, low, high, null) = style.floats(pid["x"]), 100 * np.nan_to_num(numbers)
        ax.use_sticky_edges = False
        ax.bar(x, 2 * null, 0.13, bottom=-null, **NULL_BAND)
        style.interval(ax, x, low, high, color=pid["color"])
        clear = style.floats(pid["q_value"]) < 0.05
        look = {"s": 15, "linewidths": 0.8, "edgecolors": pid["color"], "zorder": 5}
        ax.scatter(x, value, marker="D", c=pid["color"].where(clear, "white"), **look)
        ax.axhline(0, color=style.INK, linewidth=0.6, zorder=1)
        axis, levels = rows["axis"].iloc[0], list(rows["level"].unique())
        if axis == "base":
            levels = [re.sub(",? ", "\n", style.model_name(each)) for each in levels]
        ax.set_xticks(range(len(levels)), levels, fontsize=6.5 if axis == "base" else None)
        better, worse = (sum(clear & (sign * value > 0)) for sign in (1, -1))
        ax.set(xlim=(-0.5, len(levels) - 0.5), xlabel=_AXES[axis])
        ax.set_title(f"clearly better {better}, worse {worse} of {len(pid)}")
    colors = dict(zip(pd.concat(panels)["name"], pd.concat(panels)["color"], strict=True))
    look = {"linestyle": "-", "marker": "D", "markersize": 3.6}
    handles = [style.handle(f"trained on {name}", color=c, **look) for name, c in colors.items()]
    handles += style.marker_handles([("not clear: q at least .05", "D", "white")])
    return [*handles, style.null_handle("signs at random, 95 %")]
