"""The schema is checked on writing and on reading, files are deterministic, and unconverged rows are not drawn by accident."""

import numpy as np
import pandas as pd
import pytest

from pidlib import results, schemas


def row(**values):
    base = {"experiment": "validation", "benchmark": "gate/AND", "estimator": "exact", "atom": "synergy", "value_bits": 0.5}
    return base | {"seed": 0, "converged": True, "fingerprint": "a" * 16} | values


def test_a_table_survives_the_file_with_its_types(tmp_path):
    table = results.tidy([row(layer=3), row(atom="redundancy", value_bits=1 / 3, null_p=0.5)])
    path = results.write(table, tmp_path / "deep" / "t.csv")
    again = results.read(path)
    assert list(again.columns) == list(schemas.ATOMS.columns)
    assert again.dtypes.astype(str).to_dict() == schemas.ATOMS.columns
    assert again["value_bits"].tolist() == pytest.approx([0.5, 1 / 3])
    assert again.loc[1, "layer"] is pd.NA
    before = path.read_bytes()
    assert results.write(again, path).read_bytes() == before
    assert [file.name for file in path.parent.iterdir()] == ["t.csv"]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([row(value_bit=1.0)], "unknown column 'value_bit'; did you mean 'value_bits'"),
        ([row(value_bits="much")], "column 'value_bits' takes Float64"),
        ([row(value_bits=np.inf)], "infinite"),
        ([row(value_bits=np.nan)], "'value_bits' is missing in 1 of 1"),
        ([row(layer=1.5)], "column 'layer' takes Int64"),
        ([{key: value for key, value in row().items() if key != "fingerprint"}], "'fingerprint' is missing"),
    ],
)
def test_what_does_not_fit_the_schema_is_refused(rows, message):
    with pytest.raises(ValueError, match=message):
        results.tidy(rows)


def test_a_table_of_other_columns_has_a_schema_of_its_own(tmp_path):
    known = {"experiment": "e", "benchmark": "micro/scene", "split": "test", "model": "llava", "n_samples": 8, "fingerprint": "f"}
    path = results.write(pd.DataFrame([known | {"accuracy": 0.875, "moved_vision": 0.25}]), tmp_path / "table_profiles.csv")
    again = results.read(path)
    assert again.dtypes.astype(str).to_dict() == schemas.PROFILED.columns
    assert again.loc[0, "accuracy"] == 0.875 and again.loc[0, "entropy_bits"] is pd.NA
    with pytest.raises(ValueError, match="unknown column 'value_bits'"):
        results.write(pd.DataFrame([known | {"accuracy": 1.0, "value_bits": 1.0}]), path)
    with pytest.raises(ValueError, match="'accuracy' is missing"):
        results.write(pd.DataFrame([known]), path)


def test_appending_replaces_rows_of_the_same_computation(tmp_path):
    path = tmp_path / "t.csv"
    results.write(results.tidy([row(fingerprint="a"), row(fingerprint="b", value_bits=0.25)]), path)
    results.write(results.tidy([row(fingerprint="b", value_bits=0.75), row(fingerprint="c")]), path, append=True)
    assert results.read(path)[["fingerprint", "value_bits"]].values.tolist() == [["a", 0.5], ["b", 0.75], ["c", 0.5]]


def test_unconverged_rows_are_drawn_only_on_purpose():
    table = results.tidy([row(), row(converged=False, atom="redundancy"), row(converged=None)])
    with pytest.raises(ValueError, match=r"1 of 3 rows did not converge .*atom=redundancy"):
        results.drawable(table)
    assert results.drawable(table, allow_unconverged=True) is table


def test_a_missing_table_says_what_to_run(tmp_path):
    with pytest.raises(FileNotFoundError, match="make paper"):
        results.read(tmp_path / "none.csv")


def test_latex_cells():
    text = results.latex(["a", "b", "c", "d"], [["x", -0.25, None, -1e-9]])
    assert r"x & $-$0.250 & -- & 0.000 \\" in text


@pytest.mark.parametrize("name", [path.stem for path in (results.project_root() / "data" / "published").glob("*.csv")])
def test_published_numbers_say_where_they_are_from(name):
    table = results.published(name)
    assert len(table) and table.columns[0] == "source"


def test_published_numbers_without_a_source_are_refused(tmp_path, monkeypatch):
    with pytest.raises(ValueError, match="unknown published table 'table1_sensitivty'; did you mean 'table1_sensitivity'"):
        results.published("table1_sensitivty")
    (tmp_path / "data" / "published").mkdir(parents=True)
    (tmp_path / "data" / "published" / "t.csv").write_text("source,grade,rho\nsomebody,X,0.5\n")
    monkeypatch.setattr(results, "project_root", lambda: tmp_path)
    with pytest.raises(ValueError, match="needs a source, and a grade P, N or R"):
        results.published("t")
