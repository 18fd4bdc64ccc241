r"""From a model's decisions about training samples to the weights of these samples.

A sample's local terms s, u_language, ... (in bits; :func:`local_terms`), with :math:`I^+` the sum of the positive parts of all four, give

.. math::
    SR = [s]_+ / (I^+ + \epsilon), \quad SC = [u_{language}]_+ / (I^+ + \epsilon), \quad
    FP = [\min(H(p_v), H(p_t)) - H(p_{vt})]_+, \quad Gap = (1 - SR)(1 - SC)\, FP:

how far the answer rests on both modalities together, how far on language alone (a shortcut), what fusion makes more certain, and where
that potential is not realised. Samples of large gap are to be learnt more, shortcuts less.

The formulas of the scores, and the weights 3 and 0.5, are the published ones. Our reconstruction are the local terms, :math:`I^+`, the
fractions and their order, that a score not above epsilon is in no list, and all of `CONDITIONS` beyond its name.

References
----------
Fang et al., Towards Understanding Modality Interaction in Multimodal Language Models via PID, ICML 2026, arXiv 2606.00959.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from jaxtyping import Bool, Float, Int
from scipy.special import entr, rel_entr

from pidlib.batch_estimator import batch_pid
from pidlib.decisions import Decisions, decision_pid
from pidlib.experiment import derive_seed, unknown
from pidlib.lsmi import lsmi

ESTIMATORS = ("exact", "BATCH", "LSMI")
ATOMS = ("redundancy", "unique_vision", "unique_language", "synergy")
TRAINING = {"epochs": 20, "batch_size": 64}  # of BATCH, within the published ranges

#: How samples are weighted, by the letter of the published table; G and H are ours.
CONDITIONS = {
    "A": "base",  # not trained
    "B": "uniform",
    "C": "PID",  # large gap up, shortcuts down
    "D": "random",  # the weights of C, dealt to random samples
    "E": "accuracy difficulty",  # as many up and down as in C: the answer is unlikely up, likely down
    "F": "ablation sensitivity",  # as many: the picture changes the decision much up, little down
    "G": "inverse language prior",  # by how unlikely language alone makes the answer
    "H": "PID sampling",  # the weights of C as probabilities of being drawn
}


@dataclass(frozen=True)
class Weighting:
    """How scores become weights; the defaults are the published values, or ours where none are known (the fractions).

    Attributes
    ----------
    top_gap, top_shortcut
        Shares of the samples whose weight is raised for their gap and lowered for their shortcut score.
    gap_weight, shortcut_weight
        Their weights; all others have 1.
    epsilon
        In bits, keeps scores of samples without information finite. A gap, in bits, or a shortcut score, a share, that is not above this
        number never counts as large.
    estimator
        Of the local terms, one of `ESTIMATORS`.
    """

    top_gap: float = 0.2
    top_shortcut: float = 0.2
    gap_weight: float = 3.0
    shortcut_weight: float = 0.5
    epsilon: float = 1e-6
    estimator: str = "exact"

    def __post_init__(self):
        if not (0 <= self.top_gap <= 1 and 0 <= self.top_shortcut <= 1):
            raise ValueError(f"top_gap={self.top_gap} and top_shortcut={self.top_shortcut} are shares of the samples: give 0 to 1")
        if not (0 <= self.shortcut_weight <= self.gap_weight < math.inf and self.epsilon > 0):
            raise ValueError(f"0 <= shortcut_weight <= gap_weight and epsilon > 0 are needed; got {self}")
        if self.estimator not in ESTIMATORS:
            raise ValueError(unknown("estimator", self.estimator, ESTIMATORS))


class Local(NamedTuple):
    """Local terms by name, and whether the exact solver certified its tolerance; the other estimators certify nothing."""

    terms: dict[str, Float[np.ndarray, " n"]]
    converged: bool


def local_terms(
    decisions: Decisions,
    estimator: str = "exact",
    seed: int = 0,
    *,
    embeddings: Mapping[str, Float[np.ndarray, "n d"]] | None = None,
    n_batches: int | None = None,
    tol: float = 1e-6,
    device: torch.device | str = "cpu",
) -> Local:
    r"""Each sample's part in the atoms, in bits, by name; over all samples they average to the atoms of the estimator.

    With :math:`i_1 = KL(p_v || P(Y))`, i_2 and i_12 likewise, and i_Q the sample's share of I_Q, the mean of its shares as a picture and as
    a question, they are i_1 + i_2 - i_Q, i_Q - i_2, i_Q - i_1 and i_12 - i_Q; LSMI has terms of its own, see `pidlib.lsmi`. The p_v and p_t
    of the exact terms are moved to one P(Y), as the decomposition needs it (`pidlib.decisions.DecisionPID.reconciliation` says how far);
    those of :func:`scores`, in FP, are as the model gave them.

    Parameters
    ----------
    decisions
        Masked, one row for each sample, of the sources vision and language.
    estimator
        ``"exact"``; ``"BATCH"``, the mean over the random batches in which a sample occurs, so that samples which occur more often count
        more in the atoms; or ``"LSMI"``.
    seed
        Of BATCH and LSMI.
    embeddings
        Inputs of the networks of BATCH and of the densities of LSMI, by source; see there.
    n_batches
        Batches that BATCH averages; if left out the published 50, or as many more as it takes for every sample to be expected in one.
    tol
        Certified gap asked of the exact solver, in bits.
    device
        Where it computes.

    Raises
    ------
    ValueError
        For another estimator, and if a sample occurs in none of the batches.
    """
    if estimator == "exact":
        solved = decision_pid(decisions, tol=tol, device=device)
        return Local(dict(solved.local), solved.pid.converged)
    if estimator == "LSMI":
        return Local(lsmi(decisions, embeddings, seed), True)
    if estimator != "BATCH":
        raise ValueError(unknown("estimator", estimator, ESTIMATORS))
    found = batch_pid(decisions, embeddings=embeddings, n_batches=n_batches or _enough(len(decisions)), seed=seed, **TRAINING)
    if not found.occurrences.all():
        missing = np.flatnonzero(found.occurrences == 0)
        raise ValueError(f"samples {missing[:5]} ... ({len(missing)}) occur in none of the batches of BATCH; ask for more n_batches")
    return Local(dict(found.local), True)


def scores(
    p_v: Float[np.ndarray, "n k"],
    p_t: Float[np.ndarray, "n k"],
    p_vt: Float[np.ndarray, "n k"],
    local: Mapping[str, Float[np.ndarray, " n"]],
    epsilon: float = 1e-6,
) -> pd.DataFrame:
    """Scores of samples: ``sr``, ``sc`` and ``gap / fp`` are shares of one, ``fp`` and ``gap`` are in bits; one row a sample.

    Parameters
    ----------
    p_v, p_t, p_vt
        Decisions from the picture alone, the question alone, and both.
    local
        From `local_terms`.
    epsilon
        In bits.

    Raises
    ------
    ValueError
        If local terms are missing, not finite, or of other samples.

    >>> xor = {"redundancy": [0.0], "unique_vision": [0.0], "unique_language": [0.0], "synergy": [1.0]}
    >>> scores([[0.5, 0.5]], [[0.5, 0.5]], [[1.0, 0.0]], xor).round(3).to_dict("records")
    [{'sr': 1.0, 'sc': 0.0, 'fp': 1.0, 'gap': 0.0}]
    """
    if set(local) != set(ATOMS):
        raise ValueError(f"local terms {', '.join(local)}: the scores need {', '.join(ATOMS)}")
    positive = {name: np.maximum(terms, 0.0) for name, terms in local.items()}
    h_v, h_t, h_vt = (entr(rows).sum(-1) / math.log(2) for rows in map(np.asarray, (p_v, p_t, p_vt)))
    total = sum(positive.values()) + epsilon
    if {x.shape for x in (h_v, h_t, total)} != {h_vt.shape} or not np.isfinite(total).all():
        raise ValueError(f"local terms {total.shape} must be finite, one for each of the samples {h_v.shape}, {h_t.shape}, {h_vt.shape}")
    sr, sc = positive["synergy"] / total, positive["unique_language"] / total
    fp = np.maximum(np.minimum(h_v, h_t) - h_vt, 0.0)
    return pd.DataFrame({"sr": sr, "sc": sc, "fp": fp, "gap": (1 - sr) * (1 - sc) * fp})


def weights(
    condition: str,
    scores: pd.DataFrame,
    decisions: Decisions,
    labels: Int[np.ndarray, " n"],
    weighting: Weighting = Weighting(),
    seed: int = 0,
) -> Float[np.ndarray, " n"]:
    r"""The weight of each sample under one of `CONDITIONS`.

    C, and H: the ``top_gap`` of all samples by gap have the gap weight; of the others the ``top_shortcut`` of all by SC have the shortcut
    weight. Of equal samples the first comes first. D deals these weights anew. E and F give the same numbers of samples either weight:
    first up, then of the others down, E by :math:`-\log p_{vt}(label)`, F by :math:`KL(p_{vt} || p_t)`. G weighs each by
    :math:`1 / (k\, p_t(label))`, one for a label that language alone leaves to chance, clipped to the two weights.

    Parameters
    ----------
    condition
        A letter of `CONDITIONS`.
    scores
        From the function of that name.
    decisions
        Of the same samples.
    labels
        The number of each sample's right answer among the candidates.
    weighting, seed
        How, and of which stream D is dealt.

    Raises
    ------
    ValueError
        For A, which is not trained, and other conditions, and if the numbers of samples differ.
    """
    n, k = decisions.joint.shape
    labels = np.asarray(labels)
    if condition not in CONDITIONS or condition == "A":
        raise ValueError(unknown("condition of a training", condition, set(CONDITIONS) - {"A"}))
    if len(scores) != n or labels.shape != (n,) or labels.dtype.kind not in "iu" or labels.min() < 0 or labels.max() >= k:
        raise ValueError(f"{len(scores)} scores and labels {labels.shape} for {n} decisions: give each one, labels as numbers below {k}")
    if condition == "B":
        return np.ones(n)
    everyone, alone = np.arange(n), decisions.sources["language"]
    if condition == "G":
        return np.clip(1 / (k * np.maximum(alone[everyone, labels], 1e-300)), weighting.shortcut_weight, weighting.gap_weight)
    gap, shortcut = scores["gap"].to_numpy(), scores["sc"].to_numpy()
    up = _largest(gap, round(weighting.top_gap * n), gap > weighting.epsilon)
    down = _largest(shortcut, round(weighting.top_shortcut * n), (shortcut > weighting.epsilon) & ~up)
    if condition in "EF":
        by = -decisions.joint[everyone, labels] if condition == "E" else rel_entr(decisions.joint, alone).sum(1)
        up, n_down = _largest(by, up.sum(), np.ones(n, bool)), down.sum()
        down = _largest(-by, n_down, ~up)
    found = np.where(up, weighting.gap_weight, np.where(down, weighting.shortcut_weight, 1.0))
    return np.random.default_rng(derive_seed("reweighting", "random", seed)).permutation(found) if condition == "D" else found


def _largest(values: Float[np.ndarray, " n"], count: int, among: Bool[np.ndarray, " n"]) -> Bool[np.ndarray, " n"]:
    """The `count` largest of some, or all of them if they are fewer; of equals the first."""
    order = np.argsort(-values, kind="stable")
    chosen = np.zeros(len(values), bool)
    chosen[order[among[order]][:count]] = True
    return chosen


def _enough(n: int) -> int:
    """Batches after which one sample in a thousand times n is still to come, and at least the published 50; one if it holds all."""
    size = TRAINING["batch_size"]
    return 1 if size >= n else max(50, math.ceil(n / size * math.log(1000 * n)))
