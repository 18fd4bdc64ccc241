"""Taking a modality away: its token embeddings become calibrated noise at the door of the language model."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from difflib import get_close_matches
from itertools import combinations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from pidlib.benchmarks import Sample
from pidlib.experiment import derive_seed

MODALITIES = ("vision", "audio", "language")
SOURCES = ("vision", "language")
FULL = "+".join(SOURCES)
OPTIONS = "vision+options"
_SETS = [one for size in (3, 2, 1) for one in combinations(MODALITIES, size)]


def modalities_of(sample: Sample) -> tuple[str, ...]:
    """What a sample consists of."""
    given = {"vision": sample.image is not None or sample.video is not None, "audio": sample.audio is not None, "language": True}
    return tuple(name for name in MODALITIES if given[name])


def full_pass(sample: Sample) -> str:
    """The key of the pass in which nothing of such a sample is hidden; `FULL` also where there is but language."""
    return "+".join(MODALITIES) if sample.audio is not None else FULL


@dataclass(frozen=True)
class Pass:
    """Which modalities a forward pass is given, and which draw of noise stands for the absent ones.

    >>> Pass.parse("vision"), Pass.parse("none#2").absent(("vision", "language"))
    (Pass(present=frozenset({'vision'}), draw=0), ('vision', 'language'))
    """

    present: frozenset[str]
    draw: int = 0

    @classmethod
    def parse(cls, key: str) -> "Pass":
        """Read ``"vision+language"``, ``"vision"``, ``"language"``, ``"none"`` or, for another draw of the noise, ``"none#1"``.

        Where there is sound, ``"vision+audio+language"``, ``"audio+language"``, ``"vision+audio"`` and ``"audio"`` too.
        ``"vision+options"`` is given the options behind a question, though not the question.

        Raises
        ------
        ValueError
            If it is none of these, with the nearest that is.
        """
        match = re.fullmatch(r"([a-z+]+?)(?:#(\d+))?", key)
        names = {name: frozenset(name.split("+")) for name in (*map("+".join, _SETS), OPTIONS)} | {"none": frozenset()}
        if match is None or match[1] not in names:
            near = get_close_matches(key, names, n=1, cutoff=0)[0]
            raise ValueError(f"unknown pass {key!r}; did you mean {near!r}? Passes are {', '.join(names)}, and '#n' names another draw")
        return cls(names[match[1]], int(match[2] or 0))

    def absent(self, modalities: Sequence[str]) -> tuple[str, ...]:
        """Those of a sample's modalities that noise replaces, if need be but for the options."""
        return tuple(name for name in modalities if name not in self.present)


class Moments:
    r"""Running mean and standard deviation of vectors, in float64 (the pairwise update of Chan, Golub and LeVeque, 1983).

    >>> moments = Moments()
    >>> for rows in ([[0.0], [2.0]], [[4.0]]):
    ...     moments.add(torch.tensor(rows))
    >>> moments.mean.item(), round(moments.std.item() ** 2, 6)
    (2.0, 2.666667)
    """

    def __init__(self):
        self.count, self.mean, self._squares = 0, None, None

    def add(self, rows: Float[Tensor, "n d"]):
        """Take in more vectors."""
        rows = rows.double()
        count, mean = len(rows), rows.mean(0)
        squares = (rows - mean).square().sum(0)
        if self.count:
            total, step = self.count + count, mean - self.mean
            squares = self._squares + squares + step.square() * (self.count * count / total)
            count, mean = total, self.mean + step * (count / total)
        self.count, self.mean, self._squares = count, mean, squares

    @property
    def std(self) -> Float[Tensor, " d"]:
        """The standard deviation of each dimension (dividing by n)."""
        return (self._squares / self.count).sqrt()


@dataclass(frozen=True)
class Calibration:
    r"""The noise that stands for a modality: i.i.d. :math:`N(\mu, \mathrm{diag}\,\sigma^2)` token embeddings.

    :math:`\mu` and :math:`\sigma` are those of the modality's token embeddings over the profiling set, so the language model is given
    vectors of the usual place and size that carry nothing of the sample.
    """

    mean: Mapping[str, Float[Tensor, " d"]]
    std: Mapping[str, Float[Tensor, " d"]]

    def noise(self, count: int, *, seed: int, sample_id: str, modality: str, draw: int) -> Float[Tensor, "count d"]:
        """``count`` noise tokens of one sample, float32: the same whatever the batch, the device and the other samples are."""
        generator = torch.Generator().manual_seed(derive_seed(seed, sample_id, modality, draw))
        mean, std = self.mean[modality], self.std[modality]
        return torch.randn(count, len(mean), generator=generator) * std.float() + mean.float()


@contextmanager
def door(decoder: nn.Module, write: Callable[[Tensor], Mapping[str, object]]) -> Iterator[None]:
    """While open, all that enters the language model is what ``write`` makes of its token embeddings, [batch, length, d].

    ``write`` gives the arguments to put in place of the model's own: ``inputs_embeds``, and those of a side door or of cross-attention.
    Positions, masks and everything else of the forward pass stay as they are.
    """

    def rewrite(module, args, kwargs):
        embeddings = kwargs.get("inputs_embeds")
        if embeddings is None:
            embeddings = module.get_input_embeddings()(kwargs["input_ids"])
        return args, {**kwargs, "input_ids": None, **write(embeddings)}

    handle = decoder.register_forward_pre_hook(rewrite, with_kwargs=True)
    try:
        yield
    finally:
        handle.remove()
