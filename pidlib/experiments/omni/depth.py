"""Sensory atoms after every block, read by the logit lens, and tests of claims about them."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from pidlib.experiments import stages, style
from pidlib.experiments.extractions import Extracted
from pidlib.experiments.omni.profiles import Measured, template_profile
from pidlib.experiments.preset import Preset
from pidlib.experiments.stages import Claim
from pidlib.extraction import Extraction

FUSION = "micro_av/fusion"  # the subset whose questions need vision and audio


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
    first = trajectories[0]
    values = statistics(*(profile.atoms for profile in trajectories))
    draws = statistics(*(profile.draws for profile in trajectories))
    tested = stages.check_claims(claims, values, draws)
    tested = stages.with_stage_depths(claims, tested, len(first.atoms["synergy"]))
    shared = {"seed": first.rows["seed"].iloc[0], "converged": first.rows["converged"].all()}
    return tested.assign(**shared | columns)


def legend_handles() -> list[Line2D | Patch]:
    """Legend entries of floor, interval and stages."""
    dotted = {"linewidth": 0.8, "linestyle": (0, (1, 1))}
    interval = {"color": style.COLORS["synergy"], "alpha": 0.3, "linewidth": 0}
    return [
        style.handle("noise floor", color=style.FAINT, **dotted),
        Patch(label="bootstrap over clips, 95 %", **interval),
        Patch(label="first and last stage, as published", color=style.NULL, alpha=0.45),
    ]
