"""How much does a profile of decisions depend on how it is measured?

Studies with one choice changed: ``estimator``, BATCH against the exact solver, of the first model;
``alone``, the absent modality masked against resampled; ``mask``, by the mean of all tokens, or by
tokens of another sample, instead of noise; ``options``, for models trained on questions that list
their candidates: the picture with options hidden (``vision``, ``vision#1``) or visible.
"""

import time
from collections.abc import Iterator
from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np
import pandas as pd

from pidlib._common import derive_seed
from pidlib.decomposition.batch import batch_pid
from pidlib.decomposition.decisions import decision_pid
from pidlib.experiments import ATOMS, Preset, decision_profiles, declare, style, validate
from pidlib.experiments.decision_profiles import mode_profiles
from pidlib.experiments.extractions import Extracted, Query, Request, extract_all
from pidlib.experiments.statistics import normal_interval
from pidlib.experiments.truths import atom_rows
from pidlib.extraction import FULL, OPTIONS, SOURCES, Extraction, drawn
from pidlib.profiles.modes import measure_decisions

EXPERIMENT = "vision_language"
# The ends of the published range: 10 steps of 256 samples, 80 of 64.
TRAINING = ({"epochs": 10, "batch_size": 256}, {"epochs": 20, "batch_size": 64})
N_SEEDS = 3  # of BATCH
VISION_PASSES = ("vision", "vision#1", OPTIONS)

COLUMNS = declare("study mask", ATOMS, "epochs batch_size seconds ratio fallback", required="study")


def requests(preset: Preset) -> list[Request]:
    """The queries of profiles of decisions, of other masks, and of questions with `options`."""
    source = preset.split, preset.n_samples, preset.seed
    passes = (FULL, *SOURCES, *VISION_PASSES[1:])
    mean = Query(*source, passes[:3], mask="mean")  # one draw is as another
    swapped = Query(*source, drawn(passes[:3], preset.draws), mask="swapped")
    masked = [Request(preset.models, preset.benchmarks, (query,)) for query in (mean, swapped)]
    options = Query(*source, passes, options=True)
    listed = Request(preset.options_models, preset.benchmarks, (options,))
    return [decision_profiles.request(preset), listed, *masked]


def measure(preset: Preset) -> pd.DataFrame:
    """Atoms of all studies; ``seconds`` are CPU time, ``ratio`` that to the exact solver."""
    profiled, listed, *masked = requests(preset)
    tables = []
    for (answer,) in extract_all(preset, profiled):
        tables += [rows.assign(study="alone") for rows in mode_profiles(preset, answer, EXPERIMENT)]
    for (answer,) in extract_all(preset, profiled._replace(models=preset.models[:1])):
        tables += _compare_estimators(preset, answer)
    for (answer,) in extract_all(preset, listed):
        tables += _compare_passes(preset, answer)
    for request in masked:
        mask = request.queries[0].mask
        for (answer,) in extract_all(preset, request):
            rows = _decomposed(preset, answer, answer.extraction)
            tables.append(rows.assign(source_a="vision", study="mask", mask=mask))
    return validate(pd.concat(tables).assign(source_b="language"), COLUMNS)


def _decomposed(
    preset: Preset, answer: Extracted, extraction: Extraction, **identified: str
) -> pd.DataFrame:
    """Atoms of the masked decisions of an extraction, with the columns of the answer."""
    settings = {"n_halves": preset.n_halves, "seed": preset.seed}
    decisions = extraction.masked(preset.tau)
    rows = measure_decisions(decisions, **settings, device=preset.device).rows
    columns = answer.row_columns(EXPERIMENT, **identified, tau=preset.tau, **settings)
    return rows.assign(estimator="exact", unimodal="masked", seed=preset.seed, **columns)


def _compare_estimators(preset: Preset, answer: Extracted) -> Iterator[pd.DataFrame]:
    decisions = answer.extraction.masked(preset.tau)
    shared = {"study": "estimator", "source_a": "vision", "unimodal": "masked"}
    start = time.process_time()
    solved = decision_pid(decisions, device=preset.device).pid
    exact = time.process_time() - start
    columns = answer.row_columns(EXPERIMENT, tau=preset.tau) | {"seconds": exact, "ratio": 1.0}
    columns |= {"estimator": "exact", "seed": preset.seed}
    yield atom_rows(solved).assign(**shared, **columns)
    for training, repeat in product(TRAINING, range(N_SEEDS)):
        # With a batch of all samples, all batches are the same.
        n_batches = preset.n_batches if training["batch_size"] < len(decisions) else 1
        seed = derive_seed(preset.seed, "BATCH", repeat)
        settings = training | {"n_batches": n_batches, "seed": seed}
        start = time.process_time()
        batch = batch_pid(decisions, embeddings=answer.extraction.embeddings, **settings)
        seconds = time.process_time() - start
        rows = pd.DataFrame({"value_bits": batch.atoms}).reset_index(names="atom")
        spread = rows["atom"].map(batch.spread)
        rows["ci_low"], rows["ci_high"] = normal_interval(rows["value_bits"], spread)
        columns = answer.row_columns(EXPERIMENT, tau=preset.tau, **settings) | training
        columns |= {"estimator": "BATCH", "seed": repeat, "seconds": seconds}
        yield rows.assign(**shared, **columns, ratio=seconds / exact)


def _compare_passes(preset: Preset, answer: Extracted) -> Iterator[pd.DataFrame]:
    whole = answer.extraction
    for key in VISION_PASSES:
        passes = {FULL: FULL, "vision": key, "language": "language"}
        logits, normalizer = (
            {name: each[of] for name, of in passes.items()}
            for each in (whole.logits, whole.log_normalizer)
        )
        part = replace(whole, logits=logits, log_normalizer=normalizer)
        rows = _decomposed(preset, answer, part, source=key)
        fallback = part.fallback("vision", preset.tau)
        yield rows.assign(study="options", source_a=key, fallback=fallback)


_KEYS = ["benchmark", "model", "atom"]
_OFFSETS = dict(zip(style.VISION_LANGUAGE, (-0.3, -0.1, 0.1, 0.3), strict=True))
_PANELS = {"mask": "other mask $-$ noise", "absent modality": "masked $-$ resampled"}
_PANELS |= {"listed options": "visible $-$ hidden"}


def alternatives(table: pd.DataFrame) -> pd.DataFrame:
    """How far other passes are from noise, with options hidden; the share of intervals beyond 0."""
    alone, other, listed = (table[table["study"] == name] for name in ("alone", "mask", "options"))
    parts = {**dict(list(other.groupby("mask"))), **dict(list(alone.groupby("unimodal")))}
    noise, rows = parts.pop("masked"), {}
    hidden, *passes = (listed[listed["source_a"] == key] for key in VISION_PASSES)
    parts |= dict(zip(("another draw", "visible options"), passes, strict=True))
    for name, part in parts.items():
        apart = _difference(part, noise if part["study"].ne("options").all() else hidden).dropna()
        width, beyond = apart["high"] - apart["low"], (apart["low"] > 0) | (apart["high"] < 0)
        rows[name] = apart["difference"].abs().mean(), width.mean() / 2, beyond.mean(), len(apart)
    return pd.DataFrame(rows, ["difference_bits", "half_width_bits", "beyond", "n"]).T


def figure(table: pd.DataFrame) -> style.Figure:
    """The difference that each choice makes to each atom, a panel for each study."""
    benchmarks, models = list(table["benchmark"].unique()), list(table["model"].unique())
    result = style.page(0.4 * len(benchmarks) + 1.1)
    axes = result.subplots(1, 3, sharey=True)
    for ax, (title, label) in zip(axes, _PANELS.items(), strict=True):
        ax.set_title(title)
        ax.set_xlabel(f"{label} (bits)")
        ax.axvline(0, color=style.INK, linewidth=0.6, zorder=1)
        look = {"color": "#e4e4e4", "linewidth": 0.5, "transform": ax.get_yaxis_transform()}
        ax.hlines(np.arange(len(benchmarks) - 1) + 0.5, 0, 1, **look)
        ax.grid(visible=False)
        ax.grid(visible=True, axis="x")
        ax.tick_params(axis="y", length=0)
    axes[0].set_yticks(range(len(benchmarks)), map(style.benchmark_name, benchmarks))
    axes[0].set_ylim(len(benchmarks) - 0.5, -0.5)
    alone, listed = (table[table["study"] == name] for name in ("alone", "options"))
    masked, resampled = (alone[alone["unimodal"] == mode] for mode in ("masked", "resampled"))
    hidden, noise, visible = (listed[listed["source_a"] == key] for key in VISION_PASSES)
    panels = (masked, resampled, None), (visible, hidden, _difference(noise, hidden))
    handles = [*style.model_handles(models), *_draw_masks(axes[0], table, benchmarks)]
    for ax, (rows, reference, redrawn) in zip(axes[1:], panels, strict=True):
        _draw_differences(ax, _difference(rows, reference), redrawn, benchmarks, models)
    atoms = [*style.atom_points(), style.null_handle("another draw of the noise")]
    result.legend(handles=atoms, loc="outside upper center", ncols=5, columnspacing=1)
    result.legend(handles=handles, loc="outside lower center", ncols=3)
    return result


def _difference(rows: pd.DataFrame, reference: pd.DataFrame) -> pd.DataFrame:
    """Differences of atoms with intervals as if both were independent: in quadrature."""
    rows, reference = (each.assign(bits=style.best(each)) for each in (rows, reference))
    both = rows.merge(reference, on=_KEYS, suffixes=("", "_reference"))
    (value, low, high), (old, old_low, old_high) = (
        [style.floats(both[name + suffix]) for name in ("bits", "ci_low", "ci_high")]
        for suffix in ("", "_reference")
    )
    return both[_KEYS].assign(
        difference=value - old,
        low=value - old - np.hypot(value - low, old_high - old),
        high=value - old + np.hypot(high - value, old - old_low),
    )


def _draw_differences(
    ax: style.Axes, rows: pd.DataFrame, redrawn: pd.DataFrame | None, names: list, models: list
) -> None:
    """Draw differences of atoms, in front of those that another draw of the noise makes."""
    present = [model for model in models if model in set(rows["model"])]
    redrawn = {} if redrawn is None else redrawn.set_index(_KEYS)["difference"]
    height = 0.15 / len(present) if present else 0
    for row in rows.itertuples():
        offset = (present.index(row.model) - (len(present) - 1) / 2) * height
        y = names.index(row.benchmark) + _OFFSETS[row.atom] + offset
        width = redrawn.get((row.benchmark, row.model, row.atom), np.nan)
        ax.barh(y, width, height, color=style.NULL, linewidth=0, zorder=1.5)
        _draw_point(ax, row, y, style.MARKERS[models.index(row.model)])


def _draw_masks(ax: style.Axes, table: pd.DataFrame, benchmarks: list[str]) -> list[style.Artist]:
    """Draw the mean and range over models of each mask; return legend entries with its effect."""
    noise = table[(table["study"] == "alone") & (table["unimodal"] == "masked")]
    other, effects = table[table["study"] == "mask"], alternatives(table)
    handles = []
    for index, (mask, part) in enumerate(other.groupby("mask")):
        face = None if index else "white"
        cells = _difference(part, noise).groupby(["benchmark", "atom"], sort=False)["difference"]
        for row in cells.agg(difference="mean", low="min", high="max").reset_index().itertuples():
            y = benchmarks.index(row.benchmark) + _OFFSETS[row.atom] + (index - 0.5) * 0.09
            _draw_point(ax, row, y, "o", face)
        bits, _, beyond, _ = effects.loc[mask]
        label = f"mask: {mask}, {bits:.2f} bits off noise, {beyond:.0%} beyond interval"
        look = {"marker": "o", "markeredgecolor": style.INK, "color": face or style.FAINT}
        handles.append(style.handle(label, **look))
    return handles


def _draw_point(ax: style.Axes, row: Any, y: float, marker: str, face: str | None = None) -> None:
    """Draw a difference with its range, in the color of its atom, or outlined in it on `face`."""
    color = style.COLORS[row.atom]
    ax.hlines(y, row.low, row.high, color=color, linewidth=0.7, zorder=3)
    edge, width = (color, 0.6) if face else (style.INK, 0.3)
    look = {"color": face or color, "markeredgecolor": edge, "markeredgewidth": width}
    style.points(ax, [row.difference], [y], marker, markersize=3, zorder=4, **look)
