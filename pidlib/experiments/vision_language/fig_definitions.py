r"""When does a decomposition say more than informations, and what depends on its definition?

A definition of redundancy is one number, see `variants`. Where the smaller unique atom of BROJA is
zero, BROJA is MMI: the informations of each source and of both say as much.
"""

from collections.abc import Iterator, Mapping
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
from pidlib.experiments.words import interval, listed, number
from pidlib.extraction import SOURCES

MAX_CELLS = 128  # of a table by CCS or dep, which take seconds for larger ones
TIE = 0.01  # bits: smaller differences of atoms do not decide which leads

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
    references, models = pd.DataFrame([*_tables(preset), *_codes(preset)]), population_table(preset)
    decisions = variants.informations_table(preset, preset.unimodal)
    rows = decisions.merge(models[["model", "benchmark", *OUTCOMES]], on=["model", "benchmark"])
    conclusions = leading_atoms(decisions, models), _correlations(preset, models, decisions)
    parts = zip(COLUMNS, ((references, rows.assign(kind="decisions")), conclusions), strict=True)
    shared = {"experiment": "vision_language", "seed": preset.seed}
    return {name: validate(pd.concat(each).assign(**shared), COLUMNS[name]) for name, each in parts}


def redundancies(joint: np.ndarray) -> dict[str, float | bool]:
    """Informations of a table [x1, x2, y] and redundancies; the slow ones up to `MAX_CELLS`."""
    measures = MEASURES if np.asarray(joint).size <= MAX_CELLS else OF_PAIRS
    others = {name: redundancy(joint, name) for name in measures}
    return variants.solved_informations(pid(joint, SOURCES), others)


def _tables(preset: Preset) -> Iterator[dict[str, object]]:
    """The gates, and the laws of the ideal answerers of the generated benchmarks."""
    names = (*preset.benchmarks, *benchmarks.names("pairs"))
    joints = {f"gate/{name}": np.asarray(gate.joint()) for name, gate in GATES.items()}
    joints |= {name: benchmarks.truth(name) for name in names if name.startswith("micro/")}
    for name, joint in joints.items():
        columns = {"benchmark": name, "fingerprint": fingerprint(joint=joint.tolist())}
        columns["kind"] = "gates" if name.startswith("gate/") else "ideal answerers"
        yield columns | redundancies(joint)


def _codes(preset: Preset) -> Iterator[dict[str, object]]:
    """The coded tables of `fig_embeddings`: pooled embeddings, and the state at the answer."""
    k, seed = preset.n_clusters, preset.seed
    for fitted, applied in extract_all(preset, embedding_request(preset)):
        codes = embedding_codes(fitted.extraction, applied.extraction, k, seed)
        settings = {"fitted": fitted.columns["fingerprint"], "k": k, "seed": seed}
        columns = applied.row_columns("vision_language", **settings) | {"kind": "codes"}
        counts = tabulate(*(each[None] for each in codes), (k, k, k))[0]
        yield columns | {"n_codes": k} | redundancies(counts)


def leading_atoms(decisions: pd.DataFrame, models: pd.DataFrame) -> pd.DataFrame:
    """The largest atom of the mean over models; how many have that of BROJA, or within `TIE`."""
    rows = []
    decisions = pd.concat([decisions, decisions.assign(benchmark=population.ALL)])
    named = list(decisions.groupby(["benchmark", "procedure"], sort=False))
    for definition, ((benchmark, procedure), group) in product(variants.DEFINITIONS, named):
        values, by_broja = (variants.quantities(group, d)[[*ATOMS]] for d in (definition, "broja"))
        by_broja = by_broja.to_numpy().argmax(1)
        leading = np.take_along_axis(values.to_numpy(), by_broja[:, None], 1)[:, 0]
        row = {"benchmark": benchmark, "procedure": procedure, "definition": definition}
        row["atom"] = None if benchmark == population.ALL else values.mean().idxmax()
        row["share"] = (leading >= values.max(axis=1) - TIE).mean()
        key = fingerprint(population=list(group["fingerprint"]))
        rows.append(row | {"converged": bool(group["converged"].all()), "fingerprint": key})
    counts = {"n_models": models["model"].nunique(), "n_samples": models["n_samples"].min()}
    return pd.DataFrame(rows).assign(conclusion="leading atom", **counts)


def _correlations(preset: Preset, models: pd.DataFrame, decisions: pd.DataFrame) -> pd.DataFrame:
    """Of S and R of each definition with those of BROJA, and with the loss of accuracy."""
    procedures, ranked = decisions["procedure"].unique(), ("synergy", "redundancy")
    cells = product(procedures, variants.DEFINITIONS, ranked, ("broja", *OUTCOMES))
    cells = [cell for cell in cells if cell[1::2] != ("broja", "broja")]
    table = variants.correlations(models, decisions, cells, preset.n_resamples, preset.seed)
    ranking = table["outcome"] == "broja"
    return table.assign(conclusion=np.where(ranking, "ranking of models", "rank correlation"))


_NAMES = {"broja": "BROJA", "mmi": "MMI", "i_min": r"$I_{\min}$"}
_NAMES |= {"ccs": r"$I_{\mathrm{ccs}}$", "dep": r"$I_{\mathrm{dep}}$"}
_WORDS = {"masked": "decisions, masked (other input hidden)", "codes": "codes of embeddings"}
_WORDS |= {"resampled": "decisions, resampled (other input exchanged)", "gates": "logic gates"}
_WORDS |= {"observational": "decisions, observational (regression)"}
_KEY = r"""BROJA, the reference: redundancy $R$ by optimization
MMI: the smaller of the informations of both inputs
$I_{\min}$: the smaller information on each answer, averaged
$I_{\mathrm{ccs}}$ (common surprisal), $I_{\mathrm{dep}}$ (dependencies): of joint tables only"""
_RING = {"marker": "o", "fillstyle": "none", "color": style.OTHERS[0], "linestyle": ""}
_LINE, _PAIRS = ["procedure", "definition"], ("micro/pair", "micro/pair_shared")


def figure(tables: Mapping[str, pd.DataFrame]) -> style.Figure:
    """How often R is that of BROJA by kind; then two conclusions by definition and mode."""
    rows, table = tables["fig_definitions"], tables["fig_definitions_conclusions"]
    modes = list(table["procedure"].unique())
    rows = rows.assign(procedure=rows["procedure"].where(rows["kind"] == "decisions", rows["kind"]))
    kinds = [kind for kind in rows["procedure"].unique()[::-1] if kind not in modes]
    rows = pd.concat([rows, rows.assign(benchmark=population.ALL)])
    named = {f"{name}_bits": name for name in list(_NAMES)[1:]}
    same = rows.melt(["procedure", "benchmark", "broja_bits"], list(named), "definition", "bits")
    same = same.replace({"definition": named}).dropna(subset="bits")
    same["share"] = ((same["bits"] - same["broja_bits"]).abs() <= NOTABLE).astype(float)
    same = same.groupby([*_LINE, "benchmark"])["share"].agg(share="mean", size="size").reset_index()
    agreeing = table[(table["conclusion"] == "leading atom") & (table["definition"] != "broja")]
    ranked = table[(table["quantity"] == "synergy") & (table["outcome"] == "delta_vision")]
    mmi = agreeing[agreeing["definition"] == "mmi"].set_index("benchmark")
    means = mmi[mmi.index == population.ALL].set_index("procedure")["share"]
    shares = listed(f"{number(share)} ({mode})" for mode, share in means.items())
    text = f"MMI names the same largest atom as BROJA in {shares} of models × benchmarks"
    rings, tasks = [], "micro: pair, pair shared: both inputs hold something unique"
    if len(pairs := mmi["share"][mmi.index.isin(_PAIRS)].astype(float)):
        ends = map(number, (pairs.min(), pairs.max()))
        text += "\nand in {} to {} where both inputs hold something unique (rings)".format(*ends)
        rings.append(style.handle(tasks, **_RING))
    result = style.page(5.4)
    result.suptitle(text, x=0.01, ha="left")
    axes = result.subplot_mosaic("abc;dee", height_ratios=(4 * len(modes), 5 * len(kinds)))
    near = f"$R$ is that of BROJA\nwithin {NOTABLE:g} bits"
    _draw(axes["a"], same, modes, near)
    _draw(axes["b"], agreeing, modes, "Largest atom is\nthat of BROJA")
    _draw(axes["c"], ranked, modes, "Synergy $S$ ranks models by\naccuracy lost without picture")
    _draw(axes["d"], same, kinds, near)
    mean = style.handle("all benchmarks or tables (number: right)", marker="o", color=style.INK)
    line = style.line_handle("95 % interval of the mean, model families resampled")
    axes["e"].legend(handles=[mean, *rings, line, style.handle(_KEY)], loc="center")
    axes["e"].set_axis_off()
    return result


def _draw(ax: style.Axes, rows: pd.DataFrame, names: list[str], title: str) -> None:
    """Below each name a row for each definition: its mean, its interval, and rings."""
    x = "share" if rows["share"].notna().any() else "rho"
    definitions = list(_NAMES)[1:] if "gates" in names else variants.DEFINITIONS
    lines = [(each, name) for each in names for name in ("", *definitions)]
    rows = rows[rows["procedure"].isin(names)].dropna(subset=x).set_index(_LINE)
    means = rows[rows["benchmark"] == population.ALL]
    means = rows[~rows.index.duplicated()] if means.empty else means  # of a single benchmark
    first = ax.get_subplotspec().is_first_col()
    named = {y: _NAMES[name] * first for y, (_, name) in enumerate(lines) if name}
    ax.set_yticks(list(named), named.values())
    for y, line in enumerate(lines):
        text, bold = _WORDS.get(line[0], line[0]) * first, not line[1]
        if line[1]:
            text = "reference" if x == "share" and line[1] == "broja" else "not known"
        if line in means.index:
            row = means.loc[line]
            ends = style.floats(row.reindex([x, "family_low", "family_high"]))
            text = number(row[x]) if np.isnan(ends).any() else interval(*ends)
            text = f"{row[x] * row['size']:.0f} of {row['size']}" if "size" in row else text
            ax.hlines(y, *ends[1:], color=style.INK, linewidth=0.9)
            ax.plot(row[x], y, "o", color=style.INK)
        style.margin(ax, y, text, -0.35 if bold else 1.02, weight="bold" if bold else "normal")
    pairs = rows[rows["benchmark"].isin(_PAIRS)]
    ax.plot(pairs[x], [*map(lines.index, pairs.index)], **_RING)
    label = "share of " + ("tables" if "gates" in names else "models × benchmarks")
    label, low = (label, 0) if x == "share" else (r"rank correlation $\rho$", -1)
    ax.set(title=title, xlabel=label, xlim=(low - 0.05, 1.05), ylim=(len(lines) - 0.5, -0.5))
    ax.set_xticks([low, (low + 1) / 2, 1])
    ax.tick_params(axis="y", length=0)
    ax.spines["left"].set_visible(False)
