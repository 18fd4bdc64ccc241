"""Decomposition of a model's own predictive distributions."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Decisions:
    r"""What a model answers to M inputs: with both modalities, and with each of them alone.

    Row m is an input (v, t) of weight w_m. Two ways to measure the unimodal rows are in use, and the same code serves both:
    *masked*, one row for each sample with the other modality replaced by noise; *resampled*, one row for each pair of a
    picture and a question, where p(y | v) is the mean over the questions and repeats on all rows of that picture.

    Parameters
    ----------
    joint
        p(y | v, t), shape [M, k]. Rows are positive and sum to one (to 1e-6; they are normalised in float64).
    sources
        For each of the two modalities, by name, p(y | that modality alone) of the same rows, shape [M, k].
    weights
        Positive, sum to one, shape [M]. Uniform when left out.
    groups
        The sample each row belongs to, shape [M]: the unit that the bootstrap resamples. Each row its own when left out.

    Raises
    ------
    ValueError
        If shapes differ, a number is not finite or negative, or rows or weights do not sum to one; the rows are named.

    Examples
    --------
    >>> xor = Decisions(joint=np.eye(2)[[0, 1, 1, 0]], sources={"vision": np.full((4, 2), 0.5), "language": np.full((4, 2), 0.5)})
    >>> len(xor), xor.target.tolist()
    (4, [0.5, 0.5])
    """

    joint: Float[np.ndarray, "rows k"]
    sources: Mapping[str, Float[np.ndarray, "rows k"]]
    weights: Float[np.ndarray, " rows"] | None = None
    groups: Int[np.ndarray, " rows"] | None = None

    def __post_init__(self):
        joint = _rows("joint", self.joint)
        if len(self.sources) != 2:
            raise ValueError(f"decisions need two sources by name; got {len(self.sources)}: {', '.join(self.sources)}")
        sources = {name: _rows(name, rows) for name, rows in self.sources.items()}
        for name, rows in sources.items():
            if rows.shape != joint.shape:
                raise ValueError(f"'joint' has shape {joint.shape} but source {name!r} {rows.shape}: give the same rows to both")
        count = len(joint)
        weights = np.full(count, 1 / count) if self.weights is None else np.asarray(self.weights, dtype=np.float64)
        groups = np.arange(count) if self.groups is None else np.asarray(self.groups)
        if weights.shape != (count,) or groups.shape != (count,):
            raise ValueError(f"weights {weights.shape} and groups {groups.shape} need one entry for each of the {count} rows")
        if not (np.isfinite(weights).all() and (weights > 0).all() and abs(weights.sum() - 1) < 1e-6):
            raise ValueError(f"weights must be positive and sum to one; their sum is {weights.sum():.6g}, their least {weights.min():.6g}")
        if groups.dtype.kind not in "iu":
            raise ValueError(f"groups must be integers; got {groups.dtype}: number the samples")
        values = {"joint": joint, "sources": MappingProxyType(sources), "weights": weights / weights.sum(), "groups": groups}
        for name, value in values.items():
            object.__setattr__(self, name, value)

    def __len__(self) -> int:
        return len(self.joint)

    @property
    def target(self) -> Float[np.ndarray, " k"]:
        """P(Y), the weighted mean of the joint rows."""
        return self.weights @ self.joint


def _rows(name: str, rows: object) -> Float[np.ndarray, "rows k"]:
    rows = np.asarray(rows, dtype=np.float64)
    if rows.ndim != 2 or 0 in rows.shape:
        raise ValueError(f"{name!r} must be a table [rows, candidates] that is not empty; got shape {rows.shape}")
    # NaN fails every comparison, so it lands here with the infinities and the negative numbers.
    wrong = ~((rows >= 0).all(1) & (np.abs(rows.sum(1) - 1) < 1e-6))
    if wrong.any():
        where = ", ".join(map(str, np.flatnonzero(wrong)[:5]))
        raise ValueError(f"{name!r} has {wrong.sum()} of {len(rows)} rows that are not finite, >= 0 with sum one: rows {where} ...")
    return rows / rows.sum(1, keepdims=True)


def reconcile(a: Float[Tensor, "*b n k"], target: Float[Tensor, "*b k"], max_iterations: int = 2000) -> Float[Tensor, "*b n k"]:
    r"""The table nearest to `a` whose columns sum to `target`; its row sums stay.

    Minimises KL(a' || a) under both sums by scaling columns and rows in turn, so rows change as a'(y | x) ~ a(y | x) c(y)
    and equal rows stay equal. Zeros can forbid the sums (one-hot rows have nothing to scale); the mass that is then left
    over leaves the columns that are too full and is spread over the others in proportion, and the sums hold exactly.

    Parameters
    ----------
    a
        Weight of each row times its distribution, [..., n, k].
    target
        The column sums wanted, [..., k], with the same total.

    Examples
    --------
    >>> reconcile(torch.tensor([[0.25, 0.25], [0.4, 0.1]]), torch.tensor([0.5, 0.5])).sum(0)
    tensor([0.5000, 0.5000])
    """
    rows = a.sum(-1, keepdim=True)
    for _ in range(max_iterations):
        columns = a.sum(-2)
        if (columns - target).abs().max() <= 4 * torch.finfo(a.dtype).eps:
            break
        a = a * (target / columns).nan_to_num(0, 0, 0)[..., None, :]
        a = a * (rows / a.sum(-1, keepdim=True)).nan_to_num(0, 0, 0)
    a = a * (target / a.sum(-2)).nan_to_num(0, 0, 0).clamp(max=1)[..., None, :]
    left_rows, left_columns = (rows - a.sum(-1, keepdim=True)).clamp(min=0), (target - a.sum(-2)).clamp(min=0)
    return a + left_rows * (left_columns / left_columns.sum(-1, keepdim=True)).nan_to_num(0)[..., None, :]
