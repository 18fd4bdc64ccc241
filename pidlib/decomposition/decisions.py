r"""Decomposition of a model's predictive distributions, with the samples as alphabets.

A picture is one value of X1 and a question one value of X2, so the pair marginals are

    a(x1, y) = w(x1) p(y | x1),      b(x2, y) = w(x2) p(y | x2),

and I_Q(Y; X1, X2) is minimized over all couplings of them. I(Y; X1, X2) is the mean of
KL(p(y | v, t) || P(Y)). The minimum over a sample is above that of its law: unique atoms are too
large, redundancy and synergy too small, by one amount of order n^(-1/2) where most inputs differ.
`pidlib.decomposition.resampling` takes it off.
"""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from types import MappingProxyType

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from pidlib._common import resolve_device, single_thread, unknown_name
from pidlib.decomposition.atoms import PID, atoms, checked_sources
from pidlib.decomposition.information import numbered, to_numpy
from pidlib.decomposition.marginals import RECONCILIATIONS, divergence
from pidlib.decomposition.measures import OF_PAIRS
from pidlib.decomposition.merge import MERGE_CELLS, solve_rows
from pidlib.decomposition.solve import LARGE, Potentials, solve
from pidlib.decomposition.tables import read_decisions

# Default tolerances in bits, and the number of distinct rows above which they are not PRECISE.
PRECISE, COARSE, MANY = 1e-6, 1e-3, 500


@dataclass(frozen=True, eq=False, repr=False)
class Decisions:
    """Predictive distributions of a model on M inputs: with both modalities, and with each alone.

    A row is a sample, or a pair of the picture of a sample and the question of another. Invalid
    rows, weights or labels raise ValueError.

    Parameters
    ----------
    joint, sources
        p(y | v, t), [M, k], and answers from one modality by name of both modalities, [M, k] each.
        All rows sum to one (to 1e-6; they are normalized in float64).
    weights, groups
        Positive and of sum one, [M], uniform by default. Number of the sample of each row, [M],
        which the bootstrap resamples, the row by default; of pairs those of the picture and of the
        question, [M, 2], resampled independently.
    values
        Labels of the value of a source in each row, [M] by name, such as the texts of questions:
        p(y | value) is the mean of its rows, so what differs between them (a draw of noise) is not
        counted as information. By default equal rows have one value.
    reconciliation
        How both sources get the P(Y) of `joint`: ``"bounded"``, ``"channel"`` or ``"projection"``,
        see `pidlib.decomposition.marginals`; ``"none"`` is for BATCH alone.
    ids
        Ids of the samples, in order; empty if unknown.
    """

    joint: Float[np.ndarray, "rows k"]
    sources: Mapping[str, Float[np.ndarray, "rows k"]]
    weights: Float[np.ndarray, " rows"] | None = None
    groups: Int[np.ndarray, "rows ..."] | None = None
    values: Mapping[str, np.ndarray] | None = None
    reconciliation: str = "bounded"
    ids: tuple[str, ...] = ()

    def __post_init__(self):
        joint = _checked_rows("joint", self.joint)
        sources = {name: _checked_rows(name, rows) for name, rows in self.sources.items()}
        checked_sources(tuple(sources))
        for name, rows in sources.items():
            if rows.shape != joint.shape:
                text = f"'joint' has shape {joint.shape} but source {name!r} {rows.shape}"
                raise ValueError(f"{text}; they need the same rows and candidates")
        if self.reconciliation not in (known := (*RECONCILIATIONS, "none")):
            raise ValueError(unknown_name("reconciliation", self.reconciliation, known))
        n_rows, every = len(joint), f"for each of the {len(joint)} rows"
        weights = np.full(n_rows, 1 / n_rows) if self.weights is None else self.weights
        weights = to_numpy(weights, "weights").astype(np.float64)
        groups = to_numpy(np.arange(n_rows) if self.groups is None else self.groups, "groups")
        is_valid = (weights > 0).all() and abs(weights.sum() - 1) < 1e-6
        if weights.shape != (n_rows,) or not is_valid:
            text = f"weights must be positive and sum to one, with one entry {every}"
            raise ValueError(f"{text}; got shape {weights.shape}, sum {weights.sum():.6g}")
        if groups.shape not in ((n_rows,), (n_rows, 2)) or groups.dtype.kind not in "iu":
            text = f"groups must be integers, one or two {every}; got {groups.dtype} of"
            raise ValueError(f"{text} shape {groups.shape}; number the samples")
        values, given = {}, dict(self.values or {})
        for name in given.keys() - sources.keys():
            raise ValueError(unknown_name("source of values", name, sources))
        for name, rows in sources.items():
            if name not in given:
                values[name] = np.unique(rows, axis=0, return_inverse=True)[1].reshape(-1)
            elif np.shape(given[name]) == (n_rows,):
                values[name] = numbered(given[name], f"values of {name!r}")
            else:
                text = f"values of {name!r} must be {n_rows} labels, one for each row"
                raise ValueError(f"{text}; got shape {np.shape(given[name])}")
        vars(self).update(joint=joint, weights=weights / weights.sum(), groups=groups)
        vars(self).update(sources=MappingProxyType(sources), values=MappingProxyType(values))

    @classmethod
    def from_table(cls, table: object, **options) -> "Decisions":
        r"""Read masked decisions from a table with one row per sample, such as the log of an API.

        The table (a DataFrame, a CSV file, an open text file) and the options (`joint`, `sources`,
        `id_column`, `normalize`) are those of `tables.read_decisions`.

        >>> import io
        >>> log = "sample_id,both:no,both:yes,vision:no,vision:yes,language:no,language:yes\n"
        >>> log += "q1,.1,.9,.2,.8,.5,.5\nq2,.8,.2,.4,.6,.5,.5\n"
        >>> Decisions.from_table(io.StringIO(log))
        Decisions(2 rows, 2 candidates; values: 2 of vision, 1 of language)
        """
        ids, (_, joint), *sources = read_decisions(table, **options)
        return cls(joint, dict(sources), ids=ids)

    def __len__(self) -> int:
        return len(self.joint)

    def __repr__(self) -> str:
        n_rows, k = self.joint.shape
        sizes = ", ".join(f"{labels.max() + 1} of {name}" for name, labels in self.values.items())
        return f"Decisions({n_rows} rows, {k} candidates; values: {sizes})"

    @property
    def n_samples(self) -> int:
        """Number of samples, of pictures if the rows are pairs."""
        return len(np.unique(self.groups.reshape(len(self), -1)[:, 0]))

    @property
    def target(self) -> Float[np.ndarray, " k"]:
        """P(Y), the weighted mean of the joint rows."""
        return self.weights @ self.joint

    @property
    def order(self) -> int:
        """Order of the Schur complement that the solver factorizes."""
        return (min(labels.max() for labels in self.values.values()) + 1) * self.joint.shape[1]

    def given(self, weights: Float[np.ndarray, "*draws rows"] | None = None) -> list[Tensor]:
        """P(x1, y) and P(x2, y), ``[*draws, x, k]``, not reconciled, under weights of rows."""
        weights, tables = torch.as_tensor(self.weights if weights is None else weights), []
        for name, rows in self.sources.items():
            index = torch.as_tensor(self.values[name])
            table = weights.new_zeros(*weights.shape[:-1], int(index.max()) + 1, rows.shape[1])
            terms = weights[..., None] * torch.as_tensor(rows)
            tables.append(table.index_add_(-2, index, terms))
        return tables

    def marginals(self, weights: Float[np.ndarray, "*draws rows"] | None = None) -> list[Tensor]:
        """P(x1, y) and P(x2, y), reconciled to the P(Y) of the joint rows, and this P(Y)."""
        if self.reconciliation == "none":
            text = "decisions that are not reconciled have no coupling; only BATCH takes them"
            raise ValueError(f"{text}: use replace(decisions, reconciliation='channel')")
        weights = torch.as_tensor(self.weights if weights is None else weights)
        target = weights @ torch.as_tensor(self.joint)
        reconcile = RECONCILIATIONS[self.reconciliation]
        return [*(reconcile(table, target) for table in self.given(weights)), target]

    @cached_property
    def unimodal(self) -> Mapping[str, Float[np.ndarray, "rows k"]]:
        """p(y | value) of each source at each row, [M, k] by name, not reconciled."""
        result = {}
        for (name, labels), table in zip(self.values.items(), self.given(), strict=True):
            rows = table.numpy()
            result[name] = (rows / rows.sum(1, keepdims=True))[labels]
        return MappingProxyType(result)


def _checked_rows(name: str, rows: object) -> Float[np.ndarray, "rows k"]:
    rows = to_numpy(rows, repr(name)).astype(np.float64)
    if rows.ndim != 2 or 0 in rows.shape:
        text = f"{name!r} must be a table [rows, candidates] that is not empty"
        raise ValueError(f"{text}; got shape {rows.shape}")
    # NaN fails both comparisons
    wrong = np.flatnonzero(~((rows >= 0).all(1) & (np.abs(rows.sum(1) - 1) < 1e-6)))
    if wrong.size:
        text = f"{name!r} has {wrong.size} of {len(rows)} rows that are not finite, >= 0 with sum"
        raise ValueError(f"{text} one: rows {', '.join(map(str, wrong[:5]))} ...")
    return rows / rows.sum(1, keepdims=True)


@dataclass(frozen=True, eq=False)
class DecisionPID:
    """The decomposition of decisions in bits, and the contribution of each row.

    Synergy of masked decisions can be negative, because `total` and I_Q come from different passes.
    `local` terms, whose weighted means are the atoms, are computed from i1 = KL(p(y|v) || P(Y)), i2
    and i12 likewise, and the mean of the shares of the row's picture and question in I_Q.
    """

    pid: PID
    local: Mapping[str, Float[np.ndarray, " rows"]] = field(repr=False)  # each atom at each row
    reconciliation: Mapping[str, float]  # mean total variation by which it changed a source's rows
    given: Mapping[str, float]  # information of a source before, in bits
    others: Mapping[str, float]  # redundancy by the definitions `measures.OF_PAIRS`, in bits
    potentials: Potentials = field(repr=False)  # dual solution, [distinct rows, k], in nats


def decision_pid(
    decisions: Decisions, *, tol: float | None = None, device: "Device" = None
) -> DecisionPID:
    """Decompose the information in a model's decisions.

    Both sources are reconciled to the P(Y) of the joint rows. `tol` is the requested certified gap
    in bits; by default 1e-6 up to 500 distinct rows per source, and beyond a tenth of the standard
    error of I(Y; X1, X2), at most 1e-3. Up to about 500 rows (4,000 on CUDA) any `tol` is reached;
    beyond about 5,000 rows similar rows are merged first, see `merge`. Warns about a gap above
    `tol` and mostly uniform decisions. Bias of finite n: see `resampling`. `device` is as in `pid`.

    >>> half = np.full((4, 2), 0.5)
    >>> xor = Decisions(joint=np.eye(2)[[0, 1, 1, 0]], sources={"vision": half, "language": half})
    >>> decision_pid(xor).pid
    PID(redundancy=0.000000, ..., synergy=1.000000, gap=0.0e+00 bits)
    """
    device, names = resolve_device(device), tuple(decisions.sources)
    uniform = decisions.weights @ (np.ptp(decisions.joint, axis=1) < 1e-9)
    if uniform > 0.5:
        text = f"{uniform:.2f} of the decisions are uniform, as where a model names no candidate"
        warnings.warn(f"{text} (fallback); the atoms describe the rest", stacklevel=2)
    with single_thread(decisions.order < LARGE):
        a, b, target = decisions.marginals()
        i1, i2, i12 = (divergence(t, target) for t in (a, b, torch.as_tensor(decisions.joint)))
        if tol is None:
            tol = PRECISE
            if max(len(a), len(b)) > MANY:  # a tenth of the standard error of I(Y; X1, X2)
                parts = decisions.weights * (i12.numpy() - decisions.weights @ i12.numpy())
                groups = decisions.groups.reshape(len(parts), -1)[:, 0]
                groups = np.unique(groups, return_inverse=True)[1]
                error = np.sqrt(np.sum(np.bincount(groups, parts) ** 2))
                tol = float(np.clip(error / 10, PRECISE, COARSE))
        solution = solve_rows(a, b, tol, device)
        (x1, x2), (iq1, iq2) = decisions.values.values(), solution.local
        local = atoms(names, i1[x1], i2[x2], i12, (iq1[x1] + iq2[x2]) / 2)
        parts = (a.sum(1), i1), (b.sum(1), i2), (torch.as_tensor(decisions.weights), i12)
        informations = [(mass @ bits).item() for mass, bits in parts]
        given = dict(zip(names, decisions.given(), strict=True))
        before = {name: (t.sum(1) @ divergence(t, t.sum(0))).item() for name, t in given.items()}
        pairs = zip(names, (a, b), strict=True)
        moved = {name: (table - given[name]).abs().sum().item() / 2 for name, table in pairs}
        others = {name: redundancy(a, b).item() for name, redundancy in OF_PAIRS.items()}
    result = PID.from_informations(names, *informations, *solution[:3])
    if not solution.converged:
        merged = "; similar rows were merged" if len(a) * len(b) > MERGE_CELLS else ""
        text = f"decisions with {len(a)} and {len(b)} distinct rows have a gap of {result.gap:.1e}"
        warnings.warn(f"{text} bits, above tol={tol:.1e}{merged}; raise tol", stacklevel=2)
    return DecisionPID(
        pid=replace(result, total=sum(result.atoms.values())),
        local=MappingProxyType({name: values.numpy() for name, values in local.items()}),
        reconciliation=MappingProxyType(moved),
        given=MappingProxyType(before),
        others=MappingProxyType(others),
        potentials=solution.potentials,
    )


def pid_together(
    parts: Sequence[tuple[Decisions, Float[np.ndarray, "draws rows"]]],
    tol: float,
    device: "Device" = None,
) -> PID:
    """Decompose decisions, of equal sources, under weights of rows: a batch of draws, in order."""
    device, first = resolve_device(device), parts[0][0]
    kinds = {(tuple(part.sources), part.reconciliation) for part, _ in parts}
    if len(kinds) > 1:
        raise ValueError(f"decisions of different sources or reconciliation: {sorted(kinds)}")
    reconcile, columns = RECONCILIATIONS[first.reconciliation], []
    for part, weights in parts:
        joint, weights = torch.as_tensor(part.joint), torch.as_tensor(weights)
        target = weights @ joint
        # infinite where a row without weight has an absent answer
        terms = weights * divergence(joint, target)
        i12 = torch.where(weights > 0, terms, 0).sum(-1)
        columns.append([*part.given(weights), target, i12])
    a, b, target, i12 = zip(*columns, strict=True)
    target, i12 = torch.cat(target), torch.cat(i12)
    # the rows with mass of every draw, with empty rows appended to the shorter
    draws = ([d[d.sum(1) > 0] for table in tables for d in table] for tables in (a, b))
    a, b = (pad_sequence(rows, batch_first=True) for rows in draws)
    with single_thread(min(a.shape[1], b.shape[1]) * a.shape[2] < LARGE):
        a, b = reconcile(a, target), reconcile(b, target)
        i1, i2 = ((table.sum(-1) * divergence(table, target)).sum(-1) for table in (a, b))
        if max(a.shape[1], b.shape[1]) > MANY:
            pairs = ([t[t.sum(1) > 0] for t in pair] for pair in zip(a, b, strict=True))
            solutions = [solve_rows(*pair, tol, device)[:3] for pair in pairs]
            solved = (torch.from_numpy(np.array(each)) for each in zip(*solutions, strict=True))
        else:
            solved = (each.cpu() for each in solve(a.to(device), b.to(device), tol=tol)[3:6])
    lower, upper, converged = solved
    values = (i1, i2, i12, lower, torch.minimum(upper, i1 + i2), converged)
    return PID.from_informations(tuple(first.sources), *(each.numpy() for each in values))
