"""The three studies on a model that answers XOR, and tells all at the sight of the options."""

from dataclasses import replace

import numpy as np
import pytest
from test_profiles import N, extraction, xor

from pidlib import runs
from pidlib.estimators import SEEDS, TRAINING, estimators_table
from pidlib.experiment import load_preset
from pidlib.extraction.masking import OPTIONS

ATOMS = ["redundancy", "unique_vision", "unique_language", "synergy"]


@pytest.fixture(scope="module")
def table():
    one = extraction(xor)
    logits = dict(one.logits) | {"vision#1": one.logits["none"], OPTIONS: one.logits["vision+language"]}
    normaliser = dict.fromkeys(logits, np.zeros(N)) | {"vision": np.full(N, 9.0)}  # most of the mass is not on candidates
    place = {"model": "made up", "revision": "0", "benchmark": "b", "split": "test", "n_samples": N, "fingerprint": "f"}
    run = runs.Run(replace(one, logits=logits, log_normalizer=normaliser), place)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(runs, "runs", lambda *_, **__: iter([(run,)]))
        return estimators_table(load_preset("smoke"))


def bits(rows, name="value_bits"):
    return dict(zip(rows["atom"], rows[name], strict=True))


def test_batch_stands_beside_the_exact_solver_with_its_cost(table):
    rows = table[table["study"] == "estimator"]
    exact = bits(rows[rows["estimator"] == "exact"])
    assert exact == pytest.approx({"redundancy": 0, "unique_vision": 0, "unique_language": 0, "synergy": 1}, abs=1e-5)
    batch = rows[rows["estimator"] == "BATCH"]
    assert batch.groupby(["epochs", "batch_size"])["seed"].nunique().to_dict() == {tuple(one.values()): SEEDS for one in TRAINING}
    assert (rows["seconds"] > 0).all() and (batch["ratio"] > 0).all()
    for _, one in batch.groupby("fingerprint"):  # a batch of all samples differs in nothing but I_Q
        off = {atom: value - exact[atom] for atom, value in bits(one).items()}
        assert [off[atom] for atom in ATOMS] == pytest.approx(np.array([-1, 1, 1, -1]) * off["unique_vision"], abs=1e-5)


def test_both_ways_to_ask_one_modality_alone_have_interval_and_null(table):
    rows = table[table["study"] == "alone"]
    assert set(rows["unimodal"]) == {"masked", "resampled"} and len(rows) == 8
    assert rows[["ci_low", "ci_high"]].notna().all(axis=None) and rows["null_mean"].notna().sum() == 7


def test_options_in_sight_change_what_the_picture_tells(table):
    rows = {key: some for key, some in table[table["study"] == "options"].groupby("source_a")}
    assert set(rows) == {"vision", "vision#1", OPTIONS}
    assert bits(rows["vision"])["synergy"] == pytest.approx(1, abs=1e-4) == bits(rows["vision#1"])["synergy"]
    assert bits(rows[OPTIONS])["unique_vision"] == pytest.approx(1, abs=1e-4)
    assert [rows[key]["fallback"].iloc[0] for key in ("vision", "vision#1", OPTIONS)] == [1, 0, 0]
