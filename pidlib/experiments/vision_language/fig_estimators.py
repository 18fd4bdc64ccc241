"""How much does a profile of decisions depend on how it is measured?

Studies with one choice changed: ``estimator``, BATCH or the exact solver; ``alone``, the absent
modality masked or resampled; ``mask``, by the mean token or tokens of another sample, not noise;
``options``, the picture with listed candidates hidden (``vision``, ``vision#1``) or visible.
"""

import time
from collections.abc import Iterator
from dataclasses import replace
from itertools import product

import numpy as np
import pandas as pd

from pidlib._common import derive_seed
from pidlib.decomposition.batch import batch_pid
from pidlib.decomposition.decisions import decision_pid
from pidlib.experiments import ATOMS, Preset, decision_profiles, declare, style, validate
from pidlib.experiments.extractions import Extracted, Query, Request, extract_all
from pidlib.experiments.statistics import normal_interval
from pidlib.experiments.truths import atom_rows
from pidlib.extraction import FULL, OPTIONS, SOURCES, drawn
from pidlib.profiles.modes import measure_decisions

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
        modes = decision_profiles.mode_profiles(preset, answer, "vision_language")
        tables += [rows.assign(study="alone") for rows in modes]
    for (answer,) in extract_all(preset, profiled._replace(models=preset.models[:1])):
        tables += _compare_estimators(preset, answer)
    for (answer,) in extract_all(preset, listed):
        tables += _compare_passes(preset, answer)
    for request in masked:
        mask = request.queries[0].mask
        for (answer,) in extract_all(preset, request):
            rows = _decomposed(preset, answer)
            tables.append(rows.assign(source_a="vision", study="mask", mask=mask))
    return validate(pd.concat(tables).assign(source_b="language"), COLUMNS)


def _decomposed(preset: Preset, answer: Extracted, **identified: str) -> pd.DataFrame:
    """Atoms of the masked decisions of an answer, with its columns."""
    settings = {"n_halves": preset.n_halves, "seed": preset.seed}
    decisions = answer.extraction.masked(preset.tau)
    rows = measure_decisions(decisions, **settings, device=preset.device).rows
    columns = answer.row_columns("vision_language", **identified, tau=preset.tau, **settings)
    return rows.assign(estimator="exact", unimodal="masked", seed=preset.seed, **columns)


def _compare_estimators(preset: Preset, answer: Extracted) -> Iterator[pd.DataFrame]:
    decisions = answer.extraction.masked(preset.tau)
    shared = {"study": "estimator", "source_a": "vision", "unimodal": "masked"}
    start = time.process_time()
    pid = decision_pid(decisions, device=preset.device).pid
    exact = time.process_time() - start
    columns = answer.row_columns("vision_language", tau=preset.tau) | {"seconds": exact}
    yield atom_rows(pid).assign(**shared, **columns, ratio=1.0, estimator="exact", seed=preset.seed)
    for training, repeat in product(TRAINING, range(N_SEEDS)):
        n_batches = preset.n_batches if training["batch_size"] < len(decisions) else 1  # all alike
        seed = derive_seed(preset.seed, "BATCH", repeat)
        settings = training | {"n_batches": n_batches, "seed": seed}
        start = time.process_time()
        batch = batch_pid(decisions, embeddings=answer.extraction.embeddings, **settings)
        seconds = time.process_time() - start
        rows = pd.DataFrame({"value_bits": batch.atoms}).reset_index(names="atom")
        spread = rows["atom"].map(batch.spread)
        rows["ci_low"], rows["ci_high"] = normal_interval(rows["value_bits"], spread)
        columns = answer.row_columns("vision_language", tau=preset.tau, **settings)
        columns |= training | {"estimator": "BATCH", "seed": repeat, "seconds": seconds}
        yield rows.assign(**shared, **columns, ratio=seconds / exact)


def _compare_passes(preset: Preset, answer: Extracted) -> Iterator[pd.DataFrame]:
    whole = answer.extraction
    for key in VISION_PASSES:
        logits, normalizer = (
            {FULL: each[FULL], "vision": each[key], "language": each["language"]}
            for each in (whole.logits, whole.log_normalizer)
        )
        part = replace(whole, logits=logits, log_normalizer=normalizer)
        rows = _decomposed(preset, answer._replace(extraction=part), source=key)
        fallback = part.fallback("vision", preset.tau)
        yield rows.assign(study="options", source_a=key, fallback=fallback)


_KEYS, _ENDS = ["benchmark", "model", "atom"], ("bits", "ci_low", "ci_high")
REDRAWN, VISIBLE = "another draw", "visible options"
_OFFSETS = dict(zip(style.VISION_LANGUAGE, (-0.24, -0.08, 0.08, 0.24), strict=True))
_ROWS = {REDRAWN: "another draw of the noise", "mean": "mask: mean token, not noise"}
_ROWS |= {"swapped": "mask: tokens of another sample", "resampled": "resampled, not masked"}
_ROWS |= {"observational": "observational, not masked", VISIBLE: "answer options visible"}


def changes(table: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Changes of atoms by each other mask, mode and pass: from noise, with options hidden."""
    alone, other, listed = (table[table["study"] == name] for name in ("alone", "mask", "options"))
    parts = dict([*other.groupby("mask"), *alone.groupby("unimodal")])
    noise = parts.pop("masked")
    hidden, *passes = (listed[listed["source_a"] == key] for key in VISION_PASSES)
    named = {name: _difference(part, noise) for name, part in parts.items()}
    passes = zip((REDRAWN, VISIBLE), passes, strict=True)
    return named | {name: _difference(part, hidden) for name, part in passes}


def alternatives(table: pd.DataFrame) -> pd.DataFrame:
    """How far other passes are from noise, with options hidden; the share of intervals beyond 0."""
    rows = {}
    for name, apart in changes(table).items():
        apart = apart.dropna()
        width, beyond = apart["high"] - apart["low"], (apart["low"] > 0) | (apart["high"] < 0)
        rows[name] = apart["difference"].abs().mean(), width.mean() / 2, beyond.mean(), len(apart)
    return pd.DataFrame(rows, ["difference_bits", "half_width_bits", "beyond", "n"]).T


def figure(table: pd.DataFrame) -> style.Figure:
    """The change that each choice makes: its mean size left, each atom's own right."""
    effects, trained = alternatives(table), table[table["study"] == "estimator"]
    exact, made = trained[trained["estimator"] == "exact"], changes(table)
    named = trained.groupby("epochs")
    parts = {f"BATCH (networks), {n} epochs": _difference(rows, exact) for n, rows in named}
    parts |= {words: made[name] for name, words in _ROWS.items() if len(made.get(name, []))}
    parts = dict(sorted(parts.items(), key=lambda part: part[1]["difference"].abs().mean()))
    result = style.page(0.29 * len(parts) + 1.1)
    axes = atoms, sizes = result.subplots(1, 2, sharey=True, width_ratios=(1.25, 1))
    beyond = {_ROWS[name]: share for name, share in effects["beyond"].items()}
    null, means = effects.loc[REDRAWN, "difference_bits"], {}
    for y, (words, rows) in enumerate(parts.items()):
        size = rows["difference"].abs().groupby(rows["benchmark"]).mean()
        mean = means[words] = rows["difference"].abs().mean()
        sizes.hlines(y, size.min(), size.max(), color=style.INK, linewidth=0.9, zorder=2)
        style.points(sizes, [mean], [y], "o", color=style.INK)
        text = f"{mean:.2f} bits" + (f", {beyond[words]:.0%}" if words in beyond else "")
        style.margin(sizes, y, text.replace("%", " %"), fontsize=7.5)
        moved = rows.groupby(["atom", "benchmark"])["difference"].mean()
        for atom, offset in _OFFSETS.items():
            own, color = moved[atom], style.COLORS[atom]
            atoms.hlines(y + offset, own.min(), own.max(), color=color, linewidth=0.9, zorder=2)
            style.points(atoms, [own.mean()], [y + offset], "o", color=color, markersize=3)
    words = "How much an atom changes; right: mean\nsize, share of 95 % intervals without 0"
    sizes.set(title=words, xlabel="mean size of the change (bits)", xlim=(0, None))
    style.name_rows(atoms, list(parts))
    atoms.set(title="Which atoms change", xlabel="change (bits)")
    atoms.axvline(0, color=style.INK, linewidth=0.6, zorder=1)
    for ax in axes:
        ax.axvspan(-null * (ax is atoms), null, color=style.NULL, linewidth=0, zorder=0)
        ax.grid(visible=False, axis="y")
        ax.tick_params(axis="y", length=0)
    null = style.null_handle(f"null: noise redrawn, {null:.2f} bits")
    handles = *style.atom_points(), style.line_handle("range over benchmarks"), null
    least, *_, most = (f"{name} ({mean:.2f} bits)" for name, mean in means.items())
    title = f"Largest mean change: {most}; smallest: {least}"
    style.legend(result, 3, *handles, title=title, title_fontsize=9)
    return result


def _difference(rows: pd.DataFrame, reference: pd.DataFrame) -> pd.DataFrame:
    """Differences of atoms with intervals as if both were independent: in quadrature."""
    rows, reference = (each.assign(bits=style.best(each)) for each in (rows, reference))
    both = rows.merge(reference, on=_KEYS, suffixes=("", "_reference"))
    value, low, high = style.floats(both, *_ENDS)
    old, old_low, old_high = style.floats(both, *(f"{name}_reference" for name in _ENDS))
    low = value - old - np.hypot(value - low, old_high - old)
    high = value - old + np.hypot(high - value, old - old_low)
    return both[_KEYS].assign(difference=value - old, low=low, high=high)
