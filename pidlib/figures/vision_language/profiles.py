"""Figures of the vision-language experiment: what each model takes from the picture, from the question, and from both together."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from pidlib.figures import marks
from pidlib.population import DRIVEN, driven
from pidlib.results import drawable, latex
from pidlib.schemas import DIAGNOSED

_SPREAD = 0.84  # share of an atom's place on the axis that all models take
_KINDS = [*DRIVEN.values(), None]  # the order of the panels


def fig_profiles(table: pd.DataFrame, *, allow_unconverged: bool = False) -> Figure:
    """Atoms of the models' decisions: bars where the absent modality is resampled, markers where it is masked; benchmarks by their kind."""
    table = drawable(table, allow_unconverged=allow_unconverged)
    kinds = {name: driven(name) for name in table["benchmark"].unique()}
    order = sorted(kinds, key=lambda name: _KINDS.index(kinds[name]))
    table = table.sort_values("benchmark", key=lambda names: names.map(order.index), kind="stable")
    masked, resampled = (table[table["unimodal"] == mode] for mode in ("masked", "resampled"))
    bars = resampled.assign(bits=resampled["value_bits"])
    figure = _compare(bars, masked, "bars: absent modality resampled; markers: masked", "null of masked: all noise")
    for name, ax in zip(order, figure.axes, strict=False):
        ax.set_title(f"{marks.benchmark_name(name)} ({kinds[name] or 'kind not known'})")
    return figure


def fig_embeddings(table: pd.DataFrame, *, allow_unconverged: bool = False) -> Figure:
    """Atoms of clustered embeddings about the answer-position state: bars corrected for sampling bias, markers as counted."""
    table = drawable(table, allow_unconverged=allow_unconverged)
    bars = table.assign(bits=table["corrected_bits"])
    plug_in = table.assign(ci_low=np.nan, ci_high=np.nan)  # the interval is that of the corrected value
    return _compare(bars, plug_in, "bars: corrected for bias; markers: plug-in", "null of plug-in: shuffled")


def table_profiles(table: pd.DataFrame, *, allow_unconverged: bool = False) -> str:
    """Atoms with intervals and what they come to where there is nothing; below, what to know before a profile is believed."""
    table = drawable(table, allow_unconverged=allow_unconverged)
    pairs = zip(map(marks.benchmark_name, table["benchmark"]), map(marks.model_name, table["model"]), strict=True)
    names = [[word.replace("_", r"\_") for word in pair] for pair in pairs]
    header = ["benchmark", "model", *(marks.SYMBOLS[atom] for atom in marks.VISION_LANGUAGE)]
    rows = marks.minis_line(table["model"], len(header))
    for mode, null in (("masked", "noise floor"), ("resampled", "mean of dealt answers")):
        told = f"{mode}: bits with 95\\,\\% interval; after the slash the {null}"
        rows.append([r"\midrule" * bool(rows) + rf"\multicolumn{{{len(header)}}}{{l}}{{\emph{{{told}}}}}"])
        shown = [[_bits(row, f"{mode}_{atom}") for atom in marks.VISION_LANGUAGE] for row in table.to_dict("records")]
        rows += [[*name, *cells] for name, cells in zip(names, shown, strict=True)]
    measured = [f"${symbol}{alone}$" for symbol in (r"\mathrm{acc}", "H", "f") for alone in ("", "_v", r"_\ell")]
    checks = [[*name, *row] for name, row in zip(names, table[DIAGNOSED].itertuples(index=False), strict=True)]
    below = latex(["benchmark", "model", *measured, "$d_v$", r"$d_\ell$"], checks, align="ll" + "r" * len(DIAGNOSED), digits=2)
    return latex(header, rows, align="ll" + "r" * len(marks.VISION_LANGUAGE)) + "\n\\medskip\n\n" + below


def _bits(row: Mapping[str, float], name: str) -> str | None:
    """The value with its interval, a slash, and its null where it has one."""
    value, low, high, null = (row[f"{name}_{what}"] for what in ("bits", "low", "high", "null"))
    if pd.isna(value):
        return None
    value, low, high, null = ("" if pd.isna(one) else f"{one:.2f}".replace("-0.00", "0.00") for one in (value, low, high, null))
    return f"${value}_{{{low}}}^{{{high}}}" + (f" / {null}$" if null else "$")


def _compare(bars: pd.DataFrame, markers: pd.DataFrame, words: str, null: str) -> Figure:
    """A panel per benchmark, and in it for every atom and model a bar and, beside it, a marker with its null."""
    table = pd.concat([bars, markers])
    models = list(table["model"].unique())
    figure, panels = _panels(table, null)
    patch = Patch(facecolor=marks.FAINT, label=words)
    figure.legend(handles=[patch, *marks.model_handles(models)], loc="outside lower center", ncols=1 + len(models))
    width = 0.88 * _SPREAD / len(models)
    for index, model in enumerate(models):
        place = (index - (len(models) - 1) / 2) * _SPREAD / len(models)
        for benchmark, ax in panels.items():
            _bars(ax, bars[(bars["benchmark"] == benchmark) & (bars["model"] == model)], place - 0.24 * width, 0.5 * width)
            chosen = markers[(markers["benchmark"] == benchmark) & (markers["model"] == model)]
            _markers(ax, chosen, place + 0.26 * width, 0.46 * width, marks.MARKERS[index])
    return figure


def _panels(table: pd.DataFrame, null: str) -> tuple[Figure, dict[str, Axes]]:
    """A panel for each benchmark in the order of the table under one legend, with a place for each atom."""
    figure, axes = panels(list(table["benchmark"].unique()))
    atoms = _atoms(table)
    for ax in axes.values():
        ax.set_xticks(range(len(atoms)), [marks.SYMBOLS[atom] for atom in atoms])
        ax.tick_params(axis="x", length=0, pad=5)
        ax.set_xlim(-0.55, len(atoms) - 0.45)
        ax.axhline(0, color=marks.INK, linewidth=0.6, zorder=2.7)
    figure.legend(handles=[*marks.atom_handles(atoms), marks.null_handle(null)], loc="outside upper center", ncols=len(atoms) + 1)
    return figure, axes


def panels(benchmarks: Sequence[str]) -> tuple[Figure, dict[str, Axes]]:
    """A panel for each benchmark, three in a row."""
    columns = min(3, len(benchmarks))
    rows = math.ceil(len(benchmarks) / columns)
    figure = Figure(figsize=(marks.PAGE, 1.3 * rows + 0.5))
    axes = figure.subplots(rows, columns, squeeze=False)
    for ax in axes.flat[len(benchmarks) :]:
        ax.set_axis_off()
    for benchmark, ax in zip(benchmarks, axes.flat, strict=False):
        ax.set_title(marks.benchmark_name(benchmark))
    for ax in axes[:, 0]:
        ax.set_ylabel("bits")
    return figure, dict(zip(benchmarks, axes.flat, strict=False))


def _atoms(table: pd.DataFrame) -> list[str]:
    return [atom for atom in marks.SYMBOLS if atom in set(table["atom"])]


def _bars(ax: Axes, rows: pd.DataFrame, place: float, width: float) -> None:
    for index, atom in enumerate(_atoms(rows)):
        row = rows[rows["atom"] == atom]
        marks.bars(ax, [index + place], row["bits"], atom, width)
        marks.interval(ax, [index + place], row["ci_low"], row["ci_high"])


def _markers(ax: Axes, rows: pd.DataFrame, place: float, width: float, marker: str) -> None:
    for index, atom in enumerate(_atoms(rows)):
        row = rows[rows["atom"] == atom]
        marks.null_band(ax, [index + place], row["null_mean"], width)
        marks.interval(ax, [index + place], row["ci_low"], row["ci_high"], linewidth=0.6)
        marks.points(ax, [index + place], row["value_bits"], marker)
