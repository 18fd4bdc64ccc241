"""Decompositions that are known exactly, of gates and of the laws of generated tasks."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.legend_handler import HandlerTuple

from pidlib.decomposition import PID
from pidlib.experiments import style
from pidlib.experiments.words import number

Conditions = Mapping[str, tuple[str, float, float]]  # label, offset of the bar, and opacity


def atom_rows(solved: PID, **columns: object) -> pd.DataFrame:
    """One row per atom of a single decomposition, with its certified bounds and further columns."""
    rows = [(atom, value, *solved.bounds[atom]) for atom, value in solved.atoms.items()]
    table = pd.DataFrame(rows, columns=["atom", "value_bits", "lower_bits", "upper_bits"])
    sources = dict(zip(("source_a", "source_b"), solved.sources, strict=True))
    return table.assign(**sources, converged=bool(solved.converged), **columns)


def draw_pairs(
    ax: style.Axes, truth: pd.DataFrame, column: str, conditions: Conditions, size: float = 0
) -> None:
    """Draw a bar for each atom and each value of a column, full and pale; their bits if sized."""
    atoms = list(truth["atom"].unique())
    truth = truth[truth[column].isin(conditions)].assign(shown=truth["value_bits"].round(2))
    for (atom, bits), rows in truth.groupby(["atom", "shown"]):
        place, shifts = atoms.index(atom), []
        for value, name in zip(rows["value_bits"], rows[column], strict=True):
            _, offset, opacity = conditions[name]
            style.bars(ax, [place + offset], [value], atom, 0.38, alpha=opacity)
            shifts.append(1.3 * offset)
        if size and (bits or len(shifts) == 1):  # equal bars share a number
            ax.text(place + np.mean(shifts), bits + 0.03, number(bits), ha="center", size=size)
    ax.set_xticks(range(len(atoms)), [style.SYMBOLS[atom] for atom in atoms], fontsize=7)
    ax.tick_params(length=0)


def scale_bits(ax: style.Axes, table: pd.DataFrame, **text: float) -> None:
    """Scale an axis in whole bits from 0, for the largest atom of a table."""
    top = math.ceil(table["value_bits"].max() - 1e-6)
    ax.set_yticks(range(top + 1), [*map(str, range(top)), f"{top} bit" + "s" * (top > 1)], **text)
    ax.set_ylim(0, top)


def pair_legend(sheet: style.Figure, conditions: Conditions, atoms: Sequence[str]) -> None:
    """The legend of full and pale bars, in the middle of a part of a page."""
    words, _, (_, opacity) = zip(*conditions.values(), strict=True)
    dark, pale = (style.atom_handles(atoms) for _ in words)
    for patch in pale:
        patch.set_alpha(opacity)
    title = "Atoms of an ideal answerer, bits\ndark: {}\npale: {}".format(*words)
    labels, pairs = [patch.get_label() for patch in dark], list(zip(dark, pale, strict=True))
    look = {"alignment": "left", "handler_map": {tuple: HandlerTuple(None, pad=0)}}
    sheet.legend(handles=pairs, labels=labels, loc="center", title=title, **look)
