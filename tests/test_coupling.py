"""The stage is chosen by size, and prices bound what they were not made for."""

import numpy as np
import pytest
import torch

from pidlib.coupling import NEWTON_WORK, couple, dual_prices, priced


def marginals(seed, n1=12, n2=7, k=3):
    table = torch.as_tensor(np.random.default_rng(seed).dirichlet(np.full(n1 * n2 * k, 0.5)).reshape(n1, n2, k))
    return table.sum(1), table.sum(0)


@pytest.mark.parametrize("sizes", [(12, 7), (7, 12)])
def test_the_coupling_has_the_marginals_whichever_source_is_larger(sizes):
    a, b = marginals(0, *sizes)
    coupling = couple(a, b)
    assert coupling.converged.item() and coupling.gap.item() <= 1e-6
    joint = coupling.A[0][:, :, None] * coupling.U[0][:, None] * coupling.V[0][None]
    torch.testing.assert_close(joint.sum(1), a, atol=1e-6, rtol=0)
    torch.testing.assert_close(joint.sum(0), b, atol=1e-6, rtol=0)


def test_swapping_sources_changes_nothing():
    a, b = marginals(1)
    assert couple(a, b).upper.item() == pytest.approx(couple(b, a).upper.item(), abs=2e-6)


def test_large_problems_take_stage_one(monkeypatch):
    a, b = marginals(2)
    precise = couple(a, b)
    monkeypatch.setitem(NEWTON_WORK, "cpu", 0)
    coarse = couple(a, b, tol=1e-3)
    assert coarse.sweeps > precise.sweeps
    assert coarse.lower.item() <= precise.upper.item() and precise.lower.item() <= coarse.upper.item()


def test_prices_are_feasible_and_exact_at_home():
    a, b = marginals(3)
    coupling = couple(a, b)
    lam, mu = prices = dual_prices(a, b, coupling)
    assert torch.logsumexp(lam[:, None] + mu[None], dim=2).max() <= 1e-12
    assert priced(a, b, a.sum(0), prices) == pytest.approx(coupling.upper.item(), abs=1e-4)
    assert priced(a, b, a.sum(0), prices) <= coupling.upper.item()


@pytest.mark.parametrize("seed", range(5))
def test_prices_bound_other_marginals_from_below_and_to_first_order(seed):
    table = torch.as_tensor(np.random.default_rng(seed).dirichlet(np.full(10 * 8 * 3, 0.5)).reshape(10, 8, 3))
    other = torch.as_tensor(np.random.default_rng(100 + seed).dirichlet(np.full(10 * 8 * 3, 0.5)).reshape(10, 8, 3))
    a, b = table.sum(1), table.sum(0)
    prices = dual_prices(a, b, couple(a, b))
    short = []
    for share in (0.2, 0.02):
        mixed = (1 - share) * table + share * other
        solved = couple(mixed.sum(1), mixed.sum(0)).upper.item()
        short.append(solved - priced(mixed.sum(1), mixed.sum(0), mixed.sum((0, 1)), prices))
    assert min(short) > -1e-9
    # a tenth of the way costs a hundredth if the error is of second order, and a tenth if it is of first
    assert short[1] < short[0] / 40 + 1e-5
