"""Parts of sentences: numbers of a table as the text of a notebook writes them."""

import re
from collections.abc import Iterable, Sequence

import pandas as pd


def number(value: float, digits: int = 2) -> str:
    """A number with a minus sign, and without the zero before the point.

    >>> number(-0.071), number(0.0), number(12.5, 1), number(float("nan"))
    ('−.07', '.00', '12.5', 'unknown')
    """
    if pd.isna(value):
        return "unknown"
    text = f"{round(float(value), digits) + 0.0:.{digits}f}"
    return re.sub(r"^(-?)0\.", r"\1.", text).replace("-", "−")


def spread(values: Iterable[float], digits: int = 2) -> str:
    """The median of numbers, with the range of several.

    >>> spread([0.1, 0.3, 0.2]), spread([0.1])
    ('.20 (median; range .10 to .30)', '.10')
    """
    if len(known := pd.Series(list(values), dtype="Float64").dropna()) < 2:
        return number(known.iloc[0] if len(known) else pd.NA, digits)
    middle, low, high = (number(each, digits) for each in known.agg(["median", "min", "max"]))
    return f"{middle} (median; range {low} to {high})"


def p_value(value: float) -> str:
    """A p-value, or that it is below .01; with three digits near .05.

    >>> p_value(0.034), p_value(0.0002), p_value(0.0512)
    ('p = .03', 'p < .01', 'p = .051')
    """
    digits = 3 if pd.notna(value) and abs(value - 0.05) < 0.005 else 2
    return "p < .01" if pd.notna(value) and value < 0.01 else f"p = {number(value, digits)}"


def interval(value: float, low: float, high: float, digits: int = 2) -> str:
    """A number with the ends of its interval, if it has one.

    >>> interval(0.71, 0.51, 0.84), interval(0.71, float("nan"), float("nan"))
    ('.71 [.51, .84]', '.71')
    """
    if pd.isna(low) and pd.isna(high):
        return number(value, digits)
    return "{} [{}, {}]".format(*(number(each, digits) for each in (value, low, high)))


def share(which: Iterable[bool], *compared: Iterable[float]) -> str:
    """How many are true, of those that are known; so must be the numbers compared, if given.

    >>> share([True, False, True]), share([True, False], [1.0, float("nan")])
    ('2 of 3', '1 of 1')
    """
    known = pd.Series(list(which), dtype="boolean")
    for numbers in compared:
        known = known.mask(pd.isna(list(numbers)))
    return f"{int(known.sum())} of {known.count()}"


def largest(rows: pd.DataFrame, keys: Sequence[str]) -> pd.Series:
    """The atom of each cell whose whole interval is above those of all others, missing if none is.

    Of rows with ``atom``, ``ci_low`` and ``ci_high``; an atom without an interval may be as large.
    """
    if rows.empty:
        return pd.Series(dtype=object)
    rows = rows[rows["atom"] != "total"].pivot(index=list(keys), columns="atom")
    low, high = rows["ci_low"].astype(float), rows["ci_high"].astype(float)
    others = {atom: high.drop(columns=atom).max(axis=1, skipna=False) for atom in high}
    clear = low.gt(pd.DataFrame(others, high.index))
    return clear.idxmax(axis=1).where(clear.any(axis=1))


def listed(names: Iterable[object]) -> str:
    """Names joined by commas and "and"; "none" without any.

    >>> listed(["a", "b", "c"]), listed([])
    ('a, b and c', 'none')
    """
    *first, last = list(map(str, names)) or ["none"]
    return f"{', '.join(first)} and {last}" if first else last
