"""Tables are checked on writing and on reading, and files are deterministic."""

import numpy as np
import pandas as pd
import pytest

from pidlib._common import project_root
from pidlib.experiments import tables
from pidlib.experiments.draw import names, notebook_module
from pidlib.experiments.preset import load_preset
from pidlib.experiments.tables import ATOMS, declare, declared, validate
from pidlib.experiments.validation import fig_bias
from pidlib.experiments.vision_language import fig_profiles

DIAGNOSTICS = "fig_profiles_diagnostics"


def row(**values):
    base = {"experiment": "validation", "benchmark": "gate/AND", "estimator": "exact"}
    base |= {"atom": "synergy", "value_bits": 0.5, "seed": 0, "converged": True}
    return base | {"fingerprint": "a" * 16} | values


def types(table):
    return table.dtypes.astype(str).to_dict()


def test_a_table_keeps_its_types_in_the_file(tmp_path):
    table = validate([row(layer=3), row(atom="redundancy", value_bits=1 / 3, null_p=0.5)], ATOMS)
    path = tables.write(table, tmp_path / "vision_language" / "fig_profiles.csv", ATOMS)
    again = tables.read(path, ATOMS)
    assert list(again.columns) == list(ATOMS.types) and types(again) == ATOMS.types
    assert again["value_bits"].tolist() == pytest.approx([0.5, 1 / 3])
    assert again.loc[1, "layer"] is pd.NA
    before = path.read_bytes()
    assert tables.write(again, path, ATOMS).read_bytes() == before
    assert [file.name for file in path.parent.iterdir()] == ["fig_profiles.csv"]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"value_bit": 1.0}, "unknown column 'value_bit'; did you mean 'value_bits'"),
        ({"value_bits": "much"}, "column 'value_bits' takes Float64"),
        ({"value_bits": np.inf}, "infinite"),
        ({"value_bits": np.nan}, "'value_bits' is missing in 1 of 1"),
        ({"layer": 1.5}, "column 'layer' takes Int64"),
        ({"fingerprint": None}, "'fingerprint' is missing"),
    ],
)
def test_rows_that_do_not_fit_the_columns_are_refused(values, message):
    with pytest.raises(ValueError, match=message):
        validate([row(**values)], ATOMS)


def test_a_negative_zero_is_written_as_zero():
    assert not np.signbit(validate([row(value_bits=-0.0)], ATOMS)["value_bits"].to_numpy()).any()


def test_a_second_table_has_its_own_columns(tmp_path):
    known = {"experiment": "e", "benchmark": "micro/scene", "split": "test", "model": "llava"}
    known |= {"n_samples": 8, "fingerprint": "f"}
    path = tmp_path / "vision_language" / f"{DIAGNOSTICS}.csv"
    columns = declared(fig_profiles)[DIAGNOSTICS]
    tables.write(pd.DataFrame([known | {"accuracy": 0.875, "moved_vision": 0.25}]), path, columns)
    again = tables.read(path, columns)
    assert types(again) == columns.types
    assert again.loc[0, "accuracy"] == 0.875 and again.loc[0, "entropy_bits"] is pd.NA
    with pytest.raises(ValueError, match="unknown column 'value_bits'"):
        tables.write(pd.DataFrame([known | {"accuracy": 1.0, "value_bits": 1.0}]), path, columns)
    with pytest.raises(ValueError, match="'accuracy' is missing"):
        tables.write(pd.DataFrame([known]), path, columns)


def test_columns_have_the_types_of_their_names_in_order():
    columns = declare("pairing", ATOMS, "moved right", required="moved", right="Int64")
    assert list(columns.types) == ["pairing", *ATOMS.types, "moved", "right"]
    kinds = {"pairing": "string", "n_codes": "Int64", "moved": "Float64", "right": "Int64"}
    assert columns.types == ATOMS.types | kinds
    assert columns.required == ("moved", *ATOMS.required)


def test_every_committed_table_is_declared_by_its_notebook():
    known = {}
    for preset in map(load_preset, ("offline", "real")):
        for name in names(preset.experiment):
            columns = declared(notebook_module(name))
            known |= {preset.table(name).with_stem(table): columns[table] for table in columns}
    # All trainings, read by several notebooks; and the tables of `make families` and `gpu-check`.
    others = {"outcomes", "table_families", "table_gpu"}
    for path in sorted((project_root() / "data" / "results").glob("*/*.csv")):
        if path.stem not in others:
            assert len(tables.read(path, known[path])), path


def test_save_writes_the_tables_of_a_notebook(tmp_path):
    preset = load_preset("smoke", output=str(tmp_path))
    folder = project_root() / "data" / "results"
    table = tables.read(folder / "validation" / "fig_bias.csv", fig_bias.COLUMNS)
    assert tables.save(preset, fig_bias, table) is table
    assert tables.read(preset.table("validation/fig_bias"), fig_bias.COLUMNS).equals(table)
    both = {
        name: tables.read(folder / "vision_language" / f"{name}.csv", columns)
        for name, columns in declared(fig_profiles).items()
    }
    tables.save(preset, fig_profiles, both)
    written = {path.stem for path in (tmp_path / "data/results/vision_language").iterdir()}
    assert written == set(both)


def test_unconverged_rows_are_counted():
    rows = [row(), row(converged=False, atom="redundancy"), row(converged=None)]
    note = tables.unconverged(validate(rows, ATOMS))
    assert note.startswith("1 of 3 rows are not solved to tolerance")
    assert "atom=redundancy" in note and "model" not in note
    assert not tables.unconverged(validate([row()], ATOMS))
    assert not tables.unconverged(pd.DataFrame({"value": [1.0]}))


def test_a_missing_table_says_what_to_run(tmp_path):
    with pytest.raises(FileNotFoundError, match="make paper"):
        tables.read(tmp_path / "validation" / "fig_bias.csv", fig_bias.COLUMNS)


def test_latex_cells():
    text = tables.booktabs(["a", "b", "c", "d"], [["x", -0.25, None, -1e-9]])
    assert r"x & $-$0.250 & -- & 0.000 \\" in text


@pytest.mark.parametrize(
    "name", [path.stem for path in (project_root() / "data" / "published").glob("*.csv")]
)
def test_published_numbers_have_a_source_and_a_grade(name):
    table = tables.published(name)
    assert len(table) and {"source", "grade"} <= set(table)


def test_published_numbers_without_a_source_are_refused(tmp_path, monkeypatch):
    message = "unknown published table 'table1_sensitivty'; did you mean 'table1_sensitivity'"
    with pytest.raises(ValueError, match=message):
        tables.published("table1_sensitivty")
    (tmp_path / "data" / "published").mkdir(parents=True)
    (tmp_path / "data" / "published" / "t.csv").write_text("source,grade,rho\nsomebody,X,0.5\n")
    monkeypatch.setattr(tables, "project_root", lambda: tmp_path)
    with pytest.raises(ValueError, match="needs a source and a grade P, N or R"):
        tables.published("t")


@pytest.mark.parametrize("name", names())
def test_every_module_declares_and_measures_its_tables(name):
    module = notebook_module(name)
    assert callable(module.measure) and (hasattr(module, "figure") or hasattr(module, "latex"))
    named = declared(module)
    assert all(table.startswith(name.split("/")[-1]) for table in named)
    assert all(set(each.required) <= set(each.types) for each in named.values())
