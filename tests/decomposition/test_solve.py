"""The stage is chosen by size, and potentials bound what they were not made for."""

import numpy as np
import pytest
import torch

from pidlib._common import single_thread
from pidlib.decomposition import pid
from pidlib.decomposition import solve as module
from pidlib.decomposition.decisions import Decisions, decision_pid
from pidlib.decomposition.resampling import solve_halves
from pidlib.decomposition.solve import (
    NEWTON_WORK,
    dual_bound,
    dual_potentials,
    solve,
)


def marginals(seed, n1=12, n2=7, k=3):
    table = torch.as_tensor(
        np.random.default_rng(seed).dirichlet(np.full(n1 * n2 * k, 0.5)).reshape(n1, n2, k)
    )
    return table.sum(1), table.sum(0)


def one_potential(a, b, coupling):
    return [values[0] for values in dual_potentials(a[None], b[None], coupling)]


@pytest.mark.parametrize("sizes", [(12, 7), (7, 12)])
def test_the_coupling_has_the_marginals_whichever_source_is_larger(sizes):
    a, b = marginals(0, *sizes)
    coupling = solve(a[None], b[None])
    assert coupling.converged.item() and coupling.gap.item() <= 1e-6
    joint = coupling.A[0][:, :, None] * coupling.U[0][:, None] * coupling.V[0][None]
    torch.testing.assert_close(joint.sum(1), a, atol=1e-6, rtol=0)
    torch.testing.assert_close(joint.sum(0), b, atol=1e-6, rtol=0)


def test_swapping_sources_changes_nothing():
    a, b = marginals(1)
    assert solve(a[None], b[None]).upper.item() == pytest.approx(
        solve(b[None], a[None]).upper.item(), abs=2e-6
    )


def test_large_problems_take_stage_one(monkeypatch):
    a, b = marginals(2)
    precise = solve(a[None], b[None])
    monkeypatch.setitem(NEWTON_WORK, "cpu", 0)
    coarse = solve(a[None], b[None], tol=1e-3)
    assert coarse.sweeps > precise.sweeps
    assert (
        coarse.lower.item() <= precise.upper.item() and precise.lower.item() <= coarse.upper.item()
    )


def test_potentials_are_feasible_and_exact_at_their_marginals():
    a, b = marginals(3)
    coupling = solve(a[None], b[None])
    lam, mu = potentials = one_potential(a, b, coupling)
    assert torch.logsumexp(lam[:, None] + mu[None], dim=2).max() <= 1e-12
    assert dual_bound(a, b, a.sum(0), potentials) == pytest.approx(coupling.upper.item(), abs=1e-4)
    assert dual_bound(a, b, a.sum(0), potentials) <= coupling.upper.item()


@pytest.mark.parametrize("seed", range(5))
def test_dual_bound_of_other_marginals_is_exact_to_first_order(seed):
    table = torch.as_tensor(
        np.random.default_rng(seed).dirichlet(np.full(10 * 8 * 3, 0.5)).reshape(10, 8, 3)
    )
    other = torch.as_tensor(
        np.random.default_rng(100 + seed).dirichlet(np.full(10 * 8 * 3, 0.5)).reshape(10, 8, 3)
    )
    a, b = table.sum(1), table.sum(0)
    potentials = one_potential(a, b, solve(a[None], b[None]))
    short = []
    for share in (0.2, 0.02):
        mixed = (1 - share) * table + share * other
        solved = solve(mixed.sum(1)[None], mixed.sum(0)[None]).upper.item()
        short.append(solved - dual_bound(mixed.sum(1), mixed.sum(0), mixed.sum((0, 1)), potentials))
    assert min(short) > -1e-9
    # a tenth of the way has a hundredth of a second-order error, a tenth of a first-order one
    assert short[1] < short[0] / 40 + 1e-5


@pytest.mark.parametrize("device", ["auto", None, "cpu", torch.device("cpu")])
def test_every_decomposition_takes_a_device(device):
    table = np.ones((2, 2, 2))
    assert pid(table, device=device).converged
    decisions = Decisions(np.eye(2), {"vision": np.eye(2), "language": np.full((2, 2), 0.5)})
    decided = decision_pid(decisions, device=device)
    assert decided.pid.unique["vision"] == pytest.approx(1)
    assert len(solve_halves(decisions, decided, n=2, device=device).parts) == 2


def test_stage_1_solves_what_stage_2_left_unconverged(monkeypatch):
    """The fallback is for the problems that failed only, and keeps the narrower interval."""
    generator = np.random.default_rng(0)
    table = torch.as_tensor(generator.dirichlet(np.full(60, 0.5), 4).reshape(4, 5, 4, 3))
    a, b = table.sum(2), table.sum(1)
    newton = module.newton
    monkeypatch.setattr(
        module, "newton", lambda *args, tol: newton(*args, tol=tol, max_iterations=1)
    )
    assert not module.newton(a, b, tol=1e-3).converged.all()
    assert solve(a, b, tol=1e-3).converged.all()
    assert not solve(a, b, tol=1e-8).converged.any()  # below FALLBACK_TOLERANCE


def test_threads_are_limited_for_small_work_and_change_no_value(monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)  # would be kept
    table = np.random.default_rng(0).gamma(0.5, size=(40, 6, 5, 3))
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        two = pid(table)
        with single_thread(), single_thread():
            assert torch.get_num_threads() == 1
        assert torch.get_num_threads() == 2
        with single_thread(small=False):
            assert torch.get_num_threads() == 2
        with pytest.raises(RuntimeError), single_thread():
            raise RuntimeError
        assert torch.get_num_threads() == 2
        torch.set_num_threads(1)
        one = pid(table)
    finally:
        torch.set_num_threads(threads)
    np.testing.assert_array_equal(one.upper, two.upper)
    np.testing.assert_array_equal(one.lower, two.lower)


def test_invalid_options_raise():
    a, b = marginals(4, 3, 4, 2)
    for options, message in [({"tol": 0.0}, "positive"), ({"max_iterations": 0}, "at least one")]:
        with pytest.raises(ValueError, match=message):
            solve(a, b, **options)
