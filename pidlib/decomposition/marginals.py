"""Pair marginals of decisions: the values of each source, with one P(Y) for both."""

import math
from collections.abc import Mapping

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from pidlib.decomposition.broja import TINY

LIMIT = 2.0  # largest factor of an answer in `reconcile`; odds change by at most its square
MAX_SCALINGS, SCALING_TOLERANCE = 2000, 1e-10
LARGEST = 1e100


def reconcile(
    a: Float[Tensor, "*draws n k"], target: Float[Tensor, "*draws k"], limit: float = LIMIT
) -> Float[Tensor, "*draws n k"]:
    r"""Give the table `a` the column sums `target`, without adding information about its rows.

    Two ways preserve the sums of the rows. Scaling, a'(y | x) ~ a(y | x) c(y) with all c within
    1 / limit and limit, minimizes KL(a' || a) + 2 log(limit) TV, with the total variation between
    sums of columns and `target`; the `channel` corrects what remains. Its information can exceed
    that of `a`. The `channel` alone never tells more of its rows than `a`, but loses some whenever
    `target` is known from a sample only. The result is a mixture of both that tells no more than
    `a`: information is convex in the rows, so the chord between them bounds that of the mixture.

    Rows of `a` are weights times distributions; `target` has the same total.

    >>> table, target = torch.tensor([[0.25, 0.25], [0.4, 0.1]]).double(), torch.tensor([0.5, 0.5])
    >>> reconcile(table, target.double()).sum(0)
    tensor([0.5000, 0.5000], dtype=torch.float64)
    """
    passed, scaled = channel(a, target), projection(a, target, limit)
    allowed, low, high = (_information(table) for table in (a, passed, scaled))
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
    a: Float[Tensor, "*draws n k"], target: Float[Tensor, "*draws k"], limit: float = math.inf
) -> Float[Tensor, "*draws n k"]:
    r"""Scale the columns of the table `a` by factors within `limit`, and its rows to their sums.

    Without limit the projection on the tables with the sums `target`, which minimizes KL(a' || a).
    It can create information: where a source hardly has an answer, its factor is huge, and small
    tails become the answer. The `channel` corrects what zeros or the limit forbid.
    """
    mass, factors, target = a.sum(-1, keepdim=True), torch.ones_like(target), target[..., None, :]
    factors, scaled = factors[..., None, :], a
    limit = min(limit, LARGEST)  # products with factors of absent answers stay finite
    moving = torch.ones_like(factors[..., :1], dtype=torch.bool)
    for _ in range(MAX_SCALINGS):
        step = target / scaled.sum(-2, keepdim=True).clamp(min=TINY)
        bounded = (factors * step).clamp(1 / limit, limit)
        # each of several tables stops by itself
        moving = moving & ((bounded / factors - 1).abs() > SCALING_TOLERANCE).any(-1, keepdim=True)
        if not moving.any():
            break
        factors = torch.where(moving, bounded, factors)
        after = a * factors
        after = after * (mass / after.sum(-1, keepdim=True).clamp(min=TINY))
        scaled = torch.where(moving, after, scaled)
    return channel(scaled, target[..., 0, :])


def _information(a: Float[Tensor, "*draws n k"]) -> Float[Tensor, "*draws"]:
    """The information of the rows of a table about its columns, in bits."""
    return (a.sum(-1) * divergence(a, a.sum(-2))).sum(-1)


RECONCILIATIONS = {"bounded": reconcile, "channel": channel, "projection": projection}


def products(x: Float[Tensor, "b *rows n"], y: Float[Tensor, "b n"]) -> Float[Tensor, "b *rows"]:
    """x @ y for each problem, with the same rounding as for that problem alone."""
    return torch.stack([matrix @ vector for matrix, vector in zip(x, y, strict=True)])


def divergence(rows: Tensor, target: Tensor) -> Tensor:
    """KL(row / its sum || target) of rows [*draws, n, k], in bits; zero for an empty row.

    >>> divergence(torch.tensor([[1.0, 0.0], [2.0, 2.0]]), torch.tensor([0.5, 0.5]))
    tensor([1., 0.])
    """
    rows = rows / rows.sum(-1, keepdim=True).clamp(min=TINY)
    terms = torch.xlogy(rows, rows) - torch.xlogy(rows, target[..., None, :])
    return terms.sum(-1) / math.log(2)


class PairMarginals:
    """P(x1, y) and P(x2, y) of decisions, under any weights [*draws, M] of their M rows.

    The conditional of a value of a source is the mean of the rows with this value. Both tables are
    reconciled to the P(Y) of the joint rows.
    """

    def __init__(
        self,
        joint: Float[np.ndarray, "rows k"],
        sources: Mapping[str, Float[np.ndarray, "rows k"]],
        values: Mapping[str, np.ndarray],
        reconciliation: str,
    ):
        self.joint = torch.as_tensor(joint)
        self._rows = [torch.as_tensor(rows) for rows in sources.values()]
        # number of the value of each row, by source
        self.index = [torch.as_tensor(values[name]) for name in sources]
        self.sizes = [int(index.max()) + 1 for index in self.index]
        self._reconcile = RECONCILIATIONS[reconciliation]

    @property
    def order(self) -> int:
        """Order of the Schur complement that the solver factorizes."""
        return min(self.sizes) * self.joint.shape[1]

    def at(self, weights: Float[np.ndarray, "*draws rows"]) -> tuple[Tensor, Tensor, Tensor]:
        """Tables [*draws, x, k] of both sources and P(Y), under weights of sum one."""
        target = torch.as_tensor(weights) @ self.joint
        return *(self._reconcile(table, target) for table in self.given(weights)), target

    def given(self, weights: Float[np.ndarray, "*draws rows"]) -> list[Tensor]:
        """The tables [*draws, x, k] of both sources before they are reconciled."""
        weights, tables = torch.as_tensor(weights), []
        for rows, index, size in zip(self._rows, self.index, self.sizes, strict=True):
            table = weights.new_zeros(*weights.shape[:-1], size, rows.shape[1])
            tables.append(table.index_add_(-2, index, weights[..., None] * rows))
        return tables
