"""Clips as media files: grey frames that brighten with time, and one tone on the left channel."""

from pathlib import Path

import av
import numpy as np

FPS, STEP, TONE, SOURCE_RATE = 10, 24, 440, 44_100


def write_clip(path: Path, seen: float = 1, heard: float = 1, size: tuple[int, int] = (64, 48), tone: float = 0.8):
    """Seconds of pictures, frame i with the grey level i * STEP, and of a tone, with this amplitude left and none right; 0 for neither."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w", options={"movflags": "faststart"}) as file:
        pictures = file.add_stream("mpeg4", rate=FPS, width=size[0], height=size[1], pix_fmt="yuv420p") if seen else None
        sound = file.add_stream("aac", rate=SOURCE_RATE, layout="stereo") if heard else None
        if pictures:
            for index in range(round(seen * FPS)):
                grey = np.full((size[1], size[0], 3), min(index * STEP, 255), np.uint8)
                file.mux(pictures.encode(av.VideoFrame.from_ndarray(grey, format="rgb24")))
            file.mux(pictures.encode(None))
        if sound:
            wave = tone * np.sin(2 * np.pi * TONE * np.arange(round(heard * SOURCE_RATE)) / SOURCE_RATE)
            frame = av.AudioFrame.from_ndarray(np.stack([wave, 0 * wave]).astype(np.float32), format="fltp", layout="stereo")
            frame.sample_rate = SOURCE_RATE
            file.mux(sound.encode(frame))
            file.mux(sound.encode(None))
