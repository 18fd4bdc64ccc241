"""What the models of a population take from picture and question, held against what they lose without the picture."""

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float
from scipy.special import rel_entr
from scipy.stats import false_discovery_control
from transformers import AutoConfig

from pidlib import benchmarks, ranks, results, schemas
from pidlib.decisions import decision_pid
from pidlib.decomposition import pid
from pidlib.experiment import Preset, derive_seed, fingerprint
from pidlib.extraction import PASSES
from pidlib.extraction.masking import FULL
from pidlib.interventions import right
from pidlib.models.checkpoints import CHECKPOINTS
from pidlib.models.recipes import RECIPES
from pidlib.profiles import diagnose
from pidlib.runs import Asked, runs

TOLERANCE = 1e-4  # bits, of the solver
DECIMALS = 3  # quantities that differ by less are tied: the solver's last digits have no rank
ATOMS = ("redundancy", "unique_vision", "unique_language", "synergy")
COLLAPSED = 0.5  # mean share of picture-alone decisions made uniform, above which synergy is mostly what was put in their place
BASELINES = ("synergy_without_fallback", "added_by_vision", "divergence", "moved_language", "total")
QUANTITIES = ("synergy", "co_information", "unique_language", *BASELINES)
GIVEN = "delta_vision given accuracy"
CELLS = [(quantity, outcome) for outcome in ("delta_vision", GIVEN, "accuracy") for quantity in QUANTITIES] + [("accuracy", "delta_vision")]
AS_NAMED = ("moved_language", "accuracy", "delta_vision")  # columns that are not in bits
COLUMNS = {name: f"{name}_bits" for name in QUANTITIES if name not in AS_NAMED} | {name: name for name in AS_NAMED}
AT = {name: index for index, name in enumerate(COLUMNS)}
BESIDE = [CELLS.index(("synergy", outcome)) for _, outcome in CELLS]  # the cell of synergy with the same outcome
ALL, UNCOLLAPSED = "mean of all", "mean of those not collapsed"
SIZES = {"below 5 B": 5, "5 to 20 B": 20, "above 20 B": np.inf}  # billions of parameters
MINI_SIZES = {"compact": "0.2 to 0.4 M", "small": "1.0 to 1.2 M"}  # size of a recipe -> parameters
DRIVEN = {"synergy": "synergy-driven", "unique_language": "prior-driven", "unique_vision": "picture-driven", "redundancy": "redundant"}


def asked(preset: Preset) -> tuple[Asked]:
    """Of each model of the population: both modalities, and each of them alone."""
    return (Asked(preset.split, preset.n_population, preset.seed, PASSES),)


def kin(model: str) -> tuple[str, str | None]:
    """The family and the size of a model, in parameters: of a mini by its recipe, of a known checkpoint in steps.

    Of any other folder or checkpoint the configuration tells the family, and the size is missing.
    """
    name, _, revision = model.partition("@")
    if name in RECIPES:
        return RECIPES[name].family, MINI_SIZES[RECIPES[name].size]
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


def population_table(preset: Preset, experiment: str = "vision_language", *, without_fallback: bool = False) -> pd.DataFrame:
    r"""A row for each model on each benchmark: quantities of its masked decisions, what to know before they are believed, accuracies.

    ``co_information`` is R - S. ``added_by_vision`` is U_vision + S: the information of both less that of the reconciled language rows;
    since masked rows fit no one joint distribution, it is no conditional information and can be negative. ``divergence`` takes neither a
    decomposition nor reconciled rows: :math:`E\,KL(p(y|v,t)\,\|\,p(y|t))`, how far a decision is from that without the picture.
    ``synergy_without_fallback``, if asked for, is S where no decision is replaced by the uniform one (tau = 0). Entropies, ``fallback`` and
    ``moved`` are those of `pidlib.profiles.diagnose`: a profile whose picture-alone decisions are mostly uniform is an ablation of the
    picture.
    ``delta_vision`` is the accuracy that is lost where the picture is masked, with a normal interval over the questions.
    """
    rows = []
    for (run,) in runs(preset, asked(preset), models=preset.population):
        found = decision_pid(run.extraction.masked(preset.tau), tol=TOLERANCE)
        solved, atoms = found.pid, found.pid.atoms
        fell_back = any(run.extraction.fallback(key, preset.tau) for key in PASSES)
        kept = (decision_pid(run.extraction.masked(0.0), tol=TOLERANCE).pid if fell_back else solved) if without_fallback else None
        decompositions = [one for one in (solved, kept) if one is not None]
        both, language = (run.extraction.decisions(key, preset.tau) for key in (FULL, "language"))
        bits = atoms | {
            "co_information": atoms["redundancy"] - atoms["synergy"],
            "added_by_vision": atoms["unique_vision"] + atoms["synergy"],
            "divergence": rel_entr(both, language).sum(1).mean() / np.log(2),
            "synergy_without_fallback": None if kept is None else kept.synergy,
            "total": solved.total,
            "gap": max(one.gap for one in decompositions),
        }
        lost = right(run.extraction, FULL) - right(run.extraction, "language")
        delta, error = lost.mean(), 1.96 * lost.std(ddof=0) / np.sqrt(len(lost))
        known = diagnose(run.extraction, preset.tau, found)
        known |= {"delta_vision": delta, "delta_low": delta - error, "delta_high": delta + error}
        mark = fingerprint(extraction=run.columns["fingerprint"], tau=preset.tau, tol=TOLERANCE)
        told = {"experiment": experiment, "converged": all(one.converged for one in decompositions), "fingerprint": mark}
        told |= dict(zip(("family", "size"), kin(run.columns["model"]), strict=True))
        rows.append(run.columns | {f"{name}_bits": value for name, value in bits.items()} | known | told)
    return results.tidy(rows, schemas.POPULATION)


def sensitivity_table(population: pd.DataFrame, n_resamples: int, seed: int = 0) -> pd.DataFrame:
    r"""Spearman's rho over the models of a quantity and an outcome, per benchmark and in the mean of several; the published below.

    The interval ``ci`` resamples models as if they were independent. Models of one family share code, and some a vision tower, so
    ``family`` resamples families whole: the interval to believe, and still too narrow where families are few. ``p_value`` permutes the
    models, the same way on all benchmarks; ``q_value`` controls false discoveries among all tests of the table (Benjamini and Hochberg).
    Both take models as exchangeable: neither says much where ``family`` holds 0. ``less_synergy`` is rho less that of synergy with the
    same outcome, and its interval draws the same families for both.

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
        ``rho`` is missing where models are fewer than `pidlib.ranks.FEWEST`, or a column is constant over them. ``reliability`` is the
        share of the outcome's variance over the models that is not the chance of the questions: a benchmark where it is below
        `pidlib.ranks.RELIABLE` does not count in a mean, and is named in ``left_out``. ``fallback`` is the share of picture-alone decisions
        that were made uniform, in the mean over the models. Published rows have a ``grade``; their ``ci`` is not published, it is Fisher's
        with the variance of Bonett and Wright (2000), as if models were independent.
    """
    models, names = population["model"].unique(), population["benchmark"].unique()
    population = population.round({column: 9 if name in ("accuracy", "delta_vision") else DECIMALS for name, column in COLUMNS.items()})
    values = np.stack([_wide(population, column).loc[models, names] for column in COLUMNS.values()], axis=-1)
    families = list(population.drop_duplicates("model").groupby("family", sort=False).indices.values())
    groups = grouped(population)
    reliable = _reliability(population, names)
    counts = reliable >= ranks.RELIABLE
    members = np.stack([np.isin(names, inside)[:, None] & (counts | (len(inside) == 1)) for inside in groups.values()])
    generator = np.random.default_rng(derive_seed(seed, "sensitivity"))

    x, y = _sides(values)
    rho = ranks.averaged((x * y).sum(0), members)
    orders = (generator.permutation(len(models)) for _ in range(n_resamples))
    reached = sum(np.abs(ranks.averaged((x * y[order]).sum(0), members)) >= np.abs(rho) - 1e-9 for order in orders)
    found = {"rho": rho, "p_value": np.where(np.isnan(rho), np.nan, (1 + reached) / (1 + n_resamples))}
    alone, whole = (_drawn(values, some, members, n_resamples, generator) for some in (list(np.arange(len(models))[:, None]), families))
    few = len(families) < ranks.FEWEST
    found |= dict(zip(("ci_low", "ci_high"), ranks.interval(alone), strict=True))
    found |= dict(zip(("family_low", "family_high"), ranks.interval(whole, few), strict=True))
    found |= dict(zip(("less_low", "less_high"), ranks.interval(whole - whole[..., BESIDE], few), strict=True))
    found["less_synergy"] = rho - rho[:, BESIDE]

    told = {"experiment": population["experiment"].iloc[0], "seed": seed, "n_models": len(models), "n_families": len(families)}
    mini = "mini models" if set(models) <= set(RECIPES) else "models"
    told |= {"source": f"{len(models)} {mini} of {len(families)} families", "n_samples": population["n_samples"].min()}
    told["fingerprint"] = fingerprint(population=population["fingerprint"].tolist(), n_resamples=n_resamples, seed=seed)
    rows = []
    for i, (group, inside) in enumerate(groups.items()):
        shown, one = population[population["benchmark"].isin(inside)], len(inside) == 1
        told |= {"benchmark": group, "kind": driven(group) if one else None, "converged": bool(shown["converged"].all())}
        told["fallback"] = shown["fallback_vision"].mean()
        for j, (quantity, outcome) in enumerate(CELLS):
            out = [name for at, name in enumerate(names) if name in inside and not members[i, at, j]]
            about = {"quantity": quantity, "outcome": outcome, "left_out": ", ".join(out) or None}
            about["reliability"] = reliable[list(names).index(group), j] if one else None
            itself = quantity == "synergy"  # less itself it is 0
            rows.append(told | about | {k: None if itself and k.startswith("less") else v[i, j] for k, v in found.items()})
    table = pd.DataFrame(rows)
    tested = table["p_value"].notna()
    table.loc[tested, "q_value"] = false_discovery_control(table.loc[tested, "p_value"])
    return results.tidy(pd.concat([table, _printed().assign(experiment=told["experiment"])], ignore_index=True), schemas.SENSITIVITY)


def grouped(population: pd.DataFrame) -> dict[str, list[str]]:
    """Each benchmark alone; those of one kind, where they are several; all; and all but those where pictures alone are not answered.

    Those are the benchmarks where, in the mean over the models, more than `COLLAPSED` of the picture-alone decisions were made uniform.
    """
    names = list(population["benchmark"].unique())
    kinds = pd.Series({name: driven(name) for name in names}, dtype="string").dropna()
    several = {f"mean of {kind}": list(some) for kind, some in kinds.groupby(kinds, sort=False).groups.items()} | {ALL: names}
    fallback = population.groupby("benchmark")["fallback_vision"].mean()
    rest = [name for name in names if fallback[name] <= COLLAPSED]
    several |= {UNCOLLAPSED: rest} if len(rest) < len(names) else {}
    return {name: [name] for name in names} | {name: inside for name, inside in several.items() if len(inside) > 1}


def _printed() -> pd.DataFrame:
    """The published correlations, each with the interval that as many independent models would give it."""
    table = results.published("table1_sensitivity")
    rho = table["rho"].to_numpy(float, na_value=np.nan)
    error = 1.96 * np.sqrt((1 + rho**2 / 2) / (table["n_models"].to_numpy(float) - 3))
    return table.assign(ci_low=np.tanh(np.arctanh(rho) - error), ci_high=np.tanh(np.arctanh(rho) + error))


def _wide(population: pd.DataFrame, column: str) -> pd.DataFrame:
    return population.pivot(index="model", columns="benchmark", values=column).astype(float)


def _reliability(population: pd.DataFrame, names: np.ndarray) -> Float[np.ndarray, "benchmarks cells"]:
    """Of the outcome of each cell, see `pidlib.ranks.reliability`."""
    chance = {"accuracy": population["accuracy"] * (1 - population["accuracy"]) / population["n_samples"]}
    chance["delta_vision"] = ((population["delta_high"] - population["delta_low"]) / 3.92) ** 2
    known = {}
    for outcome, variance in chance.items():
        wide = [_wide(table, outcome)[names].to_numpy() for table in (population, population.assign(**{outcome: variance}))]
        known[outcome] = ranks.reliability(*wide)
    return np.stack([known["accuracy" if outcome == "accuracy" else "delta_vision"] for _, outcome in CELLS], axis=-1)


def _sides(values: Float[np.ndarray, "models benchmarks columns"]) -> tuple[Float[np.ndarray, "models benchmarks cells"], ...]:
    """Of each cell the ranks of quantity and outcome, centred and of length one; given accuracy, what is left of them beside its ranks."""
    ranked = ranks.ranked(values)
    accuracy = ranked[..., [AT["accuracy"]]]
    rest = ranks.unit(ranked - (ranked * accuracy).sum(0) * accuracy)
    of = {GIVEN: (rest, "delta_vision")}
    x = [of.get(outcome, (ranked,))[0][..., AT[quantity]] for quantity, outcome in CELLS]
    y = [of.get(outcome, (ranked,))[0][..., AT["delta_vision" if outcome == GIVEN else outcome]] for _, outcome in CELLS]
    return np.stack(x, -1), np.stack(y, -1)


def _drawn(
    values: Float[np.ndarray, "models benchmarks columns"],
    clusters: list[np.ndarray],
    members: Bool[np.ndarray, "groups benchmarks cells"],
    n: int,
    generator: np.random.Generator,
) -> Float[np.ndarray, "n groups cells"]:
    """The correlations of models that are drawn anew in whole clusters."""
    picks = ranks.redrawn(clusters, n, generator)
    return np.stack([ranks.averaged((x * y).sum(0), members) for x, y in (_sides(values[pick]) for pick in picks)])


def _letters(name: str) -> str:
    return "".join(filter(str.isalnum, name)).lower()
