"""Each data set of the hub, from small parquet files of the same schema, without network."""

import io
import re

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hub.rows import ROWS, SIZE, encoded, stored, write
from PIL import Image

from pidlib import benchmarks, models
from pidlib.benchmarks import hub, names
from pidlib.benchmarks.hub_sources import N_OPEN_ANSWERS, TASKS
from pidlib.experiments import decision_profiles, extractions, style
from pidlib.experiments.preset import load_preset
from pidlib.extraction import extract
from pidlib.training.tiny import build

COMMIT = "0123456789abcdef0123456789abcdef01234567"
MANY = 400  # rows of a table with pictures in every split


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    hub._read.cache_clear()


LETTER = "\nAnswer with the letter of the right option."
YES_NO, TRUE_FALSE = "Yes or No?", "True or False?"
FIRST = {  # of row 1: question, answer, candidates, options
    "mmbench": ("look\nwhat is 1?", "B", tuple("ABCD"), "A. one\nB. two\nC. three" + LETTER),
    "mmstar": ("which 1?", "D", tuple("ABCD"), "A: one, B: two, C: three, D: four" + LETTER),
    "pope": ("Is there a 1?", "No", ("Yes", "No"), YES_NO),
    "mmmu": ("<image 1> why 1?", "B", tuple("ABCD"), "A. one\nB. two" + LETTER),
    "pmc_vqa": (
        "what 1?",
        "C",
        tuple("ABCD"),
        "A. stain a\nB. stain b\nC. stain c\nD. stain d" + LETTER,
    ),
    "reefknot": (
        "Is the dog on bear in this photo? Please answer yes or no.",
        "Yes",
        ("Yes", "No"),
        YES_NO,
    ),
    "gqa": ("what colour 1?", "Dark red", ("Blue", "Dark red"), "Blue or Dark red?"),
    "nlvr2": (
        "Is this true or false of the two pictures? There are 1 dogs.",
        "False",
        ("True", "False"),
        TRUE_FALSE,
    ),
    "foil": (
        "Is this caption true or false? A dog and 1 cats.",
        "False",
        ("True", "False"),
        TRUE_FALSE,
    ),
    "scienceqa": ("which 1?", "B", tuple("ABCDE"), "A. one\nB. two\nC. three" + LETTER),
}


def everything(name: str) -> dict[str, benchmarks.Sample]:
    found = {}
    for split in benchmarks.SPLITS:
        try:
            samples = benchmarks.load(name, split)
        except ValueError as error:
            if "has no questions" not in str(error):
                raise
            continue
        found |= {item.sample_id[-6:]: item for item in samples}
    return found


def test_every_source_has_a_fixture_and_a_name():
    assert (
        set(ROWS)
        == set(TASKS)
        == set(style.HUB_NAMES)
        == {name.removeprefix("hub/") for name in names("hub")}
    )
    assert [style.benchmark_name(name) for name in ("hub/pmc_vqa", "easy_vqa/yes_no")] == [
        "PMC-VQA",
        "easy-VQA: yes/no",
    ]


@pytest.mark.filterwarnings("ignore:.*are left out")
@pytest.mark.parametrize("task", ROWS)
def test_rows_become_samples(task, tmp_path):
    samples = everything(stored(tmp_path, task))
    assert samples and (task in ("vqav2", "scienceqa") or len(samples) == SIZE)
    for item in samples.values():
        assert item.benchmark == f"hub/{task}" and item.sample_id.startswith(
            f"hub/{task}/{item.split}/"
        )
        assert item.answer in item.candidates and item.image.mode == "RGB"
        row = int(item.sample_id[-6:])
        shown = row // 2 if task in ("pope", "gqa") else row
        assert item.image.getpixel((0, 0)) == (shown, 0, 50)
    assert len({item.candidates for item in samples.values()}) == 1
    if task in FIRST:
        first = samples["000001"]
        assert (first.question, first.answer, first.candidates, first.options) == FIRST[task]
        assert first.template == ROWS[task](1).get(TASKS[task].template, task)


def test_two_pictures_are_placed_side_by_side(tmp_path):
    image = everything(stored(tmp_path, "nlvr2"))["000003"].image
    assert image.size == (13, 6) and image.getpixel((4, 0)) == (3, 0, 50)


def test_no_picture_is_in_two_splits_and_the_seed_orders(tmp_path):
    name = stored(tmp_path, "pope", MANY)
    by_split = {split: benchmarks.load(name, split) for split in benchmarks.SPLITS}
    shown = {
        split: {item.image.tobytes() for item in samples} for split, samples in by_split.items()
    }
    assert (
        not shown["train"] & shown["test"]
        and not shown["validation"] & shown["test"]
        and not shown["train"] & shown["validation"]
    )
    assert sum(map(len, by_split.values())) == MANY and 0.4 < len(by_split["test"]) / MANY < 0.6
    test = by_split["test"]
    assert (
        benchmarks.load(name, "test", 10) == test[:10] != benchmarks.load(name, "test", 10, seed=1)
    )
    with pytest.warns(
        UserWarning, match=rf"hub/pope test has {len(test)} questions, fewer than 999: all are used"
    ):
        assert benchmarks.load(name, "test", 999) == test


def test_open_answers_are_the_most_frequent_with_a_warning(tmp_path):
    frequent = ("yes", "yes", "no", "red")
    rows = [ROWS["vqav2"](i) | {"multiple_choice_answer": frequent[i % 4]} for i in range(MANY)]
    rows += [
        ROWS["vqav2"](MANY + i) | {"multiple_choice_answer": f"rare {i % 40}"} for i in range(MANY)
    ]
    name = write(tmp_path, "vqav2", rows)
    with pytest.warns(
        UserWarning,
        match=r"hub/vqav2 test: [34]\d% of the questions are left out.* not among Yes, No, Red",
    ):
        samples = benchmarks.load(name, "test")
    assert len(samples[0].candidates) == N_OPEN_ANSWERS and {
        item.answer for item in samples
    } <= set(samples[0].candidates)


def test_an_empty_split_is_refused(tmp_path):
    with pytest.raises(ValueError, match="hub/pope@.* has no questions in (train|test)"):
        for split in ("train", "test"):  # one picture is in one split
            benchmarks.load(write(tmp_path, "pope", [ROWS["pope"](0)]), split)


def test_excluded_rows_are_left_out(tmp_path):
    mmbench = [
        ROWS["mmbench"](i) | {"index": i + 10**6 * (i % 2)} for i in range(SIZE)
    ]  # half of them with turned options
    assert len(everything(write(tmp_path / "a", "mmbench", mmbench))) == SIZE // 2
    odd = [
        {"question_type": "open"},
        {"question": "<image 1> or <image 2>?"},
        {"options": str(list("abcde")), "answer": "E"},
        {},
    ]
    mmmu = [ROWS["mmmu"](i) | item for i, item in enumerate(odd)]
    assert set(everything(write(tmp_path / "b", "mmmu", mmmu))) == {"000003"}


@pytest.mark.parametrize("options", ["['one', 'two'", "'one'", "['one', 2]", "one, two"])
def test_malformed_options_name_their_row(options, tmp_path):
    rows = [ROWS["mmmu"](i) | ({"options": options} if i == 2 else {}) for i in range(4)]
    with pytest.raises(
        ValueError, match="row 2 of hub/mmmu: its options .* are no list of strings"
    ):
        benchmarks.load(write(tmp_path, "mmmu", rows), "test")


@pytest.mark.parametrize("task", ROWS)
def test_wrong_columns_are_refused(task, tmp_path):
    lost = list(ROWS[task](1))[1]
    rows = [
        {"other" if key == lost else key: value for key, value in ROWS[task](i).items()}
        for i in range(SIZE)
    ]
    stored(tmp_path, task)
    name = write(tmp_path, task, rows)
    with pytest.raises(ValueError, match=rf"hub/{task}: unknown column '{lost}'.* known: .*other"):
        benchmarks.load(name, "test")


@pytest.mark.parametrize(
    ("task", "wrong"),
    [("mmbench", {"answer": "D"}), ("pope", {"answer": "maybe"}), ("scienceqa", {"answer": 4})],
)
def test_answer_outside_the_options_names_its_row(task, wrong, tmp_path):
    rows = [ROWS[task](i) | (wrong if i == 5 else {}) for i in range(SIZE)]
    with pytest.raises(
        ValueError, match=rf"row 5 of hub/{task}: its answer .* is none of its options"
    ):
        benchmarks.load(write(tmp_path, task, rows), "test")


def drawing() -> dict:
    buffer = io.BytesIO()
    image = Image.new("RGBA", (8, 4), (0, 0, 0, 0))
    image.putpixel((3, 3), (0, 0, 0, 255))
    turned = Image.Exif()
    turned[0x0112] = 6
    image.save(buffer, "PNG", exif=turned)
    return {"bytes": buffer.getvalue(), "path": None}


def test_pictures_are_upright_and_on_white(tmp_path):
    rows = [ROWS["pope"](i) | {"image": drawing()} for i in range(2)]
    image = everything(write(tmp_path, "pope", rows))["000000"].image
    assert image.size == (4, 8) and image.getpixel((0, 0)) == (255, 255, 255)
    assert image.getpixel((0, 3)) == (0, 0, 0)


@pytest.mark.parametrize("task", ["pope", "mmstar", "nlvr2"])
@pytest.mark.parametrize(
    ("image", "fault"),
    [
        ({"bytes": b"no picture", "path": None}, "cannot identify image file"),
        ({"bytes": drawing()["bytes"][:-30], "path": None}, "the picture cannot be read"),
        ({"bytes": None, "path": "photo.png"}, "does not contain the picture .*photo.png"),
    ],
)
def test_unreadable_picture_names_its_row(task, image, fault, tmp_path):
    column = TASKS[task].images[-1]
    rows = [ROWS[task](i) | ({column: image} if i == 1 else {}) for i in range(4)]
    with pytest.raises(ValueError, match=rf"row 1 of hub/{task}, column {column}: .*{fault}"):
        name = write(tmp_path, task, [ROWS[task](0)])
        (path,) = (path for path in tmp_path.rglob("*.parquet"))
        pq.write_table(pa.Table.from_pylist(rows), path)
        everything(name)


@pytest.mark.parametrize(
    ("task", "column"),
    [("pope", "answer"), ("pope", "question"), ("mmbench", "question"), ("nlvr2", "answer")]
    + [("nlvr2", "question"), ("foil", "foil"), ("scienceqa", "answer"), ("mmmu", "options")]
    + [("vqav2", "multiple_choice_answer"), ("gqa", "answer"), ("pmc_vqa", "question")],
)
def test_missing_cell_names_its_row(task, column, tmp_path):
    rows = [ROWS[task](i) | ({column: None} if i == 1 else {}) for i in range(4)]
    stored(tmp_path, task, 4)
    with pytest.raises(ValueError, match=f"row 1 of hub/{task}: its .*None"):
        everything(write(tmp_path, task, rows))


def test_empty_cells_of_numbers_are_no_text(tmp_path):
    missing = {"hint": float("nan"), "C": float("nan"), "D": None}
    rows = [ROWS["mmbench"](i) | missing for i in range(SIZE)]
    samples = everything(write(tmp_path, "mmbench", rows)).values()
    assert not any("nan" in sample.text for sample in samples)
    assert {sample.options.count("\n") for sample in samples} == {2}


def test_rows_without_the_name_of_their_picture_are_kept(tmp_path):
    rows = [ROWS["pope"](i) | ({"image_source": None} if i < 3 else {}) for i in range(SIZE)]
    samples = everything(write(tmp_path, "pope", rows))
    assert len(samples) == SIZE
    assert len({samples[f"{i:06d}"].split for i in range(3)}) == 1


def test_options_that_are_no_list_name_their_row(tmp_path):
    rows = [ROWS["scienceqa"](i) | {"choices": "one, two"} for i in range(1, 4)]
    with pytest.raises(ValueError, match="row 0 of hub/scienceqa: its choices 'one, two' are no"):
        benchmarks.load(write(tmp_path, "scienceqa", rows))


def test_a_damaged_file_is_named(tmp_path):
    name = stored(tmp_path, "pope")
    (path,) = tmp_path.rglob("*.parquet")
    whole = path.read_bytes()
    for content in (whole[:-100], b"version https://git-lfs.github.com/spec/v1\n"):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=rf"{path} cannot be read .*; download it again"):
            benchmarks.load(name)


def test_missing_files_and_pictures_are_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="no data/test-.*.parquet in"):
        benchmarks.load(f"hub/pope@{tmp_path}", "test")
    write(tmp_path, "gqa", [{"id": "n0", "image": encoded(0)}], TASKS["gqa"].pictures)
    write(tmp_path, "gqa", [ROWS["gqa"](i) for i in range(SIZE)])
    lost = "row 2 of hub/gqa: its picture 'n1' is not in testdev_balanced_images/testdev-.*;"
    with pytest.raises(ValueError, match=lost):
        benchmarks.load(f"hub/gqa@{tmp_path}", "test")


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        (
            "hub/mmbench",
            "a commit of lmms-lab/MMBench, hub/mmbench@FOLDER .* or allow_unpinned",
        ),
        ("hub/mmbench@main", "is without commit or folder, 'main'; give hub/mmbench@<40 hex>"),
        ("hub/foil", "give hub/foil@FOLDER with the files test-"),
        (f"hub/foil@{COMMIT}", "give hub/foil@FOLDER"),
        ("hub/mmbenhc", "unknown benchmark 'hub/mmbenhc'; did you mean 'hub/mmbench'"),
        (f"micro/scene@{COMMIT}", "did you mean 'micro/scene'"),
    ],
)
def test_unpinned_data_set_is_refused(name, hint):
    for ask in (benchmarks.check_available, lambda name: benchmarks.load(name, "test", 1)):
        with pytest.raises(ValueError, match=hint):
            ask(name)


def test_commit_folder_or_newest_is_resolved(tmp_path):
    mmbench = hub.origin("mmbench")
    assert hub.resolve(*mmbench, COMMIT, False) == (None, COMMIT)
    assert hub.resolve(*mmbench, "", True) == (None, None)
    assert hub.resolve(*mmbench, str(tmp_path), False) == (tmp_path, None)


def test_commit_is_read_from_the_cache_of_the_hub(tmp_path, monkeypatch):
    stored(tmp_path / "datasets--lmms-lab--POPE" / "snapshots" / COMMIT, "pope")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert len(everything(f"hub/pope@{COMMIT}")) == SIZE


def test_the_revision_is_the_commit_or_the_hash_of_the_files(tmp_path, monkeypatch):
    name = stored(tmp_path / "mine", "pope")
    before = benchmarks.revision(name)
    write(tmp_path / "mine", "pope", [ROWS["pope"](i) for i in range(SIZE + 1)])
    hub._read.cache_clear()
    assert len(before) == 16 and benchmarks.revision(name) != before
    stored(tmp_path / "datasets--lmms-lab--POPE" / "snapshots" / COMMIT, "pope")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert benchmarks.revision(f"hub/pope@{COMMIT}") == COMMIT
    assert benchmarks.revision("micro/scene") == ""


def test_unpinned_data_set_stops_a_run_before_any_model_is_loaded():
    preset = load_preset("smoke", benchmarks="micro/scene,hub/pope")
    with pytest.raises(ValueError, match="hub/pope is without commit or folder, ''; give"):
        next(extractions.extract_all(preset, decision_profiles.request(preset)))


def test_extraction_on_a_data_set_of_the_hub(tmp_path):
    samples = benchmarks.load(stored(tmp_path, "mmbench"), "test")
    words = {
        word
        for item in samples
        for word in re.findall(
            r"\w+|[^\w\s]", f"{item.question} {item.options} {' '.join(item.candidates)}"
        )
    }
    model, processor = build("llava", sorted(words), "tiny")
    model.save_pretrained(tmp_path / "model")
    processor.save_pretrained(tmp_path / "model")
    answers = extract(
        models.load_model(tmp_path / "model", device="cpu"),
        samples,
        passes=("vision+language",),
        progress=False,
    )
    assert answers.candidates == tuple("ABCD") and answers.decisions(tau=0).shape == (
        len(samples),
        4,
    )


def test_preset_accepts_pinned_and_unpinned_names():
    given = ("hub/mmbench", f"hub/pope@{COMMIT}", "hub/foil@data/foil")
    assert load_preset("smoke", benchmarks=",".join(given)).benchmarks == given
    with pytest.raises(ValueError, match="unknown benchmark 'hub/popes'; did you mean 'hub/pope'"):
        load_preset("smoke", benchmarks="hub/popes")
