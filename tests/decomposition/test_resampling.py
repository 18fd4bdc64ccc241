"""Sampling errors of decisions: bootstrap draws, halves, and extrapolation to all inputs."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.special import softmax

from decomposition.made_decisions import masked, resampled, sharp
from pidlib.decomposition import pid
from pidlib.decomposition.atoms import atoms as atoms_of
from pidlib.decomposition.decisions import Decisions, decision_pid
from pidlib.decomposition.information import mutual_information
from pidlib.decomposition.resampling import (
    RATE,
    Halves,
    _draw_weights,
    _generators,
    bootstrap_decisions,
    extrapolate,
    normal_interval,
    percentile_intervals,
    solve_halves,
)
from pidlib.decomposition.solve import solve

ATOMS = ("redundancy", "unique_vision", "unique_language", "synergy")


def solved_draws(made, n, seed, tol=1e-3):
    """The atoms of the draws of the bootstrap, with I_Q of each solved."""
    weights = _draw_weights(made, n, _generators("bootstrap_decisions", seed))
    a, b, target = made.marginals(weights)
    i1, i2 = mutual_information(a), mutual_information(b)
    i12 = mutual_information(weights[..., None] * made.joint)
    # a draw has no rows for values that it does not contain
    pairs = ([t[t.sum(1) > 0][None] for t in pair] for pair in zip(a, b, strict=True))
    couplings = [solve(*pair, tol=tol) for pair in pairs]
    assert all(coupling.converged for coupling in couplings)
    iq = torch.cat([coupling.upper for coupling in couplings])
    named = atoms_of(made.sources, i1, i2, i12, iq)
    return {name: values.numpy() for name, values in named.items()}


@pytest.mark.parametrize(
    "made",
    [masked(n=80), resampled(n=80), resampled(n=80, questions=16, both=True)],
    ids=["masked", "resampled", "both resampled"],
)
def test_dual_bootstrap_has_the_spread_of_the_exact_one(made):
    solved = decision_pid(made)
    priced = bootstrap_decisions(made, solved, n=60, seed=1)
    exact = solved_draws(made, n=60, seed=1, tol=1e-4)
    many = bootstrap_decisions(made, solved, n=300, seed=1)
    for name, values in exact.items():
        assert np.corrcoef(priced[name], values)[0, 1] > 0.8
        assert priced[name].std() == pytest.approx(values.std(), rel=0.3)
        # draws scatter around the estimate; their distance to exact ones is of second order
        assert abs(many[name].mean() - solved.pid.atoms[name]) < 0.5 * values.std()
    iq = sum(exact[name] - priced[name] for name in ATOMS[:3])
    assert (iq > -1e-3).all()  # the price is a lower bound


@pytest.mark.parametrize("made", [sharp(), sharp(gap=np.inf)], ids=["sharp", "one-hot"])
def test_dual_bootstrap_of_sharp_decisions_respects_the_bounds(made):
    solved = decision_pid(made)
    priced = bootstrap_decisions(made, solved, n=40, seed=1)
    exact = solved_draws(made, n=40, seed=1)
    for name, values in exact.items():
        assert priced[name].std() == pytest.approx(
            values.std(), rel=0.6 if name.startswith("unique") else 0.4
        )
        assert abs(priced[name].mean() - values.mean()) < 1.6 * values.std()
        assert np.corrcoef(priced[name], values)[0, 1] > 0.5
    assert min(priced[name].min() for name in ATOMS[:3]) > -1e-9


def test_bootstrap_resamples_groups():
    made = resampled(n=30)
    one = replace(made, groups=np.zeros(len(made), int))
    solved = decision_pid(one)
    still = bootstrap_decisions(one, solved, n=5)
    for name, value in solved.pid.atoms.items():
        np.testing.assert_allclose(still[name], value, atol=1e-9)
    first, again, other = (
        bootstrap_decisions(made, decision_pid(made), n=50, seed=seed) for seed in (0, 0, 1)
    )
    np.testing.assert_array_equal(first["synergy"], again["synergy"])
    assert not np.allclose(first["synergy"], other["synergy"])
    centre = {name: draws.mean() for name, draws in first.items()}
    low, high = percentile_intervals(first, centre)["synergy"]
    inside = (low <= first["synergy"]) & (first["synergy"] <= high)
    assert inside.mean() == pytest.approx(0.95, abs=0.03)
    moved = percentile_intervals(first, centre | {"synergy": centre["synergy"] + 1})["synergy"]
    assert moved == pytest.approx((low + 1, high + 1))


@pytest.mark.parametrize(
    "made",
    [
        pytest.param(masked(n=20), id="masked"),
        pytest.param(resampled(n=12), id="resampled"),
        pytest.param(resampled(n=12, both=True), id="both resampled"),
        pytest.param(sharp(n=40, gap=np.inf), id="one-hot"),
    ],
)
def test_draws_are_independent_of_the_block_size(made, monkeypatch):
    solved = decision_pid(made)
    together = bootstrap_decisions(made, solved, n=7)
    monkeypatch.setattr("pidlib.decomposition.resampling.BLOCK", 1)
    alone = bootstrap_decisions(made, solved, n=7)
    for name, values in together.items():
        assert len(values) == 7
        np.testing.assert_array_equal(values, alone[name])


def test_bootstrap_of_one_hot_decisions_with_another_prior_stays_finite():
    joint = np.eye(2)[(np.arange(40) % 4 == 0).astype(int)]
    sources = {"vision": np.eye(2)[np.zeros(40, int)], "language": np.full((40, 2), 0.5)}
    made = Decisions(joint, sources)
    draws = bootstrap_decisions(made, decision_pid(made), n=20)
    assert all(np.isfinite(values).all() for values in draws.values())


def test_bootstrap_needs_a_draw_and_halves_two():
    made = masked(n=5)
    with pytest.raises(ValueError, match="n=0 draws: at least 1"):
        bootstrap_decisions(made, decision_pid(made), n=0)
    with pytest.raises(ValueError, match="n=1 halves: at least 2"):
        solve_halves(made, decision_pid(made), n=1)


@pytest.mark.parametrize("both", [False, True])
def test_solved_draws_are_those_of_the_resampled_table(both):
    made = resampled(n=10, questions=4, both=both)
    pictures, questions = _generators("bootstrap_decisions", 3)
    drawn = pictures.multinomial(10, np.full(10, 0.1))
    w = made.weights.reshape(10, 4)[0] * 10
    if both:  # as many questions as pictures, by their frequency in whole numbers
        frequency = np.maximum(np.rint(10 * w), 1)
        w = w * questions.multinomial(10, frequency / frequency.sum()) / frequency
    joint = np.repeat(made.joint.reshape(10, 4, 4), drawn, axis=0)
    table = joint * w[None, :, None]
    expected = pid(table / table.sum()).atoms
    found = solved_draws(made, n=1, seed=3, tol=1e-6)
    for name, value in expected.items():
        assert found[name][0] == pytest.approx(value, abs=2e-6)


@pytest.mark.parametrize("both", [False, True])
@pytest.mark.parametrize("half", [False, True])
def test_draws_weigh_a_row_by_its_picture_and_its_question(both, half):
    made = resampled(n=24, questions=12, uniform=True, both=both)
    weights = _draw_weights(made, 200, _generators("any", 0), half=half)
    np.testing.assert_allclose(weights.sum(1), 1)
    grid = weights.reshape(200, 24, 12)
    of_picture, of_question = 24 * grid.sum(2), 12 * grid.sum(1)
    np.testing.assert_allclose(  # a product, and so independent
        grid * 24 * 12, of_picture[:, :, None] * of_question[:, None], atol=1e-12
    )
    np.testing.assert_allclose(of_picture, np.rint(of_picture), atol=1e-12)
    # means over draws are the weights of the decisions, within four standard errors
    np.testing.assert_allclose(of_picture.mean(0), 1, atol=4 / 200**0.5)
    np.testing.assert_allclose(of_question.mean(0), 1, atol=4 / 200**0.5)
    if not both:
        np.testing.assert_allclose(of_question, 1, atol=1e-12)
    else:
        assert of_question.std() > 0.3
        # questions are drawn apart from pictures
        assert abs(np.corrcoef(of_picture.ravel(), of_question.repeat(2))[0, 1]) < 0.1
    if half:
        assert ((of_picture == 0).sum(1) == 12).all() and of_picture.max() == pytest.approx(2)
    else:
        assert of_picture.std() == pytest.approx(1, abs=0.1)


def test_one_weight_of_a_sample_is_the_share_of_its_draws():
    made = masked(n=10)
    weights = _draw_weights(made, 300, _generators("any", 0))
    np.testing.assert_allclose(10 * weights, np.rint(10 * weights), atol=1e-12)
    one, two = (_draw_weights(made, n, _generators("any", 1)) for n in (3, 300))
    np.testing.assert_array_equal(one, two[:3])


def test_new_questions_have_a_spread_of_their_own():
    """With pictures alone resampled, the error that comes from the questions is not seen."""
    fresh, pictures, both = [], [], []
    for seed in range(16):
        made = resampled(24, 24, 3, seed=seed, uniform=True, both=True)
        solved = decision_pid(made, tol=1e-3)
        fresh.append(list(solved.pid.atoms.values()))
        one_sided = replace(made, groups=made.groups[:, 0])
        for spread, each in ((pictures, one_sided), (both, made)):
            draws = bootstrap_decisions(each, solved, 40).values()
            spread.append([values.std() for values in draws])
    pictures, both = np.mean(pictures, axis=0), np.mean(both, axis=0)
    language = ATOMS.index("unique_language")
    assert (both > pictures).all() and both[language] > 1.4 * pictures[language]
    truth = np.std(fresh, axis=0)  # of new pictures and new questions
    assert both == pytest.approx(truth, rel=0.6)
    assert both[language] == pytest.approx(truth[language], rel=0.25)
    assert pictures[language] < 0.75 * truth[language]


def test_halves_have_half_of_the_samples():
    made = masked(n=40)
    weights = _draw_weights(made, 5, _generators("halves", 0), half=True)
    assert np.sort(weights).tolist() == [[0.0] * 20 + [1 / 20] * 20] * 5
    solved = decision_pid(made)
    halves = solve_halves(made, solved, n=5)
    assert halves.converged and halves.parts.shape == (5, 4)
    i1, i2, i12, iq = halves.whole
    assert i1 == pytest.approx(solved.pid.redundancy + solved.pid.unique["vision"])
    assert i2 == pytest.approx(solved.pid.redundancy + solved.pid.unique["language"])
    assert i12 == pytest.approx(solved.pid.total)
    assert solved.pid.lower <= iq <= solved.pid.upper
    again, other = (solve_halves(made, solved, n=5, seed=seed) for seed in (0, 1))
    np.testing.assert_array_equal(halves.parts, again.parts)
    assert not np.allclose(halves.parts, other.parts)


def test_a_half_is_the_decomposition_of_its_samples(monkeypatch):
    made = resampled(n=12, questions=6, uniform=True, both=True)
    monkeypatch.setattr("pidlib.decomposition.resampling.HALF_TOLERANCE", 1e-6)
    halves = solve_halves(made, decision_pid(made), n=3, seed=4)
    weights = _draw_weights(made, 3, _generators("halves", 4), half=True)
    for w, found in zip(weights, halves.parts, strict=True):
        table = (w[:, None] * made.joint).reshape(12, 6, 4)
        expected = pid(table[table.sum((1, 2)) > 0][:, table.sum((0, 2)) > 0])
        first, second = expected.unique.values()
        informations = [expected.redundancy + first, expected.redundancy + second, expected.total]
        assert found[:3] == pytest.approx(informations, abs=2e-6)
        assert found[3] == pytest.approx(expected.upper, abs=2e-6)


def of_new_inputs(seed, n=64, k=4):
    """Inputs that all differ, of one law for both sources, so no information of it is unique."""
    v, t = 2 * np.random.default_rng(seed).normal(size=(2, n, k))
    sources = {"vision": softmax(v, axis=1), "language": softmax(t, axis=1)}
    return Decisions(softmax(v + t, axis=1), sources)


@pytest.fixture(scope="module")
def repeated():
    """Repeated samples: the decomposition, the extrapolation, and draws of the bootstrap."""
    results = []
    for seed in range(10):
        made = of_new_inputs(seed)
        solved = decision_pid(made, tol=1e-3)
        corrected = extrapolate(solve_halves(made, solved, n=8), tuple(made.sources))
        results.append((solved, corrected, bootstrap_decisions(made, solved, n=50)))
    return results


def test_extrapolation_comes_closer_to_the_law_of_inputs_that_all_differ(repeated):
    rows = softmax(2 * np.random.default_rng(99).normal(size=(100_000, 4)), axis=1)
    redundancy = 2 + np.mean(np.sum(rows * np.log2(rows), axis=1))  # the information of a source
    truth = {"redundancy": redundancy, "unique_vision": 0.0, "unique_language": 0.0}
    for atom, value in truth.items():
        plugged = np.mean([solved.pid.atoms[atom] for solved, _, _ in repeated]) - value
        corrected = np.mean([found.atoms[atom] for _, found, _ in repeated]) - value
        assert abs(corrected) < 0.65 * abs(plugged)
        assert (plugged < -0.05) if atom == "redundancy" else (plugged > 0.05)
    synergy = [
        np.mean([each.atoms["synergy"] for each in column])
        for column in ([solved.pid for solved, _, _ in repeated], [f for _, f, _ in repeated])
    ]
    assert synergy[1] > synergy[0] + 0.02  # also one that is too small


def test_intervals_of_halves_contain_the_truth_where_those_of_the_bootstrap_do_not(repeated):
    held, former, floor = [], [], 0
    for solved, found, draws in repeated:
        bootstrapped = percentile_intervals(draws, solved.pid.atoms)
        for atom in ("unique_vision", "unique_language"):
            low, high = found.interval[atom]
            assert high - low > 0.02  # also where the atom is 0
            assert low <= found.atoms[atom] <= high
            floor += found.atoms[atom] == 0
            held.append(low <= 0 <= high)
            former.append(bootstrapped[atom][0] <= 0 <= bootstrapped[atom][1])
        assert found.interval["redundancy"][0] > 0
    assert floor >= 1 and np.mean(held) >= 0.85 and np.mean(former) <= 0.3


@pytest.mark.parametrize("tied", [True, False])
def test_extrapolation_by_hand(tied):
    """I_Q is extrapolated at the rate of n^(1/2) only where both sources inform alike."""
    i2, rate = (1.0, RATE) if tied else (0.9, 1.0)
    parts = np.array([[1.02, i2, 3.1, 1.34], [1.02, i2, 3.1, 1.30]])
    halves = Halves(np.array([1.0, i2, 3.0, 1.3]), parts, True)
    found = extrapolate(halves, ("vision", "language"))
    i1, i12, iq = 0.98, 2.9, 1.3 - 0.02 * rate
    expected = {"redundancy": i1 + i2 - iq, "unique_vision": iq - i2, "unique_language": iq - i1}
    assert found.atoms == pytest.approx(expected | {"synergy": i12 - iq})
    assert sum(found.atoms.values()) == pytest.approx(i12)
    scale = (1 + rate**2 / 2) ** 0.5
    for atom, center in found.atoms.items():
        sign = 1 if atom.startswith("unique") else -1
        assert found.draws[atom] == pytest.approx(center + sign * scale * np.array([0.02, -0.02]))
        low, high = normal_interval(center, found.draws[atom])
        low = low if atom == "synergy" else max(low, 0)
        assert found.interval[atom] == pytest.approx((low, high))


def test_a_rare_answer_that_a_half_lacks_leaves_no_gaps():
    """Exact zeros, as in logs of an API: a row without weight has an infinite divergence."""
    made = Decisions(
        np.eye(3)[[2, *[0, 1] * 30]],
        {"vision": np.eye(3)[[2, *[0, 1] * 30]], "language": np.full((61, 3), 1 / 3)},
    )
    solved = decision_pid(made, tol=1e-3)
    found = extrapolate(solve_halves(made, solved, n=8), ("vision", "language"))
    assert np.isfinite([*found.atoms.values(), *np.ravel(list(found.interval.values()))]).all()
    drawn = bootstrap_decisions(made, solved, n=20)
    assert all(np.isfinite(values).all() for values in drawn.values())


def test_no_interval_is_a_point():
    """Atoms that are equal in all halves, as those of few different answers: no width before."""
    answers = np.eye(2)[np.arange(100) % 2]
    made = Decisions(answers, {"vision": answers, "language": np.full((100, 2), 0.5)})
    halves = solve_halves(made, decision_pid(made), n=6)
    found = extrapolate(halves, ("vision", "language"))
    least = -np.log(0.05) / 100
    assert halves.unseen == pytest.approx(least)
    former = extrapolate(halves._replace(unseen=0.0), ("vision", "language")).interval
    for atom in ("redundancy", "unique_language"):
        low, high = found.interval[atom]
        assert low == 0 and high >= least - 1e-9
        assert former[atom][1] - former[atom][0] < 1e-3
    low, high = found.interval["unique_vision"]
    assert 0.9 < low < 1 < high and high - low >= 2 * least - 1e-9


def test_extrapolation_adds_no_bias_where_halves_have_none_or_less():
    whole = np.array([1.0, 0.8, 2.0, 1.2])
    for below in (0, 0.1):
        halves = Halves(whole, np.tile(whole - [0, 0, 0, below], (4, 1)), True)
        found = extrapolate(halves, "ab").atoms
        expected = [0.6, 0.4, 0.2, 0.8]
        assert list(found.values()) == pytest.approx(expected)
    # and stays within max(I1, I2) <= I_Q <= I1 + I2, where synergy may be negative
    halves = Halves(np.array([1.0, 0.1, 0.9, 1.05]), np.tile([1.2, 0.4, 0.9, 1.4], (4, 1)), True)
    assert list(extrapolate(halves, "ab").atoms.values()) == pytest.approx([0, 0.8, 0, 0.1])
    low = Halves(np.array([1.0, 1.0, 0.5, 1.1]), np.tile([1.0, 1.0, 0.5, 1.15], (4, 1)), True)
    found = extrapolate(low, "ab")
    assert list(found.atoms.values()) == pytest.approx([1, 0, 0, -0.5])


def test_an_interval_is_that_of_student():
    low, high = normal_interval(1.0, np.array([0.0, 2.0]))
    assert (low, high) == pytest.approx((1 - 12.706 * 2**0.5, 1 + 12.706 * 2**0.5), rel=1e-3)
    many = np.random.default_rng(0).normal(size=20_000)
    assert normal_interval(0.0, many) == pytest.approx((-1.96, 1.96), abs=0.03)
