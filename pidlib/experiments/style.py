"""The look of all figures: colors and hatches of atoms, markers, names, shared elements.

Modules that draw take matplotlib's `Artist`, `Axes` and `Figure` from here.
"""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import PurePath
from textwrap import fill
from typing import Any

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from pidlib._common import ATOM_STYLES, project_root
from pidlib.experiments.tables import heading

PAGE, COLUMN = 7.0, 3.4  # width of two columns and of one, in inches
LEAST_BITS = 0.05  # at the top of an axis: smaller atoms do not fill a panel

_COLORBLIND = sns.color_palette("colorblind").as_hex()
SYMBOLS, WORDS, COLORS, HATCHES = pd.DataFrame(ATOM_STYLES).to_dict("index").values()  # by atom
Numbers = Sequence[float]
VISION_LANGUAGE = ("redundancy", "unique_vision", "unique_language", "synergy")
SENSORY = ("redundancy", "unique_vision", "unique_audio", "synergy")

# Colors of everything except atoms.
OTHERS = (_COLORBLIND[3], _COLORBLIND[9], _COLORBLIND[5], "#332288", _COLORBLIND[7], "#222222")
INK, FAINT, NULL = "#222222", "#8a8a8a", "#d0d0d0"
MARKERS = "oDs^vPX*<>hdp"

_MODELS = "LLaVA LLaVA-OneVision PaliGemma Gemma3 SmolVLM Idefics3 InternVL Qwen2-VL Qwen2.5-VL"
_MODELS += " Qwen3-VL Mllama BLIP Qwen2.5-Omni"
MODEL_NAMES = {re.sub("[-.]", "_", name).lower(): name for name in _MODELS.split()}
MODEL_NAMES["gemma3"] = "Gemma 3"
SOURCE_NAMES = {"easy_vqa": "easy-VQA", "music_avqa": "MUSIC-AVQA", "micro_av": "micro AV"}
SOURCE_NAMES["prior"] = "captions"
_HUB = "MMBench MMStar POPE MMMU PMC-VQA Reefknot VQAv2 GQA NLVR2 FOIL ScienceQA"
HUB_NAMES = {name.replace("-", "_").lower(): name for name in _HUB.split()}


def model_name(model: str) -> str:
    """``llava_compact_brief`` -> ``LLaVA mini, compact brief``; a hub name without its owner."""
    if not (family := _family(model)):
        return PurePath(model.partition("@")[0]).name
    kind = model.removeprefix(family).removeprefix("_").replace("_", " ")
    return f"{MODEL_NAMES[family]} mini" + (f", {kind}" if kind else "")


def minis_line(models: Iterable[str], columns: int) -> list[list[str]]:
    """A first row of a LaTeX table that names its minis as such; none if there are no minis."""
    text = "minis: the architectures at 0.2 to 1.9 million parameters, trained from scratch; "
    text += "stand-ins in scale, not in code path"
    return [heading(text, columns)] if any(map(_family, models)) else []


def _family(model: str) -> str:
    """The family in the name of a mini; empty for hub models and folders, which have a slash."""
    known = (name for name in MODEL_NAMES if f"{model}_".startswith(f"{name}_"))
    is_mini = (project_root() / "data" / "minis" / model / "config.json").is_file()
    return max(known, key=len, default="") if is_mini and "/" not in model else ""


def benchmark_name(benchmark: str) -> str:
    """``easy_vqa/yes_no`` -> ``easy-VQA: yes/no``, ``prior/80`` -> ``captions: 80 % right``."""
    if benchmark.startswith("table:"):
        return PurePath(benchmark.removeprefix("table:")).stem
    source, _, task = benchmark.partition("/")
    if source == "hub":
        return HUB_NAMES[task.partition("@")[0]]
    task = task.replace("yes_no", "yes/no").replace("_", " ").replace(" balanced", ", balanced")
    if source == "prior":  # balanced captions have no information, whatever the training had
        task = re.sub(r"^\d+$", r"\g<0> % right", re.sub(r"^\d+, ", "", task))
    source = SOURCE_NAMES.get(source, source)
    return f"{source}: {task}" if task else source


def bars(ax: Axes, x: Numbers, height: Numbers, atom: str, width: float, **style: Any) -> None:
    """Bars in the color of an atom with its hatch in white."""
    look = {"color": COLORS[atom], "hatch": HATCHES[atom], "edgecolor": "white", "linewidth": 0}
    ax.bar(x, height, width, **look | style)


def interval(ax: Axes, x: Numbers, low: Numbers, high: Numbers, **style: Any) -> None:
    """Vertical intervals; missing ends draw nothing."""
    look = {"color": INK, "linewidth": 0.8, "zorder": 4}
    ax.vlines(x, floats(low), floats(high), **look | style)


def null_band(ax: Axes, x: Numbers, high: Numbers, width: float) -> None:
    """A band from 0 to the null over the bar, with a line at its edge."""
    x, high = np.asarray(x, float), floats(high)
    ax.bar(x, high, width, color=NULL, alpha=0.75, linewidth=0, zorder=2.5)
    ax.hlines(high, x - width / 2, x + width / 2, color=FAINT, linewidth=0.8, zorder=2.6)


def points(ax: Axes, x: Numbers, y: Numbers, marker: str, **style: Any) -> None:
    """Markers without a line, outlined so that they are visible on any bar."""
    look = {"color": "white", "markeredgecolor": INK, "markersize": 3.6, "zorder": 5}
    ax.plot(x, floats(y), marker, **look | {"clip_on": False} | style)


def page(height: float) -> Figure:
    """A figure of two columns' width, with a height in inches."""
    return Figure(figsize=(PAGE, height))


def column(height: float) -> Figure:
    """A figure of one column's width."""
    return Figure(figsize=(COLUMN, height))


def swatch(label: str, **look: Any) -> Patch:
    """Legend entry of an area."""
    return Patch(label=label, **look)


def handle(label: str, **look: Any) -> Line2D:
    """Legend entry of a line with ``linestyle``, else of a marker."""
    return Line2D([], [], **{"linestyle": "", "label": label} | look)


def atom_handles(atoms: Sequence[str] = VISION_LANGUAGE) -> list[Artist]:
    """Legend entries of atoms as bars."""
    edge = {"edgecolor": "white", "linewidth": 0}
    return [swatch(_label(a), facecolor=COLORS[a], hatch=HATCHES[a], **edge) for a in atoms]


def atom_points(atoms: Sequence[str] = VISION_LANGUAGE) -> list[Line2D]:
    """Legend entries of atoms as points, where the marker encodes something else."""
    look = {"marker": ".", "markersize": 7, "markeredgecolor": INK, "markeredgewidth": 0.3}
    return [handle(_label(atom), color=COLORS[atom], **look) for atom in atoms]


def atom_lines(atoms: Sequence[str] = VISION_LANGUAGE) -> list[Line2D]:
    """Legend entries of atoms as lines with markers."""
    marked = zip(atoms, MARKERS, strict=False)
    return [line_handle(_label(a), color=COLORS[a], marker=m, markersize=2.4) for a, m in marked]


def _label(atom: str) -> str:
    return f"{SYMBOLS[atom]}  {WORDS[atom]}"


def marker_handles(entries: Iterable[tuple[str, str, str]], **look: Any) -> list[Line2D]:
    """Legend entries of outlined markers: each a label, a marker and a color."""
    look = {"markeredgecolor": INK, "markersize": 3.8} | look
    return [handle(label, marker=marker, color=color, **look) for label, marker, color in entries]


def null_handle(label: str) -> Patch:
    """Legend entry of a null band."""
    return swatch(label, facecolor=NULL, edgecolor=FAINT, linewidth=0.6)


def legend(figure: Figure, columns: int, *handles: Artist, **options: Any) -> None:
    """The one legend of a figure, on top."""
    figure.legend(handles=handles, ncols=columns, **{"loc": "outside upper center"} | options)


def floats(values: Any, *columns: str) -> np.ndarray:
    """A float array, or one for each column named; missing values are NaN, which draws nothing."""
    if columns:
        return np.stack([floats(values[column]) for column in columns])
    if hasattr(values, "to_numpy"):
        return values.to_numpy(float, na_value=np.nan)
    return np.asarray(values, float)


def best(rows: Mapping[str, Any]) -> Any:
    """Corrected values in bits, and measured ones where none are: of a table, or of one row."""
    if not isinstance(rows, pd.DataFrame):
        corrected = rows["corrected_bits"]
        return rows["value_bits"] if pd.isna(corrected) else corrected
    return floats(rows["corrected_bits"].fillna(rows["value_bits"]))


def forest(ax: Axes, y: Numbers, rows: pd.DataFrame, height: float, **points: Any) -> None:
    """Points (as by `scatter`) with horizontal intervals, before null bands of this height."""
    value, low, high = floats(rows, "value", "ci_low", "ci_high")
    null_low, null_high = floats(rows, "null_low", "null_high")
    ax.barh(y, null_high - null_low, height, left=null_low, color=NULL, linewidth=0, zorder=1)
    ax.hlines(y, low, high, color=INK, linewidth=0.9, zorder=2)
    ax.scatter(value, y, **({"zorder": 3, "linewidths": 0.6} | points))


def name_rows(ax: Axes, labels: Sequence[str]) -> None:
    """Name the rows of an axis, at 0, 1, ... from the top."""
    ax.set_yticks(range(len(labels)), labels)
    ax.set_ylim(len(labels) - 0.5, -0.5)


def margin(ax: Axes, y: float, text: str, x: float = 1.02, **style: Any) -> None:
    """Write the number of a row, at a part x of the width; by default right of the axis."""
    look = {"transform": ax.get_yaxis_transform(), "va": "center", "fontsize": 7}
    ax.text(x, y, text, **look | style)


def line_handle(label: str, linewidth: float = 0.9, **look: Any) -> Line2D:
    """Legend entry of an interval or a range."""
    return handle(label, **{"linestyle": "-", "linewidth": linewidth, "color": INK} | look)


def show_least_bits(ax: Axes) -> None:
    """Let the range of an axis in bits contain `LEAST_BITS`; call it before drawing."""
    ax.update_datalim([(0, LEAST_BITS)], updatex=False)


def mark_silent(ax: Axes, rows: pd.DataFrame) -> None:
    """Name the models of a panel that answer over half of the questions with no candidate."""
    silent = rows.loc[floats(rows["fallback"]) > 0.5, "model"].unique()
    if len(silent):
        text = "no candidate named by " + ", ".join(map(model_name, silent))
        place = {"transform": ax.transAxes, "ha": "center", "va": "top", "fontsize": 6}
        place["bbox"] = {"facecolor": "white", "alpha": 0.85, "linewidth": 0, "pad": 1}
        ax.text(0.5, 0.97, fill(text, 36), color=OTHERS[0], zorder=6, **place)


def panels(
    titles: list[str], height: float, margin: float, most: int = 3, ylabel: str = "bits"
) -> tuple[Figure, dict[str, Axes]]:
    """A figure with a panel for each title, at most so many in a row; sizes in inches."""
    columns = min(most, len(titles))
    rows = math.ceil(len(titles) / columns)
    figure = page(height * rows + margin)
    axes = figure.subplots(rows, columns, squeeze=False, sharey=True)
    named = dict(zip(titles, axes.flat, strict=False))
    for title, ax in named.items():
        ax.set_title(title)
    for ax in axes.flat[len(titles) :]:
        ax.set_axis_off()
    for ax in axes[:, 0]:
        ax.set_ylabel(ylabel)
    return figure, named
