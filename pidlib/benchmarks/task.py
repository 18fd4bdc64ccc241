"""Task: the declaration of a generated benchmark, behind both its samples and its truth."""

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from random import Random

import numpy as np
from jaxtyping import Float64

from pidlib._common import derive_seed
from pidlib.benchmarks.clips import Clip
from pidlib.benchmarks.pictures import Picture
from pidlib.benchmarks.sample import Sample

SIZES = {"train": 4096, "validation": 512, "test": 1024}  # default numbers of samples


@dataclass(frozen=True)
class Task:
    """One task about pictures, or one template of a task about clips.

    Attributes
    ----------
    name, benchmark
        E.g. ``"playing"`` and ``"micro_av/fusion"``.
    candidates
        The answer alphabet.
    law
        A probability for every pair of latent states: P(v, t) of picture and question, or P(v, a)
        of what is visible in a clip and what sounds. The question about a clip is drawn uniformly.
    answer
        y(v, t) or y(v, a, t), one of ``candidates``.
    questions
        For every question state t, wordings with the same meaning.
    picture
        Draws a random picture that shows a state v; None for clips.
    kind
        For clips, the modalities that the answer needs: ``"audio"``, ``"visual"`` or
        ``"audio-visual"``.
    """

    name: str
    benchmark: str
    candidates: tuple[str, ...]
    law: Mapping[tuple[Hashable, Hashable], float]
    answer: Callable[..., str]
    questions: Mapping[str, Sequence[str]]
    picture: Callable[[Hashable, Random], Picture] | None = None
    kind: str = ""

    @property
    def task(self) -> str:
        """Name within the source: ``"fusion"`` of ``"micro_av/fusion"``."""
        return self.benchmark.split("/")[1]

    @cached_property
    def _cumulative(self) -> tuple[list, list[float]]:
        return list(self.law), list(accumulate(self.law.values()))

    def draw(self, rng: Random) -> tuple:
        """Draw latent states: (v, t), or (v, a, t) for clips."""
        states, weights = self._cumulative
        pair = rng.choices(states, cum_weights=weights)[0]
        return pair if self.picture else (*pair, rng.choice(list(self.questions)))

    def joint(
        self,
        independent: bool = False,
        states: tuple[Sequence, Sequence] | None = None,
        given: tuple = (),
    ) -> Float64[np.ndarray, "n1 n2 y"]:
        """Tabulate the ideal answerer's P(s1, s2, y) over the two latent states of the law.

        Parameters
        ----------
        independent
            Replace P(s1, s2) by P(s1) P(s2).
        states
            Axes of the table; by default in the order in which the law names the states.
        given
            Further arguments of ``answer``: the question about a clip.
        """
        rows, columns = states or (
            list(dict.fromkeys(axis)) for axis in zip(*self.law, strict=True)
        )
        pairs = np.array([[self.law.get((a, b), 0.0) for b in columns] for a in rows])
        if independent:
            pairs = pairs.sum(1, keepdims=True) * pairs.sum(0, keepdims=True)
        table = np.zeros((*pairs.shape, len(self.candidates)))
        for i, j in np.argwhere(pairs):
            answer = self.answer(rows[i], columns[j], *given)
            table[i, j, self.candidates.index(answer)] = pairs[i, j]
        return table


def generate(
    tasks: Sequence[Task],
    render: Callable[[Task, tuple, str, Random], Picture | Clip],
    split: str,
    n: int,
    seed: int = 0,
    start: int = 0,
) -> Iterator[tuple[Sample, Picture | Clip]]:
    """Yield samples ``start`` to ``start + n - 1`` of a benchmark, each with its picture or clip.

    Sample i depends on (seed, benchmark, split, i) only; the tasks of one benchmark take turns.
    """
    for index in range(start, start + n):
        task = tasks[index % len(tasks)]
        rng = stream(task.benchmark, split, index, seed)
        states = task.draw(rng)
        scene = draw_in_split(split, lambda: render(task, states, split, rng))  # noqa: B023
        sample = Sample(
            sample_id=sample_id(task.benchmark, split, index, seed),
            benchmark=task.benchmark,
            template=task.name,
            question=rng.choice(task.questions[states[-1]]),
            candidates=task.candidates,
            answer=task.answer(*states),
            split=split,
            **scene.media(),
        )
        yield sample, scene


def stream(benchmark: str, split: str, index: int, seed: int) -> Random:
    """Return the random generator of one sample; its latent states are drawn first."""
    return Random(derive_seed(seed, *benchmark.split("/"), split, index))


def sample_id(benchmark: str, split: str, index: int, seed: int) -> str:
    """Return the id of a generated sample, e.g. ``"micro/scene/test/00001@7"``."""
    return f"{benchmark}/{split}/{index:05d}" + (f"@{seed}" if seed else "")


def split_of(picture: Picture) -> str:
    """Return the only split a picture may appear in: train for half, else validation or test."""
    return ("train", "train", "validation", "test")[derive_seed("split", picture) % 4]


def draw_in_split(split: str, draw: Callable[[], Picture | Clip]) -> Picture | Clip:
    """Draw until a picture or clip belongs to the split.

    The hash of a layout determines its split, whatever the seed: no layout is in two splits, and
    the law is the same in all.
    """
    while split_of((scene := draw()).layout) != split:
        pass
    return scene
