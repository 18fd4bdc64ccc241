"""What identifies a training: the model, its questions, their weights, the seed, all numbers."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from functools import cache, cached_property
from importlib import import_module
from typing import TYPE_CHECKING, Any

from pidlib._common import code_version, fingerprint, unknown_name
from pidlib.benchmarks import canonical
from pidlib.experiments.preset import Preset, parse_model
from pidlib.models.load import folder_revision, latest_revision, resolve, split_adapter
from pidlib.reweighting import CONDITIONS, Condition, Weighting

if TYPE_CHECKING:
    from pidlib.training.lora import Tuning

# The modules that make an outcome: of all, of an estimator, of a source. The solver is not among
# them: atoms are certified, and weights were the same for local terms at 1e-4, 1e-6 and 1e-8 bits.
_MODULES = {
    "": "reweighting experiments.reweighting.questions experiments.reweighting.training "
    "decomposition.decisions decomposition.marginals training.lora training.loop models.families "
    "models.load benchmarks.pictures benchmarks.task benchmarks.sample "
    "extraction.extractor extraction.job extraction.reader extraction.prompts extraction.masking "
    "extraction.result extraction.seams",
    "BATCH": "decomposition.batch",
    "LSMI": "decomposition.lsmi",
    "prior": "benchmarks.micro",
    "hub": "benchmarks.hub benchmarks.hub_sources",
}
_ONE = ("micro", "easy_vqa", "micro_av", "music_avqa", "stamps", "table")  # sources of one module
_MODULES |= {name: f"benchmarks.{name}" for name in _ONE}
MISLABELED = ("", "shortcuts", "random")  # nowhere, in PID's list of shortcuts, as many at random


@dataclass(frozen=True)
class TrainingSpec:
    """Everything that decides an outcome; build it with `from_preset`."""

    base: str  # the model that is trained, named as in ``models`` of a preset
    trained_on: str  # a benchmark
    condition: Condition
    seed: int  # number of the training: decides its questions, their order, the initial adapter
    tuning: "Tuning"
    weighting: Weighting
    n_tuned: int  # questions to train on
    n_profiled: int  # and for the atoms after training
    n_evaluated: int  # and for the accuracy, balanced where possible
    n_retained: int  # and of each of the other benchmarks
    retained: tuple[str, ...]  # other benchmarks
    tau: float
    draws: int  # of the noise, averaged in masked answers
    stream: int  # ``seed`` of the preset
    mislabeled: str = ""  # samples with a wrong label, of `MISLABELED`

    @classmethod
    def from_preset(
        cls,
        preset: Preset,
        base: str,
        trained_on: str,
        condition: str,
        seed: int = 0,
        *,
        tuning: Mapping[str, Any] | None = None,
        weighting: Mapping[str, Any] | None = None,
        tau: float | None = None,
        mislabeled: str = "",
    ) -> "TrainingSpec":
        """A training with the numbers of a preset, or with replacements: ``tuning={"steps": 120}``.

        Numbers without effect take their defaults, so that equal outcomes have equal fingerprints.
        Raises a ValueError for an unknown condition, number, kind of wrong labels or base.
        """
        from pidlib.training.lora import Tuning

        if condition not in CONDITIONS:
            raise ValueError(unknown_name("condition", condition, CONDITIONS))
        if mislabeled not in MISLABELED:
            raise ValueError(unknown_name("kind of wrong labels", mislabeled, MISLABELED))
        place, commit, adapter = split_adapter(*parse_model(base)[1:])
        if adapter:
            raise ValueError(f"{base} has an adapter; merge it into the weights to train the model")
        resolve(place, commit, allow_unpinned=preset.allow_unpinned)
        tuned = _replaced(Tuning, "tuning", preset.tuning, tuning)
        weighted = _replaced(Weighting, "weighting", preset.weighting, weighting)
        if condition == Condition.BASE:
            tuned, seed, mislabeled = Tuning(), 0, ""
        if condition in (Condition.BASE, Condition.UNIFORM) and not mislabeled:
            weighted = Weighting()
        sizes = {"n_tuned", "n_profiled", "n_evaluated", "n_retained", "draws"}
        numbers = preset.model_dump(include=sizes) | {"stream": preset.seed}
        numbers |= {"tau": preset.tau if tau is None else tau, "mislabeled": mislabeled}
        others = tuple(name for name in preset.retained_benchmarks if name != trained_on)
        identity = base, trained_on, Condition(condition), seed, tuned, weighted
        return cls(*identity, retained=others, **numbers)

    @cached_property
    def code(self) -> str:
        """The hash of the code that makes the outcome."""
        sources = {re.split("[/:]", name)[0] for name in (self.trained_on, *self.retained)}
        return training_code(" ".join(sorted(sources)), self.weighting.estimator)

    @cached_property
    def identity(self) -> dict[str, Any]:
        """Everything that is meant to change the outcome: all fields, the base's weights, code."""
        parts = {"kind": "outcome", "code": self.code}
        return parts | {"revision": _revision(*parse_model(self.base)[1:])} | asdict(self)

    @cached_property
    def fingerprint(self) -> str:
        """The hash of the identity: the key of the outcome in the cache and in the table."""
        return fingerprint(**self.identity)

    @property
    def columns(self) -> dict[str, Any]:
        """Columns that identify the training; hyperparameters without effect are left out."""
        tuning, weighting = ("learning_rate", "rank", "last"), ("top_gap", "top_shortcut")
        weighting += ("gap_weight", "shortcut_weight", "estimator", "reconciliation")
        columns = {"base": parse_model(self.base)[0], "trained_on": canonical(self.trained_on)}
        columns |= {name: getattr(self, name) for name in ("condition", "seed", "fingerprint")}
        columns |= {"mislabeled": self.mislabeled} if self.mislabeled else {}
        if self.condition != Condition.BASE:
            columns |= {name: getattr(self.tuning, name) for name in tuning}
        if self.condition not in (Condition.BASE, Condition.UNIFORM):
            columns |= {name: getattr(self.weighting, name) for name in weighting}
        return columns


def distinct(specs: Iterable[TrainingSpec]) -> list[TrainingSpec]:
    """Each training once, in order of first appearance."""
    return list({spec.fingerprint: spec for spec in specs}.values())


@cache
def training_code(sources: str, estimator: str) -> str:
    """The hash of the code that makes an outcome, for benchmarks of these sources."""
    parts = ["", *sources.split()] + ([] if estimator == "exact" else [estimator])
    if unknown := [part for part in parts if part not in _MODULES]:
        raise ValueError(unknown_name("source or estimator", unknown[0], _MODULES))
    names = {name for part in parts for name in _MODULES[part].split()}
    return code_version(*(import_module(f"pidlib.{name}") for name in sorted(names)))


def _replaced(kind: type, what: str, *changes: Mapping[str, Any] | None) -> Any:
    """An instance of a dataclass with the given values; later values win."""
    values = {name: value for change in changes for name, value in (change or {}).items()}
    for name in values.keys() - kind.__dataclass_fields__.keys():
        raise ValueError(unknown_name(f"number of {what}", name, kind.__dataclass_fields__))
    lists = {name: tuple(value) for name, value in values.items() if isinstance(value, list)}
    return kind(**values | lists)


@cache
def _revision(name: str, commit: str | None) -> str:
    folder, commit = resolve(name, commit, allow_unpinned=True)
    return commit or (folder_revision(folder) if folder else latest_revision(name))
