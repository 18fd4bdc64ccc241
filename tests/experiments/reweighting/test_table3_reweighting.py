"""Known effects are found, planned comparisons are not corrected, and the LaTeX table."""

import re

import pandas as pd
import pytest

from experiments.reweighting import synthetic
from pidlib.experiments.draw import draw
from pidlib.experiments.reweighting import table3_reweighting
from pidlib.experiments.reweighting.table3_reweighting import latex
from pidlib.experiments.tables import save
from pidlib.reweighting import CONDITIONS


@pytest.fixture(scope="module")
def table():
    return synthetic.measured(table3_reweighting, synthetic.preset())


def test_known_effects_are_found(table):
    ours = table[table["grade"].isna() & (table["measure"] == "accuracy")]
    ours = ours.set_index(["trained_on", "benchmark", "condition", "against"])
    row = ours.loc[("prior/80", "prior/80 balanced", "C", "B")]
    assert row["difference"] == pytest.approx(0.05, abs=0.01) and row["ci_low"] > 0.03
    assert row["n_seeds"] == 6 and row["p_value"] == pytest.approx(2 / 2**6)
    knowledge = ours.loc[("prior/80", "micro/knowledge", "C", "D")]
    assert knowledge["difference"] == pytest.approx(-0.05, abs=0.01)
    null = ours.xs("D", level="condition")["difference"].abs()
    assert len(null) > 10 and null.max() < 0.01
    base = ours.xs("A", level="condition")
    assert base["n_seeds"].eq(1).all() and base["spread"].isna().all()
    assert base["n_pairs"].eq(6).all()
    assert set(table["measure"]) == {"accuracy", "synergy", "unique_language"}


def test_planned_comparisons_are_not_corrected_and_all_others_are(table):
    ours = table[table["grade"].isna()]
    primary = ours[ours["primary"]]
    keys = zip(primary["trained_on"], primary["condition"], primary["against"], strict=True)
    assert sorted(keys) == sorted((on, "C", other) for on in synthetic.BASES for other in "BD")
    assert primary["benchmark"].str.endswith(" balanced").all()
    assert primary["measure"].eq("accuracy").all()
    assert primary["p_value"].notna().all() and primary["q_value"].isna().all()
    others = ours[~ours["primary"] & ours["p_value"].notna()]
    assert (others["q_value"] >= others["p_value"]).all() and len(others) > 100


def test_the_published_table_is_below_with_its_grade(table):
    published = table[table["grade"].notna()]
    assert set(published["grade"]) == {"N"} and len(published) == 6 * 7
    cells = published.set_index(["benchmark", "condition"])
    row = cells.loc[("MMStar", "C"), ["value", "difference", "spread"]]
    assert row.tolist() == pytest.approx([0.643, 0.023, 0.003])
    base = published["condition"] == "A"
    assert published.loc[base, ["spread", "n_seeds"]].isna().all(axis=None)


def test_one_seed_has_no_p_value(tmp_path):
    preset = synthetic.preset(n_tuning_seeds=1, output=str(tmp_path))
    table = synthetic.measured(table3_reweighting, preset)
    assert table["p_value"].isna().all() and table["difference"].notna().any()
    assert ", 1 seed}" in latex(table)


def test_the_latex_table_has_a_column_per_condition_and_the_published_block(table, tmp_path):
    preset = synthetic.preset(output=str(tmp_path))
    save(preset, table3_reweighting, table)
    text = draw(preset, table3_reweighting).paths[0].read_text()
    lines = text.splitlines()
    header = lines[2].split(r"\shortstack[r]")[1:]
    assert header == sorted(header) and lines[2].count("&") == 8
    assert all(word in lines[2] for words in CONDITIONS.values() for word in words.split())
    assert not re.search(r"(?<!\\)%", text)
    row = next(line for line in lines if line.startswith("MMStar"))
    below = lines[lines.index(row) + 1].split(" & ")
    row = row.split(" & ")
    assert row[1:7] == ["60.7", "62.0", "64.3", "61.5", "62.5", "63.0"] and "--" in row[7]
    assert "$+2.3$" in below[3] and "0.3" in below[3]
    starts = [line.split(" & ")[0] for line in lines]  # own questions come first
    own = [starts.index(name) for name in (r"captions: 80 \% right", "captions: balanced")]
    assert own == [6, 8]
    evaluation = lines[8].split(" & ")
    assert evaluation[3].endswith(r"\rlap{$^\ast$}") and "ast" not in evaluation[4]
    planned = "6 seeds; balanced accuracy: C minus B p = .0312, C minus D p = .0"
    assert "minis" in text and "3 seeds" in text and planned in text


def test_a_block_states_the_range_of_its_seeds(table):
    few = table["condition"].isin(["C", "D"]) & table["grade"].isna()
    changed = table.assign(n_seeds=table["n_seeds"].mask(few, pd.NA).fillna(2))
    assert "2 to 6 seeds" in latex(changed)
