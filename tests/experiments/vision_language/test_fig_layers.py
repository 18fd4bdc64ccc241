"""Statistics of the stages by hand, and a model whose answer arises at a known depth."""

from dataclasses import replace

import numpy as np
import pytest
from known_models import N, extraction, xor

from pidlib.decomposition.decisions import decision_pid, pid_together
from pidlib.experiments.omni import fig_gate
from pidlib.experiments.omni import fig_layers as omni_layers
from pidlib.experiments.preset import load_preset
from pidlib.experiments.stages import verdict
from pidlib.experiments.vision_language import fig_layers
from pidlib.experiments.vision_language.fig_layers import CLAIMS, depth_profile, stage_statistics
from pidlib.profiles import modes
from pidlib.training.recipes import DEEP

NAMES = ("redundancy", "unique_vision", "unique_language", "synergy")
FEW, FEWER = (load_preset("smoke", n_bootstrap=n, tau=0.3, seed=0) for n in (10, 2))


def test_statistics_by_hand():
    curves = {"redundancy": [0, 0, 0, 0, 0], "unique_vision": [0.1, 0.2, 0.4, 0.8, 0.7]}
    curves |= {"unique_language": [0.1, 0.2, 0.4, 0.6, 0.2], "synergy": [0.0, 0.0, 0.1, 0.2, 0.8]}
    values = stage_statistics(curves)
    assert values["silence"] == pytest.approx(0.2 / 1.7)
    assert values["accumulation"] == pytest.approx(1.4 - 0.2)
    assert values["middle_share"] == pytest.approx((1.4 - 0.2) / 1.4)
    assert values["late_share"] == pytest.approx(1 - 0.2 / 0.8)
    assert values["synergy_slope"] == pytest.approx(0.6 / 0.2)
    assert values["language_slope"] == pytest.approx(-0.4 / 0.2)


def test_statistics_of_draws_are_missing_if_there_is_too_little_information():
    curves = {atom: np.ones((4, 3)) for atom in NAMES[:3]}
    curves["synergy"] = np.array([[0, 0, 0], [0, 0, 0], [0, 0.5, 0], [0, 1, -0.2]])
    values = stage_statistics(curves)
    assert {draws.shape for draws in values.values()} == {(3,)}
    assert np.isnan(values["late_share"]).tolist() == [True, False, True]
    nothing = stage_statistics({atom: np.zeros(4) for atom in NAMES})
    assert np.isnan([nothing["silence"], nothing["middle_share"]]).all()
    assert nothing["synergy_slope"] == 0


def test_steady_growth_accumulates_without_a_middle_stage():
    curves = dict.fromkeys(NAMES, np.zeros(10)) | {"unique_vision": np.arange(1, 11) / 10}
    steady = stage_statistics(curves)
    verdicts = [
        verdict(CLAIMS[name], steady[name], steady[name])
        for name in ("accumulation", "middle_share")
    ]
    assert verdicts == ["holds", "open"]


def with_lens(first, blocks=5):
    """XOR that the logit lens decodes from block ``first`` on; other passes have no information."""
    whole = extraction(xor)
    passes = tuple(whole.logits)
    lens = {key: np.full((N, blocks, 2), np.log(0.5)) for key in passes}
    lens["vision+language"][:, first:] = whole.logits["vision+language"][:, None]
    normalizer = {key: np.zeros((N, blocks)) for key in passes}
    layers = tuple(range(blocks))
    return replace(whole, layers=layers, lens_logits=lens, lens_log_normalizer=normalizer)


def test_synergy_is_found_at_the_block_where_it_arises():
    atoms, claims = depth_profile(FEW, with_lens(4))
    synergy = atoms[atoms["atom"] == "synergy"].set_index("layer")["value_bits"]
    assert synergy.tolist() == pytest.approx([0, 0, 0, 0, 1], abs=1e-3)
    null = atoms.set_index("atom")["null_mean"]
    assert null["synergy"].isna().all() and null.drop("synergy").abs().max() < 1e-6
    claims = claims.set_index("statistic")
    holding = ["silence", "late_share", "synergy_slope"]
    assert claims.loc[holding, "verdict"].tolist() == ["holds"] * 3
    assert claims.loc["language_slope", "verdict"] != "holds"
    assert claims["converged"].all()
    assert claims["late_depth"].eq(0.8).all() and claims["early_depth"].eq(0.2).all()
    early = depth_profile(FEW, with_lens(0))[1].set_index("statistic")
    assert early.loc[["silence", "late_share"], "verdict"].tolist() == ["against"] * 2
    four = depth_profile(FEW, with_lens(0, blocks=4))[1]
    four = four.set_index("statistic")  # first reading after 20 % of the depth
    assert four.loc["silence", "verdict"] == "open" and four["early_depth"].eq(0.25).all()


def test_twelve_blocks_are_read_within_the_first_and_the_last_stage():
    late, early = (depth_profile(FEW, with_lens(first, blocks=12))[1] for first in (10, 1))
    assert late["early_depth"].eq(2 / 12).all() and late["late_depth"].eq(9 / 12).all()
    late, early = (claims.set_index("statistic")["verdict"] for claims in (late, early))
    assert late[["silence", "late_share", "synergy_slope"]].eq("holds").all()
    assert early[["silence", "late_share"]].eq("against").all()


def test_the_deep_minis_are_read_after_every_block():
    offline = load_preset("offline")
    requested = [module.requests(offline)[0] for module in (fig_layers, omni_layers, fig_gate)]
    assert [DEEP.keys() & set(request.models) for request in requested] == [
        {"llava_deep"},
        {"qwen2_5_omni_deep"},
        {"qwen2_5_omni_deep"},
    ]
    assert {query.layers for request in requested for query in request.queries} == {None}


def unsolved_to(tolerance):
    """`decision_pid`, whose results at one tolerance are not solved."""

    def decompose(*arguments, tol, **options):
        result = decision_pid(*arguments, tol=tol, **options)
        return replace(result, pid=replace(result.pid, converged=tol != tolerance))

    return decompose


def test_unsolved_blocks_are_marked_in_atoms_and_claims(monkeypatch):
    monkeypatch.setattr(fig_layers, "decision_pid", unsolved_to(fig_layers.TOLERANCE))
    atoms, claims = depth_profile(FEWER, with_lens(4))
    assert not atoms["converged"].any() and not claims["converged"].any()


def test_unsolved_nulls_are_marked_in_atoms_and_claims(monkeypatch):
    def unsolved(parts, *options):
        solved = pid_together(parts, *options)
        return replace(solved, converged=np.zeros_like(solved.converged))

    monkeypatch.setattr(modes, "pid_together", unsolved)
    atoms, claims = depth_profile(FEWER, with_lens(4))
    assert not atoms["converged"].any() and not claims["converged"].any()


def test_every_block_is_needed():
    with pytest.raises(ValueError, match=r"every block from 0; this extraction has \(3,\)"):
        depth_profile(FEWER, extraction(xor))
