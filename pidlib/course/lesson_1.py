"""Lesson 1, bits: entropies and informations, of probabilities."""

from typing import Any

import numpy as np

from pidlib.course.judges import (
    NATS,
    TOLERANCE,
    Exercise,
    informations,
    items,
    like,
    nothing,
    table,
)
from pidlib.decomposition.information import mutual_information


def _entropy(p: np.ndarray) -> float:
    p = p[p > 0]
    return float(-(p * np.log2(p)).sum())


def _conditional(joint: np.ndarray, given: int = 1) -> float:
    """I(Y; X1 | X2) of a table [x1, x2, y], or I(Y; X2 | X1)."""
    bits = informations(joint)
    return bits[2] - bits[given]


def _covariance(joint: np.ndarray) -> float:
    """The covariance of the row and the column number."""
    x, y = np.indices(joint.shape)
    return float((joint * x * y).sum() - (joint * x).sum() * (joint * y).sum())


def _is_uncorrelated(value: Any) -> str:
    joint = np.array(value, float)
    covariance = _covariance(joint / joint.sum())
    if abs(covariance) > TOLERANCE:
        return f"the covariance of row and column number is {covariance:.3f}, not 0"
    bits = float(mutual_information(joint))
    return "" if bits > 1 - TOLERANCE else f"it has {bits:.3f} bits and needs 1"


def _are_sums(value: Any) -> str:
    for label, joint, sign in zip(("first", "second"), value, (1, -1), strict=True):
        first, second, both = informations(np.array(joint, float))
        if sign * (both - first - second) < 0.01:
            return (
                f"parts of the {label} table sum to {first + second:.2f}, the whole is {both:.2f}"
            )
    return ""


def _quiz() -> dict[str, float]:
    return {
        "a fair die": float(np.log2(6)),
        "a die, given its parity": float(np.log2(3)),
        "a die and its parity": 1.0,
        "two fair coins, about whether they are equal": 1.0,
    }


EXERCISES = {
    "entropy": Exercise(
        table(6), like(_entropy, nats=lambda p: NATS * _entropy(p), sign=lambda p: -_entropy(p))
    ),
    "information": Exercise(
        table(3, 4),
        like(
            lambda joint: float(mutual_information(joint)),
            nats=lambda joint: NATS * float(mutual_information(joint)),
            sign=lambda joint: -float(mutual_information(joint)),
            no_pair=lambda joint: _entropy(joint.sum(0)) + _entropy(joint.sum(1)),
            conditional_entropy=lambda joint: _entropy(joint) - _entropy(joint.sum(1)),
        ),
    ),
    "conditional_information": Exercise(
        table(2, 3, 2),
        like(
            _conditional,
            sign=lambda joint: -_conditional(joint),
            other_condition=lambda joint: _conditional(joint, 0),
            not_conditional=lambda joint: informations(joint)[0],
            nats=lambda joint: NATS * _conditional(joint),
        ),
    ),
    "uncorrelated": Exercise(nothing, _is_uncorrelated),
    "sums": Exercise(nothing, _are_sums),
    "quiz_1": Exercise(nothing, items(_quiz)),
}
