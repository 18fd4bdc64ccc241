"""Figures of embeddings: what two protocols find beside their nulls, what they recover, and atoms block by block."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from pidlib.figures import marks
from pidlib.figures.vision_language.profiles import panels
from pidlib.results import drawable, latex

_NOISE = "independent labels"
_POOLED = "dataset level"
_FILED = "released, authors' files"
_EXPECTED = {"vision": r"$U_v$ alone", "more vision": r"$U_v>U_\ell$", "both": r"$U_v\approx U_\ell$; $R$, $S$", "synergy": "$S$ above all"}
_EXPECTED |= {"language": r"$U_\ell$ alone", "more language": r"$U_\ell>U_v$"}


def fig_protocol_audit(table: pd.DataFrame, *, allow_unconverged: bool = False) -> Figure:
    """Atoms as either protocol counts them, and the same where there is nothing: a known mixture above, labels and exemplars below."""
    table = drawable(table, allow_unconverged=allow_unconverged)
    noise, models = table[table["protocol"] == _NOISE], table[table["model"].notna()]
    mixed = table[table["model"].isna() & ~table["protocol"].isin([_NOISE, _FILED])]
    protocols, sizes = list(mixed["protocol"].unique()), sorted(mixed["n_codes"].unique())
    figure = Figure(figsize=(marks.PAGE, 1.25 * len(protocols) + 2.5))
    grid = figure.add_gridspec(len(protocols) + 1, 3 * len(sizes), height_ratios=[*(1 for _ in protocols), 1.15])
    first = None
    for row, protocol in enumerate(protocols):
        for column, k in enumerate(sizes):
            ax = first = figure.add_subplot(grid[row, 3 * column : 3 * column + 3], sharex=first)
            _mixture(ax, mixed[(mixed["protocol"] == protocol) & (mixed["n_codes"] == k)])
            ax.set_title(f"{protocol}: {k} codes" if column == 0 else f"{k} codes")
            ax.set_ylabel("bits" if column == 0 else "")
            ax.set_xlabel("samples $N$" if protocol == _POOLED else "positions $L$")
    below = [figure.add_subplot(grid[-1, part * len(sizes) : (part + 1) * len(sizes)]) for part in range(3)]
    _labels(below[0], noise)
    for ax, protocol in zip(below[1:], ("released", _POOLED), strict=True):
        _exemplars(ax, models[models["protocol"] == protocol], table[(table["protocol"] == _FILED) & (protocol != _POOLED)])
        ax.set_title(f"{'released, ' if protocol != _POOLED else _POOLED + ', '}exemplars")
    ours = Line2D([], [], color=marks.INK, marker="o", markersize=2.6, label="as counted")
    null = Line2D([], [], color=marks.INK, linestyle=(0, (1.5, 1.2)), label="its own null")
    said = Line2D([], [], linestyle="", marker="D", color="white", markeredgecolor=marks.INK, markersize=3.4, label="as reported")
    handles = [*marks.atom_handles(), ours, null, marks.null_handle("null of a bar"), said]
    figure.legend(handles=handles, loc="outside upper center", ncols=4)
    return figure


def _mixture(ax: Axes, rows: pd.DataFrame) -> None:
    """Lines of the counted atoms with intervals, dashed those of the null, against the number of observations."""
    for index, (atom, some) in enumerate(rows.groupby("atom", sort=False)):
        n, value, null, corrected, low, high = (
            some[name].to_numpy(float, na_value=np.nan)
            for name in ("n_observations", "value_bits", "null_mean", "corrected_bits", "ci_low", "ci_high")
        )
        at = n * 1.06 ** (index - 1.5)  # side by side
        ax.plot(at, value, marker="o", markersize=2.2, linewidth=1, color=marks.COLORS[atom], zorder=3)
        ax.plot(at, null, linestyle=(0, (1.5, 1.2)), linewidth=0.9, color=marks.COLORS[atom])
        marks.interval(ax, at, value - corrected + low, value - corrected + high, color=marks.COLORS[atom])  # as wide as the corrected's
    ax.set(xscale="log", ylim=(0, None))
    ax.set_xticks(sorted(rows["n_observations"].unique()), [f"{n:g}" for n in sorted(rows["n_observations"].unique())])
    ax.minorticks_off()


def _labels(ax: Axes, rows: pd.DataFrame) -> None:
    """Bars of what labels without relation give, with what was reported beside."""
    sizes = sorted(rows["n_observations"].unique())
    for index, atom in enumerate(marks.VISION_LANGUAGE):
        some = rows[rows["atom"] == atom].sort_values("n_observations")
        ours, said = some[some["grade"].isna()], some[some["grade"].notna()]
        at = np.arange(len(sizes)) + (index - 1.5) * 0.2
        marks.bars(ax, at, ours["value_bits"].astype(float), atom, 0.19)
        marks.interval(ax, at, ours["ci_low"], ours["ci_high"])
        marks.points(ax, at, said["value_bits"], "D", markersize=2.6)
    ax.set_xticks(range(len(sizes)), [f"{n:g}" for n in sizes])
    ax.set(xlabel="observations $N$", ylabel="bits", ylim=(0, None))
    ax.set_title(f"{_NOISE}: at most {rows['n_codes'].max()} codes")


def _exemplars(ax: Axes, rows: pd.DataFrame, filed: pd.DataFrame) -> None:
    """Bars of the mean over the models per benchmark, whiskers from least to greatest, the null as a band; last what was reported."""
    benchmarks = list(rows["benchmark"].unique())
    others = list(filed["benchmark"].unique())
    for index, atom in enumerate(marks.VISION_LANGUAGE):
        some = rows[rows["atom"] == atom].groupby("benchmark", sort=False)
        at, mean = np.arange(len(benchmarks)) + (index - 1.5) * 0.2, some[["value_bits", "null_mean"]].mean()
        marks.bars(ax, at, mean["value_bits"].astype(float), atom, 0.19, hatch="")
        marks.null_band(ax, at, mean["null_mean"], 0.19)
        marks.interval(ax, at, some["value_bits"].min(), some["value_bits"].max(), linewidth=0.6)
        for column, other in enumerate(others, len(benchmarks)):
            said = filed.loc[(filed["atom"] == atom) & (filed["benchmark"] == other), "value_bits"]
            marks.points(ax, [column + (index - 1.5) * 0.2], said, "D", markersize=2.6)
    names = [marks.benchmark_name(name).removeprefix("micro: ") for name in benchmarks] + others
    ax.set_xticks(range(len(names)), names, rotation=55, ha="right", rotation_mode="anchor")
    ax.tick_params(axis="x", length=0, labelsize=6.5)
    ax.set_ylim(0, None)


def table_synthetic(table: pd.DataFrame, *, allow_unconverged: bool = False) -> str:
    r"""Corrected atoms of known mixtures by each protocol, with their intervals; in brackets what does not clear its null."""
    table = drawable(table, allow_unconverged=allow_unconverged)
    header = ["target", "expected", *(marks.SYMBOLS[atom] for atom in marks.VISION_LANGUAGE), "null", "found"]
    rows = []
    for protocol, block in table.groupby("protocol", sort=False):
        told = f"{protocol}: {block['n_samples'].iloc[0]} samples, {block['n_codes'].iloc[0]} codes"
        rows.append([r"\midrule" * bool(rows) + rf"\multicolumn{{{len(header)}}}{{l}}{{\emph{{{told}}}}}"])
        for mixture, some in block.groupby("benchmark", sort=False):
            cells = some.set_index("atom").loc[list(marks.VISION_LANGUAGE)]
            found = "yes" if some["recovered"].iloc[0] else "no"
            shown = [_with_interval(row) for row in cells.itertuples()]
            rows.append([mixture, _EXPECTED[some["expected"].iloc[0]], *shown, float(cells["null_mean"].sum()), found])
    return latex(header, rows, align="ll" + "r" * 5 + "l", digits=2)


def _with_interval(row) -> str | None:
    if pd.isna(row.corrected_bits):
        return None
    value, low, high = (f"{number + 0.0:.2f}".replace("-0.00", "0.00") for number in (row.corrected_bits, row.ci_low, row.ci_high))
    text = f"${value}_{{{low}}}^{{{high}}}$"
    return text if row.null_p <= 0.05 else f"({text})"


def fig_embedding_layers(table: pd.DataFrame, *, allow_unconverged: bool = False) -> Figure:
    """Corrected atoms after each block against its relative depth; a filled marker has cleared its null."""
    table = drawable(table, allow_unconverged=allow_unconverged)
    models = list(table["model"].unique())
    figure, axes = panels(list(table["benchmark"].unique()))
    for benchmark, ax in axes.items():
        for marker, model in zip(marks.MARKERS, models, strict=False):
            rows = table[(table["benchmark"] == benchmark) & (table["model"] == model)]
            for atom in marks.VISION_LANGUAGE:
                _depth(ax, rows[rows["atom"] == atom].sort_values("layer"), atom, marker, models.index(model) - (len(models) - 1) / 2)
        ax.axhline(0, color=marks.INK, linewidth=0.6, zorder=1)
        ax.set_xlim(0, 1.06)
    for ax in list(axes.values())[-3:]:
        ax.set_xlabel("relative depth")
    filled = [
        Line2D([], [], linestyle="", marker="o", markersize=3.4, color=face, markeredgecolor=marks.FAINT, label=words)
        for face, words in ((marks.FAINT, "clears its null"), ("white", "does not"))
    ]
    figure.legend(handles=marks.atom_lines(), loc="outside upper center", ncols=4)
    figure.legend(handles=[*marks.model_handles(models), *filled], loc="outside lower center", ncols=len(models) + 2)
    return figure


def _depth(ax: Axes, rows: pd.DataFrame, atom: str, marker: str, side: float) -> None:
    at = (rows["layer"].to_numpy(float) + 1) / (rows["layer"].max() + 1) + 0.012 * side
    value = rows["corrected_bits"].to_numpy(float, na_value=np.nan)
    clear = (rows["null_p"] <= 0.05).to_numpy(bool, na_value=False)
    ax.plot(at, value, color=marks.COLORS[atom], linewidth=0.9, zorder=2)
    marks.interval(ax, at, rows["ci_low"], rows["ci_high"], color=marks.COLORS[atom], linewidth=0.6)
    for chosen, face in ((clear, marks.COLORS[atom]), (~clear, "white")):
        ax.plot(at[chosen], value[chosen], marker, color=face, markeredgecolor=marks.COLORS[atom], markersize=2.8, zorder=3)
