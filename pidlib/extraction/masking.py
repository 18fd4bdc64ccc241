"""Masking: replace the token embeddings of a modality, by calibrated noise or otherwise."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
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


@cache
def _quantiles(device: torch.device) -> Tensor:
    """The 65,536 quantiles of the normal distribution at the middles of equal shares."""
    levels = (torch.arange(2**16, dtype=torch.float64) + 0.5) / 2**16
    return torch.special.ndtri(levels).float().to(device)


def draw_noise(mean: Tensor, std: Tensor, count: int, *stream: object) -> Tensor:
    """Draw normal noise [count, d] on the device of ``mean``; ``stream`` is the seed.

    A counter is hashed to 64 bits (SplitMix64; Steele, Lea and Flood, 2014), and each 16 of them
    select a quantile, at most 4.3: the choice is by integers, so it is the same on every device.
    """
    size = count * len(mean)
    state = torch.arange(1, size // 4 + 2, device=mean.device) + derive_seed(*stream) * 2**31
    state = state * -0x61C8864680B583EB
    for shift, factor in ((30, -0x40A7B892E31B1A47), (27, -0x6B2FB644ECCEEE15), (31, 1)):
        state = (state ^ (state >> shift & (1 << 64 - shift) - 1)) * factor
    index = state.view(torch.int16)[:size].int() + 2**15
    return _quantiles(mean.device)[index].view(count, len(mean)) * std + mean
