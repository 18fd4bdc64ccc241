"""Agreement within families is found if there is any, whatever all models have in common."""

import numpy as np
import pandas as pd
import pytest

from experiments.test_draw import count_labels, styled_figure
from experiments.vision_language.synthetic import models_table
from pidlib.experiments.population import ATOMS
from pidlib.experiments.vision_language import fig_families
from pidlib.experiments.vision_language.fig_families import GROUPS, pair_correlations, pair_groups
from pidlib.experiments.words import number


def with_families(share, seed=0) -> pd.DataFrame:
    """Models whose atoms are common to all, plus a share common to a family, plus noise."""
    names = tuple(f"b{index}" for index in range(6))
    models = models_table(12, families=4, benchmarks=names, seed=seed)
    rng = np.random.default_rng(seed)
    keys = models["benchmark"], models["family"] + models["benchmark"]
    common, of_family = ({key: rng.uniform(0, 2) for key in values} for values in keys)
    for atom in ATOMS:
        own = share * keys[1].map(of_family) * rng.uniform(0.5, 1)
        noise = 0.3 * rng.normal(size=len(models))
        models[f"{atom}_bits"] = keys[0].map(common) + own + noise
    return models


@pytest.mark.parametrize("measure", ["profile", "deviation"])
def test_likeness_within_families_exceeds_the_null(measure):
    alike, unrelated = (
        pair_correlations(with_families(share), 400)
        .set_index(["measure", "kin"])
        .loc[(measure, "same family")]
        for share in (0.6, 0.0)
    )
    assert alike["rho"] > alike["null_high"] and alike["null_p"] < 0.01 and alike["n_pairs"] == 12
    assert unrelated["null_low"] <= unrelated["rho"] <= unrelated["null_high"]
    assert unrelated["null_p"] > 0.05


def test_deviation_subtracts_what_all_models_have_in_common():
    table = pair_correlations(with_families(0.0), 50)
    pairs = table[table["kin"].isna()].groupby("measure")["rho"].mean()
    assert pairs["profile"] > 0.5 and pairs["deviation"] == pytest.approx(-1 / 11, abs=0.05)


def test_groups_of_pairs():
    pairs = pd.DataFrame(
        {
            "family_a": ["x", "x", "y"],
            "family_b": ["x", "z", None],
            "size_a": ["s", "s", None],
            "size_b": ["t", "s", "s"],
            "accuracy_apart": [0.0, 0.2, 0.3],
        }
    ).convert_dtypes()
    assert {name: chosen.tolist() for name, chosen in pair_groups(pairs).items()} == {
        "same family": [True, False, False],
        "same family and size": [False, False, False],
        "same size": [False, True, False],
        "alike in accuracy": [True, False, False],
    }


def test_differences_below_the_resolution_are_ties():
    models = models_table(3, benchmarks=("b",))
    values = (0.1, 0.4, 0.1), (0.2, 0.3, 0.1001), (0.3, 0.2, 0.1002), (0.4, 0.1, 0.1)
    for atom, bits in zip(ATOMS, values, strict=True):
        models[f"{atom}_bits"] = bits
    table = pair_correlations(models, 5).query("measure == 'profile' and kin.isna()")
    opposed, constant, _ = table["rho"]
    assert opposed == pytest.approx(-1) and pd.isna(constant)


def test_two_models_are_a_single_pair():
    table = pair_correlations(models_table(2), 5)
    assert table["kin"].dropna().tolist() == [*GROUPS, *GROUPS]
    assert table.loc[table["kin"].notna(), "rho"].isna().all()
    assert table.loc[table["kin"].isna(), "rho"].tolist()[1] == pytest.approx(-1)


def test_means_stand_on_the_canvas_with_their_nulls():
    table = pair_correlations(with_families(0.6), 50)
    figure = styled_figure(fig_families, table)
    assert count_labels(figure) > 20
    row = table[table["kin"] == "same family"].iloc[0]
    text = figure.axes[0].texts[0].get_text()
    assert text.startswith(number(row["rho"])) and f"to {number(row['null_high'])}" in text
    two = styled_figure(fig_families, pair_correlations(models_table(2), 5))
    assert not any(ax.texts for ax in two.axes)
