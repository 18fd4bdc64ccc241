"""Lesson 5, ask a model: from logits to decisions, and what answers to one source alone mean."""

from typing import Any

import numpy as np
from scipy.special import logsumexp, softmax

from pidlib.benchmarks.micro import TASKS
from pidlib.course.judges import FALLBACK, MOVED, Exercise, items, like, nothing
from pidlib.decomposition import pid
from pidlib.decomposition.decisions import Decisions, decision_pid

LETTERS = ("R", "U_v", "U_l", "S")


def _sources() -> dict[str, set[str]]:
    found = {}
    for name in ("scene", "knowledge", "captioned", "pair", "grounding"):
        atoms = zip(LETTERS, pid(TASKS[name].joint()).atoms.values(), strict=True)
        found[name] = {letter for letter, bits in atoms if bits > 0.1}
    return found


def _draw_logits(generator: np.random.Generator) -> tuple:
    logits = 2 * generator.normal(size=(6, 4))
    mass = generator.uniform(0.02, 1, 6)
    mass[:2] = 0.1, 0.9  # one row falls back, one does not
    normalizer = logsumexp(logits, axis=1) - np.log(mass)
    return logits.tolist(), normalizer.tolist(), float(generator.uniform(0.2, 0.6))


def _decisions(logits: np.ndarray, normalizer: np.ndarray, tau: float) -> np.ndarray:
    rows = softmax(logits, axis=1)
    rows[np.exp(logsumexp(logits, axis=1) - normalizer) < tau] = 1 / logits.shape[1]
    return rows


def _zeros(logits: np.ndarray, normalizer: np.ndarray, tau: float) -> np.ndarray:
    rows = _decisions(logits, normalizer, tau)
    return rows * (np.ptp(rows, axis=1) > 0)[:, None]


def _by_the_best(logits: np.ndarray, normalizer: np.ndarray, tau: float) -> np.ndarray:
    rows = softmax(logits, axis=1)
    rows[np.exp(logits.max(1) - normalizer) < tau] = 1 / logits.shape[1]
    return rows


def _draw_pairs(generator: np.random.Generator) -> tuple:
    rows, weights = generator.dirichlet(np.ones(3), 12), generator.dirichlet(np.ones(12))
    pictures = generator.permutation(np.arange(12) % 4)
    return rows.tolist(), weights.tolist(), pictures.tolist()


def _alone(
    rows: np.ndarray, weights: np.ndarray, pictures: np.ndarray, divide: bool = True
) -> np.ndarray:
    """p(y | v) of pictures 0 to 3, or P(v, y), from weighted rows p(y | v, t)."""
    mine = weights * (pictures == np.arange(4)[:, None])
    return mine @ rows / (mine.sum(1, keepdims=True) if divide else 1)


def _draw_diagnostics(generator: np.random.Generator) -> tuple:
    fallback = generator.choice([0.01, 0.1, 0.3, 0.6], 3, p=[0.4, 0.2, 0.2, 0.2])
    moved = generator.choice([0.02, 0.1, 0.35], 2, p=[0.4, 0.3, 0.3])
    return *map(float, fallback), *map(float, moved)


def _readable(f: float, f_v: float, f_l: float, m_v: float, m_l: float) -> list[bool]:
    """Whether the masked, resampled and observational atoms can be read."""
    both = bool(f <= FALLBACK)
    return [both and max(f_v, f_l) <= FALLBACK and max(m_v, m_l) <= MOVED, both, both]


def _misleads(value: Any) -> str:
    vision, language, answers = (np.array(each) for each in value)
    answers = answers.astype(int)
    shares = np.bincount(answers) / len(answers)
    accuracy, chance = (language.argmax(1) == answers).mean(), shares.max()
    if accuracy > chance:
        text = "of the question alone, above what one constant answer reaches"
        return f"accuracy {accuracy:.2f} {text}, {chance:.2f}"
    sources = {"vision": vision, "language": language}
    found = decision_pid(Decisions(np.eye(vision.shape[1])[answers], sources))
    if (most := max(found.reconciliation.values())) > MOVED:
        return f"reconciliation moves the answers by {most:.2f}, so that a profile warns"
    bits = found.pid.atoms["unique_language"]
    return "" if bits > 1 else f"unique_language is {bits:.2f} bits and must exceed 1"


def _quiz() -> dict[str, Any]:
    return {
        "five candidates share .1 of the probability, tau is .3: p of the first": 0.2,
        "p(yes) is .9, .1, .4 and .2 with four equally frequent questions: p(yes|v)": 0.4,
        "moved_language is .45: which mode is not to be read": {"masked"},
        "each text names the color of its picture: which mode misses that": {"resampled"},
        "I(Y; question) 1.2 bits masked, right on a quarter of four answers: it helps": {"no"},
    }


EXERCISES = {
    "predicted_sources": Exercise(nothing, items(_sources)),
    "decisions": Exercise(
        _draw_logits,
        like(
            _decisions,
            of_vocabulary=lambda logits, c, tau: np.exp(logits - c[:, None]),
            no_fallback=lambda logits, c, tau: softmax(logits, axis=1),
            zero_rows=_zeros,
            best_only=_by_the_best,
        ),
    ),
    "picture_alone": Exercise(
        _draw_pairs,
        like(
            _alone,
            unweighted=lambda rows, w, pictures: _alone(rows, np.ones_like(w), pictures),
            undivided=lambda rows, w, pictures: _alone(rows, w, pictures, divide=False),
        ),
    ),
    "readable": Exercise(
        _draw_diagnostics,
        like(
            _readable,
            moved_only=lambda f, fv, fl, mv, ml: _readable(f, 0, 0, mv, ml),
            fallback_only=lambda f, fv, fl, mv, ml: _readable(f, fv, fl, 0, 0),
            all_modes=lambda *given: [_readable(*given)[0]] * 3,
            masked_only=lambda f, *alone: [_readable(f, *alone)[0], True, True],
        ),
    ),
    "confident_and_wrong": Exercise(nothing, _misleads),
    "quiz_5": Exercise(nothing, items(_quiz)),
}
