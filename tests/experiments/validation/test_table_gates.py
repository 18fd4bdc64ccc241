import pytest

from experiments.test_draw import committed
from pidlib.experiments import draw, tables
from pidlib.experiments.preset import load_preset
from pidlib.experiments.validation import table_gates


def test_gates_are_solved_within_the_certified_gap():
    table = table_gates.measure(load_preset("smoke"))
    exact, solved = (
        table[table["estimator"] == name].set_index(["benchmark", "atom"])
        for name in ("closed form", "newton")
    )
    assert len(exact) == len(solved) >= 4 * 8
    assert solved["converged"].all()
    assert (solved["lower_bits"] - 1e-9 <= exact["value_bits"]).all()
    assert (exact["value_bits"] <= solved["upper_bits"] + 1e-9).all()


def test_the_table_is_latex(tmp_path):
    path, caption = draw.draw(committed("validation/table_gates", tmp_path), table_gates).paths
    text = path.read_text()
    assert path.name == "table_gates.tex" and caption.name == "table_gates.caption.tex"
    assert text.startswith(r"\begin{tabular}")
    assert "XOR & 0.0000 & 0.0000 & 0.0000 & 1.0000 & $<10^{-9}$" in text


def test_rows_that_are_not_solved_are_drawn_with_a_warning(tmp_path):
    preset = committed("validation/table_gates", tmp_path)
    path = preset.table("validation/table_gates")
    table = tables.read(path, table_gates.COLUMNS)
    table.loc[4, "converged"] = False
    tables.write(table, path, table_gates.COLUMNS)
    with pytest.warns(UserWarning, match="1 of .* rows are not solved to tolerance"):
        assert draw.draw(preset, table_gates).paths


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "$<10^{-9}$"), (3.2e-9, r"$3\cdot10^{-9}$"), (9.7e-9, r"$1\cdot10^{-8}$")],
)
def test_magnitudes(value, text):
    assert table_gates._magnitude(value) == text
