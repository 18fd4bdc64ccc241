r"""Decomposition of a model's predictive distributions, with the samples as alphabets.

The picture of a sample is one value of X1 and its question one value of X2, so the pair marginals
are

    a(x1, y) = w(x1) p(y | x1),      b(x2, y) = w(x2) p(y | x2),

and I_Q(Y; X1, X2) is minimized over all couplings of them: the minimum that the BATCH estimator
(`pidlib.decomposition.batch`) approximates. I(Y; X1, X2) is the mean of KL(p(y | v, t) || P(Y)).
"""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from types import MappingProxyType

import numpy as np
import torch
from jaxtyping import Float, Int

from pidlib._common import derive_seed, resolve_device, single_thread
from pidlib.decomposition.atoms import PID, atoms, checked_sources
from pidlib.decomposition.information import to_numpy
from pidlib.decomposition.marginals import PairMarginals, divergence, products
from pidlib.decomposition.merge import MERGE_CELLS, solve_rows
from pidlib.decomposition.solve import LARGE, Potentials, dual_bound
from pidlib.decomposition.tables import read_decisions

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
    joint, sources
        p(y | v, t), [M, k], and p(y | modality) by name of both modalities, [M, k] each. All rows
        sum to one (to 1e-6; they are normalized in float64).
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
        sources = {name: _checked_rows(name, rows) for name, rows in self.sources.items()}
        checked_sources(tuple(sources))
        for name, rows in sources.items():
            if rows.shape != joint.shape:
                raise ValueError(
                    f"'joint' has shape {joint.shape} but source {name!r} {rows.shape}; "
                    "they need the same rows and candidates"
                )
        n_rows = len(joint)
        weights = np.full(n_rows, 1 / n_rows) if self.weights is None else self.weights
        weights = to_numpy(weights, "weights").astype(np.float64)
        groups = to_numpy(np.arange(n_rows) if self.groups is None else self.groups, "groups")
        is_valid = (weights > 0).all() and abs(weights.sum() - 1) < 1e-6
        if weights.shape != (n_rows,) or not is_valid:
            raise ValueError(
                "weights must be positive and sum to one, with one entry for each of the "
                f"{n_rows} rows; got shape {weights.shape}, sum {weights.sum():.6g}"
            )
        if groups.shape != (n_rows,) or groups.dtype.kind not in "iu":
            raise ValueError(
                f"groups must be integers, one for each of the {n_rows} rows; got "
                f"{groups.dtype} of shape {groups.shape}; number the samples"
            )
        weights, sources = weights / weights.sum(), MappingProxyType(sources)
        vars(self).update(joint=joint, sources=sources, weights=weights, groups=groups)
        distances = self.marginals.distance_from_means(weights) if self.averaged else ()
        for name, distance in zip(sources, distances, strict=False):
            wrong = distance > 1e-6
            if wrong.any():
                raise ValueError(
                    f"averaged=True, but {wrong.sum()} of {len(wrong)} rows of {name!r} differ by "
                    f"up to {distance.max():.1e} from the means of the joint rows that share them: "
                    f"rows {_listed(wrong)}; pass these means, or averaged=False"
                )

    @classmethod
    def from_table(cls, table: object, **options) -> "Decisions":
        r"""Read masked decisions from a table with one row per sample, such as the log of an API.

        The table (a DataFrame, a CSV file, an open text file) and the options (`joint`, `sources`,
        `id_column`, `tolerance`, `normalize`) are those of `tables.read_decisions`.

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

    @cached_property
    def marginals(self) -> PairMarginals:
        """The pair marginals of the distinct rows, under any weights of the rows."""
        return PairMarginals(self.joint, self.sources, self.averaged)


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
    """The decomposition of decisions in bits, and the contribution of each row.

    Synergy of masked decisions can be negative, because `total` and I_Q come from different passes.
    `local` terms, whose weighted means are the atoms, are computed from i1 = KL(p(y|v) || P(Y)), i2
    and i12 likewise, and the mean of the shares of the row's picture and question in I_Q.
    """

    pid: PID
    local: Mapping[str, Float[np.ndarray, " rows"]] = field(repr=False)  # each atom at each row
    reconciliation: Mapping[str, float]  # by source, mean total variation by which rows changed
    potentials: Potentials = field(repr=False)  # dual solution, [distinct rows, k], in nats


@dataclass(frozen=True, eq=False)
class Draws:
    """Bootstrap draws of the atoms in bits, [n] each, and of P(Y)."""

    atoms: Mapping[str, Float[np.ndarray, " n"]]
    target: Float[np.ndarray, "n k"] | None = None

    def interval(self, center: Mapping, level: float = 0.95) -> dict[str, tuple[float, float]]:
        """Percentile interval of each atom, shifted to the given mean to remove the draws' bias."""
        tails = (1 - level) / 2, (1 + level) / 2
        return {
            name: tuple((np.quantile(draws, tails) - draws.mean() + center[name]).tolist())
            for name, draws in self.atoms.items()
        }

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

    Both sources are reconciled to the P(Y) of the joint rows. `tol` is the requested certified gap
    in bits; by default 1e-6 up to 500 distinct rows per source, and beyond a tenth of the standard
    error of I(Y; X1, X2), at most 1e-3. Up to about 500 rows (4,000 on CUDA) any `tol` is reached;
    beyond, stage 1 takes up to `max_iterations` outer steps, and beyond about 5,000 rows similar
    rows are merged first, see `merge`. A gap that stays above `tol` is warned about. `device` is
    ``"auto"``, ``"cpu"`` (the default), ``"cuda"`` or a torch device.

    Soft masked decisions have a bias of finite n: the more samples, the more couplings, so synergy
    grows and unique information falls with n. Compare profiles of equal n.

    >>> half = np.full((4, 2), 0.5)
    >>> xor = Decisions(joint=np.eye(2)[[0, 1, 1, 0]], sources={"vision": half, "language": half})
    >>> decision_pid(xor).pid
    PID(redundancy=0.000000, ..., synergy=1.000000, gap=0.0e+00 bits)
    """
    device = resolve_device(device)
    names, marginals, weights = tuple(decisions.sources), decisions.marginals, decisions.weights
    with single_thread(marginals.order < LARGE):
        a, b, target = marginals.at(weights)
        i1, i2, i12 = (divergence(t, target) for t in (a, b, marginals.joint))
        if tol is None:
            tol = _default_tolerance(decisions, i12.numpy(), max(len(a), len(b)))
        solution = solve_rows(a, b, tol, max_iterations, device)
        (x1, x2), (iq1, iq2) = marginals.index, solution.local
        local = atoms(names, i1[x1], i2[x2], i12, (iq1[x1] + iq2[x2]) / 2)
        parts = (a.sum(1), i1), (b.sum(1), i2), (torch.as_tensor(weights), i12)
        informations = [(mass @ bits).item() for mass, bits in parts]
        reconciliation = {
            name: (t - t.sum(1, keepdim=True) * rows).abs().sum().item() / 2
            for name, t, rows in zip(names, (a, b), marginals.rows, strict=True)
        }
    result = PID.from_informations(names, *informations, *solution[:4])
    if not solution.converged:
        is_merged = len(a) * len(b) > MERGE_CELLS
        remedy = "similar rows were merged; raise" if is_merged else "raise max_iterations or"
        text = f"decisions with {len(a)} and {len(b)} distinct rows have a gap of {result.gap:.1e}"
        warnings.warn(f"{text} bits, above tol={tol:.1e}; {remedy} tol", stacklevel=2)
    return DecisionPID(
        pid=replace(result, total=sum(result.atoms.values())),
        local=MappingProxyType({name: values.numpy() for name, values in local.items()}),
        reconciliation=MappingProxyType(reconciliation),
        potentials=solution.potentials,
    )


def _default_tolerance(decisions: Decisions, i12: np.ndarray, n_distinct: int) -> float:
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
    tol: float = 1e-3,
    device: "Device" = None,
) -> Draws:
    """Draw the atoms of decisions whose samples (`groups`) are resampled with replacement.

    P(Y), the pair marginals, their reconciliation and I(Y; X1), I(Y; X2), I(Y; X1, X2) of each
    draw are exact. I_Q of a draw is the dual bound at the potentials of all samples, exact to
    first order and clamped to max(I1, I2) <= I_Q <= I1 + I2. (Solving every draw takes far longer
    and is biased upward, because a draw has fewer distinct rows to couple.) The spread of
    redundancy and synergy is that of solved draws to about 10 % for soft and sharp decisions;
    intervals of unique atoms of sharp decisions can be up to 45 % too narrow. `solved` is the
    decomposition of the decisions, if it is known; `tol` and `device` are those of solving them.
    """
    if n < 1:
        raise ValueError(f"n={n} draws: at least 1 is needed; use 100 or more for an interval")
    names, marginals = tuple(decisions.sources), decisions.marginals
    solved = solved or decision_pid(decisions, tol=tol, device=device)
    samples, groups = np.unique(decisions.groups, return_inverse=True)
    generator = np.random.default_rng(derive_seed("bootstrap_decisions", seed))
    counts = generator.multinomial(len(samples), np.full(len(samples), 1 / len(samples)), n)
    widest = max(*map(len, marginals.rows), decisions.joint.shape[1])
    block = max(1, BLOCK // (len(decisions) * widest))  # draws
    draws, targets = [], []
    with single_thread(marginals.order < LARGE):
        bound = dual_bound(*marginals.at(decisions.weights), solved.potentials)
        for block_counts in np.split(counts, range(block, n, block)):
            weights = decisions.weights * block_counts.take(groups, axis=1)
            weights /= weights.sum(1, keepdims=True)
            a, b, target = marginals.at(weights)
            targets.append(target.numpy())
            iq = solved.pid.upper + dual_bound(a, b, target, solved.potentials) - bound
            parts = (a.sum(2), a), (b.sum(2), b), (torch.as_tensor(weights), marginals.joint)
            i1, i2, i12 = (products(mass, divergence(rows, target)) for mass, rows in parts)
            iq = iq.maximum(i1.maximum(i2)).minimum(i1 + i2)
            draws.append(atoms(names, i1, i2, i12, iq))
    by_atom = {name: torch.cat([draw[name] for draw in draws]).numpy() for name in draws[0]}
    return Draws(by_atom, np.concatenate(targets))
