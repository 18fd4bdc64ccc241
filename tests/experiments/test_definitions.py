"""Atoms by other definitions next to those by BROJA, and sentences about their distance."""

import numpy as np
import pytest

from pidlib.decomposition.decisions import Decisions, decision_pid
from pidlib.decomposition.measures import redundancy
from pidlib.experiments import definitions
from pidlib.profiles.modes import atom_rows


@pytest.fixture(scope="module")
def solved():
    """Decisions of which each source tells something of its own."""
    rng = np.random.default_rng(0)
    v, t = (2 * rng.dirichlet(np.ones(3), 12) for _ in range(2))
    joint = v * t + 0.05
    joint /= joint.sum(1, keepdims=True)
    return decision_pid(Decisions(joint, {"vision": v / 2, "language": t / 2}))


def test_redundancies_are_those_of_the_coupled_tables(solved):
    assert solved.others["mmi"] == pytest.approx(min(solved.pid.informations.values()))
    law = np.zeros((2, 3, 2))  # independent given y
    law[:, :, 0], law[:, :, 1] = (
        np.outer([0.4, 0.1], [0.3, 0.1, 0.1]),
        np.outer([0.1, 0.4], [1, 2, 2]),
    )
    law[..., 1] /= 10 * law[..., 1].sum() / 5
    law /= law.sum()
    x1, x2 = np.indices((2, 3)).reshape(2, -1)
    rows = {"vision": law.sum(1)[x1], "language": law.sum(0)[x2]}
    rows = {name: part / part.sum(1, keepdims=True) for name, part in rows.items()}
    mass, values = law.sum(2).ravel(), {"vision": x1, "language": x2}
    joint = law.reshape(6, 2) / mass[:, None]
    others = decision_pid(Decisions(joint, rows, mass, values=values)).others
    assert others == pytest.approx({name: redundancy(law, name) for name in others}, abs=1e-9)


def test_a_definition_moves_the_four_atoms_by_one_amount(solved):
    rows = atom_rows(solved, dict.fromkeys(solved.pid.atoms, (0.0, 1.0)))
    rows = definitions.with_others(rows, solved.others).assign(benchmark="b", model="m")
    smaller = min(solved.pid.unique.values())
    assert smaller > 0.01
    atoms = rows.set_index("atom")
    assert atoms["mmi_bits"].min() == pytest.approx(0, abs=1e-12)  # the smaller unique atom
    for name in ("mmi_bits", "i_min_bits"):
        assert atoms[name].sum() == pytest.approx(atoms["value_bits"].sum())
    added = definitions.added(rows, ["benchmark", "model"])
    assert added.loc[("b", "m"), "mmi"] == pytest.approx(smaller)
