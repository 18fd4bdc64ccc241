"""Atoms by other definitions of redundancy R next to those by BROJA.

A definition is one number: if its R is larger, so is synergy, and both unique atoms are smaller, by
as many bits. That by MMI is larger by the smaller unique atom of BROJA, of conditions by its mean.
"""

from collections.abc import Mapping, Sequence

import pandas as pd

from pidlib.decomposition.measures import OF_PAIRS
from pidlib.experiments import style
from pidlib.experiments.tables import declare

NOTABLE = 0.05  # bits: above it, a smaller unique atom counts as more than nothing
COLUMNS = declare(*(f"{name}_bits" for name in OF_PAIRS))
HEADER = (r"$R_{\mathrm{MMI}}-R$", r"$R_{I_{\min}}-R$")  # of columns of `added`


def with_others(rows: pd.DataFrame, others: Mapping[str, float]) -> pd.DataFrame:
    """Rows of atoms with their values by the redundancies `others`; the first R is that by BROJA.

    >>> rows = pd.DataFrame({"atom": ["redundancy", "unique_a", "total"], "value_bits": [1, 2, 4]})
    >>> with_others(rows, {"mmi": 1.5})["mmi_bits"].tolist()
    [1.5, 1.5, 4.0]
    """
    signs = rows["atom"].map({"redundancy": 1, "synergy": 1, "total": 0}).fillna(-1)
    bits = rows["value_bits"]
    first = bits[rows["atom"] == "redundancy"].iloc[0]
    return rows.assign(**{f"{n}_bits": bits + signs * (r - first) for n, r in others.items()})


def added(table: pd.DataFrame, keys: Sequence[str]) -> pd.DataFrame:
    """By how many bits R of each definition exceeds that by BROJA, by `keys`; NaN if unknown."""
    rows = table[table["atom"] == "redundancy"].drop_duplicates(list(keys)).set_index(list(keys))
    bits = {name: style.floats(rows[f"{name}_bits"] - rows["value_bits"]) for name in OF_PAIRS}
    return pd.DataFrame(bits, rows.index)
