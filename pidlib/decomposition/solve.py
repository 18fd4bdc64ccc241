"""The router between the two stages of the solver, and dual bounds.

Every decomposition goes through `solve`. With method "auto":

- stage 2 (Newton) if one of its steps costs at most `NEWTON_WORK` operations per problem, or
  `COARSE_WORK` where the requested gap is at least `COARSE`;
- stage 1 (fitting) otherwise, and where stage 2 did not converge (unless the requested gap is below
  `FALLBACK_TOLERANCE`, where rounding limits both alike). The narrower interval is returned.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from pidlib.decomposition.broja import TINY, Coupling
from pidlib.decomposition.ipfp import fit, ipfp
from pidlib.decomposition.newton import newton

METHODS = ("auto", "newton", "ipfp")
# Largest n1 n2^2 k^3 (n1 >= n2) for stage 2: 500 values per source with k = 4 take 10 s on a CPU.
NEWTON_WORK = {"cpu": 1e10, "cuda": 1e13}
COARSE, COARSE_WORK = 1e-3, 1e7  # bits; 50 values per source with k = 4
FALLBACK_TOLERANCE = 1e-7  # bits

Potentials = tuple[Float[Tensor, "*b x1 k"], Float[Tensor, "*b x2 k"]]
CHUNK = 4096  # rows that are compared with all potentials at a time
LARGE = 2200  # order of the Schur complement that gains from more threads; below, one is used


def solve(
    a: Float[Tensor, "batch x1 y"],
    b: Float[Tensor, "batch x2 y"],
    *,
    tol: float = 1e-6,
    method: str = "auto",
    max_iterations: int | None = None,
) -> Coupling:
    """Couple pairs of marginals by the stage that their size affords.

    The pair marginals P(x1, y) and P(x2, y) are float64 probabilities with one P(y), unchecked.
    `tol` is the requested certified gap, in bits. `method` is ``"auto"``, as described above, or
    ``"newton"`` or ``"ipfp"`` for that stage alone. `max_iterations` limits the Newton steps if it
    is ``"newton"``, the outer steps of stage 1 otherwise. Raises ValueError for invalid options.
    """
    if method not in METHODS:
        raise ValueError(f"unknown method {method!r}; choose {', '.join(map(repr, METHODS))}")
    if not tol > 0:
        raise ValueError(f"the tolerance is a width in bits and must be positive, but is {tol}")
    if max_iterations is not None and max_iterations < 1:
        raise ValueError(f"at least one iteration is needed, but max_iterations={max_iterations}")
    n1, n2, k = a.shape[1], b.shape[1], a.shape[2]
    work = max(n1, n2) * min(n1, n2) ** 2 * k**3
    affordable = min(NEWTON_WORK[a.device.type], COARSE_WORK if tol >= COARSE else math.inf)
    limit = {} if max_iterations is None else {"max_iterations": max_iterations}
    if method == "ipfp" or (method == "auto" and work > affordable):
        return ipfp(a, b, tol=tol, **limit)
    steps = limit if method == "newton" else {}
    # stage 2 eliminates the first source, which should be the larger one
    coupling = newton(*((a, b) if n1 >= n2 else (b, a)), tol=tol, **steps)
    if n1 < n2:
        coupling = coupling._replace(A=coupling.A.mT, U=coupling.V, V=coupling.U)
    if method == "auto" and tol >= FALLBACK_TOLERANCE and not coupling.converged.all():
        failed = torch.where(~coupling.converged)[0]
        other = ipfp(a[failed], b[failed], tol=tol, **limit)
        better = other.gap < coupling.gap[failed]
        for values, others in zip(coupling, other, strict=True):
            values[failed[better]] = others[better]
    return coupling


def dual_potentials(a: Tensor, b: Tensor, coupling: Coupling) -> Potentials:
    """Feasible lam, mu [nats], sum_y exp(lam + mu) <= 1 for all x1, x2; log(TINY) without mass."""
    U, V = fit(a, b, coupling.A, coupling.V)
    g = (U @ V.mT).clamp(min=TINY).log()
    alpha = g.amax(2, keepdim=True)
    lam = U.clamp(min=TINY).log() - alpha
    return lam, V.clamp(min=TINY).log() - (g - alpha).amax(1)[..., None]


def dual_bound(a: Tensor, b: Tensor, target: Tensor, potentials: Potentials) -> Tensor:
    """Lower bound I_Q >= H(Y) + <a, lam> + <b, mu>, in bits, from potentials of similar marginals.

    The marginals are a [*draws, x1, k], b [*draws, x2, k] and the target's, [*draws, k]. Every row
    of lam is feasible with every row of mu, so each value takes the row that maximizes its term.
    The bound is exact up to the gap at the marginals of the potentials, and to first order nearby.
    """
    value = 0
    for table, rows in zip((a, b), potentials, strict=True):
        best = [(part @ rows.T).amax(-1) for part in table.split(CHUNK, dim=-2)]
        value = value + torch.cat(best, -1).sum(-1)
    return (value - torch.xlogy(target, target).sum(-1)) / math.log(2)
