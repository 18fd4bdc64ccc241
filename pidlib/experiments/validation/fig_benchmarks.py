"""What do the questions look like, and which atoms does an ideal answerer need?"""

import textwrap
from itertools import product

import pandas as pd

from pidlib import benchmarks
from pidlib._common import fingerprint
from pidlib.decomposition import pid
from pidlib.experiments import Preset, style, tables
from pidlib.experiments.truths import atom_rows, draw_pairs, pair_legend, scale_bits
from pidlib.extraction import SOURCES

COLUMNS = tables.ATOMS
_MODES = {"masked": ("absent modality masked", -0.2, 1.0)}
_MODES |= {"resampled": ("absent modality resampled", 0.2, 0.45)}
_NOTES = {"micro/pair": ": each shape stands for two colors, left and right"}
_NOTES |= {"micro/pair_shared": ": as pair, but the shape makes a side likelier"}


def measure(preset: Preset) -> pd.DataFrame:
    """Atoms of the ideal answerer on generated benchmarks by mode; observational as masked."""
    rows = []
    for name, unimodal in product(generated(preset), preset.unimodal):
        joint = benchmarks.truth(name, "masked" if unimodal == "observational" else unimodal)
        columns = {"unimodal": unimodal, "fingerprint": fingerprint(joint=joint.tolist())}
        rows.append(atom_rows(pid(joint, SOURCES), benchmark=name, **columns))
    shared = {"experiment": "validation", "estimator": "truth", "seed": preset.seed}
    return tables.validate(pd.concat(rows).assign(**shared), COLUMNS)


def generated(preset: Preset) -> list[str]:
    """The benchmarks of a preset whose law is known."""
    return [name for name in preset.benchmarks if name.startswith("micro/")]


def figure(table: pd.DataFrame) -> style.Figure:
    """Samples of every benchmark, loaded here, and the atoms of those whose law is known."""
    names = list(dict.fromkeys((*table["benchmark"], *benchmarks.names("pictures"))))
    rows = len(names) // 2 + 1  # the last cell holds the legend
    figure = style.page(1.3 * rows)
    sheets = figure.subfigures(rows, 2, squeeze=False, wspace=0.04).ravel()
    for sheet, name in zip(sheets, names, strict=False):
        truth = table[table["benchmark"] == name]
        axes = sheet.subplots(1, 4)
        note = _NOTES.get(name, "" if name.startswith("micro/") else ": atoms unknown")
        sheet.suptitle(style.benchmark_name(name) + note, x=0.02, ha="left", fontsize=8.5)
        samples = benchmarks.load(name, "test", n=3 if len(truth) else 4)
        for ax, sample in zip(axes, samples, strict=False):
            lines = [*textwrap.wrap(sample.question, 21), rf"$\bf{{{sample.answer}}}$"]
            lines += [" "] * (4 - len(lines))  # equal captions give all pictures the same size
            ax.imshow(sample.image, interpolation="nearest")
            ax.set(xticks=[], yticks=[])
            ax.spines[:].set_visible(False)
            ax.set_xlabel("\n".join(lines), fontsize=6.5, linespacing=1.05)
        if len(truth):
            draw_pairs(axes[-1], truth, "unimodal", _MODES)
            axes[-1].set_box_aspect(1)
            scale_bits(axes[-1], table, fontsize=7)
    pair_legend(sheets[-1], _MODES, style.VISION_LANGUAGE)
    return figure
