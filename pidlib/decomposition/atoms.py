"""The decomposition of joint tables: `pid`, `sensory_pid` under a condition, and their record."""

import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from pidlib._common import resolve_device, single_thread
from pidlib.decomposition.information import Table, mutual_information, probabilities, to_float64
from pidlib.decomposition.solve import LARGE, solve

Value = float | np.ndarray
DUST = 1e-20  # smaller probabilities are dropped, and the bound pays for them


@dataclass(frozen=True, repr=False)
class PID:
    """A decomposition in bits, at I_Q = `upper`: floats for one joint, arrays for a batch."""

    sources: tuple[str, str]
    redundancy: Value
    unique: Mapping[str, Value]  # by source
    synergy: Value
    total: Value  # I(Y; X1, X2), the sum of the atoms
    lower: Value  # certified bounds on I_Q at the optimum
    upper: Value
    gap: Value  # upper - lower, the uncertainty of each atom
    converged: bool | np.ndarray  # whether the gap is within the tolerance

    @classmethod
    def from_informations(
        cls, sources: tuple[str, str], i1, i2, i12, lower, upper, converged
    ) -> "PID":
        """Build the record from I(Y; X1), I(Y; X2), I(Y; X1, X2) and the bounds of I_Q, in bits."""
        redundancy, *unique, synergy = map(_scalar, atoms(sources, i1, i2, i12, upper).values())
        unique = MappingProxyType(dict(zip(sources, unique, strict=True)))
        lower = np.minimum(lower, upper)
        rest = synergy, i12, lower, upper, upper - lower, converged
        return cls(sources, redundancy, unique, *map(_scalar, rest))

    @property
    def atoms(self) -> dict[str, Value]:
        """The four atoms by name: redundancy, unique_<source> twice, synergy."""
        unique = {f"unique_{source}": self.unique[source] for source in self.sources}
        return {"redundancy": self.redundancy, **unique, "synergy": self.synergy}

    @property
    def informations(self) -> dict[str, Value]:
        """I(Y; source) by name, redundancy and the unique atom."""
        return {source: self.redundancy + self.unique[source] for source in self.sources}

    @property
    def bounds(self) -> dict[str, tuple[Value, Value]]:
        """Certified interval of each atom: the gap lies above R and S, below the unique atoms."""
        return {
            atom: (bits - self.gap, bits) if atom.startswith("unique") else (bits, bits + self.gap)
            for atom, bits in self.atoms.items()
        }

    def __len__(self) -> int:
        if np.ndim(self.total) == 0:
            raise TypeError("a single decomposition has no length; pass a batch of joints to pid")
        return len(self.total)

    def __getitem__(self, index: int | slice | np.ndarray) -> "PID":
        len(self)  # raises the TypeError of a single record
        return _combined(lambda values: values[index], self)

    def __repr__(self) -> str:
        if np.ndim(self.total) > 0:
            converged = f"converged={int(self.converged.sum())}/{len(self)}"
            return f"PID(batch of {len(self)}, sources={self.sources}, {converged}, bits)"
        values = ", ".join(f"{name}={round(v, 6) + 0.0:.6f}" for name, v in self.atoms.items())
        note = "" if self.converged else ", NOT CONVERGED"
        return f"PID({values}, gap={self.gap:.1e} bits{note})"


def atoms(sources: Sequence[str], i1, i2, i12, iq) -> dict:
    """R = i1 + i2 - iq, U1 = iq - i2, U2 = iq - i1 and S = i12 - iq by name; numbers or arrays."""
    first, second = (f"unique_{source}" for source in sources)
    return {"redundancy": i1 + i2 - iq, first: iq - i2, second: iq - i1, "synergy": i12 - iq}


def mean(pids: PID | Sequence[PID], weights: ArrayLike) -> PID:
    """Average a batch, or a sequence of single ones; converged if all of positive weight are."""
    weights = to_float64(weights, name="weights").cpu().numpy()
    batch = pids if isinstance(pids, PID) else _combined(lambda *values: np.array(values), *pids)
    converged = bool(batch.converged[weights > 0].all())
    return replace(_combined(lambda values: weights @ values, batch), converged=converged)


def _combined(combine: Callable[..., Value], *pids: PID) -> PID:
    """The record whose values are those of the given records, combined."""
    columns = {name: [getattr(pid, name) for pid in pids] for name in PID.__dataclass_fields__}
    (sources, *_), unique = columns.pop("sources"), columns.pop("unique")
    by_source = {name: _scalar(combine(*(each[name] for each in unique))) for name in sources}
    values = {name: _scalar(combine(*column)) for name, column in columns.items()}
    return PID(sources, unique=MappingProxyType(by_source), **values)


def pid(
    joint: Table,
    sources: Sequence[str] = ("vision", "language"),
    tol: float = 1e-6,
    method: str = "auto",
    max_iterations: int | None = None,
    device: "Device" = None,
) -> PID:
    """Decompose the information of two sources about a target (Bertschinger et al. 2014).

    With I the minimum of I_Q(Y; X1, X2) over all Q with the pair marginals P(x1, y) and P(x2, y),

        R = I(Y;X1) + I(Y;X2) - I,   U1 = I - I(Y;X2),   U2 = I - I(Y;X1),   S = I_P(Y;X1,X2) - I.

    >>> AND = [[[1, 0], [1, 0]], [[1, 0], [0, 1]]]
    >>> pid(AND)
    PID(redundancy=0.311278, unique_vision=0.000000, unique_language=0.000000, synergy=0.5..., ...)

    Parameters
    ----------
    joint
        Counts or probabilities ``[x1, x2, y]``, or a batch ``[b, x1, x2, y]``; any array-like.
        ValueError unless each table has mass and no entry is negative, NaN or masked.
    sources, device
        Names of the first and second axis; ``"auto"``, ``"cpu"``, ``"cuda"`` or a torch device, by
        default that of the joint.
    tol, method, max_iterations
        Requested certified gap in bits, above which a gap is warned about; stage of the solver and
        its limit, as in `pidlib.decomposition.solve`.
    """
    names = checked_sources(sources)
    device = resolve_device(device, joint.device if isinstance(joint, Tensor) else "cpu")
    p = to_float64(joint, device)
    if p.ndim not in (3, 4):
        raise ValueError(f"expected a joint [x1, x2, y] or a batch, but got shape {tuple(p.shape)}")
    is_single = p.ndim == 3
    p, swapped = _ordered(p[None] if is_single else p)
    with torch.inference_mode(), single_thread(p.shape[2] * p.shape[3] < LARGE):
        p = probabilities(p, 3)
        dust = (p > 0) & (p < DUST)
        p = probabilities(p.masked_fill(dust, 0), 3)
        # one layout of both sums: the unique atoms of a symmetric joint are equal bit for bit
        a, b = p.sum(2), p.transpose(1, 2).contiguous().sum(2)
        coupling = solve(a, b, tol=tol, method=method, max_iterations=max_iterations)
        first, second = mutual_information(a), mutual_information(b)
        both = mutual_information(p.flatten(1, 2))
        # P is a coupling, and so is the one that makes the sources independent given Y, whose
        # information is at most first + second
        upper = torch.fmin(coupling.upper, torch.minimum(both, first + second))
        lower = coupling.lower + 4 * DUST * math.log2(DUST) * dust.sum((1, 2, 3))
        i1, i2 = torch.where(swapped, second, first), torch.where(swapped, first, second)
        i1, i2, both, lower, upper = (x.cpu().numpy() for x in (i1, i2, both, lower, upper))
    converged = upper - np.minimum(lower, upper) <= tol
    result = PID.from_informations(names, i1, i2, both, lower, upper, converged)
    if not converged.all():
        text = f"{int((~converged).sum())} of {len(result)} decompositions have a gap of up to"
        text += f" {result.gap.max():.1e} bits, above tol={tol:.1e}; raise max_iterations, use"
        warnings.warn(f"{text} method='newton', or a larger tol", stacklevel=2)
    return result[0] if is_single else result


def sensory_pid(
    joints_by_condition: Mapping[object, Table] | Sequence[Table] | Table,
    weights: ArrayLike | None = None,
    sources: Sequence[str] = ("vision", "audio"),
    **options,
) -> PID:
    """Decompose I(Y; X1, X2 | T), the information of two sources given a condition T.

        R + U1 + U2 + S = I(Y; X1, X2 | T) = sum_t P(t) I(Y; X1, X2 | T=t);

    every atom, bound and gap is the mean over the values of T. There is one joint ``[x1, x2, y]``
    per value of T, of any alphabets: a mapping, a sequence, a stack. `weights` are P(t) up to a
    factor, in this order, by default the mass of each joint; the rest is as in `pid`.

    >>> copy, xor = [[[1, 0], [1, 0]], [[0, 1], [0, 1]]], [[[1, 0], [0, 1]], [[0, 1], [1, 0]]]
    >>> gated = sensory_pid([copy, xor])
    >>> gated.unique["vision"], gated.synergy
    (0.5, 0.5)
    """
    if isinstance(joints_by_condition, Mapping):
        joints_by_condition = list(joints_by_condition.values())
    joints = [to_float64(joint) for joint in joints_by_condition]
    if not joints or any(joint.ndim != 3 for joint in joints):
        shapes = [tuple(joint.shape) for joint in joints]
        raise ValueError(f"expected one joint [x1, x2, y] per condition, but got shapes {shapes}")
    # values of zero mass are appended to the smaller alphabets
    shape = [max(sizes) for sizes in zip(*(joint.shape for joint in joints), strict=True)]
    stack = joints[0].new_zeros(len(joints), *shape)
    for row, joint in zip(stack, joints, strict=True):
        row[tuple(map(slice, joint.shape))] = joint
    masses = stack.sum((1, 2, 3)) if weights is None else weights
    masses = to_float64(masses, stack.device, "weights")
    valid = torch.isfinite(masses).all() and (masses >= 0).all() and masses.sum() > 0
    if masses.shape != stack.shape[:1] or not valid:
        text = f"expected one weight per condition, {len(stack)} in all, finite, none negative and"
        raise ValueError(f"{text} one positive, but got {masses.tolist()}")
    present = masses > 0
    result = pid(stack[present], sources, **options)
    return mean(result, masses[present] / masses[present].sum())


def _ordered(joints: Tensor) -> tuple[Tensor, Tensor]:
    """Joints with their sources in a canonical order, and which were swapped.

    The larger source comes first; for equal sizes the first two entries that differ decide. A joint
    and its transpose are then the same computation, so swapping sources swaps the atoms exactly.
    """
    mirrored = joints.transpose(1, 2)
    n1, n2 = joints.shape[1:3]
    if n1 != n2 or 0 in joints.shape:
        swap = torch.full((len(joints),), n1 < n2, device=joints.device)
        return (mirrored if n1 < n2 else joints).contiguous(), swap
    first = (joints != mirrored).flatten(1).to(torch.uint8).argmax(1, keepdim=True)
    swap = (joints < mirrored).flatten(1).gather(1, first)[:, 0]
    return torch.where(swap[:, None, None, None], mirrored, joints).contiguous(), swap


def checked_sources(sources: Sequence[str]) -> tuple[str, str]:
    """The names as a tuple; ValueError unless they are two different strings."""
    names = () if isinstance(sources, str) else tuple(sources)
    if len(names) != 2 or not all(isinstance(name, str) for name in names) or len(set(names)) != 2:
        raise ValueError(f"expected the names of two different sources, but got {sources!r}")
    return names


def _scalar(value):
    """A NumPy scalar as a Python one; arrays unchanged."""
    return value.item() if isinstance(value, np.generic) else value
