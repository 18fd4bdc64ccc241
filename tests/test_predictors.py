"""Rank correlations by hand, on a population whose truth is known, and the whole table on one tiny model."""

import numpy as np
import pandas as pd
import pytest

from pidlib import predictors, results, schemas
from pidlib.experiment import load_preset
from pidlib.figures.vision_language import fig_interventions
from pidlib.interventions import INTERVENTIONS
from pidlib.models.minis import vocabulary
from pidlib.models.tiny import build
from pidlib.predictors import MEAN, OUTCOMES, POOLED, QUANTITIES, correlations, rank_correlations

MODELS = [f"m{index}" for index in range(12)]
NAMES = ["a", "b", "c"]
EVERY = np.ones((1, 2, 1), bool)  # one mean, over two benchmarks


def test_rank_correlations_by_hand():
    x = np.array([[1.0, 5], [2, 5], [3, 5], [4, 5], [5, 5]])[..., None]  # five models, two benchmarks, constant on the second
    y = np.array([[2.0, 1], [1, 2], [3, 3], [5, 4], [4, 5]])[..., None]
    first, second, mean, pooled = rank_correlations(x, y, EVERY)[:, 0, 0]
    assert first == pytest.approx(1 - 6 * 4 / (5 * 24))
    assert np.isnan(second) and mean == first
    assert pooled == pytest.approx(pd.Series(x.ravel()).corr(pd.Series(y.ravel()), method="spearman"))


def test_too_few_models_and_missing_values_have_no_correlation():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(2, 3, 2, 1))
    within = rank_correlations(x, y, EVERY)
    assert np.isnan(within[:3]).all() and np.isfinite(within[3]).all()  # three models; six cells
    x, y = rng.normal(size=(2, 8, 2, 1))
    x[0, 0] = np.nan
    assert np.isnan(rank_correlations(x, y, EVERY)[[0, 3]]).all()


def measured(rng):
    """Benchmarks differ in what is lost; of the quantities, synergy follows the loss, the others only the benchmark."""
    rows = []
    for model in MODELS:
        for place, name in enumerate(NAMES):
            lost = 0.2 * place + 0.1 * rng.random()
            drop = {"value": lost, "ci_low": lost - 0.02, "ci_high": lost + 0.02}
            told = {"experiment": "e", "benchmark": name, "model": model, "fingerprint": model + name}
            rows += [told | {"kind": "drop", "intervention": outcome} | drop for outcome in OUTCOMES]
            for quantity in QUANTITIES:
                value = lost if quantity == "synergy" else place + 0.1 * rng.random()
                rows.append(told | {"kind": "quantity", "quantity": quantity, "value": value})
    return pd.DataFrame(rows)


def test_what_foretells_within_benchmarks_is_told_from_what_only_knows_the_benchmark():
    families = pd.Series([f"f{index % 6}" for index in range(12)], index=MODELS)
    found = correlations(measured(np.random.default_rng(1)), families, 60, 60)
    found = found[found["intervention"] == "blank"].set_index(["benchmark", "quantity"])
    assert found.loc[(MEAN, "synergy"), "value"] == pytest.approx(1)
    assert found.loc[(MEAN, "redundancy"), "value"] < 0.5
    assert found.loc[(POOLED, "redundancy"), "value"] > 0.8
    # models permuted: nothing is left within benchmarks, and what benchmarks foretell stays
    assert found.loc[(MEAN, "synergy"), "null_low"] < 0 < found.loc[(MEAN, "synergy"), "null_high"] < 0.6
    assert found.loc[(POOLED, "redundancy"), "null_low"] > 0.8
    assert found.loc[(MEAN, "redundancy"), "ci_low"] < found.loc[(MEAN, "redundancy"), "ci_high"]
    few = correlations(measured(np.random.default_rng(1)), pd.Series("one family", index=MODELS), 5, 5)
    assert few["ci_low"].isna().all() and few["null_low"].notna().any()


def test_a_quantity_does_not_foretell_itself():
    found = correlations(measured(np.random.default_rng(1)), pd.Series(MODELS, index=MODELS), 2, 2)
    assert found[(found["quantity"] == "masked_drop") & (found["intervention"] == "noise")].empty
    assert len(found) == (len(NAMES) + 2) * (len(QUANTITIES) * len(OUTCOMES) - 1)


def test_means_leave_out_drops_that_are_chance_and_say_how_many_count():
    table = measured(np.random.default_rng(1))
    chance = (table["benchmark"] == "a") & (table["intervention"] == "blank")
    table.loc[chance, "ci_low"] -= 0.2
    found = correlations(table, pd.Series(MODELS, index=MODELS), 2, 2, several={"some": ["a", "b"]})
    found = found[found["quantity"] == "synergy"].set_index(["benchmark", "intervention"])
    assert found.loc[("a", "blank"), "reliability"] < 0.5 < found.loc[("b", "blank"), "reliability"]
    assert found.loc[(MEAN, "blank"), "n_benchmarks"] == 2 and found.loc[(MEAN, "pixels"), "n_benchmarks"] == 3
    assert found.loc[("some", "blank"), "n_benchmarks"] == 1 and found.loc[("some", "blank"), "value"] == found.loc[("b", "blank"), "value"]


def test_what_was_not_solved_stays_marked_and_is_not_drawn():
    table = measured(np.random.default_rng(1)).assign(converged=None)
    table.loc[(table["quantity"] == "synergy") & (table["benchmark"] == "a") & (table["model"] == "m0"), "converged"] = False
    found = correlations(table, pd.Series(MODELS, index=MODELS), 2, 2, several={"some": ["b", "c"]})
    loose = found[~found["converged"]]
    assert set(loose["benchmark"]) == {"a", MEAN, POOLED} and set(loose["quantity"]) == {"synergy"}
    with pytest.raises(ValueError, match="did not converge"):
        fig_interventions(results.tidy(pd.concat([table, found]).assign(seed=0), schemas.INTERVENED))


@pytest.mark.filterwarnings("ignore:.*calibrate the noise")
def test_table_of_one_tiny_model(tmp_path):
    model, processor = build("llava", sorted(vocabulary()), size="tiny")
    for part in (model, processor):
        part.save_pretrained(tmp_path / "model")
    sizes = {"n_population": 24, "n_intervened": 16, "n_explained": 1, "n_bootstrap": 4, "n_permutations": 4}
    where = {"population": [str(tmp_path / "model")], "cache": str(tmp_path / "cache"), "benchmarks": ["micro/scene"]}
    preset = load_preset("smoke", **where, **sizes)
    table = predictors.intervention_table(preset)
    assert table["kind"].value_counts().to_dict() == {
        "quantity": len(QUANTITIES),
        "drop": len(INTERVENTIONS) + 2,
        "correlation": 3 * (len(QUANTITIES) * len(OUTCOMES) - 1),
    }
    drops = table[table["kind"] == "drop"].set_index("intervention")
    assert drops["n_samples"].eq(16).all()
    assert drops.loc["question", "value"] == 0  # this benchmark has one question
    assert ((drops["ci_low"] <= drops["value"]) & (drops["value"] <= drops["ci_high"])).all()
    assert table.loc[table["kind"] == "correlation", "value"].isna().all()  # of one model
    path = results.write(table, tmp_path / "fig_interventions.csv")
    assert len(results.read(path)) == len(table)
