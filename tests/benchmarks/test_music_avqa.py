"""MUSIC-AVQA, from a folder of the published layout: a few rows, three clips, no network."""

import json
import re

import numpy as np
import pytest
import torch
from media_files import write_clip

from pidlib import benchmarks
from pidlib.benchmarks import music_avqa, names
from pidlib.experiments import decision_profiles, extractions
from pidlib.experiments.preset import load_preset
from pidlib.extraction import extract
from pidlib.models import LoadedModel, family_of
from pidlib.training.tiny import build

COMMIT = "0123456789abcdef0123456789abcdef01234567"
VIDEOS = ("00000001", "00000002", "sa00000003")
FORMS = [  # subset, kind, question, values, answer
    ("Audio", "Counting", "How many <Object> are sounding?", ["cello"], "two"),
    (
        "Audio",
        "Comparative",
        "Is the <Object> louder than the <Object>? ",
        ["cello", "flute"],
        "yes",
    ),
    ("Visual", "Location", "Where is the performance?", [], "indoor"),
    ("Audio-Visual", "Temporal", "Where is the <FL> sounding instrument?", ["first"], "left"),
    ("Audio-Visual", "Existential", "Is the <Object> always playing?", ["flute"], "no"),
]
ANSWERS = ("indoor", "left", "no", "two", "yes")


def row(index: int, **changes) -> dict:
    subset, kind, question, values, answer = FORMS[index % len(FORMS)]
    message = {
        "video_id": VIDEOS[index % len(VIDEOS)],
        "question_id": index,
        "type": json.dumps([subset, kind]),
        "question_content": question,
    }
    return (
        message
        | {"templ_values": json.dumps(values), "question_deleted": 0, "anser": answer}
        | changes
    )


def write(folder, part: str, rows: object) -> str:
    (folder / f"avqa-{part}.json").write_text(json.dumps(rows))
    return f"music_avqa/audio@{folder}"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(music_avqa, "SECONDS", 1)
    for part, size in {"train": 10, "val": 5, "test": 30}.items():
        write(tmp_path, part, [row(index) for index in range(size)])
    for video, place, seconds in zip(
        VIDEOS, (".", "videos", "videos/synthetic"), (1, 0.9, 1.2), strict=True
    ):
        write_clip(tmp_path / place / f"{video}.mp4", seconds, seconds, size=(32, 32))
    return tmp_path


def load(folder, task: str = "audio", split: str = "test", **given) -> list[benchmarks.Sample]:
    return benchmarks.load(f"music_avqa/{task}@{folder}", split, **given)


def test_rows_become_samples(folder):
    for task, subset in music_avqa.TASKS.items():
        samples = load(folder, task)
        indices = sorted(int(item.sample_id[-6:]) for item in samples)
        assert indices == [index for index in range(30) if FORMS[index % 5][0] == subset]
        for item in samples:
            index = int(item.sample_id[-6:])
            _, _, form, values, answer = FORMS[index % 5]
            assert (
                item.sample_id == f"music_avqa/{task}/test/{index:06d}"
                and item.benchmark == f"music_avqa/{task}"
                and item.split == "test"
            )
            assert (item.template, item.answer, item.candidates) == (form.strip(), answer, ANSWERS)
            assert "<" not in item.question and all(value in item.question for value in values)
            assert item.text == f"{item.question}\nindoor, left, no, two or yes?"
            assert (
                item.video.shape == (music_avqa.FRAMES, 32, 32, 3) and item.video.dtype == np.uint8
            )
            assert (
                item.audio.shape == (16_000,)
                and item.audio.dtype == np.float32
                and item.image is None
            )


def test_placeholders_are_filled_in_order(folder):
    questions = {item.template: item.question for item in load(folder)}
    assert (
        questions["Is the <Object> louder than the <Object>?"]
        == "Is the cello louder than the flute?"
    )


def test_smaller_n_is_a_prefix_and_the_seed_orders(folder):
    everything = load(folder)
    assert load(folder, n=5) == everything[:5] != load(folder, n=5, seed=1)
    assert [item.split for item in load(folder, split="validation")] == ["validation"] * 2
    with pytest.warns(
        UserWarning, match="music_avqa/audio test has 12 questions, fewer than 99: all are used"
    ):
        assert load(folder, n=99) == everything


def test_only_required_clips_are_decoded_once_each(folder, monkeypatch):
    decoded = []
    monkeypatch.setattr(
        music_avqa,
        "decode",
        lambda path, *_: decoded.append(path.stem) or (len(decoded), path.stem),
    )
    samples = load(folder, n=2)
    assert len(decoded) <= 2
    decoded.clear()
    samples = load(folder)
    assert sorted(decoded) == sorted(VIDEOS)
    assert all(item.audio == VIDEOS[int(item.sample_id[-6:]) % 3] for item in samples)
    assert len({item.video for item in samples}) == 3


def test_deleted_questions_are_left_out_but_their_answers_stay(folder):
    write(folder, "train", [row(index, question_deleted=int(index == 2)) for index in range(5)])
    write(folder, "test", [row(0), row(1, question_deleted=1)])
    (only,) = load(folder)
    assert only.sample_id.endswith("000000") and only.candidates == ANSWERS


def test_missing_clip_is_refused_before_any_is_decoded(folder, monkeypatch):
    monkeypatch.setattr(music_avqa, "decode", None)
    path = folder / "videos" / f"{VIDEOS[1]}.mp4"
    path.unlink()
    requested = next(item for item in range(30) if FORMS[item % 5][0] == "Visual" and item % 3 == 1)
    write(folder, "test", [row(index) for index in range(requested + 1)])
    message = f"visual/test/{requested:06d}: no clip {VIDEOS[1]}.mp4 in .*, one of 1 missing;"
    with pytest.raises(FileNotFoundError, match=message):
        load(folder, "visual")


@pytest.mark.parametrize(
    ("spoil", "fault"),
    [
        (lambda path: path.write_bytes(b"no clip"), "Invalid data"),
        (lambda path: write_clip(path, tone=0), "its sound is silence"),
        (lambda path: write_clip(path, heard=0), "it has no sound"),
        (lambda path: write_clip(path, seen=0), "it has no pictures"),
    ],
)
def test_unusable_clip_names_sample_and_file(spoil, fault, folder):
    write(folder, "test", [row(2), row(0)])
    path = folder / f"{VIDEOS[0]}.mp4"
    spoil(path)
    message = (
        f"audio/test/000001: {re.escape(str(path))} cannot be used: {fault}.*; replace the file"
    )
    with pytest.raises(ValueError, match=message):
        load(folder)


@pytest.mark.parametrize(
    ("rows", "fault"),
    [
        (
            [{"other" if key == "anser" else key: value for key, value in row(0).items()}],
            "row 0 of .* has no anser, but .*other",
        ),
        ({"rows": []}, "avqa-test.json is no list of rows"),
        (
            [row(0), row(1, anser="maybe")],
            "audio/test/000001: the answer 'maybe' is none of those in avqa-train.json: indoor",
        ),
        (
            [row(1, templ_values='["cello"]')],
            "1 templ_values, cello, do not fit 'Is the <Object> louder",
        ),
        (
            [row(0, templ_values="cello")],
            "templ_values of the question 'How many .* is not the text of a list: 'cello'",
        ),
        ([row(0, type='["Sound", "Counting"]')], "known: Audio, Visual, Audio-Visual"),
    ],
)
def test_malformed_rows_are_refused(rows, fault, folder):
    write(folder, "test", rows)
    with pytest.raises(ValueError, match=fault):
        load(folder)


def test_missing_or_malformed_question_files_are_refused(folder):
    (folder / "avqa-test.json").write_text("{")
    with pytest.raises(ValueError, match="avqa-test.json is no list of rows"):
        load(folder)
    (folder / "avqa-train.json").unlink()
    with pytest.raises(
        FileNotFoundError,
        match="avqa-train.json; put the files avqa-train.json, avqa-val.json, avqa-test.json",
    ):
        load(folder, split="validation")


def test_commit_is_read_from_the_cache_of_the_hub(folder, tmp_path, monkeypatch):
    snapshot = (
        tmp_path
        / "cache"
        / f"datasets--{music_avqa.REPOSITORY.replace('/', '--')}"
        / "snapshots"
        / COMMIT
    )
    snapshot.mkdir(parents=True)
    for path in (*folder.glob("*.json"), *folder.rglob("*.mp4")):
        place = snapshot / ("videos" if path.suffix == ".mp4" else ".") / path.name
        place.parent.mkdir(exist_ok=True)
        place.write_bytes(path.read_bytes())
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert load(COMMIT) == load(folder)
    (snapshot / "videos" / f"{VIDEOS[0]}.mp4").unlink()
    with pytest.raises(
        FileNotFoundError,
        match=rf"audio/test/\d+: no clip {VIDEOS[0]}\.mp4 in .*{COMMIT}",
    ):
        load(COMMIT)


def test_unpinned_data_set_stops_a_run_before_any_model_is_loaded():
    message = (
        "give music_avqa/audio@<40 hex>, a commit of .*, music_avqa/audio@FOLDER with the files"
    )
    for name in ("music_avqa/audio", "music_avqa/audio@main"):
        preset = load_preset("smoke", omni_benchmarks=name)
        with pytest.raises(ValueError, match=message):
            request = decision_profiles.request(preset, preset.omni_benchmarks)
            next(extractions.extract_all(preset, request))


@pytest.mark.filterwarnings("ignore:.*samples calibrate the noise")
def test_extraction_on_clips(folder):
    samples = load(folder, "fusion")
    words = {word for item in samples for word in re.findall(r"\w+|[^\w\s]", item.text)}
    model, processor = build("qwen2_5_omni", sorted(words), "tiny")
    loaded = LoadedModel(
        "tiny", model.eval(), processor, family_of(model), "0" * 40, torch.device("cpu")
    )
    answers = extract(
        loaded, samples, passes=("vision+audio+language", "audio+language"), progress=False
    )
    assert answers.candidates == ANSWERS and answers.templates == tuple(
        item.template for item in samples
    )
    assert (
        answers.decisions(tau=0).shape
        == answers.decisions("audio+language", tau=0).shape
        == (len(samples), len(ANSWERS))
    )


def test_preset_accepts_pinned_and_unpinned_names():
    given = ("music_avqa/audio", f"music_avqa/visual@{COMMIT}", "music_avqa/fusion@data/music_avqa")
    assert load_preset("smoke", omni_benchmarks=",".join(given)).omni_benchmarks == given
    assert {name.partition("@")[0] for name in given} <= set(names("external"))
    with pytest.raises(ValueError, match="unknown benchmark 'music_avqa/sound@data'"):
        load_preset("smoke", omni_benchmarks="music_avqa/sound@data")
