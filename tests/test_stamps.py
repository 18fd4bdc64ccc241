"""The shipped features, and the tables: what labels share is found, and controls are at chance."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest

from pidlib import figures, results, stamps
from pidlib.decomposition import sensory_pid
from pidlib.distributions import joint_from_labels
from pidlib.experiment import load_preset
from pidlib.figures import omni
from pidlib.stamps_build import LARGEST, SPOKEN

OPTIONS = {"n_permutations": 19, "n_bootstrap": 19, "seed": 0}


@pytest.fixture(scope="module")
def features():
    return stamps.load()


@pytest.fixture(scope="module")
def tables(features):
    preset = load_preset("smoke", n_clusters=4)
    return stamps.stamps_table(preset, features), stamps.probes_table(preset, features)


def test_the_features_are_whole(features):
    assert features.pictures.shape == (950, 1280) and features.captions.shape == (950, 384) and features.speech.shape == (5479, 768)
    assert features.stamps["stamp_id"].is_unique and not features.clips.duplicated(["stamp_id", "spoken"]).any()
    assert set(features.clips["stamp_id"]) <= set(features.stamps["stamp_id"]) and set(features.clips["spoken"]) == set(SPOKEN)
    assert (features.stamps["caption"].str.len() > 0).all() and features.clips["seconds"].between(0.1, 3).all()
    for rows in (features.pictures, features.captions, features.speech):
        assert np.isfinite(rows).all() and (rows.std(axis=0) > 0).mean() > 0.99


def test_features_alone_are_shipped_with_their_licence_and_small():
    files = [path for path in stamps.FOLDER.rglob("*") if path.is_file()]
    assert {path.suffix for path in files} == {".safetensors", ".csv", ".json", ".md", ".txt", ""}  # no picture, no recording
    assert max(path.stat().st_size for path in files) < 5e6 and sum(path.stat().st_size for path in files) < 15e6
    assert LARGEST < 5e6
    assert "GNU GENERAL PUBLIC LICENSE" in (stamps.FOLDER / "COPYING").read_text()
    notice = (stamps.FOLDER / "README.md").read_text(encoding="utf-8")
    assert "Bill Kendrick" in notice and "General Public License" in notice and "Pere Pujal" in notice
    assert json.loads((stamps.FOLDER / "manifest.json").read_text())["licence"].startswith("GPL-2.0")


def test_a_changed_file_is_refused_and_a_missing_folder_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="no features at"):
        stamps.load(tmp_path / "none")
    copy = shutil.copytree(stamps.FOLDER, tmp_path / "copy")
    text = (copy / "stamps.csv").read_text(encoding="utf-8")
    (copy / "stamps.csv").write_text(text.replace("A frog.", "A toad.", 1), encoding="utf-8")
    with pytest.raises(ValueError, match="stamps.csv is not the file that was built"):
        stamps.load(copy)


def test_the_parts_share_neither_picture_nor_caption_and_languages_are_dealt_evenly(features):
    fitted, applied = stamps.split(features, seed=3)
    caption = features.stamps.set_index("stamp_id")["caption"]
    assert not set(caption[fitted.stamp_ids]) & set(caption[applied.stamp_ids])
    assert len(set(applied.stamp_ids)) == len(applied.stamp_ids) and len(fitted.stamp_ids) == 6 * len(set(fitted.stamp_ids))
    counts = pd.Series(applied.targets["spoken"]).value_counts()
    assert len(counts) == 6 and counts.max() - counts.min() <= 1
    other = stamps.split(features, seed=4)[1]
    assert (other.stamp_ids == applied.stamp_ids).all() and (other.targets["spoken"] != applied.targets["spoken"]).any()


def test_every_source_is_of_its_own_picture_and_clip(features):
    _, applied = stamps.split(features)
    picture = features.stamps.set_index("stamp_id").index.get_indexer(applied.stamp_ids)
    clip = pd.MultiIndex.from_frame(features.clips[["stamp_id", "spoken"]])
    clip = clip.get_indexer(pd.MultiIndex.from_arrays([applied.stamp_ids, applied.targets["spoken"]]))
    expected = {"vision": features.pictures[picture], "language": features.captions[picture], "audio": features.speech[clip]}
    for name, rows in expected.items():
        assert (applied.sources[name] == rows).all()


def test_given_is_the_mean_of_the_conditions():
    rng = np.random.default_rng(0)
    t, v, a = rng.integers(2, size=(3, 600))
    y = np.where(t == 0, v, v ^ a)
    found = stamps.decompose(v, a, y, t, sources=("vision", "audio"), **OPTIONS).set_index("atom")
    exact = sensory_pid([joint_from_labels(v[t == c], a[t == c], y[t == c]) for c in (0, 1)], weights=[(t == 0).mean(), (t == 1).mean()])
    assert found["value_bits"].to_dict() == pytest.approx(exact.atoms, abs=1e-5)
    assert found.loc["unique_vision", "corrected_bits"] == pytest.approx(0.5, abs=0.05)
    assert found.loc["synergy", "corrected_bits"] == pytest.approx(0.5, abs=0.05)
    assert (found["ci_low"] < found["corrected_bits"]).all()
    assert found.loc[["unique_vision", "synergy"], "null_p"].tolist() == [0.05, 0.05]
    assert found.loc["unique_audio", "null_p"] > 0.05


def test_probes_read_what_is_known_of_the_corpus(tables):
    accuracy = tables[1].set_index(["benchmark", "source"])["accuracy"]
    assert accuracy["stamps/spoken", "audio"] > 0.95
    assert accuracy["stamps/spoken", "vision"] < 0.25 and accuracy["stamps/spoken", "language"] < 0.25
    assert accuracy["stamps/category", "vision"] > 0.6 and accuracy["stamps/category", "language"] > 0.7
    bits = tables[1]
    assert (bits["probe_bits"] <= bits["target_bits"]).all() and (bits["codes_bits"] < 2).all()


def test_category_is_shared_the_language_spoken_is_in_the_voice_alone_and_match_is_synergy(tables):
    table = tables[0].query("unimodal == 'probe' and given.isna()")
    atoms = table.set_index(["benchmark", "source_a", "source_b", "pairing", "atom"])["corrected_bits"].sort_index()
    category = atoms["stamps/category", "vision", "language"]
    assert category["matched", "redundancy"] > 0.8 and category["matched", "redundancy"] > 2 * category["matched", "unique_vision"]
    spoken = atoms["stamps/spoken", "vision", "audio", "matched"]
    assert spoken["unique_audio"] > 2 and abs(spoken["redundancy"]) < 0.1 and abs(spoken["unique_vision"]) < 0.1
    match = atoms["stamps/match", "vision", "language", "matched"]
    assert match["synergy"] > 0.2 and max(match["redundancy"], match["unique_vision"], match["unique_language"]) < 0.1


def test_controls_are_at_chance(tables):
    table = tables[0].query("unimodal == 'probe' and given.isna()")
    atoms = table.set_index(["benchmark", "source_a", "source_b", "pairing", "atom"])["corrected_bits"].sort_index()
    apart = atoms["stamps/category", "vision", "language", "mismatched"]
    assert apart["redundancy"] < 0.2 and apart["unique_vision"] < 0.2 and apart["unique_language"] > 1.2  # the target is the caption's
    shuffled = table[table["pairing"] == "shuffled"].set_index(["benchmark", "atom"])["corrected_bits"]
    assert shuffled.abs().max() < 0.2
    assert shuffled.fillna(0)["stamps/match", "synergy"].max() < 0.1


def test_synergy_that_was_not_counted_has_no_bar(tables):
    table = tables[0].query("atom == 'synergy'").set_index(["unimodal", "benchmark", "source_a", "source_b", "given", "pairing"])
    bar = ["corrected_bits", "ci_low", "ci_high"]
    uncounted = table[table["value_bits"] < 1e-6]
    assert len(uncounted) >= 9 and uncounted[bar].isna().all(None)  # no probe tells the language from a picture or a caption
    assert table.loc[table["value_bits"] <= table["null_mean"], bar].isna().all(None)
    shown = table[table["corrected_bits"].notna()].astype(dict.fromkeys(["value_bits", "null_mean", "null_p", *bar], float))
    assert (shown["corrected_bits"] - (shown["value_bits"] - shown["null_mean"])).abs().max() < 1e-9
    chance = shown[shown["null_p"] > 0.5]
    assert len(chance) and ((chance["ci_low"] <= 0) & (chance["ci_high"] >= 0)).all()


def test_a_voice_that_tells_all_leaves_no_synergy_within_a_condition():
    """As in the language spoken given the caption: the other source is constant, and what was counted is zero."""
    y, t = np.random.default_rng(1).integers(6, size=300), np.random.default_rng(2).integers(3, size=300)
    for given in (None, t):
        found = stamps.decompose(np.zeros(300), y, y, given, sources=("vision", "audio"), **OPTIONS).set_index("atom")
        assert found.loc["synergy", ["corrected_bits", "ci_low", "ci_high"]].isna().all()
        assert found.loc["unique_audio", "corrected_bits"] > 2


def test_pairings_move_everyone():
    labels = np.arange(10)
    moved = stamps._moved(labels, np.array([4, 1, 7]))
    assert (moved[[4, 1, 7]] != labels[[4, 1, 7]]).all() and sorted(moved) == sorted(labels)
    assert (np.delete(moved, [4, 1, 7]) == np.delete(labels, [4, 1, 7])).all()


def test_figure_and_table_are_drawn_from_the_tables_alone(tables, tmp_path):
    preset = load_preset("smoke", output=str(tmp_path))
    for name, table in zip(("omni/fig_stamps", "omni/table_stamps"), tables, strict=True):
        results.write(table, preset.table(name))
    first = [path.read_bytes() for path in figures.draw("omni/fig_stamps", preset).paths]
    assert [path.read_bytes() for path in figures.draw("omni/fig_stamps", preset).paths] == first
    (tex,) = figures.draw("omni/table_stamps", preset).paths
    assert tex.read_text(encoding="utf-8").count(r"\\") == 7
    loose = tables[0].assign(converged=False)
    with pytest.raises(ValueError, match="did not converge"):
        omni.fig_stamps(loose)
