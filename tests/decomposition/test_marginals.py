"""Pair marginals: one P(Y) for both sources, without more information about them."""

import numpy as np
import pytest
import torch

from pidlib.decomposition import marginals as module
from pidlib.decomposition.decisions import Decisions
from pidlib.decomposition.information import mutual_information
from pidlib.decomposition.marginals import (
    LIMIT,
    RECONCILIATIONS,
    channel,
    divergence,
    projection,
    reconcile,
)

every_method = pytest.mark.parametrize("move", RECONCILIATIONS.values(), ids=list(RECONCILIATIONS))


def table(seed, n=40, k=4, scale=3.0):
    generator = np.random.default_rng(seed)
    rows = torch.softmax(torch.as_tensor(scale * generator.normal(size=(n, k))), dim=1)
    return torch.as_tensor(generator.dirichlet(np.ones(n)))[:, None] * rows, torch.as_tensor(
        generator.dirichlet(np.full(k, 3.0))
    )


def tables(n):
    """Tables of any size and sharpness, each with a target."""
    for seed in range(n):
        generator = np.random.default_rng(1000 + seed)
        size, k = int(generator.integers(2, 30)), int(generator.integers(2, 7))
        yield table(seed, size, k, scale=10 ** generator.uniform(-1, 2))


def of_answers(others, n=64, k=4, seed=0):
    """Rows that say one of k - 1 answers, with weights `others` of the rest; a target with all."""
    generator = np.random.default_rng(seed)
    said = np.where(generator.random(n) < 0.6, 0, generator.integers(k - 1, size=n))
    rows = torch.as_tensor(np.where(np.eye(k)[said] > 0, 1.0, others))
    target = torch.tensor([0.3, 0.3, 0.3, 0.1], dtype=torch.float64)
    return rows / rows.sum(1, keepdim=True) / n, target


def information(a):
    return mutual_information(a[None]).item()


@every_method
@pytest.mark.parametrize("scale", [0.1, 1.0, 5.0, 30.0, 60.0, 300.0])
def test_both_sums_are_met(move, scale):
    a, target = table(1, scale=scale)
    moved = move(a, target)
    torch.testing.assert_close(moved.sum(0), target, atol=1e-14, rtol=0)
    torch.testing.assert_close(moved.sum(1), a.sum(1), atol=1e-14, rtol=0)
    assert (moved >= 0).all()


def test_rows_never_tell_more_than_before_unless_projected():
    rises = []
    for a, target in tables(150):
        before = information(a)
        for move in (reconcile, channel):
            moved = move(a, target)
            torch.testing.assert_close(moved.sum(0), target, atol=1e-13, rtol=0)
            torch.testing.assert_close(moved.sum(1), a.sum(1), atol=1e-13, rtol=0)
            assert information(moved) <= before + 1e-12
        rises.append(information(projection(a, target)) - before)
    assert max(rises) > 0.3 and np.mean(np.array(rises) > 1e-3) > 0.1


def test_bounded_keeps_more_information_than_the_channel():
    parts = [
        [information(each) for each in (a, reconcile(a, target), channel(a, target))]
        for a, target in tables(150)
    ]
    before, bounded, passed = np.array(parts).T
    assert (bounded / before).mean() > (passed / before).mean() + 0.1
    # scaling within the limit can tell a little less than the channel
    assert (bounded / before - passed / before).min() > -0.05


def test_bounded_is_the_projection_where_that_adds_nothing_and_factors_are_small():
    equal = 0
    for seed in range(120):
        a, target = table(seed, scale=1.0)
        target = 0.8 * a.sum(0) + 0.2 * target
        exact, near = projection(a, target), projection(a, target, LIMIT)
        # factors of answers, up to one of all of them: ratios of odds within a row
        factors = (exact / a)[0] / (exact / a)[0].log().mean().exp()
        if factors.max() > 1.4 or factors.min() < 0.7 or information(exact) > information(a):
            continue
        equal += 1
        torch.testing.assert_close(near, exact, atol=1e-11, rtol=0)
        torch.testing.assert_close(reconcile(a, target), exact, atol=1e-11, rtol=0)
    assert equal >= 20


def test_bounded_keeps_most_information_where_scaling_would_add_some():
    mixed = 0
    for a, target in tables(60):
        if information(projection(a, target, LIMIT)) < information(a) + 1e-4:
            continue
        mixed += 1
        moved, before = information(reconcile(a, target)), information(a)
        # information is convex, so that of the mixture is at most what is allowed
        assert 0.75 * before < moved <= before + 1e-12
        assert moved > information(channel(a, target)) + 1e-9 or before < 1e-3
    assert mixed >= 5


@pytest.mark.parametrize("move", [reconcile, channel], ids=["bounded", "channel"])
@pytest.mark.parametrize("tail", [1e-300, 1e-100, 1e-30, 1e-9])
def test_tails_change_no_more_than_themselves(move, tail):
    (sharp, target), (tailed, _) = of_answers(0.0), of_answers(tail)
    torch.testing.assert_close(move(tailed, target), move(sharp, target), atol=1e-8, rtol=0)


def test_the_projection_takes_tails_for_answers():
    tails = np.exp(np.random.default_rng(1).normal(0, 3, size=(64, 4)) - 25)
    (sharp, target), (tailed, _) = of_answers(0.0), of_answers(tails)
    apart = {
        name: (move(tailed, target) - channel(sharp, target)).abs().sum().item() / 2
        for name, move in RECONCILIATIONS.items()
    }
    assert apart["bounded"] < 1e-6 and apart["channel"] < 1e-6 and apart["projection"] > 0.02
    # of rows that all say the same, the tails become the information
    always = torch.as_tensor(np.where(np.arange(4) == 0, 1.0, tails))
    always = always / always.sum()
    bits = {name: information(move(always, target)) for name, move in RECONCILIATIONS.items()}
    assert bits["bounded"] < 1e-6 and bits["channel"] < 1e-6 and bits["projection"] > 0.5


def test_the_projection_is_finite_where_an_answer_is_never_given():
    a, target = of_answers(0.0)
    moved = projection(a, target)
    assert moved.isfinite().all()
    torch.testing.assert_close(moved.sum(0), target, atol=1e-13, rtol=0)


def test_a_limit_of_one_leaves_all_to_the_channel(monkeypatch):
    a, target = table(8, scale=1.0)
    passed = channel(a, target)
    torch.testing.assert_close(projection(a, target, 1.0), passed, atol=1e-15, rtol=0)
    for moved in (projection(a, target, 2.0), reconcile(a, target)):
        assert (moved - passed).abs().max() > 1e-4
    monkeypatch.setattr(module, "LIMIT", 1.0)
    torch.testing.assert_close(reconcile(a, target), passed, atol=1e-15, rtol=0)


def test_the_projection_is_the_nearest_table():
    a, target = table(2)
    moved = projection(a, target)
    # the minimizer of KL under row and column sums differs by a factor per row and per column
    ratio = torch.log(moved / a)
    inner = ratio - ratio.mean(0) - ratio.mean(1, keepdim=True) + ratio.mean()
    assert inner.abs().max() < 1e-5  # relative; at entries of 1e-8
    generator = np.random.default_rng(0)
    for _ in range(20):
        other = projection(a * torch.as_tensor(generator.uniform(0.9, 1.1, a.shape)), target)
        other = projection(other * (a.sum(1, keepdim=True) / other.sum(1, keepdim=True)), target)
        assert torch.xlogy(other, other / a).sum() >= torch.xlogy(moved, moved / a).sum() - 1e-12


def test_the_channel_is_one_for_all_rows_and_moves_the_least_mass():
    for a, target in tables(40):
        moved = channel(a, target)
        least = (a.sum(0) - target).abs().sum() / 2
        torch.testing.assert_close((moved - a).abs().sum() / 2, least, atol=1e-13, rtol=0)
        # every row keeps a share of an answer that is too frequent, and spreads the rest alike
        rows = a / a.sum(1, keepdim=True)
        keep = (target / a.sum(0)).clamp(max=1)
        lack = (target - a.sum(0)).clamp(min=0)
        one = torch.diag(keep) + (1 - keep)[:, None] * lack / lack.sum()
        torch.testing.assert_close(one.sum(1), torch.ones_like(keep), atol=1e-12, rtol=0)
        torch.testing.assert_close(moved, a.sum(1, keepdim=True) * (rows @ one), atol=1e-13, rtol=0)


@every_method
def test_several_tables_are_moved_as_each_alone(move):
    """Easy ones, hard ones and, but for the projection, ones whose zeros forbid the sums.

    Several tables are draws, which `reconcile` scales less often.
    """
    near = 1e-6 if move is reconcile else 1e-10
    made = [table(seed, scale=scale) for seed, scale in enumerate((0.1, 1.0, 30.0, 300.0))]
    if move is not projection:
        forbidden = torch.eye(4, dtype=torch.float64)[torch.arange(40) // 37] / 40
        made.append((forbidden, made[0][1]))
    together = move(*map(torch.stack, zip(*made, strict=True)))
    for moved, (a, target) in zip(together, made, strict=True):
        torch.testing.assert_close(moved, move(a, target), atol=near, rtol=0)
        assert move is not channel or torch.equal(moved, move(a, target))


@every_method
def test_what_fits_is_left_alone(move):
    a, _ = table(3)
    torch.testing.assert_close(move(a, a.sum(0)), a, atol=1e-16, rtol=1e-13)


@every_method
def test_equal_rows_stay_equal(move):
    a, target = table(4, n=3)
    a = torch.cat([a, a[:1] * 2]) / (1 + a[0].sum() * 2)
    moved = move(a, target)
    torch.testing.assert_close(moved[3], moved[0] * 2)


@pytest.mark.parametrize("move", [reconcile, channel], ids=["bounded", "channel"])
def test_one_hot_rows_move_the_least_mass(move):
    a = torch.eye(3, dtype=torch.float64)[[0, 0, 0, 1, 2]] / 5
    target = torch.tensor([0.4, 0.2, 0.4], dtype=torch.float64)
    moved = move(a, target)
    torch.testing.assert_close(moved.sum(0), target)
    torch.testing.assert_close(moved.sum(1), a.sum(1))
    assert (moved - a).abs().sum() / 2 == pytest.approx(0.2)
    never = torch.tensor([0.0, 0.5, 0.5], dtype=torch.float64)
    assert move(a, never)[:, 0].abs().max() == 0


@every_method
def test_empty_rows_stay_empty(move):
    a, target = table(5)
    a[7] = 0
    a = a / a.sum()
    moved = move(a, target)
    assert moved[7].abs().max() == 0 and moved.isfinite().all()


def test_divergence_by_hand():
    rows = torch.tensor([[0.75, 0.25, 0.0], [0.0, 0.0, 0.0]], dtype=torch.float64)
    target = torch.tensor([0.5, 0.25, 0.25], dtype=torch.float64)
    np.testing.assert_allclose(divergence(rows, target), [0.75 * np.log2(1.5), 0], atol=1e-15)


def grid(n=12, questions=5, k=3, seed=0):
    """A resampled grid: p(y | v, t) for all pairs, the values of its rows, and the weights."""
    generator = np.random.default_rng(seed)
    joint = generator.dirichlet(np.ones(k), size=(n, questions))
    w = generator.dirichlet(np.ones(questions) * 3)
    picture, question = np.divmod(np.arange(n * questions), questions)
    return joint, {"vision": picture, "language": question}, w


def of_grid(joint, values, method="bounded"):
    rows = joint.reshape(-1, joint.shape[2])
    sources = dict.fromkeys(values, rows)
    return Decisions(rows, sources, values=values, reconciliation=method)


def test_values_are_the_alphabets():
    joint, values, w = grid()
    decisions = of_grid(joint, values)
    assert decisions.order == 15
    for name, labels in values.items():
        np.testing.assert_array_equal(decisions.values[name], labels)
    a, b, _ = decisions.marginals(np.tile(w / 12, 12))
    assert a.shape == (12, 3) and b.shape == (5, 3)
    for uniform, own in zip(
        decisions.marginals(decisions.weights), decisions.marginals(), strict=True
    ):
        np.testing.assert_array_equal(uniform, own)


@pytest.mark.parametrize("method", RECONCILIATIONS)
def test_means_are_taken_again_under_other_weights(method):
    joint, values, w = grid()
    counts = np.random.default_rng(1).multinomial(12, np.full(12, 1 / 12))
    weights = np.outer(counts / 12, w).ravel()
    a, b, target = of_grid(joint, values, method).marginals(weights)
    expected = np.einsum("v,vty->ty", counts / 12, joint) * w[:, None]
    # means over the other side have the P(Y) of the pairs, so nothing is reconciled
    np.testing.assert_allclose(b, expected, atol=1e-14)
    np.testing.assert_allclose(a, np.einsum("v,vty,t->vy", counts / 12, joint, w), atol=1e-14)
    np.testing.assert_allclose(a.sum(0), target, atol=1e-14)
    for table, given in zip((a, b), of_grid(joint, values).given(weights), strict=True):
        np.testing.assert_allclose(table, given, atol=1e-14)


def test_several_weights_give_the_tables_of_each():
    joint, values, w = grid()
    decisions = of_grid(joint, values)
    weights = np.random.default_rng(2).dirichlet(np.ones(60), size=(2, 3))
    together, given = decisions.marginals(weights), decisions.given(weights)
    for place in np.ndindex(2, 3):
        for all_of, one in zip(together, decisions.marginals(weights[place]), strict=True):
            np.testing.assert_allclose(all_of[place], one, atol=1e-12)
        for all_of, one in zip(given, decisions.given(weights[place]), strict=True):
            np.testing.assert_allclose(all_of[place], one, atol=1e-16)


@pytest.mark.parametrize("method", RECONCILIATIONS)
def test_answers_to_one_modality_stay_but_for_the_reconciliation(method):
    generator = np.random.default_rng(3)
    joint, *rows = generator.dirichlet(np.ones(4), size=(3, 30))
    sources = dict(zip(("vision", "language"), rows, strict=True))
    values = dict.fromkeys(sources, np.arange(30))
    decisions = Decisions(joint, sources, values=values, reconciliation=method)
    weights = generator.dirichlet(np.full(30, 5.0))
    a, b, target = decisions.marginals(weights)
    np.testing.assert_allclose(target, weights @ joint)
    for table, given, own in zip((a, b), decisions.given(weights), rows, strict=True):
        np.testing.assert_allclose(given, weights[:, None] * own)
        np.testing.assert_allclose(table, RECONCILIATIONS[method](given, target), atol=1e-15)
        assert (table - given).abs().max() > 1e-4


def test_values_that_no_row_has_under_the_weights_are_empty():
    joint, values, w = grid()
    weights = np.outer(np.repeat([0.25, 0.0], [4, 8]), w).ravel()
    a, b, target = of_grid(joint, values).marginals(weights)
    assert a[4:].abs().max() == 0 and (a[:4].sum(1) > 0).all() and (b.sum(1) > 0).all()
    np.testing.assert_allclose(a.sum(0), target, atol=1e-14)
