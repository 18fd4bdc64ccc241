"""Do bases with more synergy on a benchmark gain more accuracy on it, as Fang et al. report?"""

from itertools import cycle

import numpy as np
import pandas as pd

from pidlib._common import derive_seed
from pidlib.experiments import Preset, population, statistics, style
from pidlib.experiments.reweighting import paired, plan
from pidlib.experiments.reweighting.fig_ablation import TRAINED_COLORS
from pidlib.experiments.reweighting.outcomes import outcomes
from pidlib.experiments.reweighting.questions import evaluation_name
from pidlib.experiments.words import number
from pidlib.reweighting import Condition

COLUMNS = paired.COLUMNS
trainings = plan.every_base
_BITS, _WITHOUT_FALLBACK = "base_value", "base_value_without_fallback"
_TITLES = "Gain over the model before training", "Gain over training with equal weights"
_TITLES = dict(zip((Condition.BASE, Condition.UNIFORM), _TITLES, strict=True))
_LABEL = "synergy $S$ of the model on the benchmark before training, bits (logarithmic beyond .1)\n"
_LABEL += "leaning: trained to go by the question; blind: half of training with wrong pictures\n"
_LABEL += "PID weights: questions that need the picture count more, those answered without it less"
_RANK = "\nSpearman $\\rho$ = {} (95 % over seeds: {} to {})\nchance reaches ±{} (two-sided 95 %): "
_TICKS = -0.1, -0.05, 0, 0.05, 0.1, 0.2, 0.5, 1
_PAIRS = [(Condition.PID, against) for against in _TITLES]


def requests(preset: Preset) -> list:
    """Decisions of each base on each of its benchmarks."""
    return [population.request(preset, preset.bases, preset.base_benchmarks)]


def measure(preset: Preset) -> pd.DataFrame:
    """Gains of PID weights by ``kind``: of a cell, of a ``seed``, and ``rank`` correlations.

    Level ``all`` of these is the claim; others take synergy without fallback, or omit a benchmark.
    """
    draws, seed = preset.n_resamples, preset.seed
    rows, synergy = outcomes(preset, trainings(preset)).table, base_synergy(preset)
    # On the evaluation questions, synergy is that of the base's outcome on profile questions.
    own = rows[(rows["condition"] == Condition.BASE) & (rows["measure"] == "synergy")]
    own = own.join(synergy[_WITHOUT_FALLBACK], on=["base", "trained_on"])
    own = own.assign(benchmark=own["trained_on"].map(evaluation_name), **{_BITS: own["value"]})
    own = own.set_index(["base", "benchmark"])[list(synergy)].astype(float)
    synergy = pd.concat([own, synergy])
    synergy = synergy[~synergy.index.duplicated()]  # hub benchmarks have one name for both
    on, own = rows["benchmark"], rows["trained_on"]
    rows = rows[(rows["measure"] == "accuracy") & ((on != own) | (on == own.map(evaluation_name)))]
    cells = paired.compare(rows, _PAIRS, n_resamples=draws, seed=seed).assign(kind="gain")
    values = paired.by_condition(rows)
    gains = {str(other): (values[Condition.PID] - values[other]).dropna() for other in _TITLES}
    seeds = pd.concat(gains, names=["against"]).rename("difference").reset_index()
    seeds = seeds.assign(kind="seed", condition=str(Condition.PID))
    cells, seeds = (table.join(synergy, on=["base", "benchmark"]) for table in (cells, seeds))
    ranks = []
    for against, group in seeds.dropna(subset=_BITS).groupby("against"):
        others = sorted(set(group["benchmark"]) - set(group["trained_on"].map(evaluation_name)))
        levels = {"all": group, "no fallback": group.assign(**{_BITS: group[_WITHOUT_FALLBACK]})}
        levels |= {f"without {name}": group[group["benchmark"] != name] for name in others}
        for level, part in levels.items():
            ranks.append({"against": against, "level": level} | rank_correlation(part, draws, seed))
    shared = {"kind": "rank", "benchmark": "all", "measure": "accuracy"}
    shared["fingerprint"] = paired.joint_fingerprint(cells["fingerprint"])
    ranks = pd.DataFrame(ranks).assign(condition=str(Condition.PID), **shared)
    ranks = paired.with_q_values(ranks, ranks["level"] == "all")
    return paired.comparison_table([cells, seeds, ranks], seed)


def base_synergy(preset: Preset) -> pd.DataFrame:
    """Masked synergy (bits) of each base on its benchmarks, also without fallback to uniform."""
    table = population.population_table(preset, *requests(preset), without_fallback=True)
    columns = {"synergy_bits": _BITS, "synergy_without_fallback_bits": _WITHOUT_FALLBACK}
    return table.set_index(["model", "benchmark"])[[*columns]].rename(columns=columns).astype(float)


def rank_correlation(seeds: pd.DataFrame, n_resamples: int, seed: int) -> dict[str, float]:
    """Spearman's rho of gain and synergy over benchmarks, in the mean over bases and trainings.

    The interval resamples seeds, the null permutes benchmarks, both the same in all groups.
    """
    own = seeds["benchmark"] == seeds["trained_on"].map(evaluation_name)
    seeds = seeds.assign(benchmark=seeds["benchmark"].where(~own, "trained on"))
    groups = []
    for _, group in seeds.groupby(["base", "trained_on"], sort=False):
        gain = group.pivot(index="benchmark", columns="seed", values="difference").dropna(axis=1)
        value = group.drop_duplicates("benchmark").set_index("benchmark")[_BITS]
        groups.append((value.loc[gain.index], gain))
    common = sorted(set.intersection(*(set(gain) for _, gain in groups))) if groups else []
    if not (n := len(common)):
        return {"value": np.nan, "n_seeds": 0}
    generator, rhos = np.random.default_rng(derive_seed(seed, "gain ranks")), []
    shares = generator.multinomial(n, np.full(n, 1 / n), n_resamples).T / n
    names = pd.Index(sorted({name for _, gain in groups for name in gain.index}))
    orders = generator.permuted(np.tile(np.arange(len(names)), (n_resamples, 1)).T, axis=0)
    for value, gain in groups:
        x = statistics.standardized_ranks(value.to_numpy(float).round(3))
        y = gain[common].to_numpy(float)
        mean = statistics.standardized_ranks(y.mean(1).round(9))
        drawn = statistics.standardized_ranks((y @ shares).round(9))
        order = statistics.restrict_permutations(orders, names.get_indexer(gain.index))
        rhos.append(np.concatenate([[x @ mean], x @ drawn, mean @ x[order]]))
    rho, *drawn = statistics.group_mean(np.array(rhos), np.ones((1, len(rhos), 1), bool))[0]
    if np.isnan(rho):
        return {"value": rho, "n_seeds": n}
    low, high = statistics.percentile_interval(np.array(drawn[:n_resamples]))
    null = np.abs(drawn[n_resamples:])
    row = {"value": rho, "n_seeds": n, "p_value": statistics.permutation_p(abs(rho), null)}
    return row | {"ci_low": low, "ci_high": high, "null_high": np.quantile(null, 0.95)}


def figure(table: pd.DataFrame) -> style.Figure:
    """A marker per base, benchmark and training; above, rho over all of them."""
    bases, trained = (list(table[name].dropna().unique()) for name in ("base", "trained_on"))
    colors = dict(zip(trained, cycle(TRAINED_COLORS), strict=False))
    figure = style.page(4.0)
    axes = figure.subplots(1, 2, sharex=True)
    for ax, (against, title) in zip(axes, _TITLES.items(), strict=True):
        rows = table[table["against"] == against]
        ax.axhline(0, color=style.INK, linewidth=0.6, zorder=1)
        for (base, name), part in rows[rows["kind"] == "gain"].groupby(["base", "trained_on"]):
            x, *y = style.floats(part, _BITS, "difference", "ci_low", "ci_high")
            y, marker = 100 * np.array(y), style.MARKERS[bases.index(base)]
            style.interval(ax, x, *y[1:], linewidth=0.6)
            style.points(ax, x, y[0], marker, color=colors[name], markeredgewidth=0.4)
        ax.set_xscale("symlog", linthresh=0.1, linscale=0.8)
        ax.set_xticks(_TICKS, [*map(number, _TICKS)])
        for rank in rows.query("kind == 'rank' and level == 'all' and value.notna()").itertuples():
            ends = rank.value, rank.ci_low, rank.ci_high, rank.null_high
            title += _RANK.format(*map(number, ends))
            title += "beyond chance" if rank.p_value < 0.05 else "no relation shown"
        ax.set_title(title)
    axes[0].set_ylabel("accuracy gained by training with PID weights, points")
    figure.supxlabel(_LABEL, fontsize="medium")
    marked = zip(map(style.model_name, bases), style.MARKERS, ["white"] * len(bases), strict=False)
    handles = style.marker_handles(marked)
    for name, color in colors.items():
        handles.append(style.swatch(f"trained on {style.benchmark_name(name)}", facecolor=color))
    style.legend(figure, 3, *handles, style.line_handle("95 % interval over seeds", 0.6))
    return figure
