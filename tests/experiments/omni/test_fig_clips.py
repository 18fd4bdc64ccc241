import pytest

from pidlib.experiments.omni import fig_clips
from pidlib.experiments.preset import load_preset


def test_atoms_of_the_templates_of_the_preset():
    table = fig_clips.measure(load_preset("smoke"))
    keys = ["template", "unimodal", "given", "atom"]
    assert set(table["benchmark"]) == {"micro_av/fusion", "micro_av/polarity"}
    assert len(table) == 5 * 2 * 2 * 4 and not table.duplicated(keys).any()
    bits = table.set_index(keys)["value_bits"].sort_index()
    assert bits["polarity", "masked", "question", "synergy"] == pytest.approx(1, abs=1e-6)
    assert bits["polarity", "masked", "nothing"].to_list() == pytest.approx([0] * 4, abs=1e-6)
    assert bits["playing", "masked", "question", "redundancy"] > 0.5
    assert bits["playing", "resampled", "question", "redundancy"] < 1e-3
