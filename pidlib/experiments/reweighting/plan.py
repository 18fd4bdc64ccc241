"""Which trainings each table of the experiment needs."""

from collections.abc import Mapping
from itertools import product
from typing import Any, NamedTuple

from pidlib.benchmarks import names
from pidlib.decomposition.marginals import RECONCILIATIONS
from pidlib.experiments.preset import Preset, parse_model
from pidlib.experiments.reweighting.settings import TrainingSpec, distinct
from pidlib.reweighting import ESTIMATORS, Condition

USUAL = (Condition.BASE, Condition.UNIFORM, Condition.PID)  # of `when_arms`
FALLBACK = "uniform below a mass of"  # the axis that varies tau
#: What the ablation varies: axis -> level -> arguments of `TrainingSpec.from_preset`.
ABLATION: Mapping[str, Mapping[str, Mapping[str, Any]]] = {
    "lists": {
        "gap and shortcut": {},
        "gap alone": {"weighting": {"top_shortcut": 0.0}},
        "shortcut alone": {"weighting": {"top_gap": 0.0}},
    },
    "fraction": {
        f"top {x:.0%}": {"weighting": {"top_gap": x, "top_shortcut": x}} for x in (0.1, 0.2, 0.4)
    },
    "weights": {
        f"{up:g} and {down:g}": {"weighting": {"gap_weight": up, "shortcut_weight": down}}
        for up, down in ((2.0, 0.75), (3.0, 0.5), (6.0, 0.0))
    },
    "local scores": {name: {"weighting": {"estimator": name}} for name in ESTIMATORS},
    "reconciliation": {name: {"weighting": {"reconciliation": name}} for name in RECONCILIATIONS},
    "blocks adapted": {f"last {x:.0%}": {"tuning": {"last": x}} for x in (0.2, 0.5, 1.0)},
    # Without shortcuts: this must win if they have the wrong labels, and not if as many others do.
    "wrong labels": {
        words: {"mislabeled": which, "weighting": {"shortcut_weight": 0.0}}
        for which, words in {"shortcuts": "of shortcuts", "random": "at random"}.items()
    },
    FALLBACK: {f"{tau:g}": {"tau": tau} for tau in (0.3, 0.0)},
}


class Arm(NamedTuple):
    """A training at a level of an axis; a training may be at several levels."""

    axis: str
    level: str
    spec: TrainingSpec


def first_bases(preset: Preset) -> list[tuple[str, str]]:
    """The first base of each training benchmark, and the benchmark."""
    return [(bases[0], benchmark) for benchmark, bases in preset.tuned_models.items()]


def all_conditions(preset: Preset) -> list[TrainingSpec]:
    """The conditions of the preset with all seeds, of the first base of each training benchmark."""
    cases = product(first_bases(preset), preset.conditions, range(preset.n_tuning_seeds))
    return distinct(TrainingSpec.from_preset(preset, *first, *case) for first, *case in cases)


def ablation_arms(preset: Preset) -> list[Arm]:
    """PID weights with single numbers changed, and uniform weights with as many blocks adapted."""
    usual = (Condition.UNIFORM, Condition.PID), range((preset.n_tuning_seeds + 1) // 2)
    planned = (*usual[0], Condition.RANDOM), range(preset.n_tuning_seeds)
    return [
        Arm(axis, level, TrainingSpec.from_preset(preset, *first, *case, **changes))
        for axis, levels in ABLATION.items()
        for level, changes in levels.items()
        for first, *case in product(first_bases(preset), *(planned if axis == FALLBACK else usual))
    ]


def when_arms(preset: Preset) -> list[Arm]:
    """Base, uniform and PID weights with half the seeds, by the axes of fig_when."""
    firsts = first_bases(preset)
    base = next((base for base, benchmark in firsts if benchmark in names("prior")), firsts[0][0])
    cases = [("prior strength", f"{n}", base, f"prior/{n}", {}) for n in preset.prior_strengths]
    for steps, first in product(preset.tuning_lengths, firsts):
        cases.append(("training length", f"{steps}", *first, {"steps": steps}))
    for benchmark, bases in preset.tuned_models.items():
        cases += [("base", parse_model(base)[0], base, benchmark, {}) for base in bases]
    return [
        Arm(axis, level, TrainingSpec.from_preset(preset, *case, condition, seed, tuning=tuning))
        for axis, level, *case, tuning in cases
        for condition, seed in product(USUAL, range((preset.n_tuning_seeds + 1) // 2))
    ]


def every_base(preset: Preset) -> list[TrainingSpec]:
    """Untrained, uniform and PID weights, of every base."""
    return distinct(arm.spec for arm in when_arms(preset) if arm.axis == "base")


def all_trainings(preset: Preset) -> list[TrainingSpec]:
    """All trainings that any table of the experiment needs."""
    arms = [*ablation_arms(preset), *when_arms(preset)]
    return distinct([*all_conditions(preset), *(arm.spec for arm in arms)])
