"""The released protocol is what its description says and no more than its null; the pooled one finds what was put in."""

import numpy as np
import pytest

from pidlib import audit, results
from pidlib.audit import AUDITED, MIXTURES, mixed, pooled, recovers
from pidlib.bench import plain_ipfp
from pidlib.corrections import tabulate
from pidlib.experiment import load_preset
from pidlib.protocols import GAP, VARIABLES, _solve, dataset_level, position_codes, released, shorten
from pidlib.results import published

ATOMS = ("redundancy", "unique_vision", "unique_language", "synergy")


def by_atom(rows, column="corrected_bits"):
    return {row["atom"]: row[column] for row in rows}


def of_sample(tokens, index):
    return [tokens[name][index] for name in VARIABLES]


def test_sequences_are_shortened_to_the_shorter_source():
    tokens = mixed("sum", 2, positions=12, patches=4)
    short = shorten(tokens)
    assert {one.shape for name in VARIABLES for one in short[name]} == {(12, audit.WIDTH)}
    assert np.array_equal(short["language"], tokens["language"])
    assert short["vision"][0].mean() == pytest.approx(tokens["vision"][0].mean(), abs=0.5)
    again = shorten(short)
    assert all(np.array_equal(short[name], again[name]) for name in VARIABLES)
    codes = position_codes(of_sample(short, 0), n_clusters=5)
    assert [sorted(set(labels)) for labels in codes.tolist()] == 3 * [list(range(5))]
    assert np.array_equal(codes, position_codes(of_sample(short, 0), n_clusters=5))


def test_fewer_positions_than_codes_are_redundancy_whatever_the_tokens_were():
    noise = {name: np.random.default_rng(seed).normal(size=(6, 8, 4)) for seed, name in enumerate(VARIABLES)}
    rows = released(noise, n_bootstrap=20)
    assert by_atom(rows, "value_bits") == pytest.approx(dict(zip(ATOMS, (3, 0, 0, 0), strict=True)), abs=2 * GAP)
    assert by_atom(rows) == pytest.approx(dict.fromkeys(ATOMS, 0), abs=2 * GAP)
    assert {row["null_p"] for row in rows} == {1.0} and {row["n_observations"] for row in rows} == {8}


def test_atoms_are_those_of_the_published_iteration():
    tokens = mixed(AUDITED, 3, positions=24)
    codes = [position_codes(of_sample(tokens, index), 6, seed=index) for index in range(3)]
    tables = [tabulate(*one[:, None], (6, 6, 6))[0] + 1e-9 for one in codes]  # the iteration divides by empty rows
    solved = _solve(codes, 6)
    assert solved.converged.all()
    assert solved.upper == pytest.approx([plain_ipfp(table / table.sum()) for table in tables], abs=3 * GAP)


def test_positions_tell_something_only_if_they_correspond():
    equal = released(mixed("vision", 8, positions=64), n_clusters=3, n_bootstrap=50)
    longer = released(mixed("vision", 8, positions=64, patches=4), n_clusters=3, n_bootstrap=50)
    assert by_atom(equal)["unique_vision"] > 1 and by_atom(equal, "null_p")["unique_vision"] == 0.05
    assert abs(by_atom(longer)["unique_vision"]) < 0.05
    for row in equal + longer:
        assert row["ci_low"] <= row["corrected_bits"] <= row["ci_high"]
        assert row["value_bits"] - row["null_mean"] == pytest.approx(row["corrected_bits"])


@pytest.mark.parametrize("tokens", [{}, {name: [np.eye(3)] * (1 + (name == "hidden")) for name in VARIABLES}])
def test_what_is_not_a_sequence_of_each_sample_is_refused(tokens):
    with pytest.raises(ValueError, match="give one a sample of each of vision, language, hidden"):
        released(tokens)


@pytest.mark.parametrize("n", audit.NOISE_SIZES[1:])
def test_noise_is_as_loud_as_was_reported(n):
    reported = published("fig_protocol_audit").query("n_observations == @n").set_index("atom")["nats"]
    found = audit._noise(0, n).set_index("atom")["value_bits"] * np.log(2)
    assert found.to_dict() == pytest.approx(reported.astype(float).to_dict(), abs=0.03)


def test_the_atoms_in_the_authors_files_are_near_those_of_eight_labels():
    table = audit._reported().query("n_observations == @audit.NEAREST").set_index("atom")["value_bits"].astype(float)
    assert table.to_dict() == pytest.approx(audit._noise(0, audit.NEAREST).set_index("atom")["value_bits"].to_dict(), abs=0.15)


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


def test_the_table_of_mixtures_has_every_protocol_and_verdict():
    table = audit.synthetic(load_preset("smoke", n_sequences=4))
    assert len(table) == len(MIXTURES) * 3 * 4
    assert table["recovered"].notna().all() and set(table["expected"]) == {mixture.expected for mixture in MIXTURES.values()}
    assert table["null_mean"].notna().all() and table["converged"].all()
