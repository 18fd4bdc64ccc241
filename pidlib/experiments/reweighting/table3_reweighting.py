"""Does weighting training samples by their decomposition beat uniform weights?"""

import pandas as pd

from pidlib.experiments import Preset, style, tables
from pidlib.experiments.population import benchmark_kind
from pidlib.experiments.reweighting import paired, plan
from pidlib.experiments.reweighting.outcomes import outcomes
from pidlib.experiments.reweighting.questions import evaluation_name
from pidlib.reweighting import CONDITIONS, Condition

COLUMNS = paired.COLUMNS
trainings = plan.all_conditions
_PAIRS = [(condition, Condition.UNIFORM) for condition in CONDITIONS]
_PAIRS += [(Condition.PID, other) for other in "DEFG"]  # weights that use no decomposition
_PAIRS += [(Condition.PID_SAMPLING, Condition.RANDOM)]
_ATOMS = {"synergy": "post $S$, bits", "unique_language": r"post $U_\ell$, bits"}


def measure(preset: Preset) -> pd.DataFrame:
    """Compare conditions; the planned, ``primary``, PID minus uniform and random, uncorrected."""
    rows = outcomes(preset, trainings(preset)).table.query("measure in @paired.MEASURES")
    table = paired.compare(rows, _PAIRS, n_resamples=preset.n_resamples, seed=preset.seed)
    primary = table["benchmark"] == table["trained_on"].map(evaluation_name)
    primary &= (table["measure"] == "accuracy") & (table["condition"] == Condition.PID)
    primary &= table["against"].isin((Condition.UNIFORM, Condition.RANDOM))
    table = paired.with_q_values(table, ~primary).assign(primary=primary)
    return paired.comparison_table([table, published_conditions()], preset.seed)


def published_conditions() -> pd.DataFrame:
    """Table 3 of Fang et al.: accuracies as shares, and differences from uniform weights."""
    table = tables.published("table3_reweighting").assign(trained_on="MMBench")
    scale = table.pop("unit").eq("per cent").map({True: 0.01, False: 1.0})
    table = table.assign(value=table["value"] * scale, spread=table["spread"] * scale)
    is_uniform = table["condition"] == Condition.UNIFORM
    uniform = table[is_uniform].set_index(["benchmark", "measure"])["value"]
    cells = pd.MultiIndex.from_frame(table[["benchmark", "measure"]])
    table["difference"] = table["value"] - uniform.reindex(cells).to_numpy()
    table["against"] = str(Condition.UNIFORM)
    table.loc[is_uniform, ["difference", "against"]] = None
    table["n_seeds"] = table["condition"].ne(Condition.BASE).map({True: 3, False: None})
    return table.assign(kind=table["benchmark"].map(benchmark_kind, na_action="ignore"))


def latex(table: pd.DataFrame) -> str:
    """Conditions in columns; below each value its difference from uniform; * p or q < .05."""
    primary = table[table["primary"].fillna(False)].dropna(subset="p_value")
    table = table[table["against"].isna() | (table["against"] == Condition.UNIFORM)]
    shown = [condition for condition in CONDITIONS if condition in set(table["condition"])]
    width, keys = len(shown) + 1, ["benchmark", "measure"]
    lines = style.minis_line(table.loc[table["grade"].isna(), "base"], width)
    for (base, trained_on), block in table.groupby(["base", "trained_on"], sort=False):
        planned = primary[(primary["base"] == base) & (primary["trained_on"] == trained_on)]
        title = tables.escape(_title(block, planned))
        lines.append(tables.heading(title, width, r"\midrule " * bool(lines)))
        own = block["benchmark"].map({evaluation_name(trained_on): 1, trained_on: 0})  # then others
        block = block.assign(own=own).sort_values(["measure", "own"], kind="stable")
        for (benchmark, quantity), rows in block.groupby(keys, sort=False, dropna=False):
            cells = [_cell(rows[rows["condition"] == condition]) for condition in shown]
            name = _ATOMS.get(quantity) or style.benchmark_name(benchmark)
            lines.append([name, *(value for value, _ in cells)])
            lines.append(["", *(below for _, below in cells)])
    words = (f"{condition} {CONDITIONS[condition]}".replace(" ", r"\\") for condition in shown)
    return tables.booktabs(["", *(rf"\shortstack[r]{{{each}}}" for each in words)], lines)


def _title(block: pd.DataFrame, planned: pd.DataFrame) -> str:
    base, trained_on, grade = block.iloc[0][["base", "trained_on", "grade"]]
    title = f"{style.model_name(base)}, trained on {style.benchmark_name(trained_on)}"
    if pd.notna(grade):
        return f"{title}, published (grade {grade}), 3 seeds"
    counts = block.loc[block["condition"] != Condition.BASE, "n_seeds"].dropna()
    seeds = " to ".join(f"{count}" for count in sorted({counts.min(), counts.max()}))
    title += f", {seeds} seed" + "s" * (seeds != "1")
    tests = []
    for row in planned.itertuples():
        p = "below .0001" if row.p_value < 1e-4 else f"= {row.p_value:.4f}".replace("0.", ".")
        tests.append(f"{row.condition} minus {row.against} p {p}")
    return f"{title}; balanced accuracy: {', '.join(tests)}" if tests else title


def _cell(rows: pd.DataFrame) -> tuple[str | None, str]:
    """A value, and what is below it: difference and error."""
    if rows.empty:
        return None, ""
    row, value = rows.iloc[0], None
    factor, digits = (100, 1) if row["measure"] == "accuracy" else (1, 3)
    if pd.notna(row["value"]):
        p_value = row["q_value"] if pd.notna(row["q_value"]) else row["p_value"]
        star = r"\rlap{$^\ast$}" if pd.notna(p_value) and p_value < 0.05 else ""
        value = f"{factor * row['value']:.{digits}f}".replace("-", "$-$") + star
    half = (row["ci_high"] - row["ci_low"]) / 2
    if row["condition"] == Condition.UNIFORM or pd.notna(row["grade"]):
        half = row["spread"]
    error = "" if pd.isna(half) else rf"$\pm${factor * half:.{digits}f}"
    change = "" if pd.isna(row["difference"]) else f"${factor * row['difference']:+.{digits}f}$"
    return value, rf"\scriptsize {change}{error}" if change or error else ""
