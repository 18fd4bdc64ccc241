"""Decoding of media files that the tests encode: frames, sound, and unusable files."""

import av
import numpy as np
import pytest
from media_files import STEP, TONE, write_clip

from pidlib.benchmarks.media import RATE, SIDE, decode, duration


def test_frames_are_from_the_middle_of_equal_parts(tmp_path):
    write_clip(tmp_path / "clip.mp4")
    for n_frames, seen in ((1, (5,)), (2, (2, 7)), (5, (1, 3, 5, 7, 9))):
        video, audio = decode(tmp_path / "clip.mp4", n_frames)
        assert video.shape == (n_frames, 48, 64, 3) and video.dtype == np.uint8
        assert np.abs(video.mean((1, 2, 3)) / STEP - seen).max() < 0.3
    assert abs(len(audio) / RATE - 1) < 0.05


def test_last_frame_is_repeated_while_sound_continues(tmp_path):
    write_clip(tmp_path / "clip.mp4", seen=1, heard=2)
    video, audio = decode(tmp_path / "clip.mp4", 4)
    assert [round(level) for level in video.mean((1, 2, 3)) / STEP] == [2, 7, 9, 9] and len(
        audio
    ) > 1.95 * RATE


def test_clip_is_cut_or_padded(tmp_path):
    write_clip(tmp_path / "clip.mp4", 1, 1)
    whole = decode(tmp_path / "clip.mp4", 1)[1]
    for seconds, seen in ((0.5, [1, 3]), (2, [5, 9])):
        video, audio = decode(tmp_path / "clip.mp4", 2, seconds)
        assert [round(level) for level in video.mean((1, 2, 3)) / STEP] == seen and len(
            audio
        ) == seconds * RATE
        kept = min(len(audio), len(whole))
        assert (audio[:kept] == whole[:kept]).all() and not audio[kept:].any()


def test_sound_can_come_from_another_file(tmp_path):
    write_clip(tmp_path / "mute.mp4", heard=0)
    write_clip(tmp_path / "tone.mp4", seen=0)
    video, audio = decode(tmp_path / "mute.mp4", 2, sound=tmp_path / "tone.mp4")
    assert [round(level) for level in video.mean((1, 2, 3)) / STEP] == [2, 7]
    assert abs(len(audio) / RATE - 1) < 0.05
    assert abs(duration(tmp_path / "tone.mp4") - 1) < 0.1 and not duration(tmp_path / "none.mp4")


def test_sound_is_the_mean_of_the_channels(tmp_path):
    write_clip(tmp_path / "clip.mp4", tone=0.8)
    audio = decode(tmp_path / "clip.mp4", 1)[1][:RATE]
    assert audio.dtype == np.float32 and audio.ndim == 1
    assert np.abs(np.fft.rfft(audio)).argmax() == pytest.approx(TONE, abs=1)
    assert np.sqrt(2 * np.mean(audio[2000:-2000] ** 2)) == pytest.approx(0.4, abs=0.02)


def test_large_frames_are_downscaled_in_proportion(tmp_path):
    write_clip(tmp_path / "wide.mp4", 0.4, 0.4, (2 * SIDE, 128))
    write_clip(tmp_path / "tall.mp4", 0.4, 0.4, (128, 2 * SIDE))
    assert decode(tmp_path / "wide.mp4", 1)[0].shape == (1, 64, SIDE, 3)
    assert decode(tmp_path / "tall.mp4", 1)[0].shape == (1, SIDE, 64, 3)


@pytest.mark.parametrize(
    ("options", "fault"),
    [
        ({"tone": 0}, "its sound is silence"),
        ({"heard": 0}, "it has no sound"),
        ({"seen": 0}, "it has no pictures"),
    ],
)
def test_silence_and_missing_streams_are_refused(options, fault, tmp_path):
    write_clip(tmp_path / "clip.mp4", **options)
    with pytest.raises(ValueError, match=fault):
        decode(tmp_path / "clip.mp4", 1)


def test_broken_files_are_refused(tmp_path):
    path = tmp_path / "clip.mp4"
    write_clip(path, 3, 3)
    whole = path.read_bytes()
    with av.open(str(path)) as file:
        ends = sorted(packet.pos + packet.size for packet in file.demux() if packet.size)
    path.write_bytes(whole[: ends[len(ends) // 2]])
    with pytest.raises(ValueError, match=r"it is cut off: .* s of sound instead of 3\.0 s"):
        decode(path, 1)
    for broken in (b"", b"not a clip"):
        path.write_bytes(broken)
        with pytest.raises(ValueError, match="Invalid data"):
            decode(path, 1)
