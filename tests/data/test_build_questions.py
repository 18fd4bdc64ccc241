"""Questions of data/stamps equal those that the script makes."""

import runpy
from itertools import islice

import pytest

from pidlib.benchmarks import stamps


@pytest.fixture(scope="module")
def script():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(stamps.FOLDER))
        return runpy.run_path(str(stamps.FOLDER / "build_questions.py"))


@pytest.fixture(scope="module")
def things():
    header, *rows = (line.split(",") for line in open(stamps.FOLDER / "things.csv"))
    return [dict(zip(map(str.strip, header), map(str.strip, row), strict=True)) for row in rows]


@pytest.mark.parametrize("task", stamps.TASKS)
@pytest.mark.parametrize("split", ["train", "test"])
def test_committed_questions_are_those_of_the_script(script, things, task, split):
    committed = [row[3:] for row in stamps._questions() if row[1:3] == (task, split)]
    assert len(committed) == script["SIZES"][split]
    made = islice(script["questions"](things, task, split), len(committed))
    assert committed == list(made)


def test_pictures_of_a_kind_take_turns(script, things):
    made = script["questions"](things, "category", "test")
    shown = [stamp for stamp, _, answer in islice(made, 300) if answer == "plant"]
    plants = {x["stamp_id"] for x in things if (x["kind"], x["split"]) == ("plant", "test")}
    assert set(shown[: len(plants)]) == plants and len(plants) == 12


def test_no_noun_or_name_is_in_two_splits(things):
    for what in ("noun", "name", "stamp_id"):
        parts = [{x[what] for x in things if x["split"] == split} for split in ("train", "test")]
        assert not (parts[0] & parts[1]) - {""}
    assert {x["kind"] for x in things} == set(stamps.KINDS)
