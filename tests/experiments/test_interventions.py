"""Each intervention does what it says, and drops and scores are those computed by hand."""

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from small_world import loaded, samples

from pidlib.experiments import interventions
from pidlib.experiments.interventions import (
    INTERVENTIONS,
    accuracy_drop,
    correct_by_id,
    perceptual_score,
    resample,
)
from pidlib.extraction import extract
from pidlib.extraction.masking import FULL

WORLD = samples(8)


def pixels(sample):
    return np.asarray(sample.image)


def test_blank_is_one_grey_of_the_same_size():
    changed = interventions.blank(WORLD[0])
    assert changed.image.size == WORLD[0].image.size
    assert np.unique(pixels(changed)).tolist() == [interventions.GRAY]


def test_shuffles_keep_the_pixels_and_depend_on_seed_and_sample_alone():
    change = interventions.shuffle_patches
    before, after = pixels(WORLD[0]), pixels(change(WORLD[0]))
    assert (before != after).any()
    assert sorted(map(tuple, before.reshape(-1, 3))) == sorted(map(tuple, after.reshape(-1, 3)))
    assert (pixels(change(WORLD[0])) == after).all()
    assert (pixels(change(WORLD[0], seed=1)) != after).any()
    other = interventions.replace(WORLD[1], image=WORLD[0].image)
    assert (pixels(change(other)) != after).any()


def test_patches_stay_whole_and_what_is_left_over_stays():
    image = np.random.default_rng(0).integers(
        0, 256, (14, 9, 3), dtype=np.uint8
    )  # patches of 3 x 2, and two rows and a column over
    sample = interventions.replace(WORLD[0], image=Image.fromarray(image))
    after = pixels(interventions.shuffle_patches(sample))
    patches = [
        {part[3 * i : 3 * i + 3, 2 * j : 2 * j + 2].tobytes() for i in range(4) for j in range(4)}
        for part in (image, after)
    ]
    assert patches[0] == patches[1]
    assert (image[12:] == after[12:]).all() and (image[:, 8:] == after[:, 8:]).all()


def test_shuffled_words_are_the_same_words():
    question = "what color is the shape at the top left?"
    changed = interventions.shuffle_words(
        interventions.replace(WORLD[0], question=question)
    ).question
    assert changed != question and changed.endswith("?")
    assert sorted(changed[:-1].split()) == sorted(question[:-1].split())


def test_resampling_never_gives_the_own_picture():
    twins = [
        interventions.replace(one, image=WORLD[index % 5].image) for index, one in enumerate(WORLD)
    ]
    for seed in range(20):
        changed = resample(twins, "vision", seed)
        assert all(
            (pixels(one) != pixels(other)).any() for one, other in zip(twins, changed, strict=True)
        )
        assert sorted(one.image.tobytes() for one in changed) == sorted(
            one.image.tobytes() for one in twins
        )
    assert [one.question for one in changed] == [one.question for one in twins]
    assert (
        len(
            {
                tuple(one.image.tobytes() for one in resample(twins, "vision", seed))
                for seed in range(20)
            }
        )
        > 10
    )
    same = [interventions.replace(one, image=WORLD[0].image) for one in WORLD[:5]] + WORLD[5:]
    with pytest.raises(ValueError, match="5 of 8 samples share one image"):
        resample(same, "vision")


def test_streams_are_dealt_so_that_none_stays_and_the_set_is_the_same():
    rng = np.random.default_rng(0)
    clips = [
        interventions.replace(
            one,
            image=None,
            video=rng.integers(0, 256, (2, 3, 3, 3), dtype=np.uint8),
            audio=rng.random(5, np.float32),
        )
        for one in WORLD
    ]
    clips[3] = interventions.replace(clips[3], audio=clips[4].audio.copy())  # two of one sound
    for seed in range(10):
        for modality, field, other in (("vision", "video", "audio"), ("audio", "audio", "video")):
            changed = resample(clips, modality, seed)
            before, after = (
                [getattr(one, field).tobytes() for one in some] for some in (clips, changed)
            )
            assert sorted(before) == sorted(after) and not any(map(bytes.__eq__, before, after))
            assert all(
                getattr(one, other) is getattr(was, other)
                for one, was in zip(changed, clips, strict=True)
            )
            assert [(one.sample_id, one.question, one.answer) for one in changed] == [
                (o.sample_id, o.question, o.answer) for o in clips
            ]
    with pytest.raises(
        ValueError, match="requested to resample 'touch'; choose 'vision' or 'audio' or 'language'"
    ):
        resample(clips, "touch")
    with pytest.raises(ValueError, match="5 of 8 samples share one audio"):
        resample(
            [interventions.replace(one, audio=clips[0].audio) for one in clips[:5]] + clips[5:],
            "audio",
        )


def test_within_parts_streams_are_exchanged_inside_them_and_whom_none_can_serve_is_left_out():
    pictures = [Image.fromarray(np.full((2, 2, 3), index, np.uint8)) for index in range(8)]
    templates = ["alone", *"abababa"]
    parts = [
        interventions.replace(one, image=image, template=name)
        for one, image, name in zip(WORLD, pictures, templates, strict=True)
    ]
    owner = {one.image.tobytes(): one for one in parts}
    for seed in range(10):
        changed = resample(parts, "vision", seed, within=lambda one: one.template)
        assert [one.sample_id for one in changed] == [one.sample_id for one in parts[1:]]
        assert all(owner[one.image.tobytes()].template == one.template for one in changed)
        assert all(owner[one.image.tobytes()].sample_id != one.sample_id for one in changed)
    with pytest.raises(ValueError, match="no derangement of image exists within any of 8 groups"):
        resample(parts, "vision", within=lambda one: one.sample_id)


def test_pictures_and_questions_are_dealt_as_they_always_were():
    """Pinned: the drops of all experiments hang on who gets what, two of one picture included."""
    named = [
        interventions.replace(
            one, question=str(index), image=Image.fromarray(np.full((2, 2, 3), index, np.uint8))
        )
        for index, one in enumerate(WORLD)
    ]
    named[1] = interventions.replace(named[1], image=named[0].image.copy())
    assert [int(pixels(one).max()) for one in resample(named, "vision", 3)] == [
        6,
        3,
        7,
        2,
        0,
        4,
        5,
        0,
    ]
    assert [int(one.question) for one in resample(named, "language", 3)] == [1, 3, 4, 2, 5, 6, 7, 0]


def test_resampled_questions_are_those_of_others():
    numbered = [
        interventions.replace(one, question=f"what color is shape {index}?")
        for index, one in enumerate(WORLD)
    ]
    changed = resample(numbered, "language", 3)
    assert all(one.question != other.question for one, other in zip(numbered, changed, strict=True))
    assert {one.question for one in changed} == {one.question for one in numbered}
    assert all(one.image is other.image for one, other in zip(numbered, changed, strict=True))
    with pytest.raises(ValueError, match="choose 'vision' or 'language'"):
        resample(numbered, "audio")


@pytest.mark.parametrize("name", INTERVENTIONS)
def test_ids_answers_and_candidates_stay(name):
    changed = INTERVENTIONS[name](WORLD, 0)
    assert [(one.sample_id, one.answer, one.candidates) for one in changed] == [
        (o.sample_id, o.answer, o.candidates) for o in WORLD
    ]
    assert [one.question for one in INTERVENTIONS[name](WORLD, 0)] == [
        one.question for one in changed
    ]


def test_right_is_the_accuracy_sample_by_sample():
    found = extract(loaded("llava"), WORLD, passes=(FULL,), progress=False)
    series = correct_by_id(found)
    assert series.mean() == found.accuracy() and list(series.index) == [
        one.sample_id for one in WORLD
    ]


def test_drop_by_hand():
    full, changed = (
        pd.Series([1.0, 1, 0, 1, 0], list("abcde")),
        pd.Series([0.0, 1, 0, 0], list("dcba")),
    )
    value, low, high = accuracy_drop(
        full, changed, 500
    )  # d lost, c won, a and b: lost both, joined by id
    assert value == (1 - 1 + 1 + 1) / 4
    assert -1 <= low < value < high <= 1
    assert accuracy_drop(full, full) == (0, 0, 0)
    with pytest.raises(ValueError, match="1 intervened samples have no full answer: z"):
        accuracy_drop(full, pd.Series([1.0], ["z"]))
    # The paired interval is that of the differences: twenty samples, a quarter of them lost
    many = pd.Series(np.ones(200))
    _, low, high = accuracy_drop(many, pd.Series((np.arange(200) % 4 > 0).astype(float)), 2000)
    assert (low, high) == pytest.approx((0.25 - 0.06, 0.25 + 0.06), abs=0.01)


def test_perceptual_score_by_hand():
    full = pd.Series([1.0, 1, 1, 0])
    assert perceptual_score(full, pd.Series([0.0, 0, 0, 0])) == 1
    assert perceptual_score(full, full) == 0
    permuted = pd.Series([1.0, 0, 0, 0])
    assert perceptual_score(full, permuted) == pytest.approx((0.75 - 0.25) / 0.75)
    assert np.isnan(perceptual_score(0 * full, full))
