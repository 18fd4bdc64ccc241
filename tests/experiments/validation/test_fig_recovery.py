from pidlib.experiments.preset import load_preset
from pidlib.experiments.validation import fig_recovery


def test_the_models_are_run_on_benchmarks_of_known_law():
    preset = load_preset("offline")
    (request,) = fig_recovery.requests(preset)
    assert request.models == preset.models
    assert {name.split("/")[0] for name in request.benchmarks} == {"micro"}
