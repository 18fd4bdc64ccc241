"""Statistics shared by the experiments: intervals, permutation p-values, rank correlations."""

from collections.abc import Iterator, Sequence

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.stats import rankdata

MIN_CLUSTERS = 4  # models, or families to draw; a rank correlation of fewer is missing
MIN_RELIABILITY = 0.5  # least share of an outcome's variance that is not sampling noise
Values = Float[np.ndarray, "*columns"]
Draws = Float[np.ndarray, "n *columns"]  # or samples, or models: the first axis
Interval = tuple[np.ndarray, np.ndarray]
Z95 = 1.96  # half width of a normal 95 % interval, in standard errors


def centered_interval(draws: Draws, value: Values) -> Interval:
    """The middle 95 % of bootstrap draws, shifted so that their mean is the value."""
    return tuple(np.quantile(draws, (0.025, 0.975), axis=0) - draws.mean(0) + value)


def permutation_p(value: Values, null: Draws, tolerance: float = 1e-9) -> Values:
    """(1 + number of null draws that reach the value) / (1 + n), one-sided, within `tolerance`."""
    return (1 + (null >= value - tolerance).sum(0)) / (1 + len(null))


def normal_interval(value: Values, error: Values) -> Interval:
    """The 95 % interval of a value with a standard error."""
    return value - Z95 * error, value + Z95 * error


def variance_of(low: Values, high: Values) -> Values:
    """The squared standard error behind a normal 95 % interval."""
    return ((high - low) / (2 * Z95)) ** 2


def standardized_ranks(columns: Draws) -> Draws:
    """Ranks along the first axis, standardized: products of such columns sum to Spearman's rho.

    Missing where a column is incomplete, constant or shorter than `MIN_CLUSTERS`.
    """
    return unit_length(rankdata(columns, axis=0))


def unit_length(columns: Draws) -> Draws:
    """Center and scale to length 1 along the first axis; missing as in `standardized_ranks`."""
    columns = columns - columns.mean(0)
    length = np.sqrt((columns**2).sum(0))
    return columns / np.where((length > 1e-6) & (len(columns) >= MIN_CLUSTERS), length, np.nan)


def group_mean(
    rho: Float[np.ndarray, "benchmarks *rest"], members: Bool[np.ndarray, "groups benchmarks *rest"]
) -> Float[np.ndarray, "groups *rest"]:
    """The mean over the members of each group whose correlation is not missing."""
    with np.errstate(invalid="ignore"):
        return (members * np.nan_to_num(rho)).sum(1) / (members & ~np.isnan(rho)).sum(1)


def reliability(values: Draws, variances: Draws) -> Values:
    """The share of variance over models that is not sampling noise, of squared errors."""
    spread = values.var(0, ddof=1) if len(values) > 1 else np.zeros(values.shape[1:])
    return np.maximum(0, 1 - variances.mean(0) / np.where(spread > 1e-9, spread, np.nan))


def cluster_bootstrap(
    clusters: Sequence[Int[np.ndarray, " members"]], n: int, generator: np.random.Generator
) -> Iterator[Int[np.ndarray, " models"]]:
    """Indices of n bootstrap samples that draw whole clusters."""
    for _ in range(n):
        drawn = generator.integers(len(clusters), size=len(clusters))
        yield np.concatenate([clusters[index] for index in drawn])


def percentile_interval(draws: Draws, missing: bool = False, most: float = 0.1) -> Interval:
    """The middle 95 % of the draws; missing if more than `most` of them are, or if `missing`."""
    absent = (np.isnan(draws).mean(0) > most) | missing
    ends = np.nanquantile(np.where(absent, 0, draws), (0.025, 0.975), axis=0)
    return tuple(np.where(absent, np.nan, ends))


def restrict_permutations(
    orders: Int[np.ndarray, "names n"], chosen: Int[np.ndarray, " chosen"]
) -> Int[np.ndarray, "chosen n"]:
    """Restrict permutations to the chosen, as positions, by following cycles that lead outside."""
    places = np.full(len(orders), -1)
    places[chosen] = np.arange(len(chosen))
    columns, reached = np.arange(orders.shape[1]), orders[chosen]
    while (outside := places[reached] < 0).any():
        reached = np.where(outside, orders[reached, columns], reached)
    return places[reached]
