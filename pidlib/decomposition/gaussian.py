r"""Decomposition of continuous variables, such as embeddings, by their covariance alone.

With a white target, source i is a channel :math:`X_i = H_i Y + N_i` with white noise. Both pair
covariances leave only the cross-covariance :math:`\Sigma` of the noises free, and

.. math:: I_Q = \tfrac12 \log_2 \det(1 + H^T S^{-1} H), \quad H = \binom{H_1}{H_2},
          \quad S = \begin{pmatrix} 1 & \Sigma \\ \Sigma^T & 1 \end{pmatrix},

is convex in it. Of all couplings with one covariance the Gaussian one has the least information, so
the atoms of Gaussian variables are those of `pid`. Of other variables only linear relations count.
(Venkatesh et al. 2023, Gaussian partial information decomposition, NeurIPS; Zhao et al. 2025,
NeurIPS, on normalizing flows in latent Gaussian distributions: Gaussian couplings are optimal.)
"""

import math
import warnings

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike

from pidlib._common import derive_seed
from pidlib.decomposition.atoms import PID
from pidlib.decomposition.estimate import Estimate
from pidlib.decomposition.information import TAILS, to_float64

NATS = 2 * math.log(2)  # log-determinant of one bit
RANK = 1e-9  # least variance relative to the largest, and least unexplained share of Y
STEPS, GROWTH = 200, 20  # limit of Newton steps; growth of the weight of I_Q against the barrier
RESAMPLE_TOLERANCE = 1e-4  # bits, of permutations and resamples


def covariance_pid(covariance: ArrayLike, sizes: tuple[int, int, int], tol: float = 1e-6) -> PID:
    """Decompose the information of Gaussian variables with the given covariance.

    `covariance` is that of X1, X2 and Y, in this order, with `sizes` variables each; it may be
    singular. A certified gap above `tol` bits, at least about 1e-7, is warned about. Raises
    ValueError unless the matrix is a covariance and all informations are finite.

    >>> covariance_pid([[2, 0, 1], [0, 1, 0], [1, 0, 1]], (1, 1, 1))
    PID(redundancy=0.000000, unique_vision=0.500000, unique_language=0.000000, synergy=0.0..., ...)
    """
    n1, n2, k = sizes
    c = to_float64(covariance, name="the covariance").numpy()
    if min(sizes) < 1 or c.shape != (sum(sizes), sum(sizes)):
        raise ValueError(f"expected a covariance of {n1} + {n2} + {k} variables, got {c.shape}")
    scale = np.sqrt(np.where(np.diag(c) > 0, np.diag(c), 1))
    c = c / np.outer(scale, scale)
    if not np.abs(c - c.T).max() < RANK or np.linalg.eigvalsh(c)[0] < -RANK * len(c):
        raise ValueError("a covariance must be finite, symmetric and positive semidefinite")
    y = slice(n1 + n2, None)
    parts = slice(n1), slice(n1, n1 + n2), slice(n1 + n2)
    (h1, i1), (h2, i2), (_, i12) = (_channel(c[x, x], c[x, y], c[y, y]) for x in parts)
    upper, lower, steps = _minimize(h1, h2, max(i1, i2), tol)
    upper = min(upper, i12, i1 + i2)
    if not (converged := upper - lower <= tol):
        text = f"the gap is {upper - lower:.1e} bits, above tol={tol:.1e}, after {steps} steps"
        warnings.warn(f"{text}; use a larger tol", stacklevel=2)
    return PID.from_informations(("vision", "language"), i1, i2, i12, lower, upper, converged)


def gaussian_pid(
    x1: ArrayLike,
    x2: ArrayLike,
    y: ArrayLike,
    *,
    n_components: int = 10,
    shrinkage: float = 0.0,
    n_draws: int = 200,
    seed: int = 0,
) -> Estimate:
    """Estimate the atoms of continuous variables, with their bias, significance and intervals.

    Columns are standardized and projected on principal components. The bias of an atom is its mean
    change over samples drawn with replacement, which also give the intervals. Redundancy and
    synergy stay too low by order n^(-1/2) where the sources are equally good channels, because the
    sampled channels differ. Unique atoms have no p-value: permutations cannot test whether two
    sources carry the same information. Raises ValueError if variables differ in length, are not
    finite or constant, or if samples are too few for the components.

    >>> x1, x2, noise = np.random.default_rng(0).normal(size=(3, 500, 3))
    >>> result = gaussian_pid(x1, x2, x1 + x2 + noise, n_draws=19)
    >>> round(result.corrected["unique_vision"], 1), result.p_value["synergy"]
    (0.0, 0.05)

    Parameters
    ----------
    x1, x2, y
        Both sources and the target, ``[n, d]`` each, or ``[n]``.
    n_components, n_draws, seed
        Largest number of principal components of each variable; permutations of each, and samples
        drawn with replacement, with their seed.
    shrinkage
        Weight from 0 to below 1 of the identity in the covariance of all components: independent
        noise on each. All informations become smaller, and redundancy of noise common to both
        sources turns in part into synergy. Neither is corrected.
    """
    if min(n_draws, n_components) < 1:
        raise ValueError(f"{n_draws=}, {n_components=}: at least 1 each")
    if not 0 <= shrinkage < 1:
        raise ValueError(f"shrinkage is a weight from 0 to below 1, but is {shrinkage}")
    parts = [_components(x, n_components, name) for name, x in (("x1", x1), ("x2", x2), ("y", y))]
    n, sizes = len(parts[0]), tuple(part.shape[1] for part in parts)
    if any(len(part) != n for part in parts):
        raise ValueError(f"x1, x2 and y have {', '.join(str(len(p)) for p in parts)} samples")
    fewest = 3 * (sum(sizes) + 1)  # a resample, of 63 % of the samples, then has full rank
    if shrinkage == 0 and n < fewest:
        text = f"{n} samples are too few for {' + '.join(map(str, sizes))} components, which need"
        raise ValueError(f"{text} {fewest}; use fewer n_components, or shrinkage=0.1")

    def solved(samples: np.ndarray, tol: float = RESAMPLE_TOLERANCE) -> PID:
        c = np.cov(samples.T)
        return covariance_pid((1 - shrinkage) * c + shrinkage * np.eye(len(c)), sizes, tol=tol)

    def permuted(which: int) -> list[PID]:
        generator = np.random.default_rng(derive_seed("permutations", seed, which))
        orders = [generator.permutation(n) for _ in range(n_draws)]
        before, moved, after = parts[:which], parts[which], parts[which + 1 :]
        return [solved(np.hstack([*before, moved[order], *after])) for order in orders]

    samples = np.hstack(parts)
    measured = solved(samples, 1e-6)
    rows = np.random.default_rng(derive_seed("bootstrap", seed)).integers(n, size=(n_draws, n))
    sets = [*map(permuted, (2, 0, 1)), [solved(samples[index]) for index in rows]]
    *nulls, draws = (
        {atom: np.array([pid.atoms[atom] for pid in pids]) for atom in measured.atoms}
        for pids in sets
    )
    bias = {atom: draws[atom].mean() - value for atom, value in measured.atoms.items()}
    draws = {atom: values - 2 * bias[atom] for atom, values in draws.items()}
    p_value = dict.fromkeys(draws, math.nan)
    for atom in ("redundancy", "synergy"):
        # permutations within both gaps of the measured atom count as exceeding it
        value = measured.atoms[atom] - 2 * RESAMPLE_TOLERANCE
        exceeding = max(int((null[atom] >= value).sum()) for null in nulls)
        p_value[atom] = (1 + exceeding) / (1 + n_draws)
    corrected, null_mean = (
        {atom: float(values.mean()) for atom, values in each.items()} for each in (draws, nulls[0])
    )
    interval = {atom: tuple(np.quantile(v, TAILS).tolist()) for atom, v in draws.items()}
    converged = measured.converged and all(pid.converged for pids in sets for pid in pids)
    facts = n, float(bias["synergy"]), True, converged, nulls[0], draws
    return Estimate(measured, corrected, interval, null_mean, p_value, *facts)


def _components(x: ArrayLike, n_components: int, name: str) -> Float[np.ndarray, "n r"]:
    """Principal components of the standardized columns, with unit variance."""
    x = to_float64(x, name=name).cpu().numpy()
    x = x[:, None] if x.ndim == 1 else x
    if x.ndim != 2 or 0 in x.shape:
        raise ValueError(f"{name} must be [samples, width], not empty; got shape {x.shape}")
    if (wrong := np.flatnonzero(~np.isfinite(x).all(1))).size:
        listed = ", ".join(map(str, wrong[:5]))
        raise ValueError(f"{wrong.size} rows of {name} are not finite: {listed} ...; drop them")
    deviation = x.std(0)
    varying = deviation > RANK * np.abs(x).max(0)
    if not varying.any():
        raise ValueError(f"{name} is constant in all {len(x)} samples, so it has no information")
    x = (x[:, varying] - x[:, varying].mean(0)) / deviation[varying]
    u, scale, _ = np.linalg.svd(x, full_matrices=False)
    return u[:, scale > math.sqrt(RANK) * scale[0]][:, :n_components] * math.sqrt(len(x))


def _channel(
    source: np.ndarray, cross: np.ndarray, target: np.ndarray
) -> tuple[Float[np.ndarray, "k k"], float]:
    """H of the sufficient statistics of a source, and its information in bits."""
    c = _whitening(source).T @ cross @ _whitening(target)
    explained, axes = np.linalg.eigh(c.T @ c)
    rest = 1 - explained.clip(min=0)
    if rest.min() < RANK:
        text = "a linear combination of the target is a function of the sources, so the information"
        raise ValueError(f"{text} is infinite; drop it, add samples, or use shrinkage")
    return np.sqrt(1 / rest - 1)[:, None] * axes.T, -np.log(rest).sum() / NATS


def _whitening(covariance: np.ndarray) -> Float[np.ndarray, "d r"]:
    variances, axes = np.linalg.eigh(covariance)
    kept = variances > RANK * variances[-1]
    return axes[:, kept] / np.sqrt(variances[kept])


def _minimize(
    h1: Float[np.ndarray, "k k"], h2: Float[np.ndarray, "k k"], floor: float, tol: float
) -> tuple[float, float, int]:
    """Upper and lower bound of the least I_Q in bits, and Newton steps.

    Minimizes weight I_Q - log det(1 - sigma sigma^T) for growing weights. The lower bound is the
    least value of the linear expansion of I_Q over the unit ball of sigma, or `floor`.
    """
    k = len(h1)
    white = np.eye(k) + h2.T @ h2

    def at(sigma: np.ndarray) -> tuple:
        u, s, vt = np.linalg.svd(sigma)
        if s[0] >= 1:
            return math.inf, -math.inf
        rest, b = (1 - s) * (1 + s), h1 - sigma @ h2
        a = (u / rest) @ u.T
        inverse = np.block([[a, -a @ sigma], [-sigma.T @ a, (vt.T / rest) @ vt]])  # of S
        w = np.vstack([a @ b, h2 - sigma.T @ (a @ b)])  # S^-1 H
        inner = white + b.T @ a @ b
        change = w @ np.linalg.solve(inner, w.T)  # S^-1 - (S + H H^T)^-1 without cancellation
        return np.linalg.slogdet(inner)[1], np.log(rest).sum(), inverse, change

    sigma, weight, lower, upper, steps = np.zeros((k, k)), 1.0, floor, math.inf, 0
    value, barrier, inverse, change = at(sigma)
    while True:
        slope = -2 * change[:k, k:]
        expansion = value - (slope * sigma).sum() - np.linalg.norm(slope, "nuc")
        lower, upper = max(lower, expansion / NATS), min(upper, value / NATS)
        if upper - lower <= tol or steps == STEPS:
            return upper, lower, steps
        gradient = weight * slope - 2 * inverse[:k, k:]
        hessian = _form(change, inverse) + _form(inverse - change, change)
        hessian = weight * hessian + _form(inverse, inverse)
        step = -np.linalg.solve(hessian, gradient.ravel()).reshape(k, k)
        decrement, length = -(gradient * step).sum(), 1.0
        while True:
            after, after_barrier, *matrices = at(sigma + length * step)
            decrease = weight * (value - after) - barrier + after_barrier
            if decrease >= 1e-3 * length * decrement:
                break
            length /= 2
            if length < 1e-12:  # rounding
                return upper, lower, steps
        sigma, steps, (inverse, change) = sigma + length * step, steps + 1, matrices
        value, barrier = after, after_barrier
        weight *= GROWTH if decrement < 0.5 else 1


def _form(p: np.ndarray, q: np.ndarray) -> Float[np.ndarray, "kk kk"]:
    """Second derivative of tr(P E Q E) in the entries of D, with E = [[0, D], [D^T, 0]]."""
    k = len(p) // 2
    halves = (
        np.einsum("ij,ab->iajb", a[:k, :k], b[k:, k:])
        + np.einsum("ib,ja->iajb", a[:k, k:], b[:k, k:])
        for a, b in ((p, q), (q, p))
    )
    return sum(halves).reshape(k * k, k * k)
