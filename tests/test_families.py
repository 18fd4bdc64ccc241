"""Each row of the table fits its architecture, and the extractor's full pass is the model's own forward pass."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from small_world import FAMILY_NAMES, loaded, samples, tiled
from transformers import LlamaConfig

from pidlib.extraction import FAMILIES, extract, family_of
from pidlib.extraction.readout import tap


@pytest.mark.parametrize("family", [*FAMILY_NAMES, "tiled"])
def test_full_pass_is_the_models_own(family):
    model, some = (tiled() if family == "tiled" else loaded(family)), samples(6)
    if family == "tiled":
        some = [replace(one, image=one.image.resize(((64, 64), (128, 64))[index % 2])) for index, one in enumerate(some)]
    extraction = extract(model, some, passes=["vision+language"], layers=(0, -1), progress=False)
    tokens = model.processor.tokenizer.convert_tokens_to_ids(list(extraction.candidates))
    for index, sample in enumerate(some):
        content = [{"type": "image"}, {"type": "text", "text": sample.question}]
        if model.processor.chat_template:
            text = model.processor.apply_chat_template([{"role": "user", "content": content}], add_generation_prompt=True)
        else:
            text = {"paligemma": "<image>{}", "blip": "<s>question: {} answer:"}[family].format(sample.question)
        inputs = model.processor(text=[text], images=[[sample.image]], return_tensors="pt")
        inputs.pop("labels", None)
        with torch.inference_mode(), tap(model.family.blocks_of(model.model)[:1], slice(None), slice(None)) as states:
            logits = model.model(**inputs).logits[0, -1]
        np.testing.assert_allclose(extraction.logits["vision+language"][index], logits[tokens], atol=1e-5)
        np.testing.assert_allclose(extraction.log_normalizer["vision+language"][index], logits.logsumexp(-1), atol=1e-5)
        np.testing.assert_allclose(extraction.hidden[index, 0], states[0][0, -1], atol=1e-5)


@pytest.mark.parametrize("family", FAMILY_NAMES)
def test_without_a_picture_the_prompt_is_the_chat_alone(family):
    model = loaded(family)
    some = [replace(one, image=None) for one in samples(6)]
    asked = {"passes": ["vision+language"], "layers": (-1,), "tokens": True, "progress": False}
    extraction = extract(model, some, **asked)
    np.testing.assert_allclose(extraction.hidden, extract(model, some, batch_size=1, **asked).hidden, atol=1e-5)
    assert list(extraction.embeddings) == ["language"] and list(extraction.tokens) == ["language", "hidden"]
    for index, sample in enumerate(some):
        if model.processor.chat_template:
            content = [{"type": "text", "text": sample.question}]
            text = model.processor.apply_chat_template([{"role": "user", "content": content}], add_generation_prompt=True)
            inputs = model.processor(text=[text], return_tensors="pt")
        elif family == "paligemma":
            inputs = model.processor.tokenizer(f"<s>{sample.question}\n", return_token_type_ids=True, return_tensors="pt")
        else:
            inputs = model.processor(text=[f"<s>question: {sample.question} answer:"], return_tensors="pt")
        with torch.inference_mode():
            answer = model.model.text_decoder if family == "blip" else model.model
            logits = answer(**inputs).logits[0, -1]
        np.testing.assert_allclose(extraction.log_normalizer["vision+language"][index], logits.logsumexp(-1), atol=1e-5)
        assert len(extraction.tokens["hidden"][index]) == inputs["input_ids"].shape[1]


@pytest.mark.parametrize("family", FAMILY_NAMES)
def test_row_is_keyed_by_the_model_type(family):
    assert family_of(loaded(family).model) is FAMILIES[family]


def test_unknown_family_is_refused_with_the_known_ones():
    class Text:
        config = LlamaConfig()

    with pytest.raises(ValueError, match="no extractor for model type 'llama'; there is one for llava, llava_onevision, "):
        family_of(Text())


def test_block_that_is_passed_over_without_a_picture_is_refused():
    model = loaded("mllama")
    with pytest.raises(ValueError, match="looks at pictures alone and is passed over without one; leave it out"):
        extract(model, [replace(one, image=None) for one in samples(2)], passes=["vision+language"], layers=(0,), progress=False)
