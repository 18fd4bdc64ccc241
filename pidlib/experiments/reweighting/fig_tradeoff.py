"""What do synergy tasks gain, and language tasks lose?

Accuracy minus that of uniform weights, per benchmark and in the mean over the others of a kind.
"""

import pandas as pd

from pidlib.experiments import Preset, style, words
from pidlib.experiments.population import benchmark_kind
from pidlib.experiments.reweighting import paired, plan
from pidlib.experiments.reweighting.fig_ablation import NULL_BAND
from pidlib.experiments.reweighting.outcomes import outcomes
from pidlib.experiments.reweighting.table3_reweighting import published_conditions
from pidlib.reweighting import CONDITIONS, Condition

COLUMNS = paired.COLUMNS
trainings = plan.all_conditions
MEAN = "mean of "
_KINDS = ["synergy-driven", "prior-driven"]
_SHADE = "#fbe6d8"


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
    """Means by kind of benchmark, a column per training; last, as published."""
    kept = (table["against"] == Condition.UNIFORM) & table["benchmark"].str.startswith(MEAN)
    blocks = [block for _, block in table[kept].groupby(["base", "trained_on"], sort=False)]
    figure = style.page(3.2)
    axes = figure.subplots(1, len(blocks), sharex=True, sharey=True, squeeze=False)[0]
    for ax, block in zip(axes, blocks, strict=True):
        _draw_means(ax, block)
    limits = {"xlim": axes[0].get_xlim(), "ylim": axes[0].get_ylim()}
    for ax in axes:
        ax.fill_between([0, limits["xlim"][1]], limits["ylim"][0], 0, color=_SHADE, zorder=0)
    axes[0].set(ylabel="prior-driven benchmarks, points", **limits)
    shown = sorted(set(table.loc[kept, "condition"]) - {Condition.BASE})
    looks = [(f"{name} {CONDITIONS[name]}", *style.CONDITION_STYLES[name]) for name in shown]
    handles = style.marker_handles(looks, markeredgewidth=0.5, markersize=4)
    handles.append(style.swatch("trade-off", facecolor=_SHADE))
    style.legend(figure, 4, *handles, style.null_handle("C: signs at random, 95 %"))
    label = "accuracy minus that of uniform weights (B): synergy-driven benchmarks, points"
    figure.supxlabel(label, fontsize="medium")
    return figure


def _draw_means(ax: style.Axes, block: pd.DataFrame) -> None:
    cells = block.set_index(["benchmark", "condition"])
    cells = cells[["difference", "ci_low", "ci_high", "null_high"]]
    base, trained_on, grade = block[["base", "trained_on", "grade"]].iloc[0]
    title = f"{style.model_name(base)},\n"
    trained_on = f"trained on {style.benchmark_name(trained_on)}"
    title += trained_on if pd.isna(grade) else f"published (grade {grade})"
    ax.axhline(0, color=style.FAINT, linewidth=0.6)
    ax.axvline(0, color=style.FAINT, linewidth=0.6)
    for condition in sorted(set(block["condition"]) - {Condition.BASE}):
        keys = [(MEAN + kind, condition) for kind in _KINDS]
        if not all(key in cells.index for key in keys):
            continue
        rows = [100 * style.floats(cells.loc[key]) for key in keys]
        (x, left, right, wide), (y, low, high, tall) = rows
        marker, color = style.CONDITION_STYLES[condition]
        if condition == Condition.PID:
            for kind, row in zip(_KINDS, rows, strict=True):
                text = words.interval(*row[:3], digits=1).removesuffix(" [unknown, unknown]")
                title += f"\nC, {kind}: {text}"
            ax.bar(0, 2 * tall, 2 * wide, bottom=-tall, **NULL_BAND)
        ax.hlines(y, left, right, color=style.INK, linewidth=0.6)
        ax.vlines(x, low, high, color=style.INK, linewidth=0.6)
        style.points(ax, [x], [y], marker, color=color, markeredgewidth=0.5)
    ax.set_title(title)
