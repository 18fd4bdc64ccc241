"""Shares of every model and benchmark, missing without unique information; table and map."""

import pandas as pd
import pytest

from experiments.vision_language.synthetic import MODELS, profiles
from pidlib import benchmarks
from pidlib.experiments.preset import load_preset
from pidlib.experiments.tables import validate
from pidlib.experiments.vision_language import table2_contributions
from pidlib.experiments.vision_language.table2_contributions import COLUMNS, measure, published
from pidlib.training.minis import vocabulary
from pidlib.training.tiny import build


def test_shares_are_in_the_rows_of_unique_atoms(tmp_path):
    """With a single question, language has no information."""
    model, processor = build("llava", sorted(vocabulary()), size="tiny")
    model.save_pretrained(tmp_path / "model")
    processor.save_pretrained(tmp_path / "model")
    sizes = {"n_contributions": 48, "n_permutations": 39, "n_bootstrap": 20}
    place = {"population": [str(tmp_path / "model")], "cache": str(tmp_path / "cache")}
    preset = load_preset("smoke", benchmarks=["micro/scene"], **place, **sizes)
    table = measure(preset)
    measured = table[table["grade"].isna()].set_index("atom")
    assert list(measured.index) == ["redundancy", "unique_vision", "unique_language", "synergy"]
    assert measured.loc[["redundancy", "synergy"], "contribution"].isna().all()
    unique = measured.loc[["unique_vision", "unique_language"]]
    assert unique["contribution"].tolist() == pytest.approx([1, 0])
    assert (unique["contribution_low"] <= unique["contribution"]).all()
    assert (unique["contribution"] <= unique["contribution_high"]).all()
    assert (unique["unique_p"] <= 0.05).all() and measured["note"].isna().all()
    assert set(measured["n_samples"]) == {48}
    assert set(measured["n_codes"]) == {preset.contribution_codes}


def test_published_atoms_are_converted_to_bits_and_shares_are_kept():
    table = published()
    share = table.query("model == 'SmolVLM-256M'")["contribution"].item()
    assert share == pytest.approx(0.8139)
    atoms = table.query("benchmark == 'VQA'").set_index("atom")
    assert atoms.loc["redundancy", "value_bits"] == pytest.approx(1.0488, abs=1e-4)
    assert "swaps" in atoms.loc["unique_vision", "note"]


def test_missing_shares_are_dashes_in_the_table_and_hatched_in_the_map():
    rows = pd.DataFrame(profiles(benchmark=benchmarks.names("pictures"), model=MODELS))
    rows["corrected_bits"] = 0.9 * rows["value_bits"]
    shared = (rows["atom"] == "unique_language") & (rows["benchmark"] != "micro/scene")
    names = ["contribution", "contribution_low", "contribution_high"]
    rows.loc[shared, names] = (0.6, 0.45, 0.7)
    table = pd.concat([rows, published()]).assign(seed=0, experiment="synthetic")
    table = validate(table, COLUMNS)
    text = table2_contributions.latex(table)
    lines = {line.split(" & ")[0]: line.split(" & ") for line in text.splitlines()}
    assert lines["LLaVA mini"][1] == "$60_{45}^{70}$" and lines["LLaVA mini"].count("--") == 1
    assert "minis" in text and r"\scriptsize" in text
    assert "all models and benchmarks: 49--81 (grade P)" in text
    assert "SmolVLM-256M, GQA: 81 (grade P)" in text
    assert "BLIP: named as in the files; the released code swaps" in text
    ax = table2_contributions.figure(table).axes[0]
    assert len(ax.patches) == len(MODELS) and len(ax.texts) == 8 * len(MODELS)
