"""Saturation of constructed trajectories by hand, and the figure of half depths."""

import itertools

import numpy as np
import pandas as pd
import pytest

from experiments.omni.synthetic import SETTINGS, answering, nothing, sight, xor
from pidlib.experiments import stages, style
from pidlib.experiments.extractions import Extracted
from pidlib.experiments.omni import fig_layers, profiles
from pidlib.experiments.omni.fig_layers import CLAIMS, half_depth, saturation
from pidlib.experiments.preset import load_preset
from pidlib.experiments.stages import check_claims
from pidlib.experiments.tables import ATOMS, validate

MODELS = ("qwen2_5_omni", "qwen2_5_omni_compact_seeing", "qwen2_5_omni_compact")
SHARED = {"experiment": "omni", "split": "test", "seed": 0, "n_samples": 96}
SHARED |= {"fingerprint": "f", "converged": True, "benchmark": profiles.FUSION}


def curves(models=MODELS, blocks=4, **columns):
    """Atoms that grow with depth, synergy last."""
    rng, rows = np.random.default_rng(len(str(columns))), []
    places = itertools.product(enumerate(models), range(blocks), style.SENSORY)
    for (place, model), layer, atom in places:
        growth = (layer / blocks) ** (3 if atom == "synergy" else 1)
        value = growth * (0.3 + 0.2 * place) + 0.02 * rng.random()
        row = {"model": model, "layer": layer, "atom": atom, "value_bits": value}
        rows.append(row | {"ci_low": value - 0.05, "ci_high": value + 0.05})
    return pd.DataFrame(rows).assign(estimator="exact", null_mean=0.02, **SHARED, **columns)


def test_half_depth_by_hand():
    assert half_depth(np.array([0, 0, 0, 1.0])) == 0.875
    assert half_depth(np.array([0.5, 1.0, 0.2, 0.2])) == 0.25
    assert half_depth(np.array([[0, 1.0], [1, 1]])).tolist() == [0.75, 0.25]
    assert np.isnan(half_depth(np.array([0.01, -0.2, 0.04])))


def test_saturation_by_hand():
    vision, synergy = [0.0, 0.2, 0.6, 1.0, 0.9], [0.0, 0.0, 0.0, 0.0, 0.8]
    expected = {"vision_lead": 0.9 - 0.55, "vision_middle": 1.0 - 0.6, "synergy_late": 1.0}
    expected["vision_levels_off"] = 1.0 / 0.6 + 0.1 / 0.2
    found = saturation({"unique_vision": vision, "synergy": synergy})
    assert {name: float(value) for name, value in found.items()} == pytest.approx(expected)
    steady = np.linspace(0.2, 1, 5)
    found = saturation({"unique_vision": steady, "synergy": steady})
    assert found["vision_lead"] == 0
    rates = [found[name] for name in ("vision_middle", "vision_levels_off")]
    assert rates == pytest.approx([0, 0], abs=1e-12)
    found = saturation({"unique_vision": np.zeros((5, 3)), "synergy": np.ones((5, 3))})
    assert np.isnan([found["vision_lead"], found["vision_middle"]]).all()
    assert (found["synergy_late"] == 0).all()


def verdicts(rules):
    tested = stages.check_trajectories(
        CLAIMS, saturation, trajectory := profiles.trajectory(answering(rules), **SETTINGS)
    )
    return tested.set_index("statistic")["verdict"], trajectory


def test_claims_hold_if_vision_comes_first_and_fail_if_fusion_does():
    def half(v, a):
        """Y = v for half of the clips, v xor a for the others."""
        rule = np.arange(len(v)) % 2
        joint, vision = np.where(rule, v ^ a, v), np.where(rule, 0.5, v)
        return sight(v, a) | {"vision+audio+language": joint, "vision+language": vision}

    vision_first, _ = verdicts([nothing, nothing, sight, sight, half])
    assert vision_first.tolist() == ["holds"] * 4
    fusion_first, _ = verdicts([xor, xor, xor, half, half])
    assert fusion_first[["vision_lead", "synergy_late"]].tolist() == ["against"] * 2


@pytest.mark.parametrize(("blocks", "expected"), [(3, "open"), (4, "open"), (5, "against")])
def test_a_first_block_beyond_a_fifth_of_the_depth_refutes_nothing(blocks, expected):
    """Everything is there after the first block, which may lie in the middle stage."""
    shown, profile = verdicts([sight] * blocks)
    values, draws = saturation(profile.atoms), saturation(profile.draws)
    tested = check_claims(CLAIMS, values, draws, 5).set_index("statistic")
    assert tested.loc["vision_middle", "verdict"] == "against"
    assert shown["vision_middle"] == expected
    worst, best = ({name: np.full(3, size) for name in CLAIMS} for size in (-1.0, 2.0))
    refuted = check_claims(CLAIMS, dict.fromkeys(CLAIMS, -1.0), worst, blocks)
    assert refuted["verdict"].tolist() == ["against", expected, expected, "against"]
    assert refuted["early_depth"].eq(1 / blocks).all()
    holding = check_claims(CLAIMS, dict.fromkeys(CLAIMS, 2.0), best, blocks)
    assert holding["verdict"].eq("holds").all()


def test_tables_of_three_blocks_leave_early_claims_open(monkeypatch):
    columns = {"benchmark": profiles.FUSION, "model": "m", "n_samples": 64, "fingerprint": "f"}
    answer = Extracted(answering([sight, sight, xor]), columns)
    monkeypatch.setattr(fig_layers, "extract_all", lambda *_: [(answer,)])
    tables = fig_layers.measure(load_preset("smoke", n_bootstrap=10, tau=0.0, seed=0))
    claims = tables["fig_layers_claims"].set_index("statistic")
    assert claims.loc["vision_middle", "verdict"] == "open"
    assert claims.loc["vision_lead", "verdict"] == profiles.UNREAD  # U_v is half at the first
    assert len(tables["fig_layers"]) == 12


def drawn(verdict="holds", **changed):
    """The figure of one model, and its axis, with constant curves of the atoms given."""
    rows = curves(MODELS[:1])
    for atom, bits in changed.items():
        rows.loc[rows["atom"] == atom, "value_bits"] = bits
    claim = {"model": MODELS[0], "statistic": "vision_lead", "value": 0.4}
    claim |= {"ci_low": 0.3, "ci_high": 0.5, "verdict": verdict}
    other = claim | {"statistic": "vision_middle", "verdict": "open"}
    claims = pd.DataFrame([claim, other])
    tables = {"fig_layers": validate(rows, ATOMS), "fig_layers_claims": claims}
    figure = fig_layers.figure(tables)
    triangles = [line for line in figure.axes[0].lines if line.get_marker() == 7]
    return figure, rows, {line.get_color(): line for line in triangles}


def test_triangles_mark_the_half_depths_of_a_lead():
    figure, rows, triangles = drawn()
    assert figure.axes[0].get_xlabel() == "vision first\nby .40 [.30, .50] of the depth"
    assert " in 1 of 1 models" in figure.legends[0].get_title().get_text()
    for atom in ("unique_vision", "synergy"):
        half = half_depth(rows.query("atom == @atom")["value_bits"].to_numpy())
        assert triangles[style.COLORS[atom]].get_xdata()[0] == half


@pytest.mark.parametrize(
    ("changed", "reason"),
    [({"unique_vision": 0.5}, "before the first"), ({"synergy": 0.09}, "$S$ stays\nbelow .1 bits")],
)
def test_a_lead_is_not_read_without_both_half_depths(changed, reason):
    figure, _, triangles = drawn(profiles.UNREAD, **changed)
    assert reason in figure.axes[0].get_xlabel() and not triangles
    assert " in 0 of 0 models" in figure.legends[0].get_title().get_text()
