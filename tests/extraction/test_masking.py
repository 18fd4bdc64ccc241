"""A masked modality has no influence; its noise is calibrated and depends on the sample alone."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from small_world import FAMILY_NAMES, loaded, picture, sample, samples

from pidlib.extraction import extract
from pidlib.extraction.job import Job
from pidlib.extraction.masking import MASKS, Moments, Pass, draw_noise, drawn
from pidlib.extraction.reader import Reader

ALL = ("vision+language", "vision", "language", "none", "none#1")


@pytest.fixture(scope="module", params=FAMILY_NAMES)
def twins(request):
    """Two samples, with other pictures, with other questions of equal length; one calibration."""
    model = loaded(request.param)
    first = [sample(0), sample(2)]
    assert [len(item.question.split()) for item in first] == [4, 4] and first[0].question != first[
        1
    ].question
    other_pictures = [replace(item, image=picture(100 + index)) for index, item in enumerate(first)]
    other_questions = [
        replace(item, question=other.question)
        for item, other in zip(first, first[::-1], strict=True)
    ]
    statistics = _job(model, samples(10)).statistics()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Job, "statistics", lambda self: statistics)
        return [
            extract(model, data, passes=ALL, progress=False)
            for data in (first, other_pictures, other_questions)
        ]


def _job(model, data):
    return Job(Reader(model, data[0].candidates, (), data[0].question, 8), data, {})


def test_masked_vision_has_no_influence(twins):
    first, other_pictures, _ = twins
    for key in ("language", "none", "none#1"):
        np.testing.assert_array_equal(first.logits[key], other_pictures.logits[key])
    for key in ("vision+language", "vision"):
        assert np.abs(first.logits[key] - other_pictures.logits[key]).min() > 1e-4


def test_masked_language_has_no_influence(twins):
    first, _, other_questions = twins
    for key in ("vision", "none", "none#1"):
        np.testing.assert_array_equal(first.logits[key], other_questions.logits[key])
    for key in ("vision+language", "language"):
        assert np.abs(first.logits[key] - other_questions.logits[key]).min() > 1e-4


@pytest.mark.parametrize("family", FAMILY_NAMES)
def test_options_pass_masks_the_question_only(family):
    model = loaded(family)
    first = [sample(0, options="red, green or blue?"), sample(2, options="red, green or blue?")]
    other_questions = [
        replace(item, question=other.question)
        for item, other in zip(first, first[::-1], strict=True)
    ]
    other_options = [replace(item, options="blue, green or red?") for item in first]
    statistics = _job(
        model, [replace(item, options="red, green or blue?") for item in samples(10)]
    ).statistics()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Job, "statistics", lambda self: statistics)
        read, questions, options = (
            extract(model, data, passes=("vision", "vision+options"), progress=False).logits
            for data in (first, other_questions, other_options)
        )
    for key in ("vision", "vision+options"):
        np.testing.assert_array_equal(read[key], questions[key])
    np.testing.assert_array_equal(read["vision"], options["vision"])
    assert np.abs(read["vision+options"] - options["vision+options"]).min() > 1e-5


def test_options_pass_uses_the_same_noise_for_the_question():
    model, data = loaded("llava"), [replace(item, options="red or blue?") for item in samples(4)]
    job = _job(model, data)
    job.moments = job.statistics().arrays
    for item in job.reader.encode(data):
        hidden, stays = (
            job.noise(item, Pass.parse(key))["language"] for key in ("vision", "vision+options")
        )
        asked = ~torch.from_numpy(item.question.is_options)
        assert asked.sum() == len(asked) - 5
        torch.testing.assert_close(stays, hidden[asked])
        rest = job.row(item, Pass.parse("vision+options")).question
        np.testing.assert_array_equal(rest.language_ids, item.question.language_ids[asked])


def test_draws_of_the_noise_differ(twins):
    assert np.abs(twins[0].logits["none"] - twins[0].logits["none#1"]).min() > 1e-4


def test_statistics_cover_all_tokens():
    model, data = loaded("llava"), samples(10)
    job = _job(model, data)
    statistics = job.statistics().arrays
    encoded = job.reader.encode(data)
    for name in ("vision", "language"):
        tokens = np.concatenate([item.tokens[name].numpy() for item in encoded]).astype(np.float64)
        np.testing.assert_allclose(
            statistics[f"mean/{name}"], tokens.mean(0), rtol=1e-10, atol=1e-12
        )
        np.testing.assert_allclose(statistics[f"std/{name}"], tokens.std(0), rtol=1e-10)
    assert sum(len(item.tokens["language"]) for item in encoded) == sum(
        len(item.question.replace("?", " ?").split()) for item in data
    )


def test_moments_are_accurate_far_from_zero():
    rows = (
        torch.randn(1000, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) + 1e7
    )
    moments = Moments()
    for part in rows.split([1, 499, 500]):
        moments.add(part)
    torch.testing.assert_close(moments.std, rows.std(0, correction=0), rtol=1e-7, atol=0)


def test_noise_depends_on_the_sample_and_has_the_given_moments():
    mean, std = torch.tensor([1.0, -2.0]), torch.tensor([0.5, 3.0])
    noise = draw_noise(mean, std, 20_000, 0, "a")
    assert torch.equal(noise, draw_noise(mean, std, 20_000, 0, "a"))
    for stream in ((1, "a"), (0, "b")):
        assert not torch.equal(noise, draw_noise(mean, std, 20_000, *stream))
    np.testing.assert_allclose(noise.mean(0), mean, rtol=0, atol=0.1)
    np.testing.assert_allclose(noise.std(0), std, rtol=0.03, atol=0)


def test_noise_is_normal_independent_and_the_same_everywhere():
    noise = draw_noise(torch.zeros(64), torch.ones(64), 4096, 0, "a").double().flatten()
    first = [0.6725463271141052, 0.6500804424285889, 1.2979917526245117]
    torch.testing.assert_close(noise[:3], torch.tensor(first).double(), rtol=1e-6, atol=0)
    for power, (mean, square) in enumerate([(0, 1), (1, 3), (0, 15), (3, 105), (0, 945)], 1):
        error = ((square - mean**2) / len(noise)) ** 0.5
        assert abs((noise**power).mean() - mean) < 4 * error
    for lag in (1, 2, 3, 4, 64):
        assert abs((noise[lag:] * noise[:-lag]).mean()) < 4 / len(noise) ** 0.5
    other = draw_noise(torch.zeros(64), torch.ones(64), 4096, 0, "b").double().flatten()
    assert abs((noise * other).mean()) < 4 / len(noise) ** 0.5


def test_pass_keys():
    assert Pass.parse("vision+language") == Pass(frozenset({"vision", "language"}))
    assert Pass.parse("none#3") == Pass(frozenset(), draw=3)
    with pytest.raises(ValueError, match="unknown pass 'visoin'; did you mean 'vision'"):
        Pass.parse("visoin")


def test_masks_are_noise_the_mean_or_tokens_of_another_sample():
    model, data = loaded("llava"), samples(6)
    drawn_by = {}
    for mask in MASKS:
        job = Job(Reader(model, data[0].candidates, (), "?", 8), data, {}, mask=mask)
        job.moments = job.statistics().arrays
        job.shard(0)  # sets the donors
        encoded = job.reader.encode(data)
        drawn_by[mask] = [job.noise(item, Pass.parse("language"))["vision"] for item in encoded]
    mean = torch.from_numpy(job.moments["mean/vision"]).float()
    assert all(torch.allclose(tokens, mean) for tokens in drawn_by["mean"])
    own = [item.tokens["vision"].float() for item in encoded]
    for index, tokens in enumerate(drawn_by["swapped"]):
        assert not torch.allclose(tokens, own[index])
        assert any(torch.allclose(tokens, other, atol=1e-6) for other in own)
    assert not torch.allclose(drawn_by["noise"][0], drawn_by["noise"][1])
    with pytest.raises(ValueError, match="mask='swapped' takes tokens of another sample"):
        extract(model, data[:1], passes=("language",), mask="swapped", progress=False)
    with pytest.raises(ValueError, match="unknown mask 'noisy'; did you mean 'noise'"):
        extract(model, data, mask="noisy")


def test_answers_are_means_over_draws_and_equal_inputs():
    """One value of language for each text, one of vision for each picture."""
    model, data = loaded("llava"), samples(8)
    data = [replace(item, image=data[index // 2].image) for index, item in enumerate(data)]
    passes = drawn(("vision+language", "vision", "language"), 3)
    assert passes[3:] == ("vision#1", "vision#2", "language#1", "language#2")
    found = extract(model, data, passes=passes, progress=False)
    single = [found.decisions(f"vision#{draw}", tau=0) for draw in range(3)]
    np.testing.assert_allclose(found.decisions("vision", tau=0), np.mean(single, axis=0))
    spread = np.abs(np.array(single) - np.mean(single, axis=0)).sum(-1).mean() / 2
    assert found.spread("vision", tau=0) == pytest.approx(spread) and spread > 1e-4
    decisions = found.masked(tau=0)
    values = decisions.values["vision"]
    assert values.max() == 3 and (values[::2] == values[1::2]).all()
    for text in set(found.questions):
        rows = decisions.unimodal["language"][np.array(found.questions) == text]
        np.testing.assert_allclose(rows, rows[:1].repeat(len(rows), 0))
    permuted = found.masked(tau=0, permute="language", generator=np.random.default_rng(0))
    answers = [found.decisions(f"language#{draw}", tau=0) for draw in range(3)]
    assert permuted.sources["language"].sum() == pytest.approx(np.sum(answers) / 3)
    assert not np.allclose(permuted.unimodal["language"], decisions.unimodal["language"])
    np.testing.assert_array_equal(permuted.unimodal["vision"], decisions.unimodal["vision"])
