import numpy as np
import pandas as pd

from pidlib.decomposition.entropies import joint_information
from pidlib.decomposition.estimate import predicted_bias
from pidlib.experiments.preset import load_preset
from pidlib.experiments.validation import fig_bias


def test_spurious_synergy_falls_with_samples_and_corrections():
    mean = pd.DataFrame(
        {
            n: fig_bias.spurious_synergy(n, 8, n_repeats=4, n_permutations=20).mean()
            for n in (200, 1000)
        }
    )
    assert mean.loc["plug-in", 200] > mean.loc["plug-in", 1000]
    assert mean.loc["plug-in", 1000] > 0.8 * predicted_bias(1000, 8, 8, 4)
    assert mean.loc["Miller-Madow", 1000] < 0.5 * mean.loc["plug-in", 1000]
    assert (mean.drop(["plug-in", "Miller-Madow"])[1000].abs() < 0.04).all()


def test_the_table_holds_mean_and_spread_of_the_repeats():
    preset = load_preset("smoke", bias_samples=[200], bias_codes=[5], n_repeats=3)
    table = fig_bias.measure(preset).set_index("estimator")
    assert len(table) == 7 and table.index[0] == "plug-in"
    assert abs(table["value_bits"]["permutation mean"]) < table["value_bits"]["plug-in"] / 2
    plug_in = fig_bias.spurious_synergy(200, 5, n_repeats=3, seed=preset.seed)["plug-in"]
    expected = plug_in.mean() + 1.96 * plug_in.std() * np.array([-1, 0, 1])
    row = table.loc["plug-in", ["ci_low", "value_bits", "ci_high"]].to_numpy(float)
    np.testing.assert_allclose(row, expected)


def test_shuffling_keeps_pair_information_and_reduces_the_bias():
    generator = np.random.default_rng(0)
    counts = generator.multinomial(200, np.full(6 * 6 * 3, 1 / 108), 200).reshape(-1, 6, 6, 3)
    shuffled = fig_bias.shuffled_information(counts, np.random.default_rng(0), 4)
    assert abs(shuffled.mean()) < 0.35 * joint_information(counts).mean()
    # Sources independent given y: both full tables have the same law.
    many = generator.multinomial(200_000, np.full(8, 0.125), 2).reshape(2, 2, 2, 2)
    shuffled = fig_bias.shuffled_information(many, np.random.default_rng(0))
    np.testing.assert_allclose(shuffled, joint_information(many), atol=1e-4)
