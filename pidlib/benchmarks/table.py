"""Your own questions, from a table: the benchmark ``table:cars.csv``."""

import csv
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import cache, partial
from io import BytesIO, StringIO
from pathlib import Path
from string import ascii_uppercase
from typing import TYPE_CHECKING, Any, NamedTuple

from PIL import Image

from pidlib._common import unknown_name
from pidlib.benchmarks.hub import choose, content_hash
from pidlib.benchmarks.media import check_streams, decode, duration
from pidlib.benchmarks.sample import SPLITS, Sample, as_displayed, lettered_options, listing

if TYPE_CHECKING:
    import pandas as pd
    from datasets import Dataset

    Table = str | Path | Dataset | pd.DataFrame | Sequence[Mapping[str, Any]]

REQUIRED, MEDIA = ("question", "answer"), ("picture", "video", "audio")
LISTS, TEXTS = ("candidates", "options"), ("template", "split", "id")
COLUMNS = (*REQUIRED, *MEDIA, *LISTS, *TEXTS)
SUFFIXES = (".csv", ".tsv", ".jsonl", ".parquet")
MAX_CANDIDATES = 20  # that are collected from the answers
N_SHOWN = 10  # faults in a message

Faults = list[tuple[int, str, object]]  # row, column, and what is wrong


class _Row(NamedTuple):
    """One question: arguments of its `Sample`, and the files or contents of its media."""

    index: int
    facts: dict[str, Any]
    media: dict[str, Any]


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

    A row is a question. Only question and answer are required of these columns::

      question   text of the question
      answer     right answer, one of the candidates
      picture    file of a picture, relative to the folder of the table; in parquet also the picture
      video      instead of a picture, file of a clip with sound
      audio      file of the sound of a clip, if it is not in the video
      candidates answers to choose from, ``yes|no``, a list or JSON, the same in all rows; without
                 this column they are all answers of the table, sorted
      options    texts to choose from in this row, ``red|green|blue`` or likewise, lettered:
                 candidates are the letters then, an answer a letter or a text. Other text is shown
      template   form of the question, if several questions are instances of one form
      split      train, validation or test; without this column the table serves for any split
      id         name of the question; without this column the number of its row

    Parameters
    ----------
    table
        A CSV (also with semicolons), TSV, JSONL or parquet file, its text in UTF-8; or a
        `datasets.Dataset`, a DataFrame or dictionaries.
    folder, name
        Folder of relative paths, by default that of the file, or the working directory; name of the
        benchmark, by default ``table:FILE``.
    candidates
        The answers to choose from, or the name of their column.
    lettered, listed
        Show the candidates after each question: as lettered options, so that the candidates are the
        letters; or as words, "red, green or blue?".
    n_frames, seconds
        Frames and length of clips, which are cut or padded. By default all are as long as the
        longest, with a frame per second and at least four.
    **columns
        Columns with other names than those above: ``question="prompt", picture="file"``.

    Raises
    ------
    ValueError
        If a column is missing or unknown, or rows are incomplete or contradictory, or their media
        cannot be read. One message names the first ten faults of all kinds with row and column.
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
    path: str, split: str, n: int | None = None, seed: int = 0, pin: str = "", listed: bool = False
) -> list[Sample]:
    """Load the first n questions of the split in an order shuffled by the seed.

    If there are fewer, all are returned, with a warning. Raises what `check` does; what
    `load_table` does for media of these questions; and a ValueError if the split is empty.
    """
    check(path, pin)
    name, rows = _rows(path, listed=listed)
    chosen = [row for row in rows if row.facts.get("split", split) == split]
    if not chosen:
        known = ", ".join(sorted({row.facts["split"] for row in rows}))
        raise ValueError(f"{name} has no rows of the split {split!r}; it has {known}")
    return _samples(name, choose(name, split, chosen, n, seed), split)


def check(path: str, pin: str = "") -> None:
    """Raise what `load_table` does, and a ValueError for another `revision`.

    Of media only the headers are read: some that are cut off are found when they are decoded.
    """
    actual = revision(path)
    if pin not in ("", actual):
        known = f"table:{path} has the revision {actual}, a hash of its files, and not {pin}"
        raise ValueError(f"{known}: a file has changed; give this one, or none")


def revision(path: str) -> str:
    """Hash the bytes of a table and of all its media."""
    files = [value for row in _rows(path)[1] for value in row.media.values()]
    return content_hash([Path(path), *(file for file in files if isinstance(file, Path))])


def _rows(
    table, folder=None, name=None, candidates=None, lettered=False, listed=False, **columns
) -> tuple[str, list[_Row]]:
    """Read and check all rows, with the parameters of `load_table`, and the headers of media."""
    is_file = isinstance(table, str | Path)
    name = name or (f"table:{Path(table).name}" if is_file else "table")
    folder = Path(folder or (Path(table).parent if is_file else ".")).absolute()
    if isinstance(candidates, str):
        columns["candidates"], candidates = candidates, None
    names, cells = _cells(name, table, columns, folder)
    faults, rows = [], []
    repeated = Counter(cell.get("id") for cell in cells)
    has_media = any(column in names for column in MEDIA)
    answers = _answers(cells, candidates, lettered, listed, faults)
    for index, (cell, facts) in enumerate(zip(cells, answers, strict=True)):
        files = {column: _located(folder, cell[column]) for column in MEDIA if column in cell}
        problems = [
            ("question", "question" not in cell, "it is empty"),
            ("picture", has_media and ("picture" in files) == ("video" in files), "give a picture"),
            ("audio", "audio" in files and "video" not in files, "give its video"),
            ("id", "id" in cell and repeated[cell["id"]] > 1, f"{cell.get('id')!r} is repeated"),
            ("split", cell.get("split", "test") not in SPLITS, f"give {', '.join(SPLITS)}"),
        ]
        paths = [(column, file) for column, file in files.items() if isinstance(file, Path)]
        lost = [(key, True, f"there is no file {at}") for key, at in paths if not at.is_file()]
        fault = "" if lost else _media_fault(*map(files.get, MEDIA))
        problems += [*lost, ("video" if "video" in files else "picture", fault, fault)]
        faults += [(index, column, text) for column, is_fault, text in problems if is_fault]
        facts |= {key: cell[key] for key in ("question", "split") if key in cell}
        facts |= {"sample_id": cell.get("id", f"{name}/{index + 1:06d}"), "benchmark": name}
        rows.append(_Row(index, facts | {"template": cell.get("template", name)}, files))
    _raise_any(faults, name, names)
    return name, rows


def _cells(
    name: str, table: "Table", columns: Mapping[str, str], folder: Path
) -> tuple[dict[str, str], list[dict[str, Any]]]:
    """Return the names of `COLUMNS` in the table, and the cells of each row that are not empty."""
    frame = _frame(table)
    if frame.empty:
        raise ValueError(f"{name} has no rows")
    names = {column: columns.get(column, column) for column in COLUMNS}
    faults = [unknown_name("column", column, COLUMNS) for column in columns.keys() - set(COLUMNS)]
    faults += [
        f"{unknown_name('column', given, frame)}; rename the column of each {column} in the file"
        f" or, in Python, give load_table(..., {column}='...')"
        for column, given in names.items()
        if given not in frame and (column in columns or column in REQUIRED)
    ]
    if not {names[column] for column in MEDIA} & set(frame):
        found = [c for c in frame.columns.difference(names.values()) if _picture(frame[c], folder)]
        advice = "no column 'picture', but {0!r} has pictures or files; rename it, or {1}{0!r})"
        faults += [advice.format(column, "load_table(..., picture=") for column in found]
    if faults:
        raise ValueError(f"{name}: {'; '.join(faults)}")
    names = {column: given for column, given in names.items() if given in frame}
    records = frame[list(names.values())].set_axis(list(names), axis=1).to_dict("records")
    kept = ({c: cell for c, cell in record.items() if not _is_empty(cell)} for record in records)
    plain = {*REQUIRED, *TEXTS}
    return names, [{c: _text(x) if c in plain else x for c, x in row.items()} for row in kept]


def _picture(column: "pd.Series", folder: Path) -> bool:
    """Whether the first cell that is not empty is a picture, or an existing file."""
    cell = next((cell for cell in column if not _is_empty(cell)), None)
    if isinstance(cell, str):
        return len(cell) < 256 and (folder / cell).is_file()
    return isinstance(cell, bytes | Image.Image) or isinstance(cell, dict) and "bytes" in cell


def _frame(table: "Table") -> "pd.DataFrame":
    """Read a table; pictures stay encoded."""
    import pandas as pd

    if isinstance(table, str | Path):
        path = Path(table)
        if (suffix := path.suffix.lower()) not in SUFFIXES:
            raise ValueError(f"{path} is no table; give a file that ends in {', '.join(SUFFIXES)}")
        if not path.is_file():
            raise FileNotFoundError(f"there is no table {path.absolute()}")
        try:
            if suffix == ".parquet":
                return pd.read_parquet(path)
            text = path.read_bytes().decode("utf-8-sig")
            if not text.strip():
                raise ValueError("it is empty")
            if suffix == ".jsonl":
                return pd.read_json(StringIO(text), lines=True, dtype=False, convert_dates=False)
            return pd.DataFrame(_separated(text))
        except UnicodeDecodeError as error:
            line = error.object.count(b"\n", 0, error.start) + 1
            found = "UTF-16" if error.object[:1] in (b"\xff", b"\xfe") else "Latin-1 or similar"
            text = f"{path} is in {found} and not in UTF-8 (line {line}); save it as UTF-8"
            raise ValueError(text) from error
        except (ValueError, OSError, csv.Error) as error:
            raise ValueError(f"{path} cannot be read: {error}") from error
    if not hasattr(table, "cast_column"):
        return pd.DataFrame(table)
    import datasets

    labels = {}
    for column, feature in table.features.items():
        if isinstance(feature, datasets.Image):
            table = table.cast_column(column, datasets.Image(decode=False))
        if isinstance(feature, datasets.ClassLabel):
            labels[column] = [feature.int2str(value) for value in table[column]]
    return table.to_pandas().assign(**labels)


def _separated(text: str) -> list[dict[str, str]]:
    """Read rows with commas, semicolons or tabs, of which the header has most."""
    mark = max(",;\t", key=text.lstrip().partition("\n")[0].count)
    options = {"delimiter": mark, "skipinitialspace": True, "strict": True}
    header, *rows = filter(None, csv.reader(StringIO(text, newline=""), **options))
    names = list(map(str.strip, header))
    if twice := [name for name in names if name and names.count(name) > 1]:
        raise ValueError(f"two columns have the name {twice[0]!r}; rename one of them")
    for number, row in enumerate(rows, 1):
        if any(row[len(names) :]):
            sizes = f"row {number} has {len(row)} cells and the header {len(names)}"
            raise ValueError(f"{sizes}; put texts that contain {mark!r} in double quotes")
    return [dict(zip(names, row, strict=False)) for row in rows]


def _answers(
    cells: Sequence[Mapping[str, Any]],
    candidates: Sequence[str] | None,
    lettered: bool,
    listed: bool,
    faults: Faults,
) -> Iterator[dict[str, Any]]:
    """Yield candidates, answer and options of each row."""
    lists, declared = ([_texts(cell.get(column)) for cell in cells] for column in reversed(LISTS))
    of_rows = any(lists)
    lettered |= of_rows
    common = tuple(map(_text, candidates or ())) or declared[0]
    if not common and not of_rows:
        common = tuple(sorted({cell["answer"] for cell in cells if "answer" in cell}))
        if len(common) > MAX_CANDIDATES:
            known = ", ".join(map(repr, common[:3]))
            faults.append((0, "answer", f"{len(common)} different, {known} ...; give candidates"))
    if alone := len(common) == 1 and not of_rows:
        advice = "add a column candidates with all possible answers, such as yes|no"
        faults.append((0, "answer", f"{common[0]!r} is the only candidate; {advice}"))
    letters = tuple(ascii_uppercase[: max(map(len, lists)) or len(common)])
    for index, cell in enumerate(cells):
        choices, answer = lists[index] if of_rows else common, cell.get("answer")
        by_text = dict(zip(choices, letters, strict=False))
        if not of_rows and declared[index] not in ((), common):
            faults.append((index, "candidates", f"not {', '.join(common)}, in the order of row 1"))
        if lettered and not alone and not 2 <= len(choices) == len(by_text):
            faults.append((index, "options", "give 2 to 26 different texts, red|green, or a list"))
        if lettered and answer in letters and by_text.get(answer, answer) != answer:
            faults.append((index, "answer", f"{answer!r} is a letter and another option"))
        known, text = common, cell.get("options") or (listing(common) if listed else "")
        if lettered:
            answer = by_text.get(answer, answer)
            known, text = letters[: len(choices)], lettered_options(choices)
        if answer not in known:
            fault = f"{answer!r} is none of {', '.join(known)}" if answer else "it is empty"
            faults.append((index, "answer", fault))
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
    # Integers in a column with empty cells are floats.
    return str(int(cell) if isinstance(cell, float) and cell.is_integer() else cell).strip()


def _is_empty(cell: Any) -> bool:
    is_blank = isinstance(cell, str) and not cell.strip()
    return cell is None or is_blank or (isinstance(cell, float) and cell != cell)


def _located(folder: Path, cell: Any) -> Any:
    """Return the path of a file, the bytes of an encoded picture, or a picture."""
    if isinstance(cell, Mapping):  # of a data set
        cell = cell.get("bytes") or cell.get("path")
    return folder / cell if isinstance(cell, str | Path) else cell


def _media_fault(image: Any, clip: Path | None, sound: Path | None) -> str:
    """Describe what the headers of a row's media have at fault."""
    try:
        if clip:
            check_streams(clip, sound)
        elif isinstance(image, Path | bytes):
            with Image.open(BytesIO(image) if isinstance(image, bytes) else image) as picture:
                picture.verify()
        elif image is not None:
            as_displayed(image)
    except ValueError as error:
        return str(error)
    except (OSError, SyntaxError, EOFError, Image.DecompressionBombError) as error:
        return f"the picture cannot be read: {error}"
    return ""


def _samples(
    name: str,
    rows: Sequence[_Row],
    split: str,
    n_frames: int | None = None,
    seconds: float | None = None,
) -> list[Sample]:
    """Decode the media of rows; `split` is that of a table without splits."""
    faults, samples, decoded = [], [], None
    media = [row.media for row in rows]
    if sounds := [each.get("audio", each["video"]) for each in media if "video" in each]:
        seconds = seconds or max(map(duration, sounds))
        n_frames = n_frames or max(4, 2 * round(seconds / 2))
        decoded = cache(partial(decode, n_frames=n_frames, seconds=seconds or None))
    for row in rows:
        image, clip, sound = map(row.media.get, MEDIA)
        try:
            video, audio = decoded(clip, sound=sound) if clip else (None, None)
            facts = {"split": split} | row.facts
            samples.append(Sample(**facts, image=image, video=video, audio=audio))
        except ValueError as error:
            faults.append((row.index, "video" if clip else "picture", error))
    _raise_any(faults, name, {})
    return samples


def _raise_any(faults: Faults, name: str, names: Mapping[str, str]) -> None:
    """Raise a ValueError with the first faults; `names` are those of columns in the table."""
    faults = sorted(faults, key=lambda fault: fault[0])
    lines = [f"row {i + 1}, column {names.get(c, c)!r}: {text}" for i, c, text in faults[:N_SHOWN]]
    if len(faults) > N_SHOWN:
        lines.append(f"and {len(faults) - N_SHOWN} more")
    if faults:
        head = f"{name} has faults ({len(faults)}); row 1 is the first below the header"
        raise ValueError("\n  ".join([head, *lines]))
