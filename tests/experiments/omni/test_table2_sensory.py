"""The table and the figure of Sensory atoms from made-up rows."""

import numpy as np
import pandas as pd
import pytest
from test_sensory import soft

from pidlib.experiments import definitions
from pidlib.experiments.omni.profiles import with_references
from pidlib.experiments.omni.table2_sensory import (
    COLUMNS,
    PUBLISHED_SUBSET,
    figure,
    latex,
    published_rows,
)
from pidlib.experiments.preset import load_preset
from pidlib.experiments.tables import validate
from pidlib.profiles.clips import sensory_profile
from pidlib.profiles.modes import diagnose
from pidlib.sensory import REFERENCES, split_by

SHARED = {"experiment": "omni", "fingerprint": "t", "split": "test", "seed": 0}


def measured(condition="question"):
    """Rows as `measure` returns them, of two models on two subsets."""
    tables = []
    subsets = ("micro_av/fusion", "micro_av/gated")
    for seed, (benchmark, model) in enumerate((b, m) for b in subsets for m in ("one", "two_b")):
        extraction = soft(seed=seed, texts=4, templates=2)
        groups = split_by(extraction, condition)
        options = {"n_halves": 2, "n_permutations": 2}
        profile = sensory_profile(groups, **options)
        rows = with_references(profile.rows, groups, REFERENCES[condition])
        rows = definitions.with_others(rows, profile.solved.others)
        diagnosed = diagnose(extraction, solved=profile.solved)
        columns = diagnosed | {"benchmark": benchmark, "model": model}
        tables.append(rows.assign(**columns))
    return validate(pd.concat([*tables, published_rows()]).assign(**SHARED), COLUMNS)


@pytest.fixture(scope="module")
def table():
    return measured()


def test_published_rows_are_shares_and_bits_with_a_grade():
    table = validate(published_rows().assign(**SHARED), COLUMNS)
    large = table[table["model"] == "Qwen2.5-Omni 7B"]
    atoms = {"unique_vision": 1.42, "unique_audio": 0.65, "synergy": 0.32, "redundancy": 0.004}
    assert dict(zip(large["atom"], large["value_bits"], strict=True)) == pytest.approx(atoms)
    assert set(table["grade"]) == {"N"}
    assert large["accuracy"].tolist() == pytest.approx([0.62] * 4)
    assert large["accuracy_audio"].isna().all()


def test_the_table_has_a_row_per_model_and_the_published_rows(table):
    given_template = measured("template").query("grade.isna()")
    text = latex(pd.concat([table, given_template], ignore_index=True))
    assert text.count(r"two\_b") == 4
    assert text.count("given the template") == 2 and text.count("(grade N)") == 1
    assert "1.42 & 0.65 & 0.32 & 0.004 & -- & -- & -- & -- & -- & 62.0 & 58.0 & -- & --" in text
    assert len({line.count("&") for line in text.splitlines() if "&" in line}) == 1


def test_other_definitions_move_all_atoms_but_not_their_sum(table):
    rows = table[table["grade"].isna()]
    moved = (rows["mmi_bits"] - rows["value_bits"]).groupby(rows["atom"])
    assert moved.get_group("total").abs().max() == 0
    for atom in ("synergy", "unique_vision", "unique_audio"):
        sign = 1 if atom == "synergy" else -1
        expected = sign * moved.get_group("redundancy").to_numpy(float)
        np.testing.assert_allclose(moved.get_group(atom).to_numpy(float), expected, atol=1e-12)
    assert moved.get_group("redundancy").min() > 0.01
    added = definitions.added(rows[rows["reference"] == rows["given"]], ["benchmark", "model"])
    assert f"& {added['mmi'].iloc[0]:.2f} & {added['i_min'].iloc[0]:.2f} &" in latex(table)


def test_the_table_marks_minis_and_their_training(table):
    note = "a stream is masked by noise, which all minis but plain met in training"
    assert note not in latex(table)
    text = latex(table.replace({"model": {table["model"][0]: "qwen2_5_omni_compact"}}))
    assert text.count("minis: the architectures") == text.count(note) == 1


def test_a_preset_cannot_ignore_the_question():
    given = [load_preset(name).given for name in ("smoke", "offline", "paper")]
    assert given == ["question", "question", "template"]
    with pytest.raises(ValueError, match="given: Input should be 'question' or 'template'"):
        load_preset("smoke", given="ignored")


def test_the_figure_has_a_panel_per_subset_and_bars_within_its_axes(table):
    """Even if the values of the first subset are the smallest."""
    table = table.copy()
    bits = ["value_bits", "corrected_bits", "ci_low", "ci_high", "null_mean"]
    table.loc[table["benchmark"] == "micro_av/fusion", bits] /= 10
    panels = [ax for ax in figure(table).axes if ax.axison]
    titles = [ax.get_title() for ax in panels]
    names = [title.partition("\n")[0] for title in titles]
    assert names == ["micro AV: fusion", "micro AV: gated", PUBLISHED_SUBSET]
    assert titles[2].endswith("models, published values only")
    assert panels[0].get_ylim() == panels[1].get_ylim()
    for ax in panels:
        low, high = ax.get_ylim()
        ends = [(bar.get_y(), bar.get_y() + bar.get_height()) for bar in ax.patches]
        ends += [path.vertices[:, 1] for lines in ax.collections for path in lines.get_paths()]
        assert low <= np.nanmin(ends) and np.nanmax(ends) <= high


def test_the_figure_shows_the_reference_of_the_condition_alone(table):
    other = table["reference"] != table["given"]
    other, bits = other.fillna(False), ["value_bits", "corrected_bits"]
    changed = table.assign(**{name: table[name].mask(other, 9.0) for name in bits})
    changed, shown = (
        {y for ax in figure(each).axes for line in ax.lines for y in line.get_ydata()}
        for each in (changed, table)
    )
    assert changed == shown and max(shown) < 9
    own = table[~other & table["grade"].isna() & (table["atom"] != "total")]
    assert set(own["corrected_bits"]) <= shown and not set(own["value_bits"]) <= shown


def test_the_figure_without_a_readable_model_says_so(table):
    drawn = figure(table.assign(moved_vision=1.0))
    assert " in 0 of 0 models" in drawn.legends[0].get_title().get_text()
