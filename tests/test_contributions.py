"""Shares of every model and benchmark, missing where nothing is unique; blocks one by one, of which the last is the profile's."""

import pytest

from pidlib import contributions, runs
from pidlib.experiment import load_preset
from pidlib.models.minis import vocabulary
from pidlib.models.tiny import build


@pytest.fixture(scope="module")
def preset(tmp_path_factory):
    """One tiny model with random weights on a benchmark with a single question: language tells nothing."""
    folder = tmp_path_factory.mktemp("contributions")
    model, processor = build("llava", sorted(vocabulary()), size="tiny")
    model.save_pretrained(folder / "model")
    processor.save_pretrained(folder / "model")
    name = [str(folder / "model")]
    where = {"models": name, "population": name, "cache": str(folder / "cache"), "benchmarks": ["micro/scene"]}
    return load_preset("smoke", **where, n_embedded=48, n_contributions=48, n_permutations=39, n_bootstrap=20)


def test_shares_stand_with_the_unique_atoms_beside_what_was_published(preset):
    table = contributions.contributions(preset)
    ours, said = table[table["grade"].isna()].set_index("atom"), table[table["grade"].notna()]
    assert list(ours.index) == ["redundancy", "unique_vision", "unique_language", "synergy"]
    assert ours.loc[["redundancy", "synergy"], "contribution"].isna().all()
    unique = ours.loc[["unique_vision", "unique_language"]]
    assert unique["contribution"].tolist() == pytest.approx([1, 0])
    assert (unique["contribution_low"] <= unique["contribution"]).all()
    assert (unique["contribution"] <= unique["contribution_high"]).all()
    assert (unique["unique_p"] <= 0.05).all()
    assert set(ours["n_samples"]) == {48} and set(ours["n_codes"]) == {preset.contribution_codes}
    assert said.query("model == 'SmolVLM-256M'")["contribution"].item() == pytest.approx(0.8139)
    assert said.query("benchmark == 'VQA' and atom == 'unique_vision'")["note"].str.contains("swaps").all() and ours["note"].isna().all()
    assert said.query("benchmark == 'VQA' and atom == 'redundancy'")["value_bits"].item() == pytest.approx(1.0488, abs=1e-4)


def test_every_block_is_profiled_and_the_last_as_in_the_profile(preset):
    table = contributions.embedding_layers(preset)
    ((fitted, applied),) = runs.runs(preset, runs.embeddings(preset))
    assert table["layer"].tolist() == [layer for layer in applied.extraction.layers for _ in range(4)]
    profile = runs.embedding_profiles(preset, "vision_language")
    last = table[table["layer"] == table["layer"].max()]
    for column in ("atom", "layer", "value_bits", "corrected_bits", "null_p", "ci_low"):
        assert last[column].tolist() == profile[column].tolist()
    with pytest.raises(ValueError, match=r"block 99 was not read; there are \(0, "):
        contributions.at_layer(applied.extraction, 99)
