"""Which quantity of a model predicts the accuracy that an intervention costs it?

Drops are correlated over models with atoms and with baselines, such as Gat et al. (2021).
"""

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float

from pidlib._common import derive_seed, fingerprint
from pidlib.benchmarks import Sample
from pidlib.experiments import Preset, interventions, population, statistics, style
from pidlib.experiments.extractions import Query, Request, extract_all
from pidlib.experiments.interventions import correct_by_id as correct
from pidlib.experiments.tables import COMPUTED, ORIGIN, declare, validate
from pidlib.experiments.words import interval
from pidlib.extraction import FULL

NOISE = {"noise": "language", "words as noise": "vision"}  # interventions that are masked passes
SOLVED = ("synergy", "unique_vision", "unique_language", "redundancy", "co_information")
MEASURED = {name: f"{name}_bits" for name in (*SOLVED, "divergence")}  # columns of the population
MEASURED |= {name: name for name in ("moved_language", "accuracy", "accuracy_language")}
MEASURED |= {"masked_drop": "delta_vision"}
QUANTITIES = (*MEASURED, "perceptual_score")
OUTCOMES = ("noise", *interventions.INTERVENTIONS, "words as noise")
MEAN = "mean within benchmarks"
LABELS = {"synergy": "synergy $S$", "unique_vision": "unique to vision $U_v$"}
LABELS |= {"unique_language": r"unique to language $U_\ell$", "redundancy": "redundancy $R$"}
LABELS |= {"co_information": "$R - S$", "divergence": "KL divergence by the picture"}
LABELS |= {"moved_language": "question alone, shift to one $P(Y)$", "accuracy": "accuracy"}
LABELS |= {"accuracy_language": "accuracy without picture", "masked_drop": "accuracy lost to noise"}
LABELS |= {"perceptual_score": "perceptual score: relative loss"}
TITLES = {"noise": "noise as picture", "blank": "blank picture", "patches": "patches shuffled"}
TITLES |= {"resampled": "another question's picture", "question": "question of another"}
TITLES |= {"words": "words shuffled", "words as noise": "words noise"}
_SHOWN = "noise", "blank", "resampled"
_ACCURACY = {"linestyle": "--", "linewidth": 0.8, "color": style.OTHERS[0]}
COLUMNS = declare(
    f"experiment kind {ORIGIN} quantity intervention value ci_low ci_high null_low null_high",
    f"reliability n_benchmarks n_samples n_models seed {COMPUTED}",
    required="experiment kind benchmark seed fingerprint",
)


def requests(preset: Preset) -> list[Request]:
    """What the masked profile of each model needs, and its answers after every intervention."""
    (profiled,) = population.request(preset).queries
    query = Query(preset.split, preset.n_intervened, preset.seed, (FULL,))
    changed = (query._replace(change=change) for change in _changes(preset).values())
    return [Request(preset.population, preset.benchmarks, (profiled, *changed))]


def measure(preset: Preset) -> pd.DataFrame:
    """Drops, quantities and their correlations over the population."""
    models = population.population_table(preset)
    families = models.drop_duplicates("model").set_index("model")["family"]
    columns = [*ORIGIN.split(), "n_samples", "fingerprint", "converged"]
    renamed = models.rename(columns={column: name for name, column in MEASURED.items()})
    rows = renamed.melt(columns, MEASURED, "quantity", ignore_index=False).sort_index(kind="stable")
    rows["converged"] = rows["converged"].where(rows["quantity"].isin(SOLVED))
    table = pd.concat([rows.assign(kind="quantity"), pd.DataFrame(_drops(preset))])
    table = table.assign(experiment="vision_language", seed=preset.seed)
    options = preset.n_bootstrap, preset.n_resamples, preset.seed
    return validate(pd.concat([table, correlations(table, families, *options)]), COLUMNS)


def correlations(
    table: pd.DataFrame, families: pd.Series, n_bootstrap: int, n_permutations: int, seed: int = 0
) -> pd.DataFrame:
    """Spearman's rho of each quantity and drop over models: by benchmark, and the mean of these.

    In the mean count the ``n_benchmarks`` with a ``reliability`` of the drop of `MIN_RELIABILITY`.
    The interval resamples whole `families`; the null permutes models, on all benchmarks alike.
    """
    models, names = table["model"].unique(), table["benchmark"].unique()

    def wide(kind: str, column: str, keys: Sequence[str], value: str = "value") -> np.ndarray:
        rows = table[table["kind"] == kind].set_index(["model", "benchmark", column])[value]
        cells = rows.reindex(pd.MultiIndex.from_product([models, names, keys])).to_numpy(float)
        return cells.reshape(len(models), len(names), -1).round(population.DECIMALS)

    x, drops = wide("quantity", "quantity", QUANTITIES), ("drop", "intervention", OUTCOMES)
    y, low, high = (wide(*drops, value) for value in ("value", "ci_low", "ci_high"))
    reliable = statistics.reliability(y, statistics.variance_of(low, high))
    counted = reliable >= statistics.MIN_RELIABILITY
    columns = {"value": (value := rank_correlations(x, y, counted))}
    columns |= {name: np.full_like(value, np.nan) for name in ("reliability", "n_benchmarks")}
    generator = np.random.default_rng(derive_seed(seed, "foretold"))
    orders = [generator.permutation(len(models)) for _ in range(n_permutations)]
    null = [rank_correlations(x, y[order], counted) for order in orders]
    family, known = pd.factorize(families[models])
    clusters = [np.flatnonzero(family == index) for index in range(len(known))]
    samples = statistics.cluster_bootstrap(clusters, n_bootstrap, generator)
    draws = [rank_correlations(x[drawn], y[drawn], counted) for drawn in samples]
    few = len(clusters) < statistics.MIN_CLUSTERS
    for name, values, missing in (("ci", draws, few), ("null", null, False)):
        ends = statistics.percentile_interval(np.stack(values), missing)
        columns[f"{name}_low"], columns[f"{name}_high"] = ends
    parts = {name: [name] for name in names} | {MEAN: names}
    columns["reliability"][:-1] = reliable[:, None]
    columns["n_benchmarks"][-1] = counted.sum(0)
    cells = {"benchmark": parts, "quantity": QUANTITIES, "intervention": OUTCOMES}
    cells = pd.MultiIndex.from_product(cells.values(), names=cells).to_frame(index=False)
    cells = cells.assign(**{name: values.ravel() for name, values in columns.items()})
    unsolved = table[~table["converged"].fillna(True).astype(bool)]
    unsolved = unsolved.groupby("quantity")["benchmark"].agg(set)
    keys = zip(cells["benchmark"], cells["quantity"], strict=True)
    solved = [unsolved.get(quantity, set()).isdisjoint(parts[group]) for group, quantity in keys]
    key = {"table": table["fingerprint"].unique().tolist(), "n": [n_bootstrap, n_permutations]}
    shared = {"kind": "correlation", "experiment": table["experiment"].iloc[0], "seed": seed}
    shared |= {"fingerprint": fingerprint(**key, seed=seed), "n_models": len(models)}
    cells = cells.assign(**shared, converged=solved)
    return cells.query("quantity != 'masked_drop' or intervention != 'noise'")


def rank_correlations(
    x: Float[np.ndarray, "m b p"], y: Float[np.ndarray, "m b q"], counted: Bool[np.ndarray, "b q"]
) -> Float[np.ndarray, "b+1 p q"]:
    """Spearman's rho over m models in each of b benchmarks, and the mean over those counted."""
    within = np.einsum("mbp,mbq->bpq", *map(statistics.standardized_ranks, (x, y)))
    return np.concatenate([within, statistics.group_mean(within, counted[None, :, None])])


def _changes(preset: Preset) -> dict[str, Callable[[Sequence[Sample]], list[Sample]]]:
    """Every intervention; first, for the perceptual score, another permutation of pictures."""
    seed, known = derive_seed(preset.seed, "perceptual score"), interventions.INTERVENTIONS
    changes = {"perceptual score": partial(interventions.resample, modality="vision", seed=seed)}
    return changes | {name: partial(each, seed=preset.seed) for name, each in known.items()}


def _drops(preset: Preset) -> list[dict]:
    """Every drop with its interval, and the perceptual score, by model and benchmark."""
    rows = []
    for full, *changed in extract_all(preset, *requests(preset)):
        whole = correct(full.extraction)
        after = [(correct(answer.extraction), answer.columns) for answer in changed]
        after = dict(zip(_changes(preset), after, strict=True))
        permuted, columns = after.pop("perceptual score")
        ids = permuted.index
        score = interventions.perceptual_score(whole[ids], permuted)
        rows.append(columns | {"kind": "quantity", "quantity": "perceptual_score", "value": score})
        for name, key in NOISE.items():
            after[name] = correct(full.extraction, key)[ids], full.columns | {"n_samples": len(ids)}
        for name, (answers, columns) in after.items():
            drop = interventions.accuracy_drop(whole, answers, preset.n_bootstrap, preset.seed)
            row = columns | {"kind": "drop", "intervention": name}
            rows.append(row | dict(zip(("value", "ci_low", "ci_high"), drop, strict=True)))
    return rows


def figure(table: pd.DataFrame) -> style.Figure:
    """The mean correlation of each quantity with the loss by an intervention, for `_SHOWN`."""
    costs = table[table["kind"] == "drop"].groupby("intervention")["value"].mean()
    means = table[(table["kind"] == "correlation") & (table["benchmark"] == MEAN)]
    quantities = [name for name in LABELS if name in set(means["quantity"])]
    places, result = np.arange(len(quantities)), style.page(3.4)
    colors = [style.COLORS.get(quantity, style.INK) for quantity in quantities]
    axes = result.subplots(1, len(_SHOWN), sharey=True)
    for ax, outcome in zip(axes, _SHOWN, strict=True):
        cells = means[means["intervention"] == outcome].set_index("quantity").reindex(quantities)
        style.forest(ax, places, cells, 0.6, s=9, color=colors)
        for place, row in enumerate(style.floats(cells, "value", "ci_low", "ci_high").T):
            itself = np.isnan(row[0]) and outcome == "noise"
            style.margin(ax, place, "the loss itself" if itself else interval(*row))
        ax.axvline(cells["value"].astype(float).get("accuracy", np.nan), **_ACCURACY)
        ax.axvline(0, color=style.INK, linewidth=0.6)
        ax.axhline(4.5, color=style.FAINT, linewidth=0.5)  # below the atoms and R - S
        ax.set_title(f"{TITLES[outcome]}\ncosts {100 * costs[outcome]:.0f} points of accuracy")
        ax.set(xlim=(-1.05, 1.05), xticks=[-1, 0, 1])
    style.name_rows(axes[0], [LABELS[name] for name in quantities])
    words = "Spearman's $\\rho$ with the accuracy lost, over models; mean of the benchmarks"
    result.supxlabel(words, fontsize="medium")
    plain = style.line_handle(r"$\rho$ of plain accuracy", **_ACCURACY)
    line = style.line_handle("95 % interval over families")
    style.legend(result, 3, plain, line, style.null_handle("null: models permuted, two-sided 95 %"))
    return result
