"""Models that nothing was written for are read as they are, or refused with what failed."""

import re
import warnings
from dataclasses import replace

import numpy as np
import pytest
from small_world import film, samples

from models import zoo
from models.zoo import ZOO, load
from pidlib.extraction import extract, reader
from pidlib.extraction.prompts import Prompter
from pidlib.models import FAMILIES

BATCHES_OF_ONE = {"hunyuan_vl"}
SIZES = ((64, 64), (128, 64), (48, 96))


@pytest.mark.parametrize("name", ZOO)
def test_any_model_is_read_as_it_answers_itself(name):
    """The test of `proof` passes; pairs of a picture and another's question are as if alone."""
    model = load(name)
    data = [
        replace(item, image=item.image.resize(SIZES[index % 3]))
        for index, item in enumerate(samples(3))
    ]
    arguments = {"passes": ["vision+language"], "progress": False}
    with warnings.catch_warnings(record=True) as raised:
        warnings.simplefilter("always")
        pairs = extract(model, data, partners=16, **arguments).pairs
    alone = [f"{name}: rows of a batch" in str(item.message) for item in raised]
    assert any(alone) == (name in BATCHES_OF_ONE)
    asked = [
        replace(data[v], sample_id=f"{v} {t}", question=data[t].question) for v, t in pairs.index
    ]
    expected = extract(model, asked, batch_size=1, **arguments).logits["vision+language"]
    np.testing.assert_allclose(pairs.logits, expected, atol=1e-5)
    assert np.abs(pairs.logits - pairs.logits[0]).max() > 1e-3


def extracted(name, **arguments):
    return extract(load(name), samples(3), progress=False, **arguments)


def test_ids_of_a_masked_question_are_named_where_they_are_read(monkeypatch):
    """Blocks that look up ids would read them, although their embeddings are noise."""
    collate = reader.collate

    def forgetful(rows, noise, pad):
        return collate(rows, [{}] * len(rows), pad)[0], collate(rows, noise, pad)[1]

    monkeypatch.setattr(reader, "collate", forgetful)
    with pytest.raises(ValueError, match="masked language is read in .*per_layer_inputs"):
        extracted("gemma4")
    with pytest.raises(ValueError, match="masked language is read in .*ple_input_ids"):
        extracted("qwen4_exp")


def test_tokens_that_are_not_masked_are_found(monkeypatch):
    def shifted(self, data, tokenize=Prompter.tokenize):
        inputs, prompts = tokenize(self, data)
        moved = [(replace(q, is_language=np.roll(q.is_language, 1)), p) for q, p in prompts]
        return inputs, moved

    monkeypatch.setattr(Prompter, "tokenize", shifted)
    with pytest.raises(ValueError, match="masked language is read in .*inputs_embeds"):
        extracted("aya_vision")


def test_features_that_are_not_masked_are_found(monkeypatch):
    def first_picture(self, values):
        return self._output

    monkeypatch.setattr(reader.Seams, "output", first_picture)
    with pytest.raises(ValueError, match="another vision does not change the answer|own forward"):
        extracted("llava_pixtral")


def test_layers_whose_lens_is_not_the_answer_are_refused():
    with pytest.raises(ValueError, match="qwen4_exp cannot be read: .*lens.*; leave out layers"):
        extracted("qwen4_exp", layers=(0,))
    assert extracted("granite4_vision", layers=(-1,)).layers == (2,)


def test_clips_of_a_model_with_deepstack(monkeypatch):
    data = [film(index) for index in range(3)]
    words = {word for item in data for word in re.findall(r"\w+", item.text)}
    monkeypatch.setitem(zoo.ZOO, "qwen3_omni", zoo.qwen3_omni)
    model = load("qwen3_omni", {*words, *data[0].candidates})
    assert model.family is FAMILIES["qwen3_omni_moe"]
    passes = ("vision+audio+language", "vision+language", "audio+language")
    extraction = extract(model, data, passes=passes, progress=False)
    assert extraction.embeddings["vision"].shape[1] == 32
    assert np.abs(np.diff([extraction.logits[key] for key in passes], axis=0)).min() > 1e-6
