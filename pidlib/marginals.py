"""Pair marginals of decisions: the distinct rows of each source, with one P(Y) for both."""

import math
from collections.abc import Mapping

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

TINY = 1e-300  # keeps 0/0 at 0


def reconcile(a: Float[Tensor, "*draws n k"], target: Float[Tensor, "*draws k"], max_iterations: int = 2000) -> Float[Tensor, "*draws n k"]:
    r"""The table nearest to `a` whose columns sum to `target`; its row sums stay.

    Minimises KL(a' || a) under both sums by scaling columns and rows, so rows change as a'(y | x) ~ a(y | x) c(y) and equal rows
    stay equal: c by Newton steps where they arrive, else by scaling in turn. Zeros can forbid the sums (one-hot rows have nothing
    to scale); the mass that is then left over leaves the columns that are too full and is spread over the others in proportion,
    and the sums hold exactly.

    Parameters
    ----------
    a
        Weight of each row times its distribution, shape [n, k], or such tables, each on its own.
    target
        The column sums wanted, shape [k], with the same total; of each table.
    max_iterations
        Scalings before the rest is spread.

    Examples
    --------
    >>> reconcile(torch.tensor([[0.25, 0.25], [0.4, 0.1]]), torch.tensor([0.5, 0.5])).sum(0)
    tensor([0.5000, 0.5000])
    """
    shape, a, target = a.shape, a.reshape(-1, *a.shape[-2:]), target.reshape(-1, a.shape[-1])
    mass = a.sum(2, keepdim=True)
    a = _scaled(a, mass, target)
    left = torch.arange(len(a))
    some, row, column = a, mass, target[:, None]
    for _ in range(max_iterations):
        columns = some.sum(1, keepdim=True)
        far = (columns - column).abs().amax((1, 2)) > 4 * torch.finfo(a.dtype).eps
        if not far.all():
            a[left[~far]] = some[~far]
            left, some, row, column, columns = left[far], some[far], row[far], column[far], columns[far]
        if not len(left):
            break
        some = some * (column / columns.clamp(min=TINY))
        some = some * (row / some.sum(2, keepdim=True).clamp(min=TINY))
    a[left] = some
    a = a * (target[:, None] / a.sum(1, keepdim=True).clamp(min=TINY)).clamp(max=1)
    over, lacking = (mass - a.sum(2, keepdim=True)).clamp(min=0), (target[:, None] - a.sum(1, keepdim=True)).clamp(min=0)
    return (a + over * (lacking / lacking.sum(2, keepdim=True).clamp(min=TINY))).view(shape)


def _scaled(
    a: Float[Tensor, "b n k"], mass: Float[Tensor, "b n 1"], target: Float[Tensor, "b k"], steps: int = 30
) -> Float[Tensor, "b n k"]:
    """`a` with rows scaled as `reconcile` does in the limit, by Newton steps on the dual; as it is where they do not arrive."""
    theta, close = torch.zeros_like(target), 4 * torch.finfo(a.dtype).eps

    def at(theta):
        rows = a * theta.exp()[:, None]
        total = rows.sum(2, keepdim=True).clamp(min=TINY)
        return mass * rows / total, products(target, theta) - (mass * total.log()).sum((1, 2))

    moved, dual = at(theta)
    for _ in range(steps):
        off = target - moved.sum(1)
        far = off.abs().amax(1) > close
        if not far.any():
            break
        hessian = moved.sum(1).diag_embed() - moved.mT @ (moved / mass.clamp(min=TINY))
        step = products(torch.linalg.pinv(hessian, hermitian=True), off)
        step *= (far * 4 / step.abs().amax(1).clamp(min=4))[:, None]
        for _ in range(steps):
            after, higher = at(theta + step)
            short = far & ~(higher >= dual - 1e-13)
            if not short.any():
                break
            step = torch.where(short[:, None], step / 2, step)
        theta, moved, dual = theta + step, torch.where(far[:, None, None], after, moved), torch.where(far, higher, dual)
    arrived = (target - moved.sum(1)).abs().amax(1) <= 16 * close
    return torch.where(arrived[:, None, None], moved, a)


def products(x: Float[Tensor, "b *rows n"], y: Float[Tensor, "b n"]) -> Float[Tensor, "b *rows"]:
    """x @ y of each problem, to the last bit what it is of that one alone."""
    return torch.stack([one @ other for one, other in zip(x, y, strict=True)])


def divergence(rows: Float[Tensor, "*draws n k"], target: Float[Tensor, "*draws k"]) -> Float[Tensor, "*draws n"]:
    """KL(row / its sum || target) of every row, in bits; zero for an empty row.

    >>> divergence(torch.tensor([[1.0, 0.0], [2.0, 2.0]]), torch.tensor([0.5, 0.5]))
    tensor([1., 0.])
    """
    rows = rows / rows.sum(-1, keepdim=True).clamp(min=TINY)
    return (torch.xlogy(rows, rows) - torch.xlogy(rows, target[..., None, :])).sum(-1) / math.log(2)


class PairMarginals:
    """P(x1, y) and P(x2, y) of decisions, under any weights of their rows.

    Rows of a source with one distribution are one value of it. In both modes the table is then reconciled to the P(Y) of the joint rows.

    Parameters
    ----------
    joint
        p(y | x1, x2), shape [M, k].
    sources
        By name, p(y | x) of the same rows, shape [M, k].
    averaged
        Whether source rows are the means of the joint rows that share them (resampled decisions): other weights then give other
        means. Else they are what the model answers to one modality (masked decisions), and stay.

    Attributes
    ----------
    rows
        For each source its distinct rows, [n, k].
    index
        For each source the number of the distinct row that each of the M rows has.
    """

    def __init__(self, joint: np.ndarray, sources: Mapping[str, np.ndarray], averaged: bool):
        self.joint = torch.as_tensor(joint)
        self.rows: list[Float[Tensor, "n k"]] = []
        self.index: list[Int[Tensor, " rows"]] = []
        self._averaged = averaged
        for table in sources.values():
            rows, index = (torch.as_tensor(x) for x in np.unique(table, axis=0, return_inverse=True))
            self.rows.append(rows)
            self.index.append(index.view(-1))

    def at(
        self, weights: Float[np.ndarray, "*draws rows"]
    ) -> tuple[Float[Tensor, "*draws x1 k"], Float[Tensor, "*draws x2 k"], Float[Tensor, "*draws k"]]:
        """Both pair marginals and their common P(Y) under some weights of the rows, which sum to one and may be zero; or draws of them."""
        weights = torch.as_tensor(weights)
        target = weights @ self.joint
        tables = []
        for rows, index in zip(self.rows, self.index, strict=True):
            mass, total = self._sums(index, len(rows), weights)
            tables.append(reconcile(total if self._averaged else mass * rows, target))
        return *tables, target

    def from_means(self, weights: np.ndarray) -> list[Float[Tensor, " n"]]:
        """For each source how far its distinct rows are from the weighted means of the joint rows that share them, at most over y."""
        weights = torch.as_tensor(weights)
        sums = [self._sums(index, len(rows), weights) for rows, index in zip(self.rows, self.index, strict=True)]
        return [(total / mass - rows).abs().amax(1) for rows, (mass, total) in zip(self.rows, sums, strict=True)]

    def _sums(
        self, index: Tensor, size: int, weights: Float[Tensor, "*draws rows"]
    ) -> tuple[Float[Tensor, "*draws n 1"], Float[Tensor, "*draws n k"]]:
        """Mass of every distinct row, and the sum of weighted joint rows that have it."""
        weighted = torch.cat([weights[..., None], weights[..., None] * self.joint], dim=-1)
        sums = weighted.new_zeros(*weighted.shape[:-2], size, weighted.shape[-1]).index_add_(-2, index, weighted)
        return sums[..., :1], sums[..., 1:]
