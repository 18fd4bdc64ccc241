"""Three axes, with the base at each level."""

from experiments.reweighting import synthetic
from pidlib.experiments import tables
from pidlib.experiments.preset import load_preset
from pidlib.experiments.reweighting import fig_when


def test_there_are_three_axes_with_the_base_at_each_level():
    table = synthetic.measured(fig_when, synthetic.preset())
    base = table[(table["measure"] == "accuracy") & (table["condition"] == "A")]
    counts = base.groupby("axis")["level"].count().to_dict()
    assert counts == {"prior strength": 5, "training length": 6, "base": 3}


def test_committed_levels_are_in_order():
    """Not in that of the outcomes, the first of which are those made at the time."""
    table = tables.read(load_preset("offline").table("reweighting/fig_when"), fig_when.COLUMNS)
    for axis in ("prior strength", "training length"):
        levels = table.loc[table["axis"] == axis, "level"].drop_duplicates().astype(int)
        assert levels.is_monotonic_increasing


def test_the_figure_with_fewer_bases_and_seeds():
    synthetic.check_drawings(fig_when)
