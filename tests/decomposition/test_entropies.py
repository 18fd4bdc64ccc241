"""Corrected entropies: against sums written out, and against the truth of known distributions."""

import numpy as np
import pandas as pd
import pytest

from pidlib.decomposition.entropies import (
    ENTROPIES,
    chao_wang_jost,
    jackknife,
    joint_information,
    plug_in,
    tabulate,
)


def samples(n, probabilities, repeats, seed=0):
    return np.random.default_rng(seed).multinomial(n, probabilities, repeats)


def test_jackknife_is_leave_one_out():
    counts = np.array([5, 1, 0, 3, 1])
    labels = np.repeat(np.arange(5), counts)
    left = [plug_in(np.bincount(np.delete(labels, i), minlength=5)) for i in range(10)]
    assert jackknife(counts) == pytest.approx(10 * plug_in(counts) - 9 * np.mean(left), abs=1e-12)


SEEN = [
    [5, 1, 1, 2, 0, 1],
    [1, 1, 1, 1],
    [3, 2, 4],
    [7, 1],
    [1] * 30 + [2] * 3 + [40],
    [40, 30, 1, 1, 2, 2, 2],
]


@pytest.mark.parametrize("counts", SEEN)
def test_chao_wang_jost_is_its_series(counts):
    c = np.array([count for count in counts if count])
    n, f1, f2 = c.sum(), (c == 1).sum(), (c == 2).sum()
    a = 2 * f2 / ((n - 1) * f1 + 2 * f2) if f2 else 2 / ((n - 1) * (f1 - 1) + 2) if f1 else 1.0
    expected = sum(ci / n * sum(1 / r for r in range(ci, n)) for ci in c)
    if f1 and a < 1:
        tail = -np.log(a) - sum((1 - a) ** r / r for r in range(1, n))
        expected += f1 / n * (1 - a) ** (1 - n) * tail
    assert chao_wang_jost(counts) == pytest.approx(expected / np.log(2), abs=1e-6)


def test_all_agree_when_samples_are_many():
    counts = samples(2_000_000, np.full(6, 1 / 6), 1)[0]
    for entropy in ENTROPIES.values():
        assert entropy(counts) == pytest.approx(np.log2(6), abs=1e-4)


def test_bias_shrinks_from_one_to_the_next():
    counts = samples(150, np.full(100, 0.01), 300)
    bias = {name: entropy(counts).mean() - np.log2(100) for name, entropy in ENTROPIES.items()}
    assert list(bias) == ["plug-in", "Miller-Madow", "jackknife", "Chao-Wang-Jost"]
    assert bias["plug-in"] == pytest.approx(-99 / (2 * 150 * np.log(2)), rel=0.2)
    size = np.abs(list(bias.values()))
    assert (size[1:] < 0.6 * size[:-1]).all() and size[-1] < 0.02


def test_information_of_a_batch_is_that_of_each():
    counts = np.random.default_rng(0).integers(0, 5, (4, 3, 2, 3))
    for entropy in ENTROPIES.values():
        alone = [joint_information(table, entropy) for table in counts]
        np.testing.assert_allclose(joint_information(counts, entropy), alone)


def test_tabulate_counts():
    x1, x2, y = (
        np.array([[0, 1, 1], [2, 2, 2]]),
        np.array([[0, 0, 0], [1, 1, 0]]),
        np.array([[1, 0, 0], [1, 1, 1]]),
    )
    counts = tabulate(x1, x2, y, (3, 2, 2))
    assert counts.shape == (2, 3, 2, 2) and counts.sum() == 6
    assert (
        counts[0, 0, 0, 1] == 1
        and counts[0, 1, 0, 0] == 2
        and counts[1, 2, 1, 1] == 2
        and counts[1, 2, 0, 1] == 1
    )


def test_a_single_set_of_samples_needs_no_sizes():
    x1, x2, y = np.random.default_rng(0).integers(0, (3, 4, 2), size=(500, 3)).T
    expected = np.zeros((3, 4, 2), dtype=int)
    np.add.at(expected, (x1, x2, y), 1)
    assert tabulate(x1, x2, y).tolist() == expected.tolist()
    assert tabulate(x1.astype("u2")[::-1], x2[::-1].tolist(), y[::-1]).tolist() == expected.tolist()
    wide = tabulate(x1, x2, y, sizes=(5, 4, 3))
    assert wide.shape == (5, 4, 3) and wide.sum() == 500
    frame = pd.DataFrame({"x1": x1, "x2": x2, "y": y})[x1 > 0]
    assert tabulate(frame.x1, frame.x2, frame.y)[1:].tolist() == expected[1:].tolist()


@pytest.mark.parametrize(
    ("labels", "sizes", "message"),
    [
        (([0, 1], [0, 1], [0]), None, "one code for each sample"),
        (([], [], []), None, "one code for each sample"),
        (([0.0, 1.0], [0, 1], [0, 1]), None, "whole numbers"),
        (([0, -1], [0, 1], [0, 1]), None, "whole numbers"),
        (([0, 1], [0, 1], np.ma.array([0, 1], mask=[0, 1])), None, "1 entries of y are masked"),
        (([0, 2], [0, 1], [0, 1]), (2, 2, 2), "do not hold"),
        (([0, 1], [0, 1], [0, 1]), (2, 2), "do not hold"),
    ],
)
def test_invalid_codes_raise(labels, sizes, message):
    with pytest.raises(ValueError, match=message):
        tabulate(*labels, sizes=sizes)
