"""Clips of moving shapes with tones: value objects that draw frames and synthesize sound.

A clip lasts one second and holds everything that determines its pixels and its sound, jitter
included. A hash of its first picture identifies the layout.
"""

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float32, UInt8

from pidlib.benchmarks.pictures import Item, Picture

FRAMES = 4  # in the one second of a clip
SIZE = 48  # pixels of a frame as drawn
STRIDE = 7  # of FRAME a frame: 5.25 pixels as drawn
RATE = 16_000  # samples in the one second of a soundtrack
FLOOR = 0.01  # root mean square of the noise floor
ATTACK = 0.02  # seconds from a tone's onset to its full loudness
SIGNS = {"left": -1, "right": 1}


@dataclass(frozen=True, slots=True)
class Tone:
    """One harmonic tone."""

    pitch: int  # frequency of the fundamental, Hz
    timbre: tuple[float, ...]  # amplitudes of the fundamental and the harmonics, up to a factor
    loudness: float  # root mean square at full loudness
    onset: float  # seconds from the start of the clip

    def sound(self) -> Float32[np.ndarray, "16000"]:
        r"""Synthesize :math:`a(s) \sum_k c_k \sin(2\pi k f s)`, with harmonics below 8 kHz.

        The amplitude a rises from 0 at the onset to the loudness.
        """
        spectrum = np.zeros(RATE // 2 + 1, complex)  # bins are 1 Hz apart: no window needed
        places = self.pitch * np.arange(1, len(self.timbre) + 1)
        audible = places < RATE // 2
        spectrum[places[audible]] = -1j * np.asarray(self.timbre)[audible]
        tone = np.fft.irfft(spectrum, RATE)
        rise = np.clip((np.arange(RATE) / RATE - self.onset) / ATTACK, 0, 1)
        return (self.loudness / np.sqrt(np.mean(tone**2)) * rise * tone).astype(np.float32)


@dataclass(frozen=True, slots=True)
class Clip:
    """Moving shapes and tones."""

    items: tuple[Item, ...]  # at their places in the first frame
    directions: tuple[str, ...]  # of each item, "left" or "right"
    tones: tuple[Tone, ...] = ()  # if empty, the soundtrack is the noise floor
    tint: tuple[int, int, int] = (0, 0, 0)  # of the background, as in `Picture`
    noise: int = 0  # seed of the soundtrack's noise

    def picture(self, frame: int = 0) -> Picture:
        """Return the picture of one frame."""
        items = (
            replace(item, x=item.x + frame * STRIDE * SIGNS[way])
            for item, way in zip(self.items, self.directions, strict=True)
        )
        return Picture("plain", tuple(items), self.tint)

    @property
    def layout(self) -> Picture:
        """The first picture, which determines the split."""
        return self.picture()

    def frames(self) -> UInt8[np.ndarray, "4 48 48 3"]:
        """Return the four frames, RGB."""
        return np.stack([np.asarray(self.picture(frame).draw(SIZE)) for frame in range(FRAMES)])

    def sound(self) -> Float32[np.ndarray, "16000"]:
        """Return the soundtrack: the sum of the tones and white noise."""
        return sum((tone.sound() for tone in self.tones), FLOOR * white_noise(self.noise))

    def media(self) -> dict[str, np.ndarray]:
        """Return the inputs of a sample."""
        return {"video": self.frames(), "audio": self.sound()}


def white_noise(seed: int) -> Float32[np.ndarray, "16000"]:
    """Return one second of white noise of unit variance."""
    return np.random.default_rng(seed).standard_normal(RATE, dtype=np.float32)
