r"""Other definitions of redundancy than that of `pid`, in bits.

- MMI: :math:`R = \min(I(Y; X_1), I(Y; X_2))`, the largest R without a negative unique atom.
- I_min: :math:`R = \sum_y P(y) \min_i \sum_x P(x_i | y) \log_2 P(y | x_i) / P(y)`.
- I_CCS (whose atoms can be negative), I_dep: by the package dit, for small tables of codes.

The other atoms follow from R + U1 = I(Y; X1), R + U2 = I(Y; X2) and the sum I(Y; X1, X2). (Barrett
2015, Phys. Rev. E 91; Williams, Beer 2010, arXiv 1004.2515; Ince 2017, Entropy 19(7); James,
Emenheiser, Crutchfield 2018, J. Phys. A 52.)
"""

import math

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from pidlib._common import unknown_name
from pidlib.decomposition.information import Table, mutual_information, probabilities


def mmi(a: Float[Tensor, "*b x1 y"], b: Float[Tensor, "*b x2 y"]) -> Float[Tensor, "*b"]:
    """The smaller of both informations, from P(x1, y) and P(x2, y)."""
    return torch.minimum(mutual_information(a), mutual_information(b))


def i_min(a: Float[Tensor, "*b x1 y"], b: Float[Tensor, "*b x2 y"]) -> Float[Tensor, "*b"]:
    """The smaller specific information on each y, averaged, from P(x1, y) and P(x2, y)."""
    specific = (
        torch.xlogy(p, p).sum(-2) - torch.xlogy(p, p.sum(-1, keepdim=True)).sum(-2) for p in (a, b)
    )  # P(y) (specific information on y + log P(y))
    target = a.sum(-2)
    return (torch.minimum(*specific) - torch.xlogy(target, target)).sum(-1) / math.log(2)


OF_PAIRS = {"mmi": mmi, "i_min": i_min}  # need the pair marginals only
OF_JOINTS = {"ccs": "PID_CCS", "dep": "PID_dep"}  # classes of dit.pid
MEASURES = (*OF_PAIRS, *OF_JOINTS)


def redundancy(joint: Table, measure: str) -> float:
    """Return the redundancy of a joint ``[x1, x2, y]`` of counts by one of the `MEASURES`.

    ``"ccs"`` and ``"dep"`` take about a second for 8 x 8 x 8 codes. Raises ValueError if the
    measure is unknown or the table invalid, ImportError if dit is needed and not installed.

    >>> redundancy([[[1, 0], [1, 0]], [[0, 1], [0, 1]]], "mmi")
    0.0
    """
    if measure not in MEASURES:
        raise ValueError(unknown_name("measure", measure, MEASURES))
    p = probabilities(joint, 3)
    if p.ndim != 3:
        raise ValueError(f"expected a joint [x1, x2, y], but got shape {tuple(p.shape)}")
    if measure in OF_PAIRS:
        return OF_PAIRS[measure](p.sum(1), p.sum(0)).item()
    try:
        import dit
    except ImportError:
        raise ImportError(f"{measure!r} needs the package dit; try pip install dit==2.3") from None
    masses = p.cpu().numpy()
    cells = [tuple(cell) for cell in np.argwhere(masses > 0).tolist()]
    law, both = dit.Distribution(cells, masses[masses > 0].tolist()), ((0,), (1,))
    return float(getattr(dit.pid, OF_JOINTS[measure])(law, both, (2,))[both])
