"""What do the clips show and sound like, and which streams does an answer need?"""

from itertools import product

import numpy as np
import pandas as pd

from pidlib import benchmarks
from pidlib._common import fingerprint
from pidlib.benchmarks import MODES, clips, micro_av
from pidlib.experiments import ATOMS, Preset, declare, style, tables
from pidlib.experiments.truths import atom_rows, draw_pairs, pair_legend, scale_bits

COLUMNS = declare("template kind", ATOMS, required="template kind given")
_CONDITIONS = {"question": ("question given", -0.2, 1), "nothing": ("question ignored", 0.2, 0.45)}
_WINDOW, _HOP, _MAX_FREQUENCY = 800, 100, 2000  # of spectrograms: in samples, in Hz


def measure(preset: Preset) -> pd.DataFrame:
    """Atoms of the ideal answerer by template, of I(Y; V, A | T), and with question T ignored."""
    rows = []
    for template, unimodal, given in product(micro_av.TEMPLATES.values(), MODES, _CONDITIONS):
        if (benchmark := f"micro_av/{template.task}") not in preset.omni_benchmarks:
            continue
        solved = micro_av.sensory_truth(template.name, unimodal, ignored=given == "nothing")
        laws = {t: (w, p.tolist()) for t, (w, p) in micro_av.joint(template.name, unimodal).items()}
        columns = {"template": template.name, "kind": template.kind, "benchmark": benchmark}
        columns |= {"fingerprint": fingerprint(laws=laws, given=given), "given": given}
        rows.append(atom_rows(solved, **columns, unimodal=unimodal))
    fixed = {"experiment": "omni", "split": "test", "estimator": "truth", "seed": preset.seed}
    return tables.validate(pd.concat(rows).assign(**fixed), COLUMNS)


def figure(table: pd.DataFrame) -> style.Figure:
    """A clip of every template, generated here from its seed, and the masked atoms of the table."""
    table = table[table["unimodal"] == "masked"]
    templates = table.groupby("template", sort=False)
    rows = len(templates) // 2 + 1  # with a place for the legend
    figure = style.page(1.4 * rows)
    sheets = figure.subfigures(rows, 2, squeeze=False, wspace=0.03).ravel()
    for sheet, (name, shown) in zip(sheets, templates, strict=False):
        benchmark, split, seed = shown.iloc[0][["benchmark", "split", "seed"]]
        wordings = list(micro_av.TEMPLATES[name].questions.values())[-1]  # of the last question
        samples = benchmarks.load(benchmark, split, n=64, seed=int(seed))
        sample = next(s for s in samples if s.template == name and s.question in wordings)
        title = rf"$\bf{{{name.replace('_', '~')}}}$  ({shown['kind'].iloc[0]})"
        title += f"\n{sample.question} $\\bf{{{sample.answer}}}$"
        sheet.suptitle(title, x=0.02, ha="left", fontsize=7.5, linespacing=1.1)
        grid = sheet.add_gridspec(2, 2, width_ratios=(2.2, 1), height_ratios=(1.6, 1))
        video = sheet.add_subplot(grid[0, 0])
        for index, frame in enumerate(sample.video):
            extent = (index + 0.02, index + 0.98, 0.02, 0.98)
            video.imshow(frame, extent=extent, interpolation="nearest")
        video.set(xlim=(0, len(sample.video)), ylim=(0, 1), xticks=[], yticks=[])
        video.spines[:].set_visible(False)
        _draw_spectrogram(sheet.add_subplot(grid[1, 0]), sample.audio)
        ax = sheet.add_subplot(grid[:, 1])
        draw_pairs(ax, shown, "given", _CONDITIONS, size=6)
        scale_bits(ax, table, fontsize=6.5)
        ax.set_xlim(-0.6, 3.6)
    pair_legend(sheets[-1], _CONDITIONS, style.SENSORY)
    return figure


def _draw_spectrogram(ax: style.Axes, audio: np.ndarray) -> None:
    frames = np.lib.stride_tricks.sliding_window_view(audio, _WINDOW)[::_HOP]
    spectrum = np.abs(np.fft.rfft(frames * np.hanning(_WINDOW)))
    power = spectrum[:, : _WINDOW * _MAX_FREQUENCY // clips.RATE + 1].T
    extent = (_WINDOW / clips.RATE / 2, 1 - _WINDOW / clips.RATE / 2, 0, _MAX_FREQUENCY / 1000)
    look = {"cmap": "Greys", "aspect": "auto", "origin": "lower", "vmin": -35, "vmax": 30}
    ax.imshow((20 * np.log10(power)).round(1), extent=extent, **look)
    ax.set(xlim=(0, 1), yticks=[0, 1, 2], ylabel="kHz", xticks=[0, 1], xticklabels=["0", "1 s"])
    ax.grid(False)
    ax.tick_params(labelsize=6.5, length=2)
