"""Draws from finite laws, models whose atoms are known exactly, and errors by hand."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from known_models import extraction, xor

from experiments.test_draw import count_labels, styled_figure
from experiments.vision_language.synthetic import profiles
from pidlib import benchmarks
from pidlib.experiments.extractions import Extracted
from pidlib.experiments.preset import MODES, load_preset
from pidlib.experiments.tables import validate
from pidlib.experiments.validation import fig_recovery
from pidlib.experiments.validation.fig_recovery import ALL, COLUMNS, errors, law_of
from pidlib.extraction.masking import FULL, SOURCES


def test_the_population_is_run_on_laws_and_on_draws_from_them():
    preset = load_preset("offline")
    (request,) = fig_recovery.requests(preset)
    assert request.models == preset.population
    assert {name.split("/")[0] for name in request.benchmarks} == {"micro"}
    whole, draw = request.queries
    samples = benchmarks.load("micro/captioned", "test", draw.n_samples)
    law, drawn = whole.change(samples[:1]), draw.change(samples)
    assert len({sample.sample_id for sample in drawn}) == preset.n_recovered
    assert {sample.media for sample in drawn} <= {sample.media for sample in law}
    agree = np.mean([sample.answer in sample.question for sample in drawn])
    assert agree == pytest.approx(0.95, abs=0.06)  # in the law; a quarter of its samples


def answering(samples, law, right):
    """A model that is right with a probability, and expects this law of what is masked."""
    k = len(samples[0].candidates)
    answers = np.array([samples[0].candidates.index(sample.answer) for sample in law.samples])
    rows = right * np.eye(k)[answers] + (1 - right) / k
    table = law.joint(rows)[0]
    place = {(s.media, s.question): i for i, s in enumerate(law.samples)}
    index = np.array([place[sample.media, sample.question] for sample in samples])
    v, t = np.divmod(index, table.shape[1])
    each = {FULL: rows[index]}
    for name, axis, state in zip(SOURCES, (1, 0), (v, t), strict=True):
        alone = table.sum(axis)
        each[name] = (alone / alone.sum(1, keepdims=True))[state]
    return replace(
        extraction(xor),
        sample_ids=tuple(sample.sample_id for sample in samples),
        answers=tuple(sample.answer for sample in samples),
        candidates=samples[0].candidates,
        logits={key: np.log(p) for key, p in each.items()},
        log_normalizer=dict.fromkeys(each, np.zeros(len(samples))),
        questions=tuple(sample.question for sample in samples),
        media=tuple(sample.media for sample in samples),
    )


@pytest.mark.parametrize("right", [0.99, 0.6])
def test_a_model_that_errs_has_its_own_truth(right, monkeypatch):
    preset = load_preset("smoke", unimodal="masked", n_halves=8)
    (request,) = fig_recovery.requests(preset)
    samples = benchmarks.load("micro/pair_shared", "test", 200)
    law = law_of("micro/pair_shared", "test")
    columns = {"benchmark": "micro/pair_shared", "split": "test", "model": "m", "revision": "r"}
    columns |= {"n_samples": len(samples), "fingerprint": "f"}
    answers = tuple(
        Extracted(answering(query.change(samples), law, right), columns)
        for query in request.queries
    )
    monkeypatch.setattr(fig_recovery, "extract_all", lambda *_: iter([answers]))
    table = fig_recovery.measure(preset)
    truth = table.set_index("atom")["truth_bits"]
    assert truth.sum() == pytest.approx(2.23, abs=0.1) if right > 0.9 else truth.sum() < 0.9
    assert table["accuracy"].unique() == pytest.approx([1])  # the most likely is the answer
    assert errors(table).loc[("masked", ALL), "error_bits"] < 0.08
    assert errors(table)["null_mean"].isna().all()  # a single model


@pytest.fixture(scope="module")
def table():
    """Resampled estimates of three models are their own truths, masked those of another."""
    choices = {"benchmark": ("micro/pair", "micro/scene"), "model": ("a", "bb", "cccc")}
    rows = pd.DataFrame(profiles(**choices, unimodal=MODES))
    truth = rows["corrected_bits"].to_numpy().reshape(2, 3, 3, 4)[:, :, :1]
    estimates = np.repeat(truth, 3, axis=2)
    estimates[:, :, 0] = np.roll(truth[:, :, 0], 1, axis=1)
    rows = rows.assign(corrected_bits=estimates.ravel(), accuracy=0.5)
    rows["truth_bits"] = np.repeat(truth, 3, axis=2).ravel()
    rows["ci_low"], rows["ci_high"] = rows["corrected_bits"] - 1e-6, rows["corrected_bits"] + 1e-6
    return validate(rows, COLUMNS)


def test_errors_by_hand(table):
    summary = errors(table)
    own, other = (summary.loc[mode].loc[ALL] for mode in ("resampled", "masked"))
    assert own["error_bits"] == 0 and own["covered"] == 1 and own["null_mean"] > 0.1
    wide = table[table["unimodal"] == "masked"]
    mean = (wide["corrected_bits"] - wide["truth_bits"]).abs().mean()
    assert other["error_bits"] == pytest.approx(mean) and other["covered"] < 1
    assert other["ci_low"] < mean < other["ci_high"]
    groups = summary.loc["masked"]["error_bits"].drop(ALL)
    assert groups.filter(like="/").mean() == pytest.approx(mean)
    assert groups[~groups.index.str.contains("/")].mean() == pytest.approx(mean)


def test_numbers_stand_on_the_canvas_and_labels_are_apart(table):
    figure = styled_figure(fig_recovery, table)
    assert count_labels(figure) > 30
    titles = [ax.get_title(loc="left") for ax in figure.axes]
    assert "off by 0.000 [0.000, 0.000] bits" in titles[1] and "100 %" in titles[1]
