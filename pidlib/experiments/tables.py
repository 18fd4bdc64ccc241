"""Result tables: declared columns, checked on writing and on reading.

Files are CSV with one number format, so a rerun on the same machine gives the same bytes.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from pidlib._common import project_root, replacing, unknown_name
from pidlib.experiments.preset import Preset


class Columns(NamedTuple):
    """The columns of a table: nullable pandas types by name, in order, and those never missing."""

    types: Mapping[str, str]
    required: Sequence[str]


# A name has one type in all tables: Float64 unless it is here or starts with n_.
_TYPES = {
    "string": "experiment kind study benchmark benchmark_revision split model revision family "
    "dtype size base trained_on condition against axis level mislabeled sample_id question answer "
    "unimodal source_a source_b given atom estimator method mask protocol procedure definition "
    "reconciliation reference sources target pairing needs template law expected quantity measure "
    "intervention outcome statistic conclusion verdict left_out kin model_a model_b family_a "
    "family_b size_a size_b source grade note fingerprint",
    "Int64": "partners layer epochs batch_size width steps rank cells tables n seed",
    "Float64": "n_observations n_per_condition",  # unknown, and a mean
    "boolean": "right primary recovered converged",
}
_TYPE = {name: kind for kind, names in _TYPES.items() for name in names.split()}


def declare(*parts: str | Columns, required: str = "", **types: str) -> Columns:
    """Columns in order, by names with blanks between; those required, also of parts; other types.

    >>> declare("model n_samples", "value_bits", required="model").types
    {'model': 'string', 'n_samples': 'Int64', 'value_bits': 'Float64'}
    """
    names = [part.types if isinstance(part, Columns) else part.split() for part in parts]
    kinds = {n: _TYPE.get(n, "Int64" if n.startswith("n_") else "Float64") for n in chain(*names)}
    others = (part.required for part in parts if isinstance(part, Columns))
    return Columns(kinds | types, tuple(chain(required.split(), *others)))


Tables = pd.DataFrame | Mapping[str, pd.DataFrame]  # of a notebook: one, or several by name
# What was measured: columns of each table that names a model.
ORIGIN = "benchmark split model revision benchmark_revision family dtype partners tau"
COMPUTED = "converged fingerprint"
ROW = "experiment benchmark model n_samples fingerprint"  # never missing of a model
ATOMS = declare(
    f"experiment {ORIGIN} layer estimator unimodal source_a source_b given atom",
    "value_bits corrected_bits lower_bits upper_bits ci_low ci_high null_mean null_p",
    f"n_samples n_codes seed {COMPUTED}",
    required="experiment benchmark estimator atom value_bits seed fingerprint",
)


def diagnostics(*suffixes: str) -> list[str]:
    """The names of accuracies, entropies and fallbacks of passes with these suffixes."""
    measures = ("accuracy{}", "entropy{}_bits", "fallback{}")
    return [measure.format(suffix) for measure in measures for suffix in suffixes]


def masked_diagnostics(*sources: str) -> list[str]:
    """The names of what `pidlib.profiles.diagnose` says of each source, masked."""
    measures = "spread_{} moved_{} answered_{}_bits averaged_{}_bits reconciled_{}_bits".split()
    return [name.format(source) for name in measures for source in sources]


# Of a masked profile: both modalities and each alone, see pidlib.profiles.
DIAGNOSTICS = diagnostics("", "_vision", "_language") + masked_diagnostics("vision", "language")


def declared(module: ModuleType) -> Mapping[str, Columns]:
    """The columns of the tables of a notebook's module by name, which are in ``COLUMNS``."""
    columns = module.COLUMNS
    return {module.__name__.split(".")[-1]: columns} if isinstance(columns, Columns) else columns


def validate(rows: pd.DataFrame | Iterable[Mapping[str, Any]], columns: Columns) -> pd.DataFrame:
    """Rows in the order and the types of the columns; columns that do not apply may be left out.

    Raises a ValueError for an unknown column (with the nearest known one), a missing required
    value, a value of the wrong type, or an infinite one.
    """
    table = pd.DataFrame(rows if isinstance(rows, pd.DataFrame) else list(rows))
    if unknown := [column for column in table.columns if column not in columns.types]:
        raise ValueError(unknown_name("column", str(unknown[0]), columns.types))
    table = table.reindex(columns=list(columns.types))
    for column, kind in columns.types.items():
        try:
            table[column] = table[column].astype(kind)
        except (TypeError, ValueError) as error:
            raise ValueError(f"column {column!r} takes {kind} values: {error}") from None
        if kind == "Float64":
            if np.isinf(table[column].to_numpy(float, na_value=np.nan)).any():
                raise ValueError(f"column {column!r} holds infinite values")
            table[column] += 0.0  # a negative zero would be written as -0
    for column in columns.required:
        if missing := int(table[column].isna().sum()):
            raise ValueError(f"column {column!r} is missing in {missing} of {len(table)} rows")
    return table.reset_index(drop=True)


def write(table: pd.DataFrame, path: Path, columns: Columns) -> Path:
    """Check a table and write it atomically."""
    table = validate(table, columns)
    with replacing(path) as part:
        table.to_csv(part, index=False, float_format="%.9g", lineterminator="\n")
    return path


def save(preset: Preset, module: ModuleType, tables: Tables) -> Tables:
    """Write the table that a notebook's module measured, or several by name; return them."""
    path = preset.table(notebook_name(module))
    named = {path.stem: tables} if isinstance(tables, pd.DataFrame) else tables
    for part, table in named.items():
        if preset.experiment:
            table = table.assign(experiment=preset.experiment)
        write(table, path.with_stem(part), declared(module)[part])
    return tables


def notebook_name(module: ModuleType) -> str:
    """The notebook of a module: ``pidlib.experiments.omni.fig_gate`` -> ``omni/fig_gate``."""
    return module.__name__.removeprefix(f"{__package__}.").replace(".", "/")


def read(path: Path, columns: Columns) -> pd.DataFrame:
    """Read a table and check it, see `validate`."""
    if not path.exists():
        raise FileNotFoundError(f"no table at {path}; run its notebook first, or `make paper`")
    strings = {name: kind for name, kind in columns.types.items() if kind == "string"}
    return validate(pd.read_csv(path, dtype=strings), columns)


def published(name: str) -> pd.DataFrame:
    """Published numbers from data/published; a ValueError for an unknown table or grade.

    Grades: P, from the paper or its authors' files; N, from detailed notes; R, reconstructed here.
    """
    path = project_root() / "data" / "published" / f"{name}.csv"
    if not path.exists():
        known = (file.stem for file in path.parent.glob("*.csv"))
        raise ValueError(unknown_name("published table", name, known))
    table = pd.read_csv(path).convert_dtypes()
    graded = table.reindex(columns=["source", "grade"])
    if not (graded["source"].notna() & graded["grade"].isin(("P", "N", "R"))).all():
        raise ValueError(f"{path}: every row needs a source and a grade P, N or R")
    return table


def unconverged(table: pd.DataFrame) -> str:
    """A note on the rows that the solver left above its tolerance; empty if there are none."""
    if "converged" not in table or (rows := table[~table["converged"].fillna(True)]).empty:
        return ""
    first = rows.iloc[0].reindex(["benchmark", "model", "estimator", "atom"]).dropna()
    where = ", ".join(f"{key}={value}" for key, value in first.items())
    return f"{len(rows)} of {len(table)} rows are not solved to tolerance (the first: {where})"


def booktabs(
    header: Sequence[str], rows: Iterable[Sequence[Any]], align: str | None = None, digits: int = 3
) -> str:
    r"""A booktabs table for ``\input``; numbers right-aligned, missing values as a dash.

    >>> print(booktabs(["gate", "S"], [["AND", 0.5]]))
    \begin{tabular}{lr}
    \toprule
    gate & S \\
    \midrule
    AND & 0.500 \\
    \bottomrule
    \end{tabular}
    <BLANKLINE>
    """
    align = align or "l" + "r" * (len(header) - 1)
    body = [" & ".join(_cell(value, digits) for value in row) + r" \\" for row in rows]
    top = [rf"\begin{{tabular}}{{{align}}}", r"\toprule", " & ".join(header) + r" \\", r"\midrule"]
    return "\n".join([*top, *body, r"\bottomrule", r"\end{tabular}", ""])


def heading(text: str, width: int, rule: str = "") -> list[str]:
    """A row of a LaTeX table, as wide as the table, that names those below it."""
    return [rf"{rule}\multicolumn{{{width}}}{{l}}{{\emph{{{text}}}}}"]


def with_interval(value: float, low: float, high: float, digits: int = 2) -> str:
    """A value in LaTeX with the ends of its interval as indices, without negative zeros."""
    texts = (f"{round(number, digits) + 0.0:.{digits}f}" for number in (value, low, high))
    return "${}_{{{}}}^{{{}}}$".format(*texts)


def _cell(value: Any, digits: int) -> str:
    if value is None or value is pd.NA or (isinstance(value, float) and math.isnan(value)):
        return "--"
    if isinstance(value, float | np.floating):
        text = f"{value:.{digits}f}"
        return text.removeprefix("-") if float(text) == 0 else text.replace("-", "$-$")
    return str(value) if "$" in str(value) or "\\" in str(value) else escape(str(value))


def escape(text: str) -> str:
    """Plain text for LaTeX; `booktabs` does this for cells without ``$`` or a command."""
    return text.replace("_", r"\_").replace("%", r"\%")
