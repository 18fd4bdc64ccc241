"""Where two sources have something unique, definitions differ; elsewhere MMI is BROJA."""

import numpy as np
import pandas as pd
import pytest

from experiments.test_draw import count_labels, styled_figure
from experiments.vision_language.synthetic import models_table
from experiments.vision_language.test_variants import informed
from pidlib import benchmarks
from pidlib.decomposition.gates import GATES
from pidlib.experiments.population import ALL
from pidlib.experiments.preset import load_preset
from pidlib.experiments.tables import validate
from pidlib.experiments.vision_language import fig_definitions
from pidlib.experiments.vision_language.fig_definitions import COLUMNS, leading_atoms, redundancies


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("micro/pair", {"broja": 0, "mmi": 1, "i_min": 1, "ccs": 0, "dep": 0}),
        ("micro/pair_shared", {"broja": 0.354, "mmi": 1, "i_min": 1, "ccs": 0.509, "dep": 0.354}),
        ("micro/scene", dict.fromkeys(("broja", "mmi", "i_min", "ccs", "dep"), 0)),
    ],
)
def test_redundancy_of_ideal_answerers(name, expected):
    values = redundancies(benchmarks.truth(name))
    known = {key: values[f"{key}_bits"] for key in expected}
    assert known == pytest.approx(expected, abs=1e-3)


def test_large_tables_have_no_measure_that_takes_seconds():
    values = redundancies(GATES["DICE"].joint())
    assert "dep_bits" not in values and values["i_min_bits"] == pytest.approx(values["mmi_bits"])


@pytest.fixture(scope="module")
def tables() -> dict[str, pd.DataFrame]:
    """Two modes; in the second, R of BROJA is half of that of MMI."""
    preset, models = load_preset("smoke"), models_table()
    names = {"masked": 1.0, "resampled": 0.5}
    rows = pd.concat([informed(models, share, procedure=name) for name, share in names.items()])
    rows = rows.reset_index(drop=True)
    gates = [{"kind": "gates", "benchmark": "gate/AND"} | redundancies(GATES["AND"].joint())]
    table = pd.concat([pd.DataFrame(gates).assign(fingerprint="f"), rows.assign(kind="decisions")])
    table["kind"] = table["kind"].fillna("decisions")
    found = [leading_atoms(rows, models), fig_definitions._correlations(preset, models, rows)]
    made = {"fig_definitions": table, "fig_definitions_conclusions": pd.concat(found)}
    return {
        name: validate(each.assign(experiment="synthetic"), COLUMNS[name])
        for name, each in made.items()
    }


def test_leading_atoms_agree_where_the_smaller_unique_atom_is_zero(tables):
    rows = tables["fig_definitions_conclusions"].query("conclusion == 'leading atom'")
    share = rows.set_index(["procedure", "definition", "benchmark"])["share"]
    assert (share.loc[:, "broja"] == 1).all() and (share["masked"] == 1).all()
    assert share["resampled", "mmi", ALL] < 1
    single = rows[rows["benchmark"] != ALL]
    assert single["atom"].notna().all() and rows[rows["benchmark"] == ALL]["atom"].isna().all()


def test_ranks_by_other_definitions_are_kept_if_all_models_move_alike(tables):
    rows = tables["fig_definitions_conclusions"].query("conclusion == 'ranking of models'")
    synergy = rows[rows["quantity"] == "synergy"]
    assert np.allclose(synergy["rho"].astype(float), 1)
    assert rows.loc[rows["quantity"] == "redundancy", "rho"].isna().all()  # constant


def test_figure_counts_where_definitions_agree_and_prints_means(tables):
    figure = styled_figure(fig_definitions, tables)
    assert count_labels(figure) > 10
    left, share, ranks, small, _ = figure.axes
    n = len(models_table())
    words = [[text.get_text() for text in ax.texts] for ax in (left, share, ranks, small)]
    assert {f"{n} of {n}", f"0 of {n}"} < set(words[0])
    assert words[3].count("1 of 1") == 2 and words[1].count("reference") == 2
    assert len(words[2]) == 2 * 4 and "same largest atom" in figure.get_suptitle()
