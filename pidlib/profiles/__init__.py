"""Profile a model: the atoms of its decisions with intervals, nulls, diagnostics and warnings."""

import sys
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from pidlib import benchmarks, sensory
from pidlib._common import fingerprint, unknown_name
from pidlib.benchmarks import Sample
from pidlib.benchmarks.orders import in_orders
from pidlib.decomposition.decisions import Decisions
from pidlib.decomposition.resampling import N_HALVES
from pidlib.extraction import DRAWS, PASSES, extract
from pidlib.extraction.checks import check_samples
from pidlib.extraction.job import draw_partners
from pidlib.extraction.masking import MASKS, drawn
from pidlib.extraction.reader import Reader
from pidlib.models import LoadedModel, load_model
from pidlib.profiles.check import likeliest_tokens, unknown_words
from pidlib.profiles.clips import sensory_profile
from pidlib.profiles.modes import MODES, diagnose, measure_decisions, measure_mode
from pidlib.profiles.orders import averaged
from pidlib.profiles.report import LIMITS, Profile, compare, report

__all__ = ["Profile", "compare", "profile"]

CONDITIONS = ("question", "template")
N_REGRESSED = 32  # fewest samples for the observational mode
N_SHOWN = 8  # samples for the tokens that are likelier than the candidates


def profile(
    model: LoadedModel | str | Path | Decisions,
    samples: Sequence[Sample] | str | None = None,
    *,
    n: int | None = None,
    partners: int = 32,
    draws: int = DRAWS,
    orders: int = 1,
    mask: str = "noise",
    tau: float = 0.3,
    given: str = "question",
    n_halves: int = N_HALVES,
    seed: int = 0,
    cache: str | Path | None = None,
    batch_size: int = 32,
    device: str = "auto",
    progress: bool = True,
) -> Profile:
    """Profile a model: how much of the information about its decisions is in each modality.

    Pictures with questions have the sources vision and language, and decisions from one of them in
    three modes. ``masked``: the tokens of the other are replaced, by calibrated noise or another
    `mask`. ``resampled``: p(y | v) is the mean of p(y | v, t) over questions t drawn independently
    of v. ``observational``: p(y | v) is regressed on the embeddings of pictures. Clips with sound
    have the sources vision and audio given the question (`pidlib.sensory`), masked. Raises a
    ValueError before any work for invalid input; issues the first of `Profile.warnings`.

    Parameters
    ----------
    model, device
        From `load_model`, or its name, and its device. `Decisions` are decomposed without nulls.
    samples, n
        Samples with one set of candidates; or the name of a benchmark, and their number.
    partners
        Questions that each picture is paired with in the resampled mode; 0 omits this mode.
    draws
        Draws of the mask that are averaged, so that noise is not counted as information.
    orders
        Cyclic orders of listed options in which each question is asked; answers are averaged by
        content, over as many orders as options without preference for a letter or place. See
        `orders.averaged`; options that name others ("both A and B") change their meaning.
    mask, cache, batch_size
        As of `pidlib.extract`: an interrupted profile resumes, a finished one is read.
    tau
        Candidate mass below which a decision is replaced by the uniform one (fallback).
    given
        Condition of Sensory PID: ``"question"`` (its text) or ``"template"`` (its form).
    n_halves, seed
        Halves of the samples that correct the bias of finite n and give the intervals, see
        `pidlib.decomposition.resampling`; seed of noise, partners and halves.
    progress
        Print the number of forward passes first, and show a progress bar.
    """
    is_model = isinstance(model, LoadedModel | str | Path | Decisions)
    checks = {
        f"the model is a {type(model).__name__}; give load_model(FOLDER), or Decisions": is_model,
        f"partners={partners}; give 0 (no resampled mode) or more": partners >= 0,
        f"tau={tau} is a share of probability; give 0 to 1": 0 <= tau <= 1,
        f"n_halves={n_halves}; give 2 or more, and {N_HALVES} for an interval": n_halves >= 2,
        f"orders={orders}; give 1 (as listed), or up to the number of options": orders >= 1,
        f"draws={draws}; give 1 or more, and {DRAWS} to average the noise": draws >= 1,
        f"batch_size={batch_size}; give 1 or more": batch_size >= 1,
        unknown_name("condition", given, CONDITIONS): given in CONDITIONS,
        unknown_name("mask", mask, MASKS): mask in MASKS,
    }
    for text, valid in checks.items():
        if not valid:
            raise ValueError(text)
    sampling = {"n_halves": n_halves, "seed": seed}
    if isinstance(model, Decisions):
        if samples is not None or n is not None or cache is not None or orders > 1:
            raise ValueError("decisions with samples, n, cache or orders; give the decisions alone")
        rows, halves, *_ = measure_decisions(model, **sampling, device=device)
        first, second = model.sources
        rows = rows.assign(source_a=first, source_b=second, unimodal="decisions", null_mean=np.nan)
        rows["n_samples"] = model.n_samples
        labels = {"model": "decisions", "benchmark": "a table"}
        return report(rows, {"decisions": halves}, model.ids, decisions=model, **labels, **sampling)
    revision = ""
    if isinstance(samples, str | Path):
        revision = benchmarks.revision(samples)
        samples = benchmarks.load(samples, "test", n=n, seed=seed)
    elif n is not None:
        raise ValueError(f"n={n} is for a benchmark given by name; pass samples[:{n}]")
    samples = check_samples(samples)
    clips = any(sample.video is not None or sample.audio is not None for sample in samples)
    passes, partners = (sensory.PASSES.values(), 0) if clips else (PASSES, partners)
    passes = drawn(tuple(passes), draws)
    samples = check_samples(samples, passes, partners)
    asked = in_orders(samples, orders)
    if isinstance(model, str | Path):
        model = load_model(model, device=device)
    check_samples(samples, passes, partners, model)
    if progress:
        pairs = sum(map(len, draw_partners(samples, partners, seed))) if partners else 0
        count = (len(samples) * len(passes) + pairs) * orders
        cached = "" if cache is None else f", but for those in {cache}"
        print(f"{model.name}: {count:,} forward passes on {model.device}{cached}", file=sys.stderr)
    with warnings.catch_warnings(record=True, action="always") as caught:
        options = {"seed": seed, "cache": cache, "batch_size": batch_size, "progress": progress}
        options |= {"passes": passes, "partners": partners, "mask": mask}
        made = [extract(model, each, **options) for each in asked]
        extraction, spread = averaged(made, samples)
        groups = sensory.split_by(extraction, given, tau=tau) if clips else []
    notes = unknown_words(model, samples)
    notes += [str(entry.message) for entry in caught if entry.category is UserWarning]
    if extraction.fallback(tau=tau) > LIMITS["fallback"][0]:
        reader = Reader(model, samples[0].candidates, (), samples[0].question, batch_size=1)
        said = likeliest_tokens(reader, samples[:N_SHOWN])
        notes.append(f"instead of a candidate, the likeliest tokens are {said}")
    if clips:
        measured = {"masked": sensory_profile(groups, **sampling)}
    else:
        options = {"tau": tau, "device": model.device, **sampling}
        use = {"masked": True, "resampled": partners, "observational": len(samples) >= N_REGRESSED}
        measured = {}
        for mode in filter(use.get, MODES):
            with warnings.catch_warnings(record=True, action="always") as caught:
                measured[mode] = measure_mode(extraction, mode, **options)
            own = (str(entry.message) for entry in caught if entry.category is UserWarning)
            notes += dict.fromkeys(f"{mode}: {text}" for text in own)
    rows = pd.concat([part.rows for part in measured.values()], ignore_index=True)
    revision = revision or fingerprint(samples=[extraction.questions, extraction.media])
    benchmark = ", ".join(dict.fromkeys(sample.benchmark for sample in samples))
    labels = {"model": model.name, "revision": model.revision, "benchmark": benchmark}
    labels |= {"benchmark_revision": revision, "dtype": str(model.model.dtype).split(".")[-1]}
    labels |= {"tau": tau, "partners": partners, "draws": draws, "orders": orders, "mask": mask}
    rows, halves = rows[rows["atom"] != "total"], {mode: m.draws for mode, m in measured.items()}
    diagnostics = diagnose(extraction, tau, measured["masked"].solved) | spread
    decisions = None if clips else extraction.masked(tau)
    known = rows, halves, extraction.sample_ids, diagnostics, extraction, notes, decisions
    return report(*known, **labels, **sampling)
