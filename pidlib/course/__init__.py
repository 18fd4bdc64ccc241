"""Checks of the course: functions of students on tables that they have not seen.

In a lesson ``check(entropy)`` compares a function with pidlib on fresh random tables, prints one
line and never raises. ``python -m pidlib.course grade FOLDER`` does so for all notebooks of a
folder: each runs in a process of its own, which gets the tables and returns values only.
"""

import os
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout
from io import StringIO
from typing import Any

import numpy as np

from pidlib.course import lesson_1, lesson_2, lesson_3, lesson_4, lesson_7, lesson_8
from pidlib.course.judges import Exercise, plain

N_TABLES = 20  # of a check
NOT_YET, OPEN = "not yet", "not done yet"
LESSONS = {1: lesson_1, 2: lesson_2, 3: lesson_3, 4: lesson_4, 7: lesson_7, 8: lesson_8}
EXERCISES: dict[str, Exercise] = {
    name: exercise for lesson in LESSONS.values() for name, exercise in lesson.EXERCISES.items()
}


def check(function: Callable) -> None:
    """Print whether a function with the name of an exercise is right; never raise."""
    name = getattr(function, "__name__", str(function))
    if name not in EXERCISES:
        print(f"? {name} is no exercise of the course; they are {', '.join(EXERCISES)}")
        return
    tables = questions(name, int.from_bytes(os.urandom(4), "little"))
    line = judged(name, tables, answers(function, tables))
    print(f"{'✗' if line else '✓'} {name}{': ' * bool(line)}{line}")


def questions(name: str, seed: int) -> list[tuple]:
    """Draw the arguments of each call; once for a function without arguments."""
    generator = np.random.default_rng(seed)
    first = EXERCISES[name].draw(generator)
    return [first] + [EXERCISES[name].draw(generator) for _ in range(N_TABLES - 1) if first]


def answers(function: Callable, tables: Sequence[tuple]) -> list[Any]:
    """The values of a function as lists and numbers; ``{"error": text}`` where it fails."""
    values = []
    for arguments in tables:
        try:
            with redirect_stdout(StringIO()), np.errstate(all="ignore"):
                values.append(plain(function(*(np.array(each) for each in arguments))))
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # whatever a student's code does, the lesson goes on
            values.append({"error": f"{type(error).__name__}: {error}"})
    return values


def judged(name: str, tables: Sequence[tuple], values: Sequence[Any]) -> str:
    """What is wrong with the values of an exercise, in a line; empty if all are right."""
    if all(value is None for value in values):
        return OPEN
    for arguments, value in zip(tables, values, strict=True):
        if isinstance(value, dict) and set(value) == {"error"}:
            return f"{NOT_YET}: it fails with {value['error']}"
        try:
            line = EXERCISES[name].judge(value, *arguments)
        except Exception as error:  # an answer of another kind or shape
            return f"{NOT_YET}: {value!r:.60} does not have the form of an answer ({error})"
        if line:
            return f"{NOT_YET}: {line}"
    return ""
