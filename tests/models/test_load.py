"""Loading by name, folder and hub id, and the revision of a folder."""

import json
import re
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
import transformers as hf
from safetensors.torch import save_file
from small_world import random_model, samples

from pidlib.extraction import extract
from pidlib.extraction.masking import FULL
from pidlib.models import FAMILIES, load_model
from pidlib.models.checkpoints import CHECKPOINTS
from pidlib.models.load import MINIS, check_memory, check_processor, folder_revision, resolve
from pidlib.training.tiny import build

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.mark.parametrize(
    ("name", "revision", "message"),
    [
        ("lava", None, "unknown model 'lava'; did you mean 'llava'"),
        ("owner/checkpoint", None, "40-hex commit"),
        ("owner/checkpoint", "main", "40-hex commit"),
        ("runs/checkpoint", None, "there is no folder .*/runs/checkpoint"),
        ("/runs/a/checkpoint", None, "there is no folder /runs/a/checkpoint; give"),
        ("./lava", None, "there is no folder .*/lava; give"),
    ],
)
def test_load_refuses(name, revision, message):
    with pytest.raises(ValueError, match=message):
        load_model(name, revision=revision)


def test_only_a_bare_name_is_a_mini(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert resolve("llava") == (MINIS / "llava", None)
    with pytest.raises(ValueError, match="there is no folder"):
        resolve("./llava")
    (tmp_path / "llava").mkdir()
    (tmp_path / "llava/config.json").write_text("{}")
    assert resolve("./llava")[0] == resolve(tmp_path / "llava")[0].relative_to(tmp_path)
    with pytest.warns(UserWarning, match=r"llava is a mini, .* and a folder; give ./llava"):
        assert resolve("llava") == (MINIS / "llava", None)


@pytest.mark.parametrize("load", [resolve, lambda name, commit: load_model(name, revision=commit)])
def test_revision_of_a_folder_is_the_hash_of_its_files(load):
    actual = folder_revision(MINIS / "llava_compact")
    load("llava_compact", actual)
    for revision in (COMMIT, "main"):
        with pytest.raises(ValueError, match=f"folder with revision {actual}, .*'{revision}'"):
            load("llava_compact", revision)


@pytest.mark.parametrize(
    "file", ["processor_config.json", "tokenizer.json", "chat_template.jinja", "config.json"]
)
def test_any_file_of_a_model_is_part_of_its_revision(file, tmp_path):
    model, processor = build("llava", ["red"], "tiny")
    model.save_pretrained(tmp_path)
    processor.save_pretrained(tmp_path)
    before = folder_revision(tmp_path)
    (tmp_path / "README.md").write_text("a card")
    assert folder_revision(tmp_path) == before
    (tmp_path / file).write_text((tmp_path / file).read_text() + " ")
    assert folder_revision(tmp_path) != before


@pytest.mark.parametrize("name", [name for name, item in CHECKPOINTS.items() if item.reason])
@pytest.mark.parametrize("requested", [{"revision": COMMIT}, {"allow_unpinned": True}])
def test_unsupported_checkpoint_is_refused_with_the_reason(name, requested):
    with pytest.raises(
        ValueError, match=re.escape(f"{name} cannot be loaded: {CHECKPOINTS[name].reason}")
    ):
        load_model(name, **requested)


def test_unpinned_checkpoint_is_refused_with_a_commit_to_pin():
    name = "Qwen/Qwen2.5-VL-7B-Instruct"
    with pytest.raises(
        ValueError, match=f"such as {name}@{CHECKPOINTS[name].revision}, or allow_unpinned"
    ):
        resolve(name)
    with pytest.raises(ValueError, match="given with revision 'main'; give a 40-hex commit"):
        resolve(name, "main", allow_unpinned=True)
    assert resolve(name, allow_unpinned=True) == (None, None)
    assert resolve(name, COMMIT) == (None, COMMIT)


def test_weights_that_exceed_the_gpu_are_refused_before_download():
    check_memory("Qwen/Qwen2.5-VL-7B-Instruct", 79)
    check_memory("owner/unknown", 1)
    with pytest.raises(
        ValueError, match="Qwen/Qwen2.5-VL-72B-Instruct needs about 164 GiB and the GPU has 79"
    ):
        check_memory("Qwen/Qwen2.5-VL-72B-Instruct", 79)


def test_revision_is_the_commit_that_was_read(tmp_path, monkeypatch):
    stored = tmp_path / "models--owner--tiny"
    for part in build("llava", ["red"], "tiny"):
        part.save_pretrained(stored / "snapshots" / COMMIT)
    (stored / "refs").mkdir()
    (stored / "refs" / "main").write_text(COMMIT)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    for requested in ({"revision": COMMIT}, {"allow_unpinned": True}):
        assert load_model("owner/tiny", device="cpu", **requested).revision == COMMIT


def test_text_generating_submodel_is_loaded(tmp_path):
    thinker, processor = build("qwen2_5_omni", ["red"], "tiny")
    hf.Qwen2_5OmniConfig(thinker_config=thinker.config.to_dict()).save_pretrained(tmp_path)
    processor.save_pretrained(tmp_path)
    # Names as on the hub, from before transformers moved a thinker's parts into a submodule.
    parts = re.compile(r"^model\.(?=visual|audio_tower)|(?<=^model\.)language_model\.")
    weights = {
        f"thinker.{parts.sub('', name)}": value.clone()
        for name, value in thinker.state_dict().items()
    }
    assert {
        "thinker.model.norm.weight",
        "thinker.lm_head.weight",
        "thinker.audio_tower.conv1.weight",
    } <= set(weights)
    save_file(
        weights | {"talker.weight": torch.zeros(1), "token2wav.weight": torch.zeros(1)},
        tmp_path / "model.safetensors",
    )
    loaded = load_model(tmp_path, device="cpu")
    assert loaded.family is FAMILIES["qwen2_5_omni"] and type(loaded.model) is type(thinker)
    assert all(
        torch.equal(value, thinker.state_dict()[name])
        for name, value in loaded.model.state_dict().items()
    )


def test_options_of_model_and_processor_are_used_and_identify_an_extraction(tmp_path):
    for part in random_model("internvl"):
        part.save_pretrained(tmp_path)
    data = [replace(item, image=item.image.resize((128, 64))) for item in samples(3)]

    def extracted(**options):
        loaded = load_model(tmp_path, device="cpu", **options)
        return loaded, extract(loaded, data, passes=["vision+language"], progress=False)

    _, plain = extracted()
    full = "vision+language"
    eager, same = extracted(model_options={"attn_implementation": "eager", "device_map": "cpu"})
    assert eager.model.config._attn_implementation == "eager"
    np.testing.assert_allclose(same.logits[full], plain.logits[full], atol=1e-5)
    _, whole = extracted(processor_options={"crop_to_patches": False})
    assert np.abs(whole.logits[full] - plain.logits[full]).max() > 1e-5
    assert len({each.fingerprint for each in (plain, same, whole)}) == 3


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("model.safetensors", b"version https://git-lfs.github.com/spec/v1\noid", "git lfs pull"),
        ("tokenizer.json", b"version https://git-lfs.github.com/spec/v1\noid", "git lfs pull"),
        ("model.safetensors", None, "copy it again"),
    ],
)
def test_files_that_are_not_whole_are_named(tmp_path, file, content, message):
    for part in build("llava", ["red"], "tiny"):
        part.save_pretrained(tmp_path)
    path = tmp_path / file
    path.write_bytes(path.read_bytes()[:-5] if content is None else content)
    with pytest.raises(ValueError, match=f"{re.escape(str(path))} is .*{message}"):
        load_model(tmp_path, device="cpu")


@pytest.mark.parametrize(
    ("lost", "named"),
    [
        (["tokenizer.json"], "tokenizer.json;"),
        (["processor_config.json"], "processor_config.json;"),
        (["tokenizer.json", "processor_config.json"], "tokenizer.json and processor_config.json;"),
    ],
)
def test_a_folder_without_a_processor_is_refused_before_its_weights_are_read(lost, named, tmp_path):
    for part in build("llava", ["red"], "tiny"):
        part.save_pretrained(tmp_path)
    for file in lost:
        (tmp_path / file).unlink()
    weights = tmp_path / "model.safetensors"
    save_file({}, weights)  # the first fault would be theirs
    with pytest.raises(ValueError, match=f"no processor: it lacks {named} call processor.save_pre"):
        load_model(tmp_path, device="cpu")


@pytest.mark.parametrize("file", ["vocab.txt", "spiece.model", "tekken.json", "tokenizer.json"])
def test_any_kind_of_tokenizer_is_one(file, tmp_path):
    for name in ("config.json", "model.safetensors", "preprocessor_config.json"):
        (tmp_path / name).touch()
    with pytest.raises(ValueError, match="it lacks tokenizer.json;"):
        check_processor(tmp_path)
    (tmp_path / file).touch()
    check_processor(tmp_path)


@pytest.fixture(scope="module")
def adapted(tmp_path_factory):
    """A saved model, an adapter of peft for it, and logits of both together."""
    place = tmp_path_factory.mktemp("adapted")
    model, processor = random_model("llava")
    for part in (model, processor):
        part.save_pretrained(place / "base")
    import peft  # after transformers, which pidlib imports

    config = peft.LoraConfig(r=2, target_modules=["q_proj", "v_proj"], init_lora_weights=False)
    tuned = peft.get_peft_model(model, config)
    tuned.peft_config["default"].base_model_name_or_path = str(place / "base")
    tuned.save_pretrained(place / "adapter")
    base = load_model(place / "base", device="cpu")
    both = replace(base, model=tuned.get_base_model().eval())
    return place, base, extract(both, samples(3), passes=[FULL], progress=False).logits[FULL]


def test_an_adapter_is_loaded_with_its_base(adapted):
    place, base, expected = adapted
    loaded = [
        load_model(name, device="cpu")
        for name in (f"{base.name}+{place}/adapter", place / "adapter")
    ]
    before = torch.get_rng_state()
    for model in loaded:
        logits = extract(model, samples(3), passes=[FULL], progress=False).logits[FULL]
        np.testing.assert_allclose(logits, expected, atol=1e-6)
    assert len({base.revision, *(model.revision for model in loaded)}) == 2
    plain = extract(base, samples(3), passes=[FULL], progress=False).logits[FULL]
    assert np.abs(plain - expected).max() > 1e-4
    load_model(place / "adapter", device="cpu")
    assert torch.equal(torch.get_rng_state(), before)


def test_an_adapter_that_does_not_fit_is_refused(adapted, tmp_path):
    place, base, _ = adapted
    with pytest.raises(
        ValueError, match=f"no adapter of peft in {tmp_path}: it lacks adapter_conf"
    ):
        load_model(f"{base.name}+{tmp_path}", device="cpu")
    shutil.copytree(place / "adapter", tmp_path / "other")
    path = tmp_path / "other/adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"revision": COMMIT}))
    with pytest.raises(ValueError, match=f"is for revision {COMMIT} of its base, and not for"):
        load_model(f"{base.name}+{tmp_path}/other", device="cpu")
    path.write_text(json.dumps(json.loads(path.read_text()) | {"revision": None, "r": 3}))
    with pytest.raises((ValueError, RuntimeError), match="does not fit|mismatch"):
        load_model(f"{base.name}+{tmp_path}/other", device="cpu")
    with pytest.raises(ValueError, match="without a config.json .*for an adapter, see load_model"):
        resolve(place / "adapter")
