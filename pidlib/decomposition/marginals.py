"""Pair marginals with one P(Y) for both sources, and divergences of their rows."""

import math

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from pidlib.decomposition.broja import TINY

LIMIT = 2.0  # largest factor of an answer in `reconcile`; odds change by at most its square
MAX_SCALINGS, SCALING_TOLERANCE = 2000, 1e-10
COARSE = 1e-7  # share of the answers that the last scaling of a draw moves
LARGEST = 1e100


def reconcile(
    a: Float[Tensor, "*draws n k"], target: Float[Tensor, "*draws k"]
) -> Float[Tensor, "*draws n k"]:
    r"""Give the table `a` the column sums `target`, without adding information about its rows.

    Rows of `a` are weights times distributions; `target` has the same total. The `projection`
    within `LIMIT` can have more information than `a`. The `channel` never has, but loses some
    whenever `target` is known from a sample only. The result is a mixture of both with no more
    than `a`: information is convex in the rows, so the chord bounds that of the mixture. Draws are
    scaled until a step moves `COARSE` of the answers: sharp ones creep toward their limits.

    >>> table, target = torch.tensor([[0.25, 0.25], [0.4, 0.1]]).double(), torch.tensor([0.5, 0.5])
    >>> reconcile(table, target.double()).sum(0)
    tensor([0.5000, 0.5000], dtype=torch.float64)
    """
    passed = channel(a, target)
    scaled = projection(a, target, LIMIT, COARSE if a.ndim > 2 else 0.0)
    tables = a, passed, scaled
    allowed, low, high = ((t.sum(-1) * divergence(t, t.sum(-2))).sum(-1) for t in tables)  # bits
    share = ((allowed - low) / (high - low).clamp(min=TINY)).clamp(0, 1)
    share = torch.where(high <= allowed, torch.ones_like(share), share)[..., None, None]
    return share * scaled + (1 - share) * passed


def channel(
    a: Float[Tensor, "*draws n k"], target: Float[Tensor, "*draws k"]
) -> Float[Tensor, "*draws n k"]:
    r"""Pass the answers of the table `a` through one channel, so that they sum to `target`.

    With c the column sums of `a`, every row keeps the share min(1, target(y) / c(y)) of answer y;
    the rest goes to the answers that are too rare, in proportion to what they lack (the maximal
    coupling of both distributions of Y). By the data processing inequality the rows cannot tell
    more of their source than before, and no table with these sums is nearer in total variation.
    """
    mass, sums = a.sum(-1, keepdim=True), a.sum(-2, keepdim=True)
    target = target[..., None, :]
    a = a * (target / sums.clamp(min=TINY)).clamp(max=1)
    surplus = (mass - a.sum(-1, keepdim=True)).clamp(min=0)
    deficit = (target - a.sum(-2, keepdim=True)).clamp(min=0)
    return a + surplus * (deficit / deficit.sum(-1, keepdim=True).clamp(min=TINY))


def projection(
    a: Float[Tensor, "*draws n k"],
    target: Float[Tensor, "*draws k"],
    limit: float = math.inf,
    tol: float = 0.0,
) -> Float[Tensor, "*draws n k"]:
    r"""Scale the columns of the table `a` by factors within `limit`, and its rows to their sums.

    Minimizes KL(a' || a) + 2 log(limit) TV, with the total variation between sums of columns and
    `target`; the `channel` corrects what remains. Without limit it is the projection on the tables
    with these sums. It can create information: where a source hardly has an answer, its factor is
    huge, and small tails become the answer. The last scaling moves less than `tol` of all answers;
    the factors of confident answers may then still be far from their limits.
    """
    x, goal, moving = a.numpy(), target[..., None].numpy(), True  # faster for small tables
    mass, columns = x.sum(-1, keepdims=True), np.ascontiguousarray(x.swapaxes(-2, -1))
    factors, rows, limit = np.ones_like(goal), np.ones_like(mass), min(limit, LARGEST)  # finite
    for _ in range(MAX_SCALINGS):
        step = goal / np.maximum(factors * (columns @ rows), TINY)
        bounded = np.clip(factors * step, 1 / limit, limit)
        after = mass / np.maximum(x @ bounded, TINY)
        # each of several tables stops by itself
        moving &= np.abs(bounded / factors - 1).max(-2, keepdims=True) > SCALING_TOLERANCE
        if tol > 0:
            change = columns * (bounded * after.swapaxes(-2, -1) - factors * rows.swapaxes(-2, -1))
            moved = np.abs(change).sum((-2, -1), keepdims=True) / 2
            moving &= moved >= tol * mass.sum(-2, keepdims=True)
        if not moving.any():
            break
        factors, rows = np.where(moving, bounded, factors), np.where(moving, after, rows)
    return channel(a * torch.from_numpy(rows * factors.swapaxes(-2, -1)), target)


RECONCILIATIONS = {"bounded": reconcile, "channel": channel, "projection": projection}


def divergence(rows: Tensor, target: Tensor) -> Tensor:
    """KL(row / its sum || target) of rows [*draws, n, k], in bits; zero for an empty row.

    >>> divergence(torch.tensor([[1.0, 0.0], [2.0, 2.0]]), torch.tensor([0.5, 0.5]))
    tensor([1., 0.])
    """
    rows = rows / rows.sum(-1, keepdim=True).clamp(min=TINY)
    terms = torch.xlogy(rows, rows) - torch.xlogy(rows, target[..., None, :])
    return terms.sum(-1) / math.log(2)
