"""Numbers that the notebooks of profiles and of the validation state in their text, computed again from the committed tables."""

import numpy as np
import pandas as pd
import pytest
from test_prose import read, short, told

from pidlib._common import project_root
from pidlib.experiments import tables
from pidlib.experiments.preset import load_preset

KEYS = ["benchmark", "model"]
SYNERGY_DRIVEN = ["micro/grounding", "micro/existence", "micro/relation"]


def span(values: pd.Series, digits: int = 2) -> str:
    """``.94 to 1.00``."""
    return f"{short(values.min(), digits)} to {short(values.max(), digits)}"


def profiles() -> list[str]:
    table, path = (
        read("fig_profiles"),
        load_preset("offline").table("vision_language/fig_profiles_diagnostics"),
    )
    checks = tables.read(path).set_index("benchmark")
    bits = table.pivot(index=["unimodal", *KEYS], columns="atom", values="value_bits").astype(float)
    masked, resampled = bits.loc["masked"], bits.loc["resampled"]
    spread = resampled.groupby("benchmark").agg(np.ptp).max().max()
    same = masked.idxmax(axis=1) == resampled.idxmax(axis=1)
    redundancy = table.query("unimodal == 'masked' and atom == 'redundancy'")
    captioned, alone = (
        masked.loc["micro/captioned"],
        checks.loc["micro/captioned", "fallback_vision"],
    )
    blind = checks.loc[["easy_vqa/shape", "easy_vqa/color"], "fallback_vision"]
    first = masked.loc[SYNERGY_DRIVEN]
    words = {2: "two", 9: "nine"}
    leads = [
        words[(one.loc[SYNERGY_DRIVEN].idxmax(axis=1) == "synergy").sum()]
        for one in (resampled, masked)
    ]
    synergy = {
        name: span(resampled["synergy"].loc[name])
        for name in ("micro/grounding", "micro/relation", "easy_vqa/yes_no")
    }
    seen = {
        name: span(masked["synergy"].loc[name]) for name in ("easy_vqa/shape", "easy_vqa/color")
    }
    existence = resampled.loc["micro/existence"]
    scene = table.query(
        "unimodal == 'resampled' and benchmark == 'micro/scene' and atom == 'unique_vision'"
    )
    assert np.allclose(scene["value_bits"], scene["null_mean"])
    return [
        f"this null of $U_v$ equals the value ({span(scene['value_bits']).split()[0]} bits)",
        f"in {(redundancy['value_bits'] <= redundancy['null_mean']).sum()} of the {len(redundancy)} pairs of mini and benchmark: BROJA",
        f"within {short(spread)} bits of each other in every atom",
        f"answer {100 * checks['accuracy'].min():.1f} to {100 * checks['accuracy'].max():.0f} % of the questions of each benchmark",
        f"{synergy['micro/grounding']} bits on `grounding`, {synergy['micro/relation']} on `relation`, and "
        f"{short(existence['synergy'].mean())} of {short(existence.sum(axis=1).mean())} on `existence`",
        f"It is {synergy['easy_vqa/yes_no']} on `yes_no`",
        f"the same as resampled in {same.sum()} of the {len(same)} pairs",
        f"all $U_v$ ({resampled.loc['micro/captioned', 'unique_vision'].mean():.2f} bits)",
        f"($R$ of {span(captioned['redundancy'])})",
        f"in {span(alone)} of the cases",
        f"the largest atom in all {leads[0]} pairs of the synergy-driven panels",
        f"$U_\\ell$ {span(masked.loc['micro/knowledge', 'unique_language'])} bits on `knowledge`",
        f"$S$ is {span(first['synergy'])} bits, the largest atom in {leads[1]} pairs of nine",
        f"it is {seen['easy_vqa/shape']} on `shape` and {seen['easy_vqa/color']} on `color`",
        f"(fallback {span(blind)})",
    ]


def embeddings() -> list[str]:
    table = read("fig_embeddings").query("estimator == 'exact'")
    decisions = read("fig_profiles").query("unimodal == 'resampled'")
    bits = table.pivot(index=KEYS, columns="atom", values="corrected_bits").astype(float)
    other = bits.idxmax(axis=1) != decisions.pivot(
        index=KEYS, columns="atom", values="value_bits"
    ).astype(float).idxmax(axis=1)
    clear = table[table["atom"] == "synergy"]["null_p"] < 0.05
    vision = bits["unique_vision"]
    return [
        f"$U_\\ell$ ({span(bits.loc['micro/knowledge', 'unique_language'])} bits, corrected)",
        f"`scene` ({vision['micro/scene'].mean():.1f}), `shape` and `color` ({span(vision[['easy_vqa/shape', 'easy_vqa/color']])})",
        f"in {other.sum()} of the {len(other)} pairs of mini and benchmark, their largest atoms differ",
        f"hold none (at most {short(bits.loc['micro/grounding', 'synergy'].max())} bits)",
        f"$U_\\ell$ of {span(bits.loc['micro/grounding', 'unique_language'])}",
        f"redundancy ({span(bits.loc['micro/captioned', 'redundancy'])})",
        f"in {(bits['unique_language'] > vision).sum()} of the {len(bits)} pairs",
        f"{short(bits['synergy'].mean())} bits in the mean and {short(bits['synergy'].max())} at most (`existence`), "
        f"clear of its null in {clear.sum()} pairs",
    ]


def solver() -> list[str]:
    rows = tables.read(project_root() / "data/results/validation/fig_solver.csv")
    assert (rows.groupby("size")["tables"].nunique() == 1).all()
    table = rows.set_index(["method", "size"])
    worst, median = (table[f"{name}error_bits"].astype(float) for name in ("", "median_"))
    ours = [worst["ours, as a batch"], worst["ours, one at a time"]]
    assert max(bits.max() for bits in ours) <= 1e-6
    assert worst["ours, fitting to 1e-3 bits"].max() <= 1e-3
    ecos, cone, clarabel, plain, default = (
        worst[name]
        for name in (
            *("cone program, ECOS", "dit, cone", "cvxpy, Clarabel"),
            *("fitting, published limits", "dit, default"),
        )
    )
    small, large = ["2x2x2", "5x5x3", "10x10x4"], "20x20x4"
    medians = [median["cone program, ECOS", large], median["dit, cone", large]]
    return [  # times are those of a machine and are not checked
        f"within {1e7 * clarabel.max():.1f}e-7 bits at every size",
        f"ECOS within {1e8 * ecos[small].max():.1f}e-8 up to 10x10x4, "
        f"and `dit, cone` within {1e8 * cone[small].max():.1f}e-8",
        f"off by {1e2 * ecos[large]:.1f}e-2 and `dit, cone`, which calls ECOS too, "
        f"by {1e3 * cone[large]:.1f}e-3",
        f"medians are {1e9 * medians[0]:.1f}e-9 and {1e8 * medians[1]:.1f}e-8",
        f"{1e4 * plain.min():.1f}e-4 to {1e3 * plain.max():.1f}e-3 bits short",
        f"off by {short(default['2x2x2'])} bits at 2x2x2 in the worst case, "
        f"and {1e6 * median['dit, default', '2x2x2']:.1f}e-6",
    ]


def bias() -> list[str]:
    table = read("fig_bias", "validation")
    table["deviation"] = (table["ci_high"] - table["ci_low"]) / 2 / 1.96
    table = (
        table.set_index(["estimator", "n_codes", "n_samples"])[["value_bits", "deviation"]]
        .astype(float)
        .sort_index()
    )
    mean, error = table["value_bits"], np.hypot(table["value_bits"], table["deviation"])
    plain = [short(mean["plug-in", k, 1000]) for k in (5, 10, 20)]
    foretold = [short((k**2 - 1) * 3 / (2000 * np.log(2))) for k in (5, 10, 20)]
    low = [mean["plug-in", k][mean["plug-in", k] < 0.05].index.min() for k in (5, 10, 20)]
    names = ("plug-in", "Miller-Madow", "jackknife", "Chao-Wang-Jost", "permutation mean")
    off = [short(error[name, 20, 1000]) for name in names]
    near = max(mean[name].abs().max() for name in ("permutation mean", "Panzeri, null"))
    return [
        f"finds {plain[0]} bits of synergy with 5 codes per source, {plain[1]} with 10 and {plain[2]} with 20",
        f"predicts {foretold[0]}, {foretold[1]} and {foretold[2]}",
        f"{low[0]:,}, {low[1]:,} and {low[2]:,} samples to come below .05",
        f"off by {off[0]} bits with the plug-in estimate, {off[1]} with Miller-Madow, {off[2]} with the jackknife, "
        f"{off[3]} with Chao, Wang and Jost, and {off[4]} with the permutation mean subtracted",
        f"({mean['Miller-Madow', 20, 100]:.2f} bits instead of {mean['plug-in', 20, 100]:.2f}",
        f"within {short(np.ceil(100 * near) / 100)} bits of zero",
    ]


def gates() -> list[str]:
    table = read("table_gates", "validation").set_index(["benchmark", "atom"])
    exact, ours = (table[table["estimator"] == name] for name in ("closed form", "newton"))
    distance = (ours["value_bits"] - exact["value_bits"]).abs().groupby("benchmark").max()
    gap = (ours["upper_bits"] - ours["lower_bits"]).groupby("benchmark").max()
    open_gates = gap[gap > 1e-9]
    assert np.allclose(distance, gap, rtol=0.01, atol=1e-9)
    assert len(open_gates) == 10
    return [
        f"all {len(gap)} gates are found",
        f"In {(np.maximum(gap, distance) < 1e-9).sum()} gates both",
        rf"${1e8 * open_gates.min():.0f}\cdot10^{{-8}}$ to ${1e7 * open_gates.max():.1f}\cdot10^{{-7}}$",
    ]


def truths() -> list[str]:
    bits = (
        read("fig_benchmarks", "validation")
        .set_index(["benchmark", "unimodal", "atom"])["value_bits"]
        .astype(float)
    )
    pure = {
        "grounding": "synergy",
        "knowledge": "unique_language",
        "scene": "unique_vision",
        "captioned": "unique_vision",
    }
    assert all(
        np.isclose(bits[f"micro/{name}", "resampled", atom], 2) for name, atom in pure.items()
    )
    whole = bits.groupby(level=["benchmark", "unimodal"]).sum()

    def synergy(name: str, mode: str) -> str:
        return short(bits[f"micro/{name}", mode, "synergy"])

    return [
        f"synergy is {synergy('existence', 'masked')} of {whole['micro/existence', 'masked']:.2f} bits masked and "
        f"{synergy('existence', 'resampled')} of {short(whole['micro/existence', 'resampled'])} resampled",
        f"it is {synergy('relation', 'masked')} and {synergy('relation', 'resampled')} of {whole['micro/relation', 'masked']:.2f}",
        f"Masked, {bits['micro/captioned', 'masked', 'redundancy']:.2f} of {whole['micro/captioned', 'masked']:.0f} bits are redundant",
    ]


VALIDATION = {
    "fig_solver": solver,
    "fig_bias": bias,
    "table_gates": gates,
    "fig_benchmarks": truths,
}


@pytest.mark.parametrize(
    ("notebook", "statements"), [("fig_profiles", profiles), ("fig_embeddings", embeddings)]
)
def test_what_a_notebook_says_is_what_its_table_holds(notebook, statements):
    text = told(notebook)
    assert [statement for statement in statements() if statement not in text] == []


@pytest.mark.parametrize(("notebook", "statements"), VALIDATION.items())
def test_what_the_validation_says_is_what_its_tables_hold(notebook, statements):
    text = told(notebook, "validation")
    assert [statement for statement in statements() if statement not in text] == []
