"""Lesson 8, sound, sight and a question: atoms given the question, and with it ignored."""

from typing import Any

import numpy as np

from pidlib.course.judges import TOLERANCE, Exercise, informations, items, like, nothing
from pidlib.decomposition import pid


def _draw_atoms(generator: np.random.Generator) -> tuple:
    n = generator.integers(5, 100, 3)
    return generator.random((3, 4)).tolist(), n.tolist()


def _draw_tables(generator: np.random.Generator) -> tuple:
    tables = generator.dirichlet(np.ones(12), 3).reshape(3, 2, 3, 2)
    return tables.tolist(), generator.integers(5, 100, 3).tolist()


def _mean(values: np.ndarray, n: np.ndarray) -> np.ndarray:
    return np.tensordot(n / n.sum(), values, 1)


WRONG_MEANS = {
    "same_weights": lambda values, n: values.mean(0),
    "not_a_share": lambda values, n: np.tensordot(n, values, 1),
    "added_up": lambda values, n: values.sum(0),
}


def _is_half(value: Any) -> str:
    joint = np.array(value, float)
    if joint.shape != (4, 2, 2):
        return f"the table needs the shape (4, 2, 2), not {joint.shape}"
    named = zip(("R", "U_v", "U_a", "S"), pid(joint).atoms.values(), strict=True)
    found = {name: float(bits) for name, bits in named}
    right = {"U_v": 0.5, "S": 0.5}
    wrong = [name for name in found if abs(found[name] - right.get(name, 0)) > 0.001]
    return "look at " + ", ".join(f"{name} = {found[name]:.2f}" for name in wrong) if wrong else ""


def _two_tables(value: Any) -> tuple[np.ndarray, np.ndarray]:
    """Tables given each of two questions, equally likely, and the one with the question ignored."""
    tables = np.array(value, float)
    if tables.ndim != 4 or len(tables) != 2 or tables.size > 1000:
        raise ValueError("two tables of three axes and of one shape are needed")
    tables = tables / tables.sum((1, 2, 3), keepdims=True)
    return tables, tables.mean(0)


def _is_paradox(value: Any) -> str:
    tables, ignored = _two_tables(value)
    apart, together = pid(tables), pid(ignored)
    for name in ("redundancy", "synergy"):
        if (bits := float(getattr(apart, name).max())) > 0.001:
            return f"given a question, the {name} reaches {bits:.3f} bits and must be 0"
    for name in ("redundancy", "synergy"):
        if (bits := float(getattr(together, name))) < 0.1:
            return f"with the question ignored, the {name} is {bits:.3f} bits and must exceed .1"
    return ""


def _is_inverted(value: Any) -> str:
    tables, ignored = _two_tables(value)
    if (bits := float(pid(tables).synergy.min())) < 0.9:
        return f"given a question, the synergy is only {bits:.3f} bits"
    bits = informations(ignored)[2]
    return "" if bits < TOLERANCE else f"with the question ignored, {bits:.3f} bits remain"


def _quiz() -> dict[str, Any]:
    return {
        "the question is which way the blue one moves": {"U_v"},
        "the question is how many sound": {"U_a"},
        "the question is whether the silent one moves left, and they move apart": {"S"},
        "a quarter of the questions has S = 1, the others 0: S given the question": 0.25,
        "all answers right, masked answers moved by .4: may its S be read": {"no"},
    }


EXERCISES = {
    "given": Exercise(_draw_atoms, like(_mean, **WRONG_MEANS)),
    "ignored": Exercise(_draw_tables, like(_mean, **WRONG_MEANS)),
    "sounding": Exercise(nothing, _is_half),
    "paradox": Exercise(nothing, _is_paradox),
    "inverted": Exercise(nothing, _is_inverted),
    "quiz_8": Exercise(nothing, items(_quiz)),
}
