"""Figures of how a profile depends on how it is measured: choices at the level of decisions, and the steps down to codes of embeddings."""

import math

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from pidlib.figures import marks
from pidlib.results import drawable

_KEYS = ["benchmark", "model", "atom"]
_LANES = dict(zip(marks.VISION_LANGUAGE, (-0.3, -0.1, 0.1, 0.3), strict=True))  # of the atoms within the row of a benchmark
_SHOWN = {"synergy": -0.16, "unique_language": 0.16}  # the atoms that the two levels disagree on, and their side of a step


def fig_estimators(table: pd.DataFrame, *, allow_unconverged: bool = False) -> Figure:
    """By how much each atom changes with the estimator, with how one modality alone is asked, and with options in sight: a panel each."""
    table = drawable(table, allow_unconverged=allow_unconverged)
    benchmarks, models = list(table["benchmark"].unique()), list(table["model"].unique())
    figure = Figure(figsize=(marks.PAGE, 0.4 * len(benchmarks) + 1.1))
    axes = figure.subplots(1, 3, sharey=True)
    _rows_of_benchmarks(axes, benchmarks)
    trained = _trained(axes[0], table[table["study"] == "estimator"], benchmarks)
    alone, listed = table[table["study"] == "alone"], table[table["study"] == "options"]
    masked, resampled = (alone[alone["unimodal"] == mode] for mode in ("masked", "resampled"))
    hidden, noise, visible = (listed[listed["source_a"] == key] for key in ("vision", "vision#1", "vision+options"))
    floor = masked.assign(difference=masked["null_mean"])
    _differences(axes[1], _against(masked, resampled), floor, benchmarks, models)
    _differences(axes[2], _against(visible, hidden), _against(noise, hidden), benchmarks, models)
    for ax, title, words in zip(axes, ("estimator", "absent modality", "listed options"), _CHANGES, strict=True):
        ax.set_title(title)
        ax.set_xlabel(f"{words} (bits)")
    atoms, null = marks.atom_points(), marks.null_handle("noise: its floor when masked; another draw of it")
    figure.legend(handles=[*atoms, null], loc="outside upper center", ncols=5, columnspacing=1)
    figure.legend(handles=[*marks.model_handles(models), *trained], loc="outside lower center", ncols=3)
    return figure


_CHANGES = ("BATCH $-$ exact", "masked $-$ resampled", "visible $-$ hidden")


def _rows_of_benchmarks(axes: np.ndarray, benchmarks: list[str]) -> None:
    for ax in axes:
        ax.axvline(0, color=marks.INK, linewidth=0.6, zorder=1)
        ax.hlines(np.arange(len(benchmarks) - 1) + 0.5, 0, 1, color="#e4e4e4", linewidth=0.5, transform=ax.get_yaxis_transform())
        ax.grid(visible=True, axis="x")
        ax.grid(visible=False, axis="y")
        ax.tick_params(axis="y", length=0)
    axes[0].set_yticks(range(len(benchmarks)), [marks.benchmark_name(one) for one in benchmarks])
    axes[0].set_ylim(len(benchmarks) - 0.5, -0.5)


def _against(rows: pd.DataFrame, reference: pd.DataFrame) -> pd.DataFrame:
    """Differences of atoms, with an interval as if the two were independent: half-widths add in quadrature."""
    both = rows.merge(reference, on=_KEYS, suffixes=("", "_before"))
    value, before, low, high, low_before, high_before = (
        both[name].to_numpy(float, na_value=np.nan)
        for name in ("value_bits", "value_bits_before", "ci_low", "ci_high", "ci_low_before", "ci_high_before")
    )
    difference = value - before
    return both[_KEYS].assign(
        difference=difference,
        low=difference - np.hypot(value - low, high_before - before),
        high=difference + np.hypot(high - value, before - low_before),
    )


def _differences(ax: Axes, rows: pd.DataFrame, null: pd.DataFrame, benchmarks: list[str], models: list[str]) -> None:
    shown = [model for model in models if model in set(rows["model"])]
    null = null.set_index(_KEYS)["difference"]
    for row in rows.itertuples():
        beside = (shown.index(row.model) - (len(shown) - 1) / 2) * 0.15 / len(shown)
        place = benchmarks.index(row.benchmark) + _LANES[row.atom] + beside
        width = null.get((row.benchmark, row.model, row.atom), np.nan)
        ax.barh(place, width, 0.15 / len(shown), color=marks.NULL, linewidth=0, zorder=1.5)
        ax.hlines(place, row.low, row.high, color=marks.COLORS[row.atom], linewidth=0.7, zorder=3)
        _point(ax, row.difference, place, row.atom, marks.MARKERS[models.index(row.model)])


def _trained(ax: Axes, rows: pd.DataFrame, benchmarks: list[str]) -> list[Line2D]:
    """BATCH by each training: mean over its seeds, with their range; what each costs stands in the legend."""
    exact, batch = (rows[rows["estimator"] == name] for name in ("exact", "BATCH"))
    if batch.empty:
        return []
    differences = batch.merge(exact[[*_KEYS, "value_bits"]], on=_KEYS, suffixes=("", "_exact"))
    differences["difference"] = differences["value_bits"] - differences["value_bits_exact"]
    handles = []
    for index, ((epochs, size), some) in enumerate(differences.groupby(["epochs", "batch_size"])):
        face = None if index else "white"
        over_seeds = some.groupby(_KEYS, sort=False)["difference"].agg(["mean", "min", "max"]).reset_index()
        for row in over_seeds.itertuples():
            place = benchmarks.index(row.benchmark) + _LANES[row.atom] + (index - 0.5) * 0.09
            ax.hlines(place, row.min, row.max, color=marks.COLORS[row.atom], linewidth=0.7, zorder=3)
            _point(ax, row.mean, place, row.atom, "o", face)
        label = f"BATCH, {epochs} epochs of {size}: {some['ratio'].median():.0f} times exact's CPU"
        handles.append(Line2D([], [], linestyle="", marker="o", color=face or marks.FAINT, markeredgecolor=marks.INK, label=label))
    return handles


def _point(ax: Axes, x: float, y: float, atom: str, marker: str, face: str | None = None) -> None:
    color = marks.COLORS[atom]
    edge = {"markerfacecolor": face or color, "markeredgecolor": color if face else marks.INK, "markeredgewidth": 0.6 if face else 0.3}
    ax.plot([x], [y], marker, markersize=3, zorder=4, clip_on=False, **edge)


def fig_two_levels(table: pd.DataFrame, *, allow_unconverged: bool = False) -> Figure:
    """Synergy and what is unique to language, as shares of the target's entropy, step by step from decisions to codes of states."""
    table = drawable(table, allow_unconverged=allow_unconverged)
    steps, models = _steps(table), list(table["model"].unique())
    bits = table["corrected_bits"].fillna(table["value_bits"])
    table = table.assign(bits=bits)
    for name in ("bits", "ci_low", "ci_high", "null_mean"):
        table[name] = table[name].div(table["target_bits"].where(table["target_bits"] > 0))
    benchmarks = list(table["benchmark"].unique())
    columns = min(3, len(benchmarks))
    rows = math.ceil(len(benchmarks) / columns)
    figure = Figure(figsize=(marks.PAGE, 1.25 * rows + 1.4))
    axes = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True)
    for ax in axes.flat[len(benchmarks) :]:
        ax.set_axis_off()
    for benchmark, ax in zip(benchmarks, axes.flat, strict=False):
        ax.set_title(marks.benchmark_name(benchmark))
        _ladder(ax, table[table["benchmark"] == benchmark], steps, models)
    for ax in axes[-1]:
        ax.set_xticks(range(len(steps)), list(steps), rotation=90)
    for ax in axes[:, 0]:
        ax.set_ylabel("share of $H(Y)$")
    total = Line2D([], [], color=marks.FAINT, linewidth=1, drawstyle="steps-mid", label="all four atoms")
    handles = [*marks.atom_points(list(_SHOWN)), total, marks.null_handle("null"), *marks.model_handles(models)]
    figure.legend(handles=handles, loc="outside upper center", ncols=4 + len(models))
    return figure


def _steps(table: pd.DataFrame) -> dict[str, pd.Series]:
    """Label of each step -> which rows of the table are its, in the order of the path; what is right of it comes last."""
    few, many = sorted(table["n_codes"].dropna().unique())
    asked = {mode: (table["sources"] == "samples") & (table["unimodal"] == mode) for mode in ("masked", "resampled")}
    path = {r"states $\to\hat y$": ("states", "decision", None), r"probe $\to\hat y$": ("probe", "decision", None)}
    path |= {rf"{k} codes $\to\hat y$": ("codes", "decision", k) for k in (few, many)}
    path |= {rf"{k} codes $\to {k}$ of $h$": ("codes", "state", k) for k in (few, many)}
    path |= {rf"states $\to {k}$ of $h$": ("states", "state", k) for k in (few, many)}
    coded = {}
    for label, (sources, target, k) in path.items():
        codes = table["n_codes"].isna() if k is None else table["n_codes"].eq(k).fillna(False)
        coded[label] = (table["sources"] == sources) & (table["target"] == target) & codes
    return {label: chosen for label, chosen in (asked | coded).items() if chosen.any()}


def _ladder(ax: Axes, rows: pd.DataFrame, steps: dict[str, pd.Series], models: list[str]) -> None:
    ax.axhline(0, color=marks.INK, linewidth=0.6, zorder=1)
    ax.tick_params(axis="x", length=0)
    ax.set_xlim(-0.6, len(steps) - 0.4)
    branch = [at for at, label in enumerate(steps) if label.startswith("states") and label.endswith("$h$")]
    if branch:
        ax.axvline(branch[0] - 0.5, color=marks.FAINT, linewidth=0.6)
    for at, chosen in enumerate(steps.values()):
        here = rows[chosen.reindex(rows.index)]
        if here.empty:
            continue
        total = here.groupby("model")["bits"].sum().mean()
        ax.hlines(total, at - 0.42, at + 0.42, color=marks.FAINT, linewidth=1, zorder=2)
        for (index, model), (atom, side) in ((m, a) for m in enumerate(models) for a in _SHOWN.items()):
            row = here[(here["model"] == model) & (here["atom"] == atom)]
            place = [at + side + (index - (len(models) - 1) / 2) * 0.3 / len(models)] * len(row)
            marks.null_band(ax, place, row["null_mean"], 0.3 / len(models))
            marks.interval(ax, place, row["ci_low"], row["ci_high"], color=marks.COLORS[atom])
            marks.points(ax, place, row["bits"], marks.MARKERS[index], color=marks.COLORS[atom], markersize=2.6, markeredgewidth=0.3)
