"""Pair marginals: one P(Y) for both sources, by the least change."""

import numpy as np
import pytest
import torch

from pidlib.decomposition import marginals
from pidlib.decomposition.marginals import PairMarginals, divergence, reconcile


def table(seed, n=40, k=4, scale=3.0):
    generator = np.random.default_rng(seed)
    rows = torch.softmax(torch.as_tensor(scale * generator.normal(size=(n, k))), dim=1)
    return torch.as_tensor(generator.dirichlet(np.ones(n)))[:, None] * rows, torch.as_tensor(
        generator.dirichlet(np.full(k, 3.0))
    )


@pytest.mark.parametrize("scale", [0.1, 1.0, 5.0, 30.0])
def test_reconcile_meets_both_sums(scale):
    a, target = table(1, scale=scale)
    moved = reconcile(a, target)
    torch.testing.assert_close(moved.sum(0), target, atol=1e-14, rtol=0)
    torch.testing.assert_close(moved.sum(1), a.sum(1), atol=1e-15, rtol=0)
    assert (moved >= 0).all()


def test_reconcile_is_the_nearest_table():
    a, target = table(2)
    moved = reconcile(a, target)
    # the minimizer of KL under row and column sums differs by a factor per row and per column
    ratio = torch.log(moved / a)
    inner = ratio - ratio.mean(0) - ratio.mean(1, keepdim=True) + ratio.mean()
    assert inner.abs().max() < 1e-8
    generator = np.random.default_rng(0)
    for _ in range(20):
        other = reconcile(a * torch.as_tensor(generator.uniform(0.9, 1.1, a.shape)), target)
        other = reconcile(other * (a.sum(1, keepdim=True) / other.sum(1, keepdim=True)), target)
        assert torch.xlogy(other, other / a).sum() >= torch.xlogy(moved, moved / a).sum() - 1e-12


@pytest.mark.parametrize("scale", [0.1, 1.0, 5.0])
def test_newton_arrives_where_scaling_in_turn_does(scale, monkeypatch):
    a, target = table(6, scale=scale)
    mass = a.sum(1, keepdim=True)
    (scaled,) = marginals._newton_scaling(a[None], mass[None], target[None])
    assert not torch.equal(scaled, a)
    torch.testing.assert_close(scaled.sum(0), target, atol=1e-13, rtol=0)
    monkeypatch.setattr(marginals, "_newton_scaling", lambda a, mass, target: a)
    torch.testing.assert_close(
        scaled, reconcile(a, target, max_iterations=20_000), atol=1e-12, rtol=1e-7
    )


def test_newton_gives_way_where_zeros_forbid_the_sums():
    a = torch.eye(3, dtype=torch.float64)[[0, 0, 0, 1, 2]] / 5
    target = torch.tensor([0.4, 0.2, 0.4], dtype=torch.float64)
    assert torch.equal(
        marginals._newton_scaling(a[None], a.sum(1, keepdim=True)[None], target[None])[0], a
    )


def test_several_tables_are_moved_as_each_alone():
    """Easy ones, hard ones and ones whose zeros forbid the sums, to the last bit."""
    made = [table(seed, scale=scale) for seed, scale in enumerate((0.1, 1.0, 30.0, 300.0))]
    forbidden = torch.eye(4, dtype=torch.float64)[torch.arange(40) // 37] / 40
    made.append((forbidden, made[0][1]))
    together = reconcile(*map(torch.stack, zip(*made, strict=True)))
    for moved, (a, target) in zip(together, made, strict=True):
        assert torch.equal(moved, reconcile(a, target))


@pytest.mark.parametrize("scale", [60.0, 300.0])
def test_hard_rows_reach_both_sums(scale):
    a, target = table(7, scale=scale)
    moved = reconcile(a, target)
    torch.testing.assert_close(moved.sum(0), target, atol=1e-13, rtol=0)
    torch.testing.assert_close(moved.sum(1), a.sum(1), atol=1e-13, rtol=0)
    assert (moved >= 0).all()


def test_reconcile_leaves_alone_what_fits():
    a, _ = table(3)
    torch.testing.assert_close(reconcile(a, a.sum(0)), a, atol=1e-16, rtol=1e-13)


def test_reconcile_keeps_equal_rows_equal():
    a, target = table(4, n=3)
    a = torch.cat([a, a[:1] * 2]) / (1 + a[0].sum() * 2)
    moved = reconcile(a, target)
    torch.testing.assert_close(moved[3], moved[0] * 2)


def test_reconcile_moves_the_least_mass_where_rows_cannot_be_newton_scaling():
    a = torch.eye(3, dtype=torch.float64)[[0, 0, 0, 1, 2]] / 5
    target = torch.tensor([0.4, 0.2, 0.4], dtype=torch.float64)
    moved = reconcile(a, target)
    torch.testing.assert_close(moved.sum(0), target)
    torch.testing.assert_close(moved.sum(1), a.sum(1))
    assert (moved - a).abs().sum() / 2 == pytest.approx(0.2)
    never = torch.tensor([0.0, 0.5, 0.5], dtype=torch.float64)
    assert reconcile(a, never)[:, 0].abs().max() == 0


def test_reconcile_is_safe_with_empty_rows():
    a, target = table(5)
    a[7] = 0
    a = a / a.sum()
    moved = reconcile(a, target)
    assert moved[7].abs().max() == 0 and moved.isfinite().all()


def test_divergence_by_hand():
    rows = torch.tensor([[0.75, 0.25, 0.0], [0.0, 0.0, 0.0]], dtype=torch.float64)
    target = torch.tensor([0.5, 0.25, 0.25], dtype=torch.float64)
    np.testing.assert_allclose(divergence(rows, target), [0.75 * np.log2(1.5), 0], atol=1e-15)


def grid(n=12, questions=5, k=3, seed=0):
    """A resampled grid: p(y | v, t) for all pairs, its means over either side, and the weights."""
    generator = np.random.default_rng(seed)
    joint = generator.dirichlet(np.ones(k), size=(n, questions))
    w = generator.dirichlet(np.ones(questions) * 3)
    of_picture, of_question = np.einsum("vty,t->vy", joint, w), joint.mean(0)
    sources = {
        "vision": np.repeat(of_picture, questions, axis=0),
        "language": np.tile(of_question, (n, 1)),
    }
    return joint, sources, w


def test_distinct_rows_are_the_alphabets():
    joint, sources, _ = grid()
    marginals = PairMarginals(joint.reshape(-1, 3), sources, averaged=True)
    assert [len(rows) for rows in marginals.rows] == [12, 5]
    for rows, index, table in zip(marginals.rows, marginals.index, sources.values(), strict=True):
        np.testing.assert_array_equal(rows[index], table)


def test_means_are_taken_again_under_other_weights():
    joint, sources, w = grid()
    marginals = PairMarginals(joint.reshape(-1, 3), sources, averaged=True)
    counts = np.random.default_rng(1).multinomial(12, np.full(12, 1 / 12))
    a, b, target = marginals.at(np.outer(counts / 12, w).ravel())
    expected = np.einsum("v,vty->ty", counts / 12, joint) * w[:, None]
    np.testing.assert_allclose(b[marginals.index[1][:5]], expected, atol=1e-14)
    np.testing.assert_allclose(a.sum(0), target, atol=1e-14)
    np.testing.assert_allclose(b.sum(0), target, atol=1e-14)


def test_answers_to_one_modality_stay_but_for_the_reconciliation():
    generator = np.random.default_rng(3)
    joint, vision, language = generator.dirichlet(np.ones(4), size=(3, 30))
    marginals = PairMarginals(joint, {"vision": vision, "language": language}, averaged=False)
    a, _, target = marginals.at(np.full(30, 1 / 30))
    np.testing.assert_allclose(target, joint.mean(0))
    before = marginals.rows[0] / 30
    np.testing.assert_allclose(a, reconcile(before, target))
    assert (a - before).abs().max() > 1e-4


def test_answers_to_one_modality_stay_even_where_they_are_the_means():
    joint, sources, w = grid()
    weights = np.outer(
        np.random.default_rng(1).multinomial(12, np.full(12, 1 / 12)) / 12, w
    ).ravel()
    marginals = PairMarginals(joint.reshape(-1, 3), sources, averaged=False)
    _, b, target = marginals.at(weights)
    mass = np.bincount(marginals.index[1], weights)
    np.testing.assert_allclose(
        b, reconcile(torch.as_tensor(mass[:, None]) * marginals.rows[1], target), atol=1e-15
    )
    means = PairMarginals(joint.reshape(-1, 3), sources, averaged=True).at(weights)[1]
    assert (b - means).abs().max() > 1e-3
