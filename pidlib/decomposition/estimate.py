"""Atoms of codes, with a permutation null, bias-corrected values and bootstrap intervals.

R, U1, U2 and I_Q are corrected by their means over permutations of Y against (X1, X2). Synergy is
I(Y; X1, X2), by the entropies of Chao, Wang and Jost and minus its mean over the permutations,
minus I_Q, so the four still sum to the information.

An atom is tested against the permutations of every variable whose independence would make it zero:
Y, X1 and X2 for redundancy and synergy; Y and the source itself for unique information. (Against Y
alone, one informative source and one of noise would pass for redundant.)

Corrected atoms may be negative, which means indistinguishable from zero; nothing is clamped. Where
Y is nearly a function of the codes, the measured atoms have little bias and the permutations
remove too much: read the correction with the p-value.
"""

import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from jaxtyping import Float, Int
from numpy.typing import ArrayLike

from pidlib._common import derive_seed
from pidlib.decomposition.atoms import PID, pid
from pidlib.decomposition.entropies import chao_wang_jost, joint_information, samples_of, tabulate

BIAS_WARNING = 0.05  # bits


@dataclass(frozen=True, eq=False, repr=False)
class Estimate:
    """Atoms measured on codes, in bits, each by name.

    Attributes
    ----------
    measured, corrected
        The decomposition of the counts; its atoms with the sampling bias removed.
    interval
        Percentile interval of the bootstrap, shifted so that its mean is the corrected value. For
        synergy it is somewhat narrow if n is only a few times k1 k2.
    null_mean, p_value
        Mean over permutations of Y; share of permutations, the identity included, whose atom is at
        least the measured one, the largest over the permuted variables.
    predicted_bias, synergy_estimable
        Bias of measured synergy, see `predicted_bias`; False if there are fewer samples than pairs
        of codes, where no correction helps.
    converged
        Whether all tables, resamples included, were solved to the tolerance.
    null, draws
        Each atom in every permutation of Y, and in every resample, shifted like the interval.
    """

    measured: PID
    corrected: Mapping[str, float]
    interval: Mapping[str, tuple[float, float]]
    null_mean: Mapping[str, float]
    p_value: Mapping[str, float]
    n_samples: int
    predicted_bias: float
    synergy_estimable: bool
    converged: bool
    null: Mapping[str, Float[np.ndarray, " permutations"]]
    draws: Mapping[str, Float[np.ndarray, " resamples"]]

    def __repr__(self) -> str:
        atoms = ", ".join(
            f"{atom}={value:.3f} [{self.interval[atom][0]:.3f}, {self.interval[atom][1]:.3f}]"
            for atom, value in self.corrected.items()
        )
        return f"Estimate({atoms}, n_samples={self.n_samples}, bits)"

    def contribution(self, source: str, level: float = 0.95) -> dict[str, float]:
        r"""Share of a source in the unique information, :math:`C_1 = U_1 / (U_1 + U_2)`, corrected.

        Negative atoms count as zero, in the resamples too. The share and its interval are NaN
        unless U_1 + U_2 exceeds 95 % of its permutations of Y (``unique_p``) and its interval is
        positive.
        """
        own = f"unique_{source}"
        both = [atom for atom in self.corrected if atom.startswith("unique_")]
        tails = [(1 - level) / 2, (1 + level) / 2]
        measured, null = (
            sum(values[atom] for atom in both) for values in (self.measured.atoms, self.null)
        )
        p = (1 + int((null >= measured - 1e-6).sum())) / (1 + len(null))
        total = sum(self.draws[atom] for atom in both)
        if p > 0.05 or np.quantile(total, tails[0]) <= 0:
            value, low, high = math.nan, math.nan, math.nan
        else:
            total = sum(np.maximum(self.draws[atom], 0) for atom in both)
            shares = np.maximum(self.draws[own], 0)[total > 0] / total[total > 0]
            low, high = np.quantile(shares, tails).tolist()
            whole = sum(max(self.corrected[atom], 0) for atom in both)
            value = max(self.corrected[own], 0) / whole
        ends = {"contribution_low": low, "contribution_high": high}
        return {"contribution": value, **ends, "unique_p": p}

    def rows(self) -> list[dict[str, object]]:
        """One row per atom in the columns of the results; None for synergy if not estimable."""
        blank = {} if self.synergy_estimable else {"synergy": None}
        corrected = self.corrected | blank
        interval = self.interval | {atom: (None, None) for atom in blank}
        bounds = self.measured.bounds
        return [
            {
                "atom": atom,
                "value_bits": value,
                "corrected_bits": corrected[atom],
                **dict(zip(("lower_bits", "upper_bits"), bounds[atom], strict=True)),
                **dict(zip(("ci_low", "ci_high"), interval[atom], strict=True)),
                "null_mean": self.null_mean[atom],
                "null_p": self.p_value[atom],
                "n_samples": self.n_samples,
                "converged": self.converged,
            }
            for atom, value in self.measured.atoms.items()
        ]


def estimate(
    x1: ArrayLike,
    x2: ArrayLike,
    y: ArrayLike,
    *,
    sources: Sequence[str] = ("vision", "language"),
    n_permutations: int = 200,
    n_bootstrap: int = 200,
    level: float = 0.95,
    tol: float = 1e-6,
    seed: int = 0,
    device: "Device" = None,
) -> Estimate:
    """Estimate the atoms of codes, their bias, significance and intervals, in one batch.

    Warns if the predicted bias exceeds 0.05 bits, or there are too few samples for synergy. Labels
    that differ in length, are missing or masked raise ValueError.

    Parameters
    ----------
    x1, x2, y
        Labels of both sources and of the target, one for each sample, of any type.
    n_permutations, n_bootstrap, level, seed
        Permutations of each variable and resamples of the samples, at least 1 each; of intervals.
    tol, sources, device
        Requested certified gap of every table, in bits; names and device as in `pid`.

    Examples
    --------
    >>> x1, x2 = np.random.default_rng(0).integers(2, size=(2, 400))
    >>> result = estimate(x1, x2, x1 ^ x2, n_permutations=19, n_bootstrap=19)
    >>> round(result.corrected["synergy"], 1), result.p_value["synergy"]
    (1.0, 0.05)
    """
    for name, count in {"n_permutations": n_permutations, "n_bootstrap": n_bootstrap}.items():
        if count < 1:
            raise ValueError(f"{name}={count}: at least 1 is needed; use 200 for usable results")
    codes = _codes(x1, x2, y)
    n, sizes = len(codes[0]), tuple(labels.max() + 1 for labels in codes)
    bias, estimable = predicted_bias(n, *sizes), n >= sizes[0] * sizes[1]
    if not estimable or bias > BIAS_WARNING:
        limit = "" if estimable else ", too much to correct"
        warnings.warn(
            f"{n} samples of {sizes[0]} x {sizes[1]} x {sizes[2]} codes have a predicted bias of "
            f"synergy of {bias:.2f} bits{limit}; use fewer codes or more samples",
            stacklevel=2,
        )

    counts = tabulate(*(labels[None] for labels in codes), sizes)
    nulls = [permuted(*codes, sizes, n_permutations, seed, which) for which in ("y", "x1", "x2")]
    generator = np.random.default_rng(derive_seed("bootstrap", seed))
    draws = generator.multinomial(n, counts.ravel() / n, n_bootstrap).reshape(-1, *sizes)
    solved = pid(np.concatenate([counts, *nulls, draws]), sources, tol=tol, device=device)
    measured, of_draws = solved[0], solved[1 + 3 * n_permutations :]
    of_y, of_x1, of_x2 = (solved[1 + m * n_permutations :][:n_permutations] for m in range(3))

    null_mean = {atom: values.mean() for atom, values in of_y.atoms.items()}
    corrected = {atom: value - null_mean[atom] for atom, value in measured.atoms.items()}
    null_information = joint_information(nulls[0], chao_wang_jost).mean()
    information = joint_information(counts, chao_wang_jost)[0] - null_information
    corrected["synergy"] = information - (measured.upper - of_y.upper.mean())
    draw_synergy = joint_information(draws, chao_wang_jost) - of_draws.upper
    shifted = {
        atom: values - values.mean() + corrected[atom]
        for atom, values in (of_draws.atoms | {"synergy": draw_synergy}).items()
    }
    tails = np.array([(1 - level) / 2, (1 + level) / 2])
    every = (of_y, of_x1, of_x2)
    null_sets = zip(measured.atoms, (every, every[:2], every[::2], every), strict=True)
    # atoms are known to the gap only, so a permutation within tol of the value counts as exceeding
    exceeding = {
        atom: max(np.sum(null.atoms[atom] >= measured.atoms[atom] - tol) for null in null_set)
        for atom, null_set in null_sets
    }
    p_value = {atom: (1 + count) / (1 + n_permutations) for atom, count in exceeding.items()}
    interval = {atom: tuple(np.quantile(v, tails).tolist()) for atom, v in shifted.items()}
    corrected, null_mean, p_value = (
        MappingProxyType({atom: float(value) for atom, value in values.items()})
        for values in (corrected, null_mean, p_value)
    )
    return Estimate(
        measured=measured,
        corrected=corrected,
        interval=MappingProxyType(interval),
        null_mean=null_mean,
        p_value=p_value,
        n_samples=n,
        predicted_bias=bias,
        synergy_estimable=estimable,
        converged=bool(solved.converged.all()),
        null=MappingProxyType(dict(of_y.atoms)),
        draws=MappingProxyType(shifted),
    )


def _codes(x1: ArrayLike, x2: ArrayLike, y: ArrayLike) -> list[Int[np.ndarray, " n"]]:
    """Number the labels of each variable."""
    variables = samples_of(x1, x2, y)
    if variables["y"].ndim != 1:
        raise ValueError(f"expected one code for each sample, got shape {variables['y'].shape}")
    for name, labels in variables.items():
        missing = np.flatnonzero([label is None or label != label for label in labels.tolist()])
        if missing.size:
            listed = ", ".join(map(str, missing[:5]))
            raise ValueError(
                f"{missing.size} of {len(labels)} labels of {name} are missing (NaN or None): "
                f"samples {listed} ...; drop them"
            )
    return [np.unique(labels, return_inverse=True)[1] for labels in variables.values()]


def predicted_bias(n: int, k1: int, k2: int, ky: int) -> float:
    """First-order bias of plug-in information, (k1 k2 - 1)(ky - 1) / (2 n ln 2) bits.

    >>> round(predicted_bias(5000, 10, 10, 4), 3)
    0.043
    """
    return (k1 * k2 - 1) * (ky - 1) / (2 * n * math.log(2))


def permuted(
    x1: Int[np.ndarray, " n"],
    x2: Int[np.ndarray, " n"],
    y: Int[np.ndarray, " n"],
    sizes: tuple[int, int, int],
    count: int,
    seed: int,
    which: str = "y",
) -> Int[np.ndarray, "b x1 x2 y"]:
    """Counts of samples with one variable permuted against the other two."""
    generator = np.random.default_rng(derive_seed("permutations", seed))
    codes = {
        name: np.tile(labels, (count, 1))
        for name, labels in zip(("x1", "x2", "y"), (x1, x2, y), strict=True)
    }
    codes[which] = generator.permuted(codes[which], axis=1)
    return tabulate(*codes.values(), sizes)
