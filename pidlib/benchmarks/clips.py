"""Clips of moving shapes that sound: small value objects that draw their frames and synthesise their soundtrack.

A clip lasts one second. It holds everything that determines its pixels and its samples, jitters included: equal clips look and sound the
same. What is seen follows from its first picture and the directions, so a hash of that picture can stand for the layout.
"""

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float32, UInt8

from pidlib.benchmarks.pictures import Item, Picture

FRAMES = 4  # in the one second of a clip
SIZE = 48  # pixels of a frame as drawn
STRIDE = 7  # of FRAME a frame: 5.25 pixels as drawn
RATE = 16_000  # samples in the one second of a soundtrack
FLOOR = 0.01  # root mean square of the noise that is always there
ATTACK = 0.02  # seconds from a tone's onset to its full loudness
SIGNS = {"left": -1, "right": 1}


@dataclass(frozen=True, slots=True)
class Tone:
    """One harmonic tone.

    Attributes
    ----------
    pitch : int
        Frequency of the fundamental, Hz.
    timbre : tuple of float
        Amplitudes of the fundamental and of the harmonics above it, up to a factor.
    loudness : float
        Root mean square of the tone at its full loudness.
    onset : float
        Seconds from the start of the clip.
    """

    pitch: int
    timbre: tuple[float, ...]
    loudness: float
    onset: float

    def sound(self) -> Float32[np.ndarray, "16000"]:
        r""":math:`a(s) \sum_k c_k \sin(2\pi k f s)` at time s, where a rises from 0 at the onset to the loudness; harmonics below 8 kHz."""
        spectrum = np.zeros(RATE // 2 + 1, complex)  # of one second: the bins are 1 Hz apart, so whole frequencies need no window
        places = self.pitch * np.arange(1, len(self.timbre) + 1)
        heard = places < RATE // 2
        spectrum[places[heard]] = -1j * np.asarray(self.timbre)[heard]
        tone = np.fft.irfft(spectrum, RATE)
        rise = np.clip((np.arange(RATE) / RATE - self.onset) / ATTACK, 0, 1)
        return (self.loudness / np.sqrt(np.mean(tone**2)) * rise * tone).astype(np.float32)


@dataclass(frozen=True, slots=True)
class Clip:
    """Shapes that move and tones that sound.

    Attributes
    ----------
    items : tuple of Item
        The shapes, where they are in the first frame.
    directions : tuple of str
        For each shape ``"left"`` or ``"right"``.
    tones : tuple of Tone
        What sounds; silence is the noise floor alone.
    tint : tuple of int
        Of the background, as in `Picture`.
    noise : int
        Names the noise of the soundtrack.
    """

    items: tuple[Item, ...]
    directions: tuple[str, ...]
    tones: tuple[Tone, ...] = ()
    tint: tuple[int, int, int] = (0, 0, 0)
    noise: int = 0

    def picture(self, frame: int = 0) -> Picture:
        """What is seen in one frame."""
        moved = zip(self.items, self.directions, strict=True)
        return Picture("plain", tuple(replace(item, x=item.x + frame * STRIDE * SIGNS[way]) for item, way in moved), self.tint)

    def frames(self) -> UInt8[np.ndarray, "4 48 48 3"]:
        """The four frames, RGB."""
        return np.stack([np.asarray(self.picture(frame).draw(SIZE)) for frame in range(FRAMES)])

    def sound(self) -> Float32[np.ndarray, "16000"]:
        """The soundtrack: the sum of the tones, and white noise."""
        return sum((tone.sound() for tone in self.tones), FLOOR * hiss(self.noise))


def hiss(seed: int) -> Float32[np.ndarray, "16000"]:
    """One second of white noise of unit variance."""
    return np.random.default_rng(seed).standard_normal(RATE, dtype=np.float32)
