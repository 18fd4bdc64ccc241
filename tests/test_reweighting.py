"""Scores and weights of training samples, against numbers worked out by hand."""

import math

import numpy as np
import pandas as pd
import pytest
from scipy.special import softmax

from pidlib.batch_estimator import batch_pid
from pidlib.decisions import Decisions, decision_pid
from pidlib.lsmi import lsmi
from pidlib.reweighting import CONDITIONS, ESTIMATORS, TRAINING, Weighting, _enough, local_terms, scores, weights


def soft(n=96, k=3, seed=0):
    v, t = np.random.default_rng(seed).normal(size=(2, n, k)) * 1.5
    return Decisions(softmax(v + t, axis=1), {"vision": softmax(v, axis=1), "language": softmax(t, axis=1)})


def ten(gap, shortcut, p_vt=None, p_t=None):
    """Ten samples of two candidates with these scores, and these probabilities of candidate 0."""
    rows = {name: np.stack([p, 1 - p], 1) for name, p in (("vt", np.array(p_vt or [0.5] * 10)), ("t", np.array(p_t or [0.5] * 10)))}
    decisions = Decisions(rows["vt"], {"vision": np.full((10, 2), 0.5), "language": rows["t"]})
    return pd.DataFrame({"sr": 0.0, "sc": shortcut, "fp": 1.0, "gap": gap}), decisions, np.zeros(10, int)


# samples 0, 2 and 3 have one gap, 4 to 7 one shortcut score; 0, 1 and 2 are high in both
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
    found = scores(p_v, p_t, p_vt, local, epsilon=1.0)
    # the first sample: the positive parts sum to 1, so both shares are of 2; H(1/4) = .8113 bits is the smaller entropy
    fusion = -(0.25 * math.log2(0.25) + 0.75 * math.log2(0.75))
    assert found["sr"].tolist() == [0.25, 0, 0] and found["sc"].tolist() == [0.125, 0, 0.5]
    assert found["fp"].tolist() == pytest.approx([fusion, 0, 0])  # fusion that makes less certain, as in the third, has no potential
    assert found["gap"].tolist() == pytest.approx([0.75 * 0.875 * fusion, 0, 0])
    assert list(found) == ["sr", "sc", "fp", "gap"]
    assert scores(p_v, p_t, p_vt, local)["sr"][0] == pytest.approx(0.5, abs=1e-6)


def test_the_potential_of_fusion_is_of_the_surer_source_whichever_it_is():
    sure, open_, answer = [0.9, 0.1], [0.5, 0.5], [1.0, 0.0]
    nothing = dict.fromkeys(("redundancy", "unique_vision", "unique_language", "synergy"), np.zeros(2))
    found = scores([sure, open_], [open_, sure], [answer, answer], nothing)
    assert found["fp"].tolist() == pytest.approx([0.469, 0.469], abs=1e-3)  # H(.9)


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_scores_are_shares_whatever_the_estimator(estimator):
    decisions = soft()
    found = scores(*decisions.sources.values(), decisions.joint, local_terms(decisions, estimator).terms)
    assert found.shape == (96, 4) and (found >= 0).all(axis=None)
    assert (found["sr"] + found["sc"]).max() < 1 and (found["gap"] <= found["fp"]).all()
    assert (found > 1e-3).sum().min() > 10


def test_exact_terms_average_to_the_atoms():
    decisions = soft()
    solved = decision_pid(decisions).pid
    for atom, terms in local_terms(decisions).terms.items():
        assert terms.mean() == pytest.approx(solved.atoms[atom], abs=1e-6)


def test_batch_terms_average_to_the_atoms_by_occurrence():
    decisions = soft(200)
    found = batch_pid(decisions, n_batches=108, seed=3, **TRAINING)  # 200 / 64 * log(200,000) = 38, so the published 50 do
    terms = local_terms(decisions, "BATCH", seed=3, n_batches=108).terms
    assert found.occurrences.sum() == 108 * 64 and found.occurrences.min() > 0
    for atom, value in found.unclamped.items():
        assert found.occurrences @ terms[atom] / (108 * 64) == pytest.approx(value, abs=1e-12)
    # far from the exact ones in level (the training is short), near in order
    exact = local_terms(decisions).terms
    for atom in exact:
        assert np.corrcoef(exact[atom], terms[atom])[0, 1] > 0.9


def test_batch_needs_every_sample_in_a_batch():
    with pytest.raises(ValueError, match="occur in none of the batches of BATCH; ask for more n_batches"):
        local_terms(soft(200), "BATCH", n_batches=2)
    assert all(np.isfinite(terms).all() for terms in local_terms(soft(200), "BATCH").terms.values())


@pytest.mark.parametrize("n", [65, 200, 480, 3000])
def test_so_many_batches_leave_no_sample_out(n):
    size, batches = TRAINING["batch_size"], _enough(n)
    assert batches >= 50 and n * (1 - size / n) ** batches <= 1e-3  # samples in none of them, in the mean
    assert batches == 50 or n * (1 - size / n) ** (0.8 * batches) > 1e-3  # nor far more than it takes
    assert _enough(size) == 1


def test_local_terms_are_one_per_seed_and_lsmi_is_passed_on():
    decisions = soft()
    embeddings = {name: np.random.default_rng(1).normal(size=(96, 5)) for name in decisions.sources}
    one, again, other = (local_terms(decisions, "BATCH", seed).terms["synergy"] for seed in (0, 0, 1))
    assert (one == again).all() and (one != other).any()
    expected = lsmi(decisions, embeddings, 4)
    assert all((terms == expected[atom]).all() for atom, terms in local_terms(decisions, "LSMI", 4, embeddings=embeddings).terms.items())


def test_pid_weights_by_hand_with_ties_and_overlap():
    table, decisions, labels = ten(GAP, SHORTCUT)
    assert weights("C", table, decisions, labels, FRACTIONS).tolist() == PID
    assert weights("H", table, decisions, labels, FRACTIONS).tolist() == PID
    # 0.2 of ten by default; the last of equals are left out
    assert weights("C", table, decisions, labels).tolist() == [3, 3, 0.5, 1, 0.5, 1, 1, 1, 1, 1]
    swapped = Weighting(top_gap=0.4, top_shortcut=1.0, gap_weight=2.0, shortcut_weight=0.0)
    assert weights("C", table, decisions, labels, swapped).tolist() == [2, 2, 2, 2, 0, 0, 0, 0, 1, 1]


def test_scores_of_nothing_are_in_no_list():
    table, decisions, labels = ten([1e-6, 1e-7, 0.3] + [0] * 7, [0] * 10)
    assert weights("C", table, decisions, labels, FRACTIONS).tolist() == [1, 1, 3, 1, 1, 1, 1, 1, 1, 1]
    assert (weights("C", table, decisions, labels, Weighting(top_gap=0, top_shortcut=0)) == 1).all()


def test_random_weights_are_the_pid_weights_dealt_anew():
    table, decisions, labels = ten(GAP, SHORTCUT)
    deals = [weights("D", table, decisions, labels, FRACTIONS, seed) for seed in range(20)]
    assert all(sorted(deal) == sorted(PID) for deal in deals)
    assert (deals[0] == weights("D", table, decisions, labels, FRACTIONS, 0)).all()
    assert len({tuple(deal) for deal in deals}) > 15
    assert 0.9 < np.mean(deals, 0).max() / np.mean(deals) < 2  # no sample is favoured in all of them


def test_difficulty_and_sensitivity_by_hand():
    p_vt = [0.9, 0.1, 0.5, 0.3, 0.3, 0.8, 0.7, 0.6, 0.9, 0.95]
    table, decisions, labels = ten(GAP, SHORTCUT, p_vt=p_vt)
    # two up: the least likely answer and the first of the next; three down: the likeliest, .95 and both .9
    assert weights("E", table, decisions, labels, FRACTIONS).tolist() == [0.5, 3, 1, 3, 1, 1, 1, 1, 0.5, 0.5]
    labels[1] = 1  # now its answer is of those at .9, which are three for two places
    assert weights("E", table, decisions, labels, FRACTIONS).tolist() == [0.5, 0.5, 1, 3, 3, 1, 1, 1, 1, 0.5]
    # p_t = 1/2, so that KL(p_vt || p_t) = 1 - H(p_vt): up .95 and the first of the two .9 and .1, down .5, .6 and the first of .7 and .3
    assert weights("F", table, decisions, labels, FRACTIONS).tolist() == [3, 1, 0.5, 0.5, 1, 1, 1, 0.5, 1, 3]
    # the divergence is not symmetric: from p_t = .01 to p_vt = .5 it is 2.33 bits, from .5 to .01 only .92
    table, decisions, labels = ten(GAP, SHORTCUT, p_vt=[0.5, 0.01] + [0.5] * 8, p_t=[0.01] + [0.5] * 9)
    assert weights("F", table, decisions, labels, Weighting(top_gap=0.1))[:2].tolist() == [3, 1]


def test_inverse_prior_by_hand():
    table, decisions, labels = ten(GAP, SHORTCUT, p_t=[0.5, 0.25, 0.75, 0.1, 1.0, 0.0, 0.5, 0.5, 0.5, 0.8])
    labels[9] = 1  # language gives it 0.2
    found = weights("G", table, decisions, labels)
    assert found.tolist() == pytest.approx([1, 2, 2 / 3, 3, 0.5, 3, 1, 1, 1, 2.5])


def test_uniform_is_one_and_base_is_not_trained():
    table, decisions, labels = ten(GAP, SHORTCUT)
    assert (weights("B", table, decisions, labels) == 1).all()
    for letter in ("A", "Z", "EF"):
        with pytest.raises(ValueError, match="unknown condition of a training"):
            weights(letter, table, decisions, labels)
    assert list(CONDITIONS) == list("ABCDEFGH")
    for letter in "BCDEFGH":
        found = weights(letter, table, decisions, labels, FRACTIONS)
        assert found.shape == (10,) and found.dtype == float and 0.5 <= found.min() <= found.max() <= 3


def test_refuses_what_does_not_fit():
    table, decisions, labels = ten(GAP, SHORTCUT)
    for wrong in (labels[:9], labels + 2, labels - 1, labels.astype(float)):
        with pytest.raises(ValueError, match="10 scores and labels .* for 10 decisions"):
            weights("E", table, decisions, wrong)
    with pytest.raises(ValueError, match="did you mean 'LSMI'"):
        local_terms(decisions, "LMSI")
    with pytest.raises(ValueError, match="did you mean 'BATCH'"):
        Weighting(estimator="BATCHES")
    for wrong in ({"top_gap": 1.2}, {"top_shortcut": -0.1}, {"shortcut_weight": 4.0}, {"epsilon": 0.0}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            Weighting(**wrong)
    local = dict.fromkeys(("redundancy", "unique_vision", "unique_language", "synergy"), np.zeros(10))
    rows = decisions.joint
    with pytest.raises(ValueError, match="local terms redundancy: the scores need"):
        scores(rows, rows, rows, {"redundancy": np.zeros(10)})
    for odd in (np.full(10, np.nan), np.zeros(9)):
        with pytest.raises(ValueError):
            scores(rows, rows, rows, local | {"synergy": odd})
