"""Informations of joint tables: against sums written out, and against each other."""

import math

import numpy as np
import pytest
import torch

from pidlib.information import co_information, conditional_mutual_information, entropy, mutual_information, probabilities

XOR = np.array([[[1, 0], [0, 1]], [[0, 1], [1, 0]]])


@pytest.fixture
def joints():
    return np.random.default_rng(0).dirichlet(np.ones(24), size=5).reshape(5, 2, 3, 4)


def test_entropy_of_known_tables():
    assert entropy([0.5, 0.25, 0.25]).item() == 1.5
    assert entropy(np.ones((4, 8)), n_variables=2).item() == 5
    assert entropy([[1, 1], [0, 7]]).tolist() == [1, 0]


def test_mutual_information_is_the_divergence_from_independence(joints):
    table = joints.sum(1)
    independent = table.sum(1, keepdims=True) * table.sum(2, keepdims=True)
    expected = (table * np.log2(table / independent)).sum((1, 2))
    assert mutual_information(table).numpy() == pytest.approx(expected, abs=1e-14)


def test_conditional_information_is_the_mean_over_the_condition(joints):
    for joint, found in zip(joints, conditional_mutual_information(joints).tolist(), strict=True):
        expected = sum(joint[:, x2].sum() * mutual_information(joint[:, x2]).item() for x2 in range(3))
        assert found == pytest.approx(expected, abs=1e-14)


def test_co_information_is_symmetric_and_negative_for_xor(joints):
    assert co_information(XOR).item() == -1
    assert co_information(joints).numpy() == pytest.approx(co_information(joints.transpose(0, 3, 1, 2)).numpy(), abs=1e-14)


def test_counts_and_probabilities_agree_and_batches_are_slices(joints):
    counts = np.random.default_rng(1).integers(0, 9, (3, 4, 5, 2))
    found = co_information(counts)
    assert found.dtype == torch.float64
    for one, value in zip(counts, found.tolist(), strict=True):
        assert co_information(one / one.sum()).item() == pytest.approx(value, abs=1e-14)


@pytest.mark.parametrize("scale", [1e-310, 1e-200, 1.0, 1e200, 1e307])
def test_totals_near_the_ends_of_the_float_range(scale):
    assert entropy(np.array([1.0, 1.0, 2.0]) * scale).item() == pytest.approx(1.5, abs=1e-12)


@pytest.mark.parametrize(
    ("table", "told"),
    [
        ([0.5, -0.5], "negative"),
        ([0.5, math.nan], "NaN"),
        ([0.5, math.inf], "infinite"),
        ([0, 0], "no mass"),
        ([[1, 2], [0, 0]], "no mass"),
        (np.ones((3, 0)), "none empty"),
        (1.0, "at least 1 axes"),
        (np.ones(2, dtype=complex), "real"),
    ],
)
def test_what_is_no_distribution_is_refused(table, told):
    with pytest.raises(ValueError, match=told):
        probabilities(table, 1)
