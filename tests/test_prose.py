"""Numbers that notebooks state in their text, computed again from the committed tables."""

import json

import numpy as np
import pandas as pd
import pytest

from pidlib._common import project_root
from pidlib.experiments import tables

FOLDER = "vision_language"


def told(notebook: str, folder: str = FOLDER) -> str:
    """The text of a notebook, a space between words."""
    cells = json.loads(
        (project_root() / f"notebooks/{folder}/{notebook}.ipynb").read_text(encoding="utf-8")
    )["cells"]
    return " ".join(
        " ".join(
            "".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown"
        ).split()
    )


def read(table: str, folder: str = FOLDER) -> pd.DataFrame:
    return tables.read(project_root() / f"data/results/{folder}/{table}.csv")


def short(value: float, digits: int = 2) -> str:
    """``.07``, as numbers below 1 are written in the text."""
    return f"{value:.{digits}f}".removeprefix("0")


def audit() -> list[str]:
    table = read("fig_protocol_audit").query("grade.isna() and null_mean.notna()")
    apart = (table["value_bits"] - table["null_mean"]).abs()[table["protocol"] == "released"].max()
    runs = table.assign(model=table["model"].fillna("")).groupby(
        ["protocol", "model", "benchmark", "n_codes", "n_observations"]
    )
    bits = (
        runs[["value_bits", "null_mean"]]
        .sum()
        .astype(float)
        .eval("signal = 100 * (1 - null_mean / value_bits)")
        .reset_index()
    )
    exemplars = bits[bits["model"] != ""]
    released, pooled = (
        exemplars.loc[exemplars["protocol"] == name] for name in ("released", "dataset level")
    )
    mixed = bits[bits["model"] == ""].set_index(["protocol", "n_codes", "n_observations"])
    signal, longer = mixed["signal"], mixed.loc["released, longer picture"]
    thousand = [f"{signal['dataset level', k, 1024]:.0f}" for k in (3, 5, 10)]
    null = table.query(
        "protocol == 'released, equal lengths' and n_codes == 10 and n_observations == 16"
    ).set_index("atom")["null_mean"]
    return [
        f"reports {released['value_bits'].min():.1f} to {released['value_bits'].max():.1f} bits",
        f"to {short(apart)} bits in every atom",
        f"{signal['released, equal lengths', 10, 16]:.0f} % of {mixed['value_bits']['released, equal lengths', 10, 16]:.1f} bits is signal",
        f"never more than {short((longer['value_bits'] - longer['null_mean']).max())} bits above the null",
        f"{thousand[0]}, {thousand[1]} and {thousand[2]} % of the bits are signal",
        f"on the exemplars {pooled['signal'].min():.0f} to {pooled['signal'].max():.0f} %",
        f"alone give {null['redundancy']:.2f}, {' and '.join(short(null[f'unique_{one}']) for one in ('vision', 'language'))}, and "
        + short(null["synergy"]),
    ]


def layers() -> list[str]:
    table = read("fig_embedding_layers")
    bits = table.set_index(["atom", "benchmark", "model", "layer"])["corrected_bits"].astype(float)

    def at(atom: str, benchmark: str, layer: int) -> list[str]:
        return [
            short(bits[atom, benchmark, model, layer])
            for model in ("llava", "paligemma", "qwen2_5_vl")
        ]

    vision, language = (
        at(f"unique_{source}", "easy_vqa/shape", 0) for source in ("vision", "language")
    )
    first, last = (at("synergy", "micro/existence", layer) for layer in (0, 3))
    captioned = [at("synergy", "micro/captioned", layer) for layer in (0, 3)]
    color = at("unique_language", "easy_vqa/color", 0)
    coded, decided = (
        rows.loc[rows["atom"] == "synergy"].set_index("benchmark")
        for rows in (table, read("fig_layers"))
    )
    coded, decided = (
        coded["corrected_bits"].groupby("benchmark").max(),
        decided["value_bits"].groupby("benchmark").max(),
    )
    five = decided[
        ["micro/grounding", "micro/captioned", "micro/scene", "easy_vqa/shape", "easy_vqa/color"]
    ]
    assert (decided - coded).drop("easy_vqa/yes_no").min() > 0
    return [
        rf"$U_\ell$ {color[2]} bits in Qwen2.5-VL, {color[1]} in PaliGemma, {color[0]} in LLaVA",
        rf"$U_v$ {vision[0]} and {vision[1]}, $U_\ell$ {language[0]} and {language[1]}",
        f"{language[2]} bits against {vision[2]}",
        f"LLaVA {first[0]} to {last[0]}, PaliGemma {first[1]} to {last[1]}",
        f"{captioned[0][0]} to {captioned[1][0]} and {captioned[1][1]}",
        f"small at all depths, {short(bits['synergy'].max())} bits at most",
        f"more synergy, {five.min():.1f} to {five.max():.1f} bits, on `grounding`, `captioned`, `scene`, `shape` and `color`",
        f"on `yes_no` they reach less ({short(decided['easy_vqa/yes_no'])} against {short(coded['easy_vqa/yes_no'])})",
    ]


def synthetic() -> list[str]:
    table = read("table_synthetic")
    equal, longer, pooled = ("released, equal lengths", "released, longer picture", "dataset level")
    found = (
        table.query("atom == 'synergy' and recovered").groupby("benchmark")["protocol"].apply(set)
    )
    assert {mixture for mixture, by in found.items() if equal in by} == {
        "0.8 vision + 0.2 language",
        "0.2 vision + 0.8 language",
    }
    count = {
        name: {0: "none", 2: "two", 8: "all eight"}[sum(name in by for by in found)]
        for name in (equal, longer, pooled)
    }
    copy = table[(table["protocol"] == equal) & (table["benchmark"] == "vision")].set_index("atom")
    bits = [
        f"{copy['corrected_bits'][atom]:.2f}".replace("0.", ".")
        for atom in ("redundancy", "unique_vision", "unique_language")
    ]
    chance = table[table["protocol"] == pooled].groupby("benchmark")["null_mean"].sum()
    clear = (table[table["protocol"] == longer]["null_p"] <= 0.05).sum()
    return [
        f"Pooling the data set finds {count[pooled]} mixtures; the released protocol finds {count[equal]} of eight in its best case, "
        f"and {count[longer]} where the picture is longer",
        f"chance is {short(chance.mean())} bits",
        f"shows {bits[0]} bits of redundancy, {bits[1]} of $U_v$ and ${bits[2]}$ of $U_\\ell$, "
        f"all relative to a null of {copy['null_mean'].sum():.1f} bits",
        f"{'Two' if clear == 2 else clear} of the 32 atoms clear their null",
    ]


def contributions() -> list[str]:
    table = read("table2_contributions")
    ours = table[table["grade"].isna()]
    shares = ours[ours["atom"] == "unique_language"]
    share = shares["contribution"].dropna().astype(float)
    vision = shares[shares["contribution"] < 0.5]["benchmark"].value_counts()
    words = {1: "one", 2: "two", 3: "three", 5: "five", 9: "nine", 11: "Eleven"}
    more = {
        name: words[vision[f"micro/{name}"]] for name in ("grounding", "captioned", "knowledge")
    }
    led = shares[
        (shares["contribution"] < 0.5)
        & shares["benchmark"].isin([f"micro/{name}" for name in more])
    ]
    synergy = ours[ours["atom"] == "synergy"]["corrected_bits"]
    return [
        f"of {len(share)} shares, language leads in {(share > 0.5).sum()} and vision in {(share < 0.5).sum()}",
        f"In {words[(led['contribution_high'] >= 0.5).sum()]} of these nine the interval contains one half",
        f"the colours ({vision['easy_vqa/color']} minis) and shapes ({vision['easy_vqa/shape']})",
        f"in {words[sum(vision[f'micro/{name}'] for name in more)]} more: "
        + ", ".join(f"{one} on `{name}`" for name, one in more.items()),
        f"{words[share.between(0.49, 0.81).sum()]} of {len(share)} lie there",
        f"The mean, {100 * share.mean():.0f} % language",
        f"{short(synergy.mean())} bits in the mean and {short(synergy.max())} at most",
    ]


def estimators() -> list[str]:
    table = read("fig_estimators")
    study = table[table["study"] == "estimator"]
    exact = study[study["estimator"] == "exact"].set_index(["benchmark", "model", "atom"])[
        "value_bits"
    ]
    batch = study[study["estimator"] == "BATCH"].set_index(["benchmark", "model", "atom"])
    off = (batch["value_bits"] - exact.reindex(batch.index)).astype(float)
    wrong = (
        off * np.where(off.index.get_level_values("atom").str.startswith("unique"), 1, -1) > 0
    ).groupby("atom").mean() * 100
    ends = off.abs().groupby(batch["epochs"].to_numpy()).mean()
    alone = table[table["study"] == "alone"].pivot_table(
        index=["benchmark", "model", "atom"], columns="unimodal", values="value_bits"
    )
    ranks = alone.xs("synergy", level="atom").rank().corr().loc["masked", "resampled"]
    floor = table.query("study == 'alone' and unimodal == 'masked' and atom == 'redundancy'")
    listed = table[table["study"] == "options"].pivot(
        index=["benchmark", "model", "atom"], columns="source_a", values="value_bits"
    )
    seen, noise = (
        (listed[name] - listed["vision"]).abs() for name in ("vision+options", "vision#1")
    )
    blind = table.query(
        "study == 'options' and source_a == 'vision' and benchmark in ['easy_vqa/shape', 'easy_vqa/color']"
    )
    return [
        f"off by {short(off.abs().mean())} bits on average and by up to {short(off.abs().max())}",
        f"each sign in {wrong.min():.0f} to {wrong.max():.0f} % of its runs",
        f"({short(ends[10])} and {short(ends[20])} bits)",
        f"are {short((alone['masked'] - alone['resampled']).abs().mean())} bits apart on average",
        f"a rank correlation of {ranks:.2f}".replace("-0", "-"),
        f"in {(floor['value_bits'] <= floor['null_mean']).sum()} of the {len(floor)} pairs",
        f"change atoms by {short(seen.mean())} bits on average and by up to {seen.max():.1f}",
        f"another draw of the noise changes them by {short(noise.mean(), 3)}",
        f"`fallback` of {short(np.floor(100 * blind['fallback'].min()) / 100)} and more",
    ]


def stages() -> list[str]:
    table, atoms = (
        read("fig_layers_claims").set_index(["statistic", "benchmark", "model"]),
        read("fig_layers"),
    )
    count = table.groupby("statistic")["verdict"].value_counts()
    lone = (
        atoms[atoms["atom"] != "synergy"]
        .groupby(["benchmark", "model", "layer"])["value_bits"]
        .sum()
        .unstack("layer")
    )
    holds = table.loc["accumulation"].query("verdict == 'holds'").index
    share, synergy, language = (
        table.loc[name] for name in ("middle_share", "synergy_slope", "language_slope")
    )
    late = (lone.loc[holds, 3] - lone.loc[holds, 2] > 0.05).sum()
    return [
        f"holds in {len(holds)} of the {len(share)} panels (open {count['accumulation', 'open']}, "
        f"against {count['accumulation', 'against']})",
        f"in {late} of the {len(holds)} it grows by more than .05 bits after that",
        f"in {count['middle_share', 'holds']} panels only (clearly less in {(share['ci_high'] < 0.6).sum()})",
        f"Silence holds in {count['silence', 'holds']}",
        f"in {count['synergy_slope', 'holds']} panels (open {count['synergy_slope', 'open']}, against {count['synergy_slope', 'against']})",
        f"in {count['late_share', 'holds']} and clearly less in {count['late_share', 'against']} (open {count['late_share', 'open']}",
        f"falls in {count['language_slope', 'holds']} and rises in {count['language_slope', 'against']}",
        f"synergy rises in {(synergy['ci_low'] > 0).sum()}, and $U_\\ell$ falls in {(language['ci_high'] < 0).sum()} and rises in "
        f"{(language['ci_low'] > 0).sum()}",
    ]


def fusion() -> list[str]:
    table = read("fig_fusion").query("kind == 'moved'").set_index(["benchmark", "target"])
    hidden, answer, same = (
        table.loc["easy_vqa", target] for target in ("hidden", "answer", "hidden, same sources")
    )
    existence, kept = (
        table.loc["micro/existence", "hidden"],
        table.loc["micro/captioned", "hidden, same sources"],
    )

    def spread(row: pd.Series) -> str:
        ends = (short(row[name], 1) if row[name] else "0" for name in ("spread_low", "spread_high"))
        return f"{row['spread_mechanism']:.1f} [{', '.join(ends)}]"

    return [
        f"{hidden['spread_mechanism']:.1f} points [{hidden['spread_low']:.1f}, {hidden['spread_high']:.1f}]",
        f"by {spread(answer)} about the answers",
        f"{hidden['spread_rest']:.1f} and {answer['spread_rest']:.1f} points are explained by neither",
        f"{hidden['moved']:.1f} points [{hidden['ci_low']:.1f}, {hidden['ci_high']:.1f}], of which {hidden['null_mean']:.1f}",
        f"($p$ = {short(hidden['null_p'], 4)} and {short(answer['null_p'], 4)}, "
        f"$q$ = {short(hidden['null_q'], 3)} and {short(answer['null_q'], 3)})",
        f"gives {same['moved']:.1f} points ($p$ = {short(same['null_p'])}, $q$ = {short(same['null_q'])})",
        f"`captioned` {kept['moved']:.1f} ($p$ = {short(kept['null_p'])}, $q$ = {short(kept['null_q'])})",
        f"On `existence` they are {existence['moved']:.1f} points",
        f"shuffled mechanisms give {existence['null_mean']:.1f}; the mechanism's standard deviation there is {spread(existence)}",
    ]


@pytest.mark.parametrize(
    ("notebook", "statements"),
    [
        ("fig_layers", stages),
        ("fig_fusion", fusion),
        ("fig_protocol_audit", audit),
        ("fig_embedding_layers", layers),
        ("table_synthetic", synthetic),
        ("table2_contributions", contributions),
        ("fig_estimators", estimators),
    ],
)
def test_what_a_notebook_says_is_what_its_table_holds(notebook, statements):
    text = told(notebook)
    assert [statement for statement in statements() if statement not in text] == []
