"""Cross-fitted regression of decisions on features."""

import numpy as np
import pytest
from scipy.special import rel_entr, softmax

from pidlib.decomposition.regression import N_FOLDS, cross_fit


def information(rows):
    """Bits that rows of equal weight tell of their number."""
    return rel_entr(rows, rows.mean(0)).sum(1).mean() / np.log(2)


def linear(n, seed, d=5, k=4):
    """Features and the conditional that is linear in them."""
    generator = np.random.default_rng(seed)
    x = generator.normal(size=(n, d))
    return x, softmax(x @ generator.normal(size=(d, k)), axis=1), generator


@pytest.mark.parametrize("seed", range(3))
def test_features_of_noise_tell_nothing(seed):
    generator = np.random.default_rng(seed)
    rows = softmax(2 * generator.normal(size=(200, 4)), axis=1)
    found = cross_fit(generator.normal(size=(200, 30)), rows)
    assert information(rows) > 0.7 and information(found) < 0.02
    np.testing.assert_allclose(found.sum(1), 1)
    np.testing.assert_allclose(found.mean(0), rows.mean(0), atol=0.01)


def test_a_sample_is_predicted_from_others_alone():
    """A regression that saw the sample would know its answer from as many features as samples."""
    generator = np.random.default_rng(0)
    answers = np.eye(3)[generator.integers(3, size=60)]
    for features in (np.eye(60), generator.normal(size=(60, 60))):
        assert information(cross_fit(features, answers)) < 1e-3
    # with every sample twice, most folds know it
    twice = cross_fit(np.tile(np.eye(60), (2, 1)), np.tile(answers, (2, 1)))
    assert information(twice) > 0.2


@pytest.mark.parametrize("seed", range(3))
def test_a_linear_conditional_is_found(seed):
    x, expected, generator = linear(300, seed)
    found = cross_fit(x, expected)
    assert np.abs(found - expected).sum(1).mean() / 2 < 0.03
    assert information(found) == pytest.approx(information(expected), abs=0.02)
    # of answers drawn from it, with what 300 samples tell of it
    answers = np.eye(4)[[generator.choice(4, p=row) for row in expected]]
    found = cross_fit(x, answers)
    assert np.abs(found - expected).sum(1).mean() / 2 < 0.15
    assert information(found) == pytest.approx(information(expected), abs=0.2)


def test_scale_and_shift_of_features_change_nothing():
    x, rows, _ = linear(100, 0)
    moved = x * [1, 10, 1e3, 1e-3, 1e6] + [0, 5, -2e3, 1, 1e7]
    np.testing.assert_allclose(cross_fit(moved, rows), cross_fit(x, rows), atol=1e-3)
    single = cross_fit(x.astype(np.float32), rows)
    assert single.dtype == np.float64
    np.testing.assert_allclose(single, cross_fit(x, rows), atol=1e-3)


def test_the_strength_of_overconfident_predictions_is_taken_back():
    generator = np.random.default_rng(3)
    x, rows, _ = linear(60, 3, d=40)
    answers = np.eye(4)[[generator.choice(4, p=row) for row in rows]]
    found = cross_fit(x, answers)
    assert information(found) < information(rows) / 2
    loss = -np.log2((found * answers).sum(1)).mean()
    prior = answers.mean(0)
    assert loss <= -np.log2((prior * answers).sum(1)).mean() + 1e-3  # never worse than P(Y)


def test_one_seed_one_prediction():
    x, rows, _ = linear(60, 1)
    one, same, other = (cross_fit(x, rows, seed=seed) for seed in (0, 0, 1))
    np.testing.assert_array_equal(one, same)
    assert not np.allclose(one, other, atol=1e-6)


def test_answers_that_are_never_or_hardly_given_stay_so():
    x, rows, _ = linear(60, 2, k=3)
    rows = np.concatenate([rows * (1 - 1e-9), np.full((60, 1), 1e-9), np.zeros((60, 1))], axis=1)
    found = cross_fit(x, rows)
    assert np.isfinite(found).all() and found[:, 3:].max() < 1e-6
    np.testing.assert_allclose(cross_fit(x, np.eye(3)[np.zeros(60, int)])[:, 0], 1, atol=1e-9)


@pytest.mark.parametrize(
    "features",
    [np.zeros((19, 2)), np.full((20, 2), np.nan), np.full((20, 2), np.inf)],
    ids=["too few", "nan", "infinite"],
)
def test_features_that_do_not_fit_are_refused(features):
    rows = np.full((20, 2), 0.5)
    with pytest.raises(ValueError, match=r"features of shape \(.*, 2\) for 20 decisions; give 10"):
        cross_fit(features, rows)


def test_fewer_samples_than_two_for_each_fold_are_refused():
    few = 2 * N_FOLDS - 1
    with pytest.raises(ValueError, match=f"for {few} decisions; give {2 * N_FOLDS} or more"):
        cross_fit(np.zeros((few, 2)), np.full((few, 2), 0.5))
    assert cross_fit(np.zeros((10, 2)), np.full((10, 2), 0.5)) == pytest.approx(0.5)
