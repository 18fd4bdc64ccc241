"""The four studies on a model that answers XOR, and answers rightly if the options are visible."""

from dataclasses import replace

import numpy as np
import pytest
from known_models import N, extraction, xor

from experiments.test_draw import count_labels, styled_figure
from pidlib.experiments.extractions import Extracted
from pidlib.experiments.preset import MODES, load_preset
from pidlib.experiments.vision_language import fig_estimators
from pidlib.experiments.vision_language.fig_estimators import N_SEEDS, TRAINING, alternatives
from pidlib.extraction.masking import OPTIONS


@pytest.fixture(scope="module")
def table():
    whole = extraction(xor)
    logits = dict(whole.logits) | {OPTIONS: whole.logits["vision+language"]}
    # With the picture alone and the first draw of noise, most of the mass is not on candidates.
    normalizer = dict.fromkeys(logits, np.zeros(N)) | {"vision": np.full(N, 9.0)}
    columns = {"model": "synthetic", "revision": "0", "benchmark": "b", "split": "test"}
    columns |= {"n_samples": N, "fingerprint": "f"}
    answer = Extracted(replace(whole, logits=logits, log_normalizer=normalizer), columns)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fig_estimators, "extract_all", lambda *_: iter([(answer,)]))
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


def test_all_modes_have_an_interval_and_those_that_permute_a_null(table):
    rows = table[table["study"] == "alone"]
    assert set(rows["unimodal"]) == set(MODES) and len(rows) == 12
    assert rows[["ci_low", "ci_high"]].notna().all(axis=None)
    null = rows.groupby("unimodal")["null_mean"].count()  # synergy has none
    assert null.to_dict() == {"masked": 3, "resampled": 3, "observational": 0}


def test_other_masks_and_modes_are_compared_with_noise(table):
    masks = table[table["study"] == "mask"]
    assert masks.groupby("mask").size().to_dict() == {"mean": 4, "swapped": 4}
    requests = fig_estimators.requests(load_preset("smoke"))[2:]
    assert [request.queries[0].mask for request in requests] == ["mean", "swapped"]
    moved = table.copy()
    chosen = (moved["mask"] == "mean") & (moved["atom"] == "synergy")
    for name in ("value_bits", "corrected_bits", "ci_low", "ci_high"):
        moved.loc[chosen, name] += 5
    effects = alternatives(moved)
    others = {"mean", "swapped", "resampled", "observational"}
    assert set(effects.index) == others | {"another draw", "visible options"}
    # Visible options turn one bit of synergy into one unique to the picture.
    assert effects.loc["visible options", "difference_bits"] == pytest.approx(2 / 4, abs=0.02)
    assert effects.loc["another draw", "difference_bits"] == pytest.approx(0, abs=0.01)
    assert effects.loc["mean", "difference_bits"] == pytest.approx(5 / 4, abs=0.05)
    assert effects.loc["mean", "beyond"] == 1 / 4 and effects.loc["swapped", "beyond"] == 0
    assert (effects["n"] == 4).all()


def test_visible_options_change_the_unique_information_of_the_picture(table):
    rows = dict(list(table[table["study"] == "options"].groupby("source_a")))
    assert set(rows) == {"vision", "vision#1", OPTIONS}
    for key in ("vision", "vision#1"):
        assert values(rows[key])["synergy"] == pytest.approx(1, abs=1e-4)
    assert values(rows[OPTIONS])["unique_vision"] == pytest.approx(1, abs=1e-4)
    fallback = [rows[key]["fallback"].iloc[0] for key in ("vision", "vision#1", OPTIONS)]
    assert fallback == [1, 0, 0]


def test_the_figure_needs_no_null_of_synergy(table):
    assert count_labels(styled_figure(fig_estimators, table)) > 10
