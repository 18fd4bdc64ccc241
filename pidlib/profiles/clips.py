"""Measure Sensory PID: atoms of clips with bounds, intervals, nulls and references."""

from collections.abc import Sequence
from functools import partial

import numpy as np
import pandas as pd

from pidlib import sensory
from pidlib.decomposition.resampling import N_HALVES, extrapolate, normal_interval
from pidlib.profiles.modes import N_PERMUTATIONS, Measured, Null, permutation_test
from pidlib.sensory import Group


def sensory_profile(
    groups: Sequence[Group],
    *,
    n_halves: int = N_HALVES,
    seed: int = 0,
    n_permutations: int = N_PERMUTATIONS,
) -> Measured:
    """Sensory atoms and, in the rows, their sum (``total``): bounds, intervals, corrected values.

    The null permutes the answers from one stream among the samples and draws of a condition
    (`n_permutations` times, 0 omits it), see `permutation_test`; synergy and sum have none. Halves
    of the samples of each condition correct the values and give the intervals.
    """
    decisions, condition = [group.decisions for group in groups], groups[0].condition
    result = sensory.decompose(decisions)
    halves = sensory.halve(result, decisions, n_halves, seed)
    corrected = extrapolate(halves, sensory.SOURCES)
    bounds = result.pid.bounds | {"total": (result.pid.total,) * 2}
    sizes, null = list(map(len, decisions)), Null({}, {}, True)
    if n_permutations:
        lower = pd.Series({atom: low for atom, (low, _) in bounds.items()})
        draw, zero_p = partial(sensory.permuted, groups), corrected.p
        null = permutation_test(draw, lower, sensory.averaged(groups), seed, zero_p, n_permutations)
    total = sum(corrected.atoms.values()), sum(corrected.draws.values())
    intervals = dict(corrected.interval) | {"total": normal_interval(*total)}
    values = result.pid.atoms | {"total": sum(result.pid.atoms.values())}
    best = dict(corrected.atoms) | {"total": total[0]}
    rows = [(name, v, best[name], *intervals[name], *bounds[name]) for name, v in values.items()]
    columns = ["atom", "value_bits", "corrected_bits", "ci_low", "ci_high"]
    table = pd.DataFrame(rows, columns=[*columns, "lower_bits", "upper_bits"])
    table["null_mean"], table["null_p"] = table["atom"].map(null.mean), table["atom"].map(null.p)
    converged = result.pid.converged and halves.converged and null.converged
    fixed = {"source_a": "vision", "source_b": "audio", "unimodal": "masked", "estimator": "exact"}
    fixed |= {f"moved_{name}": distance for name, distance in result.reconciliation.items()}
    counts = {"n_samples": sum(sizes), "n_conditions": len(groups)}
    counts["n_per_condition"] = float(np.median(sizes))
    table = table.assign(reference=sensory.REFERENCES[condition][0], given=condition, seed=seed)
    table = table.assign(converged=converged, **counts, **fixed)
    return Measured(table, corrected.draws, corrected.atoms, result)
