"""The rank correlation of gain and synergy is found exactly where it exists."""

import numpy as np
import pandas as pd
import pytest

from experiments.reweighting import synthetic
from pidlib import benchmarks
from pidlib.experiments.preset import load_preset
from pidlib.experiments.reweighting import fig_gain


@pytest.fixture(scope="module")
def preset():
    return synthetic.preset()


def test_gain_rises_with_synergy_where_it_does(preset):
    synergy = synthetic.synergies(preset)
    kept = {}

    def rising(rows):
        trained = (rows["condition"] == "C") & (rows["measure"] == "accuracy")
        cells = pd.MultiIndex.from_frame(rows[["base", "benchmark"]])
        gain = synergy["base_value"].reindex(cells).fillna(0.3).to_numpy()
        kept["rows"] = rows.assign(value=rows["value"] + trained.to_numpy(float) * gain)
        return kept["rows"]

    table = synthetic.measured(fig_gain, preset.model_copy(update={"n_resamples": 500}), rising)
    ranks = table[(table["kind"] == "rank") & (table["against"] == "B")].set_index("level")
    without = [f"without {name}" for name in sorted(preset.retained_benchmarks)]
    assert list(ranks.index) == ["all", "no fallback", *without]
    assert ranks.drop("no fallback")["value"].min() > 0.8
    assert abs(ranks.loc["no fallback", "value"]) < 0.5
    assert ranks["q_value"].notna().tolist() == [True] + [False] * (len(ranks) - 1)
    rank = ranks.loc["all"]
    assert rank["value"] > 0.85 and rank["ci_low"] > 0.8 and rank["n_seeds"] == 3
    assert rank["null_high"] < 0.6 and rank["p_value"] < 0.01
    seeds = table[table["kind"] == "seed"]
    assert set(table["kind"]) == {"gain", "seed", "rank"} and seeds["difference"].notna().all()
    assert set(seeds["seed"]) == {0, 1, 2}
    assert set(table.loc[table["kind"] != "seed", "seed"]) == {0}
    cells = table[(table["kind"] == "gain") & (table["against"] == "B")]
    cell = cells[cells["benchmark"] == "prior/80 balanced"].iloc[0]
    own = kept["rows"].query("condition == 'A' and measure == 'synergy'").set_index("base")
    assert cell["base_value"] == pytest.approx(own.loc[cell["base"], "value"])


def test_unrelated_gains_have_no_small_p_value(preset):
    table = synthetic.measured(fig_gain, preset)
    assert table.loc[table["kind"] == "rank", "p_value"].max() > 0.01


def test_training_and_evaluation_may_have_one_name(preset):
    """As benchmarks of the hub, which have no balanced questions."""
    tuned = {"prior/80": preset.tuned_models["prior/80"]}
    hub, name = preset.model_copy(update={"tuned_models": tuned}), "hub/mmbench"

    def renamed(rows):
        return rows[~rows["benchmark"].str.endswith("balanced")].replace({"prior/80": name})

    synergy = synthetic.synergies(hub).rename(index={"prior/80": name})
    table = synthetic.measured(fig_gain, hub, renamed, synergy)
    own = table[(table["kind"] == "gain") & (table["benchmark"] == name)]
    own = own[own["against"] == "B"]
    values = own[["base_value", "base_value_without_fallback"]]
    assert len(own) == len(hub.bases) and values.notna().all(axis=None)


def test_what_bases_share_on_a_benchmark_is_no_correlation():
    """Synergy and gain of a benchmark are unrelated, but alike in all bases."""
    rng, p_values = np.random.default_rng(0), []
    benchmarks, bases = [f"b{i}" for i in range(9)], [f"base{i}" for i in range(6)]
    for _ in range(100):
        synergy, gain = rng.normal(size=(2, 9))
        rows = [
            {"base": base, "trained_on": "prior/80", "benchmark": name, "seed": seed}
            | {"base_value": synergy[i] + rng.normal(0, 0.5) * (seed == 0)}
            | {"difference": gain[i] + rng.normal(0, 0.3)}
            for base in bases
            for i, name in enumerate(benchmarks)
            for seed in range(2)
        ]
        p_values.append(fig_gain.rank_correlation(pd.DataFrame(rows), 200, 0)["p_value"])
    assert np.mean(np.array(p_values) < 0.05) < 0.11 and 0.35 < np.mean(p_values) < 0.65


def test_one_seed_has_gains_without_p_values():
    table = synthetic.measured(fig_gain, synthetic.preset(n_tuning_seeds=1))
    assert set(table["kind"]) == {"gain", "seed", "rank"}
    assert table.loc[table["kind"] == "gain", "p_value"].isna().all()


def test_synergy_of_the_base_is_measured_where_its_trainings_are_evaluated(tmp_path):
    preset = load_preset("smoke", cache=str(tmp_path))
    synergy = fig_gain.base_synergy(preset)
    cells = [("llava_compact_blind", name) for name in ("micro/grounding", "prior/80")]
    assert list(synergy.index) == cells and len(synergy.columns) == 2
    assert synergy.stack().between(-0.5, 2).all()
    (request,) = fig_gain.requests(preset)
    assert (tuple(request.models), tuple(request.benchmarks)) == tuple(
        tuple(dict.fromkeys(names)) for names in zip(*cells, strict=True)
    )


def test_the_figure_with_fewer_bases_and_seeds():
    synthetic.check_drawings(fig_gain)


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_synergy_is_known_of_your_own_pinned_questions_and_named_base(tmp_path):
    rows = []
    for split in benchmarks.SPLITS:
        for sample in benchmarks.load("easy_vqa/yes_no", split, 16):
            file = sample.sample_id.replace("/", "-") + ".png"
            sample.image.save(tmp_path / file)
            rows.append((sample.question, sample.answer, file, split))
    table = pd.DataFrame(rows, columns=["question", "answer", "picture", "split"])
    table.to_csv(tmp_path / "mine.csv", index=False)
    name = f"table:{tmp_path / 'mine.csv'}"
    name += f"@{benchmarks.revision(name)}"
    sizes = dict.fromkeys(("n_tuned", "n_profiled", "n_evaluated", "n_retained"), 16)
    sizes |= {"n_population": 16, "n_tuning_seeds": 1, "n_remade_seeds": 1, "draws": 1}
    changes = {"tuned_models": {name: ["mine=data/minis/llava_compact_blind"]}}
    preset = load_preset("smoke", cache=str(tmp_path), **sizes, **changes)
    cells = fig_gain.measure(preset).query("kind == 'gain'")
    assert set(cells["base"]) == {"mine"} and set(cells["trained_on"]) == {"table:mine.csv"}
    assert set(cells["benchmark"]) == {"table:mine.csv", "micro/grounding"}
    assert cells["base_value"].notna().all()
