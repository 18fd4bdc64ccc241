r"""Other definitions of redundancy than that of `pid`, on the same inputs.

- MMI: :math:`R = \min(I(Y; X_1), I(Y; X_2))`.
- I_min: :math:`R = \sum_y P(y) \min_i \sum_x P(x_i | y) \log_2 P(y | x_i) / P(y)`.
- I_CCS, I_dep: by the package dit, for gates and small tables of codes.

The other atoms follow from R + U1 = I(Y; X1), R + U2 = I(Y; X2) and the sum I(Y; X1, X2). R of MMI
is the largest that leaves no unique atom negative; atoms of I_CCS can be negative.

References
----------
Williams, Beer (2010), Nonnegative decomposition of multivariate information. Barrett (2015),
Exploration of synergistic and redundant information sharing in static and dynamical Gaussian
systems, Phys. Rev. E 91. Ince (2017), Measuring multivariate redundant information with pointwise
common change in surprisal, Entropy 19(7). James, Emenheiser, Crutchfield (2018), Unique information
via dependency constraints, J. Phys. A 52.
"""

import math
from collections.abc import Callable, Sequence

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from pidlib._common import unknown_name
from pidlib.decomposition.atoms import Value, atoms, checked_sources, pid
from pidlib.decomposition.information import Table, mutual_information, probabilities, to_float64
from pidlib.decomposition.solve import MARGINAL_TOLERANCE


def mmi(a: Float[Tensor, "*b x1 y"], b: Float[Tensor, "*b x2 y"]) -> Float[Tensor, "*b"]:
    """The smaller of both informations, in bits, from P(x1, y) and P(x2, y)."""
    return torch.minimum(mutual_information(a), mutual_information(b))


def i_min(a: Float[Tensor, "*b x1 y"], b: Float[Tensor, "*b x2 y"]) -> Float[Tensor, "*b"]:
    """The smaller specific information on each y, averaged, in bits, from P(x1, y) and P(x2, y)."""
    specific = (
        torch.xlogy(p, p).sum(-2) - torch.xlogy(p, p.sum(-1, keepdim=True)).sum(-2) for p in (a, b)
    )  # P(y) (specific information on y + log P(y))
    target = a.sum(-2)
    return (torch.minimum(*specific) - torch.xlogy(target, target)).sum(-1) / math.log(2)


def _by_dit(measure: str, name: str) -> Callable[[Float[Tensor, "b x1 x2 y"]], Float[Tensor, " b"]]:
    """Redundancy of single joints by a class of dit.pid."""

    def redundancy(joints: Tensor) -> Tensor:
        try:
            import dit
        except ImportError:
            raise ImportError(
                f"measure {measure!r} needs the package dit; install it: pip install dit==2.3"
            ) from None
        values = []
        for joint in joints.cpu().numpy():
            cells = np.argwhere(joint > 0)
            law = dit.Distribution(
                [tuple(cell) for cell in cells.tolist()], joint[joint > 0].tolist()
            )
            values.append(getattr(dit.pid, name)(law, ((0,), (1,)), (2,))[((0,), (1,))])
        return joints.new_tensor(values)

    return redundancy


OF_PAIRS = {"mmi": mmi, "i_min": i_min}  # redundancies that need the pair marginals only
OF_JOINTS = {"ccs": _by_dit("ccs", "PID_CCS"), "dep": _by_dit("dep", "PID_dep")}
MEASURES = ("broja", *OF_PAIRS, *OF_JOINTS)


def decompose(
    joint: Table, measure: str = "mmi", sources: Sequence[str] = ("vision", "language")
) -> dict[str, Value]:
    """Return the four atoms of a joint by one definition, in bits, by name as in `PID.atoms`.

    Raises ValueError if the measure is unknown or the table is invalid, ImportError if the measure
    needs dit, which is not installed.

    Parameters
    ----------
    joint, sources
        Counts or probabilities ``[x1, x2, y]``, or a batch of them; names of X1 and X2. For
        conditional atoms (`sensory_pid`), average those of a batch.
    measure
        ``"broja"`` (that of `pid`), ``"mmi"``, ``"i_min"``, ``"ccs"`` or ``"dep"``. The last two
        take about a second for 8 x 8 x 8 codes.

    Examples
    --------
    >>> UNQ = [[[1, 0], [1, 0]], [[0, 1], [0, 1]]]
    >>> decompose(UNQ, "mmi")
    {'redundancy': 0.0, 'unique_vision': 1.0, 'unique_language': 0.0, 'synergy': 0.0}
    """
    if measure not in MEASURES:
        raise ValueError(unknown_name("measure", measure, MEASURES))
    if measure == "broja":
        return pid(joint, sources).atoms
    p = to_float64(joint)
    if p.ndim not in (3, 4):
        shape = tuple(p.shape)
        raise ValueError(f"expected a joint [x1, x2, y] or a batch of them, but got shape {shape}")
    p = probabilities(p, 3)
    a, b, i12 = p.sum(-2), p.sum(-3), mutual_information(p.flatten(-3, -2))
    if measure in OF_PAIRS:
        return decompose_pairs(a, b, i12, measure, sources)
    redundancy = OF_JOINTS[measure](p.reshape(-1, *p.shape[-3:])).reshape(i12.shape)
    return _atoms(sources, a, b, i12, redundancy)


def decompose_pairs(
    a: Table,
    b: Table,
    i12: Table,
    measure: str = "mmi",
    sources: Sequence[str] = ("vision", "language"),
) -> dict[str, Value]:
    """Return the four atoms by a definition that needs no joint of both sources, in bits.

    This serves decisions, whose pair marginals are ``decisions.marginals.at(decisions.weights)``.
    Raises ValueError if the measure needs a joint, or if the tables differ in P(y).

    Parameters
    ----------
    a, b
        P(x1, y) and P(x2, y) or counts, ``[x1, y]`` and ``[x2, y]``, or batches of them.
    i12
        I(Y; X1, X2) in bits, one number for each pair of tables.
    measure, sources
        ``"mmi"`` or ``"i_min"``; names of X1 and X2.

    Examples
    --------
    >>> decompose_pairs([[1, 1], [0, 2]], [[1, 0], [0, 3]], 0.8113, "i_min")["redundancy"]
    0.3112...
    """
    if measure not in OF_PAIRS:
        remedy = "; use pid, decision_pid or decompose" if measure in MEASURES else ""
        raise ValueError(unknown_name("measure of pair marginals", measure, OF_PAIRS) + remedy)
    a, b = probabilities(a, 2), probabilities(b, 2)
    if a.shape[:-2] != b.shape[:-2] or a.shape[-1] != b.shape[-1]:
        shapes = f"{tuple(a.shape)} and {tuple(b.shape)}"
        raise ValueError(f"expected tables [x1, y] and [x2, y] of one batch, but got {shapes}")
    difference = (a.sum(-2) - b.sum(-2)).abs().max().item()
    if difference > MARGINAL_TOLERANCE:
        raise ValueError(
            f"the two tables differ in P(y) by {difference:.2e}; reconcile them first, "
            "see pidlib.decomposition.marginals"
        )
    return _atoms(sources, a, b, to_float64(i12, a.device, "i12"), OF_PAIRS[measure](a, b))


def _atoms(
    sources: Sequence[str], a: Tensor, b: Tensor, i12: Tensor, redundancy: Tensor
) -> dict[str, Value]:
    i1, i2 = mutual_information(a), mutual_information(b)
    if i12.shape != i1.shape:
        expected, given = tuple(i1.shape), tuple(i12.shape)
        raise ValueError(f"expected I(Y; X1, X2) of shape {expected}, but got {given}")
    table = atoms(checked_sources(sources), i1, i2, i12, i1 + i2 - redundancy)
    return {name: v.item() if v.ndim == 0 else v.cpu().numpy() for name, v in table.items()}
