"""Figures of the population: what goes with a need of the picture, and which models are alike."""

import math
from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from pidlib.agreement import KIN, MEASURES, kindred
from pidlib.figures import marks
from pidlib.population import BASELINES, COLLAPSED, GIVEN
from pidlib.ranks import RELIABLE
from pidlib.results import drawable, latex

_SYMBOLS = {"synergy": "$S$", "co_information": "$R-S$", "unique_language": r"$U_\ell$", "total": "$I$", "added_by_vision": "$U_v+S$"}
_SYMBOLS |= {"synergy_without_fallback": r"$S_{\tau=0}$", "divergence": "KL", "moved_language": "moved"}
_SYMBOLS |= {"accuracy": "$a$", "delta_vision": r"$\Delta_v$", GIVEN: r"$\Delta_v\cdot a$"}
_SHOWN = [(name, "delta_vision") for name in ("synergy", "co_information", "unique_language", "total")]
_SHOWN += [("synergy", GIVEN), ("synergy", "accuracy"), ("co_information", "accuracy")]
_BASELINES = [(name, "delta_vision") for name in ("synergy", *BASELINES, "accuracy")]
_MEASURES = {"profile": ("o", "atoms as they are"), "deviation": ("D", "beside the mean model")}  # marker, words

_NARROWEST = 0.5  # bits, so that synergies that hardly differ look so
_ORDER = ["family", "size", "model"]


def table1_sensitivity(table: pd.DataFrame, *, allow_unconverged: bool = False) -> str:
    """Rank correlations of quantities with outcomes: ours with the interval that resamples families, the published ones, baselines.

    A star: false-discovery rate below .05, and the interval that resamples families leaves 0 out. Brackets: more than half of the
    outcome's variance is the chance of the questions. A dagger: on average most picture-alone decisions were made uniform. Under baselines
    stands the interval of the difference from S. Models are taken as independent in what is published.
    """
    table = drawable(table, allow_unconverged=allow_unconverged)
    ours = table[table["grade"].isna()]
    rows = []
    for source, block in table.groupby("source", sort=False):
        printed = "" if block["grade"].isna().all() else (
            f": {block['n_models'].max()} models, grade {block['grade'].iloc[0]}; intervals ours, as if models were independent"
        )  # fmt: skip
        block = _block(f"{source}{printed}", block, _SHOWN, _range)
        block[0][0] = r"\midrule" * bool(rows) + block[0][0]
        rows += block
    header = ["", *(f"{_SYMBOLS[quantity]}, {_SYMBOLS[outcome]}" for quantity, outcome in _BASELINES)]
    rows += [[r"\midrule", *header[1:]]]
    rows += _block(f"{ours['source'].iloc[0]}; in brackets the 95\\,\\% interval of the difference from $S$", ours, _BASELINES, _less)
    return latex(["", *(f"{_SYMBOLS[quantity]}, {_SYMBOLS[outcome]}" for quantity, outcome in _SHOWN)], rows)


def _block(told: str, block: pd.DataFrame, shown: Sequence[tuple[str, str]], below: Callable[..., str]) -> list[list[str | None]]:
    """Rows of one source: benchmark by benchmark the correlations, and something below each."""
    rows = [[rf"\multicolumn{{{len(shown) + 1}}}{{l}}{{\emph{{{told}}}}}"]]
    for name, some in block.assign(benchmark=block["benchmark"].fillna("benchmarks unnamed")).groupby("benchmark", sort=False):
        cells = {(row.quantity, row.outcome): row for row in some.itertuples()}
        found = [cells.get(cell) for cell in shown]
        first = some.iloc[0]
        ours, mean = pd.isna(first["grade"]), name.startswith("mean of")
        dagger = r"$^\dagger$" if not mean and pd.notna(first["fallback"]) and first["fallback"] > COLLAPSED else ""
        title = marks.benchmark_name(name).replace("_", r"\_") + dagger
        rows.append([title, *(row and (_ours if ours else _printed)(row) for row in found)])
        out = sorted({marks.benchmark_name(one) for row in found if row and pd.notna(row.left_out) for one in row.left_out.split(", ")})
        about = f"without {', '.join(out)}" if out else "" if pd.isna(first["kind"]) else first["kind"]
        ranges = [row and below(row) for row in found]
        if ours or any(ranges):
            rows.append([rf"\quad\scriptsize {about}", *(one or "" for one in ranges)])
    return rows


def _ours(row) -> str | None:
    if pd.isna(row.rho):
        return None
    text = f"{round(row.rho, 2) + 0.0:.2f}".replace("-", "$-$")
    text = f"({text})" if pd.notna(row.reliability) and row.reliability < RELIABLE else text
    starred = row.q_value < 0.05 and pd.notna(row.family_low) and row.family_low * row.family_high > 0
    return text + (r"\rlap{$^\ast$}" if starred else "")


def _printed(row) -> str:
    return f"{row.rho:.3f}".replace("-", "$-$") if pd.notna(row.rho) else rf"$|\rho|\le{row.abs_rho_at_most:.3f}$"


def _range(row) -> str:
    return _ends(*((row.ci_low, row.ci_high) if pd.isna(row.family_low) else (row.family_low, row.family_high)))


def _less(row) -> str:
    return _ends(row.less_low, row.less_high)


def _ends(low: float, high: float) -> str:
    return "" if pd.isna(low) else rf"\scriptsize $[{round(low, 2) + 0.0:.2f}, {round(high, 2) + 0.0:.2f}]$"


def fig_sensitivity(table: pd.DataFrame, *, allow_unconverged: bool = False) -> Figure:
    """Accuracy lost without the picture against synergy, a model a marker: its family by shape, its size by shade."""
    table = drawable(table, allow_unconverged=allow_unconverged)
    benchmarks, families, sizes = (list(table[name].dropna().unique()) for name in ("benchmark", "family", "size"))
    columns = min(3, len(benchmarks))
    rows = math.ceil(len(benchmarks) / columns)
    figure = Figure(figsize=(marks.PAGE, 1.45 * rows + 0.7))
    axes = figure.subplots(rows, columns, squeeze=False)
    shades = dict(zip(sizes, ("white", marks.COLORS["synergy"], marks.INK, marks.FAINT), strict=False))
    for ax in axes.flat[len(benchmarks) :]:
        ax.set_axis_off()
    for benchmark, ax in zip(benchmarks, axes.flat, strict=False):
        ax.axhline(0, color=marks.NULL, linewidth=0.8, zorder=0)
        ax.axvline(0, color=marks.NULL, linewidth=0.8, zorder=0)
        for row in table[table["benchmark"] == benchmark].itertuples():
            marks.interval(ax, [row.synergy_bits], [row.delta_low], [row.delta_high], linewidth=0.5, color=marks.FAINT, zorder=1)
            marker = marks.MARKERS[families.index(row.family) % len(marks.MARKERS)]
            marks.points(ax, [row.synergy_bits], [row.delta_vision], marker, color=shades.get(row.size, "white"), alpha=0.85)
        ax.set_title(marks.benchmark_name(benchmark))
        left, right = ax.get_xlim()
        ax.set_xlim(min(left, -_NARROWEST / 20), max(right, _NARROWEST))
    for ax in axes[:, 0]:
        ax.set_ylabel(r"$\Delta_v$, accuracy")
    for ax in axes[-1]:
        ax.set_xlabel("synergy $S$ (bits)")
    handles = [_dot(marker, "white", marks.MODEL_NAMES.get(name, name)) for name, marker in zip(families, marks.MARKERS, strict=False)]
    handles += [Patch(facecolor=shade, edgecolor=marks.INK, linewidth=0.6, label=f"{size} parameters") for size, shade in shades.items()]
    figure.legend(handles=handles, loc="outside lower center", ncols=min(5, len(handles)))
    return figure


def _dot(marker: str, face: str, label: str) -> Line2D:
    return Line2D([], [], linestyle="", marker=marker, color=face, markeredgecolor=marks.INK, markersize=3.8, label=label)


def fig_families(table: pd.DataFrame, *, allow_unconverged: bool = False) -> Figure:
    """How alike the profiles of two models are: every pair in the order of families, and pairs of kin against shuffled labels."""
    table = drawable(table, allow_unconverged=allow_unconverged)
    figure = Figure(figsize=(marks.PAGE, 3.7))
    left, right = figure.subplots(1, 2, width_ratios=(1.2, 1))
    drawn = _heat(left, table[table["kin"].isna()])
    bar = figure.colorbar(drawn, ax=left, location="bottom", shrink=0.9, aspect=35, pad=0.03, ticks=[-1, -0.5, 0, 0.5, 1])
    bar.set_label("below: atoms as they are; above: beside the mean model")
    for at, (measure, some) in enumerate(table.groupby("measure", sort=False)):
        pairs = some[some["kin"].isna()]
        y = np.arange(len(KIN)) + (at - 0.5) * 0.42
        style = {"color": marks.OTHERS[1], "markersize": 3, "markeredgewidth": 0, "zorder": 2}
        for place, alike in zip(y, kindred(pairs).values(), strict=True):
            rho = pairs.loc[alike, "rho"].to_numpy(float, na_value=np.nan)
            right.plot(rho, place + 0.04 * (np.arange(len(rho)) % 7 - 3), ".", **style)
        means = some.dropna(subset="kin").set_index("kin").reindex(KIN)
        mean, low, high = (means[name].to_numpy(float, na_value=np.nan) for name in ("rho", "null_low", "null_high"))
        right.barh(y, high - low, 0.36, low, color=marks.NULL, edgecolor=marks.FAINT, linewidth=0.6, zorder=1)
        right.plot(mean, y, _MEASURES[measure][0], color=marks.INK, markersize=4, zorder=3)
    right.set_yticks(range(len(KIN)), [kin.replace(" and", "\nand").replace(" in", "\nin") for kin in KIN])
    right.set(xlabel=r"rank correlation $\rho$ of two models", xlim=(-1.05, 1.05), ylim=(len(KIN) - 0.5, -0.5))
    right.grid(visible=False)
    right.axvline(0, color=marks.NULL, linewidth=0.8, zorder=0)
    handles = [Line2D([], [], linestyle="", marker=m, color=marks.INK, markersize=4, label=f"mean, {w}") for m, w in _MEASURES.values()]
    dots = Line2D([], [], linestyle="", marker=".", color=marks.OTHERS[1], label="pairs")
    handles += [dots, marks.null_handle("95 % of means, labels shuffled")]
    figure.legend(handles=handles, loc="outside upper center", ncols=4)
    return figure


def _heat(ax: Axes, pairs: pd.DataFrame) -> AxesImage:
    """Models in the order of family, size and name, families ruled off."""
    sides = [pairs[[f"{name}_{side}" for name in _ORDER]].set_axis(_ORDER, axis=1) for side in "ab"]
    models = pd.concat(sides).drop_duplicates("model").sort_values(_ORDER)
    place = {name: index for index, name in enumerate(models["model"])}
    image = np.full((len(models), len(models)), np.nan)
    for row in pairs.itertuples():
        first, second = sorted((place[row.model_a], place[row.model_b]))
        image[(second, first) if row.measure == MEASURES[0] else (first, second)] = np.nan if pd.isna(row.rho) else row.rho
    drawn = ax.imshow(image, cmap="RdBu_r", vmin=-1, vmax=1)
    ends = np.flatnonzero(models["family"].to_numpy()[1:] != models["family"].to_numpy()[:-1]) + 0.5
    ax.hlines(ends, -0.5, len(models) - 0.5, color="white", linewidth=1)
    ax.vlines(ends, -0.5, len(models) - 0.5, color="white", linewidth=1)
    numbers = range(1, len(models) + 1)
    names = [f"{marks.model_name(name)}  {number}" for name, number in zip(models["model"], numbers, strict=True)]
    ax.set_yticks(range(len(names)), names, fontsize=5.5)
    ax.set_xticks(range(len(names)), numbers, fontsize=5)
    ax.grid(visible=False)
    ax.spines[:].set_visible(False)
    ax.tick_params(length=0)
    return drawn
