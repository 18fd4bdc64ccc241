"""Mixtures are made as they say and recovered by what finds them; the noise is as loud as was reported."""

import numpy as np
import pytest

from pidlib import audit, results, schemas
from pidlib.audit import MIXTURES, mixed, pooled, recovers
from pidlib.experiment import load_preset
from pidlib.protocols import VARIABLES, dataset_level
from pidlib.results import published

ATOMS = ("redundancy", "unique_vision", "unique_language", "synergy")


def test_the_target_is_the_mixture_at_every_position():
    tokens = mixed("0.8 vision + 0.2 language", 3, positions=4, patches=2)
    assert [tokens[name].shape for name in VARIABLES] == [(3, 8, audit.WIDTH), (3, 4, audit.WIDTH), (3, 8, audit.WIDTH)]
    assert tokens["hidden"][1, 5] == pytest.approx(0.8 * tokens["vision"][1, 5] + 0.2 * tokens["language"][1, 2])


@pytest.mark.parametrize("n", audit.NOISE_SIZES)
def test_noise_is_as_loud_as_was_reported(n):
    reported = published("fig_protocol_audit").query("n_observations == @n").set_index("atom")["nats"]
    found = audit._noise(0, n).set_index("atom")["value_bits"] * np.log(2)
    assert found.to_dict() == pytest.approx(reported.astype(float).to_dict(), abs=0.03)


def test_of_the_authors_files_nothing_is_said_that_is_not_in_them():
    table = results.tidy(audit._reported().assign(experiment="e", estimator="e", seed=0), schemas.AUDIT)
    filed = table[table["grade"] == "P"].set_index("atom")
    assert filed[["n_observations", "n_codes", "ci_low", "null_mean"]].isna().all(axis=None) and set(filed["n_samples"]) == {1001}
    assert filed.loc["redundancy", "value_bits"] == pytest.approx(0.727 / np.log(2))
    assert table[table["grade"] == "R"]["n_observations"].notna().all()


def test_the_pooled_protocol_finds_the_mixtures():
    for name in ("vision", "0.4 vision + 0.6 language", "product"):
        fitted, applied = (pooled(mixed(name, 800, seed=seed)) for seed in (0, 1))
        found = dataset_level(fitted, applied, n_clusters=4, n_permutations=40, n_bootstrap=40)
        assert recovers(results.tidy(_atoms(found.rows())), MIXTURES[name].expected), (name, found.corrected)


def _atoms(rows):
    told = dict.fromkeys(("experiment", "benchmark", "estimator", "fingerprint"), "t") | {"seed": 0}
    return [row | told for row in rows]


def four(values, p=0.01):
    """Rows of four corrected atoms, each with an interval of 0.02 about it."""
    rows = [
        {"atom": atom, "value_bits": v, "corrected_bits": v, "ci_low": v - 0.01, "ci_high": v + 0.01, "null_p": p}
        for atom, v in zip(ATOMS, values, strict=True)
    ]
    return results.tidy(_atoms(rows))


@pytest.mark.parametrize(
    ("values", "p", "shown"),
    [
        ((0.0, 1.0, 0.0, 0.05), 0.01, {"vision", "more vision"}),
        ((0.0, 0.0, 1.0, 0.0), 0.01, {"language", "more language"}),
        ((0.5, 1.0, 0.2, 0.3), 0.01, {"more vision"}),
        ((0.2, 0.1, 0.105, 0.3), 0.01, {"both", "synergy"}),
        ((0.0, 1.0, 0.0, 0.05), 0.2, set()),
    ],
)
def test_what_counts_as_recovered(values, p, shown):
    expected = {"vision", "language", "more vision", "more language", "both", "synergy"}
    assert {name for name in expected if recovers(four(values, p), name)} == shown


def test_an_atom_that_cannot_be_estimated_recovers_nothing():
    table = four((0, 1, 0, 0))
    table.loc[3, "corrected_bits"] = None
    assert not recovers(table, "vision")


def test_the_table_of_mixtures_has_every_protocol_and_verdict(monkeypatch):
    monkeypatch.setattr(audit, "MIXTURES", {name: MIXTURES[name] for name in ("vision", "product")})
    table = audit.synthetic(load_preset("smoke", n_sequences=4))
    assert len(table) == 2 * 3 * 4
    assert table["recovered"].notna().all() and set(table["expected"]) == {"vision", "synergy"}
    assert table["null_mean"].notna().all() and table["converged"].all()
