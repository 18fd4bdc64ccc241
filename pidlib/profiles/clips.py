"""Measure Sensory PID: atoms of clips with bounds, intervals, noise floors and references."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from pidlib import sensory
from pidlib.decomposition.decisions import Draws
from pidlib.extraction import Extraction
from pidlib.profiles.modes import FLOOR_TOLERANCE, Measured, pass_diagnostics
from pidlib.sensory import PASSES, ROLE_PERMUTATIONS, Group


def sensory_profile(
    groups: Sequence[Group],
    references: Sequence[str] | None = None,
    *,
    n_bootstrap: int = 100,
    seed: int = 0,
    n_floors: int = len(ROLE_PERMUTATIONS),
) -> Measured:
    """Sensory atoms and their sum (``total``), with bounds, intervals and noise floors.

    The noise floor of an atom is its value with noise for both streams, under the same reference,
    averaged over `n_floors` permutations of three draws of noise (0 omits it); it is not a null
    hypothesis. Intervals do not resample p(y | t) as a reference. By default, and in `draws`, the
    reference is P(Y | c).
    """
    decisions = [group.decisions for group in groups]
    result = sensory.decompose(decisions)
    draws, targets = sensory.bootstrap(result, decisions, n_bootstrap, seed)
    floors = [
        sensory.decompose([group.noise_floor[index] for group in groups], tol=FLOOR_TOLERANCE).pid
        for index in range(n_floors)
    ]
    bounds = result.pid.bounds | {"total": (result.pid.total,) * 2}
    rows = []
    for reference in references or sensory.REFERENCES[groups[0].condition][:1]:
        values = _shifted(result.pid.atoms, sensory.reference_shift(groups, reference))
        shifted = _shifted(draws.atoms, sensory.reference_shift(groups, reference, targets))
        shifts = (_floor_shift(groups, reference, index) for index in range(n_floors))
        null = [_shifted(pid.atoms, shift) for pid, shift in zip(floors, shifts, strict=True)]
        null = pd.DataFrame(null).mean().to_dict()
        intervals = Draws(shifted, None).interval(values)
        for atom, bits in values.items():
            shift = bits - (result.pid.total if atom == "total" else result.pid.atoms[atom])
            row = {"reference": reference, "atom": atom, "value_bits": bits}
            row |= dict(zip(("ci_low", "ci_high"), intervals[atom], strict=True))
            ends = [end + shift for end in bounds[atom]]
            row |= dict(zip(("lower_bits", "upper_bits"), ends, strict=True))
            rows.append(row | {"null_mean": null.get(atom, np.nan)})
    fixed = {"source_a": "vision", "source_b": "audio", "unimodal": "masked", "estimator": "exact"}
    table = pd.DataFrame(rows).assign(
        given=groups[0].condition,
        seed=seed,
        converged=result.pid.converged and all(pid.converged for pid in floors),
        n_samples=sum(map(len, decisions)),
        n_conditions=len(groups),
        n_per_condition=sensory.median_size(groups),
        **fixed,
        **{f"moved_{name}": distance for name, distance in result.reconciliation.items()},
    )
    return Measured(table, draws.atoms, result.pid.atoms)


def _floor_shift(groups: Sequence[Group], reference: str, index: int) -> np.ndarray:
    targets = np.stack([group.noise_floor[index].target for group in groups])
    return sensory.reference_shift(groups, reference, targets, ROLE_PERMUTATIONS[index])


def _shifted(
    atoms: Mapping[str, np.ndarray | float], shift: np.ndarray
) -> dict[str, np.ndarray | float]:
    """Add the shift of a reference to redundancy, and the sum of the atoms as ``total``."""
    shifted = atoms | {"redundancy": atoms["redundancy"] + shift}
    return shifted | {"total": sum(shifted.values())}


def diagnose(extraction: Extraction, tau: float = 0.3) -> dict[str, float]:
    """Diagnostics of Sensory PID: accuracy, entropy and fallback of its four passes.

    No suffix for both streams; ``_vision`` and ``_audio`` for one alone, ``_text`` for neither.
    """
    passes = {"" if role == "joint" else f"_{role}": key for role, key in PASSES.items()}
    return pass_diagnostics(extraction, passes, tau)
