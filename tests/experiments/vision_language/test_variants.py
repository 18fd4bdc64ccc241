"""Procedures and definitions: their atoms, and rank correlations that compare them."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import spearmanr

from experiments.vision_language.synthetic import models_table
from pidlib.decomposition.batch import batch_pid
from pidlib.decomposition.decisions import Decisions
from pidlib.experiments.extractions import extract_all
from pidlib.experiments.population import ATOMS, by_model, population_table, request
from pidlib.experiments.preset import load_preset
from pidlib.experiments.vision_language import variants


def informed(models: pd.DataFrame, share: float, **columns) -> pd.DataFrame:
    """Informations of models with their synergy by BROJA, and this share of I_l as redundancy."""
    values = {"vision_bits": 0.5, "language_bits": 0.4, "broja_bits": 0.4 * share, "mmi_bits": 0.4}
    total = models["synergy_bits"] + 0.9 - 0.4 * share
    options = {"total_bits": total, "i_min_bits": 0.4, "gap_bits": 0.0, "converged": True}
    names = ["model", "benchmark", "fingerprint"]
    return models[names].assign(**values, **options, **columns)


@pytest.fixture(scope="module")
def answers(tmp_path_factory):
    options = {"population": "llava_compact", "benchmarks": "micro/captioned", "draws": 2}
    preset = load_preset("smoke", cache=str(tmp_path_factory.mktemp("cache")), **options)
    ((answer,),) = extract_all(preset, request(preset))
    return preset, answer.extraction


def test_every_procedure_gives_informations_and_atoms_that_add_up(answers):
    preset, _ = answers
    table = variants.informations_table(preset, variants.PROCEDURES)
    assert table["procedure"].tolist() == list(variants.PROCEDURES) and table["converged"].all()
    for name in variants.DEFINITIONS:
        rows = table.dropna(subset=f"{name}_bits")
        atoms = variants.quantities(rows, name)
        assert np.allclose(atoms[list(ATOMS)].sum(axis=1), rows["total_bits"].astype(float))
        assert np.allclose(atoms["redundancy"] - atoms["synergy"], atoms["co_information"])
    solved = table[~table["procedure"].isin((variants.AS_ANSWERED, variants.AS_PUBLISHED))]
    by_broja = variants.quantities(solved, "broja")[["unique_vision", "unique_language"]].min(
        axis=1
    )
    assert np.allclose(
        solved["mmi_bits"].astype(float) - solved["broja_bits"].astype(float), by_broja
    )
    assert table.loc[table["procedure"] == variants.AS_ANSWERED, "broja_bits"].isna().all()
    broja = variants.quantities(table[table["procedure"] == "masked"], "broja").iloc[0]
    expected = population_table(preset).iloc[0]
    assert all(broja[atom] == pytest.approx(expected[f"{atom}_bits"], abs=2e-4) for atom in ATOMS)


def test_procedures_differ_in_draws_and_in_reconciliation(answers):
    _, extraction = answers
    by = {name: variants.decisions_by(name, extraction, 0.3) for name in variants.PROCEDURES}
    first = extraction.decisions("language#0", 0.3)
    for name in (variants.AS_PUBLISHED, variants.AS_ANSWERED, variants.ONE_DRAW):
        assert np.allclose(by[name].sources["language"], first)
    assert by[variants.AS_PUBLISHED].reconciliation == "none"
    assert not np.allclose(by["masked"].sources["language"], first)
    assert np.allclose(*(by[name].sources["language"] for name in ("projected", "masked")))
    assert by["projected"].reconciliation == by[variants.ONE_DRAW].reconciliation == "projection"
    assert by["masked"].reconciliation == "bounded"
    with pytest.raises(ValueError, match="only BATCH takes them"):
        by[variants.AS_ANSWERED].marginals()


def test_as_published_are_the_clamped_atoms_of_the_published_networks(answers):
    preset, extraction = answers
    decisions = variants.decisions_by(variants.AS_PUBLISHED, extraction, 0.3)
    bits = variants.published_informations(decisions, extraction, preset.seed)
    row = pd.DataFrame([bits | {"gap_bits": np.nan}])
    atoms = variants.quantities(row, "broja").iloc[0]
    batch = batch_pid(decisions, embeddings=extraction.embeddings, n_batches=1, seed=preset.seed)
    assert min(batch.atoms.values()) < 0
    for name, value in batch.atoms.items():
        assert atoms[name] == pytest.approx(max(value, 0), abs=1e-12)
    assert atoms["co_information"] == pytest.approx(atoms["redundancy"] - atoms["synergy"])
    assert np.isnan([bits["mmi_bits"], bits["i_min_bits"], bits["gap_bits"]]).all()


def test_unreconciled_information_is_measured_against_the_answers_to_both():
    sure = np.tile([1.0, 0.0], (4, 1))
    decisions = Decisions(
        np.eye(2)[[0, 1, 0, 1]],
        {"vision": np.eye(2)[[0, 1, 0, 1]], "language": sure},
        reconciliation="none",
    )
    values = variants.informations(decisions)
    assert values["vision_bits"] == pytest.approx(1) and values["total_bits"] == pytest.approx(1)
    assert values["language_bits"] == pytest.approx(1)  # of answers that are always the same
    assert values["mmi_bits"] == pytest.approx(1) and np.isnan(values["broja_bits"])


def test_correlations_are_spearmans_and_differ_from_the_default_by_zero_where_equal():
    models = models_table()
    table = pd.concat(
        [
            informed(models, 0.5, procedure="masked"),
            informed(models, 1.0, procedure="resampled"),
        ],
        ignore_index=True,
    )
    rng = np.random.default_rng(0)
    noisy = table["procedure"] == "resampled"
    table.loc[noisy, "total_bits"] = rng.uniform(1, 2, noisy.sum())
    cells = [
        ("masked", "broja", "synergy", "delta_vision"),
        ("masked", "mmi", "synergy", "delta_vision"),
        ("masked", "mmi", "synergy", "broja"),
        ("resampled", "broja", "synergy", "delta_vision"),
        ("masked", variants.ANY, "co_information", "delta_vision"),
    ]
    result = variants.correlations(models, table, cells, 100, 0)
    rows = result[result["benchmark"] == "micro/grounding"].reset_index(drop=True)
    s, d = (by_model(models, name)[:, 0] for name in ("synergy_bits", "delta_vision"))
    assert rows["rho"][0] == pytest.approx(spearmanr(s, d).statistic, abs=0.01)
    assert rows["rho"][1] == pytest.approx(rows["rho"][0]) and rows["rho"][2] == pytest.approx(1)
    assert rows["rho"][4] == pytest.approx(-rows["rho"][0])
    assert rows["minus_default"].isna().tolist() == [True, False, True, False, True]
    assert rows["minus_low"][1] == rows["minus_high"][1] == 0
    assert rows["minus_high"][3] < 0 and abs(rows["rho"][3]) < 0.5
    assert (rows["family_low"] <= rows["rho"]).all() and (rows["rho"] <= rows["family_high"]).all()
    flat = result[(result["benchmark"] == "micro/scene") & (result["outcome"] == "delta_vision")]
    assert flat["rho"].isna().all() and (flat["n_benchmarks"] == 0).all()
