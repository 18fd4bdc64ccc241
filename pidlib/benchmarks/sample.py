"""Sample: one question about one input, with its closed set of answers."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from PIL import Image

SPLITS = ("train", "validation", "test")


@dataclass(frozen=True, slots=True)
class Sample:
    """One question about one input, and the answer.

    Attributes
    ----------
    sample_id
        Names the sample for ever and everywhere; all joins go by it.
    benchmark, split
        Where it comes from, e.g. ``"micro/grounding"`` and ``"test"``.
    template
        The form of the question. Samples of one benchmark and template are exchangeable partners when a modality is resampled.
    question, answer
        Plain text; ``answer`` is one of ``candidates``.
    candidates
        The answer alphabet, the same for every sample of a benchmark.
    options
        Text that lists the candidates, shown after the question; empty where nothing is listed.
    image, video, audio
        The inputs, ``None`` where there is none: a picture; frames, RGB in 8 bits ``[frame, height, width, 3]``; a soundtrack of one
        channel at 16 kHz, float32 in [-1, 1]. A film is taken to last as long as its sound, whose rate nobody can check: resample first.
        Left out of comparison and repr: the id stands for them.

    Raises
    ------
    ValueError
        For an answer that is no candidate, and a split that does not exist.
    """

    sample_id: str
    benchmark: str
    template: str
    question: str
    candidates: tuple[str, ...]
    answer: str
    split: str
    options: str = ""
    image: Image.Image | None = field(default=None, compare=False, repr=False)
    video: Any = field(default=None, compare=False, repr=False)
    audio: Any = field(default=None, compare=False, repr=False)

    def __post_init__(self):
        for what, given, known in (("answer", self.answer, self.candidates), ("split", self.split, SPLITS)):
            if given not in known:
                raise ValueError(f"{self.sample_id}: the {what} {given!r} is not one of {', '.join(known)}")

    @property
    def text(self) -> str:
        """All that is asked: the question, and in a line of their own the options."""
        return "\n".join(part for part in (self.question.strip(), self.options.strip()) if part)


def listing(candidates: Sequence[str]) -> str:
    """A question that lists the candidates.

    >>> listing(("red", "green", "blue")), listing(("yes", "no"))
    ('red, green or blue?', 'yes or no?')
    """
    *first, last = candidates
    return f"{', '.join(first)} or {last}?"
