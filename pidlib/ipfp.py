"""Stage 1 of the solver, iterative proportional fitting in matrix form, and the certificate both stages share.

For a joint P(x1, x2, y) let a(x1, y) and b(x2, y) be its pair marginals, p1 and p2 its source marginals. The decomposition of
Bertschinger et al. rests on one convex problem,

    f* = min f(Q)  over all Q with pair marginals a and b,      f(Q) = sum q log(q / q12) = -H_Q(Y | X1, X2)   [nats],

where q12 is the marginal of Q on the sources. Then I_Q(Y; X1, X2) = H(Y) + f*, and every atom is affine in it.

Both stages hold Q in factors, q(x1, x2, y) = A(x1, x2) U(x1, y) V(x2, y), so that neither stage 1 nor the certificate needs an array of
size n1 n2 k.

Certificate
-----------
*Lower.* For any lam(x1, y), mu(x2, y) let g(x1, x2) = log sum_y exp(lam + mu). If alpha(x1) + beta(x2) >= g everywhere, then
<a, lam> + <b, mu> - <p1, alpha> - <p2, beta> <= f*, by duality. We take alpha = max_x2 g and beta = max_x1 (g - alpha).

*Upper.* Scale the factors down until Q lies below both pair marginals; what is missing of a and b is filled in by one product
distribution per y, which makes Q exactly feasible. As f is convex and homogeneous, it is subadditive, and the filling adds at most
zero: so f of the scaled factors alone bounds f* from above, at the price of one matrix product.

References
----------
Banerjee, Rauh, Montufar (2018), Computing the unique information, ISIT. Bertschinger, Rauh, Olbrich, Jost, Ay (2014), Quantifying
unique information, Entropy 16(4).
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, xlogy

TINY = 1e-300  # keeps 0/0 at 0: a zero mass over no mass is zero
FLOOR = 1e-2  # of the kernel, relative to p1 p2' and in units of the gap asked for: momentum may leave a cell but never lose it
SWEEPS, MORE_SWEEPS = 3, 20  # to an outer step, and one more every so many steps: momentum that runs ahead of the fit stalls
CHECK_EVERY = 5  # outer steps
MARGINAL_TOLERANCE = 1e-9  # by how much the two P(y) may differ


@dataclass(frozen=True)
class Coupling:
    """A batch of couplings in factors, with the proof of how good each is.

    Attributes
    ----------
    A, U, V
        Factors of the coupling q(x1, x2, y) = A U V. Its pair marginals lie below those asked for and reach them up to the residual
        that the gap already pays for.
    lower, upper
        Bounds on I_Q(Y; X1, X2) at the optimum, in bits. The upper one is the value of this very coupling.
    sweeps
        How many sweeps each problem took, and Newton steps where stage 2 made it.
    converged
        Whether upper - lower is within the tolerance asked for.
    """

    A: Float[Tensor, "batch x1 x2"]
    U: Float[Tensor, "batch x1 y"]
    V: Float[Tensor, "batch x2 y"]
    lower: Float[Tensor, " batch"]
    upper: Float[Tensor, " batch"]
    sweeps: Int[Tensor, " batch"]
    converged: Bool[Tensor, " batch"]

    @property
    def gap(self) -> Float[Tensor, " batch"]:
        """Width of the certified interval in bits, never below zero."""
        return (self.upper - self.lower).clamp_min(0)


def ipfp(
    a: Float[Tensor, "batch x1 y"],
    b: Float[Tensor, "batch x2 y"],
    *,
    tol: float = 1e-6,
    max_iterations: int = 1000,
    start: Coupling | None = None,
) -> Coupling:
    """Fit couplings to pairs of marginals by warm-started sweeps of iterative proportional fitting.

    A sweep is U = a / (A V), V = b / (A' U); after a few of them the kernel takes its outer step A = A * (U V'). The inner fitting is
    never run to its end, because the next outer step makes up for it. Near the boundary of the polytope the plain iteration is
    sublinear; momentum on log A, restarted whenever it points uphill, reaches 1e-4 bits in a few hundred steps. Problems that
    pass leave the batch.

    Parameters
    ----------
    a, b
        Pair marginals P(x1, y) and P(x2, y), float64 probabilities that share one P(y). Memory is n1 n2 + (n1 + n2) k a problem.
    tol
        Certified gap asked for, in bits.
    max_iterations
        Outer steps after which a problem is handed back unconverged.
    start
        A coupling of the same shape to continue from: of the same marginals to a coarser gap, or of ones that hardly differ. For a
        resample of the samples a cold start is as fast.

    Returns
    -------
    Coupling
        With `converged` False wherever the gap is still above `tol`.

    Raises
    ------
    ValueError
        If shapes do not fit, a mass is negative or not finite, a and b do not share one P(y), or nothing is asked for.
    """
    check_problem(a, b, tol, max_iterations)
    last, V = cold_start(a, b) if start is None else warm_start(a, b, start)
    floor = cold_start(a, b)[0].add_(math.log(FLOOR * math.log(2) * tol))
    ahead, A, G, age = last.clone(), torch.empty_like(last), torch.empty_like(last), a.new_zeros(len(a), 1, 1)
    active, results, done = torch.arange(len(a), device=a.device), Results(a, b, tol), 0
    for count in range(1, max_iterations + 1):
        torch.exp(ahead, out=A)
        sweeps = SWEEPS + count // MORE_SWEEPS
        for _ in range(sweeps):
            U, V = fit(a, b, A, V)
        done += sweeps
        torch.bmm(U, V.mT, out=G)
        if count % CHECK_EVERY == 0 or count == max_iterations:
            below = scaled_below(a, b, A, U, V)
            lower = lower_bound(a, b, U, V, G.clamp_min(TINY).log_())
            passed = results.update(active, A, *below, lower, objective(A, *below), done)
            if passed.all() or count == max_iterations:
                break
            if passed.any():
                state = (active, a, b, V, A, G, ahead, last, floor, age)
                active, a, b, V, A, G, ahead, last, floor, age = (x[~passed] for x in state)
        last, ahead, age = extrapolate(last, ahead, A, G, floor, age)
    return results.coupling()


def check_problem(a: Tensor, b: Tensor, tol: float, max_iterations: int) -> None:
    """Raise ValueError unless a and b are batches of pair marginals that share one P(y), and something can be done about them."""
    if not tol > 0:
        raise ValueError(f"the tolerance is a width in bits and must be positive, but is {tol}")
    if max_iterations < 1:
        raise ValueError(f"at least one iteration is needed, but max_iterations is {max_iterations}")
    if a.ndim != 3 or b.ndim != 3 or a.shape[0] != b.shape[0] or a.shape[2] != b.shape[2] or 0 in a.shape + b.shape:
        raise ValueError(f"expected marginals [batch, x1, y] and [batch, x2, y], but got shapes {tuple(a.shape)} and {tuple(b.shape)}")
    if a.dtype != torch.float64 or b.dtype != torch.float64:
        raise ValueError(f"marginals must be float64, but got {a.dtype} and {b.dtype}; convert them with .double()")
    for name, table in (("a", a), ("b", b)):
        if not torch.isfinite(table).all() or (table < 0).any():
            raise ValueError(f"marginal {name} has negative, infinite or NaN masses; pass probabilities")
    apart = (a.sum(1) - b.sum(1)).abs().amax().item()
    if apart > MARGINAL_TOLERANCE:
        raise ValueError(f"the two marginals differ in P(y) by {apart:.2e}; no coupling has both, so reconcile them first")
    off = (a.sum((1, 2)) - 1).abs().amax().item()
    if off > MARGINAL_TOLERANCE:
        raise ValueError(f"the marginals sum to one only up to {off:.2e}; divide them by their total")


def cold_start(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Log of the kernel p1 p2', and the factor p(y | x2): sources made independent. Empty rows and columns get a trace of mass."""
    p1, p2 = a.sum(2), b.sum(2)
    return p1.clamp_min(TINY).log()[:, :, None] + p2.clamp_min(TINY).log()[:, None, :], b / p2.clamp_min(TINY)[..., None]


def warm_start(a: Tensor, b: Tensor, start: Coupling) -> tuple[Tensor, Tensor]:
    """Log of the kernel and factor of an earlier coupling; the cold start where that has no mass."""
    if start.A.shape[1:] != (a.shape[1], b.shape[1]) or start.V.shape[1:] != b.shape[1:] or len(start.A) not in (1, len(a)):
        raise ValueError(f"the start has shapes {tuple(start.A.shape)}, {tuple(start.V.shape)}, which do not fit {tuple(a.shape)}")
    log_A, V = cold_start(a, b)
    return torch.where(start.A > 0, start.A.log(), log_A), torch.where((start.V > 0) & (b > 0), start.V, V)


def fit(a: Tensor, b: Tensor, A: Tensor, V: Tensor) -> tuple[Tensor, Tensor]:
    """One sweep: fit the rows, then the columns, of every slice A * (U_y V_y')."""
    U = a / (A @ V).clamp_min_(TINY)
    return U, b / columns_of(A, U).clamp_min_(TINY)


def sweep(a: Tensor, b: Tensor, A: Tensor, V: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The factors after one sweep, and G = U V', by which the kernel then grows."""
    U, V = fit(a, b, A, V)
    return U, V, U @ V.mT


def columns_of(A: Tensor, U: Tensor) -> Tensor:
    """A' U, written so that a large A is read along its rows."""
    return (U.mT @ A).mT


def extrapolate(last: Tensor, ahead: Tensor, A: Tensor, G: Tensor, floor: Tensor, age: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Continue log A along its step by (t-1)/(t+2); a problem begins anew at t=1 where the step went against the gradient log G.

    All of it in place, for a fresh kernel of a large problem takes longer to allocate than to compute: A and G are spent.
    """
    mass = A.mul_(G)
    gradient = G.clamp_min_(TINY).log_()
    new = torch.maximum(ahead.add_(gradient), floor, out=ahead)
    step = last.neg_().add_(new)
    uphill = gradient.mul_(step).mul_(mass).sum((1, 2), keepdim=True) < 0
    age = torch.where(uphill, 0, age + 1)
    return new, torch.maximum(step.mul_(age / (age + 3)).add_(new), floor, out=step), age


def source_bound(a: Tensor, b: Tensor) -> Float[Tensor, " batch"]:
    """The larger of -H(Y | X1) and -H(Y | X2) in nats: the dual values of lam = log p(y | x1), mu = 0 and of its counterpart."""
    return torch.maximum(*(xlogy(table, table).sum((1, 2)) - xlogy(table.sum(2), table.sum(2)).sum(1) for table in (a, b)))


def lower_bound(a: Tensor, b: Tensor, U: Tensor, V: Tensor, g: Tensor) -> Float[Tensor, " batch"]:
    """Dual value of lam = log U, mu = log V with g = log U V', in nats; minus infinity where it is not finite."""
    alpha = g.amax(2)
    beta = (g - alpha[..., None]).amax(1)
    dual = (xlogy(a, U) - a * alpha[..., None]).sum((1, 2)) + (xlogy(b, V) - b * beta[..., None]).sum((1, 2))
    return dual.nan_to_num_(-math.inf, -math.inf, -math.inf)


def scaled_below(a: Tensor, b: Tensor, A: Tensor, U: Tensor, V: Tensor) -> tuple[Tensor, Tensor]:
    """Scale the factors down, rows first, until A U V lies below both pair marginals."""
    U = U * (a / (U * (A @ V)).clamp_min(TINY)).clamp_max(1)
    V = V * (b / (V * columns_of(A, U)).clamp_min(TINY)).clamp_max(1)
    return U, V


def objective(A: Tensor, U: Tensor, V: Tensor) -> Float[Tensor, " batch"]:
    """f(A U V) = sum q (log U + log V - log U V') in nats, from matrix products only."""
    G = U @ V.mT
    of_rows, of_columns = xlogy(U * (A @ V), U), xlogy(V * columns_of(A, U), V)
    return of_rows.sum((1, 2)) + of_columns.sum((1, 2)) - G.clamp_min(TINY).log_().mul_(G).mul_(A).sum((1, 2))


def information_shares(a: Tensor, b: Tensor, coupling: Coupling) -> tuple[Float[Tensor, "batch x1"], Float[Tensor, "batch x2"]]:
    """What each value of X1, and each value of X2, contributes to I_Q of a coupling of a and b, in bits; both sum to `upper`.

    The share of x1 is sum over x2, y of q log(q / (q12 p(y))), and that of x2 is the sum over x1, y.
    """
    A, U, V = coupling.A, coupling.U, coupling.V
    surprise = -a.sum(1).clamp_min(TINY).log()
    G = U @ V.mT
    of_pairs = A * xlogy(G, G)
    rows = (xlogy(U, U) * (A @ V) + U * (A @ xlogy(V, V)) + a * surprise[:, None]).sum(2) - of_pairs.sum(2)
    columns = (xlogy(V, V) * columns_of(A, U) + V * columns_of(A, xlogy(U, U)) + b * surprise[:, None]).sum(2) - of_pairs.sum(1)
    return rows / math.log(2), columns / math.log(2)


class Results:
    """The best bounds of every problem so far, with the coupling that attains the upper one; f in nats until they are handed out."""

    def __init__(self, a: Tensor, b: Tensor, tol: float):
        self.asked, self.p_y = math.log(2) * tol, a.sum(1)
        self.A, self.U, self.V = a.new_zeros(len(a), a.shape[1], b.shape[1]), torch.zeros_like(a), torch.zeros_like(b)
        self.lower, self.upper = source_bound(a, b), a.new_full((len(a),), math.inf)
        self.sweeps = torch.zeros(len(a), dtype=torch.int64, device=a.device)

    def update(self, rows: Tensor, A: Tensor, U: Tensor, V: Tensor, lower: Tensor, upper: Tensor, sweeps: int) -> Bool[Tensor, " rows"]:
        """Take in what is better for the problems `rows`; return which of them are within the gap asked for."""
        better = upper < self.upper[rows]
        at = rows[better]
        self.A[at], self.U[at], self.V[at], self.upper[at] = A[better], U[better], V[better], upper[better]
        self.lower[rows] = torch.maximum(self.lower[rows], lower)
        self.sweeps[rows] = sweeps
        return self.upper[rows] - self.lower[rows] <= self.asked

    def coupling(self) -> Coupling:
        """All of it, in bits of I_Q = H(Y) + f."""
        entropy = -xlogy(self.p_y, self.p_y).sum(1)
        lower, upper = (entropy + self.lower) / math.log(2), (entropy + self.upper) / math.log(2)
        return Coupling(self.A, self.U, self.V, lower, upper, self.sweeps, self.upper - self.lower <= self.asked)
