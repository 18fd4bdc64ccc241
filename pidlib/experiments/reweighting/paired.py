r"""Paired comparisons of trainings over seeds: mean difference, interval, null, p-value per cell.

Trainings with the same seed start from the same adapter and use the same questions. Of the
differences :math:`d_s` of n seeds, the value is the mean, the interval a bootstrap over seeds, the
null the means of :math:`\pm d_s` with random signs; the p-value counts all :math:`2^n` signs, so it
is at least .002 for 10 seeds and .25 for 3.

The percentiles of a bootstrap of few seeds are too narrow. The ends are therefore at
:math:`\Phi(\mp t_{.975, n - 1} \sqrt{n / (n - 1)})` (Hesterberg, The American Statistician 69,
2015), which cover the mean of normal differences in .95 of cases for n = 10 and .76 for 3.

All tests are two-sided. Signs test the mean only if the differences are symmetric: for exponential
ones they reject .09 at .05. ``p_studentized`` does not assume that: it is the bootstrap t test
(Efron and Tibshirani, An Introduction to the Bootstrap, 1993, section 16.4), which rejects .05 of
these for n = 10 and 20 and .07 for n = 5, but .09 to .11 of log-normal ones.
"""

from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd
from jaxtyping import Float
from scipy.stats import false_discovery_control, norm, t

from pidlib._common import derive_seed, fingerprint
from pidlib.experiments.preset import Preset
from pidlib.experiments.reweighting.outcomes import outcomes
from pidlib.experiments.reweighting.plan import USUAL, Arm
from pidlib.experiments.reweighting.questions import evaluation_name
from pidlib.experiments.tables import Columns, of_type, validate
from pidlib.reweighting import Condition

TUNED_AXES = ("lists", "fraction", "weights")
MEASURES = ("accuracy", "synergy", "unique_language")
CELL = ("base", "trained_on", "benchmark", "measure")
_TEST = (*CELL, "condition", "against", "difference", "p_value")  # equal in rows of one test
_ARM_PAIRS = [*((own, Condition.UNIFORM) for own in USUAL), (Condition.PID, Condition.RANDOM)]

COLUMNS = Columns(
    {
        **of_type("string", "experiment", "kind", "source", "grade", "base", "trained_on"),
        **of_type("string", "condition", "against", "axis", "level", "benchmark", "measure"),
        **of_type("Float64", "value", "spread", "difference", "ci_low", "ci_high", "null_high"),
        **of_type("Float64", "p_value", "q_value", "p_studentized"),
        **of_type("Float64", "base_value", "base_value_without_fallback"),  # bits
        **of_type("Int64", "n_seeds", "n_pairs", "n_samples", "seed"),
        **of_type("boolean", "primary", "converged"),
        "fingerprint": "string",
    },
    required=("experiment", "condition", "measure", "seed"),
)


def comparison_table(tables: Sequence[pd.DataFrame], seed: int) -> pd.DataFrame:
    """Join tables with the columns of `COLUMNS`; rows of single seeds keep their seed."""
    table = pd.concat(tables, ignore_index=True).assign(experiment="reweighting")
    table["seed"] = table["seed"].fillna(seed) if "seed" in table else seed
    return validate(table, COLUMNS)


def compare_arms(preset: Preset, arms: Sequence[Arm]) -> pd.DataFrame:
    """Base and PID weights minus uniform weights at each level, and PID minus random weights.

    Accuracy on the evaluation questions, and the atoms after training.
    """
    rows = outcomes(preset, [arm.spec for arm in arms]).table
    levels = [(arm.axis, arm.level, arm.spec.fingerprint) for arm in arms]
    levels = pd.DataFrame(levels, columns=["axis", "level", "fingerprint"]).drop_duplicates()
    evaluated = rows["trained_on"].map(evaluation_name)
    own = rows["trained_on"].where(rows["measure"] != "accuracy", evaluated)
    rows = rows[rows["measure"].isin(MEASURES) & (rows["benchmark"] == own)]
    by, seed = ["axis", "level", *CELL], preset.seed
    rows = rows.merge(levels, on="fingerprint")
    return comparison_table([compare(rows, _ARM_PAIRS, by, preset.n_resamples, seed)], seed)


def tuned_arms(preset: Preset, arms: Sequence[Arm]) -> list[Arm]:
    """PID weights with the best numbers: each half of the seeds has the level, of all arms that
    change lists, shares or weights, whose accuracy is best for the other half.

    Chosen and judged on the same questions, which favors PID; both halves depend on each other.
    """
    varied = [arm for arm in arms if arm.axis in TUNED_AXES]
    rows = outcomes(preset, [arm.spec for arm in varied]).table
    rows = rows[rows["measure"] == "accuracy"].set_index(["fingerprint", "benchmark"])["value"]
    places = [(arm.spec.fingerprint, evaluation_name(arm.spec.trained_on)) for arm in varied]
    table = pd.DataFrame([arm.spec.columns for arm in varied])
    levels = [(arm.axis, arm.level) for arm in varied]
    table = table.assign(arm=varied, level=levels, value=rows[places].to_numpy())
    chosen = []
    for _, group in table.groupby(["base", "trained_on"], sort=False):
        even = group["seed"] % 2 == 0
        for own in (even, ~even):
            if own.all() or not own.any():
                continue  # one seed only
            others = group[~own & (group["condition"] == Condition.PID)]
            best = others.groupby("level", sort=False)["value"].mean().idxmax()
            chosen += list(group["arm"][own & (group["level"] == best)])
    return [arm._replace(axis="tuned", level="best for other seeds") for arm in chosen]


def sign_flip(differences: Float[np.ndarray, " n"]) -> float:
    r"""The exact two-sided p-value: the share of all :math:`2^n` signs with as large a sum.

    >>> sign_flip(np.array([1.0, 1.0, 1.0, 1.0])), sign_flip(np.array([1.0, -1.0]))
    (0.125, 1.0)
    """
    sums = []  # of either half, matched by search: n = 40 takes 2^20 sums
    for half in np.array_split(np.asarray(differences, float), 2):
        signed = np.zeros(1)
        for difference in half:
            signed = np.concatenate([signed + difference, signed - difference])
        sums.append(np.sort(signed))
    left, right = sums
    reached = abs(np.sum(differences)) - 1e-9 * max(np.abs(differences).sum(), 1e-300)
    above = len(right) - np.searchsorted(right, reached - left)
    return min(1.0, 2 * float(above.sum()) / (len(left) * len(right)))


def mean_difference(
    differences: Float[np.ndarray, " n"], n_resamples: int = 5000, seed: int = 0
) -> dict[str, float]:
    """Mean of paired differences, bootstrap interval, null, p-value; of one pair the mean only."""
    known = np.asarray(differences, float)
    known = known[np.isfinite(known)]
    n = len(known)
    row = {"difference": known.mean() if n else np.nan, "n_pairs": n}
    if n < 2:
        return row
    generator = np.random.default_rng(derive_seed(seed, "paired"))
    samples = known[generator.integers(n, size=(n_resamples, n))]
    drawn = samples.mean(1)
    flipped = (known * generator.choice((-1.0, 1.0), size=(n_resamples, n))).mean(1)
    tail = norm.cdf(-t.ppf(0.975, n - 1) * np.sqrt(n / (n - 1)))
    low, high = np.quantile(drawn, (tail, 1 - tail))
    null = {"null_high": np.quantile(np.abs(flipped), 0.95), "p_value": sign_flip(known)}
    null["p_studentized"] = studentized(known, samples)
    return row | {"ci_low": low, "ci_high": high} | null


def studentized(
    differences: Float[np.ndarray, " n"], samples: Float[np.ndarray, "draws n"]
) -> float:
    """The two-sided p-value of the bootstrap t test; `samples` are drawn from the differences.

    Missing if all differences are equal.
    """
    if np.ptp(differences) <= 1e-12:
        return np.nan
    center = differences.mean()
    with np.errstate(divide="ignore", invalid="ignore"):
        drawn = (samples.mean(1) - center) / samples.std(1, ddof=1)
    value = center / differences.std(ddof=1)
    tails = (~(drawn > value)).sum(), (~(drawn < value)).sum()  # draws without a t count in both
    return float(min(1.0, 2 * (1 + min(tails)) / (1 + len(samples))))


def by_condition(rows: pd.DataFrame, by: Sequence[str] = CELL) -> pd.DataFrame:
    """Values by cell and seed, a column per condition; the base has the same at every seed."""
    keys = [*by, "seed", "condition"]
    wrong = rows[keys].isna().any(axis=1) | rows.duplicated(keys)
    if wrong.any():
        raise ValueError(
            f"{wrong.sum()} of {len(rows)} rows lack one of {', '.join(keys)} or repeat them all"
        )
    columns = {"index": [*by, "seed"], "columns": "condition", "values": "value"}
    table = rows.pivot_table(**columns, sort=False).astype(float)
    if Condition.BASE in table and len(table.columns) > 1:
        groups = table.groupby(level=list(by), sort=False)
        table[Condition.BASE] = groups[Condition.BASE].transform("first")
        table = table[table.drop(columns=Condition.BASE).notna().any(axis=1)]
    return table


def compare(
    rows: pd.DataFrame,
    pairs: Sequence[tuple[str, str]],
    by: Sequence[str] = CELL,
    n_resamples: int = 5000,
    seed: int = 0,
) -> pd.DataFrame:
    """For each cell and pair of conditions: mean and spread of the first, minus the second.

    ``n_seeds`` are the seeds of the first (1 for the base, which has no spread), ``n_pairs`` those
    of both. Pairs that a cell lacks have no row, a condition paired with itself no difference.
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
            row = {"value": own.mean(), "spread": own.std(ddof=1), "n_seeds": len(own)}
            if against != condition:
                difference = mean_difference(values[condition] - values[against], n_resamples, seed)
                row |= {"against": against} | difference
            compared.append(common | {"condition": condition} | row)
    return with_q_values(pd.DataFrame(compared))


def with_q_values(table: pd.DataFrame, among: pd.Series | bool = True) -> pd.DataFrame:
    """Add ``q_value``, the false-discovery rate (Benjamini and Hochberg) among tests in `among`.

    A test in several rows counts once.
    """
    tested = table["p_value"].notna() & among if "p_value" in table else pd.Series(dtype=bool)
    table["q_value"] = np.nan
    if tested.any():
        keys = [name for name in _TEST if name in table]
        tests = table.loc[tested].groupby(keys, dropna=False, sort=False).ngroup()
        p_values = table.loc[tests.index[~tests.duplicated()], "p_value"].astype(float)
        table.loc[tested, "q_value"] = false_discovery_control(p_values)[tests]
    return table


def joint_fingerprint(fingerprints: Iterable[str]) -> str:
    """The fingerprint of what depends on several outcomes."""
    return fingerprint(outcomes=sorted(set(fingerprints)))
