"""Shapley values of games solved by hand, and MM-SHAP of random tiny models."""

import numpy as np
import pytest
from small_world import FAMILY_NAMES, loaded, samples

from pidlib.experiments.preset import load_preset
from pidlib.experiments.vision_language import shapley
from pidlib.experiments.vision_language.shapley import (
    cached_shares,
    runs,
    shapley_values,
    token_game,
    vision_share,
)
from pidlib.extraction.job import Job
from pidlib.extraction.masking import FULL, Pass
from pidlib.extraction.reader import Reader
from pidlib.models import load_model


def glove(coalitions):
    """One left glove and two right ones: a pair is worth 1. By hand: 2/3, 1/6, 1/6."""
    return (coalitions[:, 0] & coalitions[:, 1:].any(1)).astype(float)


def test_glove_game_converges_to_its_values():
    values = shapley_values(glove, 3, 4000, np.random.default_rng(0))
    assert values == pytest.approx([2 / 3, 1 / 6, 1 / 6], abs=0.02)


@pytest.mark.parametrize("n_permutations", [1, 3])
def test_values_sum_to_the_whole_and_a_dummy_gets_nothing(n_permutations):
    rng = np.random.default_rng(1)
    table = rng.normal(size=2**4)

    def value(coalitions):  # the fifth player is a dummy
        return table[coalitions[:, :4] @ (1 << np.arange(4))]

    values = shapley_values(value, 5, n_permutations, rng)
    assert values.sum() == pytest.approx(table[-1] - table[0])
    assert values[4] == 0


def test_games_of_pairs_are_exact_with_one_permutation():
    weights = np.triu(np.random.default_rng(2).normal(size=(4, 4)))

    def value(coalitions):
        return np.einsum("ni,ij,nj->n", *(coalitions.astype(float), weights), coalitions * 1.0)

    by_hand = np.diag(weights) + (np.triu(weights, 1) + np.triu(weights, 1).T).sum(1) / 2
    assert shapley_values(value, 4, 1, np.random.default_rng(3)) == pytest.approx(by_hand)


@pytest.mark.parametrize("family", FAMILY_NAMES)
def test_all_players_are_the_full_pass_and_none_is_noise(family):
    four, model = samples(4), loaded(family)
    reader = Reader(model, four[0].candidates, (), four[0].question, 8)
    keys = (FULL, "vision", "none")
    job = Job(reader, four, {key: Pass.parse(key) for key in keys}, 0, 5)
    job.moments = job.statistics().arrays
    shard = job.shard(0).arrays
    encoded = reader.encode(four)[1]
    vision, words = (len(encoded.tokens[name]) for name in ("vision", "language"))
    coalitions = np.array(
        [[True] * (vision + words), [True] * vision + [False] * words, [False] * (vision + words)]
    )
    values = token_game(reader, job, encoded)(coalitions)
    logits = np.stack([shard[f"logits/{key}"][1] for key in keys])
    odds = np.exp(logits - logits.max(1, keepdims=True))
    expected = (odds / odds.sum(1, keepdims=True))[:, logits[0].argmax()]
    assert values == pytest.approx(expected, abs=1e-5)


def calibrated(model, chosen, batch_size=8) -> tuple[Reader, Job]:
    reader = Reader(model, chosen[0].candidates, (), chosen[0].question, batch_size)
    job = Job(reader, chosen, {}, 0, 1)
    job.moments = job.statistics().arrays
    return reader, job


def test_shares_depend_on_the_sample_and_not_on_the_batch():
    model, chosen = loaded("llava"), samples(32)
    shares = []
    for batch_size, n in ((8, 3), (5, 2)):
        reader, job = calibrated(model, chosen, batch_size)
        shares.append([vision_share(reader, job, each) for each in reader.encode(chosen[:n])])
    assert 0 < min(shares[0]) and max(shares[0]) < 1
    assert shares[1] == pytest.approx(shares[0][:2], abs=1e-4)


def test_players_are_runs_of_tokens_of_each_modality(monkeypatch):
    assert runs(3, 8).tolist() == [0, 1, 2]
    assert np.bincount(runs(576, 16)).tolist() == [36] * 16
    reader, job = calibrated(loaded("llava"), samples(32))
    (encoded,) = reader.encode(samples(1))
    vision, words = (len(encoded.tokens[name]) for name in ("vision", "language"))
    assert words >= 4
    seen = []

    def game(*_):
        def value(coalitions):  # of the tokens: the first word alone has a value
            seen.append(coalitions)
            return coalitions[:, vision].astype(float)

        return value

    monkeypatch.setattr(shapley, "token_game", game)
    monkeypatch.setattr(shapley, "PLAYERS", {"vision": 4, "language": 2})
    assert vision_share(reader, job, encoded) == 0
    (coalitions,) = seen
    assert coalitions.shape == (2 * (6 + 1), vision + words)
    halves = np.split(coalitions[:, vision:], [-(-words // 2)], axis=1)
    assert all((half == half[:, :1]).all() for half in halves)


def test_shares_are_computed_once_and_resumed_after_their_last_shard(tmp_path, monkeypatch):
    preset = load_preset(
        "smoke", cache=str(tmp_path), n_intervened=16, n_explained=3, benchmarks=["micro/scene"]
    )
    model = load_model("llava_compact")
    monkeypatch.setattr(shapley, "SHARD", 2)
    computed = []

    def count(reader, job, encoded):
        if len(computed) == 2:
            raise KeyboardInterrupt
        computed.append(encoded.sample.sample_id)
        return len(computed) / 10

    monkeypatch.setattr(shapley, "vision_share", count)
    with pytest.raises(KeyboardInterrupt):
        cached_shares(preset, model, "micro/scene")
    monkeypatch.setattr(shapley, "vision_share", lambda *_: 0.7)
    shares, columns = cached_shares(preset, model, "micro/scene")
    assert shares.tolist() == [0.1, 0.2, 0.7] and columns["n_samples"] == 3
    monkeypatch.delattr(shapley, "vision_share")
    again, same = cached_shares(preset, model, "micro/scene")
    assert again.tolist() == shares.tolist() and same == columns
