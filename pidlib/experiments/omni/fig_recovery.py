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
from pidlib.experiments.words import number, spread
from pidlib.extraction import Extraction
from pidlib.profiles.modes import N_PERMUTATIONS
from pidlib.sensory import CONDITIONS, PASSES, SOURCES, split_by

RENDERINGS = 2  # of each state of a finite law; a template has 48 to 384 samples
COLUMNS = declare(profiles.COLUMNS, "truth_bits")
_ROWS = {"question": "Question given", "ignored": "Question ignored"}
_WORDS = {"ideal": "the ideal answerer", "truth_bits": "the minis' own laws"}


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
    """A row for the question given and for it ignored, with its error; a column per template."""
    truths, found = (table[table["estimator"] == name] for name in ("truth", "exact"))
    ideal = truths.set_index(["given", "template", "atom"])["value_bits"].astype(float).sort_index()
    kept, _ = profiles.read_rows(found, "template", "model")
    found = kept[kept["atom"] != "total"]
    changed = (ideal["ignored"] - ideal["question"]).abs().idxmax()
    end = f"; an ideal answerer's {style.SYMBOLS[changed[1]]} on {changed[0].replace('_', ' ')}: "
    end += " instead of ".join(number(ideal[given][changed]) for given in ("ignored", "question"))
    figure = style.page(3.6)
    templates, shared = truths["template"].unique(), {"sharey": True, "squeeze": False}
    top = 1.05 * max([*style.floats(found["ci_high"]), ideal.max()])
    for part, (given, words) in zip(figure.subfigures(2, 1), _ROWS.items(), strict=True):
        rows = found[found["given"] == given]
        rows = rows.join(ideal["question"].rename("ideal"), on=["template", "atom"])
        far = rows[["ideal", "truth_bits"]].astype(float).sub(style.best(rows), axis=0).abs()
        errors = far.groupby(rows["model"]).mean().dropna(axis=1, how="all")
        texts = [f"{spread(errors[name])} bits from {_WORDS[name]}" for name in errors]
        text = f"{words}: off by " + ",\n".join(texts) + end * (given == "ignored")
        part.suptitle(text, x=0.02, ha="left", fontsize=8)
        axes = part.subplots(1, len(templates), **shared)[0]
        for ax, template in zip(axes, templates, strict=True):
            own = rows[rows["template"] == template]
            profiles.draw_atoms(ax, own, ideal["question", template])
            ax.set_title(template.replace("_", "\n"), fontsize=6.5, pad=3, linespacing=1)
            ax.set(ylim=(-0.2, top), yticks=[0, 1])
        axes[0].set_ylabel("bits")
    style.legend(figure, 4, *profiles.atom_handles())
    return figure
