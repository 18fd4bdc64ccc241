"""Figures and table of Sensory PID: what models take from sight and sound where the text is known, and whether it is measured right."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from pidlib.figures import marks
from pidlib.results import drawable, latex

_PRINTED = ("unique_vision", "unique_audio", "synergy", "redundancy")  # in the order of the paper's table
_REFERENCES = {"sample": "$R_s$", "template": "$R_c$", "marginal": "$R_m$"}
_ACCURACIES = {"accuracy": r"$\mathrm{acc}$", "accuracy_vision": "$_v$", "accuracy_audio": "$_a$", "accuracy_text": "$_0$"}
_GIVEN = {"question": "given the question", "template": "given the template", "none": "question ignored"}
_PLACES = (*marks.SENSORY, "total")
_TELLING = 1e-3  # bits; differences below it are the solver's
_SPREAD = 0.84  # share of an atom's place on the axis that the bars of all models take
_TAUGHT = "all minis but plain had a fifth of each stream as noise in training, so that masking asks them something they know"


def table2_sensory(table: pd.DataFrame, *, allow_unconverged: bool = False) -> str:
    r"""Sensory atoms in bits per subset and model, redundancy under three more references, accuracies in per cent, and the paper's table.

    Half the interval's width is behind each value; in italics where the interval reaches the noise floor.
    """
    table = drawable(table, allow_unconverged=allow_unconverged)
    header = ["", "model", *(marks.SYMBOLS[atom] for atom in _PRINTED), *_REFERENCES.values(), *_ACCURACIES.values()]
    ours, said = table[table["grade"].isna()], table[table["grade"].notna()]
    rows = marks.minis_line(ours["model"], len(header))
    rows += [[rf"\multicolumn{{{len(header)}}}{{l}}{{\emph{{{_TAUGHT}}}}}"]] if rows else []
    for (given, benchmark), subset in ours.groupby(["given", "benchmark"], sort=False):
        name = r"\midrule " * bool(rows) + _plain(marks.benchmark_name(benchmark)) + ", given the template" * (given == "template")
        for model, block in subset.groupby("model", sort=False):
            cells = block.set_index(["reference", "atom"])
            own = [_measured(cells, given, atom) for atom in _PRINTED]
            others = [_measured(cells, one, "redundancy") for one in _REFERENCES]
            rows.append([name, _plain(marks.model_name(model)), *own, *others, *_per_cent(block)])
            name = ""
    for index, (model, block) in enumerate(said.groupby("model", sort=False)):
        bits = block.set_index("atom")["value_bits"]
        printed = [f"{bits[atom]:.3f}" if atom == "redundancy" else f"{bits[atom]:.2f}" for atom in _PRINTED]
        words = rf"\midrule {block['benchmark'].iloc[0]}, published (grade {block['grade'].iloc[0]})" if index == 0 else ""
        rows.append([words, model, *printed, *[None] * len(_REFERENCES), *_per_cent(block)])
    return latex(header, rows, align="ll" + "r" * (len(header) - 2))


def _plain(text: str) -> str:
    return text.replace("_", r"\_")


def _measured(cells: pd.DataFrame, reference: str, atom: str) -> str | None:
    if (reference, atom) not in cells.index:
        return None
    row = cells.loc[(reference, atom)]
    text = f"{round(row['value_bits'], 2) + 0.0:.2f}".replace("-", "$-$") + rf"\,{{\tiny$\pm${(row['ci_high'] - row['ci_low']) / 2:.2f}}}"
    return rf"\emph{{{text}}}" if row["ci_low"] <= row["null_mean"] + _TELLING else text


def _per_cent(block: pd.DataFrame) -> list[str | None]:
    values = [block[name].iloc[0] for name in _ACCURACIES]
    return [None if pd.isna(value) else f"{100 * value:.1f}" for value in values]


def fig2_sensory(table: pd.DataFrame, *, allow_unconverged: bool = False) -> Figure:
    """The conditional decomposition: a panel per subset, bars of the four parts and of their sum for every mini; last, what was printed."""
    table = drawable(table, allow_unconverged=allow_unconverged)
    ours, said = table[table["grade"].isna()], table[table["grade"].notna()]
    subsets = list(ours["benchmark"].unique())
    columns = 3
    rows = -(-(len(subsets) + 1) // columns)
    figure = Figure(figsize=(marks.PAGE, 1.45 * rows + 0.75))
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for ax in axes[len(subsets) + 1 :]:
        ax.set_axis_off()
    for ax, subset in zip(axes, subsets, strict=False):
        ax.sharey(axes[0])  # before anything is drawn: all that follows then widens the range of all
        _bars(ax, ours[ours["benchmark"] == subset], list(ours["model"].unique()))
        ax.set_title(marks.benchmark_name(subset), pad=3)
    _bars(axes[len(subsets)], said, list(said["model"].unique()), alpha=0.55)
    axes[len(subsets)].set_title(f"MUSIC-AVQA, published ({said['grade'].iloc[0]})", pad=3)
    for ax in axes[: len(subsets) + 1 : columns]:
        ax.set_ylabel("bits")
    whole = Patch(facecolor=marks.FAINT, label=r"$I(Y; V, A\,|\,T)$, their sum")
    figure.legend(
        handles=[*marks.atom_handles(marks.SENSORY), whole, marks.null_handle("noise floor")], loc="outside upper center", ncols=6
    )
    below = [*_numbered(list(ours["model"].unique()), "minis"), *_numbered(list(said["model"].unique()), "published")]
    figure.legend(handles=below, loc="outside lower center", ncols=1, **_taught(list(ours["model"])))
    return figure


def _numbered(models: list[str], kind: str) -> list[Line2D]:
    """What the bars of a place are, from left to right."""
    return [Line2D([], [], linestyle="", label=f"{kind}, left to right: " + "; ".join(marks.model_name(model) for model in models))]


def _taught(models: list[str]) -> dict[str, object]:
    """The title of a legend that says what minis were shown in training, where there are any."""
    return {"title": _TAUGHT, "title_fontsize": 6.5} if marks.minis_line(models, 1) else {}


def _bars(ax: Axes, rows: pd.DataFrame, models: list[str], **style: float) -> None:
    width = _SPREAD / len(models)
    for index, model in enumerate(models):
        here = rows[rows["model"] == model].set_index("atom")
        for place, atom in enumerate(_PLACES):
            if atom not in here.index:
                continue
            row, x = here.loc[[atom]], [place + (index - (len(models) - 1) / 2) * width]
            if atom == "total":
                ax.bar(x, row["value_bits"].to_numpy(float), 0.88 * width, color=marks.FAINT, linewidth=0)
            else:
                marks.bars(ax, x, row["value_bits"].to_numpy(float), atom, 0.88 * width, **style)
            marks.null_band(ax, x, row["null_mean"], 0.88 * width)
            marks.interval(ax, x, row["ci_low"], row["ci_high"])
    shown = [atom for atom in _PLACES if atom in set(rows["atom"])]
    ax.set_xticks(range(len(shown)), ["$I$" if atom == "total" else marks.SYMBOLS[atom] for atom in shown])
    ax.tick_params(axis="x", length=0, pad=4)
    ax.set_xlim(-0.55, len(_PLACES) - 0.45)
    ax.axhline(0, color=marks.INK, linewidth=0.6, zorder=2.7)


def fig_recovery(table: pd.DataFrame, *, allow_unconverged: bool = False) -> Figure:
    """Atoms measured on the minis per template: bars are the truth given the question, ticks what a row's estimate would make of it."""
    table = drawable(table, allow_unconverged=allow_unconverged)
    truth, measured = table[table["estimator"] == "truth"], table[table["estimator"] == "exact"]
    templates, models = list(truth["template"].unique()), list(measured["model"].unique())
    figure = Figure(figsize=(marks.PAGE, 1.15 * len(_GIVEN) + 1))
    axes = figure.subplots(len(_GIVEN), len(templates), sharex=True, sharey="row", squeeze=False)
    for line, given in zip(axes, _GIVEN, strict=True):
        for ax, template in zip(line, templates, strict=True):
            ideal = truth[truth["template"] == template].set_index(["given", "atom"])["value_bits"]
            _truth(ax, ideal["question"], ideal[given])
            here = measured[(measured["template"] == template) & (measured["given"] == given)]
            for index, model in enumerate(models):
                _points(ax, here[here["model"] == model], (index - (len(models) - 1) / 2) * 0.26, marks.MARKERS[index])
        line[0].set_ylabel(f"{_GIVEN[given]}\nbits", fontsize=6.5)
    for ax, template in zip(axes[0], templates, strict=True):
        ax.set_title(template.replace("_", "\n"), fontsize=6.5, pad=3, linespacing=1)
    tick = Line2D([], [], color=marks.OTHERS[0], linewidth=1.4, label="an ideal answerer, so estimated")
    figure.legend(handles=[*marks.atom_handles(marks.SENSORY), tick], loc="outside upper center", ncols=5)
    floor = marks.null_handle("noise floor")
    figure.legend(handles=[*marks.model_handles(models), floor], loc="outside lower center", ncols=3, **_taught(models))
    return figure


def _truth(ax: Axes, right: pd.Series, so: pd.Series) -> None:
    for index, atom in enumerate(marks.SENSORY):
        marks.bars(ax, [index], [right[atom]], atom, 0.84, alpha=0.6)
        ax.hlines(so[atom], index - 0.46, index + 0.46, color=marks.OTHERS[0], linewidth=1.4, zorder=3)
    ax.set_xticks(range(4), [marks.SYMBOLS[atom] for atom in marks.SENSORY], fontsize=6)
    ax.set_xlim(-0.6, 3.6)
    ax.tick_params(axis="x", length=0, pad=3)


def _points(ax: Axes, rows: pd.DataFrame, side: float, marker: str) -> None:
    rows = rows.set_index("atom").reindex(list(marks.SENSORY))
    places = np.arange(4) + side
    marks.null_band(ax, places, rows["null_mean"], 0.2)
    marks.interval(ax, places, rows["ci_low"], rows["ci_high"], linewidth=0.5)
    marks.points(ax, places, rows["value_bits"], marker, markersize=2.4, markeredgewidth=0.5)
