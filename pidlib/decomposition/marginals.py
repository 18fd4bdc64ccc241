"""Pair marginals of decisions: the distinct rows of each source, with one P(Y) for both."""

import math
from collections.abc import Iterator, Mapping

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from pidlib.decomposition.broja import TINY


def reconcile(
    a: Float[Tensor, "*draws n k"], target: Float[Tensor, "*draws k"], max_iterations: int = 2000
) -> Float[Tensor, "*draws n k"]:
    r"""Return the table nearest to `a` with the column sums `target` and the row sums of `a`.

    Minimizes KL(a' || a) by scaling columns and rows, so a'(y | x) ~ a(y | x) c(y) and equal rows
    stay equal: Newton steps for c, alternating scaling where these do not converge. If zeros
    forbid the sums (one-hot rows), the remaining surplus of columns is moved in proportion to the
    deficits; the sums hold exactly.

    Rows of `a` are weights times distributions; `target` has the same total.

    >>> reconcile(torch.tensor([[0.25, 0.25], [0.4, 0.1]]), torch.tensor([0.5, 0.5])).sum(0)
    tensor([0.5000, 0.5000])
    """
    shape, a, target = a.shape, a.reshape(-1, *a.shape[-2:]), target.reshape(-1, a.shape[-1])
    mass = a.sum(2, keepdim=True)
    a = _newton_scaling(a, mass, target)
    active = torch.arange(len(a))
    table, row, column = a, mass, target[:, None]
    for _ in range(max_iterations):
        columns = table.sum(1, keepdim=True)
        far = (columns - column).abs().amax((1, 2)) > 4 * torch.finfo(a.dtype).eps
        if not far.all():
            a[active[~far]] = table[~far]
            state = (active, table, row, column, columns)
            active, table, row, column, columns = (x[far] for x in state)
        if not len(active):
            break
        table = table * (column / columns.clamp(min=TINY))
        table = table * (row / table.sum(2, keepdim=True).clamp(min=TINY))
    a[active] = table
    a = a * (target[:, None] / a.sum(1, keepdim=True).clamp(min=TINY)).clamp(max=1)
    surplus = (mass - a.sum(2, keepdim=True)).clamp(min=0)
    deficit = (target[:, None] - a.sum(1, keepdim=True)).clamp(min=0)
    return (a + surplus * (deficit / deficit.sum(2, keepdim=True).clamp(min=TINY))).view(shape)


def _newton_scaling(
    a: Float[Tensor, "b n k"],
    mass: Float[Tensor, "b n 1"],
    target: Float[Tensor, "b k"],
    steps: int = 30,
) -> Float[Tensor, "b n k"]:
    """`a` scaled as in `reconcile`, by Newton steps on the dual; unchanged where they diverge."""
    theta, tolerance = torch.zeros_like(target), 4 * torch.finfo(a.dtype).eps

    def at(theta):
        rows = a * theta.exp()[:, None]
        total = rows.sum(2, keepdim=True).clamp(min=TINY)
        return mass * rows / total, products(target, theta) - (mass * total.log()).sum((1, 2))

    scaled, dual = at(theta)
    for _ in range(steps):
        residual = target - scaled.sum(1)
        far = residual.abs().amax(1) > tolerance
        if not far.any():
            break
        hessian = scaled.sum(1).diag_embed() - scaled.mT @ (scaled / mass.clamp(min=TINY))
        step = products(torch.linalg.pinv(hessian, hermitian=True), residual)
        step *= (far * 4 / step.abs().amax(1).clamp(min=4))[:, None]
        for _ in range(steps):
            after, higher = at(theta + step)
            short = far & ~(higher >= dual - 1e-13)
            if not short.any():
                break
            step = torch.where(short[:, None], step / 2, step)
        theta = theta + step
        scaled = torch.where(far[:, None, None], after, scaled)
        dual = torch.where(far, higher, dual)
    converged = (target - scaled.sum(1)).abs().amax(1) <= 16 * tolerance
    return torch.where(converged[:, None, None], scaled, a)


def products(x: Float[Tensor, "b *rows n"], y: Float[Tensor, "b n"]) -> Float[Tensor, "b *rows"]:
    """x @ y for each problem, with the same rounding as for that problem alone."""
    return torch.stack([matrix @ vector for matrix, vector in zip(x, y, strict=True)])


def divergence(
    rows: Float[Tensor, "*draws n k"], target: Float[Tensor, "*draws k"]
) -> Float[Tensor, "*draws n"]:
    """KL(row / its sum || target) of every row, in bits; zero for an empty row.

    >>> divergence(torch.tensor([[1.0, 0.0], [2.0, 2.0]]), torch.tensor([0.5, 0.5]))
    tensor([1., 0.])
    """
    rows = rows / rows.sum(-1, keepdim=True).clamp(min=TINY)
    terms = torch.xlogy(rows, rows) - torch.xlogy(rows, target[..., None, :])
    return terms.sum(-1) / math.log(2)


class PairMarginals:
    """P(x1, y) and P(x2, y) of decisions, under any weights of their rows.

    Equal rows of a source are one value of it: `rows` holds the distinct rows of each source, and
    `index` the number of the distinct row of each of the M rows. Both tables are reconciled to the
    P(Y) of the joint rows. If `averaged`, source rows are means of the joint rows that share them
    (resampled decisions) and change with the weights; otherwise they are fixed (masked decisions).
    """

    def __init__(self, joint: np.ndarray, sources: Mapping[str, np.ndarray], averaged: bool):
        self.joint = torch.as_tensor(joint)
        self.rows: list[Float[Tensor, "n k"]] = []
        self.index: list[Int[Tensor, " rows"]] = []
        self._averaged = averaged
        for table in sources.values():
            rows, index = map(torch.as_tensor, np.unique(table, axis=0, return_inverse=True))
            self.rows.append(rows)
            self.index.append(index.view(-1))

    def at(
        self, weights: Float[np.ndarray, "*draws rows"]
    ) -> tuple[
        Float[Tensor, "*draws x1 k"], Float[Tensor, "*draws x2 k"], Float[Tensor, "*draws k"]
    ]:
        """Both pair marginals and their P(Y), under weights of the rows that sum to one."""
        weights = torch.as_tensor(weights)
        target = weights @ self.joint
        tables = []
        for rows, mass, total in self._sums(weights):
            tables.append(reconcile(total if self._averaged else mass * rows, target))
        return *tables, target

    def distance_from_means(self, weights: np.ndarray) -> list[Float[Tensor, " n"]]:
        """Largest distance of each distinct row from the mean of the joint rows that share it."""
        sums = self._sums(torch.as_tensor(weights))
        return [(total / mass - rows).abs().amax(1) for rows, mass, total in sums]

    def _sums(self, weights: Float[Tensor, "*draws rows"]) -> Iterator[tuple[Tensor, ...]]:
        """Rows of each source, their mass, weighted sums of the joint rows that share them."""
        weighted = torch.cat([weights[..., None], weights[..., None] * self.joint], dim=-1)
        for rows, index in zip(self.rows, self.index, strict=True):
            sums = weighted.new_zeros(*weighted.shape[:-2], len(rows), weighted.shape[-1])
            sums.index_add_(-2, index, weighted)
            yield rows, sums[..., :1], sums[..., 1:]
