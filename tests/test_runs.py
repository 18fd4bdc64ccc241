"""Models are asked once: a second call reads the cache, and anything that changes the numbers makes a folder of its own."""

import pytest

from pidlib import runs
from pidlib.experiment import load_preset
from pidlib.models.minis import vocabulary
from pidlib.models.tiny import build


@pytest.fixture(scope="module")
def preset(tmp_path_factory):
    """One tiny model with random weights, one benchmark, sixteen questions."""
    folder = tmp_path_factory.mktemp("runs")
    model, processor = build("llava", sorted(vocabulary()), size="tiny")
    model.save_pretrained(folder / "model")
    processor.save_pretrained(folder / "model")
    where = {"models": [str(folder / "model")], "cache": str(folder / "cache"), "benchmarks": ["micro/existence"]}
    return load_preset("smoke", **where, n_samples=16, n_embedded=24, partners=2, n_bootstrap=4, n_permutations=4)


def folders(preset):
    return {path.name: (path / "manifest.json").stat().st_mtime_ns for path in preset.cache.iterdir()}


def test_decisions_are_profiled_once_for_each_way_to_ask(preset):
    table = runs.decision_profiles(preset, "vision_language")
    assert len(table) == 4 * len(preset.unimodal)
    assert set(table["n_samples"]) == {16} and set(table["experiment"]) == {"vision_language"}
    assert table["fingerprint"].nunique() == len(preset.unimodal)
    assert table.loc[0, "revision"] and table["seed"].eq(0).all()
    before = folders(preset)
    again = runs.decision_profiles(preset, "vision_language")
    assert again.equals(table)
    assert folders(preset) == before
    more = preset.model_copy(update={"n_samples": 17})
    assert set(runs.decision_profiles(more, "vision_language")["fingerprint"]).isdisjoint(table["fingerprint"])
    assert len(folders(preset)) == len(before) + 1


def test_settings_that_change_no_number_change_no_folder(preset):
    ((first,),) = runs.runs(preset, runs.decisions(preset))
    ((second,),) = runs.runs(preset.model_copy(update={"batch_size": 5}), runs.decisions(preset))
    assert first.columns == second.columns


def test_codebooks_are_fitted_on_another_split(preset):
    ((fitted, applied),) = runs.runs(preset, runs.embeddings(preset))
    assert (fitted.columns["split"], applied.columns["split"]) == ("train", "test")
    assert not set(fitted.extraction.sample_ids) & set(applied.extraction.sample_ids)
    table = runs.embedding_profiles(preset, "vision_language")
    assert len(table) == 4 and table["null_mean"].notna().all() and table["corrected_bits"].notna().any()


def test_a_model_that_does_not_exist_stops_the_run(preset):
    with pytest.raises(ValueError, match="nobody"):
        next(runs.runs(preset.model_copy(update={"models": (*preset.models, "nobody")}), runs.decisions(preset)))
