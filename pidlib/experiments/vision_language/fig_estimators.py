"""How much does a profile of decisions depend on how it is measured?

Three studies, each with one choice changed:

- ``estimator``: BATCH against the exact solver, on the masked decisions of the first model;
- ``alone``: the absent modality masked against resampled, both by the exact solver;
- ``options``: for models trained on questions that list their candidates, the picture with question
  and options hidden (``vision``, and with another draw of the noise, ``vision#1``), or with the
  options visible (``vision+options``).
"""

import time
from collections.abc import Iterator
from itertools import product

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from pidlib._common import derive_seed
from pidlib.decomposition.batch import batch_pid
from pidlib.decomposition.decisions import Decisions, decision_pid
from pidlib.experiments import decision_profiles, style
from pidlib.experiments.decision_profiles import decision_profile
from pidlib.experiments.extractions import Extracted, Query, Request, extractions
from pidlib.experiments.preset import Preset
from pidlib.experiments.statistics import normal_interval
from pidlib.experiments.tables import ATOMS, Columns, of_type, validate
from pidlib.extraction.masking import FULL, OPTIONS, SOURCES
from pidlib.profiles.modes import measure_decisions

EXPERIMENT = "vision_language"
# The ends of the published range: 10 steps of 256 samples, 80 of 64.
TRAINING = ({"epochs": 10, "batch_size": 256}, {"epochs": 20, "batch_size": 64})
N_SEEDS = 3  # of BATCH
MAX_DRAWS = 30  # bootstrap draws, at most; fig_profiles has those of the preset
VISION_PASSES = ("vision", "vision#1", OPTIONS)

COLUMNS = Columns(
    {
        "study": "string",
        **ATOMS.types,
        **of_type("Int64", "epochs", "batch_size"),
        **of_type("Float64", "seconds", "ratio", "fallback"),
    },
    required=("study", *ATOMS.required),
)


def requests(preset: Preset) -> list[Request]:
    """The queries of the profiles of decisions; of questions with options, those of `options`."""
    passes = (FULL, *SOURCES, *VISION_PASSES[1:])
    query = Query(preset.split, preset.n_samples, preset.seed, passes, options=True)
    listed = Request(preset.options_models, preset.benchmarks, (query,))
    return [decision_profiles.request(preset), listed]


def measure(preset: Preset) -> pd.DataFrame:
    """Atoms of all three studies.

    ``fallback`` is that of the vision row of the study ``options``. ``seconds``, and the ``ratio``
    to those of the exact solver, are CPU time on the machine that wrote the table.
    """
    profiled, listed = requests(preset)
    first = profiled._replace(models=preset.models[:1])
    studies = ((_compare_modes, profiled), (_compare_estimators, first), (_compare_passes, listed))
    tables = [
        table
        for study, request in studies
        for (answer,) in extractions(preset, request)
        for table in study(preset, answer)
    ]
    table = pd.concat(tables, ignore_index=True).assign(source_b="language")
    return validate(table, COLUMNS)


def _compare_modes(preset: Preset, answer: Extracted) -> Iterator[pd.DataFrame]:
    settings = {"tau": preset.tau, "seed": preset.seed}
    settings["n_bootstrap"] = min(MAX_DRAWS, preset.n_bootstrap)
    for unimodal in preset.unimodal:
        columns = answer.row_columns(EXPERIMENT, unimodal=unimodal, **settings)
        yield decision_profile(
            answer.extraction, unimodal=unimodal, study="alone", **settings, **columns
        )


def _compare_estimators(preset: Preset, answer: Extracted) -> Iterator[pd.DataFrame]:
    decisions = answer.extraction.masked(preset.tau)
    shared = {"study": "estimator", "source_a": "vision", "unimodal": "masked"}
    start = time.process_time()
    solved = decision_pid(decisions).pid
    exact = time.process_time() - start
    columns = {"estimator": "exact", "seed": preset.seed, "converged": solved.converged}
    columns |= {"seconds": exact, "ratio": 1.0} | answer.row_columns(EXPERIMENT, tau=preset.tau)
    rows = pd.DataFrame({"atom": solved.atoms.keys(), "value_bits": solved.atoms.values()})
    rows[["lower_bits", "upper_bits"]] = list(solved.bounds.values())
    yield rows.assign(**shared, **columns)
    for training, repeat in product(TRAINING, range(N_SEEDS)):
        # With a batch of all samples, all batches are the same.
        n_batches = preset.n_batches if training["batch_size"] < len(decisions) else 1
        seed = derive_seed(preset.seed, "BATCH", repeat)
        settings = training | {"n_batches": n_batches, "seed": seed}
        start = time.process_time()
        batch = batch_pid(decisions, embeddings=answer.extraction.embeddings, **settings)
        seconds = time.process_time() - start
        rows = pd.DataFrame({"value_bits": batch.unclamped}).reset_index(names="atom")
        ends = normal_interval(rows["value_bits"], rows["atom"].map(batch.spread))
        columns = training | {"estimator": "BATCH", "seed": repeat}
        columns |= {"seconds": seconds, "ratio": seconds / exact}
        columns |= dict(zip(("ci_low", "ci_high"), ends, strict=True))
        columns |= answer.row_columns(EXPERIMENT, tau=preset.tau, **settings)
        yield rows.assign(**shared, **columns)


def _compare_passes(preset: Preset, answer: Extracted) -> Iterator[pd.DataFrame]:
    settings = {"n_bootstrap": min(MAX_DRAWS, preset.n_bootstrap), "seed": preset.seed}
    extraction = answer.extraction
    joint, language = (extraction.decisions(key, preset.tau) for key in (FULL, "language"))
    for key in VISION_PASSES:
        sources = {"vision": extraction.decisions(key, preset.tau), "language": language}
        columns = {"study": "options", "source_a": key, "unimodal": "masked", "estimator": "exact"}
        columns |= {"seed": preset.seed, "fallback": extraction.fallback(key, preset.tau)}
        columns |= answer.row_columns(EXPERIMENT, source=key, tau=preset.tau, **settings)
        rows = measure_decisions(Decisions(joint=joint, sources=sources), **settings).rows
        yield rows.assign(**columns)


_KEYS = ["benchmark", "model", "atom"]
_OFFSETS = dict(zip(style.VISION_LANGUAGE, (-0.3, -0.1, 0.1, 0.3), strict=True))
_PANELS = {
    "estimator": "BATCH $-$ exact",
    "absent modality": "masked $-$ resampled",
    "listed options": "visible $-$ hidden",
}


def figure(table: pd.DataFrame) -> Figure:
    """The difference that each choice makes to each atom, a panel for each study."""
    benchmarks, models = list(table["benchmark"].unique()), list(table["model"].unique())
    result = Figure(figsize=(style.PAGE, 0.4 * len(benchmarks) + 1.1))
    axes = result.subplots(1, 3, sharey=True)
    for ax, (title, label) in zip(axes, _PANELS.items(), strict=True):
        ax.set_title(title)
        ax.set_xlabel(f"{label} (bits)")
        ax.axvline(0, color=style.INK, linewidth=0.6, zorder=1)
        look = {"color": "#e4e4e4", "linewidth": 0.5, "transform": ax.get_yaxis_transform()}
        ax.hlines(np.arange(len(benchmarks) - 1) + 0.5, 0, 1, **look)
        ax.grid(visible=True, axis="x")
        ax.grid(visible=False, axis="y")
        ax.tick_params(axis="y", length=0)
    axes[0].set_yticks(range(len(benchmarks)), map(style.benchmark_name, benchmarks))
    axes[0].set_ylim(len(benchmarks) - 0.5, -0.5)
    trained = _draw_batch(axes[0], table[table["study"] == "estimator"], benchmarks)
    names = benchmarks, models
    alone, listed = table[table["study"] == "alone"], table[table["study"] == "options"]
    masked, resampled = (alone[alone["unimodal"] == mode] for mode in ("masked", "resampled"))
    floor = masked.assign(difference=masked["null_mean"])
    _draw_differences(axes[1], _difference(masked, resampled), floor, *names)
    hidden, noise, visible = (listed[listed["source_a"] == key] for key in VISION_PASSES)
    _draw_differences(axes[2], _difference(visible, hidden), _difference(noise, hidden), *names)
    handles = style.atom_points()
    handles.append(style.null_handle("noise: its floor when masked; another draw of it"))
    result.legend(handles=handles, loc="outside upper center", ncols=5, columnspacing=1)
    handles = [*style.model_handles(models), *trained]
    result.legend(handles=handles, loc="outside lower center", ncols=3)
    return result


def _difference(rows: pd.DataFrame, reference: pd.DataFrame) -> pd.DataFrame:
    """Differences of atoms with intervals as if both were independent: in quadrature."""
    both = rows.merge(reference, on=_KEYS, suffixes=("", "_reference"))
    (value, low, high), (old, old_low, old_high) = (
        [style.floats(both[name + suffix]) for name in ("value_bits", "ci_low", "ci_high")]
        for suffix in ("", "_reference")
    )
    return both[_KEYS].assign(
        difference=value - old,
        low=value - old - np.hypot(value - low, old_high - old),
        high=value - old + np.hypot(high - value, old - old_low),
    )


def _draw_differences(
    ax: Axes, rows: pd.DataFrame, null: pd.DataFrame, benchmarks: list[str], models: list[str]
) -> None:
    present = [model for model in models if model in set(rows["model"])]
    null = null.set_index(_KEYS)["difference"]
    for row in rows.itertuples():
        offset = (present.index(row.model) - (len(present) - 1) / 2) * 0.15 / len(present)
        y = benchmarks.index(row.benchmark) + _OFFSETS[row.atom] + offset
        width = null.get((row.benchmark, row.model, row.atom), np.nan)
        ax.barh(y, width, 0.15 / len(present), color=style.NULL, linewidth=0, zorder=1.5)
        ax.hlines(y, row.low, row.high, color=style.COLORS[row.atom], linewidth=0.7, zorder=3)
        _draw_point(ax, row.difference, y, row.atom, style.MARKERS[models.index(row.model)])


def _draw_batch(ax: Axes, rows: pd.DataFrame, benchmarks: list[str]) -> list[Line2D]:
    """Draw the mean and range over seeds of each training; return legend entries with its cost."""
    exact, batch = (rows[rows["estimator"] == name] for name in ("exact", "BATCH"))
    if batch.empty:
        return []
    merged = batch.merge(exact[[*_KEYS, "value_bits"]], on=_KEYS, suffixes=("", "_exact"))
    merged["difference"] = merged["value_bits"] - merged["value_bits_exact"]
    handles = []
    for index, ((epochs, size), part) in enumerate(merged.groupby(["epochs", "batch_size"])):
        face = None if index else "white"
        seeds = part.groupby(_KEYS, sort=False)["difference"].agg(["mean", "min", "max"])
        for row in seeds.reset_index().itertuples():
            y = benchmarks.index(row.benchmark) + _OFFSETS[row.atom] + (index - 0.5) * 0.09
            ax.hlines(y, row.min, row.max, color=style.COLORS[row.atom], linewidth=0.7, zorder=3)
            _draw_point(ax, row.mean, y, row.atom, "o", face)
        ratio = f"{part['ratio'].median():.0f} times exact's CPU"
        label = f"BATCH, {epochs} epochs of {size}: {ratio}"
        look = {"linestyle": "", "marker": "o", "markeredgecolor": style.INK}
        handles.append(Line2D([], [], color=face or style.FAINT, label=label, **look))
    return handles


def _draw_point(
    ax: Axes, x: float, y: float, atom: str, marker: str, face: str | None = None
) -> None:
    """Draw a marker filled with the color of its atom, or with `face` and outlined by it."""
    color = style.COLORS[atom]
    edge, width = (color, 0.6) if face else (style.INK, 0.3)
    look = {"markerfacecolor": face or color, "markeredgecolor": edge, "markeredgewidth": width}
    ax.plot([x], [y], marker, markersize=3, zorder=4, clip_on=False, **look)
