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
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from pidlib.benchmarks.hub import choose, content_hash
from pidlib.benchmarks.media import decode
from pidlib.benchmarks.sample import Sample, listing
from pidlib.models.load import download

TASKS = {"audio": "Audio", "visual": "Visual", "fusion": "Audio-Visual"}
REPOSITORY = "UnFaZeD07/Music-AVQA"
SECONDS = 60
FRAMES = SECONDS  # one per second: the two frames of a token share a chunk of Qwen2.5-Omni

_FILES = {"train": "avqa-train.json", "validation": "avqa-val.json", "test": "avqa-test.json"}
_FIELDS = ("video_id", "type", "question_content", "templ_values", "anser")
_PLACEHOLDER = re.compile(r"<[^<>]+>")
_REMEDY = "replace the file, or set question_deleted to 1 in the rows about it"


def load(
    task: str, split: str, n: int | None, seed: int, folder: Path | None, commit: str | None
) -> list[Sample]:
    """Load the first n questions of the split in an order shuffled by the seed.

    If there are fewer, all are returned, with a warning. Candidates are the answers in the training
    file, sorted, the same for all tasks; `Sample.options` lists them (the papers do not describe
    their prompt). ``template`` is the question before its placeholders are filled.

    Clips are about a minute long and are cut or padded to `SECONDS`, so that `FRAMES` mean the same
    rate in each, as the extractor requires. Only the clips of these n questions are decoded, once
    per call: a thousand take 24 GB of memory.

    Raises
    ------
    ValueError
        If a file is no list of rows, or rows lack fields; if an answer is not in the training file,
        or values do not fit the placeholders; if a clip cannot be decoded, is cut off, or has no
        pictures or no sound. The message names the row, or the sample and the file.
    FileNotFoundError
        If a file of questions or a clip is missing; all clips are located before any is decoded.
    """
    benchmark, is_on_hub = f"music_avqa/{task}", folder is None
    folder = folder or _questions(commit)
    rows = [
        (f"{benchmark}/{split}/{index:06d}", row)
        for index, row in enumerate(_rows(folder, split))
        if _subset(row) == TASKS[task] and not row.get("question_deleted")
    ]
    candidates = tuple(sorted({row["anser"] for row in _rows(folder, "train")}))
    chosen = choose(benchmark, split, rows, n, seed)
    files, questions = _clips(folder), []
    needed = {f"{row['video_id']}.mp4" for _, row in chosen}
    if is_on_hub and (missing := needed - files.keys()):
        clips = [f"videos/{name}" for name in sorted(missing)]
        files = _clips(download(REPOSITORY, folder.name, clips, "dataset"))
    missing = needed - files.keys()
    for sample_id, row in chosen:
        if row["anser"] not in candidates:
            known = f"those in {_FILES['train']}: {', '.join(candidates)}"
            raise ValueError(f"{sample_id}: the answer {row['anser']!r} is none of {known}")
        if (name := f"{row['video_id']}.mp4") in missing:
            lost = f"no clip {name} in {folder}, one of {len(missing)} missing"
            raise FileNotFoundError(f"{sample_id}: {lost}; {_REMEDY}")
        questions.append(_question(sample_id, row))
    samples, clip = [], cache(decode)
    for (sample_id, row), question in zip(chosen, questions, strict=True):
        path = files[f"{row['video_id']}.mp4"]
        try:
            video, audio = clip(path, FRAMES, SECONDS)
        except ValueError as error:
            raise ValueError(f"{sample_id}: {path} cannot be used: {error}; {_REMEDY}") from error
        sample = Sample(
            sample_id=sample_id,
            benchmark=benchmark,
            template=row["question_content"].strip(),
            question=question,
            candidates=candidates,
            answer=row["anser"],
            split=split,
            options=listing(candidates),
            video=video,
            audio=audio,
        )
        samples.append(sample)
    return samples


def revision(task: str, folder: Path | None, commit: str | None) -> str:
    """Return the commit of the data set, or the hash of the files of questions in its folder."""
    if folder:
        return content_hash(folder / name for name in _FILES.values())
    return commit or _questions(None).name


def origin(task: str) -> tuple[str, str, str]:
    """Return a benchmark's name, its repository on the hub and its files, for `resolve`."""
    files = f"{', '.join(_FILES.values())} and the clips, VIDEO_ID.mp4"
    return f"music_avqa/{task}", REPOSITORY, files


def _question(sample_id: str, row: Mapping[str, Any]) -> str:
    """Fill the placeholders of a question, in order."""
    values, content = _list(row, "templ_values"), row["question_content"].strip()
    if len(values) != len(_PLACEHOLDER.findall(content)):
        given = f"{len(values)} templ_values, {', '.join(map(str, values))}"
        raise ValueError(f"{sample_id}: {given}, do not fit {content!r}")
    remaining = iter(values)
    return _PLACEHOLDER.sub(lambda _: str(next(remaining)), content)


def _subset(row: Mapping[str, Any]) -> str:
    subset, *_ = _list(row, "type") or ("",)
    if subset not in TASKS.values():
        given = f"type of the question {row['question_content']!r} is {row['type']!r}"
        raise ValueError(f"{given}; known: {', '.join(TASKS.values())}")
    return subset


def _list(row: Mapping[str, Any], field: str) -> list:
    """Parse the list whose text a field holds."""
    try:
        return list(ast.literal_eval(row[field]))
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        where = f"{field} of the question {row['question_content']!r}"
        raise ValueError(f"{where} is not the text of a list: {row[field]!r}") from None


def _rows(folder: Path, split: str) -> list[dict[str, Any]]:
    path = folder / _FILES[split]
    if not path.is_file():
        needed = ", ".join(_FILES.values())
        raise FileNotFoundError(f"no {path}; put the files {needed} of MUSIC-AVQA there")
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        rows = None
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise ValueError(f"{path} is no list of rows; use the file of MUSIC-AVQA as published")
    for index, row in enumerate(rows):
        if missing := [name for name in _FIELDS if name not in row]:
            lost = f"has no {missing[0]}, but {', '.join(row)}"
            raise ValueError(f"row {index} of {path} {lost}; use the file as published")
    return rows


def _clips(folder: Path) -> dict[str, Path]:
    return {path.name: path for path in sorted(folder.rglob("*.mp4"))}


def _questions(commit: str | None) -> Path:
    """Return a folder of the cache, named by the commit, with the files of questions."""
    return download(REPOSITORY, commit, list(_FILES.values()), "dataset")
