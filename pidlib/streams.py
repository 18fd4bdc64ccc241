r"""What the two streams of a clip are worth to a model: each is swapped across samples.

Swapping gives every sample the video, or the soundtrack, of another of its benchmark and template (`pidlib.interventions.resample`, a
derangement) and costs accuracy. Across templates a swap could ask what has no answer: which way the silent one goes, of one alone. Within
a template whose video and sound are independent, swapped pairs follow its law; where they are not (`playing`: what is seen is mostly what
is heard), they have an answer but another law. All models are asked the same swaps, `SWAPS` of each stream, so that their drops are not
independent facts; the null of `correlations` leaves them alike.

A model that takes from vision what only vision tells loses that; but it also loses what vision tells only together
with sound, so that beside :math:`U_v` stands :math:`I(Y; V \mid A, T) = U_v + S`, all that a swapped video takes away.
"""

from collections.abc import Iterator, Mapping
from functools import partial
from operator import attrgetter

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int

from pidlib import results, schemas, sensory, sensory_tables
from pidlib.decisions import Draws
from pidlib.experiment import Preset, derive_seed, fingerprint
from pidlib.extraction import Extraction
from pidlib.interventions import drop, resample, right
from pidlib.ranks import FEWEST, RELIABLE, averaged, exchanged, ranked, reliability
from pidlib.runs import Asked, Run, runs

Value = float | Float[np.ndarray, " n"]
SWAPS = 3  # derangements of each stream, of which the drop is the mean
STREAMS = {"video swapped": "vision", "sound swapped": "audio"}
SENSES = tuple(STREAMS.values())
ATOMS = ("unique_vision", "unique_audio", "synergy")
QUANTITIES = (*ATOMS, "vision_given_audio", "audio_given_vision")  # the last two: U + S of a sense, what it adds to the other
DECIMALS = 3  # of bits and accuracies: what differs by less than the solver can tell is tied
LEAST = 3  # templates, for an interval over them
MEAN, SUBSETS, TEMPLATES = "mean within subsets", "all models and subsets", "all models and templates"


def asked(preset: Preset) -> tuple[Asked, ...]:
    """Of every model that sees and hears: what its Sensory atoms need, and its answers with either stream swapped, `SWAPS` times each."""
    (one,) = sensory_tables.asked(preset)
    swapped = one._replace(n_samples=preset.n_omni_intervened, passes=one.passes[:1], layers=())
    swap = partial(resample, within=attrgetter("template"))
    seeds = [derive_seed(preset.seed, "swap", draw) for draw in range(SWAPS)]
    changes = [partial(swap, modality=stream, seed=seed) for stream in STREAMS.values() for seed in seeds]
    return (one, *(swapped._replace(change=change) for change in changes))


def shuffle_table(preset: Preset) -> pd.DataFrame:
    """Atoms and drops of every model and template, their correlations, and the published ones, as rows of ``fig_shuffle``."""
    rows = []
    for full, *swapped in runs(preset, asked(preset), preset.omni_benchmarks, models=preset.omni_models):
        rows += _quantities(full, preset)
        whole = right(full.extraction, full.extraction.full)
        for place, name in enumerate(STREAMS):
            drawn = swapped[place * SWAPS : (place + 1) * SWAPS]
            after = sum(right(run.extraction, run.extraction.full) for run in drawn) / SWAPS
            run, mark = drawn[0], fingerprint(swaps=[run.columns["fingerprint"] for run in drawn])
            for template, ids in _by_template(run.extraction):
                lost, low, high = drop(whole, after[ids], preset.n_bootstrap, preset.seed)
                told = {"kind": "drop", "quantity": "accuracy lost", "intervention": name, "template": template, "n_samples": len(ids)}
                rows.append(run.columns | told | {"value": lost, "ci_low": low, "ci_high": high, "fingerprint": mark})
    cells = pd.DataFrame(rows)
    known = results.published("fig_shuffle").drop(columns="note").rename(columns={"rho": "value"}).assign(kind="published")
    found = correlations(cells, preset.n_bootstrap, preset.n_permutations, preset.seed)
    found["fingerprint"] = fingerprint(cells=sorted(cells["fingerprint"].unique()), n=[preset.n_bootstrap, preset.n_permutations])
    table = pd.concat([cells, found, known], ignore_index=True).assign(experiment="omni", seed=preset.seed)
    return results.tidy(table, schemas.SCHEMAS["fig_shuffle"])


def correlations(cells: pd.DataFrame, n_bootstrap: int, n_permutations: int, seed: int = 0) -> pd.DataFrame:
    """Spearman's rho of every quantity with every drop over cells, a cell being a model on a template.

    Over all cells (`TEMPLATES`), over their means in each subset (`SUBSETS`), over the cells of each subset, and in the mean of these
    (`MEAN`). A subset where the quantity or the drop does not vary beyond chance (`varies`) has no correlation and does not count in
    the mean. Between subsets the correlation is nearly given by construction: no question of sight needs the sound, and none of sound
    the video. Nor are cells of one template, or of one model, independent. So the null exchanges names alike for all: the templates of
    each subset, the same way in all models, and the models, the same way on all templates; a cell gets the drop of the cell whose names
    it then has (95 % of draws, and the share that reach the value). It leaves alike what is alike, and shows what subsets alone foretell.
    Means of subsets do not know their templates: there it exchanges models alone, and as four have 24 orders, p is .04 at least.

    The interval draws templates anew within subsets, so that the only one of a subset is always drawn; models are too few to be drawn. Of
    a subset it is shown from `LEAST` templates on, and of the mean if all subsets that count have as many. Where fewer than
    `pidlib.ranks.FEWEST` cells are left, or a column is constant, there is no value.

    Parameters
    ----------
    cells
        Rows of kind ``quantity`` and ``drop`` with model, benchmark, template, value and its interval. A cell of either kind alone is
        left out.
    n_bootstrap, n_permutations, seed
        Draws of the interval and of the null; where their randomness begins.
    """
    at = ["benchmark", "template", "model"]
    cells = cells.assign(variance=((cells["ci_high"] - cells["ci_low"]).astype(float) / 3.92) ** 2)
    x, y = (
        cells[cells["kind"] == kind].pivot(index=at, columns=by, values=["value", "variance"]).sort_index()
        for kind, by in (("quantity", "quantity"), ("drop", "intervention"))
    )
    x, y = x.align(y, join="inner", axis=0)
    named = ((x, QUANTITIES), (y, STREAMS))
    subset, model = (pd.factorize(x.index.get_level_values(name))[0] for name in ("benchmark", "model"))
    template = pd.factorize(x.index.droplevel("model"))[0]
    names = x.index.get_level_values("benchmark").unique()
    sides = [(side["value"][list(known)].to_numpy(float).round(DECIMALS), side["variance"][list(known)]) for side, known in named]
    x, y = (value for value, _ in sides)
    counted = [np.stack([varies(value[subset == i], of.to_numpy(float)[subset == i]) for i in range(len(names))]) for value, of in sides]
    members = counted[0][:, :, None] & counted[1][:, None, :]
    everything, generator = np.arange(len(x)), np.random.default_rng(derive_seed(seed, "streams"))
    drawn = partial(_scoped, x, y, subset, model, members)
    value = drawn(everything, everything)
    null = np.stack([drawn(everything, _dealt(subset, template, model, generator)) for _ in range(n_permutations)])
    draws = np.stack([drawn(rows, rows) for rows in (_redrawn(subset, template, generator) for _ in range(n_bootstrap))])
    with np.errstate(invalid="ignore"):
        ends = [np.where(np.isnan(some).mean(0) > 0.5, np.nan, _quantiles(some)) for some in (draws, null)]
    few = np.array([len(np.unique(template[subset == one])) < LEAST for one in range(len(names))])
    ends[0][:, np.flatnonzero(few)] = np.nan
    ends[0][:, len(names), (few[:, None, None] & members).any(0)] = np.nan
    p = np.where(np.isnan(value), np.nan, (1 + (null >= value - 1e-9).sum(0)) / (1 + n_permutations))
    counts = [*np.bincount(subset), 0, len(np.unique(subset * (model.max() + 1) + model)), len(x)]
    averaged_over = (np.bincount(subset)[:, None, None] * members).sum(0)
    rows = []
    for scope, name in enumerate((*names, MEAN, SUBSETS, TEMPLATES)):
        for place in np.ndindex(len(QUANTITIES), len(STREAMS)):
            (low, high), (null_low, null_high) = (some[:, scope, *place] for some in ends)
            told = {"kind": "correlation", "benchmark": name, "quantity": QUANTITIES[place[0]], "intervention": list(STREAMS)[place[1]]}
            told |= {"value": value[scope, *place], "ci_low": low, "ci_high": high, "null_low": null_low, "null_high": null_high}
            rows.append(told | {"null_p": p[scope, *place], "n_models": model.max() + 1, "n_cells": counts[scope] or averaged_over[place]})
    return pd.DataFrame(rows).dropna(subset="value")


def varies(values: Float[np.ndarray, "cells columns"], variances: Float[np.ndarray, "cells columns"]) -> Bool[np.ndarray, " columns"]:
    """Whether a column varies beyond the chance of its questions, whichever cell is left out: one cell alone makes no correlation.

    Reliability (`pidlib.ranks.reliability`) is at least `RELIABLE`, where ``variances``, the squared standard errors, have the square of
    what the solver can tell added to them.
    """
    if len(values) < FEWEST:
        return np.zeros(values.shape[1], bool)
    least = variances + 0.1 ** (2 * DECIMALS)
    kept = [np.delete(np.arange(len(values)), out) for out in range(len(values))]
    return np.all([reliability(values[rows], least[rows]) >= RELIABLE for rows in kept], axis=0)


def _scoped(
    x: Float[np.ndarray, "cells p"],
    y: Float[np.ndarray, "cells q"],
    subset: Int[np.ndarray, " cells"],
    model: Int[np.ndarray, " cells"],
    members: Bool[np.ndarray, "subsets p q"],
    rows: Int[np.ndarray, " n"],
    lost: Int[np.ndarray, " n"],
) -> Float[np.ndarray, "subsets+3 p q"]:
    """Rho within each subset that counts, their mean, over means of subsets, and over cells: of rows of x with the drops of others."""
    x, y, subset, model = x[rows], y[lost], subset[rows], model[rows]
    within = np.stack([_rho(x[subset == one], y[subset == one]) for one in range(len(members))])
    within = np.where(members, within, np.nan)
    _, group = np.unique(subset * (model.max() + 1) + model, return_inverse=True)
    belongs = np.eye(group.max() + 1)[group].T
    belongs /= belongs.sum(1, keepdims=True)
    return np.concatenate([within, averaged(within, members[None]), _rho(belongs @ x, belongs @ y)[None], _rho(x, y)[None]])


def _rho(x: Float[np.ndarray, "n p"], y: Float[np.ndarray, "n q"]) -> Float[np.ndarray, "p q"]:
    return ranked(x).T @ ranked(y)


def _dealt(
    subset: Int[np.ndarray, " cells"],
    template: Int[np.ndarray, " cells"],
    model: Int[np.ndarray, " cells"],
    generator: np.random.Generator,
) -> Int[np.ndarray, " cells"]:
    """Every cell's partner where templates of a subset are exchanged, alike for all models, and models, alike for all templates."""
    templates, models = np.empty(template.max() + 1, int), generator.permutation(model.max() + 1)
    for one in np.unique(subset):
        known = np.unique(template[subset == one])
        templates[known] = generator.permutation(known)
    grid = templates[:, None] * len(models) + models
    return exchanged(grid.reshape(-1, 1), template * len(models) + model)[:, 0]


def _redrawn(
    subset: Int[np.ndarray, " cells"], template: Int[np.ndarray, " cells"], generator: np.random.Generator
) -> Int[np.ndarray, " n"]:
    """Cells of templates that were drawn anew, with all models, as many of each subset as it has."""
    drawn = [generator.choice(known, len(known)) for known in (np.unique(template[subset == one]) for one in np.unique(subset))]
    return np.concatenate([np.flatnonzero(template == one) for some in drawn for one in some])


def _quantiles(draws: Float[np.ndarray, "n *shape"]) -> Float[np.ndarray, "2 *shape"]:
    missing = np.isnan(draws).all(0)
    return np.where(missing, np.nan, np.nanquantile(np.where(missing, 0, draws), [0.025, 0.975], axis=0))


def _by_template(extraction: Extraction) -> Iterator[tuple[str, list[str]]]:
    ids = pd.Series(extraction.sample_ids)
    for template, rows in ids.groupby(np.array(extraction.templates), sort=False):
        yield template, list(rows)


def _quantities(run: Run, preset: Preset) -> Iterator[dict[str, object]]:
    """The Sensory atoms of each template, and what either sense adds to the other."""
    made = {name: getattr(preset, name) for name in ("tau", "n_bootstrap", "seed")}
    mark = fingerprint(extraction=run.columns["fingerprint"], analysis="streams", **made)
    for one in sensory.conditions(run.extraction, "template", tau=preset.tau):
        found = sensory_tables.measure([one], n_bootstrap=preset.n_bootstrap, seed=preset.seed, floor=0)
        values, draws = (_with_sums(of) for of in (found.atoms, found.draws))
        told = run.columns | {"kind": "quantity", "template": one.template, "n_samples": len(one.decisions), "fingerprint": mark}
        told |= {"intervention": "none", "converged": bool(found.rows["converged"].all())}
        for name, (low, high) in Draws(draws, None).interval(values).items():
            yield told | {"quantity": name, "value": values[name], "ci_low": low, "ci_high": high}


def _with_sums(atoms: Mapping[str, Value]) -> dict[str, Value]:
    """`QUANTITIES` of atoms in bits, numbers or draws of them."""
    sums = {f"{sense}_given_{other}": atoms[f"unique_{sense}"] + atoms["synergy"] for sense, other in (SENSES, SENSES[::-1])}
    return {name: atoms[name] for name in ATOMS} | sums
