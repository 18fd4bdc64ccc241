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
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, NamedTuple

from PIL import Image

from pidlib._common import derive_seed
from pidlib.benchmarks.hub_sources import N_OPEN_ANSWERS, SOURCES, Question, Source
from pidlib.benchmarks.sample import ANSWER_LETTER, SPLITS, Sample, as_displayed, listing

if TYPE_CHECKING:
    from datasets import Dataset


class _Row(NamedTuple):
    """One question of a data set."""

    index: int  # its row in the table
    template: str
    content: Question
    picture: int  # row of its picture


class _Table(NamedTuple):
    """The questions of a data set by split, the table of its pictures, and its revision."""

    questions: dict[str, list[_Row]]
    candidates: tuple[str, ...]
    pictures: "Dataset"
    revision: str


def load(
    task: str,
    split: str,
    n: int | None = None,
    seed: int = 0,
    source: str = "",
    allow_unpinned: bool = False,
) -> list[Sample]:
    """Load the first n questions of the split in an order shuffled by the seed.

    If there are fewer, all are returned, with a warning. Candidates are letters or words, listed in
    `Sample.options`. Those of VQAv2 and GQA are the most frequent answers to the training pictures;
    questions with other answers are left out, with a warning that states their share.

    Raises
    ------
    ValueError
        As `resolve` does; if a column is missing. Naming the row: if a cell or picture is missing
        or cannot be read, or an answer is not among its question's options.
    FileNotFoundError
        If the folder lacks the files of the repository.
    """
    declared, benchmark = SOURCES[task], f"hub/{task}"
    table = _read(task, *resolve(*origin(task), source, allow_unpinned))
    candidates, rows = table.candidates, list(table.questions[split])
    if not declared.candidates:
        n_all = len(rows)
        rows = [row for row in rows if row.content.answer in candidates]
        share = 1 - len(rows) / max(n_all, 1)
        warnings.warn(
            f"{benchmark} {split}: {share:.0%} of the questions are left out, as their answers are"
            f" not among {', '.join(candidates)}",
            stacklevel=2,
        )
    Random(derive_seed(seed, "hub", task, split)).shuffle(rows)
    warn_if_fewer(benchmark, split, n, len(rows))
    return [
        Sample(
            sample_id=f"{benchmark}/{split}/{row.index:06d}",
            benchmark=benchmark,
            template=row.template,
            question=row.content.question.strip(),
            candidates=candidates,
            answer=row.content.answer,
            split=split,
            options=_options(row.content, candidates),
            image=_picture(task, row, table.pictures[row.picture], declared),
        )
        for row in rows[:n]
    ]


def revision(task: str, source: str = "", allow_unpinned: bool = False) -> str:
    """Return the commit of a data set, or the hash of the files in its folder."""
    return _read(task, *resolve(*origin(task), source, allow_unpinned)).revision


def origin(task: str) -> tuple[str, str | None, str]:
    """Return a benchmark's name, its repository on the hub and its files, for `resolve`."""
    return f"hub/{task}", SOURCES[task].repository, SOURCES[task].files


def resolve(
    benchmark: str, repository: str | None, files: str, source: str, allow_unpinned: bool
) -> tuple[Path | None, str | None]:
    """Return (folder, None), (None, commit), or (None, None) for the newest commit.

    Reads and loads nothing.

    Raises
    ------
    ValueError
        If ``source`` is neither a folder nor a 40-hex commit, unless ``allow_unpinned``.
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
    raise ValueError(
        f"{benchmark} is an external data set, given with source {source!r}; give {', '.join(ways)}"
    )


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


def warn_if_fewer(benchmark: str, split: str, n: int | None, available: int) -> None:
    """Warn if a split has fewer than n questions."""
    if n is not None and n > available:
        warnings.warn(
            f"{benchmark} {split} has {available} questions, fewer than {n}: all are used",
            stacklevel=3,
        )


def split_of(task: str, picture: object) -> str:
    """Return the only split with questions about a picture: test for half of the pictures."""
    return ("train", "validation", "test", "test")[derive_seed("hub", task, picture) % 4]


@cache
def _read(task: str, folder: Path | None, revision: str | None) -> _Table:
    """Read all questions, once for all models."""
    declared, is_folder = SOURCES[task], folder is not None
    if not is_folder:
        from huggingface_hub import snapshot_download

        folder = Path(
            snapshot_download(
                declared.repository,
                repo_type="dataset",
                revision=revision,
                allow_patterns=[declared.files, *filter(None, [declared.pictures])],
            )
        )
    images = () if declared.pictures else declared.images
    rows = _open(task, folder, declared.files, declared.columns, images)
    names = rows[declared.picture] if declared.picture else list(_digests(rows, declared))
    pictures, places = rows, range(len(rows))
    if declared.pictures:
        pictures = _open(task, folder, declared.pictures, ("id",), declared.images)
        places = _places(task, names, pictures["id"])
    questions = {split: [] for split in SPLITS}
    cells = rows.select_columns(list(declared.columns)).to_list()
    for index, (name, row) in enumerate(zip(names, cells, strict=True)):
        try:
            content = declared.read(row)
        except (ValueError, TypeError, AttributeError, LookupError) as error:
            raise ValueError(f"row {index} of hub/{task}: {error}") from error
        if content is None or name is None or not set(content.choices) <= set(declared.candidates):
            continue
        if content.choices and content.answer not in content.choices:
            raise ValueError(
                f"row {index} of hub/{task}: its answer {content.answer!r} is none of its options"
                f" {', '.join(content.choices)}"
            )
        template = str(row.get(declared.template, task))
        questions[split_of(task, name)].append(_Row(index, template, content, places[index]))
    frequent = Counter(row.content.answer for row in questions["train"])
    most = tuple(answer for answer, _ in frequent.most_common(N_OPEN_ANSWERS))
    patterns = filter(None, [declared.files, declared.pictures])
    files = [path for pattern in patterns for path in sorted(folder.glob(pattern))]
    commit = content_hash(files) if is_folder else folder.name  # of the snapshot
    return _Table(questions, declared.candidates or most, pictures, commit)


def _open(
    task: str, folder: Path, pattern: str, columns: tuple[str, ...], images: tuple[str, ...]
) -> "Dataset":
    """Open the rows of the files, with the pictures still encoded."""
    import datasets  # late: it takes seconds, and nothing else needs it

    files = sorted(map(str, folder.glob(pattern)))
    if not files:
        raise FileNotFoundError(
            f"no {pattern} in {folder}; put the files of hub/{task} there, named as in"
            " pidlib.benchmarks.hub_sources"
        )
    rows = datasets.load_dataset("parquet", data_files=files, split="train")
    expected = (*columns, *images)
    if missing := [name for name in expected if name not in rows.column_names]:
        raise ValueError(
            f"hub/{task} expects the columns {', '.join(expected)}; {files[0]} has"
            f" {', '.join(rows.column_names)}: there is no {', '.join(missing)}"
        )
    for name in images:
        rows = rows.cast_column(name, datasets.Image(decode=False))
    return rows


def _digests(rows: "Dataset", declared: Source) -> Iterator[str | None]:
    """Name pictures by the hash of their bytes; None if a row has no picture."""
    for row in rows.select_columns(list(declared.images)):
        pictures = [row[name] for name in declared.images]
        encoded = b"".join(picture["bytes"] or b"" for picture in pictures if picture)
        yield hashlib.sha256(encoded).hexdigest() if all(pictures) else None


def _places(task: str, names: Sequence[str], ids: Sequence[str]) -> list[int]:
    place = {name: index for index, name in enumerate(ids)}
    if missing := sorted(set(names) - set(place)):
        raise ValueError(
            f"the table of pictures of hub/{task} lacks {len(missing)} of the pictures in its"
            f" questions: {', '.join(missing[:4])} ..."
        )
    return [place[name] for name in names]


def _options(content: Question, candidates: tuple[str, ...]) -> str:
    if content.options:
        return f"{content.options}\n{ANSWER_LETTER}"
    return listing(candidates)


def _picture(task: str, row: _Row, cells: dict, declared: Source) -> Image.Image:
    """Decode the pictures of a row, placed from left to right on white, each in its size."""
    parts = []
    for name in declared.images:
        encoded = (cells[name] or {}).get("bytes")
        try:
            if not encoded:
                raise ValueError(f"the table does not contain the picture {cells[name]}")
            parts.append(as_displayed(encoded))
        except ValueError as error:
            raise ValueError(
                f"row {row.index} of hub/{task}, column {name}: {error}; repair the row, or"
                " remove it from the files"
            ) from error
    if len(parts) == 1:
        return parts[0]
    size = (sum(part.width for part in parts), max(part.height for part in parts))
    canvas, left = Image.new("RGB", size, "white"), 0
    for part in parts:
        canvas.paste(part, (left, 0))
        left += part.width
    return canvas
