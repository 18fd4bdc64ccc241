"""A training counts at every level that it belongs to."""

from experiments.reweighting import synthetic
from pidlib.experiments.reweighting import fig_ablation
from pidlib.experiments.reweighting.plan import ABLATION, FALLBACK


def test_a_training_counts_at_every_level_that_it_belongs_to():
    table = synthetic.measured(fig_ablation, synthetic.preset())
    pid = table[(table["condition"] == "C") & (table["measure"] == "accuracy")]
    pid = pid[pid["trained_on"] == "prior/80"]
    random, uniform = (pid[pid["against"] == condition] for condition in "DB")
    assert set(random["level"]) == set(ABLATION[FALLBACK]) and pid["difference"].notna().all()
    assert set(uniform["level"]) == {level for levels in ABLATION.values() for level in levels}
    assert set(uniform["benchmark"]) == {"prior/80 balanced"}
    same = uniform.set_index("level")["difference"]
    assert same["gap and shortcut"] == same["top 20%"] == same["exact"] != same["BATCH"]
    synergy = table[table["measure"] == "synergy"]
    assert set(synergy["benchmark"]) == {"prior/80", "easy_vqa/yes_no"}


def test_the_figure_with_fewer_bases_and_seeds():
    synthetic.check_drawings(fig_ablation)
