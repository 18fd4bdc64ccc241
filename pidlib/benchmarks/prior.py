"""`captioned` of micro with a prior of known strength: how often the caption tells the truth is the task's name, in percent.

The caption claims a colour, the picture shows one, the picture's is the answer, and the two agree with P = strength. Where there is no
agreement beyond chance, at 25 %, every answer is as frequent with every question: the balanced questions on which a model that follows the
caption is right by chance alone.

The truth in bits (`pidlib.decomposition.pid` of `pidlib.benchmarks.truth`): redundancy and unique to vision; the other atoms are 0. They
sum to two, and resampled all of it is unique to vision.

=======  =====  =====  =====  =====  =====  =====
percent     25     50     70     80     90     95
=======  =====  =====  =====  =====  =====  =====
R            0   .208   .643   .961  1.373  1.634
U           2   1.792  1.357  1.039   .627   .366
=======  =====  =====  =====  =====  =====  =====
"""

from dataclasses import replace
from functools import lru_cache
from itertools import product

from pidlib.benchmarks import micro
from pidlib.benchmarks.micro import ANSWERS, SIZES
from pidlib.benchmarks.sample import Sample
from pidlib.benchmarks.task import Task

BALANCED = "25"


def _captioned(percent: int) -> Task:
    agrees = percent / 100
    law = {(v, t): (agrees if v == t else (1 - agrees) / 3) / 4 for v, t in product(ANSWERS, ANSWERS)}
    return replace(micro.TASKS["captioned"], name=str(percent), law=law)


TASKS = {task.name: task for task in map(_captioned, (25, 50, 70, 80, 90, 95))}


def load(task: str, split: str, n: int | None = None, seed: int = 0) -> list[Sample]:
    """The first n samples of a task's split; by default as many as micro gives."""
    return list(_samples(task, split, SIZES[split] if n is None else n, seed))


@lru_cache(maxsize=32)
def _samples(task: str, split: str, n: int, seed: int) -> tuple[Sample, ...]:
    return tuple(sample for sample, _ in micro.drawn("prior", TASKS[task], split, n, seed))
