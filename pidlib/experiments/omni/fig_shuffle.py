r"""Do the unique atoms of a stream predict the accuracy lost when that stream is swapped?

Swaps are within benchmark and template, the same for all models. Drops are also correlated with U +
S: :math:`I(Y; V \mid A, T) = U_v + S` is what a swapped video removes.
"""

from collections.abc import Iterator, Mapping
from functools import partial
from operator import attrgetter
from typing import NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int

from pidlib._common import derive_seed, fingerprint
from pidlib.decomposition.resampling import normal_interval
from pidlib.experiments import Preset, interventions, statistics, style
from pidlib.experiments.extractions import Extracted, Request, extract_all
from pidlib.experiments.omni import profiles
from pidlib.experiments.tables import COMPUTED, ORIGIN, declare, published, validate
from pidlib.experiments.words import interval, listed, p_value
from pidlib.profiles.clips import sensory_profile
from pidlib.sensory import split_by

N_SWAPS = 3  # derangements of each stream, whose drops are averaged
STREAMS = {"video swapped": "vision", "sound swapped": "audio"}
ATOMS = ("unique_vision", "unique_audio", "synergy")
QUANTITIES = (*ATOMS, "vision_given_audio", "audio_given_vision")  # the last two are U + S
DECIMALS = 3  # of bits and accuracies; smaller differences are ties
MIN_TEMPLATES = 3  # for an interval over templates
MEAN = "mean within subsets"
SUBSETS, TEMPLATES = "all models and subsets", "all models and templates"
_NUMBERS = "value ci_low ci_high null_low null_high null_p n_samples n_models n_cells seed"
_NAMES = f"kind source grade template {ORIGIN} quantity intervention {_NUMBERS} {COMPUTED}"
COLUMNS = declare("experiment", _NAMES, required="experiment kind value quantity intervention")
Rows = Iterator[dict[str, object]]
Numbers, Rhos = Float[np.ndarray, "cells columns"], Float[np.ndarray, "draws groups p q"]
_SYMBOLS = {atom: style.SYMBOLS[atom] for atom in ATOMS}
_SYMBOLS |= dict(zip(QUANTITIES[3:], ("$U_v + S$", "$U_a + S$"), strict=True))
_PREDICTORS = dict(zip(STREAMS, zip(ATOMS[:2], QUANTITIES[3:], strict=True), strict=True))
_DIAMOND = {"linestyle": "", "marker": "D", "color": style.OTHERS[0], "markersize": 4, "zorder": 6}


def requests(preset: Preset) -> list[Request]:
    """The passes of Sensory PID, and the full pass with each stream swapped `N_SWAPS` times."""
    full = profiles.query(preset)
    swapped = full._replace(n_samples=preset.n_omni_intervened, passes=full.passes[:1], layers=())
    swap = partial(interventions.resample, within=attrgetter("template"))
    seeds = [derive_seed(preset.seed, "swap", draw) for draw in range(N_SWAPS)]
    changes = [partial(swap, modality=stream, seed=s) for stream in STREAMS.values() for s in seeds]
    queries = (full, *(swapped._replace(change=change) for change in changes))
    return [Request(preset.omni_models, preset.omni_benchmarks, queries)]


def measure(preset: Preset) -> pd.DataFrame:
    """Quantities and drops by model and template; their correlations, measured and published.

    A model on a benchmark where masked answers do not fit (`profiles.fits`) is in no correlation.
    """
    rows, read = [], set()
    for full, *swapped in extract_all(preset, *requests(preset)):
        if profiles.fits(full.extraction, preset.tau):
            read.add((full.columns["benchmark"], full.columns["model"]))
        rows += _quantity_rows(preset, full)
        for index, name in enumerate(STREAMS):
            swaps = swapped[index * N_SWAPS : (index + 1) * N_SWAPS]
            rows += _drop_rows(preset, name, full, *swaps)
    cells = pd.DataFrame(rows)
    settings = (preset.n_bootstrap, preset.n_resamples, preset.seed)
    key = fingerprint(cells=sorted(cells["fingerprint"].unique()), settings=settings)
    chosen = cells[pd.MultiIndex.from_frame(cells[["benchmark", "model"]]).isin(read)]
    correlated = correlations(chosen, *settings) if read else chosen
    known = published("fig_shuffle").drop(columns="note").rename(columns={"rho": "value"})
    parts = [cells, correlated.assign(fingerprint=key), known.assign(kind="published")]
    return validate(pd.concat(parts).assign(experiment="omni", seed=preset.seed), COLUMNS)


def _quantity_rows(preset: Preset, answer: Extracted) -> Rows:
    settings = {"n_halves": preset.n_halves, "seed": preset.seed}
    conditions = {"given": "template", "tau": preset.tau}
    columns = answer.row_columns("omni", analysis="streams", **conditions, **settings)
    columns |= {"kind": "quantity", "intervention": "none"}
    for group in split_by(answer.extraction, "template", tau=preset.tau):
        profile = sensory_profile([group], **settings, n_permutations=0)
        columns |= {"template": group.template, "n_samples": len(group.decisions)}
        columns["converged"] = bool(profile.rows["converged"].all())
        draws = _quantities(profile.draws)
        for name, value in _quantities(profile.atoms).items():
            low, high = normal_interval(value, draws[name])
            yield columns | {"quantity": name, "value": value, "ci_low": low, "ci_high": high}


def _quantities(atoms: Mapping[str, float | np.ndarray]) -> dict[str, float | np.ndarray]:
    vision, audio, synergy = own = [atoms[name] for name in ATOMS]
    return dict(zip(QUANTITIES, (*own, vision + synergy, audio + synergy), strict=True))


def _drop_rows(preset: Preset, swapped: str, full: Extracted, *swaps: Extracted) -> Rows:
    extractions = (each.extraction for each in (full, *swaps))
    before, *answers = (interventions.correct_by_id(each, each.full) for each in extractions)
    settings = {"n_bootstrap": preset.n_bootstrap, "seed": preset.seed}
    identities = [each.columns["fingerprint"] for each in (full, *swaps)]
    columns = swaps[0].row_columns("omni", answers=identities, **settings)
    columns |= {"kind": "drop", "quantity": "accuracy lost", "intervention": swapped}
    templates = list(swaps[0].extraction.templates)
    for template, changed in (sum(answers) / N_SWAPS).groupby(templates, sort=False):
        drop, low, high = interventions.accuracy_drop(before, changed, **settings)
        columns |= {"template": template, "n_samples": len(changed)}
        yield columns | {"value": drop, "ci_low": low, "ci_high": high}


class _Cells(NamedTuple):
    x: Float[np.ndarray, "cells quantities"]
    y: Float[np.ndarray, "cells streams"]  # drops
    subset: Int[np.ndarray, " cells"]
    template: Int[np.ndarray, " cells"]
    model: Int[np.ndarray, " cells"]


def correlations(
    cells: pd.DataFrame, n_bootstrap: int, n_permutations: int, seed: int = 0
) -> pd.DataFrame:
    """Spearman's rho of each quantity with each drop over cells, a model on a template each.

    Over all cells (`TEMPLATES`), over means of each model in each subset (`SUBSETS`), within each
    subset in which both numbers vary (see `varies`), and the mean of the latter (`MEAN`). The null
    permutes templates within each subset, and models. The interval resamples templates within
    subsets; missing for subsets with fewer than `MIN_TEMPLATES`, and for means that include one.
    """
    low, high = (cells[name].astype(float) for name in ("ci_low", "ci_high"))
    cells = cells.assign(variance=statistics.variance_of(low, high))
    wide = {"index": ["benchmark", "template", "model"], "values": ["value", "variance"]}
    x = cells[cells["kind"] == "quantity"].pivot(columns="quantity", **wide).sort_index()
    y = cells[cells["kind"] == "drop"].pivot(columns="intervention", **wide).sort_index()
    x, y = x.align(y, join="inner", axis=0)
    subset, benchmarks = pd.factorize(x.index.get_level_values("benchmark"))
    model, template = x.index.get_level_values("model"), x.index.droplevel("model")
    labels = (subset, *(pd.factorize(names)[0] for names in (template, model)))
    sides = ((x, QUANTITIES), (y, STREAMS))
    x, y = (side["value"][list(names)].to_numpy(float).round(DECIMALS) for side, names in sides)
    errors = [side["variance"][list(names)].to_numpy(float) for side, names in sides]
    data, counts = _Cells(x, y, *labels), np.bincount(subset)
    own = [subset == i for i in range(len(counts))]
    x_varies = np.stack([varies(x[rows], errors[0][rows]) for rows in own])
    y_varies = np.stack([varies(y[rows], errors[1][rows]) for rows in own])
    members = x_varies[:, :, None] & y_varies[:, None, :]
    every, generator = np.arange(len(x)), np.random.default_rng(derive_seed(seed, "streams"))
    correlate = partial(_correlate, data, members)
    value = correlate(every, every[:, None])[0]
    orders = [_permute(data, generator) for _ in range(n_permutations)]
    null = correlate(every, np.stack(orders, axis=1))
    samples = (_resample(data, generator) for _ in range(n_bootstrap))
    draws = np.concatenate([correlate(rows, rows[:, None]) for rows in samples])
    interval = partial(statistics.percentile_interval, most=0.5)
    ends, null_ends = np.array(interval(draws)), interval(null)
    few = np.array([len(np.unique(data.template[rows])) < MIN_TEMPLATES for rows in own])
    ends[:, np.flatnonzero(few)] = np.nan
    ends[:, len(few), (few[:, None, None] & members).any(0)] = np.nan
    n_means = np.unique([subset, data.model], axis=1).shape[1]
    n_cells = np.array([*counts, 0, n_means, len(x)])[:, None, None] * np.ones_like(value, int)
    n_cells[len(counts)] = (counts[:, None, None] * members).sum(0)
    columns = ("value", "ci_low", "ci_high", "null_low", "null_high", "null_p", "n_cells")
    values = (value, *ends, *null_ends, statistics.permutation_p(value, null), n_cells)
    labels = [*benchmarks, MEAN, SUBSETS, TEMPLATES], QUANTITIES, STREAMS
    index = pd.MultiIndex.from_product(labels, names=["benchmark", "quantity", "intervention"])
    rows = pd.DataFrame(np.reshape(values, (len(columns), -1)).T, index, columns).reset_index()
    return rows.dropna(subset="value").assign(kind="correlation", n_models=data.model.max() + 1)


def varies(values: Numbers, variances: Numbers) -> Bool[np.ndarray, " columns"]:
    """Whether a column is reliable, rounding included, whichever cell is left out."""
    if len(values) < statistics.MIN_CLUSTERS:
        return np.zeros(values.shape[1], bool)
    variances = variances + 0.1 ** (2 * DECIMALS)
    kept = [np.delete(np.arange(len(values)), index) for index in range(len(values))]
    shares = [statistics.reliability(values[rows], variances[rows]) for rows in kept]
    return (np.stack(shares) >= statistics.MIN_RELIABILITY).all(0)


def _correlate(cells: _Cells, members: np.ndarray, rows: np.ndarray, drops: np.ndarray) -> Rhos:
    """Rho of x[rows] and y[drops] [n, draws, q] in subsets, their mean, over means, over cells."""
    x, y, subset, model = cells.x[rows], cells.y[drops], cells.subset[rows], cells.model[rows]
    within = [_rho(x[subset == i], y[subset == i]) for i in range(len(members))]
    within = np.where(members, np.stack(within, axis=1), np.nan)
    _, group = np.unique(subset * (model.max() + 1) + model, return_inverse=True)
    means = np.eye(group.max() + 1)[group].T
    means /= means.sum(1, keepdims=True)
    mean = statistics.group_mean(within, members[None])
    overall = mean, _rho(means @ x, np.tensordot(means, y, 1)), _rho(x, y)
    return np.concatenate([within, np.stack(overall, axis=1)], axis=1)


def _rho(x: np.ndarray, y: np.ndarray) -> Float[np.ndarray, "draws p q"]:
    ranks = statistics.standardized_ranks
    return np.tensordot(ranks(x), ranks(y), (0, 0)).swapaxes(0, 1)


def _templates(cells: _Cells) -> list[Int[np.ndarray, " templates"]]:
    return [np.unique(cells.template[cells.subset == i]) for i in np.unique(cells.subset)]


def _permute(cells: _Cells, generator: np.random.Generator) -> Int[np.ndarray, " cells"]:
    """Permute templates within subsets, and models, and return the cell that each becomes."""
    models = generator.permutation(cells.model.max() + 1)
    templates = np.empty(cells.template.max() + 1, int)
    for names in _templates(cells):
        templates[names] = generator.permutation(names)
    grid = templates[:, None] * len(models) + models
    chosen = cells.template * len(models) + cells.model
    return statistics.restrict_permutations(grid.reshape(-1, 1), chosen)[:, 0]


def _resample(cells: _Cells, generator: np.random.Generator) -> Int[np.ndarray, " n"]:
    """Draw templates with replacement within subsets, and return their cells of all models."""
    drawn = np.concatenate([generator.choice(names, len(names)) for names in _templates(cells)])
    return np.concatenate([np.flatnonzero(cells.template == template) for template in drawn])


def figure(table: pd.DataFrame) -> style.Figure:
    """A panel per stream: rank correlations of U and of U + S with the accuracy lost."""
    figure, above = style.page(2.5), []
    axes = figure.subplots(len(STREAMS), 1, sharex=True)
    for ax, (swap, names) in zip(axes, _PREDICTORS.items(), strict=True):
        own = table[table["intervention"] == swap].set_index("quantity")
        rows = own[(own["kind"] == "correlation") & (own["benchmark"] == TEMPLATES)].reindex(names)
        style.forest(ax, range(len(names)), rows, 0.7, color=style.INK)
        printed = own.loc[own["kind"] == "published", "value"].reindex(names)
        ax.plot(style.floats(printed), range(len(names)), **_DIAMOND)
        known = style.floats(rows, "value", "ci_low", "ci_high", "null_p").T
        for place, (*values, p) in enumerate(known):
            text = f"{interval(*values)}, {p_value(p)}"
            style.margin(ax, place, "too few cells" if np.isnan(values[0]) else text, fontsize=7.5)
        above += [_SYMBOLS[name] for name in rows.index[rows["value"] > rows["null_high"]]]
        words = f": {style.WORDS[names[0]]}", ": all that the swap removes"
        style.name_rows(ax, list(map(str.__add__, map(_SYMBOLS.get, names), words)))
        ax.axvline(0, color=style.INK, linewidth=0.6, zorder=1)
        ax.set(xlim=(-1, 1), title=swap)
    style.margin(axes[0], -0.9, "$\\rho$ [95 % interval], one-sided $p$", fontsize=7.5)
    minis, n = (int(rows[name].fillna(0).max()) for name in ("n_models", "n_cells"))
    text = f"over {n} pairs of one of {minis} minis and a question form (template)"
    axes[-1].set_xlabel(f"Spearman’s $\\rho$ with the accuracy lost, {text}")
    null = style.null_handle("null, middle 95 %: models and question forms shuffled as wholes")
    handles = style.marker_handles([("measured", "o", style.INK)])
    handles += [style.handle("published (other models and pairs)", **_DIAMOND), null]
    title = f"Correlations above their null: {listed(above)} ({len(above)} of {2 * len(axes)})"
    style.legend(figure, 3, *handles, title=title, title_fontsize=9)
    return figure
