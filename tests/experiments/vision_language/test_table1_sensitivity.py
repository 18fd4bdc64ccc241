"""Rank correlations over a synthetic population: linked, unlinked, tied, too few."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import spearmanr

from experiments.test_draw import count_labels, styled_figure
from experiments.vision_language.synthetic import models_table
from experiments.vision_language.test_variants import informed
from pidlib.experiments.tables import validate
from pidlib.experiments.vision_language import table1_sensitivity, variants
from pidlib.experiments.vision_language.table1_sensitivity import (
    COLUMNS,
    GIVEN,
    VALUES,
    correlations,
    latex,
)
from pidlib.experiments.words import interval


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    return correlations(models_table(), 200)


def select(table, benchmark, quantity="synergy", outcome="delta_vision") -> pd.Series:
    """The row of our models for one cell."""
    ours = table[table["grade"].isna()].set_index(["benchmark", "quantity", "outcome"])
    return ours.loc[benchmark, quantity, outcome]


def as_latex(table: pd.DataFrame) -> str:
    return latex({"table1_sensitivity": table})


def test_rho_is_spearmans_and_partial_correlation_follows_its_formula(table):
    models = models_table()
    models = models[models["benchmark"] == "micro/existence"].round(9)
    s, a, d = (
        models[VALUES[name]].to_numpy(float).round(3)
        for name in ("synergy", "accuracy", "delta_vision")
    )
    sd, sa, da = (spearmanr(*pair).statistic for pair in ((s, d), (s, a), (d, a)))
    assert select(table, "micro/existence")["rho"] == pytest.approx(sd)
    partial = (sd - sa * da) / np.sqrt((1 - sa**2) * (1 - da**2))
    given = select(table, "micro/existence", outcome=GIVEN)
    assert given["rho"] == pytest.approx(partial)
    difference = select(table, "micro/existence", "accuracy")
    assert difference["minus_synergy"] == pytest.approx(da - sd)
    assert difference["minus_low"] < difference["minus_synergy"] < difference["minus_high"]
    assert pd.isna(select(table, "micro/existence", outcome="accuracy")["minus_synergy"])


def test_intervals_and_p_values_of_linked_and_unlinked_quantities(table):
    linked = select(table, "micro/grounding", outcome="accuracy")
    assert linked["family_low"] < linked["rho"] < linked["family_high"]
    assert linked["ci_low"] < linked["rho"] < linked["ci_high"]
    assert linked["p_value"] == pytest.approx(1 / 201) and linked["q_value"] >= linked["p_value"]
    assert select(table, "micro/grounding", "unique_language")["q_value"] > 0.05
    both = [select(table, name)["rho"] for name in ("micro/grounding", "micro/existence")]
    assert select(table, "mean of synergy-driven")["rho"] == pytest.approx(np.mean(both))


def test_means_leave_out_unreliable_and_collapsed_benchmarks():
    models = models_table(benchmarks=("micro/grounding", "micro/existence", "micro/relation"))
    rng, noise = np.random.default_rng(0), models["benchmark"] == "micro/relation"
    models.loc[noise, "delta_vision"] = rng.normal(0.5, 0.02, noise.sum())
    models["delta_low"] = models["delta_vision"] - 0.06
    models["delta_high"] = models["delta_vision"] + 0.06
    table = correlations(models, 20)
    mean = select(table, "mean of all")
    grounding, existence = (select(table, f"micro/{name}") for name in ("grounding", "existence"))
    assert mean["left_out"] == "micro/relation"
    assert mean["rho"] == pytest.approx((grounding["rho"] + existence["rho"]) / 2)
    assert pd.isna(select(table, "mean of all", outcome="accuracy")["left_out"])
    assert select(table, "micro/relation")["reliability"] < 0.5
    rest = select(table, "mean of those not collapsed")
    assert existence["fallback"] == 0.75 and rest["rho"] == pytest.approx(grounding["rho"])
    text = as_latex(table)
    assert "micro: existence$^\\dagger$" in text and "micro: grounding$^\\dagger$" not in text
    assert "without micro: relation" in text


@pytest.mark.parametrize(
    ("low", "q", "starred"),
    [(-0.01, 0.01, False), (0.1, 0.01, True), (0.1, 0.06, False), (None, 0.01, False)],
)
def test_a_star_needs_the_interval_over_families_too(low, q, starred, table):
    row = select(table, "micro/grounding", outcome="accuracy").to_dict()
    row |= {"benchmark": "micro/grounding", "quantity": "synergy", "outcome": "accuracy"}
    row |= {"family_low": low, "family_high": 0.9, "q_value": q}
    assert ("ast" in as_latex(validate([row], COLUMNS["table1_sensitivity"]))) == starred


def test_constant_columns_have_no_rank(table):
    columns = ["rho", "ci_low", "family_high", "p_value", "q_value", "reliability"]
    assert select(table, "micro/scene")[columns].isna().all()
    tied = models_table(benchmarks=("micro/grounding",))
    tied["synergy_bits"] = np.linspace(0, 4e-4, 20)  # within the resolution of the solver
    assert pd.isna(select(correlations(tied, 20), "micro/grounding", outcome="accuracy")["rho"])


def test_an_outcome_that_varies_by_chance_is_not_reliable():
    rng = np.random.default_rng(0)
    models = models_table(400, benchmarks=("micro/grounding",))
    chance = models.assign(accuracy=rng.binomial(256, 0.8, len(models)) / 256)
    reliable = [
        select(correlations(table, 1), "micro/grounding", outcome="accuracy")["reliability"]
        for table in (models, chance)
    ]
    assert reliable[0] > 0.9 and reliable[1] < 0.2


def test_too_few_models_or_families_are_not_correlated():
    few = correlations(models_table(3), 20)
    assert few.loc[few["grade"].isna(), "rho"].isna().all()
    row = select(correlations(models_table(families=3), 20), "micro/grounding", outcome="accuracy")
    assert pd.isna(row["family_low"]) and row["ci_low"] > 0


def test_copies_of_a_model_in_its_family_do_not_narrow_the_interval_over_families():
    models = models_table(4, families=4, benchmarks=("micro/grounding",))
    copies = [models.assign(model=models["model"] + letter) for letter in "abcde"]
    table = correlations(pd.concat(copies, ignore_index=True), 500)
    row = select(table, "micro/grounding", "unique_language", "accuracy")
    assert row["family_high"] - row["family_low"] > 1.5 * (row["ci_high"] - row["ci_low"])


def test_published_numbers_follow_with_their_grade(table):
    published = table[table["grade"].notna()]
    row = published.query(
        "benchmark == 'MMBench' and quantity == 'synergy' and outcome == 'delta_vision'"
    )
    assert row.set_index("n_models")["rho"].to_dict() == {20: 0.84, 26: 0.809}
    strongest = published.loc[published["rho"].idxmax()]  # of MMStar
    assert strongest[["ci_low", "ci_high"]].tolist() == pytest.approx([0.64, 0.95], abs=0.01)
    total = published.loc[published["quantity"] == "total", "abs_rho_at_most"]
    assert total.tolist() == [0.118]


def test_latex_has_the_published_numbers_below(table):
    tables = {"table1_sensitivity": table, "table1_sensitivity_models": models_table()}
    text = table1_sensitivity.latex(tables)
    rows = {line.split(" & ")[0]: line.split(" & ") for line in text.splitlines()}
    assert rows["MMBench"][1] == "0.809" and rows["micro: scene"][1] == "--" and "0.840" in text
    assert rows["micro: grounding"][1].endswith(r"\rlap{$^\ast$}")
    assert "20 models of 7 families" in text
    assert len({len(row) for row in rows.values() if len(row) > 1}) == 1


def test_variants_are_drawn_below_the_models_with_the_published_range(table):
    models = models_table(benchmarks=("micro/grounding", "micro/existence", "micro/scene"))
    rows = pd.concat(
        [
            informed(models, 0.5, procedure=name)
            for name in (variants.AS_PUBLISHED, variants.AS_ANSWERED, "masked", "resampled")
        ],
        ignore_index=True,
    )
    made = table1_sensitivity.variant_correlations(models, rows, 20)
    assert len(made.query("benchmark == 'micro/grounding'")) == 4 * 10 - 2 * 4
    answered = made[made["procedure"] == variants.AS_ANSWERED]
    assert set(answered["definition"]) == {"mmi", variants.ANY}
    published = made[made["procedure"] == variants.AS_PUBLISHED]
    assert (
        set(published["definition"]) == {"broja", variants.ANY} and published["rho"].notna().any()
    )
    named = {"table1_sensitivity": table, "table1_sensitivity_models": models}
    figure = styled_figure(table1_sensitivity, named | {"table1_sensitivity_variants": made})
    assert count_labels(figure) > 20
    synergy = made.query("benchmark == 'mean of synergy-driven' and quantity == 'synergy'")
    rho = synergy.query("outcome == 'delta_vision'").drop_duplicates("procedure")
    rho = rho[["rho", "family_low", "family_high"]].to_numpy(float)
    texts = [text.get_text() for text in figure.subfigs[1].axes[0].texts]
    assert texts == [interval(*row) for row in rho]
    titles = [ax.get_title(loc="left") for ax in figure.subfigs[0].axes]
    assert len(titles) == 2 and all("$\\rho$ = " in title for title in titles)
