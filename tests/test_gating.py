"""Stages of constructed trajectories by hand, and extractions whose atoms arise where they are said to."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from pidlib import gating, results, schemas
from pidlib.benchmarks import micro_av
from pidlib.depth import placed, verdict, weighed
from pidlib.experiment import load_preset
from pidlib.extraction import Extraction
from pidlib.figures import omni
from pidlib.gating import GATE, SATURATION, gate, half_depth, heeded, measured, paired, saturation, trajectory
from pidlib.runs import Run
from pidlib.sensory import ASKED

MADE = {"tau": 0.0, "n_bootstrap": 10, "seed": 0}
TOLD = dict.fromkeys(("experiment", "benchmark", "model", "fingerprint"), "t")


def clips(n, seed=0):
    """What is seen and what is heard, a bit each, every pair as often as the others."""
    return np.random.default_rng(seed).permutation(np.arange(n) % 4) // np.array([[2], [1]]) % 2


def answering(by_layer, n=64, template="t"):
    """A model whose lens reads ``by_layer[b]`` after block b, and that ends as its last one: functions (v, a) -> {pass: p(yes)}."""
    v, a = clips(n)
    lens = {key: np.empty((n, len(by_layer), 2)) for key in ASKED}
    for layer, rule in enumerate(by_layer):
        yes = {key: np.full(n, 0.5) for key in ASKED} | rule(v, a)
        for key, p in yes.items():
            lens[key][:, layer] = np.log(np.clip(np.stack([p, 1 - p], 1), 1e-9, None))
    logits = {key: values[:, -1] for key, values in lens.items()}
    return Extraction(
        sample_ids=tuple(f"s{i}" for i in range(n)),
        answers=tuple("y" if one else "n" for one in v),
        candidates=("y", "n"),
        logits=logits,
        log_normalizer={key: np.zeros(n) for key in ASKED},
        embeddings={name: np.zeros((n, 1)) for name in ("vision", "audio", "language")},
        layers=tuple(range(len(by_layer))),
        hidden=None,
        lens_logits=lens,
        lens_log_normalizer={key: np.zeros((n, len(by_layer))) for key in ASKED},
        pairs=None,
        templates=(template,) * n,
        questions=("q",) * n,
    )


def nothing(v, a):
    return {}


def sight(v, a):
    return {key: v.astype(float) for key in ("vision+audio+language", "vision+language")}


def xor(v, a):
    return {"vision+audio+language": (v ^ a).astype(float)}


def test_half_depth_by_hand():
    assert half_depth(np.array([0, 0, 0, 1.0])) == 0.875
    assert half_depth(np.array([0.5, 1.0, 0.2, 0.2])) == 0.25
    assert half_depth(np.array([[0, 1.0], [1, 1]])).tolist() == [0.75, 0.25]
    assert np.isnan(half_depth(np.array([0.01, -0.2, 0.04])))


def test_saturation_by_hand():
    vision, synergy = [0.0, 0.2, 0.6, 1.0, 0.9], [0.0, 0.0, 0.0, 0.0, 0.8]
    found = saturation({"unique_vision": vision, "synergy": synergy})
    assert found["vision_lead"] == pytest.approx(0.9 - 0.55)
    assert found["vision_middle"] == pytest.approx(1.0 - 0.6)
    assert found["vision_levels_off"] == pytest.approx(1.0 / 0.6 + 0.1 / 0.2)
    assert found["synergy_late"] == pytest.approx(1.0)
    together = saturation({"unique_vision": np.linspace(0.2, 1, 5), "synergy": np.linspace(0.2, 1, 5)})
    assert together["vision_lead"] == 0
    assert [together[name] for name in ("vision_middle", "vision_levels_off")] == pytest.approx([0, 0], abs=1e-12)
    blind = saturation({"unique_vision": np.zeros((5, 3)), "synergy": np.ones((5, 3))})
    assert np.isnan(blind["vision_lead"]).all() and np.isnan(blind["vision_middle"]).all() and (blind["synergy_late"] == 0).all()


def test_saturation_holds_where_it_is_built_in_and_fails_where_it_is_turned_round():
    def stated(rules):
        found = trajectory(answering(rules), **MADE)
        return weighed(SATURATION, saturation(found.atoms), saturation(found.draws)).set_index("statistic")["verdict"]

    def half(v, a):  # sees half of the answer and needs both for the other half: the gate Y = v, or v xor a
        rule = np.arange(len(v)) % 2
        return sight(v, a) | {"vision+audio+language": np.where(rule, v ^ a, v), "vision+language": np.where(rule, 0.5, v)}

    first_seen = stated([nothing, nothing, sight, sight, half])
    assert first_seen[["vision_lead", "vision_middle", "vision_levels_off", "synergy_late"]].tolist() == ["holds"] * 4
    first_fused = stated([xor, xor, xor, half, half])
    assert first_fused[["vision_lead", "synergy_late"]].tolist() == ["against"] * 2


@pytest.mark.parametrize(("blocks", "expected"), [(3, "open"), (4, "open"), (5, "against")])
def test_what_is_told_by_a_first_reading_beyond_a_fifth_of_the_depth_speaks_against_nothing(blocks, expected):
    """All that sight tells is there after the first block, which of three blocks may well be in the middle stage."""
    found = trajectory(answering([sight] * blocks), **MADE)
    tested = weighed(SATURATION, saturation(found.atoms), saturation(found.draws))
    shown = placed(SATURATION, tested, blocks).set_index("statistic")
    assert tested.set_index("statistic").loc["vision_middle", "verdict"] == "against"
    assert shown.loc["vision_middle", "verdict"] == expected and shown["early_depth"].eq(1 / blocks).all()
    falling = placed(SATURATION, tested.assign(verdict="against"), blocks).set_index("statistic")["verdict"]
    assert falling[["vision_middle", "vision_levels_off"]].tolist() == [expected] * 2
    assert falling[["vision_lead", "synergy_late"]].tolist() == ["against"] * 2
    kept = placed(SATURATION, tested.assign(verdict="holds"), blocks)["verdict"]
    assert kept.eq("holds").all()


def made(monkeypatch, *rules):
    """The tables of gate and depth of a model whose lens reads the first rules, and of the second question the second ones."""
    told = {"benchmark": gating.FUSION, "split": "test", "model": "m", "revision": None, "n_samples": 64, "fingerprint": "f"}
    answered = [Run(answering(one), told) for one in rules]
    monkeypatch.setattr(gating, "runs", lambda preset, asked, *_, **__: [answered[: len(asked)]])
    return load_preset("smoke", n_bootstrap=10, tau=0.0, seed=0)


def test_tables_of_three_blocks_say_open_where_the_first_reading_is_late(monkeypatch):
    _, claims = gating.depth_tables(made(monkeypatch, [sight, sight, xor]))
    assert claims.set_index("statistic").loc["vision_middle", "verdict"] == "open"


def test_what_follows_from_right_answers_is_no_claim(monkeypatch):
    table, claims = gating.gate_tables(made(monkeypatch, [nothing, sight, xor], [nothing, sight, sight]))
    verdicts = claims.set_index("statistic")["verdict"]
    assert verdicts["late_synergy"] == "follows" and verdicts["later_than_before"] == "holds"
    right = table.groupby("needs")["accuracy"].first()
    assert right["vision"] == 1 and right["both"] == 0.5  # answers are what is seen
    _, early = gating.gate_tables(made(monkeypatch, [xor, xor, xor], [nothing, sight, sight]))
    assert early.set_index("statistic").loc["later_than_before", "verdict"] == "open"  # synergy was lower all along


def test_a_mark_stands_where_the_table_has_a_depth():
    rows = [
        {"model": "m", "layer": layer, "atom": atom, "value_bits": value, "ci_low": value, "ci_high": value, "null_mean": 0.0}
        for atom, most in (("unique_vision", 1.0), ("synergy", 0.04), ("redundancy", 0.0), ("unique_audio", 0.0))
        for layer, value in enumerate(most * np.array([0, 0.5, 1, 1]))
    ]
    table = results.tidy(
        pd.DataFrame(rows).assign(
            experiment="omni", benchmark=gating.FUSION, estimator="e", converged=True, seed=0, n_samples=1, fingerprint="f"
        )
    )
    lines = omni.fig_layers(table).axes[0].lines
    (mark,) = [line for line in lines if line.get_marker() == 7]
    assert mark.get_xdata()[0] == half_depth(np.array([0, 0.5, 1, 1])) == 0.5


def test_gate_by_hand():
    flat = {"unique_audio": np.zeros(5), "unique_vision": np.array([0, 0.2, 0.4, 0.5, 0.5])}
    fused = flat | {"synergy": np.array([0, 0, 0, 0.2, 0.5])}
    plain = flat | {"synergy": np.array([0, 0, 0, 0.2, 0.1])}
    assert {name: float(value) for name, value in gate(fused, plain).items()} == pytest.approx(
        {"late_synergy": -0.4, "later_than_before": -0.4, "vision_parts": 0, "audio_parts": 0}
    )
    parted = gate(fused, plain | {"unique_vision": np.array([0.4, 0.6, 0, 0.1, 1])})
    assert parted["vision_parts"] == pytest.approx(0.4)  # its direction does not matter, nor what comes in the last stage


def test_the_gate_is_found_and_nothing_is_found_between_equals():
    fused, plain = (trajectory(answering(rules), **MADE) for rules in ([nothing, sight, sight, xor], [nothing, sight, sight, sight]))
    stated = weighed(GATE, gate(fused.atoms, plain.atoms), gate(fused.draws, plain.draws)).set_index("statistic")
    assert stated["verdict"].tolist() == ["holds"] * 4
    assert stated.loc["late_synergy", "value"] == pytest.approx(-1, abs=1e-3)
    same = weighed(GATE, gate(plain.atoms, plain.atoms), gate(plain.draws, plain.draws)).set_index("statistic")
    assert (same["value"] == 0).all() and (same["ci_low"] == 0).all()  # draws of both take the same samples
    assert same.loc["late_synergy", "verdict"] == "open" and same.loc["vision_parts", "verdict"] == "holds"
    assert verdict(GATE["vision_parts"], 0.2, 0.3) == "against"


def test_atoms_fit_the_schemas():
    found = measured(answering([sight]), **MADE)
    assert found.atoms == pytest.approx({"redundancy": 0, "unique_vision": 1, "unique_audio": 0, "synergy": 0}, abs=1e-3)
    table = results.tidy(trajectory(answering([nothing, sight, xor]), **MADE).rows.assign(**TOLD))
    assert table["layer"].tolist() == np.repeat(range(3), 4).tolist() and (table["given"] == "template").all()
    gated = results.tidy(found.rows.assign(needs="both", **TOLD), schemas.SCHEMAS["fig_gate"])
    assert gated["null_mean"].abs().max() < 1e-6


def test_a_trajectory_needs_every_block():
    with pytest.raises(ValueError, match=r"every block from 0; there are \(0, 2\)"):
        trajectory(replace(answering([nothing, sight]), layers=(0, 2)), **MADE)


def test_pairs_are_the_same_clips_and_differ_in_their_answers_where_the_silent_one_moves_the_other_way():
    samples = micro_av.load("fusion", "test", 24)
    both, vision = (paired(samples, place, seed=3) for place in gating.NEEDS.values())
    assert len(both) == len(vision) == 24
    for one, other in zip(both, vision, strict=True):
        assert one.answer == other.answer or other.sample_id.endswith("_silent")
        assert one.question != other.question and one.sample_id != other.sample_id
        assert (one.video == other.video).all() and (one.audio == other.audio).all()
    assert any(one.answer != other.answer for one, other in zip(both, vision, strict=True))
    assert {one.template for one in both} == {"sounding_direction"} and {one.template for one in vision} == {"direction"}


def test_a_gate_that_stays_open_shows_where_the_silent_one_is_named():
    """One who answers the first question whichever is put, and one who answers what is asked."""
    pairs = micro_av.load_pairs("test", 64, seed=1)
    told = {"candidates": micro_av.ANSWERS, "answers": tuple(plain.answer for _, plain in pairs)}
    told["sample_ids"] = tuple(plain.sample_id for _, plain in pairs)

    def right(place):
        said = np.array([micro_av.ANSWERS.index(pair[place].answer) for pair in pairs])
        logits = {"vision+audio+language": np.eye(len(micro_av.ANSWERS))[said]}
        return heeded(replace(answering([nothing], n=64), logits=logits, **told))

    assert right(1) == {"accuracy": 1, "accuracy_sounding": 1, "accuracy_silent": 1}
    open_ = right(0)
    assert open_["accuracy_sounding"] == 1 and open_["accuracy_silent"] == pytest.approx(0.5, abs=0.2)
    assert set(heeded(answering([sight]))) == {"accuracy"}
