"""Accuracy drops of a small model, and correlations of cells with known dependence."""

import itertools
from operator import attrgetter

import numpy as np
import pandas as pd
import pytest

from pidlib._common import fingerprint
from pidlib.benchmarks import micro_av
from pidlib.benchmarks.templates import TEMPLATES as DECLARED
from pidlib.experiments.extractions import extract_all
from pidlib.experiments.interventions import resample
from pidlib.experiments.omni import fig_shuffle
from pidlib.experiments.omni.fig_shuffle import (
    COLUMNS,
    MEAN,
    N_SWAPS,
    QUANTITIES,
    STREAMS,
    SUBSETS,
    TEMPLATES,
    correlations,
    varies,
)
from pidlib.experiments.preset import load_preset
from pidlib.experiments.tables import published, validate
from pidlib.training.minis import vocabulary
from pidlib.training.tiny import build

MODELS = tuple(
    f"qwen2_5_omni{suffix}" for suffix in ("", "_compact_seeing", "_compact", "_compact_plain")
)
TASKS = {
    "audio": ("sounding", "count"),
    "visual": ("direction", "moves_left"),
    "fusion": ("sounding_left", "playing", "silent_left"),
    "gated": ("gated",),
    "polarity": ("polarity",),
}


def cells(models=MODELS, noise=0.05):
    """Drops that follow U + S of the swapped stream, with noise."""
    rng, rows = np.random.default_rng(0), []
    for model, (task, templates) in itertools.product(models, TASKS.items()):
        for template in templates:
            active = {"unique_vision": task in ("visual", "gated"), "unique_audio": task == "audio"}
            atoms = {
                name: rng.uniform(0.4, 1) * bool(on) + 0.01 * rng.random()
                for name, on in active.items()
            }
            atoms["synergy"] = rng.uniform(0.1, 1) * (task in ("fusion", "gated", "polarity"))
            values = fig_shuffle._quantities(atoms)
            columns = {"benchmark": f"micro_av/{task}", "template": template, "model": model}
            for name, value in values.items():
                row = {"kind": "quantity", "quantity": name, "intervention": "none"}
                ends = {"value": value, "ci_low": value - 0.01, "ci_high": value + 0.01}
                rows.append(columns | row | ends)
            for name, quantity in zip(STREAMS, QUANTITIES[-2:], strict=True):
                drop = values[quantity] / 2 + noise * rng.normal()
                row = {"kind": "drop", "quantity": "accuracy lost", "intervention": name}
                ends = {"value": drop, "ci_low": drop - 0.02, "ci_high": drop + 0.02}
                rows.append(columns | row | ends)
    return pd.DataFrame(rows)


def row_of(table, scope, quantity, stream):
    keys = ["benchmark", "quantity", "intervention"]
    return table.set_index(keys).sort_index().loc[(scope, quantity, stream)]


def test_correlations_equal_those_of_pandas():
    table = cells(noise=0.0)
    result = correlations(table, 20, 40)
    at = ["benchmark", "model", "template"]
    wide = table.pivot_table(index=at, columns="quantity", values="value").round(3)
    drops = table[table["intervention"] == "video swapped"].set_index(at)["value"].round(3)
    means = (side.groupby(["benchmark", "model"]).mean() for side in (wide, drops))
    for scope, x, y in (
        (TEMPLATES, wide, drops),
        (SUBSETS, *means),
        ("micro_av/fusion", wide.loc["micro_av/fusion"], drops.loc["micro_av/fusion"]),
    ):
        row = row_of(result, scope, "synergy", "video swapped")
        rho = x["synergy"].corr(y.reindex(x.index), method="spearman")
        assert row["value"] == pytest.approx(rho)
        assert row["n_cells"] == len(x) and row["n_models"] == len(MODELS)
    assert row_of(result, TEMPLATES, "vision_given_audio", "video swapped")["value"] > 0.99
    own = result[(result["quantity"] == "synergy") & (result["intervention"] == "sound swapped")]
    within = own.set_index("benchmark")["value"]
    assert within[MEAN] == pytest.approx(within[within.index.str.startswith("micro")].mean())


def test_a_quantity_that_depends_on_the_subset_alone_is_within_the_null():
    rng, table = np.random.default_rng(0), cells(noise=0.0)
    subset = table["benchmark"].map({"micro_av/audio": 0.0, "micro_av/visual": 1}).fillna(0.5)
    only = (table["quantity"] == "unique_audio") & (table["kind"] == "quantity")
    table.loc[only, "value"] = subset[only] + 0.1 * rng.random(only.sum())
    result = correlations(table, 20, 100)
    strong = row_of(result, TEMPLATES, "vision_given_audio", "video swapped")
    assert strong["value"] > strong["null_high"] and strong["null_low"] > 0.3
    assert strong["null_p"] == pytest.approx(1 / 101)
    weak = row_of(result, TEMPLATES, "unique_audio", "video swapped")
    assert weak["null_low"] <= weak["value"] <= weak["null_high"] and weak["value"] > 0.2
    assert abs(row_of(result, MEAN, "unique_audio", "video swapped")["null_high"]) < 0.6


def test_effects_of_templates_and_models_alone_are_rejected_at_the_nominal_rate():
    template, model = (side.ravel() for side in np.indices((8, 5)))
    subset = np.repeat(["audio", "fusion"], [3, 5])[template]
    at = pd.DataFrame({"benchmark": subset, "template": template, "model": model})
    p_values = []
    for seed in range(80):
        rng = np.random.default_rng(seed)
        x, y = (
            rng.normal(size=8)[template]
            + 0.5 * rng.normal(size=5)[model]
            + 0.3 * rng.normal(size=40)
            for _ in range(2)
        )
        tables = [at.assign(kind="quantity", quantity=name, value=x) for name in QUANTITIES]
        tables += [at.assign(kind="drop", intervention=name, value=y) for name in STREAMS]
        table = pd.concat(tables)
        result = correlations(
            table.assign(ci_low=table["value"], ci_high=table["value"]), 1, 39, seed
        )
        rows = (
            row_of(result, scope, "synergy", "video swapped")
            for scope in (TEMPLATES, MEAN, "fusion")
        )
        p_values.append([row["null_p"] for row in rows])
    rejected = np.mean(np.array(p_values) <= 0.05, axis=0)
    assert (rejected > 0.005).all() and (rejected < 0.11).all()
    assert np.allclose(np.mean(p_values, axis=0), 0.5, atol=0.1)


@pytest.mark.parametrize("missing", [[], [0, 7, 19]])
def test_the_null_permutes_templates_alike_in_all_models(missing):
    template, model = (np.delete(side.ravel(), missing) for side in np.indices((7, 4)))
    subset = np.repeat([0, 1, 2], [2, 4, 1])[template]
    data = fig_shuffle._Cells(None, None, subset, template, model)
    for seed in range(20):
        order = fig_shuffle._permute(data, np.random.default_rng(seed))
        assert sorted(order) == list(range(len(template))) and (subset[order] == subset).all()
        if not missing:
            templates, models = template[order].reshape(7, 4), model[order].reshape(7, 4)
            assert (templates == templates[:, :1]).all() and (models == models[0]).all()
            assert sorted(templates[:, 0]) == list(range(7))
            assert sorted(models[0]) == list(range(4))


def test_the_bootstrap_draws_whole_templates():
    subset, template = np.repeat([0, 1], [12, 8]), np.repeat(np.arange(5), 4)
    data = fig_shuffle._Cells(None, None, subset, template, None)
    drawn = fig_shuffle._resample(data, np.random.default_rng(0))
    counts = np.bincount(drawn, minlength=20).reshape(5, 4)
    assert (counts == counts[:, :1]).all()
    assert counts[:3].sum() == 12 and counts[3:].sum() == 8


def test_subsets_of_two_templates_have_no_interval():
    result = correlations(cells(), 30, 10)
    fusion, gated = (
        row_of(result, f"micro_av/{task}", "synergy", "video swapped")
        for task in ("fusion", "gated")
    )
    assert fusion["ci_low"] < fusion["ci_high"]
    assert np.isnan(gated["ci_low"]) and np.isfinite(gated["value"])
    two = row_of(result, "micro_av/visual", "unique_vision", "video swapped")
    assert np.isnan(two["ci_low"]) and np.isfinite(two["value"])
    assert np.isnan(row_of(result, MEAN, "synergy", "video swapped")["ci_low"])
    single = correlations(cells(MODELS[:1]), 5, 5)
    assert set(single["benchmark"]) == {TEMPLATES, SUBSETS}  # subsets have fewer than four cells


def test_a_subset_in_which_one_cell_alone_varies_has_no_correlation():
    table = cells(noise=0.0)
    zero = (table["benchmark"] == "micro_av/audio") & (table["intervention"] == "video swapped")
    numbers = ["value", "ci_low", "ci_high"]
    table.loc[zero, numbers] = 0.0
    table.loc[zero[zero].index[3], numbers] = [-0.1, -0.21, 0.0]
    keys = ["quantity", "intervention", "benchmark"]
    result = correlations(table, 5, 20).set_index(keys).sort_index()
    own = result.loc["vision_given_audio", "video swapped"]
    assert "micro_av/audio" not in own.index and len(own) == len({*table["benchmark"]}) + 2
    within = own[own.index.str.startswith("micro")]
    assert own.loc[MEAN, "value"] == pytest.approx(within["value"].mean())
    assert own.loc[MEAN, "n_cells"] == within["n_cells"].sum()
    assert "micro_av/audio" in result.loc["audio_given_vision", "sound swapped"].index


def test_a_column_varies_if_it_exceeds_sampling_noise_and_rounding():
    values = np.zeros((5, 4))
    values[4, 0] = 0.5
    values[:, 1] = np.arange(1, 6) / 10
    values[[0, 2], 3] = 0.001
    assert varies(values, np.full_like(values, 1e-4)).tolist() == [False, True, False, False]
    assert not varies(values, np.full_like(values, 0.1)).any()
    assert not varies(values[:3], np.zeros((3, 4))).any()
    assert not varies(values[:, [3]], np.zeros((5, 1))).any()


@pytest.mark.parametrize("name", DECLARED)
def test_swapped_pairs_follow_the_law_of_their_template(name):
    """Except in `playing`, whose streams are correlated; its pairs have an answer."""
    task, n = DECLARED[name].task, 64
    samples = micro_av.load(task, "test", n)
    ids = [sample.sample_id for sample in samples]
    states = dict(zip(ids, micro_av.states(task, "test", n), strict=True))
    law = DECLARED[name].law
    marginals = [
        {value: sum(p for pair, p in law.items() if pair[side] == value) for value in values}
        for side, values in enumerate(map(set, zip(*law, strict=True)))
    ]
    independent = all(
        p == pytest.approx(marginals[0][v] * marginals[1][a]) for (v, a), p in law.items()
    )
    assert independent == (name not in ("playing", "pair"))
    for modality, field, place in (("vision", "video", 1), ("audio", "audio", 2)):
        source = {id(getattr(each, field)): states[each.sample_id][place] for each in samples}
        for seed in range(3):
            swapped = resample(samples, modality, seed, within=attrgetter("template"))
            swapped = [sample for sample in swapped if sample.template == name]
            assert len(swapped) == sum(sample.template == name for sample in samples)
            pairs = []
            for sample in swapped:
                given = source[id(getattr(sample, field))]
                own = states[sample.sample_id][3 - place]
                pairs.append((given, own) if place == 1 else (own, given))
            assert all(law.get(pair, 0) > 0 for pair in pairs)
            if not independent:
                likely = np.mean([law[pair] > 0.1 for pair in pairs])
                assert likely < sum(p for p in law.values() if p > 0.1) - 0.1


@pytest.mark.filterwarnings("ignore:.*calibrate the noise")
def test_table_of_a_small_model(tmp_path):
    """Drops average the swaps of their own stream, and a second run gives the same table."""
    benchmarks = ("micro_av/fusion", "micro_av/polarity")
    for part in build("qwen2_5_omni", sorted(vocabulary(benchmarks, 64)), size="tiny"):
        part.save_pretrained(tmp_path / "model")
    preset = load_preset(
        "smoke",
        omni_models=[str(tmp_path / "model")],
        omni_benchmarks=benchmarks,
        cache=str(tmp_path / "cache"),
        **{"n_omni": 32, "n_omni_intervened": 24, "n_bootstrap": 4, "n_permutations": 4},
    )
    table = fig_shuffle.measure(preset)
    drops = table[table["kind"] == "drop"]
    fusion = {"sounding_direction", "sounding_left", "silent_left", "playing"}
    assert set(drops["template"]) == fusion | {"polarity"}
    assert set(drops["intervention"]) == set(STREAMS) and drops["value"].between(-1, 1).all()
    assert (drops.groupby(["benchmark", "intervention"])["n_samples"].sum() == 24).all()
    quantities = table[table["kind"] == "quantity"]
    bits = quantities.pivot(index="template", columns="quantity", values="value")
    difference = bits["unique_vision"] + bits["synergy"] - bits["vision_given_audio"]
    assert difference.abs().max() < 1e-6
    known = table[table["kind"] == "published"]
    assert len(known) == 2 and known["grade"].eq("N").all()
    pd.testing.assert_frame_equal(fig_shuffle.measure(preset), table)
    marks = drops.groupby(["benchmark", "intervention"])["fingerprint"].unique()
    (request,) = fig_shuffle.requests(preset)
    settings = {"n_bootstrap": preset.n_bootstrap, "seed": preset.seed}
    for full, *swapped in extract_all(preset, request):
        for name, stream in STREAMS.items():
            own = [
                answer.columns["fingerprint"]
                for answer, query in zip(swapped, request.queries[1:], strict=True)
                if query.change.keywords["modality"] == stream
            ]
            assert len(own) == N_SWAPS
            answers = [full.columns["fingerprint"], *own]
            mark = fingerprint(extraction=own[0], answers=answers, **settings)
            assert marks[full.columns["benchmark"], name].tolist() == [mark]


def made_up(models=MODELS):
    measured = cells(models)
    known = published("fig_shuffle").drop(columns="note").rename(columns={"rho": "value"})
    tables = [measured, correlations(measured, 20, 20), known.assign(kind="published")]
    return validate(pd.concat(tables).assign(experiment="omni"), COLUMNS)


def test_the_figure_of_a_single_model():
    axes = fig_shuffle.figure(made_up(MODELS[:1])).axes
    assert [len(ax.texts) for ax in axes] == [3, 2]
