"""Ranks against SciPy, means over groups of benchmarks, reliability and resampling."""

import numpy as np
import pytest
from scipy.stats import spearmanr

from pidlib.experiments import statistics


def test_ranked_columns_multiply_to_spearmans_rho():
    x, y = np.random.default_rng(0).integers(0, 5, (2, 30, 3)).astype(float)
    rho = (statistics.standardized_ranks(x) * statistics.standardized_ranks(y)).sum(0)
    assert rho == pytest.approx([spearmanr(x[:, i], y[:, i]).statistic for i in range(3)])


def test_constant_incomplete_or_few_values_have_no_ranks():
    x = np.arange(12.0).reshape(6, 2)
    x[:, 0] = 1
    x[2, 1] = np.nan
    assert np.isnan(statistics.standardized_ranks(x)).all()
    assert np.isnan(statistics.standardized_ranks(np.arange(3.0))).all()


def test_a_mean_is_over_members_that_have_a_value():
    rho = np.array([[0.2, np.nan], [0.4, 0.6], [1.0, 1.0]])
    members = np.array([[[1, 1], [1, 1], [0, 0]], [[1, 1], [0, 0], [0, 0]]], bool)
    np.testing.assert_allclose(statistics.group_mean(rho, members), [[0.3, 0.6], [0.2, np.nan]])


def test_reliability_is_the_share_of_the_variance_that_is_not_noise():
    rng = np.random.default_rng(0)
    values = rng.normal(0, 1, 20_000)
    shares = statistics.reliability(
        np.stack([values, values + rng.normal(0, 1, 20_000), 0 * values], -1),
        np.array([[0.0, 1.0, 1.0]] * 20_000),
    )
    assert shares[:2] == pytest.approx([1, 0.5], abs=0.02) and np.isnan(shares[2])
    assert statistics.reliability(rng.normal(0, 1, 50), np.full(50, 9.0)) == 0


def test_clusters_are_drawn_whole():
    clusters = [np.array([0, 1, 2]), np.array([3]), np.array([4, 5])]
    for drawn in statistics.cluster_bootstrap(clusters, 20, np.random.default_rng(0)):
        counts = np.bincount(drawn, minlength=6)
        assert (
            counts[0] == counts[1] == counts[2]
            and counts[4] == counts[5]
            and counts[0] + counts[3] + counts[4] == 3
        )


def test_an_interval_needs_nine_of_ten_draws():
    draws = np.tile(np.arange(100.0)[:, None], 2)
    draws[:20, 1] = np.nan
    low, high = statistics.percentile_interval(draws)
    assert (low[0], high[0]) == pytest.approx((2.475, 96.525)) and np.isnan([low[1], high[1]]).all()
    assert np.isnan(statistics.percentile_interval(draws, missing=True)).all()


def test_permutations_agree_between_groups_where_possible():
    orders = np.random.default_rng(0).permuted(
        np.repeat(np.arange(5)[:, None], 4000, axis=1), axis=0
    )
    assert np.array_equal(statistics.restrict_permutations(orders, np.arange(5)), orders)
    chosen = np.array([3, 0, 4])
    restricted = statistics.restrict_permutations(orders, chosen)
    assert (np.sort(restricted, axis=0) == np.arange(3)[:, None]).all()
    inside = np.isin(orders[chosen], chosen)
    assert np.array_equal(chosen[restricted][inside], orders[chosen][inside])
    counts = np.unique(restricted, axis=1, return_counts=True)[1]
    assert len(counts) == 6 and counts.min() > 550  # each of six equally often
