"""Stage 2 of the solver: a batched primal-dual Newton method for the last digits.

The dual of the problem in `pidlib.ipfp` is

    max <a, lam> + <b, mu>   over lam(x1, y), mu(x2, y)   with   g(x1, x2) = log sum_y exp(lam + mu) <= 0.

With a slack s > 0 and a multiplier r > 0 for each pair (x1, x2), which is the marginal q12 of the coupling, the point sought solves

    a = sum_x2 r p,   b = sum_x1 r p,   g + s = 0,   r s = tau -> 0,      p(y | x1, x2) = exp(lam + mu - g).

We hold U = exp(lam) and V = exp(mu), so that with G = U V' and A = r / G the coupling is r p = A U V, in the factors of stage 1, and
its certificate is that of stage 1. With w = r/s - r, Newton's equations without ds and dr have the blocks

    L11 = sum_x2 w p p' + diag(sum_x2 r p),   L22 likewise over x1,   C = w p p' + diag(r p),

which in the unknowns U dlam and V dmu are sums of outer products of the factors, with W = w / G^2:

    L11 = sum_x2 W V V' + diag(A V / U),   L22 = sum_x1 W U U' + diag(A' U / V),   C = W V U' + diag(A).

L11 is block-diagonal with a k x k block for each x1. It is eliminated, which leaves a Schur complement S = L22 - C' L11^-1 C of
order n2 k; so the first source should be the larger one.

References
----------
Mehrotra (1992), On the implementation of a primal-dual interior point method, SIAM J. Optim. 2(4). Makkeh, Theis, Vicente (2018),
BROJA-2PID: a robust estimator for bivariate partial information decomposition, Entropy 20(4).
"""

import math
from dataclasses import dataclass, fields, replace

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from pidlib.ipfp import TINY, Coupling, Results, check_problem, cold_start, fit, lower_bound, objective, scaled_below, sweep

WARM_SWEEPS = 25  # of stage 1; they are what makes the start robust
LEAST_SLACK = 0.02  # of the start, in nats
CENTRED = 0.1  # the least product r s of the start, as a share of its mean
STEP = 0.995  # of the way to the boundary
SHORT = 0.3  # below this length a second-order direction has to compete with the first-order one
PATIENCE, CENTRING = 10, 0.3  # steps after which tau is lowered less greedily, to no less than this share a step
RISE = 3.0  # nats by which g may exceed both its value and its first-order forecast
CUT, CUTS = 0.4, 6  # how a longer step is cut back, and how often at most
RIDGE = 1e-13  # relative to the diagonals before elimination, where the rounding errors come from
RIDGE_GROWTH = 100.0  # when a factorisation fails
STIFF = 1e200  # diagonal of an unknown that does not exist, because its marginal is zero
CHUNK = {"cpu": 2**19, "cuda": 2**28}  # entries of the largest array, over all problems at once; on a CPU its cache should hold them


@dataclass(frozen=True)
class Point:
    """A batch of problems, each with its primal-dual point.

    Where the values of a pair (x1, x2) have no y of positive mass in common, `cell` is 0 and the pair takes no part: s and r are held
    at 1 there, and g at -1.
    """

    a: Float[Tensor, "batch x1 y"]
    b: Float[Tensor, "batch x2 y"]
    cell: Float[Tensor, "batch x1 x2"]
    U: Float[Tensor, "batch x1 y"]
    V: Float[Tensor, "batch x2 y"]
    s: Float[Tensor, "batch x1 x2"]
    r: Float[Tensor, "batch x1 x2"]
    ridge: Float[Tensor, "batch 1 1"]

    def __getitem__(self, mask: Bool[Tensor, " batch"]) -> "Point":
        return Point(*(getattr(self, field.name)[mask] for field in fields(self)))

    def pairs(self, U: Tensor, V: Tensor) -> Float[Tensor, "batch x1 x2"]:
        """G = U V' where a pair takes part."""
        return (U @ V.mT + (1 - self.cell) / math.e).clamp_min_(TINY)

    def mean(self, product: Float[Tensor, "batch x1 x2"]) -> Float[Tensor, "batch 1 1"]:
        """Mean over the pairs that take part."""
        return (product * self.cell).sum((1, 2), keepdim=True) / self.cell.sum((1, 2), keepdim=True)


@dataclass(frozen=True)
class Direction:
    """Changes of lam, mu, s and r, and what they change in g to first order."""

    lam: Float[Tensor, "batch x1 y"]
    mu: Float[Tensor, "batch x2 y"]
    s: Float[Tensor, "batch x1 x2"]
    r: Float[Tensor, "batch x1 x2"]
    g: Float[Tensor, "batch x1 x2"]


def newton(
    a: Float[Tensor, "batch x1 y"],
    b: Float[Tensor, "batch x2 y"],
    *,
    tol: float = 1e-6,
    max_iterations: int = 60,
) -> Coupling:
    """Couple pairs of marginals to a certified gap of `tol` bits by the primal-dual Newton method.

    Parameters
    ----------
    a, b
        Pair marginals P(x1, y) and P(x2, y), float64 probabilities that share one P(y); the first source the larger one.
        The work of a step is of order n1 n2^2 k^3 a problem, its memory (n1 + n2) n2 k^2.
    tol
        Certified gap asked for, in bits. Below about 1e-7 rounding may stop tables near the boundary of the simplex short of it.
    max_iterations
        Newton steps after which a problem is handed back unconverged. Usual are 2 to 12.

    Returns
    -------
    Coupling
        As from `pidlib.ipfp.ipfp`, with the Newton steps added to the sweeps.

    Raises
    ------
    ValueError
        As `pidlib.ipfp.ipfp`.
    """
    check_problem(a, b, tol, max_iterations)
    results = Results(a, b, tol)
    size = a.shape[2] ** 2 * b.shape[1] * max(a.shape[1], b.shape[1])
    for rows in torch.arange(len(a), device=a.device).split(max(1, CHUNK[a.device.type] // size)):
        solve(a[rows], b[rows], rows, results, max_iterations)
    return results.coupling()


def solve(a: Tensor, b: Tensor, rows: Tensor, results: Results, max_iterations: int) -> None:
    """Take Newton steps until every problem has left for the results, certified or given up."""
    point = start(a, b)
    space = Workspace(len(a), a.shape[1], b.shape[1], a.shape[2], like=a)
    for count in range(max_iterations + 1):
        G = point.pairs(point.U, point.V)
        g = G.log()
        A = point.r / G
        below = scaled_below(point.a, point.b, A, *fit(point.a, point.b, A, point.V))  # a sweep takes what the step left undone
        lower = lower_bound(point.a, point.b, point.U, point.V, g)
        passed = results.update(rows, A, *below, lower, objective(A, *below), WARM_SWEEPS + count)
        if passed.all() or count == max_iterations:
            return
        if passed.any():
            rows, point, G, g, A = rows[~passed], point[~passed], G[~passed], g[~passed], A[~passed]
        point = replace(point, s=torch.maximum(point.s, -g))
        point = step(point, G, g, A, space, least_centring=0.0 if count < PATIENCE else CENTRING)


def start(a: Tensor, b: Tensor) -> Point:
    """A well-centred point from a few plain sweeps of stage 1."""
    log_A, V = cold_start(a, b)
    A = log_A.exp()
    for _ in range(WARM_SWEEPS):
        U, V, G = sweep(a, b, A, V)
        A = A * G
    s = torch.where(G > 0, -G.clamp_min(TINY).log(), 1).clamp_min(LEAST_SLACK)
    point = Point(a, b, (G > 0).to(a.dtype), U, V, s, A, a.new_full((len(a), 1, 1), RIDGE))
    return replace(point, r=torch.where(G > 0, torch.maximum(A, CENTRED * point.mean(A * s) / s), 1))


class Workspace:
    """Memory for the large arrays of a step, kept because fresh pages would cost as much time as the arithmetic."""

    def __init__(self, batch: int, n1: int, n2: int, k: int, like: Tensor):
        self.T = like.new_empty(batch, n1 * k, n2 * k)
        self.S = like.new_empty(batch, n2 * k, n2 * k)
        self.factor = torch.empty_like(self.S)
        self.info = torch.empty(batch, dtype=torch.int32, device=like.device)

    def first(self, batch: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """T, the Schur complement, its factor (held by columns, as LAPACK has it) and the verdict, for the first problems."""
        return self.T[:batch], self.S[:batch], self.factor[:batch].mT, self.info[:batch]


class Equations:
    """Newton's equations at a point, factorised once for all right-hand sides."""

    def __init__(self, point: Point, G: Tensor, A: Tensor, space: Workspace):
        self.point, self.G, self.A = point, G, A
        U, V, r, s = point.U, point.V, point.r, point.s
        batch, n1, k = U.shape
        n2 = V.shape[1]
        T, S, factor, info = space.first(batch)
        self.per_U, self.per_V = torch.where(U > 0, 1 / U, 0), torch.where(V > 0, 1 / V, 0)
        self.W = W = (r / s - r) / (G * G)
        L11 = with_diagonal(W @ outer(V), A @ V, U, point.ridge)
        L22 = with_diagonal(W.mT @ outer(U), A.mT @ U, V, point.ridge)
        root, _ = torch.linalg.cholesky_ex(L11)
        self.M = M = torch.linalg.solve_triangular(root, torch.eye(k, dtype=G.dtype, device=G.device).expand_as(L11), upper=False)
        # T = M C, with rows (x1, i) and columns (y, x2), is built in place; its square is what the elimination takes from L22
        E = W[:, :, None] * (M.reshape(batch, n1 * k, k) @ V.mT).view(batch, n1, k, n2)
        blocks = T.view(batch, n1, k, k, n2)
        torch.mul(E[..., None, :], U[:, :, None, :, None], out=blocks).addcmul_(A[:, :, None, None, :], M[..., None])
        torch.bmm(T.mT, T, out=S).neg_()
        S.view(batch, k, n2, k, n2).diagonal(dim1=2, dim2=4).add_(L22.permute(0, 2, 3, 1))
        self.factor, info = torch.linalg.cholesky_ex(S, out=(factor, info))
        self.sound = info == 0

    def solve(self, ra: Tensor, rb: Tensor, rg: Tensor, rc: Tensor) -> Direction:
        """The direction that removes, to first order, the residuals of a / U, b / V, g + s and r s."""
        U, V, r, s = self.point.U, self.point.V, self.point.r, self.point.s
        z = (rc + r * rg) / (s * self.G)
        h1, h2 = ra - z @ V, rb - z.mT @ U
        n = self.without_second(h1)
        h = h2 - (self.W * (n @ V.mT)).mT @ U - self.A.mT @ n
        h = torch.linalg.solve_triangular(self.factor, h.mT.flatten(1)[..., None], upper=False)
        v = torch.linalg.solve_triangular(self.factor.mT, h, upper=True).view_as(V.mT).mT
        Uv = U @ v.mT
        u = self.without_second(h1 - (self.W * Uv) @ V - self.A @ v)
        g = (u @ V.mT + Uv) / self.G
        ds = -rg - g
        return Direction(u * self.per_U, v * self.per_V, ds, (rc - r * ds) / s, g)

    def without_second(self, h: Tensor) -> Tensor:
        """L11^-1 h = M' M h, block by block."""
        return (self.M.mT @ (self.M @ h[..., None]))[..., 0]


def outer(U: Tensor) -> Tensor:
    """u u' of every row u, flat: [batch, n, k * k]."""
    return (U[..., :, None] * U[..., None, :]).flatten(2)


def with_diagonal(L: Tensor, mass: Tensor, U: Tensor, ridge: Tensor) -> Tensor:
    """Blocks L + diag(mass / U), a little raised; an unknown whose marginal is zero is held in its place."""
    L = L.unflatten(2, (U.shape[2], U.shape[2]))
    L.diagonal(dim1=2, dim2=3).add_(torch.where(U > 0, mass / U, STIFF)).mul_(1 + ridge)
    return L


def step(point: Point, G: Tensor, g: Tensor, A: Tensor, space: Workspace, least_centring: float = 0.0) -> Point:
    """One step of Mehrotra's predictor and corrector, whose correction is of second order in all four equations."""
    equations = Equations(point, G, A, space)
    U, V, s, r, cell = point.U, point.V, point.s, point.r, point.cell
    ra, rb, rg = point.a * equations.per_U - A @ V, point.b * equations.per_V - A.mT @ U, g + s
    ahead = equations.solve(ra, rb, rg, -r * s * cell)
    reach = room(point, ahead)
    tau = point.mean(r * s)
    left = point.mean((r + reach * ahead.r) * (s + reach * ahead.s))
    rc = ((left / tau).clamp(0, 1).pow(3).clamp_min(least_centring) * tau - r * s - ahead.r * ahead.s) * cell
    # what the whole predictor would leave behind is what it does not see
    U_new, V_new = moved(U, ahead.lam), moved(V, ahead.mu)
    G_new = point.pairs(U_new, V_new)
    A_new = (r + ahead.r) / G_new
    beyond_a = (point.a - U_new * (A_new @ V_new)) * equations.per_U
    beyond_b = (point.b - V_new * (A_new.mT @ U_new)) * equations.per_V
    move = equations.solve(ra + beyond_a, rb + beyond_b, rg + G_new.log() - g - ahead.g, rc)
    length = room(point, move)
    if (length < SHORT).any():
        plain = equations.solve(ra, rb, rg, rc)
        better = room(point, plain) > length
        move = Direction(*(torch.where(better, getattr(plain, f.name), getattr(move, f.name)) for f in fields(Direction)))
        length = room(point, move)
    return advance(point, move, tamed(point, g, move, STEP * length), equations.sound)


def room(point: Point, move: Direction) -> Float[Tensor, "batch 1 1"]:
    """The longest step, up to 1, that keeps slack and multiplier positive; 0 for a direction that is not finite."""
    blocked = torch.maximum((-move.s / point.s).amax((1, 2), keepdim=True), (-move.r / point.r).amax((1, 2), keepdim=True))
    return (1 / blocked.clamp_min(1)).nan_to_num_(0)


def tamed(point: Point, g: Tensor, move: Direction, length: Tensor) -> Float[Tensor, "batch 1 1"]:
    """The length, cut back where g would rise far above where it is and where its first order sees it."""
    for _ in range(CUTS):
        G = point.pairs(moved(point.U, length * move.lam), moved(point.V, length * move.mu))
        wild = ~((G.log_() - g - (length * move.g).clamp_min(0)).amax((1, 2), keepdim=True) <= RISE)
        if not wild.any():
            break
        length = torch.where(wild, CUT * length, length)
    return length


def moved(U: Tensor, change: Tensor) -> Tensor:
    """U after a change of its logarithm, exp(change) replaced by 1 + change above zero and by 1 / (1 - change) below.

    To first order they agree, but a value much too small to matter cannot run away in one step: this is what keeps tables robust
    whose masses span many orders of magnitude.
    """
    factor = 1 + change.abs()
    return torch.where(change < 0, U / factor, U * factor)


def advance(point: Point, move: Direction, length: Tensor, sound: Tensor) -> Point:
    """The point one step on; where that failed, the same point with a higher ridge. Every V is scaled to a largest value of 1."""
    U, V = moved(point.U, length * move.lam), moved(point.V, length * move.mu)
    scale = V.amax(1, keepdim=True).clamp_min(TINY)
    new = {"U": U * scale, "V": V / scale, "s": point.s + length * move.s, "r": point.r + length * move.r}
    for value in new.values():
        sound = sound & torch.isfinite(value).all(2).all(1)
    sound = sound[:, None, None]
    new = {name: torch.where(sound, value, getattr(point, name)) for name, value in new.items()}
    return replace(point, ridge=torch.where(sound, RIDGE, RIDGE_GROWTH * point.ridge), **new)
