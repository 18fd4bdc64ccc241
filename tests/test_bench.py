"""The bench: that it compares what it says, on the same tables; nothing about time."""

import numpy as np

from pidlib import bench
from pidlib.decomposition import pid
from pidlib.experiment import load_preset
from pidlib.results import tidy
from pidlib.schemas import BENCH


def test_every_method_finds_the_optimum_as_far_as_it_can():
    table = bench.solver_bench(load_preset("smoke", bench_sizes=["2x2x2", "4x3x2"], bench_batch=4))
    assert tidy(table, BENCH).equals(tidy(table, BENCH)[list(BENCH.columns)])
    assert set(table["size"]) == {"2x2x2", "4x3x2"} and table["method"].nunique() == 6
    assert (table["seconds"] >= 0).all() and (table["tables"] >= 1).all()
    errors = table.groupby("method")["error_bits"].max()
    assert errors["ours, a batch at a time"] <= 2e-6 and errors["ours, one at a time"] <= 2e-6
    assert errors["ours, fitting to 1e-3 bits"] <= 1e-3 + 1e-9
    assert errors["dit, cone"] <= 1e-5 and errors["dit, default"] <= 0.05


def test_plain_fitting_stops_short_of_the_optimum_from_above():
    for joint in np.random.default_rng(0).dirichlet(np.ones(75), 2).reshape(-1, 5, 5, 3):
        limited, patient = bench.plain_ipfp(joint), bench.plain_ipfp(joint, outer=500)
        optimum = pid(joint, tol=1e-9).upper
        assert optimum - 1e-6 <= patient <= limited <= optimum + 0.01
        assert patient - optimum < (limited - optimum) / 2
