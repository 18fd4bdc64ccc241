"""Outcomes of trainings: made here and compared with the committed table, or read from it."""

import warnings
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import NamedTuple

import pandas as pd
from tqdm import tqdm

from pidlib._common import project_root
from pidlib.experiments import Preset
from pidlib.experiments.reweighting.plan import all_conditions
from pidlib.experiments.reweighting.settings import TrainingSpec, distinct
from pidlib.experiments.reweighting.training import cached_shard, train_and_measure
from pidlib.experiments.tables import COMPUTED, declare, read, validate
from pidlib.extraction.store import Store

TABLE = "reweighting/outcomes"
QUESTIONS, SHARE, BITS = 3, 0.01, 0.02  # tolerances between machines

COLUMNS = declare(  # by measure and benchmark; hyperparameters without effect are missing
    "base revision trained_on condition seed n_tuned steps rank learning_rate last top_gap",
    "top_shortcut gap_weight shortcut_weight estimator reconciliation mislabeled benchmark measure",
    f"value n {COMPUTED}",  # a share for accuracy, bits for total and the atoms
    required="base trained_on condition seed benchmark measure value n fingerprint",
)


class Outcomes(NamedTuple):
    """A table of outcomes, and how many trainings were made now, made before, and read."""

    table: pd.DataFrame
    summary: str

    def __repr__(self) -> str:
        return self.summary


def outcomes(preset: Preset, specs: Iterable[TrainingSpec]) -> Outcomes:
    """Make the outcomes that `made_here` names; read the others, or raise a ValueError."""
    specs, committed = distinct(specs), load_committed()
    known = set(committed["fingerprint"])
    here = made_here(preset, specs, known)
    others = {spec.fingerprint for spec in specs if spec not in here}
    if missing := [spec for spec in specs if spec.fingerprint in others - known]:
        text = f"{len(missing)} of {len(specs)} trainings are neither made here nor committed, the "
        text += f"first {_describe(missing[0].columns)}. If numbers were changed, make all seeds "
        text += "here: n_tuning_seeds 3 and n_remade_seeds 3. If code was, `python -m "
        raise ValueError(f"{text}pidlib.experiments outcomes` makes the missing trainings")
    cache = project_root() / preset.cache
    cached = sum(Store(cache / spec.fingerprint, {}).is_complete for spec in here)
    made = make_outcomes(preset, here)
    both = check_committed(made, committed)
    summary = f"{len(here) - cached} trainings made now, {cached} made here before"
    if len(both):
        count, largest = both["fingerprint"].nunique(), both["difference"].max()
        summary += f" ({count} committed too, largest difference {largest:.1e})"
    summary += f", {len(others)} read from the committed table"
    table = pd.concat([made, committed[committed["fingerprint"].isin(others)]], ignore_index=True)
    return Outcomes(table, summary)


def complete(preset: Preset, specs: Iterable[TrainingSpec], retrain: bool = False) -> pd.DataFrame:
    """Outcomes in the order of the trainings, committed or, all with ``retrain``, made here."""
    specs, committed = distinct(specs), load_committed().iloc[: 0 if retrain else None]
    known = set(committed["fingerprint"])
    made = make_outcomes(preset, [spec for spec in specs if spec.fingerprint not in known])
    table = pd.concat([committed, made]).set_index("fingerprint", drop=False)
    return table.loc[[spec.fingerprint for spec in specs]].reset_index(drop=True)


def made_here(preset: Preset, specs: Sequence[TrainingSpec], known: set[str]) -> list[TrainingSpec]:
    """Of the first ``n_remade_seeds`` seeds, those of table 3 and those that are not committed."""
    known = known - {spec.fingerprint for spec in all_conditions(preset)}
    first = (spec for spec in specs if spec.seed < preset.n_remade_seeds)
    return [spec for spec in first if spec.fingerprint not in known]


def make_outcomes(preset: Preset, specs: Sequence[TrainingSpec]) -> pd.DataFrame:
    """Train and measure, or read the cache: a row of `COLUMNS` per measure and benchmark."""
    tables = [outcome(preset, spec) for spec in tqdm(specs, "trainings", unit="training")]
    return validate(pd.concat(tables) if tables else [], COLUMNS)


def outcome(preset: Preset, spec: TrainingSpec) -> pd.DataFrame:
    """The rows of one training."""
    shard = cached_shard(preset, spec.identity, "outcome", partial(train_and_measure, preset, spec))
    Store(project_root() / preset.cache / spec.fingerprint).join(["outcome"])  # without adapters
    rows = pd.DataFrame(shard.facts | {"value": shard.arrays["value"]})
    return validate(rows.assign(**spec.columns), COLUMNS)


def load_committed() -> pd.DataFrame:
    """The committed outcomes, which are in the project even if new tables are not."""
    path = project_root() / "data" / "results" / f"{TABLE}.csv"
    return read(path, COLUMNS) if path.exists() else validate([], COLUMNS)


def check_committed(made: pd.DataFrame, committed: pd.DataFrame) -> pd.DataFrame:
    """Rows in both tables, with the absolute ``difference``; warn of differences above 1e-6.

    Raises a ValueError if an accuracy is off by over `QUESTIONS` and `SHARE`, an atom by `BITS`.
    """
    keys = ["fingerprint", "benchmark", "measure"]
    both = made.merge(committed[[*keys, "value"]], on=keys, suffixes=("", "_committed"))
    both["difference"] = (both["value"] - both["value_committed"]).abs()
    allowed = (QUESTIONS / both["n"]).clip(lower=SHARE).where(both["measure"] == "accuracy", BITS)
    far, largest = both[both["difference"] > allowed + 1e-9], both["difference"].max()
    if len(far):
        row, numbers = far.iloc[0], [rows["fingerprint"].nunique() for rows in (far, both)]
        text = "{} of {} trainings made here differ from the committed table; ".format(*numbers)
        text += f"the first, {_describe(row)}: {row['measure']} on {row['benchmark']} is "
        text += f"{row['value']:.4f}, committed {row['value_committed']:.4f}. Find the reason; "
        raise ValueError(f"{text}then `make outcomes` trains all again")
    if len(both) and largest > 1e-6:
        text = f"outcomes made here differ by up to {largest:.1e} from the committed table"
        warnings.warn(text, stacklevel=3)
    return both


def _describe(columns: Mapping) -> str:
    return "{base} on {trained_on}, condition {condition}, seed {seed}".format(**columns)
