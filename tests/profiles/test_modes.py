"""Atoms, nulls and diagnostics of decisions on extractions whose truth is known."""

from dataclasses import replace

import numpy as np
import pytest
from known_models import N, extraction, first, xor

from pidlib import benchmarks
from pidlib.decomposition.decisions import Decisions, decision_pid
from pidlib.extraction import Pairs
from pidlib.extraction.job import draw_partners
from pidlib.profiles.modes import MODES, diagnose, measure_decisions, measure_mode

XOR_ATOMS = {"redundancy": 0, "unique_vision": 0, "unique_language": 0, "synergy": 1}


def values(table, column="value_bits"):
    return dict(zip(table["atom"], table[column], strict=True))


@pytest.mark.parametrize("mode", MODES)
def test_synergy_of_xor_exceeds_its_null(mode):
    rows = measure_mode(extraction(xor), mode, n_halves=6).rows
    near = 0.15 if mode == "observational" else 1e-5  # regressed on 64 samples
    assert values(rows) == pytest.approx(XOR_ATOMS, abs=near)
    assert values(rows, "corrected_bits") == pytest.approx(XOR_ATOMS, abs=max(near, 0.03))
    assert rows["corrected_bits"].between(rows["ci_low"] - 1e-9, rows["ci_high"] + 1e-9).all()
    assert rows["value_bits"].between(rows["lower_bits"], rows["upper_bits"]).all()
    assert rows["converged"].all() and set(rows["unimodal"]) == {mode}
    missing = rows.set_index("atom")["null_p"].isna().to_dict()
    untested = {"synergy"} if mode != "observational" else set(XOR_ATOMS)
    assert missing == {atom: atom in untested for atom in XOR_ATOMS}
    if mode != "observational":
        assert values(rows, "null_p")["unique_vision"] > 0.5


def test_permuted_decisions_carry_no_unique_information():
    rows = measure_mode(extraction(first), "resampled", n_halves=4).rows
    expected = XOR_ATOMS | {"unique_vision": 1, "synergy": 0}
    assert values(rows) == pytest.approx(expected, abs=1e-5)
    assert values(rows, "null_p")["unique_vision"] == pytest.approx(1 / 20)
    assert values(rows, "null_p")["unique_language"] > 0.5
    assert values(rows, "null_mean")["unique_vision"] < 0.6


def test_a_blind_model_has_no_atoms_of_vision():
    samples = benchmarks.load("easy_vqa/yes_no", "test", N)
    partners = draw_partners(samples, N, seed=0)
    index = np.array([(i, j) for i, drawn in enumerate(partners) for j in drawn])
    weights = np.array([weight for drawn in partners for weight in drawn.values()]) / len(samples)
    negated = np.array([" no" in sample.question for sample in samples])  # mostly "yes"
    logits = np.log(np.where(negated[index[:, 1], None], [0.9, 0.1], [0.15, 0.85]))
    pairs = Pairs(index, weights, logits, np.zeros(len(index)))
    blind = replace(extraction(xor), pairs=pairs)
    atoms = measure_mode(blind, "resampled", n_halves=4).atoms
    assert atoms["unique_language"] > 0.3
    others = [atoms[atom] for atom in ("redundancy", "unique_vision", "synergy")]
    assert np.abs(others).max() < 1e-5


def test_noise_of_masked_answers_is_no_information():
    """Answers that differ by noise alone do not exceed their null, and few bits remain of them."""
    noisy = extraction(xor, noise=2.0)
    rows = measure_mode(noisy, "masked", n_halves=4).rows.set_index("atom")
    assert (rows["null_p"].dropna() > 0.05).all()
    single = noisy.information("vision")  # of 64 pictures that do not matter
    assert single > 0.4 and rows["null_mean"]["redundancy"] > 0
    texts = tuple(f"q{i % 2}" for i in range(N))
    known = replace(noisy, questions=texts)
    found = diagnose(known)
    assert found["answered_language_bits"] == pytest.approx(known.information("language"))
    assert found["averaged_language_bits"] < 0.02 < 0.4 < found["answered_language_bits"]
    assert found["averaged_vision_bits"] < 0.6 * found["answered_vision_bits"]
    assert found["reconciled_language_bits"] <= found["averaged_language_bits"] + 1e-9
    assert 0.1 < found["spread_language"] < 0.5


def answering(seed, same=True):
    """An extraction whose sources tell equally much of an answer of their own, or vision alone."""
    rng = np.random.default_rng(seed)
    whole = extraction(xor)
    v, t = 2 * rng.normal(size=(2, N, 2))
    t = t if same else 0 * t
    logits = {"vision+language": v + t}
    for key in whole.logits:
        if key != "vision+language":
            rows = v if key.startswith("vision") else t
            logits[key] = rows if same else rows + (rows is t) * rng.normal(size=(N, 2))
    logits = {key: rows - np.logaddexp(*rows.T)[:, None] for key, rows in logits.items()}
    return replace(whole, logits=logits)


def test_unique_atoms_are_not_significant_where_both_sources_tell_the_same():
    """Permutations alone call them so in most samples: they test another hypothesis."""
    small, former = [], []
    for seed in range(12):
        rows = measure_mode(answering(seed), "masked", n_halves=8, seed=seed).rows
        unique = rows[rows["atom"].str.startswith("unique")]
        small += [unique["null_p"].min() <= 0.05]
        former += [(unique["value_bits"] > unique["null_mean"] + 0.02).any()]
        assert values(rows, "null_p")["redundancy"] == pytest.approx(1 / 20)
    assert np.mean(small) <= 0.25 and np.mean(former) >= 0.7


def test_one_informative_source_is_not_redundant_with_noise():
    p = [
        values(measure_mode(answering(seed, False), "masked", n_halves=4).rows, "null_p")
        for seed in range(10)
    ]
    assert np.mean([each["redundancy"] <= 0.05 for each in p]) <= 0.2
    assert np.mean([each["unique_language"] <= 0.05 for each in p]) <= 0.2
    assert all(each["unique_vision"] == pytest.approx(1 / 20) for each in p)


def test_one_draw_of_noise_for_different_inputs_has_no_null():
    """Permuted answers are then the same answers."""
    whole = answering(0)
    one = replace(whole, logits={key: whole.logits[key] for key in whole.logits if "#" not in key})
    rows = measure_mode(one, "masked", n_halves=4).rows
    assert rows["null_p"].isna().all() and rows["null_mean"].isna().all()
    known = replace(one, questions=tuple(f"q{i % 8}" for i in range(N)))
    tested = measure_mode(known, "masked", n_halves=4).rows.set_index("atom")["null_p"].notna()
    assert tested[tested].index.tolist() == ["unique_language"]


def test_measured_has_rows_draws_and_atoms():
    decisions = extraction(xor).masked()
    rows, draws, atoms, solved, _ = measure_decisions(decisions, 5, seed=1)
    assert solved.reconciliation == decision_pid(decisions).reconciliation
    assert values(rows) == decision_pid(decisions).pid.atoms
    assert atoms == values(rows, "corrected_bits")
    assert {atom: len(values) for atom, values in draws.items()} == dict.fromkeys(atoms, 5)
    again = measure_decisions(decisions, 5, seed=1).draws
    assert all(np.array_equal(draws[atom], again[atom]) for atom in draws)


def test_decisions_name_their_own_sources():
    decisions = Decisions(np.eye(2), {"picture": np.eye(2), "text": np.full((2, 2), 0.5)})
    assert "unique_picture" in measure_decisions(decisions, 2).atoms


def test_unknown_modes_and_missing_passes_are_refused():
    with pytest.raises(ValueError, match="unknown mode 'mask'; did you mean 'masked'"):
        measure_mode(extraction(xor), "mask")
    whole = extraction(xor)
    part = replace(whole, logits={"vision+language": whole.logits["vision+language"]})
    with pytest.raises(ValueError, match="passes not extracted: vision, language"):
        measure_mode(part, "masked")
    with pytest.raises(ValueError, match="partners"):
        measure_mode(replace(whole, pairs=None), "resampled")


def test_diagnostics_of_a_model_that_needs_both():
    found = diagnose(extraction(xor))
    assert found["accuracy"] == 1 and found["entropy_bits"] < 1e-6
    assert found["entropy_vision_bits"] == pytest.approx(1)
    assert found["fallback_vision"] == 0 and found["moved_vision"] == pytest.approx(0, abs=1e-6)
    solved = measure_mode(extraction(xor), "masked", n_halves=2).solved
    assert diagnose(extraction(xor), solved=solved) == pytest.approx(found, abs=1e-6)


def test_a_model_without_mass_on_the_candidates_falls_back():
    whole = extraction(xor)
    mass = {key: np.full(N, 5.0) for key in whole.log_normalizer}
    found = diagnose(replace(whole, log_normalizer=mass))
    assert found["fallback"] == found["fallback_vision"] == 1
    assert found["entropy_bits"] == pytest.approx(1)
