"""Codes of embeddings: what they keep, and what they refuse."""

import numpy as np
import pytest

from pidlib.clustering import Codebook


def blobs(n=300, width=24, n_blobs=6, seed=0, noise=0.05):
    """Directions of random centres with noise and random lengths, and the centre each came from."""
    generator = np.random.default_rng(seed)
    centres = np.random.default_rng(99).normal(size=(n_blobs, width))
    labels = generator.permutation(np.arange(n) % n_blobs)
    x = centres[labels] / np.linalg.norm(centres[labels], axis=1, keepdims=True) + generator.normal(0, noise, (n, width))
    return x * generator.uniform(0.1, 10, (n, 1)), labels


def same_partition(a, b):
    return len(set(zip(a, b, strict=True))) == len(set(a)) == len(set(b))


def test_codes_recover_blobs_on_the_fitted_and_on_another_part():
    x, labels = blobs(seed=0)
    book = Codebook.fit(x, n_clusters=6, seed=1)
    assert same_partition(book.codes, labels)
    other, other_labels = blobs(n=100, seed=5)
    codes = book.apply(other)
    assert same_partition(np.r_[book.codes, codes], np.r_[labels, other_labels])


def test_apply_on_the_fitted_part_gives_the_same_codes_in_any_order():
    x, _ = blobs()
    book = Codebook.fit(x, n_clusters=9, seed=3)
    order = np.random.default_rng(0).permutation(len(x))
    np.testing.assert_array_equal(book.apply(x[order]), book.codes[order])
    np.testing.assert_array_equal(book.apply(x * 7.5), book.codes)


def test_one_seed_one_codebook():
    x, _ = blobs(noise=0.4)
    one, two = (Codebook.fit(x, n_clusters=12, seed=4) for _ in range(2))
    np.testing.assert_array_equal(one.codes, two.codes)
    np.testing.assert_array_equal(one.centroids, two.centroids)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_refuses_what_is_not_finite_and_names_the_samples(value):
    x, _ = blobs(n=40)
    ids = [f"picture-{i}" for i in range(40)]
    book = Codebook.fit(x, n_clusters=6)
    x[[3, 17], 0] = value
    for refuse in (lambda: Codebook.fit(x, 6, sample_ids=ids), lambda: book.apply(x, sample_ids=ids)):
        with pytest.raises(ValueError, match="2 samples .* picture-3, picture-17;"):
            refuse()


def test_refuses_zero_vectors():
    x, _ = blobs(n=40)
    x[5] = 0
    with pytest.raises(ValueError, match="zero: 5;"):
        Codebook.fit(x, n_clusters=6)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_refuses_empty_clusters_unless_allowed():
    x = np.repeat(np.eye(12)[:4], 10, axis=0)
    with pytest.raises(ValueError, match="3 of 7 clusters are empty"):
        Codebook.fit(x, n_clusters=7, n_components=3)
    book = Codebook.fit(x, n_clusters=7, n_components=3, allow_degenerate=True)
    assert len(book) == 7 and sorted(np.bincount(book.codes, minlength=7)) == [0, 0, 0, 10, 10, 10, 10]
    full = Codebook.fit(x, n_clusters=4, n_components=3)
    with pytest.raises(ValueError, match="2 of 4 clusters are empty"):
        full.apply(x[:20])
    assert full.apply(x[:20], allow_degenerate=True).shape == (20,)


def test_refuses_collapsed_codes_unless_allowed():
    generator = np.random.default_rng(0)
    x = np.ones((200, 12)) + generator.normal(0, 1e-8, (200, 12))
    with pytest.raises(ValueError, match="equal up to rounding"):
        Codebook.fit(x, n_clusters=3)
    x = np.ones((200, 12)) + generator.normal(0, 1e-3, (200, 12))
    x[:4] += np.eye(12)[:4] * 50
    with pytest.raises(ValueError, match="holds 98.0% of the samples"):
        Codebook.fit(x, n_clusters=5, n_components=4)
    assert np.bincount(Codebook.fit(x, n_clusters=5, n_components=4, allow_degenerate=True).codes).max() == 196


@pytest.mark.parametrize("asked", [{"n_clusters": 0}, {"n_clusters": 31}, {"n_clusters": 5, "n_components": 25}])
def test_refuses_sizes_the_data_cannot_have(asked):
    x, _ = blobs(n=30)
    with pytest.raises(ValueError, match="choose 1 to"):
        Codebook.fit(x, **asked)


def test_refuses_wrong_shapes():
    x, _ = blobs(n=30)
    book = Codebook.fit(x, n_clusters=6)
    with pytest.raises(ValueError, match="fitted on width 24; these embeddings have 23"):
        book.apply(x[:, :23])
    with pytest.raises(ValueError, match="got shape"):
        Codebook.fit(x[0], n_clusters=1)
    with pytest.raises(ValueError, match="29 sample ids for 30"):
        Codebook.fit(x, n_clusters=6, sample_ids=list(range(29)))
