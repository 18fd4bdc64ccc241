"""Lesson 4, finite samples: what counts make up, and how to notice."""

import math
from typing import Any

import numpy as np

from pidlib.course.judges import Exercise, items, like, nothing
from pidlib.decomposition import pid

N_PERMUTED = 99


def _draw_codes(generator: np.random.Generator) -> tuple:
    x1, x2, y = (generator.integers(0, k, 60).tolist() for k in (3, 4, 2))
    return x1, x2, y


def _counts(x1: np.ndarray, x2: np.ndarray, y: np.ndarray) -> np.ndarray:
    places = tuple(np.array([x1, x2, y], int))
    found = np.zeros((3, 4, 2))
    np.add.at(found, places, 1)
    return found


def _once(x1: np.ndarray, x2: np.ndarray, y: np.ndarray) -> np.ndarray:
    return (_counts(x1, x2, y) > 0).astype(float)


def _draw_sizes(generator: np.random.Generator) -> tuple:
    k, m, power = map(int, generator.integers((2, 2, 1), (40, 9, 5)))
    return k, m, 10**power


def _bias(k: float, m: float, n: float) -> float:
    return float((k - 1) * (m - 1) / (2 * n * math.log(2)))


def _draw_null(generator: np.random.Generator) -> tuple:
    null = generator.integers(0, 20, N_PERMUTED)
    return int(generator.integers(5, 25)), null.tolist()


def _p(observed: float, null: np.ndarray) -> float:
    return float((1 + (null >= observed).sum()) / (1 + len(null)))


def _draw_wish(generator: np.random.Generator) -> tuple:
    return int(generator.integers(3, 20)), float(generator.uniform(0.01, 0.2))


def _needed(k: float, bits: float) -> int:
    """Samples at which k x k codes have a bias of at most some bits about a yes or no."""
    return math.ceil((k * k - 1) / (2 * bits * math.log(2)))


def _is_noise(value: Any) -> str:
    x1, x2, y = (np.unique(codes, return_inverse=True)[1] for codes in value)
    if len(y) > 500 or np.prod([codes.max() + 1.0 for codes in (x1, x2, y)]) > 1000:
        return "give at most 500 samples and 1,000 cells"
    if len(y) < 50:
        return f"it has {len(y)} samples and needs at least 50"
    generator, shape = np.random.default_rng(0), [int(codes.max()) + 1 for codes in (x1, x2, y)]
    tables = np.zeros((N_PERMUTED + 1, *shape))
    for row in range(N_PERMUTED + 1):
        np.add.at(tables[row], (x1, x2, generator.permutation(y) if row else y), 1)
    bits = np.array(pid(tables).synergy)
    if bits[0] < 0.5:
        return f"its synergy is {bits[0]:.2f} bits and must reach .5"
    p = _p(bits[0], bits[1:])
    return "" if p > 0.05 else f"p = {p:.2f}: it is no noise"


def _quiz() -> dict[str, Any]:
    return {
        "50 samples, 10 codes: R .36, U .46 and .48, S .66": {"no"},
        "p of 19 permutations": 0.05,
    }


EXERCISES = {
    "counts": Exercise(_draw_codes, like(_counts, once=_once)),
    "bias": Exercise(
        _draw_sizes,
        like(
            _bias,
            nats=lambda k, m, n: _bias(k, m, n) * math.log(2),
            cells=lambda k, m, n: _bias(k * m + 1, 2, n),
        ),
    ),
    "needed": Exercise(
        _draw_wish,
        like(
            _needed,
            rounded_down=lambda k, bits: _needed(k, bits) - 1,
            one_source=lambda k, bits: math.ceil((k - 1) / (2 * bits * math.log(2))),
        ),
    ),
    "p_value": Exercise(
        _draw_null,
        like(
            _p,
            no_one=lambda observed, null: (null >= observed).mean(),
            ties=lambda observed, null: (1 + (null > observed).sum()) / (1 + len(null)),
        ),
    ),
    "synergy_of_noise": Exercise(nothing, _is_noise),
    "quiz_4": Exercise(nothing, items(_quiz)),
}
