import json
import shutil

import numpy as np
import pandas as pd
import pytest

from pidlib.decomposition import sensory_pid
from pidlib.experiments.omni import fig_stamps, stamps
from pidlib.experiments.preset import load_preset

OPTIONS = {"n_permutations": 19, "n_bootstrap": 19, "seed": 0}
BAR = ["corrected_bits", "ci_low", "ci_high"]


@pytest.fixture(scope="module")
def features():
    return stamps.load()


@pytest.fixture(scope="module")
def tables():
    return fig_stamps.measure(load_preset("smoke", n_clusters=4))


@pytest.fixture(scope="module")
def probed(tables):
    """Corrected bits of unconditional pairs by probes."""
    table = tables["fig_stamps"].query("unimodal == 'probe' and given.isna()")
    keys = ["benchmark", "source_a", "source_b", "pairing", "atom"]
    return table.set_index(keys)["corrected_bits"].sort_index()


def test_the_features_are_complete(features):
    shapes = [getattr(features, part).shape for part in stamps.PARTS]
    assert shapes == [(950, 1280), (950, 384), (5479, 768)]
    pictures, clips = features.stamps, features.clips
    assert pictures["stamp_id"].is_unique
    assert not clips.duplicated(["stamp_id", "spoken"]).any()
    assert set(clips["stamp_id"]) <= set(pictures["stamp_id"]) and clips["spoken"].nunique() == 6
    assert (pictures["caption"].str.len() > 0).all() and clips["seconds"].between(0.1, 3).all()
    for part in stamps.PARTS:
        rows = getattr(features, part)
        assert np.isfinite(rows).all() and (rows.std(axis=0) > 0).mean() > 0.99


def test_stamps_are_shipped_with_their_license_and_in_small_files():
    files = [path for path in stamps.FOLDER.rglob("*") if path.is_file()]
    files = [path for path in files if "__pycache__" not in path.parts]
    suffixes = {".safetensors", ".csv", ".json", ".md", ".txt", ".py", "", ".webp"}
    assert {path.suffix for path in files} == suffixes  # no recording
    sizes = {path: path.stat().st_size for path in files}
    assert max(sizes.values()) < 5e6
    assert sum(sizes.values()) < 35e6
    assert sum(size for path, size in sizes.items() if path.parent == stamps.FOLDER) < 15e6
    assert "GNU GENERAL PUBLIC LICENSE" in (stamps.FOLDER / "COPYING").read_text()
    notice = (stamps.FOLDER / "README.md").read_text(encoding="utf-8")
    assert "Bill Kendrick" in notice and "Pere Pujal" in notice
    assert "General Public License" in notice
    manifest = json.loads((stamps.FOLDER / "manifest.json").read_text())
    assert manifest["licence"].startswith("GPL-2.0")


def test_a_changed_file_is_refused_and_a_missing_folder_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="no features at"):
        stamps.load(tmp_path / "none")
    copy = shutil.copytree(stamps.FOLDER, tmp_path / "copy")
    text = (copy / "stamps.csv").read_text(encoding="utf-8")
    (copy / "stamps.csv").write_text(text.replace("A frog.", "A toad.", 1), encoding="utf-8")
    with pytest.raises(ValueError, match="stamps.csv differs from the file that was built"):
        stamps.load(copy)


def test_the_parts_share_neither_pictures_nor_captions_and_languages_are_even(features):
    fitted, applied = stamps.split(features, seed=3)
    caption = features.stamps.set_index("stamp_id")["caption"]
    assert not set(caption[fitted.stamp_ids]) & set(caption[applied.stamp_ids])
    assert len(set(applied.stamp_ids)) == len(applied.stamp_ids)
    assert len(fitted.stamp_ids) == 6 * len(set(fitted.stamp_ids))
    counts = pd.Series(applied.targets["spoken"]).value_counts()
    assert len(counts) == 6 and counts.max() - counts.min() <= 1
    other = stamps.split(features, seed=4)[1]
    assert (other.stamp_ids == applied.stamp_ids).all()
    assert (other.targets["spoken"] != applied.targets["spoken"]).any()


def test_every_source_is_of_its_own_picture_and_clip(features):
    _, applied = stamps.split(features)
    picture = features.stamps.set_index("stamp_id").index.get_indexer(applied.stamp_ids)
    clips = pd.MultiIndex.from_frame(features.clips[["stamp_id", "spoken"]])
    keys = pd.MultiIndex.from_arrays([applied.stamp_ids, applied.targets["spoken"]])
    clip = clips.get_indexer(keys)
    assert (applied.sources["vision"] == features.pictures[picture]).all()
    assert (applied.sources["language"] == features.captions[picture]).all()
    assert (applied.sources["audio"] == features.speech[clip]).all()


def test_conditional_atoms_are_the_mean_over_conditions():
    rng = np.random.default_rng(0)
    t, v, a = rng.integers(2, size=(3, 600))
    y = np.where(t == 0, v, v ^ a)
    options = OPTIONS | {"sources": ("vision", "audio"), "n_permutations": 39}
    atoms = fig_stamps.decompose(v, a, y, given=t, **options).set_index("atom")
    counts = np.zeros((2, 2, 2, 2))
    np.add.at(counts, (t, v, a, y), 1)
    exact = sensory_pid(list(counts), weights=counts.sum((1, 2, 3)) / 600)
    assert atoms["value_bits"].to_dict() == pytest.approx(exact.atoms, abs=1e-5)
    assert atoms.loc["unique_vision", "corrected_bits"] == pytest.approx(0.5, abs=0.05)
    assert atoms.loc["synergy", "corrected_bits"] == pytest.approx(0.5, abs=0.05)
    assert (atoms["ci_low"] < atoms["corrected_bits"]).all()
    assert atoms.loc[["unique_vision", "synergy"], "null_p"].tolist() == [0.05, 0.025]
    assert atoms.loc["unique_audio", "null_p"] > 0.05


def test_a_source_that_determines_the_target_leaves_no_synergy_within_a_condition():
    y = np.random.default_rng(1).integers(6, size=300)
    t = np.random.default_rng(2).integers(3, size=300)
    for given in (None, t):
        sources = ("vision", "audio")
        atoms = fig_stamps.decompose(np.zeros(300), y, y, given=given, sources=sources, **OPTIONS)
        atoms = atoms.set_index("atom")
        assert atoms.loc["synergy", BAR].isna().all()
        assert atoms.loc["unique_audio", "corrected_bits"] > 2


def test_probes_predict_what_each_source_contains(tables):
    probes = tables["fig_stamps_probes"]
    accuracy = probes.set_index(["benchmark", "source"])["accuracy"]
    assert accuracy["stamps/spoken", "audio"] > 0.95
    assert accuracy["stamps/spoken", "vision"] < 0.25
    assert accuracy["stamps/spoken", "language"] < 0.25
    assert accuracy["stamps/category", "vision"] > 0.6
    assert accuracy["stamps/category", "language"] > 0.7
    assert (probes["probe_bits"] <= probes["target_bits"]).all()
    assert (probes["codes_bits"] < 2).all()


def test_category_is_redundant_spoken_is_unique_to_the_voice_and_match_is_synergy(probed):
    category = probed["stamps/category", "vision", "language", "matched"]
    assert category["redundancy"] > max(0.8, 2 * category["unique_vision"])
    spoken = probed["stamps/spoken", "vision", "audio", "matched"]
    assert spoken["unique_audio"] > 2
    assert abs(spoken["redundancy"]) < 0.1 and abs(spoken["unique_vision"]) < 0.1
    match = probed["stamps/match", "vision", "language", "matched"]
    assert match["synergy"] > 0.2 and match.drop("synergy").max() < 0.1


def test_controls_are_at_chance(tables, probed):
    category = probed["stamps/category", "vision", "language", "mismatched"]
    assert category["redundancy"] < 0.2 and category["unique_vision"] < 0.2
    assert category["unique_language"] > 1.2  # the target is the caption's
    shuffled = probed.xs("shuffled", level="pairing")
    assert shuffled.abs().max() < 0.2
    synergy = shuffled["stamps/match"].xs("synergy", level="atom")
    assert synergy.fillna(0).max() < 0.1


def test_synergy_that_does_not_exceed_its_null_is_missing(tables):
    table = tables["fig_stamps"].query("atom == 'synergy'")
    table = table.astype(dict.fromkeys(["value_bits", "null_mean", "null_p", *BAR], float))
    zero = table[table["value_bits"] < 1e-6]
    assert len(zero) >= 9 and zero[BAR].isna().all(None)
    assert table.loc[table["value_bits"] <= table["null_mean"], BAR].isna().all(None)
    shown = table[table["corrected_bits"].notna()]
    excess = shown["value_bits"] - shown["null_mean"]
    assert (shown["corrected_bits"] - excess).abs().max() < 1e-9
    chance = shown[shown["null_p"] > 0.5]
    assert len(chance) and ((chance["ci_low"] <= 0) & (chance["ci_high"] >= 0)).all()


def test_a_shift_moves_the_given_labels_and_no_other():
    labels, places = np.arange(10), np.array([4, 1, 7])
    shifted = fig_stamps._shift(labels, places)
    assert (shifted[places] != labels[places]).all() and sorted(shifted) == sorted(labels)
    assert (np.delete(shifted, places) == np.delete(labels, places)).all()


def test_the_table_is_latex(tables):
    text = fig_stamps.latex(tables)
    assert text.startswith(r"\begin{tabular}") and text.count(r"\\") == 7
