"""A training: weight its questions by the base's decisions, train an adapter, measure the result.

All conditions of a seed train the same base on the same questions; new ones measure the result.
"""

import platform
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import lru_cache, partial
from importlib.metadata import version

import numpy as np
import pandas as pd
import torch

from pidlib import benchmarks, reweighting
from pidlib._common import derive_seed, fingerprint, project_root
from pidlib.benchmarks import Sample
from pidlib.decomposition.decisions import Decisions, decision_pid
from pidlib.experiments.extractions import Query, extracted
from pidlib.experiments.preset import Preset, parse_model
from pidlib.experiments.reweighting.questions import evaluation_name, questions
from pidlib.experiments.reweighting.settings import TrainingSpec
from pidlib.extraction import FULL, PASSES, drawn, extract
from pidlib.extraction.store import Shard, open_store
from pidlib.models import LoadedModel, load_model
from pidlib.reweighting import Condition

TOLERANCE = 1e-4  # bits, of the solver
_PACKAGES = ("numpy", "torch", "transformers", "peft")  # whose versions are provenance


def scored(preset: Preset, spec: TrainingSpec) -> tuple[list[Sample], Decisions, pd.DataFrame]:
    """The training samples, the base's decisions and their scores, the same for all conditions."""
    train = questions(spec, allow_unpinned=preset.allow_unpinned).train
    base = _load(spec.base, preset.device, preset.allow_unpinned)
    passes = drawn(PASSES, spec.draws)
    query = Query("train", spec.n_tuned, derive_seed(spec.stream, "tuning", spec.seed), passes)
    extraction, columns = extracted(preset, query, base, spec.trained_on)
    if extraction.sample_ids != tuple(sample.sample_id for sample in train):
        text = "samples scored and trained on differ; clear the cache"
        raise ValueError(f"{spec.trained_on}: {text}")
    decisions = replace(extraction.masked(spec.tau), reconciliation=spec.weighting.reconciliation)
    estimator = spec.weighting.estimator
    identity = {"kind": "local terms", "extraction": columns["fingerprint"], "code": spec.code}
    identity |= {"estimator": estimator, "tau": spec.tau, "seed": spec.seed, "tol": TOLERANCE}
    identity["reconciliation"] = spec.weighting.reconciliation

    def make() -> Shard:
        seed = derive_seed(spec.stream, "local terms", spec.seed)
        options = {"embeddings": dict(extraction.embeddings), "device": preset.device}
        options["tol"] = TOLERANCE
        terms, converged = reweighting.local_terms(decisions, estimator, seed, **options)
        return Shard(terms, {"converged": converged})

    local = cached_shard(preset, identity, "local", make)
    scores = reweighting.scores(decisions, local.arrays, spec.weighting.epsilon)
    return train, decisions, scores.assign(converged=local.facts["converged"])


def sample_weights(preset: Preset, spec: TrainingSpec) -> tuple[np.ndarray, bool]:
    """The weight of each training sample, and whether the solver behind it converged."""
    train, decisions, scores = scored(preset, spec)
    labels = np.array([sample.candidates.index(sample.answer) for sample in train])
    seed = derive_seed(spec.stream, spec.base, spec.trained_on, spec.seed)
    options = scores, decisions, labels, spec.weighting, seed
    return reweighting.weights(spec.condition, *options), bool(scores["converged"].all())


def train_and_measure(preset: Preset, spec: TrainingSpec) -> Shard:
    """Train the adapter; measure atoms (bits) and accuracies (shares) of the trained model."""
    base = _load(spec.base, preset.device, preset.allow_unpinned)
    train, profiled, evaluated = questions(spec, allow_unpinned=preset.allow_unpinned)
    model, certified, steps = base, True, None
    if spec.mislabeled:
        train = mislabeled(preset, spec, train)
    if spec.condition != Condition.BASE:
        model, certified = _trained(preset, spec, base, train)
        steps = spec.tuning.length(len(train))
    options = {"seed": spec.stream, "batch_size": preset.batch_size, "progress": False}
    answer, on = partial(extract, model, **options), benchmarks.canonical(spec.trained_on)
    profile = answer(profiled, passes=drawn(PASSES, spec.draws))
    solved = decision_pid(profile.masked(spec.tau), tol=TOLERANCE, device=preset.device).pid
    converged = solved.converged and certified
    atoms = solved.atoms | {"total": solved.total}
    rows = [(on, atom, value, len(profile), converged) for atom, value in atoms.items()]
    answers = {on: profile, evaluation_name(on): answer(evaluated, passes=(FULL,))}
    for name in spec.retained:
        samples = _retained(name, spec.n_retained, spec.stream, preset.allow_unpinned)
        answers[benchmarks.canonical(name)] = answer(samples, passes=(FULL,))
    rows += [(name, "accuracy", a.accuracy(), len(a), certified) for name, a in answers.items()]
    names, measures, values, n, converged = zip(*rows, strict=True)
    facts = {"revision": base.revision, "benchmark": names, "measure": measures, "n": n}
    facts |= {"converged": converged, "n_tuned": len(train), "steps": steps}
    return Shard({"value": np.array(values, float)}, facts)


def mislabeled(preset: Preset, spec: TrainingSpec, train: list[Sample]) -> list[Sample]:
    """Give the samples listed as shortcuts, or as many, the next candidate as their answer."""
    listed = sample_weights(preset, replace(spec, mislabeled="", condition=Condition.PID))[0] < 1
    if spec.mislabeled == "random":
        seed = derive_seed(spec.stream, "mislabeled", spec.base, spec.trained_on, spec.seed)
        listed = np.random.default_rng(seed).permutation(listed)
    result = []
    for sample, wrong in zip(train, listed, strict=True):
        following = sample.candidates.index(sample.answer) + 1
        answer = sample.candidates[following % len(sample.candidates)]
        result.append(replace(sample, answer=answer) if wrong else sample)
    return result


def _trained(
    preset: Preset, spec: TrainingSpec, base: LoadedModel, train: list[Sample]
) -> tuple[LoadedModel, bool]:
    from pidlib.training.lora import tune

    weights, converged = np.ones(len(train)), True
    if spec.condition != Condition.UNIFORM:
        weights, converged = sample_weights(preset, spec)
    # All conditions share the seed. An interrupted training resumes only with equal weights.
    seed = derive_seed(spec.stream, "tuning", spec.base, spec.trained_on, spec.seed)
    name = f"adapter-{fingerprint(weights=weights.tolist())[:12]}"
    options = {"seed": seed, "folder": project_root() / preset.cache / spec.fingerprint / name}
    options["sampling" if spec.condition == Condition.PID_SAMPLING else "weights"] = weights
    return tune(base, train, tuning=spec.tuning, **options), converged


def cached_shard(preset: Preset, identity: Mapping, name: str, make: Callable[[], Shard]) -> Shard:
    """A shard of the cache, made if it is missing; a lock keeps other processes waiting."""
    provenance = {package: version(package) for package in _PACKAGES}
    provenance |= {"python": platform.python_version(), "device": preset.device}
    provenance["threads"] = torch.get_num_threads()
    with open_store(project_root() / preset.cache, identity, provenance) as store:
        return store.get(name, make)


@lru_cache(maxsize=2)
def _load(name: str, device: str, allow_unpinned: bool) -> LoadedModel:
    label, place, revision = parse_model(name)
    options = {"revision": revision, "device": device, "allow_unpinned": allow_unpinned}
    return replace(load_model(place, **options), name=label)


@lru_cache(maxsize=16)
def _retained(name: str, n: int, stream: int, allow_unpinned: bool) -> list[Sample]:
    return benchmarks.load(name, "test", n, stream, allow_unpinned=allow_unpinned)
