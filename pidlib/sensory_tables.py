"""The tables of Sensory PID: models that see and hear on benchmarks of clips, beside what was published and beside the truth."""

from collections.abc import Mapping, Sequence
from itertools import groupby, product
from typing import NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Float
from scipy.special import entr

from pidlib import results, schemas
from pidlib.benchmarks import micro_av
from pidlib.decisions import Draws
from pidlib.decomposition import PID, pid
from pidlib.experiment import Preset, fingerprint
from pidlib.extraction import Extraction
from pidlib.profiles import FLOOR_TOLERANCE
from pidlib.runs import Asked, Run, runs
from pidlib.sensory import ASKED, GIVEN, PASSES, REFERENCES, SOURCES, TURNS, Condition, added, bootstrap, conditions, decompose, median

SUBSET = "MUSIC-AVQA: audio-visual"  # of the published table


def asked(preset: Preset) -> tuple[Asked]:
    """For Sensory PID: both senses, each alone with the text, and the text alone with three draws of noise; read after every block."""
    return (Asked(preset.split, preset.n_omni, preset.seed, ASKED, layers=None),)


class Measured(NamedTuple):
    """Sensory atoms as rows of the results without their place, as values in bits, and as bootstrap draws of these, [n] each."""

    rows: pd.DataFrame
    atoms: Mapping[str, float]
    draws: Mapping[str, Float[np.ndarray, " n"]]


def measure(
    parts: Sequence[Condition], references: Sequence[str] | None = None, *, n_bootstrap: int = 100, seed: int = 0, floor: int = len(TURNS)
) -> Measured:
    """Sensory atoms of some conditions, with bounds, intervals and noise floor; in the rows also their sum, ``total``, and all references.

    Beside each atom stands its noise floor: the same decomposition with the same reference where sight and sound are both noise, the mean
    over turns of three draws. It is no hypothesis and has no p-value. `p(y | t)`, as a reference, is not drawn anew in the intervals.
    Values and draws are those of P(Y | c).

    Parameters
    ----------
    parts
        As made by `pidlib.sensory.conditions`.
    references
        As in `pidlib.sensory.added`; by default P(Y | c) alone.
    n_bootstrap, seed
        Draws of the intervals, and where their randomness begins.
    floor
        The number of turns that the noise floor is the mean of; all take longer than the atoms, and with 0 it is not measured.
    """
    decisions = [one.decisions for one in parts]
    found = decompose(decisions)
    draws, targets = bootstrap(found, decisions, n_bootstrap, seed)
    silent = [decompose([one.floor[turn] for one in parts], tol=FLOOR_TOLERANCE).pid for turn in range(floor)]
    bounds = found.pid.bounds | {"total": (found.pid.total,) * 2}
    rows = []
    for reference in references or REFERENCES.get(parts[0].given, REFERENCES["template"])[:1]:
        values, drawn = (_with_total(of, added(parts, reference, some)) for of, some in ((found.pid.atoms, None), (draws.atoms, targets)))
        null = _floor(parts, reference, silent)
        ends = Draws(drawn, None).interval(values)
        for atom, bits in values.items():
            more = bits - (found.pid.total if atom == "total" else found.pid.atoms[atom])
            told = {"reference": reference, "atom": atom, "value_bits": bits, "null_mean": null.get(atom, np.nan)}
            told |= {"lower_bits": bounds[atom][0] + more, "upper_bits": bounds[atom][1] + more}
            rows.append(told | {"ci_low": ends[atom][0], "ci_high": ends[atom][1]})
    fixed = {"source_a": "vision", "source_b": "audio", "given": parts[0].given, "unimodal": "masked", "estimator": "exact", "seed": seed}
    fixed["converged"] = found.pid.converged and all(one.converged for one in silent)
    moved = {f"moved_{name}": distance for name, distance in found.reconciliation.items()}
    counted = {"n_samples": sum(map(len, decisions)), "n_conditions": len(parts), "n_per_condition": median(parts)}
    return Measured(pd.DataFrame(rows).assign(**counted, **fixed, **moved), found.pid.atoms, draws.atoms)


def _floor(parts: Sequence[Condition], reference: str, solved: Sequence[PID]) -> dict[str, float]:
    """The mean of the floor's atoms and of their sum over its turns; nothing where it was not measured."""
    turns = []
    for number, (turn, one) in enumerate(zip(TURNS, solved, strict=False)):
        targets = np.stack([part.floor[number].target for part in parts])
        turns.append(_with_total(one.atoms, added(parts, reference, targets, turn)))
    return pd.DataFrame(turns).mean().to_dict()


def _with_total(of: Mapping[str, np.ndarray | float], more: np.ndarray) -> dict[str, np.ndarray | float]:
    """The atoms under a reference that adds so much, and their sum."""
    shifted = of | {"redundancy": of["redundancy"] + more}
    return shifted | {"total": sum(shifted.values())}


def diagnose(extraction: Extraction, tau: float = 0.3) -> dict[str, float]:
    """What to know before a Sensory PID is believed: accuracy, mean entropy in bits and share of fallbacks of the four passes.

    Without a suffix with both senses; ``_vision`` and ``_audio`` with that sense alone, ``_text`` with neither.
    """
    found = {}
    for role, key in PASSES.items():
        suffix = "" if role == "joint" else f"_{role}"
        found[f"accuracy{suffix}"] = extraction.accuracy(key)
        found[f"entropy{suffix}_bits"] = float(entr(extraction.decisions(key, tau)).sum(1).mean() / np.log(2))
        found[f"fallback{suffix}"] = extraction.fallback(key, tau)
    return found


def sensory_table(preset: Preset) -> pd.DataFrame:
    """Sensory atoms and diagnostics of every model on every subset, by every reference, and the published ones: ``table2_sensory``."""
    tables = []
    for (run,) in runs(preset, asked(preset), preset.omni_benchmarks, models=preset.omni_models):
        told = run.columns | diagnose(run.extraction, preset.tau)
        parts = conditions(run.extraction, preset.given, tau=preset.tau)
        found = _rows(preset, run, parts, REFERENCES[preset.given])
        alone = len(run.extraction) - sum(len(part.decisions) for part in parts)
        tables.append(found.assign(n_alone=alone, **{key: told[key] for key in told if key not in found}))
    table = pd.concat([*tables, published()], ignore_index=True).assign(experiment="omni", seed=preset.seed)
    return results.tidy(table, schemas.SENSORY)


def published() -> pd.DataFrame:
    """The paper's table of Sensory PID, as rows of ours; accuracies as shares."""
    table = results.published("table2_sensory")
    atoms = [name for name in table if name in ("redundancy", "unique_vision", "unique_audio", "synergy")]
    kept = [name for name in table if name not in atoms]
    rows = table.melt(id_vars=kept, value_vars=atoms, var_name="atom", value_name="value_bits")
    accuracies = {name: rows[name] / 100 for name in ("accuracy", "accuracy_vision")}
    return rows.assign(benchmark=SUBSET, estimator="published", fingerprint="published", **accuracies)


def recovery(preset: Preset) -> pd.DataFrame:
    """Measured atoms beside those of the ideal answerer, per template of the generated clips, as rows of ``fig_recovery``.

    Given the question, which is right: wordings that mean the same share its law, so that the truth given the meaning t is the truth given
    the text. Given the template, where its questions are thrown together; and given none, where clips of equal content are averaged over
    the questions. Beside each stands its own `truth`; the noise floor beside the first alone.
    """
    generated = [name for name in preset.omni_benchmarks if name.startswith("micro_av/")]
    tables = [_truths(benchmark) for benchmark in generated]
    for (run,) in runs(preset, asked(preset), generated, models=preset.omni_models):
        states = micro_av.states(run.columns["benchmark"].removeprefix("micro_av/"), preset.split, preset.n_omni, preset.seed)
        right = _right(run.extraction)
        for given in GIVEN:
            content = [(v, a) for _, v, a, _ in states] if given == "none" else None
            parts = sorted(conditions(run.extraction, given, content=content, tau=preset.tau), key=lambda one: one.template)
            for template, some in groupby(parts, key=lambda one: one.template):
                found = _rows(preset, run, list(some), floor=len(TURNS) if given == "question" else 0)
                tables.append(found.assign(template=template, accuracy=right[template]))
    table = pd.concat(tables, ignore_index=True).assign(experiment="omni", seed=preset.seed)
    return results.tidy(table, schemas.SENSORY)


def _rows(
    preset: Preset, run: Run, parts: Sequence[Condition], references: Sequence[str] | None = None, floor: int = len(TURNS)
) -> pd.DataFrame:
    """The rows of `measure` with the columns that say where they are from."""
    found = measure(parts, references, n_bootstrap=preset.n_bootstrap, seed=preset.seed, floor=floor).rows
    mark = fingerprint(extraction=run.columns["fingerprint"], analysis="sensory", tau=preset.tau, n_bootstrap=preset.n_bootstrap)
    return found.assign(**{key: run.columns[key] for key in run.columns if key != "n_samples"} | {"fingerprint": mark})


def truth(template: str, given: str) -> PID:
    """The ideal answerer's Sensory PID: what each estimate comes to if nothing is wrong but the conditioning.

    Given the template, what is seen and what is heard are each taken along with the question t: a table of (v, t), (a, t) and y.

    Examples
    --------
    >>> truth("polarity", "question").synergy, truth("polarity", "none").synergy
    (1.0, 0.0)
    """
    if given != "template":
        return micro_av.sensory_truth(template, ignored=given == "none")
    weights, tables = zip(*micro_av.joint(template).values(), strict=True)
    (v, a, k), count = tables[0].shape, len(tables)
    blocks = np.zeros((count, v, count, a, k))
    for t, (weight, table) in enumerate(zip(weights, tables, strict=True)):
        blocks[t, :, t] = weight * table
    return pid(blocks.reshape(count * v, count * a, k), SOURCES)


def _truths(benchmark: str) -> pd.DataFrame:
    """`truth` of every template of a benchmark and every estimate."""
    rows = []
    for template, given in product(micro_av.TASKS[benchmark.removeprefix("micro_av/")], GIVEN):
        solved = truth(template.name, given)
        told = {"benchmark": benchmark, "template": template.name, "given": given, "estimator": "truth", "unimodal": "masked"}
        told |= {"converged": bool(solved.converged), "fingerprint": "truth"}
        rows += [told | {"atom": atom, "value_bits": bits} for atom, bits in solved.atoms.items()]
    return pd.DataFrame(rows)


def _right(extraction: Extraction) -> dict[str, float]:
    """The accuracy on each template, with both senses."""
    best = np.array(extraction.candidates)[extraction.logits[PASSES["joint"]].argmax(1)]
    return pd.Series(best == np.array(extraction.answers)).groupby(np.array(extraction.templates)).mean().to_dict()
