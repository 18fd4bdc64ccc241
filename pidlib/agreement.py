"""Who is like whom: do the profiles of models agree within a family, within a size, or wherever models are equally good?"""

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float

from pidlib import results, schemas
from pidlib.experiment import derive_seed, fingerprint
from pidlib.population import ATOMS, DECIMALS
from pidlib.ranks import ranked

MEASURES = ("profile", "deviation")
KIN = ("same family", "same family and size", "same size", "alike in accuracy")


def agreement_table(population: pd.DataFrame, n_resamples: int, seed: int = 0) -> pd.DataFrame:
    """Spearman's rho of each two models over all atoms on all benchmarks, and its mean over pairs of kin against shuffled labels.

    Atoms that differ by less than the solver can tell are tied.
    ``profile`` correlates the atoms as they are. It is high for any two models that do their task: the benchmarks decide which atom is
    large. ``deviation`` correlates what is left when the mean model is taken off each cell, what two models do that the others do not:
    about -1 / (n - 1) for models that have nothing to do with one another.

    Pairs are kin by name, `KIN`: of one family, of one size, of both, and of accuracies, in the mean over the benchmarks, that differ by
    less than those of half of all pairs. The last is the rival account: equally trained, rather than equally built. The null permutes the
    models under the labels; ``null_p`` is the share of permutations, the identity counted in, in which pairs of kin agree at least as well.

    Parameters
    ----------
    population
        From `pidlib.population.population_table`.
    n_resamples, seed
        Permutations, and where their randomness begins.

    Returns
    -------
    pd.DataFrame
        A row for each pair, then, where ``kin`` is named, one for each mean. ``rho`` is missing for pairs of which one is constant, and
        for kin of whom there is no pair, or no other pair.
    """
    facts = population.groupby("model", sort=False).agg({"family": "first", "size": "first", "accuracy": "mean"}).reset_index()
    cells = population.pivot(index="model", columns="benchmark", values=[f"{atom}_bits" for atom in ATOMS]).loc[facts["model"]]
    cells = cells.to_numpy(float)
    upper = np.triu_indices(len(facts), 1)
    a, b = (facts.iloc[side].reset_index(drop=True) for side in upper)
    pairs = a.add_suffix("_a").join(b.add_suffix("_b")).assign(accuracy_apart=(a["accuracy"] - b["accuracy"]).abs())
    pairs = pairs.drop(columns=["accuracy_a", "accuracy_b"])
    generator = np.random.default_rng(derive_seed(seed, "agreement"))
    orders = [np.arange(len(facts)), *(generator.permutation(len(facts)) for _ in range(n_resamples))]
    tables = []
    for measure in MEASURES:
        standing = ranked((cells - (cells.mean(0) if measure == "deviation" else 0)).round(DECIMALS).T)
        rho = standing.T @ standing
        shuffled = np.stack([rho[np.ix_(order, order)][upper] for order in orders])
        means = [{"kin": kin, "n_pairs": alike.sum()} | _against_shuffled(shuffled, alike) for kin, alike in kindred(pairs).items()]
        tables += [part.assign(measure=measure) for part in (pairs.assign(rho=rho[upper]), pd.DataFrame(means))]
    told = {"experiment": population["experiment"].iloc[0], "n_cells": cells.shape[1], "n_samples": population["n_samples"].min()}
    told |= {"seed": seed, "converged": bool(population["converged"].all())}
    mark = fingerprint(population=population["fingerprint"].tolist(), n_resamples=n_resamples, seed=seed)
    return results.tidy(pd.concat(tables, ignore_index=True).assign(**told, fingerprint=mark), schemas.AGREEMENT)


def kindred(pairs: pd.DataFrame) -> dict[str, Bool[np.ndarray, " pairs"]]:
    """Which of the pairs are kin, by name of the kinship."""
    family, size = ((pairs[f"{name}_a"] == pairs[f"{name}_b"]).to_numpy(bool, na_value=False) for name in ("family", "size"))
    apart = pairs["accuracy_apart"].to_numpy(float)
    return dict(zip(KIN, (family, family & size, size, apart < np.median(apart)), strict=True))


def _against_shuffled(shuffled: Float[np.ndarray, "orders pairs"], alike: Bool[np.ndarray, " pairs"]) -> dict[str, float]:
    """The mean correlation of kin in the order as it is, which comes first, and what it is when labels mean nothing."""
    if not alike.any() or alike.all():
        return {}
    with np.errstate(invalid="ignore"):
        rho, *null = np.nanmean(shuffled[:, alike], axis=1)
    return {"rho": rho, "null_mean": np.mean(null), "null_low": np.quantile(null, 0.025), "null_high": np.quantile(null, 0.975)} | {
        "null_p": (1 + np.sum(np.array(null) >= rho - 1e-9)) / (1 + len(null))
    }
