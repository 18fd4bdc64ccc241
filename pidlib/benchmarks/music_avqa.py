"""MUSIC-AVQA: questions about clips of music (Li et al. 2022, arXiv 2203.14072).

Named ``music_avqa/fusion@SOURCE``. SOURCE is a folder with avqa-train.json, avqa-val.json and
avqa-test.json and, anywhere below it, the clips as VIDEO_ID.mp4; or a 40-hex commit of
`REPOSITORY`, a copy on the hub, from which only the required clips are downloaded. A row of the
files has video_id; type, the text of a list such as ``["Audio-Visual", "Counting"]``;
question_content, with placeholders such as ``<Object>``; templ_values, the text of the list that
fills them; anser (sic); and question_deleted, 1 for questions to leave out.

All this is taken from the authors' page and from public code; nothing was downloaded to verify it.
The authors count 45,867 questions in 33 forms with 42 answers, about 9,288 clips. Unknown: whether
a clip is in two of their splits, which of the two versions in their repository (data/json,
data/json_update) the paper used, and whether the 42 answers begin with distinct tokens in the
vocabulary of a real model, which the extractor requires and checks.
"""

import ast
import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from random import Random
from typing import Any

from pidlib._common import derive_seed
from pidlib.benchmarks.hub import content_hash, resolve, warn_if_fewer
from pidlib.benchmarks.media import Frames, Sound, decode
from pidlib.benchmarks.sample import Sample, listing

TASKS = {"audio": "Audio", "visual": "Visual", "fusion": "Audio-Visual"}
REPOSITORY = "UnFaZeD07/Music-AVQA"
SECONDS = 60
FRAMES = SECONDS  # one per second: the two frames of a token share a chunk of Qwen2.5-Omni

_FILES = {"train": "avqa-train.json", "validation": "avqa-val.json", "test": "avqa-test.json"}
_FIELDS = ("video_id", "type", "question_content", "templ_values", "anser")
_PLACEHOLDER = re.compile(r"<[^<>]+>")
_REMEDY = "replace the file, or set question_deleted to 1 in the rows about it"

Find = Callable[[str], Path]


def load(
    task: str,
    split: str,
    n: int | None = None,
    seed: int = 0,
    source: str = "",
    allow_unpinned: bool = False,
    n_frames: int = FRAMES,
) -> list[Sample]:
    """Load the first n questions of the split in an order shuffled by the seed.

    If there are fewer, all are returned, with a warning. Candidates are the answers in the training
    file, sorted, the same for all tasks; `Sample.options` lists them (the papers do not describe
    their prompt). ``template`` is the question before its placeholders are filled.

    Clips are about a minute long and are cut or padded to `SECONDS`, so that ``n_frames`` mean the
    same rate in each, as the extractor requires. Only the clips of these n questions are decoded,
    once per call: a thousand take 24 GB of memory at the defaults.

    Raises
    ------
    ValueError
        As `pidlib.benchmarks.hub.resolve` does; if a file is no list of rows, or rows lack fields;
        if an answer is not in the training file, or values do not fit the placeholders; if a clip
        cannot be decoded, is cut off, or has no pictures or no sound. The message names the row, or
        the sample and the file.
    FileNotFoundError
        If a file of questions or a clip is missing; all clips are located before any is decoded.
    """
    benchmark = f"music_avqa/{task}"
    folder, revision = resolve(*origin(task), source, allow_unpinned)
    find = _in_folder(folder) if folder else _on_hub(revision)
    rows = [
        (index, row)
        for index, row in enumerate(_rows(find, split))
        if _subset(row) == TASKS[task] and not row.get("question_deleted")
    ]
    candidates = tuple(sorted({row["anser"] for row in _rows(find, "train")}))
    Random(derive_seed(seed, "music_avqa", task, split)).shuffle(rows)
    warn_if_fewer(benchmark, split, n, len(rows))
    chosen = {f"{benchmark}/{split}/{index:06d}": row for index, row in rows[:n]}
    for sample_id, row in chosen.items():
        if row["anser"] not in candidates:
            raise ValueError(
                f"{sample_id}: the answer {row['anser']!r} is none of those in {_FILES['train']}:"
                f" {', '.join(candidates)}"
            )
    questions = {sample_id: _question(sample_id, row) for sample_id, row in chosen.items()}
    first_user = {row["video_id"]: sample_id for sample_id, row in reversed(chosen.items())}
    clips = _clips(first_user, find, n_frames)
    return [
        Sample(
            sample_id=sample_id,
            benchmark=benchmark,
            template=row["question_content"].strip(),
            question=questions[sample_id],
            candidates=candidates,
            answer=row["anser"],
            split=split,
            options=listing(candidates),
            video=clips[row["video_id"]][0],
            audio=clips[row["video_id"]][1],
        )
        for sample_id, row in chosen.items()
    ]


def revision(task: str, source: str = "", allow_unpinned: bool = False) -> str:
    """Return the commit of the data set, or the hash of the files of questions in its folder."""
    folder, commit = resolve(*origin(task), source, allow_unpinned)
    if folder:
        return content_hash(map(_in_folder(folder), _FILES.values()))
    return commit or _on_hub(None)(_FILES["test"]).parent.name


def origin(task: str) -> tuple[str, str, str]:
    """Return a benchmark's name, its repository on the hub and its files, for `resolve`."""
    files = f"{', '.join(_FILES.values())} and the clips, VIDEO_ID.mp4"
    return f"music_avqa/{task}", REPOSITORY, files


def _clips(
    first_user: Mapping[str, str], find: Find, n_frames: int
) -> dict[str, tuple[Frames, Sound]]:
    """Decode each clip once; errors name the first sample that uses it."""
    files = {video: find(f"{video}.mp4") for video in first_user}
    if missing := [video for video, path in files.items() if not path.is_file()]:
        raise FileNotFoundError(
            f"{first_user[missing[0]]}: no clip {files[missing[0]]}, one of {len(missing)} missing;"
            f" {_REMEDY}"
        )
    clips = {}
    for video, path in files.items():
        try:
            clips[video] = decode(path, n_frames, SECONDS)
        except ValueError as error:
            message = f"{first_user[video]}: {path} cannot be used: {error}; {_REMEDY}"
            raise ValueError(message) from error
    return clips


def _question(sample_id: str, row: Mapping[str, Any]) -> str:
    """Fill the placeholders of a question, in order."""
    values, content = _list(row, "templ_values"), row["question_content"].strip()
    if len(values) != len(_PLACEHOLDER.findall(content)):
        raise ValueError(
            f"{sample_id}: {len(values)} templ_values, {', '.join(map(str, values))}, do not fit"
            f" {content!r}"
        )
    remaining = iter(values)
    return _PLACEHOLDER.sub(lambda _: str(next(remaining)), content)


def _subset(row: Mapping[str, Any]) -> str:
    subset, *_ = _list(row, "type") or ("",)
    if subset not in TASKS.values():
        raise ValueError(
            f"type of the question {row['question_content']!r} is {row['type']!r}; known:"
            f" {', '.join(TASKS.values())}"
        )
    return subset


def _list(row: Mapping[str, Any], field: str) -> list:
    """Parse the list whose text a field holds."""
    try:
        return list(ast.literal_eval(row[field]))
    except (ValueError, SyntaxError, TypeError):
        raise ValueError(
            f"{field} of the question {row['question_content']!r} is not the text of a list:"
            f" {row[field]!r}"
        ) from None


def _rows(find: Find, split: str) -> list[dict[str, Any]]:
    path = find(_FILES[split])
    if not path.is_file():
        raise FileNotFoundError(
            f"no {path}; put the files {', '.join(_FILES.values())} of MUSIC-AVQA there"
        )
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        rows = None
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise ValueError(f"{path} is no list of rows; use the file of MUSIC-AVQA as published")
    for index, row in enumerate(rows):
        if missing := [name for name in _FIELDS if name not in row]:
            raise ValueError(
                f"row {index} of {path} has {', '.join(row)}; MUSIC-AVQA has {', '.join(_FIELDS)}:"
                f" there is no {missing[0]}"
            )
    return rows


def _in_folder(folder: Path) -> Find:
    clips = {path.name: path for path in sorted(folder.rglob("*.mp4"))}
    return lambda name: clips.get(name, folder / name)


def _on_hub(revision: str | None) -> Find:
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError

    def find(name: str) -> Path:
        path = f"videos/{name}" if name.endswith(".mp4") else name
        try:
            return Path(hf_hub_download(REPOSITORY, path, repo_type="dataset", revision=revision))
        except EntryNotFoundError:
            return Path(REPOSITORY) / path

    return find
