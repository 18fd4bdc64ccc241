"""Atoms of codes, with a permutation null, bias-corrected values and intervals of half-samples.

R, U1, U2 and I_Q are corrected by their means over permutations of Y against (X1, X2). Synergy is
I(Y; X1, X2), by the entropies of Chao, Wang and Jost and minus its mean over the permutations,
minus I_Q, so the four still sum to the information. Nothing is clamped: negative means zero.

Where both sources inform alike, I_Q(n) of n samples is too large by O(n^-1/2), as the maximum of
two equal means is; permutations measure the O(1/n) part N alone. Half-samples measure the rest:

    e = mean I_Q(n/2) - I_Q(n) - N,    I_Q = I_Q(n) - N - max(e, 0) / (sqrt(2) - 1),

where both informations exceed 95 % of their permutations and no unique atom is significant.

An atom is tested against the permutations of every variable whose independence would make it zero:
Y, X1 and X2 for redundancy and synergy; Y and the source itself for unique information. (Against Y
alone, one informative source and one of noise would pass for redundant.) Unique atoms must also
pass the test of `pidlib.decomposition.crossfit`, which holds where the sources are redundant.

Intervals are percentiles of half-samples, drawn without replacement: their variance about the
sample is that of n samples about the law (Politis, Romano, Wolf 1999, Subsampling).
fig_coverage shows how often they hold the truth: least where Y is a function of both sources.
There the measured atoms have little bias, and the permutations remove too much.
"""

import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from numpy.typing import ArrayLike

from pidlib._common import derive_seed
from pidlib.decomposition.atoms import PID, pid
from pidlib.decomposition.crossfit import unique_p
from pidlib.decomposition.entropies import chao_wang_jost, joint_information, samples_of, tabulate
from pidlib.decomposition.information import SIGNIFICANT, TAILS, numbered, unseen_bits

BIAS_WARNING = 0.05  # bits
# Tolerance of each permutation and resample: this share of the predicted bias, at most the bits.
RESAMPLE_SHARE, RESAMPLE_TOLERANCE = 0.01, 1e-4


@dataclass(frozen=True, eq=False, repr=False)
class Estimate:
    """Atoms measured on codes, in bits, each by name."""

    measured: PID  # of the counts
    corrected: Mapping[str, float]  # without the sampling bias
    # percentiles of the draws; reaches zero unless the atom is significant, and at least to what
    # events unseen in n samples could add
    interval: Mapping[str, tuple[float, float]]
    null_mean: Mapping[str, float]  # over permutations of Y
    # share of permutations, with the identity, whose atom is at least the measured one, the largest
    # over permuted variables; of unique atoms at least that of the cross-fitted test, or missing
    p_value: Mapping[str, float]
    n_samples: int
    predicted_bias: float  # of measured synergy
    synergy_estimable: bool  # False with fewer samples than pairs of codes: no correction helps
    converged: bool  # whether all tables, resamples included, were solved to their tolerances
    null: Mapping[str, Float[np.ndarray, " permutations"]]  # in every permutation of Y
    # in every half-sample, shifted to the corrected value, spread by the extrapolated bias
    draws: Mapping[str, Float[np.ndarray, " resamples"]]

    def __repr__(self) -> str:
        atoms = ", ".join(
            f"{atom}={value:.3f} [{self.interval[atom][0]:.3f}, {self.interval[atom][1]:.3f}]"
            for atom, value in self.corrected.items()
        )
        return f"Estimate({atoms}, n_samples={self.n_samples}, bits)"

    def contribution(self, source: str) -> dict[str, float]:
        r"""Share of a source in the unique information, :math:`C_1 = U_1 / (U_1 + U_2)`, corrected.

        Negative atoms count as zero, in draws too. Share and interval are NaN unless one of both is
        significant at 0.05 (``unique_p``, twice the smaller p) and the interval of their sum > 0.
        """
        both = [atom for atom in self.corrected if atom.startswith("unique_")]
        p = min(1.0, 2 * min(self.p_value[atom] for atom in both))
        value = low = high = math.nan
        if p <= SIGNIFICANT and np.quantile(sum(self.draws[atom] for atom in both), TAILS[0]) > 0:
            own, draws = f"unique_{source}", {atom: self.draws[atom].clip(0) for atom in both}
            total = sum(draws.values())
            low, high = np.quantile(draws[own][total > 0] / total[total > 0], TAILS).tolist()
            value = max(self.corrected[own], 0) / sum(max(self.corrected[atom], 0) for atom in both)
        return dict(contribution=value, contribution_low=low, contribution_high=high, unique_p=p)

    def rows(self) -> list[dict[str, object]]:
        """One row per atom in the columns of the results; None for synergy if not estimable."""
        rows = []
        for atom, value in self.measured.atoms.items():
            lower, upper = self.measured.bounds[atom]
            row = dict(atom=atom, value_bits=value, lower_bits=lower, upper_bits=upper)
            row |= dict.fromkeys(("corrected_bits", "ci_low", "ci_high"))
            if atom != "synergy" or self.synergy_estimable:
                row["corrected_bits"] = self.corrected[atom]
                row["ci_low"], row["ci_high"] = self.interval[atom]
            row |= dict(null_mean=self.null_mean[atom], null_p=self.p_value[atom])
            rows.append(row | dict(n_samples=self.n_samples, converged=self.converged))
        return rows


def estimate(
    x1: ArrayLike,
    x2: ArrayLike,
    y: ArrayLike,
    *,
    sources: Sequence[str] = ("vision", "language"),
    n_permutations: int = 200,
    n_bootstrap: int = 200,
    tol: float = 1e-6,
    seed: int = 0,
) -> Estimate:
    """Estimate the atoms of codes, their bias, significance and intervals.

    Warns if the predicted bias exceeds 0.05 bits, or there are too few samples for synergy. Labels
    that differ in length, are missing or masked raise ValueError.

    >>> x1, x2 = np.random.default_rng(0).integers(2, size=(2, 400))
    >>> result = estimate(x1, x2, x1 ^ x2, n_permutations=19, n_bootstrap=19)
    >>> round(result.corrected["synergy"], 1), result.p_value["synergy"]
    (1.0, 0.05)

    Parameters
    ----------
    x1, x2, y
        Labels of both sources and of the target, one for each sample, of any type.
    n_permutations, n_bootstrap, seed
        Permutations of each variable and random halves of the samples, at least 1 each.
    tol, sources
        Requested certified gap in bits, of permutations and resamples 1 % of the predicted bias or
        1e-4 if that is coarser; names as in `pid`.
    """
    if min(n_permutations, n_bootstrap) < 1:
        raise ValueError(f"{n_permutations=}, {n_bootstrap=}: at least 1 is needed; use 200")
    variables = samples_of(x1, x2, y)
    if variables["y"].ndim != 1:
        raise ValueError(f"expected one code for each sample, got shape {variables['y'].shape}")
    codes = [numbered(labels, f"labels of {name}") for name, labels in variables.items()]
    n, sizes = len(codes[0]), tuple(labels.max() + 1 for labels in codes)
    bias, estimable = predicted_bias(n, *sizes), n >= sizes[0] * sizes[1]
    if not estimable or bias > BIAS_WARNING:
        text = f"{n} samples of {' x '.join(map(str, sizes))} codes have a predicted bias of"
        text += f" synergy of {bias:.2f} bits" + ", too much to correct" * (not estimable)
        warnings.warn(f"{text}; use fewer codes or more samples", stacklevel=2)

    counts = tabulate(*(labels[None] for labels in codes), sizes)
    nulls = [permuted(codes, sizes, n_permutations, seed, which) for which in (2, 0, 1)]
    generator = np.random.default_rng(derive_seed("halves", seed))
    halves = generator.multivariate_hypergeometric(counts.ravel(), max(n // 2, 1), n_bootstrap)
    draws = halves.reshape(-1, *sizes)
    measured = pid(counts, sources, tol=tol)[0]
    coarse = max(tol, min(RESAMPLE_SHARE * bias, RESAMPLE_TOLERANCE))
    solved = pid(np.concatenate([*nulls, draws]), sources, tol=coarse)
    of_y, of_x1, of_x2 = (solved[m * n_permutations :][:n_permutations] for m in range(3))
    of_draws = solved[3 * n_permutations :]

    null_mean = {atom: values.mean().item() for atom, values in of_y.atoms.items()}
    corrected = {atom: value - null_mean[atom] for atom, value in measured.atoms.items()}
    information = joint_information(counts, chao_wang_jost)[0]
    information -= joint_information(nulls[0], chao_wang_jost).mean()
    corrected["synergy"] = float(information - (measured.upper - of_y.upper.mean()))
    crossfit = unique_p(codes, sizes, generator, coarse)
    excess = _redundancy_bias(measured, of_y, of_draws, crossfit)
    spread = excess * generator.permutation(np.linspace(-1, 1, n_bootstrap))
    draw_synergy = joint_information(draws, chao_wang_jost) - of_draws.upper
    shifted = {}
    for atom, values in (of_draws.atoms | {"synergy": draw_synergy}).items():
        sign = -1 if atom.startswith("unique_") else 1  # I_Q adds to U, lowers R and S
        corrected[atom] += sign * excess
        shifted[atom] = values - values.mean() + corrected[atom] + sign * spread
    p_value, interval, every = {}, {}, (of_y, of_x1, of_x2)
    tests = zip((every, every[:2], every[::2], every), (0, *crossfit, 0), strict=True)
    for (atom, (lower, _)), (sets, least) in zip(measured.bounds.items(), tests, strict=True):
        # a permutation whose certified interval reaches that of the atom counts as exceeding it
        exceeding = max(int((null.bounds[atom][1] >= lower - tol).sum()) for null in sets)
        p_value[atom] = max((1 + exceeding) / (1 + n_permutations), least)
        low, high = np.quantile(shifted[atom], TAILS).tolist()
        low = low if p_value[atom] <= SIGNIFICANT else min(low, 0.0)
        interval[atom] = low, max(high, unseen_bits(n, sizes[2]))
    converged = bool(measured.converged and solved.converged.all())
    facts = n, bias, estimable, converged, of_y.atoms, shifted
    return Estimate(measured, corrected, interval, null_mean, p_value, *facts)


def _redundancy_bias(measured: PID, null: PID, halves: PID, crossfit: tuple[float, float]) -> float:
    """Bias of I_Q beyond that of permutations, extrapolated from halves; 0 if sources differ."""
    by_chance = {name: np.quantile(v, 1 - SIGNIFICANT) for name, v in null.informations.items()}
    informed = all(value > by_chance[name] for name, value in measured.informations.items())
    if not informed or min(crossfit) <= SIGNIFICANT:
        return 0.0
    excess = halves.upper.mean() - measured.upper - null.upper.mean()
    return max(float(excess), 0.0) / (math.sqrt(2) - 1)


def predicted_bias(n: int, k1: int, k2: int, ky: int) -> float:
    """First-order bias of plug-in information, (k1 k2 - 1)(ky - 1) / (2 n ln 2) bits.

    >>> round(predicted_bias(5000, 10, 10, 4), 3)
    0.043
    """
    return (k1 * k2 - 1) * (ky - 1) / (2 * n * math.log(2))


def permuted(
    codes: Sequence[np.ndarray], sizes: tuple, count: int, seed: int, which: int = 2
) -> Int[np.ndarray, "b x1 x2 y"]:
    """Counts of samples (codes of X1, X2, Y) with one variable permuted against the other two."""
    generator = np.random.default_rng(derive_seed("permutations", seed))
    tiled = [np.tile(labels, (count, 1)) for labels in codes]
    tiled[which] = generator.permuted(tiled[which], axis=1)
    return tabulate(*tiled, sizes)
