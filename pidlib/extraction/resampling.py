"""Questions drawn for each picture independently of it."""

import math
import warnings
from collections import Counter, defaultdict
from collections.abc import Sequence

import numpy as np

from pidlib.benchmarks import Sample
from pidlib.experiment import derive_seed


def draw_partners(samples: Sequence[Sample], count: int, seed: int) -> list[dict[int, float]]:
    r"""For each sample's picture the questions to pair it with, and their weights.

    Partners come from all samples of the same benchmark, whatever the picture is, its own question among them: the pairs follow
    :math:`P(v)\,P(t)`. They do not keep to the picture's template: then a picture would seem to tell what its template tells. Equal
    questions with equal options are one partner.

    Parameters
    ----------
    samples : sequence of Sample
        The profiling set.
    count : int
        Partners wanted. With at least as many as the benchmark has different questions, all of them are taken, weighted by how often they
        are asked: the product is exact. Otherwise ``count`` samples are drawn for each picture without replacement, with equal weights.
    seed : int
        Names the draw, together with the id of the picture's sample.

    Returns
    -------
    list of dict
        For each sample, the first sample that asks a partner's question -> weight. The weights of a picture sum to one.

    Warns
    -----
    UserWarning
        Where questions are drawn: a mean over K of them differs from picture to picture by chance, which looks like information that
        pictures hold about the answer, about (k - 1) / (2 K ln 2) bits of it for k candidates.
    """
    groups = defaultdict(list)
    for index, sample in enumerate(samples):
        groups[sample.benchmark].append(index)
    first = {}
    for index, sample in enumerate(samples):
        first.setdefault((sample.benchmark, sample.text), index)
    asks = [first[sample.benchmark, sample.text] for sample in samples]
    partners = [{}] * len(samples)
    for benchmark, group in groups.items():
        all_of_them = _shares(asks[index] for index in group)
        if count < len(all_of_them):
            bias = (len(samples[group[0]].candidates) - 1) / (2 * count * math.log(2))
            warnings.warn(
                f"{benchmark} has {len(all_of_them)} questions and each picture meets {count} of them: what pictures alone seem to tell is"
                f" up to {bias:.2f} bits too much; ask for more partners",
                stacklevel=2,
            )
        for index in group:
            partners[index] = all_of_them
            if count < len(all_of_them):
                generator = np.random.default_rng(derive_seed(seed, samples[index].sample_id, "partners"))
                partners[index] = _shares(asks[group[drawn]] for drawn in generator.choice(len(group), count, replace=False))
    return partners


def _shares(questions) -> dict[int, float]:
    counts = Counter(questions)
    return {question: counts[question] / counts.total() for question in sorted(counts)}
