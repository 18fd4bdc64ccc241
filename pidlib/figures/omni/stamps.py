"""Figure and table of the stamps: what real pictures, captions and voices share, and what only one of them tells."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from pidlib.figures import marks
from pidlib.results import drawable, latex

_SOURCES = {"vision": "picture", "language": "caption", "audio": "voice"}
_TARGETS = {"category": "category of the picture", "spoken": "language spoken", "match": "one picture or two?"}
_KINDS = {"probe": "linear probes", "codes": "$k$-means codes"}
_CONTROLS = {"mismatched": ("o", "first source of another"), "shuffled": ("D", "target shuffled once")}
_GROUP = 0.8  # share of a pair's place on the axis that its bars take
_UNSEEN = 0.3  # opacity of a bar that permutations reach


def fig_stamps(table: pd.DataFrame, *, allow_unconverged: bool = False) -> Figure:
    """Corrected atoms: a row of panels for each kind of labels, a column for each target; markers are the controls.

    A bar is faded where more than 5 % of the permutations have an atom as large as the one that was counted. Of synergy there is no bar,
    nor a marker, where no more was counted than in the mean of the permutations, whose band still stands there.
    """
    table = drawable(table, allow_unconverged=allow_unconverged)
    kinds, targets = [kind for kind in _KINDS if kind in set(table["unimodal"])], list(table["benchmark"].unique())
    table = table.assign(pair=_pairs(table))
    pairs = {target: list(table.loc[table["benchmark"] == target, "pair"].unique()) for target in targets}
    figure = Figure(figsize=(marks.PAGE, 1.35 * len(kinds) + 0.9))
    axes = figure.subplots(len(kinds), len(targets), squeeze=False, sharex="col", sharey="row", width_ratios=[*map(len, pairs.values())])
    for (row, kind), (column, target) in ((a, b) for a in enumerate(kinds) for b in enumerate(targets)):
        rows = table[(table["unimodal"] == kind) & (table["benchmark"] == target)]
        _panel(axes[row, column], rows, pairs[target])
    for ax, target in zip(axes[0], targets, strict=True):
        bits = table.loc[table["benchmark"] == target, "target_bits"].iloc[0]
        ax.set_title(f"{_TARGETS[target.partition('/')[2]]} ({bits:.2f} bits)")
    for ax, kind in zip(axes[:, 0], kinds, strict=True):
        ax.set_ylabel(f"{_KINDS[kind]}\nbits")
    atoms = [atom for atom in marks.SYMBOLS if atom in set(table["atom"])]
    style = {"linestyle": "", "color": "white", "markeredgecolor": marks.INK, "markersize": 2.6}
    controls = [Line2D([], [], marker=marker, label=words, **style) for marker, words in _CONTROLS.values()]
    faded = Patch(color=marks.INK, alpha=_UNSEEN, linewidth=0, label="faded: $p > .05$")
    handles = [*marks.atom_handles(atoms), marks.null_handle("null: shuffled"), faded, *controls]
    figure.legend(handles=handles, loc="outside upper center", ncols=5)
    return figure


def _pairs(table: pd.DataFrame) -> pd.Series:
    """Of every row the two sources and the condition, as one label."""
    first, second = (table[f"source_{side}"].map(_SOURCES) for side in "ab")
    condition = ", " + second + ",\ngiven " + table["given"].map(_SOURCES)
    return first + condition.fillna(",\n" + second)


def _panel(ax: Axes, rows: pd.DataFrame, pairs: list[str]) -> None:
    width = _GROUP / 4  # four atoms
    for center, pair in enumerate(pairs):
        group = rows[rows["pair"] == pair]
        for index, atom in enumerate(group["atom"].unique()):
            at = center + (index - 1.5) * width
            found = group[group["atom"] == atom].set_index("pairing")
            bar = found.loc[["matched"]]
            seen = bar["null_p"].fillna(1).item() <= 0.05
            marks.bars(ax, [at], bar["corrected_bits"].astype(float), atom, 0.92 * width, alpha=1 if seen else _UNSEEN)
            marks.interval(ax, [at - 0.3 * width], bar["ci_low"], bar["ci_high"])
            marks.null_band(ax, [at + 0.32 * width], bar["null_mean"], 0.28 * width)
            for shift, (control, (marker, _)) in zip((-0.05, 0.12), _CONTROLS.items(), strict=True):
                if control in found.index:
                    marks.points(ax, [at + shift * width], found.loc[[control], "corrected_bits"], marker, markersize=2.2)
    ax.axhline(0, color=marks.INK, linewidth=0.6, zorder=2.7)
    ax.set_xticks(range(len(pairs)), pairs)
    ax.tick_params(axis="x", length=0)
    ax.set_xlim(-0.5, len(pairs) - 0.5)


def table_stamps(table: pd.DataFrame) -> str:
    """How well each source tells each target: accuracy of a linear probe with its interval, and bits by probe and by codes."""
    header = ["target", "source", "accuracy", "95\\,\\%", "prior", "probe", "codes", "$H(Y)$"]
    rows = [
        [_TARGETS[row.benchmark.partition("/")[2]], _SOURCES[row.source], row.accuracy, f"{row.ci_low:.2f}--{row.ci_high:.2f}", row.prior]
        + [row.probe_bits, row.codes_bits, row.target_bits]
        for row in table.itertuples()
    ]
    return latex(header, rows, align="llrrrrrr", digits=2)
