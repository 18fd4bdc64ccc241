"""Clips from media files: the soundtrack, and frames evenly spaced over it, so that both keep step."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import av
import numpy as np
from jaxtyping import Float32, UInt8

SIDE = 448  # pixels, the longer side of a frame at most
RATE = 16_000  # of the sound, samples a second

_SILENT = 1e-4  # the loudest sample of a soundtrack that nobody hears
_WHOLE = 0.9  # of the sound that a file says it holds

Frames = UInt8[np.ndarray, "frames height width 3"]
Sound = Float32[np.ndarray, " samples"]


def decode(path: Path, n_frames: int, seconds: float | None = None) -> tuple[Frames, Sound]:
    """Frames of a clip, each from the middle of one of ``n_frames`` equal parts of its soundtrack; and the soundtrack.

    With ``seconds``, a longer clip is cut, and a shorter one ends in silence and its last picture. Frames keep their proportions, no side
    longer than `SIDE`; the sound is the mean of its channels at `RATE`. A frame of 16:9 takes at most 339 kB, a minute of sound 3.8 MB.

    Raises
    ------
    ValueError
        If it cannot be decoded, is cut off, or has no pictures or no sound.
    """
    try:
        with av.open(str(path)) as file:
            if not file.streams.video or not file.streams.audio:
                raise ValueError(f"it has no {'sound' if file.streams.video else 'pictures'}")
            audio, start = _heard(file.decode(audio=0), file.streams.audio[0])
        if seconds is not None:
            length = round(seconds * RATE)
            audio = np.pad(audio[:length], (0, max(length - len(audio), 0)))
        times = start + (np.arange(n_frames) + 0.5) / n_frames * len(audio) / RATE
        with av.open(str(path)) as file:
            file.streams.video[0].thread_type = "AUTO"
            return _shown(file.decode(video=0), times), audio
    except av.FFmpegError as error:
        raise ValueError(error.strerror) from error


def _heard(frames: Iterable[av.AudioFrame], stream: av.AudioStream) -> tuple[Sound, float]:
    """The soundtrack, and the time at which it begins."""
    resampler, pieces, start = av.AudioResampler(format="fltp", rate=RATE), [np.zeros(0, np.float32)], None
    for frame in frames:
        start = frame.time if start is None else start
        pieces += [piece.to_ndarray().mean(0) for piece in resampler.resample(frame)]
    if start is not None:
        pieces += [piece.to_ndarray().mean(0) for piece in resampler.resample(None)]
    audio, declared = np.concatenate(pieces), float((stream.duration or 0) * stream.time_base)
    if len(audio) < _WHOLE * declared * RATE:
        raise ValueError(f"it is cut off: {len(audio) / RATE:.1f} s of sound, where it says {declared:.1f} s")
    if np.abs(audio).max(initial=0) < _SILENT:
        raise ValueError("its sound is silence")
    return audio, start


def _shown(frames: Iterable[av.VideoFrame], times: Sequence[float]) -> Frames:
    """What is seen at these times, in increasing order: of each the last frame that had begun."""
    shown, last = [], None
    for frame in frames:
        while last is not None and len(shown) < len(times) and times[len(shown)] < frame.time:
            shown.append(_picture(last))
        last = frame
        if len(shown) == len(times):
            break
    if last is None:
        raise ValueError("it has no pictures")
    return np.stack([*shown, *[_picture(last)] * (len(times) - len(shown))])


def _picture(frame: av.VideoFrame) -> UInt8[np.ndarray, "height width 3"]:
    scale = min(1, SIDE / max(frame.width, frame.height))
    return frame.reformat(width=round(frame.width * scale), height=round(frame.height * scale), format="rgb24").to_ndarray()
