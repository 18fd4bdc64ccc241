"""The tidy table behind every figure: one atom per row, checked on writing and on reading.

A row says what was measured (experiment ... atom), what came out in bits (value, bias-corrected value, the solver's certified bounds, the
sampling interval, the null), from how much (n_samples, n_codes) and from which computation (seed, converged, fingerprint). Files are
plain CSV with one number format, so a rerun on the same machine gives the same bytes.
"""

import math
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from pidlib.experiment import project_root, unknown
from pidlib.schemas import ATOMS, SCHEMAS, Schema

_DIGITS = "%.9g"


def tidy(rows: pd.DataFrame | Iterable[Mapping[str, Any]], schema: Schema = ATOMS) -> pd.DataFrame:
    """Rows in the order and the types of the schema; columns that do not apply may be left out.

    Raises
    ------
    ValueError
        For an unknown column (with the nearest known one), a required value that is missing, or a value of the wrong type.
    """
    table = pd.DataFrame(rows if isinstance(rows, pd.DataFrame) else list(rows))
    for column in table.columns:
        if column not in schema.columns:
            raise ValueError(unknown("column", str(column), schema.columns))
    table = table.reindex(columns=list(schema.columns))
    for column, kind in schema.columns.items():
        try:
            table[column] = table[column].astype(kind)
        except (TypeError, ValueError) as error:
            raise ValueError(f"column {column!r} takes {kind} values: {error}") from None
        if kind == "Float64":
            if np.isinf(table[column].to_numpy(float, na_value=np.nan)).any():
                raise ValueError(f"column {column!r} holds infinite values; a quantity in a table is finite or missing")
            table[column] += 0.0  # a negative zero would be written as -0
    for column in schema.required:
        if table[column].isna().any():
            raise ValueError(f"column {column!r} is missing in {int(table[column].isna().sum())} of {len(table)} rows; every row needs it")
    return table.reset_index(drop=True)


def write(table: pd.DataFrame, path: Path, *, append: bool = False) -> Path:
    """Check a table and write it whole, in one step: a reader sees the old file or the new one, never half.

    With ``append``, rows of an existing file stay, unless the new table holds their fingerprint: those are replaced.
    """
    schema = _schema_of(path)
    table = tidy(table, schema)
    if append and path.exists():
        old = read(path)
        table = tidy(pd.concat([old[~old["fingerprint"].isin(table["fingerprint"])], table], ignore_index=True), schema)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".csv.part")
    table.to_csv(part, index=False, float_format=_DIGITS, lineterminator="\n")
    os.replace(part, path)
    return path


def read(path: Path) -> pd.DataFrame:
    """A table as it was written; see :func:`tidy` for what is refused."""
    if not path.exists():
        raise FileNotFoundError(f"no table at {path}; run its notebook first, or `make paper`")
    schema = _schema_of(path)
    strings = {column: kind for column, kind in schema.columns.items() if kind == "string"}  # so that "1" stays "1"
    return tidy(pd.read_csv(path, dtype=strings), schema)


def _schema_of(path: Path) -> Schema:
    """By the names of the file and of its folder, the experiment; else by that of the file."""
    return SCHEMAS.get(f"{path.parent.name}/{path.stem}", SCHEMAS.get(path.stem, ATOMS))


def published(name: str) -> pd.DataFrame:
    """Numbers that papers printed, from data/published: each row with its `source` and its `grade`.

    Grades: P, from the paper itself or its authors' files; N, from detailed notes on it; R, reconstructed by this project.

    Raises
    ------
    ValueError
        If there is no such table, or a row says not where it is from or how well that is known.
    """
    folder = project_root() / "data" / "published"
    path = folder / f"{name}.csv"
    if not path.exists():
        raise ValueError(unknown("published table", name, (file.stem for file in folder.glob("*.csv"))))
    table = pd.read_csv(path).convert_dtypes()
    if not {"source", "grade"} <= set(table) or table["source"].isna().any() or not table["grade"].isin(("P", "N", "R")).all():
        raise ValueError(f"{path}: every row needs a source, and a grade P, N or R; fill in both columns")
    return table


def drawable(table: pd.DataFrame, *, allow_unconverged: bool = False) -> pd.DataFrame:
    """The table itself, if a figure may show it.

    Raises
    ------
    ValueError
        When a solver stopped above the asked gap in some row: tighten the run, or say ``allow_unconverged=True`` and say so in the caption.
    """
    loose = table[~table["converged"].fillna(True)]
    if len(loose) and not allow_unconverged:
        first = loose.iloc[0]
        where = ", ".join(f"{key}={first[key]}" for key in ("benchmark", "model", "estimator", "atom") if pd.notna(first.get(key)))
        raise ValueError(
            f"{len(loose)} of {len(table)} rows did not converge (the first: {where}); raise the solver's max_iterations or its tol, "
            "or draw them on purpose with allow_unconverged=True"
        )
    return table


def latex(header: Sequence[str], rows: Iterable[Sequence[Any]], align: str | None = None, digits: int = 3) -> str:
    r"""A booktabs table, to be ``\input`` between ``\begin{table}`` and ``\caption``; numbers right, missing ones as a dash.

    >>> print(latex(["gate", "S"], [["AND", 0.5]]))
    \begin{tabular}{lr}
    \toprule
    gate & S \\
    \midrule
    AND & 0.500 \\
    \bottomrule
    \end{tabular}
    <BLANKLINE>
    """
    rows = [list(row) for row in rows]
    align = align or "l" + "r" * (len(header) - 1)
    lines = [" & ".join(header), *(" & ".join(_cell(value, digits) for value in row) for row in rows)]
    body = [line + r" \\" for line in lines]
    return "\n".join([rf"\begin{{tabular}}{{{align}}}", r"\toprule", body[0], r"\midrule", *body[1:], r"\bottomrule", r"\end{tabular}", ""])


def _cell(value: Any, digits: int) -> str:
    if value is None or value is pd.NA or (isinstance(value, float) and math.isnan(value)):
        return "--"
    if isinstance(value, float | np.floating):
        text = f"{value:.{digits}f}"
        return text.removeprefix("-") if float(text) == 0 else text.replace("-", "$-$")
    return str(value)
