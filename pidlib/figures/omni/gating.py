"""Figures of Sensory atoms by depth, with the claims that were tested: the gate, and visual saturation."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from pidlib.benchmarks.micro_av import NAMED
from pidlib.figures import marks
from pidlib.figures.vision_language.depth import claims, stages, trajectories
from pidlib.gating import half_depth
from pidlib.results import drawable

_SATURATION = {
    "vision_lead": "$h(S) - h(U_v)$",
    "vision_middle": r"$\Delta_{\mathrm{mid}} U_v/\max U_v - \Delta_{\mathrm{mid}}$",
    "vision_levels_off": r"$U_v'(\mathrm{mid}) - U_v'(\mathrm{late})$",
    "synergy_late": "$1 - S_{.8}/S$",
}
_GATE = {
    "later_than_before": r"$\Delta S(\mathrm{late}) - \Delta S(\mathrm{before})$",
    "vision_parts": r"$|\Delta U_v|(\mathrm{before})$",
    "audio_parts": r"$|\Delta U_a|(\mathrm{before})$",
}
_NEEDS = {"both": ("which way does the sounding one move?", "-"), "vision": ("which way does the red (or blue) one move?", (0, (3, 1.5)))}
_HALF = (0, (4, 2))
_GATED = ("synergy", "unique_vision", "unique_audio")


def fig_layers(table: pd.DataFrame, *, allow_unconverged: bool = False) -> Figure:
    """Sensory atoms against relative depth, a panel per model; marks above where vision and synergy reach half of their most."""
    table = drawable(table, allow_unconverged=allow_unconverged)
    models = list(table["model"].unique())
    figure = Figure(figsize=(marks.PAGE, 2.7))
    axes = figure.subplots(1, len(models), sharey=True, squeeze=False)[0]
    for ax, model in zip(axes, models, strict=True):
        rows = table[table["model"] == model]
        stages(ax)
        trajectories(ax, rows, marks.SENSORY)
        _halves(ax, {atom: rows[rows["atom"] == atom].sort_values("layer") for atom in ("unique_vision", "synergy")})
        ax.set_title(marks.model_name(model).replace(", ", ",\n"), pad=10)  # above the marks
    axes[0].set_ylabel("bits")
    figure.supxlabel("relative depth of the block", fontsize="medium")
    half = Line2D([], [], linestyle=_HALF, linewidth=0.8, marker=7, color=marks.INK, markersize=5, label="half of the most $U_v$ or $S$")
    figure.legend(handles=[*marks.atom_lines(marks.MARKERS, marks.SENSORY), *_shared_handles(), half], loc="outside upper center", ncols=4)
    return figure


def table_layers(table: pd.DataFrame, *, allow_unconverged: bool = False) -> str:
    """The statistics of visual saturation."""
    return claims(table, _SATURATION, allow_unconverged=allow_unconverged)


def fig_gate(table: pd.DataFrame, *, allow_unconverged: bool = False) -> Figure:
    """Synergy and unique parts against relative depth: a row per model, a column per atom; solid with need for fusion, dashed without.

    The shares of right answers to both questions are written into the first panel of a row, of that without need by what it names.
    """
    table = drawable(table, allow_unconverged=allow_unconverged)
    models = list(table["model"].unique())
    figure = Figure(figsize=(marks.PAGE, 1.3 * len(models) + 0.8))
    axes = figure.subplots(len(models), len(_GATED), sharex=True, sharey=True, squeeze=False)
    for row, model in zip(axes, models, strict=True):
        for ax, atom in zip(row, _GATED, strict=True):
            stages(ax)
            for needs, (_, dashes) in _NEEDS.items():
                rows = table[(table["model"] == model) & (table["needs"] == needs)]
                trajectories(ax, rows, [atom], linestyle=dashes, markerfacecolor=marks.COLORS[atom] if needs == "both" else "white")
        row[0].set_ylabel(marks.model_name(model).replace(", ", ",\n") + "\nbits")
        right = table[table["model"] == model].groupby("needs")[["accuracy", "accuracy_sounding", "accuracy_silent"]].first()
        told = f"right: {right['accuracy']['both']:.2f} with need; without, where\nit names the "
        told += ",\nthe ".join(f"{name} one: {right[f'accuracy_{name}']['vision']:.2f}" for name in NAMED)
        row[0].text(0.03, 0.95, told, transform=row[0].transAxes, va="top", fontsize="small")
    for ax, atom in zip(axes[0], _GATED, strict=True):
        ax.set_title(f"{marks.SYMBOLS[atom]}  {marks.WORDS[atom]}")
    figure.supxlabel("relative depth of the block", fontsize="medium")
    faces = {"both": marks.INK, "vision": "white"}
    asked = [
        Line2D([], [], color=marks.INK, linestyle=dashes, marker="o", markersize=2.4, markerfacecolor=faces[needs], label=f"“{words}”")
        for needs, (words, dashes) in _NEEDS.items()
    ]
    figure.legend(handles=[*asked, *_shared_handles()], loc="outside upper center", ncols=2)
    return figure


def table_gate(table: pd.DataFrame, *, allow_unconverged: bool = False) -> str:
    """The claims of the gate; what follows from right answers is no claim, and left out."""
    return claims(table, _GATE, allow_unconverged=allow_unconverged)


def _halves(ax: Axes, lines: Mapping[str, pd.DataFrame]) -> None:
    """Marks at the upper edge where lines first reach half of their most, as `half_depth` tells it; none where that is missing.

    Hollow before the first reading, where nothing was measured.
    """
    for atom, line in lines.items():
        depth = float(half_depth(line["value_bits"].to_numpy(float)))
        if np.isfinite(depth):
            ax.axvline(depth, color=marks.COLORS[atom], linewidth=0.8, linestyle=_HALF, zorder=1)
            above = {"transform": ax.get_xaxis_transform(), "clip_on": False, "zorder": 5}
            face = marks.COLORS[atom] if depth >= 1 / len(line) else "white"
            ax.plot([depth], [1], marker=7, color=marks.COLORS[atom], markerfacecolor=face, markersize=6, **above)


def _shared_handles() -> list[Line2D | Patch]:
    floor = Line2D([], [], color=marks.FAINT, linewidth=0.8, linestyle=(0, (1, 1)), label="noise floor")
    band = Patch(color=marks.COLORS["synergy"], alpha=0.3, linewidth=0, label="bootstrap over clips, 95 %")
    return [floor, band, Patch(color=marks.NULL, alpha=0.45, label="first and last stage, as published")]
