"""A masked modality has no influence; its noise is calibrated and belongs to the sample."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from small_world import FAMILY_NAMES, loaded, picture, sample, samples

from pidlib.extraction import extract
from pidlib.extraction.job import Job
from pidlib.extraction.masking import Calibration, Moments, Pass, door
from pidlib.extraction.reader import Reader

ALL = ("vision+language", "vision", "language", "none", "none#1")


@pytest.fixture(scope="module", params=FAMILY_NAMES)
def twins(request):
    """Two samples; the same with other pictures; the same with another question of equal length. One calibration for all."""
    model = loaded(request.param)
    first = [sample(0), sample(2)]
    assert [len(one.question.split()) for one in first] == [4, 4] and first[0].question != first[1].question
    other_pictures = [replace(one, image=picture(100 + index)) for index, one in enumerate(first)]
    other_questions = [replace(one, question=other.question) for one, other in zip(first, first[::-1], strict=True)]
    statistics = _job(model, samples(10)).statistics()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Job, "statistics", lambda self: statistics)
        return [extract(model, some, passes=ALL, progress=False) for some in (first, other_pictures, other_questions)]


def _job(model, some):
    return Job(Reader(model, some[0].candidates, (), some[0].question, 8), some, {}, 0, 0)


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
def test_options_stay_while_the_question_is_hidden(family):
    model = loaded(family)
    first = [sample(0, options="red, green or blue?"), sample(2, options="red, green or blue?")]
    other_questions = [replace(one, question=other.question) for one, other in zip(first, first[::-1], strict=True)]
    other_options = [replace(one, options="blue, green or red?") for one in first]
    statistics = _job(model, [replace(one, options="red, green or blue?") for one in samples(10)]).statistics()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Job, "statistics", lambda self: statistics)
        read, questions, options = (
            extract(model, some, passes=("vision", "vision+options"), progress=False).logits
            for some in (first, other_questions, other_options)
        )
    for key in ("vision", "vision+options"):
        np.testing.assert_array_equal(read[key], questions[key])
    np.testing.assert_array_equal(read["vision"], options["vision"])
    assert np.abs(read["vision+options"] - options["vision+options"]).min() > 1e-5


def test_question_is_hidden_by_the_same_noise_whether_options_stay_or_not():
    model, some = loaded("llava"), [replace(one, options="red or blue?") for one in samples(4)]
    job = _job(model, some)
    job.calibrate(job.statistics())
    for one in job.reader.encode(some):
        hidden, stays = (job.noise(one, Pass.parse(key))["language"] for key in ("vision", "vision+options"))
        assert one.question.is_options.sum() == 5
        torch.testing.assert_close(stays, torch.where(torch.from_numpy(one.question.is_options)[:, None], one.tokens["language"], hidden))


def test_every_draw_of_the_noise_is_another(twins):
    assert np.abs(twins[0].logits["none"] - twins[0].logits["none#1"]).min() > 1e-4


def test_statistics_are_those_of_all_tokens():
    model, some = loaded("llava"), samples(10)
    job = _job(model, some)
    statistics = job.statistics().arrays
    encoded = job.reader.encode(some)
    for name in ("vision", "language"):
        tokens = np.concatenate([one.tokens[name].numpy() for one in encoded]).astype(np.float64)
        np.testing.assert_allclose(statistics[f"mean/{name}"], tokens.mean(0), rtol=1e-10, atol=1e-12)
        np.testing.assert_allclose(statistics[f"std/{name}"], tokens.std(0), rtol=1e-10)
    assert sum(len(one.tokens["language"]) for one in encoded) == sum(len(one.question.replace("?", " ?").split()) for one in some)


def test_moments_keep_their_digits_far_from_zero():
    rows = torch.randn(1000, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) + 1e7
    moments = Moments()
    for part in rows.split([1, 499, 500]):
        moments.add(part)
    torch.testing.assert_close(moments.std, rows.std(0, correction=0), rtol=1e-7, atol=0)


def test_noise_belongs_to_the_sample_and_has_its_moments():
    mean, std = torch.tensor([1.0, -2.0]), torch.tensor([0.5, 3.0])
    calibration = Calibration({"vision": mean}, {"vision": std})
    draw = {"seed": 0, "sample_id": "a", "modality": "vision", "draw": 0}
    noise = calibration.noise(20_000, **draw)
    assert torch.equal(noise, calibration.noise(20_000, **draw))
    for change in ({"seed": 1}, {"sample_id": "b"}, {"draw": 1}):
        assert not torch.equal(noise, calibration.noise(20_000, **draw | change))
    torch.testing.assert_close(noise.mean(0), mean, rtol=0, atol=0.1)
    torch.testing.assert_close(noise.std(0), std, rtol=0.03, atol=0)


def test_passes_are_read_from_their_keys():
    assert Pass.parse("vision+language") == Pass(frozenset({"vision", "language"}))
    assert Pass.parse("none#3") == Pass(frozenset(), draw=3)
    with pytest.raises(ValueError, match="unknown pass 'visoin'; did you mean 'vision'"):
        Pass.parse("visoin")


def test_door_closes_behind_an_error():
    layer = torch.nn.Module()
    layer.forward = lambda inputs_embeds, input_ids=None: inputs_embeds
    with pytest.raises(KeyError), door(layer, lambda embeddings: {"inputs_embeds": embeddings + 1}):
        assert layer(inputs_embeds=torch.zeros(1)).item() == 1
        raise KeyError
    assert layer(inputs_embeds=torch.zeros(1)).item() == 0
