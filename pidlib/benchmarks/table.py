"""Your own questions, from a table: the benchmark ``table:cars.csv``.

A row is a question. Its columns, which can have other names in `load_table`:

==========  =======================================================================================
question    text of the question
answer      right answer, one of the candidates
picture     file of a picture, relative to the folder of the table; in parquet also the picture
video       instead of a picture, file of a clip with sound
audio       file of the sound of a clip, if it is not in the video
candidates  answers to choose from, ``yes|no``, the same in all rows; without this column they are
            all answers of the table, sorted
options     texts to choose from in this row, ``red|green|blue``, which are lettered: candidates are
            the letters then, and an answer is a letter or a text. Other text is shown as it is
template    form of the question, if several questions are instances of one form
split       train, validation or test; without this column the table serves for any split
id          name of the question; without this column the number of its row
==========  =======================================================================================

Only question and answer are required. A cell of candidates or options can also be a list, or JSON.
"""

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from random import Random
from string import ascii_uppercase
from typing import TYPE_CHECKING, Any, NamedTuple

from pidlib._common import derive_seed, unknown_name
from pidlib.benchmarks.hub import content_hash, warn_if_fewer
from pidlib.benchmarks.sample import SPLITS, Sample, lettered_options, listing

if TYPE_CHECKING:
    import pandas as pd
    from datasets import Dataset

    Table = str | Path | Dataset | pd.DataFrame | Sequence[Mapping[str, Any]]

MEDIA = ("picture", "video", "audio")
COLUMNS = ("question", "answer", *MEDIA, "candidates", "options", "template", "split", "id")
SUFFIXES = (".csv", ".tsv", ".jsonl", ".parquet")
MAX_CANDIDATES = 20  # that are collected from the answers
N_SHOWN = 10  # faults in a message


class _Row(NamedTuple):
    """One question, and the files or contents of its media."""

    index: int
    facts: dict[str, Any]  # arguments of `Sample`
    media: dict[str, Any]


class _Faults(list):
    """Faults of rows, raised together; `names` are those of columns in the table."""

    def __init__(self, names: Mapping[str, str]):
        self.names = names

    def add(self, row: int, column: str, text: object) -> None:
        column = self.names.get(column, column)
        self.append((row, f"row {row + 1}, column {column!r}: {text}"))

    def check(self, name: str) -> None:
        if self:
            shown = [text for _, text in sorted(self)[:N_SHOWN]]
            rest = [f"and {len(self) - N_SHOWN} more"] if len(self) > N_SHOWN else []
            head = f"{name}: {len(self)} faults; row 1 is the first below the header"
            raise ValueError("\n  ".join([head, *shown, *rest]))


def load_table(
    table: "Table",
    *,
    folder: str | Path | None = None,
    name: str | None = None,
    candidates: Sequence[str] | str | None = None,
    lettered: bool = False,
    listed: bool = False,
    n_frames: int | None = None,
    seconds: float | None = None,
    **columns: str,
) -> list[Sample]:
    """Make samples of the rows of a table, in their order.

    Parameters
    ----------
    table
        A CSV, TSV, JSONL or parquet file; or a `datasets.Dataset`, a DataFrame or dictionaries.
    folder, name
        Folder of relative paths, by default that of the file, or the working directory; name of the
        benchmark, by default ``table:FILE``.
    candidates
        The answers to choose from, or the name of their column.
    lettered, listed
        Append the candidates to each question: as lettered options, so that letters are answered
        (`Sample.candidates` are the letters), or as words, "red, green or blue?".
    n_frames, seconds
        Frames and length of clips: longer clips are cut, shorter clips padded. By default all are
        as long as the longest, with a frame per second and at least four.
    **columns
        Names of columns that differ from those above: ``question="prompt", picture="file"``.

    Raises
    ------
    ValueError
        If a column is missing or unknown, or rows are incomplete or contradictory, or their media
        cannot be read. The message names the first ten rows with their columns.
    FileNotFoundError
        If there is no such table.

    Examples
    --------
    >>> rows = [{"q": "red?", "answer": "no"}, {"q": "blue?", "answer": "yes"}]
    >>> [sample.candidates for sample in load_table(rows, question="q")]
    [('no', 'yes'), ('no', 'yes')]
    """
    name, rows = _rows(table, folder, name, candidates, lettered, listed, **columns)
    return _samples(name, rows, "test", n_frames, seconds)


def load(
    path: str,
    split: str,
    n: int | None = None,
    seed: int = 0,
    source: str = "",
    allow_unpinned: bool = False,
    listed: bool = False,
) -> list[Sample]:
    """Load the first n questions of the split in an order shuffled by the seed.

    If there are fewer, all are returned, with a warning. Raises what `load_table` does, of media
    for these questions alone; a ValueError if the split is empty or ``source`` is not the table's
    `revision`.
    """
    check(path, source)
    name, rows = _rows(path, listed=listed)
    chosen = [row for row in rows if row.facts.get("split", split) == split]
    if not chosen:
        held = ", ".join(sorted({row.facts["split"] for row in rows}))
        raise ValueError(f"{name} has no rows of the split {split!r}; its splits are {held}")
    Random(derive_seed(seed, "table", Path(path).name, split)).shuffle(chosen)
    warn_if_fewer(name, split, n, len(chosen))
    return _samples(name, chosen[:n], split)


def check(path: str, source: str = "", allow_unpinned: bool = False) -> None:
    """Raise a ValueError if the table has faults, or ``source`` is not its `revision`."""
    actual = revision(path)
    if source not in ("", actual):
        raise ValueError(
            f"table:{path} has the revision {actual}, a hash of its files, and not {source}: they"
            " have changed; give that one, or none"
        )


def revision(path: str, source: str = "", allow_unpinned: bool = False) -> str:
    """Hash the bytes of a table and of all its media."""
    _, rows = _rows(path)
    media = (value for row in rows for value in row.media.values() if isinstance(value, Path))
    return content_hash([Path(path), *dict.fromkeys(media)])


def _rows(
    table: "Table",
    folder: str | Path | None = None,
    name: str | None = None,
    candidates: Sequence[str] | str | None = None,
    lettered: bool = False,
    listed: bool = False,
    **columns: str,
) -> tuple[str, list[_Row]]:
    """Read and check all rows; their media are located, not decoded."""
    is_file = isinstance(table, str | Path)
    name = name or (f"table:{Path(table).name}" if is_file else "table")
    folder = Path(folder or (Path(table).parent if is_file else ".")).absolute()
    if isinstance(candidates, str):
        columns["candidates"], candidates = candidates, None
    names, cells = _cells(name, table, columns)
    faults, rows = _Faults(names), []
    ids = Counter(cell.get("id") for cell in cells)
    has_media = any(column in cell for cell in cells for column in MEDIA)
    answers = _answers(cells, candidates, lettered, listed, faults)
    for index, (cell, facts) in enumerate(zip(cells, answers, strict=True)):
        if "question" not in cell:
            faults.add(index, "question", "it is empty")
        if has_media and ("picture" in cell) == ("video" in cell):
            faults.add(index, "picture", "give a picture or a video")
        if "audio" in cell and "video" not in cell:
            faults.add(index, "audio", "give the video too")
        if "id" in cell and ids[cell["id"]] > 1:
            faults.add(index, "id", f"{cell['id']!r} is repeated")
        if cell.get("split", "test") not in SPLITS:
            faults.add(index, "split", f"{cell['split']!r} is none of {', '.join(SPLITS)}")
        media = {column: _located(folder, cell[column]) for column in MEDIA if column in cell}
        for column, value in media.items():
            if isinstance(value, Path) and not value.is_file():
                faults.add(index, column, f"there is no file {value}")
        facts |= {key: cell[key] for key in ("question", "split") if key in cell}
        facts |= {"sample_id": cell.get("id", f"{name}/{index + 1:06d}"), "benchmark": name}
        rows.append(_Row(index, facts | {"template": cell.get("template", name)}, media))
    faults.check(name)
    return name, rows


def _cells(
    name: str, table: "Table", columns: Mapping[str, str]
) -> tuple[dict[str, str], list[dict[str, Any]]]:
    """Return the names of `COLUMNS` in the table, and the cells of each row that are not empty."""
    records = _records(table)
    held = list(dict.fromkeys(column for record in records for column in record))
    if not records:
        raise ValueError(f"{name} has no rows")
    for column in columns.keys() - set(COLUMNS):
        raise ValueError(unknown_name("column", column, COLUMNS))
    names = {}
    for column in COLUMNS:
        given = columns.get(column, column)
        if given in held:
            names[column] = given
        elif column in columns or column in ("question", "answer"):
            hint = f"name the column of each {column} as {column}='...'"
            raise ValueError(f"{name}: {unknown_name('column', given, held)}; {hint}")
    whole = {*MEDIA, "candidates", "options"}
    cells = [
        {
            column: record[given] if column in whole else _text(record[given])
            for column, given in names.items()
            if not _is_empty(record.get(given))
        }
        for record in records
    ]
    return names, cells


def _records(table: "Table") -> list[Mapping[str, Any]]:
    """Return the rows as dictionaries, with encoded pictures."""
    if isinstance(table, str | Path):
        return _read(Path(table))
    if hasattr(table, "cast_column"):  # a Dataset
        import datasets

        for column, feature in table.features.items():
            if isinstance(feature, datasets.Image):
                table = table.cast_column(column, datasets.Image(decode=False))
        labels = {c: f for c, f in table.features.items() if isinstance(f, datasets.ClassLabel)}
        return [row | {c: f.int2str(row[c]) for c, f in labels.items()} for row in table.to_list()]
    return table.to_dict("records") if hasattr(table, "to_dict") else list(table)


def _read(path: Path) -> list[Mapping[str, Any]]:
    import pandas as pd
    import pyarrow.parquet as pq

    if path.suffix not in SUFFIXES:
        raise ValueError(f"{path} is no table; give a file that ends in {', '.join(SUFFIXES)}")
    if not path.is_file():
        raise FileNotFoundError(f"no table {path} in {Path.cwd()}")
    try:
        if path.suffix == ".parquet":
            return pq.read_table(path).to_pylist()
        if path.suffix == ".jsonl":
            lines = path.read_text(encoding="utf-8-sig").splitlines()
            return [dict(json.loads(line)) for line in lines if line.strip()]
        options = {"sep": "\t" if path.suffix == ".tsv" else ",", "encoding": "utf-8-sig"}
        return pd.read_csv(path, dtype=str, keep_default_na=False, **options).to_dict("records")
    except (ValueError, TypeError, OSError) as error:
        raise ValueError(f"{path} cannot be read: {error}") from error


def _answers(
    cells: Sequence[Mapping[str, Any]],
    candidates: Sequence[str] | None,
    lettered: bool,
    listed: bool,
    faults: _Faults,
) -> Iterator[dict[str, Any]]:
    """Yield candidates, answer and options of each row."""
    lists = [_texts(cell.get("options")) for cell in cells]
    declared = [_texts(cell.get("candidates")) for cell in cells]
    common = tuple(map(_text, candidates or ())) or declared[0]
    lettered |= any(lists)
    if not common and not any(lists):
        common = tuple(sorted({cell["answer"] for cell in cells if "answer" in cell}))
        if len(common) > MAX_CANDIDATES:
            known = f"{', '.join(map(repr, common[:3]))} ..."
            faults.add(0, "answer", f"{len(common)} different answers, {known}; give candidates")
    size = max(map(len, lists)) or len(common)
    letters = tuple(ascii_uppercase[:size])
    for index, cell in enumerate(cells):
        choices, answer = lists[index] if any(lists) else common, cell.get("answer")
        if any(lists) and not choices:
            faults.add(index, "options", "it is no list, and in other rows it is")
        if declared[index] and declared[index] != common and not any(lists):
            faults.add(index, "candidates", f"not those of row 1, {', '.join(common)}")
        text = cell.get("options") or (listing(common) if listed else "")
        if lettered:
            text = lettered_options(choices)
            by_text = {choice: letter for letter, choice in zip(letters, choices, strict=False)}
            if answer in by_text and answer in letters and by_text[answer] != answer:
                faults.add(index, "answer", f"{answer!r} is a letter and another option; rename it")
            answer = by_text.get(answer, answer)
        known = letters[: len(choices)] if lettered else choices
        if answer not in known:
            fault = f"{answer!r} is none of {', '.join(known)}" if answer else "it is empty"
            faults.add(index, "answer", fault)
        yield {"answer": answer, "candidates": letters if lettered else common, "options": text}


def _texts(cell: Any) -> tuple[str, ...]:
    """Return the texts of a list, of JSON, or between bars; none of another text."""
    if isinstance(cell, str):
        try:
            cell = json.loads(cell) if cell.lstrip().startswith("[") else cell.split("|")
        except ValueError:
            return ()
        cell = cell if len(cell) > 1 else []
    return tuple(map(_text, () if cell is None else cell))


def _text(cell: Any) -> str:
    is_whole = isinstance(cell, float) and cell.is_integer()  # as integers are beside empty cells
    return str(int(cell) if is_whole else cell).strip()


def _is_empty(cell: Any) -> bool:
    is_nan = isinstance(cell, float) and cell != cell
    return cell is None or is_nan or (isinstance(cell, str) and not cell.strip())


def _located(folder: Path, cell: Any) -> Any:
    """Return the path of a file, the bytes of an encoded picture, or a picture."""
    if isinstance(cell, Mapping):  # of a data set
        cell = cell.get("bytes") or cell.get("path")
    return folder / cell if isinstance(cell, str | Path) else cell


def _samples(
    name: str,
    rows: Sequence[_Row],
    split: str,
    n_frames: int | None = None,
    seconds: float | None = None,
) -> list[Sample]:
    """Decode the media of rows; `split` is that of a table without splits."""
    faults, samples = _Faults({}), []
    clips = _clips(rows, n_frames, seconds, faults)
    for row in rows:
        try:
            video, audio = clips.get(_clip(row), (None, None))
            media = {"image": row.media.get("picture"), "video": video, "audio": audio}
            samples.append(Sample(**{"split": split} | row.facts | media))
        except ValueError as error:
            faults.add(row.index, "picture", error)
    faults.check(name)
    return samples


def _clip(row: _Row) -> tuple[Path | None, Path | None]:
    return row.media.get("video"), row.media.get("audio")


def _clips(
    rows: Sequence[_Row], n_frames: int | None, seconds: float | None, faults: _Faults
) -> dict[tuple, tuple]:
    """Decode each clip once."""
    first = {_clip(row): row.index for row in reversed(rows) if "video" in row.media}
    if not first:
        return {}
    from pidlib.benchmarks import media  # late: only clips need its package

    seconds = seconds or max(media.duration(audio or video) for video, audio in first) or None
    n_frames = n_frames or max(4, 2 * round((seconds or 0) / 2))
    clips = {}
    for (video, audio), index in first.items():
        try:
            clips[video, audio] = media.decode(video, n_frames, seconds, audio)
        except ValueError as error:
            faults.add(index, "video", f"{video}: {error}")
    return clips
