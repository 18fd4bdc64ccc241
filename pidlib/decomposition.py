"""The decomposition itself: pid() of joint tables, sensory_pid() under a condition, and the record they return."""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from types import MappingProxyType

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from pidlib.information import Table, mutual_information, probabilities
from pidlib.ipfp import Coupling, ipfp
from pidlib.newton import newton

METHODS = ("newton", "ipfp")
COARSE = 1e-4  # bits; a gap this wide is reached by fitting alone, sooner than by Newton steps where these are large:
LARGE = 400  # order of the Schur complement, n2 k
LARGEST = 8000  # of that order; beyond, its matrices alone would take gigabytes, and fitting alone has to do
Value = float | np.ndarray


@dataclass(frozen=True, repr=False)
class PID:
    """A partial information decomposition, in bits: floats for one joint, arrays over the batch for many.

    Attributes
    ----------
    sources
        Names of the two sources, in the order of the joint's axes.
    redundancy, unique, synergy
        The atoms; `unique` maps each source to its own. They stand at the feasible end of the interval, I_Q = `upper`.
    total
        I(Y; X1, X2), the sum of the atoms.
    lower, upper
        Certified bounds on I_Q(Y; X1, X2) at the optimum. Every atom is I_Q plus or minus a known quantity, so that all four are
        certain to the same `gap` = `upper` - `lower`: redundancy and synergy may be larger by up to it, the unique atoms smaller.
    converged
        Whether the gap is within the tolerance that was asked for.
    iterations
        Sweeps of stage 1 plus steps of stage 2.
    """

    sources: tuple[str, str]
    redundancy: Value
    unique: Mapping[str, Value]
    synergy: Value
    total: Value
    lower: Value
    upper: Value
    gap: Value
    converged: bool | np.ndarray
    iterations: int | np.ndarray

    @property
    def atoms(self) -> dict[str, Value]:
        """The four atoms by name: redundancy, unique_<source> twice, synergy."""
        unique = {f"unique_{source}": self.unique[source] for source in self.sources}
        return {"redundancy": self.redundancy, **unique, "synergy": self.synergy}

    @property
    def bounds(self) -> dict[str, tuple[Value, Value]]:
        """Certified interval of each atom: redundancy and synergy may be larger by up to the gap, the unique atoms smaller."""
        return {atom: (v - self.gap, v) if atom.startswith("unique") else (v, v + self.gap) for atom, v in self.atoms.items()}

    @property
    def information(self) -> dict[str, Value]:
        """I(Y; X) of each source alone: its unique information plus the redundancy."""
        return {source: self.redundancy + self.unique[source] for source in self.sources}

    @property
    def co_information(self) -> Value:
        """I(Y; X1) + I(Y; X2) - I(Y; X1, X2) = redundancy - synergy."""
        return self.redundancy - self.synergy

    @property
    def is_batch(self) -> bool:
        """Whether this record holds many decompositions."""
        return np.ndim(self.total) > 0

    def __len__(self) -> int:
        if not self.is_batch:
            raise TypeError("a single decomposition has no length; pass a batch of joints to get one that has")
        return len(self.total)

    def __getitem__(self, index: int | slice | np.ndarray) -> "PID":
        len(self)  # refuses a single record with its reason
        picked = {field.name: _plain(getattr(self, field.name)[index]) for field in fields(self) if field.name not in ("sources", "unique")}
        unique = MappingProxyType({source: _plain(self.unique[source][index]) for source in self.sources})
        return replace(self, unique=unique, **picked)

    def __repr__(self) -> str:
        if self.is_batch:
            return f"PID(batch of {len(self)}, sources={self.sources}, converged={int(self.converged.sum())}/{len(self)}, bits)"
        atoms = ", ".join(f"{name}={round(value, 6) + 0.0:.6f}" for name, value in self.atoms.items())
        return f"PID({atoms}, gap={self.gap:.1e} bits{'' if self.converged else ', NOT CONVERGED'})"


@torch.inference_mode()
def pid(
    joint: Table,
    sources: Sequence[str] = ("vision", "language"),
    tol: float = 1e-6,
    method: str = "newton",
    max_iterations: int | None = None,
    device: torch.device | str | None = None,
) -> PID:
    """Decompose the information two sources hold about a target, after Bertschinger et al. (2014).

    With Q* the minimiser of I_Q(Y; X1, X2) among all Q that share the pair marginals P(x1, y) and P(x2, y), and I = I_Q*(Y; X1, X2),

        R = I(Y;X1) + I(Y;X2) - I,   U1 = I - I(Y;X2),   U2 = I - I(Y;X1),   S = I_P(Y;X1,X2) - I.

    Parameters
    ----------
    joint
        Counts or probabilities ``[x1, x2, y]``, or a batch of them ``[b, x1, x2, y]``; array or tensor.
    sources
        Names of the first and second axis.
    tol
        Certified gap asked for, in bits.
    method
        ``"newton"``: a few sweeps of iterative proportional fitting, then the primal-dual Newton stage. ``"ipfp"``: fitting alone,
        the iteration of the paper, accelerated: the same limit from another start. Fitting alone also serves large tables where
        `tol` is 1e-4 or more, and alphabets of thousands of values.
    max_iterations
        Limit of the outer steps of fitting (``"ipfp"``) or of the Newton steps (``"newton"``).
    device
        Where to compute; by default where the joint is.

    Returns
    -------
    PID
        In bits, with the certified interval and whether it is as narrow as asked.

    Raises
    ------
    ValueError
        For a table without mass or with negative or NaN mass, a wrong number of axes or sources, an unknown method.

    Warns
    -----
    UserWarning
        If a gap stays above `tol`; the record says which (`converged`).

    References
    ----------
    Bertschinger, Rauh, Olbrich, Jost, Ay (2014), Quantifying unique information, Entropy 16(4).

    Examples
    --------
    >>> AND = [[[1, 0], [1, 0]], [[1, 0], [0, 1]]]
    >>> pid(AND)
    PID(redundancy=0.311278, unique_vision=0.000000, unique_language=0.000000, synergy=0.500000, gap=... bits)
    """
    sources = _checked_sources(sources)
    p = torch.as_tensor(joint, device=device)
    if p.ndim not in (3, 4):
        raise ValueError(f"expected a joint [x1, x2, y] or a batch [b, x1, x2, y], but got {p.ndim} axes, shape {tuple(p.shape)}")
    if method not in METHODS:
        raise ValueError(f"unknown method {method!r}; choose one of {', '.join(map(repr, METHODS))}")
    single = p.ndim == 3
    p, swapped = _ordered(p[None] if single else p)
    p = probabilities(p, 3)
    a, b = p.sum(2), p.sum(1)
    order = b.shape[1] * b.shape[2]
    fitting = method == "ipfp" or order > LARGEST or (tol >= COARSE and order >= LARGE)
    solve = ipfp if fitting else newton
    coupling = solve(a, b, tol=tol, **({} if max_iterations is None else {"max_iterations": max_iterations}))
    result = _record(sources, p, swapped, coupling, tol)
    return result[0] if single else result


def _ordered(joints: Tensor) -> tuple[Tensor, Tensor]:
    """The joints with their sources in an order that does not depend on the one given, and which were swapped.

    The larger source comes first; where they are equal in size, the order of the first two entries that differ decides. So a joint
    and its mirror image are the same computation, and swapping the sources swaps the atoms bit for bit.
    """
    mirrored = joints.transpose(1, 2)
    if joints.shape[1] != joints.shape[2] or 0 in joints.shape:
        swap = torch.full((len(joints),), joints.shape[1] < joints.shape[2], device=joints.device)
        return (mirrored if joints.shape[1] < joints.shape[2] else joints).contiguous(), swap
    differs = (joints != mirrored).flatten(1)
    first = differs.to(torch.uint8).argmax(1, keepdim=True)
    swap = (joints < mirrored).flatten(1).gather(1, first)[:, 0]
    return torch.where(swap[:, None, None, None], mirrored, joints).contiguous(), swap


def sensory_pid(
    joints_by_condition: Mapping[object, Table] | Sequence[Table] | Table,
    weights: Mapping[object, float] | Sequence[float] | Tensor | None = None,
    sources: Sequence[str] = ("vision", "audio"),
    **options,
) -> PID:
    """Decompose I(Y; X1, X2 | T), what two sources add about the target where a condition T is known: the mean over its values.

        R + U1 + U2 + S = I(Y; X1, X2 | T) = sum_t P(t) I(Y; X1, X2 | T=t),  and every atom, bound and gap is the same mean.

    Parameters
    ----------
    joints_by_condition
        One joint ``[x1, x2, y]`` per value of T, as a mapping, a sequence, or a stack ``[t, x1, x2, y]``. Alphabets may differ.
    weights
        P(t) up to a factor, in the same order or under the same keys; by default the mass of each joint, which is right for counts.
    sources, options
        As in `pid`.

    Raises
    ------
    ValueError
        As `pid`, and if weights do not fit the conditions.

    Examples
    --------
    >>> copy, xor = [[[1, 0], [1, 0]], [[0, 1], [0, 1]]], [[[1, 0], [0, 1]], [[0, 1], [1, 0]]]
    >>> gated = sensory_pid([copy, xor])
    >>> gated.unique["vision"], gated.synergy
    (0.5, 0.5)
    """
    if isinstance(joints_by_condition, Mapping):
        if isinstance(weights, Mapping):
            if weights.keys() != joints_by_condition.keys():
                raise ValueError(f"weights are for {sorted(map(str, weights))}, joints for {sorted(map(str, joints_by_condition))}")
            weights = [weights[condition] for condition in joints_by_condition]
        joints_by_condition = list(joints_by_condition.values())
    joints = _stacked([torch.as_tensor(joint).to(torch.float64) for joint in joints_by_condition])
    masses = joints.sum((1, 2, 3)) if weights is None else torch.as_tensor(weights, dtype=torch.float64, device=joints.device)
    if masses.shape != joints.shape[:1]:
        raise ValueError(f"expected one weight per condition, {len(joints)}, but got shape {tuple(masses.shape)}")
    if not torch.isfinite(masses).all() or (masses < 0).any() or masses.sum() == 0:
        raise ValueError(f"weights of conditions must be finite, none negative and one positive, but are {masses.tolist()}")
    present = masses > 0
    result = pid(joints[present], sources, **options)
    return _mean(result, (masses[present] / masses[present].sum()).cpu().numpy())


def _stacked(joints: Sequence[Tensor]) -> Float[Tensor, "t x1 x2 y"]:
    """Joints in one stack, alphabets filled up with values that never occur."""
    if not joints or any(joint.ndim != 3 for joint in joints):
        raise ValueError(f"expected one joint [x1, x2, y] per condition, but got shapes {[tuple(joint.shape) for joint in joints]}")
    shape = [max(joint.shape[axis] for joint in joints) for axis in range(3)]
    stack = joints[0].new_zeros(len(joints), *shape)
    for row, joint in zip(stack, joints, strict=True):
        row[tuple(map(slice, joint.shape))] = joint
    return stack


def _mean(result: PID, weights: np.ndarray) -> PID:
    """One record from a batch: values weighted, converged where all are, the longest run."""
    means = {field: float(weights @ getattr(result, field)) for field in ("redundancy", "synergy", "total", "lower", "upper", "gap")}
    unique = MappingProxyType({source: float(weights @ value) for source, value in result.unique.items()})
    used = weights > 0
    return replace(
        result, unique=unique, converged=bool(result.converged[used].all()), iterations=int(result.iterations[used].max()), **means
    )


def _record(sources: tuple[str, str], p: Tensor, swapped: Tensor, coupling: Coupling, tol: float) -> PID:
    """Atoms from the certified interval of I_Q."""
    first, second, both = mutual_information(p.sum(2)), mutual_information(p.sum(1)), mutual_information(p.flatten(1, 2))
    # P itself is a coupling, and so is the one that makes the sources independent given Y: its information is at most first + second
    upper = torch.fmin(coupling.upper, torch.minimum(both, first + second))
    lower = torch.minimum(coupling.lower, upper)
    gap = upper - lower
    converged = gap <= tol
    if not converged.all():
        warnings.warn(
            f"{int((~converged).sum())} of {len(p)} decompositions are certain only to {gap.max().item():.1e} bits, not to the {tol:.1e}"
            " asked for; raise max_iterations, use method='newton', or ask for a larger tol",
            stacklevel=4,
        )
    atoms = {"redundancy": first + second - upper, "synergy": both - upper, "total": both}
    values = {"lower": lower, "upper": upper, "gap": gap, "converged": converged, "iterations": coupling.sweeps}
    unique_first, unique_second = upper - second, upper - first
    unique = torch.where(swapped, torch.stack([unique_second, unique_first]), torch.stack([unique_first, unique_second]))
    unique = dict(zip(sources, unique.cpu().numpy(), strict=True))
    return PID(sources, unique=MappingProxyType(unique), **{name: value.cpu().numpy() for name, value in (atoms | values).items()})


def _checked_sources(sources: Sequence[str]) -> tuple[str, str]:
    if isinstance(sources, str) or len(sources) != 2 or not all(isinstance(name, str) for name in sources) or sources[0] == sources[1]:
        raise ValueError(f"expected the names of two different sources, but got {sources!r}; this decomposition is defined for two")
    return tuple(sources)


def _plain(value):
    """A NumPy scalar as a Python one, arrays as they are."""
    return value.item() if isinstance(value, np.generic) else value
