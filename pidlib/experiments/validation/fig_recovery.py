"""Do the atoms measured on trained models match those of the ideal answerer?

The models' decisions are decomposed by the exact solver and by BATCH, the estimator of Liang et al.
(2023) that trains two networks.
"""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from pidlib.experiments import decision_profiles, style, tables
from pidlib.experiments.extractions import Request
from pidlib.experiments.preset import MODES, Preset
from pidlib.experiments.validation import fig_benchmarks

COLUMNS = tables.ATOMS
# Face color, label and offset within the bar of each estimator's markers.
_ESTIMATORS = {"exact": ("white", "exact solver", -0.17), "BATCH": (style.INK, "BATCH", 0.17)}


def requests(preset: Preset) -> list[Request]:
    """Decisions of the models on the generated benchmarks."""
    return [decision_profiles.request(preset, fig_benchmarks.generated(preset))]


def measure(preset: Preset) -> pd.DataFrame:
    """The truth of each generated benchmark, and the atoms of each model by both estimators."""
    names = fig_benchmarks.generated(preset)
    options = {"benchmarks": names, "estimators": tuple(_ESTIMATORS)}
    measured = decision_profiles.decision_profiles(preset, "validation", **options)
    rows = pd.concat([fig_benchmarks.measure(preset), measured], ignore_index=True)
    return tables.validate(rows, COLUMNS)


def figure(table: pd.DataFrame) -> Figure:
    """A column per benchmark, a row per mode: bars are the truth, markers the measured atoms."""
    names = list(table["benchmark"].unique())
    models = list(table["model"].dropna().unique())
    modes = [mode for mode in MODES if mode in set(table["unimodal"])]
    figure = Figure(figsize=(style.PAGE, 1.35 * len(modes) + 0.6))
    axes = figure.subplots(len(modes), len(names), sharex=True, sharey=True, squeeze=False)
    for mode, row in zip(modes, axes, strict=True):
        for benchmark, ax in zip(names, row, strict=True):
            shown = table[(table["unimodal"] == mode) & (table["benchmark"] == benchmark)]
            _draw_truth(ax, shown[shown["estimator"] == "truth"])
            for marker, model in zip(style.MARKERS, models, strict=False):
                _draw_measured(ax, shown[shown["model"] == model], marker)
            ax.tick_params(axis="x", length=0, pad=4)
        row[0].set_ylabel(f"{mode}\nbits")
    for benchmark, ax in zip(names, axes[0], strict=True):
        ax.set_title(style.benchmark_name(benchmark).removeprefix("micro: "), pad=4)
    axes[0, 0].set_ylim(bottom=0)
    truth = style.handle("truth", linestyle="-", color=style.INK, linewidth=0.9)
    handles = [*style.atom_handles(), truth]
    figure.legend(handles=handles, loc="outside upper center", ncols=5)
    faces = [
        Patch(facecolor=face, edgecolor=style.INK, label=label)
        for face, label, _ in _ESTIMATORS.values()
    ]
    handles = [*style.model_handles(models), *faces]
    figure.legend(handles=handles, loc="outside lower center", ncols=len(models) + 2)
    return figure


def _draw_truth(ax: Axes, rows: pd.DataFrame) -> None:
    ax.set_xticks(range(4), [style.SYMBOLS[atom] for atom in style.VISION_LANGUAGE])
    ax.set_xlim(-0.6, 3.6)
    for index, atom in enumerate(style.VISION_LANGUAGE):
        value = rows.loc[rows["atom"] == atom, "value_bits"]
        style.bars(ax, [index] * len(value), value, atom, 0.8)
        ax.hlines(value, index - 0.4, index + 0.4, color=style.INK, linewidth=0.9, zorder=3)


def _draw_measured(ax: Axes, rows: pd.DataFrame, marker: str) -> None:
    for index, atom in enumerate(style.VISION_LANGUAGE):
        for estimator, (face, _, offset) in _ESTIMATORS.items():
            row = rows[(rows["atom"] == atom) & (rows["estimator"] == estimator)]
            x = [index + offset] * len(row)
            style.interval(ax, x, row["ci_low"], row["ci_high"], linewidth=0.6)
            style.points(ax, x, style.best(row), marker, color=face, markersize=3)
