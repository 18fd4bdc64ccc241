"""Profiles on an extraction whose truth is known: a model that answers XOR, and one that is moved by noise alone."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from pidlib import benchmarks
from pidlib.extraction import Extraction, Pairs
from pidlib.extraction.resampling import draw_partners
from pidlib.profiles import NOISE, beside, decision_profile, diagnose, embedding_profile
from pidlib.results import tidy
from pidlib.schemas import PROFILED

N = 64


def extraction(rule, prefix="a", noise=0.0):
    """N pictures v and questions t of one bit each; the answers of ``rule(v, t)``, and nothing but noise where an input is missing."""
    rng = np.random.default_rng(len(prefix))
    v, t = np.divmod(np.arange(N) % 4, 2)
    sure = np.log(np.array([[1 - 1e-9, 1e-9], [1e-9, 1 - 1e-9]]))
    logits = {"vision+language": sure[rule(v, t)]}
    for key in ("vision", "language", *NOISE):
        logits[key] = np.log(0.5) + noise * rng.normal(size=(N, 2))
    logits = {key: values - np.logaddexp(*values.T)[:, None] for key, values in logits.items()}
    index = np.array([(i, j) for i in range(N) for j in (0, 1)])
    pairs = Pairs(index, np.full(2 * N, 0.5 / N), sure[rule(v[index[:, 0]], t[index[:, 1]])], np.zeros(2 * N))
    spread = 0.01 * rng.normal(size=(3, N, 4))
    places = np.stack([np.eye(4)[v], np.eye(4)[2 + t], np.eye(4)[rule(v, t)]]) + spread
    return Extraction(
        sample_ids=tuple(f"{prefix}/{i}" for i in range(N)),
        answers=tuple("yn"[i] for i in rule(v, t)),
        candidates=("y", "n"),
        logits=logits,
        log_normalizer={key: np.zeros(N) for key in logits},
        embeddings={"vision": places[0], "language": places[1]},
        layers=(3,),
        hidden=places[2][:, None],
        lens_logits={},
        lens_log_normalizer={},
        pairs=pairs,
    )


def xor(v, t):
    return v ^ t


def values(table, column="value_bits"):
    return dict(zip(table["atom"], table[column], strict=True))


TOLD = dict.fromkeys(("experiment", "benchmark", "fingerprint"), "t")


@pytest.mark.parametrize("unimodal", ["masked", "resampled"])
def test_synergy_of_xor_stands_above_its_null(unimodal):
    table = tidy(decision_profile(extraction(xor), unimodal=unimodal, n_bootstrap=60, **TOLD))
    assert values(table) == pytest.approx({"redundancy": 0, "unique_vision": 0, "unique_language": 0, "synergy": 1}, abs=1e-5)
    assert (table["ci_low"] <= table["value_bits"] + 1e-9).all() and (table["value_bits"] <= table["ci_high"] + 1e-9).all()
    assert ((table["lower_bits"] <= table["value_bits"]) & (table["value_bits"] <= table["upper_bits"])).all()
    assert table["converged"].all()
    if unimodal == "masked":  # a floor is no test
        assert values(table, "null_mean")["synergy"] == pytest.approx(0, abs=1e-6) and table["null_p"].isna().all()
    else:  # nothing but the answers' own pattern makes an atom of one input, and synergy is not tested
        assert table.set_index("atom")["null_p"].isna().to_dict() == {name: name == "synergy" for name in values(table)}
        assert values(table, "null_p")["unique_vision"] > 0.5


def test_a_deal_of_the_answers_tells_what_pictures_tell():
    table = tidy(decision_profile(extraction(lambda v, t: v), unimodal="resampled", n_bootstrap=12, **TOLD))
    assert values(table, "null_p")["unique_vision"] == pytest.approx(1 / 20)
    assert values(table, "null_p")["unique_language"] > 0.5
    assert values(table, "null_mean")["unique_vision"] < 0.6


def test_whom_does_not_look_vision_is_credited_with_nothing():
    samples = benchmarks.load("easy_vqa/yes_no", "test", N)
    partners = draw_partners(samples, N, seed=0)
    index = np.array([(i, j) for i, some in enumerate(partners) for j in some])
    weights = np.array([weight for some in partners for weight in some.values()]) / len(samples)
    negated = np.array([" no" in sample.question for sample in samples])  # "is there not a ...?": mostly yes
    logits = np.log(np.where(negated[index[:, 1], None], [0.9, 0.1], [0.15, 0.85]))
    blind = replace(extraction(xor), pairs=Pairs(index, weights, logits, np.zeros(len(index))))
    found = values(decision_profile(blind, unimodal="resampled", n_bootstrap=6))
    assert found["unique_language"] > 0.3
    assert max(abs(found[atom]) for atom in ("redundancy", "unique_vision", "synergy")) < 1e-5


def test_unique_information_is_seen_when_resampled_only_by_the_right_source():
    table = decision_profile(extraction(lambda v, t: v), unimodal="resampled", n_bootstrap=12)
    assert values(table) == pytest.approx({"redundancy": 0, "unique_vision": 1, "unique_language": 0, "synergy": 0}, abs=1e-5)


def test_noise_floor_is_the_decomposition_of_noise():
    still, noisy = (decision_profile(extraction(xor, noise=noise), unimodal="masked", n_bootstrap=12) for noise in (0.0, 2.0))
    assert max(map(abs, values(still, "null_mean").values())) < 1e-6
    assert values(noisy, "null_mean")["redundancy"] > 0.1


def test_batch_stands_beside_the_exact_solver():
    table = decision_profile(extraction(xor), unimodal="masked", estimator="BATCH", n_bootstrap=6, n_batches=5)
    assert values(table)["synergy"] == pytest.approx(1, abs=0.1)
    assert set(table["estimator"]) == {"BATCH"} and "converged" not in table
    with pytest.raises(ValueError, match="unknown estimator 'batch'"):
        decision_profile(extraction(xor), unimodal="masked", estimator="batch")
    with pytest.raises(ValueError, match="unknown unimodal 'mask'"):
        decision_profile(extraction(xor), unimodal="mask")


def test_atoms_stand_beside_the_diagnostics():
    told = TOLD | {"model": "m", "n_samples": N, "split": "test"}
    atoms = pd.concat([decision_profile(extraction(xor), unimodal=mode, n_bootstrap=6, **told) for mode in ("masked", "resampled")])
    row = tidy(beside(atoms, pd.DataFrame([diagnose(extraction(xor)) | told])), PROFILED).iloc[0]
    assert row["masked_synergy_bits"] == pytest.approx(1, abs=1e-5) and row["masked_synergy_low"] <= row["masked_synergy_bits"]
    assert row["masked_redundancy_null"] == pytest.approx(0, abs=1e-6) and pd.isna(row["resampled_synergy_null"])
    assert row["converged"] and row["accuracy"] == 1
    loose = atoms.assign(converged=atoms["atom"] != "synergy")
    assert not beside(loose, pd.DataFrame([told]))["converged"].iloc[0]


def test_diagnostics_tell_a_blind_model():
    found = diagnose(extraction(xor))
    assert found["accuracy"] == 1
    assert found["entropy_vision_bits"] == pytest.approx(1) and found["entropy_bits"] < 1e-6
    assert found["fallback_vision"] == 0 and found["moved_vision"] == pytest.approx(0, abs=1e-6)


def test_embeddings_of_xor_are_synergy():
    sizes = {"n_clusters": 2, "n_permutations": 40, "n_bootstrap": 40}
    table = tidy(embedding_profile(extraction(xor, "fit"), extraction(xor), **sizes, **TOLD))
    assert values(table)["synergy"] == pytest.approx(1, abs=1e-5)
    assert values(table, "corrected_bits")["synergy"] == pytest.approx(1, abs=0.05)
    assert values(table, "null_p")["synergy"] == pytest.approx(1 / 41)
    assert set(table["layer"]) == {3} and set(table["n_samples"]) == {N}


def test_codebooks_come_from_other_samples():
    one = extraction(xor)
    with pytest.raises(ValueError, match="64 are in both"):
        embedding_profile(one, one, n_clusters=2)
