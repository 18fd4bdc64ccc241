"""Minis side by side: what they differ in, as the notebook says it, and columns without a line between them."""

import json

import numpy as np
import pandas as pd
import pytest
from test_figures_streams import bottleneck

from pidlib.bottleneck import NEED_BOTH, audio_share
from pidlib.experiment import load_preset, project_root
from pidlib.figures import omni
from pidlib.models.recipes import RECIPES

MINIS = load_preset("offline").bottleneck_models


def told(notebook):
    cells = json.loads((project_root() / f"notebooks/omni/{notebook}.ipynb").read_text(encoding="utf-8"))["cells"]
    return " ".join(" ".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown").split())


def test_the_text_tells_all_that_the_three_differ_in():
    recipes = [RECIPES[name] for name in MINIS]
    both = [100 * sum(one.mixture[name] for name in NEED_BOTH) / sum(one.mixture.values()) for one in recipes]
    rows = {
        "audio questions": [f"{audio_share(name):.2f}".removeprefix("0") for name in MINIS],
        "questions that need both": [f"{share:.0f} %" for share in both],
        "sound of another": [f"{one.deaf:g}".removeprefix("0") or "0" for one in recipes],
        "steps": [f"{one.answers:,}" for one in recipes],
    }
    text = told("fig_bottleneck")
    for name, values in rows.items():
        assert f"| {name} | {' | '.join(values)} |" in text
    differing = {name for name in vars(recipes[0]) if len({str(getattr(one, name)) for one in recipes}) > 1}
    assert differing == {"mixture", "deaf", "answers"}


@pytest.mark.parametrize("notebook", ["fig_gate", "fig_layers", "fig_bottleneck"])
def test_captions_tell_of_the_noise_in_training(notebook):
    seen = [name for name in RECIPES if RECIPES[name].family == "qwen2_5_omni"]
    assert {name: RECIPES[name].hidden for name in seen} == {name: 0.0 if name.endswith("plain") else 0.2 for name in seen}
    assert "a fifth of each stream as noise in training" in told(notebook)


def test_minis_are_columns_with_their_share_in_the_label():
    figure = omni.fig_bottleneck(bottleneck())
    ax = figure.axes[0]
    assert [label.get_text() for label in ax.get_xticklabels()] == ["seeing\n(0.05)", "compact\n(0.17)", "hearing\n(0.44)"]
    assert not [line for line in ax.lines if len(line.get_xdata()) > 1 and line.get_linestyle() == "-"]
    unknown = bottleneck().assign(audio_share=pd.array([np.nan] * len(bottleneck()), dtype="Float64"))
    assert [label.get_text() for label in omni.fig_bottleneck(unknown).axes[0].get_xticklabels()] == ["seeing", "compact", "hearing"]
