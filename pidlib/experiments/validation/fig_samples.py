r"""How do unique information and synergy depend on the number of samples, and where do they end?

The logits of two independent Gaussian sources add: p(y | v) = softmax(v), p(y | v, t) = softmax(v +
t). Every input is new. The weaker source is a degraded version of the stronger one, so

.. math:: U_{weaker} = 0, \quad R = I(Y; X_{weaker}), \quad S = I(Y; V, T) - I(Y; X_{stronger}).
"""

import math
from collections.abc import Iterator
from functools import reduce

import numpy as np
import pandas as pd
from jaxtyping import Float
from scipy.linalg import null_space
from scipy.special import entr, softmax
from tqdm.auto import tqdm

from pidlib._common import derive_seed, fingerprint
from pidlib.decomposition.atoms import atoms
from pidlib.decomposition.batch import WIDTH, batch_pid
from pidlib.decomposition.decisions import Decisions
from pidlib.experiments import ATOMS, Preset, declare, style, validate
from pidlib.experiments.statistics import normal_interval
from pidlib.experiments.words import interval, number
from pidlib.extraction import SOURCES
from pidlib.profiles.modes import measure_decisions

K, NODES = 4, 40  # answers; nodes of the quadrature in each dimension
LAWS = {"sources of one law": (2.0, 2.0), "sources of unequal strength": (2.0, 1.0)}
N_HALVES = 4
WIDTHS, STEPS, BATCH_SIZES = (WIDTH, 40, 80), 300, (32, 128)  # of BATCH; samples are one batch
_LOOKS = {"plug-in": ("o", "white"), "extrapolated": ("s", style.INK)}
COLUMNS = declare(ATOMS, "width")


def measure(preset: Preset) -> pd.DataFrame:
    """Mean atoms by law, number of samples and estimator, and their limit.

    The largest sample is cut into smaller ones. Intervals are 1.96 standard errors of the mean,
    from the spread over samples of one size, pooled over sizes as if it fell as n^(-1/2). BATCH is
    the mean of the exact solver plus the difference of both on the first sample.
    """
    sizes, largest, parts = preset.sample_sizes, max(preset.sample_sizes), []
    for law, scales in LAWS.items():
        end = pd.DataFrame(limit(scales).items(), columns=["atom", "value_bits"])
        whole, repeats, batches = inputs(scales, largest, preset.seed), [], []
        for n in tqdm(sizes, desc=law, unit="size"):
            cut = whole[:, : largest // n * n]
            samples = [decisions(part) for part in np.split(cut, largest // n, axis=1)]
            rows = [measure_decisions(each, N_HALVES).rows.assign(n_samples=n) for each in samples]
            repeats += rows
            if n in BATCH_SIZES:
                means = pd.concat(rows).groupby("atom")["value_bits"].mean()
                offset = means - rows[0].set_index("atom")["value_bits"]
                batches += _batch(samples[0], offset, preset.seed)
        solved = [end.assign(estimator="limit"), _means(pd.concat(repeats)), *batches]
        parts.append(pd.concat(solved).assign(benchmark=law))
    settings = {"sizes": sizes, "seed": preset.seed, "laws": LAWS, "n_halves": N_HALVES}
    identity = fingerprint(**settings, batch=(*WIDTHS, STEPS, *BATCH_SIZES))
    shared = {"experiment": "validation", "seed": preset.seed, "fingerprint": identity}
    shared |= {"source_a": "vision", "source_b": "language", "unimodal": "masked"}
    return validate(pd.concat(parts).assign(**shared), COLUMNS)


def inputs(scales: tuple[float, float], n: int, seed: int = 0) -> Float[np.ndarray, "2 n k"]:
    """Draw the logits of both sources for n samples."""
    generator = np.random.default_rng(derive_seed("fig_samples", seed))
    return generator.normal(size=(2, n, K)) * np.reshape(scales, (2, 1, 1))


def decisions(logits: Float[np.ndarray, "2 n k"]) -> Decisions:
    """The answers from both sources and from each alone."""
    alone = dict(zip(SOURCES, softmax(logits, axis=2), strict=True))
    return Decisions(softmax(logits.sum(0), axis=1), alone)


def limit(scales: tuple[float, float]) -> dict[str, float]:
    """The atoms of the law in bits, see above."""
    first, second, both = (information(scale) for scale in (*scales, math.hypot(*scales)))
    return atoms(SOURCES, first, second, both, max(first, second))


def information(scale: float) -> float:
    """Bits that softmax(scale z), z normal, tells of its answer, by quadrature to .001."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(NODES)
    grid = np.stack(np.meshgrid(*[nodes] * (K - 1)), axis=-1).reshape(-1, K - 1)
    weights = reduce(np.multiply.outer, [weights / weights.sum()] * (K - 1)).ravel()
    rows = softmax(scale * grid @ null_space(np.ones((1, K))).T, axis=1)
    return float(math.log2(K) - weights @ entr(rows).sum(1) / math.log(2))


def _means(repeats: pd.DataFrame) -> pd.DataFrame:
    parts = []
    groups = repeats.groupby(["n_samples", "atom"], sort=False)
    for estimator, column in (("plug-in", "value_bits"), ("extrapolated", "corrected_bits")):
        rows = groups[column].agg(value_bits="mean", count="size", variance="var")
        rows = rows.join(groups["converged"].all()).reset_index()
        free = rows["count"] - 1
        squares = (rows["variance"].fillna(0) * free * rows["n_samples"]).groupby(rows["atom"])
        pooled = (squares.sum() / free.groupby(rows["atom"]).sum())[rows["atom"]].to_numpy()
        error = np.sqrt(pooled / (rows["count"] * rows["n_samples"]))
        rows["ci_low"], rows["ci_high"] = normal_interval(rows["value_bits"], error)
        parts.append(rows.drop(columns=["count", "variance"]).assign(estimator=estimator))
    return pd.concat(parts)


def _batch(sample: Decisions, offset: pd.Series, seed: int) -> Iterator[pd.DataFrame]:
    options = {"batch_size": len(sample), "epochs": STEPS, "n_batches": 1, "seed": seed}
    for width in WIDTHS:
        bits = pd.Series(batch_pid(sample, width=width, **options).atoms) + offset
        rows = bits.rename_axis("atom").reset_index(name="value_bits")
        yield rows.assign(estimator="BATCH", n_samples=len(sample), width=width)


def figure(table: pd.DataFrame) -> style.Figure:
    """What unique information and synergy lack or have too much, by number of samples and law."""
    figure = style.page(4.2)
    axes = figure.subplots(2, len(LAWS), sharex=True, sharey=True)
    for row, atom in zip(axes, ("unique_vision", "synergy"), strict=True):
        own = table[table["atom"] == atom]
        for ax, law in zip(row, LAWS, strict=True):
            _draw(ax, own[own["benchmark"] == law])
        row[0].set_ylabel(f"{style.SYMBOLS[atom]} ({style.WORDS[atom]})\nminus its limit (bits)")
    titles = "Sources of equal strength", "Vision twice as strong as language"
    for above, below, title in zip(*axes, titles, strict=True):
        above.set_title(f"{title}\n{above.get_title(loc='left')}")
        below.set_xlabel("samples $n$")
    sizes = sorted(table["n_samples"].dropna().unique())
    axes[0, 0].set(xscale="log", xticks=sizes, xticklabels=[str(n) for n in sizes])
    axes[0, 0].minorticks_off()
    words = {"plug-in": "plug-in: as measured", "extrapolated": "extrapolated from halves"}
    handles = style.marker_handles((words[name], *look) for name, look in _LOOKS.items())
    handles.append(style.line_handle("95 % interval of the mean", 0.8))
    style.legend(figure, 4, *handles, style.line_handle("limit, large $n$", 0.8, linestyle="--"))
    return figure


def _draw(ax: style.Axes, rows: pd.DataFrame) -> None:
    """Draw the means of the estimators minus the limit, and write those of the largest sample."""
    end = rows.loc[rows["estimator"] == "limit", "value_bits"].item()
    ax.axhline(0, color=style.INK, linewidth=0.8, linestyle="--", zorder=1)
    words = []
    for side, (estimator, (marker, color)) in zip((1, -1), _LOOKS.items(), strict=True):
        part = rows[rows["estimator"] == estimator].sort_values("n_samples")
        n, *bits = style.floats(part, "n_samples", "value_bits", "ci_low", "ci_high")
        mean, low, high = np.array(bits) - end
        style.interval(ax, n * 1.04**side, low, high)
        style.points(ax, n * 1.04**side, mean, marker, color=color)
        words.append(f"{estimator} {interval(mean[-1], low[-1], high[-1], 3)}")
    ax.set_title(f"limit {number(end, 3)}; bits from it at $n$ = {n[-1]:.0f}:\n{', '.join(words)}")
