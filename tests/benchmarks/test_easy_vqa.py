"""easy-VQA: the questions of the package, in three tasks and three splits."""

import json
from importlib.resources import files

import pytest

from pidlib.benchmarks import easy_vqa, load
from pidlib.benchmarks.sample import SPLITS

SIZES = {("yes_no", "train"): 25560, ("yes_no", "validation"): 2847, ("yes_no", "test"): 7136}
SIZES |= {("shape", "train"): 4515, ("shape", "validation"): 487, ("shape", "test"): 1257}
SIZES |= {("color", "train"): 4626, ("color", "validation"): 540, ("color", "test"): 1280}


@pytest.fixture(scope="module")
def everything():
    return {
        (task, split): load(f"easy_vqa/{task}", split)
        for task in easy_vqa.TASKS
        for split in SPLITS
    }


def test_every_question_of_the_package_is_in_one_task_and_split(everything):
    assert {name: len(samples) for name, samples in everything.items()} == SIZES
    assert sum(SIZES.values()) == 48248
    ids = {sample.sample_id for samples in everything.values() for sample in samples}
    assert len(ids) == 48248


def test_samples_are_the_rows_of_the_package(everything):
    for (task, split), samples in everything.items():
        folder = "test" if split == "test" else "train"
        rows = json.loads(files("easy_vqa").joinpath("data", folder, "questions.json").read_text())
        for sample in samples[:50]:
            question, answer, _ = rows[int(sample.sample_id.rsplit("/", 1)[1])]
            assert (sample.question, sample.answer, sample.candidates) == (
                question,
                answer,
                easy_vqa.TASKS[task],
            )
            assert (
                sample.answer in sample.candidates
                and sample.benchmark == f"easy_vqa/{task}"
                and sample.split == split
            )


def test_no_image_is_in_two_splits(everything):
    images = {
        split: {
            sample.image.tobytes() for task in easy_vqa.TASKS for sample in everything[task, split]
        }
        for split in SPLITS
    }
    assert {split: len(actual) for split, actual in images.items()} == {
        "train": 3594,
        "validation": 406,
        "test": 1000,
    }
    assert not (
        images["train"] & images["validation"]
        or images["train"] & images["test"]
        or images["validation"] & images["test"]
    )


def test_templates_are_forms_of_questions(everything):
    for task, forms in {"yes_no": 16, "shape": 4, "color": 4}.items():
        templates = {sample.template for split in SPLITS for sample in everything[task, split]}
        assert len(templates) == forms
        words = set(" ".join(templates).replace("?", "").split())
        assert not words & {*easy_vqa.TASKS["shape"], *easy_vqa.TASKS["color"]}
    assert {
        s.template for s in everything["shape", "test"] if s.question == "what is the red shape?"
    } == {"what is the <color> shape?"}


def test_smaller_n_is_a_prefix_and_the_seed_orders(everything):
    name = "easy_vqa/color"
    assert load(name, "test", 20) == everything["color", "test"][:20]
    other = load(name, "test", 20, seed=1)
    assert {s.sample_id for s in other} != {s.sample_id for s in load(name, "test", 20)}
    assert {s.sample_id for s in other} <= {s.sample_id for s in everything["color", "test"]}


def test_images_are_read_only_when_chosen():
    easy_vqa._image.cache_clear()
    load("easy_vqa/yes_no", "validation", 5)
    assert easy_vqa._image.cache_info().currsize <= 5


def test_too_many_samples_are_refused():
    with pytest.raises(ValueError, match="which has 1257; give a smaller n"):
        load("easy_vqa/shape", "test", 1258)
