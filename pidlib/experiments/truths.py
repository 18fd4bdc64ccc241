"""Decompositions that are known exactly, of gates and of the laws of generated tasks."""

import math
from collections.abc import Mapping, Sequence

import pandas as pd

from pidlib.decomposition import PID
from pidlib.experiments import style

Conditions = Mapping[str, tuple[str, float, float]]  # label, offset of the bar, and opacity


def atom_rows(solved: PID, **columns: object) -> pd.DataFrame:
    """One row per atom of a single decomposition, with its certified bounds and further columns."""
    rows = [(atom, value, *solved.bounds[atom]) for atom, value in solved.atoms.items()]
    table = pd.DataFrame(rows, columns=["atom", "value_bits", "lower_bits", "upper_bits"])
    first, second = solved.sources
    fixed = {"source_a": first, "source_b": second, "converged": bool(solved.converged)}
    return table.assign(**fixed, **columns)


def draw_pairs(
    ax: style.Axes, truth: pd.DataFrame, column: str, conditions: Conditions, atoms: Sequence[str]
) -> None:
    """Draw a bar for each atom and each value of a column, full and pale."""
    for condition, (_, offset, opacity) in conditions.items():
        for index, atom in enumerate(atoms):
            selected = (truth[column] == condition) & (truth["atom"] == atom)
            value = truth.loc[selected, "value_bits"]
            style.bars(ax, [index + offset] * len(value), value, atom, 0.38, alpha=opacity)
    ax.set_xticks(range(len(atoms)), [style.SYMBOLS[atom] for atom in atoms], fontsize=7)
    ax.tick_params(length=0)


def scale_bits(ax: style.Axes, table: pd.DataFrame, **text: float) -> None:
    """Scale an axis in whole bits from 0, for the largest atom of a table."""
    top = math.ceil(table["value_bits"].max() - 1e-6)
    ax.set_yticks(range(top + 1), [*map(str, range(top)), f"{top} bit" + "s" * (top > 1)], **text)
    ax.set_ylim(0, top)


def pair_handles(conditions: Conditions, atoms: Sequence[str]) -> list[style.Artist]:
    """Legend entries of atoms and of full and pale bars."""
    handles = style.atom_handles(atoms)
    for label, _, opacity in conditions.values():
        handles.append(style.swatch(label, facecolor=style.INK, alpha=opacity))
    return handles
