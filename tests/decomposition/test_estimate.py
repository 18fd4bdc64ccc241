"""Estimates from codes: nulls, corrections, coverage of intervals, warnings."""

import sys
import warnings

import numpy as np
import pandas as pd
import pytest

from pidlib.decomposition import pid
from pidlib.decomposition.entropies import tabulate
from pidlib.decomposition.estimate import (
    Estimate,
    estimate,
    permuted,
)
from pidlib.experiments.validation.laws import sample_law, sampled_laws

QUICK = {"n_permutations": 60, "n_bootstrap": 60, "tol": 1e-3}


def independent(n, k, ky=4, seed=0):
    generator = np.random.default_rng(seed)
    return [generator.integers(size, size=n) for size in (k, k, ky)]


def quietly(codes, **options) -> Estimate:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return estimate(*codes, **QUICK | options)


def additive(n, k=5, ky=3, seed=0):
    """Samples of a table in which both sources add evidence on y, and its true atoms."""
    of_x1, of_x2 = np.random.default_rng(11).normal(size=(2, k, ky)) * 1.5
    table = np.exp(of_x1[:, None] + of_x2[None])
    table = table / table.sum(2, keepdims=True) / k**2
    labels = np.random.default_rng(seed).choice(table.size, size=n, p=table.ravel())
    return np.unravel_index(labels, table.shape), pid(table).atoms


def test_measured_atoms_are_those_of_the_counts():
    codes, _ = additive(400)
    found = quietly(codes)
    expected = pid(tabulate(*(labels[None] for labels in codes), (5, 5, 3))[0], tol=1e-3)
    assert found.measured.atoms == pytest.approx(expected.atoms, abs=2e-3)
    assert found.n_samples == 400


def test_permutations_keep_the_sources_and_the_target():
    x1, x2, y = independent(300, 4)
    tables = permuted((x1, x2, y), (4, 4, 4), 20, seed=3)
    (counts,) = tabulate(x1[None], x2[None], y[None], (4, 4, 4))
    np.testing.assert_array_equal(tables.sum(3), np.broadcast_to(counts.sum(2), (20, 4, 4)))
    np.testing.assert_array_equal(tables.sum((1, 2)), np.broadcast_to(np.bincount(y), (20, 4)))
    assert len(np.unique(tables.reshape(20, -1), axis=0)) == 20
    of_source = permuted((x1, x2, y), (4, 4, 4), 20, seed=3, which=0)
    np.testing.assert_array_equal(of_source.sum(1), np.broadcast_to(counts.sum(0), (20, 4, 4)))
    assert not np.array_equal(of_source.sum(3)[0], counts.sum(2))


def test_bias_of_independent_codes_is_synergy_and_is_taken_off():
    found = [quietly(independent(1000, 8, seed=seed), seed=seed) for seed in range(6)]
    measured = pd.DataFrame([one.measured.atoms for one in found]).mean()
    corrected = pd.DataFrame([one.corrected for one in found]).mean()
    assert measured["synergy"] > 0.1 and measured.drop("synergy").max() < 0.03
    assert found[0].predicted_bias == pytest.approx(measured["synergy"], rel=0.4)
    assert corrected.abs().max() < 0.02


def test_p_values_of_independent_codes_are_uniform():
    p = [
        quietly(
            independent(200, 3, 2, seed=seed), n_permutations=19, n_bootstrap=2, seed=seed
        ).p_value["synergy"]
        for seed in range(60)
    ]
    assert min(p) >= 0.05 and np.mean(p) == pytest.approx(0.525, abs=0.12)
    assert np.mean(np.array(p) <= 0.2) < 0.4


def noise_beside_a_source(seed, n=500):
    """Y follows X1 half of the time; X2 is noise. Nothing is redundant, nor synergistic."""
    generator = np.random.default_rng(seed)
    x1, x2 = generator.integers(6, size=(2, n))
    return x1, x2, np.where(generator.random(n) < 0.5, x1 % 3, generator.integers(3, size=n))


def test_one_informative_source_is_not_redundant_with_noise():
    options = {"n_permutations": 39, "n_bootstrap": 1}
    p = pd.DataFrame(
        [quietly(noise_beside_a_source(seed), seed=seed, **options).p_value for seed in range(25)]
    )
    rejected = (p <= 0.05).mean()
    assert rejected.drop("unique_vision").max() <= 0.12
    assert rejected["unique_vision"] == 1


def test_true_atoms_are_found():
    generator = np.random.default_rng(4)
    x1, x2, coin = generator.integers(2, size=(3, 300))
    noisy = np.where(generator.random((2, 300)) < 0.2, 1 - x1, x1)
    cases = {
        "redundancy": (*noisy, x1),
        "unique_vision": (x1, x2, np.where(generator.random(300) < 0.2, coin, x1)),
        "unique_language": (x1, x2, np.where(generator.random(300) < 0.2, coin, x2)),
        "synergy": (x1, x2, np.where(generator.random(300) < 0.2, coin, x1 ^ x2)),
    }
    for atom, codes in cases.items():
        assert quietly(codes).p_value[atom] < 0.05, atom


def test_dependence_is_found_and_corrections_bring_it_nearer_to_the_truth():
    wrong = {"measured": [], "corrected": []}
    for seed in range(6):
        codes, truth = additive(400, seed=seed)
        found = quietly(codes, seed=seed)
        assert found.p_value["synergy"] < 0.05
        wrong["measured"].append([found.measured.atoms[atom] - truth[atom] for atom in truth])
        wrong["corrected"].append([found.corrected[atom] - truth[atom] for atom in truth])
    bias = {name: np.abs(np.mean(values, axis=0)) for name, values in wrong.items()}
    rmse = {name: np.sqrt(np.mean(np.square(values))) for name, values in wrong.items()}
    assert bias["corrected"][3] < 0.4 * bias["measured"][3]
    assert rmse["corrected"] < rmse["measured"]


def test_intervals_hold_the_truth():
    hits = []
    for seed in range(12):
        codes, truth = additive(800, seed=seed)
        found = quietly(codes, n_permutations=30, seed=seed)
        hits += [low <= truth[atom] <= high for atom, (low, high) in found.interval.items()]
    assert np.mean(hits) > 0.85


def test_corrected_atoms_sum_to_the_corrected_information():
    codes, truth = additive(5000)
    found = quietly(codes)
    assert sum(found.corrected.values()) == pytest.approx(sum(truth.values()), abs=0.03)
    for atom, (low, high) in found.interval.items():
        assert low < found.corrected[atom] < high


def test_any_labels_are_codes_and_gaps_in_them_do_not_count():
    codes, _ = additive(300)
    named = (np.array(list("pqrst"))[codes[0]], codes[1] * 10 - 7, codes[2])
    one, two = quietly(codes), quietly(named, sources=("picture", "text"))
    assert list(two.corrected.values()) == pytest.approx(list(one.corrected.values()), abs=1e-9)
    assert two.measured.sources == ("picture", "text") and two.predicted_bias == one.predicted_bias


def test_one_seed_one_estimate():
    codes, _ = additive(300)
    one, two, other = quietly(codes, seed=1), quietly(codes, seed=1), quietly(codes, seed=2)
    assert one.rows() == two.rows() != other.rows()
    assert len(repr(one)) < 250


def test_warns_of_bias_and_of_too_few_samples():
    with pytest.warns(
        UserWarning,
        match=r"1000 samples of 10 x 10 x 4 codes have a predicted bias of synergy of 0.21 bits",
    ):
        found = estimate(*independent(1000, 10), n_permutations=2, n_bootstrap=2, tol=1e-2)
    assert found.synergy_estimable
    with pytest.warns(UserWarning, match="too much to correct"):
        found = estimate(*independent(90, 10), n_permutations=2, n_bootstrap=2, tol=1e-2)
    assert not found.synergy_estimable
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        estimate(*independent(2000, 3, 2), n_permutations=2, n_bootstrap=2, tol=1e-2)


def test_rows_are_those_of_the_results():
    codes, _ = additive(400)
    rows = pd.DataFrame(quietly(codes).rows())
    assert list(rows["atom"]) == ["redundancy", "unique_vision", "unique_language", "synergy"]
    assert (rows["lower_bits"] <= rows["value_bits"]).all() and (
        rows["value_bits"] <= rows["upper_bits"]
    ).all()
    assert (rows["ci_low"] < rows["corrected_bits"]).all() and rows["converged"].all()


@pytest.mark.parametrize(
    "codes", [([0, 1], [0, 1], [0]), ([], [], []), ([[0, 1]], [[0, 1]], [[0, 1]])]
)
def test_refuses_labels_that_do_not_fit(codes):
    with pytest.raises(ValueError, match="one code for each sample"):
        estimate(*codes)


def test_refuses_missing_labels_and_no_resamples():
    x1, x2, y = independent(50, 2)
    for missing in (np.where(y == 0, np.nan, y), np.array([None, *"ab" * 25][:50], dtype=object)):
        with pytest.raises(
            ValueError, match=r"of 50 labels of y are missing \(NaN or None\): samples"
        ):
            estimate(x1, x2, missing)
    for name in ("n_permutations", "n_bootstrap"):
        with pytest.raises(ValueError, match=f"{name}=0.*: at least 1"):
            estimate(x1, x2, y, **{name: 0})


def test_no_correction_is_given_where_synergy_cannot_be_estimated():
    found = quietly(independent(60, 10), n_permutations=2, n_bootstrap=2)
    *others, synergy = found.rows()
    assert (
        synergy["corrected_bits"] is synergy["ci_low"] is synergy["ci_high"] is None
        and synergy["value_bits"] > 0
    )
    assert all(row["corrected_bits"] is not None for row in others)


def test_contribution_is_the_share_of_the_unique_atoms():
    codes, truth = additive(4000)
    found = quietly(codes)
    of_vision, of_language = (found.contribution(source) for source in ("vision", "language"))
    share = truth["unique_language"] / (truth["unique_vision"] + truth["unique_language"])
    assert of_language["contribution_low"] < share < of_language["contribution_high"]
    assert of_language["contribution"] == pytest.approx(share, abs=0.05)
    assert of_vision["contribution"] + of_language["contribution"] == pytest.approx(1)
    assert of_language["unique_p"] == pytest.approx(2 / 61)
    assert quietly([codes[0], codes[0] * 0, codes[0]]).contribution("language")[
        "contribution"
    ] == pytest.approx(0, abs=1e-9)


def test_contribution_of_nothing_is_missing():
    shares = [quietly(independent(300, 3, seed=seed)).contribution("vision") for seed in range(12)]
    missing = [share for share in shares if np.isnan(share["contribution"])]
    assert len(missing) >= 10 and all(np.isnan(share["contribution_high"]) for share in missing)


def test_coarse_resamples_find_weak_atoms():
    generator = np.random.default_rng(4)
    x1, x2, noise = generator.integers(2, size=(3, 50_000))
    weak = np.where(generator.random(50_000) < 0.016, x1 ^ x2, noise)
    result = estimate(x1, x2, weak, n_permutations=99, n_bootstrap=2)
    assert 1e-4 < result.measured.synergy < 4e-4 and result.p_value["synergy"] == 0.01


def test_corrections_with_coarse_resamples_are_those_with_precise_ones(monkeypatch):
    codes, _ = additive(800)
    coarse = quietly(codes, tol=1e-6)
    monkeypatch.setattr("pidlib.decomposition.estimate.RESAMPLE_TOLERANCE", 0.0)
    fine = quietly(codes, tol=1e-6)
    moved = [abs(coarse.corrected[atom] - fine.corrected[atom]) for atom in fine.corrected]
    assert 0 < max(moved) < 1e-4 and coarse.converged and fine.converged
    assert coarse.p_value == fine.p_value


SAME = "same noisy channel"


def of_law(name, n, k=3, repetitions=20, **options):
    """Estimates of repeated samples of a law, and its atoms."""
    law = sampled_laws(k)[name]
    found = [
        quietly(sample_law(law, n, seed), seed=seed, n_permutations=39, **options)
        for seed in range(repetitions)
    ]
    return found, pd.Series(pid(law).atoms)


def unique_rate(found):
    """Share of estimates whose first, and second, unique atom is significant at 0.05."""
    p = pd.DataFrame([each.p_value for each in found])
    return (p[["unique_vision", "unique_language"]] <= 0.05).mean()


def test_unique_information_of_two_equal_channels_is_not_significant(monkeypatch):
    found, _ = of_law(SAME, 400, n_bootstrap=2, repetitions=40)
    assert unique_rate(found).max() <= 0.125
    monkeypatch.setattr("pidlib.decomposition.estimate.unique_p", lambda *_, **__: (0, 0))
    former, _ = of_law(SAME, 400, n_bootstrap=2, repetitions=10)
    assert unique_rate(former).min() >= 0.6


def test_unique_information_of_a_better_channel_is_significant():
    better, worse = (share * np.eye(3) + (1 - share) / 3 for share in (0.75, 0.4))
    law = np.einsum("yi,yj->ijy", better, worse) / 3
    found = [
        quietly(sample_law(law, 400, seed), n_permutations=39, n_bootstrap=2) for seed in range(20)
    ]
    rate = unique_rate(found)
    assert rate["unique_vision"] >= 0.9 and rate["unique_language"] <= 0.1


def test_no_share_of_the_noise_of_two_equal_channels(monkeypatch):
    def given(repetitions):
        found, _ = of_law(SAME, 400, 4, repetitions)
        return np.mean([not np.isnan(f.contribution("vision")["contribution"]) for f in found])

    assert given(20) <= 0.15
    monkeypatch.setattr("pidlib.decomposition.estimate.unique_p", lambda *_, **__: (0, 0))
    assert given(10) >= 0.7


def test_bias_where_sources_are_redundant_is_removed(monkeypatch):
    def bias():
        found, truth = of_law(SAME, 1000, 5, 12)
        return pd.DataFrame([each.corrected for each in found]).mean() - truth

    assert bias().abs().max() < 0.04
    monkeypatch.setattr("pidlib.decomposition.estimate._redundancy_bias", lambda *_: 0.0)
    assert bias().abs().min() > 0.05


def test_intervals_at_the_floor_have_a_width_and_contain_zero():
    found, truth = of_law("one source alone", 400, repetitions=12)
    assert truth["unique_language"] == pytest.approx(0, abs=1e-6)
    ends = np.array([each.interval["unique_language"] for each in found])
    percentiles = [np.quantile(each.draws["unique_language"], 0.975) for each in found]
    assert (ends[:, 0] <= 0).all() and (ends[:, 1] > 0).all() and (np.diff(ends) > 1e-3).all()
    assert np.mean(np.array(percentiles) < 0) > 0.7


def test_synergy_of_a_copy_is_not_significant_and_its_interval_contains_zero():
    """Joint information and I_Q lose different nulls, which leaves a positive synergy."""
    for seed in range(6):
        x1, x2 = np.random.default_rng(seed).integers(5, size=(2, 400))
        found = estimate(x1, x2, x1, n_permutations=19, n_bootstrap=40, seed=seed)
        assert found.measured.synergy < 1e-5 and found.p_value["synergy"] > 0.05
        assert found.interval["synergy"][0] <= 0 < found.interval["synergy"][1]


def test_intervals_hold_the_truth_where_sources_are_redundant():
    found, truth = of_law(SAME, 1000, 5, 12)
    held = [
        low <= truth[atom] <= high for each in found for atom, (low, high) in each.interval.items()
    ]
    assert np.mean(held) >= 0.85


def test_labels_are_numbered_without_pandas(monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)  # it comes with the models only
    x1, x2 = np.random.default_rng(0).integers(2, size=(2, 64))
    labels = np.array(["no", "yes"])
    assert quietly((labels[x1], x2, x1 ^ x2)).measured.synergy > 0.9
    with pytest.raises(ValueError, match="missing"):
        estimate(np.where(x1, x1, np.nan), x2, x1 ^ x2)
