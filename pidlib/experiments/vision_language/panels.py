"""Panels that compare two measurements of the same atoms: bars against markers, by benchmark."""

from collections.abc import Iterator
from itertools import product

import pandas as pd

from pidlib.experiments import style

_SPREAD = 0.84  # share of an atom's place on the axis that all models take


def compare(bars: pd.DataFrame, markers: pd.DataFrame, words: str, null: str) -> style.Figure:
    """A panel for each benchmark, with a bar and a marker for each atom and model.

    Bars have the height ``bits``, markers a band for ``null_mean``.
    """
    table = pd.concat([bars, markers])
    models = list(table["model"].unique())
    figure, panels = style.benchmark_panels(list(table["benchmark"].unique()))
    for ax in panels.values():
        ax.set_xticks(range(4), [style.SYMBOLS[atom] for atom in style.VISION_LANGUAGE])
        ax.tick_params(axis="x", length=0, pad=5)
        ax.set_xlim(-0.55, 3.55)
        ax.axhline(0, color=style.INK, linewidth=0.6, zorder=2.7)
    handles = [*style.atom_handles(), style.null_handle(null)]
    figure.legend(handles=handles, loc="outside upper center", ncols=len(handles))
    handles = [style.swatch(words, facecolor=style.FAINT), *style.model_handles(models)]
    figure.legend(handles=handles, loc="outside lower center", ncols=4 if len(handles) < 5 else 3)
    width = 0.88 * _SPREAD / len(models)
    for (index, model), (benchmark, ax) in product(enumerate(models), panels.items()):
        x = (index - (len(models) - 1) / 2) * _SPREAD / len(models)
        heights, values = (
            rows[(rows["benchmark"] == benchmark) & (rows["model"] == model)]
            for rows in (bars, markers)
        )
        for atom, row, places in _places(heights, x - 0.24 * width):
            style.bars(ax, places, row["bits"], atom, 0.5 * width)
            style.interval(ax, places, row["ci_low"], row["ci_high"])
        for _, row, places in _places(values, x + 0.26 * width):
            style.null_band(ax, places, row["null_mean"], 0.46 * width)
            style.interval(ax, places, row["ci_low"], row["ci_high"], linewidth=0.6)
            style.points(ax, places, style.best(row), style.MARKERS[index])
    return figure


def _places(rows: pd.DataFrame, shift: float) -> Iterator[tuple[str, pd.DataFrame, list[float]]]:
    """Each atom, its row, none if it was not measured, and the place of that row on the axis."""
    for index, atom in enumerate(style.VISION_LANGUAGE):
        row = rows[rows["atom"] == atom]
        yield atom, row, [index + shift] * len(row)
