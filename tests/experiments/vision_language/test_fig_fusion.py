"""Training resumes from the cache; the effect of the mechanism; table and figure."""

import itertools

import numpy as np
import pandas as pd
import pytest

from pidlib.experiments import tables
from pidlib.experiments.preset import load_preset
from pidlib.experiments.statistics import centered_interval
from pidlib.experiments.vision_language import fig_fusion
from pidlib.experiments.vision_language.fig_fusion import (
    TARGETS,
    _effect,
    measure,
    mechanism_effect,
    questions,
)
from pidlib.training import fusion
from pidlib.training.fusion import MECHANISMS


def test_questions_of_a_source_come_from_all_its_benchmarks():
    samples = questions("easy_vqa", "test", 200)
    names = {sample.benchmark for sample in samples}
    assert names == {"easy_vqa/yes_no", "easy_vqa/shape", "easy_vqa/color"}
    first = [sample.sample_id for sample in questions("easy_vqa", "test", 9)]
    assert [sample.sample_id for sample in samples[:9]] == first
    samples = questions("micro/scene", "test", 3)
    assert {sample.benchmark for sample in samples} == {"micro/scene"}
    with pytest.raises(ValueError, match="unknown benchmark 'easy_vq'"):
        questions("easy_vq", "test", 1)


def shares(of_mechanism: float, of_seed: float, noise: float = 0.01) -> pd.DataFrame:
    """Shares of language of six mechanisms and five seeds."""
    rng = np.random.default_rng(0)
    rows = [
        {"benchmark": "b", "target": "hidden", "model": f"m{m}", "seed": s, "fingerprint": "f"}
        | {"contribution": 0.5 + of_mechanism * m + of_seed * s + noise * rng.normal()}
        for m, s in itertools.product(range(6), range(5))
    ]
    return pd.DataFrame(rows)


def test_the_effect_of_the_mechanism_is_separated_from_that_of_the_seed():
    both, seed_only = (
        mechanism_effect(table).iloc[0] for table in (shares(0.03, 0.05), shares(0, 0.05))
    )
    assert both["moved"] == pytest.approx(15, abs=2) and both["null_p"] < 0.01
    assert both["ci_low"] < both["moved"] < both["ci_high"]
    assert both["spread_mechanism"] == pytest.approx(3 * np.std(range(6), ddof=1), rel=0.2)
    assert both["spread_low"] < both["spread_mechanism"] < both["spread_high"]
    assert both["moved_once"] == pytest.approx(15, abs=3)
    assert both["spread_rest"] == pytest.approx(1, rel=0.4)
    assert seed_only["spread_low"] == 0 < seed_only["spread_high"] < 2
    assert seed_only["moved_once"] > seed_only["moved"]
    assert seed_only["moved"] < seed_only["null_high"] < 3 and seed_only["null_p"] > 0.05


@pytest.mark.parametrize("true_range", [0.0, 2.0, 6.0])
def test_intervals_of_the_movement_hold_it_with_five_seeds(true_range):
    """The percentiles of resampled seeds did in .12, .71 and .87 of cases."""
    rng = np.random.default_rng(5)
    means, held = np.linspace(0, true_range, 6), {"reported": [], "resampled": []}
    for _ in range(200):
        shares = means + rng.normal(0, 2, (5, 6)) + rng.normal(0, 3, (5, 1))
        effect = _effect(shares, seed=0, n_draws=50)
        held["reported"].append(effect["ci_low"] <= true_range <= effect["ci_high"])
        draws = np.ptp(shares[rng.integers(5, size=(200, 5))].mean(1), axis=1)
        low, high = centered_interval(draws, effect["moved"])
        held["resampled"].append(low <= true_range <= high)
    assert np.mean(held["reported"]) >= 0.93 > np.mean(held["resampled"])


def test_intervals_hold_their_value_and_tests_are_corrected_together():
    parts = [shares(0.03 * (name == "b"), 0.05).assign(benchmark=name) for name in "abc"]
    rows = mechanism_effect(pd.concat(parts)).set_index("benchmark")
    assert (rows["ci_low"] < rows["moved"]).all() and (rows["moved"] < rows["ci_high"]).all()
    assert rows.loc["b", "null_q"] == pytest.approx(3 * rows.loc["b", "null_p"])
    assert (rows.loc[["a", "c"], "null_q"] >= rows.loc[["a", "c"], "null_p"]).all()


def test_seeds_without_a_share_are_left_out_and_one_seed_has_no_effect():
    table = shares(0.03, 0.05)
    table.loc[(table["seed"] > 0) & (table["model"] == "m2"), "contribution"] = np.nan
    (row,) = mechanism_effect(table).to_dict("records")
    assert row["n_seeds"] == 1 and "moved" not in row
    table.loc[table["seed"] == 1, "contribution"] = 0.4
    (row,) = mechanism_effect(table).to_dict("records")
    assert row["n_seeds"] == 2 and row["moved"] > 0


def test_training_resumes_after_an_interruption(tmp_path, monkeypatch):
    names = ("concatenation", "product")
    chosen = {name: MECHANISMS[name] for name in names}
    monkeypatch.setattr(fusion, "MECHANISMS", chosen)
    options = {"cache": str(tmp_path), "output": str(tmp_path), "n_embedded": 32}
    preset = load_preset("smoke", **options, fusion_steps=1)
    trainings, train = [], fusion.train

    def count(mechanism, *options):
        trainings.append(mechanism)
        return train(mechanism, *options)

    def interrupt(mechanism, *options):
        if len(trainings) == 2:
            raise KeyboardInterrupt
        return count(mechanism, *options)

    monkeypatch.setattr(fusion, "train", interrupt)
    with pytest.raises(KeyboardInterrupt):
        fig_fusion.prepare(preset)
    assert trainings == list(names)
    monkeypatch.setattr(fusion, "train", count)
    fig_fusion.prepare(preset)
    assert len(trainings) == 4  # two mechanisms with two seeds, each once
    table = measure(preset)
    pd.testing.assert_frame_equal(measure(preset), table)
    assert len(trainings) == 4
    models = table[table["kind"] == "model"]
    assert len(models) == 4 * 2 * 3 * 4  # models, benchmarks, targets, atoms
    keys = ["model", "seed", "benchmark", "atom"]
    bits = models.pivot(index=keys, columns="target", values="value_bits").xs("concatenation")
    assert (bits["hidden"] == bits["hidden, same sources"]).all()  # the sources are its own
    assert models["converged"].all() and models["accuracy"].between(0, 1).all()
    assert set(table["kind"]) == {"model", "moved", "published"}
    tables.save(preset, fig_fusion, table)


def test_the_figure_shows_missing_shares():
    names = ("easy_vqa", "micro/existence", "micro/captioned")
    rows = itertools.product(names, TARGETS, MECHANISMS, range(3))
    models = pd.DataFrame(rows, columns=["benchmark", "target", "model", "seed"])
    models = models.assign(kind="model", fingerprint="f", converged=True, accuracy=0.9, prior=0.7)
    share = np.random.default_rng(0).uniform(0.7, 0.9, len(models))
    share[models["benchmark"] == "micro/captioned"] = np.nan
    ends = {"contribution_low": share - 0.1, "contribution_high": share + 0.1}
    models = models.assign(contribution=share, **ends)
    published = tables.published("fig_fusion").assign(kind="published")
    table = pd.concat([models, mechanism_effect(models), published])
    table = tables.validate(table.assign(experiment="synthetic"), fig_fusion.COLUMNS)
    words = [text.get_text() for ax in fig_fusion.figure(table).axes for text in ax.texts]
    undefined = [text for text in words if text.startswith("not ")]
    assert len(words) == 9 and len(undefined) == 3
