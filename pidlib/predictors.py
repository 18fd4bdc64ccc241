"""Which quantity of a model foretells what an intervention costs it: rank correlations, with baselines beside them."""

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import pandas as pd
from jaxtyping import Float
from scipy.stats import rankdata

from pidlib import benchmarks, population, results, schemas
from pidlib.benchmarks import Sample
from pidlib.experiment import Preset, derive_seed, fingerprint
from pidlib.extraction.masking import FULL
from pidlib.interventions import INTERVENTIONS, drop, perceptual_score, resample, right
from pidlib.models import load
from pidlib.runs import Asked, runs
from pidlib.shapley import vision_shares

NOISE = {"noise": "language", "words as noise": "vision"}  # interventions that are passes: what is left
# Quantity -> column of the population's table: atoms of the masked decisions, then baselines.
MEASURED = {name: f"{name}_bits" for name in ("synergy", "unique_vision", "unique_language", "redundancy", "co_information")}
MEASURED |= {"accuracy": "accuracy", "accuracy_language": "accuracy_language", "masked_drop": "delta_vision"}
QUANTITIES = (*MEASURED, "perceptual_score", "vision_share")
OUTCOMES = ("noise", *INTERVENTIONS, "words as noise")
MEAN, POOLED = "mean within benchmarks", "all models and benchmarks"


def intervention_table(preset: Preset, experiment: str = "vision_language") -> pd.DataFrame:
    """Drops, quantities and their correlations for the population, as rows of ``fig_interventions``.

    Atoms, accuracies and the masked drop are those of `pidlib.population.population_table`. Drops are measured on the first
    ``n_intervened`` of its questions; the perceptual score has a permutation of pictures of its own, since with that of the
    intervention "resampled" it would foretell itself; the share of the picture (MM-SHAP) is the mean over ``n_explained`` questions.
    """
    measured = population.population_table(preset, experiment)
    families = measured.drop_duplicates("model").set_index("model")["family"]
    rows = [*_quantities(measured), *_drops(preset), *_shares(preset)]
    table = pd.DataFrame(rows).assign(experiment=experiment, seed=preset.seed)
    table = pd.concat([table, correlations(table, families, preset.n_bootstrap, preset.n_permutations, preset.seed)], ignore_index=True)
    return results.tidy(table, schemas.SCHEMAS["fig_interventions"])


def correlations(table: pd.DataFrame, families: pd.Series, n_bootstrap: int, n_permutations: int, seed: int = 0) -> pd.DataFrame:
    """Spearman's rho of every quantity and every drop: over the models of each benchmark, in the mean of these, and over all cells.

    Over all cells it also tells which benchmarks lose most, which a property of the benchmarks alone foretells. The interval draws
    families of models whole; the null gives the drops of one model to another, on all benchmarks alike (95 % of permutations), so that
    over all cells it shows what the benchmarks alone foretell. Missing, where `pidlib.population.FEWEST` are not reached or a
    column is constant.

    Parameters
    ----------
    table
        Rows of kind ``quantity`` and ``drop``.
    families
        Model -> family.
    n_bootstrap, n_permutations, seed
        Draws of the interval and of the null; where their randomness begins.
    """
    models, names = table["model"].unique(), table["benchmark"].unique()
    x, y = (
        np.stack([_wide(table, kind, by, name, models, names) for name in known], -1)
        for kind, by, known in (("quantity", "quantity", QUANTITIES), ("drop", "intervention", OUTCOMES))
    )
    rho = rank_correlations(x, y)
    generator = np.random.default_rng(derive_seed(seed, "foretold"))
    clusters = list(pd.Series(range(len(models))).groupby(families[models].to_numpy(), sort=False).indices.values())
    draws, null = [], [rank_correlations(x, y[generator.permutation(len(models))]) for _ in range(n_permutations)]
    for _ in range(n_bootstrap):
        picked = np.concatenate([clusters[i] for i in generator.integers(len(clusters), size=len(clusters))])
        draws.append(rank_correlations(x[picked], y[picked]))
    ends = {"ci_low": _tail(draws, 0.025), "ci_high": _tail(draws, 0.975), "null_low": _tail(null, 0.025), "null_high": _tail(null, 0.975)}
    if len(clusters) < population.FEWEST:
        ends |= {"ci_low": np.full_like(rho, np.nan), "ci_high": np.full_like(rho, np.nan)}
    told = {"kind": "correlation", "experiment": table["experiment"].iloc[0], "seed": seed, "n_models": len(models)}
    told["fingerprint"] = fingerprint(table=table["fingerprint"].unique().tolist(), n=[n_bootstrap, n_permutations], seed=seed)
    return pd.DataFrame(
        [
            told
            | {"benchmark": name, "quantity": quantity, "intervention": outcome, "value": rho[place]}
            | {k: v[place] for k, v in ends.items()}
            for i, name in enumerate((*names, MEAN, POOLED))
            for j, quantity in enumerate(QUANTITIES)
            for k, outcome in enumerate(OUTCOMES)
            if (quantity, outcome) != ("masked_drop", "noise")  # one thing under two names
            for place in [(i, j, k)]
        ]
    )


def rank_correlations(
    x: Float[np.ndarray, "models benchmarks p"], y: Float[np.ndarray, "models benchmarks q"]
) -> Float[np.ndarray, "benchmarks+2 p q"]:
    """Spearman's rho within each benchmark, their mean where there is one, and over all models and benchmarks together."""
    within = np.einsum("mbp,mbq->bpq", ranked(x), ranked(y))
    known = (~np.isnan(within)).sum(0)
    mean = np.nan_to_num(within).sum(0) / np.where(known > 0, known, np.nan)
    pooled = np.einsum("np,nq->pq", *(ranked(side.reshape(-1, side.shape[-1])) for side in (x, y)))
    return np.concatenate([within, mean[None], pooled[None]])


def ranked(columns: Float[np.ndarray, "n *columns"]) -> Float[np.ndarray, "n *columns"]:
    """Ranks along the first axis, centred and of length one; missing where constant, incomplete or too few."""
    ranks = rankdata(columns, axis=0)
    ranks = np.where(np.isnan(columns).any(0), np.nan, ranks) - (len(columns) + 1) / 2
    length = np.sqrt((ranks**2).sum(0))
    return ranks / np.where((length > 0) & (len(columns) >= population.FEWEST), length, np.nan)


def _tail(draws: Sequence[np.ndarray], level: float) -> np.ndarray:
    """A quantile of the draws that have a value; missing where half of them have none."""
    draws = np.stack(draws)
    missing = np.isnan(draws).mean(0) > 0.5
    return np.where(missing, np.nan, np.nanquantile(np.where(missing, 0, draws), level, axis=0))


def _wide(table: pd.DataFrame, kind: str, by: str, name: str, models: Sequence[str], names: Sequence[str]) -> np.ndarray:
    """One quantity or drop as an array [models, benchmarks]; what differs by less than the solver can tell is tied."""
    rows = table[(table["kind"] == kind) & (table[by] == name)]
    return rows.pivot(index="model", columns="benchmark", values="value").reindex(index=models, columns=names).to_numpy(float).round(3)


def _quantities(measured: pd.DataFrame) -> list[dict]:
    told = measured[["benchmark", "split", "model", "revision", "n_samples", "fingerprint"]].to_dict("records")
    values = measured[list(MEASURED.values())].rename(columns={column: name for name, column in MEASURED.items()}).to_dict("records")
    return [
        about | {"kind": "quantity", "quantity": name, "value": value[name]}
        for about, value in zip(told, values, strict=True)
        for name in value
    ]


def asked(preset: Preset) -> tuple[Asked, ...]:
    """Of each model of the population: what its masked profile needs, and its answers after every intervention."""
    one = Asked(preset.split, preset.n_intervened, preset.seed, (FULL,))
    return (*population.asked(preset), *(one._replace(change=change) for change in _changes(preset).values()))


def _changes(preset: Preset) -> dict[str, Callable[[Sequence[Sample]], list[Sample]]]:
    """Every intervention; and, for the perceptual score, pictures resampled anew."""
    anew = partial(resample, modality="vision", seed=derive_seed(preset.seed, "perceptual score"))
    return {"anew": anew} | {name: partial(change, seed=preset.seed) for name, change in INTERVENTIONS.items()}


def _drops(preset: Preset) -> list[dict]:
    """Every drop with its interval, and the perceptual score of the picture, of all models on all benchmarks."""
    rows = []
    for full, *others in runs(preset, asked(preset), models=preset.population):
        whole = right(full.extraction)
        after = {name: (right(run.extraction), run.columns) for name, run in zip(_changes(preset), others, strict=True)}
        permuted, about = after.pop("anew")
        ids = permuted.index
        rows.append(about | {"kind": "quantity", "quantity": "perceptual_score", "value": perceptual_score(whole[ids], [permuted])})
        after |= {name: (right(full.extraction, key)[ids], full.columns | {"n_samples": len(ids)}) for name, key in NOISE.items()}
        for name, (changed, about) in after.items():
            value, low, high = drop(whole, changed, preset.n_bootstrap, preset.seed)
            rows.append(about | {"kind": "drop", "intervention": name, "value": value, "ci_low": low, "ci_high": high})
    return rows


def _shares(preset: Preset) -> list[dict]:
    """The picture's share by MM-SHAP, with the normal interval of its mean over the questions that were explained."""
    rows, unpinned = [], {"allow_unpinned": preset.allow_unpinned}
    for model, _, revision in (model.partition("@") for model in preset.population):
        loaded = load(model, revision=revision or None, device=preset.device, **unpinned)
        for name in preset.benchmarks:
            samples = benchmarks.load(name, preset.split, n=preset.n_intervened, seed=preset.seed, **unpinned)
            shares = vision_shares(loaded, samples, preset.n_explained, seed=preset.seed, batch_size=preset.batch_size)
            shares = shares[~np.isnan(shares)]
            mean = shares.mean() if len(shares) else np.nan
            error = 1.96 * shares.std(ddof=1) / np.sqrt(len(shares)) if len(shares) > 1 else np.nan
            mark = fingerprint(model=loaded.revision, samples=[one.sample_id for one in samples[: preset.n_explained]], seed=preset.seed)
            told = {"benchmark": samples[0].benchmark, "split": preset.split, "model": loaded.name, "revision": loaded.revision}
            told |= {"kind": "quantity", "quantity": "vision_share", "n_samples": preset.n_explained, "fingerprint": mark}
            rows.append(told | {"value": mean, "ci_low": mean - error, "ci_high": mean + error})
    return rows
