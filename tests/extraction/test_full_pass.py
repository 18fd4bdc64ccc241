"""The extractor's full pass equals the model's own forward pass, for every family."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from small_world import FAMILY_NAMES, loaded, samples, tiled

from pidlib.extraction import extract
from pidlib.extraction.reader import capture_outputs


@pytest.mark.parametrize("family", [*FAMILY_NAMES, "tiled", "internvl of tiles"])
def test_full_pass_equals_the_models_forward(family):
    family, is_tiled = family.split()[0], family not in FAMILY_NAMES
    model, data = (tiled() if family == "tiled" else loaded(family)), samples(6)
    if is_tiled:
        data = [
            replace(item, image=item.image.resize(((64, 64), (128, 64))[index % 2]))
            for index, item in enumerate(data)
        ]
    extraction = extract(model, data, passes=["vision+language"], layers=(0, -1), progress=False)
    tokens = model.processor.tokenizer.convert_tokens_to_ids(list(extraction.candidates))
    for index, sample in enumerate(data):
        content = [{"type": "image"}, {"type": "text", "text": sample.question}]
        if model.processor.chat_template:
            text = model.processor.apply_chat_template(
                [{"role": "user", "content": content}], add_generation_prompt=True
            )
        else:
            text = {"paligemma": "<image>{}", "blip": "<s>question: {} answer:"}[family].format(
                sample.question
            )
        inputs = model.processor(text=[text], images=[[sample.image]], return_tensors="pt")
        inputs.pop("labels", None)
        with (
            torch.inference_mode(),
            capture_outputs(model.family.blocks_of(model.model)[:1], (slice(None),)) as states,
        ):
            logits = model.model(**inputs).logits[0, -1]
        np.testing.assert_allclose(
            extraction.logits["vision+language"][index], logits[tokens], atol=1e-5
        )
        np.testing.assert_allclose(
            extraction.log_normalizer["vision+language"][index], logits.logsumexp(-1), atol=1e-5
        )
        np.testing.assert_allclose(extraction.hidden[index, 0], states[0][0, -1], atol=1e-5)


@pytest.mark.parametrize("family", FAMILY_NAMES)
def test_text_only_prompt_has_no_placeholder(family):
    model = loaded(family)
    data = [replace(item, image=None) for item in samples(6)]
    arguments = {"passes": ["vision+language"], "layers": (-1,), "tokens": True, "progress": False}
    extraction = extract(model, data, **arguments)
    np.testing.assert_allclose(
        extraction.hidden, extract(model, data, batch_size=1, **arguments).hidden, atol=1e-5
    )
    assert list(extraction.embeddings) == ["language"] and list(extraction.tokens) == [
        "language",
        "hidden",
    ]
    for index, sample in enumerate(data):
        if model.processor.chat_template:
            content = [{"type": "text", "text": sample.question}]
            text = model.processor.apply_chat_template(
                [{"role": "user", "content": content}], add_generation_prompt=True
            )
            inputs = model.processor(text=[text], return_tensors="pt")
        elif family == "paligemma":
            inputs = model.processor.tokenizer(
                f"<s>{sample.question}\n", return_token_type_ids=True, return_tensors="pt"
            )
        else:
            inputs = model.processor(
                text=[f"<s>question: {sample.question} answer:"], return_tensors="pt"
            )
        with torch.inference_mode():
            answer = model.model.text_decoder if family == "blip" else model.model
            logits = answer(**inputs).logits[0, -1]
        np.testing.assert_allclose(
            extraction.log_normalizer["vision+language"][index], logits.logsumexp(-1), atol=1e-5
        )
        assert len(extraction.tokens["hidden"][index]) == inputs["input_ids"].shape[1]


def test_cross_attention_layer_without_a_picture_is_refused():
    model = loaded("mllama")
    with pytest.raises(
        ValueError, match="attends to pictures only and is skipped without them; leave it out"
    ):
        extract(
            model,
            [replace(item, image=None) for item in samples(2)],
            passes=["vision+language"],
            layers=(0,),
            progress=False,
        )
