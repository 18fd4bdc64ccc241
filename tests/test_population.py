"""Rank correlations over a made-up population: of what is linked, of what is not, of ties, of too few; and the rows of real models."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import spearmanr

from pidlib import population, results, schemas
from pidlib.experiment import load_preset, project_root
from pidlib.figures import vision_language
from pidlib.models.recipes import RECIPES
from pidlib.population import COLUMNS, GIVEN, driven, kin, population_table, sensitivity_table


def made_up(models=20, families=7, benchmarks=("micro/grounding", "micro/existence", "micro/scene"), seed=0):
    """Models whose synergy goes with their skill, and so does their accuracy; the picture's part in accuracy is all of it."""
    rng = np.random.default_rng(seed)
    rows = []
    for index in range(models):
        skill = rng.uniform()
        for benchmark in benchmarks:
            atoms = dict(zip(population.ATOMS, rng.uniform(0, 0.1, 4), strict=True)) | {"synergy": skill + 0.1 * rng.uniform()}
            bits = atoms | {"co_information": atoms["redundancy"] - atoms["synergy"], "total": sum(atoms.values()), "gap": 0.0}
            bits |= {"added_by_vision": atoms["unique_vision"] + atoms["synergy"], "divergence": skill, "synergy_without_fallback": skill}
            accuracy, alone = (1.0, 0.25) if benchmark == "micro/scene" else np.round([0.3 + 0.6 * skill, 0.25 + 0.1 * rng.uniform()], 2)
            right = {"accuracy": accuracy, "accuracy_vision": 0.25, "accuracy_language": alone, "delta_vision": accuracy - alone}
            right |= {"fallback_vision": 0.75 if benchmark == "micro/existence" else 0.25, "moved_language": rng.uniform()}
            right |= {"delta_low": accuracy - alone - 0.06, "delta_high": accuracy - alone + 0.06}
            told = {"benchmark": benchmark, "model": f"m{index}", "family": f"f{index % families}", "size": ("small", "compact")[index % 2]}
            told |= {"experiment": "made up", "n_samples": 256, "converged": True, "fingerprint": "f"}
            rows.append(told | right | {f"{name}_bits": value for name, value in bits.items()})
    return results.tidy(rows, schemas.POPULATION)


def ours(table, benchmark, quantity, outcome):
    chosen = (table["benchmark"] == benchmark) & (table["quantity"] == quantity) & (table["outcome"] == outcome) & table["grade"].isna()
    return table[chosen].iloc[0]


def test_rho_is_spearmans_and_partial_is_what_is_left_of_it():
    people = made_up()
    some = people[people["benchmark"] == "micro/existence"].round(9)
    table = sensitivity_table(people, 200)
    s, a, d = (some[COLUMNS[name]].to_numpy(float).round(3) for name in ("synergy", "accuracy", "delta_vision"))
    sd, sa, da = (spearmanr(*pair).statistic for pair in ((s, d), (s, a), (d, a)))
    assert ours(table, "micro/existence", "synergy", "delta_vision")["rho"] == pytest.approx(sd)
    partial = (sd - sa * da) / np.sqrt((1 - sa**2) * (1 - da**2))
    assert ours(table, "micro/existence", "synergy", GIVEN)["rho"] == pytest.approx(partial)
    strong = ours(table, "micro/grounding", "synergy", "accuracy")
    assert strong["family_low"] < strong["rho"] < strong["family_high"] and strong["ci_low"] < strong["rho"] < strong["ci_high"]
    assert strong["p_value"] == pytest.approx(1 / 201) and strong["q_value"] >= strong["p_value"]
    assert ours(table, "micro/grounding", "unique_language", "delta_vision")["q_value"] > 0.05
    both = [ours(table, name, "synergy", "delta_vision")["rho"] for name in ("micro/grounding", "micro/existence")]
    assert ours(table, "mean of synergy-driven", "synergy", "delta_vision")["rho"] == pytest.approx(np.mean(both))
    less = ours(table, "micro/existence", "accuracy", "delta_vision")
    assert less["less_synergy"] == pytest.approx(da - sd) and less["less_low"] < less["less_synergy"] < less["less_high"]
    assert pd.isna(ours(table, "micro/existence", "synergy", "accuracy")["less_synergy"])


def test_means_leave_out_what_is_chance_and_what_collapsed():
    people = made_up(benchmarks=("micro/grounding", "micro/existence", "micro/relation"))
    rng, noise = np.random.default_rng(0), people["benchmark"] == "micro/relation"
    people.loc[noise, "delta_vision"] = rng.normal(0.5, 0.02, noise.sum())
    people["delta_low"], people["delta_high"] = people["delta_vision"] - 0.06, people["delta_vision"] + 0.06
    table = sensitivity_table(people, 20)
    mean, grounding, existence = (
        ours(table, name, "synergy", "delta_vision") for name in ("mean of all", "micro/grounding", "micro/existence")
    )
    assert mean["left_out"] == "micro/relation" and mean["rho"] == pytest.approx((grounding["rho"] + existence["rho"]) / 2)
    assert pd.isna(ours(table, "mean of all", "synergy", "accuracy")["left_out"])  # its accuracies differ enough
    assert ours(table, "micro/relation", "synergy", "delta_vision")["reliability"] < 0.5
    rest = ours(table, "mean of those not collapsed", "synergy", "delta_vision")
    assert existence["fallback"] == 0.75 and rest["rho"] == pytest.approx(grounding["rho"])
    table = vision_language.table1_sensitivity(table)
    assert "micro: existence$^\\dagger$" in table and "micro: grounding$^\\dagger$" not in table
    assert "without micro: relation" in table


def test_a_star_asks_for_the_families_too():
    row = ours(sensitivity_table(made_up(), 20), "micro/grounding", "synergy", "accuracy").to_dict() | {"q_value": 0.01}
    for low, q, starred in ((-0.01, 0.01, False), (0.1, 0.01, True), (0.1, 0.06, False), (None, 0.01, False)):
        table = results.tidy([row | {"family_low": low, "family_high": 0.9, "q_value": q}], schemas.SENSITIVITY)
        assert ("ast" in vision_language.table1_sensitivity(table)) == starred


def test_what_is_constant_over_the_models_has_no_rank():
    table = sensitivity_table(made_up(), 20)
    row = ours(table, "micro/scene", "synergy", "delta_vision")
    assert row[["rho", "ci_low", "family_high", "p_value", "q_value", "reliability"]].isna().all()
    same = made_up(benchmarks=("micro/grounding",)).assign(synergy_bits=np.linspace(0, 4e-4, 20))  # within what the solver leaves open
    assert pd.isna(ours(sensitivity_table(same, 20), "micro/grounding", "synergy", "accuracy")["rho"])


def test_an_outcome_that_varies_by_chance_alone_is_not_reliable():
    rng = np.random.default_rng(0)
    people = made_up(models=400, benchmarks=("micro/grounding",))
    chance = people.assign(accuracy=rng.binomial(256, 0.8, len(people)) / 256)
    reliable = [ours(sensitivity_table(some, 1), "micro/grounding", "synergy", "accuracy")["reliability"] for some in (people, chance)]
    assert reliable[0] > 0.9 and reliable[1] < 0.2


def test_too_few_models_or_families_are_not_correlated():
    assert sensitivity_table(made_up(models=3), 20).query("grade.isna()")["rho"].isna().all()
    table = sensitivity_table(made_up(families=3), 20)
    row = ours(table, "micro/grounding", "synergy", "accuracy")
    assert pd.isna(row["family_low"]) and row["ci_low"] > 0


def test_models_of_one_family_count_as_one():
    """Five copies of four models look certain model by model; whole families tell that they are four."""
    four = made_up(models=4, families=4, benchmarks=("micro/grounding",))
    copies = [four.assign(model=four["model"] + "abcde"[i]) for i in range(5)]
    row = ours(sensitivity_table(pd.concat(copies, ignore_index=True), 500), "micro/grounding", "unique_language", "accuracy")
    assert row["family_high"] - row["family_low"] > 1.5 * (row["ci_high"] - row["ci_low"])


def test_published_numbers_stand_below_with_their_grade():
    table = sensitivity_table(made_up(), 20)
    printed = table[table["grade"].notna()]
    row = printed.query("benchmark == 'MMBench' and quantity == 'synergy' and outcome == 'delta_vision'").set_index("n_models")["rho"]
    assert row.to_dict() == {20: 0.84, 26: 0.809}
    strongest = printed.loc[printed["rho"].idxmax()]  # of MMStar
    assert strongest[["ci_low", "ci_high"]].tolist() == pytest.approx([0.64, 0.95], abs=0.01)
    assert printed.loc[printed["quantity"] == "total", "abs_rho_at_most"].tolist() == [0.118]


@pytest.mark.parametrize(
    ("benchmark", "kind"),
    [("micro/grounding", "synergy-driven"), ("micro/knowledge", "prior-driven"), ("micro/captioned", "redundant"), ("easy_vqa/shape", None)]
    + [("hub/pmc_vqa@" + 40 * "a", "prior-driven"), ("hub/gqa@/some/folder", None)],
)
def test_a_kind_is_what_is_known_of_a_benchmark(benchmark, kind):
    assert driven(benchmark) == kind


def test_kin_of_minis_and_of_checkpoints():
    assert kin("llava") == ("llava", "1.0 to 1.2 M")
    assert kin("Qwen/Qwen2.5-VL-7B-Instruct@" + 40 * "a") == ("qwen2_5_vl", "5 to 20 B")


def test_rows_of_models_that_were_asked(tmp_path):
    preset = load_preset("smoke", population="llava", benchmarks="micro/grounding,micro/scene", n_population=32, cache=str(tmp_path))
    table = population_table(preset, without_fallback=True)
    assert table["benchmark"].tolist() == ["micro/grounding", "micro/scene"] and set(table["family"]) == {"llava"}
    assert np.allclose(table["delta_vision"], table["accuracy"] - table["accuracy_language"])
    assert ((table["delta_low"] <= table["delta_vision"]) & (table["delta_vision"] <= table["delta_high"])).all()
    assert np.allclose(table["total_bits"], sum(table[f"{atom}_bits"] for atom in population.ATOMS))
    assert table["converged"].all() and (table["gap_bits"] <= population.TOLERANCE).all()
    assert (table["divergence_bits"] > 0.1).all() and table["fallback_vision"].between(0, 1).all()
    kept = table.loc[table["fallback_vision"] + table["fallback_language"] + table["fallback"] == 0]
    assert np.allclose(kept["synergy_bits"], kept["synergy_without_fallback_bits"], atol=2e-4)
    raw = population_table(preset.model_copy(update={"tau": 0.0}))
    assert np.allclose(raw["synergy_bits"], table["synergy_without_fallback_bits"], atol=1e-9)
    assert (raw["fallback_vision"] == 0).all()


def test_sizes_are_those_of_the_model_cards():
    cards = {name: project_root() / "data" / "minis" / name / "README.md" for name in RECIPES}
    for name, card in cards.items():
        if RECIPES[name].family != "qwen2_5_omni":
            count = int(card.read_text().split(" parameters")[0].rsplit(" ", 1)[-1].replace(",", "")) / 1e6
            low, high = (float(end) for end in kin(name)[1].removesuffix(" M").split(" to "))
            assert low <= round(count, 1) <= high
