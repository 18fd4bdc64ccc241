"""Large decisions: float32 with a float64 certificate, merged rows, the default tolerance."""

import numpy as np
import pytest
import torch
from scipy.special import softmax

from pidlib.decomposition import decisions as module
from pidlib.decomposition import ipfp as stage_1
from pidlib.decomposition import merge
from pidlib.decomposition.decisions import Decisions, decision_pid
from pidlib.decomposition.ipfp import ipfp
from pidlib.decomposition.resampling import bootstrap_decisions
from pidlib.decomposition.solve import solve


def soft(n, k=2, scale=2, seed=0):
    v, t = np.random.default_rng(seed).normal(size=(2, n, k)) * scale
    sources = {"vision": softmax(v, axis=1), "language": softmax(t, axis=1)}
    return Decisions(softmax(v + t, axis=1), sources)


def pair(decisions):
    return [table[None] for table in decisions.marginals()[:2]]


@pytest.fixture
def precisions(monkeypatch):
    """The precisions in which stage 1 works."""
    used, fit = [], stage_1.fit

    def spied(*arguments):
        used.append(arguments[2].dtype)
        return fit(*arguments)

    monkeypatch.setattr(stage_1, "fit", spied)
    return used


def test_float32_is_certified_against_newton_at_600_rows(precisions):
    a, b = pair(soft(600))
    exact = solve(a, b, method="newton", tol=1e-6)
    coarse = ipfp(a, b, tol=1e-3)
    assert exact.converged.all() and coarse.converged.all()
    assert set(precisions) == {torch.float32} and coarse.lower.dtype == torch.float64
    assert coarse.lower.item() <= exact.upper.item() and exact.lower.item() <= coarse.upper.item()


def test_float64_continues_where_float32_stalls(monkeypatch, precisions):
    a, b = pair(soft(120, k=3))
    exact = solve(a, b)
    monkeypatch.setattr(stage_1, "SINGLE_CELLS", 0)
    monkeypatch.setattr(stage_1, "PATIENCE", 2)
    monkeypatch.setattr(stage_1, "STALL", 0.0)  # every gap counts as stalled
    coupling = ipfp(a, b, tol=1e-3)
    assert [precisions[0], precisions[-1]] == [torch.float32, torch.float64]
    assert coupling.converged.all() and coupling.gap.item() <= 1e-3
    assert coupling.lower.item() <= exact.upper.item() and exact.lower.item() <= coupling.upper


@pytest.mark.parametrize("n_clusters", [40, 199])
def test_bounds_of_merged_rows_contain_the_exact_value(n_clusters, monkeypatch):
    made = soft(200, k=3)
    exact = decision_pid(made)
    for place in (merge, module):
        monkeypatch.setattr(place, "MERGE_CELLS", 39_999)
    monkeypatch.setattr(merge, "CLUSTERS", n_clusters)
    with pytest.warns(UserWarning, match="200 and 200 distinct rows .* similar rows were merged"):
        merged = decision_pid(made)
    assert not merged.pid.converged and merged.pid.gap < 0.1
    assert merged.pid.lower <= exact.pid.upper and exact.pid.lower <= merged.pid.upper
    for atom, value in merged.pid.atoms.items():
        assert made.weights @ merged.local[atom] == pytest.approx(value, abs=1e-12)
        assert np.corrcoef(merged.local[atom], exact.local[atom])[0, 1] > 0.95
    if n_clusters < 100:
        return  # too coarse for the potentials of single rows
    draws = bootstrap_decisions(made, merged, n=20)
    expected = bootstrap_decisions(made, exact, n=20)
    for atom, values in draws.items():
        assert values.std() == pytest.approx(expected[atom].std(), rel=0.2)


def test_clusters_lose_little_and_keep_equal_rows_together():
    table = torch.as_tensor(soft(500, k=3).joint) / 500
    label = merge.clusters(torch.cat([table, table]) / 2, 60)
    assert (label[:500] == label[500:]).all() and 30 < label.max() + 1 <= 60
    assert (merge.clusters(table, 60) == merge.clusters(table, 60)).all()


def test_float64_starts_again_where_float32_overflows(monkeypatch):
    a, b = pair(soft(120, k=3))
    exact, fit = solve(a, b), stage_1.fit

    def overflowing(p, q, A, V):
        U, V = fit(p, q, A, V)
        return (U * torch.inf, V) if A.dtype == torch.float32 else (U, V)

    monkeypatch.setattr(stage_1, "SINGLE_CELLS", 0)
    monkeypatch.setattr(stage_1, "fit", overflowing)
    coupling = ipfp(a, b, tol=1e-3)
    assert coupling.converged.all()
    assert coupling.lower.item() <= exact.upper.item() and exact.lower.item() <= coupling.upper


def test_the_default_tolerance_follows_the_standard_error_of_many_rows(monkeypatch):
    tolerances, solve_rows = [], module.solve_rows
    monkeypatch.setattr(
        module,
        "solve_rows",
        lambda a, b, tol, *rest: tolerances.append(tol) or solve_rows(a, b, 0.1, *rest),
    )
    made = soft(520)
    for decisions in (soft(60), made):
        decision_pid(decisions)
    terms = np.sum(made.joint * np.log2(made.joint / made.target), axis=1)
    assert tolerances[0] == 1e-6
    assert tolerances[1] == pytest.approx(min(1e-3, terms.std() / 520**0.5 / 10), rel=1e-6)
