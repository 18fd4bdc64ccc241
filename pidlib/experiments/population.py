"""Masked profiles and accuracies of many models, shared by the figures that correlate them."""

from collections.abc import Mapping, Sequence
from functools import cache

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float
from scipy.special import rel_entr

from pidlib import benchmarks
from pidlib.decomposition import pid
from pidlib.decomposition.decisions import decision_pid
from pidlib.experiments import COMPUTED, Preset, Query, Request, extract_all, statistics
from pidlib.experiments.interventions import correct_by_id as correct
from pidlib.experiments.tables import DIAGNOSTICS, ORIGIN, ROW, declare, published, validate
from pidlib.extraction import FULL, PASSES, drawn
from pidlib.models.checkpoints import CHECKPOINTS
from pidlib.profiles.modes import diagnose
from pidlib.training.recipes import DEEP, RECIPES

Groups = Mapping[str, Sequence[str]]  # of benchmarks
Shares = Float[np.ndarray, "b c"]  # of benchmarks and columns
TOLERANCE = 1e-4  # bits, of the solver
DECIMALS = 3  # smaller differences are ties: the solver's last digits have no rank
ATOMS = ("redundancy", "unique_vision", "unique_language", "synergy")
OUTCOMES = ("accuracy", "delta_vision")
MAX_FALLBACK = 0.5  # of decisions from the picture alone; a benchmark with more is collapsed
ALL, UNCOLLAPSED = "mean of all", "mean of those not collapsed"
_SIZES = {"below 5 B": 5, "5 to 20 B": 20, "above 20 B": np.inf}  # billions of parameters
_MINI_SIZES = {"compact": "0.2 to 0.4 M", "small": "1.0 to 1.2 M", "deep": "1.4 to 1.9 M"}
_KINDS = {"synergy": "synergy-driven", "unique_language": "prior-driven"}
_KINDS |= {"unique_vision": "picture-driven", "redundancy": "redundant"}
COLUMNS = declare(
    f"experiment {ORIGIN} size",
    *(f"{atom}_bits" for atom in ATOMS),
    "co_information_bits added_by_vision_bits total_bits gap_bits divergence_bits",
    "synergy_without_fallback_bits",
    *DIAGNOSTICS,
    f"delta_vision delta_low delta_high n_samples {COMPUTED}",
    required=f"{ROW} synergy_bits accuracy converged",
)


def request(preset: Preset, models: Sequence[str] = (), names: Sequence[str] = ()) -> Request:
    """Both modalities and each alone; by default of the population, with pairs."""
    passes = drawn(PASSES, preset.draws)
    partners = 0 if models or "resampled" not in preset.unimodal else preset.partners
    query = Query(preset.split, preset.n_population, preset.seed, passes, partners)
    return Request(models or preset.population, names or preset.benchmarks, (query,))


def requests(preset: Preset) -> list[Request]:
    """The `request` of the population, of a notebook that asks for nothing else."""
    return [request(preset)]


def size_class(model: str) -> str | None:
    """The size class of a mini or of a known checkpoint."""
    if recipe := (RECIPES | DEEP).get(model):
        return _MINI_SIZES[recipe.size]
    known = CHECKPOINTS.get(model)
    return known and next(size for size, limit in _SIZES.items() if known.parameters < limit)


@cache
def benchmark_kind(benchmark: str) -> str | None:
    """The kind a paper assigns to a benchmark, else the largest atom of its ideal answerer."""
    table = published("table1_sensitivity").dropna(subset="kind").drop_duplicates("benchmark")
    kinds = dict(zip(map(_letters, table["benchmark"]), table["kind"], strict=True))
    name = _letters(benchmark.partition("@")[0].rsplit("/")[-1])
    if name in kinds:
        return kinds[name]
    atoms = pid(benchmarks.truth(benchmark)).atoms if benchmark.startswith("micro/") else {}
    return _KINDS[max(atoms, key=atoms.get)] if atoms else None


def _letters(name: str) -> str:
    return "".join(filter(str.isalnum, name.lower()))


def population_table(
    preset: Preset, asked: Request | None = None, without_fallback: bool = False
) -> pd.DataFrame:
    r"""Quantities of the masked decisions, diagnostics and accuracies by model and benchmark.

    ``divergence`` is :math:`E\,KL(p(y|v,t)\,\|\,p(y|t))`; ``synergy_without_fallback`` S with
    tau = 0; ``delta_vision`` the accuracy lost when the picture is masked.
    """
    rows = []
    for (answer,) in extract_all(preset, asked or request(preset)):
        extraction = answer.extraction
        result = decision_pid(extraction.masked(preset.tau), tol=TOLERANCE, device=preset.device)
        atoms, strict = result.pid.atoms, result.pid
        if without_fallback and any(extraction.fallback(key, preset.tau) for key in PASSES):
            strict = decision_pid(extraction.masked(0.0), tol=TOLERANCE, device=preset.device).pid
        both, language = (extraction.decisions(key, preset.tau) for key in (FULL, "language"))
        bits = atoms | {"total": result.pid.total, "gap": max(result.pid.gap, strict.gap)}
        bits["co_information"] = atoms["redundancy"] - atoms["synergy"]
        bits["added_by_vision"] = atoms["unique_vision"] + atoms["synergy"]
        bits["divergence"] = rel_entr(both, language).sum(1).mean() / np.log(2)
        bits["synergy_without_fallback"] = strict.synergy if without_fallback else None
        lost = correct(extraction, FULL) - correct(extraction, "language")
        delta, error = lost.mean(), lost.std(ddof=0) / np.sqrt(len(lost))
        low, high = statistics.normal_interval(delta, error)
        row = answer.row_columns("vision_language", tau=preset.tau, tol=TOLERANCE)
        row |= {f"{name}_bits": value for name, value in bits.items()}
        row |= {"delta_vision": delta, "delta_low": low, "delta_high": high}
        row |= {"converged": result.pid.converged and strict.converged}
        row["size"] = size_class(row["model"])
        rows.append(row | diagnose(extraction, preset.tau, result))
    return validate(rows, COLUMNS)


def benchmark_groups(population: pd.DataFrame) -> dict[str, list[str]]:
    """Each benchmark alone, then those of a kind, all, and those not collapsed, if several."""
    names = list(population["benchmark"].unique())
    kinds = dict.fromkeys(filter(None, map(benchmark_kind, names)))
    groups = {f"mean of {k}": [name for name in names if benchmark_kind(name) == k] for k in kinds}
    fallback = population.groupby("benchmark")["fallback_vision"].mean()
    uncollapsed = [name for name in names if fallback[name] <= MAX_FALLBACK]
    groups |= {ALL: names} | ({UNCOLLAPSED: uncollapsed} if len(uncollapsed) < len(names) else {})
    single = {name: [name] for name in names}
    return single | {name: members for name, members in groups.items() if len(members) > 1}


def reliability(models: pd.DataFrame, outcomes: Sequence[str] = OUTCOMES) -> Shares:
    """The reliability of each outcome on each benchmark, see `statistics.reliability`."""
    accuracy = models["accuracy"] * (1 - models["accuracy"]) / models["n_samples"]
    delta = statistics.variance_of(models["delta_low"], models["delta_high"])
    variances = models.assign(accuracy=accuracy, delta_vision=delta)
    wide = ([by_model(table, name) for table in (models, variances)] for name in outcomes)
    return np.stack([statistics.reliability(*pair) for pair in wide], axis=-1)


def members(models: pd.DataFrame, groups: Groups, reliable: Shares) -> Bool[np.ndarray, "g b c"]:
    """Which benchmarks count in the mean of a group: reliable ones, or the only one."""
    names = models["benchmark"].unique()
    inside = np.stack([np.isin(names, group) for group in groups.values()])[..., None]
    return inside & ((reliable >= statistics.MIN_RELIABILITY) | (inside.sum(1, keepdims=True) == 1))


def by_model(models: pd.DataFrame, column: str) -> Float[np.ndarray, "models benchmarks"]:
    """The values of a column, with models and benchmarks in the order of their first rows."""
    wide = models.pivot(index="model", columns="benchmark", values=column).astype(float)
    return wide.loc[models["model"].unique(), models["benchmark"].unique()].to_numpy()
