"""The fingerprint of a training changes with everything that changes its outcome."""

from dataclasses import replace

import pytest

from pidlib.experiments.preset import load_preset
from pidlib.experiments.reweighting import settings
from pidlib.experiments.reweighting.settings import TrainingSpec, distinct


def spec(condition="C", seed=0, preset="smoke", **changes):
    preset = load_preset(preset)
    return TrainingSpec.from_preset(preset, "llava", "prior/80", condition, seed, **changes)


def test_the_fingerprint_changes_with_what_changes_an_outcome_and_nothing_else():
    one = spec()
    others = [
        spec("D"),
        spec(seed=1),
        spec(tuning={"steps": 3}),
        spec(weighting={"top_gap": 0.1}),
        spec(weighting={"estimator": "BATCH"}),
        spec(tau=0.1),
        replace(one, trained_on="prior/70"),
        replace(one, base="paligemma"),
        spec(mislabeled="random"),
    ]
    assert len({other.fingerprint for other in (one, *others)}) == 1 + len(others)
    assert spec().fingerprint == one.fingerprint and distinct([one, spec(), one]) == [one]
    untrained = spec("A", seed=3, tuning={"steps": 3})
    assert untrained.fingerprint == spec("A").fingerprint
    assert spec("A", mislabeled="random").fingerprint == spec("A").fingerprint
    assert spec("B", weighting={"top_gap": 0.1}).fingerprint == spec("B").fingerprint


def test_columns_leave_out_hyperparameters_without_effect():
    base, uniform, pid = (spec(letter).columns for letter in "ABC")
    assert set(base) == {"base", "trained_on", "condition", "seed", "fingerprint"}
    assert set(uniform) - set(base) == {"learning_rate", "rank", "last"}
    assert set(pid) - set(uniform) >= {"top_gap", "gap_weight", "estimator"}


@pytest.mark.parametrize(
    ("changes", "hint"),
    [
        ({"condition": "Z"}, "unknown condition 'Z'"),
        ({"tuning": {"step": 3}}, "unknown number of tuning 'step'; did you mean 'steps'"),
        ({"weighting": {"gap": 3}}, "unknown number of weighting 'gap'"),
        ({"weighting": {"reconciliation": "channels"}}, "'channels'; did you mean 'channel'"),
        ({"mislabeled": "shortcut"}, "wrong labels 'shortcut'; did you mean 'shortcuts'"),
    ],
)
def test_unknown_names_are_refused(changes, hint):
    with pytest.raises(ValueError, match=hint):
        spec(**changes)


def test_numbers_replace_single_entries_of_the_preset():
    changed = spec(tuning={"targets": ["q_proj"]}).tuning
    assert changed == replace(spec().tuning, targets=("q_proj",))
    assert spec().tuning.steps == load_preset("smoke").tuning["steps"]


def test_a_base_of_the_hub_is_identified_by_its_commit(monkeypatch):
    monkeypatch.setattr(settings, "training_code", lambda *_: "code")
    paper, name, commit = load_preset("paper"), "Qwen/Qwen2.5-VL-7B-Instruct", "a" * 40
    with pytest.raises(ValueError, match="give a 40-hex commit"):
        TrainingSpec.from_preset(paper, name, "hub/mmbench", "B")
    pinned = TrainingSpec.from_preset(paper, f"{name}@{commit}", "hub/mmbench", "B")
    assert pinned.identity["revision"] == commit
    monkeypatch.setattr(settings, "latest_revision", lambda name: "b" * 40)
    settings._revision.cache_clear()
    unpinned = paper.model_copy(update={"allow_unpinned": True})
    newest = TrainingSpec.from_preset(unpinned, name, "hub/mmbench", "B")
    assert newest.identity["revision"] == "b" * 40
    named = TrainingSpec.from_preset(paper, f"mine={name}@{commit}", f"hub/mmbench@{commit}", "B")
    assert (named.columns["base"], named.columns["trained_on"]) == ("mine", "hub/mmbench")
    assert pinned.columns["base"] == newest.columns["base"] == name
    steps = {newest.tuning.length(n) for n in (290, 3000)}
    assert steps == {188} == {paper.tuning_lengths[1]}
