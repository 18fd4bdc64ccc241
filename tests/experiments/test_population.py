"""Facts about models and benchmarks, and rows of a real mini."""

import numpy as np
import pytest

from pidlib._common import project_root
from pidlib.experiments import population
from pidlib.experiments.population import benchmark_kind, population_table, size_class
from pidlib.experiments.preset import load_preset
from pidlib.training.recipes import RECIPES


@pytest.mark.parametrize(
    ("benchmark", "kind"),
    [
        ("micro/grounding", "synergy-driven"),
        ("micro/knowledge", "prior-driven"),
        ("micro/captioned", "redundant"),
        ("micro/pair", "picture-driven"),
        ("easy_vqa/shape", None),
        ("hub/pmc_vqa@" + 40 * "a", "prior-driven"),
        ("hub/gqa@/some/folder", None),
    ],
)
def test_kind_of_a_benchmark(benchmark, kind):
    assert benchmark_kind(benchmark) == kind


def test_sizes_of_minis_and_of_checkpoints():
    assert size_class("llava") == "1.0 to 1.2 M" and size_class("llava_deep") == "1.4 to 1.9 M"
    assert size_class("Qwen/Qwen2.5-VL-7B-Instruct") == "5 to 20 B"
    assert size_class("runs/checkpoint-500") is None


def test_sizes_agree_with_the_model_cards():
    for name in (name for name in RECIPES if RECIPES[name].family != "qwen2_5_omni"):
        card = (project_root() / "data" / "minis" / name / "README.md").read_text()
        count = int(card.split(" parameters")[0].rsplit(" ", 1)[-1].replace(",", "")) / 1e6
        size = size_class(name).removesuffix(" M").split(" to ")
        low, high = map(float, size)
        assert low <= round(count, 1) <= high


def test_rows_of_a_mini(tmp_path):
    choices = {"population": "llava", "benchmarks": "micro/grounding,micro/scene"}
    preset = load_preset("smoke", n_population=32, cache=str(tmp_path), **choices)
    table = population_table(preset, without_fallback=True)
    assert table["benchmark"].tolist() == ["micro/grounding", "micro/scene"]
    assert set(table["family"]) == {"llava"}
    assert np.allclose(table["delta_vision"], table["accuracy"] - table["accuracy_language"])
    assert table["delta_vision"].between(table["delta_low"], table["delta_high"]).all()
    atoms = sum(table[f"{atom}_bits"] for atom in population.ATOMS)
    assert np.allclose(table["total_bits"], atoms)
    assert table["converged"].all() and (table["gap_bits"] <= population.TOLERANCE).all()
    assert (table["divergence_bits"] > 0.1).all() and table["fallback_vision"].between(0, 1).all()
    fallback = table[["fallback", "fallback_vision", "fallback_language"]].sum(axis=1)
    kept = table[fallback == 0]
    strict = kept["synergy_without_fallback_bits"]
    assert np.allclose(kept["synergy_bits"], strict, atol=2e-4)
    raw = population_table(preset.model_copy(update={"tau": 0.0}))
    assert np.allclose(raw["synergy_bits"], table["synergy_without_fallback_bits"], atol=1e-9)
    assert (raw["fallback_vision"] == 0).all()
