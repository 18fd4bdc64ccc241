"""Truths of the three estimates, and the figure."""

import pandas as pd
import pytest
from test_sensory import ideal

from pidlib.benchmarks import micro_av
from pidlib.experiments.omni.fig_recovery import COLUMNS, figure, truth
from pidlib.experiments.tables import validate
from pidlib.profiles.clips import sensory_profile
from pidlib.sensory import CONDITIONS, split_by


def test_truths_of_polarity():
    assert truth("polarity", "question").synergy == pytest.approx(1, abs=1e-5)
    assert truth("polarity", "template").synergy == pytest.approx(1, abs=1e-5)
    assert truth("polarity", "ignored").total == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("name", micro_av.TEMPLATES)
def test_estimates_of_ideal_decisions_equal_their_truth(name):
    given, pooled = truth(name, "question"), truth(name, "template")
    if len(micro_av.TEMPLATES[name].questions) == 1:
        assert pooled.atoms == pytest.approx(given.atoms, abs=2e-6)
    for source in ("vision", "audio"):
        assert pooled.unique[source] <= given.unique[source] + 2e-6
    assert pooled.synergy >= given.synergy - 2e-6
    extraction, content = ideal(name)
    for condition in CONDITIONS:
        clips = content if condition == "ignored" else None
        groups = split_by(extraction, condition, content=clips)
        rows = sensory_profile(groups, n_halves=2, n_permutations=0).rows.set_index("atom")
        atoms = rows["value_bits"].drop("total").to_dict()
        assert atoms == pytest.approx(truth(name, condition).atoms, abs=3e-4), condition


def test_the_figure_has_a_column_per_template_and_a_row_per_condition():
    rows = []
    for name in ("gated", "polarity"):
        for condition in CONDITIONS:
            columns = {"benchmark": "micro_av/gated", "template": name, "given": condition}
            for atom, bits in truth(name, condition).atoms.items():
                row = columns | {"atom": atom, "value_bits": bits}
                rows.append(row | {"estimator": "truth"})
                ends = {"ci_low": bits - 0.1, "ci_high": bits + 0.1}
                rows.append(row | ends | {"estimator": "exact", "model": "one", "null_mean": 0.1})
    shared = {"experiment": "omni", "fingerprint": "t", "seed": 0}
    axes = figure(validate(pd.DataFrame(rows).assign(**shared), COLUMNS)).axes
    assert len(axes) == 6 and [ax.get_title() for ax in axes[:2]] == ["gated", "polarity"]
    assert axes[0].get_ylabel().startswith("given the question")
