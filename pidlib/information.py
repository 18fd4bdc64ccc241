"""Entropies and informations of joint tables, in bits.

A table holds counts or probabilities. Its last axes are the variables and all axes before them are a batch, so that one joint
``[x1, x2, y]`` and a stack of them ``[b, x1, x2, y]`` are read alike. Everything is computed in float64 on the table's own device.
"""

import math

import torch
from jaxtyping import Float
from numpy.typing import ArrayLike
from torch import Tensor

Table = ArrayLike | Tensor


def probabilities(table: Table, n_variables: int, device: torch.device | str | None = None) -> Float[Tensor, "..."]:
    """The table as float64 probabilities: every slice over the last `n_variables` axes sums to one.

    Parameters
    ----------
    table
        Counts or probabilities, ``[..., x, y, z]``.
    n_variables
        How many of the last axes are variables.
    device
        Where to compute; by default where the table is.

    Raises
    ------
    ValueError
        If axes are missing or empty, if a mass is negative, infinite or NaN, or if a slice holds no mass.
    """
    p = torch.as_tensor(table, device=device)
    if p.is_complex():
        raise ValueError("a table holds real masses, but this one is complex; pass counts or probabilities")
    p = p.to(torch.float64)
    if p.ndim < n_variables or 0 in p.shape:
        raise ValueError(f"expected at least {n_variables} axes, none empty, but the table has shape {tuple(p.shape)}")
    axes = tuple(range(-n_variables, 0))
    least, peak = p.amin(axes), p.amax(axes, keepdim=True)
    if not ((least >= 0) & (peak.view_as(least) < math.inf)).all():
        if torch.isfinite(p).all():
            raise ValueError(f"a mass is negative ({least.min().item():.3g}); pass counts or probabilities")
        raise ValueError("the table has NaN or infinite masses; drop or repair those samples before tabulating")
    if (peak == 0).any():
        raise ValueError("a table has no mass at all: every count is zero; check the selection of samples")
    # the largest mass goes first, so that totals near the ends of the float range neither overflow nor vanish
    p = p / peak
    return p / p.sum(axes, keepdim=True)


def entropy(table: Table, n_variables: int = 1) -> Float[Tensor, "..."]:
    """Joint entropy :math:`H = -\\sum p \\log_2 p` over the last `n_variables` axes, in bits.

    >>> entropy([1, 1, 2]).item()
    1.5
    """
    return _entropy(probabilities(table, n_variables), n_variables)


def mutual_information(table: Table) -> Float[Tensor, "..."]:
    """Mutual information :math:`I(X;Y) = H(X) + H(Y) - H(X,Y)` of tables ``[..., x, y]``, in bits.

    >>> mutual_information([[1, 0], [0, 1]]).item()
    1.0
    """
    p = probabilities(table, 2)
    return _entropy(p.sum(-1), 1) + _entropy(p.sum(-2), 1) - _entropy(p, 2)


def conditional_mutual_information(joint: Table) -> Float[Tensor, "..."]:
    """Conditional information :math:`I(Y;X_1|X_2) = I(Y;X_1,X_2) - I(Y;X_2)` of joints ``[..., x1, x2, y]``, in bits.

    >>> xor = [[[1, 0], [0, 1]], [[0, 1], [1, 0]]]
    >>> conditional_mutual_information(xor).item()
    1.0
    """
    p = probabilities(joint, 3)
    return mutual_information(p.flatten(-3, -2)) - mutual_information(p.sum(-3))


def co_information(joint: Table) -> Float[Tensor, "..."]:
    """Co-information :math:`I(Y;X_1) + I(Y;X_2) - I(Y;X_1,X_2)` of joints ``[..., x1, x2, y]``, in bits.

    It equals redundancy minus synergy: negative where synergy prevails.

    >>> xor = [[[1, 0], [0, 1]], [[0, 1], [1, 0]]]
    >>> co_information(xor).item()
    -1.0
    """
    p = probabilities(joint, 3)
    return mutual_information(p.sum(-2)) - conditional_mutual_information(p)


def _entropy(p: Tensor, n_variables: int) -> Tensor:
    return torch.xlogy(p, p).sum(tuple(range(-n_variables, 0))) / -math.log(2)
