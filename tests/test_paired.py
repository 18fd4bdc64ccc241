"""Pairs over seeds: exact signs against a count of all of them, intervals that hold what they should, the base at every seed."""

import itertools

import numpy as np
import pandas as pd
import pytest
from scipy.stats import t

from pidlib.paired import CELL, compared, corrected, paired, sign_flip, wide


@pytest.mark.parametrize("n", [1, 2, 5, 8])
def test_signs_are_counted_exactly(n):
    values = np.random.default_rng(n).normal(0.5, 1, n).round(2)
    means = [abs(np.dot(signs, values)) for signs in itertools.product((-1, 1), repeat=n)]
    assert sign_flip(values) == pytest.approx(np.mean(np.array(means) >= abs(values.sum()) - 1e-9))


def test_ties_count_and_no_difference_is_no_news():
    assert sign_flip(np.array([0.1, 0.1, -0.1])) == pytest.approx(1.0)
    assert sign_flip(np.zeros(6)) == 1.0
    assert sign_flip(np.full(20, 0.01)) == pytest.approx(2 / 2**20)


def test_p_values_of_nothing_are_uniform_and_intervals_hold_the_mean():
    rng = np.random.default_rng(0)
    found = pd.DataFrame([paired(rng.normal(size=12), 1000) for _ in range(400)])
    assert abs((found["p_value"] < 0.2).mean() - 0.2) < 0.06
    assert 0.92 < ((found["ci_low"] < 0) & (found["ci_high"] > 0)).mean() < 0.98
    assert abs((found["difference"].abs() < found["null_high"]).mean() - 0.95) < 0.04


@pytest.mark.parametrize("n", [8, 12])
def test_ends_are_those_of_a_t_interval(n):
    differences = np.random.default_rng(n).normal(size=n)
    found = paired(differences, 50000)
    half = t.ppf(0.975, n - 1) * differences.std(ddof=1) / np.sqrt(n)
    assert (found["ci_high"] - found["ci_low"]) / 2 == pytest.approx(half, rel=0.035)


def test_one_seed_has_a_mean_and_no_more():
    assert paired(np.array([0.2])) == {"difference": 0.2, "n_pairs": 1}
    assert paired(np.array([0.2, np.nan, 0.4]), 50)["n_pairs"] == 2


def rows(letters="ABC", seeds=range(3)):
    told = {"base": "llava", "trained_on": "prior/80", "benchmark": "micro/scene", "measure": "accuracy", "n": 64, "converged": True}
    effect = {"A": 0.5, "B": 0.6, "C": 0.7, "D": 0.6}
    return pd.DataFrame(
        told | {"condition": one, "seed": seed, "value": effect[one] + 0.1 * seed * (one != "A"), "fingerprint": f"{one}{seed}"}
        for one in letters
        for seed in ([0] if one == "A" else seeds)
    )


def test_the_base_stands_at_every_seed():
    table = wide(rows())
    assert table["A"].tolist() == [0.5] * 3 and table["B"].tolist() == pytest.approx([0.6, 0.7, 0.8])
    assert wide(rows("A"))["A"].tolist() == [0.5]


@pytest.mark.parametrize("wrong", [pd.concat([rows(), rows("C", [1])]), rows().assign(base=None)])
def test_an_outcome_stands_once_and_says_of_what(wrong):
    with pytest.raises(ValueError, match="rows lack one of base, .* or repeat them all"):
        wide(wrong)


def test_pairs_are_of_one_seed_and_whole():
    found = compared(rows(), [("A", "B"), ("B", "B"), ("C", "B"), ("C", "D"), ("D", "B")], CELL, 200).set_index(["condition", "against"])
    assert found.loc[("C", "B"), "difference"] == pytest.approx(0.1) and found.loc[("C", "B"), "ci_low"] == pytest.approx(0.1)
    assert found.loc[("A", "B"), "difference"] == pytest.approx(-0.2) and found.loc[("A", "B"), "n_pairs"] == 3
    assert found.loc[("A", "B"), "n_seeds"] == 1 and np.isnan(found.loc[("A", "B"), "spread"])  # one model, trained with no seed
    assert found.loc[("C", "B"), "n_seeds"] == 3 and found.loc[("C", "B"), "spread"] == pytest.approx(0.1)
    assert len(found) == 3 and found["n_samples"].eq(64).all() and found["fingerprint"].nunique() == 1
    assert found["difference"].notna().sum() == 2


def test_a_seed_that_one_condition_lacks_is_in_no_pair():
    some = rows("BC")
    some = some[~((some["condition"] == "C") & (some["seed"] == 2))]
    found = compared(some, [("C", "B")], CELL, 50)
    assert found["n_pairs"].tolist() == found["n_seeds"].tolist() == [2] and found["difference"].iloc[0] == pytest.approx(0.1)


def test_discoveries_are_controlled_among_all_tests():
    table = corrected(pd.DataFrame({"p_value": [0.01, 0.02, np.nan, 0.9]}))
    assert table["q_value"].round(3).tolist()[:2] == [0.03, 0.03] and np.isnan(table["q_value"][2])
    some = corrected(table.drop(columns="q_value"), pd.Series([False, True, True, True]))
    assert some["q_value"].round(3).tolist()[1] == 0.04 and np.isnan(some["q_value"][0])
    assert corrected(pd.DataFrame({"difference": [1.0]}))["q_value"].isna().all()


def test_a_test_that_stands_in_several_rows_counts_once():
    table = pd.DataFrame({"difference": [2.0, 2.0, 1.0, 2.0], "p_value": [0.02, 0.02, 0.5, 0.02], "measure": ["a", "a", "a", "b"]})
    once = corrected(table.iloc[[0, 2, 3]].copy())["q_value"]
    assert corrected(table)["q_value"].tolist() == pytest.approx([once[0], once[0], once[2], once[3]]) and once[0] == pytest.approx(0.03)
