"""Sensory profiles of models, of their answers and after every block, as rows of tables."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import pandas as pd

from pidlib import sensory
from pidlib.decomposition.resampling import percentile_intervals
from pidlib.experiments import Extracted, Preset, Query, stages, style
from pidlib.experiments.tables import ATOMS, declare, diagnostics, masked_diagnostics
from pidlib.extraction import Extraction, drawn
from pidlib.profiles.clips import sensory_profile
from pidlib.profiles.modes import Measured, atom_rows
from pidlib.sensory import Group

FUSION = "micro_av/fusion"  # the subset whose questions need vision and audio
TRAINED_WITH_NOISE = (
    "all minis but plain had a fifth of each stream as noise in training, "
    "so that masking asks them something they know"
)

COLUMNS = declare(
    "source grade template reference",
    ATOMS,
    *diagnostics("", "_vision", "_audio", "_text"),
    *masked_diagnostics("vision", "audio"),
    "n_per_condition n_conditions n_alone",
)


def query(preset: Preset) -> Query:
    """The passes of Sensory PID, read after every block."""
    passes = drawn(tuple(sensory.PASSES.values()), preset.draws)
    return Query(preset.split, preset.n_omni, preset.seed, passes, layers=None)


def template_profile(
    extraction: Extraction, tau: float, n_bootstrap: int, seed: int, layer: int | None = None
) -> Measured:
    """Sensory atoms given the template, with bootstrap draws and the mean of a small null.

    For generated clips its truth is that given the question. Equal seeds draw the same samples.
    """
    groups = sensory.split_by(extraction, "template", tau=tau, layer=layer)
    decisions = [group.decisions for group in groups]
    result = sensory.decompose(decisions)
    draws = sensory.bootstrap(result, decisions, n_bootstrap, seed)
    rows = atom_rows(result, percentile_intervals(draws, result.pid.atoms))
    rows = stages.with_null(rows, partial(sensory.permuted, groups), sensory.averaged(groups), seed)
    fixed = {"source_a": "vision", "source_b": "audio", "unimodal": "masked", "estimator": "exact"}
    rows = rows.assign(**fixed, given="template", layer=layer, seed=seed)
    return Measured(rows, draws, result.pid.atoms, result)


def trajectory(extraction: Extraction, **settings: float) -> Measured:
    """`template_profile` of every block, see `stages.trajectory`."""
    measure = partial(template_profile, extraction, **settings)
    return stages.trajectory(extraction.layers, lambda layer: measure(layer=layer))


def measure_trajectory(preset: Preset, answer: Extracted) -> tuple[Measured, dict[str, object]]:
    """The trajectory of an extraction, and the columns that identify it."""
    settings = preset.model_dump(include={"tau", "n_bootstrap", "seed"})
    columns = answer.row_columns("omni", analysis="trajectory", given="template", **settings)
    return trajectory(answer.extraction, **settings), columns | {"seed": preset.seed}


def profile_rows(
    preset: Preset, answer: Extracted, groups: Sequence[Group], **options: Any
) -> pd.DataFrame:
    """Rows of `sensory_profile` with the columns that identify their origin."""
    settings = preset.model_dump(include={"n_halves", "seed"})
    rows = sensory_profile(groups, **settings, **options).rows
    settings |= {"analysis": "sensory", "given": groups[0].condition, "tau": preset.tau}
    named = (answer.row_columns("omni", reference=name, **settings) for name in rows["reference"])
    columns = answer.columns | {"fingerprint": [each["fingerprint"] for each in named]}
    return rows.assign(**{key: columns[key] for key in columns if key not in rows})


def legend_handles() -> list[style.Artist]:
    """Legend entries of null, interval and stages."""
    null, stage = stages.legend_handles("null: answers permuted")
    look = {"color": style.COLORS["synergy"], "alpha": 0.3, "linewidth": 0}
    return [null, style.swatch("bootstrap over clips, 95 %", **look), stage]


def training_note(models: Sequence[str]) -> dict[str, object]:
    """Title of a legend on what the minis were trained with; empty without minis."""
    minis = style.minis_line(models, 1)
    return {"title": TRAINED_WITH_NOISE, "title_fontsize": 6.5} if minis else {}
