"""Media files for tests, and measurements of frames and sound."""

from pathlib import Path

import av
import numpy as np

from pidlib.benchmarks.clips import RATE

FPS, STEP, TONE, SOURCE_RATE = 10, 24, 440, 44_100


def write_clip(
    path: Path,
    seen: float = 1,
    heard: float = 1,
    size: tuple[int, int] = (64, 48),
    tone: float = 0.8,
):
    """Write a clip: frame i has the gray level i * STEP; a tone plays on the left channel.

    ``seen`` and ``heard`` are the seconds of pictures and of sound, 0 for none.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w", options={"movflags": "faststart"}) as file:
        pictures = (
            file.add_stream("mpeg4", rate=FPS, width=size[0], height=size[1], pix_fmt="yuv420p")
            if seen
            else None
        )
        sound = file.add_stream("aac", rate=SOURCE_RATE, layout="stereo") if heard else None
        if pictures:
            for index in range(round(seen * FPS)):
                gray = np.full((size[1], size[0], 3), min(index * STEP, 255), np.uint8)
                file.mux(pictures.encode(av.VideoFrame.from_ndarray(gray, format="rgb24")))
            file.mux(pictures.encode(None))
        if sound:
            wave = tone * np.sin(
                2 * np.pi * TONE * np.arange(round(heard * SOURCE_RATE)) / SOURCE_RATE
            )
            frame = av.AudioFrame.from_ndarray(
                np.stack([wave, 0 * wave]).astype(np.float32), format="fltp", layout="stereo"
            )
            frame.sample_rate = SOURCE_RATE
            file.mux(sound.encode(frame))
            file.mux(sound.encode(None))


def centers(video: np.ndarray, channel: int) -> np.ndarray:
    """Return the mean column of the pixels of one color in each frame."""
    others = [other for other in range(3) if other != channel]
    colored = (video[..., channel] > 150) & (video[..., others].max(-1) < 110)
    return np.array(
        [np.nan if not frame.any() else np.nonzero(frame)[1].mean() for frame in colored]
    )


def amplitudes(sound: np.ndarray, start: int = RATE // 2) -> np.ndarray:
    """Return the amplitudes of the spectrum from ``start`` on; bins are 2 Hz apart by default."""
    return 2 * np.abs(np.fft.rfft(sound[start:])) / (RATE - start)
