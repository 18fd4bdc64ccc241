"""Profiles as rows of tables: of known models, and of a tiny one that is extracted once."""

from dataclasses import replace

import pytest
from known_models import N, extraction, xor

from pidlib.experiments.decision_profiles import (
    embedding_codes,
    embedding_profile,
    embedding_request,
    mode_profiles,
    request,
)
from pidlib.experiments.extractions import Extracted, extract_all
from pidlib.experiments.preset import load_preset
from pidlib.experiments.tables import ATOMS, validate
from pidlib.experiments.vision_language import fig_embeddings, fig_profiles
from pidlib.training.minis import vocabulary
from pidlib.training.tiny import build

COLUMNS = dict.fromkeys(("experiment", "benchmark", "fingerprint"), "t")


def values(table, column="value_bits"):
    return dict(zip(table["atom"], table[column], strict=True))


@pytest.fixture(scope="module")
def preset(tmp_path_factory):
    """A tiny model with random weights, one benchmark, sixteen questions."""
    folder = tmp_path_factory.mktemp("profiles")
    for part in build("llava", sorted(vocabulary()), size="tiny"):
        part.save_pretrained(folder / "model")
    places = {"models": [str(folder / "model")], "cache": str(folder / "cache")}
    sizes = {"n_samples": 16, "n_embedded": 24, "partners": 2, "n_bootstrap": 4}
    return load_preset("smoke", benchmarks=["micro/existence"], n_permutations=4, **places, **sizes)


def folders(preset):
    return {path.name: path.stat().st_mtime_ns for path in preset.cache.iterdir()}


def test_decisions_are_extracted_once_for_all_modes(preset):
    table = fig_profiles.measure(preset)["fig_profiles"]
    assert len(table) == 4 * len(preset.unimodal)
    assert set(table["n_samples"]) == {16} and set(table["experiment"]) == {"vision_language"}
    assert table["fingerprint"].nunique() == len(preset.unimodal)
    assert table.loc[0, "revision"] and table["seed"].eq(0).all()
    before = folders(preset)
    assert fig_profiles.measure(preset)["fig_profiles"].equals(table)
    assert folders(preset) == before
    more = fig_profiles.measure(preset.model_copy(update={"n_samples": 17}))["fig_profiles"]
    assert set(more["fingerprint"]).isdisjoint(table["fingerprint"])
    assert len(folders(preset)) == len(before) + 1


def test_the_batch_size_changes_no_folder(preset):
    ((first,),) = extract_all(preset, request(preset))
    ((second,),) = extract_all(preset.model_copy(update={"batch_size": 5}), request(preset))
    assert first.columns == second.columns


def test_codes_are_fitted_on_another_split(preset):
    ((fitted, applied),) = extract_all(preset, embedding_request(preset))
    assert (fitted.columns["split"], applied.columns["split"]) == ("train", "test")
    assert not set(fitted.extraction.sample_ids) & set(applied.extraction.sample_ids)
    table = fig_embeddings.measure(preset)
    assert table.groupby("estimator").size().to_dict() == {"exact": 4, "Gaussian": 4}
    assert table["null_mean"].notna().all()
    assert table["corrected_bits"].notna().any()


def test_an_unknown_model_stops_before_the_first_is_loaded(preset):
    more = preset.model_copy(update={"models": (*preset.models, "nobody")})
    with pytest.raises(ValueError, match="nobody"):
        next(extract_all(more, request(more)))


def test_rows_of_decisions_fit_the_columns_of_atoms():
    answer = Extracted(extraction(xor), {"benchmark": "b", "fingerprint": "f"})
    preset = load_preset("smoke", unimodal="resampled", n_halves=4)
    (profile,) = mode_profiles(preset, answer, "vision_language")
    table = validate(profile, ATOMS)
    assert values(table)["synergy"] == pytest.approx(1, abs=1e-5)
    assert values(table, "corrected_bits")["synergy"] == pytest.approx(1, abs=0.03)
    assert set(table["source_a"]) == {"vision"} and set(table["unimodal"]) == {"resampled"}
    (other,) = mode_profiles(preset, answer, "vision_language", estimator="exact")
    assert set(other["fingerprint"]).isdisjoint(table["fingerprint"])


def test_embeddings_of_xor_have_synergy():
    preset = load_preset("smoke", n_clusters=2, n_permutations=40, n_bootstrap=40)
    profile = embedding_profile(preset, extraction(xor, "fit"), extraction(xor))
    table = validate(profile.assign(**COLUMNS), ATOMS)
    assert values(table)["synergy"] == pytest.approx(1, abs=1e-5)
    assert values(table, "corrected_bits")["synergy"] == pytest.approx(1, abs=0.05)
    assert values(table, "null_p")["synergy"] == pytest.approx(1 / 41)
    assert set(table["layer"]) == {3} and set(table["n_samples"]) == {N}


def test_codebooks_of_the_same_samples_or_without_states_are_refused():
    whole = extraction(xor)
    with pytest.raises(ValueError, match="64 are in both"):
        embedding_profile(load_preset("smoke"), whole, whole)
    with pytest.raises(ValueError, match="has no states"):
        embedding_codes(replace(extraction(xor, "fit"), hidden=None), whole, 2)
