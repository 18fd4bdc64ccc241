"""The tidy table behind every figure: one atom per row, checked on writing and on reading.

A row says what was measured (experiment ... atom), what came out in bits (value, bias-corrected value, the solver's certified bounds, the
sampling interval, the null), from how much (n_samples, n_codes) and from which computation (seed, converged, fingerprint). Files are
plain CSV with one number format, so a rerun on the same machine gives the same bytes.
"""

import math
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from pidlib.experiment import project_root, unknown

_DIGITS = "%.9g"


class Schema(NamedTuple):
    """The columns of a table in their order, each with a nullable pandas type, and those that no row may lack.

    Nullable, so that a layer or a null that does not apply is missing: neither -1 nor 0.
    """

    columns: Mapping[str, str]
    required: Sequence[str]


ATOMS = Schema(
    {
        "experiment": "string",
        "benchmark": "string",
        "split": "string",
        "model": "string",
        "revision": "string",
        "layer": "Int64",
        "estimator": "string",
        "unimodal": "string",
        "source_a": "string",
        "source_b": "string",
        "given": "string",
        "atom": "string",
        "value_bits": "Float64",
        "corrected_bits": "Float64",
        "lower_bits": "Float64",
        "upper_bits": "Float64",
        "ci_low": "Float64",
        "ci_high": "Float64",
        "null_mean": "Float64",
        "null_p": "Float64",
        "n_samples": "Int64",
        "n_codes": "Int64",
        "seed": "Int64",
        "converged": "boolean",
        "fingerprint": "string",
    },
    required=("experiment", "benchmark", "estimator", "atom", "value_bits", "seed", "fingerprint"),
)


PROFILED = Schema(
    {
        "experiment": "string",
        "benchmark": "string",
        "split": "string",
        "model": "string",
        "revision": "string",
        "accuracy": "Float64",
        "accuracy_vision": "Float64",
        "accuracy_language": "Float64",
        "entropy_bits": "Float64",
        "entropy_vision_bits": "Float64",
        "entropy_language_bits": "Float64",
        "fallback": "Float64",
        "fallback_vision": "Float64",
        "fallback_language": "Float64",
        "moved_vision": "Float64",
        "moved_language": "Float64",
        "n_samples": "Int64",
        "fingerprint": "string",
    },
    required=("experiment", "benchmark", "split", "model", "accuracy", "n_samples", "fingerprint"),
)

BENCH = Schema(
    {
        "method": "string",
        "size": "string",
        "cells": "Int64",
        "tables": "Int64",
        "seconds": "Float64",
        "ratio": "Float64",
        "error_bits": "Float64",
        "seed": "Int64",
        "fingerprint": "string",
    },
    required=("method", "size", "cells", "tables", "seconds", "ratio", "error_bits", "seed", "fingerprint"),
)

POPULATION = Schema(
    {
        **dict.fromkeys(("experiment", "benchmark", "split", "model", "revision", "family", "size"), "string"),
        **{f"{name}_bits": "Float64" for name in ("redundancy", "unique_vision", "unique_language", "synergy")},
        **{f"{name}_bits": "Float64" for name in ("co_information", "added_by_vision", "total", "gap")},
        **dict.fromkeys(("accuracy", "accuracy_vision", "accuracy_language", "delta_vision", "delta_low", "delta_high"), "Float64"),
        "n_samples": "Int64",
        "converged": "boolean",
        "fingerprint": "string",
    },
    required=("experiment", "benchmark", "model", "synergy_bits", "accuracy", "converged", "n_samples", "fingerprint"),
)

SENSITIVITY = Schema(
    {
        **dict.fromkeys(("experiment", "source", "grade", "kind", "benchmark", "quantity", "outcome"), "string"),
        **dict.fromkeys(("rho", "abs_rho_at_most", "ci_low", "ci_high", "family_low", "family_high"), "Float64"),
        **dict.fromkeys(("p_value", "q_value", "reliability"), "Float64"),
        **dict.fromkeys(("n_models", "n_families", "n_samples", "seed"), "Int64"),
        "converged": "boolean",
        "fingerprint": "string",
    },
    required=("experiment", "source", "quantity", "outcome", "n_models"),
)

AGREEMENT = Schema(
    {
        **dict.fromkeys(("experiment", "measure", "kin", "model_a", "model_b", "family_a", "family_b", "size_a", "size_b"), "string"),
        **dict.fromkeys(("accuracy_apart", "rho", "null_mean", "null_low", "null_high", "null_p"), "Float64"),
        **dict.fromkeys(("n_pairs", "n_cells", "n_samples", "seed"), "Int64"),
        "converged": "boolean",
        "fingerprint": "string",
    },
    required=("experiment", "measure", "n_cells", "n_samples", "fingerprint"),
)

STAGES = Schema(
    {
        "experiment": "string",
        "benchmark": "string",
        "split": "string",
        "model": "string",
        "revision": "string",
        "statistic": "string",
        "value": "Float64",
        "ci_low": "Float64",
        "ci_high": "Float64",
        "verdict": "string",
        "early_depth": "Float64",
        "late_depth": "Float64",
        "n_samples": "Int64",
        "seed": "Int64",
        "fingerprint": "string",
    },
    required=("experiment", "benchmark", "model", "statistic", "verdict", "early_depth", "late_depth", "n_samples", "seed", "fingerprint"),
)

INTERVENED = Schema(
    {
        "experiment": "string",
        "kind": "string",
        "benchmark": "string",
        "split": "string",
        "model": "string",
        "revision": "string",
        "quantity": "string",
        "intervention": "string",
        "value": "Float64",
        "ci_low": "Float64",
        "ci_high": "Float64",
        "null_low": "Float64",
        "null_high": "Float64",
        "n_samples": "Int64",
        "n_models": "Int64",
        "seed": "Int64",
        "fingerprint": "string",
    },
    required=("experiment", "kind", "benchmark", "seed", "fingerprint"),
)

ESTIMATORS = Schema(
    {
        "study": "string",
        **ATOMS.columns,
        "epochs": "Int64",
        "batch_size": "Int64",
        "seconds": "Float64",
        "ratio": "Float64",
        "fallback": "Float64",
    },
    required=("study", *ATOMS.required),
)

TWO_LEVELS = Schema(
    {"sources": "string", "target": "string", **ATOMS.columns, "target_bits": "Float64"},
    required=("sources", "target", "target_bits", *ATOMS.required),
)

AUDIT = Schema(
    {"protocol": "string", **ATOMS.columns, "n_observations": "Float64", "source": "string", "grade": "string"},
    required=("protocol", "n_observations", *ATOMS.required),
)

SYNTHETIC = Schema({**AUDIT.columns, "expected": "string", "recovered": "boolean"}, required=("expected", "recovered", *AUDIT.required))

CONTRIBUTIONS = Schema(
    {
        **ATOMS.columns,
        **dict.fromkeys(("contribution", "contribution_low", "contribution_high", "unique_p"), "Float64"),
        **dict.fromkeys(("source", "grade"), "string"),
    },
    required=tuple(name for name in ATOMS.required if name != "value_bits"),  # of published shares the atoms are not known
)

FUSION = Schema(
    {
        **dict.fromkeys(("kind", "target", "source", "grade"), "string"),
        **CONTRIBUTIONS.columns,
        **dict.fromkeys(("accuracy", "prior", "moved", "null_high", "spread_mechanism", "spread_rest"), "Float64"),
        "n_seeds": "Int64",
    },
    required=("kind", "experiment"),
)

SCHEMAS: dict[str, Schema] = {  # tables by name that hold something else than atoms
    "table_profiles": PROFILED,
    "fig_solver": BENCH,
    "fig_sensitivity": POPULATION,
    "table1_sensitivity": SENSITIVITY,
    "fig_families": AGREEMENT,
    "fig_interventions": INTERVENED,
    "table_layers": STAGES,
    "fig_estimators": ESTIMATORS,
    "fig_two_levels": TWO_LEVELS,
    "fig_protocol_audit": AUDIT,
    "table_synthetic": SYNTHETIC,
    "table2_contributions": CONTRIBUTIONS,
    "fig_contributions": CONTRIBUTIONS,
    "fig_fusion": FUSION,
}


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
    schema = SCHEMAS.get(path.stem, ATOMS)
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
    schema = SCHEMAS.get(path.stem, ATOMS)
    strings = {column: kind for column, kind in schema.columns.items() if kind == "string"}  # so that "1" stays "1"
    return tidy(pd.read_csv(path, dtype=strings), schema)


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
        where = ", ".join(f"{key}={first[key]}" for key in ("benchmark", "model", "estimator", "atom") if first.get(key) is not pd.NA)
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
