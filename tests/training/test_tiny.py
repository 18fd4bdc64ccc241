"""Tiny models: tokens in reading order, batching, gradients, sizes, seeds, saving."""

import copy
from dataclasses import replace

import pytest
import torch
from PIL import Image, ImageDraw
from small_world import (
    CANDIDATES,
    FAMILY_NAMES,
    loaded,
    random_model,
    sample,
    samples,
)

from pidlib.models import LoadedModel, family_of, load_model
from pidlib.models.load import folder_revision
from pidlib.training import tiny
from pidlib.training.loop import encode

CROSS = "self_attn.o_proj.weight", "self_attn.projection.weight"


def picture(cell=None) -> Image.Image:
    image = Image.new("RGB", (64, 64), "gray")
    if cell is not None:
        row, column = divmod(cell, 4)
        ImageDraw.Draw(image).rectangle(
            (16 * column + 2, 16 * row + 2, 16 * column + 13, 16 * row + 13), fill="red"
        )
    return image


@pytest.mark.parametrize("family", FAMILY_NAMES)
def test_sixteen_tokens_in_reading_order(family):
    model = copy.deepcopy(loaded(family).model)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if name.endswith(
                (
                    "attn.out_proj.weight",
                    "attention.projection_layer.weight",
                    "attn.proj.weight",
                    *CROSS,
                )
            ):
                weight.zero_()  # so that patches do not attend to each other
    inputs = loaded(family).processor.image_processor(
        [[picture()], *([picture(cell)] for cell in range(16))], return_tensors="pt"
    )
    with torch.no_grad():
        features = family_of(model).encode(model, inputs)["vision"].pooler_output
    width = model.config.text_config.hidden_size
    empty, *shown = [item[family_of(model).n_prefix_tokens :][:16] for item in features]
    assert all(item.shape == (16, width) for item in shown)
    assert [(item != empty).any(-1).nonzero().flatten().tolist() for item in shown] == [
        [cell] for cell in range(16)
    ]


def minimal(family) -> LoadedModel:
    model, processor = random_model(family)
    cpu = torch.device("cpu")
    return LoadedModel(family, model, processor, family_of(model), "0" * 40, cpu)


@pytest.mark.parametrize("family", FAMILY_NAMES)
def test_answers_do_not_depend_on_padding(family):
    mini = minimal(family)
    model, processor = mini.model, mini.processor
    batch = samples(4)
    with torch.no_grad():
        together = model(**encode(mini, batch), logits_to_keep=1).logits[:, -1]
        alone = [model(**encode(mini, [item]), logits_to_keep=1).logits[:, -1] for item in batch]
    assert together.shape == (4, len(processor.tokenizer))
    torch.testing.assert_close(together, torch.cat(alone), rtol=0, atol=1e-5)


@pytest.mark.parametrize("family", FAMILY_NAMES)
def test_gradient_reaches_every_weight(family):
    mini = minimal(family)
    model, processor = mini.model, mini.processor
    answer = processor.tokenizer.convert_tokens_to_ids(CANDIDATES[0])
    model(**encode(mini, [sample(0)]), logits_to_keep=1).logits[0, -1, answer].backward()
    silent = {name for name, weight in model.named_parameters() if weight.grad is None}
    assert {name.split(".")[-2] for name in silent} <= {
        "post_layernorm"
    }  # LLaVA uses the features before it


def test_sizes_grow():
    assert list(tiny.SIZES) == ["tiny", "compact", "small", "deep"]
    counts = [
        sum(weight.numel() for weight in random_model("llava", size=size)[0].parameters())
        for size in ("tiny", "compact", "small", "deep")
    ]
    assert 50_000 < counts[0] < 150_000 < counts[1] < 500_000 < counts[2] < counts[3] < 2_000_000


@pytest.mark.parametrize("family", FAMILY_NAMES)
def test_saved_model_loads_the_same(family, tmp_path):
    model, processor = random_model(family, seed=1)
    model.save_pretrained(tmp_path)
    processor.save_pretrained(tmp_path)
    again = load_model(tmp_path, device="cpu")
    inputs = encode(again, samples(4))
    assert inputs.keys() == encode(replace(again, processor=processor), samples(4)).keys()
    with torch.no_grad():
        assert torch.equal(again.model(**inputs).logits, model(**inputs).logits)
    assert again.family.name == family
    assert again.revision == folder_revision(tmp_path) and len(again.revision) == 40


def test_seed_decides_the_weights_and_the_global_generator_is_unchanged():
    state = torch.get_rng_state()
    first, again, other = (random_model("llava", seed=seed)[0].state_dict() for seed in (0, 0, 1))
    assert torch.equal(state, torch.get_rng_state())
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not all(torch.equal(first[name], other[name]) for name in first)


def test_build_refuses():
    with pytest.raises(ValueError, match="unknown family of minis 'lava'; did you mean 'llava'"):
        tiny.build("lava", [])
    with pytest.raises(ValueError, match="unknown size 'huge'"):
        tiny.build("llava", [], "huge")
