r"""Stage 2 of the solver: a batched primal-dual Newton method for the last digits.

The dual of the problem in `pidlib.decomposition.broja` is

    max <a, lam> + <b, mu>  over lam(x1, y), mu(x2, y)  with  g = log sum_y exp(lam + mu) <= 0.

With a slack s > 0 and a multiplier r > 0 for each pair (x1, x2), which is the marginal q12 of the
coupling, the solution satisfies

    a = sum_x2 r p,  b = sum_x1 r p,  g + s = 0,  r s = tau -> 0,  with p = exp(lam + mu - g).

We store U = exp(lam) and V = exp(mu). With G = U V' and A = r / G the coupling is r p = A U V, in
the factors of stage 1. With W = (r/s - r) / G^2, Newton's equations without ds and dr, in the
unknowns U dlam and V dmu, have the blocks

    L11 = sum_x2 W V V' + diag(A V / U), L22 = sum_x1 W U U' + diag(A' U / V), C = W V U' + diag(A).

L11 has a k x k block for each x1. Eliminating it leaves the Schur complement S = L22 - C' L11^-1 C
of order n2 k, so the first source should be the larger one. (Mehrotra 1992, On the implementation
of a primal-dual interior point method, SIAM J. Optim. 2(4); Makkeh, Theis, Vicente 2018,
BROJA-2PID, Entropy 20(4).)
"""

import math
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from pidlib.decomposition.broja import TINY, Coupling, Incumbents, lower_bound, thin_product
from pidlib.decomposition.ipfp import cold_start, fit

WARM_SWEEPS = 25  # of stage 1; they make the start robust
LEAST_SLACK = 0.02  # of the start, in nats
CENTERED = 0.1  # least product r s of the start, relative to its mean
STEP = 0.995  # fraction of the way to the boundary
SHORT = 0.3  # below this length a second-order direction competes with the first-order one
# After PATIENCE steps tau falls by no more than the factor CENTERING per step.
PATIENCE, CENTERING = 10, 0.3
RISE = 3.0  # nats by which g may exceed both its value and its first-order forecast
CUT, CUTS = 0.4, 6  # factor by which a step is shortened, and how often at most
RIDGE = 1e-13  # relative to the diagonals before elimination, where rounding errors arise
RIDGE_GROWTH = 100.0  # after a failed factorization
STIFF = 1e200  # diagonal of an unknown whose marginal is zero
# Entries of the largest array over all problems at once; on a CPU it should fit the cache.
CHUNK = {"cpu": 2**19, "cuda": 2**28}
Space = tuple[Tensor, Tensor, Tensor, Tensor]


class Point(NamedTuple):
    """A batch of problems, each with its primal-dual point."""

    a: Float[Tensor, "batch x1 y"]
    b: Float[Tensor, "batch x2 y"]
    cell: Float[Tensor, "batch x1 x2"]  # 0 where x1 and x2 share no y of positive mass
    rest: Float[Tensor, "batch x1 x2"]  # makes g = -1 there, with s = r = 1
    U: Float[Tensor, "batch x1 y"]
    V: Float[Tensor, "batch x2 y"]
    s: Float[Tensor, "batch x1 x2"]
    r: Float[Tensor, "batch x1 x2"]
    ridge: Float[Tensor, "batch 1 1"]

    def pairs(self, U: Tensor, V: Tensor) -> Float[Tensor, "batch x1 x2"]:
        """G = U V' in active cells."""
        return torch.bmm(U, V.mT).add_(self.rest).clamp_min_(TINY)

    def mean(self, product: Float[Tensor, "batch x1 x2"]) -> Float[Tensor, "batch 1 1"]:
        """Mean over the active cells."""
        return (product * self.cell).sum((1, 2), keepdim=True) / self.cell.sum((1, 2), keepdim=True)

    def moved(self, move: "Direction", length: Tensor | int) -> list[Tensor]:
        """U and V after a step, exp(c) replaced by 1 + c above 0 and 1 / (1 - c) below."""
        changes = (self.U, length * move.lam), (self.V, length * move.mu)
        return [torch.where(c < 0, t / (1 + c.abs()), t * (1 + c.abs())) for t, c in changes]


class Direction(NamedTuple):
    """Changes of lam, mu, s and r, and the first-order change of g."""

    lam: Float[Tensor, "batch x1 y"]
    mu: Float[Tensor, "batch x2 y"]
    s: Float[Tensor, "batch x1 x2"]
    r: Float[Tensor, "batch x1 x2"]
    g: Float[Tensor, "batch x1 x2"]


def newton(a: Tensor, b: Tensor, tol: float = 1e-6, max_iterations: int = 60) -> Coupling:
    """Couple pairs of marginals by the primal-dual Newton method, the larger source first.

    Parameters are those of `pidlib.decomposition.solve.solve`, unchecked; 2 to 12 steps are
    typical. A step costs n1 n2^2 k^3 operations per problem and (n1 + n2) n2 k^2 of memory. Below a
    tolerance of about 1e-7, rounding may leave tables near the boundary of the simplex unconverged.
    """
    best = Incumbents(a, b, tol)
    size = a.shape[2] ** 2 * b.shape[1] * max(a.shape[1], b.shape[1])
    chunk = max(1, CHUNK[a.device.type] // size)
    for rows in torch.arange(len(a), device=a.device).split(chunk):
        point, space = start(a[rows], b[rows]), workspace(a[rows], b[rows])
        for count in range(max_iterations + 1):
            G = point.pairs(point.U, point.V)
            g, A = G.log(), point.r / G
            # a sweep of stage 1 removes the residual of the step
            factors = A, *fit(point.a, point.b, A, point.V)
            lower = lower_bound(point.a, point.b, point.U, point.V, g)
            passed = best.update(rows, (point.a, point.b), factors, lower, WARM_SWEEPS + count)
            if passed.all() or count == max_iterations:
                break
            if passed.any():
                rows, G, g, A = (values[~passed] for values in (rows, G, g, A))
                point = Point(*(values[~passed] for values in point))
            point = point._replace(s=torch.maximum(point.s, -g))
            point = step(point, G, g, A, space, 0.0 if count < PATIENCE else CENTERING)
    return best.coupling()


def start(a: Tensor, b: Tensor) -> Point:
    """Return a well-centered point after a few plain sweeps of stage 1."""
    log_A, V = cold_start(a, b)
    A = log_A.exp()
    for _ in range(WARM_SWEEPS):
        U, V = fit(a, b, A, V)
        G = torch.bmm(U, V.mT)
        A = A.mul_(G)
    empty = ~(G > 0)
    s = G.clamp_min(TINY).log_().neg_().masked_fill_(empty, 1).clamp_min_(LEAST_SLACK)
    cell, ridge = (~empty).to(a.dtype), a.new_full((len(a), 1, 1), RIDGE)
    point = Point(a, b, cell, (1 - cell) / math.e, U, V, s, A, ridge)
    r = torch.maximum(A, CENTERED * point.mean(A * s) / s).masked_fill_(empty, 1)
    return point._replace(r=r)


def workspace(a: Tensor, b: Tensor) -> Space:
    """T, S, its factor (column-major as in LAPACK), status; made once, as fresh pages are slow."""
    order = b.shape[1] * b.shape[2]
    S = a.new_empty(len(a), order, order)
    T, info = a.new_empty(len(a), a[0].numel(), order), a.new_empty(len(a), dtype=torch.int32)
    return T, S, torch.empty_like(S).mT, info


class Equations:
    """Newton's equations at a point, factorized once for all right-hand sides."""

    def __init__(self, point: Point, G: Tensor, A: Tensor, space: Space):
        self.point, self.G, self.A = point, G, A
        U, V, r, s = point.U, point.V, point.r, point.s
        (batch, n1, k), n2 = U.shape, V.shape[1]
        T, S, factor, info = (array[:batch] for array in space)
        self.per_U, self.per_V = (1 / U).masked_fill_(U <= 0, 0), (1 / V).masked_fill_(V <= 0, 0)
        self.AV, self.AU = thin_product(A, V), thin_product(A.mT, U)
        self.W = W = (r / s - r) / (G * G)
        L11 = with_diagonal(torch.bmm(W, outer(V)), self.AV, U, point.ridge)
        L22 = with_diagonal(torch.bmm(W.mT, outer(U)), self.AU, V, point.ridge)
        root, _ = torch.linalg.cholesky_ex(L11)
        identity = torch.eye(k, dtype=G.dtype, device=G.device).expand_as(L11)
        self.M = M = torch.linalg.solve_triangular(root, identity, upper=False)
        # T = M C, with rows (x1, i) and columns (y, x2), is built in place; T' T is subtracted
        E = W[:, :, None] * torch.bmm(M.reshape(batch, n1 * k, k), V.mT).view(batch, n1, k, n2)
        blocks = T.view(batch, n1, k, k, n2)
        torch.mul(E[..., None, :], U[:, :, None, :, None], out=blocks)
        blocks.addcmul_(A[:, :, None, None, :], M[..., None])
        torch.bmm(T.mT, T, out=S).neg_()
        S.view(batch, k, n2, k, n2).diagonal(dim1=2, dim2=4).add_(L22.permute(0, 2, 3, 1))
        self.factor, info = torch.linalg.cholesky_ex(S, out=(factor, info))
        self.sound = info == 0

    def solve(self, ra: Tensor, rb: Tensor, rg: Tensor, rc: Tensor) -> Direction:
        """The direction that removes the residuals of a / U, b / V, g + s, r s to first order."""
        U, V, r, s = self.point.U, self.point.V, self.point.r, self.point.s
        z = (rc + r * rg) / (s * self.G)
        h1, h2 = ra - torch.bmm(z, V), rb - torch.bmm(z.mT, U)
        n = self.apply_inverse(h1)
        h = h2 - torch.bmm((self.W * torch.bmm(n, V.mT)).mT, U) - torch.bmm(self.A.mT, n)
        h = torch.linalg.solve_triangular(self.factor, h.mT.flatten(1)[..., None], upper=False)
        v = torch.linalg.solve_triangular(self.factor.mT, h, upper=True).view_as(V.mT).mT
        Uv = torch.bmm(U, v.mT)
        u = self.apply_inverse(h1 - torch.bmm(self.W * Uv, V) - torch.bmm(self.A, v))
        g = torch.bmm(u, V.mT).add_(Uv).div_(self.G)
        ds = -rg - g
        return Direction(u * self.per_U, v * self.per_V, ds, (rc - r * ds) / s, g)

    def apply_inverse(self, h: Tensor) -> Tensor:
        """L11^-1 h = M' M h, block by block."""
        return (self.M.mT @ (self.M @ h[..., None]))[..., 0]


def outer(U: Tensor) -> Tensor:
    """u u' of every row u, flat: [batch, n, k * k]."""
    return (U[..., :, None] * U[..., None, :]).flatten(2)


def with_diagonal(L: Tensor, mass: Tensor, U: Tensor, ridge: Tensor) -> Tensor:
    """Blocks L + diag(mass / U) with a ridge; unknowns whose marginal is zero are held fixed."""
    L = L.unflatten(2, (U.shape[2], U.shape[2]))
    diagonal = L.diagonal(dim1=2, dim2=3)
    diagonal.add_((mass / U).masked_fill_(~(U > 0), STIFF)).mul_(1 + ridge)
    return L


def step(point: Point, G: Tensor, g: Tensor, A: Tensor, space: Space, least: float) -> Point:
    """Take a second-order step of Mehrotra's predictor-corrector, to `least` times tau or more."""
    equations = Equations(point, G, A, space)
    s, r, cell = point.s, point.r, point.cell
    ra = point.a * equations.per_U - equations.AV
    rb = point.b * equations.per_V - equations.AU
    rg, tau = g + s, point.mean(r * s)
    predictor = equations.solve(ra, rb, rg, -r * s * cell)
    reach = max_step(point, predictor)
    left = point.mean((r + reach * predictor.r) * (s + reach * predictor.s))
    centering = (left / tau).clamp(0, 1).pow(3).clamp_min(least)
    rc = (centering * tau - r * s - predictor.r * predictor.s) * cell
    # the residual that the full predictor step leaves is its second-order error
    U, V = point.moved(predictor, 1)
    G_new = point.pairs(U, V)
    A_new = (r + predictor.r) / G_new
    error_a = (point.a - U * torch.bmm(A_new, V)) * equations.per_U
    error_b = (point.b - V * torch.bmm(A_new.mT, U)) * equations.per_V
    error_g = rg + G_new.log() - g - predictor.g
    move = equations.solve(ra + error_a, rb + error_b, error_g, rc)
    length = max_step(point, move)
    if (length < SHORT).any():
        plain = equations.solve(ra, rb, rg, rc)
        better = max_step(point, plain) > length
        pairs = zip(plain, move, strict=True)
        move = Direction(*(torch.where(better, first, second) for first, second in pairs))
        length = max_step(point, move)
    return advance(point, move, limit_step(point, g, move, STEP * length), equations.sound)


def max_step(point: Point, move: Direction) -> Float[Tensor, "batch 1 1"]:
    """The longest step up to 1 that keeps s and r positive; 0 where the move is not finite."""
    pairs = (move.s, point.s), (move.r, point.r)
    ratios = [(-change / value).amax((1, 2), keepdim=True) for change, value in pairs]
    return (1 / torch.maximum(*ratios).clamp_min(1)).nan_to_num_(0)


def limit_step(point: Point, g: Tensor, move: Direction, length: Tensor) -> Tensor:
    """Shorten the step where g would rise far above both its value and its forecast."""
    for _ in range(CUTS):
        G = point.pairs(*point.moved(move, length))
        rise = (G.log_() - g - (length * move.g).clamp_min(0)).amax((1, 2), keepdim=True)
        wild = ~(rise <= RISE)  # NaN included
        if not wild.any():
            break
        length = torch.where(wild, CUT * length, length)
    return length


def advance(point: Point, move: Direction, length: Tensor, sound: Tensor) -> Point:
    """Move the point, with every V scaled to a maximum of 1; a failed step raises the ridge."""
    U, V = point.moved(move, length)
    scale = V.amax(1, keepdim=True).clamp_min(TINY)
    s, r = point.s + length * move.s, point.r + length * move.r
    new = {"U": U * scale, "V": V / scale, "s": s, "r": r}
    for value in new.values():
        sound = sound & torch.isfinite(value).all(2).all(1)
    sound = sound[:, None, None]
    new = {name: torch.where(sound, value, getattr(point, name)) for name, value in new.items()}
    return point._replace(ridge=torch.where(sound, RIDGE, RIDGE_GROWTH * point.ridge), **new)
