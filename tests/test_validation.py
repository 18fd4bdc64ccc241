"""The measurements behind the validation figures: shapes, and facts known without them."""

import pytest

from pidlib import validation
from pidlib.experiment import load_preset
from pidlib.results import tidy


def test_gates_are_found_within_their_certified_gap():
    table = validation.gates(load_preset("smoke"))
    assert tidy(table).equals(table)
    known, found = (table[table["estimator"] == name].set_index(["benchmark", "atom"]) for name in ("closed form", "newton"))
    assert len(known) == len(found) >= 4 * 8
    assert found["converged"].all()
    assert ((found["lower_bits"] - 1e-9 <= known["value_bits"]) & (known["value_bits"] <= found["upper_bits"] + 1e-9)).all()


def test_truths_of_the_pure_tasks():
    table = validation.truths(load_preset("offline")).set_index(["benchmark", "unimodal", "atom"])["value_bits"]
    assert table["micro/grounding", "masked", "synergy"] == pytest.approx(2, abs=1e-6)
    assert table["micro/knowledge", "masked", "unique_language"] == pytest.approx(2, abs=1e-6)
    assert table["micro/scene", "resampled", "unique_vision"] == pytest.approx(2, abs=1e-6)
    assert table["micro/captioned", "masked", "redundancy"] > 1.5 > 1e-3 > table["micro/captioned", "resampled", "redundancy"]


def test_truths_of_clips_are_of_the_templates_of_the_preset():
    table = validation.clip_truths(load_preset("smoke"))
    assert set(table["benchmark"]) == {"micro_av/fusion", "micro_av/polarity"} and len(table) == 5 * 2 * 2 * 4
    assert not table.duplicated(["template", "unimodal", "given", "atom"]).any()
    value = table.set_index(["template", "unimodal", "given", "atom"])["value_bits"].sort_index()
    assert value["polarity", "masked", "question", "synergy"] == pytest.approx(1, abs=1e-6)
    assert value["polarity", "masked", "nothing"].to_list() == pytest.approx([0] * 4, abs=1e-6)
    assert value["playing", "masked", "question", "redundancy"] > 0.5 > 1e-3 > value["playing", "resampled", "question", "redundancy"]


def test_spurious_synergy_falls_with_samples_and_with_correction():
    preset = load_preset("smoke", bias_samples=[200, 2000], bias_codes=[5], n_repeats=3)
    table = validation.bias(preset).set_index(["estimator", "n_samples"])["value_bits"]
    assert table["plug-in", 200] > 3 * table["plug-in", 2000] > 0
    assert abs(table["permutation mean", 200]) < table["plug-in", 200] / 2
