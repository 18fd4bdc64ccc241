"""Sensory atoms of the minis against those of the ideal answerer, under three conditions.

Given the question, the estimate should come near the atoms of each template, or those of a mini
that errs; given the template, texts are pooled; ignoring the question averages over equal clips.
"""

from itertools import groupby, product

import numpy as np
import pandas as pd

from pidlib.benchmarks import Sample, micro_av
from pidlib.decomposition import PID, pid
from pidlib.experiments import Preset, Query, Request, declare, extract_all, style, validate
from pidlib.experiments.interventions import correct_by_id as correct
from pidlib.experiments.omni import profiles
from pidlib.experiments.renderings import finite_laws
from pidlib.extraction import Extraction
from pidlib.profiles.modes import N_PERMUTATIONS
from pidlib.sensory import CONDITIONS, PASSES, SOURCES, split_by

RENDERINGS = 2  # of each state of a finite law; a template has 48 to 384 samples
COLUMNS = declare(profiles.COLUMNS, "truth_bits")
_ROW_LABELS = {"question": "given the question", "template": "given the template"}
_ROW_LABELS |= {"ignored": "question ignored"}
_TICK = {"color": style.OTHERS[0], "linewidth": 1.4}  # of the estimate for an ideal answerer


def requests(preset: Preset) -> list[Request]:
    """Of every model on every generated subset, the passes of Sensory PID, and its finite laws."""
    generated = [name for name in preset.omni_benchmarks if name.startswith("micro_av/")]
    law = Query(preset.split, 1, preset.seed, (PASSES["joint"],), change=law_samples)
    return [Request(preset.omni_models, generated, (profiles.query(preset), law))]


def law_samples(samples: list[Sample]) -> list[Sample]:
    """Replace samples by those of the finite laws of all templates of their benchmark."""
    laws = finite_laws(samples[0].benchmark, RENDERINGS, samples[0].split)
    return [sample for law in laws.values() for sample in law.samples]


def own_truths(extraction: Extraction, benchmark: str, split: str, tau: float) -> pd.Series:
    """Atoms given the question, and their sum, of the answers to `law_samples`, by template."""
    decisions, start, truths = extraction.decisions(tau=tau), 0, {}
    for template, law in finite_laws(benchmark, RENDERINGS, split).items():
        solved = law.pid(decisions[start : start + len(law.samples)])
        start += len(law.samples)
        truths |= {(template, name): v for name, v in solved.atoms.items()}
        truths[template, "total"] = solved.total
    return pd.Series(truths)


def measure(preset: Preset) -> pd.DataFrame:
    """Truths and measured atoms by template and condition; nulls given the question."""
    (request,) = requests(preset)
    tables = [_truths(benchmark) for benchmark in request.benchmarks]
    for answer, law in extract_all(preset, request):
        extraction, benchmark = answer.extraction, answer.columns["benchmark"]
        own = own_truths(law.extraction, benchmark, preset.split, preset.tau)
        task = benchmark.removeprefix("micro_av/")
        states = micro_av.states(task, preset.split, preset.n_omni, preset.seed)
        answers = correct(extraction, PASSES["joint"])
        accuracy = answers.groupby(np.array(extraction.templates)).mean()
        for condition in CONDITIONS:
            content = [(v, a) for _, v, a, _ in states] if condition == "ignored" else None
            groups = split_by(extraction, condition, content=content, tau=preset.tau)
            groups.sort(key=lambda group: group.template)
            count = N_PERMUTATIONS if condition == "question" else 0
            for template, members in groupby(groups, key=lambda group: group.template):
                rows = profiles.profile_rows(preset, answer, list(members), n_permutations=count)
                if condition == "question":
                    rows["truth_bits"] = rows["atom"].map(own[template])
                tables.append(rows.assign(template=template, accuracy=accuracy[template]))
    table = pd.concat(tables, ignore_index=True)
    return validate(table.assign(experiment="omni", seed=preset.seed), COLUMNS)


def truth(template: str, condition: str) -> PID:
    """Sensory PID of the ideal answerer: the limit of an estimate under a condition.

    Given the template the sources are (v, t) and (a, t), a table of blocks that share t.
    """
    if condition != "template":
        return micro_av.sensory_truth(template, ignored=condition == "ignored")
    weights, tables = zip(*micro_av.joint(template).values(), strict=True)
    (v, a, k), count = tables[0].shape, len(tables)
    blocks = np.zeros((count, v, count, a, k))
    for t, (weight, table) in enumerate(zip(weights, tables, strict=True)):
        blocks[t, :, t] = weight * table
    return pid(blocks.reshape(count * v, count * a, k), SOURCES)


def _truths(benchmark: str) -> pd.DataFrame:
    task, rows = benchmark.removeprefix("micro_av/"), []
    for template, condition in product(micro_av.TASKS[task], CONDITIONS):
        ideal = truth(template.name, condition)
        columns = template.name, condition, bool(ideal.converged)
        rows += [(*columns, atom, bits) for atom, bits in ideal.atoms.items()]
    rows = pd.DataFrame(rows, columns=["template", "given", "converged", "atom", "value_bits"])
    fixed = {"estimator": "truth", "unimodal": "masked", "fingerprint": "truth"}
    return rows.assign(benchmark=benchmark, **fixed)


def figure(table: pd.DataFrame) -> style.Figure:
    """A row per condition: bars, the truth given the question; ticks, the limit of the estimate."""
    truths, measured = (table[table["estimator"] == name] for name in ("truth", "exact"))
    templates, models = list(truths["template"].unique()), list(measured["model"].unique())
    figure = style.page(1.15 * len(_ROW_LABELS) + 1)
    shared = {"sharex": True, "sharey": "row", "squeeze": False}
    axes = figure.subplots(len(_ROW_LABELS), len(templates), **shared)
    ideal = truths.set_index(["template", "given", "atom"])["value_bits"].sort_index()
    for row, (condition, label) in zip(axes, _ROW_LABELS.items(), strict=True):
        for ax, template in zip(row, templates, strict=True):
            for index, atom in enumerate(style.SENSORY):
                style.bars(ax, [index], [ideal[template, "question", atom]], atom, 0.84, alpha=0.6)
                estimated = ideal[template, condition, atom]
                ax.hlines(estimated, index - 0.46, index + 0.46, zorder=3, **_TICK)
            ax.set_xticks(range(4), [style.SYMBOLS[atom] for atom in style.SENSORY], fontsize=6)
            ax.set_xlim(-0.6, 3.6)
            ax.tick_params(axis="x", length=0, pad=3)
            own = measured[(measured["template"] == template) & (measured["given"] == condition)]
            for index, model in enumerate(models):
                places = np.arange(4) + (index - (len(models) - 1) / 2) * 0.2
                rows = own[own["model"] == model].set_index("atom").reindex(list(style.SENSORY))
                style.null_band(ax, places, rows["null_mean"], 0.2)
                style.interval(ax, places, rows["ci_low"], rows["ci_high"], linewidth=0.5)
                look = {"color": style.INK, "linewidth": 1.2, "zorder": 4.5}
                ax.hlines(style.floats(rows["truth_bits"]), places - 0.13, places + 0.13, **look)
                look = {"markersize": 2.4, "markeredgewidth": 0.5}
                style.points(ax, places, style.best(rows), style.MARKERS[index], **look)
        row[0].set_ylabel(f"{label}\nbits", fontsize=6.5)
    for ax, template in zip(axes[0], templates, strict=True):
        ax.set_title(template.replace("_", "\n"), fontsize=6.5, pad=3, linespacing=1)
    tick = style.handle("an ideal answerer, so estimated", linestyle="-", **_TICK)
    bars = style.swatch("bars: truth given the question", facecolor=style.FAINT, alpha=0.6)
    handles = [*style.atom_handles(style.SENSORY), bars, tick]
    figure.legend(handles=handles, loc="outside upper center", ncols=3)
    handles = [*style.model_handles(models), style.null_handle("null: answers permuted")]
    atoms = measured[measured["atom"] != "total"]
    far = (atoms["truth_bits"] - style.best(atoms)).abs().groupby(atoms["model"]).mean()
    if far.notna().any():
        words = f"the mini's own law: off by {far.min():.2f} to {far.max():.2f} bits"
        handles.append(style.handle(words, linestyle="-", color=style.INK, linewidth=1.2))
    place = {"loc": "outside lower center", "ncols": 3}
    figure.legend(handles=handles, **place, **profiles.training_note(models))
    return figure
