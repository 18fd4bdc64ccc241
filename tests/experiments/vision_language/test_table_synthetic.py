"""The verdict on recovered mixtures, their table, and its LaTeX."""

import pandas as pd
import pytest

from experiments.vision_language.synthetic import profiles
from pidlib.experiments.preset import load_preset
from pidlib.experiments.tables import save, validate
from pidlib.experiments.vision_language import protocols, table_synthetic
from pidlib.experiments.vision_language.protocols import MIXTURES, covariance_rows, mixture_rows
from pidlib.experiments.vision_language.table_synthetic import COLUMNS, latex, measure, recovers

ATOMS = ("redundancy", "unique_vision", "unique_language", "synergy")


def four(values, p=0.01) -> pd.DataFrame:
    """Rows of four corrected atoms, each with an interval of 0.02 around it."""
    rows = pd.DataFrame({"atom": ATOMS, "corrected_bits": values, "null_p": p})
    return rows.assign(ci_low=rows["corrected_bits"] - 0.01, ci_high=rows["corrected_bits"] + 0.01)


@pytest.mark.parametrize(
    ("values", "p", "shown"),
    [
        ((0.0, 1.0, 0.0, 0.05), 0.01, {"vision", "more vision"}),
        ((0.0, 0.0, 1.0, 0.0), 0.01, {"language", "more language"}),
        ((0.5, 1.0, 0.2, 0.3), 0.01, {"more vision"}),
        ((0.2, 0.1, 0.105, 0.3), 0.01, {"both", "synergy"}),
        ((0.0, 1.0, 0.0, 0.05), 0.2, set()),
        ((0.0, 1.0, 0.0, None), 0.01, set()),
    ],
)
def test_atoms_recover_a_mixture_if_they_show_the_expected_order(values, p, shown):
    expected = {order for order, _ in MIXTURES.values()}
    assert {name for name in expected if recovers(four(values, p), name)} == shown


def test_the_pooled_protocol_recovers_mixtures():
    preset = load_preset("smoke", n_permutations=40, n_bootstrap=40)
    for name in ("vision", "0.4 vision + 0.6 language"):
        assert recovers(mixture_rows(preset, name, 800, 4), MIXTURES[name][0]), name


def test_covariance_recovers_sums_and_cannot_see_a_product():
    preset = load_preset("smoke", n_permutations=49)
    for name in ("vision", "sum", "0.4 vision + 0.6 language"):
        assert recovers(covariance_rows(preset, name, 400), MIXTURES[name][0]), name
    product = covariance_rows(preset, "product", 400)
    assert not recovers(product, "synergy") and product["corrected_bits"].abs().max() < 0.1


def test_the_table_has_each_protocol_with_a_verdict(monkeypatch, tmp_path):
    chosen = {name: MIXTURES[name] for name in ("vision", "product")}
    monkeypatch.setattr(protocols, "MIXTURES", chosen)
    preset = load_preset("smoke", n_sequences=4, output=str(tmp_path))
    table = measure(preset)
    assert len(table) == 2 * 4 * 4
    assert set(table.loc[table["n_codes"].isna(), "estimator"]) == {"Gaussian"}
    assert table["recovered"].notna().all() and set(table["expected"]) == {"vision", "synergy"}
    assert table["null_mean"].notna().all() and table["converged"].all()
    save(preset, table_synthetic, table)


def test_latex_has_insignificant_atoms_in_brackets():
    rows = profiles(benchmark=["product"], protocol=["dataset level"], n_codes=[3], null_p=[0.2])
    table = pd.DataFrame(rows).eval("corrected_bits = value_bits")
    text = latex(validate(table.assign(expected="synergy", recovered=True), COLUMNS))
    assert "product & $S$ above all" in text and "yes" in text and text.count("($") == 4
