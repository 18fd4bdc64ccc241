"""Other measures: against dit and published values, identities, symmetry, decisions."""

import sys

import numpy as np
import pytest
import torch

from pidlib.decomposition import pid
from pidlib.decomposition.decisions import Decisions, decision_pid
from pidlib.decomposition.gates import GATES
from pidlib.decomposition.information import mutual_information
from pidlib.decomposition.measures import MEASURES, decompose, decompose_pairs

SMALL = [name for name, gate in GATES.items() if len(gate.outcomes) <= 16]


def tables(count=5, shape=(3, 4, 2), seed=0):
    table = np.random.default_rng(seed).dirichlet(np.full(np.prod(shape), 0.5), size=count)
    return table.reshape(count, *shape)


def values(joint, measure):
    return list(decompose(joint, measure).values())


@pytest.mark.parametrize("measure, name", [("mmi", "PID_MMI"), ("i_min", "PID_WB")])
def test_closed_forms_equal_those_of_dit(measure, name):
    dit = pytest.importorskip("dit")
    for table in [*(GATES[gate].joint().numpy() for gate in SMALL), *tables()]:
        cells = np.argwhere(table > 0)
        law = dit.Distribution([tuple(cell) for cell in cells.tolist()], table[table > 0].tolist())
        lattice = getattr(dit.pid, name)(law, ((0,), (1,)), (2,))
        expected = [lattice[node] for node in (((0,), (1,)), ((0,),), ((1,),), ((0, 1),))]
        assert values(table, measure) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize(
    "gate, measure, expected",
    [
        ("UNQ", "mmi", [1, 0, 0, 1]),
        ("UNQ", "i_min", [1, 0, 0, 1]),
        ("UNQ", "ccs", [0, 1, 1, 0]),
        ("UNQ", "dep", [0, 1, 1, 0]),
        ("AND", "broja", [0.3113, 0, 0, 0.5]),
        ("AND", "ccs", [0.1038, 0.2075, 0.2075, 0.2925]),  # Ince 2017
        ("AND", "dep", [0.0817, 0.2296, 0.2296, 0.2704]),  # James et al. 2018
        ("REDUCED OR", "ccs", [0, 0.3113, 0.3113, 0.3774]),
        ("PNT UNQ", "dep", [0.25, 0.25, 0.25, 0.25]),
        ("RDNXOR", "ccs", [1, 0, 0, 1]),
        ("SUM", "dep", [0.1887, 0.3113, 0.3113, 0.6887]),
    ],
)
def test_gates(gate, measure, expected):
    assert values(GATES[gate].joint(), measure) == pytest.approx(expected, abs=1e-4)


def test_specific_information_by_hand():
    # y = 0 is known from X1 and y = 2 from X2 alone, and y = 1 from both together
    joint = np.zeros((2, 2, 3))
    joint[0, 0, 0] = joint[1, 0, 1] = joint[1, 1, 2] = 1 / 3
    first, other = np.log2(3), np.log2(3 / 2)
    of_zero = min(first, other)  # log P(y|x) / P(y): X1 gives P = 1, X2 gives P = 1/2
    expected = (of_zero + min(other, other) + min(other, first)) / 3
    assert decompose(joint, "i_min")["redundancy"] == pytest.approx(expected)
    # sources of equal information on different values: MMI is larger
    assert decompose(joint, "mmi")["redundancy"] == pytest.approx(np.log2(3) - 2 / 3)


@pytest.mark.parametrize("measure", MEASURES)
def test_identities_and_symmetry(measure):
    batch = tables(3)
    found = decompose(batch, measure, sources=("vision", "audio"))
    r, u1, u2, s = found.values()
    assert list(found) == ["redundancy", "unique_vision", "unique_audio", "synergy"]
    assert r + u1 == pytest.approx(mutual_information(batch.sum(2)).numpy(), abs=1e-6)
    assert r + u2 == pytest.approx(mutual_information(batch.sum(1)).numpy(), abs=1e-6)
    both = mutual_information(batch.reshape(3, 12, 2)).numpy()
    assert r + u1 + u2 + s == pytest.approx(both, abs=1e-6)
    permuted = batch[:, [2, 0, 1]][:, :, [3, 1, 0, 2]][..., ::-1].transpose(0, 2, 1, 3)
    swapped = np.array(values(permuted, measure))
    tolerance = 1e-4 if measure in ("ccs", "dep") else 2e-6  # dit optimizes numerically
    assert np.array(swapped) == pytest.approx(np.array([r, u2, u1, s]), abs=tolerance)
    single = values(torch.as_tensor(1000 * batch[1]), measure)
    assert single == pytest.approx([r[1], u1[1], u2[1], s[1]], abs=tolerance)
    assert all(type(value) is float for value in single)


def test_redundancies_are_ordered():
    batch = tables(50, (4, 3, 3))
    by_measure = {name: decompose(batch, name) for name in ("broja", "mmi", "i_min")}
    largest = by_measure["mmi"]["redundancy"]
    assert (by_measure["broja"]["redundancy"] <= largest + 1e-6).all()
    assert (by_measure["i_min"]["redundancy"] <= largest + 1e-9).all()
    assert (by_measure["i_min"]["redundancy"] < largest - 1e-3).any()
    smaller = np.minimum(*(by_measure["mmi"][f"unique_{name}"] for name in ("vision", "language")))
    assert smaller == pytest.approx(np.zeros(50), abs=1e-12)
    assert by_measure["broja"]["synergy"] == pytest.approx(pid(batch).synergy)


@pytest.mark.parametrize("measure", ["mmi", "i_min"])
def test_pairs_give_the_atoms_of_their_joint(measure):
    batch = tables()
    both = mutual_information(batch.reshape(5, 12, 2))
    found = decompose_pairs(batch.sum(2), batch.sum(1), both, measure)
    for atom, expected in decompose(batch, measure).items():
        assert found[atom] == pytest.approx(expected, abs=1e-12)


def test_decisions_take_their_pair_marginals():
    generator = np.random.default_rng(1)
    joint, *alone = generator.dirichlet(np.full(3, 0.3), size=(3, 40))
    decisions = Decisions(joint, dict(zip(("vision", "language"), alone, strict=True)))
    solved = decision_pid(decisions).pid
    a, b, _ = decisions.marginals.at(decisions.weights)
    found = decompose_pairs(a, b, solved.total, "mmi")
    informations = [solved.redundancy + unique for unique in solved.unique.values()]
    assert found["redundancy"] == pytest.approx(min(informations), abs=1e-9)
    assert sum(found.values()) == pytest.approx(solved.total)
    lower = decompose_pairs(a, b, solved.total, "i_min")
    assert 0 < lower["redundancy"] < found["redundancy"]


def test_wrong_input_raises():
    joint = tables(1)[0]
    a, b = joint.sum(1), joint.sum(0)
    for call, message in (
        (lambda: decompose(joint, "I_min"), "unknown measure 'I_min'; did you mean 'i_min'"),
        (lambda: decompose(joint[0]), r"expected a joint \[x1, x2, y\]"),
        (lambda: decompose(-joint), "must be finite and not negative"),
        (lambda: decompose(joint, sources=("vision",)), "two different sources"),
        (lambda: decompose_pairs(a, b, 1.0, "ccs"), "known: i_min, mmi; use pid, decision_pid or"),
        (lambda: decompose_pairs(a, b[:, :1], 1.0), r"tables \[x1, y\] and \[x2, y\] of one batch"),
        (lambda: decompose_pairs(a, b[:, ::-1].copy(), 1.0), "differ in P.y. by .* reconcile"),
        (lambda: decompose_pairs(a, b, [1.0, 2.0]), "expected I.Y; X1, X2. of shape"),
    ):
        with pytest.raises(ValueError, match=message):
            call()


def test_missing_dit_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "dit", None)
    with pytest.raises(ImportError, match="'ccs' needs the package dit; .*pip install dit"):
        decompose(tables(1)[0], "ccs")
