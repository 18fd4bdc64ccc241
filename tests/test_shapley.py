"""Shapley values on games solved by hand, and MM-SHAP on a random tiny model."""

import numpy as np
import pytest
from small_world import FAMILY_NAMES, loaded, samples

from pidlib.extraction.job import Job
from pidlib.extraction.masking import FULL, Pass
from pidlib.extraction.reader import Reader
from pidlib.shapley import game, shapley_values, vision_shares


def glove(coalitions):
    """One left glove, two right ones: a pair is worth 1. By hand: 2/3, 1/6, 1/6."""
    return (coalitions[:, 0] & coalitions[:, 1:].any(1)).astype(float)


def test_glove_game_converges_to_its_values():
    found = shapley_values(glove, 3, 4000, np.random.default_rng(0))
    assert found == pytest.approx([2 / 3, 1 / 6, 1 / 6], abs=0.02)


@pytest.mark.parametrize("n_permutations", [1, 3])
def test_values_sum_to_the_whole_and_who_adds_nothing_gets_nothing(n_permutations):
    rng = np.random.default_rng(1)
    table = rng.normal(size=2**4)
    value = lambda coalitions: table[coalitions[:, :4] @ (1 << np.arange(4))]  # noqa: E731  (the fifth player is a dummy)
    found = shapley_values(value, 5, n_permutations, rng)
    assert found.sum() == pytest.approx(table[-1] - table[0])
    assert found[4] == 0


def test_pairs_are_shared_exactly_by_one_permutation_walked_both_ways():
    weights = np.triu(np.random.default_rng(2).normal(size=(4, 4)))
    value = lambda c: np.einsum("ni,ij,nj->n", c.astype(float), weights, c.astype(float))  # noqa: E731
    by_hand = np.diag(weights) + (np.triu(weights, 1) + np.triu(weights, 1).T).sum(1) / 2
    assert shapley_values(value, 4, 1, np.random.default_rng(3)) == pytest.approx(by_hand)


@pytest.mark.parametrize("family", FAMILY_NAMES)
def test_all_tokens_heard_is_the_full_pass_and_none_is_noise(family):
    some = samples(4)
    model = loaded(family)
    reader = Reader(model, some[0].candidates, (), some[0].question, 8)
    job = Job(reader, some, {key: Pass.parse(key) for key in (FULL, "vision", "none")}, 0, 5)
    job.calibrate(job.statistics())
    shard = job.shard(0).arrays
    one = reader.encode(some)[1]
    seen, words = len(one.tokens["vision"]), len(one.tokens["language"])
    values = game(reader, job, one)(np.array([[True] * (seen + words), [True] * seen + [False] * words, [False] * (seen + words)]))
    logits = np.stack([shard[f"logits/{key}"][1] for key in (FULL, "vision", "none")])
    odds = np.exp(logits - logits.max(1, keepdims=True))
    assert values == pytest.approx((odds / odds.sum(1, keepdims=True))[:, logits[0].argmax()], abs=1e-5)


def test_shares_are_shares_and_depend_on_the_sample_not_on_the_batch():
    some = samples(32)
    found = vision_shares(loaded("llava"), some, 3, seed=1)
    assert found.shape == (3,) and (0 < found).all() and (found < 1).all()
    assert vision_shares(loaded("llava"), some, 2, seed=1, batch_size=5) == pytest.approx(found[:2], abs=1e-4)
