r"""MM-SHAP: the share of a model's answer that its picture carries, by Shapley values.

Players are runs of consecutive tokens, at most 16 of the picture (its patches in raster order) and
at most 8 of the question, so that the cost does not grow with the tokens of a model. The tokens of
a coalition enter the language model unchanged, all others as calibrated noise at the same positions
(Parcalabescu and Frank, 2023, arXiv 2212.08158, use a player for each word, [MASK] for words and
zeros for patches). The value of a coalition is the probability of the answer that the model gives
to the whole input.
"""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from pidlib import benchmarks
from pidlib._common import code_version, derive_seed, fingerprint, project_root
from pidlib.benchmarks import Sample
from pidlib.experiments.preset import Preset
from pidlib.extraction.extractor import CALIBRATING, identity
from pidlib.extraction.job import Job
from pidlib.extraction.masking import Pass
from pidlib.extraction.reader import Encoded, Reader, Row
from pidlib.extraction.result import decide
from pidlib.extraction.store import Shard, open_store
from pidlib.models import LoadedModel

PLAYERS = {"vision": 16, "language": 8}  # at most
N_PERMUTATIONS = 1  # of the players of each sample, each walked in both directions
SHARD = 8  # samples that are stored together

Value = Callable[[Bool[np.ndarray, "coalitions players"]], Float[np.ndarray, " coalitions"]]


def shapley_values(
    value: Value, players: int, n_permutations: int, generator: np.random.Generator
) -> Float[np.ndarray, " players"]:
    r"""Shapley values by sampled permutations, each walked in both directions.

    A value is the mean of :math:`v(C \cup \{j\}) - v(C)`. Each walk, and so the values, sum to
    :math:`v(\text{all}) - v(\text{none})`. Walking both directions is exact for games of pairs
    (Mitchell et al., 2022, Sampling permutations for Shapley value estimation).

    >>> game = lambda coalitions: coalitions[:, :2].all(1) + 3.0 * coalitions[:, 2]
    >>> shapley_values(game, 3, 1, np.random.default_rng(0)).tolist()
    [0.5, 0.5, 3.0]
    """
    values = np.zeros(players)
    for _ in range(n_permutations):
        order = generator.permutation(players)
        walks = np.stack([order, order[::-1]])
        coalitions = np.zeros((2, players + 1, players), bool)  # walk, step, player
        for coalition, walk in zip(coalitions, walks, strict=True):
            coalition[:, walk] = np.tri(players + 1, players, -1, dtype=bool)
        gains = np.diff(value(coalitions.reshape(-1, players)).reshape(2, -1))
        for walk, gain in zip(walks, gains, strict=True):
            values[walk] += gain
    return values / (2 * n_permutations)


def cached_shares(
    preset: Preset, model: LoadedModel, benchmark: str
) -> tuple[Float[np.ndarray, " n"], dict[str, str | int]]:
    """V-SHAP of the first ``n_explained`` samples, computed or read from the cache.

    As for an extraction, the folder is named by the hash of everything that changes the numbers,
    and an interrupted computation resumes after its last shard. Noise is calibrated on the first
    `CALIBRATING` samples. Returned with the columns that identify the shares in a table.
    """
    size = {"n": preset.n_intervened, "seed": preset.seed}
    options = {"allow_unpinned": preset.allow_unpinned}
    samples = benchmarks.load(benchmark, preset.split, **size, **options)
    explained, calibrating = samples[: preset.n_explained], samples[:CALIBRATING]
    described = identity(model, calibrating, seed=preset.seed) | {
        "kind": "vision shares",
        "shapley": code_version(Path(__file__)),
        "explained": identity(model, explained)["samples"],
        "players": PLAYERS,
        "permutations": N_PERMUTATIONS,
    }
    key = fingerprint(**described)
    reader = Reader(model, samples[0].candidates, (), samples[0].question, preset.batch_size)
    job = Job(reader, calibrating, {}, 0, preset.seed)
    with open_store(project_root() / preset.cache, described, {"model": model.name}) as store:
        job.moments = store.get("calibration", job.statistics).arrays
        parts = []
        for start in range(0, len(explained), SHARD):
            compute = partial(_shard, reader, job, explained[start : start + SHARD])
            parts.append(store.get(f"samples-{start:06d}", compute).arrays["vision_share"])
    columns = {"benchmark": samples[0].benchmark, "split": preset.split, "model": model.name}
    columns |= {"revision": model.revision, "n_samples": len(explained), "fingerprint": key}
    return np.concatenate(parts), columns


def _shard(reader: Reader, job: Job, samples: Sequence[Sample]) -> Shard:
    shares = np.array([vision_share(reader, job, encoded) for encoded in reader.encode(samples)])
    return Shard({"vision_share": shares}, {"sample_ids": [each.sample_id for each in samples]})


def vision_share(reader: Reader, job: Job, encoded: Encoded) -> float:
    r"""V-SHAP of a sample, :math:`\sum_{j \in v} |\phi_j| \,/\, \sum_j |\phi_j|`.

    It takes 2 (players + 1) forward passes of the language model for each of `N_PERMUTATIONS`.
    Missing if no player has a value.
    """
    vision, words = (runs(len(encoded.tokens[name]), most) for name, most in PLAYERS.items())
    n_vision = vision.max() + 1
    players = np.concatenate([vision, n_vision + words])
    game = token_game(reader, job, encoded)
    seed = derive_seed(job.seed, encoded.sample.sample_id, "permutations")
    values = shapley_values(
        lambda coalitions: game(coalitions[:, players]),
        players.max() + 1,
        N_PERMUTATIONS,
        np.random.default_rng(seed),
    )
    sizes = np.abs(values)
    return sizes[:n_vision].sum() / sizes.sum() if sizes.any() else np.nan


def runs(n: int, most: int) -> Int[np.ndarray, " n"]:
    """The run of each of n tokens, of at most `most` runs of about equal length.

    >>> runs(10, 4).tolist()
    [0, 0, 0, 1, 1, 2, 2, 2, 3, 3]
    """
    return np.arange(n) * min(n, most) // n


def token_game(reader: Reader, job: Job, encoded: Encoded) -> Value:
    """The game of one sample's tokens, those of the picture first."""
    noise, n_vision = job.noise(encoded, Pass.parse("none")), len(encoded.tokens["vision"])

    def mixed(coalition: np.ndarray) -> dict[str, Tensor]:
        parts = dict(zip(("vision", "language"), np.split(coalition, [n_vision]), strict=True))
        return {
            name: torch.where(
                torch.from_numpy(parts[name])[:, None], tokens.cpu().float(), noise[name]
            )
            for name, tokens in encoded.tokens.items()
        }

    def decisions(rows: Sequence[Row]) -> np.ndarray:
        return decide(**reader.answer(rows), tau=0.0)

    def value(coalitions: np.ndarray) -> np.ndarray:
        rows = [
            Row(encoded.picture, encoded.question, partial(mixed, coalition))
            for coalition in coalitions
        ]
        return decisions(rows)[:, answer]

    answer = decisions([Row(encoded.picture, encoded.question)])[0].argmax()
    return value
