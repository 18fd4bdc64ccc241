"""Ranks against scipy, means of some benchmarks, and the share of a spread that is chance."""

import numpy as np
import pytest
from scipy.stats import spearmanr

from pidlib import ranks


def test_ranked_columns_multiply_to_spearmans_rho():
    x, y = np.random.default_rng(0).integers(0, 5, (2, 30, 3)).astype(float)
    rho = (ranks.ranked(x) * ranks.ranked(y)).sum(0)
    assert rho == pytest.approx([spearmanr(x[:, i], y[:, i]).statistic for i in range(3)])


def test_constant_incomplete_or_few_are_missing():
    x = np.arange(12.0).reshape(6, 2)
    x[:, 0] = 1
    x[2, 1] = np.nan
    assert np.isnan(ranks.ranked(x)).all()
    assert np.isnan(ranks.ranked(np.arange(3.0))).all()


def test_a_mean_is_over_members_that_have_a_value():
    rho = np.array([[0.2, np.nan], [0.4, 0.6], [1.0, 1.0]])
    members = np.array([[[1, 1], [1, 1], [0, 0]], [[1, 1], [0, 0], [0, 0]]], bool)
    np.testing.assert_allclose(ranks.averaged(rho, members), [[0.3, 0.6], [0.2, np.nan]])


def test_reliability_is_the_share_that_is_not_chance():
    rng = np.random.default_rng(0)
    values = rng.normal(0, 1, 20_000)
    told = ranks.reliability(np.stack([values, values + rng.normal(0, 1, 20_000), 0 * values], -1), np.array([[0.0, 1.0, 1.0]] * 20_000))
    assert told[:2] == pytest.approx([1, 0.5], abs=0.02) and np.isnan(told[2])
    assert ranks.reliability(rng.normal(0, 1, 50), np.full(50, 9.0)) == 0


def test_clusters_are_drawn_whole():
    clusters = [np.array([0, 1, 2]), np.array([3]), np.array([4, 5])]
    for picked in ranks.redrawn(clusters, 20, np.random.default_rng(0)):
        counts = np.bincount(picked, minlength=6)
        assert counts[0] == counts[1] == counts[2] and counts[4] == counts[5] and counts[0] + counts[3] + counts[4] == 3


def test_an_interval_needs_nine_of_ten_draws():
    draws = np.tile(np.arange(100.0)[:, None], 2)
    draws[:20, 1] = np.nan
    low, high = ranks.interval(draws)
    assert (low[0], high[0]) == pytest.approx((2.475, 96.525)) and np.isnan([low[1], high[1]]).all()
    assert np.isnan(ranks.interval(draws, missing=True)).all()


def test_exchanged_names_are_the_same_in_all_groups_as_far_as_they_can_be():
    orders = np.random.default_rng(0).permuted(np.repeat(np.arange(5)[:, None], 4000, axis=1), axis=0)
    assert np.array_equal(ranks.exchanged(orders, np.arange(5)), orders)
    chosen = np.array([3, 0, 4])
    found = ranks.exchanged(orders, chosen)
    assert (np.sort(found, axis=0) == np.arange(3)[:, None]).all()
    inside = np.isin(orders[chosen], chosen)
    assert np.array_equal(chosen[found][inside], orders[chosen][inside])
    counts = np.unique(found, axis=1, return_counts=True)[1]
    assert len(counts) == 6 and counts.min() > 550  # each of six equally often
