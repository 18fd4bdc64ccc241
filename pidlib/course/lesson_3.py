"""Lesson 3, the optimization: worlds with the same pairs, and the least information in one."""

from typing import Any

import numpy as np

from pidlib.course.judges import TOLERANCE, Exercise, informations, items, like, nothing, table
from pidlib.decomposition import pid
from pidlib.decomposition.gates import GATES

AND = GATES["AND"].joint().numpy()
MOVE = np.zeros((2, 2, 2))  # a shift of mass that changes neither pair
MOVE[..., 0] = [[1, -1], [-1, 1]]


def _two_worlds(generator: np.random.Generator) -> tuple:
    """A table, and another: one with the same pairs, or one that differs in a pair."""
    p, q = (np.array(table(2, 2, 2)(generator)[0]) + 0.05 for _ in range(2))
    kind = generator.integers(4)
    if kind == 0:
        q = p + 0.04 * MOVE
    if kind == 1:  # the pair of sources is the same, those with y are not
        q = p.sum(2, keepdims=True) * q / q.sum(2, keepdims=True)
    if kind > 1:  # single variables are the same, and one source with y is not
        q = p + 0.02 * (MOVE + MOVE.swapaxes(kind - 2, 2))
    return (p / p.sum()).tolist(), (q / q.sum()).tolist()


def _same(p: np.ndarray, q: np.ndarray, axes: tuple = (0, 1)) -> float:
    return float(all(np.allclose(p.sum(axis), q.sum(axis)) for axis in axes))


def _scale(q: np.ndarray, rows: np.ndarray, axis: int = 1) -> np.ndarray:
    return q * (rows / q.sum(axis))[:, None]


def _draw_rows(generator: np.random.Generator) -> tuple:
    q = generator.random((3, 3)) + 0.1
    return q.tolist(), generator.dirichlet(np.ones(3)).tolist()


def _fit(q: np.ndarray, rows: np.ndarray, columns: np.ndarray, sweeps: int = 500) -> np.ndarray:
    for _ in range(sweeps):
        q = _scale(_scale(q, rows).T, columns).T
    return q


def _draw_both(generator: np.random.Generator) -> tuple:
    return *_draw_rows(generator), generator.dirichlet(np.ones(3)).tolist()


def _draw_move(generator: np.random.Generator) -> tuple:
    return (float(generator.uniform(0, 0.25)),)


def _world(t: float) -> float:
    return informations(AND + t * MOVE)[2]


def _is_swapped(value: Any) -> str:
    joint = np.array(value, float)
    one, other = pid(joint), pid(joint.swapaxes(0, 1))
    if abs(float(one.redundancy - other.redundancy)) > TOLERANCE:
        return "the redundancy changes when the sources are exchanged, a fault of pidlib"
    first, second = (float(found.unique["vision"]) for found in (one, other))
    good = min(first, second) > 0.1 and abs(first - second) > 0.1
    return "" if good else f"its unique atoms are {first:.3f} and {second:.3f}"


def _quiz() -> dict[str, set[str]]:
    return {
        "local minimum": {"no"},
        "depends on the sources' pair": {"synergy"},
        "upper minus lower": {"optimization"},
    }


EXERCISES = {
    "same_pairs": Exercise(
        _two_worlds,
        like(
            _same,
            sources_only=lambda p, q: _same(p, q, (2,)),
            single_only=lambda p, q: _same(p, q, ((1, 2), (0, 2), (0, 1))),
        ),
    ),
    "information_of_world": Exercise(
        _draw_move, like(_world, added=lambda t: informations(AND + t * MOVE.clip(0))[2])
    ),
    "scaled": Exercise(
        _draw_rows,
        like(
            _scale,
            columns=lambda q, rows: _scale(q.T, rows).T,
            unscaled=lambda q, rows: q * rows[:, None],
        ),
    ),
    "fitted": Exercise(
        _draw_both,
        like(_fit, one_sweep=lambda q, rows, columns: _fit(q, rows, columns, 1)),
    ),
    "two_unique": Exercise(nothing, _is_swapped),
    "quiz_3": Exercise(nothing, items(_quiz)),
}
