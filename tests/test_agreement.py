"""Agreement of profiles within a family is found where it is and not where it is not, whatever all models have in common."""

import numpy as np
import pandas as pd
import pytest
from test_population import made_up

from pidlib.agreement import KIN, agreement_table, kindred
from pidlib.population import ATOMS


def families_of_a_kind(likeness, seed=0):
    """A population whose atoms are common ground, plus what a family shares, plus noise."""
    people = made_up(models=12, families=4, benchmarks=tuple(f"b{i}" for i in range(6)), seed=seed)
    rng = np.random.default_rng(seed)
    common, shared = ({key: rng.uniform(0, 2) for key in keys} for keys in (people["benchmark"], people["family"] + people["benchmark"]))
    for atom in ATOMS:
        own = [likeness * shared[family + benchmark] for family, benchmark in zip(people["family"], people["benchmark"], strict=True)]
        people[f"{atom}_bits"] = people["benchmark"].map(common) + np.array(own) * rng.uniform(0.5, 1) + 0.3 * rng.normal(size=len(people))
    return people


def means(table, measure):
    return table[(table["measure"] == measure) & table["kin"].notna()].set_index("kin")


@pytest.mark.parametrize("measure", ["profile", "deviation"])
def test_what_a_family_shares_stands_out_from_shuffled_labels(measure):
    alike, strange = (means(agreement_table(families_of_a_kind(likeness), 400), measure) for likeness in (0.6, 0.0))
    row = alike.loc["same family"]
    assert row["rho"] > row["null_high"] and row["null_p"] < 0.01 and row["n_pairs"] == 12
    row = strange.loc["same family"]
    assert row["null_low"] <= row["rho"] <= row["null_high"] and row["null_p"] > 0.05


def test_common_ground_is_taken_off():
    table = agreement_table(families_of_a_kind(0.0), 50)
    pairs = table[table["kin"].isna()].groupby("measure")["rho"].mean()
    assert pairs["profile"] > 0.5 and pairs["deviation"] == pytest.approx(-1 / 11, abs=0.05)


def test_kin_are_told_by_family_size_and_accuracy():
    pairs = pd.DataFrame({"family_a": ["x", "x", "y"], "family_b": ["x", "z", None], "size_a": ["s", "s", None], "size_b": ["t", "s", "s"]})
    alike = kindred(pairs.convert_dtypes().assign(accuracy_apart=[0.0, 0.2, 0.3]))
    assert {name: mask.tolist() for name, mask in alike.items()} == {
        "same family": [True, False, False],
        "same family and size": [False, False, False],
        "same size": [False, True, False],
        "alike in accuracy": [True, False, False],
    }


def test_ties_below_the_resolution_and_constant_models():
    people = made_up(models=3, benchmarks=("b",))
    for atom, values in zip(ATOMS, ((0.1, 0.4, 0.1), (0.2, 0.3, 0.1001), (0.3, 0.2, 0.1002), (0.4, 0.1, 0.1)), strict=True):
        people[f"{atom}_bits"] = values
    first, constant, _ = agreement_table(people, 5).query("measure == 'profile' and kin.isna()")["rho"]
    assert first == pytest.approx(-1) and pd.isna(constant)


def test_two_models_are_one_pair():
    table = agreement_table(made_up(models=2), 5)
    assert table["kin"].dropna().tolist() == [*KIN, *KIN] and table.loc[table["kin"].notna(), "rho"].isna().all()
    assert table.loc[table["kin"].isna(), "rho"].tolist()[1] == pytest.approx(-1)
