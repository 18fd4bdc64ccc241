"""Questions about stamps: complete, balanced, without priors that a task excludes."""

import csv
import hashlib
from collections import Counter, defaultdict
from functools import cache

import pytest

from pidlib.benchmarks import load, names, stamps

NAMES = names("stamps")
with open(stamps.FOLDER / "things.csv", encoding="utf-8") as file:
    THINGS = list(csv.DictReader(file))
KIND = {row["stamp_id"].replace("/", "."): row["kind"] for row in THINGS}


@cache
def of(name):
    return load(name)


@pytest.mark.parametrize("name", NAMES)
def test_samples_are_complete_and_repeatable(name):
    samples = of(name)
    assert samples[:30] == load(name, "test", 30) != load(name, "test", 30, 1)
    assert {s.sample_id for s in samples} == {s.sample_id for s in load(name, seed=1)}
    assert len({sample.sample_id for sample in samples}) == len(samples) == 360
    assert {sample.candidates for sample in samples} == {stamps.TASKS[name.split("/")[1]]}
    assert samples[0].image.size == (160, 160) and samples[0].image.mode == "RGB"
    with pytest.raises(ValueError, match="has 360 samples"):
        load(name, n=361)


@pytest.mark.parametrize("name", NAMES)
def test_answers_are_balanced(name):
    counts = Counter(sample.answer for sample in of(name))
    assert counts == dict.fromkeys(of(name)[0].candidates, 360 // len(counts))


def prior(name, key):
    """The accuracy of the likeliest answer to each key, and its bias upwards."""
    counts = defaultdict(Counter)
    for sample in of(name):
        counts[key(sample)][sample.answer] += 1
    return sum(max(each.values()) for each in counts.values()) / 360


def kind(sample):
    return KIND[vars(sample)["image"].stem]


def noun(sample):
    """The kind of the thing that a question names."""
    named = sorted((row for row in THINGS if row["name"]), key=lambda row: -len(row["name"]))
    return next((row["kind"] for row in named if f" {row['name']}" in sample.question), "")


def stated(sample):
    """The kind that a question states."""
    text = sample.question.split("?")[0].split(".")[0]
    return next((k for k, v in stamps.KINDS.items() if text.endswith(v)), "")


def words(sample):
    """What the words of a question tell: whether its statement is true, or the kind they name."""
    a, b = noun(sample), stated(sample)
    return a == b if a and b else a or b


# accuracy of an ideal answerer with the words alone, and with the picture alone
PRIORS = {
    "category": (1 / 6, 1),
    "both": (1 / 2, 1 / 2),
    "knowledge": (1, 1 / 2),
    "captioned": (1, 1),
    "naming": (1 / 2, 1 / 2),
    "pair": (1 / 3, 1 / 2),
    "captioned_80": (0.8, 1),
    "captioned_17": (1 / 6, 1),
}


@pytest.mark.parametrize("name", NAMES)
def test_priors_of_words_and_of_pictures_are_as_designed(name):
    by_words, by_picture = PRIORS[name.split("/")[1]]
    # The likeliest of several answers is above chance in a sample.
    assert -0.01 < prior(name, words) - by_words < 0.08
    assert -0.01 < prior(name, kind) - by_picture < 0.08


def test_the_kind_in_a_statement_tells_nothing():
    assert prior("stamps/knowledge", stated) < 0.58 and prior("stamps/pair", stated) < 0.25


@pytest.mark.parametrize("task", ["both", "pair", "naming", "captioned", "captioned_17"])
def test_both_inputs_suffice(task):
    assert prior(f"stamps/{task}", lambda sample: (kind(sample), words(sample))) == 1


def test_test_pictures_have_their_checksums():
    folder = stamps.PICTURES["test"]
    lines = (folder / "SHA256SUMS").read_text().splitlines()
    sums = {name: digest for digest, name in map(str.split, lines)}
    found = {path.name: path.read_bytes() for path in folder.glob("*.webp")}
    assert {name: hashlib.sha256(data).hexdigest() for name, data in found.items()} == sums
    needed = {stamps.picture_file(x["stamp_id"], "test") for x in THINGS if x["split"] == "test"}
    assert {path.name for path in needed} == set(sums) and sum(map(len, found.values())) < 6e5


def test_missing_pictures_are_reported_with_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setitem(stamps.PICTURES, "train", tmp_path)
    with pytest.raises(FileNotFoundError, match="5 pictures are missing.*make real-pictures"):
        load("stamps/both", "train", 5)
    with pytest.raises(ValueError, match="stamps/both validation has 0 samples"):
        load("stamps/both", "validation")


def test_expectations_name_atoms_of_every_task():
    with open(stamps.FOLDER / "expected.csv") as file:
        rows = list(csv.DictReader(file))
    tasks = {task for task in stamps.TASKS if "_" not in task}
    modes = ("masked", "resampled")
    assert {(x["task"], x["unimodal"]) for x in rows} == {(a, b) for a in tasks for b in modes}
    atoms = {"redundancy", "unique_vision", "unique_language", "synergy"}
    assert all(set() < set(row["atoms"].split()) < atoms for row in rows)
