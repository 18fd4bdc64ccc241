"""Lesson 6, fake synergy: what makes it up, and a list of objections."""

from typing import Any

import numpy as np

from pidlib.course.judges import (
    FALLBACK,
    LEAST_UNIQUE,
    MOVED,
    NATS,
    Exercise,
    informations,
    items,
    like,
    nothing,
)
from pidlib.decomposition.decisions import Decisions, decision_pid


def _draw_certain(generator: np.random.Generator) -> tuple:
    """A table [x1, x2, y] in which x1 determines y."""
    pairs = generator.dirichlet(np.full(15, 0.5)).reshape(5, 3)
    answers = generator.permutation([0, 1, 2, *generator.integers(0, 3, 2)])
    return ((pairs[..., None] * np.eye(3)[answers][:, None]).tolist(),)


def _certain(joint: np.ndarray) -> list[float]:
    first, second, _ = informations(joint)
    return [second, first - second, 0, 0]


def _draw_informations(generator: np.random.Generator) -> tuple:
    first, second = generator.uniform(0, 1, 2)
    return float(first), float(second), float(max(first, second) + generator.uniform(0, 1))


def _limits(first: float, second: float, both: float) -> list[float]:
    return [max(0.0, both - first - second), both - max(first, second)]


def _draw_rows(generator: np.random.Generator) -> tuple:
    rows = generator.dirichlet(np.full(4, 2.0), 5)
    return rows.tolist(), float(np.exp(generator.uniform(0.2, 1) * generator.choice([-1, 1])))


def _softened(rows: np.ndarray, temperature: float) -> np.ndarray:
    powers = rows ** (1 / temperature)
    return powers / powers.sum(1, keepdims=True)


def _is_fake(value: Any) -> str:
    questions, joint, vision, language = (np.array(each) for each in value)
    for name in np.unique(questions):
        rows = joint[questions == name]
        if len(rows) < 2:
            return f"question {name} occurs once; ask it with two pictures at least"
        if np.ptp(rows, axis=0).max() > 1e-9:
            return f"full answers to question {name} differ, so that the picture matters"
    values, sources = {"language": questions}, {"vision": vision, "language": language}
    found = float(decision_pid(Decisions(joint, sources, values=values)).pid.synergy)
    return "" if found > 1 else f"its synergy is {found:.2f} bits and must exceed 1"


def _draw_cell(generator: np.random.Generator) -> tuple:
    fallback = generator.choice([0.0, 0.2, 0.4, 0.9], 2).tolist()
    moved = generator.choice([0.0, 0.05, 0.1, 0.5], 2).tolist()
    unique = generator.choice([0.0, 0.001, 0.1, 0.6], 2).tolist()
    return fallback, moved, unique, *map(float, generator.uniform(0, 1, 2))


def _objections(fallback: Any, moved: Any, unique: Any, low: float, floor: float) -> list[bool]:
    return [
        bool(max(fallback) > FALLBACK),
        bool(max(moved) > MOVED),
        bool(min(unique) < LEAST_UNIQUE),
        bool(low <= floor),
    ]


def _quiz() -> dict[str, Any]:
    return {
        "I_v = .6, I_l = .9, I = 1 bit: the most that S can be": 0.1,
        "the picture determines the answer: U_l": 0.0,
        "S = 1.9, no answer names a candidate without the picture: cause": {"fallback"},
        "independent sources: can R be .3 bits": {"yes"},
        "S changes with temperature, accuracies do not: evidence of synergy": {"no"},
    }


EXERCISES = {
    "atoms_if_certain": Exercise(
        _draw_certain,
        like(
            _certain,
            nats=lambda joint: NATS * np.array(_certain(joint)),
            swapped=lambda joint: np.array(_certain(joint))[[0, 2, 1, 3]],
            nothing_shared=lambda joint: [0, *informations(joint)[:2], 0],
        ),
    ),
    "limits_of_synergy": Exercise(
        _draw_informations,
        like(
            _limits,
            below_zero=lambda i1, i2, both: [both - i1 - i2, _limits(i1, i2, both)[1]],
            smaller_one=lambda i1, i2, both: [_limits(i1, i2, both)[0], both - min(i1, i2)],
            reversed=lambda i1, i2, both: _limits(i1, i2, both)[::-1],
        ),
    ),
    "softened": Exercise(
        _draw_rows,
        like(
            _softened,
            inverse=lambda rows, temperature: _softened(rows, 1 / temperature),
            unnormalized=lambda rows, temperature: rows ** (1 / temperature),
        ),
    ),
    "fake_synergy": Exercise(nothing, _is_fake),
    "objections": Exercise(
        _draw_cell,
        like(
            _objections,
            both_sources=lambda f, m, u, low, floor: _objections([min(f)], [min(m)], u, low, floor),
            means=lambda f, m, u, low, floor: _objections([f.mean()], [m.mean()], u, low, floor),
            larger_unique=lambda f, m, u, low, floor: _objections(f, m, [max(u)], low, floor),
            floor_reversed=lambda f, m, u, low, floor: _objections(f, m, u, floor, low),
        ),
    ),
    "quiz_6": Exercise(nothing, items(_quiz)),
}
