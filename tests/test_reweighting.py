"""Scores and weights of training samples, compared with numbers computed by hand."""

import math

import numpy as np
import pandas as pd
import pytest
from scipy.special import softmax

from pidlib import reweighting
from pidlib.decomposition.batch import batch_pid
from pidlib.decomposition.decisions import Decisions, decision_pid
from pidlib.decomposition.lsmi import lsmi
from pidlib.reweighting import (
    ATOMS,
    BATCH_TRAINING,
    CONDITIONS,
    ESTIMATORS,
    Weighting,
    _covering_batches,
    local_terms,
    scores,
    weights,
)


def soft(n=96, k=3, seed=0):
    v, t = np.random.default_rng(seed).normal(size=(2, n, k)) * 1.5
    sources = {"vision": softmax(v, axis=1), "language": softmax(t, axis=1)}
    return Decisions(softmax(v + t, axis=1), sources)


def ten(gap, shortcut, p_vt=None, p_t=None):
    """Ten samples of two candidates with these scores, and these probabilities of candidate 0."""
    first = np.array([p_vt or [0.5] * 10, [0.5] * 10, p_t or [0.5] * 10])
    joint, vision, language = np.stack([first, 1 - first], -1)
    decisions = Decisions(joint, {"vision": vision, "language": language})
    table = pd.DataFrame({"sr": 0.0, "sc": shortcut, "fp": 1.0, "gap": gap})
    return table, decisions, np.zeros(10, int)


# Samples 0, 2 and 3 have one gap, 4 to 7 one shortcut score; 0, 1 and 2 are high in both
GAP = [0.5, 0.9, 0.5, 0.5, 0, 0, 0, 0, 0, 0]
SHORTCUT = [0.9, 0.8, 0.7, 0, 0.2, 0.2, 0.2, 0.2, 0, 0]
FRACTIONS = Weighting(top_gap=0.2, top_shortcut=0.3)
PID = [3, 3, 0.5, 1, 0.5, 0.5, 1, 1, 1, 1]


def test_scores_by_hand():
    p_v = [[0.5, 0.5], [0.5, 0.5], [0.5, 0.5]]
    p_t = [[0.25, 0.75], [0.5, 0.5], [1.0, 0.0]]
    p_vt = [[1.0, 0.0], [0.5, 0.5], [0.75, 0.25]]
    local = {
        "redundancy": np.array([0.25, -0.1, 0.0]),
        "unique_vision": np.array([-0.5, -0.2, 0.0]),
        "unique_language": np.array([0.25, -0.3, 1.0]),
        "synergy": np.array([0.5, 0.0, -0.4]),
    }
    decisions = Decisions(p_vt, {"vision": p_v, "language": p_t})
    result = scores(decisions, local, epsilon=1.0)
    # First sample: the positive parts sum to 1, plus epsilon 2; the smaller entropy is H(1/4).
    fusion = -(0.25 * math.log2(0.25) + 0.75 * math.log2(0.75))
    assert result["sr"].tolist() == [0.25, 0, 0] and result["sc"].tolist() == [0.125, 0, 0.5]
    assert result["fp"].tolist() == pytest.approx([fusion, 0, 0])
    assert result["gap"].tolist() == pytest.approx([0.75 * 0.875 * fusion, 0, 0])
    assert list(result) == ["sr", "sc", "fp", "gap"]
    assert scores(decisions, local)["sr"][0] == pytest.approx(0.5, abs=1e-6)


def test_fusion_potential_uses_the_more_certain_source():
    sure, open_, answer = [0.9, 0.1], [0.5, 0.5], [1.0, 0.0]
    nothing = dict.fromkeys(ATOMS, np.zeros(2))
    sources = {"vision": [sure, open_], "language": [open_, sure]}
    result = scores(Decisions([answer, answer], sources), nothing)
    assert result["fp"].tolist() == pytest.approx([0.469, 0.469], abs=1e-3)  # H(.9)


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_scores_are_shares_for_every_estimator(estimator):
    decisions = soft()
    result = scores(decisions, local_terms(decisions, estimator)[0])
    assert result.shape == (96, 4) and (result >= 0).all(axis=None)
    assert (result["sr"] + result["sc"]).max() < 1 and (result["gap"] <= result["fp"]).all()
    assert (result > 1e-3).sum().min() > 10


def test_exact_terms_average_to_the_atoms():
    decisions = soft()
    solved = decision_pid(decisions).pid
    for atom, terms in local_terms(decisions)[0].items():
        assert terms.mean() == pytest.approx(solved.atoms[atom], abs=1e-6)


def test_batch_terms_average_to_the_atoms_by_occurrence():
    decisions = soft(200)
    n_batches = _covering_batches(200)
    result = batch_pid(decisions, n_batches=n_batches, seed=3, **BATCH_TRAINING)
    terms = local_terms(decisions, "BATCH", seed=3)[0]
    total = n_batches * 64
    assert result.occurrences.sum() == total and result.occurrences.min() > 0
    for atom, value in result.atoms.items():
        assert result.occurrences @ terms[atom] / total == pytest.approx(value, abs=1e-12)
    # far from the exact ones in level (the training is short), near in order
    exact = local_terms(decisions)[0]
    for atom in exact:
        assert np.corrcoef(exact[atom], terms[atom])[0, 1] > 0.9


def test_every_sample_must_be_in_a_batch(monkeypatch):
    assert all(np.isfinite(terms).all() for terms in local_terms(soft(200), "BATCH")[0].values())
    monkeypatch.setattr(reweighting, "_covering_batches", lambda n: 2)
    with pytest.raises(ValueError, match="are in no batch of BATCH; give another seed"):
        local_terms(soft(200), "BATCH")


@pytest.mark.parametrize("n", [65, 200, 480, 3000])
def test_batches_cover_every_sample(n):
    size, batches = BATCH_TRAINING["batch_size"], _covering_batches(n)
    missed, missed_by_fewer = (n * (1 - size / n) ** (f * batches) for f in (1, 0.8))
    assert batches >= 50 and missed <= 1e-3
    assert batches == 50 or missed_by_fewer > 1e-3
    assert _covering_batches(size) == 1


def test_local_terms_depend_on_the_seed_and_lsmi_uses_embeddings():
    decisions = soft()
    embeddings = {name: np.random.default_rng(1).normal(size=(96, 5)) for name in decisions.sources}
    one, again, other = (local_terms(decisions, "BATCH", seed)[0]["synergy"] for seed in (0, 0, 1))
    assert (one == again).all() and (one != other).any()
    expected = lsmi(decisions, embeddings, 4)
    assert all(
        (terms == expected[atom]).all()
        for atom, terms in local_terms(decisions, "LSMI", 4, embeddings=embeddings)[0].items()
    )


def test_pid_weights_by_hand_with_ties_and_overlap():
    table, decisions, labels = ten(GAP, SHORTCUT)
    assert weights("C", table, decisions, labels, FRACTIONS).tolist() == PID
    assert weights("H", table, decisions, labels, FRACTIONS).tolist() == PID
    # 0.2 of ten by default; the last of equals are left out
    assert weights("C", table, decisions, labels).tolist() == [3, 3, 0.5, 1, 0.5, 1, 1, 1, 1, 1]
    swapped = Weighting(top_gap=0.4, top_shortcut=1.0, gap_weight=2.0, shortcut_weight=0.0)
    expected = [2, 2, 2, 2, 0, 0, 0, 0, 1, 1]
    assert weights("C", table, decisions, labels, swapped).tolist() == expected


def test_scores_up_to_epsilon_are_in_no_list():
    table, decisions, labels = ten([1e-6, 1e-7, 0.3] + [0] * 7, [0] * 10)
    expected = [1, 1, 3, 1, 1, 1, 1, 1, 1, 1]
    assert weights("C", table, decisions, labels, FRACTIONS).tolist() == expected
    assert (weights("C", table, decisions, labels, Weighting(top_gap=0, top_shortcut=0)) == 1).all()


def test_random_weights_are_a_permutation_of_the_pid_weights():
    table, decisions, labels = ten(GAP, SHORTCUT)
    draws = [weights("D", table, decisions, labels, FRACTIONS, seed) for seed in range(20)]
    assert all(sorted(draw) == sorted(PID) for draw in draws)
    assert (draws[0] == weights("D", table, decisions, labels, FRACTIONS, 0)).all()
    assert len({tuple(draw) for draw in draws}) > 15
    assert 0.9 < np.mean(draws, 0).max() / np.mean(draws) < 2  # no sample is favored in all


def test_difficulty_and_sensitivity_by_hand():
    p_vt = [0.9, 0.1, 0.5, 0.3, 0.3, 0.8, 0.7, 0.6, 0.9, 0.95]
    table, decisions, labels = ten(GAP, SHORTCUT, p_vt=p_vt)
    # Two up: the least likely answer and the first tie; three down: .95 and both .9.
    expected = [0.5, 3, 1, 3, 1, 1, 1, 1, 0.5, 0.5]
    assert weights("E", table, decisions, labels, FRACTIONS).tolist() == expected
    labels[1] = 1  # now its answer has .9 too: three ties for two places
    expected = [0.5, 0.5, 1, 3, 3, 1, 1, 1, 1, 0.5]
    assert weights("E", table, decisions, labels, FRACTIONS).tolist() == expected
    # p_t = 1/2, so KL(p_vt || p_t) = 1 - H(p_vt): up .95 and the first of .9 and .1; down .5, .6
    # and the first of .7 and .3.
    expected = [3, 1, 0.5, 0.5, 1, 1, 1, 0.5, 1, 3]
    assert weights("F", table, decisions, labels, FRACTIONS).tolist() == expected
    # The divergence is not symmetric: 2.33 bits from p_t = .01 to p_vt = .5, else .92.
    p_vt, p_t = [0.5, 0.01] + [0.5] * 8, [0.01] + [0.5] * 9
    table, decisions, labels = ten(GAP, SHORTCUT, p_vt=p_vt, p_t=p_t)
    assert weights("F", table, decisions, labels, Weighting(top_gap=0.1))[:2].tolist() == [3, 1]


def test_inverse_prior_by_hand():
    p_t = [0.5, 0.25, 0.75, 0.1, 1.0, 0.0, 0.5, 0.5, 0.5, 0.8]
    table, decisions, labels = ten(GAP, SHORTCUT, p_t=p_t)
    labels[9] = 1  # language gives it 0.2
    result = weights("G", table, decisions, labels)
    assert result.tolist() == pytest.approx([1, 2, 2 / 3, 3, 0.5, 3, 1, 1, 1, 2.5])


def test_uniform_weights_are_one_and_the_base_has_none():
    table, decisions, labels = ten(GAP, SHORTCUT)
    assert (weights("B", table, decisions, labels) == 1).all()
    for letter in ("A", "Z", "EF"):
        with pytest.raises(ValueError, match="unknown condition of a training"):
            weights(letter, table, decisions, labels)
    assert list(CONDITIONS) == list("ABCDEFGH")
    for letter in "BCDEFGH":
        result = weights(letter, table, decisions, labels, FRACTIONS)
        assert result.shape == (10,) and result.dtype == float
        assert 0.5 <= result.min() <= result.max() <= 3


def test_invalid_arguments_are_refused():
    table, decisions, labels = ten(GAP, SHORTCUT)
    for wrong in (labels[:9], labels + 2, labels - 1, labels.astype(float)):
        with pytest.raises(ValueError, match="10 scores and labels .* for 10 decisions"):
            weights("E", table, decisions, wrong)
    hidden = np.arange(10) == 3
    with pytest.raises(ValueError, match="1 entries of labels are masked"):
        weights("E", table, decisions, np.ma.array(labels, mask=hidden))
    terms = dict.fromkeys(ATOMS, np.ma.array(np.ones(10), mask=hidden))
    with pytest.raises(ValueError, match="1 entries of redundancy are masked"):
        scores(decisions, terms)
    with pytest.raises(ValueError, match="did you mean 'LSMI'"):
        local_terms(decisions, "LMSI")
    with pytest.raises(ValueError, match="did you mean 'BATCH'"):
        Weighting(estimator="BATCHES")
    values = {"top_gap": 1.2, "top_shortcut": -0.1, "shortcut_weight": 4.0, "epsilon": 0.0}
    for name, value in values.items():
        with pytest.raises(ValueError, match=name):
            Weighting(**{name: value})
    local = dict.fromkeys(ATOMS, np.zeros(10))
    with pytest.raises(ValueError, match="local terms redundancy: the scores need"):
        scores(decisions, {"redundancy": np.zeros(10)})
    for odd in (np.full(10, np.nan), np.zeros(9)):
        with pytest.raises(ValueError):
            scores(decisions, local | {"synergy": odd})
