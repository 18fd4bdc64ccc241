"""Sensory atoms of the minis against those of the ideal answerer, under three conditions.

Given the question, the estimate should come near the atoms of each template, or those of a mini
that errs; given the template, texts are pooled; ignoring the question averages over equal clips.
"""

from itertools import groupby, product
from operator import attrgetter

import numpy as np
import pandas as pd

from pidlib.benchmarks import Sample, micro_av
from pidlib.decomposition import PID, pid
from pidlib.experiments import Preset, Query, Request, declare, extract_all, style, validate
from pidlib.experiments.interventions import correct_by_id as correct
from pidlib.experiments.omni import profiles
from pidlib.experiments.renderings import finite_laws
from pidlib.experiments.truths import atom_rows
from pidlib.experiments.words import listed, number, share, spread
from pidlib.extraction import Extraction
from pidlib.profiles.modes import N_PERMUTATIONS
from pidlib.sensory import CONDITIONS, PASSES, SOURCES, split_by

RENDERINGS = 2  # of each state of a finite law; a template has 48 to 384 samples
COLUMNS = declare(profiles.COLUMNS, "truth_bits")
_PANELS = {  # condition and truth
    "Question given, against\nan ideal answerer": ("question", "ideal"),
    "Question given, against\nthe mini’s own answers": ("question", "truth_bits"),
    "Question ignored, against an ideal\nanswerer given the question": ("ignored", "ideal"),
}
_SEEING = "compact seeing:\nhalf its training\nhad wrong sound,\nso low $U_a$ and $S$"
_SMALL = {"fontsize": 7, "linespacing": 1.1, "multialignment": "left"}
_IDEAL = {"marker": "_", "markeredgecolor": style.INK, "markersize": 16, "zorder": 6}
_IDEAL |= {"markeredgewidth": 2}


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
        truths[template] = pd.Series({**solved.atoms, "total": solved.total})
    return pd.concat(truths)


def measure(preset: Preset) -> pd.DataFrame:
    """Truths and measured atoms by template and condition; nulls given the question."""
    (request,) = requests(preset)
    tables = [_truths(benchmark) for benchmark in request.benchmarks]
    for answer, law in extract_all(preset, request):
        extraction, benchmark = answer.extraction, answer.columns["benchmark"]
        own = own_truths(law.extraction, benchmark, preset.split, preset.tau)
        task = benchmark.removeprefix("micro_av/")
        states = micro_av.states(task, preset.split, preset.n_omni, preset.seed)
        accuracy = correct(extraction, PASSES["joint"]).groupby(list(extraction.templates)).mean()
        for condition in CONDITIONS:
            content = [(v, a) for _, v, a, _ in states] if condition == "ignored" else None
            groups = split_by(extraction, condition, content=content, tau=preset.tau)
            count, of = N_PERMUTATIONS if condition == "question" else 0, attrgetter("template")
            for template, members in groupby(sorted(groups, key=of), of):
                rows = profiles.profile_rows(preset, answer, list(members), n_permutations=count)
                if condition == "question":
                    rows["truth_bits"] = rows["atom"].map(own[template])
                tables.append(rows.assign(template=template, accuracy=accuracy[template]))
    return validate(pd.concat(tables).assign(experiment="omni", seed=preset.seed), COLUMNS)


def truth(template: str, condition: str) -> PID:
    """Sensory PID of the ideal answerer: the limit of an estimate under a condition.

    Given the template the sources are (v, t) and (a, t), a table of blocks that share t.
    """
    if condition != "template":
        return micro_av.sensory_truth(template, ignored=condition == "ignored")
    tables = [weight * table for weight, table in micro_av.joint(template).values()]
    (v, a, k), count = tables[0].shape, len(tables)
    blocks = np.zeros((count, v, count, a, k))
    for t, table in enumerate(tables):
        blocks[t, :, t] = table
    return pid(blocks.reshape(count * v, count * a, k), SOURCES)


def _truths(benchmark: str) -> pd.DataFrame:
    names = (each.name for each in micro_av.TASKS[benchmark.removeprefix("micro_av/")])
    cells = ({"template": name, "given": given} for name, given in product(names, CONDITIONS))
    rows = pd.concat([atom_rows(truth(*cell.values()), **cell) for cell in cells])
    rows = rows.drop(columns=["source_a", "source_b", "lower_bits", "upper_bits"])
    fixed = {"estimator": "truth", "unimodal": "masked", "fingerprint": "truth"}
    return rows.assign(benchmark=benchmark, **fixed)


def figure(table: pd.DataFrame) -> style.Figure:
    """Estimated against true atoms with the question given, and with it ignored."""
    truths, found = (table[table["estimator"] == name] for name in ("truth", "exact"))
    ideal = truths.pivot_table("value_bits", ["template", "atom"], "given").astype(float)
    kept, read = profiles.read_rows(found[found["atom"] != "total"], "template", "model")
    found = kept.join(ideal["question"].rename("ideal"), on=["template", "atom"])
    figure, looks = style.page(3.7), dict(zip(found["model"].unique(), style.MARKERS, strict=False))
    axes, middles = figure.subplots(1, len(_PANELS), sharex=True, sharey=True), []
    places = enumerate(product(style.SENSORY, looks), -2 * len(looks))
    apart = {key: 0.008 * (place + 0.5) for place, key in places}
    for ax, (title, (given, truth)) in zip(axes, _PANELS.items(), strict=True):
        rows = found[found["given"] == given]
        far = abs(rows[truth].astype(float) - style.best(rows)).groupby(rows["model"]).mean()
        middles.append(number(far.median()))
        text = f"mean distance from the diagonal,\nbits: {spread(far)}"
        ax.text(0.02, 0.99, text, transform=ax.transAxes, va="top", **_SMALL)
        ax.grid(visible=False)
        ax.axline((0, 0), slope=1, color=style.FAINT, linewidth=0.8, zorder=1)
        for (atom, model), own in rows.groupby(["atom", "model"]):
            x, color = style.floats(own[truth]) + apart[atom, model], style.COLORS[atom]
            ax.plot(x, style.floats(own["null_mean"]), "_", color=style.FAINT, zorder=2)
            style.interval(ax, x, own["ci_low"], own["ci_high"], color=color)
            style.points(ax, x, style.best(own), looks[model], color=color, alpha=0.75)
        ax.set(title=title, xlabel="true atom, bits (spread sideways)", ymargin=0.05)
    if any(model.endswith("_seeing") for model in looks):
        axes[0].text(1.1, -0.2, _SEEING, **_SMALL)
    changed = ideal[abs(ideal["question"] - ideal["ignored"]) > 0.005]
    for (_, atom), row in changed.iterrows():
        look = _IDEAL | {"markeredgecolor": style.COLORS[atom]}
        style.points(axes[-1], [row["question"]], [row["ignored"]], **look)
    axes[0].set_ylabel("estimated atom, bits")
    models = [(style.model_name(name), marker, "white") for name, marker in looks.items()]
    handles = *style.atom_points(style.SENSORY), *style.marker_handles(models)
    null = style.handle("null (question given): answers permuted", marker="_", color=style.FAINT)
    moved = style.handle(
        "an ideal answerer, where ignoring the question changes it (in color)", **_IDEAL
    )
    known = read.groupby(level="model").any()
    gone = listed(map(style.model_name, known.index[~known]))
    gone = "" if all(known) else f", among them all of {gone}"
    title = f"Given the question, atoms are recovered to {middles[0]} bits of those of an ideal "
    title += f"answerer and {middles[1]} of those of the mini’s own answers\nleft out: "
    title += (
        f"{share(~read)} cells (minis × templates{gone}): masked answers do not fit the full ones"
    )
    style.legend(figure, 3, *handles, style.line_handle("95 % interval"), null, moved, title=title)
    return figure
