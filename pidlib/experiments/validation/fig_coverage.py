"""Do 95 % intervals hold the truth, and is the type-I error of p-values 5 %?

Samples of laws with known atoms are drawn many times. Decisions get the value and interval of
`pidlib.profile` and, for comparison, the plug-in value with a bootstrap interval; codes those of
`pidlib.estimate`. P-values of decisions are those of halves: a profile, which uses them for unique
atoms alone, also permutes answers and has the larger one.
"""

import warnings
from collections.abc import Mapping, Sequence
from functools import cache, partial
from itertools import product
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Float
from scipy.stats import binomtest
from tqdm.auto import tqdm

from pidlib import decomposition
from pidlib._common import code_version, derive_seed, fingerprint, project_root
from pidlib.decomposition.estimate import estimate
from pidlib.decomposition.resampling import N_HALVES, bootstrap_decisions, percentile_intervals
from pidlib.experiments import COMPUTED, Preset, declare, style, tables, words
from pidlib.experiments.validation import laws
from pidlib.extraction import SOURCES
from pidlib.extraction.store import Shard, open_store
from pidlib.profiles.modes import measure_decisions

KINDS = ("masked", "resampled", "codes")
_KINDS = [*(f"Simulated answers,\none input {kind}" for kind in KINDS[:2]), "4-valued codes"]
_LAWS = "few inputs, unsure answers;few inputs, sure answers;6 questions, all pictures new;"
_LAWS += "both inputs equally informative;all inputs new;evidence of both adds up;"
_LAWS += "target: noisy sum of both;both: noisy copies of target;only vision informs;"
_LAWS += "target: the smaller of both"
ESTIMATORS = {**dict.fromkeys(KINDS[:2], ("halves", "bootstrap")), "codes": ("codes",)}
ATOMS = style.VISION_LANGUAGE
N_CODES, N_BOOTSTRAP, N_PERMUTATIONS = 4, 100, 200
MORE_CODES = 4  # times as many repetitions of codes, which are cheap
BLOCK = 5  # repetitions that are cached together
MOST_INPUTS = 4 * 1024**2  # pairs in all repetitions of `all inputs new`: 1,024 samples take 1 min
LEAST_REPEATS = 20  # with fewer, a cell is left out
BAND = 0.90, 0.98  # coverage that counts as right: few repetitions do not tell it from 95 %
TOLERANCE = 1e-6  # bits, of the solver
TABLE = "validation/fig_coverage"
_ESTIMATED = "atom estimator truth_bits value_bits bias_bits deviation_bits coverage coverage_low"
_ESTIMATED += " coverage_high width_bits"
_NAMES = f"kind law n_samples {_ESTIMATED} rejected n_repeats seed {COMPUTED}"
COLUMNS = declare(_NAMES, required=_NAMES.replace(" rejected", ""))
_answer_laws = cache(laws.answer_laws)


class Cell(NamedTuple):
    """Repeated samples of one size of one law."""

    kind: str
    law: str
    n_samples: int
    n_repeats: int
    seed: int

    @property
    def identity(self) -> dict:
        """Everything that is meant to change the numbers, but code."""
        counts = {"halves": N_HALVES, "bootstrap": N_BOOTSTRAP, "permutations": N_PERMUTATIONS}
        return self._asdict() | counts | {"codes": N_CODES, "partners": laws.PARTNERS}


def plan(preset: Preset) -> list[Cell]:
    """All cells of a preset."""
    cells = []
    for n, kind in product(preset.coverage_samples, KINDS):
        for law in law_names(kind):
            planned = repeats = preset.n_coverage * (MORE_CODES if kind == "codes" else 1)
            if kind != "codes" and all(_answer_laws()[law].new):
                repeats = min(planned, MOST_INPUTS // n**2)
            if repeats >= min(planned, LEAST_REPEATS):
                cells.append(Cell(kind, law, n, repeats, preset.seed))
    return cells


def measure(preset: Preset) -> pd.DataFrame:
    """Remake the first ``n_remade_cells`` cells; read the others, which ``make coverage`` makes."""
    cells, path = plan(preset), project_root() / "data" / "results" / f"{TABLE}.csv"
    committed = tables.read(path, COLUMNS) if path.exists() else tables.validate([], COLUMNS)
    others = {fingerprint(**cell.identity) for cell in cells[preset.n_remade_cells :]}
    missing = others - set(committed["fingerprint"])
    text = f"{len(missing)} of {len(cells)} cells are neither made here nor committed"
    if missing and missing == others:
        raise ValueError(f"{text}: make all here, with n_remade_cells {len(cells)}")
    if missing:
        warnings.warn(f"{text}; `make coverage` makes them", stacklevel=2)
    made = make(preset, cells[: preset.n_remade_cells])
    check(made, committed)
    return tables.validate(pd.concat([made, committed.query("fingerprint in @others")]), COLUMNS)


def check(made: pd.DataFrame, committed: pd.DataFrame) -> pd.DataFrame:
    """Rows of both tables; a ValueError if they differ by over two repetitions or .005 bits."""
    keys = ["fingerprint", "atom", "estimator"]
    both = made.merge(committed, on=keys, suffixes=("", "_committed"))
    shares = dict.fromkeys(("coverage", "rejected"), 2 / both["n_repeats"])
    for name, allowed in (shares | {"value_bits": 0.005}).items():
        if len(far := both[(both[name] - both[f"{name}_committed"]).abs() > allowed + 1e-9]):
            row = far.iloc[0]
            where = f"{row['kind']}, {row['law']}, n = {row['n_samples']}, {row['atom']}"
            text = f"{name} of {len(far)} rows made here differs from the committed table, by "
            text += f"{row[name] - row[f'{name}_committed']:.4f} at {where}. Find the reason; then"
            raise ValueError(f"{text} `make coverage` makes all again")
    return both


def make(preset: Preset, cells: Sequence[Cell]) -> pd.DataFrame:
    """The rows of cells."""
    parts = [measure_cell(preset, cell) for cell in tqdm(cells, "coverage", unit="cell")]
    return tables.validate(pd.concat(parts) if parts else [], COLUMNS)


def measure_cell(preset: Preset, cell: Cell) -> pd.DataFrame:
    """The rows of a cell; blocks of repetitions are cached, so an interrupted run goes on."""
    identity = cell.identity | {"experiment": "coverage", "code": _code()}
    identity.pop("n_repeats")  # further repetitions go on from those that are cached
    numbers = range(cell.n_repeats)
    blocks = [numbers[start : start + BLOCK] for start in numbers[::BLOCK]]
    parts = {f"{block.start:04}-{block.stop:04}": partial(_block, cell, block) for block in blocks}
    with open_store(project_root() / preset.cache, identity, {}) as store:
        shards = store.fill(parts)
    return summarize(cell, np.concatenate([shard.arrays["repeats"] for shard in shards]))


@cache
def _code() -> str:
    folder = Path(decomposition.__file__).parent
    return code_version(laws, *sorted(folder.glob("*.py")), measure_decisions, repeat)


def _block(cell: Cell, numbers: range) -> Shard:
    return Shard({"repeats": np.stack([repeat(cell, number) for number in numbers])})


def repeat(cell: Cell, number: int) -> Float[np.ndarray, "estimators atoms 5"]:
    """Value, both ends of the interval, p-value, and convergence, of one sample of a law."""
    seed = derive_seed(cell.seed, "coverage", cell.kind, cell.law, cell.n_samples, number)
    if cell.kind == "codes":
        codes = laws.sample_law(laws.sampled_laws(N_CODES)[cell.law], cell.n_samples, seed)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", ".*predicted bias")
            result = estimate(*codes, n_permutations=N_PERMUTATIONS, seed=seed)
        estimates, converged = (
            [(result.corrected, result.interval, result.p_value)],
            result.converged,
        )
    else:
        sample = getattr(_answer_laws()[cell.law], cell.kind)
        decisions = sample(cell.n_samples, np.random.default_rng(seed))
        measured = measure_decisions(decisions, N_HALVES, seed)
        rows, plug_in = measured.rows.set_index("atom"), measured.solved.pid.atoms
        drawn = bootstrap_decisions(decisions, measured.solved, N_BOOTSTRAP, seed)
        halves = dict(zip(rows.index, rows[["ci_low", "ci_high"]].to_numpy(), strict=True))
        untested = dict.fromkeys(ATOMS, np.nan)
        estimates = [(measured.atoms, halves, measured.zero_p)]
        estimates += [(plug_in, percentile_intervals(drawn, plug_in), untested)]
        converged = bool(rows["converged"].all())
    return np.array(
        [
            [(value[atom], *interval[atom], p[atom], converged) for atom in ATOMS]
            for value, interval, p in estimates
        ]
    )


def law_names(kind: str) -> list[str]:
    """The laws of decisions, or of codes."""
    return list(laws.sampled_laws(N_CODES) if kind == "codes" else _answer_laws())


def true_atoms(kind: str, law: str) -> Mapping[str, float]:
    """The atoms of a law in bits, by name."""
    if kind == "codes":
        return decomposition.pid(laws.sampled_laws(N_CODES)[law], SOURCES, tol=1e-7).atoms
    return _answer_laws()[law].atoms


def summarize(cell: Cell, repeats: Float[np.ndarray, "repeats estimators atoms 5"]) -> pd.DataFrame:
    """A row of `COLUMNS` per estimator and atom; the interval of the coverage is Wilson's."""
    truth, rows = true_atoms(cell.kind, cell.law), []
    for (e, estimator), (a, atom) in product(enumerate(ESTIMATORS[cell.kind]), enumerate(ATOMS)):
        value, low, high, p, converged = repeats[:, e, a].T
        held = (low <= truth[atom] + TOLERANCE) & (truth[atom] - TOLERANCE <= high)
        ends = binomtest(int(held.sum()), len(held)).proportion_ci(method="wilson")
        rejected = np.nan if np.isnan(p).any() else (p <= 0.05).mean()
        bits = truth[atom], value.mean(), value.mean() - truth[atom], value.std()
        shares = held.mean(), ends.low, ends.high, (high - low).mean(), rejected
        rows.append((atom, estimator, *bits, *shares, converged.all()))
    table = pd.DataFrame(rows, columns=[*_ESTIMATED.split(), "rejected", "converged"])
    table = table.assign(**cell._asdict(), fingerprint=fingerprint(**cell.identity))
    return tables.validate(table, COLUMNS)


def figure(table: pd.DataFrame) -> style.Figure:
    """Coverage by law, a row of panels per kind and a column per size; right, false detections."""
    sizes, held = sorted(table["n_samples"].unique()), ([], [])
    figure = style.page(6.2)
    axes = figure.subplots(len(KINDS), len(sizes) + 2, sharex="col", sharey="row")
    titles = [f"reported interval,\n{n:,} samples" for n in sizes]
    titles += ["bootstrap instead,\nall sizes", "false detections,\nwhere truth is 0"]
    place = {"xycoords": "axes fraction", "textcoords": "offset points", "fontweight": "bold"}
    for title, top, below in zip(titles, axes[0], axes[-1], strict=True):
        top.annotate(title, (0, 1), (0, 18), **place)
        below.set(xlim=(-0.04, 1.04), xticks=(0, 0.5, 1), xticklabels=("0", ".5", "1"))
    axes[-1, 1].set_xlabel("share of intervals that hold the truth (should be .95)", x=1)
    axes[-1, -1].set(xlabel="share with $p$ ≤ .05\n(one-sided tests)", xlim=(-0.01, 0.21))
    axes[-1, -1].set_xticks((0, 0.05, 0.1, 0.2), ("0", ".05", ".1", ".2"))
    glosses = dict(zip((*law_names("masked"), *law_names("codes")), _LAWS.split(";"), strict=True))
    tested = table[(table["kind"] == "codes") | table["atom"].str.startswith("unique")]
    zero = tested[tested["rejected"].notna() & (tested["truth_bits"].abs() <= TOLERANCE)]
    for kind, label, (*row, last) in zip(KINDS, _KINDS, axes, strict=True):
        names, shown = law_names(kind), table[table["kind"] == kind]
        bootstrap = shown["estimator"] == "bootstrap"
        chosen = [(shown["n_samples"] == n) & ~bootstrap for n in sizes] + [bootstrap]
        for ax, which in zip(row, chosen, strict=True):
            ax.axvspan(*BAND, color=style.NULL, linewidth=0, zorder=0)
            if shares := _dots(ax, shown[which], "coverage", names, "not measured"):
                enough = [each >= BAND[0] for each in shares]
                held[ax is row[-1]].extend(enough)
                text = f"{words.share(enough)} ≥ .90; worst {words.number(min(shares))}"
                ax.set_title(text, fontsize=6.5, pad=3)
        last.axvline(0.05, color=style.INK, linewidth=0.7, zorder=1)
        if shares := _dots(last, zero[zero["kind"] == kind], "rejected", names, "no truth is 0"):
            text = f"mean {words.number(np.mean(shares))}; highest {words.number(max(shares))}"
            last.set_title(text, fontsize=6.5, pad=3)
        style.name_rows(row[0], [glosses[name] for name in names])
        row[0].annotate(label, (0, 1), (-4, 3), ha="right", **place)
    text = "Reported 95 % intervals hold the truth in at least 90 % of samples for {} dots; "
    text += "bootstrap intervals for {}"
    figure.suptitle(text.format(*map(words.share, held)))
    band = f"coverage {' to '.join(map(words.number, BAND))}: as it should be"
    handles = [*style.atom_points(ATOMS), style.swatch(band, facecolor=style.NULL)]
    handles.append(style.line_handle("95 % interval of the share", 0.6))
    style.legend(figure, 3, *handles, loc="outside lower center")
    return figure


def _dots(ax: style.Axes, rows: pd.DataFrame, column: str, names: list, empty: str) -> list[float]:
    """Draw shares of all repetitions by law, atoms above each other; say why a law has none."""
    shares = []
    for (law, atom), cells in rows.groupby(["law", "atom"]):
        y, color = names.index(law) + 0.2 * (ATOMS.index(atom) - 1.5), style.COLORS[atom]
        test = binomtest(round(cells[column] @ cells["n_repeats"]), int(cells["n_repeats"].sum()))
        ax.hlines(y, *test.proportion_ci(method="wilson"), color=color, linewidth=0.6)
        shares.append(test.statistic)
        style.points(ax, [shares[-1]], [y], "o", color=color, markeredgecolor=color, markersize=3)
    ax.grid(visible=False)
    for y, law in enumerate(names):
        ax.axhline(y + 0.5, color="#e4e4e4", linewidth=0.5, zorder=0)
        if law not in set(rows["law"]) and (len(rows) or y == len(names) // 2):
            place = {"ha": "center", "va": "center", "fontsize": 6.5, "color": style.FAINT}
            ax.text(0.6, y, empty, transform=ax.get_yaxis_transform(), **place)
    return shares


def latex(table: pd.DataFrame) -> str:
    """A row per cell: coverage as reported and by bootstrap, then rejections."""
    columns, values = ["estimator", "atom"], ["coverage", "rejected"]
    wide = table.pivot(index="fingerprint", columns=columns, values=values)
    header = ["kind", "law", "$n$", "samples"]
    header += [f"{style.SYMBOLS[atom]}{mark}" for mark in ("", "*", r"\dag") for atom in ATOMS]
    rows = []
    for cell in table.drop_duplicates("fingerprint").itertuples():
        reported = "codes" if cell.kind == "codes" else "halves"
        groups = ("coverage", reported), ("coverage", "bootstrap"), ("rejected", reported)
        places = [(*group, atom) for group, atom in product(groups, ATOMS)]
        shares = wide.loc[cell.fingerprint].reindex(places)
        rows.append([cell.kind, cell.law, cell.n_samples, cell.n_repeats, *shares])
    return tables.booktabs(header, rows, "llrr" + "r" * 12, digits=2)
