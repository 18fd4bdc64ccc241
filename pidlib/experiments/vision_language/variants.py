r"""Decompositions of a population's decisions by several procedures and definitions of redundancy.

A procedure says how decisions from one modality are obtained, and how both get one P(Y). Given the
informations, a definition is one number, the redundancy R, see `definitions`; so R - S is the same
by all.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from matplotlib.figure import FigureBase

from pidlib import decomposition
from pidlib._common import code_version, derive_seed, fingerprint, project_root
from pidlib.decomposition import PID
from pidlib.decomposition.atoms import atoms
from pidlib.decomposition.batch import batch_pid
from pidlib.decomposition.decisions import Decisions, decision_pid
from pidlib.decomposition.marginals import divergence
from pidlib.decomposition.measures import OF_PAIRS
from pidlib.experiments import MODES, Preset, extract_all, population, statistics, style
from pidlib.experiments.extractions import Extracted
from pidlib.experiments.population import DECIMALS, OUTCOMES, TOLERANCE, by_model
from pidlib.experiments.tables import COMPUTED, declare
from pidlib.experiments.words import interval
from pidlib.extraction import FULL, SOURCES, Extraction
from pidlib.extraction.store import Shard, open_store

AS_PUBLISHED, AS_ANSWERED = "BATCH, 8 epochs", "as answered"
ONE_DRAW, PROJECTED = "projected, one draw", "projected"
PROCEDURES = (AS_PUBLISHED, AS_ANSWERED, ONE_DRAW, PROJECTED, *MODES)
WORDS = {AS_PUBLISHED: "published code: networks,\nhardly trained on few data"}  # in figures
WORDS |= {AS_ANSWERED: "one draw of noise,\nno common $P(Y)$", "masked": "masked, our default"}
WORDS |= {ONE_DRAW: "one draw of noise,\ncommon $P(Y)$", PROJECTED: "mean of draws,\ncommon $P(Y)$"}
DEFINITIONS = ("broja", *OF_PAIRS)
ANY = "any"  # definition of a quantity that is the same by all
BATCH_SIZE, N_BATCHES = 256, 50  # as published

# Columns of the informations and redundancies of one decomposition.
INFORMATIONS = declare(
    *(f"{name}_bits" for name in (*SOURCES, "total", *DEFINITIONS, "gap")), "converged"
)


def decisions_by(procedure: str, extraction: Extraction, tau: float, seed: int = 0) -> Decisions:
    """The decisions of an extraction by one of the `PROCEDURES`.

    ``"as answered"``, also for ``"BATCH, 8 epochs"``: masked, one draw of noise, not reconciled;
    ``"projected, one draw"``: then both projected on one P(Y); ``"projected"``: answers to equal
    inputs and all draws averaged first. The others are modes.
    """
    if procedure == "observational":
        return extraction.observational(tau, seed)
    if procedure in MODES:
        return getattr(extraction, procedure)(tau)
    if procedure == PROJECTED:
        return replace(extraction.masked(tau), reconciliation="projection")
    rows = {name: extraction.decisions(f"{name}#0", tau) for name in SOURCES}
    reconciliation = "projection" if procedure == ONE_DRAW else "none"
    return Decisions(extraction.decisions(FULL, tau), rows, reconciliation=reconciliation)


def informations(decisions: Decisions, device: str = "cpu") -> dict[str, float | bool]:
    """Informations of both sources and of both together, and redundancy by definition, in bits.

    Without reconciliation, the former are means of KL(p(y|x) || P(Y)), as in BATCH, with MMI alone.
    """
    if decisions.reconciliation == "none":
        target = torch.as_tensor(decisions.target)
        parts = map(torch.as_tensor, (*decisions.sources.values(), decisions.joint))
        bits = (decisions.weights @ divergence(rows, target).numpy() for rows in parts)
        first, second, both = (each.item() for each in bits)
        values = {"vision": first, "language": second, "total": both, "gap": 0.0}
        values |= dict.fromkeys(DEFINITIONS, np.nan) | {"mmi": min(first, second)}
        return {f"{name}_bits": value for name, value in values.items()} | {"converged": True}
    solved = decision_pid(decisions, tol=TOLERANCE, device=device)
    return solved_informations(solved.pid, solved.others)


def published_informations(
    decisions: Decisions, extraction: Extraction, seed: int = 0
) -> dict[str, float | bool]:
    """The `INFORMATIONS` that the atoms of BATCH add up to, each of them clamped at zero.

    Widths, epochs and batches are those of the code of Xiu et al.: 8 steps for 256 samples.
    """
    n_batches = 1 if len(decisions) <= BATCH_SIZE else N_BATCHES  # else all are the same
    options = {"n_batches": n_batches, "batch_size": BATCH_SIZE, "seed": seed}
    estimate = batch_pid(decisions, embeddings=extraction.embeddings, **options)
    shared, *unique, synergy = (max(bits, 0.0) for bits in estimate.atoms.values())
    values = dict.fromkeys(("gap", *DEFINITIONS), np.nan)  # nothing certifies how far it is off
    values |= {name: shared + bits for name, bits in zip(SOURCES, unique, strict=True)}
    values |= {"total": shared + sum(unique) + synergy, "broja": shared}
    return {f"{name}_bits": value for name, value in values.items()}


def solved_informations(solved: PID, by_others: Mapping[str, float]) -> dict[str, float | bool]:
    """The `INFORMATIONS` of a decomposition, with redundancies by definitions besides BROJA."""
    values = {name: solved.redundancy + solved.unique[name] for name in SOURCES}
    values |= {"total": solved.total, "gap": solved.gap, "broja": solved.redundancy} | by_others
    bits = {f"{name}_bits": value for name, value in values.items()}
    return bits | {"converged": solved.converged}


def informations_table(preset: Preset, procedures: Sequence[str]) -> pd.DataFrame:
    """The `informations` of each model on each benchmark by each procedure, which are cached."""
    answers = [answer for (answer,) in extract_all(preset, population.request(preset))]
    settings = {"tau": preset.tau, "tol": TOLERANCE, "seed": preset.seed}
    identity = settings | {"kind": "informations", "device": preset.device}
    identity["extractions"] = [answer.columns["fingerprint"] for answer in answers]
    sources = Path(decomposition.__file__).parent.glob("*.py")
    identity["code"] = code_version(Path(__file__), *sorted(sources))
    parts, cache = [], project_root() / preset.cache
    for procedure in procedures:
        with open_store(cache, identity | {"procedure": procedure}, {}) as store:
            measure = partial(_by_procedure, preset, procedure, answers)
            arrays = store.fill({"informations": measure})[0].arrays
        key = settings | {"procedure": procedure}
        rows = pd.DataFrame([answer.row_columns("vision_language", **key) for answer in answers])
        parts.append(rows.assign(procedure=procedure, **arrays))
    table = pd.concat(parts).sort_index(kind="stable", ignore_index=True)
    return table.astype(INFORMATIONS.types)


def _by_procedure(preset: Preset, procedure: str, answers: Sequence[Extracted]) -> Shard:
    rows = []
    for extraction, _ in answers:
        decisions = decisions_by(procedure, extraction, preset.tau, preset.seed)
        if procedure == AS_PUBLISHED:
            rows.append(published_informations(decisions, extraction, preset.seed))
        else:
            rows.append(informations(decisions, preset.device))
    return Shard({name: np.array([row[name] for row in rows]) for name in rows[0]})


def quantities(table: pd.DataFrame, definition: str) -> pd.DataFrame:
    """The atoms of each row of `INFORMATIONS` by a definition, and ``co_information``, in bits."""
    names = ("vision_bits", "language_bits", "total_bits", f"{definition}_bits")
    vision, language, total, redundancy = (table[name].astype(float) for name in names)
    values = atoms(SOURCES, vision, language, total, vision + language - redundancy)
    return pd.DataFrame(values | {"co_information": vision + language - total})


# Columns of `correlations`.
CORRELATIONS = "benchmark procedure definition quantity outcome rho family_low family_high "
CORRELATIONS += "minus_default minus_low minus_high n_benchmarks n_models n_families n_samples "
CORRELATIONS += f"seed {COMPUTED}"


def correlations(
    models: pd.DataFrame, table: pd.DataFrame, cells: Sequence[tuple], n_resamples: int, seed: int
) -> pd.DataFrame:
    """Spearman's rho over the models, for each group of benchmarks and each of the `cells`.

    `models` is a table of `population_table`, `table` one of `informations_table`. A cell has a
    procedure, a definition, a quantity, and an outcome: one of the models, or ``"broja"``, the same
    quantity by BROJA. Intervals draw whole families; ``minus_default`` is rho minus that of the
    masked mode by BROJA. Benchmarks without rho, or a reliable outcome, count in no mean.
    """
    groups = population.benchmark_groups(models)

    def by_procedure(procedure: str, definition: str, quantity: str) -> np.ndarray:
        values = quantities(table, "mmi" if definition == ANY else definition)[quantity]
        rows = table[["model", "benchmark"]].assign(value=values.round(DECIMALS))
        return by_model(rows[table["procedure"] == procedure], "value")

    first = [cell[:3] for cell in cells]
    second = [end if end in OUTCOMES else (name, "broja", each) for name, _, each, end in cells]
    named = list(dict.fromkeys([*OUTCOMES, *first, *second]))  # each is ranked once
    values = [by_model(models, name).round(9) for name in OUTCOMES]
    values = np.stack(values + [by_procedure(*key) for key in named[len(OUTCOMES) :]], axis=-1)
    x, y = (list(map(named.index, keys)) for keys in (first, second))
    reliable = dict(zip(OUTCOMES, population.reliability(models).T, strict=True))
    reliable["broja"] = np.ones(models["benchmark"].nunique())
    counted = np.stack([reliable[outcome] for *_, outcome in cells], axis=-1)
    members = population.members(models, groups, counted)

    def means(order: np.ndarray) -> np.ndarray:
        ranks = statistics.standardized_ranks(values[order])
        return statistics.group_mean((ranks[..., x] * ranks[..., y]).sum(0), members)

    families = list(models.drop_duplicates("model").groupby("family", sort=False).indices.values())
    generator = np.random.default_rng(derive_seed(seed, "variants"))
    orders = statistics.cluster_bootstrap(families, n_resamples, generator)
    rho, draws = means(np.arange(len(values))), np.stack([means(order) for order in orders])
    # The place of the cell of the masked mode by BROJA, with the same quantity and outcome.
    by_default = ("masked", "broja"), ("masked", ANY)
    defaults = {cell[2:]: place for place, cell in enumerate(cells) if cell[:2] in by_default}
    same = np.array([defaults.get(cell[2:], -1) for cell in cells])
    known = (same >= 0) & (same != np.arange(len(cells)))
    minus, minus_draws = (np.where(known, r - r[..., same], np.nan) for r in (rho, draws))
    columns = {"rho": rho, "minus_default": minus}
    for name, drawn in {"family": draws, "minus": minus_draws}.items():
        ends = statistics.percentile_interval(drawn, len(families) < statistics.MIN_CLUSTERS)
        columns[f"{name}_low"], columns[f"{name}_high"] = ends
    # The first groups are the single benchmarks.
    columns["n_benchmarks"] = (members & ~np.isnan(rho[: members.shape[1]])).sum(1)
    cells = pd.DataFrame(cells, columns=["procedure", "definition", "quantity", "outcome"])
    result = pd.DataFrame({"benchmark": list(groups)}).merge(cells, how="cross")
    converged = table.groupby("procedure")["converged"].agg(lambda each: each.all(skipna=False))
    key = fingerprint(population=table["fingerprint"].tolist(), n_resamples=n_resamples, seed=seed)
    shared = {"n_models": models["model"].nunique(), "n_families": len(families), "seed": seed}
    shared |= {"n_samples": models["n_samples"].min(), "fingerprint": key}
    columns = {name: column.ravel() for name, column in columns.items()}
    return result.assign(**columns, **shared, converged=result["procedure"].map(converged))


def draw(
    figure: FigureBase, table: pd.DataFrame, correlations: pd.DataFrame, titles: Mapping[str, str]
) -> None:
    """Correlations with the accuracy lost by procedure (BROJA, else MMI), and those published."""
    groups = list(table["benchmark"].unique())
    group = next((name for name in groups if name.startswith("mean of synergy")), groups[-1])
    table = table[(table["benchmark"] == group) & (table["outcome"] == "delta_vision")]
    known = correlations[correlations["grade"].notna() & (correlations["kind"] == "synergy-driven")]
    known = known[known["outcome"] == "delta_vision"].groupby("quantity")["rho"].agg(["min", "max"])
    procedures = list(table["procedure"].unique())
    axes, wide = figure.subplots(1, len(titles), sharey=True), len(titles) > 2
    for ax, (quantity, title) in zip(axes, titles.items(), strict=True):
        rows = table[table["quantity"] == quantity].drop_duplicates("procedure")
        if quantity in known.index:
            ax.axvspan(*style.floats(known.loc[quantity]), color=style.NULL, linewidth=0, zorder=0)
        ax.axvline(0, color=style.FAINT, linewidth=0.6, zorder=1)
        look = {"color": style.COLORS.get(quantity, style.INK), "markersize": 3.8, "zorder": 3}
        for row in rows.dropna(subset="rho").itertuples():
            y = procedures.index(row.procedure)
            ax.hlines(y, row.family_low, row.family_high, color=style.INK, linewidth=0.8, zorder=2)
            style.points(ax, [row.rho], [y], "o", markeredgewidth=0.6, **look)
            text = interval(row.rho, row.family_low, row.family_high).split()
            style.margin(ax, y, " ".join(text[: 3 if wide else 1]))
        ax.set(title=title, xlim=(-1.05, 1.05), xticks=[-1, 0, 1])
        ax.grid(visible=False)
    axes[0].set_ylim(len(procedures) - 0.5, -0.5)
    names = [WORDS.get(name, name) for name in procedures]
    axes[0].set_yticks(range(len(procedures)), names, linespacing=0.9)
    space = " " if wide else "\n"
    words = f"rank correlation $\\rho$ with the accuracy lost,{space}{group} benchmarks"
    figure.supxlabel(words, fontsize="medium")
