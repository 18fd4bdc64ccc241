"""Pair marginals of decisions: the distinct rows of each source, with one P(Y) for both."""

import math
from collections.abc import Iterator, Mapping

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from pidlib.decomposition.broja import TINY

NEWTON_STEPS = 30  # also the limit of halvings of each


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
    for _ in range(max_iterations):
        columns = a.sum(1, keepdim=True)
        far = (columns - target[:, None]).abs().amax((1, 2)) > 4 * torch.finfo(a.dtype).eps
        if not far.any():
            break
        rows = slice(None) if far.all() else far  # a slice copies nothing
        table = a[rows] * (target[rows, None] / columns[rows].clamp(min=TINY))
        a[rows] = table * (mass[rows] / table.sum(2, keepdim=True).clamp(min=TINY))
    a = a * (target[:, None] / a.sum(1, keepdim=True).clamp(min=TINY)).clamp(max=1)
    surplus = (mass - a.sum(2, keepdim=True)).clamp(min=0)
    deficit = (target[:, None] - a.sum(1, keepdim=True)).clamp(min=0)
    return (a + surplus * (deficit / deficit.sum(2, keepdim=True).clamp(min=TINY))).view(shape)


def _newton_scaling(a: Tensor, mass: Tensor, target: Tensor) -> Tensor:
    """`a` scaled as in `reconcile`, by Newton steps on the dual; unchanged where they diverge."""
    theta, tolerance = torch.zeros_like(target), 4 * torch.finfo(a.dtype).eps

    def at(theta):
        rows = a * theta.exp()[:, None]
        total = rows.sum(2, keepdim=True).clamp(min=TINY)
        return mass * rows / total, products(target, theta) - (mass * total.log()).sum((1, 2))

    scaled, dual = at(theta)
    for _ in range(NEWTON_STEPS):
        residual = target - scaled.sum(1)
        far = residual.abs().amax(1) > tolerance
        if not far.any():
            break
        hessian = scaled.sum(1).diag_embed() - scaled.mT @ (scaled / mass.clamp(min=TINY))
        step = products(torch.linalg.pinv(hessian, hermitian=True), residual)
        step *= (far * 4 / step.abs().amax(1).clamp(min=4))[:, None]
        for _ in range(NEWTON_STEPS):
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


def divergence(rows: Tensor, target: Tensor) -> Tensor:
    """KL(row / its sum || target) of rows [*draws, n, k], in bits; zero for an empty row.

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
        self.joint, self._averaged = torch.as_tensor(joint), averaged
        distinct = [np.unique(rows, axis=0, return_inverse=True) for rows in sources.values()]
        self.rows = [torch.as_tensor(rows) for rows, _ in distinct]
        self.index = [torch.as_tensor(index).view(-1) for _, index in distinct]

    @property
    def order(self) -> int:
        """Order of the Schur complement that the solver factorizes."""
        return min(map(len, self.rows)) * self.joint.shape[1]

    def at(self, weights: Float[np.ndarray, "*draws rows"]) -> tuple[Tensor, Tensor, Tensor]:
        """Tables [*draws, x, k] of both sources and P(Y), under weights [*draws, M] of sum one."""
        weights = torch.as_tensor(weights)
        target = weights @ self.joint
        tables = (
            reconcile(total if self._averaged else mass * rows, target)
            for rows, mass, total in self._sums(weights)
        )
        return *tables, target

    def distance_from_means(self, weights: np.ndarray) -> list[Float[Tensor, " rows"]]:
        """Largest distance of each row from the mean of the joint rows that share it."""
        sums = zip(self._sums(torch.as_tensor(weights)), self.index, strict=True)
        return [(total / mass - rows).abs().amax(1)[index] for (rows, mass, total), index in sums]

    def _sums(self, weights: Float[Tensor, "*draws rows"]) -> Iterator[tuple[Tensor, ...]]:
        """Rows of each source, their mass, weighted sums of the joint rows that share them."""
        weighted = torch.cat([weights[..., None], weights[..., None] * self.joint], dim=-1)
        for rows, index in zip(self.rows, self.index, strict=True):
            sums = weighted.new_zeros(*weighted.shape[:-2], len(rows), weighted.shape[-1])
            sums.index_add_(-2, index, weighted)
            yield rows, sums[..., :1], sums[..., 1:]
