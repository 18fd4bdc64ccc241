"""Clips from media files: the soundtrack, and frames evenly spaced over it."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import av
import numpy as np
from jaxtyping import Float32, UInt8

SIDE = 448  # pixels: maximum of the longer side of a frame
RATE = 16_000  # sound samples per second

_SILENT = 1e-4  # peak amplitude below which a soundtrack counts as silent
_COMPLETE = 0.9  # share of the declared sound that a file must contain

Frames = UInt8[np.ndarray, "frames height width 3"]
Sound = Float32[np.ndarray, " samples"]


def decode(
    path: Path, n_frames: int, seconds: float | None = None, sound: Path | None = None
) -> tuple[Frames, Sound]:
    """Decode a clip: ``n_frames`` frames, and the soundtrack, or that of the file ``sound``.

    Each frame is from the middle of one of ``n_frames`` equal parts of the soundtrack. With
    ``seconds``, a longer clip is cut, and a shorter clip is padded with silence and its last frame.
    Frames keep their proportions, no side longer than `SIDE`; the sound is the mean of its channels
    at `RATE`. A 16:9 frame takes at most 339 kB, a minute of sound 3.8 MB. Raises a ValueError if
    the clip cannot be decoded, is cut off, or has no pictures or no sound.
    """
    check_streams(path, sound)
    try:
        with av.open(str(sound or path)) as file:
            audio, start = _soundtrack(file.decode(audio=0), file.streams.audio[0])
        if seconds is not None:
            length = round(seconds * RATE)
            audio = np.pad(audio[:length], (0, max(length - len(audio), 0)))
        times = start + (np.arange(n_frames) + 0.5) / n_frames * len(audio) / RATE
        with av.open(str(path)) as file:
            file.streams.video[0].thread_type = "AUTO"
            return _frames_at(file.decode(video=0), times), audio
    except av.FFmpegError as error:
        raise ValueError(error.strerror) from error


def check_streams(path: Path, sound: Path | None = None) -> None:
    """Raise a ValueError if a file is no clip, or has no pictures or no sound; decode nothing."""
    try:
        with av.open(str(path)) as file, av.open(str(sound or path)) as heard:
            if not file.streams.video or not heard.streams.audio:
                raise ValueError(f"it has no {'sound' if file.streams.video else 'pictures'}")
    except av.FFmpegError as error:
        raise ValueError(error.strerror) from error


def duration(path: Path) -> float:
    """Return the length of a file in seconds, and 0 if it is not declared."""
    try:
        with av.open(str(path)) as file:
            return (file.duration or 0) / av.time_base
    except av.FFmpegError:
        return 0.0  # decoding says why


def _soundtrack(frames: Iterable[av.AudioFrame], stream: av.AudioStream) -> tuple[Sound, float]:
    """Return the soundtrack and the time at which it begins."""
    resampler = av.AudioResampler(format="fltp", rate=RATE)
    pieces, start = [np.zeros(0, np.float32)], None
    for frame in frames:
        start = frame.time if start is None else start
        pieces += [piece.to_ndarray().mean(0) for piece in resampler.resample(frame)]
    if start is not None:
        pieces += [piece.to_ndarray().mean(0) for piece in resampler.resample(None)]
    audio = np.concatenate(pieces)
    declared = float((stream.duration or 0) * stream.time_base)
    if len(audio) < _COMPLETE * declared * RATE:
        raise ValueError(
            f"it is cut off: {len(audio) / RATE:.1f} s of sound instead of {declared:.1f} s"
        )
    if np.abs(audio).max(initial=0) < _SILENT:
        raise ValueError("its sound is silence")
    return audio, start


def _frames_at(frames: Iterable[av.VideoFrame], times: Sequence[float]) -> Frames:
    """Return the last frame that has begun at each of these increasing times."""
    pictures, last = [], None
    for frame in frames:
        while last and len(pictures) < len(times) and times[len(pictures)] < frame.time:
            pictures.append(_picture(last))
        last = frame
        if len(pictures) == len(times):
            break
    if last is None:
        raise ValueError("it has no pictures")
    return np.stack([*pictures, *[_picture(last)] * (len(times) - len(pictures))])


def _picture(frame: av.VideoFrame) -> UInt8[np.ndarray, "height width 3"]:
    scale = min(1, SIDE / max(frame.width, frame.height))
    width, height = round(frame.width * scale), round(frame.height * scale)
    return frame.reformat(width=width, height=height, format="rgb24").to_ndarray()
