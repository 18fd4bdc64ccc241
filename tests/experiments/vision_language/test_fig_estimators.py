"""The three studies on a model that answers XOR, and answers rightly if the options are visible."""

from dataclasses import replace

import numpy as np
import pytest
from known_models import N, extraction, xor

from pidlib.experiments.extractions import Extracted
from pidlib.experiments.preset import load_preset
from pidlib.experiments.vision_language import fig_estimators
from pidlib.experiments.vision_language.fig_estimators import N_SEEDS, TRAINING
from pidlib.extraction.masking import OPTIONS


@pytest.fixture(scope="module")
def table():
    whole = extraction(xor)
    logits = dict(whole.logits) | {"vision#1": whole.logits["none"]}
    logits[OPTIONS] = whole.logits["vision+language"]
    # With the picture alone, most of the mass is not on candidates.
    normalizer = dict.fromkeys(logits, np.zeros(N)) | {"vision": np.full(N, 9.0)}
    columns = {"model": "synthetic", "revision": "0", "benchmark": "b", "split": "test"}
    columns |= {"n_samples": N, "fingerprint": "f"}
    answer = Extracted(replace(whole, logits=logits, log_normalizer=normalizer), columns)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fig_estimators, "extractions", lambda *_: iter([(answer,)]))
        return fig_estimators.measure(load_preset("smoke"))


def values(rows, column="value_bits"):
    return dict(zip(rows["atom"], rows[column], strict=True))


def test_batch_is_compared_with_the_exact_solver_and_its_cost(table):
    rows = table[table["study"] == "estimator"]
    exact = values(rows[rows["estimator"] == "exact"])
    assert exact == pytest.approx(dict.fromkeys(exact, 0) | {"synergy": 1}, abs=1e-5)
    batch = rows[rows["estimator"] == "BATCH"]
    seeds = batch.groupby(["epochs", "batch_size"])["seed"].nunique()
    assert seeds.to_dict() == {tuple(training.values()): N_SEEDS for training in TRAINING}
    assert (rows["seconds"] > 0).all() and (batch["ratio"] > 0).all()
    for _, trained in batch.groupby("fingerprint"):  # with a single batch, only I_Q differs
        error = {atom: value - exact[atom] for atom, value in values(trained).items()}
        size = error["unique_vision"]
        assert [error[atom] for atom in exact] == pytest.approx(
            [size if atom.startswith("unique") else -size for atom in exact], abs=1e-5
        )


def test_both_modes_have_interval_and_null(table):
    rows = table[table["study"] == "alone"]
    assert set(rows["unimodal"]) == {"masked", "resampled"} and len(rows) == 8
    assert rows[["ci_low", "ci_high"]].notna().all(axis=None)
    assert rows["null_mean"].notna().sum() == 7


def test_visible_options_change_the_unique_information_of_the_picture(table):
    rows = dict(list(table[table["study"] == "options"].groupby("source_a")))
    assert set(rows) == {"vision", "vision#1", OPTIONS}
    for key in ("vision", "vision#1"):
        assert values(rows[key])["synergy"] == pytest.approx(1, abs=1e-4)
    assert values(rows[OPTIONS])["unique_vision"] == pytest.approx(1, abs=1e-4)
    fallback = [rows[key]["fallback"].iloc[0] for key in ("vision", "vision#1", OPTIONS)]
    assert fallback == [1, 0, 0]
