"""Which of the method's numbers matter?

Each is varied alone, with as many blocks adapted by uniform weights. Two controls have wrong
labels, and the best numbers are chosen by other seeds.
"""

import numpy as np
import pandas as pd

from pidlib.experiments import Preset, style
from pidlib.experiments.reweighting import paired, plan
from pidlib.experiments.reweighting.settings import TrainingSpec
from pidlib.reweighting import Condition

COLUMNS = paired.COLUMNS
# Of the training benchmarks, in order; the orange of style.OTHERS belongs to PID weights.
TRAINED_COLORS = tuple(style.OTHERS[index] for index in (1, 3, 2, 4))
NULL_BAND = {"color": style.NULL, "alpha": 0.75, "linewidth": 0, "zorder": 0.5}
_LABELS = {"accuracy": "accuracy, points", "synergy": "$S$, bits"}
_LABELS |= {"unique_language": r"$U_\ell$, bits"}


def trainings(preset: Preset) -> list[TrainingSpec]:
    """The trainings of all levels."""
    return [arm.spec for arm in plan.ablation_arms(preset)]


def measure(preset: Preset) -> pd.DataFrame:
    """Compare PID with uniform weights at each level of each axis, and at a tuned level."""
    arms = plan.ablation_arms(preset)
    return paired.compare_arms(preset, [*arms, *paired.tuned_arms(preset, arms)])


def figure(table: pd.DataFrame) -> style.Figure:
    """PID minus uniform weights: a row per level, a column per measure, a marker per training."""
    table = table[(table["condition"] == Condition.PID) & (table["against"] == Condition.UNIFORM)]
    rows = table[["axis", "level"]].drop_duplicates().reset_index(drop=True)
    y = pd.Series(rows.index + 0.6 * pd.factorize(rows["axis"])[0], pd.MultiIndex.from_frame(rows))
    trained = list(table["trained_on"].unique())
    figure = style.page(0.2 * y.max() + 1.3)
    axes = figure.subplots(1, len(_LABELS), sharey=True)
    for ax, (quantity, label) in zip(axes, _LABELS.items(), strict=True):
        for index, name in enumerate(trained):
            part = table[(table["measure"] == quantity) & (table["trained_on"] == name)]
            side = 0.3 * (index - (len(trained) - 1) / 2)
            places = y[pd.MultiIndex.from_frame(part[["axis", "level"]])].to_numpy() + side
            numbers = style.floats(part, "difference", "ci_low", "ci_high", "null_high")
            value, low, high, null = (100 if quantity == "accuracy" else 1) * numbers
            ax.use_sticky_edges = False
            ax.barh(places, 2 * np.nan_to_num(null), 0.26, left=-np.nan_to_num(null), **NULL_BAND)
            ax.hlines(places, low, high, color=TRAINED_COLORS[index], linewidth=0.9)
            look = {"markersize": 3, "markeredgecolor": "white", "markeredgewidth": 0.3}
            look |= {"color": TRAINED_COLORS[index], "zorder": 3}
            ax.plot(value, places, style.MARKERS[index], **look)
        ax.axvline(0, color=style.INK, linewidth=0.6, zorder=1)
        ax.set_xlabel(label)
        ax.grid(axis="x")
        ax.grid(visible=False, axis="y")
    axes[0].set_yticks(y.to_list(), [f"{axis}: {level}" for axis, level in y.index], fontsize=6.5)
    axes[0].set_ylim(y.max() + 0.6, -0.6)
    figure.supxlabel("PID weights minus uniform", fontsize="medium")
    line = {"linestyle": "-", "linewidth": 0.9}
    handles = [
        style.handle(style.benchmark_name(name), color=color, marker=marker, **line)
        for name, color, marker in zip(trained, TRAINED_COLORS, style.MARKERS, strict=False)
    ]
    handles.append(style.null_handle("signs at random, 95 %"))
    figure.legend(handles=handles, loc="outside upper center", ncols=3)
    return figure
