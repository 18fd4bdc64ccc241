"""Sensory profiles of models, of their answers and after every block, as rows of tables."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from pidlib import sensory
from pidlib.decomposition.resampling import percentile_intervals
from pidlib.experiments import stages, style
from pidlib.experiments.extractions import Extracted, Query
from pidlib.experiments.preset import Preset
from pidlib.experiments.stages import Claim
from pidlib.experiments.tables import ATOMS, Columns, diagnostics, masked_diagnostics, of_type
from pidlib.extraction import Extraction
from pidlib.extraction.masking import drawn
from pidlib.profiles.clips import sensory_profile
from pidlib.profiles.modes import N_PERMUTATIONS, Measured, atom_rows, permutation_test
from pidlib.sensory import Group

N_NULLS = 3  # permutations per block of a trajectory
FUSION = "micro_av/fusion"  # the subset whose questions need vision and audio
TRAINED_WITH_NOISE = (
    "all minis but plain had a fifth of each stream as noise in training, "
    "so that masking asks them something they know"
)

COLUMNS = Columns(
    {
        **of_type("string", "source", "grade", "template", "reference"),
        **ATOMS.types,
        **of_type("Float64", *diagnostics("", "_vision", "_audio", "_text")),
        **of_type("Float64", *masked_diagnostics("vision", "audio"), "n_per_condition"),
        **of_type("Int64", "n_conditions", "n_alone"),
    },
    required=ATOMS.required,
)


def query(preset: Preset) -> Query:
    """The passes of Sensory PID, read after every block."""
    passes = drawn(tuple(sensory.PASSES.values()), preset.draws)
    return Query(preset.split, preset.n_omni, preset.seed, passes, layers=None)


def template_profile(
    extraction: Extraction, tau: float, n_bootstrap: int, seed: int, layer: int | None = None
) -> Measured:
    """Sensory atoms given the template with bootstrap draws; the null is the mean of few draws.

    For generated clips its truth equals that given the question, and more samples share a template.
    Draws with equal seeds take the same samples at every layer and for equal counts of templates.
    """
    groups = sensory.split_by(extraction, "template", tau=tau, layer=layer)
    decisions = [group.decisions for group in groups]
    result = sensory.decompose(decisions)
    draws = sensory.bootstrap(result, decisions, n_bootstrap, seed)
    rows = atom_rows(result, percentile_intervals(draws, result.pid.atoms))
    lower = rows.set_index("atom")["lower_bits"]
    draw = partial(sensory.permuted, groups)
    null = permutation_test(draw, lower, sensory.SOURCES, seed, n=N_NULLS)
    rows["converged"] &= null.converged
    fixed = {"source_a": "vision", "source_b": "audio", "unimodal": "masked", "estimator": "exact"}
    fixed |= {"given": "template", "layer": layer, "seed": seed}
    rows = rows.assign(null_mean=rows["atom"].map(null.mean), **fixed)
    return Measured(rows, draws, result.pid.atoms, result)


def trajectory(extraction: Extraction, **settings: float) -> Measured:
    """`template_profile` of every block: values and draws are arrays [L] and [L, n]."""
    if extraction.layers != tuple(range(len(extraction.layers))):
        text = f"a trajectory needs every block from 0; the extraction has {extraction.layers}"
        raise ValueError(f"{text}: extract with layers=range(...)")
    blocks = [template_profile(extraction, layer=layer, **settings) for layer in extraction.layers]
    atoms = {atom: np.array([block.atoms[atom] for block in blocks]) for atom in blocks[0].atoms}
    draws = {atom: np.stack([block.draws[atom] for block in blocks]) for atom in atoms}
    rows = pd.concat([block.rows for block in blocks], ignore_index=True)
    return Measured(rows=rows, atoms=atoms, draws=draws)


def measure_trajectory(preset: Preset, answer: Extracted) -> tuple[Measured, dict[str, object]]:
    """The trajectory of an extraction, and the columns that identify it."""
    settings = {"tau": preset.tau, "n_bootstrap": preset.n_bootstrap, "seed": preset.seed}
    columns = answer.row_columns("omni", analysis="trajectory", given="template", **settings)
    return trajectory(answer.extraction, **settings), columns


def check_claims(
    claims: Mapping[str, Claim],
    statistics: Callable[..., dict[str, np.ndarray]],
    *trajectories: Measured,
    **columns: Any,
) -> pd.DataFrame:
    """Test claims on statistics of the atoms of trajectories; a row each."""
    values = statistics(*(profile.atoms for profile in trajectories))
    draws = statistics(*(profile.draws for profile in trajectories))
    tested = stages.check_claims(claims, values, draws, len(trajectories[0].atoms["synergy"]))
    rows = pd.concat([each.rows for each in trajectories])
    return tested.assign(seed=rows["seed"].iloc[0], converged=rows["converged"].all(), **columns)


def profile_rows(
    preset: Preset,
    answer: Extracted,
    groups: Sequence[Group],
    references: Sequence[str] | None = None,
    n_permutations: int = N_PERMUTATIONS,
) -> pd.DataFrame:
    """Rows of `sensory_profile` with the columns that identify their origin."""
    settings = {"n_halves": preset.n_halves, "seed": preset.seed}
    rows = sensory_profile(groups, references, **settings, n_permutations=n_permutations).rows
    settings |= {"analysis": "sensory", "given": groups[0].condition, "tau": preset.tau}
    named = (answer.row_columns("omni", reference=name, **settings) for name in rows["reference"])
    columns = answer.columns | {"fingerprint": [each["fingerprint"] for each in named]}
    return rows.assign(**{key: columns[key] for key in columns if key not in rows})


def legend_handles() -> list[Line2D | Patch]:
    """Legend entries of null, interval and stages."""
    dotted = {"linewidth": 0.8, "linestyle": (0, (1, 1))}
    interval = {"color": style.COLORS["synergy"], "alpha": 0.3, "linewidth": 0}
    return [
        style.handle("null: answers permuted", color=style.FAINT, **dotted),
        Patch(label="bootstrap over clips, 95 %", **interval),
        Patch(label="first and last stage, as published", color=style.NULL, alpha=0.45),
    ]


def training_note(models: Sequence[str]) -> dict[str, object]:
    """Title of a legend on what the minis were trained with; empty without minis."""
    minis = style.minis_line(models, 1)
    return {"title": TRAINED_WITH_NOISE, "title_fontsize": 6.5} if minis else {}
