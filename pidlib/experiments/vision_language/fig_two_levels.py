r"""Why do decisions and embeddings disagree on the amount of synergy?

Steps from decisions to codes of embeddings, one change at a time. Sources: the ``samples``; the
latent ``states`` of a generated benchmark; a linear ``probe`` of these; k-means ``codes`` of the
embeddings. Targets: the ``decision``, the likeliest candidate; a code of the last ``state``.
"""

import warnings
from collections.abc import Iterator, Mapping
from textwrap import fill

import numpy as np
import pandas as pd
from jaxtyping import Int
from scipy.stats import entropy

from pidlib.benchmarks import micro
from pidlib.decomposition.estimate import estimate
from pidlib.experiments import Extracted, Preset, Request, extract_all, style, words
from pidlib.experiments import decision_profiles as profiles
from pidlib.experiments.decision_profiles import CODES, ESTIMATION, embedding_codes, mode_profiles
from pidlib.experiments.population import benchmark_kind
from pidlib.experiments.tables import ATOMS, declare, validate
from pidlib.extraction import SOURCES, Extraction

Sources = tuple[Int[np.ndarray, " n"], Int[np.ndarray, " n"]]
States = tuple[Sources, Sources] | None  # of the samples for codebooks, and to profile
_PATH = [(sources, "decision") for sources in ("samples", "states", "probe", "codes")]
_PATH += [("codes", "state"), ("states", "state")]  # sources and targets, as in the figure
_NAMES = {"states": "true states", "probe": "linear probe"}
_LOST = {"color": style.COLORS["synergy"], "linewidth": 2, "alpha": 0.4, "zorder": 1.2}
_SHOWN = 3  # benchmarks in the figure
_LEVELS = r"decisions, resampled|codes of embeddings → .* last state"  # of both papers
_LOSSES = {"probe": "read off embeddings", "codes": "coded"}  # by part of a label
_WORDS = """true states: what picture and question say; linear probe: these as read off embeddings
codes: clusters; last row: a check, synergy of the true states about the last target"""
_SHARES = ["value", "ci_low", "ci_high", "null_mean"]
COLUMNS = declare("sources target", ATOMS, "target_bits", required="sources target target_bits")


def requests(preset: Preset) -> list[Request]:
    """Decisions, and states at the answer position for the codebooks and to profile."""
    decisions, embeddings = profiles.request(preset), profiles.embedding_request(preset)
    return [decisions._replace(queries=(*decisions.queries, *embeddings.queries))]


def measure(preset: Preset) -> pd.DataFrame:
    """Atoms of every step, with ``n_clusters`` codes and twice as many, and H(Y)."""
    tables = []
    for decided, fitted, applied in extract_all(preset, *requests(preset)):
        by_mode = mode_profiles(preset, decided, "vision_language")
        for unimodal, rows in zip(preset.unimodal, by_mode, strict=True):
            bits = entropy(getattr(decided.extraction, unimodal)(preset.tau).target, base=2)
            tables.append(rows.assign(sources="samples", target="decision", target_bits=bits))
        tables += _code_rows(preset, fitted, applied)
    return validate(pd.concat(tables, ignore_index=True), COLUMNS)


def steps(
    fitted: Extraction, applied: Extraction, n_clusters: int, states: States, tau: float, seed: int
) -> dict[tuple[str, str, int | None], tuple[Int[np.ndarray, " n"], ...]]:
    """Codes (x1, x2, y) by sources, target and number of codes, fitted on other samples."""
    decision = applied.decisions(tau=tau).argmax(1)
    result = {}
    if states is not None:
        pooled = ([each.embeddings[name] for name in SOURCES] for each in (fitted, applied))
        result["states", "decision", None] = (*states[1], decision)
        result["probe", "decision", None] = (*map(probe, *pooled, states[0]), decision)
    for k in (n_clusters, 2 * n_clusters):  # of twice as many, some may occur in `fitted` only
        *sources, state = embedding_codes(fitted, applied, k, seed, allow_degenerate=k > n_clusters)
        result["codes", "decision", k] = (*sources, decision)
        result["codes", "state", k] = (*sources, state)
        if states is not None:
            result["states", "state", k] = (*states[1], state)
    return result


def probe(fitted: np.ndarray, applied: np.ndarray, states: np.ndarray) -> Int[np.ndarray, " m"]:
    """States of m samples by their embeddings, with a linear discriminant fitted on n others."""
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    if len(np.unique(states)) == 1:
        return np.full(len(applied), states[0])
    discriminant = make_pipeline(StandardScaler(), LinearDiscriminantAnalysis())
    return discriminant.fit(fitted, states).predict(applied)


def _code_rows(preset: Preset, fitted: Extracted, applied: Extracted) -> Iterator[pd.DataFrame]:
    settings = preset.model_dump(include=ESTIMATION)
    others = {"fitted": fitted.columns["fingerprint"], "tau": preset.tau, **settings}
    states, options = None, (preset.tau, preset.seed)
    if applied.columns["benchmark"].startswith("micro/"):
        states = tuple(_states(answer.columns, preset.seed) for answer in (fitted, applied))
    coded = steps(fitted.extraction, applied.extraction, preset.n_clusters, states, *options)
    for (sources, target, k), labels in coded.items():
        step = {"sources": sources, "target": target, "n_codes": k}
        columns = applied.row_columns("vision_language", **step, **others)
        with warnings.catch_warnings(action="ignore", category=UserWarning):  # too many codes
            rows = pd.DataFrame(estimate(*labels, **settings).rows())
        columns |= step | CODES | {"seed": preset.seed}
        columns["layer"] = applied.extraction.layers[-1] if target == "state" else None
        yield rows.assign(**columns, target_bits=entropy(np.bincount(labels[-1]), base=2))


def _states(columns: Mapping[str, str | int], seed: int) -> Sources:
    """The numbered latent states of picture and question of a micro benchmark."""
    task = columns["benchmark"].removeprefix("micro/")
    drawn = zip(*micro.states(task, columns["split"], columns["n_samples"], seed), strict=True)
    known = (list(dict.fromkeys(side)) for side in zip(*micro.TASKS[task].law, strict=True))
    return tuple(np.array([*map(k.index, side)]) for k, side in zip(known, drawn, strict=True))


def figure(table: pd.DataFrame) -> style.Figure:
    """Synergy as a share of the target's entropy by step, where most is lost."""
    return _drawn(style.page(4.0), table, wide=True)


def column(table: pd.DataFrame) -> style.Figure:
    """`figure` with its panels below each other."""
    return _drawn(style.column(7.6), table, wide=False)


def by_step(table: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """The rows of each step by its label, in the order of the figure."""
    ladder = {}
    for sources, target in _PATH:
        rows = table[(table["sources"] == sources) & (table["target"] == target)]
        decided = sources == "samples"
        named = rows.groupby("unimodal" if decided else "n_codes", dropna=False, sort=not decided)
        for key, step in named:
            source = f"{key} codes of embeddings" if sources == "codes" else _NAMES.get(sources)
            end = "answer" if target == "decision" else f"{key} codes of last state"
            ladder[f"decisions, {key}" if decided else f"{source} → {end}"] = step
    return ladder


def _losses(table: pd.DataFrame) -> list[pd.DataFrame]:
    """Mean shares of synergy by step on the synergy-driven benchmarks that lose most of it."""
    few = table["n_codes"].isna() | (table["n_codes"] == table["n_codes"].min())
    names = table["benchmark"].unique()
    driven = [name for name in names if benchmark_kind(name) == "synergy-driven"]
    table = table[few & table["benchmark"].isin(driven or names)].assign(value=style.best)
    entropy = table["target_bits"].where(table["target_bits"] > 0)
    table[_SHARES] = table[_SHARES].astype(float).div(entropy.astype(float), axis=0)
    panels = []
    for name, rows in table.groupby("benchmark", sort=False):
        parts = by_step(rows)
        mean = {k: p.loc[p["atom"] == "synergy", _SHARES].mean() for k, p in parts.items()}
        total = {k: part["value"].sum() / part["model"].nunique() for k, part in parts.items()}
        panel = pd.DataFrame(mean).T.assign(total=total, null_low=0.0)
        panel.index.name = style.benchmark_name(name)
        panels.append(panel.rename(columns={"null_mean": "null_high"}))
    loss = [np.nan_to_num(_largest_loss(panel).diff().min()) for panel in panels]
    return [panels[index] for index in np.argsort(loss, kind="stable")[:_SHOWN]]


def _largest_loss(panel: pd.DataFrame) -> pd.Series:
    """The shares of one entropy before and after the step where most is lost; empty if none is."""
    shares = panel.loc[panel.index.str.endswith("→ answer"), "value"].dropna()
    falls = shares.diff()
    if not (falls < 0).any():
        return shares[:0]
    end = shares.index.get_loc(falls.idxmin())
    return shares[end - 1 : end + 1]


def _title(panel: pd.DataFrame) -> str:
    """The benchmark, its synergy at both levels, and the largest loss for one target."""
    levels = panel.loc[panel.index.str.contains(_LEVELS), "value"].map(words.number)
    both = (f"{'all coded' if '→' in label else label} {bits}" for label, bits in levels.items())
    lines = [panel.index.name, "; ".join(both)]
    if len(loss := _largest_loss(panel)):
        step = next(text for part, text in _LOSSES.items() if part in loss.index[1])
        lines.append(f"lost when {step}: {' to '.join(map(words.number, loss))}")
    return "\n".join(lines)


def _drawn(figure: style.Figure, table: pd.DataFrame, wide: bool) -> style.Figure:
    lines, panels = [], _losses(table)
    shape = (1, len(panels)) if wide else (len(panels), 1)
    axes = figure.subplots(*shape, squeeze=False, sharex=not wide, sharey=wide).ravel()
    for label in max((list(panel.index) for panel in panels), key=len):
        group = f"target: {label.partition(' → ')[2] or 'decision'}"
        lines += [group] * (group not in lines) + [label]
    names = [line.removeprefix("decisions, ").partition(" → ")[0] for line in lines]
    y = np.arange(len(lines))
    for ax, known in zip(axes, panels, strict=True):
        panel = known.reindex(lines).assign(y=y)
        if len(loss := _largest_loss(known)):
            ax.plot(loss, panel.loc[loss.index, "y"], **_LOST)
        style.forest(ax, y, panel, 0.7, color=style.COLORS["synergy"], edgecolors=style.INK, s=11)
        look = {"markersize": 10 if wide else 6, "markeredgewidth": 1, "zorder": 1.5}
        style.points(ax, panel["total"], y, "|", **look)
        for label, row in known.iterrows():
            style.margin(ax, lines.index(label), words.interval(*row[_SHARES[:3]]))
        style.name_rows(ax, names)
        for text, line in zip(ax.get_yticklabels(), lines, strict=False):  # of the first column
            text.set(fontsize=7, weight="normal" if line in known.index else "bold")
        ax.set_title(_title(known), fontsize=7.5)
        ax.set_xlim(-0.06, 1.06)
        ax.grid(visible=True, axis="x")
        ax.tick_params("y", length=0, grid_alpha=0)
        if wide or ax is axes[-1]:
            ax.set_xlabel("share of the target’s entropy")
    checked = lines[-1].startswith("true states")
    note = "\n".join(fill(line, 130 if wide else 60) for line in _WORDS.splitlines() if checked)
    figure.supxlabel(note, fontsize=7, x=0.02, ha="left")
    total = style.handle(r"all atoms, $R+U_v+U_\ell+S$", marker="|", markersize=10, color=style.INK)
    null = style.null_handle("null of $S$, mean (decisions: none)")
    lost = style.line_handle("largest loss, the answer as target", **_LOST)
    line = style.line_handle("95 % intervals, ends averaged over minis")
    parts = *style.atom_points(["synergy"]), total, lost, line, null
    style.legend(figure, 3 if wide else 1, *parts, alignment="left")
    return figure
