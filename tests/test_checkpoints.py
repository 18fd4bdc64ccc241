"""The table of real checkpoints, and what loading makes of it."""

import re

import pytest
import torch
import transformers as hf
from safetensors.torch import save_file

from pidlib import models
from pidlib.experiment import load_preset
from pidlib.extraction.families import FAMILIES
from pidlib.models import registry, tiny
from pidlib.models.checkpoints import CHECKPOINTS, MARGIN
from pidlib.models.minis import vocabulary

COMMIT = "0123456789abcdef0123456789abcdef01234567"


def test_ids_are_unique_and_the_facts_are_facts():
    lines = registry.Path(registry.__file__).with_name("checkpoints.csv").read_text().splitlines()[1:]
    assert len(lines) == len(CHECKPOINTS) == len({line.split(",")[0].lower() for line in lines})
    for name, one in CHECKPOINTS.items():
        assert re.fullmatch(r"[\w.-]+/[\w.-]+", name) and one.licence and set(one.paper) <= set("1 2")
        assert re.fullmatch(r"([0-9a-f]{40})?", one.revision), name
        assert one.memory == pytest.approx(2 * one.parameters * 1e9 / 2**30 * MARGIN) and one.memory > 0
    pins = [one.revision for one in CHECKPOINTS.values() if one.revision]
    assert len(pins) == len(set(pins))


@pytest.mark.parametrize("name", CHECKPOINTS)
def test_sizes_agree_with_names(name):
    told = re.search(r"-(\d+(?:\.\d+)?)([bm])(?![a-z])", name.lower())
    if told:
        billions = float(told[1]) / (1 if told[2] == "b" else 1000)
        towers = CHECKPOINTS[name].parameters - billions  # those of Qwen2.5-Omni hold 1.3, and its 3 are 3.4
        assert CHECKPOINTS[name].parameters == pytest.approx(billions, rel=0.3) or -0.5 < towers < 2


@pytest.mark.parametrize("name", CHECKPOINTS)
def test_what_can_be_loaded_has_an_extractor(name):
    assert CHECKPOINTS[name].reason or CHECKPOINTS[name].family in FAMILIES


def test_both_papers_are_covered():
    by_paper = {paper: {one.family for one in CHECKPOINTS.values() if paper in one.paper} for paper in "12"}
    see = {"qwen2_vl", "qwen2_5_vl", "qwen3_vl", "internvl", "llava_onevision", "cambrian_llama", "gemma3"}
    assert by_paper["1"] == see | {"qwen2_5_omni", "vita-Qwen2"}
    assert by_paper["2"] == {"blip", "llava", "paligemma", "idefics3", "qwen3_vl"}


@pytest.mark.parametrize("name", [name for name, one in CHECKPOINTS.items() if one.reason])
@pytest.mark.parametrize("asked", [{"revision": COMMIT}, {"allow_unpinned": True}])
def test_what_cannot_be_loaded_says_why(name, asked):
    with pytest.raises(ValueError, match=re.escape(f"{name} cannot be loaded: {CHECKPOINTS[name].reason}")):
        models.load(name, **asked)


def test_what_is_not_pinned_is_refused_with_a_commit_to_pin():
    name = "Qwen/Qwen2.5-VL-7B-Instruct"
    with pytest.raises(ValueError, match=f"such as {name}@{CHECKPOINTS[name].revision}, or allow_unpinned"):
        registry.locate(name)
    with pytest.raises(ValueError, match="asked for at revision 'main'; give the 40-hex commit"):
        registry.locate(name, "main", allow_unpinned=True)
    assert registry.locate(name, allow_unpinned=True) == (None, None)
    assert registry.locate(name, COMMIT) == (None, COMMIT)


def test_weights_that_do_not_fit_are_refused_before_they_are_downloaded():
    registry.check_memory("Qwen/Qwen2.5-VL-7B-Instruct", 79)
    registry.check_memory("owner/unknown", 1)
    with pytest.raises(ValueError, match="Qwen/Qwen2.5-VL-72B-Instruct needs about 164 GiB and the GPU has 79"):
        registry.check_memory("Qwen/Qwen2.5-VL-72B-Instruct", 79)


def test_pinned_or_not_the_commit_that_was_read_is_told(tmp_path, monkeypatch):
    stored = tmp_path / "models--owner--tiny"
    for part in tiny.build("llava", vocabulary(), "tiny"):
        part.save_pretrained(stored / "snapshots" / COMMIT)
    (stored / "refs").mkdir()
    (stored / "refs" / "main").write_text(COMMIT)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    for asked in ({"revision": COMMIT}, {"allow_unpinned": True}):
        assert models.load("owner/tiny", device="cpu", **asked).revision == COMMIT


def test_of_a_model_of_several_parts_the_one_that_answers_in_text_is_loaded(tmp_path):
    thinker, processor = tiny.build("qwen2_5_omni", ["red"], "tiny")
    hf.Qwen2_5OmniConfig(thinker_config=thinker.config.to_dict()).save_pretrained(tmp_path)
    processor.save_pretrained(tmp_path)
    # As the hub names them: before transformers put the parts of a thinker into a model of their own.
    parts = re.compile(r"^model\.(?=visual|audio_tower)|(?<=^model\.)language_model\.")
    weights = {f"thinker.{parts.sub('', name)}": value.clone() for name, value in thinker.state_dict().items()}
    assert {"thinker.model.norm.weight", "thinker.lm_head.weight", "thinker.audio_tower.conv1.weight"} <= set(weights)
    save_file(weights | {"talker.weight": torch.zeros(1), "token2wav.weight": torch.zeros(1)}, tmp_path / "model.safetensors")
    loaded = models.load(tmp_path, device="cpu")
    assert loaded.family is FAMILIES["qwen2_5_omni"] and type(loaded.model) is type(thinker)
    assert all(torch.equal(value, thinker.state_dict()[name]) for name, value in loaded.model.state_dict().items())


@pytest.mark.parametrize("name", ["models", "population", "omni_models"])
def test_the_paper_preset_names_known_checkpoints_without_pins(name):
    named = getattr(load_preset("paper"), name)
    assert all(one in CHECKPOINTS and not CHECKPOINTS[one].reason for one in named)


def test_the_population_of_the_paper_preset_fits_one_gpu():
    population = load_preset("paper").population
    assert len(population) == 20 and all(2 <= CHECKPOINTS[name].parameters and CHECKPOINTS[name].memory < 79 for name in population)
