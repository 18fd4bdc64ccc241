"""What do synergy tasks gain, and language tasks lose?"""

import numpy as np
import pandas as pd

from pidlib.experiments import Preset, style, words
from pidlib.experiments.population import benchmark_kind
from pidlib.experiments.reweighting import paired, plan
from pidlib.experiments.reweighting.outcomes import outcomes
from pidlib.experiments.reweighting.table3_reweighting import published_conditions
from pidlib.reweighting import CONDITIONS, Condition

COLUMNS = paired.COLUMNS
trainings = plan.all_conditions
MEAN = "mean of "
_KINDS = ["synergy-driven", "prior-driven"]
_NEEDS = "synergy-driven benchmarks: picture and question", "prior-driven ones: question suffices"
_NAMES = ("PID weights", "PID weights of\nother samples", "up for difficult\nsamples")
_NAMES += ("up if the picture\nchanges the answer", "up if the question\nmakes it unlikely")
_NAMES = dict(zip("CDEFGH", (*_NAMES, "PID weights as\nsampling rates"), strict=True))
_COLORS = [style.COLORS["synergy"], style.COLORS["unique_language"]]


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
    return paired.comparison_table([table.assign(kind=table["benchmark"].map(_kind))], preset.seed)


def _with_means(rows: pd.DataFrame, keys: list[str]) -> pd.DataFrame:
    means = rows.assign(benchmark=MEAN + rows["benchmark"].map(_kind))
    means = means[rows["benchmark"] != rows["trained_on"]].dropna(subset="benchmark")
    reductions = {"value": "mean", "difference": "mean", "n": "sum", "n_seeds": "min"}
    reductions |= {"fingerprint": paired.joint_fingerprint, "converged": "all"}
    reductions = {name: how for name, how in reductions.items() if name in means}
    means = means.groupby(["benchmark", *keys], dropna=False, sort=False).agg(reductions)
    return pd.concat([rows, means.reset_index()], ignore_index=True)


def _kind(name: str) -> str | None:
    return name.removeprefix(MEAN) if name.startswith(MEAN) else benchmark_kind(name)


def figure(table: pd.DataFrame) -> style.Figure:
    """Means by kind of benchmark, a row per condition, a column per training; last, published."""
    kept = (table["against"] == Condition.UNIFORM) & table["benchmark"].str.startswith(MEAN)
    blocks = [block for _, block in table[kept].groupby(["base", "trained_on"], sort=False)]
    shown = sorted(set(table.loc[kept, "condition"]) - {Condition.BASE})
    figure = style.page(0.36 * len(shown) + 1.3)
    axes = figure.subplots(1, len(blocks), sharex=True, sharey=True, squeeze=False)[0]
    for ax, block in zip(axes, blocks, strict=True):
        base, trained_on, grade = block[["base", "trained_on", "grade"]].iloc[0]
        trained_on = f"trained on {style.benchmark_name(trained_on)}"
        ax.set_title(f"{style.model_name(base)},\n{trained_on if pd.isna(grade) else 'published'}")
        ax.axvline(0, color=style.INK, linewidth=0.6, zorder=1)
        for kind, color, marker, side in zip(_KINDS, _COLORS, "oD", (-0.2, 0.2), strict=True):
            rows = block[block["benchmark"] == MEAN + kind].set_index("condition").reindex(shown)
            y, rows = np.arange(len(shown)) + side, 100 * rows[paired.DRAWN].astype(float)
            rows = rows.assign(null_low=-rows["null_high"], value=rows["difference"])
            style.forest(ax, y, rows, 0.34, color=color, marker=marker, s=11, edgecolors=style.INK)
            for place, row in zip(y, rows[paired.DRAWN[:3]].to_numpy(), strict=True):
                text = words.interval(*row, digits=1).replace("unknown", "")
                style.margin(ax, place, text.removesuffix(" [, ]"), fontsize=6.5)
    style.name_rows(axes[0], [_NAMES[name] for name in shown])
    handles = style.marker_handles(zip(_NEEDS, "oD", _COLORS, strict=True))
    handles.append(style.handle("trade-off: gain on the former, loss on the latter"))
    handles.append(style.line_handle("95 % interval over seeds (published: unknown)", 0.8))
    style.legend(figure, 2, *handles, style.null_handle("random signs, two-sided 95 %"))
    label = "accuracy minus that of uniform weights, mean over other benchmarks of the kind, points"
    figure.supxlabel(label, fontsize="medium")
    return figure
