"""The public functions: names(), load() and truth()."""

import dataclasses

import numpy as np
import pandas as pd
import pytest

from pidlib.benchmarks import SPLITS, canonical, check_available, load, names, revision, truth
from pidlib.decomposition import pid

PAIRS = tuple(name for name in names("pairs") if name.startswith("micro/"))
BENCHMARKS = names("pictures") + PAIRS
MICRO = [name for name in BENCHMARKS if name.startswith("micro/")]
RESIDUAL = -0.95 * np.log2(0.95) - 0.05 * np.log2(
    0.05 / 3
)  # conditional entropy given a caption, bits
PRIOR = 1 + 0.8 * np.log2(0.8) + 0.2 * np.log2(0.2)  # information in a relation word, bits
THREE = np.log2(3)
SHARED = (1 + 0.9 * np.log2(0.9) + 0.1 * np.log2(0.1)) * 2 / 3  # two of three shapes have a side

# redundancy, unique to vision, unique to language, synergy: closed forms; existence by Clarabel
ATOMS = {
    ("micro/grounding", "masked"): (0, 0, 0, 2),
    ("micro/grounding", "resampled"): (0, 0, 0, 2),
    ("micro/knowledge", "masked"): (0, 0, 2, 0),
    ("micro/knowledge", "resampled"): (0, 0, 2, 0),
    ("micro/scene", "masked"): (0, 2, 0, 0),
    ("micro/scene", "resampled"): (0, 2, 0, 0),
    ("micro/relation", "masked"): (0, 0, PRIOR, 1 - PRIOR),
    ("micro/relation", "resampled"): (0, 0, 0, 1),
    ("micro/captioned", "masked"): (2 - RESIDUAL, RESIDUAL, 0, 0),
    ("micro/captioned", "resampled"): (0, 2, 0, 0),
    ("micro/pair", "masked"): (0, THREE, 1, 0),
    ("micro/pair", "resampled"): (0, THREE, 1, 0),
    ("micro/pair_shared", "masked"): (SHARED, THREE - SHARED, 1 - SHARED, 0),
    ("micro/pair_shared", "resampled"): (0, THREE, 1, 0),
    ("micro/existence", "masked"): (0.153561, 0.252996, 0, 0.593443),
    ("micro/existence", "resampled"): (0.088105, 0.077206, 0, 0.805639),
}


def _information(table) -> float:
    product = table.sum(1, keepdims=True) * table.sum(0, keepdims=True)
    return float((table[table > 0] * np.log2(table[table > 0] / product[table > 0])).sum())


@pytest.mark.parametrize("benchmark", BENCHMARKS)
@pytest.mark.parametrize("split", SPLITS)
def test_samples_are_complete(benchmark, split):
    samples = load(benchmark, split, n=24)
    assert len({sample.sample_id for sample in samples}) == len(samples) == 24
    for sample in samples:
        assert sample.sample_id.startswith(f"{benchmark}/{split}/")
        assert (sample.benchmark, sample.split, sample.candidates) == (
            benchmark,
            split,
            samples[0].candidates,
        )
        assert sample.answer in sample.candidates and all(
            word == word.lower() and " " not in word for word in sample.candidates
        )
        assert sample.question.endswith("?") and sample.question == sample.question.lower()
        assert (
            sample.image.size == (64, 64)
            and sample.image.mode == "RGB"
            and sample.video is sample.audio is None
        )
    assert load(benchmark, split, n=10) == samples[:10]


def test_samples_are_frozen_and_have_a_short_repr():
    (sample,) = load("micro/scene", "test", n=1)
    with pytest.raises(dataclasses.FrozenInstanceError):
        sample.answer = "night"
    assert "image" not in repr(sample)


@pytest.mark.parametrize(("benchmark", "mode"), ATOMS)
def test_truth_has_the_known_atoms(benchmark, mode):
    result = pid(truth(benchmark, mode))
    atoms = (result.redundancy, result.unique["vision"], result.unique["language"], result.synergy)
    assert atoms == pytest.approx(ATOMS[benchmark, mode], abs=1e-5)


@pytest.mark.parametrize("benchmark", MICRO)
def test_only_pairs_tell_the_definition_from_the_smaller_information(benchmark):
    """With R = min(I1, I2) the smaller unique atom is 0, as it is in all tasks but the pairs."""
    joint = truth(benchmark)
    shortcut = min(_information(joint.sum(1)), _information(joint.sum(0)))
    actual = pid(joint)
    if benchmark in PAIRS:
        assert min(actual.unique.values()) > 0.3 and shortcut - actual.redundancy > 0.6
    else:
        assert actual.redundancy == pytest.approx(shortcut, abs=1e-5)


@pytest.mark.parametrize("mode", ["masked", "resampled"])
def test_existence_has_every_kind_of_information(mode):
    joint = truth("micro/existence", mode)
    result = pid(joint)
    assert result.redundancy + result.unique["vision"] == pytest.approx(
        _information(joint.sum(1)), abs=1e-6
    )
    assert result.redundancy + result.unique["language"] == pytest.approx(
        _information(joint.sum(0)), abs=1e-6
    )
    assert result.total == pytest.approx(_information(joint.reshape(-1, 2)), abs=1e-6)
    assert (
        min(
            result.unique["vision"] + result.redundancy,
            result.unique["language"] + result.redundancy,
            result.synergy,
        )
        > 0.05
    )


def test_existence_has_its_prior_and_its_lure():
    joint = truth("micro/existence")
    assert joint.sum((0, 1)) == pytest.approx([0.5, 0.5])
    given_question = joint.sum(0)
    assert given_question[:, 0] / given_question.sum(1) == pytest.approx([0.8, 0.6, 0.4, 0.2])


@pytest.mark.parametrize("benchmark", MICRO)
def test_truth_is_a_law_with_certain_answers(benchmark):
    masked, resampled = truth(benchmark, "masked"), truth(benchmark, "resampled")
    for joint in (masked, resampled):
        assert (
            joint.dtype == np.float64
            and joint.sum() == pytest.approx(1, abs=1e-12)
            and joint.min() >= 0
        )
        assert ((joint > 0).sum(-1) <= 1).all()
        assert joint.shape[-1] == len(load(benchmark, "test", n=1)[0].candidates)
    assert resampled.sum((1, 2)) == pytest.approx(masked.sum((1, 2))) and resampled.sum(
        (0, 2)
    ) == pytest.approx(masked.sum((0, 2)))
    assert _information(resampled.sum(2)) == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ("micro/groundin", "test"),
            "unknown benchmark 'micro/groundin'; did you mean 'micro/grounding'",
        ),
        (("scene", "test"), "did you mean 'micro/scene'"),
        (("micro/scene", "val"), "unknown split 'val'; did you mean 'validation'"),
        (("micro/scene", "test", -1), "give n >= 0"),
    ],
)
def test_unknown_names_are_refused_with_the_nearest(arguments, message):
    with pytest.raises(ValueError, match=message):
        load(*arguments)


@pytest.mark.parametrize("ask", [load, check_available, revision, canonical])
def test_a_file_instead_of_a_name_is_answered_with_the_name_of_its_table(ask, tmp_path):
    (tmp_path / "cars.xlsx").write_text("x")
    for file in (
        "cars.csv",
        "my data/cars.JSONL",
        tmp_path / "cars.parquet",
        tmp_path / "cars.xlsx",
    ):
        with pytest.raises(ValueError, match=f"unknown benchmark .*; did you mean 'table:{file}'"):
            ask(file)
    with pytest.raises(ValueError, match="got a DataFrame instead of .* use pidlib.load_table"):
        ask(pd.DataFrame())


def test_names_by_kind():
    assert names("clips")[0] == "micro_av/audio" and names("prior")[0] == "prior/25"
    kinds = ("pictures", "prior", "clips", "pairs", "stamps", "external")
    assert sorted(names()) == sorted(name for kind in kinds for name in names(kind))
    assert set(names("hub")) < set(names("external"))
    with pytest.raises(ValueError, match="did you mean 'clips'"):
        names("clip")


def test_truth_errors():
    with pytest.raises(KeyError, match="benchmarks with a truth: micro/grounding"):
        truth("easy_vqa/shape")
    with pytest.raises(ValueError, match="did you mean 'masked'"):
        truth("micro/scene", "mask")


@pytest.mark.parametrize("name", BENCHMARKS)
def test_options_list_the_candidates_after_the_question(name):
    (plain,), (listed,) = load(name, "test", 1), load(name, "test", 1, options=True)
    assert plain.options == "" and plain.text == plain.question
    assert (
        listed.text == f"{listed.question}\n{listed.options}"
        and dataclasses.replace(listed, options="") == plain
    )
    words = listed.options.removesuffix("?").replace(",", " ").split()
    assert [word for word in words if word != "or"] == list(listed.candidates)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"answer": "up"}, "micro/scene/test/00000: the answer 'up' is not one of meadow, night"),
        ({"split": "tets"}, "split 'tets' is not one of train"),
    ],
)
def test_sample_checks_its_fields(change, message):
    (sample,) = load("micro/scene", "test", n=1)
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(sample, **change)
