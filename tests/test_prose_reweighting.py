"""Numbers that the reweighting notebooks state in their text, computed again from the committed tables."""

import pandas as pd
import pytest
from test_prose import read, short, told

from pidlib._common import project_root
from pidlib.experiments.preset import load_preset
from pidlib.experiments.reweighting.plan import all_conditions

TRAININGS = ("prior/80", "easy_vqa/yes_no")


def _signed(value: float, digits: int = 1) -> str:
    return f"{100 * value:+.{digits}f}"


def _with_ends(row: pd.Series) -> str:
    return f"{100 * row['difference']:.1f} [{100 * row['ci_low']:.1f}, {100 * row['ci_high']:.1f}]"


def _without_fallback() -> dict[str, pd.Series]:
    """PID weights less uniform and less random ones on captions, where no decision counts as uniform."""
    table = read("fig_ablation", "reweighting").query(
        "condition == 'C' and measure == 'accuracy' and trained_on == 'prior/80'"
    )
    return {one["against"]: one for _, one in table[table["level"] == "0"].iterrows()}


def _of_table3() -> set[str]:
    return {one.fingerprint for one in all_conditions(load_preset("offline"))}


def conditions() -> list[str]:
    table = read("table3_reweighting", "reweighting")
    table = table[table["grade"].isna()]
    right = table[(table["measure"] == "accuracy") & table["benchmark"].str.endswith("balanced")]
    right = (
        right.assign(against=right["against"].fillna(""))
        .set_index(["trained_on", "condition", "against"])
        .sort_index()
    )
    assert (right["n_seeds"].drop("A", level="condition") == 20).all()
    first, second = (
        {one: right.loc[(name, one), "value"].iloc[0] for one in "ABC"} for name in TRAININGS
    )
    less = {
        (name, one, other): right.loc[(name, one, other)]
        for name in TRAININGS
        for one, other in ("CB", "CD", "GB", "EB", "DB", "HB", "FB")
    }
    atoms = (
        table[table["measure"] == "synergy"].groupby(["trained_on", "condition"])["value"].first()
    )

    alone = (
        table[table["measure"] == "unique_language"]
        .groupby(["trained_on", "condition"])["value"]
        .first()
    )
    law = table.query(
        "measure == 'accuracy' and condition == 'C' and against == 'B' and benchmark == trained_on"
    ).set_index("trained_on")
    law = {name: law.loc[name] for name in TRAININGS}
    lead = {name: f"{abs(100 * less[name, 'C', 'B']['difference']):.1f}" for name in TRAININGS}
    made = pd.read_csv(project_root() / "data/results/reweighting/outcomes.csv").query(
        "measure == 'total' and benchmark == 'prior/80'"
    )
    made = made.query(
        "base == 'paligemma_leaning' and trained_on == 'prior/80' and steps == 60 and last == 0.2"
    )
    total = made.groupby("condition")["value"].mean()
    made = made[made["fingerprint"].isin(_of_table3())]
    assert (made.groupby("condition").size()[["B", "G"]] == 20).all()

    never = _without_fallback()
    fell = (
        read("fig_scores", "reweighting").query("benchmark == 'prior/80'")["fallback_vision"].mean()
    )

    def both(pair: str, digits: int = 1) -> str:
        return " and ".join(_signed(less[name, *pair]["difference"], digits) for name in TRAININGS)

    return [
        f"by {lead['prior/80']} points on *captions: balanced* and by {lead['easy_vqa/yes_no']} on *easy-VQA: yes/no, balanced*",
        f"accuracy is {short(first['A'], 3)} for the base, {short(first['B'], 3)} after uniform training and {short(first['C'], 3)} with "
        f"PID weights ({_with_ends(less['prior/80', 'C', 'B']).replace(' ', ' points ', 1)}, p = "
        f"{short(less['prior/80', 'C', 'B']['p_value'], 3)})",
        f"On *easy-VQA: yes/no, balanced*, it is {short(second['A'], 3)}, {short(second['B'], 3)} and {short(second['C'], 3)} "
        f"({_with_ends(less['easy_vqa/yes_no', 'C', 'B'])}, p < .0001)",
        f"(+{_with_ends(less['prior/80', 'C', 'D']).replace(' ', ' points ', 1)}, p = {short(less['prior/80', 'C', 'D']['p_value'], 3)})",
        f"({_with_ends(less['easy_vqa/yes_no', 'C', 'D'])}, p = {short(less['easy_vqa/yes_no', 'C', 'D']['p_value'], 3)})",
        f"the difference is {_with_ends(law['prior/80']).replace(' ', ' points ', 1)} on *captions: 80 % right* and "
        f"{_with_ends(law['easy_vqa/yes_no'])} on *easy-VQA: yes/no*",
        f"(D minus B: {both('DB')})",
        f"the lead is +{_with_ends(never['D']).replace(' ', ' points ', 1)} (p = {short(never['D']['p_value'])})",
        f"grows to {_with_ends(never['B'])} (p = {short(never['B']['p_value'], 4)})",
        f"in {fell:.0%} of the training questions".replace("%", " %"),
        f"(G) is best on both: {both('GB')} points over uniform weights. Difficulty (E) is second: {both('EB')}",
        f"F costs {abs(100 * less['prior/80', 'F', 'B']['difference']):.1f} points after captions",
        f"(H minus B: {both('HB')})",
        f"it rises from {short(atoms['prior/80', 'A'])} bits in the base to {short(atoms['prior/80', 'B'])} under uniform weights, but "
        f"only to {short(atoms['prior/80', 'G'])} under G",
        f"under G ({short(total['G'])} bits, uniform {short(total['B'])})",
        f"(captions: {short(alone['prior/80', 'G'])} and {short(alone['prior/80', 'E'])} bits, uniform {short(alone['prior/80', 'B'])};",
    ]


def beside_random() -> str:
    """Where alone random weights were trained: in table 3."""
    table = (
        read("table3_reweighting", "reweighting")
        .query("condition == 'C' and against == 'D' and primary")
        .set_index("trained_on")
    )
    first, second = (abs(100 * table.loc[name, "difference"]) for name in TRAININGS)
    assert table.loc[TRAININGS[0], "difference"] > 0 > table.loc[TRAININGS[1], "difference"]
    return f"{first:.1f} points above random ones on *captions: balanced* and {second:.1f} below on *easy-VQA: yes/no, balanced*"


def when() -> list[str]:
    table = read("fig_when", "reweighting")
    pid = table[(table["condition"] == "C") & (table["measure"] == "accuracy")]
    each = pid.drop_duplicates(["trained_on", "base", "value"])
    assert (
        len(each),
        (each["q_value"] < 0.05).sum(),
        ((each["q_value"] < 0.05) & (each["difference"] > 0)).sum(),
    ) == (14, 6, 0)
    strength = pid[pid["axis"] == "prior strength"].set_index("level")
    base = pid[pid["axis"] == "base"].set_index(["base", "trained_on"])
    steps = pid[pid["axis"] == "training length"].set_index(["level", "trained_on"])["difference"]
    untrained = table[
        (table["condition"] == "A") & (table["measure"] == "accuracy") & (table["axis"] == "base")
    ]
    moved = {
        one: f"{-100 * less:.0f}"
        for one, less in untrained.set_index(["base", "trained_on"])["difference"].items()
    }
    planned = (
        read("table3_reweighting", "reweighting")
        .query("primary and against == 'B' and trained_on == 'prior/80'")
        .iloc[0]
    )
    assert len(pid) == 17
    weak = _with_ends(strength.loc["50"]).replace(" ", " points ", 1)
    return [
        f"{weak} where half of the captions are right, {_signed(strength.loc['70', 'difference'])} at 70 %, "
        f"and not significant from 80 % on ({_with_ends(strength.loc['80'])})",
        f"significant too ({_with_ends(planned)}, p = {short(planned['p_value'], 3)})",
        f"(LLaVA leaning {' and '.join(_signed(base.loc[('llava_leaning', name), 'difference']) for name in TRAININGS)})",
        f"(+{moved['paligemma_leaning', 'prior/80']} and +{moved['llava_leaning', 'prior/80']} points), on easy-VQA much less "
        f"(+{moved['paligemma_leaning', 'easy_vqa/yes_no']} and +{moved['llava_leaning', 'easy_vqa/yes_no']})",
        f"at 60 steps, PID weights are {abs(100 * steps['60', 'prior/80']):.1f} points behind",
        "On easy-VQA the difference is {} after 30 steps, {} after 60 and {} after 120".format(
            *(_signed(steps[length, "easy_vqa/yes_no"]) for length in ("30", "60", "120"))
        ),
        beside_random(),
        f"the compact blind LLaVA, +{_with_ends(base.loc[('llava_compact_blind', 'prior/80')])}",
    ]


def numbers() -> list[str]:
    table = read("fig_ablation", "reweighting").query("condition == 'C' and measure == 'accuracy'")
    whole, table = (
        table.set_index(["level", "trained_on", "against"]),
        table[table["against"] == "B"],
    )
    pid = table.set_index(["level", "trained_on"])["difference"]
    assert not (table[table["q_value"] < 0.05]["difference"] > 0).any()

    largest = table.nlargest(1, "difference").iloc[0]
    never, usual = (
        _without_fallback(),
        {other: whole.loc[("0.3", "prior/80", other)] for other in "BD"},
    )
    assert (
        whole.loc["0.3"]
        .xs("easy_vqa/yes_no")["difference"]
        .equals(whole.loc["0"].xs("easy_vqa/yes_no")["difference"])
    )
    random = read("table3_reweighting", "reweighting").query(
        "condition == 'D' and measure == 'accuracy' and against == 'B'"
    )
    random = random[random["benchmark"] == random["trained_on"] + " balanced"].set_index(
        "trained_on"
    )["difference"]

    def cost(level: str) -> list[str]:
        return [f"{abs(100 * pid[level, name]):.1f}" for name in TRAININGS]

    return [
        f"the largest difference is +{_with_ends(largest).replace(' ', ' points ', 1)}",
        f"{_with_ends(never['B']).replace(' ', ' points ', 1)} instead of {_with_ends(usual['B'])}",
        f"+{_with_ends(usual['D'])}, shrinks to +{_with_ends(never['D'])} (p = {short(never['D']['p_value'])})",
        beside_random(),
        "random weights themselves cost {} and {}".format(
            *(f"{abs(100 * random[name]):.1f}" for name in TRAININGS)
        ),
        "6 and 0 cost {} points after captions and {} after easy-VQA".format(*cost("6 and 0")),
        "3 and 0.5 cost {} and {}, and 2 and 0.75 cost {} and {}. Lists of the top 40 % cost {} and {}".format(
            *cost("3 and 0.5"), *cost("2 and 0.75"), *cost("top 40%")
        ),
        "exact, BATCH and LSMI scores end {}, {} and {} points below uniform weights on captions".format(
            *(cost(name)[0] for name in ("exact", "BATCH", "LSMI"))
        ),
    ]


def trade() -> list[str]:
    table = (
        read("fig_tradeoff", "reweighting")
        .query("grade.isna()")
        .set_index(["condition", "benchmark", "trained_on"])
    )
    pid, random = table.loc["C"], table.loc["D"]
    first, second = (pid.loc[("mean of synergy-driven", name)] for name in TRAININGS)
    language = [
        _signed(pid.loc[("mean of prior-driven", name), "difference"]) for name in TRAININGS
    ]
    easy = {
        name: pid.loc[(f"micro/{name}", "easy_vqa/yes_no")]
        for name in ("grounding", "existence", "relation")
    }
    color = [
        f"{-100 * some.loc[('easy_vqa/color', 'prior/80'), 'difference']:.1f}"
        for some in (pid, random)
    ]
    assert len(set(language)) == 1
    assert max(easy["grounding"]["q_value"], easy["existence"]["q_value"]) < 0.05
    return [
        f"by +{_with_ends(first).replace(' ', ' points ', 1)} after captions and by +{_with_ends(second)} after easy-VQA",
        f"on the prior-driven task by {language[0]} after both",
        f"PID weights lose {color[0]} points on *easy-VQA: color* after captions; random ones lose {color[1]}",
        f"grounding gains {100 * easy['grounding']['difference']:.1f} points and existence loses "
        f"{-100 * easy['existence']['difference']:.1f}, both significantly, and relation is uncertain ({_with_ends(easy['relation'])})",
        f"Random weights gain {100 * random.loc[('micro/grounding', 'easy_vqa/yes_no'), 'difference']:.1f} on grounding",
    ]


TOLD = {
    "table3_reweighting": conditions,
    "fig_when": when,
    "fig_ablation": numbers,
    "fig_tradeoff": trade,
}


@pytest.mark.parametrize(("notebook", "statements"), TOLD.items())
def test_what_a_notebook_says_is_what_its_table_holds(notebook, statements):
    text = told(notebook, "reweighting")
    assert [statement for statement in statements() if statement not in text] == []
