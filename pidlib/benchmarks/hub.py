"""Benchmarks of the hub, named ``hub/mmbench@SOURCE``.

SOURCE is the 40-hex commit of the repository, so that a rerun reads the same rows, or, for machines
without network, a folder with the same files. Only parquet files are read, never a script. One
labeled part of each data set is used and divided by picture: half of the pictures test, a quarter
each train and validate, and all questions about a picture are in one split.

`pidlib.benchmarks.hub_sources` declares what is read from each data set, and how.
"""

import hashlib
import re
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any, NamedTuple

from PIL import Image

from pidlib._common import derive_seed, unknown_name
from pidlib.benchmarks.hub_sources import N_OPEN_ANSWERS, TASKS, Question
from pidlib.benchmarks.sample import ANSWER_LETTER, Sample, as_displayed, listing
from pidlib.models.load import download

if TYPE_CHECKING:
    from datasets import Dataset


class _Row(NamedTuple):
    """One question of a data set."""

    index: int  # its row in the table
    split: str
    template: str
    content: Question
    picture: int  # row of its picture


class _Table(NamedTuple):
    """The questions of a data set, the table of its pictures, and its revision."""

    rows: list[_Row]
    candidates: tuple[str, ...]
    pictures: "Dataset"
    revision: str


def load(
    task: str, split: str, n: int | None, seed: int, folder: Path | None, commit: str | None
) -> list[Sample]:
    """Load the first n questions of the split in an order shuffled by the seed.

    If there are fewer, all are returned, with a warning. Candidates are letters or words, listed in
    `Sample.options`. Those of VQAv2 and GQA are the most frequent answers to the training pictures;
    questions with other answers are left out, with a warning that states their share.

    Raises a FileNotFoundError if the folder lacks the files; a ValueError if a column is missing,
    and one that names the row if a cell or picture is missing or cannot be read, or an answer is
    not among its question's options.
    """
    benchmark, table = f"hub/{task}", _read(task, folder, commit)
    candidates = table.candidates
    rows = [row for row in table.rows if row.split == split]
    if not TASKS[task].candidates:
        known = [row for row in rows if row.content.answer in candidates]
        warnings.warn(
            f"{benchmark} {split}: {1 - len(known) / max(len(rows), 1):.0%} of the questions are"
            f" left out, as their answers are not among {', '.join(candidates)}",
            stacklevel=2,
        )
        rows = known
    samples = []
    for row in choose(benchmark, split, rows, n, seed):
        options = f"{row.content.options}\n{ANSWER_LETTER}" if row.content.options else ""
        sample = Sample(
            sample_id=f"{benchmark}/{split}/{row.index:06d}",
            benchmark=benchmark,
            template=row.template,
            question=row.content.question.strip(),
            candidates=candidates,
            answer=row.content.answer,
            split=split,
            options=options or listing(candidates),
            image=_picture(task, row.index, table.pictures[row.picture]),
        )
        samples.append(sample)
    return samples


def revision(task: str, folder: Path | None, commit: str | None) -> str:
    """Return the commit of a data set, or the hash of the files in its folder."""
    return _read(task, folder, commit).revision


def origin(task: str) -> tuple[str, str | None, str]:
    """Return a benchmark's name, its repository on the hub and its files, for `resolve`."""
    return f"hub/{task}", TASKS[task].repository, TASKS[task].files


def resolve(
    benchmark: str, repository: str | None, files: str, source: str, allow_unpinned: bool
) -> tuple[Path | None, str | None]:
    """Return (folder, None), (None, commit), or (None, None) for the newest commit.

    Reads and loads nothing. Raises a ValueError if ``source`` is neither a folder nor a 40-hex
    commit, unless ``allow_unpinned``.
    """
    if source and Path(source).is_dir():
        return Path(source), None
    pinned = re.fullmatch(r"[0-9a-f]{40}", source)
    if repository and (pinned or (allow_unpinned and not source)):
        return None, source or None
    ways = [f"{benchmark}@FOLDER with the files {files}"]
    if repository:
        ways.insert(0, f"{benchmark}@<40 hex>, a commit of {repository}")
        ways.append("or allow_unpinned: true in the preset for the newest commit")
    raise ValueError(f"{benchmark} is without commit or folder, {source!r}; give {', '.join(ways)}")


def content_hash(files: Iterable[Path]) -> str:
    """Hash the bytes of files in their order: 16 hex digits."""
    digest = hashlib.sha256()
    for path in files:
        status = path.stat()
        digest.update(_file_hash(path, status.st_mtime_ns, status.st_size))
    return digest.hexdigest()[:16]


@cache
def _file_hash(path: Path, changed: int, size: int) -> bytes:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").digest()


def choose(name: str, split: str, rows: Iterable[Any], n: int | None, seed: int) -> list[Any]:
    """Return the first n rows of a split in an order by the seed; warn if there are fewer."""
    rows = list(rows)
    Random(derive_seed(seed, *re.split("[/:]", name, maxsplit=1), split)).shuffle(rows)
    if n is not None and n > len(rows):
        known = f"{name} {split} has {len(rows)} questions"
        warnings.warn(f"{known}, fewer than {n}: all are used", stacklevel=3)
    return rows[:n]


def split_of(task: str, picture: object) -> str:
    """Return the only split with questions about a picture: test for half of the pictures."""
    return ("train", "validation", "test", "test")[derive_seed("hub", task, picture) % 4]


@cache
def _read(task: str, folder: Path | None, commit: str | None) -> _Table:
    """Read all questions, once for all models."""
    from datasets import ClassLabel, Value  # late: it takes seconds, and nothing else needs it

    declared = TASKS[task]
    patterns = [declared.files, *filter(None, [declared.pictures])]
    if is_on_hub := folder is None:
        folder = download(declared.repository, commit, patterns, "dataset")
    named = tuple(filter(None, (declared.picture, declared.template)))
    if declared.pictures:
        rows = _open(task, folder, declared.files, named)
        pictures = _open(task, folder, declared.pictures, ("id",), declared.images)
        places = {str(name): place for place, name in enumerate(pictures["id"])}
    else:
        pictures = rows = _open(task, folder, declared.files, named, declared.images)
        places = None
    values = [  # columns of values and of lists of values
        column
        for column, feature in rows.features.items()
        if isinstance(getattr(feature, "feature", feature), Value | ClassLabel)
    ]
    cells, questions = rows.select_columns(values).to_list(), []
    if declared.picture:
        names = (str(row[declared.picture]) for row in cells)
    else:
        names = _digests(rows, declared.images)
    for index, (name, row) in enumerate(zip(names, cells, strict=True)):
        if name is None or (content := _question(task, index, row)) is None:
            continue
        place = index if places is None else places.get(name)
        if place is None:
            lost = f"its picture {name!r} is not in {declared.pictures}"
            raise ValueError(f"row {index} of hub/{task}: {lost}; download all of these files")
        template = str(row[declared.template]) if declared.template else task
        questions.append(_Row(index, split_of(task, name), template, content, place))
    answers = Counter(row.content.answer for row in questions if row.split == "train")
    most = tuple(answer for answer, _ in answers.most_common(N_OPEN_ANSWERS))
    files = [path for pattern in patterns for path in sorted(folder.glob(pattern))]
    revision = folder.name if is_on_hub else content_hash(files)  # the snapshot has the commit
    return _Table(questions, declared.candidates or most, pictures, revision)


def _open(
    task: str, folder: Path, pattern: str, named: tuple[str, ...], images: tuple[str, ...] = ()
) -> "Dataset":
    """Open the rows of the files, with the pictures still encoded."""
    import datasets
    from pyarrow.parquet import read_metadata

    files = sorted(map(str, folder.glob(pattern)))
    if not files:
        advice = f"put the files of hub/{task} there, named as in pidlib.benchmarks.hub_sources"
        raise FileNotFoundError(f"no {pattern} in {folder}; {advice}")
    for file in files:
        try:
            read_metadata(file)
        except (ValueError, OSError) as error:
            raise ValueError(f"{file} cannot be read ({error}); download it again") from error
    rows = datasets.load_dataset("parquet", data_files=files, split="train")
    for name in (*named, *images):
        if name not in rows.column_names:
            raise ValueError(f"hub/{task}: {unknown_name('column', name, rows.column_names)}")
    for name in images:
        rows = rows.cast_column(name, datasets.Image(decode=False))
    return rows


def _question(task: str, index: int, row: dict[str, Any]) -> Question | None:
    """Read a row; None if it is left out."""
    declared = TASKS[task]
    try:
        content = declared.read(row)
        if content is None or not set(content.choices) <= set(declared.candidates):
            return None
        choices = content.choices or declared.candidates
        if choices and content.answer not in choices:
            known = ", ".join(choices)
            raise ValueError(f"its answer {content.answer!r} is none of its options {known}")
    except KeyError as error:
        raise ValueError(f"hub/{task}: {unknown_name('column', error.args[0], row)}") from error
    except (ValueError, TypeError, AttributeError, IndexError) as error:
        raise ValueError(f"row {index} of hub/{task}: {error}") from error
    return content


def _digests(rows: "Dataset", images: tuple[str, ...]) -> Iterator[str | None]:
    """Name pictures by the hash of their bytes; None if a row has no picture."""
    for row in rows.select_columns(list(images)):
        pictures = [row[name] for name in images]
        encoded = b"".join(picture["bytes"] or b"" for picture in pictures if picture)
        yield hashlib.sha256(encoded).hexdigest() if all(pictures) else None


def _picture(task: str, index: int, cells: dict[str, Any]) -> Image.Image:
    """Decode the pictures of a row, placed from left to right on white, each in its size."""
    parts = []
    for name in TASKS[task].images:
        encoded = (cells[name] or {}).get("bytes")
        try:
            if not encoded:
                raise ValueError(f"the table does not contain the picture {cells[name]}")
            parts.append(as_displayed(encoded))
        except ValueError as error:
            where = f"row {index} of hub/{task}, column {name}"
            advice = "repair the row, or remove it from the files"
            raise ValueError(f"{where}: {error}; {advice}") from error
    if len(parts) == 1:
        return parts[0]
    size = (sum(part.width for part in parts), max(part.height for part in parts))
    canvas, left = Image.new("RGB", size, "white"), 0
    for part in parts:
        canvas.paste(part, (left, 0))
        left += part.width
    return canvas
