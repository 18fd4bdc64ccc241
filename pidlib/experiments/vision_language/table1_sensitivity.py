r"""Is synergy correlated with the need for the picture, over the models of a population?

Spearman's :math:`\rho` over models of a quantity and an outcome: the accuracy lost without the
picture, :math:`\Delta_v = a - a_\ell`, the accuracy :math:`a`, or :math:`\Delta_v` given the
accuracy: the partial correlation of ranks.
"""

from collections.abc import Mapping, Sequence
from itertools import product

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float
from scipy.stats import false_discovery_control

from pidlib._common import derive_seed, fingerprint
from pidlib.experiments import COMPUTED, MODES, Preset, population, statistics, style
from pidlib.experiments.population import DECIMALS, OUTCOMES, benchmark_kind
from pidlib.experiments.tables import booktabs, declare, heading, published, validate
from pidlib.experiments.vision_language import variants
from pidlib.experiments.words import interval, p_value
from pidlib.training.recipes import DEEP, RECIPES

GIVEN = "delta_vision given accuracy"
BASELINES = ("synergy_without_fallback", "added_by_vision", "divergence", "moved_language", "total")
QUANTITIES = ("synergy", "co_information", "unique_language", *BASELINES)
CELLS = [(name, outcome) for outcome in ("delta_vision", GIVEN, "accuracy") for name in QUANTITIES]
CELLS += [("accuracy", "delta_vision")]
VALUES = {name: f"{name}_bits" for name in QUANTITIES}  # columns of the population's table
VALUES |= {name: name for name in ("moved_language", "accuracy", "delta_vision")}
_OUTCOMES = ["delta_vision" if outcome == GIVEN else outcome for _, outcome in CELLS]
_SYNERGY = [CELLS.index(("synergy", outcome)) for _, outcome in CELLS]  # with the same outcome

COLUMNS = {
    "table1_sensitivity": declare(
        "experiment source grade kind benchmark quantity outcome rho abs_rho_at_most ci_low",
        "ci_high family_low family_high minus_synergy minus_low minus_high p_value q_value",
        f"reliability fallback left_out n_models n_families n_samples seed {COMPUTED}",
        required="experiment source quantity outcome n_models",
    ),
    "table1_sensitivity_models": population.COLUMNS,
    "table1_sensitivity_variants": declare(
        f"experiment {variants.CORRELATIONS}",
        required="experiment benchmark procedure quantity outcome n_models",
    ),
}
_DEFINED = [("broja", "synergy"), ("mmi", "synergy"), ("broja", "unique_language")]
_DEFINED += [("mmi", "unique_language"), (variants.ANY, "co_information")]
# Without one P(Y) for both sources there is BROJA by the published networks alone.
_UNKNOWN = {(variants.AS_ANSWERED, "broja"), (variants.AS_PUBLISHED, "mmi")}


requests = population.requests


def measure(preset: Preset) -> dict[str, pd.DataFrame]:
    """Correlations over the models, their values on each benchmark, and the variants."""
    models = population.population_table(preset, without_fallback=True)
    procedures = [name for name in variants.PROCEDURES if name not in {*MODES} - {*preset.unimodal}]
    table = variants.informations_table(preset, procedures)
    options = preset.n_resamples, preset.seed
    by_variant = variant_correlations(models, table, *options)
    return dict(zip(COLUMNS, (correlations(models, *options), models, by_variant), strict=True))


def variant_correlations(
    models: pd.DataFrame, table: pd.DataFrame, n_resamples: int, seed: int = 0
) -> pd.DataFrame:
    """The correlations by every procedure and definition that it has."""
    parts = product(table["procedure"].unique(), _DEFINED, ("delta_vision", "accuracy"))
    cells = [(name, *x, y) for name, x, y in parts if (name, x[0]) not in _UNKNOWN]
    result = variants.correlations(models, table, cells, n_resamples, seed)
    columns = COLUMNS["table1_sensitivity_variants"]
    return validate(result.assign(experiment=models["experiment"].iloc[0]), columns)


def correlations(models: pd.DataFrame, n_resamples: int, seed: int = 0) -> pd.DataFrame:
    r"""Spearman's rho of each quantity and outcome, by benchmark and group; the published below.

    The interval ``ci`` resamples models; ``family`` whole families, which share code: the interval
    to trust. ``p_value`` permutes the models, alike on all benchmarks; ``q_value`` is corrected for
    all tests (Benjamini and Hochberg). ``minus_synergy`` is rho minus that of synergy. Benchmarks
    ``left_out`` of a mean have a ``reliability`` below `MIN_RELIABILITY`.
    """
    names = models["benchmark"].unique()
    # smaller differences of the others are ties
    models = models.round({VALUES[name]: 9 if name in OUTCOMES else DECIMALS for name in VALUES})
    groups = population.benchmark_groups(models)  # the single benchmarks first
    reliable = population.reliability(models, _OUTCOMES)
    members = population.members(models, groups, reliable)
    inside = np.stack([np.isin(names, group) for group in groups.values()])[..., None]
    left_out = np.moveaxis(inside & ~members, 1, 2).reshape(-1, len(names))
    columns = _statistics(models, members, n_resamples, seed)
    columns["reliability"] = np.full_like(columns["rho"], np.nan)
    columns["reliability"][: len(names)] = reliable
    selected = [models[models["benchmark"].isin(chosen)] for chosen in groups.values()]
    facts = pd.DataFrame({"benchmark": [*groups], "kind": [*map(benchmark_kind, groups)]})
    facts["converged"] = [bool(rows["converged"].all()) for rows in selected]
    facts["fallback"] = [rows["fallback_vision"].mean() for rows in selected]
    n_models, n_families = models["model"].nunique(), models["family"].nunique()
    mini = "mini models" if set(models["model"]) <= set(RECIPES | DEEP) else "models"
    cells = pd.DataFrame(CELLS, columns=["quantity", "outcome"])
    columns = {name: values.ravel() for name, values in columns.items()}
    columns["left_out"] = [", ".join(names[chosen]) or None for chosen in left_out]
    key = {"population": models["fingerprint"].tolist(), "n_resamples": n_resamples, "seed": seed}
    shared = {"source": f"{n_models} {mini} of {n_families} families", "seed": seed}
    shared |= {"n_models": n_models, "n_families": n_families, "fingerprint": fingerprint(**key)}
    shared["n_samples"] = models["n_samples"].min()
    table = facts.merge(cells, how="cross").assign(**columns, **shared)
    table.loc[table["quantity"] == "synergy", ["minus_synergy", "minus_low", "minus_high"]] = np.nan
    tested = table["p_value"].notna()
    table.loc[tested, "q_value"] = false_discovery_control(table.loc[tested, "p_value"])
    table = pd.concat([table, _published()]).assign(experiment=models["experiment"].iloc[0])
    return validate(table, COLUMNS["table1_sensitivity"])


def _statistics(
    models: pd.DataFrame, members: Bool[np.ndarray, "groups benchmarks cells"], n: int, seed: int
) -> dict[str, Float[np.ndarray, "groups cells"]]:
    """Correlations, p-values and intervals by column."""
    values = np.stack([population.by_model(models, name) for name in VALUES.values()], axis=-1)
    families = list(models.drop_duplicates("model").groupby("family", sort=False).indices.values())
    generator = np.random.default_rng(derive_seed(seed, "sensitivity"))

    def means(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        return statistics.group_mean((x * y).sum(0), members)

    x, y = _ranks_of_cells(values)
    rho = means(x, y)
    null = np.stack([means(x, y[generator.permutation(len(y))]) for _ in range(n)])
    p_value = statistics.permutation_p(np.abs(rho), np.abs(null))
    columns = {"rho": rho, "p_value": np.where(np.isnan(rho), np.nan, p_value)}
    columns["minus_synergy"] = rho - rho[:, _SYNERGY]
    draws = {}
    for name, clusters in {"ci": list(np.arange(len(y))[:, None]), "family": families}.items():
        orders = statistics.cluster_bootstrap(clusters, n, generator)
        draws[name] = np.stack([means(*_ranks_of_cells(values[order])) for order in orders])
    draws["minus"] = draws["family"] - draws["family"][..., _SYNERGY]
    few = len(families) < statistics.MIN_CLUSTERS
    for name, drawn in draws.items():
        ends = statistics.percentile_interval(drawn, few and name != "ci")
        columns[f"{name}_low"], columns[f"{name}_high"] = ends
    return columns


def _ranks_of_cells(values: np.ndarray) -> list[Float[np.ndarray, "models benchmarks cells"]]:
    """Standardized ranks of quantity and outcome of each cell; their residuals given accuracy."""
    names, is_partial = list(VALUES), [outcome == GIVEN for _, outcome in CELLS]
    ranks = statistics.standardized_ranks(values)
    accuracy = ranks[..., [names.index("accuracy")]]
    residuals = statistics.unit_length(ranks - (ranks * accuracy).sum(0) * accuracy)
    sides = [quantity for quantity, _ in CELLS], _OUTCOMES
    places = ([names.index(name) for name in side] for side in sides)
    return [np.where(is_partial, np.take(residuals, p, -1), np.take(ranks, p, -1)) for p in places]


def _published() -> pd.DataFrame:
    """The published correlations, with Fisher intervals (Bonett and Wright, 2000)."""
    table = published("table1_sensitivity")
    rho, n = style.floats(table, "rho", "n_models")
    error = np.sqrt((1 + rho**2 / 2) / (n - 3))
    low, high = statistics.normal_interval(np.arctanh(rho), error)
    return table.assign(ci_low=np.tanh(low), ci_high=np.tanh(high))


_PUBLISHED = "published range: other models, other benchmarks"
_TITLES = {"synergy": "synergy $S$", "co_information": "redundancy minus synergy, $R-S$"}
_TITLES |= {"unique_language": r"unique to language, $U_\ell$"}


def figure(tables: Mapping[str, pd.DataFrame]) -> style.Figure:
    """Accuracy lost against synergy where it should matter; below, the variants' correlations."""
    table, correlations = tables["table1_sensitivity_models"], tables["table1_sensitivity"]
    cells = correlations.set_index(["benchmark", "quantity", "outcome"])
    names = list(table["benchmark"].unique())
    names = [name for name in names if benchmark_kind(name) == "synergy-driven"] or names
    result = style.page(5.2)
    above, below = result.subfigures(2, 1, height_ratios=(1, 1.6))
    axes = above.subplots(1, len(names[:3]), sharey=True, squeeze=False)[0]
    purple = style.COLORS["synergy"]
    for ax, benchmark in zip(axes, names, strict=False):
        rows = table[table["benchmark"] == benchmark]
        values = "synergy_bits", "delta_vision", "delta_low", "delta_high", "fallback_vision"
        x, y, low, high, fallback = style.floats(rows, *values)
        style.interval(ax, x, low, high, color=style.FAINT, linewidth=0.6, zorder=1)
        color = np.where(fallback > population.MAX_FALLBACK, "white", purple)
        ax.scatter(x, y, 14, color, edgecolors=style.INK, linewidths=0.6, zorder=3)
        rho = cells.loc[(benchmark, "synergy", "delta_vision")]
        text = interval(*rho[["rho", "family_low", "family_high"]])
        title = f"{style.benchmark_name(benchmark)}\n$\\rho$ = {text}, {p_value(rho['p_value'])}"
        ax.set(title=title, xlabel="synergy $S$ (bits)")
    axes[0].set_ylabel("accuracy lost\nwithout the picture")
    variants.draw(below, tables["table1_sensitivity_variants"], correlations, _TITLES)
    names = "a model", "a model that, given the picture alone, rarely names a candidate"
    looks = zip(names, "oo", (purple, "white"), strict=True)
    line = style.line_handle("95 % interval, of $\\rho$ over families; $p$: models permuted", 0.8)
    style.legend(result, 2, *style.marker_handles(looks), line, style.null_handle(_PUBLISHED))
    return result


def column(tables: Mapping[str, pd.DataFrame]) -> style.Figure:
    """The correlations of S and R - S with the accuracy lost, by procedure."""
    result, name = style.column(3.4), "table1_sensitivity"
    titles = {quantity: _SYMBOLS[quantity] for quantity in QUANTITIES[:2]}
    variants.draw(result, tables[f"{name}_variants"], tables[name], titles)
    line = style.line_handle("95 % interval over families", 0.8)
    style.legend(result, 1, line, style.null_handle(_PUBLISHED))
    return result


_SYMBOLS = style.SYMBOLS | {"co_information": "$R-S$", "total": "$I$", "divergence": "KL"}
_SYMBOLS |= {"added_by_vision": "$U_v+S$", "synergy_without_fallback": r"$S_{\tau=0}$"}
_SYMBOLS |= {"moved_language": "moved", "accuracy": "$a$", "delta_vision": r"$\Delta_v$"}
_SYMBOLS |= {GIVEN: r"$\Delta_v\cdot a$"}
_UPPER = [(name, "delta_vision") for name in (*QUANTITIES[:3], "total")]
_UPPER += [("synergy", GIVEN), ("synergy", "accuracy"), ("co_information", "accuracy")]
_LOWER = [(name, "delta_vision") for name in ("synergy", *BASELINES, "accuracy")]


def latex(tables: Mapping[str, pd.DataFrame]) -> str:
    """Our correlations, published ones, baselines; a star: q < .05, and 0 outside the interval."""
    table = tables["table1_sensitivity"]
    table = table.assign(benchmark=table["benchmark"].fillna("benchmarks unnamed"))
    rows: list[list[str | None]] = []
    for source, block in table.groupby("source", sort=False):
        grade, n = block["grade"].iloc[0], block["n_models"].max()
        words = f"{n} models, grade {grade}; intervals ours, as if models were independent"
        title = source if pd.isna(grade) else f"{source}: {words}"
        rows += _block(title, r"\midrule" * bool(rows), block, _UPPER, ("family", "ci"))
    ours = table[table["grade"].isna()]
    rows.append([r"\midrule", *_header(_LOWER)])
    words = r"; in brackets the 95\,\% interval of the difference from $S$"
    rows += _block(ours["source"].iloc[0] + words, "", ours, _LOWER, ("minus",))
    return booktabs(["", *_header(_UPPER)], rows)


def _header(cells: Sequence[tuple[str, str]]) -> list[str]:
    return [f"{_SYMBOLS[quantity]}, {_SYMBOLS[outcome]}" for quantity, outcome in cells]


def _block(
    title: str, rule: str, block: pd.DataFrame, cells: Sequence[tuple], intervals: Sequence[str]
) -> list[list[str | None]]:
    """For each benchmark of a source the correlations, and below each the first known interval."""
    rows = [heading(title, len(cells) + 1, rule)]
    for name, group in block.groupby("benchmark", sort=False):
        selected = group.set_index(["quantity", "outcome"]).reindex(cells)
        first, ours = group.iloc[0], group["grade"].isna().iloc[0]
        collapsed = pd.notna(first["fallback"]) and first["fallback"] > population.MAX_FALLBACK
        dagger = r"$^\dagger$" if collapsed and not name.startswith("mean of") else ""
        label = style.benchmark_name(name).replace("_", r"\_") + dagger
        rows.append([label, *(_rho(row, 2 if ours else 3) for row in selected.itertuples())])
        left_out = selected["left_out"].dropna().str.split(", ").explode().unique()
        note = "" if pd.isna(first["kind"]) else first["kind"]
        if len(left_out):
            note = f"without {', '.join(sorted(map(style.benchmark_name, left_out)))}"
        texts = [_interval(row, intervals) for row in selected.to_dict("records")]
        if ours or any(texts):
            rows.append([rf"\quad\scriptsize {note}", *texts])
    return rows


def _rho(row, digits: int) -> str | None:
    if pd.isna(row.rho):
        return None if pd.isna(row.abs_rho_at_most) else rf"$|\rho|\le{row.abs_rho_at_most:.3f}$"
    text = f"{round(row.rho, digits) + 0.0:.{digits}f}".replace("-", "$-$")
    if pd.notna(row.reliability) and row.reliability < statistics.MIN_RELIABILITY:
        text = f"({text})"
    nonzero = pd.notna(row.family_low) and row.family_low * row.family_high > 0
    return text + (r"\rlap{$^\ast$}" if nonzero and row.q_value < 0.05 else "")


def _interval(row: Mapping[str, float], names: Sequence[str]) -> str:
    for name in names:
        if pd.notna(row[f"{name}_low"]):
            low, high = (f"{round(row[f'{name}_{end}'], 2) + 0.0:.2f}" for end in ("low", "high"))
            return rf"\scriptsize $[{low}, {high}]$"
    return ""
