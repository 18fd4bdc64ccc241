import pytest

from pidlib.experiments.preset import load_preset
from pidlib.experiments.validation import fig_benchmarks


def test_atoms_of_the_pure_tasks():
    table = fig_benchmarks.measure(load_preset("offline"))
    bits = table.set_index(["benchmark", "unimodal", "atom"])["value_bits"]
    assert bits["micro/grounding", "masked", "synergy"] == pytest.approx(2, abs=1e-6)
    assert bits["micro/knowledge", "masked", "unique_language"] == pytest.approx(2, abs=1e-6)
    assert bits["micro/scene", "resampled", "unique_vision"] == pytest.approx(2, abs=1e-6)
    redundancy = bits[:, :, "redundancy"]["micro/captioned"]
    assert redundancy["masked"] > 1.5 and redundancy["resampled"] < 1e-3
    assert bits[:, "observational"].equals(bits[:, "masked"])  # the law itself, without noise
