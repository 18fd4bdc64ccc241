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
_AXES |= {"base": "base (a mini)"}
_LABEL = "PID minus uniform weights, points of accuracy"


def trainings(preset: Preset) -> list[TrainingSpec]:
    """The trainings of all levels."""
    return [arm.spec for arm in plan.when_arms(preset)]


def measure(preset: Preset) -> pd.DataFrame:
    """Compare PID with uniform weights at each level of each axis."""
    return paired.compare_arms(preset, plan.when_arms(preset))


def figure(table: pd.DataFrame) -> style.Figure:
    """PID minus uniform weights, a panel per axis."""
    figure, panels = style.page(2.7), _panels(table)
    widths = [1.5 if rows["axis"].iloc[0] == "base" else 1 for rows in panels]
    axes = figure.subplots(1, len(panels), sharey=True, squeeze=False, width_ratios=widths)[0]
    style.legend(figure, 2, *_draw_differences(axes, panels))
    axes[0].set_ylabel(_LABEL.replace(", ", ",\n"))
    return figure


def column(table: pd.DataFrame) -> style.Figure:
    """The same, the panels below each other."""
    panels = _panels(table)
    figure = style.column(1.4 * len(panels) + 1.1)
    axes = figure.subplots(len(panels), 1, sharey=True, squeeze=False)[:, 0]
    style.legend(figure, 1, *_draw_differences(axes, panels))
    figure.supylabel(_LABEL, fontsize="medium")
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
        side, place = pd.factorize(rows["color"])[0], pd.factorize(rows["level"])[0]
        if axis != "base" and place.max():  # to scale
            level = rows["level"].astype(float) - rows["level"].astype(float).min()
            place = place.max() * level / level.max()
        panels.append(rows.assign(place=place, x=place + 0.18 * (side - side.max() / 2)))
    return panels


def _draw_differences(axes: np.ndarray, panels: list[pd.DataFrame]) -> list[style.Artist]:
    """PID minus uniform weights, hollow where not clear; the entries of the legend."""
    for ax, rows in zip(axes, panels, strict=True):
        pid = rows[(rows["condition"] == Condition.PID) & (rows["against"] == Condition.UNIFORM)]
        x, (value, low, high, null) = style.floats(pid["x"]), 100 * style.floats(pid, *paired.DRAWN)
        ax.use_sticky_edges = False
        ax.bar(x, 2 * np.nan_to_num(null), 0.13, bottom=-np.nan_to_num(null), **NULL_BAND)
        style.interval(ax, x, low, high, color=pid["color"])
        clear = style.floats(pid["q_value"]) < 0.05
        look = {"s": 15, "linewidths": 0.8, "edgecolors": pid["color"], "zorder": 5}
        ax.scatter(x, value, marker="D", c=pid["color"].where(clear, "white"), **look)
        ax.axhline(0, color=style.INK, linewidth=0.6, zorder=1)
        axis, levels = rows["axis"].iloc[0], rows.drop_duplicates("level")
        labels = [re.sub(" mini,? ?", "\n", style.model_name(each)) for each in levels["level"]]
        ax.set_xticks(levels["place"], labels)
        better, worse = (sum(clear & (sign * value > 0)) for sign in (1, -1))
        ax.set(xlim=(-0.5, len(levels) - 0.5), xlabel=_AXES[axis])
        ax.set_title(f"clearly better {better}, worse {worse} of {len(pid)}")
    shown, handles = pd.concat(panels).sort_values("axis", ascending=False, kind="stable"), []
    for name, row in shown.drop_duplicates("name").set_index("name").iterrows():
        label = f"trained on {name}; usual base: {style.model_name(row['base'])}"
        handles.append(style.line_handle(label, color=row["color"], marker="D"))
    hollow = "hollow: not clear, p corrected for all tests at least .05", "D", "white"
    handles += [style.line_handle("95 % interval over seeds"), *style.marker_handles([hollow])]
    return [*handles, style.null_handle("random signs, two-sided 95 %")]
