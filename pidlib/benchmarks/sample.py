"""Sample: one question about one input, with its closed set of answers."""

import hashlib
import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from string import ascii_uppercase
from typing import Any

import numpy as np
from PIL import Image, ImageOps

SPLITS = ("train", "validation", "test")
PEAK = 2.0  # maximum amplitude of sound; decoders overshoot 1 a little, integer scales by far

ANSWER_LETTER = "Answer with the letter of the right option."

_ORIENTATION = 0x0112  # EXIF tag
_UNREADABLE = (OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError)


class _Picture:
    """The field `Sample.image`: a picture in memory, or encoded and decoded on each access."""

    def __set__(self, sample: "Sample", value: Any):
        value = None if value is self else value  # the default
        vars(sample)["image"] = Path(value) if isinstance(value, str) else value

    def __get__(self, sample: "Sample | None", owner: type) -> Any:
        value = self if sample is None else vars(sample)["image"]
        if isinstance(value, Path | bytes):
            return _decoded(value, value.stat().st_mtime_ns if isinstance(value, Path) else 0)
        return value


@dataclass(frozen=True)
class Sample:
    """One question about one input, and its answer.

    Attributes
    ----------
    sample_id
        Identifies the sample everywhere; all joins use it.
    benchmark, split
        Origin, e.g. ``"micro/grounding"`` and ``"test"``.
    template
        Form of the question, shared by its paraphrases and instances.
    question, answer
        Plain text; ``answer`` is one of ``candidates``.
    candidates
        The answer alphabet, the same for every sample of a benchmark.
    options
        Text that lists the candidates, shown after the question; empty to list nothing.
    image, video, audio
        The inputs, ``None`` if absent: a picture of any mode, converted by `as_displayed`, or its
        file or bytes, which are decoded once as a check and again on each access; frames, RGB in 8
        bits ``[frame, height, width, 3]``; a mono soundtrack at 16 kHz, float32 in [-1, 1]. A video
        is assumed to last as long as its sound. The rate of the sound cannot be checked: resample
        first. Comparison and repr use the id instead.

    Raises
    ------
    ValueError
        If the answer is no candidate, or the split does not exist; if the image is no readable
        picture, or the sound exceeds `PEAK`. The message names the sample.
    """

    sample_id: str
    benchmark: str
    template: str
    question: str
    candidates: tuple[str, ...]
    answer: str
    split: str
    options: str = ""
    image: Image.Image | None = field(default=_Picture(), compare=False, repr=False)
    video: Any = field(default=None, compare=False, repr=False)
    audio: Any = field(default=None, compare=False, repr=False)

    def __post_init__(self):
        known = {"answer": self.candidates, "split": SPLITS}
        for name, values in known.items():
            value = getattr(self, name)
            if value not in values:
                raise ValueError(
                    f"{self.sample_id}: the {name} {value!r} is not one of {', '.join(values)}"
                )
        try:
            image = self.image
            if image is not None and image is vars(self)["image"]:
                vars(self)["image"] = as_displayed(image)
        except OSError as error:
            raise ValueError(f"{self.sample_id}: the picture cannot be read: {error}") from error
        except ValueError as error:
            raise ValueError(f"{self.sample_id}: {error}") from error
        if isinstance(self.audio, np.ndarray) and self.audio.dtype.kind == "f":
            peak = np.abs(self.audio[np.isfinite(self.audio)]).max(initial=0)
            if peak > PEAK:
                raise ValueError(
                    f"{self.sample_id}: the sound reaches {peak:g}, outside [-1, 1]; divide samples"
                    " of 16 bits by 32768"
                )

    @property
    def text(self) -> str:
        """The question, and on a new line the options."""
        return "\n".join(part for part in (self.question.strip(), self.options.strip()) if part)

    @property
    def has_image(self) -> bool:
        """Whether there is a picture; it is not decoded."""
        return vars(self)["image"] is not None

    @property
    def media(self) -> str:
        """A hash of picture, frames and sound, equal for equal inputs."""
        digest = hashlib.sha256()
        for value in (self.image, self.video, self.audio):
            if value is not None:
                array = np.asarray(value)
                digest.update(repr((array.dtype, array.shape)).encode() + array.tobytes())
        return digest.hexdigest()


@lru_cache(maxsize=64)  # the samples of a shard
def _decoded(source: Path | bytes, changed: int) -> Image.Image:
    return as_displayed(source)


def as_displayed(image: Image.Image | Path | bytes) -> Image.Image:
    """Return a picture as viewers show it: upright, in RGB with 8 bits, transparency on white.

    Such a picture is returned unchanged; files and encoded bytes are decoded. Raises a ValueError
    if it is no picture, is empty, cannot be read, or has a mode without a fixed display.
    """
    if not isinstance(image, Image.Image | Path | bytes):
        raise ValueError(
            f"the picture is a {type(image).__name__}, not a PIL image or the path of a file;"
            " convert an array of uint8 with PIL.Image.fromarray"
        )
    try:
        if not isinstance(image, Image.Image):
            image = Image.open(io.BytesIO(image) if isinstance(image, bytes) else image)
        image.load()
        if image.getexif().get(_ORIENTATION, 1) != 1:
            image = ImageOps.exif_transpose(image)
        if image.mode.startswith("I"):
            image = _from_16_bits(image)
        if image.mode == "F":
            raise ValueError("its values are floats, without a fixed range")
        if image.has_transparency_data:
            image = image.convert("LA") if image.mode == "La" else image  # as La has no way to RGBA
            image = image.convert("RGBA")
            white = Image.new("RGBA", image.size, "white")
            image = Image.alpha_composite(white, image)
        image = image if image.mode == "RGB" else image.convert("RGB")
    except _UNREADABLE as error:
        raise ValueError(f"the picture cannot be read: {error}") from error
    if not image.width or not image.height:
        raise ValueError("the picture is empty")
    return image


def _from_16_bits(image: Image.Image) -> Image.Image:
    values = np.asarray(image)
    if values.min(initial=0) < 0 or values.max(initial=0) > 65535:
        raise ValueError("its values do not fit into 16 bits")
    return Image.fromarray((values / 257).round().astype(np.uint8))


def lettered_options(options: Sequence[str]) -> str:
    """Return a text that letters the options and asks for a letter.

    >>> print(lettered_options(("red", "green")))
    A. red
    B. green
    Answer with the letter of the right option.
    """
    lines = map(". ".join, zip(ascii_uppercase, options, strict=False))
    return "\n".join([*lines, ANSWER_LETTER])


def listing(candidates: Sequence[str]) -> str:
    """Return a question that lists the candidates.

    >>> listing(("red", "green", "blue")), listing(("yes", "no"))
    ('red, green or blue?', 'yes or no?')
    """
    *first, last = candidates
    return f"{', '.join(first)} or {last}?"
