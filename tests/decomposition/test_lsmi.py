"""LSMI: its arithmetic by hand, its densities against known ones, and the gates."""

import math

import numpy as np
import pytest

from pidlib.decomposition import lsmi as module
from pidlib.decomposition.decisions import Decisions
from pidlib.decomposition.lsmi import lsmi, surprisals


def test_terms_by_hand(monkeypatch):
    decisions = Decisions(
        np.eye(2),
        {"vision": np.array([[0.75, 0.25], [0.25, 0.75]]), "language": np.full((2, 2), 0.5)},
    )
    monkeypatch.setattr(
        module, "surprisals", lambda *inputs, seed: [np.array([2.0, 5.0]), np.array([3.0, 3.0])]
    )
    i1 = math.log2(1.5)  # and i2 = 0, i12 = 1
    # sample 1: r = 2 - min(2 - i1, 3) = i1, u = 0 and -i1, s = 1
    # sample 2: r = 3 - min(5 - i1, 3) = 0, u = i1 and 0, s = 1 - i1
    # The mean u_language is -i1 / 2, so that all are moved by it.
    expected = {
        "redundancy": [i1 / 2, -i1 / 2],
        "unique_vision": [i1 / 2, 3 * i1 / 2],
        "unique_language": [-i1 / 2, i1 / 2],
        "synergy": [1 - i1 / 2, 1 - 3 * i1 / 2],
    }
    result = lsmi(decisions)
    assert result.keys() == expected.keys()
    for atom, terms in expected.items():
        assert result[atom] == pytest.approx(terms)
    # with equal surprisals, information of the weaker source is redundant; shifted to zero or more
    monkeypatch.setattr(module, "surprisals", lambda *inputs, seed: [np.full(2, 4.0)] * 2)
    assert [np.mean(terms) for terms in lsmi(decisions).values()] == pytest.approx(
        [0, i1, 0, 1 - i1]
    )


def test_negative_redundancy_is_shifted_to_zero(monkeypatch):
    monkeypatch.setattr(module, "surprisals", lambda *inputs, seed: [np.full(4, 4.0)] * 2)
    rows = np.array([[0.9, 0.1], [0.1, 0.9]] * 2)
    # either modality alone is overconfident: i1 = i2 = r = -.42 at every sample
    result = lsmi(
        Decisions(np.array([[0.6, 0.4], [0.4, 0.6]] * 2), {"vision": rows, "language": rows})
    )
    misled = 0.6 * math.log2(1.8) + 0.4 * math.log2(0.2)
    together = 0.6 * math.log2(1.2) + 0.4 * math.log2(0.8)
    assert misled == pytest.approx(-0.42, abs=0.001)
    assert [terms.mean() for terms in result.values()] == pytest.approx(
        [0, misled, misled, together - 2 * misled]
    )


def test_the_answer_is_the_target(monkeypatch):
    monkeypatch.setattr(module, "surprisals", lambda *inputs, seed: [np.full(2, 4.0)] * 2)
    joint, alone = np.array([[0.75, 0.25], [0.25, 0.75]]), np.full((2, 2), 0.5)
    result = lsmi(Decisions(joint, {"vision": alone, "language": alone}))
    divergence = 0.75 * math.log2(1.5) + 0.25 * math.log2(0.5)
    assert result["synergy"] == pytest.approx([divergence] * 2) and result[
        "redundancy"
    ] == pytest.approx([0, 0])


@pytest.mark.parametrize(
    "gate, expected", {"XOR": [0, 0, 0, 1], "UNQ": [0, 1, 0, 0], "RDN": [1, 0, 0, 0]}.items()
)
def test_gates(gate, expected):
    generator = np.random.default_rng(0)
    v, t = generator.integers(2, size=(2, 400))
    t = v if gate == "RDN" else t
    one, half = np.eye(2), np.full((400, 2), 0.5)
    sources = {
        "vision": half if gate == "XOR" else one[v],
        "language": one[t] if gate == "RDN" else half,
    }
    decisions = Decisions(one[v ^ t if gate == "XOR" else v], sources)
    embeddings = {
        name: generator.normal(size=(400, 6)) + 3 * bit[:, None]
        for name, bit in (("vision", v), ("language", t))
    }
    assert [terms.mean() for terms in lsmi(decisions, embeddings).values()] == pytest.approx(
        expected, abs=0.02
    )


def test_surprisals_are_those_of_the_whitened_inputs():
    x = np.random.default_rng(1).normal(size=(3000, 3)) @ np.diag([1, 10, 100])
    (result,) = surprisals(x)
    z = (x - x.mean(0)) @ np.linalg.inv(np.linalg.cholesky(np.cov(x.T))).T
    true = ((z**2).sum(1) / 2 + 1.5 * math.log(2 * math.pi)) / math.log(2)
    assert (
        result.mean() == pytest.approx(true.mean(), abs=0.3)
        and np.corrcoef(result, true)[0, 1] > 0.95
    )
    # invariant to scale and rotation; both inputs are reduced to equally many components
    wide = np.random.default_rng(2).normal(size=(3000, 40))
    few, many = surprisals(1000 * x, wide)
    assert few == pytest.approx(result, abs=1e-6) and many.mean() < 1.2 * few.mean()


def test_one_seed_one_estimate_with_repeated_inputs():
    decisions = Decisions(
        np.eye(2)[[0, 1] * 20],
        {"vision": np.eye(2)[[0, 1] * 20], "language": np.full((40, 2), 0.5)},
    )
    embeddings = {
        "vision": np.eye(3)[[0, 1, 2, 1] * 10],
        "language": np.random.default_rng(0).normal(size=(40, 8)),
    }
    one, two = (lsmi(decisions, embeddings, seed=1) for _ in range(2))
    assert all((one[atom] == two[atom]).all() and np.isfinite(one[atom]).all() for atom in one)


def test_constant_or_mismatched_inputs_raise():
    decisions = Decisions(np.eye(2), {"vision": np.eye(2), "language": np.full((2, 2), 0.5)})
    with pytest.raises(ValueError, match="is constant, so it has no density"):
        lsmi(decisions)
    with pytest.raises(
        ValueError, match="embeddings of vision for sources vision, language: give one array"
    ):
        lsmi(decisions, {"vision": np.zeros((3, 4))})
