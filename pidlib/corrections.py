r"""Entropy and information of counts, corrected for the bias of small samples, in bits.

The plug-in estimate of I(Y; X1, X2) is too large by about (k1 k2 - 1)(ky - 1) / (2 n ln 2). As I_Q sees pair tables only, synergy
takes nearly all of that; R and the unique atoms take little. These are the estimators worth comparing; `uncertainty` says which it uses.

References
----------
Miller (1955), Note on the bias of information estimates. Chao, Wang, Jost (2013), Entropy and the species accumulation curve, Methods
in Ecology and Evolution 4. Panzeri, Senatore, Montemurro, Petersen (2007), Correcting for the sampling bias problem in spike train
information measures, Journal of Neurophysiology 98.
"""

import math
from collections.abc import Callable, Mapping

import numpy as np
from jaxtyping import Float, Int
from numpy.typing import ArrayLike
from scipy.special import digamma, xlogy

Entropy = Callable[[ArrayLike], np.ndarray]

# Nodes and weights on (0, 1) for the tail of Chao, Wang and Jost: exact to 1e-6 for any number of singletons that occurs.
_NODES, _WEIGHTS = (values / 2 for values in np.polynomial.legendre.leggauss(200))


def plug_in(counts: ArrayLike) -> Float[np.ndarray, "..."]:
    """Entropy of the relative frequencies over the last axis.

    >>> plug_in([1, 1, 2]).item()
    1.5
    """
    c = np.asarray(counts, dtype=np.float64)
    n = c.sum(-1)
    return (np.log(n) - xlogy(c, c).sum(-1) / n) / math.log(2)


def miller_madow(counts: ArrayLike) -> Float[np.ndarray, "..."]:
    """Plug-in plus (m - 1) / (2 n), with m the number of cells that occurred."""
    c = np.asarray(counts, dtype=np.float64)
    return plug_in(c) + ((c > 0).sum(-1) - 1) / (2 * c.sum(-1) * math.log(2))


def jackknife(counts: ArrayLike) -> Float[np.ndarray, "..."]:
    """n H - (n - 1) times the mean of H over the samples with one left out."""
    c = np.asarray(counts, dtype=np.float64)
    n = c.sum(-1, keepdims=True)
    without = np.maximum(c - 1, 0)
    sums = xlogy(c, c).sum(-1, keepdims=True) - xlogy(c, c) + xlogy(without, without)
    left = (c / n * (np.log(n - 1) - sums / (n - 1))).sum(-1) / math.log(2)
    return n[..., 0] * plug_in(c) - (n[..., 0] - 1) * left


def chao_wang_jost(counts: ArrayLike) -> Float[np.ndarray, "..."]:
    r"""Entropy from the rate at which new cells would appear, told by the numbers f1 and f2 of cells seen once and twice.

    .. math::  H = \sum_i \frac{c_i}{n} (\psi(n) - \psi(c_i)) + \frac{f_1}{n} \sum_{j \ge 0} \frac{q^{j+1}}{n + j},
               \qquad 1 - q = \frac{2 f_2}{(n-1) f_1 + 2 f_2}

    with f2 = 1 and f1 - 1 for f1 where no cell was seen twice.
    """
    c = np.asarray(counts, dtype=np.float64)
    n, once, twice = c.sum(-1), (c == 1).sum(-1), (c == 2).sum(-1)
    seen = (c / n[..., None] * (digamma(n)[..., None] - digamma(np.maximum(c, 1)))).sum(-1)
    rate = (n - 1) * np.where(twice > 0, once, np.maximum(once - 1, 0))
    q = (rate / np.maximum(rate + 2 * np.maximum(twice, 1), 1))[..., None]
    # sum_j q^j / (n + j) = int_0^1 t^(n-1) / (1 - q t) dt, with t^n = 1 - x^2, which is smooth where t nears 1
    x = _NODES + 0.5
    tail = (q / n[..., None] * 2 * x * _WEIGHTS / (1 - q * (1 - x * x) ** (1 / n[..., None]))).sum(-1)
    return (seen + once / n * tail) / math.log(2)


ENTROPIES: Mapping[str, Entropy] = {
    "plug-in": plug_in,
    "Miller-Madow": miller_madow,
    "jackknife": jackknife,
    "Chao-Wang-Jost": chao_wang_jost,
}


def joint_information(counts: Int[np.ndarray, "*b x1 x2 y"], entropy: Entropy = plug_in) -> Float[np.ndarray, "*b"]:
    """I(Y; X1, X2) = H(X1, X2) + H(Y) - H(X1, X2, Y), each by the estimator given.

    >>> joint_information(np.array([[[8, 0], [0, 8]], [[0, 8], [8, 0]]])).round(9).item()
    1.0
    """
    *batch, _, _, _ = counts.shape
    return entropy(counts.sum(-1).reshape(*batch, -1)) + entropy(counts.sum((-3, -2))) - entropy(counts.reshape(*batch, -1))


def shuffled_information(
    counts: Int[np.ndarray, "b x1 x2 y"], generator: np.random.Generator, n_shuffles: int = 1
) -> Float[np.ndarray, " b"]:
    """I(Y; X1, X2) with the bias of H(X1, X2 | Y) taken off by that of tables whose X2 is shuffled within every value of Y.

    I_sh = H(X1, X2) - H_ind(X1, X2 | Y) + H_sh(X1, X2 | Y) - H(X1, X2 | Y): the terms in the middle estimate the same entropy, the
    first from pair tables, the second from a full table; all tables need the same number of samples.
    """
    b, k1, k2, ky = counts.shape
    cells = np.moveaxis(counts, 3, 1).reshape(b, -1)
    y, x1, x2 = np.unravel_index(np.stack([np.repeat(np.arange(cells.shape[1]), row) for row in cells]), (ky, k1, k2))
    shuffled = [_shuffled_entropy(x1, x2, y, (k1, k2, ky), generator) for _ in range(n_shuffles)]
    independent = plug_in(counts.sum(2).reshape(b, -1)) + plug_in(counts.sum(1).reshape(b, -1)) - 2 * plug_in(counts.sum((1, 2)))
    # H(Y) is the same in both full tables and drops out
    return plug_in(counts.sum(3).reshape(b, -1)) - independent + np.mean(shuffled, axis=0) - plug_in(counts.reshape(b, -1))


def _shuffled_entropy(x1: np.ndarray, x2: np.ndarray, y: np.ndarray, sizes: tuple[int, int, int], generator: np.random.Generator):
    # y is sorted, so that sorting y + noise shuffles within its values
    order = np.argsort(y + generator.random(y.shape), axis=1)
    return plug_in(tabulate(x1, np.take_along_axis(x2, order, axis=1), y, sizes).reshape(len(y), -1))


def tabulate(
    x1: Int[np.ndarray, "b n"], x2: Int[np.ndarray, "b n"], y: Int[np.ndarray, "b n"], sizes: tuple[int, int, int]
) -> Int[np.ndarray, "b x1 x2 y"]:
    """Counts of many samples of labels at once."""
    cells = math.prod(sizes)
    flat = np.ravel_multi_index((x1, x2, y), sizes) + cells * np.arange(len(y))[:, None]
    return np.bincount(flat.ravel(), minlength=cells * len(y)).reshape(len(y), *sizes)
