"""Figures and tables of the validation: exact cases, recovery of a known truth, sampling bias, and the solver's speed."""

import itertools
import textwrap
from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from pidlib import benchmarks
from pidlib.figures import marks
from pidlib.results import drawable, latex

_MODES = {"masked": "absent modality masked", "resampled": "absent modality resampled"}
_FLOOR = 1e-9  # bits: the certified gap of the reference, below which distances cannot be told
_SHADES = {"masked": 1.0, "resampled": 0.45}
_SIDES = {"exact": -0.17, "BATCH": 0.17}  # where an estimator's markers stand within the bar of the truth


def fig_recovery(table: pd.DataFrame, *, allow_unconverged: bool = False) -> Figure:
    """Atoms measured on the minis against the truth of the ideal answerer: bars are the truth, markers what was measured."""
    table = drawable(table, allow_unconverged=allow_unconverged)
    tasks, models = list(table["benchmark"].unique()), list(table["model"].dropna().unique())
    modes = [mode for mode in _MODES if mode in set(table["unimodal"])]
    figure = Figure(figsize=(marks.PAGE, 1.35 * len(modes) + 0.6))
    axes = figure.subplots(len(modes), len(tasks), sharex=True, sharey=True, squeeze=False)
    for (row, mode), (column, benchmark) in ((a, b) for a in enumerate(modes) for b in enumerate(tasks)):
        ax, here = axes[row, column], table[(table["unimodal"] == mode) & (table["benchmark"] == benchmark)]
        _truth(ax, here[here["estimator"] == "truth"])
        for marker, model in zip(marks.MARKERS, models, strict=False):
            _measured(ax, here[here["model"] == model], marker)
        ax.tick_params(axis="x", length=0, pad=4)
        if row == 0:
            ax.set_title(marks.benchmark_name(benchmark).removeprefix("micro: "), pad=4)
    for row, mode in enumerate(modes):
        axes[row, 0].set_ylabel(f"{mode}\nbits")
    axes[0, 0].set_ylim(bottom=0)
    bar = Line2D([], [], color=marks.INK, linewidth=0.9, label="truth")
    faces = {"exact solver": "white", "BATCH": marks.INK}
    estimators = [Patch(facecolor=face, edgecolor=marks.INK, label=label) for label, face in faces.items()]
    figure.legend(handles=[*marks.atom_handles(), bar], loc="outside upper center", ncols=5)
    figure.legend(handles=[*marks.model_handles(models), *estimators], loc="outside lower center", ncols=len(models) + 2)
    return figure


def _truth(ax: Axes, rows: pd.DataFrame) -> None:
    ax.set_xticks(range(4), [marks.SYMBOLS[atom] for atom in marks.VISION_LANGUAGE])
    ax.set_xlim(-0.6, 3.6)
    for index, atom in enumerate(marks.VISION_LANGUAGE):
        value = rows.loc[rows["atom"] == atom, "value_bits"]
        marks.bars(ax, [index] * len(value), value, atom, 0.8)
        ax.hlines(value, index - 0.4, index + 0.4, color=marks.INK, linewidth=0.9, zorder=3)


def _measured(ax: Axes, rows: pd.DataFrame, marker: str) -> None:
    for index, atom in enumerate(marks.VISION_LANGUAGE):
        for estimator, side in _SIDES.items():
            row = rows[(rows["atom"] == atom) & (rows["estimator"] == estimator)]
            marks.interval(ax, [index + side] * len(row), row["ci_low"], row["ci_high"], linewidth=0.6)
            face = "white" if estimator == "exact" else marks.INK
            marks.points(ax, [index + side] * len(row), row["value_bits"], marker, color=face, markersize=3)


def fig_bias(table: pd.DataFrame, *, allow_unconverged: bool = False) -> Figure:
    """Synergy measured between independent codes against the number of samples: its mean above, the error of a single study below."""
    table = drawable(table, allow_unconverged=allow_unconverged)
    codes = sorted(table["n_codes"].unique())
    looks = _line_looks(list(table["estimator"].unique()), [marks.COLORS["synergy"], *marks.OTHERS])  # synergy as it is counted comes first
    figure = Figure(figsize=(marks.PAGE, 3.9))
    axes = figure.subplots(2, len(codes), sharex=True, sharey="row", squeeze=False)
    edge = table["n_samples"].min() * 0.7
    for (above, below), k in zip(axes.T, codes, strict=True):
        for ax in (above, below):
            ax.axvspan(edge, max(k * k, edge), color=marks.NULL, alpha=0.45, linewidth=0, zorder=0)
        above.axhline(0, color=marks.INK, linewidth=0.6, zorder=1)
        for estimator, look in looks.items():
            rows = table[(table["n_codes"] == k) & (table["estimator"] == estimator)].sort_values("n_samples")
            n, mean, low, high = (rows[name].to_numpy(float) for name in ("n_samples", "value_bits", "ci_low", "ci_high"))
            above.fill_between(n, low, high, color=look["color"], alpha=0.13, linewidth=0)
            above.plot(n, mean, **look)
            below.plot(n, np.hypot(mean, (high - low) / 2 / 1.96), **look)  # the interval is 1.96 standard deviations either way
        above.set_title(f"{k} codes per source")
        below.set(xscale="log", yscale="log", xlim=(edge, table["n_samples"].max() * 1.3), xlabel="samples $n$")
    axes[0, 0].set_ylabel("spurious synergy (bits)")
    axes[1, 0].set_ylabel("root mean square error (bits)")
    handles = [Line2D([], [], label=estimator, **look) for estimator, look in looks.items()]
    shade = Patch(facecolor=marks.NULL, alpha=0.45, label="not estimable: $n < k_1 k_2$")
    figure.legend(handles=[*handles, shade], loc="outside upper center", ncols=4)
    return figure


def _line_looks(names: list[str], colors: Sequence[str]) -> dict[str, dict]:
    """Lines are told apart by colour, dash and marker."""
    if len(names) > len(colors):
        raise ValueError(f"{len(names)} lines in one panel, and {len(colors)} looks that can be told apart; draw fewer: {', '.join(names)}")
    dashes = itertools.cycle(["-", (0, (4, 1.2)), (0, (1.2, 1)), (0, (6, 1, 1, 1))])
    looks = zip(names, colors, dashes, marks.MARKERS, strict=False)
    return {name: {"color": color, "linestyle": dash, "marker": marker, "markersize": 2.8} for name, color, dash, marker in looks}


def fig_benchmarks(table: pd.DataFrame) -> Figure:
    """A contact sheet: samples of every benchmark, and the atoms of the ideal answerer where the law is known."""
    names = benchmarks.BENCHMARKS
    rows = len(names) // 2 + 1  # the last place is the legend's
    figure = Figure(figsize=(marks.PAGE, 1.3 * rows))
    sheets = figure.subfigures(rows, 2, squeeze=False, wspace=0.04).ravel()
    for sheet, name in zip(sheets, names, strict=False):
        truth = table[table["benchmark"] == name]
        axes = sheet.subplots(1, 4)
        sheet.suptitle(marks.benchmark_name(name), x=0.02, ha="left", fontsize=8.5)
        for ax, sample in zip(axes, benchmarks.load(name, "test", n=3 if len(truth) else 4), strict=False):
            _picture(ax, sample)
        if len(truth):
            _small_truth(axes[-1], truth)
    shades = [Patch(facecolor=marks.INK, alpha=_SHADES[mode], label=words) for mode, words in _MODES.items()]
    handles = [*marks.atom_handles(), *shades]
    sheets[-1].legend(handles=handles, loc="center", fontsize=8, title="Atoms of the ideal answerer", alignment="left")
    return figure


def _picture(ax: Axes, sample: benchmarks.Sample) -> None:
    lines = [*textwrap.wrap(sample.question, 21), rf"$\bf{{{sample.answer}}}$"]
    ax.imshow(sample.image, interpolation="nearest")
    ax.set(xticks=[], yticks=[])
    ax.spines[:].set_visible(False)
    # As many lines under every picture, so that all pictures get the same size.
    ax.set_xlabel("\n".join(lines + [" "] * (4 - len(lines))), fontsize=6.5, linespacing=1.05)


def _small_truth(ax: Axes, truth: pd.DataFrame) -> None:
    """Two bars per atom: full where the absent modality is masked, pale where it is resampled."""
    for mode, side in (("masked", -0.2), ("resampled", 0.2)):
        for index, atom in enumerate(marks.VISION_LANGUAGE):
            value = truth.loc[(truth["unimodal"] == mode) & (truth["atom"] == atom), "value_bits"]
            marks.bars(ax, [index + side] * len(value), value, atom, 0.38, alpha=_SHADES[mode])
    ax.set_box_aspect(1)
    ax.set_xticks(range(4), [marks.SYMBOLS[atom] for atom in marks.VISION_LANGUAGE], fontsize=7)
    ax.set_yticks([0, 1, 2], ["0", "1", "2 bits"], fontsize=7)
    ax.tick_params(length=0)
    ax.set_ylim(0, 2)


def table_gates(table: pd.DataFrame, *, allow_unconverged: bool = False) -> str:
    """Exact atoms of each gate, the largest distance of ours from them, and the certified gap, in bits."""
    table = drawable(table, allow_unconverged=allow_unconverged)
    exact, ours = (table[table["estimator"] == name].set_index(["benchmark", "atom"]) for name in ("closed form", "newton"))
    rows = []
    for gate in table["benchmark"].unique():
        truth = [exact.loc[(gate, atom), "value_bits"] for atom in marks.VISION_LANGUAGE]
        found = [ours.loc[(gate, atom), "value_bits"] for atom in marks.VISION_LANGUAGE]
        gap = (ours.loc[gate, "upper_bits"] - ours.loc[gate, "lower_bits"]).max()
        away = max(abs(a - b) for a, b in zip(truth, found, strict=True))
        rows.append([gate.removeprefix("gate/"), *map(float, truth), _power(away), _power(gap)])
    header = ["gate", "$R$", "$U_1$", "$U_2$", "$S$", "distance", "gap"]
    return latex(header, rows, digits=4)


def _power(value: float) -> str:
    """``3.2e-09`` -> ``$3\\cdot10^{-9}$``: only the magnitude of an error is worth printing."""
    if value < 1e-9:  # the table holds nine digits
        return "$<10^{-9}$"
    digit, exponent = f"{value:.0e}".split("e")
    return rf"${digit}\cdot10^{{{int(exponent)}}}$"


def fig_solver(table: pd.DataFrame) -> Figure:
    """Time per table against its size, and the distance from the optimum that the time left, for each method."""
    looks = _line_looks(list(table["method"].unique()), marks.OTHERS)
    figure = Figure(figsize=(marks.PAGE, 2.6))
    time, error = figure.subplots(1, 2, sharex=True)
    for method, look in looks.items():
        rows = table[table["method"] == method].sort_values("cells")
        cells, spent, off = (rows[name].to_numpy(float) for name in ("cells", "seconds", "error_bits"))
        time.plot(cells, spent, **look)
        error.plot(cells, np.maximum(off, _FLOOR), **look)
    error.axhspan(_FLOOR / 3, _FLOOR * 1.6, color=marks.NULL, alpha=0.45, linewidth=0, zorder=0)
    error.set(yscale="log", xscale="log", ylabel="distance from the optimum (bits)", ylim=(_FLOOR / 3, None))
    time.set(yscale="log", xscale="log", ylabel="time per table (CPU seconds)")
    sizes = table.drop_duplicates("size").sort_values("cells")
    for ax in (time, error):
        ax.set_xticks(sizes["cells"].to_numpy(float), [size.replace("x", "\u00d7") for size in sizes["size"]], rotation=30, ha="right")
        ax.minorticks_off()
        ax.set_xlabel("size of the table")
    handles = [Line2D([], [], label=method, **look) for method, look in looks.items()]
    shade = Patch(facecolor=marks.NULL, alpha=0.45, label="below what can be told")
    figure.legend(handles=[*handles, shade], loc="outside upper center", ncols=4)
    return figure
