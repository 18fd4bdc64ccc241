"""Estimated sensory atoms of the minis against those of their own law, under three conditions.

Given the template, texts are pooled; ignoring the question averages over equal clips.
"""

from itertools import cycle, groupby, product
from operator import attrgetter
from typing import Any

import pandas as pd

from pidlib.benchmarks import Sample, micro_av
from pidlib.decomposition import pid, sensory_pid
from pidlib.experiments import Preset, Query, Request, declare, extract_all, style, validate
from pidlib.experiments.interventions import correct_by_id as correct
from pidlib.experiments.omni import profiles
from pidlib.experiments.renderings import finite_laws
from pidlib.experiments.words import listed, number, share
from pidlib.extraction import Extraction
from pidlib.profiles.modes import N_PERMUTATIONS
from pidlib.sensory import CONDITIONS, PASSES, SOURCES, split_by

RENDERINGS = 2  # of each state of a finite law; a template has 48 to 384 samples
COLUMNS = declare(profiles.COLUMNS, "truth_bits")
_ROWS = {"question": "question given", "ignored": "question ignored"}
_PALE = {"alpha": 0.3, "markeredgecolor": style.FAINT, "zorder": 3.5}
_CHANGE = 0.05  # bits; the least change of an own atom that is drawn dark


def requests(preset: Preset) -> list[Request]:
    """Of every model on every generated subset, the passes of Sensory PID, and its finite laws."""
    generated = [name for name in preset.omni_benchmarks if name.startswith("micro_av/")]
    law = Query(preset.split, 1, preset.seed, (PASSES["joint"],), change=law_samples)
    return [Request(preset.omni_models, generated, (profiles.query(preset), law))]


def law_samples(samples: list[Sample]) -> list[Sample]:
    """Replace samples by those of the finite laws of all templates of their benchmark."""
    laws = finite_laws(samples[0].benchmark, RENDERINGS, samples[0].split)
    return [sample for law in laws.values() for sample in law.samples]


def own_truths(extraction: Extraction, benchmark: str, split: str, tau: float) -> dict:
    """Atoms of answers to `law_samples`, and their sum, by condition (not pooled) and template."""
    decisions, start, truths = extraction.decisions(tau=tau), 0, {}
    for template, law in finite_laws(benchmark, RENDERINGS, split).items():
        joint = law.joint(decisions[start : start + len(law.samples)])
        start += len(law.samples)
        given, ignored = sensory_pid(joint), pid(joint.sum(0), SOURCES)
        for condition, solved in (("question", given), ("ignored", ignored)):
            truths[condition, template] = pd.Series({**solved.atoms, "total": solved.total})
    return truths


def measure(preset: Preset) -> pd.DataFrame:
    """Atoms by template and condition, with those of the own law; nulls given the question."""
    tables = []
    for answer, law in extract_all(preset, *requests(preset)):
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
                if condition in _ROWS:
                    rows["truth_bits"] = rows["atom"].map(own[condition, template])
                tables.append(rows.assign(template=template, accuracy=accuracy[template]))
    return validate(pd.concat(tables).assign(experiment="omni", seed=preset.seed), COLUMNS)


def distances(table: pd.DataFrame) -> tuple[pd.DataFrame, pd.Series]:
    """Estimated atoms that are `profiles.readable`, and by template and model which are.

    Columns: ``far``, bits between an estimate and the ``true`` atom of the mini's own law given the
    question; ``changes``, whether ignoring the question changes this atom.
    """
    kept, read = profiles.read_rows(table[table["atom"] != "total"], "template", "model")
    keys = ["template", "model", "atom"]
    own = kept.astype({"truth_bits": float}).pivot_table("truth_bits", keys, "given")
    own = own.reindex(columns=list(_ROWS)).rename(columns={"question": "true"})
    own["changes"] = abs(own["true"] - own.pop("ignored")) > _CHANGE
    kept = kept.join(own, on=keys)
    return kept.assign(far=abs(kept["true"] - style.best(kept))), read


def figure(table: pd.DataFrame) -> style.Figure:
    """Estimates with the question given, and ignored, against atoms of the mini's own law."""
    found, read = distances(table)
    if not read.any():
        return profiles.empty_page(": masked answers do not fit the full ones")
    models = dict(zip(found["model"].unique(), cycle(style.MARKERS), strict=False))
    figure = style.page(3.9)
    axes = figure.subplots(len(_ROWS), len(style.SENSORY), sharex=True, sharey=True)
    for (given, atom), ax in zip(product(_ROWS, style.SENSORY), axes.flat, strict=True):
        rows = found[(found["given"] == given) & (found["atom"] == atom)]
        ax.grid(visible=False)
        ax.axline((0, 0), slope=1, color=style.FAINT, linewidth=0.8, zorder=1)
        if given == "ignored":
            _draw(ax, rows[~rows["changes"]], atom, models, **_PALE)
            rows = rows[rows["changes"]]
            names = rows.groupby("template", sort=False)["far"].mean().map(number)
            texts = [f"{name} off by {bits}" for name, bits in names.items()]
        else:
            ax.set_title(f"{style.SYMBOLS[atom]}  {style.WORDS[atom]}")
            texts = [f"off by {number(rows['far'].mean())} (mean)"]
        _draw(ax, rows, atom, models)
        ax.set_ylabel(f"{_ROWS[given]}:\nestimated atom, bits" * (ax in axes[:, 0]))
        ax.text(0.03, 0.98, "\n".join(texts), transform=ax.transAxes, va="top", fontsize=7)
    figure.supxlabel("true atom of the mini’s own law given the question, bits", fontsize=8)
    labels = [(style.model_name(name), marker, "white") for name, marker in models.items()]
    handles = *style.marker_handles(labels), style.line_handle("95 % interval")
    null = style.handle("upper row: null (none for $S$)", marker="_", color=style.FAINT)
    look = {"marker": "o", "markersize": 3.8, "markeredgecolor": style.INK, "color": style.NULL}
    text = f"lower row: true atom changed by ignoring it, over {number(_CHANGE)} bits"
    dark, pale = style.handle(text, **look), style.handle("lower row: by less", **look | _PALE)
    style.legend(figure, 3, *handles, null, dark, pale, title=_headline(found, read))
    return figure


def _headline(found: pd.DataFrame, read: pd.Series) -> str:
    """How near estimates come, and which minis are not among them."""
    given = found.loc[found["given"] == "question", "far"].mean()
    text = f"Given the question, estimates are off by {number(given)} bits (mean)"
    far = found[found["changes"]].groupby("given")["far"].mean().map(number)
    if len(far):
        text += f"; where ignoring it changes the true atom, by {far['question']} given it and by "
        text += f"{far['ignored']} ignoring it"
    known = read.groupby(level="model").any()
    gone = listed(map(style.model_name, known.index[~known]))
    gone = "" if all(known) else f", among them all of {gone}"
    text += f"\nleft out: {share(~read)} cells (minis × templates{gone})"
    return f"{text}: masked answers do not fit the full ones"


def _draw(ax: style.Axes, rows: pd.DataFrame, atom: str, models: dict, **look: Any) -> None:
    shade = {"color": style.COLORS[atom], "alpha": look.get("alpha", 1)}
    for model, own in rows.groupby("model"):
        ax.plot(own["true"], style.floats(own["null_mean"]), "_", color=style.FAINT, zorder=2)
        style.interval(ax, own["true"], own["ci_low"], own["ci_high"], **shade, zorder=3)
        style.points(ax, own["true"], style.best(own), models[model], **shade | look)
