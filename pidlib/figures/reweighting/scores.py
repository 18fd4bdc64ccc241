"""What the scores of training samples are, and which pictures and questions get the most."""

import textwrap

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from pidlib import benchmarks
from pidlib.figures import marks
from pidlib.results import drawable

_EXTREMES = {"gap_bits": "largest gap", "sc": "largest SC", "sr": "largest SR"}
_SHOWN = 4  # samples of each extreme


def fig_scores(table: pd.DataFrame, *, allow_unconverged: bool = False) -> Figure:
    """A block per benchmark: SC against SR and gap against FP, a sample a dot in the colour of its weight; the extremes of each score.

    A dot is hollow where the question alone makes the right answer less likely than not: these a base that leans on it has to look for.
    Of samples that share question and answer only the first is shown. Pictures are drawn anew from the benchmark, as the rows say.
    """
    table = drawable(table, allow_unconverged=allow_unconverged)
    names = list(table["benchmark"].unique())
    weights = sorted(table["weight"].unique(), reverse=True)
    colors = dict(zip(weights, (marks.OTHERS[0], marks.FAINT, marks.OTHERS[1]) if len(weights) == 3 else marks.OTHERS, strict=False))
    figure = Figure(figsize=(marks.PAGE, 3.35 * len(names) + 0.3))
    for block, name in zip(figure.subfigures(len(names), 1, squeeze=False)[:, 0], names, strict=True):
        here = table[table["benchmark"] == name]
        left, right = block.subfigures(1, 2, width_ratios=(1, 1.75))
        shares, bits = left.subplots(2, 1)
        _dots(shares, here, "sr", "sc", colors)
        shares.set(xlabel="SR", ylabel="SC", ylim=(-0.04, 1.04), title=_title(here.iloc[0]))
        _dots(bits, here, "fp_bits", "gap_bits", colors)
        bits.set(xlabel="FP, bits", ylabel="gap, bits")
        _extremes(right, here)
    style = {"linestyle": "", "marker": "o", "markersize": 3}
    shown = [Line2D([], [], color=colors[one], label=f"weight {one:g}", **style) for one in weights]
    words = "right answer unlikely from the question alone"
    hollow = Line2D([], [], markerfacecolor="none", markeredgecolor=marks.INK, label=words, **style)
    figure.legend(handles=[*shown, hollow], loc="outside lower center", ncols=len(shown) + 1)
    return figure


def _title(row: pd.Series) -> str:
    return f"{marks.benchmark_name(row['benchmark'])},\n{marks.model_name(row['base'])}"


def _dots(ax: Axes, table: pd.DataFrame, x: str, y: str, colors: dict[float, str]) -> None:
    for weight, color in sorted(colors.items(), key=lambda one: one[0] != 1):
        for unlikely, face in ((False, color), (True, "white")):
            some = table[(table["weight"] == weight) & ((table["p_answer_language"] < 0.5) == unlikely)]
            style = {"color": color, "markerfacecolor": face, "markersize": 2.4, "markeredgewidth": 0.6 * unlikely}
            ax.plot(some[x].to_numpy(float), some[y].to_numpy(float), "o", alpha=0.8, **style)


def _extremes(figure: Figure, table: pd.DataFrame) -> None:
    """Rows of pictures; under each its question, its answer, and how likely the base finds that, with the picture and without."""
    first = table.iloc[0]
    samples = benchmarks.load(first["benchmark"], first["split"], int(first["n_samples"]), int(first["seed"]))
    pictures = {one.sample_id: one.image for one in samples}
    axes = figure.subplots(len(_EXTREMES), _SHOWN, squeeze=False)
    for row, (score, words) in zip(axes, _EXTREMES.items(), strict=True):
        most = table.sort_values(score, ascending=False, kind="stable").drop_duplicates(["question", "answer"])
        for ax, (_, sample) in zip(row, most.head(_SHOWN).iterrows(), strict=False):
            ax.imshow(pictures[sample["sample_id"]], interpolation="nearest")
            text = textwrap.fill(sample["question"], 24) + f"\n$\\bf{{{sample['answer']}}}$"
            text += f" {sample['p_answer']:.2f}, alone {sample['p_answer_language']:.2f}"
            ax.set_xlabel(text, fontsize=5.5, linespacing=1.05, labelpad=2)
            ax.set_title(f"{sample[score]:.2f}{' bits' * score.endswith('bits')}", fontsize=6, pad=2, loc="center")
        for ax in row:
            ax.set(xticks=[], yticks=[])
            ax.spines[:].set_visible(False)
            ax.grid(visible=False)
        row[0].set_ylabel(words, fontsize=7)
