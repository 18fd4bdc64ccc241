"""Assembling a model, on tiny parts made here."""

import json
import re

import pytest
import torch
from PIL import Image

from pidlib import load_benchmark, load_model
from pidlib._common import project_root
from pidlib.experiments.real import parts, population
from pidlib.extraction import FULL, extract
from pidlib.models._transformers import transformers
from tests.experiments.real import tiny_parts as tiny


def assembled(folder, projector=None):
    words = tiny.tokenizer()
    tower = transformers.EfficientNetModel(transformers.EfficientNetConfig(**tiny.TOWER))
    tower = parts.vision_tower(tiny.lite_state(tower), tiny.TOWER)
    # two blocks of stride 2 instead of five: the tiny tower halves a side twice
    parts.assemble(tower, tiny.language(len(words)), words, folder, projector, side=32, patch=4)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("real") / "model"
    assembled(folder)
    return folder


def test_language_model_of_a_gguf_file_equals_the_model_it_was_made_of():
    source = tiny.language(50)
    model = parts.language_model(tiny.FACTS, tiny.gguf_weights(source))
    ids = torch.arange(24).reshape(2, 12)
    with torch.no_grad():
        assert torch.equal(model.eval()(ids).logits, source(ids).logits)
    assert model.lm_head.weight is model.model.embed_tokens.weight


def test_tower_has_open_gates_and_the_weights_in_order():
    torch.manual_seed(0)
    source = transformers.EfficientNetModel(transformers.EfficientNetConfig(**tiny.TOWER))
    state = tiny.lite_state(source)
    tower = parts.vision_tower(state, tiny.TOWER).eval()
    own = [v for k, v in tower.state_dict().items() if "squeeze_excite" not in k]
    assert all(map(torch.equal, own, list(state.values())[:-2]))
    states = []
    for block in tower.encoder.blocks:
        hook = lambda _, x, y: states.append((x[0], y))  # noqa: E731
        block.squeeze_excite.register_forward_hook(hook)
    with torch.no_grad():
        tower(torch.randn(2, 3, 32, 32))
    assert len(states) == 3 and all(torch.equal(x, y) for x, y in states)
    with pytest.raises(ValueError, match="zip"):
        parts.vision_tower(dict(list(state.items())[3:]), tiny.TOWER)


def test_assembled_model_is_read_and_profiled(folder):
    model = load_model(folder)
    assert model.family.name == "fast_vlm" and model.family.media == {"vision": "image"}
    weights = model.model.get_input_embeddings().weight
    assert weights.data_ptr() == model.model.lm_head.weight.data_ptr()
    assert not weights[model.model.config.image_token_id].any()
    samples = load_benchmark("stamps/pair", n=3)
    answers = extract(model, samples, partners=1, progress=False)
    assert answers.decisions().shape == (3, 6)
    assert (
        model.processor.apply_chat_template(
            [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "So?"}]}]
        )
        == "<|im_start|>user\n<image>\nSo?<|im_end|>\n<|im_start|>assistant\n"
    )


def test_assembling_again_gives_the_same_files(folder, tmp_path):
    assembled(tmp_path)
    assert load_model(tmp_path).revision == load_model(folder).revision


def test_merged_model_answers_as_the_model_with_its_adapter(folder, tmp_path):
    tuned, samples = population.adapted(load_model(folder), 0), load_benchmark("stamps/pair", n=3)
    for name, weights in tuned.model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weights, std=0.1)
    population.lora._save(tuned.model, str(folder), tmp_path / "adapter")
    parts.merge(folder, tmp_path / "adapter", tmp_path / "merged")
    places = folder, f"{folder}+{tmp_path / 'adapter'}", tmp_path / "merged"
    plain, adapted, merged = (
        torch.as_tensor(extract(load_model(each), samples, progress=False).logits[FULL])
        for each in places
    )
    assert torch.allclose(merged, adapted, atol=1e-4) and not torch.allclose(plain, adapted, 0.01)


def test_pictures_are_normalized_as_the_tower_was_trained(folder):
    processor = load_model(folder).processor
    image = Image.new("RGB", (50, 40), (127, 255, 0))
    pixels = processor.image_processor(image, return_tensors="pt")["pixel_values"][0]
    assert pixels.shape == (3, 32, 32)
    assert pixels[:, 9, 9].tolist() == pytest.approx([0, 1, -127 / 128], abs=1e-5)


def test_parts_are_pinned_and_in_no_other_list():
    root = project_root()
    lines = (root / "requirements-real.txt").read_text().splitlines()
    pinned = [line for line in lines if not line.startswith("#")]
    assert pinned and all(
        re.fullmatch(r"[\w-]+==[\d.]+ --hash=sha256:[0-9a-f]{64}", line) for line in pinned
    )
    names = {line.split("==")[0] for line in pinned}
    locked = (root / "requirements.lock").read_text() + (root / "pyproject.toml").read_text()
    assert not [name for name in names if name in locked]
    packages = {path.split("/")[0].replace("_", "-") for path in (parts.LANGUAGE, parts.VISION)}
    assert packages < names


def test_committed_adapters_are_small_and_complete():
    folders = [path.parent for path in parts.ADAPTERS.glob("*/adapter_config.json")]
    sizes = [path.stat().st_size for path in parts.ADAPTERS.rglob("*.safetensors")]
    assert max(sizes, default=0) < 5e6 and sum(sizes) < 20e6
    for folder in folders:
        facts = json.loads((folder / "adapter_config.json").read_text())
        assert facts["base_model_name_or_path"] == "build/real/fast_vlm"
        assert facts["revision"] is None and facts["peft_type"] == "LORA"
