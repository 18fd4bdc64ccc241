"""The released protocol follows its description; the pooled one finds known mixtures."""

import numpy as np
import pandas as pd
import pytest

from pidlib.decomposition.entropies import tabulate
from pidlib.experiments.preset import load_preset
from pidlib.experiments.validation.fig_solver import plain_ipfp
from pidlib.experiments.vision_language.protocols import (
    TOLERANCE,
    VARIABLES,
    WIDTH,
    _solve,
    mixed,
    mixture_rows,
    position_codes,
    released,
    shorten,
)

ATOMS = ("redundancy", "unique_vision", "unique_language", "synergy")


def by_atom(rows: pd.DataFrame, column: str = "corrected_bits") -> dict[str, float]:
    return dict(zip(rows["atom"], rows[column], strict=True))


def of_sample(tokens, index):
    return [tokens[name][index] for name in VARIABLES]


def test_the_target_is_the_mixture_at_every_position():
    tokens = mixed("0.8 vision + 0.2 language", 3, positions=4, patches=2)
    shapes = [(3, 8, WIDTH), (3, 4, WIDTH), (3, 8, WIDTH)]
    assert [tokens[name].shape for name in VARIABLES] == shapes
    expected = 0.8 * tokens["vision"][1, 5] + 0.2 * tokens["language"][1, 2]
    assert tokens["hidden"][1, 5] == pytest.approx(expected)


def test_sequences_are_shortened_to_the_shorter_source():
    tokens = mixed("sum", 2, positions=12, patches=4)
    short = shorten(tokens)
    assert {sequence.shape for name in VARIABLES for sequence in short[name]} == {(12, WIDTH)}
    assert np.array_equal(short["language"], tokens["language"])
    assert short["vision"][0].mean() == pytest.approx(tokens["vision"][0].mean(), abs=0.5)
    again = shorten(short)
    assert all(np.array_equal(short[name], again[name]) for name in VARIABLES)
    codes = position_codes(of_sample(short, 0), n_clusters=5)
    assert [sorted(set(labels)) for labels in codes.tolist()] == 3 * [list(range(5))]
    assert np.array_equal(codes, position_codes(of_sample(short, 0), n_clusters=5))


def test_with_fewer_positions_than_codes_all_bits_are_redundant():
    noise = {
        name: np.random.default_rng(seed).normal(size=(6, 8, 4))
        for seed, name in enumerate(VARIABLES)
    }
    rows = released(noise, n_bootstrap=20)
    expected = dict(zip(ATOMS, (3, 0, 0, 0), strict=True))
    assert by_atom(rows, "value_bits") == pytest.approx(expected, abs=2 * TOLERANCE)
    assert by_atom(rows) == pytest.approx(dict.fromkeys(ATOMS, 0), abs=2 * TOLERANCE)
    assert set(rows["null_p"]) == {1.0} and set(rows["n_observations"]) == {8}


def test_atoms_equal_those_of_the_published_iteration():
    tokens = mixed("0.6 vision + 0.4 language", 3, positions=24)
    codes = [position_codes(of_sample(tokens, index), 6, seed=index) for index in range(3)]
    # The iteration divides by empty rows.
    tables = [tabulate(*labels[:, None], (6, 6, 6))[0] + 1e-9 for labels in codes]
    solved = _solve(codes, 6)
    assert solved.converged.all()
    upper = [plain_ipfp(table / table.sum()) for table in tables]
    assert solved.upper == pytest.approx(upper, abs=3 * TOLERANCE)


def test_the_released_protocol_needs_corresponding_positions():
    equal, longer = (
        released(mixed("vision", 8, positions=64, patches=patches), n_clusters=3, n_bootstrap=50)
        for patches in (1, 4)
    )
    assert by_atom(equal)["unique_vision"] > 1
    assert by_atom(equal, "null_p")["unique_vision"] == 0.05
    assert abs(by_atom(longer)["unique_vision"]) < 0.05
    rows = pd.concat([equal, longer])
    assert rows["corrected_bits"].between(rows["ci_low"], rows["ci_high"]).all()
    assert (rows["value_bits"] - rows["null_mean"]).tolist() == pytest.approx(
        rows["corrected_bits"].tolist()
    )


def test_the_pooled_protocol_finds_a_product():
    preset = load_preset("smoke", n_permutations=40, n_bootstrap=40)
    rows = mixture_rows(preset, "product", 800, 4)
    corrected = by_atom(rows)
    assert corrected["synergy"] > 0.1
    assert by_atom(rows, "null_p")["synergy"] == pytest.approx(1 / 41)
    assert max(corrected[atom] for atom in ATOMS[:3]) < 0.03
