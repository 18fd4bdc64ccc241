"""What each way to weight training samples does, benchmark by benchmark: the table, and who gains at whose cost."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pidlib.figures import marks
from pidlib.results import drawable, latex
from pidlib.reweighting import CONDITIONS
from pidlib.reweighting_tables import BASE, MEAN, PID, RANDOM, UNIFORM
from pidlib.settings import evaluation_name

_MEASURES = {"synergy": "post $S$, bits", "unique_language": r"post $U_\ell$, bits"}
_GAIN, _LOSE = "synergy-driven", "prior-driven"
_SHORT = {_GAIN: "S", _LOSE: "L", "picture-driven": "V", "redundant": "R"}
_ORDER = ["trained", *_SHORT.values(), ""]


def table3_reweighting(table: pd.DataFrame, *, allow_unconverged: bool = False) -> str:
    """A block for each base and training, a column for each condition; under each value the difference to uniform, +- half its interval.

    Accuracies are in per cent. Above a block stand the p-values of its primary comparisons. A star: p below .05 of these, and of all other
    tests of the table a false-discovery rate below .05. Under the base stands no spread; under published values the +- that was printed,
    and the difference of the published means.
    """
    table = drawable(table, allow_unconverged=allow_unconverged)
    primary = table[table["primary"].fillna(False)]
    table = table[table["against"].isna() | (table["against"] == UNIFORM)]
    letters = [letter for letter in CONDITIONS if letter in set(table["condition"])]
    rows = marks.minis_line(table.loc[table["grade"].isna(), "base"], len(letters) + 1)
    for (base, trained_on), block in table.groupby(["base", "trained_on"], sort=False):
        said = block["grade"].dropna().unique()
        told = f"{marks.model_name(base)}, trained on {marks.benchmark_name(trained_on)}"
        told += f", published (grade {said[0]}), 3 seeds" if len(said) else f", {_seeds(block)}{_primary(primary, base, trained_on)}"
        rule = r"\midrule " * bool(rows)
        rows.append([rf"{rule}\multicolumn{{{len(letters) + 1}}}{{l}}{{\emph{{{_plain(told)}}}}}"])
        ordered = block.assign(own=block["benchmark"].map(_own(trained_on).get)).sort_values(["measure", "own"], kind="stable")
        for (benchmark, measure), some in ordered.groupby(["benchmark", "measure"], sort=False, dropna=False):
            cells = some.set_index("condition", drop=False)
            shown = [cells.loc[letter] if letter in cells.index else None for letter in letters]
            rows.append([_plain(_MEASURES.get(measure) or marks.benchmark_name(benchmark)), *(_value(one) for one in shown)])
            rows.append(["", *(_below(one) for one in shown)])
    headed = [rf"\shortstack[r]{{{letter}\\{CONDITIONS[letter].replace(' ', chr(92) * 2)}}}" for letter in letters]
    return latex(["", *headed], rows)


def _own(trained_on: str) -> dict[str, int]:
    """Places of what was trained on, before all others: its own law, then its balanced questions."""
    return {name: place for place, name in enumerate(dict.fromkeys((trained_on, evaluation_name(trained_on))))}


def _seeds(block: pd.DataFrame) -> str:
    """Of all conditions but the base, which has none."""
    counts = sorted(block.loc[block["condition"] != BASE, "n_seeds"].dropna().unique())
    return " to ".join(dict.fromkeys(f"{one}" for one in (*counts[:1], *counts[-1:]))) + " seed" + "s" * (counts != [1])


def _primary(rows: pd.DataFrame, base: str, trained_on: str) -> str:
    """The p-values of a training, by themselves."""
    rows = rows[(rows["base"] == base) & (rows["trained_on"] == trained_on)].dropna(subset="p_value")
    told = [f"{row.condition} less {row.against} p {_p(row.p_value)}" for row in rows.itertuples()]
    return f"; balanced accuracy: {', '.join(told)}" if told else ""


def _p(value: float) -> str:
    return "below .0001" if value < 1e-4 else f"= {value:.4f}".replace("0.", ".")


def _plain(text: str) -> str:
    return text if "$" in text else text.replace("_", r"\_").replace("%", r"\%")


def _scaled(row: pd.Series) -> tuple[float, int]:
    """The factor and the decimals of a value: per cent, or bits."""
    return (100, 1) if row["measure"] == "accuracy" else (1, 3)


def _value(row: pd.Series | None) -> str | None:
    if row is None or pd.isna(row["value"]):
        return None
    factor, decimals = _scaled(row)
    chance = row["q_value"] if pd.notna(row["q_value"]) else row["p_value"]
    starred = pd.notna(chance) and chance < 0.05
    return f"{factor * row['value']:.{decimals}f}".replace("-", "$-$") + (r"\rlap{$^\ast$}" if starred else "")


def _below(row: pd.Series | None) -> str:
    if row is None:
        return ""
    factor, decimals = _scaled(row)
    half = (
        factor * row["spread"] if row["condition"] == UNIFORM or pd.notna(row["grade"]) else factor * (row["ci_high"] - row["ci_low"]) / 2
    )
    error = "" if pd.isna(half) else rf"$\pm${half:.{decimals}f}"
    moved = "" if pd.isna(row["difference"]) else f"${factor * row['difference']:+.{decimals}f}$"
    return rf"\scriptsize {moved}{error}" if moved or error else ""


def fig_tradeoff(table: pd.DataFrame, *, allow_unconverged: bool = False) -> Figure:
    """Above, the mean difference to uniform on what asks for synergy against that on what asks for language; below, benchmark by benchmark.

    A column for each training, the last for the published means, whose intervals are not known.
    """
    table = drawable(table, allow_unconverged=allow_unconverged)
    table = table[table["against"] == UNIFORM]
    blocks = [block for _, block in table.groupby(["base", "trained_on"], sort=False)]
    names = max(block["benchmark"].nunique() for block in blocks)
    figure = Figure(figsize=(marks.PAGE, 3.3 + 0.16 * names))
    above, below = figure.subfigures(2, 1, height_ratios=(2.3, 1 + 0.16 * names))
    for ax, block in zip(above.subplots(1, len(blocks), squeeze=False)[0], blocks, strict=True):
        _means(ax, block)
    letters = [letter for letter in CONDITIONS if letter in set(table["condition"]) - {BASE}]
    above.supxlabel("synergy-driven: accuracy less that of uniform weights, points", fontsize="medium")
    above.supylabel("prior-driven", fontsize="medium")
    above.legend(handles=marks.condition_handles(letters, CONDITIONS), loc="outside upper center", ncols=4)
    for ax, block in zip(below.subplots(1, len(blocks), squeeze=False)[0], blocks, strict=True):
        _each(ax, block[~block["benchmark"].str.startswith(MEAN)])
    below.supxlabel("accuracy less that of uniform weights, points", fontsize="medium")
    return figure


def _means(ax: Axes, block: pd.DataFrame) -> None:
    cells = block.set_index(["benchmark", "condition"])
    ax.axhline(0, color=marks.FAINT, linewidth=0.6)
    ax.axvline(0, color=marks.FAINT, linewidth=0.6)
    for letter in sorted(set(block["condition"]) - {BASE}):
        places = [(MEAN + kind, letter) for kind in (_GAIN, _LOSE)]
        if all(place in cells.index for place in places):
            (x, left, right), (y, low, high) = (
                100 * cells.loc[place, ["difference", "ci_low", "ci_high"]].to_numpy(float) for place in places
            )
            color, marker = marks.CONDITION_LOOKS[letter]
            ax.hlines(y, left, right, color=marks.INK, linewidth=0.6)
            ax.vlines(x, low, high, color=marks.INK, linewidth=0.6)
            marks.points(ax, [x], [y], marker, color=color, markeredgewidth=0.5)
    ax.margins(0.1)
    ax.set_title(_title(block.iloc[0]))


def _title(row: pd.Series) -> str:
    if pd.notna(row["grade"]):
        return f"{row['base']},\npublished (grade {row['grade']})"
    return f"{marks.model_name(row['base'])},\n{marks.benchmark_name(row['trained_on'])}"


def _each(ax: Axes, block: pd.DataFrame) -> None:
    """Benchmarks under each other, first what was trained on, then by what they ask for: PID and random weights, with intervals."""
    kinds = block.drop_duplicates("benchmark").set_index("benchmark")["kind"].map(_SHORT)
    trained_on = block["trained_on"].iloc[0]
    own = _own(trained_on)
    kinds = kinds.mask(kinds.index.isin(own), "").mask(kinds.index == trained_on, "trained").fillna("")
    names = sorted(kinds.index, key=lambda name: (own.get(name, len(own)), _ORDER.index(kinds[name])))
    places = pd.Series(np.arange(len(names), dtype=float), names)
    for letter, side in ((PID, -0.17), (RANDOM, 0.17)):
        some = block[block["condition"] == letter]
        y = places[some["benchmark"]].to_numpy() + side
        difference, low, high = (100 * some[name].to_numpy(float, na_value=np.nan) for name in ("difference", "ci_low", "ci_high"))
        color, marker = marks.CONDITION_LOOKS[letter]
        ax.hlines(y, low, high, color=marks.INK, linewidth=0.7)
        ax.plot(difference, y, marker, color=color, markeredgecolor=marks.INK, markeredgewidth=0.5, markersize=3.6)
    ax.axvline(0, color=marks.FAINT, linewidth=0.6)
    ax.set_yticks(places, [marks.benchmark_name(name) + f" ({kinds[name]})" * bool(kinds[name]) for name in names], fontsize=6.5)
    ax.set_ylim(len(names) - 0.5, -0.5)
    ax.grid(visible=True, axis="x")
    ax.grid(visible=False, axis="y")
