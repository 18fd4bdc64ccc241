"""Benchmarks of the hub, from a pinned commit of their repository or from a folder with the same files: ``hub/mmbench@WHERE``.

WHERE is the 40-hex commit, so that a rerun reads the same rows, or the path of a folder laid out like the repository, for machines without
network. Only parquet files are read, never a script. Of each data set one labelled part is used; as most have no other, it is divided by
picture: half of the pictures test, a quarter each train and validate, and the questions of a picture stay together.

What is read from each data set, and how its rows become questions, is declared in `pidlib.benchmarks.hub_sources`.
"""

import hashlib
import io
import re
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, NamedTuple

from PIL import Image

from pidlib.benchmarks.hub_sources import MOST, SOURCES, Asked, Source
from pidlib.benchmarks.sample import SPLITS, Sample, listing
from pidlib.experiment import derive_seed

if TYPE_CHECKING:
    from datasets import Dataset

TASKS = tuple(SOURCES)


class _Table(NamedTuple):
    """The questions of a data set by split, each with its row; the table of the pictures, and where in it each is."""

    questions: dict[str, list[tuple[int, str, Asked]]]
    candidates: tuple[str, ...]
    pictures: "Dataset"
    places: Sequence[int]


def load(task: str, split: str, n: int | None = None, seed: int = 0, at: str = "", allow_unpinned: bool = False) -> list[Sample]:
    """The first n questions of the split in an order shuffled by the seed; all, with a warning, if there are fewer.

    Candidates are letters, or words; `Sample.options` lists them and asks for one. Those of VQAv2 and GQA are the `MOST` most frequent
    answers of the training pictures, and questions with another answer are left out, with a warning that tells their share.

    Raises
    ------
    ValueError
        As `locate` does; for columns that are not there; for an answer that is none of its question's options, naming the row.
    FileNotFoundError
        If the folder does not hold the files of the repository.
    """
    table, source = _read(task, *locate(task, at, allow_unpinned)), SOURCES[task]
    name, found = f"hub/{task}", list(table.questions[split])
    if not source.candidates:
        kept = [one for one in found if one[2].answer in table.candidates]
        share = 1 - len(kept) / max(len(found), 1)
        words = ", ".join(table.candidates)
        warnings.warn(f"{name} {split}: {share:.0%} of the questions are left out, their answer is none of {words}", stacklevel=2)
        found = kept
    Random(derive_seed(seed, "hub", task, split)).shuffle(found)
    if n is not None and n > len(found):
        warnings.warn(f"{name} {split} has {len(found)} questions, {n} were asked for: all are taken", stacklevel=2)
    return [
        Sample(
            sample_id=f"{name}/{split}/{row:06d}",
            benchmark=name,
            template=template,
            question=asked.question.strip(),
            candidates=table.candidates,
            answer=asked.answer,
            split=split,
            options=_listing(asked, table.candidates),
            image=_side_by_side(table.pictures[table.places[row]], source),
        )
        for row, template, asked in found[:n]
    ]


def locate(task: str, at: str = "", allow_unpinned: bool = False) -> tuple[Path | None, str | None]:
    """As `place` does, for a data set of `pidlib.benchmarks.hub_sources`."""
    return place(f"hub/{task}", SOURCES[task].repository, SOURCES[task].files, at, allow_unpinned)


def place(name: str, repository: str | None, files: str, at: str, allow_unpinned: bool) -> tuple[Path | None, str | None]:
    """The folder, or None and the commit; None too if that may be the newest. Reads and loads nothing.

    Raises
    ------
    ValueError
        If there is neither a folder nor a 40-hex commit, and it is not allowed to do without.
    """
    if at and Path(at).is_dir():
        return Path(at), None
    if repository and (re.fullmatch(r"[0-9a-f]{40}", at) or (allow_unpinned and not at)):
        return None, at or None
    ways = [f"{name}@FOLDER with the files {files}"]
    if repository:
        ways = [f"{name}@<40 hex>, the commit that {repository} shows", *ways, "or allow_unpinned: true in the preset for the newest"]
    raise ValueError(f"{name} is a data set of the hub, asked for at {at!r}; give {', '.join(ways)}")


@cache
def _read(task: str, folder: Path | None, revision: str | None) -> _Table:
    """The whole table, once for all models that are asked about it."""
    source = SOURCES[task]
    if folder is None:
        from huggingface_hub import snapshot_download

        patterns = [source.files, *filter(None, [source.pictures])]
        folder = Path(snapshot_download(source.repository, repo_type="dataset", revision=revision, allow_patterns=patterns))
    rows = _open(task, folder, source.files, source.columns, () if source.pictures else source.images)
    pictures = _open(task, folder, source.pictures, ("id",), source.images) if source.pictures else rows
    names = rows[source.picture] if source.picture else list(_digests(rows, source))
    places = _places(task, names, pictures["id"]) if source.pictures else range(len(rows))
    questions = {split: [] for split in SPLITS}
    for index, (name, row) in enumerate(zip(names, rows.select_columns(list(source.columns)).to_list(), strict=True)):
        try:
            asked = source.read(row)
        except ValueError as error:
            raise ValueError(f"row {index} of hub/{task}: {error}") from None
        if asked is None or name is None or not set(asked.among) <= set(source.candidates):
            continue
        if asked.among and asked.answer not in asked.among:
            raise ValueError(f"row {index} of hub/{task}: its answer {asked.answer!r} is none of its options {', '.join(asked.among)}")
        questions[split_of(task, name)].append((index, str(row.get(source.template, task)), asked))
    frequent = Counter(asked.answer for _, _, asked in questions["train"]).most_common(MOST)
    return _Table(questions, source.candidates or tuple(answer for answer, _ in frequent), pictures, places)


def split_of(task: str, picture: object) -> str:
    """The only split in which questions on the picture may appear: half of all pictures test, a quarter each train and validate."""
    return ("train", "validation", "test", "test")[derive_seed("hub", task, picture) % 4]


def _open(task: str, folder: Path, pattern: str, columns: tuple[str, ...], images: tuple[str, ...]) -> "Dataset":
    """The rows of the files, pictures still encoded."""
    import datasets  # late: it takes seconds, and nothing else needs it

    files = sorted(map(str, folder.glob(pattern)))
    if not files:
        raise FileNotFoundError(f"no {pattern} in {folder}; put the files of hub/{task} there, named as in pidlib.benchmarks.hub_sources")
    rows = datasets.load_dataset("parquet", data_files=files, split="train")
    expected = (*columns, *images)
    if missing := [name for name in expected if name not in rows.column_names]:
        found = ", ".join(rows.column_names)
        raise ValueError(f"hub/{task} expects the columns {', '.join(expected)}; {files[0]} has {found}: there is no {', '.join(missing)}")
    for name in images:
        rows = rows.cast_column(name, datasets.Image(decode=False))
    return rows


def _digests(rows: "Dataset", source: Source) -> Iterator[str | None]:
    """Names for pictures that have none: the hash of their bytes, None for a row without."""
    for row in rows.select_columns(list(source.images)):
        encoded = [row[name] and row[name]["bytes"] for name in source.images]
        yield hashlib.sha256(b"".join(encoded)).hexdigest() if all(encoded) else None


def _places(task: str, names: list[str], ids: list[str]) -> list[int]:
    place = {name: index for index, name in enumerate(ids)}
    if missing := sorted(set(names) - set(place)):
        raise ValueError(f"hub/{task} asks about {len(missing)} pictures that its table of pictures lacks: {', '.join(missing[:4])} ...")
    return [place[name] for name in names]


def _listing(asked: Asked, candidates: tuple[str, ...]) -> str:
    return f"{asked.options}\nAnswer with the letter of the right option." if asked.options else listing(candidates)


def _side_by_side(row: dict, source: Source) -> Image.Image:
    """The row's pictures, from left to right on white, each in its own size."""
    parts = [Image.open(io.BytesIO(row[name]["bytes"])).convert("RGB") for name in source.images]
    if len(parts) == 1:
        return parts[0]
    canvas, left = Image.new("RGB", (sum(one.width for one in parts), max(one.height for one in parts)), "white"), 0
    for one in parts:
        canvas.paste(one, (left, 0))
        left += one.width
    return canvas
