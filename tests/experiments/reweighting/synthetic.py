"""Made-up outcomes with known effects, and the tables that notebooks make of them."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from experiments.test_draw import count_labels, styled_figure
from pidlib._common import derive_seed
from pidlib.experiments.preset import Preset, load_preset
from pidlib.experiments.reweighting import fig_gain, paired
from pidlib.experiments.reweighting.outcomes import COLUMNS
from pidlib.experiments.reweighting.questions import evaluation_name
from pidlib.experiments.reweighting.settings import distinct
from pidlib.experiments.tables import validate
from pidlib.reweighting import CONDITIONS

ATOMS = ("redundancy", "unique_vision", "unique_language", "synergy", "total")
# Effects of the conditions on accuracy.
EFFECTS = dict(zip(CONDITIONS, (-0.1, 0.0, 0.05, 0.0, 0.01, 0.02, 0.03, 0.04), strict=True))
BASES = {
    "prior/80": ["llava_compact_blind", "paligemma_compact_blind"],
    "easy_vqa/yes_no": ["llava_compact_brief"],
}
ONE_BASE = {"prior/80": ["llava_compact_blind"]}


def preset(**changes) -> Preset:
    options = {"n_tuning_seeds": 6, "tuned_models": BASES, "n_resamples": 200}
    return load_preset("offline", **options | changes)


def made_up(preset: Preset, specs) -> pd.DataFrame:
    """Outcomes: synergy-driven tasks gain the effect of the condition, knowledge loses it.

    A seed shifts all conditions alike, and each a little apart.
    """
    rows = []
    for spec in distinct(specs):
        names = [spec.trained_on, evaluation_name(spec.trained_on), *preset.retained_benchmarks]
        rng = np.random.default_rng(derive_seed("made up", spec.fingerprint))
        shared, effect = np.random.default_rng(spec.seed).normal(0, 0.05), EFFECTS[spec.condition]
        for name in dict.fromkeys(names):
            shift = (shared + rng.normal(0, 0.005)) * (spec.condition != "A")
            value = 0.7 + shift + (-effect if name == "micro/knowledge" else effect)
            rows.append({"benchmark": name, "measure": "accuracy", "value": value, "n": 128})
            rows[-1] |= spec.columns
        for atom in ATOMS:
            value = 0.3 + effect + rng.normal(0, 0.01)
            rows.append({"benchmark": spec.trained_on, "measure": atom, "value": value, "n": 256})
            rows[-1] |= spec.columns
    return validate(pd.DataFrame(rows).assign(converged=True), COLUMNS)


def synergies(preset: Preset) -> pd.DataFrame:
    """Random synergy of each base on each benchmark."""
    cells = pd.MultiIndex.from_product([preset.bases, preset.base_benchmarks])
    rng, names = np.random.default_rng(0), ("base_value", "base_value_without_fallback")
    return pd.DataFrame({name: rng.uniform(0, 1, len(cells)) for name in names}, cells)


def measured(module, preset: Preset, change=lambda rows: rows, synergy=None) -> pd.DataFrame:
    """The table of a notebook from made-up outcomes, which `change` may replace."""

    def outcomes(preset, specs):
        return SimpleNamespace(table=change(made_up(preset, specs)))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module if hasattr(module, "outcomes") else paired, "outcomes", outcomes)
        found = synergies(preset) if synergy is None else synergy
        patch.setattr(fig_gain, "base_synergy", lambda _: found)
        return module.measure(preset)


def check_drawings(module) -> None:
    """Check the labels with all bases, and with one base and two seeds; draw one seed."""
    few = {"tuned_models": ONE_BASE, "n_tuning_seeds": 2}
    for changes in ({}, few):
        table = measured(module, preset(**changes))
        assert count_labels(styled_figure(module, table)) > 10
    module.figure(measured(module, preset(**few | {"n_tuning_seeds": 1})))
