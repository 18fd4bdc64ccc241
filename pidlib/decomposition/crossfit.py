r"""Cross-fitted test for unique information, valid where both sources inform alike.

U1 is zero exactly if X1 is a garbling of X2 about Y: P(x1|y) = sum_x2 T(x1|x2) P(x2|y) for some
channel T (Bertschinger et al. 2014). Then for every utility u(x1, y), by Blackwell's theorem,

.. math::  E[u(X_1, Y)] \le \sum_{x_2} \max_a \sum_y P(x_2, y) u(a, y).    (1)

So any u that violates (1) proves U1 > 0. If lam, mu are feasible prices of the dual problem,
sum_y exp(lam(x1, y) + mu(x2, y)) <= 1, the two sides of (1) with u = lam differ by at least
E[lam + mu] + H(Y|X2), the lower bound of U1 by these prices: for optimal ones it is U1 itself.

lam is fitted to one half of the samples. On the other half, a(x2) is the action of largest mean
utility *there*. A maximum of sample means is on average at least the maximum of the means, so
z = lam(x1, y) - lam(a(x2), y) has a mean of at most zero where U1 = 0, for any lam. Each half is
fitted in turn, over several random splits; z is averaged by sample, and tested by a one-sided t.
(Blackwell 1953, Equivalent comparisons of experiments, Ann. Math. Stat. 24; Chernozhukov et al.
2018, Double/debiased machine learning, Econom. J. 21.)
"""

import math
from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Int
from scipy.stats import t

from pidlib._common import single_thread
from pidlib.decomposition.solve import dual_potentials, solve

SPLITS = 4  # random halvings of the samples; more change little


def unique_p(
    codes: Sequence[Int[np.ndarray, " n"]],
    sizes: tuple[int, int, int],
    generator: np.random.Generator,
    tol: float = 1e-4,
) -> tuple[float, float]:
    """p-values of U1 = 0 and U2 = 0 for codes from 0; a coarse `tol` costs power, not validity."""
    *sources, y = codes
    n = len(y)
    half = generator.permuted(np.tile(np.arange(n) % 2, (SPLITS, 1)), axis=1)
    rows = 2 * np.arange(SPLITS)[:, None] + half  # of tables: a split and a half
    tables = [np.zeros((2 * SPLITS, size, sizes[2])) for size in sizes[:2]]
    for table, source in zip(tables, sources, strict=True):
        np.add.at(table, (rows, source, y), 1)
    # prices of the other half, mixed with sqrt(n) independent samples so that no cell is empty
    others = [table[np.arange(2 * SPLITS) ^ 1] for table in tables]
    p_y = others[0].sum(1, keepdims=True) + 0.5  # one for both tables
    marginals = []
    for table in others:
        p_x = table.sum(2, keepdims=True) + 0.5
        weights = math.sqrt(n) * (p_x / p_x.sum(1, keepdims=True))
        mixed = table + weights * (p_y / p_y.sum(2)[..., None])
        marginals.append(torch.from_numpy(mixed / mixed.sum((1, 2), keepdims=True)))
    with torch.inference_mode(), single_thread():
        prices = dual_potentials(*marginals, solve(*marginals, tol=tol))
    prices, p_values = [each.numpy() for each in prices], []
    for own, rest in ((0, 1), (1, 0)):
        utility = prices[own]
        action = np.einsum("rby,ray->rba", tables[rest], utility).argmax(2)
        chosen = utility[rows, action[rows, sources[rest]], y]
        z = (utility[rows, sources[own], y] - chosen).mean(0)
        error = z.std(ddof=1) / math.sqrt(n) if n > 1 else 0.0
        p_values.append(float(t.sf(z.mean() / error, n - 1)) if error > 1e-12 else 1.0)
    return tuple(p_values)
