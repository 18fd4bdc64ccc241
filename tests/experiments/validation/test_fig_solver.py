import numpy as np
import pytest

from pidlib.decomposition import pid
from pidlib.experiments.preset import load_preset
from pidlib.experiments.validation import fig_solver


@pytest.fixture(scope="module")
def table():
    preset = load_preset("smoke", bench_sizes=["2x2x2", "4x3x2"], bench_batch=4)
    return fig_solver.measure(preset)


def test_every_method_solves_equal_numbers_of_the_same_tables(table):
    counts = table.pivot(index="method", columns="size", values="tables")
    assert list(counts.index.sort_values()) == sorted(fig_solver.METHODS)
    assert (counts["2x2x2"] == 4).all() and set(counts["4x3x2"].dropna()) == {4}
    assert (table["seconds"] >= 0).all()
    assert (table["median_error_bits"] <= table["error_bits"]).all()


def test_every_method_is_as_accurate_as_its_tolerance(table):
    errors = table.groupby("method")["error_bits"].max()
    for name in ("ours, as a batch", "ours, one at a time"):
        assert errors[name] <= fig_solver.TOLERANCE + fig_solver.FLOOR
    assert errors["ours, fitting to 1e-3 bits"] <= fig_solver.LOOSE + fig_solver.FLOOR
    for name in ("cone program, ECOS", "cvxpy, Clarabel", "dit, cone"):
        assert errors[name] <= 1e-6
    assert errors["dit, default"] <= 0.2


def test_plain_fitting_stops_above_the_optimum():
    for joint in np.random.default_rng(0).dirichlet(np.ones(75), 2).reshape(-1, 5, 5, 3):
        limited = fig_solver.plain_ipfp(joint)
        longer = fig_solver.plain_ipfp(joint, outer=500)
        optimum = pid(joint, tol=1e-9).upper
        assert optimum - 1e-6 <= longer <= limited <= optimum + 0.01
        assert longer - optimum < (limited - optimum) / 2


def test_the_pair_marginals_of_the_cone_program_have_no_redundant_rows():
    joint = np.random.default_rng(0).dirichlet(np.ones(24)).reshape(3, 4, 2)
    fixed, values, pairs = fig_solver._linear_parts(joint)
    np.testing.assert_allclose(fixed @ joint.ravel(), values)
    assert np.linalg.matrix_rank(fixed.toarray()) == len(values)
    expected = np.repeat(joint.sum(2), 2)
    np.testing.assert_allclose(pairs @ joint.ravel(), expected)


def test_a_single_size_is_drawn(table):
    rows = table[table["size"] == "4x3x2"]
    above, _ = fig_solver.figure(rows).axes
    assert above.get_title(loc="center").startswith("4×3×2\n4\n")
