"""Partners are independent of the picture, and both sources share item P(Y)."""

from dataclasses import replace

import numpy as np
import pytest
from small_world import FAMILY_NAMES, QUESTIONS, loaded, sample, samples

from pidlib.extraction import extract
from pidlib.extraction.job import draw_partners


@pytest.mark.parametrize("family", FAMILY_NAMES)
def test_pairs_equal_brute_force(family):
    data = samples(7)
    extraction = extract(loaded(family), data, partners=16, progress=False)
    pairs = extraction.pairs
    assert len(pairs.weights) == 7 * 5 and abs(pairs.weights.sum() - 1) < 1e-12
    # Every picture with every question, each pair extracted as a sample of its own.
    alone = [
        replace(data[v], sample_id=f"{v} {t}", question=data[t].question) for v, t in pairs.index
    ]
    expected = extract(loaded(family), alone, passes=["vision+language"], progress=False)
    np.testing.assert_allclose(pairs.logits, expected.logits["vision+language"], atol=1e-5)
    np.testing.assert_allclose(
        pairs.log_normalizer, expected.log_normalizer["vision+language"], atol=1e-5
    )


def test_exact_product_weights_questions_by_frequency():
    data = samples(7)  # short: questions 0 1 2 0; long: 0 1 0
    partners = draw_partners(data, 5, seed=0)
    assert all(
        own == pytest.approx({0: 2 / 7, 1: 2 / 7, 2: 1 / 7, 3: 1 / 7, 4: 1 / 7}) for own in partners
    )


def test_product_weights_and_both_marginals():
    data = samples(7)
    extraction = extract(loaded("llava"), data, partners=16, progress=False)
    decisions = extraction.resampled(tau=0)
    index, joint, weights = extraction.pairs.index, decisions.joint, decisions.weights
    for pair, (_, t) in enumerate(index):
        arguments = sum(item.question == data[t].question for item in data)
        assert weights[pair] == pytest.approx(arguments / len(data) ** 2)
    for side, name in enumerate(("vision", "language")):
        for value in np.unique(index[:, side]):
            rows = index[:, side] == value
            expected = weights[rows] @ joint[rows] / weights[rows].sum()
            np.testing.assert_allclose(
                decisions.unimodal[name][rows], np.tile(expected, (rows.sum(), 1)), atol=1e-12
            )
        np.testing.assert_allclose(weights @ decisions.unimodal[name], decisions.target, atol=1e-12)
    assert decisions.groups.tolist() == index.tolist()


def test_fewer_partners_than_questions_are_drawn_without_replacement():
    words = [word for questions in QUESTIONS.values() for word in questions]
    data = [sample(2 * index, question=words[index % 5]) for index in range(20)]
    with pytest.warns(
        UserWarning,
        match=r"has 5 questions and each picture is paired with 3 of them.* up to 0.48 bits",
    ):
        partners = draw_partners(data, 3, seed=0)
    for own in partners:
        assert sum(own.values()) == pytest.approx(1) and set(own) <= set(range(5))
        assert all(
            weight in (pytest.approx(1 / 3), pytest.approx(2 / 3), pytest.approx(1))
            for weight in own.values()
        )
    with pytest.warns(UserWarning):
        assert partners == draw_partners(data, 3, seed=0) != draw_partners(data, 3, seed=1)
        # Over many draws every question is arguments as often as the samples ask it.
        shares = np.zeros(5)
        for seed in range(200):
            for question, weight in draw_partners(data, 3, seed)[0].items():
                shares[question] += weight / 200
    np.testing.assert_allclose(shares, 0.2, atol=0.05)


def test_partners_stay_in_the_benchmark_and_cross_templates():
    data = [
        replace(item, benchmark=("a", "b")[index % 3 == 0])
        for index, item in enumerate(samples(12))
    ]
    partners = draw_partners(data, 12, seed=0)
    for own, drawn in zip(data, partners, strict=True):
        assert {data[partner].benchmark for partner in drawn} == {own.benchmark}
    assert {data[partner].template for partner in partners[1]} == {"short", "long"}
