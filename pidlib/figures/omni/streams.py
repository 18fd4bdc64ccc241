"""Figures of what the streams of a clip are worth: swapped across samples, and what holds synergy of sight and sound down."""

from collections.abc import Sequence
from fractions import Fraction

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from pidlib.figures import marks
from pidlib.results import drawable

_SWAPS = {"video swapped": ("unique_vision", "vision_given_audio"), "sound swapped": ("unique_audio", "audio_given_vision")}
_SYMBOLS = {atom: marks.SYMBOLS[atom] for atom in ("unique_vision", "unique_audio", "synergy")}
_SYMBOLS |= {"vision_given_audio": "$U_v + S$", "audio_given_vision": "$U_a + S$"}
_SCOPES = {  # in the order they are drawn
    "mean within subsets": ("mean within subsets that vary", marks.INK),
    "all models and templates": ("all models and templates", "white"),
    "all models and subsets": ("all models and subsets", marks.FAINT),
}
_SUBSETS = marks.OTHERS[1:]  # the first, orange, is what was published
_VARIED = ("synergy", "unique_vision", "unique_audio")
_DASHED = (0, (4, 2))


def fig_shuffle(table: pd.DataFrame, *, allow_unconverged: bool = False) -> Figure:
    """Above, accuracy lost against what is unique to the swapped stream, and against that with synergy; below, the rank correlations."""
    table = drawable(table, allow_unconverged=allow_unconverged)
    cells = table[table["kind"].isin(("quantity", "drop"))]
    subsets, models = list(cells["benchmark"].unique()), list(cells["model"].unique())
    figure = Figure(figsize=(marks.PAGE, 5.5))
    above, below = figure.subfigures(2, 1, height_ratios=[1, 1.15])
    axes = above.subplots(1, 4, sharey=True)
    pairs = [(swap, quantity) for swap, both in _SWAPS.items() for quantity in both]
    for ax, (swap, quantity) in zip(axes, pairs, strict=True):
        _scatter(ax, cells, swap, quantity, subsets, models)
    axes[0].set_ylabel("accuracy lost")
    colors = [Line2D([], [], color=_SUBSETS[i], linewidth=2.4, label=marks.benchmark_name(name)) for i, name in enumerate(subsets)]
    above.legend(handles=[*colors, *marks.model_handles(models)], loc="outside upper center", ncols=4)
    _foretold(below, table)
    return figure


def _scatter(ax: Axes, cells: pd.DataFrame, swap: str, quantity: str, subsets: Sequence[str], models: Sequence[str]) -> None:
    at = ["benchmark", "model", "template"]
    measured = cells[cells["quantity"] == quantity].set_index(at)
    lost = cells[cells["intervention"] == swap].set_index(at).loc[measured.index]
    for index in measured.index:
        x, y = measured.loc[[index]].iloc[0], lost.loc[[index]].iloc[0]
        color = _SUBSETS[subsets.index(index[0])]
        ax.vlines(x["value"], *_ends(y), color=color, linewidth=0.4, alpha=0.5)
        if not pd.isna(x["ci_low"]):
            ax.hlines(y["value"], *_ends(x), color=color, linewidth=0.4, alpha=0.5)
        marker = marks.MARKERS[models.index(index[1])]
        ax.plot(x["value"], y["value"], marker, color=color, markersize=3, markeredgecolor="white", markeredgewidth=0.3)
    ax.axhline(0, color=marks.INK, linewidth=0.5, zorder=1)
    ax.set_xlabel(f"{_SYMBOLS[quantity]}, bits")
    ax.set_title(swap, pad=3)


def _ends(row: pd.Series) -> tuple[float, float]:
    return tuple(np.nan if pd.isna(row[name]) else float(row[name]) for name in ("ci_low", "ci_high"))


def _foretold(figure: Figure, table: pd.DataFrame) -> None:
    """A panel per stream and in it a row per quantity, a point for each set of cells; the published value as a diamond."""
    found = table[table["kind"] == "correlation"].set_index(["intervention", "benchmark", "quantity"])
    known = table[table["kind"] == "published"].set_index(["intervention", "quantity"])["value"]
    axes = figure.subplots(1, len(_SWAPS), sharey=True)
    places = np.arange(len(_SYMBOLS))
    for ax, swap in zip(axes, _SWAPS, strict=True):
        for side, (scope, (_, face)) in zip((-0.26, 0, 0.26), _SCOPES.items(), strict=True):
            rows = found.reindex(pd.MultiIndex.from_product([[swap], [scope], _SYMBOLS]))
            _correlated(ax, rows, places + side, face)
        for place, quantity in enumerate(_SYMBOLS):
            if (swap, quantity) in known.index:
                ax.plot(known[swap, quantity], place, "D", color=marks.OTHERS[0], markersize=4, zorder=6, clip_on=False)
        ax.axvline(0, color=marks.INK, linewidth=0.6)
        ax.set_xlim(-1.1, 1.1)
        ax.set_xticks([-1, -0.5, 0, 0.5, 1])
        ax.set_title(swap, pad=3)
    axes[0].set_yticks(places, _SYMBOLS.values())
    axes[0].invert_yaxis()
    figure.supxlabel("Spearman's $\\rho$ with the accuracy lost", fontsize="medium")
    handles = [
        Line2D([], [], linestyle="", marker="o", color=face, markeredgecolor=marks.INK, markersize=3.4, label=words)
        for words, face in _SCOPES.values()
    ]
    published = Line2D([], [], linestyle="", marker="D", color=marks.OTHERS[0], markersize=4, label="published [N], pairs unknown")
    null = marks.null_handle("templates and models exchanged, 95 %")
    figure.legend(handles=[*handles, published, null], loc="outside upper center", ncols=3)


def _correlated(ax: Axes, rows: pd.DataFrame, places: np.ndarray, face: str) -> None:
    value, low, high, null_low, null_high = (
        rows[name].to_numpy(float, na_value=np.nan) for name in ("value", "ci_low", "ci_high", "null_low", "null_high")
    )
    ax.barh(places, null_high - null_low, 0.24, left=null_low, color=marks.NULL, linewidth=0, zorder=1)
    ax.hlines(places, low, high, color=marks.INK, linewidth=0.9, zorder=2)
    ax.scatter(value, places, s=11, facecolors=face, edgecolors=marks.INK, linewidths=0.6, zorder=3)


def fig_bottleneck(table: pd.DataFrame, *, allow_unconverged: bool = False) -> Figure:
    """A row a subset: atoms of every training against its share of questions about sound, beside the ideal's.

    Last, by loudness, those in the middle; below it, the shares of right answers.
    """
    table = drawable(table, allow_unconverged=allow_unconverged)
    trained, heard = (table[table["kind"] == kind] for kind in ("training", "salience"))
    changes = table[table["kind"].isin(("effect", "bend"))]
    subsets = list(trained["benchmark"].unique())
    figure = Figure(figsize=(marks.PAGE, 1.9 * max(len(subsets), 2) + 0.9))
    grid = figure.subplots(max(len(subsets), 2), len(_VARIED) + 1, sharey="row", width_ratios=[1] * len(_VARIED) + [1.25])
    for (*axes, _), subset in zip(grid, subsets, strict=False):
        for ax, atom in zip(axes, _VARIED, strict=True):
            rows, change = (some[(some["benchmark"] == subset) & (some["atom"] == atom)] for some in (trained, changes))
            _by_share(ax, rows, change.set_index("kind"))
        axes[0].set_ylabel(f"{marks.benchmark_name(subset)}\nbits")
    loudness, accuracy = grid[0][-1], grid[-1][-1]
    _by_gain(loudness, heard)
    _right(accuracy, trained, subsets)
    words = "share of sound in the questions of audio and visual that a mini is trained on"
    if len(changes):
        least, most = (_fraction(end) for end in (trained["audio_share"].min(), trained["audio_share"].max()))
        words += f"\nrise: of the line, from {least} to {most}; bend: the middle minus the rest; bits, with 95 % intervals over trainings"
    figure.supxlabel(words, fontsize="medium")
    hollow = {"linestyle": "", "color": "white", "markeredgecolor": marks.INK, "markersize": 3.8}
    numbers = sorted(trained["trained_seed"].unique())
    seeds = [Line2D([], [], marker=marks.MARKERS[seed], label=f"seed {seed}", **hollow) for seed in numbers]
    ceiling = Line2D([], [], color=marks.INK, linewidth=0.9, linestyle=_DASHED, label="ideal answerer")
    null = Line2D([], [], color=marks.FAINT, linestyle="", marker="_", markersize=7, label="noise floor")
    figure.legend(handles=[*marks.atom_lines(atoms=_VARIED), *seeds, ceiling, null], loc="outside upper center", ncols=4)
    return figure


def _by_share(ax: Axes, rows: pd.DataFrame, changes: pd.DataFrame) -> None:
    """A point a training; the line of least squares and what it rises by, with the interval over trainings, and the bend, if there are."""
    atom, shares = rows["atom"].iloc[0], rows["audio_share"].to_numpy(float)
    ends, title = np.array([shares.min(), shares.max()]), [marks.SYMBOLS[atom]]
    told = changes[["value_bits", "ci_low", "ci_high"]].astype(float)
    for kind, words in (("effect", "rise"), ("bend", "bend")):
        if kind in told.index:
            title.append("{} {:+.2f} [{:+.2f}, {:+.2f}]".format(words, *told.loc[kind]))
    if "effect" in told.index:
        slope = told.loc["effect", "value_bits"] / np.ptp(ends)
        line = float(rows["value_bits"].mean()) + slope * (ends - shares.mean())
        ax.plot(ends, line, color=marks.COLORS[atom], linewidth=1.2, zorder=2)
    _measured(ax, _dodged(rows), rows)
    _ideal(ax, rows)
    _share_ticks(ax, shares)
    ax.set_title(_minus("\n".join(title)), pad=3)


def _dodged(rows: pd.DataFrame) -> np.ndarray:
    """Shares, those of one seed a little beside those of another."""
    seeds = rows["trained_seed"].to_numpy(float)
    return rows["audio_share"].to_numpy(float) + 0.05 * (seeds - seeds.mean())


def _share_ticks(ax: Axes, shares: np.ndarray) -> None:
    ticks = np.unique(shares)
    ax.set_xticks(ticks, map(_fraction, ticks))
    ax.set_xlim(ticks[0] - 0.15, ticks[-1] + 0.15)


def _right(ax: Axes, trained: pd.DataFrame, subsets: Sequence[str]) -> None:
    """Shares of right answers: of the first subset as small white markers, of the second as larger grey ones below them."""
    for subset, face, size in zip(subsets, ("white", marks.FAINT), (2.2, 5.2), strict=False):
        rows = trained[trained["benchmark"] == subset].drop_duplicates("model")
        for place, value, seed in zip(_dodged(rows), rows["accuracy"], rows["trained_seed"], strict=True):
            marks.points(ax, [place], [value], marks.MARKERS[seed], color=face, markersize=size, zorder=6 - size / 10)
    _share_ticks(ax, trained["audio_share"].to_numpy(float))
    named = [f"{marks.benchmark_name(subset).split(': ')[-1]} {shade}" for subset, shade in zip(subsets, ("white", "grey"), strict=False)]
    ax.set_title(f"share of right answers:\n{', '.join(named)}", pad=3)


def _fraction(share: float) -> str:
    return str(Fraction(share).limit_denominator(99))


def _minus(number: str) -> str:
    return number.replace("-", "\N{MINUS SIGN}")


def _by_gain(ax: Axes, rows: pd.DataFrame) -> None:
    gains, seeds = np.sort(rows["gain"].unique()), np.sort(rows["trained_seed"].unique())
    for atom in _VARIED:
        for seed in seeds:
            line = rows[(rows["atom"] == atom) & (rows["trained_seed"] == seed)].sort_values("gain")
            x = np.arange(len(gains)) + 0.1 * (float(seed) - float(seeds.mean()))
            ax.plot(x, line["value_bits"].to_numpy(float), color=marks.COLORS[atom], linewidth=0.8, zorder=2)
            _measured(ax, x, line)
        _ideal(ax, line, color=marks.COLORS[atom])
    ax.set_xticks(range(len(gains)), ["none" if gain == 0 else f"{gain:g}" for gain in gains])
    ax.set_xlabel("gain of the soundtrack")
    ax.set_title(f"softer sound,\nshare {', '.join(map(_fraction, rows['audio_share'].unique()))}", pad=3)


def _ideal(ax: Axes, rows: pd.DataFrame, color: str = marks.INK) -> None:
    ax.axhline(float(rows["truth_bits"].iloc[0]), color=color, linewidth=0.9, linestyle=_DASHED, zorder=1)


def _measured(ax: Axes, x: np.ndarray, rows: pd.DataFrame) -> None:
    """Points with their intervals and floors, in the colour of their atom and the markers of their seeds."""
    marks.interval(ax, x, rows["ci_low"], rows["ci_high"])
    marks.points(ax, x, rows["null_mean"], "_", color=marks.FAINT, markeredgecolor=marks.FAINT, markersize=7, zorder=3)
    for place, value, seed, atom in zip(x, rows["value_bits"], rows["trained_seed"], rows["atom"], strict=True):
        marks.points(ax, [place], [value], marks.MARKERS[seed], color=marks.COLORS[atom])
