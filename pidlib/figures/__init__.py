"""Ink: one module per experiment, one function per figure or table, from a tidy table to a Figure or to LaTeX.

The name of a notebook is the name of its table, of its figure and of the function that draws it: ``validation/fig_bias`` is drawn by
:func:`pidlib.figures.validation.fig_bias` from ``data/results/validation/fig_bias.csv``. Drawing reads nothing but the table, so every
figure can be redrawn alone, and twice drawn is byte for byte the same.
"""

import importlib
import os
from dataclasses import dataclass
from pathlib import Path

import matplotlib
from matplotlib.figure import Figure, SubFigure

from pidlib.experiment import Preset, project_root
from pidlib.results import read

STYLE = Path(__file__).with_name("paper.mplstyle")


@dataclass(frozen=True)
class Drawn:
    """The files that were written; a notebook shows the picture."""

    paths: tuple[Path, ...]

    def __repr__(self) -> str:
        return "wrote " + ", ".join(_relative(path) for path in self.paths)

    def _repr_png_(self) -> bytes | None:
        return next((path.read_bytes() for path in self.paths if path.suffix == ".png"), None)


def draw(name: str, preset: Preset, **options: object) -> Drawn:
    """Read the table of a figure, draw it and save it as PDF and PNG; a function ``table...`` gives a .tex instead.

    Parameters
    ----------
    name
        Experiment and figure, ``validation/fig_bias``.
    preset
        Says where tables and figures are.
    options
        Passed on to the drawing function.
    """
    experiment, _, function = name.partition("/")
    maker = getattr(importlib.import_module(f"pidlib.figures.{experiment}"), function)
    stem = preset.figure(name)
    stem.parent.mkdir(parents=True, exist_ok=True)
    with matplotlib.rc_context():
        matplotlib.style.use(["default", STYLE])  # the reader's own matplotlibrc has no say
        drawn = maker(read(preset.table(name)), **options)
        return Drawn(_save_figure(drawn, stem) if isinstance(drawn, Figure) else _save_text(drawn, stem))


def _save_figure(figure: Figure, stem: Path) -> tuple[Path, ...]:
    """Two files of one layout, without a date in them, each put in place whole."""
    figure.draw_without_rendering()
    figure.set_layout_engine("none")
    for part in figure.findobj(SubFigure):
        part.patch.set_visible(False)  # it shows nothing, but its corner may be written as 0 or as -0
    undated = {".pdf": {"CreationDate": None}, ".png": {"Software": None}}
    for suffix, metadata in undated.items():
        part = stem.with_suffix(f".part{suffix}")
        figure.savefig(part, metadata=metadata)
        os.replace(part, stem.with_suffix(suffix))
    return tuple(stem.with_suffix(suffix) for suffix in undated)


def _save_text(text: str, stem: Path) -> tuple[Path, ...]:
    path = stem.with_suffix(".tex")
    path.write_text(text, encoding="utf-8")
    return (path,)


def _relative(path: Path) -> str:
    return path.relative_to(project_root()).as_posix() if path.is_relative_to(project_root()) else path.as_posix()
