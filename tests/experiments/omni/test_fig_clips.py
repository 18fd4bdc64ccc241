import pytest
from matplotlib.axes import Axes

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


def test_the_scale_holds_the_largest_atom():
    table = fig_clips.measure(load_preset("smoke", omni_benchmarks="micro_av/pair"))
    panels = [ax for ax in fig_clips.figure(table).findobj(Axes) if ax.patches]
    assert max(bar.get_height() for bar in panels[0].patches) > 1.7
    assert panels[0].get_ylim() == (0, 2)
