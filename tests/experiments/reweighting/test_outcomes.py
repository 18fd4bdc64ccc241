"""Outcomes are made once, or read by fingerprint and compared with the committed table."""

import os
import re
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from pidlib import benchmarks
from pidlib.experiments import ahead
from pidlib.experiments.preset import load_preset
from pidlib.experiments.reweighting import outcomes, training
from pidlib.experiments.reweighting.outcomes import (
    COLUMNS,
    check_committed,
    make_outcomes,
    outcome,
)
from pidlib.experiments.reweighting.plan import all_trainings
from pidlib.experiments.reweighting.questions import evaluation_name, questions
from pidlib.experiments.reweighting.settings import TrainingSpec
from pidlib.experiments.tables import write
from pidlib.training import lora
from pidlib.training.minis import vocabulary
from pidlib.training.tiny import build


@pytest.fixture(scope="module")
def preset(tmp_path_factory):
    """One tiny model with random weights; cache and tables in a folder of their own."""
    folder = tmp_path_factory.mktemp("outcomes")
    model, processor = build("llava", sorted(vocabulary(n=64)), size="tiny")
    model.save_pretrained(folder / "model")
    processor.save_pretrained(folder / "model")
    options = {"cache": folder / "cache", "output": folder, "n_remade_seeds": 1, "tau": 0}
    options["tuned_models"] = {"prior/80": [str(folder / "model")]}
    sizes = dict.fromkeys(("n_tuned", "n_profiled", "n_evaluated", "n_retained"), 32)
    return load_preset("smoke", **options, **sizes)


@pytest.fixture
def committed(tmp_path, monkeypatch):
    """The path of the committed outcomes."""
    monkeypatch.setattr(outcomes, "project_root", lambda: tmp_path)
    return tmp_path / "data" / "results" / "reweighting" / "outcomes.csv"


def training_spec(preset, condition="C", seed=0, **changes):
    ((trained_on, (base,)),) = preset.tuned_models.items()
    return TrainingSpec.from_preset(preset, base, trained_on, condition, seed, **changes)


def test_an_outcome_has_accuracies_and_atoms_and_is_made_once(preset, monkeypatch):
    spec = training_spec(preset)
    table = outcome(preset, spec)
    accuracy = table[table["measure"] == "accuracy"].set_index("benchmark")["value"]
    own = {spec.trained_on, evaluation_name(spec.trained_on)}
    assert set(accuracy.index) == own | set(preset.retained_benchmarks)
    bits = table[table["measure"] != "accuracy"].set_index("measure")["value"]
    assert bits["total"] == pytest.approx(bits.drop("total").sum(), abs=1e-6)
    assert set(table["fingerprint"]) == {spec.fingerprint} and table["steps"].eq(2).all()
    monkeypatch.setattr(lora, "tune", None)  # would fail if it were called
    assert outcome(preset, spec).equals(table)


def test_each_accuracy_is_of_the_questions_of_its_benchmark(preset, tmp_path, monkeypatch):
    ids_by_accuracy, spec, extract = {}, training_spec(preset, "A"), training.extract

    def spy(model, samples, **options):
        result = extract(model, samples, **options)
        accuracy = len(ids_by_accuracy) / 7
        object.__setattr__(result, "accuracy", lambda: accuracy)
        ids_by_accuracy[accuracy] = [sample.sample_id for sample in samples]
        return result

    monkeypatch.setattr(training, "extract", spy)
    table = outcome(preset.model_copy(update={"cache": tmp_path}), spec)
    accuracy = table[table["measure"] == "accuracy"].set_index("benchmark")["value"]
    _, profile, evaluation = questions(spec)
    expected = {spec.trained_on: profile, evaluation_name(spec.trained_on): evaluation}
    for name in spec.retained:
        expected[name] = benchmarks.load(name, "test", spec.n_retained, spec.stream)
    assert len(ids_by_accuracy) == len(expected) == 3 and set(accuracy.index) == set(expected)
    for name, samples in expected.items():
        (ids,) = [ids for key, ids in ids_by_accuracy.items() if np.isclose(key, accuracy[name])]
        assert ids == [sample.sample_id for sample in samples], name


def test_training_changes_the_model_and_conditions_differ(preset):
    changes = {"tuning": {"learning_rate": 0.1}}
    tables = {name: outcome(preset, training_spec(preset, name, **changes)) for name in "ABC"}
    totals = {table.set_index("measure").loc["total", "value"] for table in tables.values()}
    assert len(totals) == 3
    assert tables["A"]["steps"].isna().all() and tables["B"]["top_gap"].isna().all()
    assert tables["C"]["top_gap"].notna().all()


def test_a_condition_changes_weights_and_nothing_else(preset, monkeypatch):
    calls = {}

    def spy(base, train, *, weights=None, sampling=None, folder, **options):
        ids = [sample.sample_id for sample in train]
        calls[condition] = (ids, base.revision, options), (weights, sampling)
        raise RuntimeError("seen")

    monkeypatch.setattr(lora, "tune", spy)
    for condition in "BCDEFGH":
        with pytest.raises(RuntimeError, match="seen"):
            outcome(preset, training_spec(preset, condition, seed=5))
    assert all(shared == calls["B"][0] for shared, _ in calls.values())
    weights, sampling = ({name: call[1][i] for name, call in calls.items()} for i in range(2))
    assert (weights["B"] == 1).all() and weights["H"] is None
    assert np.array_equal(sampling["H"], weights["C"])
    assert len({tuple(values) for values in weights.values() if values is not None}) == 6


def test_weights_depend_on_the_condition_and_the_samples(preset):
    spec = training_spec(preset, weighting={"top_gap": 0.25, "top_shortcut": 0.25})
    train, decisions, scores = training.scored(preset, spec)
    assert len(train) == len(decisions) == len(scores) == preset.n_tuned
    weights, random, sampling = (
        training.sample_weights(preset, replace(spec, condition=condition))[0]
        for condition in "CDH"
    )
    assert set(weights) <= {0.5, 1.0, 3.0} and (weights == 3).sum() <= 8
    assert sorted(random) == sorted(weights) and np.array_equal(sampling, weights)


@pytest.mark.parametrize("which", ["shortcuts", "random"])
def test_the_controls_give_listed_or_random_samples_wrong_labels(preset, monkeypatch, which):
    lists = {"top_gap": 0.25, "top_shortcut": 0.25}
    options = {"mislabeled": which, "weighting": {"shortcut_weight": 0.0} | lists}
    specs = [training_spec(preset, condition, **options) for condition in "BC"]
    trained, dropped = [], []

    def spy(_, train, *, weights, **__):
        trained.append([sample.answer for sample in train])
        dropped.append(weights == 0)
        raise RuntimeError("seen")

    monkeypatch.setattr(lora, "tune", spy)
    for spec in specs:
        with pytest.raises(RuntimeError, match="seen"):
            outcome(preset, spec)
    truth = [sample.answer for sample in questions(specs[0]).train]
    wrong = np.array(trained[0]) != truth
    assert trained[0] == trained[1] and 0 < wrong.sum() < len(wrong)
    assert not dropped[0].any() and dropped[1].sum() == wrong.sum()
    assert (dropped[1] == wrong).all() == (which == "shortcuts")
    assert specs[0].fingerprint != training_spec(preset, "B").fingerprint


def test_weights_that_did_not_converge_mark_the_outcome(preset, monkeypatch):
    weights = np.ones(preset.n_tuned)
    monkeypatch.setattr(training, "sample_weights", lambda *_: (weights, False))
    trained = outcome(preset, training_spec(preset, "C", seed=7))
    assert not trained["converged"].any() and trained["n_tuned"].eq(preset.n_tuned).all()
    assert outcome(preset, training_spec(preset, "B", seed=7))["converged"].all()


def test_an_interrupted_training_resumes_only_with_equal_weights(preset, monkeypatch):
    spec = training_spec(preset, tuning={"steps": 1}, weighting={"top_gap": 0.5})
    folders, (weights, _) = [], training.sample_weights(preset, spec)

    def fail(*_, folder, **__):
        folders.append(folder)
        folder.mkdir(parents=True)
        raise RuntimeError("interrupted")

    for change in (0, 1):
        with monkeypatch.context() as patch, pytest.raises(RuntimeError, match="interrupted"):
            patch.setattr(lora, "tune", fail)
            patch.setattr(training, "sample_weights", lambda *_, by=change: (weights + by, True))
            outcome(preset, spec)
    first, other = folders
    assert first != other and first.parent == other.parent
    outcome(preset, spec)
    assert not list(first.parent.glob("adapter*"))  # a finished training leaves none


def test_other_seeds_are_read_by_fingerprint(preset, committed):
    first, later, absent = (training_spec(preset, seed=seed) for seed in range(3))
    rows = make_outcomes(preset, [first, later])
    write(pd.concat([rows, rows.assign(value=9.0, fingerprint="0" * 16)]), committed, COLUMNS)
    message = "1 of 3 trainings are neither .* condition C, seed 2. .*n_remade_seeds 3"
    with pytest.raises(ValueError, match=message):
        outcomes.outcomes(preset, [first, later, absent, later])
    result = outcomes.outcomes(preset, [first, later, later])
    here, difference, read = re.split(r" difference |\), ", repr(result))
    assert here == "0 trainings made now, 1 made here before (1 committed too, largest"
    assert float(difference) < 1e-8 and read == "1 read from the committed table"
    assert len(result.table) == len(rows) and result.table["value"].max() < 9
    made_here = result.table[result.table["seed"] == 0].reset_index(drop=True)
    assert made_here.equals(outcome(preset, first))


def test_outcomes_made_now_and_before_are_counted_apart(preset, committed):
    spec = training_spec(preset, "D", tuning={"steps": 1})
    summaries = [outcomes.outcomes(preset, [spec]).summary for _ in range(2)]
    read = ", 0 read from the committed table"
    counts = ("1 trainings made now, 0 made", "0 trainings made now, 1 made")
    assert summaries == [f"{count} here before{read}" for count in counts]


@pytest.mark.parametrize(
    ("measure", "shift", "verdict"),
    [
        ("accuracy", 3 / 32, "warns"),
        ("accuracy", 4 / 32, "raises"),
        ("synergy", 0.019, "warns"),
        ("synergy", 0.03, "raises"),
        ("synergy", 1e-8, "silent"),
    ],
)
def test_outcomes_made_here_must_agree_with_the_committed_ones(
    preset, committed, recwarn, measure, shift, verdict
):
    spec = training_spec(preset)
    rows = make_outcomes(preset, [spec])
    shifts = shift * rows["measure"].eq(measure).astype(float)
    write(rows.assign(value=rows["value"] + shifts), committed, COLUMNS)
    recwarn.clear()
    if verdict == "raises":
        message = f"1 of 1 trainings .* seed 0: {measure} on .*make outcomes"
        with pytest.raises(ValueError, match=message):
            outcomes.outcomes(preset, [spec])
        return
    (difference,) = re.findall(r"difference (\S+)\)", outcomes.outcomes(preset, [spec]).summary)
    assert float(difference) == pytest.approx(shift, rel=0.06)
    warned = [str(warning.message)[:22] for warning in recwarn]
    assert warned == ["outcomes made here dif"] * (verdict == "warns")


def test_an_accuracy_of_many_questions_may_differ_by_a_hundredth():
    columns = {"fingerprint": "f", "base": "b", "trained_on": "t", "condition": "C", "seed": 0}
    columns |= {"benchmark": "t", "measure": "accuracy", "n": 3000}
    known = pd.DataFrame([columns | {"value": 0.5}])
    with pytest.warns(UserWarning, match="up to 9.0e-03 from"):
        check_committed(known.assign(value=0.509), known)
    with pytest.raises(ValueError, match="condition C, seed 0: accuracy on t"):
        check_committed(known.assign(value=0.511), known)


def test_only_missing_outcomes_are_made_and_those_no_table_needs_are_dropped(preset, committed):
    first, later = training_spec(preset), training_spec(preset, seed=1)
    rows = make_outcomes(preset, [first])
    marked = rows.assign(value=rows["value"] + 0.001)
    write(pd.concat([rows.assign(fingerprint="0" * 16), marked]), committed, COLUMNS)
    table = outcomes.complete(preset, [later, first, later])
    assert list(table["fingerprint"].unique()) == [later.fingerprint, first.fingerprint]
    kept = table[table["seed"] == 0]["value"].to_list()
    assert kept == pytest.approx(marked["value"].to_list())
    remade = outcomes.complete(preset, [later, first], retrain=True)
    assert remade[remade["seed"] == 0]["value"].to_list() == rows["value"].to_list()


def test_the_first_step_makes_the_outcomes_of_the_first_seeds(preset, monkeypatch):
    made = []
    monkeypatch.setattr(ahead, "all_requests", lambda _: [])
    monkeypatch.setattr(ahead.fig_fusion, "prepare", lambda _: None)
    monkeypatch.setattr(ahead, "outcome", lambda _, spec: made.append(spec))
    tasks = ahead.extract_tasks(preset)
    for task in tasks:
        task.run()
    first = [spec for spec in all_trainings(preset) if spec.seed == 0]
    assert sorted(map(repr, made)) == sorted(map(repr, first))
    assert {task.model for task in tasks} == {*preset.bases, preset.fusion_tower}
    own = ahead.extract_tasks(preset.model_copy(update={"experiment": "real"}))
    assert {task.model for task in own} == set(preset.bases)  # those of table 3, and no fusion
    assert 0 < len(own) < len(first)


def test_drawing_loads_no_model_library():
    names = ("table3_reweighting", "fig_tradeoff", "fig_gain", "fig_ablation", "fig_when")
    imports = "".join(f"import pidlib.experiments.reweighting.{name};" for name in names)
    imports += "import pidlib.experiments.reweighting.fig_scores, sys;"
    heavy = {"transformers", "peft", "accelerate", "datasets"}
    code = f"{imports} print(sorted({heavy} & set(sys.modules)))"
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=os.environ
    )
    assert run.stdout.strip() == "[]"
