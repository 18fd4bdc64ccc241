r"""Decomposition of a model's predictive distributions, with the samples as alphabets.

The picture of a sample is one value of X1 and its question one value of X2, so the pair marginals
are

    a(x1, y) = w(x1) p(y | x1),      b(x2, y) = w(x2) p(y | x2),

and I_Q(Y; X1, X2) is minimized over all couplings of them: the minimum that the BATCH estimator
(`pidlib.decomposition.batch`) approximates. I(Y; X1, X2) is the mean of KL(p(y | v, t) || P(Y)).
"""

import os
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, TextIO

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from pidlib._common import derive_seed, resolve_device, single_thread
from pidlib.decomposition.atoms import PID, atoms
from pidlib.decomposition.information import to_numpy
from pidlib.decomposition.marginals import PairMarginals, divergence, products
from pidlib.decomposition.merge import MERGE_CELLS, solve_rows
from pidlib.decomposition.solve import LARGE, Potentials, dual_bound, solve
from pidlib.decomposition.tables import read_decisions

if TYPE_CHECKING:
    import pandas

# Default tolerances in bits, and the number of distinct rows above which they are not PRECISE.
PRECISE, COARSE, MANY = 1e-6, 1e-3, 500
BLOCK = 4_000_000  # largest array over draws of a bootstrap, in numbers


@dataclass(frozen=True, eq=False, repr=False)
class Decisions:
    """Predictive distributions of a model on M inputs: with both modalities, and with each alone.

    *Masked* decisions have a row per sample, with the other modality replaced by noise; *resampled*
    decisions a row per pair of a picture and a question, where p(y | v) is the mean over the
    questions and repeats on all rows of that picture. Invalid rows or weights raise ValueError.

    Parameters
    ----------
    joint
        p(y | v, t), shape [M, k]. Rows sum to one (to 1e-6; they are normalized in float64).
    sources
        For each of the two modalities, by name, p(y | that modality) of the same rows, [M, k].
    weights, groups
        Positive and of sum one, [M], uniform by default; number of the sample of each row, [M],
        which the bootstrap resamples, the row by default.
    averaged
        Whether a source row is the weighted mean of the joint rows that share it (resampled), so
        that the bootstrap computes these means anew; False for masked decisions.
    ids
        Ids of the samples, in order; empty if unknown.

    Examples
    --------
    >>> half = np.full((4, 2), 0.5)
    >>> Decisions(joint=np.eye(2)[[0, 1, 1, 0]], sources={"vision": half, "language": half})
    Decisions(4 rows, 2 candidates, sources=('vision', 'language'), masked)
    """

    joint: Float[np.ndarray, "rows k"]
    sources: Mapping[str, Float[np.ndarray, "rows k"]]
    weights: Float[np.ndarray, " rows"] | None = None
    groups: Int[np.ndarray, " rows"] | None = None
    averaged: bool = False
    ids: tuple[str, ...] = ()

    def __post_init__(self):
        joint = _checked_rows("joint", self.joint)
        n_rows, names = len(joint), ", ".join(self.sources)
        if len(self.sources) != 2:
            raise ValueError(f"expected two sources by name, got {len(self.sources)}: {names}")
        sources = {name: _checked_rows(name, rows) for name, rows in self.sources.items()}
        for name, rows in sources.items():
            if rows.shape != joint.shape:
                raise ValueError(
                    f"'joint' has shape {joint.shape} but source {name!r} {rows.shape}; "
                    "they need the same rows and candidates"
                )
        weights = np.full(n_rows, 1 / n_rows) if self.weights is None else self.weights
        weights = to_numpy(weights, "weights").astype(np.float64)
        groups = to_numpy(np.arange(n_rows) if self.groups is None else self.groups, "groups")
        if weights.shape != (n_rows,) or groups.shape != (n_rows,):
            raise ValueError(
                f"weights {weights.shape} and groups {groups.shape} need one entry for each of the "
                f"{n_rows} rows"
            )
        positive = np.isfinite(weights).all() and (weights > 0).all()
        if not (positive and abs(weights.sum() - 1) < 1e-6):
            raise ValueError(
                f"weights must be positive and sum to one; their sum is {weights.sum():.6g}, "
                f"their minimum {weights.min():.6g}"
            )
        if groups.dtype.kind not in "iu":
            raise ValueError(f"groups must be integers, got {groups.dtype}; number the samples")
        vars(self).update(joint=joint, sources=MappingProxyType(sources), groups=groups)
        vars(self).update(weights=weights / weights.sum())
        if self.averaged:
            self._check_means()

    @classmethod
    def from_table(
        cls, table: "pandas.DataFrame | str | os.PathLike | TextIO", **options
    ) -> "Decisions":
        r"""Read masked decisions from a table with one row per sample, such as the log of an API.

        `table` and the options (`joint`, `sources`, `id_column`, `tolerance`, `normalize`) are
        those of `pidlib.decomposition.tables.read_decisions`.

        >>> import io
        >>> log = "sample_id,both:no,both:yes,vision:no,vision:yes,language:no,language:yes\n"
        >>> log += "q1,.1,.9,.2,.8,.5,.5\nq2,.8,.2,.4,.6,.5,.5\n"
        >>> Decisions.from_table(io.StringIO(log))
        Decisions(2 rows, 2 candidates, sources=('vision', 'language'), masked)
        """
        ids, (_, joint), *sources = read_decisions(table, **options)
        return cls(joint, dict(sources), ids=ids)

    def __len__(self) -> int:
        return len(self.joint)

    def __repr__(self) -> str:
        n_rows, k = self.joint.shape
        mode = "resampled" if self.averaged else "masked"
        return f"Decisions({n_rows} rows, {k} candidates, sources={tuple(self.sources)}, {mode})"

    @property
    def target(self) -> Float[np.ndarray, " k"]:
        """P(Y), the weighted mean of the joint rows."""
        return self.weights @ self.joint

    def _check_means(self):
        marginals = PairMarginals(self.joint, self.sources, averaged=True)
        distances = marginals.distance_from_means(self.weights)
        for name, index, distance in zip(self.sources, marginals.index, distances, strict=True):
            wrong = (distance > 1e-6)[index].numpy()
            if wrong.any():
                raise ValueError(
                    f"averaged=True, but {wrong.sum()} of {len(wrong)} rows of {name!r} differ by "
                    f"up to {distance.max():.1e} from the means of the joint rows that share them: "
                    f"rows {_listed(wrong)}; pass these means, or averaged=False"
                )


def _checked_rows(name: str, rows: object) -> Float[np.ndarray, "rows k"]:
    rows = to_numpy(rows, repr(name)).astype(np.float64)
    if rows.ndim != 2 or 0 in rows.shape:
        raise ValueError(
            f"{name!r} must be a table [rows, candidates] that is not empty; got shape {rows.shape}"
        )
    # NaN fails every comparison, so it is counted with the infinities and the negative numbers
    wrong = ~((rows >= 0).all(1) & (np.abs(rows.sum(1) - 1) < 1e-6))
    if wrong.any():
        raise ValueError(
            f"{name!r} has {wrong.sum()} of {len(rows)} rows that are not finite, >= 0 with sum "
            f"one: rows {_listed(wrong)}"
        )
    return rows / rows.sum(1, keepdims=True)


def _listed(wrong: np.ndarray) -> str:
    return ", ".join(map(str, np.flatnonzero(wrong)[:5])) + " ..."


@dataclass(frozen=True, eq=False)
class DecisionPID:
    """The decomposition of decisions, and the contribution of each row.

    Attributes
    ----------
    pid
        The atoms in bits, with the certified interval of I_Q. Synergy of masked decisions can be
        negative, because `total` and I_Q come from different passes; it is not clamped.
    local
        Each atom at each row, shape [M], in bits, from the pointwise terms i1 = KL(p(y|v) || P(Y)),
        i2 and i12 likewise, and iq, the mean of the shares of the row's picture and of its question
        in I_Q. Their weighted means are the atoms.
    reconciliation, sizes
        For each source, the mean total variation between its rows before and after reconciliation,
        and the number of its distinct rows.
    potentials
        The dual solution for each source, [n, k], in nats.
    """

    pid: PID
    local: Mapping[str, Float[np.ndarray, " rows"]] = field(repr=False)
    reconciliation: Mapping[str, float]
    sizes: Mapping[str, int]
    potentials: Potentials = field(repr=False)


@dataclass(frozen=True, eq=False)
class Draws:
    """Bootstrap draws of the atoms in bits, [n] each, and of P(Y); `gap` of exact draws only."""

    atoms: Mapping[str, Float[np.ndarray, " n"]]
    gap: Float[np.ndarray, " n"] | None
    target: Float[np.ndarray, "n k"] | None = None

    def interval(
        self, center: Mapping[str, float], level: float = 0.95
    ) -> dict[str, tuple[float, float]]:
        """Percentile interval of each atom, shifted to the given mean to remove the draws' bias."""
        tails = (1 - level) / 2, (1 + level) / 2
        shifted = {
            name: np.quantile(draws, tails) - draws.mean() + center[name]
            for name, draws in self.atoms.items()
        }
        return {name: tuple(ends.tolist()) for name, ends in shifted.items()}

    def __repr__(self) -> str:
        return f"Draws({len(next(iter(self.atoms.values())))} draws of {', '.join(self.atoms)})"


def decision_pid(
    decisions: Decisions,
    *,
    tol: float | None = None,
    max_iterations: int = 1000,
    device: "Device" = None,
) -> DecisionPID:
    """Decompose the information in a model's decisions.

    Equal rows of a source are merged, which changes nothing; both sources are reconciled to the
    P(Y) of the joint rows. `tol` is the requested certified gap in bits; by default 1e-6 up to 500
    distinct rows per source, and beyond a tenth of the standard error of I(Y; X1, X2), at most
    1e-3. Up to about 500 rows (4,000 on CUDA) any `tol` is reached; beyond, stage 1 takes up to
    `max_iterations` outer steps, and beyond about 5,000 rows similar rows are merged first, see
    `pidlib.decomposition.merge`. A gap that stays above `tol` is warned about. `device` is
    ``"auto"``, ``"cpu"`` (the default), ``"cuda"`` or a torch device.

    Soft masked decisions have a bias of finite n: the more samples, the more couplings, so synergy
    grows and unique information falls with n. Compare profiles of equal n.

    >>> half = np.full((4, 2), 0.5)
    >>> xor = Decisions(joint=np.eye(2)[[0, 1, 1, 0]], sources={"vision": half, "language": half})
    >>> decision_pid(xor).pid
    PID(redundancy=0.000000, ..., synergy=1.000000, gap=0.0e+00 bits)
    """
    device = resolve_device(device)
    names = tuple(decisions.sources)
    marginals = PairMarginals(decisions.joint, decisions.sources, decisions.averaged)
    with single_thread(_order(marginals) < LARGE):
        a, b, target = marginals.at(decisions.weights)
        i1, i2, i12 = (divergence(t, target) for t in (a, b, marginals.joint))
        if tol is None:
            tol = _default_tolerance(decisions, i12.numpy(), max(len(a), len(b)))
        solution = solve_rows(a, b, tol, max_iterations, device)
        (x1, x2), (iq1, iq2) = marginals.index, solution.local
        local = atoms(names, i1[x1], i2[x2], i12, (iq1[x1] + iq2[x2]) / 2)
        batch = a[None], b[None], target[None], decisions.weights[None]
        informations = [bits.item() for bits in _informations(marginals, *batch)]
        distances = [
            (t - t.sum(1, keepdim=True) * rows).abs().sum().item() / 2
            for t, rows in zip((a, b), marginals.rows, strict=True)
        ]
    result = PID.from_informations(names, *informations, *solution[:4])
    if not solution.converged:
        is_merged = len(a) * len(b) > MERGE_CELLS
        remedy = (
            "similar rows were merged; raise tol" if is_merged else "raise max_iterations or tol"
        )
        warnings.warn(
            f"decisions with {len(a)} and {len(b)} distinct rows have a gap of "
            f"{result.gap:.1e} bits, above tol={tol:.1e}; {remedy}",
            stacklevel=2,
        )
    return DecisionPID(
        pid=replace(result, total=sum(result.atoms.values())),
        local=MappingProxyType({name: values.numpy() for name, values in local.items()}),
        reconciliation=MappingProxyType(dict(zip(names, distances, strict=True))),
        sizes=MappingProxyType(dict(zip(names, map(len, marginals.rows), strict=True))),
        potentials=solution.potentials,
    )


def _default_tolerance(
    decisions: Decisions, i12: Float[np.ndarray, " rows"], n_distinct: int
) -> float:
    """1e-6 bits up to `MANY` rows; beyond, a tenth of the standard error of I(Y; X1, X2)."""
    if n_distinct <= MANY:
        return PRECISE
    parts = decisions.weights * (i12 - decisions.weights @ i12)
    _, groups = np.unique(decisions.groups, return_inverse=True)
    error = np.sqrt(np.sum(np.bincount(groups, parts) ** 2))
    return float(np.clip(error / 10, PRECISE, COARSE))


def bootstrap_decisions(
    decisions: Decisions,
    n: int = 100,
    seed: int = 0,
    *,
    solved: DecisionPID | None = None,
    exact: bool = False,
    tol: float = 1e-3,
    device: "Device" = None,
) -> Draws:
    """Draw the atoms of decisions whose samples (`groups`) are resampled with replacement.

    P(Y), the pair marginals, their reconciliation and I(Y; X1), I(Y; X2), I(Y; X1, X2) of each
    draw are exact. I_Q of a draw is the dual bound at the potentials of all samples, exact to
    first order and clamped to max(I1, I2) <= I_Q <= I1 + I2; `exact` solves every draw instead,
    which takes far longer and is biased upward, because a draw has fewer distinct rows to couple.

    The spread of redundancy and synergy is that of exact draws to about 10 % for soft and sharp
    decisions; intervals of unique atoms of sharp decisions can be up to 45 % too narrow. Use
    `exact` for one-hot decisions. `solved` is the decomposition of the decisions, if it is known;
    `tol` and `device` are those of what is solved here.
    """
    if n < 1:
        raise ValueError(f"n={n} draws: at least 1 is needed; use 100 or more for an interval")
    device = resolve_device(device)
    names = tuple(decisions.sources)
    solved = solved or decision_pid(decisions, tol=tol, device=device)
    marginals = PairMarginals(decisions.joint, decisions.sources, decisions.averaged)
    samples, groups = np.unique(decisions.groups, return_inverse=True)
    generator = np.random.default_rng(derive_seed("bootstrap_decisions", seed))
    counts = generator.multinomial(len(samples), np.full(len(samples), 1 / len(samples)), n)
    widest = max(*map(len, marginals.rows), decisions.joint.shape[1])
    block = max(1, BLOCK // (len(decisions) * widest))  # draws
    draws, gaps, targets = [], [], []
    with single_thread(_order(marginals) < LARGE):
        bound = dual_bound(*marginals.at(decisions.weights), solved.potentials)
        for block_counts in np.split(counts, range(block, n, block)):
            weights = decisions.weights * block_counts.take(groups, axis=1)
            weights /= weights.sum(1, keepdims=True)
            a, b, target = marginals.at(weights)
            targets.append(target.numpy())
            if exact:
                # a draw has no rows for values that it does not contain
                pairs = (
                    [t[t.sum(1) > 0][None].to(device) for t in pair]
                    for pair in zip(a, b, strict=True)
                )
                couplings = [solve(*pair, tol=tol).cpu() for pair in pairs]
                iq = torch.cat([coupling.upper for coupling in couplings])
                gaps += [coupling.gap.item() for coupling in couplings]
            else:
                iq = solved.pid.upper + dual_bound(a, b, target, solved.potentials) - bound
            i1, i2, i12 = _informations(marginals, a, b, target, weights)
            iq = iq.maximum(i1.maximum(i2)).minimum(i1 + i2)
            draws.append(atoms(names, i1, i2, i12, iq))
    by_atom = {name: torch.cat([draw[name] for draw in draws]).numpy() for name in draws[0]}
    return Draws(by_atom, np.array(gaps) if exact else None, np.concatenate(targets))


def _order(marginals: PairMarginals) -> int:
    return min(map(len, marginals.rows)) * marginals.joint.shape[1]


def _informations(
    marginals: PairMarginals, a: Tensor, b: Tensor, target: Tensor, weights: np.ndarray
) -> list[Tensor]:
    """I(Y; X1), I(Y; X2) and I(Y; X1, X2) of each draw, in bits."""
    parts = (a.sum(-1), a), (b.sum(-1), b), (torch.as_tensor(weights), marginals.joint)
    return [products(mass, divergence(rows, target).expand_as(mass)) for mass, rows in parts]
