"""Are measured atoms those that a model really has, even when it errs?

Truths are exact atoms of its answers to a whole finite law, see `pidlib.experiments.renderings`.
"""

from dataclasses import replace
from functools import partial
from itertools import product

import numpy as np
import pandas as pd

from pidlib._common import derive_seed
from pidlib.benchmarks import Sample
from pidlib.experiments import MODES, Preset, Query, Request, extract_all, style
from pidlib.experiments.renderings import FiniteLaw, finite_laws
from pidlib.experiments.statistics import percentile_interval
from pidlib.experiments.tables import ATOMS, declare, validate
from pidlib.experiments.validation import fig_benchmarks
from pidlib.experiments.words import interval
from pidlib.extraction import FULL, PASSES, SOURCES, drawn
from pidlib.profiles.modes import measure_decisions

RENDERINGS = 4  # of each state; a law has 16 to 384 samples
N_DRAWS = 2000  # bootstrap draws of the models
FLOOR = 1e-3  # bits: an interval this close to a truth contains it
ALL = "all"
COLUMNS = declare(ATOMS, "truth_bits accuracy", required="truth_bits accuracy")
_ENDS = ["ci_low", "ci_high"]
_LOOKS = dict(masked=("o", "white"), resampled=("D", style.INK), observational=("s", "#b0b0b0"))


def requests(preset: Preset) -> list[Request]:
    """Answers to all samples of each law, and all passes of a draw of them, of the population."""
    whole = Query(preset.split, 1, preset.seed, (FULL,), change=partial(law_samples, draw=None))
    size, passes = (preset.split, preset.n_recovered, preset.seed), drawn(PASSES, preset.draws)
    change = partial(law_samples, draw=derive_seed(preset.seed, "recovery"))
    queries = (whole, Query(*size, passes, preset.partners, change=change))
    return [Request(preset.population, fig_benchmarks.generated(preset), queries)]


def law_of(benchmark: str, split: str) -> FiniteLaw:
    """The finite law of a picture task."""
    (law,) = finite_laws(benchmark, RENDERINGS, split).values()
    return law


def law_samples(samples: list[Sample], draw: int | None) -> list[Sample]:
    """Replace samples by all of their task's law, or by as many drawn with a seed."""
    law = law_of(samples[0].benchmark, samples[0].split)
    if draw is None:
        return list(law.samples)
    weights, generator = law.weights.ravel(), np.random.default_rng(draw)
    chosen = generator.choice(len(law.samples), len(samples), p=weights)
    drawn = (law.samples[index] for index in chosen)
    return [replace(each, sample_id=f"{each.sample_id}/{n}") for n, each in enumerate(drawn)]


def measure(preset: Preset) -> pd.DataFrame:
    """Estimated atoms of every model, task and mode, with those of the model's own law."""
    tables, settings = [], preset.model_dump(include={"n_halves", "seed"})
    fixed = {"source_a": SOURCES[0], "source_b": SOURCES[1], "estimator": "exact"}
    for whole, draw in extract_all(preset, *requests(preset)):
        law = law_of(draw.columns["benchmark"], draw.columns["split"])
        decisions = whole.extraction.decisions(FULL, preset.tau)
        accuracy = law.weights.ravel() @ whole.extraction.correct(FULL)
        for mode in preset.unimodal:
            truth = law.pid(decisions, "resampled" if mode == "resampled" else "masked").atoms
            estimated = getattr(draw.extraction, mode)(preset.tau)
            rows = measure_decisions(estimated, **settings, device=preset.device).rows
            identified = {"law": whole.columns["fingerprint"], "unimodal": mode, "tau": preset.tau}
            columns = draw.row_columns("validation", **identified, **settings) | fixed
            columns |= {"unimodal": mode, "accuracy": accuracy}
            tables.append(rows.assign(truth_bits=rows["atom"].map(truth), **columns))
    return validate(pd.concat(tables).assign(experiment="validation", seed=preset.seed), COLUMNS)


def errors(table: pd.DataFrame) -> pd.DataFrame:
    """Mean distances of estimates from truths, by mode: of `ALL`, of a benchmark, of an atom.

    Intervals resample models; ``null`` is the distance from the truths of others.
    """
    low, high = (table[name].astype(float) for name in _ENDS)
    covered = table["truth_bits"].between(low - FLOOR, high + FLOOR)
    table = table.assign(bits=style.best(table), covered=covered)
    wide = table.pivot(index="model", columns=["unimodal", "benchmark", "atom"])
    bits, truth, covered = (wide[name].astype(float) for name in ("bits", "truth_bits", "covered"))
    apart = np.abs(bits.to_numpy()[:, None] - truth.to_numpy()[None])
    own = pd.DataFrame(np.diagonal(apart).T, columns=bits.columns)
    others = pd.DataFrame(apart[~np.eye(len(bits), dtype=bool)], columns=bits.columns).mean()
    models = np.random.default_rng(0).integers(len(own), size=(N_DRAWS, len(own)))
    rows, names = [], dict.fromkeys((*table["benchmark"], *table["atom"], ALL))
    for mode, name in product(table["unimodal"].unique(), names):
        chosen = [mode == cell[0] and name in (ALL, *cell[1:]) for cell in own.columns]
        means = own.loc[:, chosen].mean(axis=1).to_numpy()
        ends = percentile_interval(means[models].mean(1))
        shared = others[chosen].mean(), np.nanmean(covered.loc[:, chosen])
        rows.append((mode, name, means.mean(), *map(float, ends), *shared))
    columns = ["unimodal", "group", "error_bits", *_ENDS, "null_mean", "covered"]
    return pd.DataFrame(rows, columns=columns).set_index(["unimodal", "group"])


def figure(table: pd.DataFrame) -> style.Figure:
    """Above, estimates against truths by mode; below, mean errors by benchmark and by atom."""
    modes = [mode for mode in MODES if mode in set(table["unimodal"])]
    figure, summary = style.page(5), errors(table)
    above, below = figure.subfigures(2, 1, height_ratios=(1.25, 1))
    axes = above.subplots(1, len(modes), sharex=True, sharey=True, squeeze=False)[0]
    for mode, ax in zip(modes, axes, strict=True):
        rows = table[table["unimodal"] == mode]
        top = rows["truth_bits"].max()
        ax.axline((0, 0), slope=1, color=style.FAINT, linewidth=0.8, zorder=1)
        for atom in style.VISION_LANGUAGE:
            own, look = rows[rows["atom"] == atom], {"color": style.COLORS[atom]}
            x, low, high = style.floats(own, "truth_bits", *_ENDS)
            style.interval(ax, x, low, high, **look, linewidth=0.4, alpha=0.4, zorder=2)
            ax.plot(x, style.best(own), ".", **look, markersize=2.4, alpha=0.7, zorder=3)
        ax.set_xlim(-0.04 * top, 1.04 * top)
        error, low, high, covered = summary.loc[mode, ALL][["error_bits", *_ENDS, "covered"]]
        numbers = f"off by {error:.3f} [{low:.3f}, {high:.3f}] bits\n"
        numbers += f"{100 * covered:.0f} % of the intervals hold the truth"
        ax.set_title(rf"$\bf{{{mode}}}$: {numbers}", fontsize=7.5, linespacing=1.1)
        ax.set_xlabel("atom of the model's own law (bits)")
    axes[0].set_ylabel("estimate (bits)")
    style.legend(above, 4, *style.atom_points())
    _draw_errors(below, summary, modes, list(table["benchmark"].unique()))
    return figure


def column(table: pd.DataFrame) -> style.Figure:
    """Mean errors by mode on a logarithmic axis, and how often the intervals hold the truth."""
    rows = errors(table).xs(ALL, level="group").rename(columns={"null_mean": "null_high"})
    rows = rows.loc[[mode for mode in MODES if mode in rows.index]].assign(null_low=FLOOR / 2)
    figure, places = style.column(1.6), np.arange(len(rows))
    ax, drawn = figure.subplots(), rows.assign(value=rows["error_bits"].clip(lower=FLOOR))
    style.forest(ax, places, drawn, 0.6, s=16, color=style.INK)
    for y, row in enumerate(rows.itertuples()):
        text = f"{interval(row.error_bits, row.ci_low, row.ci_high, 3)} bits\n"
        text += f"{100 * row.covered:.0f} % of intervals hold the truth"
        style.margin(ax, y, text, 1.03, fontsize=6.5)
    ax.set(xscale="log", xlim=(FLOOR / 2, None), xlabel="mean distance from the truth (bits)")
    style.name_rows(ax, list(rows.index))
    ax.set_xticks([FLOOR, 0.01, 0.1, 1], ["< .001", ".01", ".1", "1"])
    null = style.null_handle("null: from the truths of other models")
    style.legend(figure, 1, null, loc="outside upper right")
    return figure


def _draw_errors(part: style.Figure, summary: pd.DataFrame, modes: list, names: list) -> None:
    """Mean errors with intervals on a logarithmic axis, and those of the other models' laws."""
    ax, groups = part.subplots(), [*names, *style.VISION_LANGUAGE, ALL]
    places = np.arange(len(groups)) + 0.5 * (np.arange(len(groups)) >= len(names))
    for offset, mode in zip((-0.26, 0, 0.26), modes, strict=False):
        rows, (marker, face) = summary.loc[mode].loc[groups], _LOOKS[mode]
        style.null_band(ax, places + offset, rows["null_mean"], 0.24)
        style.interval(ax, places + offset, rows["ci_low"], rows["ci_high"])
        style.points(ax, places + offset, np.maximum(rows["error_bits"], FLOOR), marker, color=face)
    labels = [style.benchmark_name(name).removeprefix("micro: ") for name in names]
    labels += [*map(style.SYMBOLS.get, style.VISION_LANGUAGE), ALL]
    ax.set_xticks(places, [label.replace(" ", "\n") for label in labels])
    ax.tick_params(axis="x", length=0)
    ax.set(yscale="log", ylabel="mean error (bits)", xlim=(-0.6, places[-1] + 0.6))
    ax.set_yticks([FLOOR, 0.01, 0.1, 1], ["< .001", ".01", ".1", "1"])
    ax.set_ylim(bottom=0.8 * FLOOR)
    handles = style.marker_handles((mode, *_LOOKS[mode]) for mode in modes)
    style.legend(part, 4, *handles, style.null_handle("against the laws of the other models"))
