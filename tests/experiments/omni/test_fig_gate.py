"""The gate of constructed trajectories by hand, pairs of questions, and the figure."""

from dataclasses import replace

import numpy as np
import pytest

from experiments.omni.synthetic import SETTINGS, answering, nothing, sight, xor
from pidlib.benchmarks import micro_av
from pidlib.experiments import stages
from pidlib.experiments.extractions import Extracted
from pidlib.experiments.omni import fig_gate, profiles
from pidlib.experiments.omni.fig_gate import (
    CLAIMS,
    accuracy_by_named_object,
    gate,
    question_pairs,
)
from pidlib.experiments.preset import load_preset
from pidlib.experiments.stages import verdict


def test_gate_by_hand():
    shared = {"unique_audio": np.zeros(5), "unique_vision": np.array([0, 0.2, 0.4, 0.5, 0.5])}
    fused = shared | {"synergy": np.array([0, 0, 0, 0.2, 0.5])}
    plain = shared | {"synergy": np.array([0, 0, 0, 0.2, 0.1])}
    expected = {"late_synergy": -0.4, "later_than_before": -0.4}
    expected |= {"vision_parts": 0, "audio_parts": 0}
    found = {name: float(value) for name, value in gate(fused, plain).items()}
    assert found == pytest.approx(expected)
    apart = gate(fused, plain | {"unique_vision": np.array([0.4, 0.5, 0.2, 0.1, 1])})
    assert apart["vision_parts"] == pytest.approx(
        0.4
    )  # the largest, of either sign, without the last stage


def test_claims_hold_for_a_gate_and_equal_questions_have_no_difference():
    fused, plain = (
        profiles.trajectory(answering(rules), **SETTINGS)
        for rules in ([nothing, sight, sight, xor], [nothing, sight, sight, sight])
    )
    tested = stages.check_trajectories(CLAIMS, gate, fused, plain).set_index("statistic")
    assert tested["verdict"].tolist() == ["holds"] * 4
    assert tested.loc["late_synergy", "value"] == pytest.approx(-1, abs=1e-3)
    same = stages.check_trajectories(CLAIMS, gate, plain, plain).set_index("statistic")
    assert (same["value"] == 0).all() and (same["ci_low"] == 0).all()  # draws of equal samples
    assert same.loc["late_synergy", "verdict"] == "open"
    assert same.loc["vision_parts", "verdict"] == "holds"
    assert verdict(CLAIMS["vision_parts"], 0.2, 0.3) == "against"


def measured(monkeypatch, *rules):
    """The tables of a model with these decisions on the first and the second question."""
    columns = {"benchmark": profiles.FUSION, "model": "m", "n_samples": 64, "fingerprint": "f"}
    answers = [Extracted(answering(rule), columns) for rule in rules]
    monkeypatch.setattr(fig_gate, "extract_all", lambda *_: [answers])
    return fig_gate.measure(load_preset("smoke", n_bootstrap=10, tau=0.0, seed=0))


def test_consequences_of_correct_answers_are_no_claims(monkeypatch):
    tables = measured(monkeypatch, [nothing, sight, xor], [nothing, sight, sight])
    verdicts = tables["fig_gate_claims"].set_index("statistic")["verdict"]
    assert verdicts["late_synergy"] == "follows" and verdicts["later_than_before"] == "holds"
    accuracy = tables["fig_gate"].groupby("needs")["accuracy"].first()
    assert accuracy["vision"] == 1 and accuracy["both"] == 0.5
    early = measured(monkeypatch, [xor, xor, xor], [nothing, sight, sight])["fig_gate_claims"]
    assert early.set_index("statistic").loc["later_than_before", "verdict"] == "open"
    silent = measured(monkeypatch, [nothing, sight, sight], [nothing, sight, sight])
    silent = silent["fig_gate_claims"].set_index("statistic")["verdict"]
    assert silent["later_than_before"] == profiles.UNREAD and silent["vision_parts"] == "holds"


def test_questions_of_a_pair_share_the_clip_and_differ_in_answer_only_if_silent_is_named():
    samples = micro_av.load("fusion", "test", 24)
    fused, plain = (question_pairs(samples, place, seed=3) for place in (0, 1))
    assert len(fused) == len(plain) == 24
    for first, second in zip(fused, plain, strict=True):
        assert first.answer == second.answer or second.sample_id.endswith("_silent")
        assert first.question != second.question and first.sample_id != second.sample_id
        assert (first.video == second.video).all() and (first.audio == second.audio).all()
    assert any(first.answer != second.answer for first, second in zip(fused, plain, strict=True))
    assert {sample.template for sample in fused} == {"sounding_direction"}
    assert {sample.template for sample in plain} == {"direction"}


def test_an_open_gate_is_visible_where_the_silent_object_is_named():
    """A model that always answers the first question, and a model that does not."""
    pairs = micro_av.load_pairs("test", 64, seed=1)
    identity = {
        "candidates": micro_av.ANSWERS,
        "answers": tuple(plain.answer for _, plain in pairs),
        "sample_ids": tuple(plain.sample_id for _, plain in pairs),
    }

    def accuracies(place):
        index = np.array([micro_av.ANSWERS.index(pair[place].answer) for pair in pairs])
        logits = {"vision+audio+language": np.eye(len(micro_av.ANSWERS))[index]}
        extraction = replace(answering([nothing], n=64), logits=logits, **identity)
        return accuracy_by_named_object(extraction)

    assert accuracies(1) == {"accuracy": 1, "accuracy_sounding": 1, "accuracy_silent": 1}
    assert accuracies(0)["accuracy_sounding"] == 1
    assert accuracies(0)["accuracy_silent"] == pytest.approx(0.5, abs=0.2)
    assert set(accuracy_by_named_object(answering([sight]))) == {"accuracy"}
