"""Decisions from tables of probabilities, one row per sample."""

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, TextIO

import numpy as np

if TYPE_CHECKING:
    import pandas

TOLERANCE = 1e-3  # of the sum of the probabilities of a row


def read_decisions(
    table: "pandas.DataFrame | str | os.PathLike | TextIO",
    *,
    joint: str = "both",
    sources: Sequence[str] | None = None,
    id_column: str = "sample_id",
    normalize: bool = False,
) -> list:
    """The ids of the rows, then name and probabilities of each input, the joint one first.

    The columns ``<input>:<candidate>`` of the table (a DataFrame, a CSV file, an open text file)
    hold p(candidate | input) for the inputs `joint` and two sources, by default the two others with
    such columns; `id_column` holds unique names; other columns are ignored. Probabilities of a row
    sum to one; `normalize` divides others by their sum. Errors name the row and the column.
    """
    import pandas  # slow to import

    if not isinstance(table, pandas.DataFrame):
        options = {"skipinitialspace": True, "encoding": "utf-8-sig"}
        table = pandas.read_csv(table, dtype={id_column: str}, **options)
    if not len(table):
        raise ValueError("the table has no rows")
    for column in table.columns[table.columns.duplicated()]:
        raise ValueError(f"the table has two columns {column!r}; rename one of them")
    if id_column not in table.columns:
        raise ValueError(f"the table has no column {id_column!r}; pass id_column=... of your table")
    ids = table[id_column]
    if ids.isna().any():
        raise ValueError(f"{id_column} is empty in row {int(ids.isna().to_numpy().argmax())}")
    if not ids.is_unique:
        repeated = ", ".join(map(repr, ids[ids.duplicated()].unique()[:5].tolist()))
        raise ValueError(f"{id_column} must be unique, but is repeated for {repeated}")
    ids = ids.tolist()
    blocks: list = [tuple(map(str, ids))]
    inputs, candidates = _inputs(list(table.columns), joint, sources)
    for name in inputs:
        cells = table[[f"{name}:{candidate}" for candidate in candidates]]
        numbers = cells.apply(pandas.to_numeric, errors="coerce")
        rows = np.ascontiguousarray(numbers.to_numpy(dtype=np.float64, na_value=np.nan))
        for column, row in np.argwhere(~((rows >= 0) & np.isfinite(rows)).T):
            cell = str(cells.iat[row, column])
            text = f"{cells.columns[column]!r} of row {ids[row]!r} is {cell!r}"
            raise ValueError(f"{text}; probabilities must be finite numbers, not negative")
        total = rows.sum(1)
        wrong = np.flatnonzero(~(total > 0) if normalize else ~(np.abs(total - 1) <= TOLERANCE))
        if len(wrong):
            row = wrong[0]
            text = f"the probabilities {name}:* of {len(wrong)} of {len(rows)} rows do not sum to"
            text += f" one, first of row {ids[row]!r}, with sum {total[row]:.6g}"
            remedy = "" if normalize else "; pass normalize=True to divide each row by its sum"
            raise ValueError(text + remedy)
        blocks.append((name, rows / total[:, None]))
    return blocks


def _inputs(
    columns: list[object], joint: str, sources: Sequence[str] | None
) -> tuple[list[str], list[str]]:
    """The inputs, the joint one first, and its candidates, which the others need too."""
    known: dict[str, list[str]] = {}
    for column in columns:
        if isinstance(column, str) and ":" in column:
            prefix, candidate = column.split(":", 1)
            known.setdefault(prefix, []).append(candidate)
    candidates = known.pop(joint, [])
    if len(candidates) < 2:
        text = f"expected columns '{joint}:<candidate>' for at least two candidates"
        raise ValueError(f"{text}; the table has the columns {', '.join(map(str, columns[:12]))}")
    sources = list(known if sources is None else sources)
    if len(sources) != 2 or len({joint, *sources}) != 3:
        text = f"expected columns '<source>:<candidate>' for two sources besides {joint!r}, found"
        raise ValueError(f"{text} {', '.join(sources) or 'none'}; pass sources=(first, second)")
    needed = [f"{name}:{candidate}" for name in (joint, *sources) for candidate in candidates]
    needed += [f"{joint}:{candidate}" for name in sources for candidate in known.get(name, [])]
    missing = [column for column in dict.fromkeys(needed) if column not in columns]
    if missing:
        raise ValueError(f"inputs need the same candidates; missing columns: {', '.join(missing)}")
    return [joint, *sources], candidates
