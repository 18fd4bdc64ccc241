"""The trainings of each table, and the committed ones."""

import pytest

from experiments.reweighting import synthetic
from pidlib.experiments.preset import load_preset
from pidlib.experiments.reweighting import plan
from pidlib.experiments.reweighting.outcomes import TABLE, load_committed
from pidlib.experiments.reweighting.questions import evaluation_name
from pidlib.training.lora import Tuning


@pytest.fixture(scope="module")
def preset():
    return synthetic.preset()


def test_all_trainings_are_those_of_every_table_once(preset):
    specs = plan.all_trainings(preset)
    by_key = {spec.fingerprint: spec for spec in specs}
    assert len(by_key) == len(specs)
    arms = [*plan.ablation_arms(preset), *plan.when_arms(preset)]
    needed = [*plan.all_conditions(preset), *plan.every_base(preset), *(arm.spec for arm in arms)]
    assert by_key.keys() == {spec.fingerprint for spec in needed}
    assert len(plan.all_conditions(preset)) == 2 * (1 + 7 * 6)  # the base has no seed
    assert {spec.seed for spec in specs if spec.condition in set("DEFGH")} == set(range(6))
    assert {arm.spec.seed for arm in arms if arm.axis != plan.FALLBACK} == set(range(3))
    lone = [spec for spec in specs if spec.base == "paligemma_compact_blind"]
    assert [spec.condition for spec in lone] == list("ABBBCCC")
    trained_on = {*preset.tuned_models, *(f"prior/{s}" for s in preset.prior_strengths)}
    assert {spec.trained_on for spec in specs} == trained_on


def test_the_fallback_axis_has_all_seeds_and_random_weights(preset):
    arms = [arm for arm in plan.ablation_arms(preset) if arm.axis == plan.FALLBACK]
    planned = {(arm.level, arm.spec.tau, arm.spec.condition, arm.spec.seed) for arm in arms}
    expected = {(tau, letter, seed) for tau in (0.3, 0) for letter in "BCD" for seed in range(6)}
    assert planned == {(f"{tau:g}", tau, letter, seed) for tau, letter, seed in expected}


def test_defaults_of_the_ablation_are_trainings_of_table_3(preset):
    known = {spec.fingerprint for spec in plan.all_conditions(preset)}
    last = preset.tuning.get("last", Tuning().last)
    default = {"gap and shortcut", "top 20%", "3 and 0.5", "exact", "bounded", f"{preset.tau:g}"}
    arms = [arm for arm in plan.ablation_arms(preset) if arm.spec.condition == "C"]
    same = {arm.level for arm in arms if arm.spec.fingerprint in known}
    assert same == default | {f"last {last:.0%}"}
    adapted = [arm for arm in arms if arm.axis == "blocks adapted"]
    assert all(arm.spec.tuning.last == float(arm.level[5:-1]) / 100 for arm in adapted)


def test_committed_outcomes_are_those_that_the_tables_need():
    preset, rows = load_preset("offline"), load_committed()
    needed = {spec.fingerprint: spec for spec in plan.all_trainings(preset)}
    known = set(rows["fingerprint"])
    missing, extra = needed.keys() - known, known - needed.keys()
    assert not missing and not extra, (
        f"{TABLE}: {len(missing)} of {len(needed)} trainings are missing, {len(extra)} are not "
        "needed; run `python -m pidlib.experiments outcomes --preset offline --jobs 2`"
    )
    assert rows["converged"].all()
    assert not rows.duplicated(["fingerprint", "benchmark", "measure"]).any()
    accuracy = rows[rows["measure"] == "accuracy"].groupby("fingerprint")["benchmark"].agg(set)
    for key, spec in needed.items():
        own = {spec.trained_on, evaluation_name(spec.trained_on)}
        assert set(accuracy[key]) == own | set(spec.retained)
    assert rows.groupby("fingerprint")["measure"].nunique().eq(6).all()
