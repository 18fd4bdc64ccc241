import numpy as np
import pytest
from scipy.special import entr, softmax

from pidlib.decomposition.decisions import decision_pid
from pidlib.experiments.preset import load_preset
from pidlib.experiments.validation import fig_samples
from pidlib.experiments.validation.fig_samples import LAWS, decisions, information, inputs, limit


@pytest.mark.parametrize("scale", [0.5, 2.0, 5**0.5])
def test_quadrature_is_the_mean_over_many_draws(scale):
    rows = softmax(scale * np.random.default_rng(0).normal(size=(200_000, 4)), axis=1)
    bits = 2 - entr(rows).sum(1) / np.log(2)
    error = bits.std() / len(bits) ** 0.5
    assert information(scale) == pytest.approx(bits.mean(), abs=4 * error + 1e-4)


@pytest.mark.parametrize("law", LAWS)
def test_the_weaker_source_has_nothing_unique_and_large_samples_come_to_the_limit(law):
    end = limit(LAWS[law])
    found = [decision_pid(decisions(inputs(LAWS[law], n)), tol=1e-3).pid for n in (32, 256)]
    excess = [pid.unique["language"] for pid in found]
    assert end["unique_language"] == 0 and 0 <= excess[1] < 0.06
    assert (end["unique_vision"] == 0) == (law == "sources of one law")
    if end["unique_vision"] == 0:
        assert excess[1] < excess[0] / 1.5
    for name, value in found[1].atoms.items():
        assert value == pytest.approx(end[name], abs=0.12)


def test_means_are_over_all_samples_and_batch_is_above_the_minimum(monkeypatch):
    monkeypatch.setattr(fig_samples, "STEPS", 8)
    preset = load_preset("smoke", sample_sizes=[16, 32])
    table = fig_samples.measure(preset)
    keys = ["benchmark", "estimator", "n_samples", "atom"]
    cells = table[table["width"].isna()].set_index(keys)["value_bits"].sort_index()
    halves = [decisions(part) for part in np.split(inputs((2, 2), 32), 2, axis=1)]
    expected = np.mean([decision_pid(each).pid.synergy for each in halves])
    assert cells["sources of one law", "plug-in", 16, "synergy"] == pytest.approx(expected)
    batch = table[table["estimator"] == "BATCH"]
    assert set(batch["width"]) == set(fig_samples.WIDTHS) and set(batch["n_samples"]) == {32}
    for row in batch.itertuples():
        higher = row.value_bits > cells[row.benchmark, "plug-in", 32, row.atom]
        assert higher == row.atom.startswith("unique")
    exact = table[table["estimator"].isin(["plug-in", "extrapolated"])]
    middle = (exact["ci_low"] + exact["ci_high"]) / 2
    np.testing.assert_allclose(middle.astype(float), exact["value_bits"].astype(float))
    assert exact["converged"].all()
