"""Figure of the clips: what is seen, heard and asked in each template, and what its answer takes."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from pidlib import benchmarks
from pidlib.benchmarks import micro_av
from pidlib.benchmarks.clips import RATE
from pidlib.figures import marks
from pidlib.results import drawable

_GIVEN = {"question": ("given the question", -0.2, 1.0), "nothing": ("question ignored", 0.2, 0.45)}  # words, side of the pair, shade
_WINDOW, _HOP, _HIGHEST = 800, 100, 2000  # of the spectrogram: samples, samples, Hz


def fig_clips(table: pd.DataFrame, *, allow_unconverged: bool = False) -> Figure:
    """A contact sheet: of every template a clip with its soundtrack, question and answer, and the masked atoms of the ideal answerer."""
    table = drawable(table, allow_unconverged=allow_unconverged)
    table = table[table["unimodal"] == "masked"]
    names = list(table["template"].unique())
    rows = -(-len(names) // 2)
    figure = Figure(figsize=(marks.PAGE, 1.5 * rows + 0.5))
    page, foot = figure.subfigures(2, 1, height_ratios=(1.5 * rows, 0.5))
    sheets = page.subfigures(rows, 2, squeeze=False, wspace=0.03).ravel()
    for sheet, name in zip(sheets, names, strict=False):
        here = table[table["template"] == name]
        sample = _shown(here.iloc[0])
        words = rf"$\bf{{{name.replace('_', '~')}}}$  ({here['kind'].iloc[0]})"
        sheet.suptitle(f"{words}\n{sample.question} $\\bf{{{sample.answer}}}$", x=0.02, ha="left", fontsize=7.5, linespacing=1.1)
        grid = sheet.add_gridspec(2, 2, width_ratios=(2.6, 1), height_ratios=(1.6, 1))
        _film(sheet.add_subplot(grid[0, 0]), sample.video)
        _spectrogram(sheet.add_subplot(grid[1, 0]), sample.audio)
        _truth(sheet.add_subplot(grid[:, 1]), here)
    shades = [Patch(facecolor=marks.INK, alpha=shade, label=words) for words, _, shade in _GIVEN.values()]
    handles = [*marks.atom_handles(marks.SENSORY), *shades]
    foot.legend(handles=handles, loc="center", ncols=len(handles), title="Atoms of the ideal answerer")
    return figure


def _shown(row: pd.Series) -> benchmarks.Sample:
    """The first sample, of the row's split and seed, that puts the last of the template's questions."""
    wordings = list(micro_av.TEMPLATES[row["template"]].questions.values())[-1]
    split = "test" if pd.isna(row["split"]) else row["split"]  # a law holds in every split, and a table may name none
    samples = benchmarks.load(row["benchmark"], split, n=64, seed=int(row["seed"]))
    return next(sample for sample in samples if sample.template == row["template"] and sample.question in wordings)


def _film(ax: Axes, video: np.ndarray) -> None:
    for index, frame in enumerate(video):
        ax.imshow(frame, extent=(index + 0.02, index + 0.98, 0.02, 0.98), interpolation="nearest")
    ax.set(xlim=(0, len(video)), ylim=(0, 1), xticks=[], yticks=[])
    ax.spines[:].set_visible(False)


def _spectrogram(ax: Axes, audio: np.ndarray) -> None:
    frames = np.lib.stride_tricks.sliding_window_view(audio, _WINDOW)[::_HOP]
    power = np.abs(np.fft.rfft(frames * np.hanning(_WINDOW)))[:, : _WINDOW * _HIGHEST // RATE + 1].T
    edge = _WINDOW / RATE / 2
    ax.imshow(
        20 * np.log10(power), cmap="Greys", aspect="auto", origin="lower", vmin=-35, vmax=30, extent=(edge, 1 - edge, 0, _HIGHEST / 1000)
    )
    ax.set(xlim=(0, 1), xticks=[0, 1], yticks=[0, 1, 2], ylabel="kHz")
    ax.set_xticks([0, 1], ["0", "1 s"])
    ax.grid(False)
    ax.tick_params(labelsize=6.5, length=2)


def _truth(ax: Axes, truth: pd.DataFrame) -> None:
    """Two bars per atom: full given the question, pale where it is ignored."""
    for given, (_, side, shade) in _GIVEN.items():
        for index, atom in enumerate(marks.SENSORY):
            value = truth.loc[(truth["given"] == given) & (truth["atom"] == atom), "value_bits"]
            marks.bars(ax, [index + side] * len(value), value, atom, 0.38, alpha=shade)
    ax.set_xticks(range(4), [marks.SYMBOLS[atom] for atom in marks.SENSORY], fontsize=7)
    ax.set_yticks([0, 0.5, 1], ["0", ".5", "1 bit"], fontsize=6.5)
    ax.set(ylim=(0, 1), xlim=(-0.6, 3.6))
    ax.tick_params(length=0)
