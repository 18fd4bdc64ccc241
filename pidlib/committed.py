"""The committed outcomes of the reweighting experiment, and what was made here held against them."""

import warnings
from collections.abc import Mapping

import pandas as pd

from pidlib import results
from pidlib.experiment import project_root
from pidlib.schemas import OUTCOMES

TABLE = "reweighting/outcomes"
QUESTIONS, SHARE, BITS = 3, 0.01, 0.02  # that outcomes made on two machines may be apart
_KEYS = ["fingerprint", "benchmark", "measure"]  # of a row


def committed() -> pd.DataFrame:
    """All that is; it lies in the project, wherever new tables go."""
    path = project_root() / "data" / "results" / f"{TABLE}.csv"
    return results.read(path) if path.exists() else results.tidy([], OUTCOMES)


def beside(fresh: pd.DataFrame, known: pd.DataFrame) -> pd.DataFrame:
    """The rows that both have, with ``value_committed`` and the ``difference`` without its sign."""
    both = fresh.merge(known[[*_KEYS, "value"]], on=_KEYS, suffixes=("", "_committed"))
    return both.assign(difference=(both["value"] - both["value_committed"]).abs())


def prove(both: pd.DataFrame) -> None:
    """Hold outcomes made here against the committed ones, as from `beside`.

    Raises
    ------
    ValueError
        If one is further off than machines are apart: an accuracy by more than `QUESTIONS` and by more than `SHARE`, else more than `BITS`.

    Warns
    -----
    UserWarning
        If it is less far, but further than 1e-6.
    """
    allowed = (QUESTIONS / both["n"]).clip(lower=SHARE).where(both["measure"] == "accuracy", BITS) + 1e-9
    far, most = both[both["difference"] > allowed], both["difference"].max()
    if len(far):
        first = far.iloc[0]
        raise ValueError(
            f"{far['fingerprint'].nunique()} of {both['fingerprint'].nunique()} settings made here are not as committed; the first,"
            f" {named(first)}: {first['measure']} on {first['benchmark']} is {first['value']:.4f}, committed"
            f" {first['value_committed']:.4f}. Find out why; then `python -m pidlib.outcomes --anew` makes all again, and strict=False"
            " goes on as it is"
        )
    if len(both) and most > 1e-6:
        warnings.warn(f"outcomes made here are up to {most:.1e} off the committed ones", stacklevel=3)


def named(told: Mapping) -> str:
    """A setting in a message."""
    return f"{told['base']} on {told['trained_on']}, condition {told['condition']}, seed {told['seed']}"
