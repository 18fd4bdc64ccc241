"""How much of what a protocol estimates is signal?

Both protocols of `protocols` are compared with their nulls: on independent labels, on a known
mixture for several lengths and alphabets, and on the tokens of the preset's models.
"""

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
_LOOKS = {"released": ("o", style.OTHERS[0], "")}  # marker, color and words of each protocol
_LOOKS[protocols.LONGER] = "o", style.OTHERS[0], "released, picture longer than question"
_LOOKS[protocols.EQUAL] = "^", style.OTHERS[1], "released, both equally long (right only)"
_LOOKS[protocols.POOLED] = "s", style.INK, "dataset level: a sample is an observation"


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
        profiles.append(samples.assign(**columns, protocol=protocols.POOLED, n_observations=n))
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


def signal(rows: pd.DataFrame, *keys: str) -> pd.Series:
    """The per cent of the counted bits, summed over atoms, that are beyond the null."""
    bits = rows.groupby(list(keys), sort=False)[["value_bits", "null_mean"]].sum().astype(float)
    return 100 * (1 - bits["null_mean"] / bits["value_bits"])


def figure(table: pd.DataFrame) -> style.Figure:
    """The signal of both protocols: left of models by benchmark, right of a mixture by length."""
    models, mixture = table[table["model"].notna()], table[table["benchmark"] == AUDITED]
    mixture, benchmarks = mixture[mixture["model"].isna()], list(models["benchmark"].unique())
    figure = style.page(max(0.19 * len(benchmarks), 1) + 1.4)
    left, right = figure.subplots(1, 2, width_ratios=(1.1, 1))
    title = "Models: median benchmark; atoms with $p$ ≤ .05"
    for protocol, rows in models.groupby("protocol", sort=False):
        cells, (marker, color, _) = signal(rows, "benchmark", "model"), _LOOKS[protocol]
        by_benchmark = cells.groupby("benchmark").agg(["mean", "min", "max"]).loc[benchmarks]
        mean, low, high = style.floats(by_benchmark, "mean", "min", "max")
        left.hlines(range(len(benchmarks)), low, high, color=color, linewidth=0.9, zorder=2)
        style.points(left, mean, range(len(benchmarks)), marker, color=color)
        clear = rows["null_p"].dropna() <= protocols.LEVEL
        title += f"\n{protocol}: {np.median(mean):.0f} %; {clear.sum()} of {len(clear)} atoms"
    left.set(title=title, xlabel="bits beyond the null (% of all bits)")
    style.name_rows(left, list(map(style.benchmark_name, benchmarks)))
    largest = mixture[mixture["n_codes"] == mixture["n_codes"].max()]
    cells = signal(largest, "protocol", "n_observations").unstack("protocol")
    title = f"A known mixture, {largest['n_codes'].max()} codes; at {cells.index.max():g}:"
    for number, (protocol, shares) in enumerate(cells.items()):
        (marker, color, _), n = _LOOKS[protocol], cells.index * 1.08 ** (number - 1)
        right.plot(n, shares, color=color, linewidth=0.8, zorder=2)
        style.points(right, n, shares, marker, color=color)
        words = f"{protocol.split(', ')[-1]} {shares.iloc[-1]:.0f} %"
        title += f"{', ' if number % 2 else chr(10)}{words}"
    right.set(xscale="log", xlabel="observations: positions, or samples", title=title)
    right.set_ylabel("bits beyond the null (% of all bits)")
    right.set_xticks(cells.index, [f"{n:g}" for n in cells.index])
    right.minorticks_off()
    for axis, line in ((left.set_xlim, left.axvline), (right.set_ylim, right.axhline)):
        axis(min(-4, *axis()), 104)  # a share below the null is negative
        line(0, color=style.FAINT, linewidth=0.8, zorder=1)
    markers = style.marker_handles((words, *look) for *look, words in _LOOKS.values() if words)
    line = style.line_handle("left: range over models; right has no interval")
    words = "released: each sample by itself, a position is an observation"
    words = words, "one-sided permutation tests, not corrected for their number"
    style.legend(figure, 2, *markers, line, *map(style.handle, words))
    return figure
