r"""Profile a model: the atoms of its decisions with intervals, nulls, diagnostics and warnings.

The decisions from one modality alone are measured in two ways. ``masked``: the tokens of the absent
modality are replaced by calibrated noise. ``resampled``: p(y | v) is the mean of p(y | v, t) over
questions t drawn independently of v. Clips with sound are profiled by Sensory PID: the sources are
vision and audio, given the question, masked.
"""

import sys
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from pidlib import benchmarks, sensory
from pidlib.benchmarks import Sample
from pidlib.decomposition.decisions import Decisions
from pidlib.extraction import PASSES, extract
from pidlib.extraction.checks import check_samples
from pidlib.extraction.partners import draw_partners
from pidlib.models import LoadedModel, load_model
from pidlib.profiles import clips
from pidlib.profiles.modes import MODES, NOISE, diagnose, measure_decisions, measure_mode
from pidlib.profiles.report import Profile, compare, report

__all__ = ["Profile", "compare", "diagnose", "measure_decisions", "measure_mode", "profile"]


def profile(
    model: LoadedModel | str | Path | Decisions,
    samples: Sequence[Sample] | str | None = None,
    *,
    n: int | None = None,
    partners: int = 32,
    tau: float = 0.3,
    given: str = "question",
    n_bootstrap: int = 200,
    seed: int = 0,
    cache: str | Path | None = None,
    batch_size: int = 32,
    device: str = "auto",
    progress: bool = True,
) -> Profile:
    """Profile a model: how much of the information about its decisions is in each modality.

    The samples choose the decomposition. Pictures with questions: vision and language, masked and
    resampled. Clips with sound: vision and audio given the question (Sensory PID), masked.

    Parameters
    ----------
    model
        From `load_model`, or its name. `Decisions` are decomposed without nulls.
    samples
        Samples with one set of candidates, or the name of a benchmark.
    n
        Number of samples of a benchmark given by name.
    partners
        Questions that each picture is paired with in the resampled mode; 0 omits this mode.
    tau
        Candidate mass below which a decision is replaced by the uniform one (fallback).
    given
        Condition of Sensory PID: ``"question"`` (its text) or ``"template"`` (its form).
    n_bootstrap, seed
        Resamples per interval; seed of noise, partners and resamples.
    cache
        Folder for extractions: an interrupted profile resumes there, a finished one is read.
    batch_size, device
        Samples per forward pass; device of a model given by name.
    progress
        Print the number of forward passes first, and show a progress bar.

    Raises
    ------
    ValueError
        Before any work, for invalid options or samples.

    Warns
    -----
    UserWarning
        With the text of each entry of `Profile.warnings`.
    """
    _check_options(partners, tau, given, n_bootstrap)
    if isinstance(model, Decisions):
        if samples is not None or n is not None or cache is not None:
            raise ValueError("got decisions with samples, n or cache; give the decisions alone")
        rows, draws, _ = measure_decisions(model, n_bootstrap, seed, device)
        first, second = model.sources
        rows = rows.assign(source_a=first, source_b=second, unimodal="decisions", null_mean=np.nan)
        rows["n_samples"] = len(np.unique(model.groups))
        settings = {"n_bootstrap": n_bootstrap, "seed": seed}
        labels = {"model": "decisions", "benchmark": "a table"}
        return report(rows, {"decisions": draws}, model.ids, **labels, **settings)
    if samples is None:
        raise ValueError("got a model without samples; give samples or the name of a benchmark")
    if isinstance(samples, str):
        samples = benchmarks.load(samples, "test", n=n, seed=seed)
    elif n is not None:
        raise ValueError(f"n={n} is for a benchmark given by name; pass samples[:{n}]")
    has_audio = any(sample.audio is not None for sample in samples)
    if not has_audio and any(sample.video is not None for sample in samples):
        raise ValueError("videos without sound cannot be profiled; give pictures, or add the sound")
    passes, partners = (sensory.REQUIRED, 0) if has_audio else ((*PASSES, *NOISE), partners)
    samples = check_samples(samples, passes, partners)
    if isinstance(model, str | Path):
        model = load_model(model, device=device)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        if progress:
            pairs = sum(map(len, draw_partners(samples, partners, seed))) if partners else 0
            count = len(samples) * len(passes) + pairs
            print(f"{model.name}: {count:,} forward passes on {model.device}", file=sys.stderr)
        extraction = extract(
            model,
            samples,
            passes=passes,
            partners=partners,
            seed=seed,
            cache=cache,
            batch_size=batch_size,
            progress=progress,
        )
        if has_audio:
            groups = sensory.split_by(extraction, given, tau=tau)
    notes = [str(entry.message) for entry in caught if entry.category is UserWarning]
    if has_audio:
        measured = {"masked": clips.sensory_profile(groups, n_bootstrap=n_bootstrap, seed=seed)}
        rows = measured["masked"].rows
        moved = {name: rows[name].iloc[0] for name in ("moved_vision", "moved_audio")}
        diagnostics = clips.diagnose(extraction, tau) | moved
        measured["masked"] = measured["masked"]._replace(rows=rows[rows["atom"] != "total"])
    else:
        modes = MODES if partners else MODES[:1]
        diagnostics = diagnose(extraction, tau)
        options = {"n_bootstrap": n_bootstrap, "seed": seed, "device": model.device}
        measured = {mode: measure_mode(extraction, mode, tau, **options) for mode in modes}
    return report(
        pd.concat([part.rows for part in measured.values()], ignore_index=True),
        {mode: part.draws for mode, part in measured.items()},
        extraction.sample_ids,
        diagnostics,
        extraction,
        notes,
        model=model.name,
        revision=model.revision,
        benchmark=", ".join(dict.fromkeys(sample.benchmark for sample in samples)),
        tau=tau,
        partners=partners,
        n_bootstrap=n_bootstrap,
        seed=seed,
    )


def _check_options(partners: int, tau: float, given: str, n_bootstrap: int) -> None:
    if partners < 0:
        raise ValueError(f"partners={partners}; give 0 (no resampled mode) or more")
    if not 0 <= tau <= 1:
        raise ValueError(f"tau={tau} is a share of probability; give 0 to 1")
    if n_bootstrap < 2:
        raise ValueError(f"n_bootstrap={n_bootstrap}; give at least 2, and 100 for an interval")
    if given not in sensory.CONDITIONS[:2]:
        raise ValueError(f"unknown condition {given!r}; choose 'question' or 'template'")
