"""Tables of the reweighting experiment, each with the settings whose outcomes it needs: every way to weight, beside uniform training."""

from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from pidlib import ranks, results
from pidlib.benchmarks import PRIOR
from pidlib.decisions import decision_pid
from pidlib.experiment import Preset, derive_seed
from pidlib.outcomes import sample_weights, scored
from pidlib.paired import BASE, CELL, compared, corrected, mark, wide
from pidlib.population import driven, population_table
from pidlib.reweighting import CONDITIONS
from pidlib.schemas import REWEIGHTED, SCORED
from pidlib.settings import Setting, distinct, evaluation_name

UNIFORM, PID, RANDOM, SAMPLED = "BCDH"
OTHERS = "DEFG"  # what else weights samples, by no decomposition
SHOWN = ("accuracy", "synergy", "unique_language")
MEAN = "mean of "
_OF_BASE = ["base_value", "base_value_without_fallback"]
FALLBACK = "uniform below a mass of"
#: What the ablation varies: axis -> level -> numbers of the setting that differ from the preset's.
VARIED: Mapping[str, Mapping[str, Mapping[str, Any]]] = {
    "lists": {"gap and shortcut": {}, "gap alone": {"weighting": {"top_shortcut": 0.0}}, "shortcut alone": {"weighting": {"top_gap": 0.0}}},
    "fraction": {f"top {share:.0%}": {"weighting": {"top_gap": share, "top_shortcut": share}} for share in (0.1, 0.2, 0.4)},
    "weights": {
        f"{up:g} and {down:g}": {"weighting": {"gap_weight": up, "shortcut_weight": down}}
        for up, down in ((2.0, 0.75), (3.0, 0.5), (6.0, 0.0))
    },
    "local scores": {name: {"weighting": {"estimator": name}} for name in ("exact", "BATCH", "LSMI")},
    "blocks adapted": {f"last {share:.0%}": {"tuning": {"last": share}} for share in (0.2, 0.5, 1.0)},
    FALLBACK: {f"{tau:g}": {"tau": tau} for tau in (0.3, 0.0)},
}


class Arm(NamedTuple):
    """A setting at a level of an axis; the same setting may stand on several."""

    axis: str
    level: str
    setting: Setting


def table3_settings(preset: Preset) -> list[Setting]:
    """Of the first base of every benchmark that is trained on, all conditions with all seeds."""
    places = product(_first(preset), CONDITIONS, range(preset.n_tuning_seeds))
    return distinct(Setting.of(preset, *first, condition, seed) for first, condition, seed in places)


def ablation_arms(preset: Preset) -> list[Arm]:
    """PID weights with single numbers changed, beside uniform ones with as many blocks adapted; of the first bases, with half the seeds.

    With and without `FALLBACK` stand random weights too, and all seeds: both planned comparisons are held against it.
    """
    usual, planned = ((UNIFORM, PID), _half(preset)), ((UNIFORM, PID, RANDOM), range(preset.n_tuning_seeds))
    return [
        Arm(axis, level, Setting.of(preset, *first, condition, seed, **numbers))
        for axis, levels in VARIED.items()
        for level, numbers in levels.items()
        for first, condition, seed in product(_first(preset), *(planned if axis == FALLBACK else usual))
    ]


def when_arms(preset: Preset) -> list[Arm]:
    """Base, uniform and PID weights by strength of the prior, length of the training, and base, with half the seeds."""
    firsts = _first(preset)
    leans = next((base for base, on in firsts if on in PRIOR), firsts[0][0])
    places: list[tuple[str, str, str, str, dict[str, Any]]] = []
    places += [("prior strength", f"{strength}", leans, f"prior/{strength}", {}) for strength in preset.prior_strengths]
    places += [("training length", f"{steps}", *first, {"steps": steps}) for steps, first in product(preset.tuning_lengths, firsts)]
    places += [("base", base, base, on, {}) for on, bases in preset.tuned_models.items() for base in bases]
    return [
        Arm(axis, level, Setting.of(preset, base, on, condition, seed, tuning=tuning))
        for axis, level, base, on, tuning in places
        for condition, seed in product((BASE, UNIFORM, PID), _half(preset))
    ]


def gain_settings(preset: Preset) -> list[Setting]:
    """Of every base: untrained, trained alike and with PID weights."""
    return distinct(arm.setting for arm in when_arms(preset) if arm.axis == "base")


def all_settings(preset: Preset) -> list[Setting]:
    """All that any table of the experiment needs."""
    arms = [*ablation_arms(preset), *when_arms(preset)]
    return distinct([*table3_settings(preset), *(arm.setting for arm in arms)])


def _first(preset: Preset) -> list[tuple[str, str]]:
    """The first base of each benchmark that is trained on, and the benchmark."""
    return [(bases[0], on) for on, bases in preset.tuned_models.items()]


def _half(preset: Preset) -> range:
    return range(-(-preset.n_tuning_seeds // 2))


def conditions_table(rows: pd.DataFrame, n_resamples: int, seed: int = 0) -> pd.DataFrame:
    """Every condition beside uniform, PID beside every other way to weight, sampling by it beside random weights; the published below.

    ``primary`` are the comparisons that the experiment is for, named beforehand: of each training, PID weights less uniform and less random
    ones, by the accuracy on its balanced questions. Their p-values stand by themselves; all other tests explore, and have a ``q_value``.
    """
    rows = rows[rows["measure"].isin(SHOWN)]
    pairs = [(letter, UNIFORM) for letter in CONDITIONS] + [(PID, other) for other in OTHERS] + [(SAMPLED, RANDOM)]
    table = compared(rows, pairs, n_resamples=n_resamples, seed=seed)
    own = (table["measure"] == "accuracy") & (table["benchmark"] == table["trained_on"].map(evaluation_name))
    primary = own & (table["condition"] == PID) & table["against"].isin((UNIFORM, RANDOM))
    return _tidied([corrected(table, ~primary).assign(primary=primary), printed()], seed)


def tradeoff_table(rows: pd.DataFrame, n_resamples: int, seed: int = 0) -> pd.DataFrame:
    """Accuracies beside uniform, and their means over all benchmarks that ask for one thing, ``kind``; the published below.

    The questions that were trained on are in no mean.
    """
    keys = ["base", "trained_on", "condition", "measure"]
    rows = _with_means(rows[rows["measure"] == "accuracy"], [*keys, "seed"])
    said = _with_means(printed().query("measure == 'accuracy'"), [*keys, "source", "grade", "against"])
    pairs = [(letter, UNIFORM) for letter in CONDITIONS if letter != UNIFORM]
    table = pd.concat([compared(rows, pairs, n_resamples=n_resamples, seed=seed), said], ignore_index=True)
    names = table["benchmark"].unique()
    kinds = {name: name.removeprefix(MEAN) if name.startswith(MEAN) else driven(name) for name in names}
    return _tidied([table.assign(kind=table["benchmark"].map(kinds))], seed)


def _with_means(rows: pd.DataFrame, keys: list[str]) -> pd.DataFrame:
    kinds = {name: driven(name) for name in rows["benchmark"].unique()}
    kept = rows.assign(benchmark=MEAN + rows["benchmark"].map(kinds))[rows["benchmark"] != rows["trained_on"]].dropna(subset="benchmark")
    ways = {"value": "mean", "difference": "mean", "n": "sum", "n_seeds": "min", "fingerprint": mark, "converged": "all"}
    grouped = kept.groupby(["benchmark", *keys], dropna=False, sort=False)
    return pd.concat([rows, grouped.agg({name: way for name, way in ways.items() if name in kept}).reset_index()], ignore_index=True)


def gain_table(rows: pd.DataFrame, synergy: pd.DataFrame, n_resamples: int, seed: int = 0) -> pd.DataFrame:
    r"""What PID weights gain over base and over uniform weights against the base's synergy, of every base, training and benchmark.

    Kind ``gain``: a cell, ``base_value`` its base's synergy in bits, also ``_without_fallback``. ``seed``: one seed of it. ``rank``:
    Spearman's rho over the benchmarks of a base and training, in the mean of all these; its interval draws seeds, the same in all
    cells, and takes bases and benchmarks as they are; its null exchanges the names of the benchmarks, in all bases and trainings alike,
    since what one base has or gains on a benchmark others have or gain there too. What was trained on is one name. At ``level`` "all"
    it is the claim; at the others it is seen how far that hangs on decisions that fell back to uniform, or on any one benchmark.

    Parameters
    ----------
    rows
        Outcomes of `gain_settings`.
    synergy
        From `base_synergy`; of the balanced questions of what was trained on, that of the base's profile is taken, and without fallback
        that of the questions of `base_synergy`.
    n_resamples, seed
        Draws of the bootstrap and of the null, and where their randomness begins.
    """
    own = rows[(rows["condition"] == BASE) & (rows["measure"] == "synergy")]
    kept = synergy["synergy_without_fallback_bits"].reindex(pd.MultiIndex.from_frame(own[["base", "trained_on"]]))
    at = pd.MultiIndex.from_arrays([own["base"], own["trained_on"].map(evaluation_name)])
    synergy = synergy.set_axis(_OF_BASE, axis=1)
    synergy = pd.concat([pd.DataFrame(dict(zip(_OF_BASE, (own["value"].to_numpy(float), kept.to_numpy()), strict=True)), at), synergy])
    synergy = synergy[~synergy.index.duplicated()]  # of the hub what was trained on is evaluated under one name
    evaluated = (rows["benchmark"] != rows["trained_on"]) | (rows["benchmark"] == rows["trained_on"].map(evaluation_name))
    rows = rows[(rows["measure"] == "accuracy") & evaluated]
    values = wide(rows)
    differences = {name: (values[PID] - values[name]).dropna().rename("difference").reset_index() for name in (BASE, UNIFORM)}
    singles = pd.concat([some.assign(against=name, kind="seed", condition=PID) for name, some in differences.items()])
    cells = compared(rows, [(PID, BASE), (PID, UNIFORM)], n_resamples=n_resamples, seed=seed).assign(kind="gain")
    at = [pd.MultiIndex.from_frame(some[["base", "benchmark"]]) for some in (cells, singles)]
    for some, place in zip((cells, singles), at, strict=True):
        some[_OF_BASE] = synergy.reindex(place).to_numpy(float)
    ranked = []
    for against, some in singles.dropna(subset="base_value").groupby("against"):
        others = sorted(set(some["benchmark"]) - set(some["trained_on"].map(evaluation_name)))
        levels = {"all": some, "no fallback": some.assign(base_value=some[_OF_BASE[1]])}
        levels |= {f"without {name}": some[some["benchmark"] != name] for name in others}
        ranked += [{"against": against, "level": level} | _ranks(part, n_resamples, seed) for level, part in levels.items()]
    ranked = pd.DataFrame(ranked)
    told = {"kind": "rank", "condition": PID, "measure": "accuracy", "benchmark": "all", "fingerprint": mark(cells["fingerprint"])}
    return _tidied([cells, singles, corrected(ranked, ranked["level"] == "all").assign(**told)], seed)


def _ranks(singles: pd.DataFrame, n_resamples: int, seed: int) -> dict[str, float]:
    """Mean over bases and trainings of rho within each."""
    groups = []
    own = singles["benchmark"] == singles["trained_on"].map(evaluation_name)
    singles = singles.assign(benchmark=singles["benchmark"].where(~own, "trained on"))
    for _, some in singles.groupby(["base", "trained_on"], sort=False):
        gains = some.pivot(index="benchmark", columns="seed", values="difference").dropna(axis=1)
        groups.append((some.drop_duplicates("benchmark").set_index("benchmark")["base_value"].loc[gains.index], gains))
    common = sorted(set.intersection(*(set(gains) for _, gains in groups))) if groups else []
    if not common:
        return {"value": np.nan, "n_seeds": 0}
    generator = np.random.default_rng(derive_seed(seed, "gain ranks"))
    counts = generator.multinomial(len(common), np.full(len(common), 1 / len(common)), n_resamples).T / len(common)
    names = pd.Index(sorted({name for _, gains in groups for name in gains.index}))
    orders = generator.permuted(np.repeat(np.arange(len(names))[:, None], n_resamples, axis=1), axis=0)
    found = []
    for values, gains in groups:
        x, y = ranks.ranked(values.to_numpy(float).round(3)), gains[common].to_numpy(float)
        mean = ranks.ranked(y.mean(1).round(9))
        dealt = x[ranks.exchanged(orders, names.get_indexer(gains.index))]
        found.append(np.concatenate([[x @ mean], x @ ranks.ranked((y @ counts).round(9)), mean @ dealt]))
    rho, *drawn = ranks.averaged(np.array(found), np.ones((1, len(found), 1), bool))[0]
    if np.isnan(rho):
        return {"value": np.nan, "n_seeds": len(common)}
    (low, high), dealt = ranks.interval(np.array(drawn[:n_resamples])), np.abs(drawn[n_resamples:])
    told = {"value": rho, "ci_low": low, "ci_high": high, "n_seeds": len(common)}
    return told | {"null_high": np.quantile(dealt, 0.95), "p_value": (1 + np.sum(dealt >= abs(rho) - 1e-9)) / (1 + n_resamples)}


def varied_table(rows: pd.DataFrame, arms: Sequence[Arm], n_resamples: int, seed: int = 0) -> pd.DataFrame:
    """Base and PID weights beside uniform ones at each level, PID beside random ones where these are: balanced accuracy, atoms after."""
    places = pd.DataFrame([(*arm[:2], arm.setting.fingerprint) for arm in arms], columns=["axis", "level", "fingerprint"]).drop_duplicates()
    own = rows["trained_on"].where(rows["measure"] != "accuracy", rows["trained_on"].map(evaluation_name))
    rows = rows[rows["measure"].isin(SHOWN) & (rows["benchmark"] == own)].merge(places, on="fingerprint")
    pairs = [(BASE, UNIFORM), (UNIFORM, UNIFORM), (PID, UNIFORM), (PID, RANDOM)]
    return _tidied([compared(rows, pairs, ["axis", "level", *CELL], n_resamples, seed)], seed)


def score_table(preset: Preset) -> pd.DataFrame:
    """Scores of the training questions of the first bases and seed, with the weights that PID gives them, as rows of ``fig_scores``.

    Beside them those that it gives by other estimators of the local terms, and ``moved``, the mean total variation between the decisions of
    one source and those its local terms are of: the decomposition moves both to one P(Y), FP takes them as they were. ``fallback`` says
    which decisions of one source count as uniform, since candidates had less than ``tau`` of the mass.
    """
    tables = []
    for base, on in _first(preset):
        setting = Setting.of(preset, base, on, PID)
        samples, decisions, scores = scored(preset, setting)
        right = np.arange(len(samples)), np.array([one.candidates.index(one.answer) for one in samples])
        told = [{name: getattr(one, name) for name in ("split", "sample_id", "question", "answer")} for one in samples]
        table = pd.DataFrame(told).join(scores.rename(columns={"fp": "fp_bits", "gap": "gap_bits"}))
        table["weight"], _ = sample_weights(preset, setting)
        for name in ("BATCH", "LSMI"):
            table[f"weight_{name.lower()}"], _ = sample_weights(preset, Setting.of(preset, base, on, PID, weighting={"estimator": name}))
        table["p_answer"], table["p_answer_language"] = decisions.joint[right], decisions.sources["language"][right]
        for name, rows in decisions.sources.items():
            table[f"fallback_{name}"] = np.isclose(rows, 1 / rows.shape[1], rtol=0, atol=1e-12).all(1)
        for name, distance in decision_pid(decisions, tol=0.1).reconciliation.items():  # needs no solution
            table[f"moved_{name}"] = distance
        table["right"] = decisions.joint.argmax(1) == right[1]
        drawn = {"n_samples": len(samples), "seed": derive_seed(setting.stream, "tuning", setting.seed)}
        tables.append(table.assign(base=base, benchmark=on, fingerprint=setting.fingerprint, **drawn))
    return results.tidy(pd.concat(tables, ignore_index=True).assign(experiment="reweighting"), SCORED)


def base_synergy(preset: Preset) -> pd.DataFrame:
    """Masked synergy in bits of each base on each of its benchmarks, also without decisions that fall back to uniform."""
    asked = {"population": preset.bases, "benchmarks": preset.base_benchmarks}
    found = population_table(preset.model_copy(update=asked), without_fallback=True)
    return found.set_index(["model", "benchmark"])[["synergy_bits", "synergy_without_fallback_bits"]].astype(float)


def printed() -> pd.DataFrame:
    """The published table, accuracies as shares, with differences to uniform; what its +- is, is not known."""
    said = results.published("table3_reweighting")
    share = said["unit"].eq("per cent").map({True: 0.01, False: 1.0})
    said = said.assign(value=said["value"] * share, spread=said["spread"] * share, trained_on="MMBench").drop(columns="unit")
    uniform = said[said["condition"] == UNIFORM].set_index(["benchmark", "measure"])["value"]
    at = pd.MultiIndex.from_frame(said[["benchmark", "measure"]])
    said = said.assign(difference=said["value"] - uniform.reindex(at).to_numpy(), against=UNIFORM)
    said.loc[said["condition"] == UNIFORM, ["difference", "against"]] = None
    kinds = {name: driven(name) for name in said["benchmark"].dropna().unique()}
    seeds = said["condition"].ne(BASE).map({True: 3, False: None})
    return said.assign(kind=said["benchmark"].map(kinds), n_seeds=seeds)


def _tidied(tables: Sequence[pd.DataFrame], seed: int) -> pd.DataFrame:
    table = pd.concat(tables, ignore_index=True).assign(experiment="reweighting")
    table["seed"] = table["seed"].fillna(seed) if "seed" in table else seed  # single seeds keep theirs
    return results.tidy(table, REWEIGHTED)
