"""How much of what a protocol estimates is signal?

Both protocols of `protocols` are compared with their nulls: on independent labels, on a known
mixture for several lengths and alphabets, and on the tokens of the preset's models.
"""

from itertools import product

import numpy as np
import pandas as pd
from tqdm.auto import tqdm

from pidlib._common import derive_seed
from pidlib.decomposition import pid
from pidlib.decomposition.entropies import tabulate
from pidlib.experiments import Preset, Query, Request, extract_all, published, style
from pidlib.experiments.decision_profiles import ESTIMATION, embedding_profile, embedding_request
from pidlib.experiments.statistics import normal_interval
from pidlib.experiments.vision_language import protocols
from pidlib.extraction import FULL

COLUMNS = protocols.COLUMNS
LABELS, PUBLISHED = "independent labels", "released, authors' files"
AUDITED = "0.6 vision + 0.4 language"  # a mixture that has all four atoms
LABEL_SIZES, LABEL_REPEATS = (50, 1000, 20_000), 100  # the sizes of the published numbers
_SETTINGS = {"n_clusters", *ESTIMATION, "n_sequences", "audit_observations", "audit_codes"}
_DASHED = (0, (1.5, 1.2))


def requests(preset: Preset) -> list[Request]:
    """Token sequences of a few samples, and pooled embeddings of all."""
    few = Query(preset.split, preset.n_sequences, preset.seed, (FULL,), tokens=True)
    pooled = embedding_request(preset)
    return [pooled._replace(queries=(few, *pooled.queries))]


def measure(preset: Preset) -> pd.DataFrame:
    """Atoms by each protocol with their null: of labels, of a mixture, and of the models."""
    profiles, seed = [_published(), *(_labels(preset.seed, n) for n in LABEL_SIZES)], preset.seed
    for n in tqdm(preset.audit_observations, desc="audit", unit="size"):
        sequences = {}
        for protocol, patches in protocols.PATCHES.items():
            tokens = protocols.mixed(AUDITED, preset.n_sequences, n, patches, seed)
            sequences[protocol] = protocols.shorten(tokens, seed)
        for k in preset.audit_codes:
            for protocol, tokens in sequences.items():
                rows = protocols.released(tokens, k, preset.n_bootstrap, seed)
                profiles.append(rows.assign(protocol=protocol, benchmark=AUDITED))
            profiles.append(protocols.mixture_rows(preset, AUDITED, n, k))
    settings = preset.model_dump(include={"n_clusters", *ESTIMATION})
    draws = {"n_bootstrap": preset.n_bootstrap, "seed": seed}
    for sequences, fitted, applied in extract_all(preset, *requests(preset)):
        others = {"fitted": fitted.columns["fingerprint"], "released": protocols.RELEASED_CODES}
        others |= {"sequences": sequences.columns["fingerprint"]}
        columns = applied.row_columns("vision_language", **others, **settings)
        n = columns.pop("n_samples")
        tokens = protocols.released(sequences.extraction.tokens, **draws)
        profiles.append(tokens.assign(protocol="released", **columns))
        samples = embedding_profile(preset, fitted.extraction, applied.extraction)
        columns |= {"protocol": protocols.POOLED, "n_observations": n}
        profiles.append(samples.assign(**columns))
    return protocols.finished(preset, profiles, _SETTINGS, COLUMNS)


def _published() -> pd.DataFrame:
    """Published atoms: of independent labels, and in the authors' files, of unknown sizes."""
    labels, files = published("fig_protocol_audit"), published("table2_contributions")
    files = files[(files["unit"] == "nats") & (files["benchmark"] == "VQA")]
    files = files.assign(benchmark=files["model"] + ", VQA", protocol=PUBLISHED)
    files = files.rename(columns={"quantity": "atom", "value": "nats"})
    files = files[["protocol", "benchmark", "source", "grade", "n_samples", "atom", "nats"]]
    table = pd.concat([labels.assign(benchmark=LABELS, protocol=LABELS), files])
    return table.assign(value_bits=table.pop("nats") / np.log(2), fingerprint="published")


def _labels(seed: int, n: int) -> pd.DataFrame:
    """Mean atoms of three independent lists of n labels, with 1.96 standard deviations."""
    k = min(protocols.RELEASED_CODES, n)
    generator = np.random.default_rng(derive_seed(seed, "independent labels", n))
    labels = generator.integers(k, size=(3, LABEL_REPEATS, n))
    solved = pid(tabulate(*labels, (k, k, k)))
    values = np.stack(list(solved.atoms.values()))
    low, high = normal_interval(values.mean(1), values.std(1))
    rows = {"atom": [*solved.atoms], "value_bits": values.mean(1), "ci_low": low, "ci_high": high}
    rows = pd.DataFrame(rows).assign(protocol=LABELS, benchmark=LABELS, n_observations=n)
    return rows.assign(n_samples=LABEL_REPEATS, n_codes=k, converged=solved.converged.all())


def figure(table: pd.DataFrame) -> style.Figure:
    """Atoms and their nulls: a mixture above, labels and models below."""
    labels, models = table[table["protocol"] == LABELS], table[table["model"].notna()]
    mixture = table[table["model"].isna() & ~table["protocol"].isin([LABELS, PUBLISHED])]
    names, sizes = list(mixture["protocol"].unique()), sorted(mixture["n_codes"].unique())
    figure = style.page(1.25 * len(names) + 2.5)
    heights = [1] * len(names) + [1.15]
    grid = figure.add_gridspec(len(heights), 3 * len(sizes), height_ratios=heights)
    ax = None
    for (row, protocol), (column, k) in product(enumerate(names), enumerate(sizes)):
        ax = figure.add_subplot(grid[row, 3 * column : 3 * column + 3], sharex=ax)
        _draw_mixture(ax, mixture[(mixture["protocol"] == protocol) & (mixture["n_codes"] == k)])
        ax.set_title(f"{protocol}: {k} codes" if column == 0 else f"{k} codes")
        ax.set_ylabel("bits" if column == 0 else "")
        ax.set_xlabel("samples $N$" if protocol == protocols.POOLED else "positions $L$")
    width = len(sizes)
    left, *others = (figure.add_subplot(grid[-1, n * width : (n + 1) * width]) for n in range(3))
    _draw_labels(left, labels)
    in_files = table[table["protocol"] == PUBLISHED]
    parts = zip(others, ("released", protocols.POOLED), (in_files, in_files[:0]), strict=True)
    for ax, protocol, reported in parts:
        _draw_models(ax, models[models["protocol"] == protocol], reported)
        ax.set_title(f"{protocol}, exemplars")
    look = {"linestyle": "-", "marker": "o", "markersize": 2.6, "color": style.INK}
    handles = [*style.atom_handles(), style.handle("as counted", **look)]
    handles.append(style.handle("its own null", linestyle=_DASHED, color=style.INK))
    handles.append(style.null_handle("null of a bar"))
    handles += style.marker_handles([("as reported", "D", "white")], markersize=3.4)
    figure.legend(handles=handles, loc="outside upper center", ncols=4)
    return figure


def _draw_mixture(ax: style.Axes, rows: pd.DataFrame) -> None:
    """Draw measured atoms with intervals, and their nulls dashed, by number of observations."""
    for index, (atom, group) in enumerate(rows.groupby("atom", sort=False)):
        n, value, null = style.floats(group, "n_observations", "value_bits", "null_mean")
        corrected, low, high = style.floats(group, "corrected_bits", "ci_low", "ci_high")
        x, color = n * 1.06 ** (index - 1.5), style.COLORS[atom]  # side by side
        ax.plot(x, value, marker="o", markersize=2.2, linewidth=1, color=color, zorder=3)
        ax.plot(x, null, linestyle=_DASHED, linewidth=0.9, color=color)
        # The interval is as wide as that of the corrected value.
        style.interval(ax, x, value - corrected + low, value - corrected + high, color=color)
    sizes = sorted(rows["n_observations"].unique())
    ax.set(xscale="log", ylim=(0, None))
    ax.set_xticks(sizes, [f"{n:g}" for n in sizes])
    ax.minorticks_off()


def _draw_labels(ax: style.Axes, rows: pd.DataFrame) -> None:
    """Draw the atoms of independent labels as bars, and the published ones as markers."""
    sizes = sorted(rows["n_observations"].unique())
    for index, atom in enumerate(style.VISION_LANGUAGE):
        group = rows[rows["atom"] == atom].sort_values("n_observations")
        measured, reported = group[group["grade"].isna()], group[group["grade"].notna()]
        x = np.arange(len(sizes)) + (index - 1.5) * 0.2
        style.bars(ax, x, measured["value_bits"].astype(float), atom, 0.19)
        style.interval(ax, x, measured["ci_low"], measured["ci_high"])
        style.points(ax, x, reported["value_bits"], "D", markersize=2.6)
    ax.set_xticks(range(len(sizes)), [f"{n:g}" for n in sizes])
    ax.set(xlabel="observations $N$", ylabel="bits", ylim=(0, None))
    ax.set_title(f"{LABELS}: at most {rows['n_codes'].max()} codes")


def _draw_models(ax: style.Axes, rows: pd.DataFrame, reported: pd.DataFrame) -> None:
    """Draw means over models with their range and null, then the published atoms."""
    benchmarks = list(rows["benchmark"].unique())
    others = list(reported["benchmark"].unique())
    for index, atom in enumerate(style.VISION_LANGUAGE):
        group = rows[rows["atom"] == atom].groupby("benchmark", sort=False)
        side, mean = (index - 1.5) * 0.2, group[["value_bits", "null_mean"]].mean()
        x = np.arange(len(benchmarks)) + side
        style.bars(ax, x, mean["value_bits"].astype(float), atom, 0.19, hatch="")
        style.null_band(ax, x, mean["null_mean"], 0.19)
        bits = group["value_bits"]
        style.interval(ax, x, bits.min(), bits.max(), linewidth=0.6)
        for column, other in enumerate(others, len(benchmarks)):
            chosen = (reported["atom"] == atom) & (reported["benchmark"] == other)
            value = reported.loc[chosen, "value_bits"]
            style.points(ax, [column + side], value, "D", markersize=2.6)
    names = [style.benchmark_name(name).removeprefix("micro: ") for name in benchmarks] + others
    ax.set_xticks(range(len(names)), names, rotation=55, ha="right", rotation_mode="anchor")
    ax.tick_params(axis="x", length=0, labelsize=6.5)
    ax.set_ylim(0, None)
