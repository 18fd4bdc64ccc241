"""The convex problem behind every decomposition, and the certificate of its solutions.

For a joint P(x1, x2, y) let a(x1, y) and b(x2, y) be its pair marginals, p1 and p2 its source
marginals. The decomposition of Bertschinger et al. (2014) rests on

    f* = min f(Q)  over all Q with pair marginals a and b,
    f(Q) = sum q log(q / q12) = -H_Q(Y | X1, X2)   [nats],

where q12 is the marginal of Q on the sources. Then I_Q(Y; X1, X2) = H(Y) + f*, and every atom is
affine in it. Q is kept in factors, q(x1, x2, y) = A(x1, x2) U(x1, y) V(x2, y), so no array of size
n1 n2 k is needed.

Certificate
-----------
*Lower bound.* For any lam(x1, y), mu(x2, y) let g(x1, x2) = log sum_y exp(lam + mu). If
alpha(x1) + beta(x2) >= g everywhere, then <a, lam> + <b, mu> - <p1, alpha> - <p2, beta> <= f* by
duality. We take alpha = max_x2 g and beta = max_x1 (g - alpha).

*Upper bound.* Scale the factors down until Q lies below both pair marginals. Filling in the missing
mass with one product distribution per y makes Q feasible. f is convex and homogeneous, hence
subadditive, and the filling adds at most zero: f of the scaled factors bounds f* from above.

Bounds are evaluated in round-to-nearest float64, so they hold up to about 1e-15.

References
----------
Bertschinger, Rauh, Olbrich, Jost, Ay (2014), Quantifying unique information, Entropy 16(4).
"""

import math
from dataclasses import dataclass, field, fields

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, xlogy

TINY = 1e-300  # keeps 0/0 at 0
MARGINAL_TOLERANCE = 1e-9  # largest allowed difference between the two P(y)


@dataclass(frozen=True)
class Coupling:
    """A batch of couplings q(x1, x2, y) = A U V, with certified bounds.

    The pair marginals of q lie below those of the problem; the gap accounts for the missing mass.
    `lower` and `upper` bound I_Q(Y; X1, X2) at the optimum, in bits; `sweeps` counts those of
    stage 1 plus Newton steps; `converged` tells whether upper - lower is within the requested
    tolerance.
    """

    A: Float[Tensor, "batch x1 x2"] = field(repr=False)
    U: Float[Tensor, "batch x1 y"] = field(repr=False)
    V: Float[Tensor, "batch x2 y"] = field(repr=False)
    lower: Float[Tensor, " batch"]
    upper: Float[Tensor, " batch"]
    sweeps: Int[Tensor, " batch"]
    converged: Bool[Tensor, " batch"]

    @property
    def gap(self) -> Float[Tensor, " batch"]:
        """Width of the certified interval in bits, never negative."""
        return (self.upper - self.lower).clamp_min(0)

    @property
    def swapped(self) -> "Coupling":
        """The same coupling with the sources exchanged."""
        bounds = self.lower, self.upper, self.sweeps, self.converged
        return Coupling(self.A.mT, self.V, self.U, *bounds)

    def cpu(self) -> "Coupling":
        """Copy all tensors to the CPU."""
        return Coupling(*(getattr(self, each.name).cpu() for each in fields(self)))


def check_problem(a: Tensor, b: Tensor, tol: float, max_iterations: int) -> None:
    """Raise ValueError unless a, b are batches of pair marginals with one P(y) and options fit."""
    if not tol > 0:
        raise ValueError(f"the tolerance is a width in bits and must be positive, but is {tol}")
    if max_iterations < 1:
        raise ValueError(f"at least one iteration is needed, but max_iterations={max_iterations}")
    shapes = f"{tuple(a.shape)} and {tuple(b.shape)}"
    if a.ndim != 3 or b.ndim != 3 or 0 in a.shape + b.shape or a.shape[::2] != b.shape[::2]:
        raise ValueError(f"expected marginals [batch, x1, y] and [batch, x2, y], but got {shapes}")
    if a.dtype != torch.float64 or b.dtype != torch.float64:
        raise ValueError(f"marginals must be float64, but got {a.dtype} and {b.dtype}")
    for name, table in (("a", a), ("b", b)):
        if not torch.isfinite(table).all() or (table < 0).any():
            raise ValueError(f"marginal {name} has negative, infinite or NaN masses")
    difference = (a.sum(1) - b.sum(1)).abs().amax().item()
    if difference > MARGINAL_TOLERANCE:
        raise ValueError(
            f"the two marginals differ in P(y) by {difference:.2e}; no coupling has both, so "
            "reconcile them first"
        )
    excess = (a.sum((1, 2)) - 1).abs().amax().item()
    if excess > MARGINAL_TOLERANCE:
        raise ValueError(f"the marginals must sum to one, but are off by {excess:.2e}")


def columns_of(A: Tensor, U: Tensor) -> Tensor:
    """A' U, written so that a large A is read along its rows."""
    return torch.bmm(U.mT, A).mT


def source_bound(a: Tensor, b: Tensor) -> Float[Tensor, " batch"]:
    """The larger of -H(Y | X1), -H(Y | X2), nats: duals of lam = log p(y|x1), mu = 0 and mirror."""
    values = [
        xlogy(table, table).sum((1, 2)) - xlogy(table.sum(2), table.sum(2)).sum(1)
        for table in (a, b)
    ]
    return torch.maximum(*values)


def lower_bound(a: Tensor, b: Tensor, U: Tensor, V: Tensor, g: Tensor) -> Float[Tensor, " batch"]:
    """Dual value of lam = log U, mu = log V with g = log U V', in nats; -inf where not finite."""
    alpha = g.amax(2)
    beta = (g - alpha[..., None]).amax(1)
    of_rows = (xlogy(a, U) - a * alpha[..., None]).sum((1, 2))
    dual = of_rows + (xlogy(b, V) - b * beta[..., None]).sum((1, 2))
    return dual.nan_to_num_(-math.inf, -math.inf, -math.inf)


def scaled_below(a: Tensor, b: Tensor, A: Tensor, U: Tensor, V: Tensor) -> tuple[Tensor, Tensor]:
    """Scale the factors down, rows first, until A U V lies below both pair marginals."""
    U = U * (a / (U * torch.bmm(A, V)).clamp_min_(TINY)).clamp_max_(1)
    V = V * (b / (V * columns_of(A, U)).clamp_min_(TINY)).clamp_max_(1)
    return U, V


def objective(A: Tensor, U: Tensor, V: Tensor) -> Float[Tensor, " batch"]:
    """f(A U V) = sum q (log U + log V - log U V') in nats, from matrix products only."""
    G = torch.bmm(U, V.mT)
    of_rows, of_columns = xlogy(U * torch.bmm(A, V), U), xlogy(V * columns_of(A, U), V)
    of_pairs = G.clamp_min(TINY).log_().mul_(G).mul_(A)
    return of_rows.sum((1, 2)) + of_columns.sum((1, 2)) - of_pairs.sum((1, 2))


def information_shares(
    a: Tensor, b: Tensor, coupling: Coupling
) -> tuple[Float[Tensor, "batch x1"], Float[Tensor, "batch x2"]]:
    """Contribution of each value of X1, and of X2, to I_Q in bits; both sum to `upper`.

    The share of x1 is the sum over x2, y of q log(q / (q12 p(y))); that of x2 sums over x1, y.
    """
    A, U, V = coupling.A, coupling.U, coupling.V
    surprisal = -a.sum(1).clamp_min(TINY).log()
    G = U @ V.mT
    of_pairs = A * xlogy(G, G)
    rows = xlogy(U, U) * (A @ V) + U * (A @ xlogy(V, V)) + a * surprisal[:, None]
    columns = xlogy(V, V) * columns_of(A, U) + V * columns_of(A, xlogy(U, U))
    columns = columns + b * surprisal[:, None]
    rows, columns = rows.sum(2) - of_pairs.sum(2), columns.sum(2) - of_pairs.sum(1)
    return rows / math.log(2), columns / math.log(2)


class Incumbents:
    """The best bounds of every problem so far, and the couplings that attain the upper ones."""

    def __init__(self, a: Tensor, b: Tensor, tol: float):
        self.tolerance, self.p_y = math.log(2) * tol, a.sum(1)
        self.A = a.new_zeros(len(a), a.shape[1], b.shape[1])
        self.U, self.V = torch.zeros_like(a), torch.zeros_like(b)
        self.lower, self.upper = source_bound(a, b), a.new_full((len(a),), math.inf)
        self.sweeps = torch.zeros(len(a), dtype=torch.int64, device=a.device)

    def update(
        self,
        rows: Tensor,
        A: Tensor,
        U: Tensor,
        V: Tensor,
        lower: Tensor,
        upper: Tensor,
        count: int,
    ) -> Bool[Tensor, " rows"]:
        """Keep improvements of the problems `rows`, in nats; return which are within tolerance."""
        old = self.upper[rows]
        better = upper < old
        if not better.all():
            upper, A, U, V = torch.where(better, upper, old), A[better], U[better], V[better]
        at = rows if len(A) == len(rows) else rows[better]
        self.A[at], self.U[at], self.V[at] = A, U, V
        lower = torch.maximum(self.lower[rows], lower)
        self.lower[rows], self.upper[rows], self.sweeps[rows] = lower, upper, count
        return upper - lower <= self.tolerance

    def coupling(self) -> Coupling:
        """All problems, with bounds in bits of I_Q = H(Y) + f."""
        entropy = -xlogy(self.p_y, self.p_y).sum(1)
        lower, upper = ((entropy + f) / math.log(2) for f in (self.lower, self.upper))
        converged = self.upper - self.lower <= self.tolerance
        return Coupling(self.A, self.U, self.V, lower, upper, self.sweeps, converged)
