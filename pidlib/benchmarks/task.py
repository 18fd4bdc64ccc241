"""Task: the declaration of a generated benchmark, from which both its samples and its truth follow."""

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from random import Random

import numpy as np
from jaxtyping import Float64

from pidlib.benchmarks.pictures import Picture


@dataclass(frozen=True)
class Task:
    """One task, declared.

    Attributes
    ----------
    name, candidates
        The task's name and its answer alphabet.
    law
        P(v, t), a probability for every pair of latent states.
    answer
        y(v, t), one of ``candidates``.
    question, picture
        Words for a state t, and a random picture that shows a state v.
    """

    name: str
    candidates: tuple[str, ...]
    law: Mapping[tuple[Hashable, Hashable], float]
    answer: Callable[[Hashable, Hashable], str]
    question: Callable[[Hashable], str]
    picture: Callable[[Hashable, Random], Picture]

    @cached_property
    def _cumulative(self) -> tuple[list, list[float]]:
        return list(self.law), list(accumulate(self.law.values()))

    def draw(self, rng: Random) -> tuple[Hashable, Hashable]:
        """A pair of latent states (v, t) from the law."""
        states, weights = self._cumulative
        return rng.choices(states, cum_weights=weights)[0]

    def joint(self, independent: bool = False) -> Float64[np.ndarray, "v t y"]:
        """The ideal answerer's P(v, t, y), or P(v) P(t) p(y|v, t) if ``independent``; states in the order in which the law names them."""
        vs, ts = (list(dict.fromkeys(states)) for states in zip(*self.law, strict=True))
        pairs = np.array([[self.law.get((v, t), 0.0) for t in ts] for v in vs])
        if independent:
            pairs = pairs.sum(1, keepdims=True) * pairs.sum(0, keepdims=True)
        answers = np.array([[self.candidates.index(self.answer(v, t)) for t in ts] for v in vs])
        return pairs[..., None] * np.eye(len(self.candidates))[answers]
