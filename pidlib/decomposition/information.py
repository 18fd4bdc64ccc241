"""Conversion of array-likes, and informations of joint tables, in bits.

The last axes of a table are its variables; all axes before them are a batch. Tables hold counts or
probabilities; everything is computed in float64 on the device of the table.
"""

import math

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy.typing import ArrayLike
from torch import Tensor

Table = ArrayLike | Tensor
TAILS = (1 - 0.95) / 2, (1 + 0.95) / 2  # of intervals
SIGNIFICANT = 0.05  # level of tests


def to_numpy(values: Table, name: str = "the table") -> np.ndarray:
    """Return any array-like as an array; ValueError for a masked entry, and for ragged lists."""
    if isinstance(values, Tensor):
        values = values.detach().cpu()
        return (values.float() if values.dtype is torch.bfloat16 else values).numpy()
    if isinstance(values, list | tuple) and any(isinstance(v, np.ma.MaskedArray) for v in values):
        values = np.ma.array(values)
    if isinstance(values, np.ma.MaskedArray) and (n_masked := np.ma.count_masked(values)):
        text = f"{n_masked} entries of {name} are masked; fill masked cells with .filled(0), or"
        raise ValueError(f"{text} drop masked samples from all variables")
    return np.asarray(values)


def numbered(labels: Table, name: str) -> Int[np.ndarray, " n"]:
    """Number labels of any type; ValueError if they are masked, missing or of several types."""
    labels = to_numpy(labels, name)
    missing = np.flatnonzero([_is_missing(label) for label in labels.tolist()])
    if missing.size:
        text = f"{missing.size} of {len(labels)} {name} are missing (NaN or None)"
        raise ValueError(f"{text}: samples {', '.join(map(str, missing[:5]))} ...; drop them")
    try:
        return np.unique(labels, return_inverse=True)[1]
    except TypeError:
        raise ValueError(f"{name} are of types that cannot be sorted; convert them") from None


def _is_missing(label: object) -> bool:
    try:
        return label is None or bool(label != label)
    except TypeError:  # the truth of the missing value of pandas
        return True


def to_float64(
    table: Table, device: torch.device | str | None = None, name: str = "the table"
) -> Tensor:
    """Return any array-like as a float64 tensor; ValueError if complex, masked, or not numbers."""
    if not isinstance(table, Tensor):
        array = to_numpy(table, name)
        if array.dtype.kind not in "biufO":
            raise ValueError(f"{name} must hold real numbers, but its type is {array.dtype}")
        try:
            table = torch.from_numpy(array.astype(np.float64, order="C"))
        except (TypeError, ValueError) as error:
            raise ValueError(f"{name} must hold numbers only: {error}") from None
    if table.is_complex():
        raise ValueError(f"{name} must hold real numbers, but its type is {table.dtype}")
    return table.to(device=device, dtype=torch.float64)


def probabilities(table: Table, n_variables: int) -> Float[Tensor, "..."]:
    """Normalize a table over its last `n_variables` axes; ValueError for invalid axes, masses."""
    p = to_float64(table)
    if p.ndim < n_variables or 0 in p.shape:
        raise ValueError(f"expected at least {n_variables} axes, none empty, got {tuple(p.shape)}")
    axes = tuple(range(-n_variables, 0))
    lowest, peak = p.amin(axes), p.amax(axes, keepdim=True)
    if not ((lowest >= 0) & (peak.view_as(lowest) < math.inf)).all():
        text = f"masses must be finite and not negative, but are from {p.min():.3g} to"
        raise ValueError(f"{text} {p.max():.3g}; drop or repair samples with NaN or infinite ones")
    if (peak == 0).any():
        raise ValueError("a table has no mass at all: every count is zero")
    # dividing by the largest mass first keeps totals near the ends of the float range exact
    p = p / peak
    return p / p.sum(axes, keepdim=True)


def mutual_information(table: Table) -> Float[Tensor, "..."]:
    """Mutual information H(X) + H(Y) - H(X, Y) of tables ``[..., x, y]``, in bits.

    >>> mutual_information([[1, 0], [0, 1]]).item()
    1.0
    """
    p = probabilities(table, 2)
    tables = (p.sum(-1), -1), (p.sum(-2), -1), (p, (-1, -2))
    x, y, both = (torch.xlogy(table, table).sum(axes) / -math.log(2) for table, axes in tables)
    return x + y - both


def unseen_bits(n: int, k: int) -> float:
    """Bits that unseen events could add: of probability -ln(.05) / n, at log2 k for k answers.

    >>> round(unseen_bits(300, 2), 4)
    0.01
    """
    return -math.log(SIGNIFICANT) / n * math.log2(max(k, 2))
