"""Clips: what is drawn moves as it says, and what is heard has the pitch, timbre, loudness and onset that it says."""

import numpy as np
import pytest

from pidlib.benchmarks.clips import FLOOR, FRAMES, RATE, SIZE, Clip, Tone, hiss
from pidlib.benchmarks.pictures import Item

CIRCLE, TRIANGLE = Item("circle", "red", 32, 17, 14), Item("triangle", "blue", 30, 47, 13)
TONE = Tone(220, (1, 0.5, 0.25), 0.1, 0.2)


def centres(video: np.ndarray, channel: int) -> np.ndarray:
    """Where the pixels of one colour are in each frame, in pixels from the left."""
    others = [other for other in range(3) if other != channel]
    coloured = (video[..., channel] > 150) & (video[..., others].max(-1) < 110)
    return np.array([np.nan if not frame.any() else np.nonzero(frame)[1].mean() for frame in coloured])


def amplitudes(sound: np.ndarray, start: int = RATE // 2) -> np.ndarray:
    """Of the sines that the sound from ``start`` on is made of, 2 Hz apart where that is the middle."""
    return 2 * np.abs(np.fft.rfft(sound[start:])) / (RATE - start)


@pytest.mark.parametrize("ways", [("left", "right"), ("right", "right")])
def test_everything_moves_the_way_it_says(ways):
    video = Clip((CIRCLE, TRIANGLE), ways).frames()
    assert video.shape == (FRAMES, SIZE, SIZE, 3) and video.dtype == np.uint8
    for channel, way in zip((0, 2), ways, strict=True):
        assert np.diff(centres(video, channel)) == pytest.approx({"left": -5.25, "right": 5.25}[way], abs=0.6)


def test_what_is_not_there_is_not_seen():
    video = Clip((TRIANGLE,), ("left",)).frames()
    assert np.isnan(centres(video, 0)).all() and not np.isnan(centres(video, 2)).any()


def test_a_tone_has_its_pitch_and_timbre():
    found = amplitudes(TONE.sound())
    assert found[[110, 220, 330]] / found[110] == pytest.approx([1, 0.5, 0.25], abs=1e-4)
    assert np.delete(found, [110, 220, 330]).max() < 1e-6


def test_a_tone_has_its_loudness_and_onset():
    sound = TONE.sound()
    assert sound.shape == (RATE,) and sound.dtype == np.float32
    assert np.sqrt(np.mean(sound[RATE // 2 :] ** 2)) == pytest.approx(0.1, abs=1e-4)
    assert not sound[: int(0.2 * RATE)].any() and np.abs(sound[int(0.22 * RATE) : int(0.23 * RATE)]).max() > 0.1


def test_harmonics_beyond_what_the_rate_can_hold_are_left_out():
    assert amplitudes(Tone(3000, (1, 1, 1), 0.1, 0).sound())[[1500, 3000]] == pytest.approx(0.1, abs=1e-4)


def test_tones_sound_together_before_a_noise_that_is_always_there():
    high = Tone(880, (1,), 0.05, 0)
    silent, both = Clip((), (), (), noise=5).sound(), Clip((), (), (TONE, high), noise=5).sound()
    assert silent.std() == pytest.approx(FLOOR, rel=0.03) and silent.dtype == both.dtype == np.float32
    np.testing.assert_allclose(both - silent, TONE.sound() + high.sound(), atol=1e-6)
    assert abs(np.corrcoef(hiss(5), hiss(6))[0, 1]) < 0.03


def test_equal_clips_look_and_sound_the_same():
    one, same, other = (Clip((CIRCLE,), ("left",), (TONE,), noise=noise) for noise in (1, 1, 2))
    assert one == same and hash(one) == hash(same) and one != other
    assert (one.frames() == same.frames()).all() and (one.sound() == same.sound()).all() and (one.sound() != other.sound()).any()
