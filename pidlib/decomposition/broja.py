"""The convex problem behind every decomposition, and the certificate of its solutions.

For a joint P(x1, x2, y) let a(x1, y) and b(x2, y) be its pair marginals, p1 and p2 its source
marginals. The decomposition rests on (Bertschinger et al. 2014, Quantifying unique information)

    f* = min f(Q)  over all Q with pair marginals a and b,
    f(Q) = sum q log(q / q12) = -H_Q(Y | X1, X2)   [nats],

where q12 is the marginal of Q on the sources. Then I_Q(Y; X1, X2) = H(Y) + f*, and every atom is
affine in it. Q is kept in factors, q(x1, x2, y) = A(x1, x2) U(x1, y) V(x2, y), so no array of size
n1 n2 k is needed.

*Lower bound.* For any lam(x1, y), mu(x2, y) let g(x1, x2) = log sum_y exp(lam + mu). If
alpha(x1) + beta(x2) >= g everywhere, then <a, lam> + <b, mu> - <p1, alpha> - <p2, beta> <= f* by
duality. We take alpha = max_x2 g and beta = max_x1 (g - alpha).

*Upper bound.* Scale the factors down until Q lies below both pair marginals. Filling in the missing
mass with one product distribution per y makes Q feasible. f is convex and homogeneous, hence
subadditive, and the filling adds at most zero: f of the scaled factors bounds f* from above.

Bounds are evaluated in round-to-nearest float64, so they hold up to about 1e-15.
"""

import math
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, xlogy

THIN_CELLS = 400  # least size of a kernel that gains: 3 times at 1,000 x 1,000 in float64
TINY = 1e-300  # keeps 0/0 at 0


class Coupling(NamedTuple):
    """A batch of couplings q(x1, x2, y) = A U V, with marginals up to those of the problem."""

    A: Float[Tensor, "batch x1 x2"]
    U: Float[Tensor, "batch x1 y"]
    V: Float[Tensor, "batch x2 y"]
    lower: Float[Tensor, " batch"]  # bounds of I_Q(Y; X1, X2) at the optimum, in bits
    upper: Float[Tensor, " batch"]
    converged: Bool[Tensor, " batch"]  # whether they are within the requested tolerance
    sweeps: Int[Tensor, " batch"]  # of stage 1, plus Newton steps

    @property
    def gap(self) -> Float[Tensor, " batch"]:
        """Width of the certified interval in bits, never negative."""
        return (self.upper - self.lower).clamp_min(0)


def thin_product(A: Tensor, V: Tensor) -> Tensor:
    """A V for a V of few columns; for a large A as (V' A')', which reads A along its rows."""
    return torch.bmm(A, V) if A[0].numel() < THIN_CELLS else torch.bmm(V.mT, A.mT).mT


def lower_bound(a: Tensor, b: Tensor, U: Tensor, V: Tensor, g: Tensor) -> Float[Tensor, " batch"]:
    """Dual value of lam = log U, mu = log V with g = log U V', in nats; -inf where not finite."""
    alpha = g.amax(2)
    beta = (g - alpha[..., None]).amax(1)
    of_rows = (xlogy(a, U) - a * alpha[..., None]).sum((1, 2))
    dual = of_rows + (xlogy(b, V) - b * beta[..., None]).sum((1, 2))
    return dual.nan_to_num_(-math.inf, -math.inf, -math.inf)


def scaled_below(a: Tensor, b: Tensor, A: Tensor, U: Tensor, V: Tensor) -> tuple[Tensor, Tensor]:
    """Scale the factors down, rows first, until A U V lies below both pair marginals."""
    U = U * (a / (U * thin_product(A, V)).clamp_min_(TINY)).clamp_max_(1)
    V = V * (b / (V * thin_product(A.mT, U)).clamp_min_(TINY)).clamp_max_(1)
    return U, V


def objective(A: Tensor, U: Tensor, V: Tensor) -> Float[Tensor, " batch"]:
    """f(A U V) = sum q (log U + log V - log U V') in nats, from matrix products only."""
    G = torch.bmm(U, V.mT)
    of_rows, of_columns = xlogy(U * thin_product(A, V), U), xlogy(V * thin_product(A.mT, U), V)
    of_pairs = G.clamp_min(TINY).log_().mul_(G).mul_(A)
    return of_rows.sum((1, 2)) + of_columns.sum((1, 2)) - of_pairs.sum((1, 2))


def information_shares(a: Tensor, b: Tensor, coupling: Coupling) -> list[Tensor]:
    """Share of each value of X1, and of X2, in I_Q [bits]: its terms q log(q / (q12 p(y)))."""
    A, U, V = coupling[:3]
    surprisal = -a.sum(1).clamp_min(TINY).log()[:, None]
    G = U @ V.mT
    of_pairs = A * xlogy(G, G)

    def shares(table: Tensor, A: Tensor, U: Tensor, V: Tensor, of_pairs: Tensor) -> Tensor:
        terms = xlogy(U, U) * thin_product(A, V) + U * thin_product(A, xlogy(V, V))
        return ((terms + table * surprisal).sum(2) - of_pairs.sum(2)) / math.log(2)

    return [shares(a, A, U, V, of_pairs), shares(b, A.mT, V, U, of_pairs.mT)]


class Incumbents:
    """The best bounds of every problem so far, and the couplings that attain the upper ones."""

    def __init__(self, a: Tensor, b: Tensor, tol: float):
        self.tolerance, self.p_y = math.log(2) * tol, a.sum(1)
        self.A = a.new_zeros(len(a), a.shape[1], b.shape[1])
        self.U, self.V = torch.zeros_like(a), torch.zeros_like(b)
        # -H(Y | X1) and -H(Y | X2), nats: duals of lam = log p(y|x1), mu = 0 and its mirror
        values = (xlogy(t, t).sum((1, 2)) - xlogy(t.sum(2), t.sum(2)).sum(1) for t in (a, b))
        self.lower, self.upper = torch.maximum(*values), a.new_full((len(a),), math.inf)
        self.sweeps = torch.zeros(len(a), dtype=torch.int64, device=a.device)

    def update(
        self, rows: Tensor, marginals: tuple, factors: tuple, lower: Tensor, count: int
    ) -> Bool[Tensor, " rows"]:
        """Improve problems `rows` by any A, U, V and `lower` in nats; return which are solved."""
        A, (U, V) = factors[0], scaled_below(*marginals, *factors)
        upper, old = objective(A, U, V), self.upper[rows]
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
        return Coupling(self.A, self.U, self.V, lower, upper, converged, self.sweeps)
