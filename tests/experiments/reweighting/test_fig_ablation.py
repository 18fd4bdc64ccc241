"""A training counts at every level that it belongs to."""

import numpy as np

from experiments.reweighting import synthetic
from pidlib.experiments.reweighting import fig_ablation
from pidlib.experiments.reweighting.plan import ABLATION, FALLBACK


def test_a_training_counts_at_every_level_that_it_belongs_to():
    table = synthetic.measured(fig_ablation, synthetic.preset())
    pid = table[(table["condition"] == "C") & (table["measure"] == "accuracy")]
    pid = pid[pid["trained_on"] == "prior/80"]
    random, uniform = (pid[pid["against"] == condition] for condition in "DB")
    assert set(random["level"]) == set(ABLATION[FALLBACK]) and pid["difference"].notna().all()
    levels = {level for levels in ABLATION.values() for level in levels}
    assert set(uniform["level"]) == levels | {"best for other seeds"}
    assert set(uniform["benchmark"]) == {"prior/80 balanced"}
    same = uniform.set_index("level")["difference"]
    assert same["gap and shortcut"] == same["top 20%"] == same["exact"] != same["BATCH"]
    synergy = table[table["measure"] == "synergy"]
    assert set(synergy["benchmark"]) == {"prior/80", "easy_vqa/yes_no"}


def test_the_tuned_level_is_chosen_by_other_seeds():
    """A level that is best by luck on half of the seeds does not count on that half."""
    preset = synthetic.preset(tuned_models=synthetic.ONE_BASE)

    def lucky(rows):
        six = (rows["gap_weight"].fillna(1) == 6) & (rows["measure"] == "accuracy")
        luck = np.where(rows["seed"] % 2 == 0, 0.3, -0.3)
        return rows.assign(value=rows["value"] + luck * six)

    table = synthetic.measured(fig_ablation, preset, change=lucky)
    shown = table.query("condition == 'C' and against == 'B' and measure == 'accuracy'")
    gain = shown.set_index("level")["difference"].astype(float)
    assert gain["6 and 0"] > 0.1 and gain["best for other seeds"] < 0


def test_the_figure_with_fewer_bases_and_seeds():
    synthetic.check_drawings(fig_ablation)
