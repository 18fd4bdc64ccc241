"""One colour and one hatch for each atom, one marker for each model, and the strokes that all figures share."""

import re
from collections.abc import Iterable, Mapping, Sequence
from itertools import zip_longest
from typing import Any

import numpy as np
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

COLUMN, PAGE = 3.4, 7.0  # widths in inches of one column and of two

_COLORBLIND = sns.color_palette("colorblind").as_hex()
# Atom -> symbol, words, colour, hatch. Neighbouring atoms differ in hue, in lightness and in hatch, so grey print tells them apart.
_ATOMS = {
    "redundancy": ("$R$", "redundancy", _COLORBLIND[2], ""),
    "unique_vision": ("$U_v$", "unique to vision", _COLORBLIND[0], "/////"),
    "unique_language": (r"$U_\ell$", "unique to language", _COLORBLIND[1], r"\\\\\\"),
    "unique_audio": ("$U_a$", "unique to audio", _COLORBLIND[8], "-----"),
    "synergy": ("$S$", "synergy", _COLORBLIND[4], "xxxxx"),
}
SYMBOLS = {atom: symbol for atom, (symbol, *_) in _ATOMS.items()}
WORDS = {atom: words for atom, (_, words, *_) in _ATOMS.items()}
COLORS = {atom: color for atom, (*_, color, _) in _ATOMS.items()}
HATCHES = {atom: hatch for atom, (*_, hatch) in _ATOMS.items()}
VISION_LANGUAGE = ("redundancy", "unique_vision", "unique_language", "synergy")
SENSORY = ("redundancy", "unique_vision", "unique_audio", "synergy")

# Colours of anything that is not an atom.
OTHERS = (_COLORBLIND[3], _COLORBLIND[9], _COLORBLIND[5], "#332288", _COLORBLIND[7], "#222222")
INK, FAINT, NULL = "#222222", "#8a8a8a", "#d0d0d0"
MARKERS = "oDs^vPX*<>hdp"  # a model keeps its marker within a figure
# Colour and marker of each way to weight training samples, by its letter in pidlib.reweighting.CONDITIONS.
# PID weights and sampling by them are of one hue.
_CONDITION_COLORS = ("white", INK, OTHERS[0], FAINT, *OTHERS[1:4], "#f3c3a0")
CONDITION_LOOKS = dict(zip("ABCDEFGH", zip(_CONDITION_COLORS, "osDhv^PX", strict=True), strict=True))

MODEL_NAMES = {"llava": "LLaVA", "llava_onevision": "LLaVA-OneVision", "paligemma": "PaliGemma", "gemma3": "Gemma 3", "smolvlm": "SmolVLM"}
MODEL_NAMES |= {"idefics3": "Idefics3", "internvl": "InternVL", "qwen2_vl": "Qwen2-VL", "qwen2_5_vl": "Qwen2.5-VL", "qwen3_vl": "Qwen3-VL"}
MODEL_NAMES |= {"mllama": "Mllama", "blip": "BLIP", "qwen2_5_omni": "Qwen2.5-Omni"}
BENCHMARK_SOURCES = {"easy_vqa": "easy-VQA", "music_avqa": "MUSIC-AVQA", "micro": "micro", "micro_av": "micro AV", "prior": "captions"}
HUB_NAMES = {"mmbench": "MMBench", "mmstar": "MMStar", "pope": "POPE", "mmmu": "MMMU", "pmc_vqa": "PMC-VQA", "reefknot": "Reefknot"}
HUB_NAMES |= {"vqav2": "VQAv2", "gqa": "GQA", "nlvr2": "NLVR2", "foil": "FOIL", "scienceqa": "ScienceQA"}


def model_name(model: str) -> str:
    """``qwen2_5_vl`` -> ``Qwen2.5-VL mini``, ``llava_compact_brief`` -> ``LLaVA mini, compact brief``; a hub name loses its owner."""
    family = _family(model)
    if not family:
        return model.rsplit("/", 1)[-1].split("@")[0]
    kind = model.removeprefix(family).removeprefix("_").replace("_", " ")
    return f"{MODEL_NAMES[family]} mini" + (f", {kind}" if kind else "")


def minis_line(models: Iterable[str], columns: int) -> list[list[str]]:
    """The first row of a LaTeX table that says which of its models are minis; none where there are none."""
    if not any(map(_family, models)):
        return []
    told = "minis: the architectures at 0.2 to 1.4 million parameters, trained from scratch; stand-ins in scale, not in code path"
    return [[rf"\multicolumn{{{columns}}}{{l}}{{\emph{{{told}}}}}"]]


def _family(model: str) -> str:
    """The family in the name of a mini; nothing for a model from a hub or a folder, whose name has a slash."""
    return max((known for known in MODEL_NAMES if "/" not in model and f"{model}_".startswith(f"{known}_")), key=len, default="")


def benchmark_name(benchmark: str) -> str:
    """``easy_vqa/yes_no`` -> ``easy-VQA: yes/no``, ``hub/pmc_vqa`` -> ``PMC-VQA``, ``prior/80`` -> ``captions: 80 % right``."""
    source, _, task = benchmark.partition("/")
    if source == "hub":
        return HUB_NAMES[task.partition("@")[0]]
    task = task.replace("yes_no", "yes/no").replace("_", " ").replace(" balanced", ", balanced")
    if source == "prior":  # balanced, no caption tells anything, however often those of the training did
        task = re.sub(r"^\d+$", r"\g<0> % right", re.sub(r"^\d+, ", "", task))
    source = BENCHMARK_SOURCES.get(source, source)
    return f"{source}: {task}" if task else source


def bars(ax: Axes, x: Sequence[float], height: Sequence[float], atom: str, width: float, **style: Any) -> None:
    """Bars in the colour and hatch of an atom; the hatch is white on the colour."""
    ax.bar(x, height, width, **({"color": COLORS[atom], "hatch": HATCHES[atom], "edgecolor": "white", "linewidth": 0} | style))


def interval(ax: Axes, x: Sequence[float], low: Sequence[float], high: Sequence[float], **style: Any) -> None:
    """Vertical whiskers from low to high; missing ends draw nothing."""
    ax.vlines(x, _floats(low), _floats(high), **({"color": INK, "linewidth": 0.8, "zorder": 4} | style))


def null_band(ax: Axes, x: Sequence[float], high: Sequence[float], width: float) -> None:
    """What is seen where there is nothing to see: a band from 0 to the null, over the bar, with its edge ruled."""
    x, high = np.asarray(x, float), _floats(high)
    ax.bar(x, high, width, color=NULL, alpha=0.75, linewidth=0, zorder=2.5)
    ax.hlines(high, x - width / 2, x + width / 2, color=FAINT, linewidth=0.8, zorder=2.6)


def points(ax: Axes, x: Sequence[float], y: Sequence[float], marker: str, **style: Any) -> None:
    """Markers without a line, ringed so that they stand out from a bar of any colour."""
    ax.plot(x, _floats(y), marker, **({"color": "white", "markeredgecolor": INK, "markersize": 3.6, "zorder": 5, "clip_on": False} | style))


def atom_handles(atoms: Sequence[str] = VISION_LANGUAGE) -> list[Patch]:
    """Legend entries of the atoms: symbol and words."""
    return [
        Patch(facecolor=COLORS[atom], hatch=HATCHES[atom], edgecolor="white", linewidth=0, label=f"{SYMBOLS[atom]}  {WORDS[atom]}")
        for atom in atoms
    ]


def atom_points(atoms: Sequence[str] = VISION_LANGUAGE) -> list[Line2D]:
    """Legend entries of atoms drawn as markers, where the shape tells something else."""
    style = {"linestyle": "", "marker": ".", "markersize": 7, "markeredgecolor": INK, "markeredgewidth": 0.3}
    return [Line2D([], [], color=COLORS[atom], label=f"{SYMBOLS[atom]}  {WORDS[atom]}", **style) for atom in atoms]


def atom_lines(markers: str = "", atoms: Sequence[str] = VISION_LANGUAGE) -> list[Line2D]:
    """Legend entries of atoms drawn as lines, each with a marker of its own if markers are given."""
    shown = zip_longest(atoms, markers[: len(atoms)], fillvalue="")
    return [
        Line2D([], [], color=COLORS[atom], marker=marker, markersize=2.4, linewidth=0.9, label=f"{SYMBOLS[atom]}  {WORDS[atom]}")
        for atom, marker in shown
    ]


def model_handles(models: Sequence[str], suffix: str = "") -> list[Line2D]:
    """Legend entries of the models: marker and name."""
    return [
        Line2D([], [], linestyle="", marker=marker, color="white", markeredgecolor=INK, markersize=3.8, label=model_name(model) + suffix)
        for model, marker in zip(models, MARKERS, strict=False)
    ]


def condition_handles(letters: Iterable[str], names: Mapping[str, str]) -> list[Line2D]:
    """Legend entries of ways to weight samples: marker, letter and words."""
    style = {"linestyle": "", "markeredgecolor": INK, "markeredgewidth": 0.5, "markersize": 4}
    looks = {letter: CONDITION_LOOKS[letter] for letter in letters}
    return [Line2D([], [], color=color, marker=marker, label=f"{one} {names[one]}", **style) for one, (color, marker) in looks.items()]


def null_handle(label: str) -> Patch:
    """Legend entry of the band."""
    return Patch(facecolor=NULL, edgecolor=FAINT, linewidth=0.6, label=label)


def _floats(values: Any) -> np.ndarray:
    """A plain array of a table's column; missing values become NaN, which draws nothing."""
    return values.to_numpy(float, na_value=np.nan) if hasattr(values, "to_numpy") else np.asarray(values, float)
