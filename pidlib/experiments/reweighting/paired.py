r"""Paired comparisons of trainings over seeds: mean difference, interval, null, p-value per cell.

The value is the mean of the differences :math:`d_s` of n seeds, the null that with random signs,
:math:`\pm d_s`; the two-sided p-value counts all :math:`2^n` signs: at least .002 for 10 seeds.

The ends of the bootstrap interval are at :math:`\Phi(\mp t_{.975, n - 1} \sqrt{n / (n - 1)})`
(Hesterberg, The American Statistician 69, 2015), which cover the mean of normal differences in .95
of cases for n = 10 and .76 for 3: below `FEW` seeds the interval is Student's instead. Signs test
the mean only if the differences are symmetric: for exponential ones they reject .09 at .05.
``p_studentized``, by the bootstrap t test (Efron and Tibshirani, An Introduction to the Bootstrap,
1993, section 16.4), assumes no symmetry: it rejects .05 for n = 10 and .07 for n = 5.
"""

from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd
from jaxtyping import Float
from scipy.stats import false_discovery_control, norm, t

from pidlib._common import derive_seed, fingerprint
from pidlib.experiments import Preset, declare, validate
from pidlib.experiments.reweighting.outcomes import outcomes
from pidlib.experiments.reweighting.plan import USUAL, Arm
from pidlib.experiments.reweighting.questions import evaluation_name
from pidlib.reweighting import Condition

FEW = 8  # seeds, below which resamples are too alike for an interval
Names, Pairs = Sequence[str], Sequence[tuple[str, str]]
MEASURES = ("accuracy", "synergy", "unique_language")
DRAWN = ["difference", "ci_low", "ci_high", "null_high"]
CELL = ("base", "trained_on", "benchmark", "measure")
_TEST = (*CELL, "condition", "against", "difference", "p_value")  # equal in rows of one test
Differences = Float[np.ndarray, " n"]  # of pairs of trainings with equal seeds
_ARM_PAIRS = [*((own, Condition.UNIFORM) for own in USUAL), (Condition.PID, Condition.RANDOM)]
COLUMNS = declare(
    "experiment kind source grade base trained_on condition against axis level benchmark measure",
    "value spread difference ci_low ci_high null_high p_value q_value p_studentized",
    "base_value base_value_without_fallback",  # bits
    "n_seeds n_pairs n_samples seed primary converged fingerprint",
    required="experiment condition measure seed",
)


def comparison_table(tables: Sequence[pd.DataFrame], seed: int) -> pd.DataFrame:
    """Join tables with the columns of `COLUMNS`; rows of single seeds keep their seed."""
    table = pd.concat(tables, ignore_index=True).assign(experiment="reweighting")
    table["seed"] = table["seed"].fillna(seed) if "seed" in table else seed
    return validate(table, COLUMNS)


def compare_arms(preset: Preset, arms: Sequence[Arm]) -> pd.DataFrame:
    """Base and PID minus uniform weights at each level, and PID minus random weights."""
    rows = outcomes(preset, [arm.spec for arm in arms]).table
    levels = [(arm.axis, arm.level, arm.spec.fingerprint) for arm in arms]
    levels = pd.DataFrame(levels, columns=["axis", "level", "fingerprint"]).drop_duplicates()
    evaluated = rows["trained_on"].map(evaluation_name)
    own = rows["trained_on"].where(rows["measure"] != "accuracy", evaluated)
    rows = rows[rows["measure"].isin(MEASURES) & (rows["benchmark"] == own)]
    options = ["axis", "level", *CELL], preset.n_resamples, preset.seed
    table = compare(levels.merge(rows, on="fingerprint"), _ARM_PAIRS, *options)
    return comparison_table([table], preset.seed)


def tuned_arms(preset: Preset, arms: Sequence[Arm]) -> list[Arm]:
    """PID weights with the best numbers: each half of the seeds has those best for the other."""
    varied = [arm for arm in arms if arm.axis in ("lists", "fraction", "weights")]
    rows = outcomes(preset, [arm.spec for arm in varied]).table
    rows = rows[rows["measure"] == "accuracy"].set_index(["fingerprint", "benchmark"])["value"]
    places = [(arm.spec.fingerprint, evaluation_name(arm.spec.trained_on)) for arm in varied]
    facts = [arm.spec.columns | {"arm": arm, "level": arm[:2]} for arm in varied]
    table = pd.DataFrame(facts).assign(value=rows[places].to_numpy())
    chosen = []
    for _, group in table.groupby(["base", "trained_on"], sort=False):
        even = group["seed"] % 2 == 0
        for own in (even, ~even) if even.nunique() == 2 else ():  # not of one seed
            others = group[~own & (group["condition"] == Condition.PID)]
            best = others.groupby("level", sort=False)["value"].mean().idxmax()
            chosen += list(group["arm"][own & (group["level"] == best)])
    return [arm._replace(axis="tuned", level="best for other seeds") for arm in chosen]


def sign_flip(differences: Differences) -> float:
    r"""The exact two-sided p-value: the share of all :math:`2^n` signs with as large a sum."""
    sums = []  # of either half, matched by search: n = 40 takes 2^20 sums
    for half in np.array_split(np.asarray(differences, float), 2):
        signed = np.zeros(1)
        for difference in half:
            signed = np.concatenate([signed + difference, signed - difference])
        sums.append(np.sort(signed))
    left, right = sums
    reached = abs(np.sum(differences)) - 1e-9 * max(np.abs(differences).sum(), 1e-300)
    above = len(right) - np.searchsorted(right, reached - left)
    return min(1.0, 2 * float(above.mean()) / len(right))


def mean_difference(differences: Differences, n_resamples: int = 5000, seed: int = 0) -> dict:
    """Mean of paired differences, bootstrap interval, null, p-value; of one pair the mean only."""
    known = np.asarray(differences, float)
    known = known[np.isfinite(known)]
    if (n := len(known)) < 2:
        return {"difference": known.mean() if n else np.nan, "n_pairs": n}
    generator = np.random.default_rng(derive_seed(seed, "paired"))
    samples = known[generator.integers(n, size=(n_resamples, n))]
    flipped = (known * generator.choice((-1.0, 1.0), size=(n_resamples, n))).mean(1)
    tail = norm.cdf(-t.ppf(0.975, n - 1) * np.sqrt(n / (n - 1)))
    low, high = np.quantile(samples.mean(1), (tail, 1 - tail))
    if n < FEW:
        half = t.ppf(0.975, n - 1) * known.std(ddof=1) / np.sqrt(n)
        low, high = known.mean() - half, known.mean() + half
    row = {"difference": known.mean(), "n_pairs": n, "ci_low": low, "ci_high": high}
    row |= {"null_high": np.quantile(np.abs(flipped), 0.95), "p_value": sign_flip(known)}
    return row | {"p_studentized": studentized(known, samples)}


def studentized(differences: Differences, samples: Float[np.ndarray, "draws n"]) -> float:
    """The two-sided p-value of the bootstrap t test; missing if all differences are equal."""
    if np.ptp(differences) <= 1e-12:
        return np.nan
    center = differences.mean()
    with np.errstate(divide="ignore", invalid="ignore"):
        drawn = (samples.mean(1) - center) / samples.std(1, ddof=1)
    value = center / differences.std(ddof=1)
    tails = (~(drawn > value)).sum(), (~(drawn < value)).sum()  # draws without a t count in both
    return float(min(1.0, 2 * (1 + min(tails)) / (1 + len(samples))))


def by_condition(rows: pd.DataFrame, by: Names = CELL) -> pd.DataFrame:
    """Values by cell and seed, a column per condition; the base has the same at every seed."""
    keys = [*by, "seed", "condition"]
    if n_wrong := (rows[keys].isna().any(axis=1) | rows.duplicated(keys)).sum():
        text = f"{n_wrong} of {len(rows)} rows lack one of {', '.join(keys)} or repeat them all"
        raise ValueError(text)
    table = rows.pivot_table("value", [*by, "seed"], "condition", sort=False).astype(float)
    if Condition.BASE in table and len(table.columns) > 1:
        table[Condition.BASE] = table.groupby(level=list(by))[Condition.BASE].transform("first")
        table = table[table.drop(columns=Condition.BASE).notna().any(axis=1)]
    return table


def compare(
    rows: pd.DataFrame, pairs: Pairs, by: Names = CELL, n_resamples: int = 5000, seed: int = 0
) -> pd.DataFrame:
    """For each cell and pair of conditions: mean and spread of the first, minus the second.

    ``n_seeds`` are those of the first (1 for the base), ``n_pairs`` of both; no row if one lacks.
    """
    facts = {"n_samples": ("n", "min"), "converged": ("converged", "all")}
    facts = rows.groupby(list(by)).agg(**facts, fingerprint=("fingerprint", joint_fingerprint))
    compared = []
    for cell, values in by_condition(rows, by).groupby(level=list(by), sort=False):
        common = dict(zip(by, cell, strict=True)) | facts.loc[cell].to_dict()
        available = set(values.columns[values.notna().any()])
        for condition, against in pairs:
            if not {condition, against} <= available:
                continue
            own = values[condition].dropna().iloc[: 1 if condition == Condition.BASE else None]
            row = common | {"condition": condition, "n_seeds": len(own)}
            row |= {"value": own.mean(), "spread": own.std(ddof=1)}
            if against != condition:
                difference = values[condition] - values[against]
                row |= {"against": against} | mean_difference(difference, n_resamples, seed)
            compared.append(row)
    return with_q_values(pd.DataFrame(compared))


def with_q_values(table: pd.DataFrame, among: pd.Series | bool = True) -> pd.DataFrame:
    """Add ``q_value`` (Benjamini and Hochberg) of the tests `among`; a test counts once."""
    tested = table["p_value"].notna() & among if "p_value" in table else pd.Series(dtype=bool)
    table["q_value"] = np.nan
    if tested.any():
        keys = [name for name in _TEST if name in table]
        tests = table[tested].groupby(keys, dropna=False, sort=False).ngroup()
        p_values = table.loc[tests.index[~tests.duplicated()], "p_value"].astype(float)
        table.loc[tested, "q_value"] = false_discovery_control(p_values)[tests]
    return table


def joint_fingerprint(fingerprints: Iterable[str]) -> str:
    """The fingerprint of what depends on several outcomes."""
    return fingerprint(outcomes=sorted(set(fingerprints)))
