"""Measure the atoms of decisions: intervals over samples, nulls, and diagnostics."""

from collections.abc import Mapping
from itertools import permutations
from typing import NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Float
from scipy.special import entr

from pidlib import sensory
from pidlib._common import derive_seed
from pidlib.decomposition.decisions import Decisions, bootstrap_decisions, decision_pid
from pidlib.extraction import Extraction
from pidlib.extraction.masking import FULL, SOURCES

NOISE = ("none", "none#1", "none#2")  # both modalities masked, three independent draws of noise
N_PERMUTATIONS, PERMUTATION_TOLERANCE = 19, 1e-4  # the least p-value is .05; bits
FLOOR_TOLERANCE = 1e-3  # bits
MODES = ("masked", "resampled")


class Measured(NamedTuple):
    """Atoms as rows of a table, and by name in bits: their bootstrap draws [n] and values."""

    rows: pd.DataFrame
    draws: Mapping[str, Float[np.ndarray, " n"]]
    atoms: Mapping[str, float]
    moved: Mapping[str, float] | None = None  # mean total variation of reconciliation, by source


def measure_decisions(
    decisions: Decisions,
    n_bootstrap: int = 100,
    seed: int = 0,
    device: "Device" = None,
    tol: float | None = None,
) -> Measured:
    """Atoms of decisions with solver bounds and 95 % bootstrap intervals over samples."""
    result = decision_pid(decisions, tol=tol, device=device)
    drawn = bootstrap_decisions(decisions, n_bootstrap, seed, solved=result, device=device)
    atoms, bounds, intervals = result.pid.atoms, result.pid.bounds, drawn.interval(result.pid.atoms)
    rows = [(atom, bits, *bounds[atom], *intervals[atom]) for atom, bits in atoms.items()]
    columns = ["atom", "value_bits", "lower_bits", "upper_bits", "ci_low", "ci_high"]
    table = pd.DataFrame(rows, columns=columns).assign(converged=result.pid.converged)
    return Measured(table, drawn.atoms, atoms, result.reconciliation)


def measure_mode(
    extraction: Extraction,
    mode: str,
    tau: float = 0.3,
    n_bootstrap: int = 100,
    seed: int = 0,
    device: "Device" = None,
) -> Measured:
    """Atoms of a model's decisions in one mode, with intervals and null.

    The null of ``"masked"`` is the `noise_floor`, which is not a hypothesis and has no p-value.
    That of ``"resampled"`` permutes the pairs `N_PERMUTATIONS` times, a test of what either
    modality carries alone; synergy has none. `tau` is the candidate mass below which a decision is
    uniform. Raises a ValueError for an unknown mode, and for passes (`pidlib.extraction.PASSES` and
    `NOISE`) or pairs that were not extracted.
    """
    options = {"n_bootstrap": n_bootstrap, "seed": seed, "device": device}
    if mode == "masked":
        decisions = extraction.masked(tau)
        null_mean, converged = noise_floor(extraction, tau, n_bootstrap, seed, device=device)
        measured = measure_decisions(decisions, **options)
        nulls = {"null_mean": null_mean}
    elif mode == "resampled":
        measured = measure_decisions(extraction.resampled(tau), **options)
        lower = measured.rows.set_index("atom")["lower_bits"]  # a gap of the solver is no evidence
        nulls, converged = _permutation_test(lower, extraction, tau, seed, device)
    else:
        raise ValueError(f"unknown mode {mode!r}; choose {' or '.join(map(repr, MODES))}")
    rows = measured.rows
    columns = {name: rows["atom"].map(by_atom) for name, by_atom in nulls.items()}
    columns |= {"source_a": "vision", "source_b": "language", "unimodal": mode}
    return measured._replace(rows=rows.assign(converged=rows["converged"] & converged, **columns))


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


def _permutation_test(
    lower: pd.Series, extraction: Extraction, tau: float, seed: int, device: "Device"
) -> tuple[dict[str, pd.Series], bool]:
    """Mean atoms of permuted decisions and p-values, by atom; and whether all solves converged."""
    generator = np.random.default_rng(derive_seed(seed, "deals"))
    options = {"tol": PERMUTATION_TOLERANCE, "device": device}
    results = [
        decision_pid(extraction.resampled(tau, generator), **options).pid
        for _ in range(N_PERMUTATIONS)
    ]
    draws = pd.DataFrame([result.atoms for result in results]).drop(columns="synergy")
    reached = (draws >= lower[draws.columns] - PERMUTATION_TOLERANCE).sum()
    nulls = {"null_mean": draws.mean(), "null_p": (1 + reached) / (1 + N_PERMUTATIONS)}
    return nulls, all(result.converged for result in results)


def diagnose(
    extraction: Extraction, tau: float = 0.3, moved: Mapping[str, float] | None = None
) -> dict[str, float]:
    """Diagnostics of all inputs (without suffix), of each source alone, and of clips' text.

    ``accuracy``; mean ``entropy..._bits`` of the decisions; ``fallback``, the share of decisions
    replaced by the uniform one; and ``moved_...``, the mean total variation by which reconciliation
    changed each source, as in `Measured`; by default that of masked pictures.
    """
    passes = sensory.PASSES
    if passes["joint"] not in extraction.logits:  # pictures
        passes = {"joint": FULL} | {name: name for name in SOURCES}
        moved = moved or decision_pid(extraction.masked(tau), tol=0.1).reconciliation
    values = {}
    for role, key in passes.items():
        suffix = "" if role == "joint" else f"_{role}"
        entropy = entr(extraction.decisions(key, tau)).sum(1).mean() / np.log(2)
        values[f"accuracy{suffix}"] = extraction.accuracy(key)
        values[f"entropy{suffix}_bits"] = float(entropy)
        values[f"fallback{suffix}"] = extraction.fallback(key, tau)
    return values | {f"moved_{name}": distance for name, distance in (moved or {}).items()}
