"""Three stages of an answer in depth: their statistics, tests and drawing.

Blocks are read by the logit lens; block b of B is at the relative depth (b + 1) / B. Fang et al.
describe silence up to 20 % of the depth, growing information in each modality alone up to 80 %,
then rising synergy and falling unique information of language.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Float

from pidlib.experiments import style
from pidlib.experiments.statistics import centered_interval
from pidlib.experiments.tables import COMPUTED, ORIGIN, ROW, declare
from pidlib.profiles.modes import Measured, permutation_test

Curves = Mapping[str, Float[np.ndarray, "L *draws"]]  # atoms in bits after all L blocks
Values = dict[str, Float[np.ndarray, "*draws"]]

FIRST_END, LAST_START = 0.2, 0.8  # relative depths at which the published stages change
N_NULLS = 3  # permutations of the answers after each block
MIN_BITS = 0.05  # a share of no more is missing
READABLE_BITS = 2 * MIN_BITS  # an atom that stays below has no course in depth that could be read

_NULL = {"color": style.FAINT, "linewidth": 1, "linestyle": (0, (1, 1))}
_SHADE = "#ececec"
Claims = Mapping[str, "Claim"]
_TESTED = "statistic value ci_low ci_high verdict early_depth late_depth n_samples seed"
_REQUIRED = f"{ROW} statistic verdict early_depth late_depth seed"
CLAIM_COLUMNS = declare(f"experiment {ORIGIN} {_TESTED} {COMPUTED}", required=_REQUIRED)


class Claim(NamedTuple):
    """A predicted inequality: a statistic is above or below a bound, by more than a margin."""

    above: bool
    bound: float = 0.0
    margin: float = 0.0
    early: bool = False  # reads the end of the first stage


def stage_blocks(blocks: int) -> tuple[int, int]:
    """The last blocks within 20 % (else the first) and 80 % of the depth; ValueError below 3."""
    if blocks < 3:
        raise ValueError(f"{blocks} blocks have no three stages; use a model with at least 3")
    return max(int(FIRST_END * blocks + 1e-9) - 1, 0), int(LAST_START * blocks + 1e-9) - 1


def verdict(claim: Claim, low: float, high: float) -> str:
    """``holds`` or ``against`` if the interval is beyond the bound by the margin, else ``open``."""
    above, below = low > claim.bound + claim.margin, high < claim.bound - claim.margin
    holds, against = (above, below) if claim.above else (below, above)
    return "holds" if holds else "against" if against else "open"


def share_of(part: np.ndarray, whole: np.ndarray, least: float = MIN_BITS) -> np.ndarray:
    """A share of a quantity in bits, missing where that is not above `least`."""
    known = whole > least
    return np.where(known, part / np.where(known, whole, 1), np.nan)


def with_null(
    rows: pd.DataFrame, draw: Callable, sources: Sequence[str], seed: int, device: Any = None
) -> pd.DataFrame:
    """Rows of atoms with the mean of few permutations, see `permutation_test`."""
    lower = rows.set_index("atom")["lower_bits"]
    null = permutation_test(draw, lower, sources, seed, n=N_NULLS, device=device)
    converged = rows["converged"] & null.converged
    return rows.assign(null_mean=rows["atom"].map(null.mean), converged=converged)


def trajectory(layers: Sequence[int], measure: Callable[[int], Measured]) -> Measured:
    """Measure after every block: values and draws become arrays [L] and [L, n]."""
    if tuple(layers) != tuple(range(len(layers))):
        text = f"stages need every block from 0; this extraction has {tuple(layers)}"
        raise ValueError(f"{text}: extract with layers=range(...)")
    stage_blocks(len(layers))
    blocks = [measure(layer) for layer in layers]
    atoms = {atom: np.stack([block.atoms[atom] for block in blocks]) for atom in blocks[0].atoms}
    draws = {atom: np.stack([block.draws[atom] for block in blocks]) for atom in atoms}
    return Measured(pd.concat([block.rows for block in blocks], ignore_index=True), draws, atoms)


def check_trajectories(
    claims: Claims, statistics: Callable, *trajectories: Measured, **columns: Any
) -> pd.DataFrame:
    """Test claims on statistics of the atoms of trajectories, see `check_claims`."""
    values = statistics(*(each.atoms for each in trajectories))
    draws = statistics(*(each.draws for each in trajectories))
    tested = check_claims(claims, values, draws, len(trajectories[0].atoms["synergy"]))
    converged = all(each.rows["converged"].all() for each in trajectories)
    return tested.assign(converged=converged, **columns)


def check_claims(claims: Claims, values: Values, draws: Values, blocks: int) -> pd.DataFrame:
    """A row per claim: the statistic, its interval over bootstrap draws, verdict and readings.

    If the first reading lies after the first stage, ``early`` claims are ``open``, not ``against``.
    """
    (early, middle), rows = stage_blocks(blocks), []
    for name, claim in claims.items():
        value, finite = float(values[name]), draws[name][np.isfinite(draws[name])]
        known = np.isfinite(value) and len(finite)
        low, high = centered_interval(finite, value) if known else (np.nan, np.nan)
        result = verdict(claim, low, high)
        if claim.early and early + 1 > FIRST_END * blocks:
            result = result.replace("against", "open")
        rows.append((name, value, low, high, result))
    table = pd.DataFrame(rows, columns=["statistic", "value", "ci_low", "ci_high", "verdict"])
    return table.assign(early_depth=(early + 1) / blocks, late_depth=(middle + 1) / blocks)


def draw_trajectories(
    ax: style.Axes, rows: pd.DataFrame, atoms: Sequence[str] = style.VISION_LANGUAGE, **line: Any
) -> None:
    """Draw atoms against relative depth: lines with intervals, and dotted nulls."""
    for index, atom in enumerate(atoms):
        own, look = rows[rows["atom"] == atom].sort_values("layer"), {"color": style.COLORS[atom]}
        look |= {"marker": style.MARKERS[index], "markersize": 2.4, "linewidth": 0.9, **line}
        depth = (own["layer"].to_numpy(float) + 1) / (own["layer"].max() + 1)
        value, low, high, null = style.floats(own, "value_bits", "ci_low", "ci_high", "null_mean")
        ax.plot(depth, null, zorder=2, **_NULL | {"color": look["color"]})
        ax.fill_between(depth, low, high, color=look["color"], alpha=0.18, linewidth=0, zorder=2)
        ax.plot(depth, value, zorder=3, **look)


def draw_stages(ax: style.Axes) -> None:
    """Draw relative depth from 0 to 1, the outer stages shaded."""
    style.show_least_bits(ax)
    for start, stop in ((0, FIRST_END), (LAST_START, 1.06)):
        ax.axvspan(start, stop, color=_SHADE, linewidth=0, zorder=0)
    ax.axhline(0, color=style.INK, linewidth=0.5, zorder=1)
    ax.set(xlim=(0, 1.06), xticks=(0, 0.5, 1), xticklabels=("0", ".5", "1"))


def legend_handles(null: str, band: str) -> list[style.Artist]:
    """Legend entries of the null, of intervals and of the stages."""
    handles = style.handle(null, **_NULL), style.swatch(band, color="#c8c8c8")
    return [*handles, style.swatch("first and last stage (Fang et al.)", color=_SHADE)]
