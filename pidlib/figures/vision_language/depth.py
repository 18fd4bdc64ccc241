"""Figures of the atoms by depth, and of the stages that were tested."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from pidlib.figures import marks
from pidlib.results import drawable, latex

_STAGES = (0.2, 0.8)  # relative depths at which the published stages change
_SIGNS = {"holds": "+", "against": "-", "open": r"\circ"}
_SYMBOLS = {
    "silence": r"$I_{.2}/I_{\max}$",
    "accumulation": r"$\Delta(I - S)$",
    "middle_share": r"$\Delta(I - S)/\max$",
    "late_share": r"$1 - S_{.8}/S$",
    "synergy_slope": "$S'$",
    "language_slope": r"$U_\ell'$",
}


def fig_layers(table: pd.DataFrame, *, allow_unconverged: bool = False) -> Figure:
    """Masked atoms against relative depth: a row of panels per model, a column per benchmark; the published stages are shaded."""
    table = drawable(table, allow_unconverged=allow_unconverged)
    models, benchmarks = list(table["model"].unique()), list(table["benchmark"].unique())
    figure = Figure(figsize=(marks.PAGE, 1.15 * len(models) + 0.75))
    axes = figure.subplots(len(models), len(benchmarks), sharex=True, sharey="row", squeeze=False)
    for (row, model), (column, benchmark) in ((a, b) for a in enumerate(models) for b in enumerate(benchmarks)):
        stages(axes[row, column])
        trajectories(axes[row, column], table[(table["model"] == model) & (table["benchmark"] == benchmark)])
    for ax, benchmark in zip(axes[0], benchmarks, strict=True):
        ax.set_title(marks.benchmark_name(benchmark).replace(": ", "\n"), pad=3)
    for ax, model in zip(axes[:, 0], models, strict=True):
        ax.set_ylabel(f"{marks.model_name(model)}\nbits")
    figure.supxlabel("relative depth of the block", fontsize="medium")
    floor = Line2D([], [], color=marks.FAINT, linewidth=0.8, linestyle=(0, (1, 1)), label="noise floor")
    stage = Patch(color=marks.NULL, alpha=0.45, label="first and last stage, as published")
    figure.legend(handles=[*marks.atom_lines(marks.MARKERS), floor, stage], loc="outside upper center", ncols=6)
    return figure


def trajectories(ax: Axes, rows: pd.DataFrame, atoms: Sequence[str] = marks.VISION_LANGUAGE, **style: Any) -> None:
    """Atoms by relative depth as lines with bands and floors; `style` is that of the lines."""
    for index, atom in enumerate(atoms):
        line = rows[rows["atom"] == atom].sort_values("layer")
        depth = (line["layer"].to_numpy(float) + 1) / (line["layer"].max() + 1)
        value, low, high, floor = (line[name].to_numpy(float, na_value=np.nan) for name in ("value_bits", "ci_low", "ci_high", "null_mean"))
        ax.plot(depth, floor, color=marks.COLORS[atom], linewidth=0.7, linestyle=(0, (1, 1)), zorder=2)
        ax.fill_between(depth, low, high, color=marks.COLORS[atom], alpha=0.18, linewidth=0, zorder=2)
        drawn = {"marker": marks.MARKERS[index], "markersize": 2.4, "linewidth": 0.9, "zorder": 3} | style
        ax.plot(depth, value, color=marks.COLORS[atom], **drawn)


def stages(ax: Axes) -> None:
    """An axis of relative depth from 0 to 1, with the first and the last stage shaded."""
    for start, stop in ((0, _STAGES[0]), (_STAGES[1], 1.06)):
        ax.axvspan(start, stop, color=marks.NULL, alpha=0.45, linewidth=0, zorder=0)
    ax.axhline(0, color=marks.INK, linewidth=0.5, zorder=1)
    ax.set_xlim(0, 1.06)
    ax.set_xticks([0, 0.5, 1], ["0", ".5", "1"])


def table_layers(table: pd.DataFrame, *, allow_unconverged: bool = False) -> str:
    """The statistics of the stages."""
    return claims(table, _SYMBOLS, allow_unconverged=allow_unconverged)


def claims(table: pd.DataFrame, symbols: Mapping[str, str], *, allow_unconverged: bool = False) -> str:
    """Tested claims: plus where the whole interval is on the claim's side of its bound, by its margin, minus where on the other."""
    table = drawable(table, allow_unconverged=allow_unconverged)
    header = ["benchmark", "model", *symbols.values()]
    rows = marks.minis_line(table["model"], len(header))
    for (benchmark, model), group in table.groupby(["benchmark", "model"], sort=False):
        found = group.set_index("statistic").loc[list(symbols)]
        signed = zip(found["value"], found["verdict"], strict=True)
        cells = [None if pd.isna(value) else f"${round(value, 2) + 0.0:.2f}^{{{_SIGNS[sign]}}}$" for value, sign in signed]
        rows.append([*(name.replace("_", r"\_") for name in (marks.benchmark_name(benchmark), marks.model_name(model))), *cells])
    return latex(header, rows, align="ll" + "r" * len(symbols))
