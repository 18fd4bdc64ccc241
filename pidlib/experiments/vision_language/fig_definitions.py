r"""When does a decomposition say more than informations, and what depends on its definition?

A definition of redundancy is one number, see `variants`. Where the smaller unique atom of BROJA is
zero, BROJA is MMI: the informations of each source and of both say as much.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import product

import numpy as np
import pandas as pd

from pidlib import benchmarks
from pidlib._common import fingerprint
from pidlib.decomposition import pid
from pidlib.decomposition.entropies import tabulate
from pidlib.decomposition.gates import GATES
from pidlib.decomposition.measures import MEASURES, OF_JOINTS, OF_PAIRS, redundancy
from pidlib.experiments import Preset, Request, extract_all, population, style
from pidlib.experiments.decision_profiles import embedding_codes, embedding_request
from pidlib.experiments.definitions import NOTABLE
from pidlib.experiments.population import ATOMS, OUTCOMES, population_table
from pidlib.experiments.tables import ORIGIN, declare, validate
from pidlib.experiments.vision_language import variants
from pidlib.experiments.words import interval, number
from pidlib.extraction import SOURCES

MAX_CELLS = 128  # of a table by CCS or dep, which take seconds for larger ones
TIE = 0.01  # bits: smaller differences of atoms do not decide which leads
RANKED = ("synergy", "redundancy")

COLUMNS = {
    "fig_definitions": declare(
        f"experiment kind {ORIGIN} procedure",
        variants.INFORMATIONS,
        *(*(f"{name}_bits" for name in OF_JOINTS), *OUTCOMES),
        "n_samples n_codes seed fingerprint",
        required="experiment kind benchmark broja_bits mmi_bits fingerprint",
    ),
    "fig_definitions_conclusions": declare(
        f"experiment conclusion atom share {variants.CORRELATIONS}",
        required="experiment conclusion benchmark procedure definition",
    ),
}


def requests(preset: Preset) -> list[Request]:
    """Masked and paired answers of the population, and the states of the preset's models."""
    return [population.request(preset), embedding_request(preset)]


def measure(preset: Preset) -> dict[str, pd.DataFrame]:
    """Informations and redundancies of tables and decisions; what definitions agree on."""
    references = pd.DataFrame([*_tables(preset), *_codes(preset)])
    models = population_table(preset)
    decisions = variants.informations_table(preset, preset.unimodal)
    outcomes = models[["model", "benchmark", *OUTCOMES]]
    rows = decisions.merge(outcomes, on=["model", "benchmark"]).assign(kind="decisions")
    table = pd.concat([references, rows]).assign(experiment="vision_language", seed=preset.seed)
    ranks = _correlations(preset, models, decisions)
    conclusions = pd.concat([leading_atoms(decisions, models), ranks])
    conclusions = conclusions.assign(experiment="vision_language", seed=preset.seed)
    named = zip(COLUMNS.items(), (table, conclusions), strict=True)
    return {name: validate(each, columns) for (name, columns), each in named}


def redundancies(joint: np.ndarray) -> dict[str, float | bool]:
    """Informations of a table [x1, x2, y] and redundancies; the slow ones up to `MAX_CELLS`."""
    measures = MEASURES if np.asarray(joint).size <= MAX_CELLS else OF_PAIRS
    by_others = {name: redundancy(joint, name) for name in measures}
    return variants.solved_informations(pid(joint, SOURCES), by_others)


def _tables(preset: Preset) -> Iterator[dict[str, object]]:
    """The gates, and the laws of the ideal answerers of the generated benchmarks."""
    names = (*preset.benchmarks, *benchmarks.names("pairs"))
    joints = {f"gate/{name}": np.asarray(gate.joint()) for name, gate in GATES.items()}
    joints |= {name: benchmarks.truth(name) for name in names if name.startswith("micro/")}
    for name, joint in joints.items():
        kind = "gates" if name.startswith("gate/") else "ideal answerers"
        identity = {"kind": kind, "benchmark": name}
        yield identity | {"fingerprint": fingerprint(joint=joint.tolist())} | redundancies(joint)


def _codes(preset: Preset) -> Iterator[dict[str, object]]:
    """The coded tables of `fig_embeddings`: pooled embeddings, and the state at the answer."""
    k, seed = preset.n_clusters, preset.seed
    for fitted, applied in extract_all(preset, embedding_request(preset)):
        codes = embedding_codes(fitted.extraction, applied.extraction, k, seed)
        counts = tabulate(*(each[None] for each in codes), (k, k, k))[0]
        fitted_to = fitted.columns["fingerprint"]
        columns = applied.row_columns("vision_language", fitted=fitted_to, k=k, seed=seed)
        yield columns | {"kind": "codes", "n_codes": k} | redundancies(counts)


def leading_atoms(decisions: pd.DataFrame, models: pd.DataFrame) -> pd.DataFrame:
    """The largest atom of the mean over models, and the share of models that agree with BROJA.

    They agree if the largest atom by BROJA is within `TIE` of the largest by the definition.
    """
    rows = []
    decisions = pd.concat([decisions, decisions.assign(benchmark=population.ALL)])
    for definition in variants.DEFINITIONS:
        named = decisions.groupby(["benchmark", "procedure"], sort=False)
        for (benchmark, procedure), group in named:
            values = variants.quantities(group, definition)[list(ATOMS)]
            by_broja = variants.quantities(group, "broja")[list(ATOMS)].to_numpy().argmax(1)
            leading = np.take_along_axis(values.to_numpy(), by_broja[:, None], 1)[:, 0]
            row = {"benchmark": benchmark, "procedure": procedure, "definition": definition}
            row["atom"] = None if benchmark == population.ALL else values.mean().idxmax()
            row["share"] = (leading >= values.max(axis=1) - TIE).mean()
            row["converged"] = bool(group["converged"].all())
            rows.append(row | {"fingerprint": fingerprint(population=list(group["fingerprint"]))})
    counts = {"n_models": models["model"].nunique(), "n_samples": models["n_samples"].min()}
    return pd.DataFrame(rows).assign(conclusion="leading atom", **counts)


def _correlations(preset: Preset, models: pd.DataFrame, decisions: pd.DataFrame) -> pd.DataFrame:
    """Of S and R of each definition with those of BROJA, and with the loss of accuracy."""
    parts = decisions["procedure"].unique(), variants.DEFINITIONS, RANKED, ("broja", *OUTCOMES)
    cells = [cell for cell in product(*parts) if cell[1::2] != ("broja", "broja")]
    table = variants.correlations(models, decisions, cells, preset.n_resamples, preset.seed)
    ranking = table["outcome"] == "broja"
    return table.assign(conclusion=np.where(ranking, "ranking of models", "rank correlation"))


_LOOKS = {
    "broja": ("o", style.INK, "BROJA: optimized", -0.25),
    "mmi": ("D", "white", "MMI: smaller information", 0),
    "i_min": ("^", style.OTHERS[1], r"$I_{\min}$: smaller per answer", 0.25),
    "ccs": ("s", style.OTHERS[0], r"$I_{\mathrm{ccs}}$: common surprisal, of tables", -0.18),
    "dep": ("v", style.OTHERS[3], r"$I_{\mathrm{dep}}$: dependencies, of tables", -0.36),
}
_WORDS = {"codes": "codes of embeddings", "gates": "logic gates"}
_WORDS |= {"masked": "decisions, masked\n(other input hidden)"}
_WORDS |= {"resampled": "decisions, resampled\n(other input exchanged)"}
_WORDS |= {"observational": "decisions, observational\n(regression)"}
_RING = {"marker": "o", "markerfacecolor": "none", "color": style.OTHERS[0], "linestyle": ""}


def figure(tables: Mapping[str, pd.DataFrame]) -> style.Figure:
    """How often R is that of BROJA by kind; then two conclusions by definition and mode."""
    result = style.page(3.7)
    (ax, *axes), rows = result.subplots(1, 3), tables["fig_definitions"]
    kinds = rows["procedure"].where(rows["kind"] == "decisions", rows["kind"])
    names = list(dict.fromkeys([*kinds[rows["kind"] == "decisions"], *kinds[::-1]]))
    for name, (marker, color, _, shift) in list(_LOOKS.items())[1:]:
        away = (rows[f"{name}_bits"] - rows["broja_bits"]).abs()
        same = (away <= NOTABLE).astype(float).where(away.notna()).groupby(kinds)
        y = [names.index(kind) + shift for kind in same.groups]
        style.points(ax, same.mean(), y, marker, color=color, markersize=3.8)
        for row, count, size in zip(y, same.sum(), same.size(), strict=True):
            style.margin(ax, row, f"{count:.0f} of {size}" * (name == "mmi"), fontsize=6.5)
    style.name_rows(ax, [_WORDS.get(name, name) for name in names])
    ax.set(xlabel="share (of models × benchmarks, of tables)", xlim=(-0.02, 1.05))
    ax.set_title(f"$R$ is that of BROJA within\n{NOTABLE:g} bits (numbers: MMI)")
    ax.grid(visible=False)
    _draw_conclusions(axes, tables["fig_definitions_conclusions"])
    handles = style.marker_handles((words, *look) for *look, words, _ in _LOOKS.values())
    handles.append(style.handle("one benchmark", marker=".", color=style.FAINT, markersize=4))
    handles.append(style.handle("micro: pair, pair shared (two unique atoms)", **_RING))
    style.legend(result, 3, *handles, style.line_handle("95 % interval, families redrawn", 0.8))
    return result


def _draw_conclusions(axes: Sequence[style.Axes], table: pd.DataFrame) -> None:
    """A panel for each conclusion: benchmarks as dots, their mean with its number."""
    procedures = list(table["procedure"].unique())
    agreeing = (table["conclusion"] == "leading atom") & (table["definition"] != "broja")
    ranked = (table["quantity"] == "synergy") & (table["outcome"] == "delta_vision")
    panels = {
        "Largest atom is that of\nBROJA (no interval)": (agreeing, "share"),
        "$S$ ranks models by the\naccuracy lost without picture": (ranked, "rho"),
    }
    looks = {name: (*_LOOKS[name][:2], _LOOKS[name][-1]) for name in variants.DEFINITIONS}
    for ax, (title, (chosen, column)) in zip(axes, panels.items(), strict=True):
        rows = table[chosen]
        single = rows[~rows["benchmark"].str.startswith("mean of")]
        y = np.array(variants.heights(single, procedures, looks))
        values, two = style.floats(single[column]), single["benchmark"].str.startswith("micro/pair")
        ax.plot(values, y, ".", color=style.FAINT, markersize=3.5, markeredgewidth=0, zorder=1)
        ax.plot(values[two], y[two], **_RING)
        means = rows[rows["benchmark"] == population.ALL]  # none for a single benchmark
        means = (single if means.empty else means).dropna(subset=column)
        variants.draw_rows(ax, means, column, procedures, looks)
        values = style.floats(means, column, "family_low", "family_high")
        for y, *bits in zip(variants.heights(means, procedures, looks), *values, strict=True):
            style.margin(ax, y, number(bits[0]) if np.isnan(bits).any() else interval(*bits))
        label = "rank correlation $\\rho$; 0: none" if column == "rho" else "share of models"
        ax.set(title=title, xlabel=label, xlim=(-0.02 if column == "share" else -1.05, 1.05))
        ax.axvline(0, color=style.FAINT, linewidth=0.6, zorder=0)
        ax.set_yticks(range(len(procedures)), procedures if ax is axes[0] else [])
