"""Finite laws: a few renderings of every latent state of a task, as the whole population.

On finitely many pictures of each state, such as a red circle, a model has an exact law, known from
one answer to each sample, and exact atoms of its own, however often it errs: the reference of
estimates from a draw of samples, ``rng.choice(len(law.samples), n, p=law.weights.ravel())``.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import product
from math import prod
from random import Random

import numpy as np
from jaxtyping import Float64

from pidlib._common import unknown_name
from pidlib.benchmarks import MODES, SPLITS, Sample, generated
from pidlib.benchmarks.clips import Clip
from pidlib.benchmarks.pictures import Picture
from pidlib.benchmarks.task import Task, draw_in_split, sample_id, stream
from pidlib.decomposition import PID, sensory_pid

Render = Callable[[Task, tuple, str, Random], Picture | Clip]


@dataclass(frozen=True)
class FiniteLaw:
    """All combinations of the inputs of two sources, with their probabilities."""

    samples: tuple[Sample, ...]  # one for each combination, in the C order of the weights
    weights: Float64[np.ndarray, "t n1 n2"]  # of pictures, questions; or of texts, videos, sounds
    renderings: tuple[int, int]  # inputs of each source per latent state, adjacent in the weights
    sources: tuple[str, str]  # ("vision", "language") or ("vision", "audio")

    def joint(
        self, answers: Float64[np.ndarray, "n y"], unimodal: str = "masked", *, latent: bool = False
    ) -> Float64[np.ndarray, "t n1 n2 y"]:
        r"""Tabulate :math:`P(t, x_1, x_2)\,p(y|t, x_1, x_2)`, with p(y | inputs) of each sample.

        ``"resampled"`` has P(x1|t) P(x2|t) in place of P(x1, x2|t). If ``latent``, the values of a
        source are the states, and the effect of their renderings is noise, else the inputs, as in
        an estimate from samples. A ValueError if the rows are not one for each sample.
        """
        answers = np.asarray(answers, float)
        if answers.ndim != 2 or len(answers) != len(self.samples):
            expected = f"expected p(y | inputs) of {len(self.samples)} samples, one row for each"
            raise ValueError(f"{expected}, but got an array of shape {answers.shape}")
        if unimodal not in MODES:
            raise ValueError(unknown_name("mode", unimodal, MODES))
        weights = self.weights
        if unimodal == "resampled":
            first, second, t = (weights.sum(axis, keepdims=True) for axis in (2, 1, (1, 2)))
            weights = first * second / t
        table = weights[..., None] * answers.reshape(*weights.shape, -1)
        if latent:
            (t, n1, n2, y), (m1, m2) = table.shape, self.renderings
            table = table.reshape(t, n1 // m1, m1, n2 // m2, m2, y).sum((2, 4))
        return table

    def pid(self, answers: Float64[np.ndarray, "n y"], *arguments, **options) -> PID:
        """Decompose a model's own law, for clips given the text; arguments as of `joint`."""
        return sensory_pid(self.joint(answers, *arguments, **options), sources=self.sources)


def finite_laws(
    benchmark: str, renderings: int = 4, split: str = "test", seed: int = 0
) -> dict[str, FiniteLaw]:
    """Return the law of each template of a generated benchmark, with so many renderings of a state.

    Raises what `benchmarks.truth` does; a ValueError for an unknown split and without renderings.

    >>> law = finite_laws("micro/pair", renderings=2)["pair"]
    >>> ideal = np.eye(6)[[s.candidates.index(s.answer) for s in law.samples]]
    >>> law.weights.shape, law.pid(ideal).unique["language"]
    ((1, 6, 2), 1.0)
    """
    tasks, render = generated(benchmark)
    if split not in SPLITS:
        raise ValueError(unknown_name("split", split, SPLITS))
    if renderings < 1:
        raise ValueError(f"{renderings} renderings of {benchmark!r}; give 1 or more of each state")
    return {part.name: _law(part, render, split, renderings, seed) for part in tasks}


def _law(task: Task, render: Render, split: str, renderings: int, seed: int) -> FiniteLaw:
    """Return the finite law of a task or template; all combinations share the same renderings."""
    clips = task.picture is None
    firsts, seconds = (list(dict.fromkeys(axis)) for axis in zip(*task.law, strict=True))

    def rendered(field: str, states: Iterable[tuple], own: int = 0) -> Iterator[tuple]:
        for (index, pair), number in product(enumerate(states), range(renderings)):
            rng = stream(f"{task.benchmark}/{task.name}/{field}/{index}", split, number, seed)
            scene = draw_in_split(split, partial(render, task, (*pair, None), split, rng))
            yield pair[own], {field: scene.media()[field]}

    texts = [(t, {"question": text}) for t, texts in task.questions.items() for text in texts]
    shares, groups, other = [1.0], [(None, {})], texts
    if clips:
        shares = [1 / len(task.questions) / len(task.questions[t]) for t, _ in texts]
        groups, other = texts, list(rendered("audio", product(firsts[:1], seconds), own=1))
    visible = list(rendered("video" if clips else "image", product(firsts, seconds[:1])))
    counts = (renderings, len(other) // len(seconds))
    pairs = task.joint(given=tuple(task.questions)[:1] if clips else ()).sum(-1)
    name, samples = f"{task.benchmark}/{task.name}/law{renderings}", []
    facts = {"benchmark": task.benchmark, "template": task.name, "candidates": task.candidates}
    for index, combined in enumerate(product(groups, visible, other)):
        (t, text), (v, first), (second, fields) = combined
        own = {"sample_id": sample_id(name, split, index, seed), "split": split}
        own["answer"] = task.answer(v, second, t) if clips else task.answer(v, second)
        samples.append(Sample(**facts | own | text | first | fields))
    weights = pairs.repeat(counts[0], 0).repeat(counts[1], 1) / prod(counts)
    sources = ("vision", "audio" if clips else "language")
    return FiniteLaw(tuple(samples), np.multiply.outer(shares, weights), counts, sources)
