"""Which quantity of a model foretells what an intervention costs it: rank correlations, with baselines beside them."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import product
from types import MappingProxyType

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float

from pidlib import benchmarks, population, ranks, results, schemas
from pidlib.benchmarks import Sample
from pidlib.experiment import Preset, derive_seed, fingerprint
from pidlib.extraction.masking import FULL
from pidlib.interventions import INTERVENTIONS, drop, perceptual_score, resample, right
from pidlib.models import load
from pidlib.ranks import ranked
from pidlib.runs import Asked, runs
from pidlib.shapley import vision_shares

NOISE = {"noise": "language", "words as noise": "vision"}  # interventions that are passes: what is left
# Quantity -> column of the population's table: atoms of the masked decisions, then baselines.
MEASURED = {name: f"{name}_bits" for name in ("synergy", "unique_vision", "unique_language", "redundancy", "co_information")}
SOLVED = tuple(MEASURED)
MEASURED |= {"divergence": "divergence_bits", "moved_language": "moved_language"}
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
    several = {name: some for name, some in population.grouped(measured).items() if len(some) > 1 and name != population.ALL}
    rows = [*_quantities(measured), *_drops(preset), *_shares(preset)]
    table = pd.DataFrame(rows).assign(experiment=experiment, seed=preset.seed)
    found = correlations(table, families, preset.n_bootstrap, preset.n_permutations, preset.seed, several)
    return results.tidy(pd.concat([table, found], ignore_index=True), schemas.SCHEMAS["fig_interventions"])


def correlations(
    table: pd.DataFrame,
    families: pd.Series,
    n_bootstrap: int,
    n_permutations: int,
    seed: int = 0,
    several: Mapping[str, Sequence[str]] = MappingProxyType({}),
) -> pd.DataFrame:
    """Spearman's rho of every quantity and every drop: over the models of each benchmark, in the mean of these, and over all cells.

    A benchmark whose drops differ over the models mostly by the chance of its questions (``reliability`` below `pidlib.ranks.RELIABLE`)
    does not count in a mean; ``n_benchmarks`` says how many do.

    Over all cells it also tells which benchmarks lose most, which a property of the benchmarks alone foretells. The interval draws
    families of models whole; the null gives the drops of one model to another, on all benchmarks alike (95 % of permutations), so that
    over all cells it shows what the benchmarks alone foretell. Missing, where `pidlib.ranks.FEWEST` are not reached or a column is
    constant.

    Parameters
    ----------
    table
        Rows of kind ``quantity`` and ``drop``, the latter with their intervals.
    families
        Model -> family.
    n_bootstrap, n_permutations, seed
        Draws of the interval and of the null; where their randomness begins.
    several
        More means by name, each of some of the benchmarks.
    """
    models, names = table["model"].unique(), table["benchmark"].unique()
    x = np.stack([_wide(table, "quantity", "quantity", name, models, names) for name in QUANTITIES], -1)
    y, low, high = (
        np.stack([_wide(table, "drop", "intervention", name, models, names, column) for name in OUTCOMES], -1)
        for column in ("value", "ci_low", "ci_high")
    )
    reliable = ranks.reliability(y, ((high - low) / 3.92) ** 2)
    several = {MEAN: names, **several}
    members = np.stack([np.isin(names, some)[:, None] & (reliable >= ranks.RELIABLE) for some in several.values()])
    rho = rank_correlations(x, y, members)
    generator = np.random.default_rng(derive_seed(seed, "foretold"))
    clusters = list(pd.Series(range(len(models))).groupby(families[models].to_numpy(), sort=False).indices.values())
    null = np.stack([rank_correlations(x, y[generator.permutation(len(models))], members) for _ in range(n_permutations)])
    draws = np.stack([rank_correlations(x[some], y[some], members) for some in ranks.redrawn(clusters, n_bootstrap, generator)])
    ends = dict(zip(("ci_low", "ci_high"), ranks.interval(draws, len(clusters) < ranks.FEWEST), strict=True))
    ends |= dict(zip(("null_low", "null_high"), ranks.interval(null), strict=True))
    unsolved = table[~table["converged"].fillna(True).astype(bool)] if "converged" in table else table[:0]
    told = {"kind": "correlation", "experiment": table["experiment"].iloc[0], "seed": seed, "n_models": len(models)}
    told["fingerprint"] = fingerprint(table=table["fingerprint"].unique().tolist(), n=[n_bootstrap, n_permutations], seed=seed)
    rows = []
    for i, name in enumerate((*names, *several, POOLED)):
        inside = several.get(name, names if name == POOLED else [name])
        for (j, quantity), (k, outcome) in product(enumerate(QUANTITIES), enumerate(OUTCOMES)):
            if (quantity, outcome) == ("masked_drop", "noise"):  # one thing under two names
                continue
            about = {"benchmark": name, "quantity": quantity, "intervention": outcome, "value": rho[i, j, k]}
            about |= {end: bounds[i, j, k] for end, bounds in ends.items()}
            about["converged"] = not (unsolved["benchmark"].isin(inside) & (unsolved["quantity"] == quantity)).any()
            about |= {"reliability": reliable[i, k]} if i < len(names) else {}
            about |= {"n_benchmarks": members[i - len(names), :, k].sum()} if name in several else {}
            rows.append(told | about)
    return pd.DataFrame(rows)


def rank_correlations(
    x: Float[np.ndarray, "models benchmarks p"],
    y: Float[np.ndarray, "models benchmarks q"],
    members: Bool[np.ndarray, "groups benchmarks q"],
) -> Float[np.ndarray, "benchmarks+groups+1 p q"]:
    """Spearman's rho within each benchmark, the mean over those of each group that have one, and over all models and benchmarks."""
    within = np.einsum("mbp,mbq->bpq", ranked(x), ranked(y))
    pooled = np.einsum("np,nq->pq", *(ranked(side.reshape(-1, side.shape[-1])) for side in (x, y)))
    return np.concatenate([within, ranks.averaged(within, members[:, :, None]), pooled[None]])


def _wide(
    table: pd.DataFrame, kind: str, by: str, name: str, models: Sequence[str], names: Sequence[str], column: str = "value"
) -> Float[np.ndarray, "models benchmarks"]:
    """One quantity or drop; what differs by less than the solver can tell is tied."""
    rows = table[(table["kind"] == kind) & (table[by] == name)].pivot(index="model", columns="benchmark", values=column)
    return rows.reindex(index=models, columns=names).to_numpy(float).round(population.DECIMALS)


def _quantities(measured: pd.DataFrame) -> list[dict]:
    told = measured[["benchmark", "split", "model", "revision", "n_samples", "fingerprint"]].to_dict("records")
    values = measured[list(MEASURED.values())].rename(columns={column: name for name, column in MEASURED.items()}).to_dict("records")
    return [
        about | {"kind": "quantity", "quantity": name, "value": value[name], "converged": converged if name in SOLVED else None}
        for about, value, converged in zip(told, values, measured["converged"], strict=True)
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
