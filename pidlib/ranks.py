"""Spearman's rank correlation over models: on several benchmarks at once, in the mean of some, and with whole families drawn anew."""

from collections.abc import Iterator, Sequence

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.stats import rankdata

FEWEST = 4  # models, or families to draw; of fewer, a rank correlation says nothing and is missing
RELIABLE = 0.5  # the least share of an outcome's variance over the models that is not the chance of its questions


def ranked(columns: Float[np.ndarray, "n *columns"]) -> Float[np.ndarray, "n *columns"]:
    """Ranks along the first axis, as `unit`, so that products of such columns sum to Spearman's rho; missing where incomplete.

    >>> x, y = ranked(np.array([1.0, 2, 3, 4])), ranked(np.array([1.0, 3, 2, 4]))
    >>> round(float(x @ y), 9)
    0.8
    """
    return unit(rankdata(columns, axis=0))


def unit(columns: Float[np.ndarray, "n *columns"]) -> Float[np.ndarray, "n *columns"]:
    """Centred and scaled to length one along the first axis; missing where constant or shorter than `FEWEST`."""
    columns = columns - columns.mean(0)
    length = np.sqrt((columns**2).sum(0))
    return columns / np.where((length > 1e-6) & (len(columns) >= FEWEST), length, np.nan)


def averaged(rho: Float[np.ndarray, "benchmarks *rest"], members: Bool[np.ndarray, "groups benchmarks *rest"]) -> np.ndarray:
    """The mean over those members of each group that have a correlation, [groups, *rest]; missing where none has."""
    with np.errstate(invalid="ignore"):
        return (members * np.nan_to_num(rho)).sum(1) / (members & ~np.isnan(rho)).sum(1)


def reliability(values: Float[np.ndarray, "models *columns"], variances: Float[np.ndarray, "models *columns"]) -> np.ndarray:
    """The share of the variance over the models that is not the chance of the questions, [*columns]; missing where there is none.

    ``variances`` are the squared standard errors of the values. Where it is below `RELIABLE`, ranks are mostly noise.
    """
    spread = values.var(0, ddof=1) if len(values) > 1 else np.zeros(values.shape[1:])
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(spread > 1e-9, np.maximum(0, 1 - variances.mean(0) / spread), np.nan)


def redrawn(clusters: Sequence[Int[np.ndarray, " some"]], n: int, generator: np.random.Generator) -> Iterator[Int[np.ndarray, " models"]]:
    """Models of a bootstrap that draws whole clusters, n times."""
    for _ in range(n):
        yield np.concatenate([clusters[i] for i in generator.integers(len(clusters), size=len(clusters))])


def interval(draws: Float[np.ndarray, "n *columns"], missing: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """The middle 95 % of the draws; missing where a tenth of them is, or everywhere."""
    absent = (np.isnan(draws).mean(0) > 0.1) | missing
    low, high = np.where(absent, np.nan, np.nanquantile(np.where(absent, 0, draws), (0.025, 0.975), axis=0))
    return low, high


def exchanged(orders: Int[np.ndarray, "names n"], chosen: Int[np.ndarray, " chosen"]) -> Int[np.ndarray, "chosen n"]:
    """Permutations of some names alone, as places among these, from permutations of all: where one leads out, it is followed further.

    >>> exchanged(np.array([[1], [2], [0]]), np.array([0, 2])).ravel()
    array([1, 0])
    """
    places = np.full(len(orders), -1)
    places[chosen] = np.arange(len(chosen))
    columns, reached = np.arange(orders.shape[1]), orders[chosen]
    while (outside := places[reached] < 0).any():
        reached = np.where(outside, orders[reached, columns], reached)
    return places[reached]
