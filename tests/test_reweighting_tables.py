"""Tables of the reweighting experiment, from made-up outcomes whose effects are known."""

import numpy as np
import pandas as pd
import pytest

from pidlib import benchmarks, results, schemas
from pidlib import reweighting_tables as tables
from pidlib.experiment import derive_seed, load_preset
from pidlib.models.lora import Tuning
from pidlib.reweighting import CONDITIONS
from pidlib.settings import evaluation_name

ATOMS = ("redundancy", "unique_vision", "unique_language", "synergy", "total")
EFFECTS = dict(zip(CONDITIONS, (-0.1, 0.0, 0.05, 0.0, 0.01, 0.02, 0.03, 0.04), strict=True))  # on accuracy
BASES = {"prior/80": ["llava_compact_blind", "paligemma_compact_blind"], "easy_vqa/yes_no": ["llava_compact_brief"]}


@pytest.fixture(scope="module")
def preset():
    return load_preset("offline", n_tuning_seeds=6, tuned_models=BASES, n_resamples=200)


def made_up(preset, settings) -> pd.DataFrame:
    """Synergy-driven tasks gain by the effect of the condition, knowledge loses it; seeds move all conditions alike, and a little apart."""
    rows = []
    for one in settings:
        names = [one.trained_on, evaluation_name(one.trained_on), *preset.retained_benchmarks]
        rng = np.random.default_rng(derive_seed("made up", one.fingerprint))
        shared = np.random.default_rng(one.seed).normal(0, 0.05)
        for name in dict.fromkeys(names):
            effect = -EFFECTS[one.condition] if name == "micro/knowledge" else EFFECTS[one.condition]
            value = 0.7 + effect + (shared + rng.normal(0, 0.005)) * (one.condition != "A")
            rows.append(one.told | {"benchmark": name, "measure": "accuracy", "value": value, "n": 128, "converged": True})
        for atom in ATOMS:
            value = 0.3 + EFFECTS[one.condition] + rng.normal(0, 0.01)
            rows.append(one.told | {"benchmark": one.trained_on, "measure": atom, "value": value, "n": 256, "converged": True})
    return results.tidy(rows, schemas.OUTCOMES)


def synergies(preset) -> pd.DataFrame:
    places = pd.MultiIndex.from_product([preset.bases, preset.base_benchmarks])
    rng = np.random.default_rng(0)
    return pd.DataFrame({name: rng.uniform(0, 1, len(places)) for name in ("synergy_bits", "synergy_without_fallback_bits")}, places)


def table3(preset):
    return tables.conditions_table(made_up(preset, tables.table3_settings(preset)), preset.n_resamples)


def tradeoff(preset):
    return tables.tradeoff_table(made_up(preset, tables.table3_settings(preset)), preset.n_resamples)


def gain(preset):
    return tables.gain_table(made_up(preset, tables.gain_settings(preset)), synergies(preset), preset.n_resamples)


def varied(preset, arms):
    return tables.varied_table(made_up(preset, [arm.setting for arm in arms]).drop_duplicates(), arms, preset.n_resamples)


def test_all_settings_hold_those_of_every_table_once(preset):
    everything = {one.fingerprint: one for one in tables.all_settings(preset)}
    assert len(everything) == len(tables.all_settings(preset))
    arms = [*tables.ablation_arms(preset), *tables.when_arms(preset)]
    assert everything.keys() >= {one.fingerprint for one in (*tables.gain_settings(preset), *(arm.setting for arm in arms))}
    assert len(tables.table3_settings(preset)) == 2 * (1 + 7 * 6)  # the base has no seed
    seeds = {one.seed for one in everything.values() if one.condition in "DEFGH"}
    assert seeds == set(range(6)) and {arm.setting.seed for arm in arms if arm.axis != tables.FALLBACK} == set(range(3))
    planned = {(arm.level, arm.setting.tau, arm.setting.condition, arm.setting.seed) for arm in arms if arm.axis == tables.FALLBACK}
    assert planned == {(f"{tau:g}", tau, condition, seed) for tau in (0.3, 0.0) for condition in "BCD" for seed in range(6)}
    lone = [one for one in everything.values() if one.base == "paligemma_compact_blind"]
    assert {one.condition for one in lone} == set("ABC") and len(lone) == 1 + 2 * 3  # a base that no table but fig_when and fig_gain asks
    assert {one.trained_on for one in everything.values()} == {*preset.tuned_models, *(f"prior/{s}" for s in preset.prior_strengths)}


def test_defaults_of_the_ablation_are_settings_of_table_3(preset):
    known = {one.fingerprint for one in tables.table3_settings(preset)}
    default = {"gap and shortcut", "top 20%", "3 and 0.5", "exact", f"{preset.tau:g}"}
    arms = [arm for arm in tables.ablation_arms(preset) if arm.setting.condition == "C"]
    same = {arm.level for arm in arms if arm.setting.fingerprint in known}
    assert same == default | {f"last {preset.tuning.get('last', Tuning().last):.0%}"}
    assert all(arm.setting.tuning.last == float(arm.level[5:-1]) / 100 for arm in arms if arm.axis == "blocks adapted")


def test_a_known_effect_is_found_and_the_same_weights_at_random_do_nothing(preset):
    table = table3(preset)
    ours = table[table["grade"].isna() & (table["measure"] == "accuracy")].set_index(["trained_on", "benchmark", "condition", "against"])
    row = ours.loc[("prior/80", "prior/80 balanced", "C", "B")]
    assert row["difference"] == pytest.approx(0.05, abs=0.01) and row["ci_low"] > 0.03 and row["n_seeds"] == 6
    assert row["p_value"] == pytest.approx(2 / 2**6)
    assert ours.loc[("prior/80", "micro/knowledge", "C", "D"), "difference"] == pytest.approx(-0.05, abs=0.01)
    null = ours.xs("D", level="condition")["difference"].abs()
    assert len(null) > 10 and null.max() < 0.01
    base = ours.xs("A", level="condition")
    assert base["n_seeds"].eq(1).all() and base["spread"].isna().all() and base["n_pairs"].eq(6).all()
    assert set(table["measure"]) == {"accuracy", "synergy", "unique_language"}


def test_primary_comparisons_stand_by_themselves_and_all_others_are_corrected(preset):
    ours = table3(preset).query("grade.isna()")
    primary = ours[ours["primary"]]
    assert set(zip(primary["trained_on"], primary["condition"], primary["against"], strict=True)) == {
        (on, "C", other) for on in preset.tuned_models for other in "BD"
    }
    assert primary["benchmark"].str.endswith(" balanced").all() and primary["measure"].eq("accuracy").all() and len(primary) == 4
    assert primary["p_value"].notna().all() and primary["q_value"].isna().all()
    others = ours[~ours["primary"] & ours["p_value"].notna()]
    assert (others["q_value"] >= others["p_value"]).all() and len(others) > 100


def test_what_was_printed_stands_below_with_its_grade(preset):
    table = table3(preset)
    said = table[table["grade"].notna()]
    assert set(said["grade"]) == {"N"} and len(said) == 6 * 7
    row = said[(said["benchmark"] == "MMStar") & (said["condition"] == "C")].iloc[0]
    assert row["value"] == pytest.approx(0.643) and row["difference"] == pytest.approx(0.023) and row["spread"] == pytest.approx(0.003)
    assert said.loc[said["condition"] == "A", ["spread", "n_seeds"]].isna().all().all()


def test_means_are_over_what_asks_for_one_thing_without_what_was_trained_on(preset):
    table = tradeoff(preset)
    ours = table[table["grade"].isna()].set_index(["trained_on", "benchmark", "condition"])
    assert ours.loc[("prior/80", "mean of synergy-driven", "C"), "difference"] == pytest.approx(0.05, abs=0.005)
    assert ours.loc[("prior/80", "mean of prior-driven", "C"), "difference"] == pytest.approx(-0.05, abs=0.01)
    assert ours.loc[("prior/80", "mean of synergy-driven", "C"), "n_samples"] == 3 * 128
    said = table[table["grade"].notna()].set_index(["benchmark", "condition"])
    assert said.loc[("mean of synergy-driven", "C"), "difference"] == pytest.approx((0.023 + 0.013) / 2)
    assert said.loc[("mean of prior-driven", "C"), "difference"] == pytest.approx(-0.004)


def test_gain_goes_with_synergy_where_it_does(preset):
    rows, synergy = made_up(preset, tables.gain_settings(preset)), synergies(preset)
    trained = (rows["condition"] == "C") & (rows["measure"] == "accuracy")
    at = pd.MultiIndex.from_frame(rows[["base", "benchmark"]])
    rows["value"] = rows["value"] + trained.to_numpy(float) * synergy["synergy_bits"].reindex(at).fillna(0.3).to_numpy()
    found = tables.gain_table(rows, synergy, 500)
    ranks = found[(found["kind"] == "rank") & (found["against"] == "B")].set_index("level")
    assert list(ranks.index) == ["all", "no fallback", *(f"without {name}" for name in sorted(preset.retained_benchmarks))]
    assert ranks.drop("no fallback")["value"].min() > 0.8 and abs(ranks.loc["no fallback", "value"]) < 0.5
    assert ranks["q_value"].notna().tolist() == [True] + [False] * (len(ranks) - 1)
    rank = ranks.loc["all"]
    assert rank["value"] > 0.85 and rank["ci_low"] > 0.8 and rank["null_high"] < 0.6 and rank["p_value"] < 0.01 and rank["n_seeds"] == 3
    assert set(found["kind"]) == {"gain", "seed", "rank"} and found.loc[found["kind"] == "seed", "difference"].notna().all()
    assert set(found.loc[found["kind"] == "seed", "seed"]) == {0, 1, 2} and set(found.loc[found["kind"] != "seed", "seed"]) == {0}
    silent = gain(preset)
    assert silent.loc[silent["kind"] == "rank", "p_value"].max() > 0.01
    cell = found[(found["kind"] == "gain") & (found["benchmark"] == "prior/80 balanced") & (found["against"] == "B")].iloc[0]
    own = rows[(rows["base"] == cell["base"]) & (rows["condition"] == "A") & (rows["measure"] == "synergy")]["value"].iloc[0]
    assert cell["base_value"] == pytest.approx(own)


def test_gain_where_training_and_evaluation_have_one_name(preset):
    """As benchmarks of the hub, which have no balanced questions."""
    hub = preset.model_copy(update={"tuned_models": {"prior/80": preset.tuned_models["prior/80"]}})
    rows, name = made_up(hub, tables.gain_settings(hub)), "hub/mmbench@folder"
    rows = rows[~rows["benchmark"].str.endswith("balanced")].replace({"prior/80": name})
    found = tables.gain_table(rows, synergies(hub).rename(index={"prior/80": name}), 50)
    own = found[(found["kind"] == "gain") & (found["benchmark"] == name) & (found["against"] == "B")]
    assert len(own) == len(hub.bases) and own[["base_value", "base_value_without_fallback"]].notna().all(axis=None)


def test_what_benchmarks_share_over_bases_is_no_correlation():
    """Synergy and gain of a benchmark are alike in all bases and have nothing to do with each other: p below .05 in one of twenty."""
    rng, names, bases, p_values = np.random.default_rng(0), [f"b{i}" for i in range(9)], [f"base{i}" for i in range(6)], []
    for _ in range(150):
        synergy, gain = rng.normal(size=(2, 9))
        rows = [
            {"base": base, "trained_on": "prior/80", "benchmark": name, "seed": seed}
            | {"base_value": synergy[i] + rng.normal(0, 0.5) * (seed == 0), "difference": gain[i] + rng.normal(0, 0.3)}
            for base in bases
            for i, name in enumerate(names)
            for seed in range(2)
        ]
        p_values.append(tables._ranks(pd.DataFrame(rows), 200, 0)["p_value"])
    assert 0.005 < np.mean(np.array(p_values) < 0.05) < 0.1 and 0.35 < np.mean(p_values) < 0.65


def test_a_setting_stands_at_every_level_that_it_is_of(preset):
    arms = tables.ablation_arms(preset)
    table = varied(preset, arms)
    pid = table[(table["condition"] == "C") & (table["measure"] == "accuracy") & (table["trained_on"] == "prior/80")]
    assert set(pid.loc[pid["against"] == "D", "level"]) == set(tables.VARIED[tables.FALLBACK]) and pid["difference"].notna().all()
    pid = pid[pid["against"] == "B"]
    assert list(pid["level"]) == [level for levels in tables.VARIED.values() for level in levels]
    assert set(pid["benchmark"]) == {"prior/80 balanced"}
    same = pid.set_index("level")["difference"]
    assert same["gap and shortcut"] == same["top 20%"] == same["exact"] != same["BATCH"]
    assert set(table.loc[table["measure"] == "synergy", "benchmark"]) == {"prior/80", "easy_vqa/yes_no"}


def test_when_has_three_axes_and_the_base_at_each_level(preset):
    table = varied(preset, tables.when_arms(preset))
    counts = table[(table["measure"] == "accuracy") & (table["condition"] == "A")].groupby("axis")["level"].count()
    assert counts.to_dict() == {"prior strength": 5, "training length": 6, "base": 3}


def test_one_seed_is_a_table_too(preset):
    single = preset.model_copy(update={"n_tuning_seeds": 1})
    table = table3(single)
    assert table["p_value"].isna().all() and table["difference"].notna().any()
    assert gain(single)["kind"].value_counts().to_dict().keys() == {"gain", "seed", "rank"}
    assert gain(single).query("kind == 'gain'")["p_value"].isna().all()


def test_scores_are_of_the_questions_that_the_figure_loads_again(tmp_path):
    small = load_preset("smoke", cache=str(tmp_path))
    table = tables.score_table(small)
    assert len(table) == small.n_tuned and set(table["benchmark"]) == {"prior/80"}
    first = table.iloc[0]
    again = benchmarks.load(first["benchmark"], first["split"], int(first["n_samples"]), int(first["seed"]))
    assert [one.sample_id for one in again] == list(table["sample_id"]) and [one.answer for one in again] == list(table["answer"])
    assert (table["weight"] == 3).sum() <= round(0.2 * len(table)) and table["weight"].isin((0.5, 1, 3)).all()
    assert table.loc[table["weight"] == 3, "gap_bits"].min() >= table.loc[table["weight"] != 3, "gap_bits"].max()
    assert ((table["sr"] + table["sc"]) <= 1 + 1e-9).all() and table["p_answer"].between(0, 1).all()
    assert all(sorted(table[f"weight_{name}"]) == sorted(table["weight"]) for name in ("batch", "lsmi"))
    assert (table["weight_lsmi"] != table["weight"]).any()
    assert table[["fallback_vision", "fallback_language"]].isin((True, False)).all(axis=None)
    assert table["converged"].all() and table[["moved_vision", "moved_language"]].nunique().eq(1).all()
    assert table[["moved_vision", "moved_language"]].stack().between(0, 1).all()


def test_synergy_of_the_base_is_asked_where_its_trainings_are_evaluated(tmp_path):
    small = load_preset("smoke", cache=str(tmp_path))
    synergy = tables.base_synergy(small)
    assert list(synergy.index) == [("llava_compact_blind", name) for name in ("micro/grounding", "prior/80")]
    assert synergy.stack().between(-0.5, 2).all() and len(synergy.columns) == 2
