r"""Sampling errors of decisions: bootstrap draws, and extrapolation from halves of the samples.

I_Q of n samples exceeds that of their law, by about b / n^(1/2) where both sources inform alike, so
half of the samples has 2^(1/2) times the excess. `extrapolate` takes off

    (mean I_Q of halves - I_Q) / (2^(1/2) - 1),   unless it is negative.

Informations, and I_Q where I(Y; X1) and I(Y; X2) differ by more than their sampling error, have a
bias of order 1 / n: as much is taken off as they differ from their means over halves (of I_Q, again
unless that is negative). The spread of halves is also that of samples (the delete-half jackknife,
Shao and Wu 1989), which the bootstrap misses where an atom is zero. No interval is narrower than
what events unseen in n samples can add, see `unseen_bits`.
"""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from scipy import stats
from torch import Tensor

from pidlib._common import derive_seed, single_thread
from pidlib.decomposition.atoms import atoms
from pidlib.decomposition.decisions import DecisionPID, Decisions, pid_together
from pidlib.decomposition.information import TAILS, unseen_bits
from pidlib.decomposition.marginals import divergence
from pidlib.decomposition.solve import LARGE, dual_bound

BLOCK = 4_000_000  # largest array over draws of a bootstrap, in numbers
N_HALVES, HALF_TOLERANCE = 16, 2e-3  # bits
RATE = 1 / (math.sqrt(2) - 1)


def bootstrap_decisions(
    decisions: Decisions, solved: DecisionPID, n: int = 100, seed: int = 0
) -> dict[str, Float[np.ndarray, " n"]]:
    """Draw the atoms of decisions whose samples (`groups`) are resampled with replacement, in bits.

    The informations of each draw are exact. I_Q of a draw is the dual bound at the potentials of
    all samples, exact to first order and clamped to max(I1, I2) <= I_Q <= I1 + I2. (Solving every
    draw is slow and biased upward: a draw has fewer distinct rows to couple.) The spread of unique
    atoms is too small where both sources tell the same, and 0 where an atom is 0 in all draws.
    """
    if n < 1:
        raise ValueError(f"n={n} draws: at least 1 is needed; use 100 or more for an interval")
    generators = _generators("bootstrap_decisions", seed)
    block = max(1, BLOCK // (len(decisions) * decisions.joint.shape[1]))  # draws
    draws, joint = [], torch.as_tensor(decisions.joint)
    with single_thread(decisions.order < LARGE):
        bound = dual_bound(*decisions.marginals(), solved.potentials)
        for start in range(0, n, block):
            weights = _draw_weights(decisions, min(block, n - start), generators)
            a, b, target = decisions.marginals(weights)
            iq = solved.pid.upper + dual_bound(a, b, target, solved.potentials) - bound
            parts = (a.sum(2), a), (b.sum(2), b), (torch.as_tensor(weights), joint)
            i1, i2, i12 = (_products(mass, divergence(rows, target)) for mass, rows in parts)
            iq = iq.maximum(i1.maximum(i2)).minimum(i1 + i2)
            draws.append(atoms(tuple(decisions.sources), i1, i2, i12, iq))
    return {name: torch.cat([draw[name] for draw in draws]).numpy() for name in draws[0]}


def percentile_intervals(
    draws: Mapping[str, Float[np.ndarray, " n"]], center: Mapping[str, float]
) -> dict[str, tuple[float, float]]:
    """95 % percentiles of each atom, shifted to the given mean to remove the draws' bias."""
    ends = {k: np.quantile(v, TAILS) - v.mean() + center[k] for k, v in draws.items()}
    return {name: tuple(both.tolist()) for name, both in ends.items()}


def _products(x: Float[Tensor, "b n"], y: Float[Tensor, "b n"]) -> Float[Tensor, " b"]:
    """x @ y for each problem, rounded as for that problem alone; 0 times infinity is 0."""
    return torch.stack([a @ b.masked_fill(a == 0, 0) for a, b in zip(x, y, strict=True)])


def _generators(name: str, seed: int) -> list[np.random.Generator]:
    """One for each column of groups, so that draws do not depend on how many are made at a time."""
    return [np.random.default_rng(derive_seed(name, seed, column)) for column in range(2)]


def _draw_weights(
    decisions: Decisions, n: int, generators: Sequence[np.random.Generator], half: bool = False
) -> Float[np.ndarray, "n rows"]:
    """Weights of the rows when samples are drawn with replacement, or a `half` of them without.

    With two columns of groups, pictures and questions are drawn independently (the pigeonhole
    bootstrap of Owen 2007), as many of each as there are samples, questions by their frequency.
    """
    weights, units = np.repeat(decisions.weights[None], n, 0), decisions.n_samples
    columns, frequency = decisions.groups.reshape(len(decisions), -1).T, np.ones(units, int)
    for place, (column, generator) in enumerate(zip(columns, generators, strict=False)):
        index = np.unique(column, return_inverse=True)[1]
        if place:
            share = np.bincount(index, decisions.weights)
            frequency = np.maximum(np.rint(share * units), 1).astype(int)
        if half:
            total = max(frequency.sum() // 2, 1)
            counts = generator.multivariate_hypergeometric(frequency, total, n, "marginals")
        else:
            counts = generator.multinomial(units, frequency / frequency.sum(), n)
        weights *= (counts / frequency)[:, index]
    total = weights.sum(1, keepdims=True)
    return np.where(total > 0, weights / np.where(total > 0, total, 1), decisions.weights)


class Halves(NamedTuple):
    """I(Y; X1), I(Y; X2), I(Y; X1, X2) and I_Q in bits: of all samples, and of random halves."""

    whole: Float[np.ndarray, " 4"]
    parts: Float[np.ndarray, "halves 4"]
    converged: bool
    unseen: float = 0.0  # bits that events unseen in all samples could add


def solve_halves(
    decisions: Decisions,
    solved: DecisionPID,
    n: int = N_HALVES,
    seed: int = 0,
    device: "Device" = None,
) -> Halves:
    """Decompose `n` random halves of the samples (`groups`); I_Q is the middle of its bounds."""
    if n < 2:
        raise ValueError(f"n={n} halves: at least 2 are needed for a spread; use {N_HALVES}")
    weights = _draw_weights(decisions, n, _generators("halves", seed), half=True)
    parts = pid_together([(decisions, weights)], HALF_TOLERANCE, device)
    both = solved.pid, parts
    values = ([*r.informations.values(), r.total, (r.lower + r.upper) / 2] for r in both)
    whole, halves = (np.stack(each, axis=-1) for each in values)
    converged = bool(solved.pid.converged and parts.converged.all())
    unseen = unseen_bits(decisions.n_samples, decisions.joint.shape[1])
    return Halves(whole, halves, converged, unseen)


class Extrapolated(NamedTuple):
    """Atoms without the bias of finite n, 95 % intervals and draws [halves], in bits by name."""

    atoms: Mapping[str, float]
    interval: Mapping[str, tuple[float, float]]
    draws: Mapping[str, Float[np.ndarray, " halves"]]  # their spread is that of the atoms
    p: Mapping[str, float]  # of an atom of zero, Student's t: up to .05 where the interval is above


def extrapolate(halves: Halves, sources: Sequence[str]) -> Extrapolated:
    """Take the bias of finite n off, see above; redundancy and unique atoms stay at least 0.

    >>> halves = Halves(np.array([1, 1, 3, 1.2]), np.tile([1, 1, 3, 1.3], (4, 1)), True)
    >>> {name: round(value, 2) for name, value in extrapolate(halves, "ab").atoms.items()}
    {'redundancy': 1.0, 'unique_a': 0.0, 'unique_b': 0.0, 'synergy': 2.0}
    """
    whole, parts = halves.whole, halves.parts
    bias, student = parts.mean(0) - whole, stats.t(len(parts) - 1)
    tied = abs(whole[0] - whole[1]) <= student.ppf(0.975) * (parts[:, 0] - parts[:, 1]).std(ddof=1)
    rate = RATE if tied else 1.0
    i1, i2, i12, iq = whole - bias * (1, 1, 1, rate if bias[3] > 0 else 0)
    i1, i2 = max(i1, 0.0), max(i2, 0.0)
    corrected = atoms(sources, i1, i2, i12, float(np.clip(iq, max(i1, i2), i1 + i2)))
    # the mean over halves has an error of its own
    scale = math.sqrt(1 + rate**2 / len(parts))
    draws, interval, p = {}, {}, {}
    for atom, values in atoms(sources, *parts.T).items():
        center = corrected[atom] = float(corrected[atom])
        draws[atom] = center + scale * (values - values.mean())
        low, high = normal_interval(center, draws[atom], halves.unseen)
        interval[atom] = low if atom == "synergy" else max(low, 0.0), high
        ratio = center / max(high - center, 1e-12)
        p[atom] = min(2 * float(student.sf(ratio * student.ppf(0.975))), 1.0)
    return Extrapolated(corrected, interval, draws, p)


def normal_interval(
    center: float, draws: Float[np.ndarray, " n"], least: float = 0.0
) -> tuple[float, float]:
    """The 95 % interval of Student's t with the spread of the draws, at least +-`least` wide."""
    width = float(stats.t.ppf(0.975, len(draws) - 1) * draws.std(ddof=1))
    return center - max(width, least), center + max(width, least)
