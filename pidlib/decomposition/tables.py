"""Decisions from tables of probabilities, one row per sample."""

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, TextIO

import numpy as np
from jaxtyping import Float

if TYPE_CHECKING:
    import pandas


def read_decisions(
    table: "pandas.DataFrame | str | os.PathLike | TextIO",
    *,
    joint: str = "both",
    sources: Sequence[str] | None = None,
    id_column: str = "sample_id",
    tolerance: float = 1e-3,
    normalize: bool = False,
) -> list:
    """The ids of the rows, then name and probabilities of each input, the joint one first.

    The columns ``<input>:<candidate>`` of the table (a DataFrame, a CSV file, an open text file)
    hold p(candidate | input) for the inputs `joint` and two sources, by default the two others with
    such columns; `id_column` holds unique names; other columns are ignored. The probabilities of a
    row sum to one to within `tolerance`; `normalize` divides unnormalized or truncated ones by
    their sum. Errors name the row and the column.
    """
    frame = _frame(table, id_column)
    columns = _columns(list(frame.columns), joint, sources)
    ids = _ids(frame, id_column)
    blocks: list = [tuple(map(str, ids))]
    for name, candidates in columns.items():
        rows = np.stack([_numbers(frame[column], ids) for column in candidates], axis=1)
        total = rows.sum(1)
        wrong = ~(total > 0) if normalize else ~(np.abs(total - 1) <= tolerance)
        if wrong.any():
            row = int(wrong.argmax())
            remedy = "" if normalize else "; pass normalize=True to divide each row by its sum"
            raise ValueError(
                f"the probabilities {name}:* of {wrong.sum()} of {len(rows)} rows do not sum to "
                f"one, first of row {ids[row]!r}, with sum {total[row]:.6g}{remedy}"
            )
        blocks.append((name, rows / total[:, None]))
    return blocks


def _frame(table: object, id_column: str) -> "pandas.DataFrame":
    import pandas  # slow to import

    if not isinstance(table, pandas.DataFrame):
        options = {"skipinitialspace": True, "encoding": "utf-8-sig"}
        table = pandas.read_csv(table, dtype={id_column: str}, **options)
    if not len(table):
        raise ValueError("the table has no rows")
    repeated = table.columns[table.columns.duplicated()]
    if len(repeated):
        raise ValueError(f"the table has two columns {repeated[0]!r}; rename one of them")
    return table


def _columns(
    names: list[object], joint: str, sources: Sequence[str] | None
) -> dict[str, list[str]]:
    """The columns of each input, in the order of the candidates of the joint one."""
    found: dict[str, list[str]] = {}
    for name in names:
        if isinstance(name, str) and ":" in name:
            prefix, candidate = name.split(":", 1)
            found.setdefault(prefix, []).append(candidate)
    candidates = found.get(joint, [])
    if len(candidates) < 2:
        raise ValueError(
            f"expected columns '{joint}:<candidate>' for at least two candidates; the table has "
            f"the columns {', '.join(map(str, names[:12]))}"
        )
    if sources is None:
        sources = [prefix for prefix in found if prefix != joint]
    if len(set(sources)) != 2 or len(sources) != 2 or joint in sources:
        raise ValueError(
            f"expected columns '<source>:<candidate>' for two sources besides {joint!r}, found "
            f"{', '.join(sources) or 'none'}; pass sources=(first, second)"
        )
    for source in sources:
        own = set(found.get(source, []))
        missing = [f"{source}:{name}" for name in candidates if name not in own]
        extra = [f"{joint}:{name}" for name in own - set(candidates)]
        if missing or extra:
            raise ValueError(
                f"every input needs the same candidates; missing columns: "
                f"{', '.join(missing + sorted(extra))}"
            )
    return {name: [f"{name}:{c}" for c in candidates] for name in (joint, *sources)}


def _ids(frame: "pandas.DataFrame", id_column: str) -> list[object]:
    if id_column not in frame.columns:
        raise ValueError(f"the table has no column {id_column!r}; pass id_column=... of your table")
    ids = frame[id_column]
    if ids.isna().any():
        raise ValueError(f"{id_column} is empty in row {int(ids.isna().to_numpy().argmax())}")
    if ids.duplicated().any():
        repeated = ids[ids.duplicated()].unique()[:5].tolist()
        raise ValueError(
            f"{id_column} must be unique, but is repeated for {', '.join(map(repr, repeated))}"
        )
    return ids.tolist()


def _numbers(column: "pandas.Series", ids: list[object]) -> Float[np.ndarray, " rows"]:
    """The probabilities of a column, each finite and not negative."""
    import pandas

    values = pandas.to_numeric(column, errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan)
    wrong = ~((values >= 0) & np.isfinite(values))
    if wrong.any():
        row = int(wrong.argmax())
        raise ValueError(
            f"{column.name!r} of row {ids[row]!r} is {str(column.iloc[row])!r}; probabilities must "
            "be finite numbers, not negative"
        )
    return values
