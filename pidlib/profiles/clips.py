"""Measure Sensory PID: atoms of clips with bounds, intervals, noise floors and references."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from pidlib import sensory
from pidlib.decomposition.decisions import Draws
from pidlib.profiles.modes import FLOOR_TOLERANCE, Measured
from pidlib.sensory import ROLE_PERMUTATIONS, Group


def sensory_profile(
    groups: Sequence[Group],
    references: Sequence[str] | None = None,
    *,
    n_bootstrap: int = 100,
    seed: int = 0,
    n_floors: int = len(ROLE_PERMUTATIONS),
) -> Measured:
    """Sensory atoms and, in the rows, their sum (``total``): bounds, intervals and noise floors.

    The noise floor of an atom is its value with noise for both streams, under the same reference,
    averaged over `n_floors` permutations of three draws of noise (0 omits it); it is not a null
    hypothesis. Intervals do not resample p(y | t) as a reference. By default, and in `draws`, the
    reference is P(Y | c).
    """
    decisions = [group.decisions for group in groups]
    result = sensory.decompose(decisions)
    draws, targets = sensory.bootstrap(result, decisions, n_bootstrap, seed)
    noise = [[group.noise_floor[index] for group in groups] for index in range(n_floors)]
    floors = [sensory.decompose(parts, tol=FLOOR_TOLERANCE).pid for parts in noise]
    unshifted = result.pid.atoms | {"total": result.pid.total}
    bounds = result.pid.bounds | {"total": (result.pid.total,) * 2}
    rows, sizes = [], list(map(len, decisions))
    for reference in references or sensory.REFERENCES[groups[0].condition][:1]:
        values = _shifted(result.pid.atoms, sensory.reference_shift(groups, reference))
        shifted = _shifted(draws.atoms, sensory.reference_shift(groups, reference, targets))
        intervals = Draws(shifted, None).interval(values)
        null = []
        for floor, parts, permutation in zip(floors, noise, ROLE_PERMUTATIONS, strict=False):
            own = np.stack([part.target for part in parts])
            shift = sensory.reference_shift(groups, reference, own, permutation)
            null.append(_shifted(floor.atoms, shift))
        null_mean = pd.DataFrame(null, columns=list(values)).mean()
        for atom, bits in values.items():
            ends = [end + (bits - unshifted[atom]) for end in bounds[atom]]
            rows.append((reference, atom, bits, *intervals[atom], *ends, null_mean[atom]))
    columns = ["reference", "atom", "value_bits", "ci_low", "ci_high", "lower_bits", "upper_bits"]
    fixed = {"source_a": "vision", "source_b": "audio", "unimodal": "masked", "estimator": "exact"}
    table = pd.DataFrame(rows, columns=[*columns, "null_mean"]).assign(
        given=groups[0].condition,
        seed=seed,
        converged=result.pid.converged and all(pid.converged for pid in floors),
        n_samples=sum(sizes),
        n_conditions=len(groups),
        n_per_condition=float(np.median(sizes)),
        **fixed,
        **{f"moved_{name}": distance for name, distance in result.reconciliation.items()},
    )
    return Measured(table, draws.atoms, result.pid.atoms, result.reconciliation)


def _shifted(atoms: Mapping, shift: np.ndarray) -> dict[str, np.ndarray | float]:
    """Add the shift of a reference to redundancy, and the sum of the atoms as ``total``."""
    shifted = atoms | {"redundancy": atoms["redundancy"] + shift}
    return shifted | {"total": sum(shifted.values())}
