"""Tables of own questions: formats, candidates, faults by row and column, revisions, clips."""

import json

import datasets
import numpy as np
import pandas as pd
import pytest
from media_files import STEP, write_clip
from PIL import Image

from pidlib import benchmarks
from pidlib.benchmarks import Sample, load_table, table
from pidlib.benchmarks.media import RATE

ROWS = [
    {
        "question": f"is number {i} red?",
        "answer": ("no", "yes")[i % 2],
        "picture": f"photos/{i}.png",
    }
    for i in range(6)
]


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "photos").mkdir()
    for index in range(len(ROWS)):
        Image.new("RGB", (8, 6), (index, 0, 0)).save(tmp_path / f"photos/{index}.png")
    return tmp_path


def write(folder, rows=ROWS, name: str = "cars.csv"):
    """Write rows in the format of the suffix."""
    path, frame = folder / name, pd.DataFrame(rows)
    if path.suffix == ".jsonl":
        path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    elif path.suffix == ".parquet":
        frame.to_parquet(path)
    else:
        frame.to_csv(path, index=False, sep="\t" if path.suffix == ".tsv" else ",")
    return path


def changed(index: int, **cells) -> list[dict]:
    """All rows, one of them with other cells."""
    return [row | (cells if number == index else {}) for number, row in enumerate(ROWS)]


def facts(samples: list[Sample]) -> list[tuple]:
    return [(s.question, s.answer, s.candidates, s.image.getpixel((0, 0))) for s in samples]


EXPECTED = [
    (row["question"], row["answer"], ("no", "yes"), (index, 0, 0)) for index, row in enumerate(ROWS)
]


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".jsonl", ".parquet"])
def test_every_format_gives_the_same_samples(suffix, folder):
    samples = load_table(write(folder, name=f"cars{suffix}"))
    assert facts(samples) == EXPECTED
    assert samples[0].sample_id == f"table:cars{suffix}/000001" and samples[0].split == "test"
    assert {sample.benchmark for sample in samples} == {f"table:cars{suffix}"}


@pytest.mark.parametrize("make", [list, pd.DataFrame, datasets.Dataset.from_list])
def test_rows_in_memory_are_a_table_too(make, folder):
    samples = load_table(make(ROWS), folder=folder, name="cars")
    assert facts(samples) == EXPECTED and samples[0].sample_id == "cars/000001"


def test_encoded_pictures_and_class_labels_of_a_data_set(folder):
    paths = [str(folder / row["picture"]) for row in ROWS]
    kinds = {"question": datasets.Value("string"), "picture": datasets.Image()}
    kinds["answer"] = datasets.ClassLabel(names=["no", "yes"])
    columns = {"question": [row["question"] for row in ROWS], "picture": paths}
    columns["answer"] = [index % 2 for index in range(len(ROWS))]
    data = datasets.Dataset.from_dict(columns, datasets.Features(kinds))
    assert facts(load_table(data)) == EXPECTED
    data.cast_column("answer", datasets.Value("string")).to_parquet(folder / "cars.parquet")
    found = [pixel for *_, pixel in facts(load_table(folder / "cars.parquet"))]
    assert found == [pixel for *_, pixel in EXPECTED]
    rows = [row | {"picture": Image.open(path)} for row, path in zip(ROWS, paths, strict=True)]
    assert facts(load_table(rows)) == EXPECTED


def test_columns_can_have_other_names(folder):
    names = {"question": "prompt", "answer": "label", "picture": "file"}
    rows = [{names[key]: value for key, value in row.items()} | {"id": f"q{i}", "question": "?"}
            for i, row in enumerate(ROWS)]  # fmt: skip
    samples = load_table(write(folder, rows), **names)
    assert facts(samples) == EXPECTED and samples[1].sample_id == "q1"
    with pytest.raises(ValueError, match="unknown column 'answer'; .*known: .*, answer='...'"):
        load_table(folder / "cars.csv")
    with pytest.raises(ValueError, match="unknown column 'fil'; did you mean 'file'"):
        load_table(folder / "cars.csv", **names | {"picture": "fil"})
    with pytest.raises(ValueError, match="unknown column 'pictur'; did you mean 'picture'"):
        load_table(folder / "cars.csv", **names, pictur="file")


def test_candidates_are_given_in_a_column_or_collected(folder):
    for rows, options in (
        (ROWS, {"candidates": ["yes", "no", "unclear"]}),
        ([row | {"candidates": "yes|no|unclear"} for row in ROWS], {}),
        ([row | {"words": '["yes", "no", "unclear"]'} for row in ROWS], {"candidates": "words"}),
    ):
        samples = load_table(write(folder, rows), **options)
        assert {sample.candidates for sample in samples} == {("yes", "no", "unclear")}
        assert not samples[0].options
    many = [row | {"answer": f"word {index}"} for index, row in enumerate(ROWS * 5)]
    with pytest.raises(ValueError, match="'answer': 30 different, 'word 0', .*; give candidates"):
        load_table(write(folder, many))
    assert len(load_table(many, folder=folder, candidates=[f"word {i}" for i in range(30)])) == 30


def test_values_that_look_like_numbers_or_missing_values_stay_text(folder):
    answers = ["NA", "nan", "None", "1", "2.0", "01"]
    rows = [row | {"answer": answer} for row, answer in zip(ROWS, answers, strict=True)]
    assert [sample.answer for sample in load_table(write(folder, rows))] == answers
    frame = pd.DataFrame(ROWS).assign(answer=[1, 2, None, 1, 2, 1])  # floats, for the empty cell
    samples = load_table(frame.dropna(), folder=folder)
    assert samples[0].candidates == ("1", "2")


def test_candidates_can_be_shown_as_words_or_letters(folder):
    path = write(folder)
    assert load_table(path, listed=True)[0].text == "is number 0 red?\nno or yes?"
    samples = load_table(path, lettered=True)
    assert samples[1].options == "A. no\nB. yes\nAnswer with the letter of the right option."
    assert samples[1].candidates == ("A", "B") and samples[1].answer == "B"
    assert benchmarks.load(f"table:{path}", n=1, options=True)[0].options == "no or yes?"


@pytest.mark.parametrize(
    "cell", ["a car|a bus|a tram", '["a car", "a bus", "a tram"]', ["a car", "a bus", "a tram"]]
)
@pytest.mark.parametrize("answer", ["B", "a bus"])
def test_options_of_a_row_are_lettered(cell, answer, folder):
    rows = [row | {"options": cell, "answer": answer} for row in ROWS]
    rows[1] |= {"options": "a cat|a dog", "answer": "a cat"}
    samples = load_table(write(folder, rows, "cars.jsonl"))
    assert samples[0].options.splitlines()[:3] == ["A. a car", "B. a bus", "C. a tram"]
    assert {sample.candidates for sample in samples} == {("A", "B", "C")}
    assert [sample.answer for sample in samples[:2]] == ["B", "A"]


def test_text_without_a_list_is_shown_as_it_is(folder):
    rows = [row | {"options": "Answer with one word."} for row in ROWS]
    samples = load_table(write(folder, rows))
    assert samples[0].text == "is number 0 red?\nAnswer with one word."
    assert samples[0].candidates == ("no", "yes")


@pytest.mark.parametrize(
    ("cells", "column", "fault"),
    [
        ({"question": " "}, "question", "it is empty"),
        ({"answer": None}, "answer", "it is empty"),
        ({"picture": None}, "picture", "give a picture"),
        ({"picture": "photos/none.png"}, "picture", "there is no file .*none.png"),
        ({"picture": "cars.csv"}, "picture", "the picture cannot be read"),
        ({"id": "row 0"}, "id", "'row 0' is repeated"),
        ({"split": "dev"}, "split", "give train, validation, test"),
        ({"candidates": "yes|no"}, "candidates", "not no, yes, in the order of row 1"),
        ({"answer": "maybe", "candidates": "no|yes"}, "answer", "'maybe' is none of no, yes"),
        ({"audio": "cars.csv"}, "audio", "give its video"),
    ],
)
def test_faults_name_row_and_column(cells, column, fault, folder):
    others = {"id": "row {}", "split": "test", "candidates": "no|yes"}
    rows = [
        {key: others[key].format(index) for key in others if key in cells} | row
        for index, row in enumerate(ROWS)
    ]
    rows[3] |= cells
    named = rf"cars.csv has faults(.|\n)*row 4, column '{column}': .*{fault}"
    with pytest.raises(ValueError, match=named):
        load_table(write(folder, rows))


@pytest.mark.parametrize(
    ("options", "answer", "fault"),
    [
        ("B|A", "A", "'A' is a letter and another option"),
        ("a car|a car", "A", "give 2 to 26 different texts"),
        ("a car", "A", "give 2 to 26 different texts"),
        ("a car|a bus", "C", "'C' is none of A, B"),
    ],
)
def test_faults_of_options_name_their_row(options, answer, fault, folder):
    rows = [row | {"options": "a car|a bus|a tram", "answer": "B"} for row in ROWS]
    rows[2] |= {"options": options, "answer": answer}
    with pytest.raises(ValueError, match=f"row 3, column '(options|answer)': {fault}"):
        load_table(write(folder, rows))


def test_all_faults_are_reported_together_and_the_first_ten_shown(folder):
    rows = [row | {"picture": f"none/{index}.png"} for index, row in enumerate(ROWS * 2)]
    rows[0]["question"] = ""
    with pytest.raises(ValueError) as caught:
        benchmarks.check_available(f"table:{write(folder, rows)}")
    head, *lines = str(caught.value).splitlines()
    assert head.endswith("has faults (13); row 1 is the first below the header")
    assert len(lines) == 11 and lines[-1].strip() == "and 3 more" and "question" in lines[0]


def test_unreadable_media_are_reported_with_all_other_faults(folder):
    (folder / "photos/0.png").write_bytes((folder / "photos/0.png").read_bytes()[:50])
    (folder / "photos/4.png").write_bytes(b"no picture")
    rows = [
        row | {"question": "" if index == 5 else row["question"]} for index, row in enumerate(ROWS)
    ]
    rows += [{**ROWS[1], "picture": "photos/4.png"}] * 9
    for ask in (benchmarks.check_available, lambda name: benchmarks.load(name, n=1)):
        with pytest.raises(ValueError, match=r"has faults \(12\)") as caught:
            ask(f"table:{write(folder, rows)}")
        lines = str(caught.value).splitlines()[1:]
        faults = [line.split(":")[0].strip() for line in lines]
        expected = [f"row {n}, column 'picture'" for n in (1, 5, *range(7, 14))]
        assert faults[:10] == sorted([*expected, "row 6, column 'question'"], key=row_number)
        assert len(lines) == 11 and lines[-1].strip() == "and 2 more"
    encoded = [row | {"picture": (folder / "photos/4.png").read_bytes()} for row in ROWS[:2]]
    with pytest.raises(ValueError, match="(?s)row 1, column 'picture'.*row 2, column 'picture'"):
        load_table([*encoded, ROWS[1]], folder=folder)


def row_number(line: str) -> int:
    return int(line.split(",")[0].removeprefix("row "))


def test_clips_without_sound_are_reported_with_all_other_faults(tmp_path):
    write_clip(tmp_path / "mute.mp4", 0.5, heard=0)
    (tmp_path / "none.mp4").write_bytes(b"no clip")
    rows = [
        {"question": "?", "answer": a, "video": v}
        for a, v in zip("yn", ("mute.mp4", "none.mp4"), strict=True)
    ]
    rows.append(rows[0] | {"question": ""})
    faults = (
        r"row 1, column 'video': it has no sound\n  row 2, column 'video': .*\n  row 3, column 'q"
    )
    with pytest.raises(ValueError, match=faults):
        benchmarks.check_available(f"table:{write(tmp_path, rows)}")


def test_all_unknown_columns_are_named_together(folder):
    rows = [{"prompt": row["question"], "label": row["answer"]} for row in ROWS]
    with pytest.raises(ValueError, match="(?s)'question';.*'answer';"):
        load_table(write(folder, rows))


def test_a_column_of_pictures_with_another_name_is_named(folder):
    rows = [{**row, "image": row["picture"]} for row in ROWS]
    assert len(load_table(write(folder, rows))) == len(rows)  # there is one of the right name
    rows = [{key: row[key] for key in ("question", "answer", "image")} for row in rows]
    with_gap = [rows[0] | {"image": None}, *rows[1:]]
    encoded = [{**row, "image": (folder / row["image"]).read_bytes()} for row in rows]
    other = [{**row, "image": 300 * "page"} for row in rows]  # no file: text alone
    assert load_table(write(folder, other))[0].image is None
    hint = "no column 'picture', but 'image' has pictures or files; .*load_table.*picture='image'"
    for given in (write(folder, rows), write(folder, with_gap), encoded):
        with pytest.raises(ValueError, match=hint):
            load_table(given)
    assert load_table(write(folder, rows), picture="image")[0].image is not None


@pytest.mark.parametrize("lettered", [False, True])
def test_equal_answers_ask_for_the_other_candidates(lettered, folder):
    rows = [row | {"answer": "yes"} for row in ROWS]
    advice = r"faults \(1\)(.|\n)*'yes' is the only candidate; add a column candidates .*yes\|no"
    with pytest.raises(ValueError, match=advice):
        load_table(write(folder, rows), lettered=lettered)
    samples = load_table(write(folder, [row | {"candidates": "yes|no"} for row in rows]))
    assert samples[0].candidates == ("yes", "no")


@pytest.mark.parametrize("mark", [";", "\t"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_separators_and_marks_of_spreadsheets_are_read(mark, encoding, folder):
    path = write(folder)
    text = path.read_text().replace(",", mark).replace("\n", "\r\n")
    path.write_bytes(text.replace("is number", f'"is{mark} ü number"', 1).encode(encoding))
    with pytest.raises(ValueError, match="csv cannot be read"):  # text after the quote
        load_table(path)
    path.write_bytes(text.replace("is number 0 red?", f'"is{mark} ü?"').encode(encoding))
    found = facts(load_table(path))
    assert found[0][0] == f"is{mark} ü?" and found[1:] == EXPECTED[1:]
    spaced = write(folder).read_text().replace(",", ", ")
    path.write_text(spaced)
    assert facts(load_table(path)) == EXPECTED


@pytest.mark.parametrize(
    ("old", "new", "encoding", "message"),
    [
        (
            "number 3",
            "nümber 3",
            "latin-1",
            r"is in Latin-1 .* not in UTF-8 \(line 5\); save it as",
        ),
        ("", "", "utf-16", r"is in UTF-16 and not in UTF-8 \(line 1\); save it as UTF-8"),
        (
            "number 3",
            "a, b",
            "utf-8",
            "row 4 has 4 cells and the header 3; put texts that contain ','",
        ),
        (
            "number 0",
            "a, b",
            "utf-8",
            "row 1 has 4 cells and the header 3; put texts that contain ','",
        ),
        ("is number 3", '"is number 3', "utf-8", "cannot be read: unexpected end of data"),
        ("picture", "answer", "utf-8", "two columns have the name 'answer'; rename one"),
    ],
)
def test_text_of_another_kind_is_refused_with_advice(old, new, encoding, message, folder):
    path = write(folder)
    path.write_bytes(path.read_text().replace(old, new, 1).encode(encoding))
    with pytest.raises(ValueError, match=message) as caught:
        benchmarks.check_available(f"table:{path}")
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("name", "content", "error", "message"),
    [
        ("none.csv", None, FileNotFoundError, "there is no table .*none.csv"),
        ("cars.xlsx", "x", ValueError, "is no table; give a file that ends in .csv, .tsv"),
        ("cars.csv", "", ValueError, "cannot be read"),
        ("cars.csv", "question,answer\n", ValueError, "has no rows"),
        ("cars.jsonl", "{no json", ValueError, "cannot be read"),
        ("cars.parquet", "no parquet", ValueError, "cannot be read"),
    ],
)
def test_what_is_no_table_is_refused(name, content, error, message, tmp_path):
    if content is not None:
        (tmp_path / name).write_text(content)
    for ask in (benchmarks.check_available, benchmarks.load):
        with pytest.raises(error, match=message):
            ask(f"table:{tmp_path / name}")


def test_a_table_with_splits_serves_those_and_another_serves_all(folder):
    name = f"table:{write(folder)}"
    loaded = {split: benchmarks.load(name, split) for split in benchmarks.SPLITS}
    assert all(len(samples) == len(ROWS) for samples in loaded.values())
    assert {sample.split for sample in loaded["train"]} == {"train"}
    write(folder, [row | {"split": ("train", "test")[i % 2]} for i, row in enumerate(ROWS)])
    assert len(benchmarks.load(name, "train")) == len(benchmarks.load(name, "test")) == 3
    with pytest.raises(ValueError, match="no rows of the split 'validation'; it has test, train"):
        benchmarks.load(name, "validation")
    assert [sample.split for sample in load_table(folder / "cars.csv")[:2]] == ["train", "test"]


def test_n_takes_a_prefix_of_an_order_by_the_seed(folder):
    name = f"table:{write(folder)}"
    every = benchmarks.load(name)
    assert benchmarks.load(name, n=2) == every[:2] != benchmarks.load(name, n=2, seed=1)
    with pytest.warns(UserWarning, match="cars.csv test has 6 questions, fewer than 9: all are"):
        assert benchmarks.load(name, n=9) == every


def test_the_revision_is_that_of_table_and_media_and_pins_them(folder):
    name = f"table:{write(folder)}"
    before = benchmarks.revision(name)
    assert len(benchmarks.load(f"{name}@{before}")) == len(ROWS)
    assert benchmarks.revision(f"{name}@{before}") == before
    Image.new("RGB", (8, 6), "blue").save(folder / "photos/0.png")
    after = benchmarks.revision(name)
    write(folder, changed(1, question="is it blue?"))
    assert len({before, after, benchmarks.revision(name)}) == 3
    for ask in (benchmarks.check_available, benchmarks.load):
        with pytest.raises(ValueError, match=f"has the revision .*, and not {before}"):
            ask(f"{name}@{before}")


def test_names_in_results_have_no_folder_and_no_revision(folder):
    assert benchmarks.canonical(f"table:{folder}/cars.csv@0123456789abcdef") == "table:cars.csv"
    assert benchmarks.canonical("hub/pope@" + "a" * 40) == "hub/pope"
    external = [benchmarks.is_external(name) for name in ("table:a/b.csv", "hub/pope", "prior/80")]
    assert external == [True, True, False]


def test_pictures_are_read_when_they_are_used(folder):
    samples = load_table(write(folder))
    assert vars(samples[0])["image"] == folder / "photos/0.png" and samples[0].has_image
    first = samples[0].media
    Image.new("RGB", (8, 6), "blue").save(folder / "photos/0.png")
    assert samples[0].image.getpixel((0, 0)) == (0, 0, 255) and samples[0].media != first


def test_clips_are_as_long_as_the_longest_or_as_asked(tmp_path):
    write_clip(tmp_path / "short.mp4", 0.5, 0.5)
    write_clip(tmp_path / "long.mp4", 1, 1)
    write_clip(tmp_path / "mute.mp4", 1, heard=0)
    clips = (
        {"video": "short.mp4"},
        {"video": "long.mp4"},
        {"video": "mute.mp4", "audio": "long.mp4"},
    )
    rows = [row | clip for row, clip in zip(ROWS, clips, strict=False)]
    rows = [{key: row[key] for key in row if key != "picture"} for row in rows]
    samples = load_table(write(tmp_path, rows))
    assert {len(sample.audio) for sample in samples} == {len(samples[1].audio)}
    assert abs(len(samples[0].audio) / RATE - 1) < 0.1
    assert all(len(sample.video) == 4 and not sample.has_image for sample in samples)
    assert (samples[2].audio == samples[1].audio).all()
    assert not samples[0].audio[-RATE // 4 :].any()
    short = load_table(tmp_path / "cars.csv", n_frames=2, seconds=0.5)
    assert [len(sample.audio) for sample in short] == [RATE // 2] * 3
    levels = np.round(short[1].video.mean((1, 2, 3)) / STEP)
    assert levels.tolist() == [1, 3]
    with pytest.raises(ValueError, match="row 3, column 'video': it has no sound"):
        load_table([row | {"audio": None} for row in rows], folder=tmp_path)


def test_a_table_is_a_source_of_trainings():
    from pidlib.experiments.reweighting.settings import training_code

    assert training_code("table", "exact") != training_code("hub", "exact")
    assert table.COLUMNS[:2] == table.REQUIRED
