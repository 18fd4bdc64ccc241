"""Logits at the answer position, the lens, and what counts as a decision."""

import numpy as np
import pytest
import torch
from small_world import CANDIDATES, FAMILY_NAMES, loaded, samples

from pidlib.extraction import extract
from pidlib.extraction.readout import Head, candidate_mass, decide, tap


@pytest.mark.parametrize("family", FAMILY_NAMES)
def test_lens_at_the_last_block_is_the_models_answer(family):
    extraction = extract(loaded(family), samples(5), layers=(0, -1), progress=False)
    assert extraction.layers == (0, 1) and extraction.hidden.shape == (5, 2, 32)
    for key in extraction.logits:
        np.testing.assert_allclose(extraction.lens_logits[key][:, -1], extraction.logits[key], atol=1e-5)
        np.testing.assert_allclose(extraction.decisions(key, tau=0, layer=1), extraction.decisions(key, tau=0), atol=1e-6)
    assert np.abs(extraction.lens_logits["vision"][:, 0] - extraction.logits["vision"]).max() > 1e-2


def test_layers_that_do_not_exist_are_refused():
    with pytest.raises(ValueError, match="no block 2: the language model has 2, 0 to 1"):
        extract(loaded("llava"), samples(2), layers=(2,), progress=False)


def test_head_is_capped_where_the_model_caps_it():
    model, family = loaded("paligemma").model, loaded("paligemma").family
    hidden = torch.randn(3, 32, generator=torch.Generator().manual_seed(0))
    head = Head(model, family, torch.tensor([5, 6]))
    plain, _ = head(hidden)
    head.softcap = 0.5
    capped, log_normalizer = head(hidden)
    torch.testing.assert_close(capped, 0.5 * torch.tanh(plain / 0.5))
    assert log_normalizer.max() <= np.log(model.config.text_config.vocab_size) + 0.5


def test_tap_reads_one_place_of_each_row():
    block = torch.nn.Identity()
    states = torch.arange(12.0).reshape(2, 3, 2)
    with tap([block], torch.arange(2), torch.tensor([0, 2])) as read:
        block(states)
    block(states + 1)
    assert read[0].tolist() == [[0.0, 1.0], [10.0, 11.0]]


def test_decisions_fall_back_to_uniform_below_tau():
    logits, log_normalizer = np.log([[0.2, 0.1], [0.15, 0.14], [0.9, 0.1]]).astype(np.float32), np.zeros(3, np.float32)
    np.testing.assert_allclose(candidate_mass(logits, log_normalizer), [0.3, 0.29, 1.0], rtol=1e-6)
    np.testing.assert_allclose(decide(logits, log_normalizer, 0.295), [[2 / 3, 1 / 3], [0.5, 0.5], [0.9, 0.1]], rtol=1e-6)
    assert decide(logits, log_normalizer).dtype == np.float64


def test_extraction_tells_mass_fallback_and_accuracy():
    some = samples(8)
    extraction = extract(loaded("llava"), some, progress=False)
    mass = extraction.candidate_mass()
    assert ((0 < mass) & (mass < 1)).all()
    middle = float(np.median(mass))
    assert extraction.fallback(tau=middle) == np.mean(mass < middle) and extraction.fallback(tau=0) == 0
    uniform = (extraction.decisions(tau=middle) == 1 / len(CANDIDATES)).all(1)
    np.testing.assert_array_equal(uniform, mass < middle)
    best = extraction.logits["vision+language"].argmax(1)
    assert extraction.accuracy() == np.mean([CANDIDATES[one] == sample.answer for one, sample in zip(best, some, strict=True)])


def test_what_was_not_extracted_is_named():
    extraction = extract(loaded("llava"), samples(3), passes=["vision"], layers=(0,), progress=False)
    with pytest.raises(ValueError, match="no pass 'vision\\+language' here; there are vision"):
        extraction.decisions()
    with pytest.raises(ValueError, match="layer 1 was not read; there are \\(0,\\)"):
        extraction.decisions("vision", layer=1)
    with pytest.raises(ValueError, match="no resampled pairs; extract with partners=K"):
        extraction.resampled()
    assert extraction.hidden is None
