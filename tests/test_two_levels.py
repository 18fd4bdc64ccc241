"""The steps between the levels, on a model that answers XOR: what is lost where something is left out, and only there."""

from dataclasses import replace

import numpy as np
import pytest
from test_profiles import N, extraction, xor

from pidlib import runs
from pidlib.experiment import load_preset
from pidlib.two_levels import probe, steps, two_levels_table
from pidlib.uncertainty import estimate

V, T = np.divmod(np.arange(N) % 4, 2)
KNOWN = ((V, T), (V, T))


def atoms(fitted, applied, k=2):
    """Measured atoms of every step."""
    found = steps(fitted, applied, k, KNOWN)
    return {key: estimate(*labels, n_permutations=1, n_bootstrap=1).measured.atoms for key, labels in found.items()}


def without_places(one):
    """Pooled embeddings of the picture that are the same for all, up to noise."""
    noise = np.random.default_rng(len(one.sample_ids[0])).normal(size=(N, 4))
    return replace(one, embeddings=one.embeddings | {"vision": 1 + 0.1 * noise})


def test_nothing_is_lost_where_all_variables_tell_all():
    found = atoms(extraction(xor, "fit"), extraction(xor))
    assert len(found) == 8
    assert {key: values["synergy"] for key, values in found.items()} == pytest.approx(dict.fromkeys(found, 1), abs=0.1)


def test_pooling_that_forgets_the_picture_loses_what_is_read_off_it():
    found = atoms(*map(without_places, (extraction(xor, "fit"), extraction(xor))))
    synergy = {key: values["synergy"] for key, values in found.items() if key[2] != 4}  # four codes of noise have synergy by chance
    for (sources, *_), value in synergy.items():
        assert value == pytest.approx(1, abs=0.1) if sources == "states" else value < 0.3


def test_a_target_that_remembers_its_sources_turns_synergy_into_unique_information():
    places = np.eye(4)[2 * V + T][:, None]
    fitted, applied = (replace(extraction(xor, name), hidden=places) for name in ("fit", "a"))
    found = atoms(fitted, applied)
    remembered = {"redundancy": 0, "unique_vision": 1, "unique_language": 1, "synergy": 0}
    assert found["states", "state", 4] == pytest.approx(remembered, abs=1e-5)
    assert found["states", "decision", None]["synergy"] == pytest.approx(1, abs=1e-5)


def test_a_probe_reads_what_is_there():
    one = extraction(xor)
    assert (probe(one.embeddings["vision"], one.embeddings["vision"], V) == V).all()
    assert (probe(one.embeddings["vision"], one.embeddings["vision"][:5], np.full(N, 3)) == np.full(5, 3)).all()


def test_the_table_holds_both_levels_and_the_steps_that_can_be_taken(monkeypatch):
    def asked(benchmark):
        place = {"model": "made up", "revision": "0", "benchmark": benchmark, "n_samples": N}
        made = (("test", "a"), ("train", "fit"), ("test", "a"))
        return tuple(runs.Run(extraction(xor, name), place | {"split": split, "fingerprint": split}) for split, name in made)

    monkeypatch.setattr(runs, "runs", lambda *_: iter([asked("micro/existence"), asked("easy_vqa/yes_no")]))
    table = two_levels_table(load_preset("smoke"))
    assert table.groupby("benchmark")["fingerprint"].nunique().to_dict() == {"micro/existence": 10, "easy_vqa/yes_no": 6}
    assert len(table) == 64 and table["null_mean"].isna().sum() == 2  # synergy of resampled decisions has none
    decided = table[table["target"] == "decision"]
    assert decided["target_bits"].to_list() == pytest.approx([1] * len(decided))
    assert set(table.loc[table["target"] == "state", "layer"]) == {3} and decided["layer"].isna().all()
    synergy = decided[(decided["sources"] == "samples") & (decided["atom"] == "synergy")]
    assert synergy["value_bits"].to_list() == pytest.approx([1] * 4, abs=1e-5)
