r"""How far synergy of sight and sound stays below its ceiling, of three minis and by loudness.

The ceiling is the ideal answerer's (`pidlib.benchmarks.micro_av.sensory_truth`). One thing is varied: how loud the sound is before its
noise floor, of the same clips and with the same right answers; if the sound is too weak, synergy rises with loudness. The minis are set
side by side: they differ in the share of questions about sound in training, in that of questions of both senses, in how often the sound
was another's and in steps, and each is one training, so that no cause of what parts them can be told.
"""

from collections.abc import Iterator, Mapping
from functools import partial

import numpy as np
import pandas as pd

from pidlib import results, schemas, sensory_tables
from pidlib.benchmarks import micro_av
from pidlib.experiment import Preset, fingerprint
from pidlib.extraction import Extraction
from pidlib.gating import FUSION, Measured, measured
from pidlib.models.recipes import RECIPES
from pidlib.runs import Asked, Run, runs

NEED_BOTH = (FUSION, "micro_av/gated", "micro_av/polarity")
GAINS = (0.0, 0.03, 0.1, 0.3, 1.0)  # of the soundtrack: only noise, -30, -20, -10 and 0 dB
AUDIBLE = 0.3  # from here to 1 there is more loudness and, if it is heard as well, no more information
CHANGED = ("synergy", "unique_vision")


def asked(preset: Preset) -> tuple[Asked, ...]:
    """Of the minis that differ in their training: Sensory atoms, and the same with softer sound."""
    (one,) = sensory_tables.asked(preset)
    softer = (partial(micro_av.attenuated, gain=gain) for gain in GAINS)
    return (one, *(one._replace(n_samples=preset.n_omni_intervened, change=change) for change in softer))


def audio_share(model: str) -> float:
    """The share of questions about sound alone in a mini's training; missing where there is no recipe.

    >>> audio_share("qwen2_5_omni_compact_hearing") > audio_share("qwen2_5_omni_compact") > audio_share("qwen2_5_omni_compact_seeing") > 0
    True
    """
    mixture = RECIPES[model].mixture if model in RECIPES else {}
    return mixture.get("micro_av/audio", 0.0) / sum(mixture.values()) if mixture else np.nan


def truth(templates: Mapping[str, int]) -> dict[str, float]:
    """Atoms of the ideal answerer in bits, in the mean over templates that occur so often."""
    ideal = {name: micro_av.sensory_truth(name).atoms for name in templates}
    count = sum(templates.values())
    return {atom: sum(ideal[name][atom] * times for name, times in templates.items()) / count for atom in next(iter(ideal.values()))}


def bottleneck_table(preset: Preset) -> pd.DataFrame:
    """Atoms beside their ceiling by mini and by loudness, and the changes, as rows of ``fig_bottleneck``.

    Kind ``training``: a mini on a benchmark. ``salience``: the same on `FUSION` at a gain. ``change``: how synergy and U_vision differ in
    bits, with an interval of differences over the same samples: between the minis that were asked least and most about sound (``model``
    names the latter; ``gain`` is missing), and, of each mini, between the least gain or `AUDIBLE` (in ``gain``) and 1. The intervals draw
    questions alone: what another training of the same mini would give is not in them.
    """
    known = [name for name in NEED_BOTH if name in preset.omni_benchmarks]
    rows, trained = [], {}
    for (run,) in runs(preset, asked(preset)[:1], known, models=preset.bottleneck_models):
        told, found = _measured(preset, run, 1.0)
        rows.append(found.rows.assign(kind="training", **told))
        trained.setdefault(told["benchmark"], []).append((told, found))
    for several in runs(preset, asked(preset)[1:], [FUSION], models=preset.bottleneck_models):
        heard = {gain: _measured(preset, run, gain) for gain, run in zip(GAINS, several, strict=True)}
        rows += [found.rows.assign(kind="salience", **told) for told, found in heard.values()]
        rows += [pd.DataFrame(_changes(heard[gain], heard[1.0], gain)) for gain in (GAINS[0], AUDIBLE)]
    for several in trained.values():
        if len(several) > 1:
            least, *_, most = sorted(several, key=lambda one: one[0]["audio_share"])
            rows.append(pd.DataFrame(_changes(least, most, np.nan)))
    table = pd.concat(rows, ignore_index=True).assign(experiment="omni", seed=preset.seed)
    return results.tidy(table, schemas.SCHEMAS["fig_bottleneck"])


def _measured(preset: Preset, run: Run, gain: float) -> tuple[dict[str, object], Measured]:
    made = {name: getattr(preset, name) for name in ("tau", "n_bootstrap", "seed")}
    mark = fingerprint(extraction=run.columns["fingerprint"], analysis="bottleneck", **made)
    told = run.columns | {"gain": gain, "audio_share": audio_share(run.columns["model"]), "fingerprint": mark}
    found = measured(run.extraction, **made)
    ceiling = found.rows["atom"].map(truth(_counted(run.extraction)))
    rows = found.rows.assign(truth_bits=ceiling, accuracy=run.extraction.accuracy())
    return told, found._replace(rows=rows)


def _counted(extraction: Extraction) -> dict[str, int]:
    return dict(zip(*np.unique(extraction.templates, return_counts=True), strict=True))


def _changes(before: tuple[dict, Measured], after: tuple[dict, Measured], gain: float) -> Iterator[dict[str, object]]:
    """From one to the other, whose draws are of the same samples."""
    told = after[0] | {"kind": "change", "gain": gain}
    told["fingerprint"] = fingerprint(of=[before[0]["fingerprint"], after[0]["fingerprint"]])
    for atom in CHANGED:
        value = after[1].atoms[atom] - before[1].atoms[atom]
        draws = after[1].draws[atom] - before[1].draws[atom]
        low, high = np.quantile(draws, [0.025, 0.975]) - draws.mean() + value
        yield told | {"atom": atom, "value_bits": value, "ci_low": low, "ci_high": high, "estimator": "exact", "unimodal": "masked"}
