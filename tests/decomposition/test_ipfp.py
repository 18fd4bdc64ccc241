"""Stage 1 and the certificate: bounds, feasibility, batches."""

import math

import numpy as np
import pytest
import torch

from pidlib.decomposition.broja import (
    Coupling,
    information_shares,
    lower_bound,
    objective,
    scaled_below,
    thin_product,
)
from pidlib.decomposition.gates import GATES, h
from pidlib.decomposition.ipfp import CHECK_EVERY, ipfp

GENERATOR = np.random.default_rng(0)


def marginals(joint):
    table = torch.as_tensor(joint / joint.sum((-1, -2, -3), keepdims=True))
    return table.sum(-2), table.sum(-3)


def decisions(n, k=4, seed=0):
    """Pair marginals of n pictures and n questions, each with its own answers."""
    generator = np.random.default_rng(seed)
    scores = (
        generator.normal(size=(n, 1, k))
        + generator.normal(size=(1, n, k))
        + generator.normal(size=(n, n, k))
    )
    return [
        table[None] for table in marginals(np.exp(scores) / np.exp(scores).sum(2, keepdims=True))
    ]


def optimum(known):
    """I_Q of a gate in closed form."""
    return known.atoms[0] + known.atoms[1] + known.atoms[2]


@pytest.mark.parametrize("known", GATES.values(), ids=GATES)
def test_known_optima_lie_between_the_bounds(known):
    a, b = marginals(known.joint()[None])
    coupling = ipfp(a, b, tol=1e-6)
    assert coupling.converged.all() and coupling.gap.item() <= 1e-6
    assert coupling.lower.item() - 4e-15 <= optimum(known) <= coupling.upper.item() + 4e-15


def test_bounds_hold_for_any_factors():
    """The interval contains the optimum for any iterate, here random factors far from it."""
    known = GATES["AND"]
    a, b = marginals(known.joint()[None].repeat(500, 1, 1, 1))
    A, U, V = (torch.as_tensor(GENERATOR.gamma(0.5, size=(500, 2, 2))) for _ in range(3))
    optimal = (optimum(known) - h(1 / 4)) * math.log(2)
    lower = lower_bound(a, b, U, V, (U @ V.mT).log())
    upper = objective(A, *scaled_below(a, b, A, U, V))
    assert (lower <= optimal + 1e-12).all() and (upper >= optimal - 1e-12).all()
    assert (upper - lower).min() > 1e-3


def test_coupling_is_below_the_marginals_and_attains_the_upper_bound():
    a, b = marginals(GENERATOR.gamma(0.3, size=(20, 6, 5, 4)))
    coupling = ipfp(a, b, tol=1e-3)
    q = torch.einsum("nxz,nxy,nzy->nxzy", coupling.A, coupling.U, coupling.V)
    assert (q.sum(2) <= a + 1e-15).all() and (q.sum(1) <= b + 1e-15).all()
    assert (1 - q.sum((1, 2, 3))).abs().max() < 1e-3
    f = torch.xlogy(q, q).sum((1, 2, 3)) - torch.xlogy(q.sum(3), q.sum(3)).sum((1, 2))
    entropy = -torch.xlogy(a.sum(1), a.sum(1)).sum(1)
    assert ((entropy + f) / math.log(2)).numpy() == pytest.approx(coupling.upper.numpy(), abs=1e-12)


def test_completed_coupling_does_not_exceed_the_upper_bound():
    """The upper bound holds for the feasible coupling, completed by one product per y."""
    a, b = marginals(GENERATOR.gamma(0.3, size=(20, 6, 5, 4)))
    coupling = ipfp(a, b, tol=1e-9, max_iterations=3)
    q = torch.einsum("nxz,nxy,nzy->nxzy", coupling.A, coupling.U, coupling.V)
    rest_a, rest_b = (a - q.sum(2)).clamp_min(0), (b - q.sum(1)).clamp_min(0)
    q = q + torch.einsum("nxy,nzy,ny->nxzy", rest_a, rest_b, 1 / rest_a.sum(1))
    assert (q.sum(2) - a).abs().max() < 1e-12 and (q.sum(1) - b).abs().max() < 1e-12
    f = torch.xlogy(q, q).sum((1, 2, 3)) - torch.xlogy(q.sum(3), q.sum(3)).sum((1, 2))
    information = (f - torch.xlogy(a.sum(1), a.sum(1)).sum(1)) / math.log(2)
    assert (information <= coupling.upper + 1e-12).all() and (
        information >= coupling.lower - 1e-12
    ).all()


def test_shares_of_the_values_sum_to_the_information():
    a, b = marginals(GENERATOR.gamma(0.3, size=(7, 6, 5, 4)))
    coupling = ipfp(a, b, tol=1e-2)
    for shares in information_shares(a, b, coupling):
        assert shares.sum(1).numpy() == pytest.approx(coupling.upper.numpy(), abs=1e-12)


def test_batch_equals_single_problems():
    a, b = marginals(GENERATOR.gamma(0.5, size=(12, 4, 3, 3)))
    together = ipfp(a, b, tol=1e-4)
    assert together.converged.all() and len(together.sweeps.unique()) > 1
    for i in range(12):
        alone = ipfp(a[i : i + 1], b[i : i + 1], tol=1e-4)
        assert alone.sweeps.item() == together.sweeps[i].item()
        assert alone.upper.item() == pytest.approx(together.upper[i].item(), abs=1e-12)


def test_momentum_reaches_1e_4_bits_in_420_steps():
    a, b = marginals(GENERATOR.gamma(1, size=(50, 20, 20, 4)))
    assert ipfp(a, b, tol=1e-4, max_iterations=420).converged.float().mean() > 0.95


def test_memory_is_for_pairs_only():
    a, b = decisions(120)
    coupling = ipfp(a, b, tol=2e-3)
    assert coupling.converged.all() and coupling.A.shape == (1, 120, 120)
    assert coupling.U.shape == (1, 120, 4)


def test_unconverged_problems_are_flagged():
    a, b = marginals(GENERATOR.gamma(1, size=(5, 20, 20, 4)))
    coupling = ipfp(a, b, tol=1e-9, max_iterations=CHECK_EVERY)
    assert not coupling.converged.any() and (coupling.gap > 1e-9).all()
    assert isinstance(coupling, Coupling) and torch.isfinite(coupling.upper).all()


@pytest.mark.parametrize("n", [3, 40])
def test_thin_products_are_products(n):
    generator = torch.Generator().manual_seed(n)
    A = torch.rand(2, n, n + 1, generator=generator).double()
    V = torch.rand(2, n + 1, 4, generator=generator).double()
    torch.testing.assert_close(thin_product(A, V), A @ V)
    torch.testing.assert_close(thin_product(A.mT, V[:, :n]), A.mT @ V[:, :n])
