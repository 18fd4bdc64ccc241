"""The solver against its peers: the same random tables, one thread, CPU seconds, all in one run."""

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from tqdm.auto import tqdm

from pidlib.decomposition import pid
from pidlib.experiment import Preset, derive_seed, fingerprint
from pidlib.information import mutual_information

Solve = Callable[[np.ndarray], np.ndarray]
OURS = "ours, a batch at a time"


@dataclass(frozen=True)
class Method:
    """One way to find I_Q of a batch of joints [b, x1, x2, y], in bits; ``most`` tables of at most ``cells`` cells are worth the wait."""

    name: str
    solve: Solve
    most: int = 10**9
    cells: int = 10**9


def solver_bench(preset: Preset) -> pd.DataFrame:
    """Time per table and distance from the optimum, for every method and size of the preset.

    Tables are drawn uniformly from the simplex. The optimum is our certified one at a gap of 1e-9 bits. Slow methods are given fewer
    tables, and not the largest.

    Returns
    -------
    DataFrame
        ``method``; ``size`` and its number of ``cells``; ``tables`` that were solved; ``seconds`` of CPU per table; their ``ratio`` to ours
        by the batch; ``error_bits``, the largest distance of I_Q from the optimum; ``seed`` and ``fingerprint``.
    """
    methods, rows = _methods(), []
    total = len(methods) * len(preset.bench_sizes)
    with tqdm(total=total, desc="solver bench", unit="method") as bar:
        for size in preset.bench_sizes:
            shape = tuple(map(int, size.split("x")))
            cells, count = int(np.prod(shape)), max(1, min(preset.bench_batch, 4_000_000 // int(np.prod(shape)) // 4))
            joints = np.random.default_rng(derive_seed(preset.seed, "bench", size)).dirichlet(np.ones(cells), count).reshape(-1, *shape)
            optimum, ours = pid(joints, tol=1e-9).upper, None
            for method in methods:
                bar.set_postfix_str(f"{size} {method.name}")
                bar.update()
                if cells > method.cells:
                    continue
                some = joints[: method.most]
                method.solve(some[:1])  # the first call pays for imports and caches
                begun = time.process_time()
                found = method.solve(some)
                seconds = (time.process_time() - begun) / len(some)
                ours = seconds if method.name == OURS else ours
                off = np.abs(found - optimum[: len(some)]).max()
                rows.append([method.name, size, cells, len(some), seconds, seconds / ours, off])
    table = pd.DataFrame(rows, columns=["method", "size", "cells", "tables", "seconds", "ratio", "error_bits"])
    mark = fingerprint(sizes=preset.bench_sizes, batch=preset.bench_batch, seed=preset.seed)
    return table.assign(seed=preset.seed, fingerprint=mark)


def _methods() -> list[Method]:
    return [
        Method(OURS, lambda joints: pid(joints).upper),
        Method("ours, one at a time", _one_by_one(lambda joint: pid(joint).upper), most=20),
        Method("ours, fitting to 1e-3 bits", lambda joints: pid(joints, method="ipfp", tol=1e-3).upper),
        Method("plain fitting, published limits", _one_by_one(plain_ipfp), most=2, cells=2_000),
        Method("dit, cone", _one_by_one(_dit("cone")), most=5, cells=2_000),
        Method("dit, default", _one_by_one(_dit("auto")), most=1, cells=20),  # 5x5x3 takes it a quarter of a minute
    ]


def _one_by_one(solve: Callable[[np.ndarray], float]) -> Solve:
    return lambda joints: np.array([solve(joint) for joint in joints])


def plain_ipfp(joint: np.ndarray, outer: int = 100, inner: int = 100, tolerance: float = 1e-8) -> float:
    """I_Q in bits by the alternating procedure as published, within its iteration limits: no momentum, no certificate.

    Start at Q = P(x1, y) P(x2, y) / P(y); then set A(x1, x2) to the mean of Q over y, scale it for each y by Sinkhorn to P(x1, y) and
    P(x2, y), and repeat until Q moves less than the tolerance.
    """
    a, b = joint.sum(1), joint.sum(0)
    q = a[:, None] * b[None] / joint.sum((0, 1))
    for _ in range(outer):
        before, kernel = q, q.mean(2)
        q = np.repeat(kernel[..., None], joint.shape[2], axis=2)
        for _ in range(inner):
            q = q * (a / q.sum(1))[:, None]
            q = q * (b / q.sum(0))[None]
            if np.abs(q.sum(1) - a).max() < tolerance:
                break
        if np.abs(q - before).max() < tolerance:
            break
    sources = torch.as_tensor(q).flatten(0, 1)
    return float(mutual_information(sources))


def _dit(method: str) -> Callable[[np.ndarray], float]:
    """I_Q = I(Y; X1) + unique information of X2, by the package dit."""

    def solve(joint: np.ndarray) -> float:
        import dit  # only the bench needs it

        states = [tuple(map(str, state)) for state in np.ndindex(joint.shape)]
        distribution = dit.Distribution(states, joint.ravel() / joint.sum())
        unique = dit.pid.PID_BROJA._measure(distribution, ((0,), (1,)), (2,), method=method)
        return float(mutual_information(torch.as_tensor(joint.sum(1) / joint.sum()))) + float(unique[(1,)])

    return solve
