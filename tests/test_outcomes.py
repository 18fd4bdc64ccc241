"""Settings and outcomes: questions that never meet, fingerprints that tell what matters, and rows that are made once or read."""

import re
import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pidlib import benchmarks, committed, outcomes, results, settings
from pidlib.experiment import load_preset
from pidlib.extraction import extract
from pidlib.models.minis import vocabulary
from pidlib.models.tiny import build
from pidlib.outcomes import outcome
from pidlib.reweighting_tables import all_settings
from pidlib.settings import Setting, balanced, evaluation_name, question_sets


@pytest.fixture(scope="module")
def preset(tmp_path_factory):
    """One tiny model with random weights; everything it makes goes to a folder of its own."""
    folder = tmp_path_factory.mktemp("outcomes")
    model, processor = build("llava", sorted(vocabulary(n=64)), size="tiny")
    model.save_pretrained(folder / "model")
    processor.save_pretrained(folder / "model")
    where = {"cache": folder / "cache", "output": folder, "tuned_models": {"prior/80": [str(folder / "model")]}}
    return load_preset("smoke", **where, n_tuned=32, n_profiled=32, n_evaluated=32, n_retained=32, n_remade_seeds=1, tau=0)


def setting(preset, condition="C", seed=0, **changes):
    ((trained_on, (base,)),) = preset.tuned_models.items()
    return Setting.of(preset, base, trained_on, condition, seed, **changes)


@pytest.mark.parametrize("trained_on", ["easy_vqa/yes_no", "prior/80"])
def test_no_question_and_no_picture_is_in_two_sets_whatever_the_seed(trained_on):
    sets = [question_sets(trained_on, 480, 256, 480, seed=seed) for seed in range(5)]
    assert all(one.profile == sets[0].profile and one.evaluation == sets[0].evaluation for one in sets)  # asked of all alike
    groups = [[sample for one in sets for sample in one.train], sets[0].profile, sets[0].evaluation]
    for name in (lambda one: one.sample_id, lambda one: one.image.tobytes()):
        seen = [{name(one) for one in group} for group in groups]
        assert len(set.union(*seen)) == sum(map(len, seen))
    assert {one.sample_id for one in sets[0].train} != {one.sample_id for one in sets[1].train}
    assert [len(part) for part in sets[0]] == [480, 256, 480]


@pytest.mark.parametrize("trained_on", ["easy_vqa/yes_no", "prior/80"])
def test_who_knows_the_text_alone_is_right_by_chance(trained_on):
    evaluation = question_sets(trained_on, 8, 8, 480).evaluation
    counts = Counter((one.text, one.answer) for one in evaluation)
    assert all(counts[one.text, answer] == counts[one.text, one.answer] for one in evaluation for answer in one.candidates)
    train = question_sets(trained_on, 480, 8, 480).train  # where it is not so
    texts = {one.text for one in train}
    known = sum(max(Counter(one.answer for one in train if one.text == text).values()) for text in texts)
    assert known / len(train) > 0.7 > 0.5 >= 1 / len(train[0].candidates)


def test_balanced_takes_the_first_whole_sets():
    samples = benchmarks.load("easy_vqa/yes_no", "test", 400)
    everything = balanced(samples)
    assert balanced(samples, 11) == everything[:10]
    assert {one.sample_id for one in everything} < {one.sample_id for one in samples}
    with pytest.raises(ValueError, match="hold .* ask for fewer"):
        balanced(samples, 398)


def test_a_fingerprint_tells_apart_what_changes_an_outcome_and_nothing_else(preset, monkeypatch):
    one = setting(preset)
    others = [
        setting(preset, "D"),
        setting(preset, seed=1),
        setting(preset, tuning={"steps": 3}),
        setting(preset, weighting={"top_gap": 0.1}),
        setting(preset, weighting={"estimator": "BATCH"}),
        replace(one, trained_on="prior/70"),
        replace(one, tau=0.1),
    ]
    assert len({one.fingerprint, *(other.fingerprint for other in others)}) == 1 + len(others)
    assert setting(preset).fingerprint == one.fingerprint
    for condition, changes in (("A", {"seed": 3, "tuning": {"steps": 3}}), ("B", {"weighting": {"top_gap": 0.1}})):
        assert setting(preset, condition, **changes).fingerprint == setting(preset, condition).fingerprint


@pytest.mark.parametrize(
    ("file", "there", "instead"),
    [
        ("reweighting.py", "1 - sr", "2 - sr"),
        ("models/training.py", None, None),
        ("models/training.py", "betas=(0.9, 0.98)", "betas=(0.9, 0.99)"),
        ("settings.py", "{prior.BALANCED}", "50"),
        ("outcomes.py", "tol=TOLERANCE", "tol=1"),
        ("benchmarks/micro.py", "sizes=(10, 32)", "sizes=(10, 33)"),
        ("extraction/masking.py", None, None),
    ],
)
def test_a_fingerprint_knows_the_code_that_makes_an_outcome_and_not_its_words(preset, tmp_path, file, there, instead):
    """``there`` None: words alone are added."""
    root = tmp_path / "pidlib"
    shutil.copytree(Path(settings.__file__).parent, root, ignore=shutil.ignore_patterns("__pycache__"))
    files = tuple((settings.MADE_BY | settings.OF_SOURCE["prior"]).items())
    before = settings.code_of(files, root)
    assert before == settings.code_of(files)
    source = (root / file).read_text(encoding="utf-8")
    if instead is None:
        changed = re.sub(r'"""(\w)', r'"""Also: \1', source) + "\n# a note\n"
    else:
        changed = source.replace(there, instead)
    assert changed != source
    (root / file).write_text(changed, encoding="utf-8")
    assert (settings.code_of.__wrapped__(files, root) == before) is (instead is None)


def test_the_hash_of_code_is_the_same_in_every_python(tmp_path):
    (tmp_path / "one.py").write_text('"""Words."""\ndef double(x: int) -> int:\n    """More."""\n    return 2 * x  # and a note\n')
    assert settings.code_of.__wrapped__((("one.py", ()),), tmp_path) == "7a4f5072117b1454"


@pytest.mark.parametrize(
    ("changes", "hint"),
    [({"condition": "Z"}, "unknown condition 'Z'"), ({"tuning": {"step": 3}}, "unknown number of tuning 'step'; did you mean 'steps'")],
)
def test_wrong_names_are_refused(preset, changes, hint):
    with pytest.raises(ValueError, match=hint):
        setting(preset, **changes)


def test_a_base_of_the_hub_is_known_by_its_commit(preset, monkeypatch):
    paper, name, commit = load_preset("paper"), "Qwen/Qwen2.5-VL-7B-Instruct", "a" * 40
    with pytest.raises(ValueError, match="give the 40-hex commit"):
        Setting.of(paper, name, "hub/mmbench", "B")
    assert Setting.of(paper, f"{name}@{commit}", "hub/mmbench", "B").identity["revision"] == commit
    monkeypatch.setattr(settings, "newest", lambda name: "b" * 40)
    settings._revision.cache_clear()
    as_today = Setting.of(paper.model_copy(update={"allow_unpinned": True}), name, "hub/mmbench", "B")
    assert as_today.identity["revision"] == "b" * 40
    assert as_today.tuning.length(290) == as_today.tuning.length(3000) == 188 == paper.tuning_lengths[1]


def test_single_numbers_are_laid_over_those_of_the_preset(preset):
    changed = load_preset("smoke", tuning={"steps": 7})
    assert changed.tuning == preset.tuning | {"steps": 7}


def test_an_outcome_has_accuracies_and_atoms_and_is_made_once(preset, monkeypatch):
    one = setting(preset)
    table = outcome(preset, one)
    ((trained_on, _),) = preset.tuned_models.items()
    accuracy = table[table["measure"] == "accuracy"].set_index("benchmark")["value"]
    assert set(accuracy.index) == {trained_on, evaluation_name(trained_on), *preset.retained_benchmarks}
    bits = table[table["measure"] != "accuracy"].set_index("measure")["value"]
    assert bits["total"] == pytest.approx(bits.drop("total").sum(), abs=1e-6)
    assert set(table["fingerprint"]) == {one.fingerprint} and table["steps"].eq(2).all()
    monkeypatch.setattr(outcomes, "tune", None)  # would fail if it were called
    assert outcome(preset, one).equals(table)


def test_each_accuracy_is_of_the_questions_of_its_benchmark(preset, tmp_path, monkeypatch):
    asked, one = {}, setting(preset, "A")

    def spy(model, samples, **how):
        found = extract(model, samples, **how)
        mark = len(asked) / 7
        object.__setattr__(found, "accuracy", lambda: mark)
        asked[mark] = [sample.sample_id for sample in samples]
        return found

    monkeypatch.setattr(outcomes, "extract", spy)
    table = outcome(preset.model_copy(update={"cache": tmp_path}), one)
    accuracy = table[table["measure"] == "accuracy"].set_index("benchmark")["value"]
    questions = one.questions()
    expected = {one.trained_on: questions.profile, evaluation_name(one.trained_on): questions.evaluation}
    expected |= {name: benchmarks.load(name, "test", one.n_retained, one.stream) for name in one.retained}
    assert len(asked) == len(expected) == 3 and set(accuracy.index) == set(expected)
    for name, samples in expected.items():
        (ids,) = [of for mark, of in asked.items() if mark == pytest.approx(accuracy[name])]
        assert ids == [sample.sample_id for sample in samples], name


def test_training_changes_the_model_and_conditions_differ(preset):
    first = {letter: outcome(preset, setting(preset, letter, tuning={"learning_rate": 0.1})) for letter in "ABC"}
    totals = {letter: table.set_index("measure").loc["total", "value"] for letter, table in first.items()}
    assert len(set(totals.values())) == 3
    assert first["A"]["steps"].isna().all() and first["B"]["top_gap"].isna().all() and first["C"]["top_gap"].notna().all()


@pytest.fixture
def place(tmp_path, monkeypatch):
    """Where committed outcomes are looked for, whatever the output of a preset is."""
    monkeypatch.setattr(committed, "project_root", lambda: tmp_path)
    return tmp_path / "data" / "results" / "reweighting" / "outcomes.csv"


def test_seeds_that_are_not_made_are_read_by_fingerprint(preset, place):
    first, later, absent = setting(preset), setting(preset, seed=1), setting(preset, seed=2)
    rows = outcomes.made(preset, [first, later])
    results.write(pd.concat([rows, rows.assign(value=9.0, fingerprint="0" * 16)]), place)
    with pytest.raises(ValueError, match="1 of 3 settings are neither .* condition C, seed 2. .*n_remade_seeds 3"):
        outcomes.outcomes(preset, [first, later, absent, later])
    found = outcomes.outcomes(preset, [first, later, absent, later], strict=False)
    assert (found.made, found.cached, found.read, found.missing, found.compared) == (0, 1, 1, 1, 1)
    assert found.difference < 1e-8 and "0 settings made now, 1 made here before; 1 of these are committed too" in repr(found)
    assert len(found.table) == len(rows) and found.table["value"].max() < 9
    assert found.table[found.table["seed"] == 0].reset_index(drop=True).equals(outcome(preset, first))


def test_what_was_made_before_is_told_from_what_is_made_now(preset, place):
    new = setting(preset, "D", tuning={"steps": 1})
    assert [outcomes.outcomes(preset, [new])[1:3] for _ in range(2)] == [(1, 0), (0, 1)]


def test_an_interrupted_training_of_other_weights_is_no_obstacle_and_nothing_is_left_of_a_finished_one(preset, monkeypatch):
    one = setting(preset, tuning={"steps": 1}, weighting={"top_gap": 0.5})
    folders = []

    def fails(*_, folder, **__):
        folders.append(folder)
        folder.mkdir(parents=True)
        raise RuntimeError("interrupted")

    with monkeypatch.context() as patched, pytest.raises(RuntimeError, match="interrupted"):
        patched.setattr(outcomes, "tune", fails)
        outcome(preset, one)
    ((folder,), weights) = folders, outcomes.sample_weights(preset, one)[0]
    with monkeypatch.context() as patched, pytest.raises(RuntimeError, match="interrupted"):
        patched.setattr(outcomes, "tune", fails)
        patched.setattr(outcomes, "sample_weights", lambda *_: (1 + weights, True))
        outcome(preset, one)
    assert folders[1] != folder and folders[1].parent == folder.parent
    outcome(preset, one)
    assert not list(folder.parent.glob("adapter*"))


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
def test_what_is_made_here_has_to_be_what_was_committed(preset, place, recwarn, measure, shift, verdict):
    first = setting(preset)
    rows = outcomes.made(preset, [first])
    results.write(rows.assign(value=rows["value"] + shift * rows["measure"].eq(measure).astype(float)), place)
    recwarn.clear()
    if verdict == "raises":
        with pytest.raises(ValueError, match=f"1 of 1 settings .* seed 0: {measure} on .*--anew"):
            outcomes.outcomes(preset, [first])
    else:
        assert outcomes.outcomes(preset, [first]).difference == pytest.approx(shift, abs=1e-8)
        assert [str(one.message)[:22] for one in recwarn] == ["outcomes made here are"] * (verdict == "warns")
    assert outcomes.outcomes(preset, [first], strict=False).difference == pytest.approx(shift, abs=1e-8)


def test_an_accuracy_of_many_questions_may_be_a_hundredth_off():
    told = {"fingerprint": "f", "base": "b", "trained_on": "t", "condition": "C", "seed": 0, "benchmark": "t", "measure": "accuracy"}
    row = pd.DataFrame([told | {"n": 3000, "value": 0.5}])
    near, far = (row.assign(value_committed=0.5 + off, difference=off) for off in (0.009, 0.011))
    with pytest.warns(UserWarning, match="up to 9.0e-03 off"):
        committed.prove(near)
    with pytest.raises(ValueError, match="condition C, seed 0: accuracy on t"):
        committed.prove(far)


def test_only_what_is_not_committed_is_made_and_what_nothing_needs_is_dropped(preset, place, monkeypatch):
    first, later = setting(preset), setting(preset, seed=1)
    rows = outcomes.made(preset, [first])
    marked = rows.assign(value=rows["value"] + 0.001)
    results.write(pd.concat([rows.assign(fingerprint="0" * 16), marked]), place)
    found = outcomes.completed(preset, [later, first, later])
    assert list(found["fingerprint"].unique()) == [later.fingerprint, first.fingerprint]
    assert found[found["seed"] == 0]["value"].to_list() == pytest.approx(marked["value"].to_list())
    everything = outcomes.completed(preset, [later, first], anew=True)
    assert everything[everything["seed"] == 0]["value"].to_list() == rows["value"].to_list()


def test_a_condition_changes_weights_and_nothing_else(preset, monkeypatch):
    calls = {}

    def spy(base, train, *, weights=None, sampling=None, folder, **how):
        calls[letter] = ([one.sample_id for one in train], base.revision, how), (weights, sampling)
        raise RuntimeError("seen")

    monkeypatch.setattr(outcomes, "tune", spy)
    for letter in "BCDEFGH":
        with pytest.raises(RuntimeError, match="seen"):
            outcome(preset, setting(preset, letter, seed=5))
    assert all(shared == calls["B"][0] for shared, _ in calls.values())
    assert (calls["B"][1][0] == 1).all() and calls["H"][1][0] is None and np.array_equal(calls["H"][1][1], calls["C"][1][0])
    assert len({tuple(weights) for _, (weights, _) in calls.values() if weights is not None}) == 6


def test_weights_that_were_not_solved_are_told_of(preset, monkeypatch):
    monkeypatch.setattr(outcomes, "sample_weights", lambda *_: (np.ones(preset.n_tuned), False))
    trained = outcome(preset, setting(preset, "C", seed=7))
    assert not trained["converged"].any() and trained["n_tuned"].eq(preset.n_tuned).all()
    assert outcome(preset, setting(preset, "B", seed=7))["converged"].all()


def test_weights_of_a_setting_are_those_of_its_samples(preset):
    one = setting(preset, weighting={"top_gap": 0.25, "top_shortcut": 0.25})
    train, decisions, scores = outcomes.scored(preset, one)
    assert len(train) == len(decisions) == len(scores) == preset.n_tuned
    weights, _ = outcomes.sample_weights(preset, one)
    assert set(weights) <= {0.5, 1.0, 3.0} and (weights == 3).sum() <= 8
    assert sorted(outcomes.sample_weights(preset, replace(one, condition="D"))[0]) == sorted(weights)
    assert np.array_equal(outcomes.sample_weights(preset, replace(one, condition="H"))[0], weights)


def test_the_committed_outcomes_are_those_of_todays_settings_and_code():
    """If not, `python -m pidlib.outcomes --preset offline --jobs 2` makes them anew."""
    offline = load_preset("offline")
    path = offline.table(outcomes.TABLE)
    if not path.exists():
        pytest.skip("none are committed")
    known = set(results.read(path)["fingerprint"])
    assert [one.told for one in all_settings(offline) if one.fingerprint not in known] == []
