"""Partners: the questions that each picture is paired with, independently of the picture."""

import math
import warnings
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

import numpy as np

from pidlib._common import derive_seed
from pidlib.benchmarks import Sample


def draw_partners(samples: Sequence[Sample], count: int, seed: int) -> list[dict[int, float]]:
    r"""Draw the questions to pair each sample's picture with, and their weights.

    Partners come from the whole benchmark, the picture's own question and all templates included,
    so that pairs follow :math:`P(v)\,P(t)`. Questions with equal text are the same partner. Up to
    ``count`` different questions are all used, weighted by frequency, and the product is exact.
    Otherwise ``count`` samples are drawn for each picture without replacement, with a warning: by
    chance, means over K questions differ between pictures, which inflates their information by up
    to about (k - 1) / (2 K ln 2) bits for k candidates.

    Returns
    -------
    list of dict
        For each sample, index of the first sample with the partner's question -> weight. The
        weights of a picture sum to one.
    """
    groups, first = defaultdict(list), {}
    for index, sample in enumerate(samples):
        groups[sample.benchmark].append(index)
        first.setdefault((sample.benchmark, sample.text), index)
    question = [first[sample.benchmark, sample.text] for sample in samples]
    partners = [{}] * len(samples)
    for benchmark, group in groups.items():
        every_question = _frequencies(question[index] for index in group)
        if count >= len(every_question):
            for index in group:
                partners[index] = every_question
            continue
        bias = (len(samples[group[0]].candidates) - 1) / (2 * count * math.log(2))
        warnings.warn(
            f"{benchmark} has {len(every_question)} questions and each picture is paired with"
            f" {count} of them, which inflates the information of pictures alone by up to"
            f" {bias:.2f} bits; use more partners",
            stacklevel=2,
        )
        for index in group:
            stream = derive_seed(seed, samples[index].sample_id, "partners")
            drawn = np.random.default_rng(stream).choice(len(group), count, replace=False)
            partners[index] = _frequencies(question[group[row]] for row in drawn)
    return partners


def _frequencies(questions: Iterable[int]) -> dict[int, float]:
    counts = Counter(questions)
    return {question: counts[question] / counts.total() for question in sorted(counts)}
