"""Shares of the minis, the effect and its interval over trainings, the table and the figure."""

import itertools

import numpy as np
import pytest
from scipy import stats

from pidlib.experiments import style
from pidlib.experiments.omni import fig_bottleneck
from pidlib.experiments.omni.fig_bottleneck import (
    COLUMNS,
    DRAWN,
    EFFECTS,
    GAINS,
    SUBSETS,
    audio_share,
    effect,
    middle,
    truth,
)
from pidlib.experiments.preset import load_preset
from pidlib.experiments.tables import validate
from pidlib.training.recipes import RECIPES

MINIS = load_preset("offline").bottleneck_models
SHARES, SEEDS = np.repeat([0.125, 0.5, 0.875], 3), np.tile(range(3), 3)


def table_of(shares=(0.125, 0.5, 0.875)):
    """Synergy that rises with the share, for three seeds on two subsets and at softer sound."""
    rng, rows = np.random.default_rng(0), []
    trained = [("training", *key, 1.0) for key in itertools.product(SUBSETS, shares, range(3))]
    softer = itertools.product((SUBSETS[0],), (0.5,), range(3), GAINS)
    for part, atom in itertools.product(
        [*trained, *(("salience", *key) for key in softer)], style.SENSORY
    ):
        kind, subset, share, seed, gain = part
        value = 0.1 + 0.4 * share * gain * (atom == "synergy") + 0.05 * rng.random()
        row = {"kind": kind, "benchmark": subset, "model": f"mini {share}, {seed}", "atom": atom}
        row |= {"audio_share": share, "trained_seed": seed, "gain": gain, "value_bits": value}
        row |= {"ci_low": value - 0.05, "ci_high": value + 0.05}
        rows.append(row | {"truth_bits": 0.6, "accuracy": 0.8, "null_mean": 0.03})
    for subset, atom in itertools.product(SUBSETS, EFFECTS) if len(shares) > 1 else ():
        own = [row for row in rows if (row["benchmark"], row["atom"]) == (subset, atom)]
        own = [row for row in own if row["kind"] == "training"]
        x, y, seeds = (
            [row[name] for row in own] for name in ("audio_share", "value_bits", "trained_seed")
        )
        for kind, places in (("effect", x), ("bend", [share == 0.5 for share in x])):
            columns = {"kind": kind, "benchmark": subset, "atom": atom}
            rows.append(columns | effect(places, y, seeds))
    shared = {"experiment": "omni", "estimator": "exact", "fingerprint": "f", "seed": 0}
    return validate([row | shared for row in rows], COLUMNS)


def test_minis_differ_in_the_share_of_audio_and_the_seed_alone():
    recipes = [RECIPES[name] for name in MINIS]
    varied = {
        name
        for name in vars(recipes[0])
        if len({str(getattr(recipe, name)) for recipe in recipes}) > 1
    }
    assert varied == {"mixture", "seed"}
    unimodal = ("micro_av/audio", "micro_av/visual")
    rest = [
        {name: weight for name, weight in recipe.mixture.items() if name not in unimodal}
        for recipe in recipes
    ]
    assert all(mixture == rest[0] for mixture in rest)
    assert {sum(recipe.mixture[name] for name in unimodal) for recipe in recipes} == {4.0}
    pairs = sorted((audio_share(name), RECIPES[name].seed) for name in MINIS)
    assert pairs == [(n / 8, seed) for n in (1, 4, 7) for seed in range(3)]
    assert middle(MINIS) == [name for name in MINIS if audio_share(name) == 0.5]


def test_other_models_have_no_share():
    with pytest.raises(ValueError, match="unknown mini trained on audio questions 'llava'"):
        audio_share("llava")


def test_the_interval_of_the_effect_has_its_nominal_coverage():
    rng = np.random.default_rng(0)
    results = [
        effect(SHARES, rng.normal(size=3)[SEEDS] + 0.1 * SHARES + 0.05 * rng.normal(size=9), SEEDS)
        for _ in range(400)
    ]
    covered = np.mean([each["ci_low"] <= 0.075 <= each["ci_high"] for each in results])
    assert 0.92 <= covered <= 0.98 and {each["dof"] for each in results} == {5}
    mean = np.mean([each["value_bits"] for each in results])
    assert mean == pytest.approx(0.075, abs=0.005)
    p_values = [effect(SHARES, rng.normal(size=9), SEEDS)["null_p"] for _ in range(400)]
    assert np.mean(np.array(p_values) <= 0.05) == pytest.approx(0.05, abs=0.03)


def test_a_bend_is_the_middle_minus_the_rest():
    rng, central = np.random.default_rng(1), SHARES == 0.5
    bits = 0.3 * central + np.array([0.0, 1.0, 2.0])[SEEDS] + 0.01 * rng.normal(size=9)
    bend = effect(central, bits, SEEDS)
    assert bend["value_bits"] == pytest.approx(bits[central].mean() - bits[~central].mean())
    assert bend["ci_low"] > 0.25 and bend["null_p"] < 1e-4
    assert effect(SHARES, bits, SEEDS)["null_p"] > 0.5
    line = effect(SHARES, bits, np.zeros(9))  # with a single seed, ordinary least squares
    p = stats.linregress(SHARES, bits).pvalue
    assert (line["null_p"], line["dof"]) == (pytest.approx(p), 7)


def test_two_trainings_have_an_effect_without_interval():
    result = effect([0.125, 0.875], [0.1, 0.4], [0, 0])
    assert result["value_bits"] == pytest.approx(0.3)
    assert np.isnan([result[name] for name in ("ci_low", "ci_high", "null_p")]).all()
    confounded = effect([0.125, 0.875], [0.1, 0.4], [0, 1])  # share and seed vary together
    assert np.isnan(confounded["value_bits"])


def test_the_ceiling_is_the_mean_over_templates():
    atoms = {"redundancy": 0, "unique_vision": 0.5, "unique_audio": 0, "synergy": 0.5}
    assert truth({"gated": 5}) == pytest.approx(atoms, abs=1e-6)
    mixed = truth({"sounding_direction": 1, "silent_left": 3})
    assert mixed["synergy"] == pytest.approx(0.875, abs=1e-6)


@pytest.mark.filterwarnings("ignore:.*calibrate the noise", "ignore:.*median condition")
def test_table_of_trainings_and_softer_sound(tmp_path):
    preset = load_preset("smoke", n_omni_intervened=24, n_bootstrap=4, cache=str(tmp_path))
    table = fig_bottleneck.measure(preset)
    counts = {"training": 16, "effect": 8, "salience": 16, "change": 4}
    assert table["kind"].value_counts().to_dict() == counts
    for subset in SUBSETS[::-1]:
        own = table[table["benchmark"] == subset]
        trained = own[own["kind"] == "training"]
        bits = trained.pivot(index="audio_share", columns="atom", values="value_bits")
        rise = own[own["kind"] == "effect"].set_index("atom")["value_bits"]
        expected = (bits.loc[0.875] - bits.loc[0.125])[list(rise.index)]
        assert rise.to_dict() == pytest.approx(expected.to_dict(), abs=1e-9)
    loud = table[table["kind"] == "salience"].set_index(["gain", "atom"])["value_bits"].unstack()
    assert sorted(loud.index) == list(GAINS)
    change = table[table["kind"] == "change"].set_index("atom")
    expected = (loud.loc[1.0] - loud.loc[0.3]).to_dict()
    assert change["value_bits"].to_dict() == pytest.approx(expected, abs=1e-9)
    assert (change["ci_low"] < change["ci_high"]).all() and table["converged"].notna().all()
    assert np.allclose(loud.loc[1.0].astype(float), bits.loc[0.875, loud.columns].astype(float))


def test_panels_show_the_effects_and_the_line():
    table = table_of()
    axes = np.array(fig_bottleneck.figure(table).axes).reshape(2, 4)
    changes = table[table["kind"].isin(("effect", "bend"))]
    changes = changes.set_index(["benchmark", "atom", "kind"])
    for (row, subset), (column, atom) in itertools.product(enumerate(SUBSETS), enumerate(DRAWN)):
        ax = axes[row, column]
        title = ax.get_title().replace("\N{MINUS SIGN}", "-")
        for kind in ("effect", "bend"):
            numbers = changes.loc[(subset, atom, kind), ["value_bits", "ci_low", "ci_high"]]
            assert "{:+.2f} [{:+.2f}, {:+.2f}]".format(*numbers.astype(float)) in title
        (line,) = [
            each for each in ax.lines if len(each.get_xdata()) == 2 and each.get_linewidth() == 1.2
        ]
        rise = changes.loc[(subset, atom, "effect"), "value_bits"]
        assert np.diff(line.get_ydata())[0] == pytest.approx(rise)
        assert [label.get_text() for label in ax.get_xticklabels()] == ["1/8", "1/2", "7/8"]


def test_a_single_share_has_no_effects():
    table = table_of((0.5,))
    assert "effect" not in set(table["kind"])
    assert fig_bottleneck.figure(table).axes[0].get_title() == style.SYMBOLS["synergy"]
