"""What the models of a population take from picture and question, held against what they lose without the picture."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from jaxtyping import Float
from scipy.stats import false_discovery_control, rankdata
from transformers import AutoConfig

from pidlib import benchmarks, results, schemas
from pidlib.decisions import decision_pid
from pidlib.decomposition import pid
from pidlib.experiment import Preset, derive_seed, fingerprint
from pidlib.extraction import PASSES, Extraction
from pidlib.extraction.masking import FULL
from pidlib.models.checkpoints import CHECKPOINTS
from pidlib.models.recipes import RECIPES
from pidlib.runs import Asked, runs

TOLERANCE = 1e-4  # bits, of the solver
DECIMALS = 3  # quantities that differ by less are tied: the solver's last digits have no rank
ATOMS = ("redundancy", "unique_vision", "unique_language", "synergy")
FEWEST = 4  # models, or families to resample; of fewer, a rank correlation says nothing and is missing
QUANTITIES = ("synergy", "co_information", "unique_language", "total", "added_by_vision")
GIVEN = "delta_vision given accuracy"
CELLS = [(quantity, outcome) for outcome in ("delta_vision", GIVEN, "accuracy") for quantity in QUANTITIES] + [("accuracy", "delta_vision")]
COLUMNS = {name: f"{name}_bits" for name in QUANTITIES} | {name: name for name in ("accuracy", "delta_vision")}
AT = {name: index for index, name in enumerate(COLUMNS)}
SIZES = {"below 5 B": 5, "5 to 20 B": 20, "above 20 B": np.inf}  # billions of parameters
DRIVEN = {"synergy": "synergy-driven", "unique_language": "prior-driven", "unique_vision": "picture-driven", "redundancy": "redundant"}


def asked(preset: Preset) -> tuple[Asked]:
    """Of each model of the population: both modalities, and each of them alone."""
    return (Asked(preset.split, preset.n_population, preset.seed, PASSES),)


def kin(model: str) -> tuple[str, str | None]:
    """The family and the size of a model: of a mini by its recipe, of a known checkpoint in steps of parameters.

    Of any other folder or checkpoint the configuration tells the family, and the size is missing.
    """
    name, _, revision = model.partition("@")
    if name in RECIPES:
        return RECIPES[name].family, RECIPES[name].size
    if name in CHECKPOINTS:
        known = CHECKPOINTS[name]
        return known.family, next(step for step, most in SIZES.items() if known.parameters < most)
    return AutoConfig.from_pretrained(name, revision=revision or None).model_type, None


def driven(benchmark: str) -> str | None:
    """What a benchmark asks for: as a paper says of it, or the largest atom of its ideal answerer; None where neither is known."""
    said = results.published("table1_sensitivity").dropna(subset="kind").drop_duplicates("benchmark")
    said = {_letters(name): kind for name, kind in zip(said["benchmark"], said["kind"], strict=True)}
    if (name := _letters(benchmark.partition("@")[0].rsplit("/")[-1])) in said:
        return said[name]
    if not benchmark.startswith("micro/"):
        return None
    atoms = pid(benchmarks.truth(benchmark)).atoms
    return DRIVEN[max(atoms, key=atoms.get)]


def population_table(preset: Preset, experiment: str = "vision_language") -> pd.DataFrame:
    """A row for each model on each benchmark: quantities of its masked decisions, and its accuracy with and without each modality.

    ``co_information`` is R - S, and ``added_by_vision`` is U_vision + S = I(Y; V | T); neither depends on how the decomposition shares
    out information, only on the three passes. ``delta_vision`` is the accuracy that is lost where the picture is masked, with a normal
    interval over the questions.
    """
    rows = []
    for (run,) in runs(preset, asked(preset), models=preset.population):
        solved = decision_pid(run.extraction.masked(preset.tau), tol=TOLERANCE).pid
        atoms = solved.atoms
        bits = atoms | {
            "co_information": atoms["redundancy"] - atoms["synergy"],
            "added_by_vision": atoms["unique_vision"] + atoms["synergy"],
            "total": solved.total,
            "gap": solved.gap,
        }
        full, language = (_right(run.extraction, key) for key in (FULL, "language"))
        lost = full - language
        delta, error = lost.mean(), 1.96 * lost.std() / np.sqrt(len(lost))
        right = {"accuracy": full.mean(), "accuracy_vision": run.extraction.accuracy("vision"), "accuracy_language": language.mean()}
        right |= {"delta_vision": delta, "delta_low": delta - error, "delta_high": delta + error}
        mark = fingerprint(extraction=run.columns["fingerprint"], tau=preset.tau, tol=TOLERANCE)
        told = {"experiment": experiment, "converged": solved.converged, "fingerprint": mark}
        told |= dict(zip(("family", "size"), kin(run.columns["model"]), strict=True))
        rows.append(run.columns | {f"{name}_bits": value for name, value in bits.items()} | right | told)
    return results.tidy(rows, schemas.POPULATION)


def _right(extraction: Extraction, key: str) -> Float[np.ndarray, " n"]:
    """1 where the likeliest candidate is the answer."""
    return (np.array(extraction.candidates)[extraction.logits[key].argmax(1)] == np.array(extraction.answers)).astype(float)


def sensitivity_table(population: pd.DataFrame, n_resamples: int, seed: int = 0) -> pd.DataFrame:
    r"""Spearman's rho over the models of a quantity and an outcome, per benchmark and in the mean of several; the published below.

    The interval ``ci`` resamples models as if they were independent. Models of one family share code, and some a vision tower, so
    ``family`` resamples families whole: the interval to believe, and still too narrow where families are few. ``p_value`` permutes the
    models, the same way on all benchmarks; ``q_value`` controls false discoveries among all tests of the table (Benjamini and Hochberg).

    Accuracy is among the predictors: :math:`\Delta_v = a - a_\ell`, so where no model does better than guess without the picture, the two
    have one order, and what correlates with either does so with both. ``delta_vision given accuracy`` is the partial rank correlation

    .. math:: \rho_{q\Delta \cdot a} = \frac{\rho_{q\Delta} - \rho_{qa}\rho_{\Delta a}}{\sqrt{(1 - \rho_{qa}^2)(1 - \rho_{\Delta a}^2)}}.

    Parameters
    ----------
    population
        From `population_table`.
    n_resamples, seed
        Permutations, and draws of either bootstrap; where their randomness begins.

    Returns
    -------
    pd.DataFrame
        ``rho`` is missing where models are fewer than `FEWEST`, or a column is constant over them. ``reliability`` is the share of the
        outcome's variance over the models that is not the chance of the questions: where it is low, ranks are noise. Published rows have a
        ``grade``; their ``ci`` is not published, it is Fisher's with the variance of Bonett and Wright (2000).
    """
    models, names = population["model"].unique(), population["benchmark"].unique()
    population = population.round({column: DECIMALS if column.endswith("bits") else 9 for column in COLUMNS.values()})
    wide = [population.pivot(index="model", columns="benchmark", values=column).loc[models, names] for column in COLUMNS.values()]
    values = np.stack([column.to_numpy(float) for column in wide], axis=-1)
    families = population.drop_duplicates("model").groupby("family", sort=False).indices
    groups = _groups(names)
    members = np.array([np.isin(names, group) for group in groups.values()], float)
    generator = np.random.default_rng(derive_seed(seed, "sensitivity"))

    x, y = _sides(values)
    rho = _rho(x, y, members)
    reached = sum(np.abs(_rho(x, y[generator.permutation(len(y))], members)) >= np.abs(rho) - 1e-9 for _ in range(n_resamples))
    p = np.where(np.isnan(rho), np.nan, (1 + reached) / (1 + n_resamples))
    low, high = _interval(values, list(np.arange(len(models))[:, None]), members, n_resamples, generator)
    family_low, family_high = _interval(values, list(families.values()), members, n_resamples, generator)

    told = {"experiment": population["experiment"].iloc[0], "source": "this population", "seed": seed, "n_models": len(models)}
    told |= {"n_families": len(families), "n_samples": population["n_samples"].min()}
    told["fingerprint"] = fingerprint(population=population["fingerprint"].tolist(), n_resamples=n_resamples, seed=seed)
    rows = []
    for i, (group, inside) in enumerate(groups.items()):
        shown = population[population["benchmark"].isin(inside)]
        told |= {"benchmark": group, "kind": driven(group) if len(inside) == 1 else None, "converged": bool(shown["converged"].all())}
        for j, (quantity, outcome) in enumerate(CELLS):
            found = {"rho": rho[i, j], "p_value": p[i, j], "ci_low": low[i, j], "ci_high": high[i, j]}
            found |= {"family_low": family_low[i, j], "family_high": family_high[i, j]}
            reliable = _reliability(shown, "accuracy" if outcome == "accuracy" else "delta_vision") if len(inside) == 1 else None
            rows.append(told | {"quantity": quantity, "outcome": outcome, "reliability": reliable} | found)
    table = pd.DataFrame(rows)
    tested = table["p_value"].notna()
    table.loc[tested, "q_value"] = false_discovery_control(table.loc[tested, "p_value"])
    return results.tidy(pd.concat([table, _printed().assign(experiment=told["experiment"])], ignore_index=True), schemas.SENSITIVITY)


def _printed() -> pd.DataFrame:
    """The published correlations, each with the interval that as many independent models would give it."""
    table = results.published("table1_sensitivity")
    rho = table["rho"].to_numpy(float, na_value=np.nan)
    error = 1.96 * np.sqrt((1 + rho**2 / 2) / (table["n_models"].to_numpy(float) - 3))
    return table.assign(ci_low=np.tanh(np.arctanh(rho) - error), ci_high=np.tanh(np.arctanh(rho) + error))


def _reliability(shown: pd.DataFrame, outcome: str) -> float:
    """The share of an outcome's variance over the models that is not the chance of the questions; missing where it is constant."""
    chance = shown["accuracy"] * (1 - shown["accuracy"]) / shown["n_samples"]
    if outcome == "delta_vision":
        chance = ((shown["delta_high"] - shown["delta_low"]) / 3.92) ** 2
    spread = shown[outcome].var()
    return max(0.0, 1 - chance.mean() / spread) if spread > 1e-9 else np.nan


def _groups(names: Sequence[str]) -> dict[str, list[str]]:
    """Each benchmark alone; those of one kind, where they are several; all."""
    kinds = pd.Series({name: driven(name) for name in names}, dtype="string").dropna()
    several = {f"mean of {kind}": list(some) for kind, some in kinds.groupby(kinds, sort=False).groups.items() if len(some) > 1}
    return {name: [name] for name in names} | several | ({"mean of all": list(names)} if len(names) > 1 else {})


def _sides(values: Float[np.ndarray, "models benchmarks columns"]) -> tuple[Float[np.ndarray, "models benchmarks cells"], ...]:
    """Of each cell the ranks of quantity and outcome, centred and of length one; given accuracy, what is left of them beside its ranks."""
    ranks = _unit(rankdata(values, axis=0))
    accuracy = ranks[..., [AT["accuracy"]]]
    rest = _unit(ranks - (ranks * accuracy).sum(0) * accuracy)
    of = {GIVEN: (rest, "delta_vision")}
    x = [of.get(outcome, (ranks,))[0][..., AT[quantity]] for quantity, outcome in CELLS]
    y = [of.get(outcome, (ranks,))[0][..., AT["delta_vision" if outcome == GIVEN else outcome]] for _, outcome in CELLS]
    return np.stack(x, -1), np.stack(y, -1)


def _unit(columns: np.ndarray) -> np.ndarray:
    """Centred and scaled to length one along the models; missing where constant, or models are too few."""
    columns = columns - columns.mean(0)
    length = np.sqrt((columns**2).sum(0))
    return columns / np.where((length > 1e-6) & (len(columns) >= FEWEST), length, np.nan)


def _rho(x: np.ndarray, y: np.ndarray, members: np.ndarray) -> Float[np.ndarray, "groups cells"]:
    """Correlations of the sides, in the mean over those benchmarks of each group that have one."""
    rho = (x * y).sum(0)
    with np.errstate(invalid="ignore"):
        return members @ np.nan_to_num(rho) / (members @ ~np.isnan(rho))


def _interval(values: np.ndarray, clusters: list[np.ndarray], members: np.ndarray, n: int, generator: np.random.Generator):
    """95 % percentile interval of the correlations, clusters of models drawn anew; missing where a tenth of the draws is constant."""
    picks = (np.concatenate([clusters[i] for i in generator.integers(len(clusters), size=len(clusters))]) for _ in range(n))
    draws = np.stack([_rho(*_sides(values[pick]), members) for pick in picks])
    missing = (np.isnan(draws).mean(0) > 0.1) | (len(clusters) < FEWEST)
    return np.where(missing, np.nan, np.nanquantile(np.where(missing, 0, draws), (0.025, 0.975), axis=0))


def _letters(name: str) -> str:
    return "".join(filter(str.isalnum, name)).lower()
