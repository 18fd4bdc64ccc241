"""The zoo: its tables are distributions, its atoms sum to their information. (The solver meets the atoms in test_decomposition.)"""

import numpy as np
import pytest

from pidlib.distributions import GATES, chain, copy, correlated_copy, gate, joint_from_labels, modular_sum, noisy_copies, noisy_xor
from pidlib.information import co_information, mutual_information

FAMILIES = [copy(2, 5), correlated_copy(0.6), modular_sum(4), noisy_xor(0.3), noisy_copies(0.1, 0.1), chain(0.0, 0.3)]
ALL = [*GATES.values(), *FAMILIES]


@pytest.mark.parametrize("known", ALL, ids=lambda known: known.name)
def test_atoms_keep_the_identities(known):
    table = known.joint()
    redundancy, unique1, unique2, synergy = known.atoms
    assert table.sum().item() == pytest.approx(1, abs=1e-14)
    assert sum(known.atoms) == pytest.approx(mutual_information(table.flatten(0, 1)).item(), abs=1e-12)
    assert redundancy + unique1 == pytest.approx(mutual_information(table.sum(1)).item(), abs=1e-12)
    assert redundancy + unique2 == pytest.approx(mutual_information(table.sum(0)).item(), abs=1e-12)
    assert redundancy - synergy == pytest.approx(co_information(table).item(), abs=1e-12)
    assert min(known.atoms) >= 0


def test_every_gate_says_where_it_is_from_and_has_its_key():
    assert len(GATES) >= 25
    assert all(known.source and known.name == name for name, known in GATES.items())


def test_tables_have_the_expected_masses():
    assert gate("AND").joint().tolist() == [[[0.25, 0], [0.25, 0]], [[0.25, 0], [0, 0.25]]]
    assert gate("RDNUNQXOR").joint().shape == (8, 8, 16)
    assert gate("DICE").joint().sum((0, 1))[5].item() == pytest.approx(1 / 6)


def test_an_unknown_gate_names_the_nearest():
    with pytest.raises(KeyError, match="did you mean 'XORAND'"):
        gate("xorandd")


def test_counting_labels():
    generator = np.random.default_rng(0)
    x1, x2, y = generator.integers(0, (3, 4, 2), size=(500, 3)).T
    counts = joint_from_labels(x1, x2, y)
    expected = np.zeros((3, 4, 2), dtype=int)
    np.add.at(expected, (x1, x2, y), 1)
    assert counts.tolist() == expected.tolist()
    wide = joint_from_labels(x1, x2, y, sizes=(5, 4, 3))
    assert wide.shape == (5, 4, 3) and wide[:3, :, :2].tolist() == expected.tolist() and wide.sum() == 500


@pytest.mark.parametrize(
    ("labels", "sizes", "told"),
    [
        (([0, 1], [0, 1], [0]), None, "one code for each sample"),
        (([], [], []), None, "one code for each sample"),
        (([0.0, 1.0], [0, 1], [0, 1]), None, "whole numbers"),
        (([0, -1], [0, 1], [0, 1]), None, "whole numbers"),
        (([0, 2], [0, 1], [0, 1]), (2, 2, 2), "do not hold"),
        (([0, 1], [0, 1], [0, 1]), (2, 2), "do not hold"),
    ],
)
def test_labels_that_cannot_be_counted_are_refused(labels, sizes, told):
    with pytest.raises(ValueError, match=told):
        joint_from_labels(*labels, sizes=sizes)
