"""Panels that compare two measurements of the same atoms: bars against markers, by benchmark."""

from itertools import product

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from pidlib.experiments import style

_SPREAD = 0.84  # share of an atom's place on the axis that all models take


def compare(bars: pd.DataFrame, markers: pd.DataFrame, words: str, null: str) -> Figure:
    """A panel for each benchmark, with a bar and a marker for each atom and model.

    Parameters
    ----------
    bars
        Rows of atoms with the height of the bar in ``bits``, and its interval.
    markers
        Rows of atoms with ``value_bits``, interval and ``null_mean``, drawn as a band.
    words, null
        Legend entries of bars and markers, and of the null.
    """
    table = pd.concat([bars, markers])
    models = list(table["model"].unique())
    atoms = _atoms(table)
    figure, panels = style.benchmark_panels(list(table["benchmark"].unique()))
    for ax in panels.values():
        ax.set_xticks(range(len(atoms)), [style.SYMBOLS[atom] for atom in atoms])
        ax.tick_params(axis="x", length=0, pad=5)
        ax.set_xlim(-0.55, len(atoms) - 0.45)
        ax.axhline(0, color=style.INK, linewidth=0.6, zorder=2.7)
    handles = [*style.atom_handles(atoms), style.null_handle(null)]
    figure.legend(handles=handles, loc="outside upper center", ncols=len(handles))
    handles = [Patch(facecolor=style.FAINT, label=words), *style.model_handles(models)]
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles))
    width = 0.88 * _SPREAD / len(models)
    for (index, model), (benchmark, ax) in product(enumerate(models), panels.items()):
        x = (index - (len(models) - 1) / 2) * _SPREAD / len(models)
        heights, values = (
            rows[(rows["benchmark"] == benchmark) & (rows["model"] == model)]
            for rows in (bars, markers)
        )
        _draw_bars(ax, heights, x - 0.24 * width, 0.5 * width)
        _draw_markers(ax, values, x + 0.26 * width, 0.46 * width, style.MARKERS[index])
    return figure


def _atoms(rows: pd.DataFrame) -> list[str]:
    return [atom for atom in style.SYMBOLS if atom in set(rows["atom"])]


def _draw_bars(ax: Axes, rows: pd.DataFrame, x: float, width: float) -> None:
    for index, atom in enumerate(_atoms(rows)):
        row = rows[rows["atom"] == atom]
        style.bars(ax, [index + x], row["bits"], atom, width)
        style.interval(ax, [index + x], row["ci_low"], row["ci_high"])


def _draw_markers(ax: Axes, rows: pd.DataFrame, x: float, width: float, marker: str) -> None:
    for index, atom in enumerate(_atoms(rows)):
        row = rows[rows["atom"] == atom]
        style.null_band(ax, [index + x], row["null_mean"], width)
        style.interval(ax, [index + x], row["ci_low"], row["ci_high"], linewidth=0.6)
        style.points(ax, [index + x], row["value_bits"], marker)
