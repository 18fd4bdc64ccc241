"""What each modality contributes to the states of the population's models: a matrix for the page, and the same as a map."""

import numpy as np
import pandas as pd
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle

from pidlib.figures import marks
from pidlib.results import drawable, latex

_READ = r"per cent with 95\,\% interval; below it $U_v+U_\ell$ in bits, as counted / with the target permuted"
_SCALE = LinearSegmentedColormap.from_list("modalities", [marks.COLORS["unique_vision"], "#f7f7f7", marks.COLORS["unique_language"]])


def table2_contributions(table: pd.DataFrame, *, allow_unconverged: bool = False) -> str:
    r"""C_language in per cent per model and benchmark with its interval, the models' mean, their mean corrected atoms, what was published.

    A dash where the unique information is not seen, so that there is nothing to share. Below each share, of what it is one: U_v + U_l as
    counted, in bits, and the mean of the same where the target is permuted.
    """
    ours, said = _ours(table, allow_unconverged), table[table["grade"].notna()]
    shares = ours[ours["atom"] == "unique_language"]
    benchmarks = list(shares["benchmark"].unique())
    header = ["", *(marks.benchmark_name(name).replace("_", r"\_") for name in benchmarks), "mean"]
    unique = ours[ours["atom"].str.startswith("unique")].groupby(["model", "benchmark"])[["value_bits", "null_mean"]].sum()
    rows = marks.minis_line(shares["model"], len(header))
    rows.append([rf"\multicolumn{{{len(header)}}}{{l}}{{\emph{{{_READ}}}}}"])
    for model, block in shares.groupby("model", sort=False):
        cells = {row.benchmark: row for row in block.itertuples()}
        mean = block["contribution"].mean()
        rows.append([marks.model_name(model).replace("_", r"\_"), *(_percent(cells.get(name)) for name in benchmarks), _whole(mean)])
        rows.append(["", *(_against(unique, (model, name)) for name in benchmarks), ""])
    means = shares.groupby("benchmark", sort=False)["contribution"].mean()
    rows.append([r"\midrule mean", *(_whole(means[name]) for name in benchmarks), _whole(shares["contribution"].mean())])
    for atom in marks.VISION_LANGUAGE:
        bits = ours[ours["atom"] == atom].groupby("benchmark", sort=False)["corrected_bits"].mean()
        low = r"\midrule " if atom == marks.VISION_LANGUAGE[0] else ""
        rows.append([f"{low}{marks.SYMBOLS[atom]}, bits", *(_bits(bits[name]) for name in benchmarks), _bits(bits.mean())])
    for index, text in enumerate([*_printed(said), *_notes(said)]):
        rows.append([r"\midrule " * (index == 0) + rf"\multicolumn{{{len(header)}}}{{l}}{{\emph{{{text}}}}}"])
    return latex(header, rows)


def fig_contributions(table: pd.DataFrame, *, allow_unconverged: bool = False) -> Figure:
    """A map of C_language: models in rows, the most visual first; in italics where the interval reaches one half, hatched where missing.

    Beside the scale what was published: a bar for a range, a tick for a single share, with a legend.
    """
    shares = _ours(table, allow_unconverged)
    shares = shares[shares["atom"] == "unique_language"]
    matrix, low, high = (
        shares.pivot_table(index="model", columns="benchmark", values=name, sort=False, dropna=False).astype(float)
        for name in ("contribution", "contribution_low", "contribution_high")
    )
    order = matrix.mean(axis=1).sort_values(kind="stable").index
    matrix, low, high = (one.loc[order] for one in (matrix, low, high))
    figure = Figure(figsize=(marks.PAGE, 0.19 * max(len(matrix), 5) + 1.0))
    ax = figure.subplots()
    image = ax.pcolormesh(matrix, cmap=_SCALE, vmin=0, vmax=1, edgecolor="white", linewidth=0.8)
    for (row, column), value in np.ndenumerate(matrix.to_numpy()):
        if np.isnan(value):
            ax.add_patch(Rectangle((column, row), 1, 1, facecolor="white", edgecolor=marks.NULL, hatch="/////", linewidth=0))
            continue
        style = "italic" if low.iloc[row, column] <= 0.5 <= high.iloc[row, column] else "normal"
        ink = {"style": style, "color": "white" if value < 0.25 else marks.INK}
        ax.text(column + 0.5, row + 0.5, f"{100 * value:.0f}", ha="center", va="center_baseline", fontsize=6.5, **ink)
    names = [marks.benchmark_name(name) for name in matrix.columns]
    ax.set_xticks(np.arange(len(names)) + 0.5, names, rotation=25, ha="right", rotation_mode="anchor")
    ax.set_yticks(np.arange(len(matrix)) + 0.5, [marks.model_name(model) for model in matrix.index], fontsize=6.5)
    ax.invert_yaxis()
    ax.tick_params(length=0)
    ax.grid(visible=False)
    ax.spines[:].set_visible(False)
    bar = figure.colorbar(image, ax=ax, fraction=0.025, pad=0.03, ticks=[0, 0.25, 0.5, 0.75, 1], label=r"$C_\ell$")
    handles = []
    for row in table[table["grade"].notna() & table["value_bits"].isna()].itertuples():
        ends = [end if row.atom == "unique_language" else 1 - end for end in (row.contribution_low, row.contribution_high) if pd.notna(end)]
        style = {"color": marks.INK, "linewidth": 1.6 if ends else 1, "solid_capstyle": "butt", "clip_on": False}
        place = ([-0.45] * len(ends), ends) if ends else ([-0.8, -0.1], [row.contribution] * 2)
        bar.ax.plot(*place, **style)
        told = f"published {'range' if ends else 'share'}: {_place(row)} (grade {row.grade})"
        handles.append(Line2D([], [], linestyle="", marker="|" if ends else "_", markersize=7, color=marks.INK, label=told))
    figure.legend(handles=handles, loc="outside lower right", ncols=max(len(handles), 1))
    return figure


def _ours(table: pd.DataFrame, allow_unconverged: bool) -> pd.DataFrame:
    return drawable(table[table["grade"].isna()], allow_unconverged=allow_unconverged)


def _percent(row) -> str | None:
    """``71`` with the ends of its interval."""
    if row is None or pd.isna(row.contribution):
        return None
    value, low, high = (_whole(share) for share in (row.contribution, row.contribution_low, row.contribution_high))
    return f"${value}_{{{low}}}^{{{high}}}$"


def _against(unique: pd.DataFrame, place: tuple[str, str]) -> str:
    """``.75 / .02``, small: what is unique, and its null."""
    if place not in unique.index:
        return ""
    return rf"\scriptsize {' / '.join(f'{bits:.2f}' for bits in unique.loc[place])}"


def _whole(share: float) -> str | None:
    return None if pd.isna(share) else f"{100 * share:.0f}"


def _bits(value: float) -> float | None:
    return None if pd.isna(value) else float(value)


def _place(row) -> str:
    return "all models and benchmarks" if row.model == row.benchmark == "all" else f"{row.model}, {row.benchmark}"


def _notes(said: pd.DataFrame) -> list[str]:
    """What there is to know of the published numbers, and of which."""
    noted = said[said["note"].notna()]
    return [f"{', '.join(block['model'].unique())}: {note}" for note, block in noted.groupby("note", sort=False)]


def _printed(said: pd.DataFrame) -> list[str]:
    """A line for each published share and range, and for each published decomposition."""
    lines = []
    for row in said[said["value_bits"].isna()].itertuples():
        ends = [row.contribution] if pd.notna(row.contribution) else [row.contribution_low, row.contribution_high]
        ends = sorted(100 * (1 - end if row.atom == "unique_vision" else end) for end in ends)
        lines.append(f"{_place(row)}: {'--'.join(f'{end:.0f}' for end in ends)} (grade {row.grade})")
    for (model, benchmark), block in said[said["value_bits"].notna()].groupby(["model", "benchmark"], sort=False):
        bits = ", ".join(f"{marks.SYMBOLS[row.atom]} {row.value_bits:.2f}" for row in block.itertuples())
        lines.append(f"{model}, {benchmark}, {block['n_samples'].iloc[0]} samples: {bits} bits (grade {block['grade'].iloc[0]})")
    return lines
