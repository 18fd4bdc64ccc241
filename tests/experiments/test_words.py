"""Parts of sentences: missing numbers are not counted, and ties have no largest atom."""

import numpy as np
import pandas as pd
import pytest

from pidlib.experiments.words import largest, share

KEYS = ["benchmark", "model"]


def cell(model="a", **ends):
    """A cell whose atoms have these ends of intervals."""
    return [
        {"benchmark": "b", "model": model, "atom": atom, "ci_low": low, "ci_high": high}
        for atom, (low, high) in ends.items()
    ]


@pytest.mark.parametrize("kind", ["float64", "Float64"])
def test_a_share_leaves_out_what_is_not_known(kind):
    low, high = (pd.Series(each, dtype=kind) for each in ([0.2, 0.1, None], [0.3, None, 0.4]))
    assert share(low < 0.15) == ("1 of 3" if kind == "float64" else "1 of 2")
    assert share(low < 0.15, low) == "1 of 2"
    assert share(low < high, low, high) == "1 of 1"
    assert share(low > 1, high) == ("0 of 2" if kind == "float64" else "0 of 1")


def test_a_share_of_nothing_known():
    assert share([]) == share([True], [np.nan]) == share([pd.NA]) == "0 of 0"


def test_an_atom_is_largest_if_its_interval_is_above_all_others():
    rows = cell(redundancy=(0, 0.1), synergy=(0.3, 0.5), unique_vision=(0.1, 0.2), total=(1, 2))
    rows += cell("b", redundancy=(0, 0.1), synergy=(0.3, 0.5), unique_vision=(0.2, 0.4))
    found = largest(pd.DataFrame(rows), KEYS)
    assert found["b", "a"] == "synergy"
    assert pd.isna(found["b", "b"])
    assert share(found.notna()) == "1 of 2"


def test_one_cell_and_one_key():
    rows = pd.DataFrame(cell(redundancy=(0, 0.1), synergy=(0.3, 0.5)))
    assert largest(rows, KEYS).to_dict() == {("b", "a"): "synergy"}
    assert largest(rows, ["model"]).to_dict() == {"a": "synergy"}


def test_ties_have_no_largest_atom():
    rows = cell(redundancy=(0.2, 0.2), synergy=(0.2, 0.2))
    rows += cell("touching", redundancy=(0.1, 0.2), synergy=(0.2, 0.3))
    assert largest(pd.DataFrame(rows), KEYS).isna().all()


def test_an_atom_without_an_interval_may_be_the_largest():
    rows = cell(redundancy=(np.nan, np.nan), synergy=(0.3, 0.5))
    rows += cell("b", synergy=(0.3, 0.5))  # and one that is not there
    assert largest(pd.DataFrame(rows), KEYS).isna().all()
    rows += cell("c", redundancy=(0.6, 0.7), synergy=(0.3, 0.5))
    assert largest(pd.DataFrame(rows), KEYS).dropna().to_dict() == {("b", "c"): "redundancy"}
