"""The released protocol is what its description says, and no more than its null where it must be; the pooled one finds a mixture."""

import numpy as np
import pytest

from pidlib.audit import AUDITED, WIDTH, mixed, pooled
from pidlib.bench import plain_ipfp
from pidlib.corrections import tabulate
from pidlib.protocols import GAP, VARIABLES, _solve, dataset_level, position_codes, released, shorten

ATOMS = ("redundancy", "unique_vision", "unique_language", "synergy")


def by_atom(rows, column="corrected_bits"):
    return {row["atom"]: row[column] for row in rows}


def of_sample(tokens, index):
    return [tokens[name][index] for name in VARIABLES]


def test_sequences_are_shortened_to_the_shorter_source():
    tokens = mixed("sum", 2, positions=12, patches=4)
    short = shorten(tokens)
    assert {one.shape for name in VARIABLES for one in short[name]} == {(12, WIDTH)}
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


def test_the_pooled_protocol_finds_a_product():
    fitted, applied = (pooled(mixed("product", 800, seed=seed)) for seed in (0, 1))
    found = dataset_level(fitted, applied, n_clusters=4, n_permutations=40, n_bootstrap=40)
    assert found.corrected["synergy"] > 0.1 and found.p_value["synergy"] == pytest.approx(1 / 41)
    assert max(found.corrected[atom] for atom in ATOMS[:3]) < 0.03
