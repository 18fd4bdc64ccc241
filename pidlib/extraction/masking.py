"""Masking: replace the token embeddings of a modality, by calibrated noise or otherwise."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations, compress

import torch
from jaxtyping import Float
from torch import Tensor

from pidlib._common import derive_seed, unknown_name
from pidlib.benchmarks import Sample

MODALITIES = ("vision", "audio", "language")
SOURCES = ("vision", "language")
FULL = "+".join(SOURCES)
OPTIONS = "vision+options"
MASKS = ("noise", "mean", "swapped")

_SUBSETS = ["+".join(names) for size in (3, 2, 1) for names in combinations(MODALITIES, size)]
_PRESENT = {key: frozenset(key.split("+")) for key in (*_SUBSETS, OPTIONS)} | {"none": frozenset()}


def modalities_of(sample: Sample) -> tuple[str, ...]:
    """Return the modalities of a sample, in the order of `MODALITIES`."""
    present = sample.has_image or sample.video is not None, sample.audio is not None, True
    return tuple(compress(MODALITIES, present))


def full_pass(sample: Sample) -> str:
    """Return the key of the unmasked pass; it is `FULL` for text-only samples too."""
    return "+".join(MODALITIES) if sample.audio is not None else FULL


@dataclass(frozen=True)
class Pass:
    """The modalities that a forward pass receives, and the draw of the mask for the others.

    >>> Pass.parse("none#2").absent(("vision", "language"))
    ('vision', 'language')
    """

    present: frozenset[str]
    draw: int = 0

    @classmethod
    def parse(cls, key: str) -> "Pass":
        """Parse a key: modalities joined by ``+``, or ``none``; ``#n`` selects another draw.

        ``"vision+options"`` masks the question and keeps the list of options after it.
        """
        match = re.fullmatch(r"([a-z+]+?)(?:#(\d+))?", key)
        if match is None or match[1] not in _PRESENT:
            hint = "append '#n' for another draw of the noise"
            raise ValueError(f"{unknown_name('pass', key, _PRESENT)}; {hint}")
        return cls(_PRESENT[match[1]], int(match[2] or 0))

    def absent(self, modalities: Sequence[str]) -> tuple[str, ...]:
        """Select the modalities to mask."""
        return tuple(name for name in modalities if name not in self.present)


def drawn(passes: Sequence[str], count: int) -> tuple[str, ...]:
    """The passes with `count` draws of the noise; those that mask nothing occur once.

    >>> drawn(("vision+language", "vision"), 2)
    ('vision+language', 'vision', 'vision#1')
    """
    full = "+".join(MODALITIES) if any("audio" in key for key in passes) else FULL
    more = [f"{key}#{draw}" for key in passes if key != full for draw in range(1, count)]
    return *passes, *more


class Moments:
    """Running mean and standard deviation in float64 (Chan, Golub and LeVeque, 1983)."""

    def __init__(self):
        self.count, self.mean, self._squares = 0, 0.0, 0.0

    def add(self, rows: Float[Tensor, "n d"]):
        rows, total = rows.double(), self.count + len(rows)
        mean = rows.mean(0)
        step, within = mean - self.mean, (rows - mean).square().sum(0)
        self._squares = self._squares + within + step.square() * (self.count * len(rows) / total)
        self.mean = self.mean + step * (len(rows) / total)
        self.count = total

    @property
    def std(self) -> Float[Tensor, " d"]:
        """The standard deviation of each dimension (dividing by n)."""
        return (self._squares / self.count).sqrt()


def draw_noise(mean: Tensor, std: Tensor, count: int, *stream: object) -> Tensor:
    """Draw normal noise [count, d], the same on every device; ``stream`` is the seed."""
    generator = torch.Generator().manual_seed(derive_seed(*stream))
    return torch.randn(count, len(mean), generator=generator) * std + mean
