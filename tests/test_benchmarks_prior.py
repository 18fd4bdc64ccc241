"""A prior of known strength: the caption is right as often as the task's name says, the rest is as in micro's captioned."""

import math

import pytest
from scipy.stats import binomtest

from pidlib.benchmarks import PRIOR, SPLITS, load, micro, prior, truth
from pidlib.decomposition import pid
from pidlib.experiment import derive_seed

N = 1000


def claimed(sample):
    return sample.question.split()[3].removesuffix(".")


@pytest.mark.parametrize("task", prior.TASKS)
def test_the_caption_is_right_as_often_as_the_name_says(task):
    right = sum(claimed(one) == one.answer for one in load(f"prior/{task}", "train", N, seed=3))
    assert binomtest(right, N, int(task) / 100).pvalue > 1e-3


def test_the_picture_shows_the_answer():
    for sample, picture in micro.drawn("prior", prior.TASKS["80"], "test", 100):
        assert picture.items[0].color == sample.answer and sample.benchmark == "prior/80"


@pytest.mark.parametrize("name", PRIOR)
def test_the_truth_is_that_of_a_caption_which_is_right_so_often(name):
    agrees = int(name.removeprefix("prior/")) / 100
    missing = -agrees * math.log2(agrees) - (1 - agrees) * math.log2((1 - agrees) / 3)  # bits the caption leaves open
    atoms = pid(truth(name)).atoms
    expected = {"redundancy": 2 - missing, "unique_vision": missing, "unique_language": 0, "synergy": 0}
    assert atoms == pytest.approx(expected, abs=1e-9)
    assert pid(truth(name, "resampled")).atoms["unique_vision"] == pytest.approx(2, abs=1e-9)


def test_ids_and_pictures_are_those_of_no_other_split_or_source():
    sets = {split: load("prior/80", split, 200, seed) for split, seed in zip(SPLITS, (5, 0, 0), strict=True)}
    ids = [one.sample_id for samples in sets.values() for one in samples]
    ids += [one.sample_id for task in ("25", "90") for one in load(f"prior/{task}", "test", 200)]
    ids += [one.sample_id for one in load("micro/captioned", "test", 200)]
    assert len(set(ids)) == len(ids)
    pictures = {split: {derive_seed(one.image.tobytes()) for one in samples} for split, samples in sets.items()}
    assert not pictures["train"] & pictures["test"] and not pictures["train"] & pictures["validation"]


def test_samples_are_a_prefix_of_more_samples():
    assert load("prior/90", "validation", 8, seed=2) == load("prior/90", "validation", 16, seed=2)[:8]
