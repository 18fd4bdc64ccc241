"""Rank correlations by hand, on a known population, and the whole table of one tiny model."""

import numpy as np
import pandas as pd
import pytest

from experiments.test_draw import count_labels, styled_figure
from pidlib.experiments.interventions import INTERVENTIONS
from pidlib.experiments.preset import load_preset
from pidlib.experiments.tables import unconverged, validate
from pidlib.experiments.vision_language import fig_interventions
from pidlib.experiments.vision_language.fig_interventions import (
    COLUMNS,
    MEAN,
    OUTCOMES,
    QUANTITIES,
    correlations,
    rank_correlations,
)
from pidlib.training.minis import vocabulary
from pidlib.training.tiny import build

MODELS = [f"m{index}" for index in range(12)]
NAMES = ["a", "b", "c"]
OWN_FAMILY = pd.Series(MODELS, index=MODELS)
EVERY = np.ones((2, 1), bool)  # both benchmarks count


def test_rank_correlations_by_hand():
    # Five models, two benchmarks; x is constant on the second.
    x = np.array([[1.0, 5], [2, 5], [3, 5], [4, 5], [5, 5]])[..., None]
    y = np.array([[2.0, 1], [1, 2], [3, 3], [5, 4], [4, 5]])[..., None]
    first, second, mean = rank_correlations(x, y, EVERY)[:, 0, 0]
    assert first == pytest.approx(1 - 6 * 4 / (5 * 24))
    assert np.isnan(second) and mean == first
    only = np.array([[False], [True]])
    assert np.isnan(rank_correlations(x, y, only)[2, 0, 0])  # the one with a value does not count


def test_too_few_models_and_missing_values_have_no_correlation():
    rng = np.random.default_rng(0)
    three = rank_correlations(*rng.normal(size=(2, 3, 2, 1)), EVERY)
    assert np.isnan(three).all()
    x, y = rng.normal(size=(2, 8, 2, 1))
    x[0, 0] = np.nan
    assert np.isnan(rank_correlations(x, y, EVERY)[0]).all()


def measured(seed=1) -> pd.DataFrame:
    """Benchmarks differ in the drop; synergy follows it, other quantities the benchmark only."""
    rng, rows = np.random.default_rng(seed), []
    for model in MODELS:
        for index, name in enumerate(NAMES):
            lost = 0.2 * index + 0.1 * rng.random()
            drop = {"value": lost, "ci_low": lost - 0.02, "ci_high": lost + 0.02}
            keys = {"experiment": "e", "seed": 0, "benchmark": name, "model": model}
            keys["fingerprint"] = model + name
            rows += [
                keys | {"kind": "drop", "intervention": outcome} | drop for outcome in OUTCOMES
            ]
            for quantity in QUANTITIES:
                value = lost if quantity == "synergy" else index + 0.1 * rng.random()
                rows.append(keys | {"kind": "quantity", "quantity": quantity, "value": value})
    return pd.DataFrame(rows).assign(converged=None)


def test_knowledge_of_the_benchmark_alone_predicts_nothing():
    families = pd.Series([f"f{index % 6}" for index in range(12)], index=MODELS)
    table = correlations(measured(), families, 60, 60)
    table = table[table["intervention"] == "blank"].set_index(["benchmark", "quantity"])
    synergy, redundancy = (table.loc[(MEAN, name)] for name in ("synergy", "redundancy"))
    assert synergy["value"] == pytest.approx(1) and redundancy["value"] < 0.5
    assert synergy["null_low"] < 0 < synergy["null_high"] < 0.6
    assert redundancy["ci_low"] < redundancy["ci_high"]
    few = correlations(measured(), pd.Series("one family", index=MODELS), 5, 5)
    assert few["ci_low"].isna().all() and few["null_low"].notna().any()


def test_the_masked_drop_does_not_predict_itself():
    table = correlations(measured(), OWN_FAMILY, 2, 2)
    same = (table["quantity"] == "masked_drop") & (table["intervention"] == "noise")
    assert not same.any()
    assert len(table) == (len(NAMES) + 1) * (len(QUANTITIES) * len(OUTCOMES) - 1)


def test_means_leave_out_unreliable_drops_and_count_the_rest():
    table = measured()
    chance = (table["benchmark"] == "a") & (table["intervention"] == "blank")
    table.loc[chance, "ci_low"] -= 0.2
    rows = correlations(table, OWN_FAMILY, 2, 2)
    rows = rows[rows["quantity"] == "synergy"].set_index(["benchmark", "intervention"])
    reliable = rows["reliability"]
    assert reliable["a", "blank"] < 0.5 < reliable["b", "blank"]
    counts = rows["n_benchmarks"]
    assert (counts[MEAN, "blank"], counts[MEAN, "patches"]) == (2, 3)
    values = rows["value"]
    assert values[MEAN, "blank"] == pytest.approx(values.unstack()["blank"][["b", "c"]].mean())


def test_correlations_of_unsolved_values_are_marked_and_drawn():
    table = measured()
    cell = (table["quantity"] == "synergy") & (table["benchmark"] == "a")
    table.loc[cell & (table["model"] == "m0"), "converged"] = False
    rows = correlations(table, OWN_FAMILY, 2, 2)
    loose = rows[~rows["converged"]]
    assert set(loose["benchmark"]) == {"a", MEAN}
    assert set(loose["quantity"]) == {"synergy"}
    whole = validate(pd.concat([table, rows]), COLUMNS)
    assert "not solved to tolerance" in unconverged(whole)
    assert count_labels(styled_figure(fig_interventions, whole)) > 10


@pytest.mark.filterwarnings("ignore:.*calibrate the noise")
def test_table_of_one_tiny_model(tmp_path):
    for part in build("llava", sorted(vocabulary()), size="tiny"):
        part.save_pretrained(tmp_path / "model")
    sizes = {"n_population": 24, "n_intervened": 16}
    draws = {"n_bootstrap": 4, "n_permutations": 4}
    places = {"population": [str(tmp_path / "model")], "cache": str(tmp_path / "cache")}
    preset = load_preset("smoke", benchmarks=["micro/scene"], **places, **sizes, **draws)
    table = fig_interventions.measure(preset)
    assert table["kind"].value_counts().to_dict() == {
        "quantity": len(QUANTITIES),
        "drop": len(INTERVENTIONS) + 2,
        "correlation": 2 * (len(QUANTITIES) * len(OUTCOMES) - 1),
    }
    drops = table[table["kind"] == "drop"].set_index("intervention")
    assert drops["n_samples"].eq(16).all()
    assert drops.loc["question", "value"] == 0  # this benchmark has a single question
    assert drops["value"].between(drops["ci_low"], drops["ci_high"]).all()
    assert table.loc[table["kind"] == "correlation", "value"].isna().all()  # of one model
