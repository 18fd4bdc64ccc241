"""Which of the method's numbers matter, each varied alone?"""

from textwrap import fill

import numpy as np
import pandas as pd

from pidlib.experiments import Preset, style, words
from pidlib.experiments.reweighting import paired, plan
from pidlib.experiments.reweighting.settings import TrainingSpec
from pidlib.reweighting import Condition

COLUMNS = paired.COLUMNS
TRAINED_COLORS = tuple(style.OTHERS[i] for i in (1, 3, 2, 4))  # the orange is of PID weights
NULL_BAND = {"color": style.NULL, "alpha": 0.75, "linewidth": 0, "zorder": 0.5}
_WORDS = {"fraction": "share of samples in each list", "lists": "weights", "BATCH": "networks"}
_WORDS |= {"gap and shortcut": "both lists", "gap alone": "up only (picture needed)"}
_WORDS |= {"shortcut alone": "down only (question suffices)", "weights": "weights, up and down"}
_WORDS |= {"reconciliation": "common $P(Y)$", plan.FALLBACK: "uniform if candidates' mass below"}
_WORDS |= {"tuned": "level", "wrong labels": "control, wrong labels", "LSMI": "pointwise estimates"}


def trainings(preset: Preset) -> list[TrainingSpec]:
    """The trainings of all levels."""
    return [arm.spec for arm in plan.ablation_arms(preset)]


def measure(preset: Preset) -> pd.DataFrame:
    """Compare PID with uniform weights at each level of each axis, and at a tuned level."""
    arms = plan.ablation_arms(preset)
    return paired.compare_arms(preset, [*arms, *paired.tuned_arms(preset, arms)])


def figure(table: pd.DataFrame) -> style.Figure:
    """PID minus uniform weights: a row per setting, the default once; controls below a line."""
    table = table[(table["condition"] == Condition.PID) & (table["against"] == Condition.UNIFORM)]
    keys, trained = ["axis", "level"], list(table["trained_on"].unique())
    values = table.pivot(index=keys, columns=["trained_on", "measure"], values="difference")
    rows = table[keys].drop_duplicates()
    rows = rows.assign(control=rows["axis"] == "wrong labels").sort_values("control", kind="stable")
    rows["usual"] = values.duplicated(keep=False)[pd.MultiIndex.from_frame(rows[keys])].to_numpy()
    usual = rows["usual"] & (rows["axis"] != "tuned")  # one training, at a level of several axes
    default = ", ".join(rows.loc[usual, "level"].replace(_WORDS))
    rows = rows[~usual | (usual & ~usual.duplicated())].reset_index(drop=True)
    labels = rows["axis"].replace(_WORDS) + ": " + rows["level"].replace(_WORDS)
    labels[rows["usual"] & (rows["axis"] != "tuned")] = fill(f"default: {default}", 42)
    y = rows.index + 0.5 * pd.factorize(rows["axis"].mask(rows["usual"], "usual"))[0] + 0.5
    figure, handles = style.page(0.2 * y.max() + 1.0), []
    ax, _ = figure.subplots(1, 2, width_ratios=(12, 1))
    _.set_axis_off()  # the place of the numbers
    ax.use_sticky_edges = False
    looks = zip(trained, TRAINED_COLORS, style.MARKERS, strict=False)
    for index, (name, color, marker) in enumerate(looks):
        part = table[(table["measure"] == "accuracy") & (table["trained_on"] == name)]
        part = rows[keys].merge(part, "left", keys)
        side, column = 0.3 * (index - (len(trained) - 1) / 2), 1.03 + 0.28 * index
        value, low, high, null = 100 * style.floats(part, *paired.DRAWN)
        ax.barh(y + side, 2 * np.nan_to_num(null), 0.26, left=-np.nan_to_num(null), **NULL_BAND)
        ax.hlines(y + side, low, high, color=color, linewidth=0.9)
        style.points(ax, value, y + side, marker, color=color, markersize=3, markeredgewidth=0.3)
        clear = np.where(style.floats(part["q_value"]) < 0.05, "bold", "normal")
        for at, *row, weight in zip(y, value, low, high, clear, strict=True):
            if np.isfinite(row).all():
                text = words.interval(*row, digits=1)
                style.margin(ax, at, text, column, weight=weight, fontsize=6.5)
        counted = (clear == "bold") & ~rows["control"] & (rows["axis"] != "tuned")
        label = f"{style.benchmark_name(name)}, 95 % interval over seeds"
        handles.append(style.line_handle(label, color=color, marker=marker))
        text = f"clearly better {sum(counted & (value > 0))},\nworse {sum(counted & (value < 0))}"
        style.margin(ax, -1.4, text, column, color=color)
    ax.axvline(0, color=style.INK, linewidth=0.6, zorder=1)
    if rows["control"].any():
        ax.axhline(y[rows["control"]].min() - 0.75, color=style.INK, linewidth=0.6)
    ax.grid(visible=False)
    ax.set_yticks(y, labels, fontsize=6.5)
    label = "PID minus uniform weights, points of accuracy; bold: corrected p below .05"
    ax.set(ylim=(y.max() + 0.6, -0.6), xlabel=label)
    style.legend(figure, 3, *handles, style.null_handle("random signs, two-sided 95 %"))
    return figure
