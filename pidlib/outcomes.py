r"""What a training on weighted questions does to a model: settings, and their outcomes, made here or read from the committed ones.

A setting is all that decides an outcome: the model, what it is trained on and how its questions are weighted, the seed, the numbers. The
outcome is what the model answers afterwards, to questions of three sets that share neither question nor picture with each other:

- *train*, drawn anew with each seed, the same for all conditions of it, and scored by the model that is to be trained: a weight is a
  property of its sample;
- *profile*, new questions of the same law: accuracy, and the atoms of the decisions;
- *evaluation*, new questions too, *balanced* where every text is asked with every answer: as many of each, so that whoever knows the text
  alone is right by chance.

And of other benchmarks, what the training may have cost.

``python -m pidlib.outcomes --preset offline --jobs 2`` makes the outcomes of all settings that any table of the experiment needs and that
are not committed yet, and writes ``data/results/reweighting/outcomes.csv``, without those that no table needs any more. Rows are found by
the fingerprint of their setting, so that those of another one, of other weights or of other code are never taken for it.
"""

import argparse
import platform
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import ExitStack
from functools import lru_cache, partial
from importlib.metadata import version
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from filelock import FileLock
from tqdm import tqdm

from pidlib import benchmarks, results, reweighting, runs
from pidlib.benchmarks import Sample
from pidlib.committed import TABLE, beside, committed, named, prove
from pidlib.decisions import Decisions, decision_pid
from pidlib.experiment import Preset, derive_seed, fingerprint, load_preset, project_root
from pidlib.extraction import PASSES, extract
from pidlib.extraction.masking import FULL
from pidlib.models import LoadedModel, load
from pidlib.models.lora import tune
from pidlib.schemas import OUTCOMES
from pidlib.settings import Setting, distinct, evaluation_name
from pidlib.store import MANIFEST, Shard, Store

TOLERANCE = 1e-4  # bits, of the solver


class Outcomes(NamedTuple):
    """Outcomes of settings: rows as `pidlib.schemas.OUTCOMES` says, and where they are from.

    ``made`` of the settings were made now; ``cached`` had been made here before; ``read`` are the committed ones; ``missing`` were neither
    to be made nor committed. ``compared`` were made, now or before, and are committed too, and ``difference`` is the largest between both,
    in the unit of its row; missing if there are none. Those made now prove the committed ones; those before may be what was committed.
    """

    table: pd.DataFrame
    made: int
    cached: int
    read: int
    missing: int
    compared: int
    difference: float

    def __repr__(self) -> str:
        beside = f"; {self.compared} of these are committed too, largest difference {self.difference:.1e}" if self.compared else ""
        here = f"{self.made} settings made now, {self.cached} made here before{beside}"
        return f"{here}; {self.read} read from the committed table, {self.missing} missing"


def scored(preset: Preset, setting: Setting) -> tuple[list[Sample], Decisions, pd.DataFrame]:
    """The training samples of a setting, what its base decides about them, and their scores, whatever the condition.

    Beside the scores stands whether the solver behind them converged.
    """
    train, weighting = setting.questions(preset.allow_unpinned).train, setting.weighting
    base = _load(setting.base, preset.device, preset.allow_unpinned)
    asked = runs.Asked("train", setting.n_tuned, derive_seed(setting.stream, "tuning", setting.seed), PASSES)
    extraction, columns = runs.run(preset, asked, base, setting.trained_on)
    if extraction.sample_ids != tuple(one.sample_id for one in train):
        raise ValueError(f"{setting.trained_on}: the samples scored are not those to be trained on; clear the cache of its extraction")
    decisions = extraction.masked(setting.tau)

    def terms() -> Shard:
        seed = derive_seed(setting.stream, "local terms", setting.seed)
        how = {"embeddings": dict(extraction.embeddings), "tol": TOLERANCE, "device": preset.device}
        found = reweighting.local_terms(decisions, weighting.estimator, seed, **how)
        return Shard(found.terms, {"converged": found.converged})

    told = {"kind": "local terms", "extraction": columns["fingerprint"], "estimator": weighting.estimator, "code": setting.code}
    local = _kept(preset, told | {"tau": setting.tau, "seed": setting.seed, "tol": TOLERANCE}, "local", terms)
    alone = (decisions.sources[name] for name in ("vision", "language"))
    scores = reweighting.scores(*alone, decisions.joint, local.arrays, weighting.epsilon)
    return train, decisions, scores.assign(converged=local.facts["converged"])


def sample_weights(preset: Preset, setting: Setting) -> tuple[np.ndarray, bool]:
    """The weight of each training sample of a setting, and whether the solver behind them converged."""
    train, decisions, scores = scored(preset, setting)
    labels = np.array([one.candidates.index(one.answer) for one in train])
    seed = derive_seed(setting.stream, setting.base, setting.trained_on, setting.seed)
    found = reweighting.weights(setting.condition, scores, decisions, labels, setting.weighting, seed)
    return found, bool(scores["converged"].all())


def outcome(preset: Preset, setting: Setting) -> pd.DataFrame:
    """Train and measure one setting, or read it from the cache; its rows."""
    shard = _kept(preset, setting.identity, "outcome", partial(_made, preset, setting))
    for adapter in _folder(preset, setting.fingerprint).glob("adapter-*"):  # it was there to go on after an interruption
        shutil.rmtree(adapter, ignore_errors=True)
    rows = pd.DataFrame(shard.facts | {"value": shard.arrays["value"]})
    return results.tidy(rows.assign(**setting.told), OUTCOMES)


def outcomes(preset: Preset, settings: Iterable[Setting], jobs: int = 1, *, strict: bool = True) -> Outcomes:
    """Outcomes of settings: those of the first ``n_remade_seeds`` seeds made here, the others read from the committed table.

    Parameters
    ----------
    preset, settings
        Where and with which seeds; what to look for.
    jobs
        Settings made at a time.
    strict
        Refuse what is not proved. Without it, settings that are missing are left out and counted, and differences only told.

    Raises
    ------
    ValueError
        If settings are neither to be made nor committed, or were made here and are not as committed, by `pidlib.committed.prove`.
    """
    settings, known = distinct(settings), committed()
    there = set(known["fingerprint"])
    making = [one for one in settings if one.seed < preset.n_remade_seeds]
    reading = [one for one in settings if one.seed >= preset.n_remade_seeds]
    missing = [one for one in reading if one.fingerprint not in there]
    if missing and strict:
        raise ValueError(
            f"{len(missing)} of {len(settings)} settings are neither made here nor committed, the first {named(missing[0].told)}. If"
            " numbers were changed, make all seeds here: n_tuning_seeds 3 and n_remade_seeds 3. If code was, `python -m pidlib.outcomes`"
            " makes those that are missing"
        )
    cached = sum((_folder(preset, one.fingerprint) / MANIFEST).exists() for one in making)
    fresh = made(preset, making, jobs)
    read = known[known["fingerprint"].isin([one.fingerprint for one in reading])]
    both = beside(fresh, known)
    if strict:
        prove(both)
    return Outcomes(
        table=pd.concat([fresh, read], ignore_index=True),
        made=len(making) - cached,
        cached=cached,
        read=len(reading) - len(missing),
        missing=len(missing),
        compared=both["fingerprint"].nunique(),
        difference=float(both["difference"].max()) if len(both) else np.nan,
    )


def completed(preset: Preset, settings: Iterable[Setting], jobs: int = 1, *, anew: bool = False) -> pd.DataFrame:
    """Rows of settings in their order: the committed ones as they are, unless all are to be made anew; the others made here."""
    settings = distinct(settings)
    known = committed().iloc[: 0 if anew else None]
    there = set(known["fingerprint"])
    fresh = made(preset, [one for one in settings if one.fingerprint not in there], jobs)
    order = {one.fingerprint: place for place, one in enumerate(settings)}
    table = pd.concat([known[known["fingerprint"].isin(list(order))], fresh], ignore_index=True)
    return table.sort_values("fingerprint", key=lambda marks: marks.map(order), kind="stable", ignore_index=True)


def _folder(preset: Preset, mark: str) -> Path:
    return project_root() / preset.cache / mark


def made(preset: Preset, settings: Sequence[Setting], jobs: int = 1) -> pd.DataFrame:
    """Rows of settings that are all made here, several at a time."""
    shared = {}  # what is scored together stays in one process
    for one in settings:
        shared.setdefault((one.base, one.trained_on, one.seed), []).append(one)
    found: dict[str, pd.DataFrame] = {}
    with tqdm(total=len(settings), desc="settings", unit="setting") as bar, ExitStack() as stack:
        if jobs == 1:
            parts = (_several(preset, [one]) for some in shared.values() for one in some)
        else:  # one thread each: two on batches this small take many times as long
            told = {"mp_context": get_context("spawn"), "initializer": torch.set_num_threads, "initargs": (1,)}
            pool = stack.enter_context(ProcessPoolExecutor(jobs, **told))
            stack.callback(pool.shutdown, cancel_futures=True)  # after a failure nothing else is begun
            parts = (one.result() for one in as_completed([pool.submit(_several, preset, some) for some in shared.values()]))
        for part in parts:
            found |= part
            bar.update(len(part))
    return results.tidy(pd.concat([found[one.fingerprint] for one in settings], ignore_index=True) if settings else [], OUTCOMES)


def _several(preset: Preset, settings: Sequence[Setting]) -> dict[str, pd.DataFrame]:
    return {one.fingerprint: outcome(preset, one) for one in settings}


def _kept(preset: Preset, identity: Mapping, name: str, make: Callable[[], Shard]) -> Shard:
    """A shard of the cache, made if it is not there."""
    folder = _folder(preset, fingerprint(**identity))
    folder.mkdir(parents=True, exist_ok=True)
    versions = {name: version(name) for name in ("numpy", "torch", "transformers", "peft")}
    provenance = versions | {"python": platform.python_version(), "device": preset.device, "threads": torch.get_num_threads()}
    with FileLock(folder / ".lock"):
        return Store(folder, identity, provenance).get(name, make)


def _made(preset: Preset, setting: Setting) -> Shard:
    """Train, then ask."""
    base, questions = _load(setting.base, preset.device, preset.allow_unpinned), setting.questions(preset.allow_unpinned)
    model, certified = (base, True) if setting.condition == "A" else _tuned(preset, setting, base, questions.train)
    ask = partial(extract, model, seed=setting.stream, batch_size=preset.batch_size, progress=False)
    profiled = ask(questions.profile, passes=PASSES)
    solved = decision_pid(profiled.masked(setting.tau), tol=TOLERANCE, device=preset.device).pid
    atoms = solved.atoms | {"total": solved.total}
    rows = [(setting.trained_on, atom, value, len(profiled), solved.converged and certified) for atom, value in atoms.items()]
    accuracies = {setting.trained_on: profiled.accuracy()}
    sets = {evaluation_name(setting.trained_on): questions.evaluation}
    sets |= {name: _retained(name, setting.n_retained, setting.stream, preset.allow_unpinned) for name in setting.retained}
    accuracies |= {name: ask(samples, passes=(FULL,)).accuracy() for name, samples in sets.items()}
    sizes = {setting.trained_on: len(profiled)} | {name: len(samples) for name, samples in sets.items()}
    rows += [(name, "accuracy", value, sizes[name], certified) for name, value in accuracies.items()]
    names, measures, values, n, converged = zip(*rows, strict=True)
    facts = {"revision": base.revision, "benchmark": names, "measure": measures, "n": n, "converged": converged}
    facts["n_tuned"] = len(questions.train)  # of some benchmarks there are fewer than were asked for
    facts["steps"] = None if setting.condition == "A" else setting.tuning.length(len(questions.train))
    return Shard({"value": np.array(values, float)}, facts)


def _tuned(preset: Preset, setting: Setting, base: LoadedModel, train: list[Sample]) -> tuple[LoadedModel, bool]:
    weights, converged = (np.ones(len(train)), True) if setting.condition == "B" else sample_weights(preset, setting)
    how = {"sampling": weights} if setting.condition == "H" else {"weights": weights}
    seed = derive_seed(setting.stream, "tuning", setting.base, setting.trained_on, setting.seed)  # the same under all conditions
    # A training that was interrupted goes on only if its weights are the same still.
    folder = project_root() / preset.cache / setting.fingerprint / f"adapter-{fingerprint(weights=weights.tolist())[:12]}"
    return tune(base, train, tuning=setting.tuning, seed=seed, folder=folder, **how), converged


@lru_cache(maxsize=2)
def _load(base: str, device: str, allow_unpinned: bool) -> LoadedModel:
    name, _, revision = base.partition("@")
    return load(name, revision=revision or None, device=device, allow_unpinned=allow_unpinned)


@lru_cache(maxsize=16)
def _retained(name: str, n: int, stream: int, allow_unpinned: bool) -> list[Sample]:
    return benchmarks.load(name, "test", n, stream, allow_unpinned=allow_unpinned)


def main() -> None:
    from pidlib.reweighting_tables import all_settings  # late: it is built on this module

    parser = argparse.ArgumentParser(prog="python -m pidlib.outcomes", description=__doc__.split("\n")[0])
    parser.add_argument("--preset", default="offline", help="smoke, offline, paper, or the path of a .yaml file")
    parser.add_argument("--jobs", type=int, default=1, help="settings at a time, each in a process of its own; on one GPU leave it at 1")
    parser.add_argument("--anew", action="store_true", help="make also what is committed, or read it from the cache")
    chosen = parser.parse_args()
    preset = load_preset(chosen.preset)
    table = completed(preset, all_settings(preset), chosen.jobs, anew=chosen.anew)
    path = results.write(table, preset.table(TABLE))
    tqdm.write(f"wrote {len(table):,} rows of {table['fingerprint'].nunique()} settings to {path}")


if __name__ == "__main__":
    main()
