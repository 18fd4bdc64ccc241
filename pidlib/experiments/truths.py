"""Decompositions that are known exactly, of gates and of the laws of generated tasks."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.patches import Patch

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
    ax: Axes, truth: pd.DataFrame, column: str, conditions: Conditions, atoms: Sequence[str]
) -> None:
    """Draw a bar for each atom and each value of a column, full and pale."""
    for condition, (_, offset, opacity) in conditions.items():
        for index, atom in enumerate(atoms):
            selected = (truth[column] == condition) & (truth["atom"] == atom)
            value = truth.loc[selected, "value_bits"]
            style.bars(ax, [index + offset] * len(value), value, atom, 0.38, alpha=opacity)
    ax.set_xticks(range(len(atoms)), [style.SYMBOLS[atom] for atom in atoms], fontsize=7)
    ax.tick_params(length=0)


def pair_handles(conditions: Conditions, atoms: Sequence[str]) -> list[Patch]:
    """Legend entries of atoms and of full and pale bars."""
    shades = [
        Patch(facecolor=style.INK, alpha=opacity, label=label)
        for label, _, opacity in conditions.values()
    ]
    return [*style.atom_handles(atoms), *shades]


def sampled_laws(k: int) -> dict[str, np.ndarray]:
    """Joints [x1, x2, y] of k values each on which estimates are tried; `pid` has their atoms."""
    informs, chance = 0.6 * np.eye(k) + 0.4 / k, np.full(k, 1 / k)
    first, second = np.random.default_rng(11).normal(size=(2, k, k)) * 1.5
    evidence = np.exp(first[:, None] + second)
    x1, x2 = np.indices((k, k))
    return {
        "additive evidence": evidence / evidence.sum(2, keepdims=True) / k**2,
        "noisy sum": (0.7 * np.eye(k) + 0.3 / k)[(x1 + x2) % k] / k**2,
        "same noisy channel": np.einsum("yi,yj->ijy", informs, informs) / k,
        "one source alone": np.einsum("iy,j->ijy", informs, chance) / k,
        "minimum": np.eye(k)[np.minimum(x1, x2)] / k**2,
    }


def sample_law(law: np.ndarray, n: int, seed: int) -> tuple[np.ndarray, ...]:
    """Codes of X1, X2 and Y of n independent samples of a joint."""
    cells = np.random.default_rng(seed).choice(law.size, size=n, p=law.ravel() / law.sum())
    return np.unravel_index(cells, law.shape)
