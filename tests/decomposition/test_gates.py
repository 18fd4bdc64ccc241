"""Gates: tables are distributions, atoms sum to their information."""

import pytest

from pidlib.decomposition.gates import (
    GATES,
    chain,
    copy,
    correlated_copy,
    modular_sum,
    noisy_copies,
    noisy_xor,
)
from pidlib.decomposition.information import mutual_information

FAMILIES = [
    copy(2, 5),
    correlated_copy(0.6),
    modular_sum(4),
    noisy_xor(0.3),
    noisy_copies(0.1, 0.1),
    chain(0.0, 0.3),
]
ALL = [*GATES.values(), *FAMILIES]


@pytest.mark.parametrize("known", ALL, ids=lambda known: known.name)
def test_atoms_keep_the_identities(known):
    table = known.joint()
    redundancy, unique1, unique2, synergy = known.atoms
    assert table.sum().item() == pytest.approx(1, abs=1e-14)
    assert sum(known.atoms) == pytest.approx(
        mutual_information(table.flatten(0, 1)).item(), abs=1e-12
    )
    assert redundancy + unique1 == pytest.approx(mutual_information(table.sum(1)).item(), abs=1e-12)
    assert redundancy + unique2 == pytest.approx(mutual_information(table.sum(0)).item(), abs=1e-12)
    assert min(known.atoms) >= 0


def test_every_gate_has_its_key():
    assert len(GATES) >= 25
    assert all(known.name == name for name, known in GATES.items())


def test_tables_have_the_expected_masses():
    assert GATES["AND"].joint().tolist() == [[[0.25, 0], [0.25, 0]], [[0.25, 0], [0, 0.25]]]
    assert GATES["RDNUNQXOR"].joint().shape == (8, 8, 16)
    assert GATES["DICE"].joint().sum((0, 1))[5].item() == pytest.approx(1 / 6)
