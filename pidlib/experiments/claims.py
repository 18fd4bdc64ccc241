"""The scorecard: each claim of the papers, tested on the result tables of a run.

A row of data/published/claims.csv is a claim: who states it and how well that is known, the table
and rows that test it, one of `STATISTICS` with its unit, and the bound that it must clear.
"""

import math
from collections.abc import Callable, Mapping
from textwrap import fill
from types import ModuleType

import numpy as np
import pandas as pd

from pidlib.experiments import style, words
from pidlib.experiments.population import benchmark_kind
from pidlib.experiments.preset import Preset, load_preset
from pidlib.experiments.tables import declare, notebook_name, published

MOSTLY, RARELY = 0.5, 0.1  # shares of the cells: a claim holds in more, and fails in at most, these
TEST = ["table", "statement"]  # equal in claims that are one test
SUMMED = {"holds": "hold", "fails": "fail", "mixed": "are mixed", "open": "are open"}
SUMMED |= {"untested": "cannot be tested on these models", "not run": "not run"}
BAR = 8.0  # length of the longest bar, of 100
COLORS = {"holds": style.COLORS["unique_vision"], "open": style.FAINT, "fails": style.OTHERS[0]}
RULE = f"""A claim holds (fails) if more than {100 * MOSTLY:.0f} % of its cells do, and at most \
{100 * RARELY:.0f} % do the opposite. It is mixed if more than {100 * RARELY:.0f} % do each, else \
open. A cell is one test: of a model on a benchmark, a training, or all models; its whole 95 % \
interval decides. Bars grow with the logarithm of the number of cells. Values are medians"""
HEADS = "verdict", "cells (hold / open / fail)", "value (range)", "published"
# Bits of an atom and the ends of its interval, and what a difference takes of the other atom.
_ENDS, _PARTS = {"bits": "bits", "ci_low": "ci_high", "ci_high": "ci_low"}, ["value", "low", "high"]
COLUMNS = declare(
    "statement source grade table statistic quantity side bound published",
    "value lowest highest n_cells n_holding n_failing verdict",
    required="statement source grade table statistic n_cells n_holding n_failing verdict",
    statement="string", table="string", side="string", bound="string", published="string",
)  # fmt: skip


def value(rows: pd.DataFrame, quantity: str) -> pd.DataFrame:
    """A column with its interval, that over families of models where there is one."""
    names = quantity.partition("_")[0], "family", "ci"
    name = next(name for name in names if f"{name}_low" in rows)
    return rows[[quantity, f"{name}_low", f"{name}_high"]].set_axis(_PARTS, axis=1)


def points(rows: pd.DataFrame, quantity: str) -> pd.DataFrame:
    """A column of shares with its interval, in points."""
    return 100 * value(rows, quantity)


def excess(rows: pd.DataFrame, quantity: str) -> pd.DataFrame:
    """A column, with its distances from the ends of its null; nothing is below a null without."""
    low, high = rows[quantity] - rows["null_high"], rows[quantity] - rows.get("null_low", 0.0)
    return pd.DataFrame({"value": rows[quantity], "low": low, "high": high})


def atoms(rows: pd.DataFrame, quantity: str) -> pd.DataFrame:
    """A sum or difference of atoms, ``others`` is the largest; its interval is rather too wide."""
    known = [name for name in style.WORDS if name in set(rows["atom"])]
    keys = [name for name in ("benchmark", "model", "template", "layer") if name in rows]
    rows = rows.assign(bits=style.best(rows))
    wide = rows.pivot_table(list(_ENDS), keys, "atom", dropna=False).dropna(how="all")
    first, *words = quantity.split()
    total = {end: wide[end][first] for end in _ENDS}
    for sign, name in zip(words[::2], words[1::2], strict=True):
        names = [name] if name in known else [each for each in known if each != first]
        for end in total:
            column = end if sign == "+" else _ENDS[end]
            total[end] = total[end] + (1 if sign == "+" else -1) * wide[column][names].max(axis=1)
    return pd.DataFrame(total).set_axis(_PARTS, axis=1)


def share(rows: pd.DataFrame, atom: str) -> pd.DataFrame:
    """The share of an atom in the sum of all, between its ends with the others at theirs."""
    keys, rows = ["benchmark", "model"], rows.assign(bits=style.best(rows))
    own = rows[rows["atom"] == atom].set_index(keys)[list(_ENDS)].clip(lower=0)
    rest = rows[rows["atom"] != atom].groupby(keys)[list(_ENDS)].sum().clip(lower=0)
    parts = [own[end] / (own[end] + rest[other]) for end, other in _ENDS.items()]
    return pd.concat(parts, axis=1, keys=_PARTS)


def groups(rows: pd.DataFrame, quantity: str) -> pd.DataFrame:
    """The mean correlation of the benchmarks of one kind minus that of another."""
    means = value(rows, "rho").assign(kind=rows["kind"]).dropna().groupby("kind").mean()
    first, _, second = quantity.split(" ")
    if not {first, second} <= set(means.dropna().index):
        return means.iloc[:0]
    return means.loc[[first]] - means.rename(columns={"low": "high", "high": "low"}).loc[second]


STATISTICS = {each.__name__: each for each in (value, points, excess, atoms, share, groups)}


def cells(claim: Mapping[str, object], table: pd.DataFrame) -> pd.DataFrame:
    """The quantity of a claim in each cell of a table that has an interval, and the verdict."""
    if "kind" not in table and "benchmark" in table:
        table = table.assign(kind=table["benchmark"].map(benchmark_kind, na_action="ignore"))
    rows = table.query(str(claim["rows"]), engine="python") if len(table) else table
    if rows.empty:
        return pd.DataFrame({"value": [], "low": [], "high": [], "verdict": []})
    if claim["statistic"] == "verdicts":  # tested already, by the table's own experiment
        known = rows["verdict"].replace({"against": "fails"})
        rows = value(rows, "value").assign(verdict=known)
        return rows[known.isin(("holds", "open", "fails"))]
    found = STATISTICS[str(claim["statistic"])](rows, str(claim["quantity"])).astype(float).dropna()
    *low, high = map(float, str(claim["bound"]).split())
    low = low[0] if low else -high
    above, below = found["low"] > high, found["high"] < high
    holds, fails = (above, below) if claim["side"] == "above" else (below, above)
    if claim["side"] == "within":
        holds = (found["low"] >= low) & (found["high"] <= high)
        fails = above | (found["high"] < low)
    return found.assign(verdict=np.select([holds, fails], ["holds", "fails"], "open"))


def verdict(found: pd.DataFrame) -> str:
    """The verdict on a claim from those of its cells by the `RULE`; ``untested`` without any."""
    if found.empty:
        return "untested"
    holding, failing = ((found["verdict"] == name).mean() for name in ("holds", "fails"))
    if min(holding, failing) > RARELY:
        return "mixed"
    return "holds" if holding > MOSTLY else "fails" if failing > MOSTLY else "open"


def measure(preset: Preset, notebook: str = "") -> pd.DataFrame:
    """Test all claims, or a notebook's, on a preset's tables; a FileNotFoundError without any."""
    rows, folder = [], preset.table(".").parent
    if not any(folder.rglob("*.csv")):
        raise FileNotFoundError(f"no tables in {folder}; run notebooks first, or `make paper`")
    known = published("claims")
    for claim in known[known["table"].str.startswith(notebook)].to_dict("records"):
        path = preset.table(claim["table"])
        found = cells(claim, pd.read_csv(path) if path.exists() else pd.DataFrame())
        result = verdict(found) if path.exists() else "not run"
        counts = found["verdict"].value_counts()
        numbers = found[_PARTS].astype(float)
        alone = len(found) == 1 and claim["statistic"] != "excess"  # whose ends are distances
        low, high = ("low", "high") if alone else ("value", "value")
        row = {"value": numbers["value"].median(), "n_cells": len(found), "verdict": result}
        row |= {"lowest": numbers[low].min(), "highest": numbers[high].max()}
        row |= {"n_holding": counts.get("holds", 0), "n_failing": counts.get("fails", 0)}
        rows.append(claim | row)
    return pd.DataFrame(rows).drop(columns=["rows", "unit"])


def of(preset: Preset, module: ModuleType) -> "pd.io.formats.style.Styler":
    """The claims that a notebook tests, with their cells; for other models, also that on minis."""
    table, every = measure(preset, notebook_name(module)), published("claims")["statement"]
    minis = measure(load_preset("offline"), notebook_name(module)) if preset.experiment else table
    heads = every.mask(every.str.startswith("…")).ffill().str.partition(":")[0]
    whole = {text: text.replace("…", f"{head}:") for text, head in zip(every, heads, strict=True)}
    table["statement"] = table["statement"].map(whole)
    left = table["n_cells"] - table["n_holding"] - table["n_failing"]
    counts = zip(table["n_holding"], left, table["n_failing"], strict=True)
    table["holds / open / fails"] = [" / ".join(map(str, each)) for each in counts]
    table["value (range)"] = [_numbers(row) for row in table.to_dict("records")]
    shown = ["statement", "verdict", "holds / open / fails", "value (range)", "published", "grade"]
    if preset.experiment:
        table, shown[2:2] = table.assign(minis=minis["verdict"]), ["minis"]
    return table[shown].style.hide().format(na_rep="")


def summary(table: pd.DataFrame) -> str:
    """The number of tests of each verdict, in a sentence; equal claims of two papers are one."""
    tests = table.drop_duplicates(TEST)
    counts = dict.fromkeys(list(SUMMED)[:5], 0) | tests["verdict"].value_counts().to_dict()
    *first, last = (f"{n} {SUMMED[name]}" for name, n in counts.items())
    return f"Of {len(tests)} distinct tests of {len(table)} claims, {', '.join(first)}, and {last}."


def figure(table: pd.DataFrame) -> style.Figure:
    """The scorecard: a line for each claim, with its cells, our value and the published one."""
    return _scorecard(table, style.page, 90, (48.5, 54.5, 72.5, 92))


def column(table: pd.DataFrame) -> style.Figure:
    """The scorecard without ranges and published values."""
    return _scorecard(table, style.column, 44, (57, 70, 81))


def _scorecard(table: pd.DataFrame, sized: Callable, width: int, x: style.Numbers) -> style.Figure:
    """Lines of `width` letters; at x verdict, bar, value and, of four, counts and published one."""
    units = published("claims").drop_duplicates(TEST).set_index(TEST)["unit"]
    rows = table.join(units, on=TEST).fillna({"unit": "{}", "published": ""})
    rows["statement"] = [fill(text, width) for text in table["statement"]]
    more = 0.55 * rows["statement"].str.count("\n").to_numpy(float)
    is_first = ~table["source"].duplicated().to_numpy(bool)
    places = np.arange(len(table)) + 1.4 * is_first.cumsum() + more.cumsum() - more / 2
    whole = len(x) > 3
    rule = RULE + ", with the range of the cells, or the interval of one alone" * whole + "."
    title, rule = fill(summary(table), round(1.3 * width)), fill(rule, 2 * width)
    figure = sized(0.175 * places[-1] + 0.13 * (title + rule).count("\n") + 0.9)
    handles = [style.swatch(f"cells that {SUMMED[name]}", fc=COLORS[name]) for name in COLORS]
    figure.legend(handles=handles, loc="outside upper left", ncols=3)
    figure.supxlabel(rule, x=0.01, ha="left", fontsize=6.5)
    ax = figure.subplots()
    ax.set(xlim=(0, 100), ylim=(places[-1] + 0.8, -0.8))
    ax.set_title(title, fontweight="bold", fontsize=8)
    ax.axis("off")
    look = {"fontsize": 6.5, "va": "center"}
    heads = HEADS if whole else [text.partition(" ")[0] for text in HEADS]
    for place, text in zip(x, heads, strict=False):
        ax.text(place, 0, text, style="italic", **look)
    longest = math.log2(2 * max(rows["n_cells"].max(), 1))
    for y, first, row in zip(places, is_first, rows.to_dict("records"), strict=True):
        if first:
            ax.text(0, y - 1, row["source"], fontsize=7.5, fontweight="bold", va="center")
        color = COLORS.get(row["verdict"], style.INK)
        ax.text(1, y, row["statement"], linespacing=1, **look)
        ax.text(x[0], y, row["verdict"], color=color, fontweight="bold", **look)
        if n := row["n_cells"]:
            counts = row["n_holding"], n - row["n_holding"] - row["n_failing"], row["n_failing"]
            ends = BAR * math.log2(2 * n) / longest * np.cumsum([0, *counts]) / n
            ax.barh(y, np.diff(ends), 0.6, x[1] + ends[:-1], color=[*COLORS.values()], linewidth=0)
            ax.text(x[2], y, _numbers(row, whole), **look)
            ax.text(x[1] + BAR + 0.5, y, " / ".join(map(str, counts)) * whole, **look)
        if whole:
            ax.text(x[3], y, row["published"].replace("rho", "ρ"), **look)
    return figure


def _numbers(claim: Mapping[str, object], whole: bool = True) -> str:
    """The median over the cells, with its unit if known, and the range, or the interval of one."""
    if not claim["n_cells"]:
        return ""
    unit, known = str(claim.get("unit", "{}")), ("value", "lowest", "highest")
    middle, *ends = (words.number(claim[name], 1 if "points" in unit else 2) for name in known)
    shown = f" ({' to '.join(ends)})" * (whole and claim["lowest"] < claim["highest"])
    return unit.format(middle) + shown
