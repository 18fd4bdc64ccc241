"""The table of known checkpoints."""

import re
from pathlib import Path

import pytest
from transformers.models.auto.modeling_auto import MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES

from pidlib.experiments.preset import load_preset
from pidlib.models import FAMILIES, checkpoints
from pidlib.models.checkpoints import CHECKPOINTS, MARGIN


def test_ids_are_unique_and_facts_are_well_formed():
    lines = Path(checkpoints.__file__).with_name("checkpoints.csv").read_text().splitlines()[1:]
    assert len(lines) == len(CHECKPOINTS) == len({line.split(",")[0].lower() for line in lines})
    for name, item in CHECKPOINTS.items():
        assert (
            re.fullmatch(r"[\w.-]+/[\w.-]+", name)
            and item.licence
            and set(item.paper) <= set("1 2")
        )
        assert re.fullmatch(r"([0-9a-f]{40})?", item.revision), name
        assert (
            item.memory == pytest.approx(2 * item.parameters * 1e9 / 2**30 * MARGIN)
            and item.memory > 0
        )
    pins = [item.revision for item in CHECKPOINTS.values() if item.revision]
    assert len(pins) == len(set(pins))


@pytest.mark.parametrize("name", CHECKPOINTS)
def test_sizes_agree_with_names(name):
    size = re.search(r"-(\d+(?:\.\d+)?)([bm])(?![a-z])", name.lower())
    if size:
        billions = float(size[1]) / (1 if size[2] == "b" else 1000)
        towers = CHECKPOINTS[name].parameters - billions  # of Qwen2.5-Omni 1.3, and its 3 B are 3.4
        assert CHECKPOINTS[name].parameters == pytest.approx(billions, rel=0.3) or -0.5 < towers < 2


@pytest.mark.parametrize("name", CHECKPOINTS)
def test_loadable_checkpoint_is_of_a_known_model_type(name):
    known = {*MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES, *FAMILIES}
    assert CHECKPOINTS[name].reason or CHECKPOINTS[name].family in known


def test_both_papers_are_covered():
    by_paper = {
        paper: {item.family for item in CHECKPOINTS.values() if paper in item.paper}
        for paper in "12"
    }
    pictures = {
        "qwen2_vl",
        "qwen2_5_vl",
        "qwen3_vl",
        "internvl",
        "llava_onevision",
        "cambrian_llama",
        "gemma3",
    }
    assert by_paper["1"] == pictures | {"qwen2_5_omni", "vita-Qwen2"}
    assert by_paper["2"] == {"blip", "llava", "paligemma", "idefics3", "qwen3_vl"}


@pytest.mark.parametrize("name", ["models", "population", "omni_models"])
def test_paper_preset_names_known_loadable_checkpoints(name):
    named = getattr(load_preset("paper"), name)
    assert all(item in CHECKPOINTS and not CHECKPOINTS[item].reason for item in named)


def test_population_of_the_paper_preset_fits_one_gpu():
    population = load_preset("paper").population
    assert len(population) == 20 and all(
        2 <= CHECKPOINTS[name].parameters and CHECKPOINTS[name].memory < 79 for name in population
    )
