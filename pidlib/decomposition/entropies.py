r"""Counts of labels, and their entropy and information corrected for sampling bias, in bits.

I_Q depends on pair tables only, so synergy takes nearly all bias of plug-in I(Y; X1, X2). (Miller
1955, Note on the bias of information estimates; Chao, Wang, Jost 2013, Entropy and the species
accumulation curve, Methods Ecol. Evol. 4.)
"""

import math
from collections.abc import Callable, Mapping

import numpy as np
from jaxtyping import Float, Int
from numpy.typing import ArrayLike
from scipy.special import digamma, xlogy

from pidlib.decomposition.information import to_numpy

Entropy = Callable[[ArrayLike], np.ndarray]

# Quadrature on (0, 1) for the tail of Chao, Wang and Jost: exact to 1e-6 for all practical counts.
_NODES, _WEIGHTS = (values / 2 for values in np.polynomial.legendre.leggauss(200))


def plug_in(counts: ArrayLike) -> Float[np.ndarray, "..."]:
    """Entropy of the relative frequencies over the last axis."""
    c = np.asarray(counts, dtype=np.float64)
    n = c.sum(-1)
    return (np.log(n) - xlogy(c, c).sum(-1) / n) / math.log(2)


def miller_madow(counts: ArrayLike) -> Float[np.ndarray, "..."]:
    """Plug-in plus (m - 1) / (2 n), with m the number of cells that occurred."""
    c = np.asarray(counts, dtype=np.float64)
    return plug_in(c) + ((c > 0).sum(-1) - 1) / (2 * c.sum(-1) * math.log(2))


def chao_wang_jost(counts: ArrayLike) -> Float[np.ndarray, "..."]:
    r"""Entropy from the rate of new cells; f1 and f2 cells were seen once and twice.

    .. math::  H = \sum_i \frac{c_i}{n} (\psi(n) - \psi(c_i))
               + \frac{f_1}{n} \sum_{j \ge 0} \frac{q^{j+1}}{n + j},
               \qquad 1 - q = \frac{2 f_2}{(n-1) f_1 + 2 f_2}

    with f2 = 1 and f1 - 1 for f1 where no cell was seen twice.
    """
    c = np.asarray(counts, dtype=np.float64)
    n, once, twice = c.sum(-1), (c == 1).sum(-1), (c == 2).sum(-1)
    seen = (c / n[..., None] * (digamma(n)[..., None] - digamma(np.maximum(c, 1)))).sum(-1)
    rate = (n - 1) * np.where(twice > 0, once, np.maximum(once - 1, 0))
    q = (rate / np.maximum(rate + 2 * np.maximum(twice, 1), 1))[..., None]
    # sum_j q^j / (n + j) = int_0^1 t^(n-1) / (1 - q t) dt, and t^n = 1 - x^2 is smooth near t = 1
    x = _NODES + 0.5
    denominator = 1 - q * (1 - x * x) ** (1 / n[..., None])
    tail = (q / n[..., None] * 2 * x * _WEIGHTS / denominator).sum(-1)
    return (seen + once / n * tail) / math.log(2)


def joint_information(
    counts: Int[np.ndarray, "*b x1 x2 y"], entropy: Entropy = plug_in
) -> Float[np.ndarray, "*b"]:
    """I(Y; X1, X2) = H(X1, X2) + H(Y) - H(X1, X2, Y), each by the given estimator.

    >>> joint_information(np.array([[[8, 0], [0, 8]], [[0, 8], [8, 0]]])).round(9).item()
    1.0
    """
    batch = counts.shape[:-3]
    sources = entropy(counts.sum(-1).reshape(*batch, -1))
    return sources + entropy(counts.sum((-3, -2))) - entropy(counts.reshape(*batch, -1))


def tabulate(
    x1: ArrayLike, x2: ArrayLike, y: ArrayLike, sizes: tuple[int, int, int] | None = None
) -> Int[np.ndarray, "*b x1 x2 y"]:
    """Count the triples of codes 0, 1, ... of one or of many sets of samples.

    Codes are array-likes of one shape [*b, n]; the alphabet sizes are by default those that occur.

    >>> tabulate([0, 0, 1, 1], [0, 1, 0, 1], [0, 1, 1, 0]).shape
    (2, 2, 2)
    """
    codes = samples_of(x1, x2, y)
    for name, code in codes.items():
        if code.dtype.kind not in "biu" or code.min() < 0:
            text = f"codes of {name} must be whole numbers from 0 on, but are {code.dtype} from"
            raise ValueError(f"{text} {code.min()}; number the labels")
    codes = [code.astype(np.int64) for code in codes.values()]
    needed = tuple(int(code.max()) + 1 for code in codes)
    sizes = needed if sizes is None else tuple(sizes)
    if len(sizes) != 3 or (np.array(sizes) < needed).any():
        raise ValueError(f"sizes {sizes} do not hold the codes, which need {needed}")
    *batch, n = codes[0].shape
    cells = np.ravel_multi_index(codes, sizes).reshape(-1, n)
    cells = cells + math.prod(sizes) * np.arange(len(cells))[:, None]
    counts = np.bincount(cells.ravel(), minlength=math.prod((*batch, *sizes)))
    return counts.reshape(*batch, *sizes)


def samples_of(x1: ArrayLike, x2: ArrayLike, y: ArrayLike) -> dict[str, np.ndarray]:
    """The three variables by name, as arrays; ValueError unless there is a value per sample."""
    arrays = {name: to_numpy(v, name) for name, v in (("x1", x1), ("x2", x2), ("y", y))}
    shapes = [values.shape for values in arrays.values()]
    if len(set(shapes)) > 1 or not arrays["y"].size or not arrays["y"].ndim:
        raise ValueError(f"expected one code for each sample in x1, x2 and y, got shapes {shapes}")
    return arrays


def jackknife(counts: ArrayLike) -> Float[np.ndarray, "..."]:
    """n H - (n - 1) times the mean of H over the samples with one left out."""
    c = np.asarray(counts, dtype=np.float64)
    n = c.sum(-1, keepdims=True)
    without = np.maximum(c - 1, 0)
    sums = xlogy(c, c).sum(-1, keepdims=True) - xlogy(c, c) + xlogy(without, without)
    left = (c / n * (np.log(n - 1) - sums / (n - 1))).sum(-1) / math.log(2)
    return n[..., 0] * plug_in(c) - (n[..., 0] - 1) * left


ENTROPIES: Mapping[str, Entropy] = {"plug-in": plug_in, "Miller-Madow": miller_madow}
ENTROPIES |= {"jackknife": jackknife, "Chao-Wang-Jost": chao_wang_jost}
