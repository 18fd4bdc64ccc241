"""The first step: what it asks and makes is what the notebooks then read."""

import pandas as pd

from pidlib import answers
from pidlib.experiment import load_preset
from pidlib.reweighting_tables import all_settings


def test_it_makes_the_trainings_that_notebooks_make_anew(monkeypatch, capsys):
    asked, trained = [], []
    monkeypatch.setattr("sys.argv", ["answers", "--preset", "offline"])
    monkeypatch.setattr(answers, "ask", lambda preset, model, **_: asked.append(model) or 1)
    monkeypatch.setattr("pidlib.outcomes.made", lambda preset, settings, jobs: trained.extend(settings) or pd.DataFrame())
    answers.main()
    preset = load_preset("offline")
    assert set(preset.models) <= set(asked) and len(asked) == len(set(asked))
    later = [one for one in all_settings(preset) if one not in trained]
    assert {one.seed for one in trained} == set(range(preset.n_remade_seeds)) and later
    assert min(one.seed for one in later) == preset.n_remade_seeds
