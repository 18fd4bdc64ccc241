"""Other measures: against dit and published values, symmetry, decisions."""

import sys

import numpy as np
import pytest
import torch

from pidlib.decomposition import pid
from pidlib.decomposition.decisions import Decisions, decision_pid
from pidlib.decomposition.gates import GATES
from pidlib.decomposition.information import mutual_information
from pidlib.experiments.vision_language.definitions import MEASURES, i_min, mmi, redundancy

SMALL = [name for name, gate in GATES.items() if len(gate.outcomes) <= 16]


def tables(count=5, shape=(3, 4, 2), seed=0):
    table = np.random.default_rng(seed).dirichlet(np.full(np.prod(shape), 0.5), size=count)
    return table.reshape(count, *shape)


@pytest.mark.parametrize("measure, name", [("mmi", "PID_MMI"), ("i_min", "PID_WB")])
def test_closed_forms_equal_those_of_dit(measure, name):
    dit = pytest.importorskip("dit")
    for table in [*(GATES[gate].joint().numpy() for gate in SMALL), *tables()]:
        cells = np.argwhere(table > 0)
        law = dit.Distribution([tuple(cell) for cell in cells.tolist()], table[table > 0].tolist())
        lattice = getattr(dit.pid, name)(law, ((0,), (1,)), (2,))
        assert redundancy(table, measure) == pytest.approx(lattice[((0,), (1,))], abs=1e-9)


@pytest.mark.parametrize(
    "gate, measure, expected",
    [
        ("UNQ", "mmi", 1),
        ("UNQ", "i_min", 1),
        ("UNQ", "ccs", 0),
        ("UNQ", "dep", 0),
        ("AND", "ccs", 0.1038),  # Ince 2017
        ("AND", "dep", 0.0817),  # James et al. 2018
        ("REDUCED OR", "ccs", 0),
        ("PNT UNQ", "dep", 0.25),
        ("RDNXOR", "ccs", 1),
        ("SUM", "dep", 0.1887),
    ],
)
def test_gates(gate, measure, expected):
    found = redundancy(GATES[gate].joint(), measure)
    assert type(found) is float and found == pytest.approx(expected, abs=1e-4)


def test_specific_information_by_hand():
    # y = 0 is known from X1 and y = 2 from X2 alone, and y = 1 from both together
    joint = np.zeros((2, 2, 3))
    joint[0, 0, 0] = joint[1, 0, 1] = joint[1, 1, 2] = 1 / 3
    first, other = np.log2(3), np.log2(3 / 2)
    of_zero = min(first, other)  # log P(y|x) / P(y): X1 gives P = 1, X2 gives P = 1/2
    expected = (of_zero + min(other, other) + min(other, first)) / 3
    assert redundancy(joint, "i_min") == pytest.approx(expected)
    # sources of equal information on different values: MMI is larger
    assert redundancy(joint, "mmi") == pytest.approx(np.log2(3) - 2 / 3)


@pytest.mark.parametrize("measure", MEASURES)
def test_names_of_values_order_of_sources_and_scale_do_not_matter(measure):
    table = tables(2)[1]
    found = redundancy(table, measure)
    permuted = table[[2, 0, 1]][:, [3, 1, 0, 2]][..., ::-1].transpose(1, 0, 2)
    tolerance = 1e-4 if measure in ("ccs", "dep") else 1e-9  # dit optimizes numerically
    assert redundancy(permuted, measure) == pytest.approx(found, abs=tolerance)
    assert redundancy(torch.as_tensor(1000 * table), measure) == pytest.approx(found, abs=tolerance)


def test_redundancies_are_ordered():
    batch = torch.as_tensor(tables(50, (4, 3, 3)))
    a, b = batch.sum(2), batch.sum(1)
    largest, specific = mmi(a, b), i_min(a, b)
    assert (torch.as_tensor(pid(batch).redundancy) <= largest + 1e-6).all()
    assert (specific <= largest + 1e-9).all() and (specific < largest - 1e-3).any()
    alone = torch.stack([mutual_information(table) for table in (a, b)])
    torch.testing.assert_close(largest, alone.amin(0))
    assert [redundancy(table, "i_min") for table in batch] == pytest.approx(specific.tolist())


def test_decisions_take_their_pair_marginals():
    generator = np.random.default_rng(1)
    joint, *alone = generator.dirichlet(np.full(3, 0.3), size=(3, 40))
    decisions = Decisions(joint, dict(zip(("vision", "language"), alone, strict=True)))
    a, b, _ = decisions.marginals()
    least = min(decision_pid(decisions).pid.informations.values())
    assert mmi(a, b).item() == pytest.approx(least, abs=1e-9)
    assert 0 < i_min(a, b) < least


def test_wrong_input_raises():
    joint = tables(1)[0]
    for arguments, message in (
        ((joint, "I_min"), "unknown measure 'I_min'; did you mean 'i_min'"),
        ((joint[0], "mmi"), "expected at least 3 axes"),
        ((joint[None], "mmi"), r"expected a joint \[x1, x2, y\], but got shape \(1, 3, 4, 2\)"),
        ((-joint, "ccs"), "must be finite and not negative"),
    ):
        with pytest.raises(ValueError, match=message):
            redundancy(*arguments)


def test_missing_dit_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "dit", None)
    with pytest.raises(ImportError, match="'ccs' needs the package dit; .*pip install dit"):
        redundancy(tables(1)[0], "ccs")
