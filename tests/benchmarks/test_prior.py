"""Captions that are right with known probability."""

import math

import pytest
from scipy.stats import binomtest

from pidlib._common import derive_seed
from pidlib.benchmarks import SPLITS, load, micro, names, truth
from pidlib.decomposition import pid

N = 1000


def caption_color(sample):
    return sample.question.split()[3].removesuffix(".")


@pytest.mark.parametrize("task", micro.PRIORS)
def test_caption_is_right_as_often_as_the_name_says(task):
    right = sum(
        caption_color(item) == item.answer for item in load(f"prior/{task}", "train", N, seed=3)
    )
    assert binomtest(right, N, int(task) / 100).pvalue > 1e-3


def test_picture_shows_the_answer():
    for sample, picture in micro.generate("80", "test", 100):
        assert picture.items[0].color == sample.answer and sample.benchmark == "prior/80"


@pytest.mark.parametrize("name", names("prior"))
def test_truth_of_a_caption_with_known_accuracy(name):
    agrees = int(name.removeprefix("prior/")) / 100
    missing = -agrees * math.log2(agrees) - (1 - agrees) * math.log2((1 - agrees) / 3)  # bits
    atoms = pid(truth(name)).atoms
    expected = {
        "redundancy": 2 - missing,
        "unique_vision": missing,
        "unique_language": 0,
        "synergy": 0,
    }
    assert atoms == pytest.approx(expected, abs=1e-9)
    assert pid(truth(name, "resampled")).atoms["unique_vision"] == pytest.approx(2, abs=1e-9)


def test_ids_and_pictures_are_in_one_split_and_source():
    sets = {
        split: load("prior/80", split, 200, seed)
        for split, seed in zip(SPLITS, (5, 0, 0), strict=True)
    }
    ids = [item.sample_id for samples in sets.values() for item in samples]
    ids += [item.sample_id for task in ("25", "90") for item in load(f"prior/{task}", "test", 200)]
    ids += [item.sample_id for item in load("micro/captioned", "test", 200)]
    assert len(set(ids)) == len(ids)
    pictures = {
        split: {derive_seed(item.image.tobytes()) for item in samples}
        for split, samples in sets.items()
    }
    assert (
        not pictures["train"] & pictures["test"] and not pictures["train"] & pictures["validation"]
    )


def test_samples_are_a_prefix_of_more_samples():
    assert (
        load("prior/90", "validation", 8, seed=2) == load("prior/90", "validation", 16, seed=2)[:8]
    )
