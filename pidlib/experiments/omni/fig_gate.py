"""Is the question a gate to fusion? Sensory atoms by depth for two questions about the same clip.

Fang et al. report that a paraphrase without need for fusion lowers synergy in the last stage, and
changes no unimodal trajectory before. Right answers to both imply .5 bits and 0 at the output.
"""

from collections.abc import Mapping, Sequence
from functools import partial

import numpy as np
import pandas as pd
from matplotlib.legend_handler import HandlerTuple

from pidlib._common import fingerprint
from pidlib.benchmarks import Sample, micro_av
from pidlib.experiments import ATOMS, Preset, Request, declare, extract_all, stages, style, validate
from pidlib.experiments.interventions import correct_by_id as correct
from pidlib.experiments.omni import profiles
from pidlib.experiments.words import interval, number, share
from pidlib.extraction import Extraction

_ROWS = declare("needs", ATOMS, "accuracy accuracy_sounding accuracy_silent", required="needs")
COLUMNS = {"fig_gate": _ROWS, "fig_gate_claims": stages.CLAIM_COLUMNS}
CLAIMS = {  # differences are without need for fusion minus with it, in bits
    **dict.fromkeys(("late_synergy", "later_than_before"), stages.Claim(above=False, margin=0.05)),
    **dict.fromkeys(("vision_parts", "audio_parts"), stages.Claim(above=False, bound=0.1)),
}
CONSEQUENCES = ("late_synergy",)  # follow from correct answers to both questions
_PLAIN = {"linestyle": (0, (3, 1.5)), "color": style.INK}
_QUESTIONS = {  # by what a question needs: words, template and look
    "both": ("color, fusion: “which way does the sounding one move?”", "sounding_direction", {}),
    "vision": ("black, no fusion: “which way does the red (blue) one move?”", "direction", _PLAIN),
}
_ATOMS = ("synergy", "unique_vision", "unique_audio")
_TESTS = dict(zip(_ATOMS, ("later_than_before", "vision_parts", "audio_parts"), strict=True))
_BEFORE = "largest |color − black| (orange line) before the last stage (claimed: under .1)"
_CHANGE = "color − black, mean of the last stage minus that before (claimed: over .05)"
_LARGEST = {"color": style.OTHERS[0], "linewidth": 1.2, "zorder": 5}
_CLAIMED = """relative depth of the block (dots){}
holds, against: the whole 95 % interval is on that side of the bound (which is ours); else open
$S$ below 0: both masked answers together tell more than the full ones"""


def requests(preset: Preset) -> list[Request]:
    """The passes of Sensory PID after every block, on pairs with and without need for fusion."""
    query = profiles.query(preset)._replace(n_samples=preset.n_omni_intervened)
    changes = (partial(question_pairs, place=place, seed=preset.seed) for place in (0, 1))
    queries = tuple(query._replace(change=change) for change in changes)
    return [Request(preset.omni_layer_models, [profiles.FUSION], queries)]


def question_pairs(samples: Sequence[Sample], place: int, seed: int = 0) -> list[Sample]:
    """Replace samples by as many first (0) or second (1) questions of `micro_av.load_pairs`."""
    return [pair[place] for pair in micro_av.load_pairs(samples[0].split, len(samples), seed)]


def measure(preset: Preset) -> dict[str, pd.DataFrame]:
    """Sensory atoms and accuracies after every block; claims, ``follows`` for `CONSEQUENCES`."""
    atoms, claims = [], []
    for pair in extract_all(preset, *requests(preset)):
        measured = [profiles.measure_trajectory(preset, answer) for answer in pair]
        for needs, answer, (profile, columns) in zip(_QUESTIONS, pair, measured, strict=True):
            accuracies = accuracy_by_named_object(answer.extraction)
            atoms.append(profile.rows.assign(needs=needs, **accuracies, **columns))
        (both, columns), (vision, other) = measured
        columns["fingerprint"] = fingerprint(of=[columns["fingerprint"], other["fingerprint"]])
        tested = stages.check_trajectories(CLAIMS, gate, both, vision, **columns)
        silent = max(each.atoms["synergy"].max() for each in (both, vision)) < stages.READABLE_BITS
        unread = ["later_than_before"] * bool(silent)
        claims.append(profiles.mark_unread(tested, pair, preset.tau, *unread))
    claims = pd.concat(claims)
    follows = claims["statistic"].isin(CONSEQUENCES) & (claims["verdict"] != profiles.UNREAD)
    claims["verdict"] = claims["verdict"].mask(follows, "follows")
    tables = map(validate, (pd.concat(atoms), claims), COLUMNS.values())
    return dict(zip(COLUMNS, tables, strict=True))


def gate(fused: stages.Curves, plain: stages.Curves) -> stages.Values:
    r"""The statistics of `CLAIMS` for questions with need for fusion and without, in bits.

    With :math:`\Delta = \text{plain} - \text{fused}`: the mean of :math:`\Delta S` over the blocks
    of the last stage; the same minus its mean before; and the largest :math:`|\Delta U|` before.
    """
    delta = {atom: np.subtract(plain[atom], fused[atom]) for atom in _ATOMS}
    _, middle = stages.stage_blocks(len(delta["synergy"]))
    before, late = (part.mean(0) for part in np.split(delta["synergy"], [middle + 1]))
    unique = (np.abs(delta[atom][: middle + 1]).max(0) for atom in _ATOMS[1:])
    return dict(zip(CLAIMS, (late, late - before, *unique), strict=True))


def accuracy_by_named_object(extraction: Extraction) -> dict[str, float]:
    """Accuracy of all answers, and of questions that name the sounding or the silent object."""
    answers = correct(extraction, extraction.full)
    named = {name: answers[answers.index.str.endswith(f"_{name}")] for name in micro_av.NAMED}
    accuracies = {f"accuracy_{name}": part.mean() for name, part in named.items() if len(part)}
    return {"accuracy": answers.mean()} | accuracies


def figure(tables: Mapping[str, pd.DataFrame]) -> style.Figure:
    """A column per model, a row per atom with and without need for fusion; the tests."""
    table, note = profiles.read_models(tables["fig_gate"], tables["fig_gate_claims"])
    if table.empty:
        return profiles.empty_page(note)
    models, counted = table.groupby("model", sort=False), {atom: [] for atom in _ATOMS}
    figure, claims = style.page(5.6), tables["fig_gate_claims"].set_index(["model", "statistic"])
    axes = figure.subplots(len(_ATOMS), len(models), sharex=True, sharey=True, squeeze=False)
    for column, (model, own) in zip(axes.T, models, strict=True):
        for ax, (atom, test) in zip(column, _TESTS.items(), strict=True):
            stages.draw_stages(ax)
            rows = own[own["atom"] == atom]
            for needs, (_, template, look) in _QUESTIONS.items():
                look = {"color": style.COLORS[atom]} | look
                stages.draw_trajectories(ax, rows[rows["needs"] == needs], [atom], **look)
                ideal = micro_av.sensory_truth(template).atoms[atom]
                ax.hlines(ideal, 0.97, 1.06, color=look["color"], linewidth=2, zorder=4)
            curves = rows.pivot(index="layer", columns="needs", values="value_bits").astype(float)
            before = curves[: stages.stage_blocks(len(curves))[1] + 1]
            if atom != "synergy":  # mark the largest difference
                block = abs(before["both"] - before["vision"]).idxmax()
                depth = (block + 1) / (curves.index.max() + 1)
                ax.vlines(depth, *curves.loc[block, list(_QUESTIONS)], **_LARGEST)
            value, low, high, verdict = claims.loc[(model, test), "value":"verdict"]
            turned = (-value, -high, -low) if atom == "synergy" else (value, low, high)
            text = f"{interval(*turned)}: {verdict}"
            if verdict == profiles.UNREAD:
                text = f"{verdict}: $S$ stays below {number(stages.READABLE_BITS, 1)} bits"
            else:
                counted[atom].append(verdict == ("holds" if atom == "synergy" else "against"))
            ax.set_xlabel(text, fontsize=7.5, loc="left")
            ax.set_title(" ")  # room for the heading
        column[0].set_title(style.model_name(model).replace(", ", ",\n"), pad=19)
    for ax, atom, below in zip(axes[:, 0], _ATOMS, (_CHANGE, _BEFORE, _BEFORE), strict=True):
        ax.set_ylabel("bits")
        below = f"{style.SYMBOLS[atom]}  {style.WORDS[atom]}; below: {below}"
        ax.text(0, 1.04, below, transform=ax.transAxes, in_layout=False)
    figure.supxlabel(_CLAIMED.format(note), fontsize=7.5)
    fused, plain = (words for words, *_ in _QUESTIONS.values())
    dot = {"marker": "o", "markersize": 2.4, "linestyle": "-"}
    colored = tuple(style.handle(fused, color=style.COLORS[atom], **dot) for atom in _ATOMS)
    handles = [style.handle(plain, **dot | _PLAIN), style.line_handle("an ideal answerer", 2)]
    handles += stages.legend_handles(*profiles.LEGEND)
    labels = [fused, *(each.get_label() for each in handles)]
    late, seen, heard = map(share, counted.values())
    title = f"Without need for fusion, late $S$ rises less: in {late} models with enough $S$\n"
    title += f"Before, $U_v$ already differs by over .1 bits in {seen} models, $U_a$ in {heard}"
    options = {"labels": labels, "handler_map": {tuple: HandlerTuple(None)}, "title": title}
    style.legend(figure, 2, colored, *handles, title_fontsize=8.5, **options)
    return figure
