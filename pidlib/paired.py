r"""Trainings compared pairwise over their seeds: mean difference, interval, null and p-value, for every cell of a table.

Trainings of one seed begin with one adapter and learn from the same questions. Of the differences :math:`d_s` of n seeds the value is their
mean, the interval a bootstrap over the seeds, the null the means of :math:`\pm d_s` with signs at random, and the p-value counts
all :math:`2^n` of these: it is exact where :math:`d_s` is as likely as :math:`-d_s`. Of 10 seeds the least is .002, of 3 it is .25.
All of it is about *another training of the same kind*, with other questions to learn from: the base and the questions that are asked
afterwards are fixed, and what others would give is in no interval.

Of few seeds the percentiles 2.5 and 97.5 of the bootstrap are too narrow: of normal differences they hold the mean in .93 of all cases for
n = 20, .89 for 10, .73 for 3. The ends are therefore at :math:`\Phi(\mp t_{.975, n - 1} \sqrt{n / (n - 1)})`, as Hesterberg has it: .95,
.95 and .76, since three seeds have no wider range.

References
----------
Hesterberg, What Teachers Should Know About the Bootstrap, The American Statistician 69, 2015.
"""

from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd
from jaxtyping import Float
from scipy.stats import false_discovery_control, norm, t

from pidlib.experiment import derive_seed, fingerprint

BASE = "A"  # of `pidlib.reweighting.CONDITIONS`: not trained
CELL = ("base", "trained_on", "benchmark", "measure")
_TEST = (*CELL, "condition", "against", "difference", "p_value")


def sign_flip(differences: Float[np.ndarray, " n"]) -> float:
    r"""The exact two-sided p-value of a mean of paired differences: the share of all :math:`2^n` signs that leave it as far from 0.

    Sums of the first and of the second half of the seeds are formed apart and met by search, so that 40 seeds cost no more than
    :math:`2^{20}` sums.

    >>> sign_flip(np.array([1.0, 1.0, 1.0, 1.0])), sign_flip(np.array([1.0, -1.0]))
    (0.125, 1.0)
    """
    sums = []
    for half in np.array_split(np.asarray(differences, float), 2):
        signed = np.zeros(1)
        for one in half:
            signed = np.concatenate([signed + one, signed - one])
        sums.append(np.sort(signed))
    left, right = sums
    reached = abs(np.sum(differences)) - 1e-9 * max(np.abs(differences).sum(), 1e-300)
    above = len(right) - np.searchsorted(right, reached - left)  # of each sum of the left, how many of the right lift it there
    return min(1.0, 2 * float(above.sum()) / (len(left) * len(right)))


def paired(differences: Float[np.ndarray, " n"], n_resamples: int = 5000, seed: int = 0) -> dict[str, float]:
    """Mean of paired differences, bootstrap interval, 95 % of the null, p-value; all but the mean missing for a single pair."""
    known = np.asarray(differences, float)
    known = known[np.isfinite(known)]
    found = {"difference": known.mean() if len(known) else np.nan, "n_pairs": len(known)}
    if len(known) < 2:
        return found
    generator = np.random.default_rng(derive_seed(seed, "paired"))
    drawn = known[generator.integers(len(known), size=(n_resamples, len(known)))].mean(1)
    flipped = (known * generator.choice((-1.0, 1.0), size=(n_resamples, len(known)))).mean(1)
    tail = norm.cdf(-t.ppf(0.975, len(known) - 1) * np.sqrt(len(known) / (len(known) - 1)))
    low, high = np.quantile(drawn, (tail, 1 - tail))
    return found | {"ci_low": low, "ci_high": high, "null_high": np.quantile(np.abs(flipped), 0.95), "p_value": sign_flip(known)}


def wide(rows: pd.DataFrame, by: Sequence[str] = CELL) -> pd.DataFrame:
    """Values by cell and seed, a column for each condition. The base is trained with no seed: its one value stands at each of its cell.

    Raises
    ------
    ValueError
        If a row does not say where it belongs, or two are of one condition, cell and seed.
    """
    keys = [*by, "seed", "condition"]
    wrong = rows[keys].isna().any(axis=1) | rows.duplicated(keys)
    if wrong.any():
        raise ValueError(f"{wrong.sum()} of {len(rows)} rows lack one of {', '.join(keys)} or repeat them all; give each outcome once")
    table = rows.pivot_table(index=[*by, "seed"], columns="condition", values="value", sort=False).astype(float)
    if BASE in table and len(table.columns) > 1:
        table[BASE] = table.groupby(level=list(by), sort=False)[BASE].transform("first")
        table = table[table.drop(columns=BASE).notna().any(axis=1)]
    return table


def compared(
    rows: pd.DataFrame, pairs: Sequence[tuple[str, str]], by: Sequence[str] = CELL, n_resamples: int = 5000, seed: int = 0
) -> pd.DataFrame:
    """For each cell and pair of conditions the mean and spread of the first over ``n_seeds``, and its difference to the second.

    ``n_pairs`` are the seeds that both have. The base has been trained with none: its ``n_seeds`` is 1, and its spread missing.
    ``q_value`` controls false discoveries among all tests of the table (Benjamini and Hochberg).

    Parameters
    ----------
    rows
        With the columns of a cell, ``condition``, ``seed``, ``value``, ``n``, ``fingerprint`` and ``converged``.
    pairs
        Letters of `pidlib.reweighting.CONDITIONS`; a pair of one and the same has no difference, and one that a cell lacks no row.
    by
        The columns of a cell.
    n_resamples, seed
        Draws of the bootstrap and of the null; where their randomness begins, the same in all cells.
    """
    facts = rows.groupby(list(by)).agg(n_samples=("n", "min"), fingerprint=("fingerprint", mark), converged=("converged", "all"))
    tables = []
    for cell, values in wide(rows, by).groupby(level=list(by), sort=False):
        told = dict(zip(by, cell, strict=True)) | facts.loc[cell].to_dict()
        for condition, against in pairs:
            if any(one not in values or values[one].isna().all() for one in (condition, against)):
                continue
            own = values[condition].dropna().iloc[: 1 if condition == BASE else None]
            about = told | {"condition": condition, "value": own.mean(), "spread": own.std(ddof=1), "n_seeds": len(own)}
            if against != condition:
                about |= {"against": against} | paired(values[condition] - values[against], n_resamples, seed)
            tables.append(about)
    return corrected(pd.DataFrame(tables))


def corrected(table: pd.DataFrame, among: pd.Series | bool = True) -> pd.DataFrame:
    """With ``q_value``: false discoveries among all tests of the table, or some of them; one that stands in several rows is one test."""
    tested = table["p_value"].notna() & among if "p_value" in table else pd.Series(False, table.index)
    table["q_value"] = np.nan
    if tested.any():
        tests = table.loc[tested].groupby([name for name in _TEST if name in table], dropna=False, sort=False).ngroup()
        p_values = table.loc[tests.index[~tests.duplicated()], "p_value"].astype(float)
        table.loc[tested, "q_value"] = false_discovery_control(p_values)[tests]
    return table


def mark(fingerprints: Iterable[str]) -> str:
    return fingerprint(outcomes=sorted(set(fingerprints)))
