"""Lesson 7, codes, pooling and layers: what labels of embeddings keep."""

from typing import Any

import numpy as np

from pidlib.course.judges import NATS, TOLERANCE, Exercise, items, like, nothing
from pidlib.decomposition import pid
from pidlib.decomposition.information import mutual_information


def _draw_points(generator: np.random.Generator) -> tuple:
    return generator.normal(size=(12, 3)).tolist(), generator.normal(size=(4, 3)).tolist()


def _distances(points: np.ndarray, centroids: np.ndarray) -> np.ndarray:
    return ((points[:, None] - centroids) ** 2).sum(2)


def _draw_tokens(generator: np.random.Generator) -> tuple:
    lengths = [1, 5, *generator.integers(1, 6, 4).tolist()]
    tokens = generator.normal(size=(6, 5, 3))
    tokens[np.arange(5) >= np.array(lengths)[:, None]] = 0  # the padding
    return tokens.tolist(), lengths


def _pooled(tokens: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    return tokens.sum(1) / lengths[:, None]


def _draw_wish(generator: np.random.Generator) -> tuple:
    n, m = map(int, generator.integers((100, 2), (5000, 9)))
    return n, m, float(generator.uniform(0.01, 0.2))


def _most(n: float, m: float, bits: float) -> int:
    """Codes of each source at which the bias of S - R about m answers is at most some bits."""
    return int(1 + np.sqrt(2 * n * NATS * bits / (m - 1)))


def _is_lost(value: Any) -> str:
    tokens, y = np.array(value[0], float), np.array(value[1])
    if tokens.ndim != 3 or len(tokens) != len(y) or len(y) > 1000:
        return f"give tokens [samples, positions, width] and an answer each, not {tokens.shape}"
    all_tokens, means = (_bits(x, y) for x in (tokens.reshape(len(y), -1), tokens.mean(1)))
    if all_tokens < 1 - TOLERANCE:
        return f"give two answers; the tokens tell {all_tokens:.2f} bits about yours"
    return "" if means < TOLERANCE else f"the means still tell {means:.2f} bits"


def _bits(x: np.ndarray, y: np.ndarray) -> float:
    """The information of the rows of x about y."""
    rows, answers = (np.unique(each.round(6), axis=0, return_inverse=True)[1] for each in (x, y))
    counts = np.zeros((rows.max() + 1, answers.max() + 1))
    np.add.at(counts, (rows.ravel(), answers.ravel()), 1)
    return float(mutual_information(counts))


def _is_merged(value: Any) -> str:
    joint = np.array(value, float)
    if joint.ndim != 3 or len(joint) != 4 or joint.size > 1000:
        return f"x1 needs four codes and the table three axes, not the shape {joint.shape}"
    merged = joint.reshape(2, 2, *joint.shape[1:]).sum(1)
    before, after = (float(pid(each).synergy) for each in (joint, merged))
    text = f"the synergy is {before:.3f} before and {after:.3f} after; it must rise by .1"
    return "" if after - before > 0.1 else text


def _quiz() -> dict[str, Any]:
    return {
        "codes of x1 are merged: can I(Y; X1, X2) rise": {"no"},
        "codes of x1 are merged: can S rise": {"yes"},
        "600 samples, 32 codes of each source: can S be estimated": {"no"},
        "32 positions, each with a code of its own in all three: bits of R": 5.0,
    }


EXERCISES = {
    "nearest": Exercise(
        _draw_points,
        like(
            lambda points, centroids: _distances(points, centroids).argmin(1),
            farthest=lambda points, centroids: _distances(points, centroids).argmax(1),
            product=lambda points, centroids: (points @ centroids.T).argmax(1),
        ),
    ),
    "pooled": Exercise(
        _draw_tokens,
        like(
            _pooled,
            padding=lambda tokens, lengths: tokens.mean(1),
            summed=lambda tokens, lengths: tokens.sum(1),
        ),
    ),
    "lost_by_mean": Exercise(nothing, _is_lost),
    "most_codes": Exercise(
        _draw_wish,
        like(
            _most,
            rounded_up=lambda n, m, bits: _most(n, m, bits) + 1,
            nats=lambda n, m, bits: _most(n, m, bits / NATS),
            one_of_two=lambda n, m, bits: int(1 + 2 * n * NATS * bits / (m - 1)),
        ),
    ),
    "merged_synergy": Exercise(nothing, _is_merged),
    "quiz_7": Exercise(nothing, items(_quiz)),
}
