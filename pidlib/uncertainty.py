"""What is chance in atoms measured on codes: a permutation null, corrected values and a bootstrap interval.

Synergy carries the bias: I_Q depends on pair tables alone, I(Y; X1, X2) on the full one (see `corrections`). So

- R, U1, U2 and I_Q are corrected by their means over permutations of Y against (X1, X2);
- I(Y; X1, X2) is estimated by the entropies of Chao, Wang and Jost, less the mean of that estimate over the permutations;
- synergy is what remains, I(Y; X1, X2) - I_Q, so the four still sum to the information.

A p-value asks more: permuted Y knows of neither source, so that against it alone one informative source and one of noise would pass for
redundant. An atom is tested against the permutations of every variable whose independence would leave none of it, and the largest of
the p-values is its own: Y, X1 and X2 for redundancy and synergy; Y and the source itself for what is unique to it.

Corrected atoms may be negative, which says that they cannot be told from zero. Nothing is clamped. Where Y is nearly a function of the
codes the measured atoms have little bias, and the permutations take off too much: read the correction beside the p-value.
"""

import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import pandas as pd
from jaxtyping import Float, Int
from numpy.typing import ArrayLike

from pidlib.corrections import ENTROPIES, chao_wang_jost, joint_information, shuffled_information, tabulate
from pidlib.decomposition import PID, pid
from pidlib.experiment import derive_seed

BIAS_WARNING = 0.05  # bits


@dataclass(frozen=True, eq=False)
class Estimate:
    """Atoms measured on codes, in bits, each by name.

    Attributes
    ----------
    measured
        The decomposition of the counts as they are, with its certified interval.
    corrected
        Atoms with the bias of the sample taken off.
    interval
        Percentile interval of the bootstrap, moved so that its mean is the corrected value: resampling tells the spread, and adds to
        the bias once more. For synergy it is somewhat narrow where n is a few times k1 k2 only.
    null_mean
        Mean of the atom where Y is permuted, which the correction takes off.
    p_value
        Share of permutations, the identity counted in, whose atom is at least the measured one; the largest over what is permuted.
        Redundancy and synergy: Y against both sources, then each source alone, so a small value says that all three take part.
        Unique: Y, and that source alone, so a small value says that the source tells of Y what the other, as it is, does not.
    n_samples
        How many samples were counted.
    predicted_bias
        (k1 k2 - 1)(ky - 1) / (2 n ln 2) for the codes that occur: by how much the measured synergy is too large.
    synergy_estimable
        False where there are fewer samples than pairs of codes; then no correction helps.
    converged
        Whether all tables, resamples too, were solved to the tolerance.
    null
        Each atom in every permutation of Y.
    draws
        Each atom in every resample, moved like the interval.
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

    def contribution(self, source: str, level: float = 0.95) -> dict[str, float]:
        r"""Share of the unique information that is a source's, :math:`C_1 = U_1 / (U_1 + U_2)`, from the corrected atoms.

        Negative atoms count as zero, in the resamples too. The share is NaN, never a ratio of noise, unless the sum is seen: more than in
        95 % of the permutations of Y, and positive at the lower end of its own interval.

        Returns
        -------
        dict
            ``contribution``, the ends of its interval ``contribution_low`` and ``contribution_high``, and ``unique_p``, the share of
            permutations, the identity counted in, whose U_1 + U_2 is at least the measured one.
        """
        own, both = f"unique_{source}", [atom for atom in self.corrected if atom.startswith("unique_")]
        tails = [(1 - level) / 2, (1 + level) / 2]
        measured, reached = (sum(values[atom] for atom in both) for values in (self.measured.atoms, self.null))
        p = (1 + int((reached >= measured - 1e-6).sum())) / (1 + len(reached))
        seen = p <= 0.05 and np.quantile(sum(self.draws[atom] for atom in both), tails[0]) > 0
        whole = sum(np.maximum(self.draws[atom], 0) for atom in both)
        shares = np.maximum(self.draws[own], 0)[whole > 0] / whole[whole > 0]
        value = max(self.corrected[own], 0) / sum(max(self.corrected[atom], 0) for atom in both) if seen else math.nan
        ends = np.quantile(shares, tails).tolist() if seen else (math.nan, math.nan)
        return {"contribution": value, "contribution_low": ends[0], "contribution_high": ends[1], "unique_p": p}

    def rows(self) -> list[dict[str, object]]:
        """One row per atom, in the columns of the results; corrected and interval are None where synergy is not estimable."""
        blank = {} if self.synergy_estimable else {"synergy": None}
        corrected = self.corrected | blank
        interval = self.interval | {atom: (None, None) for atom in blank}
        at, bounds = self.measured, self.measured.bounds
        return [
            {
                "atom": atom,
                "value_bits": value,
                "corrected_bits": corrected[atom],
                "lower_bits": bounds[atom][0],
                "upper_bits": bounds[atom][1],
                "ci_low": interval[atom][0],
                "ci_high": interval[atom][1],
                "null_mean": self.null_mean[atom],
                "null_p": self.p_value[atom],
                "n_samples": self.n_samples,
                "converged": self.converged,
            }
            for atom, value in at.atoms.items()
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
) -> Estimate:
    """Measure the atoms of codes, and what of them is chance, in one batch of decompositions.

    Parameters
    ----------
    x1, x2, y
        Codes of both sources and of the target, one for each sample; any labels.
    sources
        Names of the two sources.
    n_permutations, n_bootstrap
        Permutations of each variable, and resamples of the samples; at least 1 of both.
    level
        Of the interval.
    tol
        Certified gap asked for, in bits, of every table.
    seed
        Of permutations and resamples.

    Raises
    ------
    ValueError
        If the labels are not of one length or some are missing, or without permutations or resamples.

    Warns
    -----
    UserWarning
        If the predicted bias exceeds 0.05 bits, or there are too few samples for synergy.

    Examples
    --------
    >>> x1, x2 = np.random.default_rng(0).integers(2, size=(2, 400))
    >>> found = estimate(x1, x2, x1 ^ x2, n_permutations=19, n_bootstrap=19)
    >>> round(found.corrected["synergy"], 1), found.p_value["synergy"]
    (1.0, 0.05)
    """
    codes = [np.asarray(labels) for labels in (x1, x2, y)]
    if any(labels.ndim != 1 for labels in codes) or len({len(labels) for labels in codes}) != 1 or not len(codes[0]):
        raise ValueError(f"codes must be one label for each sample; got shapes {[labels.shape for labels in codes]}")
    for name, labels in zip(("x1", "x2", "y"), codes, strict=True):
        if (missing := np.flatnonzero(pd.isna(labels))).size:
            listed = ", ".join(map(str, missing[:5]))
            raise ValueError(f"{missing.size} of {len(labels)} labels of {name} are missing (NaN or None): samples {listed} ...; drop them")
    for name, count in {"n_permutations": n_permutations, "n_bootstrap": n_bootstrap}.items():
        if count < 1:
            raise ValueError(f"{name}={count}: at least 1 is needed, and 200 for p-values and intervals worth the name")
    codes = [np.unique(labels, return_inverse=True)[1] for labels in codes]
    n, sizes = len(codes[0]), tuple(labels.max() + 1 for labels in codes)
    bias, estimable = predicted_bias(n, *sizes), n >= sizes[0] * sizes[1]
    if not estimable or bias > BIAS_WARNING:
        chance = f"{n} samples of {sizes[0]} x {sizes[1]} x {sizes[2]} codes give a synergy of {bias:.2f} bits by chance alone"
        warnings.warn(chance + ("" if estimable else ", too many to correct") + "; use fewer codes or more samples", stacklevel=2)

    counts = tabulate(*(labels[None] for labels in codes), sizes)
    null, *of_sources = (permuted(*codes, sizes, n_permutations, seed, which) for which in ("y", "x1", "x2"))
    draws = np.random.default_rng(derive_seed("bootstrap", seed)).multinomial(n, counts.ravel() / n, n_bootstrap).reshape(-1, *sizes)
    solved = pid(np.concatenate([counts, null, *of_sources, draws]), sources, tol=tol)
    measured, (of_null, of_x1, of_x2) = solved[0], (solved[1 + m * n_permutations :][:n_permutations] for m in range(3))
    of_draws = solved[1 + 3 * n_permutations :]

    chance = {atom: values.mean() for atom, values in of_null.atoms.items()}
    corrected = {atom: value - chance[atom] for atom, value in measured.atoms.items()}
    information = joint_information(counts, chao_wang_jost)[0] - joint_information(null, chao_wang_jost).mean()
    corrected["synergy"] = information - (measured.upper - of_null.upper.mean())
    spread = of_draws.atoms | {"synergy": joint_information(draws, chao_wang_jost) - of_draws.upper}
    tails = np.array([(1 - level) / 2, (1 + level) / 2])
    moved = {atom: values - values.mean() + corrected[atom] for atom, values in spread.items()}
    against = dict(zip(measured.atoms, ((of_null, of_x1, of_x2), (of_null, of_x1), (of_null, of_x2), (of_null, of_x1, of_x2)), strict=True))
    # atoms are certain to the gap only, so that a permutation within it counts as reached
    reached = {
        atom: max(np.sum(permutations.atoms[atom] >= value - tol) for permutations in against[atom])
        for atom, value in measured.atoms.items()
    }
    return Estimate(
        measured=measured,
        corrected=_plain(corrected),
        interval=MappingProxyType({atom: tuple(np.quantile(values, tails).tolist()) for atom, values in moved.items()}),
        null_mean=_plain(chance),
        p_value=_plain({atom: (1 + count) / (1 + n_permutations) for atom, count in reached.items()}),
        n_samples=n,
        predicted_bias=bias,
        synergy_estimable=estimable,
        converged=bool(solved.converged.all()),
        null=MappingProxyType(dict(of_null.atoms)),
        draws=MappingProxyType(moved),
    )


def predicted_bias(n: int, k1: int, k2: int, ky: int) -> float:
    """By how much the plug-in information of n samples is too large, (k1 k2 - 1)(ky - 1) / (2 n ln 2) bits, to first order.

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
    """Counts of samples of which one variable is permuted against the other two, whose own counts stay."""
    generator = np.random.default_rng(derive_seed("permutations", seed))
    codes = {name: np.broadcast_to(labels, (count, len(labels))) for name, labels in (("x1", x1), ("x2", x2), ("y", y))}
    codes[which] = generator.permuted(codes[which], axis=1)
    return tabulate(*codes.values(), sizes)


def spurious_synergy(n: int, k: int, ky: int = 4, *, n_repeats: int = 8, n_permutations: int = 50, seed: int = 0) -> pd.DataFrame:
    """Synergy found between independent, uniform codes, by every correction: the truth is zero.

    I_Q is taken as it is for "plug-in", and less its permutation mean for the others, which differ in I(Y; X1, X2).

    Returns
    -------
    DataFrame
        Columns n_samples, n_codes, repeat, correction, synergy_bits.
    """
    tables, generator = [], np.random.default_rng(derive_seed("spurious_synergy", seed, n, k, ky))
    for repeat in range(n_repeats):
        codes = [generator.integers(size, size=n) for size in (k, k, ky)]
        null = permuted(*codes, (k, k, ky), n_permutations, derive_seed(seed, n, k, ky, repeat))
        tables.append(np.concatenate([tabulate(*(labels[None] for labels in codes), (k, k, ky)), null]))
    shared = pid(np.concatenate(tables), tol=1e-4).upper.reshape(n_repeats, -1)
    rows = []
    for repeat, (counts, upper) in enumerate(zip(tables, shared, strict=True)):
        known = {name: joint_information(counts, entropy) for name, entropy in ENTROPIES.items()}
        shuffled = shuffled_information(counts[:1], generator, 10).item() - shuffled_information(counts[1:], generator).mean()
        information = {name: values[0] for name, values in known.items()}
        information["permutation mean"] = known["plug-in"][0] - known["plug-in"][1:].mean()
        information["Chao-Wang-Jost, null"] = known["Chao-Wang-Jost"][0] - known["Chao-Wang-Jost"][1:].mean()
        information["Panzeri, null"] = shuffled
        for name, value in information.items():
            union = upper[0] - (0 if name == "plug-in" else upper[1:].mean())
            rows.append({"n_samples": n, "n_codes": k, "repeat": repeat, "correction": name, "synergy_bits": value - union})
    return pd.DataFrame(rows)


def _plain(values: Mapping[str, np.floating]) -> Mapping[str, float]:
    return MappingProxyType({name: float(value) for name, value in values.items()})
