r"""Weights of training samples from a model's decisions on them (Fang et al., 2026).

The local terms of a sample in bits (`local_terms`), with the sum :math:`I^+` of their positive
parts, give its scores

.. math::
    SR = [s]_+ / (I^+ + \epsilon), \quad SC = [u_{language}]_+ / (I^+ + \epsilon), \\
    FP = [\min(H(p_v), H(p_t)) - H(p_{vt})]_+, \quad Gap = (1 - SR)(1 - SC)\, FP:

the share of synergy, the share of language alone (a shortcut), the entropy that fusion removes
(its potential), and the unrealized part of it. Large gaps get more weight, shortcuts less. The
scores and the weights 3 and 0.5 are published (arXiv 2606.00959), the rest is our reconstruction.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int
from scipy.special import entr, rel_entr

from pidlib._common import derive_seed, unknown_name
from pidlib.decomposition.batch import batch_pid
from pidlib.decomposition.decisions import Decisions, decision_pid
from pidlib.decomposition.information import to_numpy
from pidlib.decomposition.lsmi import lsmi
from pidlib.decomposition.marginals import RECONCILIATIONS

ESTIMATORS = ("exact", "BATCH", "LSMI")
ATOMS = ("redundancy", "unique_vision", "unique_language", "synergy")
BATCH_TRAINING = {"epochs": 20, "batch_size": 64}  # within the published ranges


class Condition(StrEnum):
    """How training samples are weighted, by the letter in the published table; G and H are ours."""

    BASE = "A"  # not trained
    UNIFORM = "B"
    PID = "C"  # a large gap increases the weight, a shortcut decreases it
    RANDOM = "D"  # the weights of C, permuted over the samples
    DIFFICULTY = "E"  # as many samples as in C: increased for an unlikely answer
    SENSITIVITY = "F"  # as many: increased if the picture changes the decision much
    INVERSE_PRIOR = "G"  # by how unlikely the answer is from language alone
    PID_SAMPLING = "H"  # the weights of C as sampling probabilities


_WORDS = ("base", "uniform", "PID", "random", "accuracy difficulty", "ablation sensitivity")
_WORDS += ("inverse language prior", "PID sampling")
CONDITIONS = dict(zip(Condition, _WORDS, strict=True))


@dataclass(frozen=True)
class Weighting:
    """How scores become weights; the weights are published, the other defaults are ours."""

    top_gap: float = 0.2  # share of samples with the largest gap
    top_shortcut: float = 0.2  # share of samples with the largest SC
    gap_weight: float = 3.0
    shortcut_weight: float = 0.5
    epsilon: float = 1e-6  # bits, in the shares; a gap or SC up to epsilon counts as 0
    estimator: str = "exact"  # of the local terms, one of `ESTIMATORS`
    reconciliation: str = "bounded"  # of the masked decisions, see `pidlib.Decisions`

    def __post_init__(self):
        if not (0 <= self.top_gap <= 1 and 0 <= self.top_shortcut <= 1):
            shares = f"top_gap={self.top_gap} and top_shortcut={self.top_shortcut}"
            raise ValueError(f"{shares} are shares of the samples; give 0 to 1")
        if not (0 <= self.shortcut_weight <= self.gap_weight < math.inf and self.epsilon > 0):
            raise ValueError(f"need 0 <= shortcut_weight <= gap_weight and epsilon > 0; got {self}")
        for name, known in (("estimator", ESTIMATORS), ("reconciliation", RECONCILIATIONS)):
            if getattr(self, name) not in known:
                raise ValueError(unknown_name(name, getattr(self, name), known))


def local_terms(
    decisions: Decisions,
    estimator: str = "exact",
    seed: int = 0,
    *,
    embeddings: Mapping[str, Float[np.ndarray, "n d"]] | None = None,
    tol: float = 1e-6,
    device: "Device" = None,
) -> tuple[dict[str, Float[np.ndarray, " n"]], bool]:
    """Compute each sample's part in the atoms, whose mean over samples is the atom, in bits.

    Returns the terms by atom, and whether the exact solver certified its tolerance.
    `decisions` are masked, with a row per sample and the sources vision and language. `estimator`
    is ``"exact"``, see `DecisionPID`, with a certified gap of `tol` bits; ``"BATCH"``, the mean
    over the batches with the sample, of 50 random ones as published or as many as cover every
    sample; or ``"LSMI"``. `embeddings`, by source, are the inputs of the networks of BATCH and of
    the densities of LSMI. Raises a ValueError if a sample is in no batch.
    """
    if estimator == "exact":
        result = decision_pid(decisions, tol=tol, device=device)
        return dict(result.local), result.pid.converged
    if estimator == "LSMI":
        return lsmi(decisions, embeddings, seed), True
    if estimator != "BATCH":
        raise ValueError(unknown_name("estimator", estimator, ESTIMATORS))
    options = {"embeddings": embeddings, "n_batches": _covering_batches(len(decisions))}
    estimate = batch_pid(decisions, seed=seed, **options, **BATCH_TRAINING)
    missing = np.flatnonzero(estimate.occurrences == 0)
    if len(missing):
        raise ValueError(f"samples {missing[:5]} ... are in no batch of BATCH; give another seed")
    return dict(estimate.local), True


def scores(
    decisions: Decisions, local: Mapping[str, Float[np.ndarray, " n"]], epsilon: float = 1e-6
) -> pd.DataFrame:
    """Return scores, a row per sample: shares ``sr`` and ``sc``, ``fp`` and ``gap`` in bits.

    ``local`` is from `local_terms`; ``epsilon`` is in bits.

    >>> half, xor = [[0.5, 0.5]], dict.fromkeys(ATOMS, [0.0]) | {"synergy": [1.0]}
    >>> decisions = Decisions([[1.0, 0.0]], {"vision": half, "language": half})
    >>> scores(decisions, xor).round(3).to_dict("records")
    [{'sr': 1.0, 'sc': 0.0, 'fp': 1.0, 'gap': 0.0}]
    """
    if set(local) != set(ATOMS):
        raise ValueError(f"local terms {', '.join(local)}: the scores need {', '.join(ATOMS)}")
    positive = {name: np.maximum(to_numpy(terms, name), 0.0) for name, terms in local.items()}
    rows = decisions.unimodal["vision"], decisions.unimodal["language"], decisions.joint
    h_v, h_t, h_vt = (entr(p).sum(-1) / math.log(2) for p in rows)
    total = sum(positive.values()) + epsilon
    shapes = [terms.shape for terms in (total, h_v, h_t, h_vt)]
    if len(set(shapes)) > 1 or not np.isfinite(total).all():
        raise ValueError(f"local terms must be finite and one per sample; got shapes {shapes}")
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
    r"""Compute the weight of each sample under a `Condition`.

    C, and H: the ``top_gap`` of all samples by gap have the gap weight; of the others, the
    ``top_shortcut`` of all by SC have the shortcut weight. Ties go to earlier samples. D permutes
    these weights by ``seed``. E and F give both weights to as many samples: the gap weight to the
    largest :math:`-\log p_{vt}(label)` in E, :math:`KL(p_{vt} || p_t)` in F, the other to the
    smallest. G weights by :math:`1 / (k\, p_t(label))`, clipped to the two weights.

    ``labels`` are the indices of the answers among the candidates. Raises a ValueError for A (not
    trained) and unknown conditions, invalid labels, and different lengths.
    """
    (n, k), labels = decisions.joint.shape, to_numpy(labels, "labels")
    if condition not in (known := set(CONDITIONS) - {Condition.BASE}):
        raise ValueError(unknown_name("condition of a training", condition, known))
    valid = labels.shape == (n,) and labels.dtype.kind in "iu" and set(labels) <= set(range(k))
    if len(scores) != n or not valid:
        given = f"{len(scores)} scores and labels {labels.shape} for {n} decisions"
        raise ValueError(f"{given}; give one of each per decision, labels as integers below {k}")
    if condition == Condition.UNIFORM:
        return np.ones(n)
    low, high, rows = weighting.shortcut_weight, weighting.gap_weight, np.arange(n)
    language = decisions.unimodal["language"]
    if condition == Condition.INVERSE_PRIOR:
        return np.clip(1 / (k * np.maximum(language[rows, labels], 1e-300)), low, high)
    gap, shortcut = scores["gap"].to_numpy(), scores["sc"].to_numpy()
    up = _largest(gap, round(weighting.top_gap * n), gap > weighting.epsilon)
    eligible = (shortcut > weighting.epsilon) & ~up
    down = _largest(shortcut, round(weighting.top_shortcut * n), eligible)
    ranks = {Condition.DIFFICULTY: -decisions.joint[rows, labels]}
    ranks |= {Condition.SENSITIVITY: rel_entr(decisions.joint, language).sum(1)}
    if (rank_by := ranks.get(condition)) is not None:
        up = _largest(rank_by, up.sum(), np.ones(n, bool))
        down = _largest(-rank_by, down.sum(), ~up)
    result = np.where(up, high, np.where(down, low, 1.0))
    generator = np.random.default_rng(derive_seed("reweighting", "random", seed))
    return generator.permutation(result) if condition == Condition.RANDOM else result


def _largest(values: np.ndarray, count: int, among: np.ndarray) -> Bool[np.ndarray, " n"]:
    """Mark the ``count`` largest values within ``among``; ties go to earlier samples."""
    order = np.argsort(-values, kind="stable")
    chosen = np.zeros(len(values), bool)
    chosen[order[among[order]][:count]] = True
    return chosen


def _covering_batches(n: int) -> int:
    """Number of batches that miss 1/1000 of a sample on average, at least 50; 1 if it holds all."""
    size = BATCH_TRAINING["batch_size"]
    return 1 if size >= n else max(50, math.ceil(n / size * math.log(1000 * n)))
