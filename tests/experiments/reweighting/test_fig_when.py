"""Three axes, with the base at each level."""

from experiments.reweighting import synthetic
from pidlib.experiments.reweighting import fig_when


def test_there_are_three_axes_with_the_base_at_each_level():
    table = synthetic.measured(fig_when, synthetic.preset())
    base = table[(table["measure"] == "accuracy") & (table["condition"] == "A")]
    counts = base.groupby("axis")["level"].count().to_dict()
    assert counts == {"prior strength": 5, "training length": 6, "base": 3}


def test_the_figure_with_fewer_bases_and_seeds():
    synthetic.check_drawings(fig_when)
