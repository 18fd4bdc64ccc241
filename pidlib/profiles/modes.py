"""Measure the atoms of decisions: intervals over samples, nulls, and diagnostics."""

from collections.abc import Mapping
from itertools import permutations
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Float
from scipy.special import entr

from pidlib._common import derive_seed
from pidlib.decomposition.decisions import DecisionPID, Decisions, bootstrap_decisions, decision_pid
from pidlib.extraction import PASSES, Extraction
from pidlib.extraction.masking import FULL, SOURCES

if TYPE_CHECKING:
    from pidlib._common import Device

NOISE = ("none", "none#1", "none#2")  # both modalities masked, three independent draws of noise
N_PERMUTATIONS, PERMUTATION_TOLERANCE = 19, 1e-4  # the least p-value is .05; bits
FLOOR_TOLERANCE = 1e-3  # bits
MODES = ("masked", "resampled")


class Measured(NamedTuple):
    """Atoms as rows of a table, their bootstrap draws [n] and their values in bits by name."""

    rows: pd.DataFrame
    draws: Mapping[str, Float[np.ndarray, " n"]]
    atoms: Mapping[str, float]


def measure_decisions(
    decisions: Decisions, n_bootstrap: int = 100, seed: int = 0, device: "Device" = None
) -> Measured:
    """Atoms of decisions with solver bounds and 95 % bootstrap intervals over samples."""
    result = decision_pid(decisions, device=device)
    drawn = bootstrap_decisions(decisions, n_bootstrap, seed, solved=result, device=device)
    intervals, bounds = drawn.interval(result.pid.atoms), result.pid.bounds
    rows = [
        {
            "atom": atom,
            "value_bits": value,
            **dict(zip(("lower_bits", "upper_bits"), bounds[atom], strict=True)),
            **dict(zip(("ci_low", "ci_high"), intervals[atom], strict=True)),
            "converged": result.pid.converged,
        }
        for atom, value in result.pid.atoms.items()
    ]
    return Measured(pd.DataFrame(rows), drawn.atoms, result.pid.atoms)


def measure_mode(
    extraction: Extraction,
    mode: str,
    tau: float = 0.3,
    n_bootstrap: int = 100,
    seed: int = 0,
    device: "Device" = None,
) -> Measured:
    """Atoms of a model's decisions in one mode, with intervals and null.

    Masked, the null is the noise floor, see `noise_floor`; it is not a hypothesis and has no
    p-value. Resampled, the decisions are permuted over the pairs, `N_PERMUTATIONS` times: a test of
    what either modality carries alone. Synergy has no such null.

    Parameters
    ----------
    extraction
        With the passes of `PASSES` and `NOISE`, or with pairs for the resampled mode.
    mode
        ``"masked"`` or ``"resampled"``.
    tau
        Candidate mass below which a decision is uniform.
    n_bootstrap, seed, device
        Resamples, and their seed; device of the solver.

    Raises
    ------
    ValueError
        For an unknown mode, and for passes or pairs that were not extracted.
    """
    if mode not in MODES:
        raise ValueError(f"unknown mode {mode!r}; choose {' or '.join(map(repr, MODES))}")
    if mode == "masked":
        for key in (*PASSES, *NOISE):  # all passes are checked before the first is solved
            extraction.decisions(key, tau)
        rows, draws, atoms = measure_decisions(extraction.masked(tau), n_bootstrap, seed, device)
        floor, converged = noise_floor(extraction, tau, n_bootstrap, seed, device=device)
        rows = rows.assign(null_mean=rows["atom"].map(floor))
    else:
        rows, draws, atoms = measure_decisions(extraction.resampled(tau), n_bootstrap, seed, device)
        rows, converged = _permuted(rows, extraction, tau, seed, device)
    rows["converged"] &= converged
    return Measured(
        rows.assign(source_a="vision", source_b="language", unimodal=mode), draws, atoms
    )


def noise_floor(
    extraction: Extraction,
    tau: float = 0.3,
    n: int = 100,
    seed: int = 0,
    layer: int | None = None,
    device: "Device" = None,
) -> tuple[dict[str, float], bool]:
    """Mean atoms over bootstrap draws of three noise passes; and whether all of them converged.

    The three take all assignments of the roles (both, vision, language). With `layer`, decisions
    are read by the logit lens after that block.
    """
    passes = [extraction.decisions(key, tau, layer) for key in NOISE]
    draws, converged = [], True
    for role, (joint, vision, language) in enumerate(permutations(passes)):
        noise = Decisions(joint=joint, sources={"vision": vision, "language": language})
        result = decision_pid(noise, tol=FLOOR_TOLERANCE, device=device)
        role_seed = derive_seed(seed, "noise floor", role)
        options = {"solved": result, "device": device}
        draws.append(bootstrap_decisions(noise, -(-n // 6), role_seed, **options).atoms)
        converged &= result.pid.converged
    means = {atom: float(np.mean([draw[atom] for draw in draws])) for atom in draws[0]}
    return means, converged


def _permuted(
    rows: pd.DataFrame, extraction: Extraction, tau: float, seed: int, device: "Device"
) -> tuple[pd.DataFrame, bool]:
    """Add the mean atoms of permuted decisions and the p-values."""
    generator = np.random.default_rng(derive_seed(seed, "deals"))
    options = {"tol": PERMUTATION_TOLERANCE, "device": device}
    results = [
        decision_pid(extraction.resampled(tau, generator), **options).pid
        for _ in range(N_PERMUTATIONS)
    ]
    nulls = pd.DataFrame([result.atoms for result in results]).drop(columns="synergy")
    values = rows.set_index("atom")["lower_bits"]  # a gap of the solver is no evidence
    reached = {atom: (nulls[atom] >= values[atom] - PERMUTATION_TOLERANCE).sum() for atom in nulls}
    p_values = {atom: (1 + count) / (1 + N_PERMUTATIONS) for atom, count in reached.items()}
    null_mean, null_p = rows["atom"].map(nulls.mean()), rows["atom"].map(p_values)
    converged = all(result.converged for result in results)
    return rows.assign(null_mean=null_mean, null_p=null_p), converged


def diagnose(
    extraction: Extraction, tau: float = 0.3, solved: DecisionPID | None = None
) -> dict[str, float]:
    """Diagnostics of a masked profile; `solved` is its decomposition, if it exists already.

    Of the full pass and of each modality alone: ``accuracy``; mean ``entropy..._bits`` of the
    decisions; ``fallback``, the share of decisions replaced by the uniform one. And ``moved_...``,
    the mean total variation by which reconciliation changed each source.
    """
    passes = {"": FULL, **{f"_{name}": name for name in SOURCES}}
    values = pass_diagnostics(extraction, passes, tau)
    moved = (solved or decision_pid(extraction.masked(tau), tol=0.1)).reconciliation
    return values | {f"moved_{name}": distance for name, distance in moved.items()}


def pass_diagnostics(
    extraction: Extraction, passes: Mapping[str, str], tau: float = 0.3
) -> dict[str, float]:
    """Accuracy, mean entropy in bits and share of fallbacks of passes, by the suffix of names."""
    values = {}
    for suffix, key in passes.items():
        decisions = extraction.decisions(key, tau)
        values[f"accuracy{suffix}"] = extraction.accuracy(key)
        values[f"entropy{suffix}_bits"] = float(entr(decisions).sum(1).mean() / np.log(2))
        values[f"fallback{suffix}"] = extraction.fallback(key, tau)
    return values
