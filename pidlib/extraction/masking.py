"""Masking: replace the token embeddings of a modality by calibrated noise."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from difflib import get_close_matches
from itertools import combinations

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from pidlib._common import derive_seed
from pidlib.benchmarks import Sample

MODALITIES = ("vision", "audio", "language")
SOURCES = ("vision", "language")
FULL = "+".join(SOURCES)
OPTIONS = "vision+options"

_SUBSETS = ["+".join(names) for size in (3, 2, 1) for names in combinations(MODALITIES, size)]
_PRESENT = {key: frozenset(key.split("+")) for key in (*_SUBSETS, OPTIONS)} | {"none": frozenset()}


def modalities_of(sample: Sample) -> tuple[str, ...]:
    """Return the modalities of a sample, in the order of `MODALITIES`."""
    vision = sample.image is not None or sample.video is not None
    present = {"vision": vision, "audio": sample.audio is not None, "language": True}
    return tuple(name for name in MODALITIES if present[name])


def full_pass(sample: Sample) -> str:
    """Return the key of the unmasked pass; it is `FULL` for text-only samples too."""
    return "+".join(MODALITIES) if sample.audio is not None else FULL


@dataclass(frozen=True)
class Pass:
    """The modalities that a forward pass receives, and the draw of the noise for the others.

    >>> Pass.parse("vision"), Pass.parse("none#2").absent(("vision", "language"))
    (Pass(present=frozenset({'vision'}), draw=0), ('vision', 'language'))
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
            near = get_close_matches(key, _PRESENT, n=1, cutoff=0)[0]
            known = f"{', '.join(_PRESENT)}; append '#n' for another draw of the noise"
            raise ValueError(f"unknown pass {key!r}; did you mean {near!r}? Passes: {known}")
        return cls(_PRESENT[match[1]], int(match[2] or 0))

    def absent(self, modalities: Sequence[str]) -> tuple[str, ...]:
        """Select the modalities to mask."""
        return tuple(name for name in modalities if name not in self.present)


class Moments:
    """Running mean and standard deviation in float64 (Chan, Golub and LeVeque, 1983)."""

    def __init__(self):
        self.count, self.mean, self._squares = 0, None, None

    def add(self, rows: Float[Tensor, "n d"]):
        rows = rows.double()
        count, mean = len(rows), rows.mean(0)
        squares = (rows - mean).square().sum(0)
        if self.count:
            total, step = self.count + count, mean - self.mean
            between = step.square() * (self.count * count / total)
            squares = self._squares + squares + between
            count, mean = total, self.mean + step * (count / total)
        self.count, self.mean, self._squares = count, mean, squares

    @property
    def std(self) -> Float[Tensor, " d"]:
        """The standard deviation of each dimension (dividing by n)."""
        return (self._squares / self.count).sqrt()


def draw_noise(
    statistics: Mapping[str, Float[np.ndarray, " d"]], modality: str, count: int, *stream: object
) -> Float[Tensor, "count d"]:
    """Draw calibrated normal noise, float32; batch and device do not change it.

    ``statistics`` has entries ``mean/MODALITY`` and ``std/MODALITY``; ``stream`` is the seed.
    """
    generator = torch.Generator().manual_seed(derive_seed(*stream))
    mean = torch.from_numpy(statistics[f"mean/{modality}"]).float()
    std = torch.from_numpy(statistics[f"std/{modality}"]).float()
    return torch.randn(count, len(mean), generator=generator) * std + mean


@contextmanager
def replace_inputs(
    decoder: nn.Module, replace: Callable[[Tensor], Mapping[str, object]]
) -> Iterator[None]:
    """Replace the inputs of the language model while the context is open.

    ``replace`` maps its input embeddings [batch, length, d] to the arguments to override:
    ``inputs_embeds``, and those of deepstack or cross-attention. Positions and masks stay.
    """

    def override(module, args, kwargs):
        embeddings = kwargs.get("inputs_embeds")
        if embeddings is None:
            embeddings = module.get_input_embeddings()(kwargs["input_ids"])
        return args, {**kwargs, "input_ids": None, **replace(embeddings)}

    handle = decoder.register_forward_pre_hook(override, with_kwargs=True)
    try:
        yield
    finally:
        handle.remove()
