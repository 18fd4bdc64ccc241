"""Gaussian decomposition: closed forms, an independent minimum, gates of channels, estimates."""

import math

import numpy as np
import pytest
from scipy.optimize import minimize_scalar
from scipy.stats import norm

from pidlib.decomposition import pid
from pidlib.experiments.gaussian import covariance_pid, gaussian_pid

QUICK = {"n_draws": 19}


def covariance(h1, h2, cross=0.0):
    """Covariance of X1 = H1 Y + N1, X2 = H2 Y + N2 and a white Y; cross is that of N1 and N2."""
    h = np.vstack([h1, h2])
    noise = np.eye(len(h))
    noise[: len(h1), len(h1) :] += cross
    noise[len(h1) :, : len(h1)] += np.transpose(cross)
    return np.block([[h @ h.T + noise, h], [h.T, np.eye(h.shape[1])]])


def information(c, sources, target):
    """I(sources; target) of indices, by log-determinants of the raw covariance, in bits."""
    dets = [np.linalg.slogdet(c[np.ix_(i, i)])[1] for i in (sources, target, sources + target)]
    return (dets[0] + dets[1] - dets[2]) / (2 * math.log(2))


def channels(seed, k=3, d1=3, d2=3):
    generator = np.random.default_rng(seed)
    return generator.normal(size=(d1, k)), generator.normal(size=(d2, k))


def values(result):
    return list(result.atoms.values())


def test_sources_of_different_parts_of_the_target_are_unique():
    found = covariance_pid(covariance([[1, 0]], [[0, 3]]), (1, 1, 2))
    assert values(found) == pytest.approx([0, 0.5, math.log2(10) / 2, 0], abs=2e-6)


@pytest.mark.parametrize("cross", [-0.6, 0.0, 0.8])
def test_redundancy_about_a_scalar_is_the_smaller_information(cross):
    c = covariance([[1.0]], [[2.0]], cross)
    first, second, both = (information(c, x, [2]) for x in ([0], [1], [0, 1]))
    found = covariance_pid(c, (1, 1, 1))
    assert values(found) == pytest.approx([first, 0, second - first, both - second], abs=2e-6)
    assert found.converged and 0 <= found.gap <= 1e-6


def test_equal_channels_are_redundant():
    h, _ = channels(0)
    c = covariance(h, h)
    found = covariance_pid(c, (3, 3, 3))
    one, both = information(c, [0, 1, 2], [6, 7, 8]), information(c, list(range(6)), [6, 7, 8])
    assert values(found) == pytest.approx([one, 0, 0, both - one], abs=2e-6)
    copied = c[np.ix_([0, 1, 2, 0, 1, 2, 6, 7, 8], [0, 1, 2, 0, 1, 2, 6, 7, 8])]
    assert values(covariance_pid(copied, (3, 3, 3))) == pytest.approx([one, 0, 0, 0], abs=2e-6)


def test_noise_of_the_other_source_is_synergy():
    found = covariance_pid(covariance([[1.0]], [[0.0]], 0.9), (1, 1, 1))
    assert values(found) == pytest.approx([0, 0.5, 0, math.log2(1 + 1 / 0.19) / 2 - 0.5], abs=2e-6)


@pytest.mark.parametrize("angle", [0.3, 0.9, 1.5])
def test_the_minimum_is_that_of_a_scan_over_the_free_covariance(angle):
    c = covariance([[2.0, 0.0]], [[math.cos(angle), math.sin(angle)]])

    def of(free):
        moved = c.copy()
        moved[0, 1] = moved[1, 0] = c[0, 1] + free
        return information(moved, [0, 1], [2, 3])

    least = minimize_scalar(
        of, bounds=(-1 + 1e-9, 1 - 1e-9), method="bounded", options={"xatol": 1e-9}
    )
    found = covariance_pid(c, (1, 1, 2))
    assert found.upper == pytest.approx(least.fun, abs=2e-6) and found.lower <= least.fun
    assert 0.01 < min(found.unique.values()) < found.total


def test_no_coupling_has_less_information_than_the_lower_bound():
    h1, h2 = channels(1, 4, 3, 5)
    found = covariance_pid(covariance(h1, h2), (3, 5, 4))
    assert found.gap <= 1e-6
    generator = np.random.default_rng(2)
    for _ in range(300):
        u, s, vt = np.linalg.svd(generator.normal(size=(3, 5)), full_matrices=False)
        cross = (u * (1 - generator.uniform(size=3) ** 4 - 1e-9)) @ vt
        c = covariance(h1, h2, cross)
        assert information(c, list(range(8)), [8, 9, 10, 11]) >= found.lower


def test_atoms_agree_with_those_of_fine_cells():
    h = np.array([[1.5, 0.0], [1.2, 0.9]])
    middles = norm.ppf((np.arange(15) + 0.5) / 15)
    y = np.stack(np.meshgrid(middles, middles), -1).reshape(-1, 2) / middles.std()
    edges = np.linspace(-2.5, 2.5, 19)[:, None]
    below = [norm.cdf(edges * math.hypot(1, *row) - y @ row) for row in h]
    cells = [np.diff(p, axis=0, prepend=0 * p[:1], append=0 * p[:1] + 1) for p in below]
    found = pid(np.einsum("iy,jy->ijy", *cells), tol=1e-4)
    exact = covariance_pid(covariance(h[:1], h[1:]), (1, 1, 2))
    assert values(found) == pytest.approx(values(exact), abs=0.015)
    assert values(exact) == pytest.approx([0.3219, 0.5283, 0.5283, 0.0577], abs=1e-4)


def test_atoms_do_not_depend_on_coordinates():
    c = covariance(*channels(3, 3, 2, 4), cross=0.1)
    generator = np.random.default_rng(4)
    maps = np.zeros((9, 9))
    for part in (slice(2), slice(2, 6), slice(6, 9)):
        size = part.stop - (part.start or 0)
        maps[part, part] = generator.normal(size=(size, size)) * 10.0 ** generator.integers(-3, 4)
    moved = covariance_pid(maps @ c @ maps.T, (2, 4, 3))
    assert values(moved) == pytest.approx(values(covariance_pid(c, (2, 4, 3))), abs=4e-6)


def test_swapping_sources_swaps_unique_information():
    h1, h2 = channels(5, 3, 2, 4)
    r, u1, u2, s = values(covariance_pid(covariance(h1, h2), (2, 4, 3)))
    swapped = covariance_pid(covariance(h2, h1), (4, 2, 3))
    assert values(swapped) == pytest.approx([r, u2, u1, s], abs=2e-6)


def test_atoms_of_independent_problems_add_up():
    parts = [channels(seed, 2, 2, 2) for seed in (6, 7)]
    joined = [
        np.kron([[1, 0], [0, 0]], a) + np.kron([[0, 0], [0, 1]], b)
        for a, b in zip(*parts, strict=True)
    ]
    single = [values(covariance_pid(covariance(*part), (2, 2, 2))) for part in parts]
    assert values(covariance_pid(covariance(*joined), (4, 4, 4))) == pytest.approx(
        np.sum(single, axis=0), abs=4e-6
    )


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e2])
@pytest.mark.parametrize("difference", [0.0, 1e-7, 1e-2])
def test_nearly_equal_channels_converge(scale, difference):
    h1, h2 = scale * np.array(channels(8, 6, 6, 6))
    found = covariance_pid(covariance(h1, h1 + difference * h2), (6, 6, 6))
    assert found.converged
    assert max(found.unique.values()) <= 10 * max(scale, 1) * difference + 2e-6


def sampled(n, seed=0, width=4):
    """Samples where x1 and x2 each give their own part of y, beside columns of noise."""
    generator = np.random.default_rng(seed)
    y = generator.normal(size=(n, 2))
    noise = generator.normal(size=(2, n, width))
    noise[0, :, 0] += y[:, 0]
    noise[1, :, 0] += y[:, 1]
    return noise[0], noise[1], y


def test_estimates_are_corrected():
    found = [gaussian_pid(*sampled(150, seed), **QUICK, seed=seed) for seed in range(8)]
    measured = np.mean([values(each.measured) for each in found], axis=0)
    corrected = np.mean([list(each.corrected.values()) for each in found], axis=0)
    truth = np.array([0, 0.5, 0.5, 0])
    assert measured[3] > 0.025 and np.abs(corrected - truth).max() < 0.045
    assert np.abs(corrected - truth).sum() < 0.6 * np.abs(measured - truth).sum()
    assert all(each.interval["unique_vision"][0] > 0.1 for each in found)
    assert np.mean([each.p_value["redundancy"] > 0.1 for each in found]) > 0.7
    covered = [
        low <= 0.5 <= high for each in found for low, high in [each.interval["unique_vision"]]
    ]
    assert np.mean(covered) > 0.6
    assert found[0].measured.total == pytest.approx(sum(values(found[0].measured)))
    assert found[0].rows()[1]["atom"] == "unique_vision" and found[0].n_samples == 150


def test_unique_atoms_are_not_tested_by_permutations():
    """For two noisy copies of the target, their p was at most .05 in 20 of 24 tests."""
    y, *noise = np.random.default_rng(4).normal(size=(3, 300, 2))
    found = gaussian_pid(y + noise[0], y + noise[1], y, **QUICK)
    assert np.isnan([found.p_value[f"unique_{name}"] for name in ("vision", "language")]).all()
    assert found.p_value["redundancy"] == 0.05 and np.isnan(
        found.contribution("vision")["contribution"]
    )


def test_p_values_without_a_relation_are_uniform():
    p = []
    for seed in range(30):
        x1, x2, y = np.random.default_rng(seed).normal(size=(3, 40, 2))
        p.append(gaussian_pid(x1, x2, y, **QUICK, seed=seed).p_value["synergy"])
    assert min(p) >= 0.05 and 0.4 < np.mean(p) < 0.75


def test_estimates_do_not_depend_on_coordinates_and_repeat():
    x1, x2, y = sampled(200)
    found, again = (gaussian_pid(x1, x2, y, **QUICK) for _ in range(2))
    assert found.corrected == again.corrected and found.p_value == again.p_value
    turned = np.random.default_rng(1).normal(size=(4, 6))
    moved = gaussian_pid(1 + 100 * x1 @ turned, x2.astype(np.float32), y.tolist(), **QUICK)
    assert values(moved.measured) == pytest.approx(values(found.measured), abs=1e-5)


def test_components_limit_the_width():
    generator = np.random.default_rng(2)
    wide = generator.normal(size=(300, 1)) @ np.ones((1, 50)) + 0.1 * generator.normal(
        size=(300, 50)
    )
    y = wide[:, 0] + generator.normal(size=300)
    found = gaussian_pid(wide, generator.normal(size=(300, 50)), y, n_components=1, **QUICK)
    assert found.measured.unique["vision"] == pytest.approx(0.5, abs=0.15)


def test_shrinkage_serves_few_samples():
    x1, x2, y = sampled(30, width=9)
    with pytest.raises(ValueError, match=r"30 samples are too few for 9 \+ 9 \+ 2 .* need 63; use"):
        gaussian_pid(x1, x2, y)
    slight, strong = (
        gaussian_pid(x1, x2, y, shrinkage=weight, **QUICK).measured for weight in (0.1, 0.5)
    )
    assert 0.05 < strong.total < slight.total and slight.converged


def test_shrinkage_turns_redundancy_of_common_noise_into_synergy():
    y, noise = np.random.default_rng(0).normal(size=(2, 500, 1))
    whole, shrunk = (
        gaussian_pid(y + noise, y + noise, y, shrinkage=weight, **QUICK).measured
        for weight in (0.0, 0.1)
    )
    assert whole.synergy < 1e-5 and shrunk.synergy > 0.02
    assert shrunk.redundancy < whole.redundancy - 0.1


def test_wrong_input_raises():
    x1, x2, y = sampled(60)
    broken = x1.copy()
    broken[[3, 7], 1] = np.nan
    for arguments, options, message in (
        ((broken, x2, y), {}, "2 rows of x1 are not finite: 3, 7"),
        ((x1, x2[1:], y), {}, "x1, x2 and y have 60, 59, 60 samples"),
        ((x1, np.ones((60, 3)), y), {}, "x2 is constant in all 60 samples"),
        ((x1, x2, ["yes", "no"] * 30), {}, "y must hold real numbers"),
        ((x1, x2, x1[:, :2]), {}, "the information is infinite"),
        ((x1[None], x2, y), {}, r"x1 must be \[samples, width\]"),
        ((x1, x2, y), {"shrinkage": 1.0}, "from 0 to below 1, but is 1.0"),
        ((x1, x2, y), {"n_draws": 0}, "at least 1"),
    ):
        with pytest.raises(ValueError, match=message):
            gaussian_pid(*arguments, **QUICK | options)
    for matrix, sizes, message in (
        (np.eye(3), (1, 1, 2), "expected a covariance of 1 [+] 1 [+] 2 variables"),
        (np.ones((3, 3)) + np.triu(np.ones((3, 3))), (1, 1, 1), "symmetric"),
        (np.eye(3) * np.nan, (1, 1, 1), "finite"),
        ([[1, 2, 0], [2, 1, 0], [0, 0, 1]], (1, 1, 1), "positive semidefinite"),
    ):
        with pytest.raises(ValueError, match=message):
            covariance_pid(matrix, sizes)


def test_unreached_tolerance_is_warned_about():
    with pytest.warns(UserWarning, match="the gap is .* above tol=1.0e-16"):
        found = covariance_pid(covariance(*channels(9)), (3, 3, 3), tol=1e-16)
    assert not found.converged and found.gap < 1e-7
