"""Codes of embeddings: what they keep, and what they refuse."""

import numpy as np
import pytest

from pidlib.decomposition.codes import quantize


def blobs(n=300, width=24, n_blobs=6, seed=0, noise=0.05):
    """Directions of random centres with noise and random lengths, and the centre each came from."""
    generator = np.random.default_rng(seed)
    centres = np.random.default_rng(99).normal(size=(n_blobs, width))
    labels = generator.permutation(np.arange(n) % n_blobs)
    x = centres[labels] / np.linalg.norm(centres[labels], axis=1, keepdims=True) + generator.normal(
        0, noise, (n, width)
    )
    return x * generator.uniform(0.1, 10, (n, 1)), labels


def same_partition(a, b):
    return len(set(zip(a, b, strict=True))) == len(set(a)) == len(set(b))


def fitted_codes(x, n_clusters, **options):
    return quantize(x, x, n_clusters, **options)


def test_codes_recover_blobs_on_the_fitted_and_on_another_part():
    x, labels = blobs(seed=0)
    codes = fitted_codes(x, 6, seed=1)
    assert same_partition(codes, labels)
    other, other_labels = blobs(n=100, seed=5)
    others = quantize(x, other, 6, seed=1)
    assert same_partition(np.r_[codes, others], np.r_[labels, other_labels])


def test_codes_depend_neither_on_order_nor_on_length():
    x, _ = blobs()
    codes = fitted_codes(x, 9, seed=3)
    order = np.random.default_rng(0).permutation(len(x))
    np.testing.assert_array_equal(quantize(x, x[order], 9, seed=3), codes[order])
    np.testing.assert_array_equal(quantize(x, x * 7.5, 9, seed=3), codes)


def test_one_seed_one_codebook():
    x, _ = blobs(noise=0.4)
    np.testing.assert_array_equal(fitted_codes(x, 12, seed=4), fitted_codes(x, 12, seed=4))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_embeddings_that_are_not_finite_raise_with_their_rows(value):
    x, _ = blobs(n=40)
    wrong = x.copy()
    wrong[[3, 17], 0] = value
    for parts in ((wrong, x), (x, wrong)):
        with pytest.raises(ValueError, match="2 samples .* rows 3, 17;"):
            quantize(*parts, n_clusters=6)


def test_refuses_zero_vectors():
    x, _ = blobs(n=40)
    x[5] = 0
    with pytest.raises(ValueError, match="zero: rows 5;"):
        fitted_codes(x, 6)


def test_refuses_empty_clusters_unless_allowed():
    x, labels = blobs()
    part = x[labels < 4]
    with pytest.raises(ValueError, match="2 of 6 clusters are empty"):
        quantize(x, part, 6)
    codes = quantize(x, part, 6, allow_degenerate=True)
    assert same_partition(codes, labels[labels < 4])


def test_refuses_collapsed_codes_unless_allowed():
    generator = np.random.default_rng(0)
    x = np.ones((200, 12)) + generator.normal(0, 1e-4, (200, 12))
    with pytest.raises(ValueError, match="equal up to rounding"):
        fitted_codes(np.ones((200, 12)) + np.arange(200)[:, None] * 1e-4, 3)
    x[:4] += np.eye(12)[:4] * 50
    with pytest.raises(ValueError, match="holds 98.0% of the samples"):
        fitted_codes(x + generator.normal(0, 1e-3, x.shape), 5)
    assert np.bincount(fitted_codes(x, 5, allow_degenerate=True)).max() == 196


def test_refuses_sizes_the_data_cannot_have():
    x, _ = blobs(n=30)
    with pytest.raises(ValueError, match="n_clusters"):
        fitted_codes(x, 0)
    with pytest.raises(ValueError, match="width 24; these embeddings 23"):
        quantize(x, x[:, :23], 6)
    with pytest.raises(ValueError, match="got shape"):
        fitted_codes(x[0], 1)


def test_a_code_per_distinct_vector_if_these_are_few():
    few = np.repeat(np.eye(3), 4, axis=0)
    codes = quantize(few, few[::-1], n_clusters=6)
    assert same_partition(codes, np.repeat([2, 1, 0], 4))
