"""Clips: directions, pitch, timbre, loudness and onset are as declared."""

import numpy as np
import pytest
from media_files import amplitudes, centers

from pidlib.benchmarks.clips import FLOOR, FRAMES, RATE, SIZE, Clip, Tone, white_noise
from pidlib.benchmarks.pictures import Item

CIRCLE, TRIANGLE = Item("circle", "red", 32, 17, 14), Item("triangle", "blue", 30, 47, 13)
TONE = Tone(220, (1, 0.5, 0.25), 0.1, 0.2)


@pytest.mark.parametrize("ways", [("left", "right"), ("right", "right")])
def test_items_move_in_their_directions(ways):
    video = Clip((CIRCLE, TRIANGLE), ways).frames()
    assert video.shape == (FRAMES, SIZE, SIZE, 3) and video.dtype == np.uint8
    for channel, way in zip((0, 2), ways, strict=True):
        assert np.diff(centers(video, channel)) == pytest.approx(
            {"left": -5.25, "right": 5.25}[way], abs=0.6
        )


def test_absent_items_are_not_drawn():
    video = Clip((TRIANGLE,), ("left",)).frames()
    assert np.isnan(centers(video, 0)).all() and not np.isnan(centers(video, 2)).any()


def test_tone_has_its_pitch_and_timbre():
    actual = amplitudes(TONE.sound())
    assert actual[[110, 220, 330]] / actual[110] == pytest.approx([1, 0.5, 0.25], abs=1e-4)
    assert np.delete(actual, [110, 220, 330]).max() < 1e-6


def test_tone_has_its_loudness_and_onset():
    sound = TONE.sound()
    assert sound.shape == (RATE,) and sound.dtype == np.float32
    assert np.sqrt(np.mean(sound[RATE // 2 :] ** 2)) == pytest.approx(0.1, abs=1e-4)
    assert (
        not sound[: int(0.2 * RATE)].any()
        and np.abs(sound[int(0.22 * RATE) : int(0.23 * RATE)]).max() > 0.1
    )


def test_harmonics_above_the_nyquist_frequency_are_left_out():
    assert amplitudes(Tone(3000, (1, 1, 1), 0.1, 0).sound())[[1500, 3000]] == pytest.approx(
        0.1, abs=1e-4
    )


def test_soundtrack_is_the_sum_of_tones_and_noise():
    high = Tone(880, (1,), 0.05, 0)
    silent, both = Clip((), (), (), noise=5).sound(), Clip((), (), (TONE, high), noise=5).sound()
    assert (
        silent.std() == pytest.approx(FLOOR, rel=0.03) and silent.dtype == both.dtype == np.float32
    )
    np.testing.assert_allclose(both - silent, TONE.sound() + high.sound(), atol=1e-6)
    assert abs(np.corrcoef(white_noise(5), white_noise(6))[0, 1]) < 0.03


def test_equal_clips_have_equal_frames_and_sound():
    item, same, other = (Clip((CIRCLE,), ("left",), (TONE,), noise=noise) for noise in (1, 1, 2))
    assert item == same and hash(item) == hash(same) and item != other
    assert (
        (item.frames() == same.frames()).all()
        and (item.sound() == same.sound()).all()
        and (item.sound() != other.sound()).any()
    )
