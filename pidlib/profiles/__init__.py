"""Profile a model: the atoms of its decisions with intervals, nulls, diagnostics and warnings."""

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
from pidlib.extraction.job import draw_partners
from pidlib.models import LoadedModel, load_model
from pidlib.profiles.clips import sensory_profile
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

    Pictures with questions have the sources vision and language, and decisions from one of them in
    two modes. ``masked``: the tokens of the other are replaced by calibrated noise. ``resampled``:
    p(y | v) is the mean of p(y | v, t) over questions t drawn independently of v. Clips with sound
    have the sources vision and audio given the question (`pidlib.sensory`), masked.

    Parameters
    ----------
    model
        From `load_model`, or its name. `Decisions` are decomposed without nulls.
    samples, n
        Samples with one set of candidates; or the name of a benchmark, and their number.
    partners
        Questions that each picture is paired with in the resampled mode; 0 omits this mode.
    tau
        Candidate mass below which a decision is replaced by the uniform one (fallback).
    given
        Condition of Sensory PID: ``"question"`` (its text) or ``"template"`` (its form).
    n_bootstrap, seed
        Resamples per interval; seed of noise, partners and resamples.
    cache, batch_size
        As of `pidlib.extract`: an interrupted profile resumes, a finished one is read.
    device
        Of a model given by name, and of decisions.
    progress
        Print the number of forward passes first, and show a progress bar.

    Raises a ValueError before any work for invalid input; issues `Profile.warnings` too.
    """
    known = sensory.CONDITIONS[:2]
    checks = {
        f"partners={partners}; give 0 (no resampled mode) or more": partners >= 0,
        f"tau={tau} is a share of probability; give 0 to 1": 0 <= tau <= 1,
        f"n_bootstrap={n_bootstrap}; give 2 or more, and 100 for an interval": n_bootstrap >= 2,
        f"batch_size={batch_size}; give 1 or more": batch_size >= 1,
        f"unknown condition {given!r}; choose 'question' or 'template'": given in known,
    }
    for text, valid in checks.items():
        if not valid:
            raise ValueError(text)
    bootstrap = {"n_bootstrap": n_bootstrap, "seed": seed}
    if isinstance(model, Decisions):
        if samples is not None or n is not None or cache is not None:
            raise ValueError("got decisions with samples, n or cache; give the decisions alone")
        rows, draws, *_ = measure_decisions(model, **bootstrap, device=device)
        first, second = model.sources
        rows = rows.assign(source_a=first, source_b=second, unimodal="decisions", null_mean=np.nan)
        rows["n_samples"] = len(np.unique(model.groups))
        labels = {"model": "decisions", "benchmark": "a table"}
        return report(rows, {"decisions": draws}, model.ids, **labels, **bootstrap)
    if samples is None:
        raise ValueError("got a model without samples; give samples or the name of a benchmark")
    if isinstance(samples, str):
        samples = benchmarks.load(samples, "test", n=n, seed=seed)
    elif n is not None:
        raise ValueError(f"n={n} is for a benchmark given by name; pass samples[:{n}]")
    clips = any(sample.video is not None or sample.audio is not None for sample in samples)
    passes, partners = (sensory.REQUIRED, 0) if clips else ((*PASSES, *NOISE), partners)
    samples = check_samples(samples, passes, partners)
    if isinstance(model, str | Path):
        model = load_model(model, device=device)
    check_samples(samples, passes, partners, model)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        if progress:
            pairs = sum(map(len, draw_partners(samples, partners, seed))) if partners else 0
            count = len(samples) * len(passes) + pairs
            print(f"{model.name}: {count:,} forward passes on {model.device}", file=sys.stderr)
        options = {"seed": seed, "cache": cache, "batch_size": batch_size, "progress": progress}
        extraction = extract(model, samples, passes=passes, partners=partners, **options)
        if clips:
            groups = sensory.split_by(extraction, given, tau=tau)
    if clips:
        measured = {"masked": sensory_profile(groups, **bootstrap)}
    else:
        options = {"tau": tau, "device": model.device, **bootstrap}
        modes = MODES if partners else MODES[:1]
        measured = {mode: measure_mode(extraction, mode, **options) for mode in modes}
    rows = pd.concat([part.rows for part in measured.values()], ignore_index=True)
    return report(
        rows[rows["atom"] != "total"],
        {mode: part.draws for mode, part in measured.items()},
        extraction.sample_ids,
        diagnose(extraction, tau, measured["masked"].moved),
        extraction,
        [str(entry.message) for entry in caught if entry.category is UserWarning],
        model=model.name,
        revision=model.revision,
        benchmark=", ".join(dict.fromkeys(sample.benchmark for sample in samples)),
        tau=tau,
        partners=partners,
        **bootstrap,
    )
