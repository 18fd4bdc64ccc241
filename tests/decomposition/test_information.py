"""Informations of joint tables: against sums written out, and against each other."""

import math

import numpy as np
import pandas as pd
import pytest
import torch

from pidlib.decomposition.information import (
    mutual_information,
    numbered,
    probabilities,
    to_float64,
    to_numpy,
)


@pytest.fixture
def joints():
    return np.random.default_rng(0).dirichlet(np.ones(24), size=5).reshape(5, 2, 3, 4)


def test_mutual_information_is_the_divergence_from_independence(joints):
    table = joints.sum(1)
    independent = table.sum(1, keepdims=True) * table.sum(2, keepdims=True)
    expected = (table * np.log2(table / independent)).sum((1, 2))
    assert mutual_information(table).numpy() == pytest.approx(expected, abs=1e-14)


def test_counts_and_probabilities_agree_and_batches_are_slices():
    counts = np.random.default_rng(1).integers(0, 9, (3, 4, 5))
    values = mutual_information(counts)
    assert values.dtype == torch.float64
    for table, value in zip(counts, values.tolist(), strict=True):
        assert mutual_information(table / table.sum()).item() == pytest.approx(value, abs=1e-14)


@pytest.mark.parametrize("scale", [1e-310, 1e-200, 1.0, 1e200, 1e307])
def test_totals_near_the_ends_of_the_float_range(scale):
    p = probabilities(np.array([1.0, 1.0, 2.0]) * scale, 1)
    assert p.tolist() == pytest.approx([0.25, 0.25, 0.5], abs=1e-12)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ([0.5, -0.5], "negative"),
        ([0.5, math.nan], "NaN"),
        ([0.5, math.inf], "infinite"),
        ([0, 0], "no mass"),
        ([[1, 2], [0, 0]], "no mass"),
        (np.ones((3, 0)), "none empty"),
        (1.0, "at least 1 axes"),
        (np.ones(2, dtype=complex), "real"),
    ],
)
def test_invalid_tables_raise(table, message):
    with pytest.raises(ValueError, match=message):
        probabilities(table, 1)


TABLE = np.array([[3, 0], [1, 2]])


def read_only(array):
    view = array.copy()
    view.flags.writeable = False
    return view


@pytest.mark.parametrize(
    "form",
    [
        *(TABLE.astype(kind) for kind in ("uint16", "uint32", "uint64", "int8", "f2", ">f8", "O")),
        TABLE.astype(np.longdouble),
        TABLE[::-1, ::-1][::-1, ::-1],
        np.asfortranarray(TABLE),
        np.ma.array(TABLE, mask=False),
        pd.DataFrame(TABLE, index=[7, 9]),
        [pd.Series(row) for row in TABLE],
        torch.as_tensor(TABLE.astype("uint16")),
        torch.as_tensor(TABLE, dtype=torch.bfloat16),
        torch.as_tensor(TABLE, dtype=torch.float64).requires_grad_(),
        TABLE.tolist(),
    ],
)
@pytest.mark.filterwarnings("error")
def test_any_array_like_is_converted(form):
    assert mutual_information(form).item() == mutual_information(TABLE).item()
    assert to_float64(form).tolist() == TABLE.tolist()
    assert to_numpy(form).tolist() == TABLE.tolist()


@pytest.mark.filterwarnings("error")
def test_read_only_arrays_are_copied():
    assert to_float64(read_only(TABLE)).tolist() == TABLE.tolist()
    assert to_float64(read_only(TABLE.astype(float))).tolist() == TABLE.tolist()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.ma.array(TABLE, mask=TABLE == 3), "1 entries of x are masked"),
        ([np.ma.array(row, mask=row == 3) for row in TABLE], "1 entries of x are masked"),
        (np.array([["a", "b"]]), "must hold real numbers, but its type is <U1"),
        (TABLE.astype("M8[s]"), "must hold real numbers"),
        (np.array([1, "a"], dtype=object), "must hold numbers only"),
        (TABLE.astype(complex), "complex"),
    ],
)
def test_masked_or_non_numeric_entries_raise(values, message):
    with pytest.raises(ValueError, match=message):
        to_float64(values, name="x")


@pytest.mark.parametrize(
    "labels",
    [
        np.array([7, 2, 7], "u2"),
        np.array([2, 7, 2])[::-1][[1, 0, 1]],
        ["b", "a", "b"],
        pd.Series(list("xbab"))[1:],
        pd.Categorical(["b", "a", "b"]),
        pd.array([7, 2, 7], dtype="Int64"),
        torch.tensor([True, False, True]),
        np.ma.array([7, 2, 7], mask=False),
    ],
)
def test_labels_of_any_type_are_numbered(labels):
    assert numbered(labels, "y").tolist() == [1, 0, 1]


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([0, np.nan, 1], r"1 of 3 y are missing \(NaN or None\): samples 1 \.\.\.; drop them"),
        (["a", None, "b"], "1 of 3 y are missing"),
        (pd.Series(["a", pd.NA, "b"], dtype="string"), "1 of 3 y are missing"),
        (pd.to_datetime(["2026-01-01", None, None]), "2 of 3 y are missing"),
        (np.array(["a", 1, "b"], dtype=object), "y are of types that cannot be sorted"),
        (np.ma.array([0, 1, 1], mask=[0, 1, 0]), "1 entries of y are masked"),
    ],
)
def test_labels_that_are_missing_masked_or_of_several_types_are_refused(labels, message):
    with pytest.raises(ValueError, match=message):
        numbered(labels, "y")
