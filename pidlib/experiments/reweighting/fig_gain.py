r"""Do bases with more synergy on a benchmark gain more accuracy on it, as Fang et al. report?

Spearman's :math:`\rho` over benchmarks of the gain of PID weights with the base's synergy.
"""

import numpy as np
import pandas as pd

from pidlib._common import derive_seed
from pidlib.experiments import Preset, population, statistics, style
from pidlib.experiments.reweighting import paired, plan
from pidlib.experiments.reweighting.fig_ablation import TRAINED_COLORS
from pidlib.experiments.reweighting.outcomes import outcomes
from pidlib.experiments.reweighting.questions import evaluation_name
from pidlib.reweighting import Condition

COLUMNS = paired.COLUMNS
trainings = plan.every_base
_BITS, _WITHOUT_FALLBACK = "base_value", "base_value_without_fallback"
_TITLES = {Condition.BASE: "gain over the base", Condition.UNIFORM: "gain over uniform weights"}
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
    generator = np.random.default_rng(derive_seed(seed, "gain ranks"))
    shares = generator.multinomial(n, np.full(n, 1 / n), n_resamples).T / n
    names = pd.Index(sorted({name for _, gain in groups for name in gain.index}))
    orders = np.repeat(np.arange(len(names))[:, None], n_resamples, axis=1)
    orders = generator.permuted(orders, axis=0)
    rhos = []
    for value, gain in groups:
        x = statistics.standardized_ranks(value.to_numpy(float).round(3))
        y = gain[common].to_numpy(float)
        mean = statistics.standardized_ranks(y.mean(1).round(9))
        drawn = statistics.standardized_ranks((y @ shares).round(9))
        order = statistics.restrict_permutations(orders, names.get_indexer(gain.index))
        rhos.append(np.concatenate([[x @ mean], x @ drawn, mean @ x[order]]))
    rho, *drawn = statistics.group_mean(np.array(rhos), np.ones((1, len(rhos), 1), bool))[0]
    row = {"value": rho, "n_seeds": n}
    if np.isnan(rho):
        return row
    low, high = statistics.percentile_interval(np.array(drawn[:n_resamples]))
    null = np.abs(drawn[n_resamples:])
    row |= {"ci_low": low, "ci_high": high, "null_high": np.quantile(null, 0.95)}
    return row | {"p_value": statistics.permutation_p(abs(rho), null)}


def figure(table: pd.DataFrame) -> style.Figure:
    """A marker per base, training and benchmark, with single seeds as dots; rho in the titles."""
    bases, trained = (list(table[name].dropna().unique()) for name in ("base", "trained_on"))
    colors = dict(zip(trained, TRAINED_COLORS, strict=False))
    figure = style.page(3.6)
    for ax, (against, title) in zip(figure.subplots(1, 2), _TITLES.items(), strict=True):
        rows = table[table["against"] == against]
        ax.axhline(0, color=style.INK, linewidth=0.6, zorder=1)
        for row in rows[rows["kind"] == "seed"].itertuples():
            dot = {"color": colors[row.trained_on], "markersize": 1.8, "alpha": 0.4, "zorder": 2}
            ax.plot(row.base_value, 100 * row.difference, ".", **dot)
        for _, row in rows[rows["kind"] == "gain"].dropna(subset=_BITS).iterrows():
            y, low, high = 100 * style.floats(row[["difference", "ci_low", "ci_high"]])
            style.interval(ax, [row[_BITS]], [low], [high])
            look = {"color": colors[row["trained_on"]], "markeredgewidth": 0.4}
            style.points(ax, [row[_BITS]], [y], style.MARKERS[bases.index(row["base"])], **look)
        ax.set_xlabel("synergy $S$ of the base there (balanced: of its profile), bits")
        claim = rows[(rows["kind"] == "rank") & (rows["level"] == "all")].dropna(subset="value")
        for rank in claim.itertuples():
            ends = f"[{rank.ci_low:.2f}, {rank.ci_high:.2f}] over seeds"
            title += f"\n$\\rho$ = {rank.value:.2f} {ends}, null up to {rank.null_high:.2f}"
        ax.set(ylabel="accuracy, points", title=title.replace("-", "−"))
    marked = zip(map(style.model_name, bases), style.MARKERS, strict=False)
    handles = style.marker_handles((name, marker, "white") for name, marker in marked)
    for name, color in colors.items():
        words = f"trained on {style.benchmark_name(name)}"
        handles.append(style.handle(words, color=color, marker="s", markersize=3.6))
    handles.append(style.handle("dots: single seeds", marker=".", color=style.FAINT, markersize=3))
    style.legend(figure, 3, *handles, style.line_handle("95 % interval over seeds", 0.8))
    return figure
