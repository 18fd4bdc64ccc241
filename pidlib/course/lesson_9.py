"""Lesson 9, the capstone: weights of training samples, tests over seeds, and a referee's list."""

from itertools import product
from typing import Any

import numpy as np

from pidlib.course.judges import FALLBACK, MOVED, Exercise, items, like, nothing

SHARE, UP, DOWN = 0.2, 3.0, 0.5  # of samples in each list, and their weights


def _draw_scores(generator: np.random.Generator) -> tuple:
    return generator.random(20).tolist(), generator.random(20).tolist()


def _raw(gap: np.ndarray, shortcut: np.ndarray, refill: bool = True) -> np.ndarray:
    """Weights before they are divided by their mean; without ``refill`` a list may be shorter."""
    size = round(SHARE * len(gap))
    up = np.argsort(np.argsort(-gap)) < size
    eligible = np.where(up, -np.inf, shortcut) if refill else shortcut
    down = np.argsort(np.argsort(-eligible)) < size
    return np.where(up, UP, np.where(down, DOWN, 1.0))


def _both_lists(gap: np.ndarray, shortcut: np.ndarray) -> np.ndarray:
    down = np.argsort(np.argsort(-shortcut)) < round(SHARE * len(gap))
    return np.where(down, DOWN, np.where(_raw(gap, shortcut) == UP, UP, 1.0))


def _draw_lists(generator: np.random.Generator) -> tuple:
    lists = np.repeat([UP, 1.0, DOWN], [5, 9, 4])
    return generator.permutation(lists).tolist(), generator.random(18).tolist()


def _unlikely(weights: np.ndarray, p: np.ndarray) -> np.ndarray:
    return np.array([(p[chosen] < 0.5).mean() for chosen in (weights > 1, weights < 1)])


def _draw_trainings(generator: np.random.Generator) -> tuple:
    seeds, luck = np.arange(6), generator.normal(0.7, 0.08, 6)
    rows = (np.c_[seeds, luck + generator.normal(0, 0.02, 6)] for _ in range(2))
    return tuple(generator.permutation(each).tolist() for each in rows)


def _in_order(rows: np.ndarray, column: int = 0) -> np.ndarray:
    return rows[np.argsort(rows[:, column]), 1]


def _draw_differences(generator: np.random.Generator) -> tuple:
    return (generator.normal(0.03, 0.03, generator.integers(4, 8)).tolist(),)


def _sums(differences: np.ndarray) -> np.ndarray:
    """Sums with all signs, relative to the absolute sum as it is."""
    signs = np.array(list(product((1, -1), repeat=len(differences))))
    return signs @ differences / abs(differences.sum())


def _draw_atoms(generator: np.random.Generator) -> tuple:
    value = generator.uniform(0.02, 1, 16)
    low, null = value - generator.uniform(0, 0.5, 16), value * generator.uniform(0, 1.5, 16)
    parts = value, low, null, generator.random(16), generator.uniform(0, 0.4, 16)
    return tuple(part.tolist() for part in parts)


def _survives(value, low, null, fallback, moved) -> np.ndarray:
    return (low > 0) & (value > null) & (fallback <= FALLBACK) & (moved <= MOVED)


def _quiz() -> dict[str, Any]:
    return {
        "smallest p of 5 pairs": 0.0625,
        "better than random weights, equal to uniform ones: use them": {"no"},
        "25 % before training, 60 % after: due to the weights": {"no"},
        "8 planned pairs, all better: evidence": {"yes"},
        "the best of 20 settings has p = .04: evidence": {"no"},
    }


EXERCISES = {
    "list_weights": Exercise(
        _draw_scores,
        like(
            lambda gap, sc: (raw := _raw(gap, sc)) / raw.mean(),
            not_mean_one=_raw,
            not_refilled=lambda gap, sc: (raw := _raw(gap, sc, False)) / raw.mean(),
            both_lists=lambda gap, sc: (raw := _both_lists(gap, sc)) / raw.mean(),
            smallest=lambda gap, sc: (raw := _raw(-gap, sc)) / raw.mean(),
        ),
    ),
    "needs_picture": Exercise(
        _draw_lists,
        like(
            _unlikely,
            likely=lambda weights, p: 1 - _unlikely(weights, p),
            of_all=lambda w, p: [((w > 1) & (p < 0.5)).mean(), ((w < 1) & (p < 0.5)).mean()],
            lists_swapped=lambda weights, p: _unlikely(weights, p)[::-1],
        ),
    ),
    "paired_differences": Exercise(
        _draw_trainings,
        like(
            lambda ours, uniform: _in_order(ours) - _in_order(uniform),
            sign=lambda ours, uniform: _in_order(uniform) - _in_order(ours),
            by_row=lambda ours, uniform: ours[:, 1] - uniform[:, 1],
            by_value=lambda ours, uniform: _in_order(ours, 1) - _in_order(uniform, 1),
        ),
    ),
    "sign_flip_p": Exercise(
        _draw_differences,
        like(
            lambda d: (abs(_sums(d)) > 1 - 1e-9).mean(),
            one_sided=lambda d: (_sums(d) * np.sign(d.sum()) > np.sign(d.sum()) - 1e-9).mean(),
            as_they_are=lambda d: (abs(_sums(d)) > 1 + 1e-9).mean(),
        ),
    ),
    "survives_referee": Exercise(
        _draw_atoms,
        like(
            _survives,
            without_null=lambda value, low, null, *rest: _survives(value, low, 0, *rest),
            without_interval=lambda value, low, *rest: _survives(value, value, *rest),
            without_diagnostics=lambda *parts: _survives(*parts[:3], 0, 0),
        ),
    ),
    "quiz_9": Exercise(nothing, items(_quiz)),
}
