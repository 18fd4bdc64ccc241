"""How fast is the solver, and how accurate, on random tables, drawn uniformly from the simplex?

The optimum is this package's, certified at a gap of 1e-9 bits.
"""

import time
from collections.abc import Callable
from functools import partial

import numpy as np
import pandas as pd
import torch
from scipy import sparse
from scipy.stats import entropy
from tqdm.auto import tqdm

from pidlib._common import derive_seed, fingerprint
from pidlib.decomposition import pid
from pidlib.decomposition.information import mutual_information
from pidlib.experiments import Preset, declare, style, tables

Matrix, Solve = sparse.csc_matrix, Callable[[np.ndarray], np.ndarray]
_MEASURED = "method size cells tables seconds ratio error_bits median_error_bits"
COLUMNS = declare(f"{_MEASURED} seed fingerprint", required=f"{_MEASURED} seed fingerprint")
_OURS = "ours, as a batch", "ours, one at a time", "ours, fitting to 1e-3 bits"
OURS, ALONE, FITTING = _OURS
TOLERANCE, LOOSE, FLOOR = 1e-6, 1e-3, 1e-9  # gaps in bits: ours, ours by fitting, the optimum's
MIN_TABLES, CELLS_SOLVED = 20, 1_600  # tables per size: CELLS_SOLVED / cells, at least MIN_TABLES
_HEADS = "size: source 1 × source 2 × target\ntables solved\nCPU time of fastest other ÷ ours:\n"
_HEADS += "as a batch\none at a time"
_EMPTY = {"ha": "center", "fontsize": 6.5, "color": style.FAINT}
_EMPTY["bbox"] = {"facecolor": "white", "linewidth": 0, "pad": 0.5}


def measure(preset: Preset) -> pd.DataFrame:
    """CPU seconds per table, their ratio to ours as a batch, largest and median error of I_Q."""
    rows = []
    for size in (bar := tqdm(preset.bench_sizes, desc="solver benchmark", unit="size")):
        shape = tuple(map(int, size.split("x")))
        cells = int(np.prod(shape))
        count = min(preset.bench_batch, max(MIN_TABLES, CELLS_SOLVED // cells))
        generator = np.random.default_rng(derive_seed(preset.seed, "bench", size))
        joints = generator.dirichlet(np.ones(cells), count).reshape(-1, *shape)
        optimum = pid(joints, tol=FLOOR).upper
        for name, (solve, max_cells) in METHODS.items():
            if cells > max_cells:
                continue
            bar.set_postfix_str(f"{size} {name}")
            solve(joints[:1])  # the first call loads modules and fills caches
            start = time.process_time()
            solved = solve(joints)
            seconds = (time.process_time() - start) / count
            ours = seconds if name == OURS else ours
            error = np.abs(solved - optimum)
            errors = error.max(), np.median(error)
            rows.append([name, size, cells, count, seconds, seconds / ours, *errors])
    settings = {"sizes": preset.bench_sizes, "batch": preset.bench_batch, "seed": preset.seed}
    table = pd.DataFrame(rows, columns=_MEASURED.split()).assign(seed=preset.seed)
    return tables.validate(table.assign(fingerprint=fingerprint(**settings)), COLUMNS)


def figure(table: pd.DataFrame) -> style.Figure:
    """Time above and error below, a column per size and a row per method; on top, ratios of time.

    Markers are hollow where the largest error is above `TOLERANCE`; these are in no ratio.
    """
    sizes, methods = (list(table[name].unique()) for name in ("size", "method"))
    figure, ratios, look = style.page(5.0), [], {"markersize": 4.5, "markeredgewidth": 1}
    axes = figure.subplots(2, len(sizes), sharex="row", sharey=True, squeeze=False)
    for size, (above, below) in zip(sizes, axes.T, strict=True):
        rows = table[table["size"] == size].set_index("method")
        accurate = rows["error_bits"] <= TOLERANCE
        for y, name in enumerate(methods):
            color = style.OTHERS[0] if name.startswith("ours") else style.INK
            if name not in rows.index:
                for ax in (above, below):
                    style.margin(ax, y, "not run", 0.5, **_EMPTY)
                continue
            seconds, *errors = rows.loc[name, ["seconds", "error_bits", "median_error_bits"]]
            largest, median = np.maximum(errors, FLOOR)
            below.hlines(y, median, largest, color=color, linewidth=0.9)
            face = color if accurate[name] else "white"
            for ax, x in ((above, seconds), (below, largest)):
                style.points(ax, [x], [y], "o", color=face, markeredgecolor=color, **look)
        others = rows.loc[accurate & ~rows.index.str.startswith("ours"), "seconds"].min()
        ratios.append(style.floats(others / rows.loc[[OURS, ALONE], "seconds"]))
        ran = "none accurate" if set(rows.index) - set(_OURS) else "not run"
        texts = [f"{_short(ratio)}×" if ratio > 0 else ran for ratio in ratios[-1]]
        head = [size.replace("x", "×"), str(rows["tables"].iloc[0]), "", *texts]
        above.set_title("\n".join(head), loc="center", fontsize=7.5)
        dashed = {"color": style.INK, "linewidth": 0.7, "linestyle": "--", "zorder": 1}
        below.axvline(TOLERANCE, **dashed)
        if FITTING in methods:
            y = methods.index(FITTING)
            below.vlines(LOOSE, y - 0.5, y + 0.5, **dashed)
    ends = 0.3 * table["seconds"].min(), 5 * table["seconds"].max()
    axes[0, 0].set(xscale="log", xlim=ends, ylabel="CPU milliseconds per table")
    axes[0, 0].set_xticks((1e-4, 1e-2, 1), ("0.1", "10", "1,000"))
    axes[1, 0].set(xscale="log", xlim=(FLOOR / 2, 1), ylabel="distance from optimum (bits)")
    axes[1, 0].set_xticks((1e-9, 1e-6, 1e-3))
    style.name_rows(axes[0, 0], methods)
    place = "axes fraction", "offset points"
    axes[0, 0].annotate(_HEADS, (0, 1), (-4, 5), *place, fontsize=7.5, ha="right")
    if len(known := pd.DataFrame(ratios).dropna()):
        text = "Against the fastest other method that is as accurate ({} of {} sizes), our solver "
        text += "is\n{} to {} times as fast as a batch, and {} to {} times one at a time"
        ends = map(_short, known.agg(["min", "max"]).to_numpy().T.flat)
        figure.suptitle(text.format(len(known), len(sizes), *ends))
    marks = ("error up to 1e-6 bits (compared on top)", "o", style.INK), ("larger", "o", "white")
    handles = style.marker_handles(marks, **look)
    handles.append(style.line_handle("from largest to median error"))
    handles.append(style.line_handle("error asked of ours", linestyle="--"))
    style.legend(figure, 4, *handles, loc="outside lower center")
    return figure


def _short(ratio: float) -> str:
    return f"{ratio:.0f}" if ratio >= 10 else f"{ratio:.2g}"


def _each(solve: Callable[..., float], **options: object) -> Solve:
    return lambda joints: np.array([solve(joint, **options) for joint in joints])


def _ours(joints: np.ndarray, **options: object) -> np.ndarray:
    return pid(joints, **options).upper


def plain_ipfp(joint: np.ndarray, outer: int = 100) -> float:
    """I_Q in bits by the alternating procedure as published, within its iteration limits.

    Start at Q = P(x1, y) P(x2, y) / P(y); then set A(x1, x2) to the mean of Q over y, scale it for
    each y by Sinkhorn to P(x1, y) and P(x2, y), and repeat until Q changes by less than 1e-8.
    """
    tolerance, a, b = 1e-8, joint.sum(1), joint.sum(0)
    q = a[:, None] * b[None] / joint.sum((0, 1))
    for _ in range(outer):
        previous = q
        q = np.repeat(q.mean(2)[..., None], joint.shape[2], axis=2)
        for _ in range(100):
            q = q * (a / q.sum(1))[:, None]
            q = q * (b / q.sum(0))[None]
            if np.abs(q.sum(1) - a).max() < tolerance:
                break
        if np.abs(q - previous).max() < tolerance:
            break
    return float(mutual_information(torch.as_tensor(q).flatten(0, 1)))


def cone_program(joint: np.ndarray) -> float:
    """I_Q in bits by the cone program of Makkeh, Theis and Vicente (2018), Entropy 20:271, by ECOS.

    Maximize sum r over r and q, with r <= -q log(q / p) in every cell, which is an exponential
    cone, p(x1, x2) = sum_y q(x1, x2, y), and the pair marginals of q fixed. The maximum is H_Q(Y |
    X1, X2) in nats. Every cell needs a positive marginal.
    """
    import ecos

    n, (fixed, values, pairs) = joint.size, _linear_parts(joint)
    cells, (r, p, q) = sparse.identity(n), np.eye(3)[:, :, None]
    cones = sparse.hstack([sparse.kron(cells, r), sparse.kron(pairs, p) + sparse.kron(cells, q)])
    equations = sparse.hstack([Matrix((len(values), n)), fixed])
    objective, dims = np.repeat([-1.0, 0.0], n), {"l": 0, "q": [], "e": n}
    program = (objective, -Matrix(cones), np.zeros(3 * n), dims, Matrix(equations), values)
    nats = ecos.solve(*program, verbose=False)["info"]["pcost"]
    return entropy(joint.sum((0, 1)), base=2) + nats / np.log(2)


def cvxpy_model(joint: np.ndarray) -> float:
    """I_Q in bits: minimize sum q log(q / p), with p and constraints as in `cone_program`."""
    import cvxpy

    fixed, values, pairs = _linear_parts(joint)
    q = cvxpy.Variable(joint.size, nonneg=True)
    nats = cvxpy.Minimize(cvxpy.sum(cvxpy.rel_entr(q, pairs @ q)))
    minimum = cvxpy.Problem(nats, [fixed @ q == values]).solve(solver="CLARABEL")
    return entropy(joint.sum((0, 1)), base=2) + minimum / np.log(2)


def _linear_parts(joint: np.ndarray) -> tuple[Matrix, np.ndarray, Matrix]:
    """The map of q to its pair marginals without redundant rows, their values, and q to p."""
    k1, k2, ky = joint.shape
    first = sparse.kron(sparse.identity(k1), sparse.kron(np.ones((1, k2)), sparse.identity(ky)))
    second = sparse.kron(np.ones((1, k1)), sparse.identity(k2 * ky)).tocsr()[:-ky]
    values = np.concatenate([joint.sum(1).ravel(), joint.sum(0).ravel()[:-ky]])
    pairs = sparse.kron(sparse.identity(k1 * k2), np.ones((ky, ky)))
    return Matrix(sparse.vstack([first, second])), values, Matrix(pairs)


def dit_broja(joint: np.ndarray, method: str) -> float:
    """I_Q = R + U1 + U2 in bits, by the package dit."""
    import dit

    states = [tuple(map(str, state)) for state in np.ndindex(joint.shape)]
    law, rng = dit.Distribution(states, joint.ravel()), np.random.default_rng(0)
    atoms = dit.pid.PID_BROJA(law, method=method, rng=rng)
    return sum(map(atoms.get_pi, (((0,), (1,)), ((0,),), ((1,),))))


METHODS = {  # I_Q of joints [b, x1, x2, y] in bits, and the cells of the largest table it is run on
    OURS: (partial(_ours, tol=TOLERANCE), np.inf),
    ALONE: (_each(_ours, tol=TOLERANCE), np.inf),
    FITTING: (partial(_ours, method="ipfp", tol=LOOSE), np.inf),
    "fitting, published limits": (_each(plain_ipfp), 2_000),
    "cone program, ECOS": (_each(cone_program), 2_000),  # over half a minute at 20x20x20
    "cvxpy, Clarabel": (_each(cvxpy_model), 2_000),
    "dit, cone": (_each(dit_broja, method="cone"), 2_000),
    "dit, default": (_each(dit_broja, method="auto"), 20),  # 15 seconds at 5x5x3
}
