"""Sensory profiles of models: atoms as rows with bounds, intervals, noise floors and references."""

from collections.abc import Sequence

import pandas as pd

from pidlib import sensory
from pidlib.experiments import style
from pidlib.experiments.extractions import Extracted, Query
from pidlib.experiments.preset import Preset
from pidlib.experiments.tables import ATOMS, Columns, of_type
from pidlib.extraction import Extraction
from pidlib.profiles.clips import sensory_profile
from pidlib.profiles.modes import Measured
from pidlib.sensory import ROLE_PERMUTATIONS, Group

TRAINED_WITH_NOISE = (
    "all minis but plain had a fifth of each stream as noise in training, "
    "so that masking asks them something they know"
)

_DIAGNOSTICS = [
    name.format(suffix)
    for name in ("accuracy{}", "entropy{}_bits", "fallback{}")
    for suffix in ("", "_vision", "_audio", "_text")
]
COLUMNS = Columns(
    {
        **of_type("string", "source", "grade", "template", "reference"),
        **ATOMS.types,
        **of_type("Float64", *_DIAGNOSTICS),
        **of_type("Float64", "moved_vision", "moved_audio", "n_per_condition"),
        **of_type("Int64", "n_conditions", "n_alone"),
    },
    required=ATOMS.required,
)


def query(preset: Preset) -> Query:
    """The passes of Sensory PID, read after every block."""
    return Query(preset.split, preset.n_omni, preset.seed, sensory.REQUIRED, layers=None)


def template_profile(
    extraction: Extraction, tau: float, n_bootstrap: int, seed: int, layer: int | None = None
) -> Measured:
    """Sensory atoms given the template, with one permutation of the noise floor.

    For generated clips its truth equals that given the question, and more samples share a template.
    Draws with equal seeds take the same samples at every layer and for equal counts of templates.
    """
    groups = sensory.split_by(extraction, "template", tau=tau, layer=layer)
    profile = sensory_profile(groups, n_bootstrap=n_bootstrap, seed=seed, n_floors=1)
    rows = profile.rows.query("atom != 'total'").filter(list(ATOMS.types))
    return profile._replace(rows=rows.assign(layer=layer))


def profile_rows(
    preset: Preset,
    answer: Extracted,
    groups: Sequence[Group],
    references: Sequence[str] | None = None,
    n_floors: int = len(ROLE_PERMUTATIONS),
) -> pd.DataFrame:
    """Rows of `sensory_profile` with the columns that identify their origin."""
    settings = {"n_bootstrap": preset.n_bootstrap, "seed": preset.seed}
    rows = sensory_profile(groups, references, **settings, n_floors=n_floors).rows
    settings |= {"analysis": "sensory", "given": groups[0].condition, "tau": preset.tau}

    def identify(reference: str) -> object:
        return answer.row_columns("omni", reference=reference, **settings)["fingerprint"]

    columns = answer.columns | {"fingerprint": rows["reference"].map(identify)}
    return rows.assign(**{key: columns[key] for key in columns if key not in rows})


def training_note(models: Sequence[str]) -> dict[str, object]:
    """Title of a legend on what the minis were trained with; empty without minis."""
    minis = style.minis_line(models, 1)
    return {"title": TRAINED_WITH_NOISE, "title_fontsize": 6.5} if minis else {}
