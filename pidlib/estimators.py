"""What a profile of decisions owes to how it is measured: the estimator, how one modality alone is asked, whether options stay in sight.

Three studies, each with one choice changed and everything else kept:

- ``estimator``: the exact solver against BATCH, both on the masked decisions of the first model, with CPU seconds;
- ``alone``: the absent modality masked or resampled, both by the exact solver;
- ``options``: for models that know questions which list their candidates, the picture with question and options hidden (``vision``, and
  with other noise ``vision#1``, which tells what noise alone changes) or with the options in sight (``vision+options``).
"""

import time
from collections.abc import Iterator, Mapping
from itertools import product

import pandas as pd

from pidlib import results, runs, schemas
from pidlib.batch_estimator import batch_pid
from pidlib.decisions import Decisions, decision_pid
from pidlib.experiment import Preset, derive_seed, fingerprint
from pidlib.extraction.masking import FULL, OPTIONS, SOURCES
from pidlib.profiles import certified, decision_profile

#: The ends of the published range: 10 steps of 256 samples, 80 of 64.
TRAINING = ({"epochs": 10, "batch_size": 256}, {"epochs": 20, "batch_size": 64})
SEEDS = 3  # of BATCH
DRAWS = 30  # at most, behind intervals and floors of decisions that are compared here; fig_profiles has as many as the preset says
PICTURE_ALONE = ("vision", "vision#1", OPTIONS)


def estimators_table(preset: Preset, experiment: str = "vision_language") -> pd.DataFrame:
    """Atoms by all three studies; `ESTIMATORS` of `pidlib.schemas`.

    ``fallback`` is the share of decisions from the picture alone that count as uniform because candidates had less than ``tau`` of the
    mass. ``seconds`` and ``ratio``, to the exact solver's, are CPU time on the machine that made the table.
    """
    tables = []
    for (run,) in runs.runs(preset, runs.decisions(preset)):
        tables += _asked_alone(preset, run)
    for (run,) in runs.runs(preset, runs.decisions(preset), models=preset.models[:1]):
        tables += _estimated(preset, run)
    for (run,) in runs.runs(preset, asked(preset), models=preset.options_models):
        tables += _with_options(preset, run)
    table = pd.concat(tables, ignore_index=True).assign(experiment=experiment, source_b="language")
    return results.tidy(table, schemas.ESTIMATORS)


def asked(preset: Preset) -> tuple[runs.Asked]:
    """For the study of options: both modalities, each alone, the picture with other noise and with the options, of listed questions."""
    return (runs.Asked(preset.split, preset.n_samples, preset.seed, (FULL, *SOURCES, *PICTURE_ALONE[1:]), options=True),)


def _asked_alone(preset: Preset, run: runs.Run) -> Iterator[pd.DataFrame]:
    made = {"tau": preset.tau, "n_bootstrap": min(DRAWS, preset.n_bootstrap), "seed": preset.seed}
    for unimodal in preset.unimodal:
        mark = fingerprint(extraction=run.columns["fingerprint"], unimodal=unimodal, **made)
        told = run.columns | {"study": "alone", "fingerprint": mark}
        yield decision_profile(run.extraction, unimodal=unimodal, **made, **told)


def _estimated(preset: Preset, run: runs.Run) -> Iterator[pd.DataFrame]:
    decisions = run.extraction.masked(preset.tau)
    shared = run.columns | {"study": "estimator", "source_a": "vision", "unimodal": "masked"}
    made = {"extraction": run.columns["fingerprint"], "tau": preset.tau}
    start = time.process_time()
    solved = decision_pid(decisions).pid
    exact = time.process_time() - start
    told = {"estimator": "exact", "seed": preset.seed, "converged": solved.converged, "seconds": exact, "ratio": 1.0}
    yield _rows(solved.atoms, solved.bounds, "lower_bits", "upper_bits").assign(**shared | told | {"fingerprint": fingerprint(**made)})
    for training, repeat in product(TRAINING, range(SEEDS)):
        n_batches = preset.n_batches if training["batch_size"] < len(decisions) else 1  # else all batches are the same
        asked = training | {"n_batches": n_batches, "seed": derive_seed(preset.seed, "BATCH", repeat)}
        start = time.process_time()
        found = batch_pid(decisions, embeddings=run.extraction.embeddings, **asked)
        seconds = time.process_time() - start
        ends = {atom: (value - 1.96 * found.spread[atom], value + 1.96 * found.spread[atom]) for atom, value in found.unclamped.items()}
        told = training | {"estimator": "BATCH", "seed": repeat, "seconds": seconds, "ratio": seconds / exact}
        told |= {"fingerprint": fingerprint(**made, **asked)}
        yield _rows(found.unclamped, ends, "ci_low", "ci_high").assign(**shared | told)


def _with_options(preset: Preset, run: runs.Run) -> Iterator[pd.DataFrame]:
    made = {"n_bootstrap": min(DRAWS, preset.n_bootstrap), "seed": preset.seed}
    joint, language = (run.extraction.decisions(key, preset.tau) for key in (FULL, "language"))
    for key in PICTURE_ALONE:
        decisions = Decisions(joint=joint, sources={"vision": run.extraction.decisions(key, preset.tau), "language": language})
        told = run.columns | {"study": "options", "source_a": key, "unimodal": "masked", "estimator": "exact", "seed": preset.seed}
        told |= {"fallback": run.extraction.fallback(key, preset.tau)}
        told |= {"fingerprint": fingerprint(extraction=run.columns["fingerprint"], source=key, tau=preset.tau, **made)}
        yield certified(decisions, **made).assign(**told)


def _rows(atoms: Mapping[str, float], ends: Mapping[str, tuple[float, float]], low: str, high: str) -> pd.DataFrame:
    return pd.DataFrame([{"atom": atom, "value_bits": value, low: ends[atom][0], high: ends[atom][1]} for atom, value in atoms.items()])
