"""Numbers that the notebooks of the population state in their text, computed again from the committed tables."""

import pytest
from test_prose import read, short, told

from pidlib.experiments import tables
from pidlib.experiments.preset import load_preset
from pidlib.experiments.vision_language.fig_interventions import MEAN, POOLED
from pidlib.experiments.vision_language.table1_sensitivity import GIVEN


def sensitivity() -> list[str]:
    table = read("table1_sensitivity").query("grade.isna()")
    cells = tables.read(load_preset("offline").table("vision_language/table1_sensitivity_models"))
    rows = table.set_index(["benchmark", "quantity", "outcome"])
    means = ["mean of synergy-driven", "mean of all", "mean of those not collapsed"]

    def rho(quantity: str, benchmarks: list[str] = means) -> list[str]:
        return [
            short(rows.at[(name, quantity, "delta_vision"), "rho"]).replace("-0", "-")
            for name in benchmarks
        ]

    def ends(name: str, quantity: str, what: str = "family", outcome: str = "delta_vision") -> str:
        row = rows.loc[name, quantity, outcome]
        return f"[{row[what + '_low']:.2f}, {row[what + '_high']:.2f}]".replace("0.", ".")

    collapsed = ["easy_vqa/shape", "easy_vqa/color", "micro/knowledge", "micro/captioned"]
    minis = (cells["fallback_vision"] > 0.5).groupby(cells["benchmark"]).sum()[collapsed]
    fallback = [
        short(value) for value in cells.groupby("benchmark")["fallback_vision"].mean()[collapsed]
    ]
    shape = cells[cells["benchmark"] == "easy_vqa/shape"].round(3)
    off = (cells["divergence_bits"] - cells["added_by_vision_bits"]).abs().mean()
    given = [
        f"{rows.at[(name, 'synergy', GIVEN), 'rho']:.2f}"[1:]
        + f" {ends(name, 'synergy', outcome=GIVEN)}"
        for name in means
    ]
    moved = rho(
        "moved_language", ["micro/grounding", "micro/existence", "micro/relation", *means[:2]]
    )
    s, kl, added, total, plain = map(
        rho, ("synergy", "divergence", "added_by_vision", "total", "accuracy")
    )
    best = ["easy_vqa/shape", "easy_vqa/color", "micro/captioned"]
    kept = rho("synergy_without_fallback", best)
    return [
        rf"$\rho(S,\Delta_v)$ is {s[0]} {ends(means[0], 'synergy')}, where",
        f"Over all benchmarks it is {s[1]} {ends(means[1], 'synergy')} (without `knowledge`",
        f"over those not collapsed {s[2]} {ends(means[2], 'synergy')}",
        f"{fallback[0]} are made uniform on `shape`, {fallback[1]} on `color`, {fallback[2]} on `knowledge`, {fallback[3]} on `captioned`",
        f"more than half in {minis.iloc[0]}, {minis.iloc[1]}, {minis.iloc[2]} and {minis.iloc[3]} of 20",
        rf"$\rho(S,I)$ {short(shape['synergy_bits'].corr(shape['total_bits'], method='spearman'))})",
        f"of {' and '.join(', '.join(rho('synergy', best)).rsplit(', ', 1))} on `shape`, `color` and `captioned` is no support",
        f"it is {kept[0]}, {kept[1]} and {kept[2]}",
        f"KL reaches {kl[0]}, {kl[1]} and {kl[2]} in the three means",
        f"by {ends(means[0], 'divergence', 'less')}, {ends(means[1], 'divergence', 'less')} and {ends(means[2], 'divergence', 'less')}",
        f"(`grounding` {moved[0]}, `existence` {moved[1]}, `relation` {moved[2]}, mean {moved[3]}",
        f"by {ends(means[0], 'moved_language', 'less')}; over all benchmarks {moved[4]},",
        f"$U_v+S$ ({', '.join(added)})",
        f"it is below -.005 in {(cells['added_by_vision_bits'] < -0.005).sum()} of {len(cells)} cells, and off KL by {off:.1f} bits",
        f"{(cells['synergy_bits'] < -0.05).sum()} of {len(cells)} cells here lie below -.05",
        f"Plain accuracy does best.** It has {plain[0]}, {plain[1]} and {plain[2]}",
        f"keeps {given[0]} on the synergy-driven, {given[1]} on all, and {given[2]} on those not collapsed",
        f"far from silent**: {total[0]}, {total[1]} and {total[2]}",
    ]


def interventions() -> list[str]:
    table = read("fig_interventions").query("kind == 'correlation'")
    rho = table.pivot(index=["benchmark", "quantity"], columns="intervention", values="value")
    gone = ["noise", "blank", "no image", "resampled"]

    def span(quantity: str, name: str = MEAN) -> str:
        some = rho.loc[(name, quantity), gone].dropna()
        return f"{short(some.min())} to {short(some.max())}"

    noise, blank, none, other = (short(rho.loc[(MEAN, "synergy"), name]) for name in gone)
    null = table[(table["quantity"] == "synergy") & table["intervention"].isin(gone)].groupby(
        "benchmark"
    )[["null_low", "null_high"]]
    null = [
        short(null.max().at[MEAN, "null_high"]),
        short(null.min().at[POOLED, "null_low"]),
        short(null.max().at[POOLED, "null_high"]),
    ]
    return [
        rf"($\rho$ {span('synergy')} within benchmarks), but",
        f"predicts the loss better ({span('accuracy')}).",
        rf"Within benchmarks, $\rho$ of $S$ is {noise} for noise, {blank} for a blank, "
        f"{none} for no picture and {other} for another's picture (null {null[0]} at most)",
        rf"Without these benchmarks $\rho$ is {span('synergy', 'mean of those not collapsed')}, "
        f"and on the synergy-driven {span('synergy', 'mean of synergy-driven')}",
        f"plain accuracy ({span('accuracy')};",
        f"with and without the picture ({span('divergence')})",
        f"language rows ({span('moved_language')})",
        f"does not ({span('vision_share')})",
        f"(synergy {span('synergy', POOLED)})",
        f"({null[1]} to {null[2]})",
    ]


@pytest.mark.parametrize(
    ("notebook", "statements"),
    [("table1_sensitivity", sensitivity), ("fig_interventions", interventions)],
)
def test_what_a_notebook_says_is_what_its_table_holds(notebook, statements):
    text = told(notebook)
    assert [statement for statement in statements() if statement not in text] == []
