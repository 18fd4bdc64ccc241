"""Trainings that differ in one thing: their recipes, the effect and its interval over them, the table, and what is drawn."""

import itertools
import json

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from test_figures_streams import bottleneck

from pidlib import results, schemas
from pidlib.bottleneck import ATOMS, GAINS, SUBSETS, audio_share, bottleneck_table, effect, middle, truth
from pidlib.experiment import load_preset, project_root
from pidlib.figures import omni
from pidlib.models.recipes import RECIPES

MINIS = load_preset("offline").bottleneck_models


def told(notebook):
    cells = json.loads((project_root() / f"notebooks/omni/{notebook}.ipynb").read_text(encoding="utf-8"))["cells"]
    return " ".join(" ".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown").split())


def test_minis_differ_in_the_share_of_sound_and_in_the_seed_alone():
    recipes = [RECIPES[name] for name in MINIS]
    assert {name for name in vars(recipes[0]) if len({str(getattr(one, name)) for one in recipes}) > 1} == {"mixture", "seed"}
    rest = [{name: weight for name, weight in one.mixture.items() if name not in ("micro_av/audio", "micro_av/visual")} for one in recipes]
    assert all(one == rest[0] for one in rest)
    assert {one.mixture["micro_av/audio"] + one.mixture["micro_av/visual"] for one in recipes} == {4.0}
    assert sorted((audio_share(name), RECIPES[name].seed) for name in MINIS) == [(n / 8, seed) for n in (1, 4, 7) for seed in range(3)]
    assert middle(MINIS) == [name for name in MINIS if audio_share(name) == 0.5]


def test_a_share_is_that_of_a_mini_which_hears():
    with pytest.raises(ValueError, match="unknown mini that hears 'llava'"):
        audio_share("llava")


@pytest.mark.parametrize("notebook", ["fig_gate", "fig_layers", "fig_bottleneck"])
def test_captions_tell_of_the_noise_in_training(notebook):
    seen = [name for name in RECIPES if RECIPES[name].family == "qwen2_5_omni"]
    assert {name: RECIPES[name].hidden for name in seen} == {name: 0.0 if name.endswith("plain") else 0.2 for name in seen}
    assert "a fifth of each stream as noise in training" in told(notebook)


def test_the_interval_of_the_effect_covers_it_as_often_as_it_says():
    rng, shares, seeds = np.random.default_rng(0), np.repeat([0.125, 0.5, 0.875], 3), np.tile(range(3), 3)
    found = [effect(shares, rng.normal(size=3)[seeds] + 0.1 * shares + 0.05 * rng.normal(size=9), seeds) for _ in range(400)]
    covered = np.mean([one["ci_low"] <= 0.075 <= one["ci_high"] for one in found])
    assert 0.92 <= covered <= 0.98 and {one["dof"] for one in found} == {5}
    assert np.mean([one["value_bits"] for one in found]) == pytest.approx(0.075, abs=0.005)
    by_chance = [effect(shares, rng.normal(size=9), seeds)["null_p"] for _ in range(400)]
    assert np.mean(np.array(by_chance) <= 0.05) == pytest.approx(0.05, abs=0.03)


def test_the_bend_is_what_a_line_does_not_see():
    rng, shares, seeds = np.random.default_rng(1), np.repeat([0.125, 0.5, 0.875], 3), np.tile(range(3), 3)
    bits = 0.3 * (shares == 0.5) + np.array([0.0, 1.0, 2.0])[seeds] + 0.01 * rng.normal(size=9)
    found = effect(shares == 0.5, bits, seeds)
    assert found["value_bits"] == pytest.approx(bits[shares == 0.5].mean() - bits[shares != 0.5].mean())
    assert found["ci_low"] > 0.25 and found["null_p"] < 1e-4 and effect(shares, bits, seeds)["null_p"] > 0.5
    one = effect(shares, bits, np.zeros(9))  # of one seed: the usual line
    assert (one["null_p"], one["dof"]) == (pytest.approx(stats.linregress(shares, bits).pvalue), 7)


def test_two_trainings_have_an_effect_and_no_interval():
    found = effect([0.125, 0.875], [0.1, 0.4], [0, 0])
    assert found["value_bits"] == pytest.approx(0.3) and np.isnan([found["ci_low"], found["ci_high"], found["null_p"]]).all()
    assert np.isnan(effect([0.125, 0.875], [0.1, 0.4], [0, 1])["value_bits"])  # share or seed: not to be told apart


def test_the_ceiling_is_the_mean_over_templates():
    assert truth({"gated": 5}) == pytest.approx({"redundancy": 0, "unique_vision": 0.5, "unique_audio": 0, "synergy": 0.5}, abs=1e-6)
    assert truth({"sounding_direction": 1, "silent_left": 3})["synergy"] == pytest.approx(0.875, abs=1e-6)


@pytest.mark.filterwarnings("ignore:.*calibrate the noise", "ignore:.*fewer than 16")
def test_table_of_trainings_and_of_softer_sound(tmp_path):
    preset = load_preset("smoke", n_omni_intervened=24, n_bootstrap=4, cache=str(tmp_path))
    table = bottleneck_table(preset)
    assert table["kind"].value_counts().to_dict() == {"training": 16, "effect": 8, "salience": 16, "change": 4}
    for subset in SUBSETS[::-1]:
        own = table[table["benchmark"] == subset]
        bits = own[own["kind"] == "training"].pivot(index="audio_share", columns="atom", values="value_bits")
        rise = own[own["kind"] == "effect"].set_index("atom")["value_bits"]
        assert all(rise[atom] == pytest.approx(bits.loc[0.875, atom] - bits.loc[0.125, atom], abs=1e-9) for atom in ATOMS)
    loud = table[table["kind"] == "salience"].set_index(["gain", "atom"])["value_bits"].unstack()
    assert sorted(loud.index) == [*GAINS, 1.0]
    change = table[table["kind"] == "change"].set_index("atom")["value_bits"]
    ends = table[table["kind"] == "change"][["ci_low", "ci_high"]].astype(float)
    assert (ends["ci_low"] < ends["ci_high"]).all() and table["converged"].notna().all()
    assert all(change[atom] == pytest.approx(loud.loc[1.0, atom] - loud.loc[0.3, atom], abs=1e-9) for atom in ATOMS)
    assert np.allclose(loud.loc[1.0], bits.loc[0.875, loud.columns])  # the same questions, asked once
    assert results.tidy(table, schemas.SCHEMAS["fig_bottleneck"]).equals(table)


def test_a_panel_tells_the_effects_and_draws_the_line():
    table = bottleneck()
    axes = np.array(omni.fig_bottleneck(table).axes).reshape(2, 4)
    changes = table[table["kind"].isin(("effect", "bend"))].set_index(["benchmark", "atom", "kind"])
    for (row, subset), (column, atom) in itertools.product(enumerate(SUBSETS), enumerate(ATOMS[:3])):
        ax = axes[row, column]
        for kind in ("effect", "bend"):
            value, low, high = changes.loc[(subset, atom, kind), ["value_bits", "ci_low", "ci_high"]].astype(float)
            assert f"{value:+.2f} [{low:+.2f}, {high:+.2f}]" in ax.get_title().replace("\N{MINUS SIGN}", "-")
        (line,) = [one for one in ax.lines if len(one.get_xdata()) == 2 and one.get_linewidth() == 1.2]
        assert np.diff(line.get_ydata())[0] == pytest.approx(changes.loc[(subset, atom, "effect"), "value_bits"])
        assert [label.get_text() for label in ax.get_xticklabels()] == ["1/8", "1/2", "7/8"]
    one = bottleneck(shares=(0.5,))
    assert isinstance(one, pd.DataFrame) and "effect" not in set(one["kind"]) and omni.fig_bottleneck(one).axes[0].get_title()
