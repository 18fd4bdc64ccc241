"""What do synergy tasks gain, and language tasks lose?

Accuracy minus that of uniform weights, per benchmark and in the mean over the others of a kind.
"""

import numpy as np
import pandas as pd

from pidlib.experiments import Preset, style
from pidlib.experiments.population import benchmark_kind
from pidlib.experiments.reweighting import paired, plan
from pidlib.experiments.reweighting.outcomes import outcomes
from pidlib.experiments.reweighting.table3_reweighting import own_benchmarks, published_conditions
from pidlib.reweighting import CONDITIONS, Condition

COLUMNS = paired.COLUMNS
trainings = plan.all_conditions
MEAN = "mean of "
_LETTERS = {"synergy-driven": "S", "prior-driven": "L", "picture-driven": "V", "redundant": "R"}
_ORDER = ["trained", *_LETTERS.values(), ""]
_DIFFERENCE = ["difference", "ci_low", "ci_high"]


def measure(preset: Preset) -> pd.DataFrame:
    """Compare accuracies, and their means over benchmarks of a ``kind``, with uniform weights."""
    rows = outcomes(preset, trainings(preset)).table
    keys = ["base", "trained_on", "condition", "measure"]
    rows = _with_means(rows[rows["measure"] == "accuracy"], [*keys, "seed"])
    published = published_conditions().query("measure == 'accuracy'")
    published = _with_means(published, [*keys, "source", "grade", "against"])
    pairs = [(name, Condition.UNIFORM) for name in CONDITIONS if name != Condition.UNIFORM]
    table = paired.compare(rows, pairs, n_resamples=preset.n_resamples, seed=preset.seed)
    table = pd.concat([table, published], ignore_index=True)
    kinds = _kinds(table["benchmark"])
    return paired.comparison_table([table.assign(kind=table["benchmark"].map(kinds))], preset.seed)


def _with_means(rows: pd.DataFrame, keys: list[str]) -> pd.DataFrame:
    means = rows.assign(benchmark=MEAN + rows["benchmark"].map(_kinds(rows["benchmark"])))
    means = means[rows["benchmark"] != rows["trained_on"]].dropna(subset="benchmark")
    reductions = {"value": "mean", "difference": "mean", "n": "sum", "n_seeds": "min"}
    reductions |= {"fingerprint": paired.joint_fingerprint, "converged": "all"}
    reductions = {name: how for name, how in reductions.items() if name in means}
    means = means.groupby(["benchmark", *keys], dropna=False, sort=False).agg(reductions)
    return pd.concat([rows, means.reset_index()], ignore_index=True)


def _kinds(names: pd.Series) -> dict[str, str | None]:
    return {
        name: name.removeprefix(MEAN) if name.startswith(MEAN) else benchmark_kind(name)
        for name in names.unique()
    }


def figure(table: pd.DataFrame) -> style.Figure:
    """A column per training: means by kind, and differences per benchmark; last, as published."""
    table = table[table["against"] == Condition.UNIFORM]
    blocks = [block for _, block in table.groupby(["base", "trained_on"], sort=False)]
    names = max(block["benchmark"].nunique() for block in blocks)
    figure = style.page(3.3 + 0.16 * names)
    above, below = figure.subfigures(2, 1, height_ratios=(2.3, 1 + 0.16 * names))
    axes = (part.subplots(1, len(blocks), squeeze=False)[0] for part in (above, below))
    for ax_means, ax_benchmarks, block in zip(*axes, blocks, strict=True):
        _draw_means(ax_means, block)
        _draw_benchmarks(ax_benchmarks, block[~block["benchmark"].str.startswith(MEAN)])
    shown = set(table["condition"]) - {Condition.BASE}
    handles = style.condition_handles([name for name in CONDITIONS if name in shown], CONDITIONS)
    label = "accuracy minus that of uniform weights, points"
    above.supxlabel(f"synergy-driven: {label}", fontsize="medium")
    above.supylabel("prior-driven", fontsize="medium")
    above.legend(handles=handles, loc="outside upper center", ncols=4)
    below.supxlabel(label, fontsize="medium")
    return figure


def _draw_means(ax: style.Axes, block: pd.DataFrame) -> None:
    cells = block.set_index(["benchmark", "condition"])[_DIFFERENCE]
    ax.axhline(0, color=style.FAINT, linewidth=0.6)
    ax.axvline(0, color=style.FAINT, linewidth=0.6)
    for condition in sorted(set(block["condition"]) - {Condition.BASE}):
        keys = [(MEAN + kind, condition) for kind in ("synergy-driven", "prior-driven")]
        if not all(key in cells.index for key in keys):
            continue
        (x, left, right), (y, low, high) = (100 * style.floats(cells.loc[key]) for key in keys)
        marker, color = style.CONDITION_STYLES[condition]
        ax.hlines(y, left, right, color=style.INK, linewidth=0.6)
        ax.vlines(x, low, high, color=style.INK, linewidth=0.6)
        style.points(ax, [x], [y], marker, color=color, markeredgewidth=0.5)
    ax.margins(0.1)
    base, trained_on, grade = block[["base", "trained_on", "grade"]].iloc[0]
    names = style.model_name(base), style.benchmark_name(trained_on)
    ax.set_title(",\n".join(names if pd.isna(grade) else (base, f"published (grade {grade})")))


def _draw_benchmarks(ax: style.Axes, block: pd.DataFrame) -> None:
    """PID and random weights: the training benchmark first, then the others by kind."""
    trained_on = block["trained_on"].iloc[0]
    own = own_benchmarks(trained_on)
    kinds = dict(zip(block["benchmark"], block["kind"].map(_LETTERS).fillna(""), strict=True))
    kinds |= {name: "trained" * (name == trained_on) for name in own if name in kinds}
    names = sorted(kinds, key=lambda name: (own.get(name, len(own)), _ORDER.index(kinds[name])))
    places = pd.Series(np.arange(len(names), dtype=float), names)
    for condition, side in ((Condition.PID, -0.17), (Condition.RANDOM, 0.17)):
        rows = block[block["condition"] == condition]
        y = places[rows["benchmark"]].to_numpy() + side
        difference, low, high = 100 * style.floats(rows, *_DIFFERENCE)
        marker, color = style.CONDITION_STYLES[condition]
        ax.hlines(y, low, high, color=style.INK, linewidth=0.7)
        style.points(ax, difference, y, marker, color=color, markeredgewidth=0.5)
    ax.axvline(0, color=style.FAINT, linewidth=0.6)
    labels = [f"{style.benchmark_name(name)} ({kinds[name]})".removesuffix(" ()") for name in names]
    ax.set_yticks(places, labels, fontsize=6.5)
    ax.set_ylim(len(names) - 0.5, -0.5)
    ax.grid(visible=True, axis="x")
    ax.grid(visible=False, axis="y")
