"""MUSIC-AVQA: questions about clips of music, to be seen and heard (Li et al. 2022, arXiv 2203.14072), as ``music_avqa/fusion@WHERE``.

WHERE is a folder with avqa-train.json, avqa-val.json and avqa-test.json, and anywhere below it the clips, as VIDEO_ID.mp4; or the 40-hex
commit of `REPOSITORY`, a copy on the hub, of which only the clips asked about are fetched. A row of the files holds video_id; type, the
text of a list such as ``["Audio-Visual", "Counting"]``; question_content, with placeholders such as ``<Object>``; templ_values, the text
of the list that fills them; anser (so spelled); and question_deleted, which leaves the question out where it is 1.

All this was read off the authors' page and public code that reads the files, as was the copy on the hub, whose clips lie in videos/;
nothing was downloaded to check. The authors count 45,867 questions in 33 forms with 42 answers, about 9,288 clips. Not known to us: whether
a clip is in two of their splits, which of the two versions in their repository (data/json, data/json_update) the paper took, and whether
the 42 answers begin with different tokens in the vocabulary of a real model, which the extractor asks of candidates and checks.
"""

import ast
import json
import re
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from random import Random
from typing import Any

from pidlib.benchmarks.hub import place
from pidlib.benchmarks.media import Frames, Sound, decode
from pidlib.benchmarks.sample import Sample, listing
from pidlib.experiment import derive_seed

TASKS = {"audio": "Audio", "visual": "Visual", "fusion": "Audio-Visual"}
REPOSITORY = "UnFaZeD07/Music-AVQA"
FRAMES, SECONDS = 60, 60  # of a clip: one a second, so that the two frames of a token lie within one chunk of Qwen2.5-Omni's clock

_FILES = {"train": "avqa-train.json", "validation": "avqa-val.json", "test": "avqa-test.json"}
_FIELDS = ("video_id", "type", "question_content", "templ_values", "anser")
_PLACEHOLDER = re.compile(r"<[^<>]+>")
_REMEDY = "put a good file in its place, or set question_deleted to 1 in the rows that ask about it"

Find = Callable[[str], Path]


def load(
    task: str, split: str, n: int | None = None, seed: int = 0, at: str = "", allow_unpinned: bool = False, n_frames: int = FRAMES
) -> list[Sample]:
    """The first n questions of the split in an order shuffled by the seed; all, with a warning, if there are fewer.

    Candidates are the answers of the training file, sorted, the same for all tasks; `Sample.options` lists them, which is our reading: how
    they were asked, the papers do not tell. ``template`` is the question before its placeholders are filled.

    Clips are about a minute long, and made `SECONDS` long, so that ``n_frames`` are as many a second of each, which the extractor asks for.
    Only those of these n questions are decoded, each once, but at every call: a thousand take 24 GB of memory at the defaults.

    Raises
    ------
    ValueError
        As `locate` does; for a file that is no list of rows, or whose rows lack fields; for an answer that the training file does not know,
        or values that do not fit the placeholders; for a clip that cannot be decoded, is cut off, or has no pictures or no sound. The row,
        or the sample and the file, are named.
    FileNotFoundError
        If a file of questions or a clip is not there; all clips are looked for before the first is decoded.
    """
    name, (folder, revision) = f"music_avqa/{task}", locate(task, at, allow_unpinned)
    find = _in_folder(folder) if folder else _on_hub(revision)
    rows, known = _rows(find, split), {row["anser"] for row in _rows(find, "train")}
    wanted = [(index, row) for index, row in enumerate(rows) if _subset(row) == TASKS[task] and not row.get("question_deleted")]
    Random(derive_seed(seed, "music_avqa", task, split)).shuffle(wanted)
    if n is not None and n > len(wanted):
        warnings.warn(f"{name} {split} has {len(wanted)} questions, {n} were asked for: all are taken", stacklevel=2)
    candidates, wanted = tuple(sorted(known)), {f"{name}/{split}/{index:06d}": row for index, row in wanted[:n]}
    for sample_id, row in wanted.items():
        if row["anser"] not in known:
            raise ValueError(f"{sample_id}: the answer {row['anser']!r} is none of those in {_FILES['train']}: {', '.join(candidates)}")
    questions = {sample_id: _question(sample_id, row) for sample_id, row in wanted.items()}
    clips = _clips({row["video_id"]: sample_id for sample_id, row in reversed(wanted.items())}, find, n_frames)
    return [
        Sample(
            sample_id=sample_id,
            benchmark=name,
            template=row["question_content"].strip(),
            question=questions[sample_id],
            candidates=candidates,
            answer=row["anser"],
            split=split,
            options=listing(candidates),
            video=clips[row["video_id"]][0],
            audio=clips[row["video_id"]][1],
        )
        for sample_id, row in wanted.items()
    ]


def locate(task: str, at: str = "", allow_unpinned: bool = False) -> tuple[Path | None, str | None]:
    """The folder, or None and the commit, as `pidlib.benchmarks.hub.place` tells them."""
    return place(f"music_avqa/{task}", REPOSITORY, f"{', '.join(_FILES.values())} and the clips, VIDEO_ID.mp4", at, allow_unpinned)


def _clips(asked_by: Mapping[str, str], find: Find, n_frames: int) -> dict[str, tuple[Frames, Sound]]:
    """The clips by id, each decoded once; a fault is told with the sample that first asks."""
    files = {video: find(f"{video}.mp4") for video in asked_by}
    if missing := [video for video, path in files.items() if not path.is_file()]:
        raise FileNotFoundError(f"{asked_by[missing[0]]}: no clip {files[missing[0]]}, one of {len(missing)} that lack; {_REMEDY}")
    clips = {}
    for video, path in files.items():
        try:
            clips[video] = decode(path, n_frames, SECONDS)
        except ValueError as error:
            raise ValueError(f"{asked_by[video]}: {path} cannot be used: {error}; {_REMEDY}") from error
    return clips


def _question(sample_id: str, row: Mapping[str, Any]) -> str:
    """The question with its placeholders filled, in order."""
    values, content = _list(row, "templ_values"), row["question_content"].strip()
    if len(values) != len(_PLACEHOLDER.findall(content)):
        raise ValueError(f"{sample_id}: {len(values)} templ_values, {', '.join(map(str, values))}, do not fit {content!r}")
    remaining = iter(values)
    return _PLACEHOLDER.sub(lambda _: str(next(remaining)), content)


def _subset(row: Mapping[str, Any]) -> str:
    subset, *_ = _list(row, "type") or ("",)
    if subset not in TASKS.values():
        raise ValueError(f"type of the question {row['question_content']!r} is {row['type']!r}; known: {', '.join(TASKS.values())}")
    return subset


def _list(row: Mapping[str, Any], field: str) -> list:
    """The list whose text a field holds."""
    try:
        return list(ast.literal_eval(row[field]))
    except (ValueError, SyntaxError, TypeError):
        raise ValueError(f"{field} of the question {row['question_content']!r} is not the text of a list: {row[field]!r}") from None


def _rows(find: Find, split: str) -> list[dict[str, Any]]:
    path = find(_FILES[split])
    if not path.is_file():
        raise FileNotFoundError(f"no {path}; put the files {', '.join(_FILES.values())} of MUSIC-AVQA there")
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        rows = None
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise ValueError(f"{path} is no list of rows; put the file of MUSIC-AVQA there as it was published")
    for index, row in enumerate(rows):
        if missing := [name for name in _FIELDS if name not in row]:
            raise ValueError(f"row {index} of {path} has {', '.join(row)}; MUSIC-AVQA has {', '.join(_FIELDS)}: there is no {missing[0]}")
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
