r"""MM-SHAP: which share of a model's answer its words carry, and which its picture, by Shapley values of single tokens.

Words and vision tokens are players. A coalition is heard: its tokens enter the language model as they are, all others as calibrated
noise at the same places (Parcalabescu and Frank, 2023, arXiv 2212.08158, put [MASK] for words and zeros for patches; noise is what this
project takes modalities away by). The game's value is the probability of the answer that the model gives to the whole input.
"""

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from pidlib.benchmarks import Sample
from pidlib.experiment import derive_seed
from pidlib.extraction.extractor import CALIBRATING
from pidlib.extraction.job import Job
from pidlib.extraction.masking import Pass
from pidlib.extraction.reader import Encoded, Reader, Row
from pidlib.extraction.readout import decide
from pidlib.models import LoadedModel


def shapley_values(
    value: Callable[[Bool[np.ndarray, "coalitions players"]], Float[np.ndarray, " coalitions"]],
    players: int,
    n_permutations: int,
    generator: np.random.Generator,
) -> Float[np.ndarray, " players"]:
    r"""Shapley values by sampled permutations, each walked forth and back: the mean of :math:`v(C \cup \{j\}) - v(C)`.

    Each walk sums to :math:`v(\text{all}) - v(\text{none})`, and so do the values (efficiency), exactly. Walking a permutation both ways
    is exact for games of pairs (Mitchell et al., 2022, Sampling permutations for Shapley value estimation).

    >>> both = lambda coalitions: coalitions[:, :2].all(1) + 3.0 * coalitions[:, 2]  # two who are worth 1 together, one worth 3 alone
    >>> shapley_values(both, 3, 1, np.random.default_rng(0)).tolist()
    [0.5, 0.5, 3.0]
    """
    found = np.zeros(players)
    for _ in range(n_permutations):
        order = generator.permutation(players)
        walks = np.stack([order, order[::-1]])
        heard = np.zeros((2, players + 1, players), bool)  # walk, step, player
        for walk, steps in zip(heard, walks, strict=True):
            walk[:, steps] = np.tri(players + 1, players, -1, dtype=bool)
        gains = np.diff(value(heard.reshape(-1, players)).reshape(2, -1))
        for steps, gain in zip(walks, gains, strict=True):
            found[steps] += gain
    return found / (2 * n_permutations)


def vision_shares(
    loaded: LoadedModel, samples: Sequence[Sample], n: int, *, n_permutations: int = 1, seed: int = 0, batch_size: int = 32
) -> Float[np.ndarray, " n"]:
    r"""The visual share :math:`\sum_{j \in v} |\phi_j| \,/\, \sum_j |\phi_j|` (V-SHAP) of each of the first n samples; 1 - it is T-SHAP.

    Parameters
    ----------
    loaded, samples
        A model, and the samples whose first `CALIBRATING` calibrate the noise.
    n
        How many are explained, at 2 (players + 1) forward passes of the language model for each permutation.
    n_permutations
        Permutations of the tokens of each sample.
    seed, batch_size
        Names the permutations and the noise; rows in a forward pass.

    Returns
    -------
    array
        Missing where no token has a value.
    """
    reader = Reader(loaded, samples[0].candidates, (), samples[0].question, batch_size)
    job = Job(reader, samples[:CALIBRATING], {}, 0, seed)
    job.calibrate(job.statistics())
    shares = []
    for one in reader.encode(samples[:n]):
        generator = np.random.default_rng(derive_seed(seed, one.sample.sample_id, "permutations"))
        seen = len(one.tokens["vision"])
        values = np.abs(shapley_values(game(reader, job, one), seen + len(one.tokens["language"]), n_permutations, generator))
        shares.append(values[:seen].sum() / values.sum() if values.any() else np.nan)
    return np.array(shares)


def game(reader: Reader, job: Job, one: Encoded) -> Callable[[Bool[np.ndarray, "coalitions players"]], Float[np.ndarray, " coalitions"]]:
    """The value of coalitions of one sample's tokens, those of the picture first: the probability of its answer to the whole input."""
    noise, seen = job.noise(one, Pass.parse("none")), len(one.tokens["vision"])

    def mixed(coalition: np.ndarray) -> dict[str, Tensor]:
        heard = dict(zip(("vision", "language"), np.split(coalition, [seen]), strict=True))
        return {
            name: torch.where(torch.from_numpy(heard[name])[:, None], tokens.cpu().float(), noise[name])
            for name, tokens in one.tokens.items()
        }

    def decisions(rows: Sequence[Row]) -> np.ndarray:
        return decide(**reader.answer(rows), tau=0.0)

    answer = decisions([Row(one.picture, one.question)])[0].argmax()
    return lambda coalitions: decisions([Row(one.picture, one.question, partial(mixed, one_of)) for one_of in coalitions])[:, answer]
