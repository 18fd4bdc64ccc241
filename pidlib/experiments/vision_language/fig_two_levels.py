r"""Why do decisions and embeddings disagree on the amount of synergy?

Steps from the decisions of a model to codes of its embeddings, one change at a time. Sources:
``samples``, decisions whose alphabets are the samples; the latent ``states`` of a generated
benchmark; a linear ``probe`` of these states; k-means ``codes`` of the same embeddings. Targets:
the ``decision``, the likeliest candidate :math:`\hat y`; and a code of h, the last ``state`` at the
answer.
"""

import warnings
from collections.abc import Iterator, Mapping

import numpy as np
import pandas as pd
from jaxtyping import Int
from scipy.stats import entropy

from pidlib.benchmarks import micro
from pidlib.decomposition.estimate import estimate
from pidlib.experiments import Extracted, Preset, Request, decision_profiles, extract_all, style
from pidlib.experiments.decision_profiles import CODES, ESTIMATION, embedding_codes, mode_profiles
from pidlib.experiments.tables import ATOMS, declare, validate
from pidlib.extraction import SOURCES, Extraction

Sources = tuple[Int[np.ndarray, " n"], Int[np.ndarray, " n"]]
States = tuple[Sources, Sources] | None  # of the samples for codebooks, and to profile
# Sources and targets, in the order of the figure.
_PATH = [(sources, "decision") for sources in ("samples", "states", "probe", "codes")]
_PATH += [("codes", "state"), ("states", "state")]
_SHOWN = {"synergy": -0.16, "unique_language": 0.16}  # atoms and their side of a step
COLUMNS = declare("sources target", ATOMS, "target_bits", required="sources target target_bits")


def requests(preset: Preset) -> list[Request]:
    """Decisions, and states at the answer position for the codebooks and to profile."""
    decisions = decision_profiles.request(preset)
    embeddings = decision_profiles.embedding_request(preset)
    return [decisions._replace(queries=(*decisions.queries, *embeddings.queries))]


def measure(preset: Preset) -> pd.DataFrame:
    """Atoms of every step, with ``n_clusters`` codes and twice as many, and H(Y)."""
    tables = []
    for decided, fitted, applied in extract_all(preset, *requests(preset)):
        profiles = mode_profiles(preset, decided, "vision_language")
        for unimodal, rows in zip(preset.unimodal, profiles, strict=True):
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
    pair, states = (fitted.extraction, applied.extraction), None
    if applied.columns["benchmark"].startswith("micro/"):
        states = tuple(_states(answer.columns, preset.seed) for answer in (fitted, applied))
    coded = steps(*pair, preset.n_clusters, states, preset.tau, preset.seed)
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
    """Synergy and unique information of language as shares of the target's entropy, by step."""
    models, benchmarks = list(table["model"].unique()), list(table["benchmark"].unique())
    table = table.assign(bits=table["corrected_bits"].fillna(table["value_bits"]))
    shares = ["bits", "ci_low", "ci_high", "null_mean"]
    table[shares] = table[shares].div(table["target_bits"].where(table["target_bits"] > 0), axis=0)
    ladder = by_step(table)
    after = [x for x, label in enumerate(ladder) if label.startswith("states") and "$h$" in label]
    layout = {"ylabel": "share of $H(Y)$", "sharex": True, "sharey": True}
    figure, panels = style.benchmark_panels(benchmarks, 1.25, 1.4, **layout)
    for benchmark, ax in panels.items():
        for x in after[:1]:
            ax.axvline(x - 0.5, color=style.FAINT, linewidth=0.6)
        _draw_ladder(ax, [step[step["benchmark"] == benchmark] for step in ladder.values()], models)
    look = {"rotation": 90, "va": "top", "ha": "center", "fontsize": 7.5}
    for ax in list(panels.values())[-3:]:
        ax.set_xticks(range(len(ladder)))
        place = ax.get_subplotspec()
        for x, label in enumerate(ladder):  # above an empty cell, without space of its own
            text = ax.text(x, -0.06, label, transform=ax.get_xaxis_transform(), **look)
            text.set_in_layout(place.is_last_row())
    for ax in figure.axes:
        ax.tick_params(labelbottom=False)
    look = {"color": style.FAINT, "linewidth": 1, "linestyle": "-"}
    total = style.handle("all four atoms, mean", drawstyle="steps-mid", **look)
    handles = [*style.atom_points(list(_SHOWN)), total, style.null_handle("null")]
    handles += style.model_handles(models)
    figure.legend(handles=handles, loc="outside upper center", ncols=min(4 + len(models), 7))
    return figure


def by_step(table: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """The rows of each step by its label, in the order of the figure."""
    ladder = {}
    for sources, target in _PATH:
        rows = table[(table["sources"] == sources) & (table["target"] == target)]
        decided = sources == "samples"
        named = rows.groupby("unimodal" if decided else "n_codes", dropna=False, sort=not decided)
        for key, step in named:
            source = f"{key} codes" if sources == "codes" else sources
            end = r"$\to\hat y$" if target == "decision" else rf"$\to {key}$ of $h$"
            ladder[key if decided else f"{source} {end}"] = step
    return ladder


def _draw_ladder(ax: style.Axes, ladder: list[pd.DataFrame], models: list[str]) -> None:
    ax.axhline(0, color=style.INK, linewidth=0.6, zorder=1)
    ax.tick_params(axis="x", length=0)
    ax.set_xlim(-0.6, len(ladder) - 0.4)
    width = 0.3 / len(models)
    for x, step in enumerate(ladder):
        if step.empty:
            continue
        total = step.groupby("model")["bits"].sum().mean()
        ax.hlines(total, x - 0.42, x + 0.42, color=style.FAINT, linewidth=1, zorder=2)
        for index, model in enumerate(models):
            for atom, side in _SHOWN.items():
                row = step[(step["model"] == model) & (step["atom"] == atom)]
                place = [x + side + (index - (len(models) - 1) / 2) * width] * len(row)
                color = style.COLORS[atom]
                style.null_band(ax, place, row["null_mean"], width)
                style.interval(ax, place, row["ci_low"], row["ci_high"], color=color)
                look = {"color": color, "markersize": 2.6, "markeredgewidth": 0.3}
                style.points(ax, place, row["bits"], style.MARKERS[index], **look)
