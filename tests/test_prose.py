"""Numbers that notebooks state in their text, computed again from the committed tables."""

import json

import pandas as pd
import pytest

from pidlib._common import project_root
from pidlib.experiments import tables

FOLDER = "vision_language"


def told(notebook: str, folder: str = FOLDER) -> str:
    """The text of a notebook, a space between words."""
    cells = json.loads(
        (project_root() / f"notebooks/{folder}/{notebook}.ipynb").read_text(encoding="utf-8")
    )["cells"]
    return " ".join(
        " ".join(
            "".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown"
        ).split()
    )


def read(table: str, folder: str = FOLDER) -> pd.DataFrame:
    return tables.read(project_root() / f"data/results/{folder}/{table}.csv")


def short(value: float, digits: int = 2) -> str:
    """``.07``, as numbers below 1 are written in the text."""
    return f"{value:.{digits}f}".removeprefix("0")


def audit() -> list[str]:
    table = read("fig_protocol_audit").query("grade.isna() and null_mean.notna()")
    apart = (table["value_bits"] - table["null_mean"]).abs()[table["protocol"] == "released"].max()
    runs = table.assign(model=table["model"].fillna("")).groupby(
        ["protocol", "model", "benchmark", "n_codes", "n_observations"]
    )
    bits = (
        runs[["value_bits", "null_mean"]]
        .sum()
        .astype(float)
        .eval("signal = 100 * (1 - null_mean / value_bits)")
        .reset_index()
    )
    exemplars = bits[bits["model"] != ""]
    released, pooled = (
        exemplars.loc[exemplars["protocol"] == name] for name in ("released", "dataset level")
    )
    mixed = bits[bits["model"] == ""].set_index(["protocol", "n_codes", "n_observations"])
    signal, longer = mixed["signal"], mixed.loc["released, longer picture"]
    thousand = [f"{signal['dataset level', k, 1024]:.0f}" for k in (3, 5, 10)]
    null = table.query(
        "protocol == 'released, equal lengths' and n_codes == 10 and n_observations == 16"
    ).set_index("atom")["null_mean"]
    return [
        f"reports {released['value_bits'].min():.1f} to {released['value_bits'].max():.1f} bits",
        f"to {short(apart)} bits in every atom",
        f"{signal['released, equal lengths', 10, 16]:.0f} % of {mixed['value_bits']['released, equal lengths', 10, 16]:.1f} bits is signal",
        f"never more than {short((longer['value_bits'] - longer['null_mean']).max())} bits above the null",
        f"{thousand[0]}, {thousand[1]} and {thousand[2]} % of the bits are signal",
        f"on the exemplars {pooled['signal'].min():.0f} to {pooled['signal'].max():.0f} %",
        f"alone give {null['redundancy']:.2f}, {' and '.join(short(null[f'unique_{one}']) for one in ('vision', 'language'))}, and "
        + short(null["synergy"]),
    ]


def synthetic() -> list[str]:
    table = read("table_synthetic")
    equal, longer, pooled = ("released, equal lengths", "released, longer picture", "dataset level")
    found = (
        table.query("atom == 'synergy' and recovered").groupby("benchmark")["protocol"].apply(set)
    )
    assert {mixture for mixture, by in found.items() if equal in by} == {
        "0.8 vision + 0.2 language",
        "0.2 vision + 0.8 language",
    }
    count = {
        name: {0: "none", 2: "two", 8: "all eight"}[sum(name in by for by in found)]
        for name in (equal, longer, pooled)
    }
    copy = table[(table["protocol"] == equal) & (table["benchmark"] == "vision")].set_index("atom")
    bits = [
        f"{copy['corrected_bits'][atom]:.2f}".replace("0.", ".")
        for atom in ("redundancy", "unique_vision", "unique_language")
    ]
    chance = table[table["protocol"] == pooled].groupby("benchmark")["null_mean"].sum()
    clear = (table[table["protocol"] == longer]["null_p"] <= 0.05).sum()
    return [
        f"Pooling the data set finds {count[pooled]} mixtures; the released protocol finds {count[equal]} of eight in its best case, "
        f"and {count[longer]} where the picture is longer",
        f"chance is {short(chance.mean())} bits",
        f"shows {bits[0]} bits of redundancy, {bits[1]} of $U_v$ and ${bits[2]}$ of $U_\\ell$, "
        f"all relative to a null of {copy['null_mean'].sum():.1f} bits",
        f"{'Two' if clear == 2 else clear} of the 32 atoms clear their null",
    ]


def fusion() -> list[str]:
    table = read("fig_fusion").query("kind == 'moved'").set_index(["benchmark", "target"])
    hidden, answer, same = (
        table.loc["easy_vqa", target] for target in ("hidden", "answer", "hidden, same sources")
    )
    existence, kept = (
        table.loc["micro/existence", "hidden"],
        table.loc["micro/captioned", "hidden, same sources"],
    )

    def spread(row: pd.Series) -> str:
        ends = (short(row[name], 1) if row[name] else "0" for name in ("spread_low", "spread_high"))
        return f"{row['spread_mechanism']:.1f} [{', '.join(ends)}]"

    return [
        f"{hidden['spread_mechanism']:.1f} points [{hidden['spread_low']:.1f}, {hidden['spread_high']:.1f}]",
        f"by {spread(answer)} about the answers",
        f"{hidden['spread_rest']:.1f} and {answer['spread_rest']:.1f} points are explained by neither",
        f"{hidden['moved']:.1f} points [{hidden['ci_low']:.1f}, {hidden['ci_high']:.1f}], of which {hidden['null_mean']:.1f}",
        f"($p$ = {short(hidden['null_p'], 4)} and {short(answer['null_p'], 4)}, "
        f"$q$ = {short(hidden['null_q'], 3)} and {short(answer['null_q'], 3)})",
        f"gives {same['moved']:.1f} points ($p$ = {short(same['null_p'])}, $q$ = {short(same['null_q'])})",
        f"`captioned` {kept['moved']:.1f} ($p$ = {short(kept['null_p'])}, $q$ = {short(kept['null_q'])})",
        f"On `existence` they are {existence['moved']:.1f} points",
        f"shuffled mechanisms give {existence['null_mean']:.1f}; the mechanism's standard deviation there is {spread(existence)}",
    ]


@pytest.mark.parametrize(
    ("notebook", "statements"),
    [
        ("fig_fusion", fusion),
        ("fig_protocol_audit", audit),
        ("table_synthetic", synthetic),
    ],
)
def test_what_a_notebook_says_is_what_its_table_holds(notebook, statements):
    text = told(notebook)
    assert [statement for statement in statements() if statement not in text] == []
