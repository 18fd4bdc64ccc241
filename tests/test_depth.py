"""Stages by hand, and a model whose answer is made where it is said to be made."""

from dataclasses import replace

import numpy as np
import pytest
from test_profiles import TOLD, N, extraction, xor

from pidlib import depth, profiles, results, schemas
from pidlib.depth import CLAIMS, depth_profile, readings, stages, verdict
from pidlib.profiles import NOISE, certified

ATOMS = ("redundancy", "unique_vision", "unique_language", "synergy")


def test_readings_stay_within_their_stages():
    assert readings(10) == (1, 7) and readings(5) == (0, 3) and readings(28) == (4, 21)
    assert readings(4) == (0, 2)  # nothing before a quarter
    with pytest.raises(ValueError, match="2 blocks have no three stages"):
        readings(2)


def test_stages_by_hand():
    curves = {"redundancy": [0, 0, 0, 0, 0], "unique_vision": [0.1, 0.2, 0.4, 0.8, 0.7]}
    curves |= {"unique_language": [0.1, 0.2, 0.4, 0.6, 0.2], "synergy": [0.0, 0.0, 0.1, 0.2, 0.8]}
    found = stages(curves)
    assert found["silence"] == pytest.approx(0.2 / 1.7)
    assert found["accumulation"] == pytest.approx(1.4 - 0.2)
    assert found["middle_share"] == pytest.approx((1.4 - 0.2) / 1.4)
    assert found["late_share"] == pytest.approx(1 - 0.2 / 0.8)
    assert found["synergy_slope"] == pytest.approx(0.6 / 0.2)
    assert found["language_slope"] == pytest.approx(-0.4 / 0.2)


def test_stages_run_over_draws_and_leave_out_what_they_cannot_tell():
    curves = {atom: np.ones((4, 3)) for atom in ATOMS[:3]} | {"synergy": np.array([[0, 0, 0], [0, 0, 0], [0, 0.5, 0], [0, 1, -0.2]])}
    found = stages(curves)
    assert {values.shape for values in found.values()} == {(3,)}
    assert np.isnan(found["late_share"]).tolist() == [True, False, True]
    nothing = stages({atom: np.zeros(4) for atom in ATOMS})
    assert np.isnan([nothing["silence"], nothing["middle_share"]]).all() and nothing["synergy_slope"] == 0


def test_steady_growth_accumulates_without_a_middle_stage():
    steady = stages(dict.fromkeys(ATOMS, np.zeros(10)) | {"unique_vision": np.arange(1, 11) / 10})
    assert verdict(CLAIMS["accumulation"], *[steady["accumulation"]] * 2) == "holds"
    assert verdict(CLAIMS["middle_share"], *[steady["middle_share"]] * 2) == "open"


def test_verdicts():
    assert verdict(CLAIMS["synergy_slope"], 0.1, 0.5) == "holds"
    assert verdict(CLAIMS["synergy_slope"], -0.5, -0.1) == "against"
    assert verdict(CLAIMS["language_slope"], -0.5, -0.1) == "holds"
    assert verdict(CLAIMS["language_slope"], -0.5, 0.1) == "open"
    assert verdict(CLAIMS["language_slope"], -0.02, -0.01) == "open"  # a difference of no account


def layered(read_at, blocks=5):
    """XOR that the lens reads from block ``read_at`` on; noise and single modalities tell nothing."""
    whole = extraction(xor)
    passes = ("vision+language", "vision", "language", *NOISE)
    lens = {key: np.full((N, blocks, 2), np.log(0.5)) for key in passes}
    lens["vision+language"][:, read_at:] = whole.logits["vision+language"][:, None]
    return replace(whole, layers=tuple(range(blocks)), lens_logits=lens, lens_log_normalizer={key: np.zeros((N, blocks)) for key in passes})


def test_synergy_is_found_where_it_is_made():
    atoms, tested = depth_profile(layered(4), n_bootstrap=10, **TOLD)
    synergy = atoms[atoms["atom"] == "synergy"].set_index("layer")["value_bits"]
    assert synergy.tolist() == pytest.approx([0, 0, 0, 0, 1], abs=1e-3)
    found = tested.set_index("statistic")
    assert found.loc[["silence", "late_share", "synergy_slope"], "verdict"].tolist() == ["holds"] * 3
    assert found.loc["language_slope", "verdict"] != "holds"
    assert found["converged"].all() and found["late_depth"].eq(0.8).all() and found["early_depth"].eq(0.2).all()
    early = depth_profile(layered(0), n_bootstrap=10, **TOLD)[1].set_index("statistic")
    assert early.loc[["silence", "late_share"], "verdict"].tolist() == ["against"] * 2
    four = depth_profile(layered(0, blocks=4), n_bootstrap=10, **TOLD)[1].set_index("statistic")
    assert four.loc["silence", "verdict"] == "open" and four["early_depth"].eq(0.25).all()  # it may have been told after 20 %


def test_what_was_not_solved_is_said_of_the_stages_and_of_the_floor(monkeypatch):
    solve = depth.decision_pid
    loose = lambda *given, **asked: (found := solve(*given, **asked), replace(found, pid=replace(found.pid, converged=False)))[1]  # noqa: E731
    monkeypatch.setattr(depth, "decision_pid", loose)
    atoms, tested = depth_profile(layered(4), n_bootstrap=2, **TOLD)
    assert not atoms["converged"].any() and not tested["converged"].any()
    monkeypatch.setattr(depth, "decision_pid", solve)
    monkeypatch.setattr(profiles, "decision_pid", loose)
    assert not profiles.noise_floor(layered(4), n=6)[1]
    atoms, tested = depth_profile(layered(4), n_bootstrap=2, **TOLD)
    assert not atoms["converged"].any() and tested["converged"].all()
    for unimodal in ("masked", "resampled"):
        monkeypatch.setattr(profiles, "certified", lambda *given: certified(*given).assign(converged=True))
        assert not profiles.decision_profile(extraction(xor), unimodal=unimodal, n_bootstrap=2)["converged"].any()


def test_tables_fit_their_schemas():
    told = TOLD | {"model": "m", "n_samples": N}
    atoms, tested = depth_profile(layered(4), n_bootstrap=4, **told)
    assert results.tidy(atoms)["layer"].tolist() == np.repeat(range(5), 4).tolist()
    assert list(results.tidy(tested, schemas.SCHEMAS["table_layers"])["statistic"]) == list(CLAIMS)


def test_every_block_is_needed():
    with pytest.raises(ValueError, match=r"every block from 0; this extraction holds \(3,\)"):
        depth_profile(extraction(xor))
