"""Outcomes of trainings: made here, or read from the committed table.

A notebook makes the outcomes of the first ``n_remade_seeds`` seeds, compares them with the
committed table, and reads those of the other seeds. ``python -m pidlib.experiments.reweighting``
makes those not committed yet. Rows are found by the fingerprint of their training.
"""

import shutil
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from functools import partial
from multiprocessing import get_context
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from tqdm import tqdm

from pidlib._common import project_root
from pidlib.experiments.preset import Preset
from pidlib.experiments.reweighting.plan import all_trainings
from pidlib.experiments.reweighting.settings import TrainingSpec, distinct
from pidlib.experiments.reweighting.training import cache_folder, cached_shard, train_and_measure
from pidlib.experiments.tables import Columns, of_type, read, validate

TABLE = "reweighting/outcomes"
QUESTIONS, SHARE, BITS = 3, 0.01, 0.02  # tolerances between machines

# A row per measure and benchmark of a trained model; hyperparameters without effect are missing.
COLUMNS = Columns(
    {
        **of_type("string", "base", "revision", "trained_on", "condition"),
        **of_type("Int64", "seed", "n_tuned", "steps", "rank"),
        **of_type("Float64", "learning_rate", "last", "top_gap", "top_shortcut"),
        **of_type("Float64", "gap_weight", "shortcut_weight"),
        **of_type("string", "estimator", "benchmark", "measure"),
        "value": "Float64",  # a share for accuracy, bits for total and the atoms
        "n": "Int64",
        "converged": "boolean",
        "fingerprint": "string",
    },
    required=(
        *("base", "trained_on", "condition", "seed", "benchmark", "measure"),
        *("value", "n", "fingerprint"),
    ),
)


class Outcomes(NamedTuple):
    """Outcomes, and how many trainings were made now, made here before, and read.

    ``compared`` of those made here are committed too; ``difference`` is their largest difference
    from the committed table, in the unit of its row.
    """

    table: pd.DataFrame
    made: int
    cached: int
    read: int
    compared: int
    difference: float

    def __repr__(self) -> str:
        text = f"{self.made} trainings made now, {self.cached} made here before"
        if self.compared:
            text += f" ({self.compared} committed too, largest difference {self.difference:.1e})"
        return f"{text}, {self.read} read from the committed table"


def outcomes(preset: Preset, specs: Iterable[TrainingSpec], jobs: int = 1) -> Outcomes:
    """Make the outcomes of the first ``n_remade_seeds`` seeds, and read those of the others.

    Raises
    ------
    ValueError
        If an outcome is neither made here nor committed, or if `check_committed` raises.
    """
    from pidlib.extraction.store import MANIFEST

    specs, committed = distinct(specs), load_committed()
    here = [spec for spec in specs if spec.seed < preset.n_remade_seeds]
    others = {spec.fingerprint: spec for spec in specs if spec.seed >= preset.n_remade_seeds}
    known = set(committed["fingerprint"])
    missing = [spec for key, spec in others.items() if key not in known]
    if missing:
        raise ValueError(
            f"{len(missing)} of {len(specs)} trainings are neither made here nor committed, the "
            f"first {_describe(missing[0].columns)}. If numbers were changed, make all seeds here: "
            "n_tuning_seeds 3 and n_remade_seeds 3. If code was, "
            "`python -m pidlib.experiments.reweighting` makes the missing trainings"
        )
    folders = [cache_folder(preset, spec.fingerprint) for spec in here]
    cached = sum((folder / MANIFEST).exists() for folder in folders)
    made = make_outcomes(preset, here, jobs)
    both = check_committed(made, committed)
    read_here = committed[committed["fingerprint"].isin(list(others))]
    return Outcomes(
        table=pd.concat([made, read_here], ignore_index=True),
        made=len(here) - cached,
        cached=cached,
        read=len(others),
        compared=both["fingerprint"].nunique(),
        difference=float(both["difference"].max()) if len(both) else np.nan,
    )


def complete(
    preset: Preset, specs: Iterable[TrainingSpec], jobs: int = 1, *, retrain: bool = False
) -> pd.DataFrame:
    """Outcomes in the order of the trainings, committed or, all with ``retrain``, made here."""
    specs = distinct(specs)
    committed = load_committed().iloc[: 0 if retrain else None]
    known = set(committed["fingerprint"])
    made = make_outcomes(preset, [spec for spec in specs if spec.fingerprint not in known], jobs)
    order = {spec.fingerprint: place for place, spec in enumerate(specs)}
    table = pd.concat([committed, made], ignore_index=True)
    places = table["fingerprint"].map(order).dropna().sort_values(kind="stable")
    return table.loc[places.index].reset_index(drop=True)


def rerun(preset: Preset, jobs: int = 1) -> str:
    """Make the outcomes of the first seeds, as the notebooks do; print and return a summary."""
    specs = [spec for spec in all_trainings(preset) if spec.seed < preset.n_remade_seeds]
    rows = make_outcomes(preset, specs, jobs)
    summary = f"{len(rows):,} outcomes of {len(specs)} trainings cached in {preset.cache}"
    tqdm.write(summary)
    return summary


def make_outcomes(preset: Preset, specs: Sequence[TrainingSpec], jobs: int = 1) -> pd.DataFrame:
    """Train and measure, or read the cache: a row of `COLUMNS` per measure and benchmark."""
    made: dict[str, pd.DataFrame] = {}
    with tqdm(total=len(specs), desc="trainings", unit="training") as bar:
        for part in _parts(preset, specs, jobs):
            made |= part
            bar.update(len(part))
    tables = [made[spec.fingerprint] for spec in specs]
    return validate(pd.concat(tables) if tables else [], COLUMNS)


def _parts(
    preset: Preset, specs: Sequence[TrainingSpec], jobs: int
) -> Iterator[dict[str, pd.DataFrame]]:
    groups: dict[tuple, list[TrainingSpec]] = {}  # that share scores, so one process makes them
    for spec in specs:
        groups.setdefault((spec.base, spec.trained_on, spec.seed), []).append(spec)
    if jobs == 1:
        yield from (_several(preset, [spec]) for group in groups.values() for spec in group)
        return
    # A single thread each: two are far slower on batches this small.
    single = {"initializer": torch.set_num_threads, "initargs": (1,)}
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn"), **single) as pool:
        futures = [pool.submit(_several, preset, group) for group in groups.values()]
        try:
            yield from (future.result() for future in as_completed(futures))
        finally:
            pool.shutdown(cancel_futures=True)  # start nothing more after a failure


def _several(preset: Preset, specs: Sequence[TrainingSpec]) -> dict[str, pd.DataFrame]:
    return {spec.fingerprint: outcome(preset, spec) for spec in specs}


def outcome(preset: Preset, spec: TrainingSpec) -> pd.DataFrame:
    """The rows of one training."""
    make = partial(train_and_measure, preset, spec)
    shard = cached_shard(preset, spec.identity, "outcome", make)
    for adapter in cache_folder(preset, spec.fingerprint).glob("adapter-*"):
        shutil.rmtree(adapter, ignore_errors=True)  # it served to resume an interrupted training
    rows = pd.DataFrame(shard.facts | {"value": shard.arrays["value"]})
    return validate(rows.assign(**spec.columns), COLUMNS)


def load_committed() -> pd.DataFrame:
    """The committed outcomes, which are in the project even if new tables are not."""
    path = project_root() / "data" / "results" / f"{TABLE}.csv"
    return read(path) if path.exists() else validate([], COLUMNS)


def check_committed(made: pd.DataFrame, committed: pd.DataFrame) -> pd.DataFrame:
    """Rows in both tables, with the absolute ``difference``; warn of differences above 1e-6.

    Raises
    ------
    ValueError
        If outcomes differ by more than machines do: an accuracy by more than `QUESTIONS` and more
        than `SHARE`, an atom by more than `BITS`.
    """
    keys = ["fingerprint", "benchmark", "measure"]
    both = made.merge(committed[[*keys, "value"]], on=keys, suffixes=("", "_committed"))
    both["difference"] = (both["value"] - both["value_committed"]).abs()
    allowed = (QUESTIONS / both["n"]).clip(lower=SHARE).where(both["measure"] == "accuracy", BITS)
    far, largest = both[both["difference"] > allowed + 1e-9], both["difference"].max()
    if len(far):
        row = far.iloc[0]
        raise ValueError(
            f"{far['fingerprint'].nunique()} of {both['fingerprint'].nunique()} trainings made "
            f"here differ from the committed table; the first, {_describe(row)}: {row['measure']} "
            f"on {row['benchmark']} is {row['value']:.4f}, committed {row['value_committed']:.4f}. "
            "Find the reason; then `make outcomes` trains all again"
        )
    if len(both) and largest > 1e-6:
        text = f"outcomes made here differ by up to {largest:.1e} from the committed table"
        warnings.warn(text, stacklevel=3)
    return both


def _describe(columns: Mapping) -> str:
    on, condition = columns["trained_on"], columns["condition"]
    return f"{columns['base']} on {on}, condition {condition}, seed {columns['seed']}"
