"""Exact sign tests, intervals with their coverage, and pairs of equal seeds."""

import itertools

import numpy as np
import pandas as pd
import pytest
from scipy.stats import t

from pidlib.experiments.reweighting.paired import (
    by_condition,
    compare,
    mean_difference,
    sign_flip,
    with_q_values,
)


@pytest.mark.parametrize("n", [1, 2, 5, 8])
def test_signs_are_counted_exactly(n):
    values = np.random.default_rng(n).normal(0.5, 1, n).round(2)
    sums = [abs(np.dot(signs, values)) for signs in itertools.product((-1, 1), repeat=n)]
    reached = np.array(sums) >= abs(values.sum()) - 1e-9
    assert sign_flip(values) == pytest.approx(reached.mean())


def test_ties_count_and_zero_differences_have_p_one():
    assert sign_flip(np.array([0.1, 0.1, -0.1])) == pytest.approx(1.0)
    assert sign_flip(np.zeros(6)) == 1.0
    assert sign_flip(np.full(20, 0.01)) == pytest.approx(2 / 2**20)


def test_intervals_of_three_seeds_cover_the_mean():
    rng = np.random.default_rng(1)
    tests = pd.DataFrame([mean_difference(rng.normal(size=3), 20) for _ in range(1000)])
    assert 0.93 < ((tests["ci_low"] < 0) & (tests["ci_high"] > 0)).mean() < 0.97


def test_under_the_null_p_values_are_uniform_and_intervals_cover_the_mean():
    rng = np.random.default_rng(0)
    tests = pd.DataFrame([mean_difference(rng.normal(size=12), 1000) for _ in range(400)])
    covered = (tests["ci_low"] < 0) & (tests["ci_high"] > 0)
    assert abs((tests["p_value"] < 0.2).mean() - 0.2) < 0.06 and 0.92 < covered.mean() < 0.98
    assert abs((tests["difference"].abs() < tests["null_high"]).mean() - 0.95) < 0.04


@pytest.mark.parametrize("n", [8, 12])
def test_ends_agree_with_a_t_interval(n):
    differences = np.random.default_rng(n).normal(size=n)
    row = mean_difference(differences, 50000)
    half = t.ppf(0.975, n - 1) * differences.std(ddof=1) / np.sqrt(n)
    assert (row["ci_high"] - row["ci_low"]) / 2 == pytest.approx(half, rel=0.035)


def test_skewed_differences_are_flagged_by_the_studentized_test():
    rng = np.random.default_rng(0)
    rejected = {}
    for name, draw in (("normal", rng.normal), ("skewed", lambda size: rng.exponential(size=size))):
        values = draw(size=(400, 20)) - (name == "skewed")
        rows = pd.DataFrame([mean_difference(each, 200, seed) for seed, each in enumerate(values)])
        rejected[name] = (rows[["p_value", "p_studentized"]] <= 0.05).mean()
    assert rejected["normal"].max() < 0.075
    assert rejected["skewed"]["p_value"] > 0.07 > rejected["skewed"]["p_studentized"] > 0.02
    assert mean_difference(rng.normal(1, 1, 20), 999)["p_studentized"] < 0.05
    assert np.isnan(mean_difference(np.full(5, 0.1), 50)["p_studentized"])


def test_one_seed_has_only_a_mean():
    assert mean_difference(np.array([0.2])) == {"difference": 0.2, "n_pairs": 1}
    assert mean_difference(np.array([0.2, np.nan, 0.4]), 50)["n_pairs"] == 2


def rows(conditions="ABC", seeds=range(3)):
    columns = {"base": "llava", "trained_on": "prior/80", "benchmark": "micro/scene"}
    columns |= {"measure": "accuracy", "n": 64, "converged": True}
    value = {"A": 0.5, "B": 0.6, "C": 0.7, "D": 0.6}
    return pd.DataFrame(
        columns
        | {"condition": condition, "seed": seed, "fingerprint": f"{condition}{seed}"}
        | {"value": value[condition] + 0.1 * seed}
        for condition in conditions
        for seed in ([0] if condition == "A" else seeds)
    )


def test_the_value_of_the_base_is_used_for_every_seed():
    table = by_condition(rows())
    assert table["A"].tolist() == [0.5] * 3
    assert table["B"].tolist() == pytest.approx([0.6, 0.7, 0.8])
    assert by_condition(rows("A"))["A"].tolist() == [0.5]


@pytest.mark.parametrize("wrong", [pd.concat([rows(), rows("C", [1])]), rows().assign(base=None)])
def test_repeated_outcomes_and_missing_keys_are_refused(wrong):
    with pytest.raises(ValueError, match="rows lack one of base, .* or repeat them all"):
        by_condition(wrong)


def test_pairs_have_equal_seeds():
    pairs = [("A", "B"), ("B", "B"), ("C", "B"), ("C", "D"), ("D", "B")]
    table = compare(rows(), pairs, n_resamples=200)
    assert table["n_samples"].eq(64).all() and table["fingerprint"].nunique() == 1
    table = table.set_index(["condition", "against"])
    assert len(table) == 3 and table["difference"].notna().sum() == 2  # no D, and B alone
    base, pid = table.loc[("A", "B")], table.loc[("C", "B")]
    assert pid[["difference", "ci_low", "spread"]].tolist() == pytest.approx([0.1] * 3)
    assert base["difference"] == pytest.approx(-0.2) and (base["n_pairs"], pid["n_seeds"]) == (3, 3)
    assert base["n_seeds"] == 1 and np.isnan(base["spread"])  # the base is trained with no seed


def test_a_seed_that_one_condition_lacks_is_in_no_pair():
    part = rows("BC")
    part = part[~((part["condition"] == "C") & (part["seed"] == 2))]
    table = compare(part, [("C", "B")], n_resamples=50)
    assert table["n_pairs"].tolist() == table["n_seeds"].tolist() == [2]
    assert table["difference"].iloc[0] == pytest.approx(0.1)


def test_false_discoveries_are_controlled_among_the_tests_given():
    table = with_q_values(pd.DataFrame({"p_value": [0.01, 0.02, np.nan, 0.9]}))
    assert table["q_value"].tolist()[:2] == pytest.approx([0.03, 0.03])
    assert np.isnan(table["q_value"][2])
    partial = with_q_values(table.drop(columns="q_value"), pd.Series([False, True, True, True]))
    assert partial["q_value"].tolist()[1] == pytest.approx(0.04) and np.isnan(partial["q_value"][0])
    assert with_q_values(pd.DataFrame({"difference": [1.0]}))["q_value"].isna().all()


def test_a_test_in_several_rows_counts_once():
    differences, p_values = [2.0, 2.0, 1.0, 2.0], [0.02, 0.02, 0.5, 0.02]
    columns = {"difference": differences, "p_value": p_values, "measure": list("aaab")}
    table = pd.DataFrame(columns)
    once = with_q_values(table.iloc[[0, 2, 3]].copy())["q_value"]
    expected = [once[0], once[0], once[2], once[3]]
    assert with_q_values(table)["q_value"].tolist() == pytest.approx(expected)
    assert once[0] == pytest.approx(0.03)
