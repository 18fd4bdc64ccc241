"""Measure Sensory PID: atoms of clips with bounds, intervals, nulls and references."""

from collections.abc import Mapping, Sequence
from functools import partial

import numpy as np
import pandas as pd

from pidlib import sensory
from pidlib.decomposition.resampling import N_HALVES, extrapolate, normal_interval
from pidlib.profiles.modes import N_PERMUTATIONS, Measured, Null, permutation_test
from pidlib.sensory import Group


def sensory_profile(
    groups: Sequence[Group],
    references: Sequence[str] | None = None,
    *,
    n_halves: int = N_HALVES,
    seed: int = 0,
    n_permutations: int = N_PERMUTATIONS,
) -> Measured:
    """Sensory atoms and, in the rows, their sum (``total``): bounds, intervals, corrected values.

    The null permutes the answers from one stream among the samples and draws of a condition
    (`n_permutations` times, 0 omits it), see `permutation_test`; synergy and sum have none. Halves
    of the samples of each condition correct the values and give the intervals, except for the
    reference. By default, and in `draws`, the reference is P(Y | c).
    """
    decisions, condition = [group.decisions for group in groups], groups[0].condition
    result = sensory.decompose(decisions)
    halves = sensory.halve(result, decisions, n_halves, seed)
    corrected = extrapolate(halves, sensory.SOURCES)
    bounds = result.pid.bounds | {"total": (result.pid.total,) * 2}
    whole, rows, sizes = result.pid.atoms, [], list(map(len, decisions))
    null = Null({}, {}, True)
    if n_permutations:
        lower = pd.Series({atom: low for atom, (low, _) in bounds.items()})
        draw, zero_p = partial(sensory.permuted, groups), corrected.p
        null = permutation_test(draw, lower, sensory.averaged(groups), seed, zero_p, n_permutations)
    total = sum(corrected.atoms.values()), sum(corrected.draws.values())
    intervals = dict(corrected.interval) | {"total": normal_interval(*total)}
    for reference in references or sensory.REFERENCES[condition][:1]:
        shift = sensory.reference_shift(groups, reference)
        best = _shifted(corrected.atoms, shift)
        for atom, bits in _shifted(whole, shift).items():
            added = shift if atom in ("redundancy", "total") else 0.0
            ends = [end + added for end in (*intervals[atom], *bounds[atom])]
            tested = null.mean.get(atom, np.nan) + added, null.p.get(atom, np.nan)
            rows.append((reference, atom, bits, best[atom], *ends, *tested))
    columns = ["reference", "atom", "value_bits", "corrected_bits", "ci_low", "ci_high"]
    columns += ["lower_bits", "upper_bits", "null_mean", "null_p"]
    table = pd.DataFrame(rows, columns=columns)
    converged = result.pid.converged and halves.converged and null.converged
    fixed = {"source_a": "vision", "source_b": "audio", "unimodal": "masked", "estimator": "exact"}
    counts = {"n_samples": sum(sizes), "n_conditions": len(groups)}
    counts["n_per_condition"] = float(np.median(sizes))
    fixed |= {f"moved_{name}": distance for name, distance in result.reconciliation.items()}
    table = table.assign(given=condition, seed=seed, converged=converged, **counts, **fixed)
    return Measured(table, corrected.draws, corrected.atoms, result)


def _shifted(atoms: Mapping, shift: np.ndarray) -> dict[str, np.ndarray | float]:
    """Add the shift of a reference to redundancy, and the sum of the atoms as ``total``."""
    shifted = dict(atoms) | {"redundancy": atoms["redundancy"] + shift}
    return shifted | {"total": sum(shifted.values())}
