"""Rows of Sensory profiles for extractions with known atoms."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.special import rel_entr
from test_sensory import ideal, record, soft

from experiments.omni.synthetic import SETTINGS, answering, nothing, sight, xor
from pidlib.experiments import tables
from pidlib.experiments.extractions import Extracted
from pidlib.experiments.omni.profiles import profile_rows, template_profile, trajectory
from pidlib.experiments.preset import load_preset
from pidlib.profiles.clips import sensory_profile
from pidlib.profiles.modes import FLOOR_TOLERANCE, diagnose
from pidlib.sensory import REFERENCES, ROLE_PERMUTATIONS, decompose, reference_shift, split_by

SHARED = dict.fromkeys(("experiment", "benchmark", "model", "fingerprint"), "t")
ATOMS = ("redundancy", "unique_vision", "unique_audio", "synergy", "total")


def values(table, column="value_bits"):
    return dict(zip(table["atom"], table[column], strict=True))


def test_rows_have_atoms_their_sum_and_intervals():
    extraction, _ = ideal("gated")
    table = sensory_profile(split_by(extraction, "question"), n_bootstrap=20).rows
    expected = dict(zip(ATOMS, (0, 0.5, 0, 0.5, 1), strict=True))
    assert values(table) == pytest.approx(expected, abs=3e-4)
    for low, high in (("ci_low", "ci_high"), ("lower_bits", "upper_bits")):
        assert table["value_bits"].between(table[low] - 1e-9, table[high] + 1e-9).all()
    assert table["converged"].all() and set(table["n_conditions"]) == {2}
    assert set(table["n_samples"]) == {160} and set(table["n_per_condition"]) == {80}
    assert values(table, "null_mean") == pytest.approx(dict.fromkeys(ATOMS, 0), abs=1e-6)
    assert max(table["moved_vision"].max(), table["moved_audio"].max()) < 1e-6


def test_confident_answers_to_noise_raise_the_floor():
    rng = np.random.default_rng(0)
    draws = ("language", "language#1", "language#2")
    confident = {key: 4 * rng.normal(size=(60, 4)) for key in draws}
    plain = soft()
    changed = record(dict(plain.logits) | confident, plain.templates, plain.questions)
    floors = [
        sensory_profile(split_by(extraction, "question"), n_bootstrap=4).rows["null_mean"].abs()
        for extraction in (changed, plain)
    ]
    assert floors[0].max() > 0.2 and floors[1].max() < 0.1


def test_the_floor_of_a_reference_excludes_the_noise_of_its_target():
    groups = split_by(soft(), "question")
    targets = [np.stack([group.noise_floor[i].target for group in groups]) for i in range(3)]
    shifts = [
        float(reference_shift(groups, "sample", target, permutation))
        for target, permutation in zip(targets, ROLE_PERMUTATIONS, strict=True)
    ]
    for index, (target, shift) in enumerate(zip(targets, shifts, strict=True)):
        others = [draw for draw in range(3) if draw != index]
        r = np.stack([group.text_only[others].mean(0) for group in groups])
        assert shift == pytest.approx(rel_entr(target, r).sum(1).mean() / np.log(2))
    floors = [
        decompose([group.noise_floor[i] for group in groups], tol=FLOOR_TOLERANCE).pid
        for i in range(3)
    ]
    expected = {atom: np.mean([floor.atoms[atom] for floor in floors]) for atom in ATOMS[:-1]}
    expected["redundancy"] += np.mean(shifts)
    rows = sensory_profile(groups, ["sample"], n_bootstrap=2).rows
    expected["total"] = sum(expected.values())
    assert values(rows, "null_mean") == pytest.approx(expected, abs=1e-9)
    included = np.mean([reference_shift(groups, "sample", target) for target in targets])
    assert np.mean(shifts) > 1.5 * included > 0


def test_references_change_redundancy_and_the_sum_with_their_intervals():
    groups = split_by(soft(texts=4, templates=2), "question")
    table = sensory_profile(groups, REFERENCES["question"], n_bootstrap=20, n_floors=0).rows
    wide = table.pivot(index="reference", columns="atom", values="value_bits")
    assert (wide[["unique_vision", "unique_audio", "synergy"]].std() < 1e-12).all()
    assert wide["redundancy"].nunique() == 4 and wide["redundancy"].idxmin() == "question"
    assert (wide["total"] - wide["redundancy"]).std() < 1e-12
    assert table["value_bits"].between(table["ci_low"] - 1e-9, table["ci_high"] + 1e-9).all()
    assert (table["upper_bits"] - table["lower_bits"]).between(0, 1e-4 + 1e-12).all()


def test_fingerprints_depend_on_condition_and_reference():
    extraction, content = ideal("gated")
    answer = Extracted(extraction, {"model": "m", "fingerprint": "f", "n_samples": 160})
    marks = {}
    for condition, references in REFERENCES.items():
        clips = content if condition == "ignored" else None
        groups = split_by(extraction, condition, content=clips)
        for n_bootstrap in (2, 3):
            preset = load_preset("smoke", n_bootstrap=n_bootstrap)
            rows = profile_rows(preset, answer, groups, references, n_floors=0)
            for reference, own in rows.groupby("reference"):
                (marks[condition, reference, n_bootstrap],) = own["fingerprint"].unique()
    assert len(set(marks.values())) == len(marks) == 16


def test_diagnostics_distinguish_the_passes():
    v = np.arange(40) % 2
    logits = dict.fromkeys(("vision+audio+language", "vision+language"), 20 * np.eye(2)[v])
    extraction = record(logits, ["t"] * 40, ["q"] * 40, answers=tuple(map(str, v)))
    result = diagnose(extraction)
    assert result["accuracy"] == result["accuracy_vision"] == 1
    assert result["accuracy_audio"] == result["accuracy_text"] == 0.5
    assert result["entropy_vision_bits"] < 1e-6
    assert result["entropy_audio_bits"] == pytest.approx(1) and result["fallback"] == 0


def test_rows_of_a_trajectory():
    profile = template_profile(answering([sight]), **SETTINGS)
    expected = {"redundancy": 0, "unique_vision": 1, "unique_audio": 0, "synergy": 0}
    assert profile.atoms == pytest.approx(expected, abs=1e-3)
    assert profile.rows["null_mean"].abs().max() < 1e-6
    rows = trajectory(answering([nothing, sight, xor]), **SETTINGS).rows
    table = tables.validate(rows.assign(**SHARED), tables.ATOMS)
    assert table["layer"].tolist() == np.repeat(range(3), 4).tolist()
    assert (table["given"] == "template").all()


def test_a_trajectory_needs_every_block():
    with pytest.raises(ValueError, match=r"every block from 0; the extraction has \(0, 2\)"):
        trajectory(replace(answering([nothing, sight]), layers=(0, 2)), **SETTINGS)
