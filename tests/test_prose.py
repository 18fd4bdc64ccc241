"""Numbers that notebooks of the validation state in their text, computed again from the tables."""

import json

import numpy as np
import pandas as pd
import pytest

from pidlib._common import project_root
from pidlib.experiments import tables
from pidlib.experiments.draw import notebook_module


def text_of(notebook: str) -> str:
    """The text of a notebook, a space between words."""
    path = project_root() / f"notebooks/validation/{notebook}.ipynb"
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    cells = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown"]
    return " ".join(" ".join(cells).split())


def read(table: str) -> pd.DataFrame:
    columns = notebook_module(f"validation/{table}").COLUMNS
    return tables.read(project_root() / f"data/results/validation/{table}.csv", columns)


def short(value: float, digits: int = 2) -> str:
    """``.07``, as numbers below 1 are written in the text."""
    return f"{value:.{digits}f}".removeprefix("0")


def solver() -> list[str]:
    rows = read("fig_solver")
    assert (rows.groupby("size")["tables"].nunique() == 1).all()
    table = rows.set_index(["method", "size"])
    worst, median = (table[f"{name}error_bits"].astype(float) for name in ("", "median_"))
    ours = [worst["ours, as a batch"], worst["ours, one at a time"]]
    assert max(bits.max() for bits in ours) <= 1e-6
    assert worst["ours, fitting to 1e-3 bits"].max() <= 1e-3
    ecos, cone, clarabel, plain, default = (
        worst[name]
        for name in (
            *("cone program, ECOS", "dit, cone", "cvxpy, Clarabel"),
            *("fitting, published limits", "dit, default"),
        )
    )
    small, large = ["2x2x2", "5x5x3", "10x10x4"], "20x20x4"
    medians = [median["cone program, ECOS", large], median["dit, cone", large]]
    return [  # times are those of a machine and are not checked
        f"within {1e7 * clarabel.max():.1f}e-7 bits at every size",
        f"ECOS within {1e8 * ecos[small].max():.1f}e-8 up to 10x10x4, "
        f"and `dit, cone` within {1e8 * cone[small].max():.1f}e-8",
        f"off by {1e2 * ecos[large]:.1f}e-2 and `dit, cone`, which calls ECOS too, "
        f"by {1e3 * cone[large]:.1f}e-3",
        f"medians are {1e9 * medians[0]:.1f}e-9 and {1e8 * medians[1]:.1f}e-8",
        f"{1e4 * plain.min():.1f}e-4 to {1e3 * plain.max():.1f}e-3 bits short",
        f"off by {short(default['2x2x2'])} bits at 2x2x2 in the worst case, "
        f"and {1e6 * median['dit, default', '2x2x2']:.1f}e-6",
    ]


def bias() -> list[str]:
    table = read("fig_bias")
    table["deviation"] = (table["ci_high"] - table["ci_low"]) / 2 / 1.96
    table = (
        table.set_index(["estimator", "n_codes", "n_samples"])[["value_bits", "deviation"]]
        .astype(float)
        .sort_index()
    )
    mean, error = table["value_bits"], np.hypot(table["value_bits"], table["deviation"])
    plain = [short(mean["plug-in", k, 1000]) for k in (5, 10, 20)]
    foretold = [short((k**2 - 1) * 3 / (2000 * np.log(2))) for k in (5, 10, 20)]
    low = [mean["plug-in", k][mean["plug-in", k] < 0.05].index.min() for k in (5, 10, 20)]
    names = ("plug-in", "Miller-Madow", "jackknife", "Chao-Wang-Jost", "permutation mean")
    off = [short(error[name, 20, 1000]) for name in names]
    near = max(mean[name].abs().max() for name in ("permutation mean", "Panzeri, null"))
    return [
        f"finds {plain[0]} bits of synergy with 5 codes per source, {plain[1]} with 10 and {plain[2]} with 20",
        f"predicts {foretold[0]}, {foretold[1]} and {foretold[2]}",
        f"{low[0]:,}, {low[1]:,} and {low[2]:,} samples to come below .05",
        f"off by {off[0]} bits with the plug-in estimate, {off[1]} with Miller-Madow, {off[2]} with the jackknife, "
        f"{off[3]} with Chao, Wang and Jost, and {off[4]} with the permutation mean subtracted",
        f"({mean['Miller-Madow', 20, 100]:.2f} bits instead of {mean['plug-in', 20, 100]:.2f}",
        f"within {short(np.ceil(100 * near) / 100)} bits of zero",
    ]


def gates() -> list[str]:
    table = read("table_gates").set_index(["benchmark", "atom"])
    exact, ours = (table[table["estimator"] == name] for name in ("closed form", "newton"))
    distance = (ours["value_bits"] - exact["value_bits"]).abs().groupby("benchmark").max()
    gap = (ours["upper_bits"] - ours["lower_bits"]).groupby("benchmark").max()
    open_gates = gap[gap > 1e-9]
    assert np.allclose(distance, gap, rtol=0.01, atol=1e-9)
    assert len(open_gates) == 10
    return [
        f"all {len(gap)} gates are found",
        f"In {(np.maximum(gap, distance) < 1e-9).sum()} gates both",
        rf"${1e8 * open_gates.min():.0f}\cdot10^{{-8}}$ to ${1e7 * open_gates.max():.1f}\cdot10^{{-7}}$",
    ]


VALIDATION = {
    "fig_solver": solver,
    "fig_bias": bias,
    "table_gates": gates,
}


@pytest.mark.parametrize(("notebook", "statements"), VALIDATION.items())
def test_what_the_validation_says_is_what_its_tables_hold(notebook, statements):
    text = text_of(notebook)
    assert [statement for statement in statements() if statement not in text] == []
