"""Lesson 2, four atoms: what a decomposition divides."""

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
from pidlib.decomposition import pid
from pidlib.decomposition.gates import GATES
from pidlib.decomposition.information import mutual_information


def _co_information(joint: np.ndarray) -> float:
    first, second, both = informations(joint)
    return first + second - both


def _of_sources(joint: np.ndarray) -> float:
    """The published error: the information of the sources about each other as that of the pair."""
    first, second, _ = informations(joint)
    return first + second - float(mutual_information(joint.sum(2)))


def _other_atoms(joint: np.ndarray, redundancy: float) -> list[float]:
    first, second, both = informations(joint)
    return [first - redundancy, second - redundancy, both - first - second + redundancy]


def _with_redundancy(generator: np.random.Generator) -> tuple:
    (joint,) = table(2, 3, 2)(generator)
    return joint, float(pid(joint).redundancy)


def _is_hidden(value: Any) -> str:
    joint = np.array(value, float)
    if abs(_co_information(joint)) > TOLERANCE:
        return f"its co-information is {_co_information(joint):.3f}, not 0"
    found = float(pid(joint).synergy)
    return "" if found > 0.1 else f"its synergy is {found:.3f} bits and must exceed .1"


def _is_shared(value: Any) -> str:
    joint = np.array(value, float)
    if (bits := float(mutual_information(joint.sum(2)))) > TOLERANCE:
        return f"the sources have {bits:.2g} bits in common; make them independent"
    found = float(pid(joint).redundancy)
    return "" if found > 0.1 else f"its redundancy is {found:.3f} bits and must exceed .1"


def _nonzero_atoms() -> dict[str, set[str]]:
    found = {}
    for name in ("XOR", "RDN", "UNQ1", "UNQ", "AND"):
        bits = zip(("R", "U1", "U2", "S"), GATES[name].atoms, strict=True)
        found[name] = {letter for letter, value in bits if value > TOLERANCE}
    return found


def _quiz() -> dict[str, set[str]]:
    games = {"both see one die, y is whether it is even": [(i, i, i % 2) for i in range(6)]}
    heads = [(i, j, i + j) for i in (0, 1) for j in (0, 1)]
    games |= {"two coins, y is the number of heads": heads}
    for n, sides in ((3, "three"), (8, "eight")):
        text = f"x1 sees a die of {sides} sides, x2 whether it shows 1, y is the die"
        games[text] = [(i, int(i == 0), i) for i in range(n)]
    found = {}
    for name, outcomes in games.items():
        joint = np.zeros(np.max(outcomes, axis=0) + 1)
        for outcome in outcomes:
            joint[outcome] += 1
        atoms = list(map(float, pid(joint).atoms.values()))
        found[name] = {"R U1 U2 S".split()[int(np.argmax(atoms))]}
    return found


EXERCISES = {
    "co_information": Exercise(
        table(2, 3, 2),
        like(
            _co_information,
            sign=lambda joint: -_co_information(joint),
            of_sources=_of_sources,
            nats=lambda joint: NATS * _co_information(joint),
        ),
    ),
    "other_atoms": Exercise(
        _with_redundancy,
        like(
            _other_atoms,
            swapped=lambda joint, r: np.array(_other_atoms(joint, r))[[1, 0, 2]],
            without_redundancy=lambda joint, r: np.array(_other_atoms(joint, r)) - [0, 0, r],
        ),
    ),
    "predicted": Exercise(nothing, items(_nonzero_atoms)),
    "hidden_synergy": Exercise(nothing, _is_hidden),
    "independent_sources": Exercise(nothing, _is_shared),
    "quiz_2": Exercise(nothing, items(_quiz)),
}
