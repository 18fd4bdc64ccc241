"""Every family's small instance shows the language model a picture as the same sixteen tokens, and can be trained as one."""

import copy

import pytest
import torch
from PIL import Image, ImageDraw
from small_world import CANDIDATES, FAMILY_NAMES, WORDS, loaded, sample, samples

from pidlib.extraction import family_of
from pidlib.models import LoadedModel, tiny, training

CROSS = "self_attn.o_proj.weight", "self_attn.projection.weight"


def picture(cell=None) -> Image.Image:
    image = Image.new("RGB", (64, 64), "gray")
    if cell is not None:
        row, column = divmod(cell, 4)
        ImageDraw.Draw(image).rectangle((16 * column + 2, 16 * row + 2, 16 * column + 13, 16 * row + 13), fill="red")
    return image


@pytest.mark.parametrize("family", FAMILY_NAMES)
def test_sixteen_tokens_in_reading_order(family):
    model = copy.deepcopy(loaded(family).model)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if name.endswith(("attn.out_proj.weight", "attention.projection_layer.weight", "attn.proj.weight", *CROSS)):
                weight.zero_()  # so that no patch hears of another
    inputs = loaded(family).processor.image_processor([[picture()], *([picture(cell)] for cell in range(16))], return_tensors="pt")
    with torch.no_grad():
        features = family_of(model).see(model, {name: inputs[name] for name in family_of(model).tower_inputs})
    width = model.config.text_config.hidden_size
    empty, *shown = [one[family_of(model).leading :][:16, :width] for one in features]
    assert all(one.shape == (16, width) for one in shown)
    assert [(one != empty).any(-1).nonzero().flatten().tolist() for one in shown] == [[cell] for cell in range(16)]


@pytest.mark.parametrize("family", FAMILY_NAMES)
def test_answers_to_whole_samples_in_a_padded_batch_are_those_alone(family):
    model, processor = tiny.build(family, WORDS, "tiny")
    mini = LoadedModel(family, model, processor, family_of(model), "0" * 40, torch.device("cpu"))
    some = samples(4)
    with torch.no_grad():
        batch = model(**training.encode(mini, some), logits_to_keep=1).logits[:, -1]
        alone = torch.cat([model(**training.encode(mini, [one]), logits_to_keep=1).logits[:, -1] for one in some])
    assert batch.shape == (4, len(processor.tokenizer))
    torch.testing.assert_close(batch, alone, rtol=0, atol=1e-5)


@pytest.mark.parametrize("family", FAMILY_NAMES)
def test_the_answer_reaches_every_weight(family):
    model, processor = tiny.build(family, WORDS, "tiny")
    mini = LoadedModel(family, model, processor, family_of(model), "0" * 40, torch.device("cpu"))
    answer = processor.tokenizer.convert_tokens_to_ids(CANDIDATES[0])
    model(**training.encode(mini, [sample(0)]), logits_to_keep=1).logits[0, -1, answer].backward()
    silent = {name for name, weight in model.named_parameters() if weight.grad is None}
    assert {name.split(".")[-2] for name in silent} <= {"post_layernorm"}  # LLaVA reads the tower before it


def test_sizes_grow():
    assert list(tiny.SIZES) == ["tiny", "compact", "small"]
    counts = [sum(weight.numel() for weight in tiny.build("llava", WORDS, size)[0].parameters()) for size in tiny.SIZES]
    assert 50_000 < counts[0] < 150_000 < counts[1] < 500_000 < counts[2] < 2_000_000
