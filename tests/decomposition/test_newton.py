"""Stage 2: precision, robustness on thousands of hard tables, independence of batching."""

import numpy as np
import pytest
import torch

from decomposition.stress_tables import stress_tables
from pidlib.decomposition import newton as module
from pidlib.decomposition.gates import GATES
from pidlib.decomposition.ipfp import ipfp
from pidlib.decomposition.newton import newton


def marginals(joints):
    table = torch.as_tensor(joints / joints.sum((-1, -2, -3), keepdims=True))
    a, b = table.sum(-2), table.sum(-3)
    return (a, b) if a.shape[1] >= b.shape[1] else (b, a)


@pytest.mark.parametrize("known", GATES.values(), ids=GATES)
def test_known_optima_to_ten_digits(known):
    a, b = marginals(known.joint()[None])
    coupling = newton(a, b, tol=1e-10)
    optimum = known.atoms[0] + known.atoms[1] + known.atoms[2]
    assert coupling.converged.all()
    assert coupling.lower.item() - 1e-14 <= optimum <= coupling.upper.item() + 1e-14


def test_converges_on_5000_stress_tables():
    count, slowest = 0, 0
    for kind, tables in stress_tables(5000, seed=20):
        a, b = marginals(tables)
        coupling = newton(a, b, tol=1e-6)
        assert coupling.converged.all(), (kind, tables.shape, coupling.gap.max())
        assert (coupling.gap <= 1e-6).all()
        count, slowest = count + len(tables), max(slowest, coupling.sweeps.max().item())
    assert count >= 5000
    assert slowest <= module.WARM_SWEEPS + 60


def test_both_stages_agree():
    a, b = marginals(np.random.default_rng(0).gamma(0.5, size=(30, 5, 4, 3)))
    fitted, solved = ipfp(a, b, tol=1e-3), newton(a, b, tol=1e-9)
    assert fitted.converged.all() and solved.converged.all()
    assert (fitted.lower <= solved.upper + 1e-12).all() and (
        solved.lower <= fitted.upper + 1e-12
    ).all()


def test_coupling_has_the_marginals():
    a, b = marginals(np.random.default_rng(1).gamma(0.5, size=(10, 6, 5, 4)))
    coupling = newton(a, b, tol=1e-9)
    q = torch.einsum("nxz,nxy,nzy->nxzy", coupling.A, coupling.U, coupling.V)
    assert (q.sum(2) - a).abs().max() < 1e-7 and (q.sum(1) - b).abs().max() < 1e-7


def test_random_tables_take_fewer_than_12_steps():
    a, b = marginals(np.random.default_rng(2).gamma(1, size=(50, 20, 20, 4)))
    steps = newton(a, b).sweeps - module.WARM_SWEEPS
    assert steps.double().mean() < 12 and steps.max() <= 20


def test_result_is_independent_of_batching(monkeypatch):
    a, b = marginals(np.random.default_rng(3).gamma(0.5, size=(23, 5, 5, 3)))
    whole = newton(a, b)
    monkeypatch.setitem(module.CHUNK, "cpu", 1000)
    parts = newton(a, b)
    assert parts.sweeps.tolist() == whole.sweeps.tolist()
    assert parts.upper.numpy() == pytest.approx(whole.upper.numpy(), abs=1e-9)
    alone = newton(a[7:8], b[7:8])
    assert alone.upper.item() == pytest.approx(whole.upper[7].item(), abs=1e-9)


def test_unconverged_problems_are_flagged():
    a, b = marginals(np.random.default_rng(4).gamma(1, size=(5, 20, 20, 4)))
    coupling = newton(a, b, max_iterations=1)
    assert not coupling.converged.any() and (coupling.gap > 1e-6).all()
    assert (coupling.lower <= newton(a, b).upper).all()


def test_failed_factorization_keeps_the_point_and_raises_the_ridge():
    a, b = marginals(np.random.default_rng(5).gamma(1, size=(2, 4, 3, 3)))
    point = module.start(a, b)
    G = point.pairs(point.U, point.V)
    broken = point._replace(
        s=torch.where(torch.tensor([True, False])[:, None, None], torch.nan, point.s)
    )
    after = module.step(broken, G, G.log(), broken.r / G, module.workspace(a, b), 0.0)
    assert (
        torch.equal(after.U[0], point.U[0])
        and after.ridge[0].item() == module.RIDGE * module.RIDGE_GROWTH
    )
    assert not torch.equal(after.U[1], point.U[1]) and after.ridge[1].item() == module.RIDGE


def test_a_move_is_exponential_to_first_order_and_bounded():
    change, one = torch.tensor([-1e-5, 0.0, 1e-5, -1e6, 1e6]).double(), torch.ones(5).double()
    point = module.Point(*[None] * 4, one, 2 * one, *[None] * 3)
    U, V = point.moved(module.Direction(change, -change, *[None] * 3), 0.5)
    assert U[:3].numpy() == pytest.approx((change[:3] / 2).exp().numpy(), abs=1e-9)
    assert [*U[3:], *V[3:]] == pytest.approx([2e-6, 5e5, 1e6, 4e-6], rel=1e-5)
