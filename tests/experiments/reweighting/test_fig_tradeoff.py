"""Means over benchmarks of one kind, without the benchmark trained on."""

import pytest

from experiments.reweighting import synthetic
from pidlib.experiments.reweighting import fig_tradeoff


def test_means_are_over_benchmarks_of_one_kind():
    table = synthetic.measured(fig_tradeoff, synthetic.preset())
    ours = table[table["grade"].isna()].set_index(["trained_on", "benchmark", "condition"])
    gains = ours.loc[("prior/80", "mean of synergy-driven", "C")]
    losses = ours.loc[("prior/80", "mean of prior-driven", "C")]
    assert gains["difference"] == pytest.approx(0.05, abs=0.005) and gains["n_samples"] == 3 * 128
    assert losses["difference"] == pytest.approx(-0.05, abs=0.01)
    published = table[table["grade"].notna()].set_index(["benchmark", "condition"])["difference"]
    assert published["mean of synergy-driven", "C"] == pytest.approx((0.023 + 0.013) / 2)
    assert published["mean of prior-driven", "C"] == pytest.approx(-0.004)


def test_the_figure_with_fewer_bases_and_seeds():
    synthetic.check_drawings(fig_tradeoff)
