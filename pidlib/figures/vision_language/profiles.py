"""Figures of the vision-language experiment: what each model takes from the picture, from the question, and from both together."""

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from pidlib.figures import marks
from pidlib.results import drawable, latex

_SPREAD = 0.84  # share of an atom's place on the axis that the bars of all models take


def fig_profiles(table: pd.DataFrame, *, allow_unconverged: bool = False) -> Figure:
    """Atoms of the models' decisions: bars where the absent modality is resampled, markers where it is masked."""
    table = drawable(table, allow_unconverged=allow_unconverged)
    masked, resampled = (table[table["unimodal"] == mode] for mode in ("masked", "resampled"))
    bars = resampled.assign(bits=resampled["value_bits"])
    return _compare(bars, masked, "bars: absent modality resampled; markers: masked", "null of masked: all noise")


def fig_embeddings(table: pd.DataFrame, *, allow_unconverged: bool = False) -> Figure:
    """Atoms of clustered embeddings about the answer-position state: bars corrected for sampling bias, markers as counted."""
    table = drawable(table, allow_unconverged=allow_unconverged)
    bars = table.assign(bits=table["corrected_bits"])
    plug_in = table.assign(ci_low=np.nan, ci_high=np.nan)  # the interval is that of the corrected value
    return _compare(bars, plug_in, "bars: corrected for bias; markers: plug-in", "null of plug-in: shuffled")


def table_profiles(table: pd.DataFrame) -> str:
    """What to know of each model on each benchmark before its profile is believed: with both modalities and with each alone."""
    measured = [f"${symbol}{alone}$" for symbol in (r"\mathrm{acc}", "H", "f") for alone in ("", "_v", r"_\ell")]
    header = ["benchmark", "model", *measured, "$d_v$", r"$d_\ell$"]
    shown = table.loc[:, "accuracy":"moved_language"]
    names = zip(map(marks.benchmark_name, table["benchmark"]), map(marks.model_name, table["model"]), strict=True)
    rows = [[*(word.replace("_", r"\_") for word in name), *row] for name, row in zip(names, shown.itertuples(index=False), strict=True)]
    return latex(header, rows, align="ll" + "r" * len(shown.columns), digits=2)


def _compare(bars: pd.DataFrame, markers: pd.DataFrame, words: str, null: str) -> Figure:
    """A panel per benchmark, and in it for every atom and model a bar and, beside its middle, a marker with its null."""
    table = pd.concat([bars, markers])
    models = list(table["model"].unique())
    figure, panels = _panels(table, null)
    patch = Patch(facecolor=marks.FAINT, label=words)
    figure.legend(handles=[patch, *marks.model_handles(models)], loc="outside lower center", ncols=1 + len(models))
    width = 0.88 * _SPREAD / len(models)
    for index, model in enumerate(models):
        place = (index - (len(models) - 1) / 2) * _SPREAD / len(models)
        for benchmark, ax in panels.items():
            _bars(ax, bars[(bars["benchmark"] == benchmark) & (bars["model"] == model)], place, width)
            chosen = markers[(markers["benchmark"] == benchmark) & (markers["model"] == model)]
            _markers(ax, chosen, place + 0.22 * width, 0.56 * width, marks.MARKERS[index])
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
        marks.interval(ax, [index + place - 0.22 * width], row["ci_low"], row["ci_high"])


def _markers(ax: Axes, rows: pd.DataFrame, place: float, width: float, marker: str) -> None:
    for index, atom in enumerate(_atoms(rows)):
        row = rows[rows["atom"] == atom]
        marks.null_band(ax, [index + place], row["null_mean"], width)
        marks.interval(ax, [index + place], row["ci_low"], row["ci_high"], linewidth=0.6)
        marks.points(ax, [index + place], row["value_bits"], marker)
