"""Logits at the answer position, the logit lens, and decisions."""

import copy
import functools
from dataclasses import replace

import numpy as np
import pytest
import torch
from small_world import CANDIDATES, FAMILY_NAMES, loaded, samples

from pidlib.extraction import extract
from pidlib.extraction.reader import capture_outputs
from pidlib.extraction.result import decide, is_undecided


@pytest.mark.parametrize("family", FAMILY_NAMES)
def test_lens_at_the_last_block_equals_the_answer(family):
    extraction = extract(loaded(family), samples(5), layers=(0, -1), progress=False)
    assert extraction.layers == (0, 1) and extraction.hidden.shape == (5, 2, 32)
    for key in extraction.logits:
        np.testing.assert_allclose(
            extraction.lens_logits[key][:, -1], extraction.logits[key], atol=1e-5
        )
        np.testing.assert_allclose(
            extraction.decisions(key, tau=0, layer=1), extraction.decisions(key, tau=0), atol=1e-6
        )
    assert np.abs(extraction.lens_logits["vision"][:, 0] - extraction.logits["vision"]).max() > 1e-2


def test_missing_layers_are_refused():
    with pytest.raises(ValueError, match="no block 2: the language model has 2, 0 to 1"):
        extract(loaded("llava"), samples(2), layers=(2,), progress=False)


def test_answer_and_lens_follow_the_forward_pass_to_the_end():
    model, data = loaded("gemma3"), samples(3)
    plain = extract(model, data, layers=(0, -1), progress=False)
    capped = replace(model, model=copy.deepcopy(model.model))
    forward = capped.model.forward

    @functools.wraps(forward)
    def cap(*args, **kwargs):
        output = forward(*args, **kwargs)
        output.logits = 0.5 * torch.tanh(output.logits / 0.5)
        return output

    capped.model.forward = cap
    extraction = extract(capped, data, layers=(0, -1), progress=False)
    for key in ("logits", "lens_logits"):
        expected = 0.5 * np.tanh(getattr(plain, key)["vision"] / 0.5)
        np.testing.assert_allclose(getattr(extraction, key)["vision"], expected, atol=1e-5)


def test_capture_outputs_reads_one_position_of_each_row():
    block = torch.nn.Identity()
    states = torch.arange(12.0).reshape(2, 3, 2)
    with capture_outputs([block], (torch.arange(2), torch.tensor([0, 2]))) as read:
        block(states)
    block(states + 1)
    assert read[0].tolist() == [[0.0, 1.0], [10.0, 11.0]]


def test_decisions_fall_back_to_uniform_below_tau():
    logits, log_normalizer = (
        np.log([[0.2, 0.1], [0.15, 0.14], [0.9, 0.1]]).astype(np.float32),
        np.zeros(3, np.float32),
    )
    assert is_undecided(logits, log_normalizer, 0.295).tolist() == [False, True, False]
    np.testing.assert_allclose(
        decide(logits, log_normalizer, 0.295), [[2 / 3, 1 / 3], [0.5, 0.5], [0.9, 0.1]], rtol=1e-6
    )
    assert decide(logits, log_normalizer).dtype == np.float64


def test_mass_fallback_and_accuracy():
    data = samples(8)
    extraction = extract(loaded("llava"), data, progress=False)
    logits, log_normalizer = (
        values["vision+language"].astype(np.float64)
        for values in (extraction.logits, extraction.log_normalizer)
    )
    mass = np.exp(logits - log_normalizer[:, None]).sum(1)
    assert ((0 < mass) & (mass < 1)).all()
    middle = float(np.median(mass))
    assert (
        extraction.fallback(tau=middle) == np.mean(mass < middle)
        and extraction.fallback(tau=0) == 0
    )
    uniform = (extraction.decisions(tau=middle) == 1 / len(CANDIDATES)).all(1)
    np.testing.assert_array_equal(uniform, mass < middle)
    best = extraction.logits["vision+language"].argmax(1)
    assert extraction.accuracy() == np.mean(
        [CANDIDATES[item] == sample.answer for item, sample in zip(best, data, strict=True)]
    )


def test_missing_parts_name_the_call_that_extracts_them():
    extraction = extract(
        loaded("llava"), samples(3), passes=["vision"], layers=(0,), progress=False
    )
    with pytest.raises(ValueError, match=r"not extracted: vision\+language \(extracted: vision\);"):
        extraction.decisions()
    with pytest.raises(ValueError, match="layer 1 was not extracted; extracted: \\(0,\\)"):
        extraction.decisions("vision", layer=1)
    with pytest.raises(ValueError, match="no resampled pairs were extracted; call extract"):
        extraction.resampled()
    with pytest.raises(ValueError, match="did you mean 'vision'"):
        extraction.decisions("visoin")
    missing = (
        r"not extracted: vision\+language, language .*passes=\('vision', 'vision\+language', 'l"
    )
    with pytest.raises(ValueError, match=missing):
        extraction.masked()
    assert extraction.hidden is None


@pytest.mark.parametrize("tau", [-0.1, 1.01, float("nan")])
def test_tau_outside_the_unit_interval_is_refused(tau):
    extraction = extract(loaded("llava"), samples(3), partners=4, progress=False)
    reads = (extraction.decisions, extraction.fallback, extraction.masked, extraction.resampled)
    for read in reads:
        with pytest.raises(ValueError, match="tau is a share of probability, from 0 to 1; got"):
            read(tau=tau)


def test_correct_is_the_most_likely_candidate():
    extraction = extract(loaded("llava"), samples(8), progress=False)
    best = [CANDIDATES[row] for row in extraction.logits["vision"].argmax(1)]
    expected = [name == answer for name, answer in zip(best, extraction.answers, strict=True)]
    assert extraction.correct("vision").tolist() == expected
