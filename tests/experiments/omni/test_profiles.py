"""Rows of Sensory profiles for extractions with known atoms."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from test_sensory import ideal, record, soft

from experiments.omni.synthetic import SETTINGS, answering, nothing, sight, xor
from pidlib.experiments import tables
from pidlib.experiments.extractions import Extracted
from pidlib.experiments.omni import fig_layers, profiles
from pidlib.experiments.omni.profiles import (
    MOST_MOVED,
    fitting,
    profile_rows,
    readable,
    reference_shift,
    template_profile,
    trajectory,
    with_references,
)
from pidlib.experiments.preset import load_preset
from pidlib.extraction.masking import drawn
from pidlib.profiles.clips import sensory_profile
from pidlib.profiles.modes import diagnose
from pidlib.sensory import REFERENCES, decompose, split_by

SHARED = dict.fromkeys(("experiment", "benchmark", "model", "fingerprint"), "t")
ATOMS = ("redundancy", "unique_vision", "unique_audio", "synergy", "total")


def values(table, column="value_bits"):
    return dict(zip(table["atom"], table[column], strict=True))


def test_rows_have_atoms_their_sum_and_intervals():
    extraction, _ = ideal("gated")
    table = sensory_profile(split_by(extraction, "question"), n_halves=6).rows
    expected = dict(zip(ATOMS, (0, 0.5, 0, 0.5, 1), strict=True))
    assert values(table) == pytest.approx(expected, abs=3e-4)
    assert values(table, "corrected_bits") == pytest.approx(expected, abs=0.02)
    bounds = {"corrected_bits": ("ci_low", "ci_high"), "value_bits": ("lower_bits", "upper_bits")}
    for name, (low, high) in bounds.items():
        assert table[name].between(table[low] - 1e-9, table[high] + 1e-9).all()
    assert table["converged"].all() and set(table["n_conditions"]) == {2}
    assert set(table["n_samples"]) == {160} and set(table["n_per_condition"]) == {80}
    nulls = {"redundancy": 1, "unique_vision": 1 / 20, "unique_audio": 1}
    nulls |= {"synergy": np.nan, "total": np.nan}
    assert values(table, "null_p") == pytest.approx(nulls, nan_ok=True)
    assert table["null_mean"].isna().tolist() == [False] * 3 + [True] * 2
    assert max(table["moved_vision"].max(), table["moved_audio"].max()) < 1e-6


def test_confident_answers_to_noise_raise_the_null():
    rng = np.random.default_rng(0)
    draws = drawn(("vision+language", "audio+language"), 3)
    confident = {key: 4 * rng.normal(size=(60, 4)) for key in draws}
    plain = soft()
    changed = record(dict(plain.logits) | confident, plain.templates, plain.questions)
    noise, rows = (
        sensory_profile(split_by(extraction, "question"), n_halves=2).rows.set_index("atom")
        for extraction in (changed, plain)
    )
    assert noise["null_mean"].max() > 0.2 and rows["null_mean"].max() < 0.1
    assert (noise["null_p"].dropna() > 0.05).all()
    assert rows.loc["redundancy", "null_p"] == pytest.approx(1 / 20)


def test_one_draw_of_noise_has_no_null():
    """Permuted answers are then the same answers."""
    groups = split_by(soft(), "question")
    one = [
        group._replace(drawn={name: rows[:1] for name, rows in group.drawn.items()})
        for group in groups
    ]
    rows = sensory_profile(one, n_halves=2).rows
    assert rows["null_p"].isna().all() and rows["null_mean"].isna().all()


def test_the_null_of_a_reference_has_its_shift():
    """Permuted answers keep P(Y | c), so a reference adds as many bits to the null."""
    groups = split_by(soft(texts=4, templates=2), "question")
    options = {"n_halves": 2, "n_permutations": 2}
    rows = sensory_profile(groups, **options).rows
    table = with_references(rows, groups, REFERENCES["question"])
    null = table.pivot(index="reference", columns="atom", values="null_mean")
    for reference in REFERENCES["question"]:
        added = null.loc[reference] - null.loc["question"]
        assert added["redundancy"] == pytest.approx(float(reference_shift(groups, reference)))
        assert added[["unique_vision", "unique_audio"]].tolist() == [0, 0]


def test_references_change_redundancy_and_the_sum_with_their_intervals():
    groups = split_by(soft(texts=4, templates=2), "question")
    options = {"n_halves": 6, "n_permutations": 0}
    rows = sensory_profile(groups, **options).rows
    table = with_references(rows, groups, REFERENCES["question"])
    wide = table.pivot(index="reference", columns="atom", values="value_bits")
    assert (wide[["unique_vision", "unique_audio", "synergy"]].std() < 1e-12).all()
    assert wide["redundancy"].nunique() == 4 and wide["redundancy"].idxmin() == "question"
    assert (wide["total"] - wide["redundancy"]).std() < 1e-12
    for reference, shift in (wide["redundancy"] - wide["redundancy"]["question"]).items():
        assert shift == pytest.approx(float(reference_shift(groups, reference)), abs=1e-12)
    names = ["corrected_bits", "ci_low", "ci_high", "lower_bits", "upper_bits"]
    redundancy = table[table["atom"] == "redundancy"].set_index("reference")
    shifted = redundancy[names].sub(redundancy["value_bits"], axis=0)
    assert (shifted.std() < 1e-12).all()
    assert table["corrected_bits"].between(table["ci_low"] - 1e-9, table["ci_high"] + 1e-9).all()
    assert table["null_mean"].isna().all()
    assert (table["upper_bits"] - table["lower_bits"]).between(0, 1e-4 + 1e-12).all()


def test_fingerprints_depend_on_condition_and_reference():
    extraction, content = ideal("gated")
    answer = Extracted(extraction, {"model": "m", "fingerprint": "f", "n_samples": 160})
    marks = {}
    for condition, references in REFERENCES.items():
        clips = content if condition == "ignored" else None
        groups = split_by(extraction, condition, content=clips)
        for n_halves in (2, 3):
            preset = load_preset("smoke", n_halves=n_halves)
            rows = profile_rows(preset, answer, groups, *references, n_permutations=0)
            for reference, own in rows.groupby("reference"):
                (marks[condition, reference, n_halves],) = own["fingerprint"].unique()
    assert len(set(marks.values())) == len(marks) == 16


def test_diagnostics_distinguish_the_passes():
    v = np.arange(40) % 2
    logits = dict.fromkeys(("vision+audio+language", "vision+language"), 20 * np.eye(2)[v])
    extraction = record(logits, ["t"] * 40, ["q"] * 40, answers=tuple(map(str, v)))
    groups = split_by(extraction, "question")
    solved = decompose([group.decisions for group in groups])
    result = diagnose(extraction, solved=solved)
    assert result["accuracy"] == result["accuracy_vision"] == 1
    assert result["accuracy_audio"] == result["accuracy_text"] == 0.5
    assert result["entropy_vision_bits"] < 1e-6
    assert result["entropy_audio_bits"] == pytest.approx(1) and result["fallback"] == 0
    for source, bits in (("vision", 1), ("audio", 0)):
        for measure in ("averaged", "reconciled"):
            assert result[f"{measure}_{source}_bits"] == pytest.approx(bits, abs=1e-5)
        assert result[f"spread_{source}"] == pytest.approx(0, abs=1e-12)
        assert result[f"moved_{source}"] == pytest.approx(0, abs=1e-6)
    assert not {"moved_vision", "spread_audio"} & set(diagnose(extraction))


def test_rows_of_a_trajectory():
    profile = template_profile(answering([sight]), **SETTINGS)
    expected = {"redundancy": 0, "unique_vision": 1, "unique_audio": 0, "synergy": 0}
    assert profile.atoms == pytest.approx(expected, abs=1e-3)
    null = values(profile.rows, "null_mean")
    assert null["redundancy"] == pytest.approx(0, abs=1e-6) and np.isnan(null["synergy"])
    assert null["unique_vision"] == pytest.approx(0.5, abs=0.15)  # of the mean of two answers
    rows = trajectory(answering([nothing, sight, xor]), **SETTINGS).rows
    table = tables.validate(rows.assign(**SHARED), tables.ATOMS)
    assert table["layer"].tolist() == np.repeat(range(3), 4).tolist()
    assert (table["given"] == "template").all()


def test_a_trajectory_needs_every_block():
    with pytest.raises(ValueError, match=r"every block from 0; this extraction has \(0, 2\)"):
        trajectory(replace(answering([nothing, sight]), layers=(0, 2)), **SETTINGS)


def test_a_cell_is_readable_if_no_row_of_it_moved_far():
    far, near = MOST_MOVED + 0.01, MOST_MOVED
    rows = [("a", near, 0.0), ("a", 0.0, far), ("b", near, near), ("c", near, np.nan)]
    table = pd.DataFrame(rows, columns=["model", "moved_vision", "moved_audio"])
    table = table.assign(benchmark=["x", "y", "x", "x"])
    assert readable(table, "model").to_dict() == {"a": False, "b": True, "c": False}
    found = readable(table.convert_dtypes(), "benchmark", "model")
    expected = {("x", "a"): True, ("y", "a"): False, ("x", "b"): True, ("x", "c"): False}
    assert found.to_dict() == expected
    assert readable(table[2:3], "model").to_dict() == {"b": True}


def test_masked_answers_that_contradict_the_others_do_not_fit_them(monkeypatch):
    def contrary(v, a):
        full = {"vision+audio+language": v.astype(float)}
        return full | {"vision+language": np.ones(len(v))}  # always yes, of which half are right

    answers = [
        (Extracted(answering([rule] * 3), columns),)
        for rule in (sight, contrary)
        for columns in [dict(benchmark="b", model=rule.__name__, n_samples=64, fingerprint="f")]
    ]
    monkeypatch.setattr(profiles, "extract_all", lambda *_: answers)
    read = fitting(preset := load_preset("smoke", n_bootstrap=10, tau=0.0), fig_layers)
    assert read.to_dict() == {("b", "sight"): True, ("b", "contrary"): False}
    monkeypatch.setattr(fig_layers, "extract_all", lambda *_: answers)
    measured = fig_layers.measure(preset)
    known = measured["fig_layers_claims"].set_index("model")["verdict"] != profiles.UNREAD
    assert known["sight"].any() and not known["contrary"].any()
    rows, note = profiles.read_models(*measured.values())
    assert set(rows["model"]) == {"sight"} and "left out: 1 of 2 models" in note
    assert profiles.read_models(rows, measured["fig_layers_claims"])[1] == ""
