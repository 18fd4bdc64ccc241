"""Truths of the three estimates, and the figure."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from test_sensory import ideal

from experiments.omni.synthetic import answering, nothing
from pidlib import benchmarks
from pidlib.benchmarks import micro_av
from pidlib.decomposition import PID, pid
from pidlib.experiments.omni.fig_recovery import COLUMNS, figure, law_samples, own_truths
from pidlib.experiments.tables import validate
from pidlib.profiles.clips import sensory_profile
from pidlib.sensory import CONDITIONS, SOURCES, split_by


def truth(template: str, condition: str) -> PID:
    """Sensory PID of the ideal answerer: the limit of an estimate under a condition.

    Given the template the sources are (v, t) and (a, t), a table of blocks that share t.
    """
    if condition != "template":
        return micro_av.sensory_truth(template, ignored=condition == "ignored")
    tables = [weight * table for weight, table in micro_av.joint(template).values()]
    (v, a, k), count = tables[0].shape, len(tables)
    blocks = np.zeros((count, v, count, a, k))
    for t, table in enumerate(tables):
        blocks[t, :, t] = table
    return pid(blocks.reshape(count * v, count * a, k), SOURCES)


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


@pytest.mark.parametrize("benchmark", ["micro_av/pair", "micro_av/fusion"])
def test_the_own_truth_of_a_model_that_errs(benchmark):
    samples = law_samples(benchmarks.load(benchmark, "test", 1))
    key = "vision+audio+language"
    answers = np.array([sample.candidates.index(sample.answer) for sample in samples])
    for right in (1 - 1e-9, 0.7):
        k = len(samples[0].candidates)
        rows = right * np.eye(k)[answers] + (1 - right) / k
        whole = answering([nothing], n=64)
        zeros = np.zeros(len(samples))
        law = replace(whole, logits={key: np.log(rows)}, log_normalizer={key: zeros})
        own = own_truths(law, benchmark, "test", 0.3)
        assert {template for _, template in own} == {s.template for s in samples}
        for (condition, name), part in own.items():
            ideal = truth(name, condition).atoms
            if right > 0.9:
                assert part.drop("total").to_dict() == pytest.approx(ideal, abs=1e-4)
            assert part["total"] == pytest.approx(part.drop("total").sum(), abs=1e-6)
            assert (part["total"] < 0.8 * sum(ideal.values())) == (right < 0.9)


def test_the_figure_has_estimates_with_the_question_given_and_ignored():
    rows = []
    for name in ("polarity", "count", "gated"):
        for condition in CONDITIONS:
            columns = {"benchmark": "micro_av/fusion", "template": name, "given": condition}
            for atom, bits in truth(name, condition).atoms.items():
                row = columns | {"atom": atom, "value_bits": bits}
                ends = {"ci_low": bits - 0.1, "ci_high": bits + 0.1}
                own = {} if condition == "template" else {"truth_bits": bits - 0.25}
                exact = {"estimator": "exact", "model": "one", "null_mean": 0.1}
                exact |= {"moved_vision": 0.1, "moved_audio": 0.3 if name == "gated" else 0.1}
                rows.append(row | ends | own | exact)
    shared = {"experiment": "omni", "fingerprint": "t", "seed": 0}
    table = validate(pd.DataFrame(rows).assign(**shared), COLUMNS)
    drawn = figure(table)
    texts = [[text.get_text() for text in ax.texts] for ax in drawn.axes]
    assert texts[:4] == [["off by .25 (mean)"]] * 4
    # its synergy of 1 bit is gone, and the own answers had .75
    assert texts[4:] == [[""]] * 3 + [["polarity off by .75"]]
    title = drawn.legends[0].get_title().get_text()
    assert "by .25 bits (mean); where" in title and "by .25 given it and by .75 ignoring" in title
    assert ": 1 of 3 cells" in title
    unread = figure(table[table["template"] == "gated"])
    assert unread.get_suptitle().startswith("No model can be read")
