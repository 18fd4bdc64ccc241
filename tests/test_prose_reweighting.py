"""Numbers that the reweighting notebooks state in their text, computed again from the committed tables."""

import pandas as pd
import pytest
from test_prose import read, short, told

TRAININGS = ("prior/80", "easy_vqa/yes_no")


def _signed(value: float, digits: int = 1) -> str:
    return f"{100 * value:+.{digits}f}"


def _with_ends(row: pd.Series) -> str:
    return f"{100 * row['difference']:.1f} [{100 * row['ci_low']:.1f}, {100 * row['ci_high']:.1f}]"


def conditions() -> list[str]:
    table = read("table3_reweighting", "reweighting")
    table = table[table["grade"].isna()]
    right = table[(table["measure"] == "accuracy") & table["benchmark"].str.endswith("balanced")]
    right = right.assign(against=right["against"].fillna("")).set_index(["trained_on", "condition", "against"]).sort_index()
    assert (right["n_seeds"].drop("A", level="condition") == 20).all()
    first, second = ({one: right.loc[(name, one), "value"].iloc[0] for one in "ABC"} for name in TRAININGS)
    less = {
        (name, one, other): right.loc[(name, one, other)] for name in TRAININGS for one, other in ("CB", "CD", "GB", "EB", "DB", "HB", "FB")
    }
    atoms = table[table["measure"] == "synergy"].groupby(["trained_on", "condition"])["value"].first()

    alone = table[table["measure"] == "unique_language"].groupby(["trained_on", "condition"])["value"].first()

    def both(pair: str, digits: int = 1) -> str:
        return " and ".join(_signed(less[name, *pair]["difference"], digits) for name in TRAININGS)

    return [
        f"the base has {short(first['A'], 3)}, uniform training makes it {short(first['B'], 3)}, PID weights {short(first['C'], 3)} "
        f"({_with_ends(less['prior/80', 'C', 'B']).replace(' ', ' points ', 1)}, p = {short(less['prior/80', 'C', 'B']['p_value'], 3)})",
        f"after easy-VQA {short(second['A'], 3)}, {short(second['B'], 3)} and {short(second['C'], 3)} "
        f"({_with_ends(less['easy_vqa/yes_no', 'C', 'B'])}, p < .0001)",
        f"({_signed(less['prior/80', 'C', 'D']['difference'])} points, p = {short(less['prior/80', 'C', 'D']['p_value'], 3)})",
        f"({_signed(less['easy_vqa/yes_no', 'C', 'D']['difference'])}, p = {short(less['easy_vqa/yes_no', 'C', 'D']['p_value'], 3)})",
        f"(D: {both('DB')})",
        f"(G) are best on both: {both('GB')} points over uniform; then by difficulty (E): {both('EB')}",
        f"costs {abs(100 * less['prior/80', 'F', 'B']['difference']):.1f} points after captions",
        f"({both('HB')})",
        f"S rises from {short(atoms['prior/80', 'A'])} to {short(atoms['prior/80', 'B'])} under uniform weights and to "
        f"{short(atoms['prior/80', 'G'])} under G",
        f"(captions {short(alone['prior/80', 'G'])} and {short(alone['prior/80', 'E'])} bits, uniform {short(alone['prior/80', 'B'])};",
    ]


def lists() -> list[str]:
    table = read("fig_scores", "reweighting")
    means = table.groupby(["benchmark", "weight"])[["right", "p_answer_language", "gap_bits"]].mean()
    up, down = ([means.loc[(name, weight)] for name in TRAININGS] for weight in (3.0, 0.5))
    raised, lowered = ({name: rows for name, rows in table[table["weight"] == weight].groupby("benchmark")} for weight in (3.0, 0.5))
    agreed = (
        [(raised[name]["weight_batch"] == 3).sum() for name in TRAININGS],
        [(lowered[name]["weight_batch"] == 0.5).sum() for name in TRAININGS],
    )
    easy = raised["easy_vqa/yes_no"]["weight_lsmi"], lowered["easy_vqa/yes_no"]["weight_lsmi"]
    return [
        f"the base has all right ({up[0]['right']:.2f} and {up[1]['right']:.2f}; language alone gives the right answer "
        f"the probability {short(up[0]['p_answer_language'])} on captions and {short(up[1]['p_answer_language'])} on easy-VQA, in the "
        "mean)",
        f"({short(down[0]['right'])} and {short(down[1]['right'])}; {short(down[0]['p_answer_language'])} and "
        f"{short(down[1]['p_answer_language'])})",
        f"{short(up[0]['gap_bits'])} bits in the mean of the list that is raised on captions, {short(up[1]['gap_bits'])} on easy-VQA",
        f"(of {len(raised['prior/80'])} raised, {agreed[0][0]} and {agreed[0][1]} are raised by it too; of {len(lowered['prior/80'])} "
        f"lowered, {agreed[1][0]} and {agreed[1][1]})",
        f"in what is raised ({(easy[0] == 3).sum()}) and not in what is lowered ({(easy[1] == 0.5).sum()}, chance)",
        f"it lowers {(raised['prior/80']['weight_lsmi'] == 0.5).sum()} of the {len(raised['prior/80'])} that the exact scores raise",
    ]


def gain() -> list[str]:
    table = read("fig_gain", "reweighting")
    ranks = table[table["kind"] == "rank"].set_index("against")
    over = ranks.loc["B"]
    mean = table[(table["kind"] == "gain") & (table["against"] == "B")]
    trained = mean[mean["benchmark"].str.endswith("balanced")]
    grounding = mean[(mean["base"] == "llava_leaning") & (mean["benchmark"] == "micro/grounding")].set_index("trained_on")["difference"]
    assert ((trained["difference"] < 0).sum(), len(trained)) == (5, 6)
    return [
        f"$\\rho$ = {short(over['value'])} [{short(over['ci_low'])}, {short(over['ci_high'])}], beyond its null (up to "
        f"{short(over['null_high'])}; p = {short(over['p_value'], 3)}, q = {short(over['q_value'], 3)})",
        f"{_signed(grounding['prior/80'])} points after captions, {_signed(grounding['easy_vqa/yes_no'])} after easy-VQA",
        f"there is nothing to see: {short(ranks.loc['A', 'value'])}, its null up to {short(ranks.loc['A', 'null_high'])}",
    ]


def when() -> list[str]:
    table = read("fig_when", "reweighting")
    pid = table[(table["condition"] == "C") & (table["measure"] == "accuracy")]
    each = pid.drop_duplicates(["trained_on", "base", "value"])
    assert (len(each), (each["q_value"] < 0.05).sum(), ((each["q_value"] < 0.05) & (each["difference"] > 0)).sum()) == (14, 6, 0)
    strength = pid[pid["axis"] == "prior strength"].set_index("level")
    base = pid[pid["axis"] == "base"].set_index(["base", "trained_on"])
    weak = _with_ends(strength.loc["50"]).replace(" ", " points ", 1)
    return [
        f"{weak} where half of the captions are right, {_signed(strength.loc['70', 'difference'])} at 70 %, "
        f"and nothing certain from 80 % on ({_with_ends(strength.loc['80'])})",
        f"(LLaVA leaning {' and '.join(_signed(base.loc[('llava_leaning', name), 'difference']) for name in TRAININGS)})",
        f"the compact LLaVA mini, +{_with_ends(base.loc[('llava_compact_blind', 'prior/80')])}",
    ]


def numbers() -> list[str]:
    table = read("fig_ablation", "reweighting")
    pid = table[(table["condition"] == "C") & (table["measure"] == "accuracy")].set_index(["level", "trained_on"])["difference"]
    assert not (table[(table["condition"] == "C") & (table["measure"] == "accuracy") & (table["q_value"] < 0.05)]["difference"] > 0).any()

    def cost(level: str) -> list[str]:
        return [f"{abs(100 * pid[level, name]):.1f}" for name in TRAININGS]

    return [
        "weights 6 and 0 take {} points after captions and {} after easy-VQA".format(*cost("6 and 0")),
        "3 and 0.5 take {} and {}, 2 and 0.75 take {} and {}; of the top 40 % it is {} and {}".format(
            *cost("3 and 0.5"), *cost("2 and 0.75"), *cost("top 40%")
        ),
        "exact, BATCH and LSMI scores end {}, {} and {} points below uniform on captions".format(
            *(cost(name)[0] for name in ("exact", "BATCH", "LSMI"))
        ),
    ]


def trade() -> list[str]:
    table = read("fig_tradeoff", "reweighting").query("condition == 'C' and benchmark == 'mean of synergy-driven'").set_index("trained_on")
    first, second = (table.loc[name] for name in TRAININGS)
    return [f"(+{_with_ends(first).replace(' ', ' points ', 1)} and +{_with_ends(second)};"]


TOLD = {
    "table3_reweighting": conditions,
    "fig_scores": lists,
    "fig_gain": gain,
    "fig_when": when,
    "fig_ablation": numbers,
    "fig_tradeoff": trade,
}


@pytest.mark.parametrize(("notebook", "statements"), TOLD.items())
def test_what_a_notebook_says_is_what_its_table_holds(notebook, statements):
    text = told(notebook, "reweighting")
    assert [statement for statement in statements() if statement not in text] == []
