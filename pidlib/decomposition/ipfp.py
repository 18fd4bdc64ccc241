"""Stage 1 of the solver: iterative proportional fitting (Banerjee et al. 2018, ISIT) by matrices.

A sweep is U = a / (A V), V = b / (A' U); the outer step is A = A * (U V'). The inner fitting is
never run to its end, because the next outer step makes up for it. Near the boundary of the
polytope the plain iteration is sublinear; momentum on log A, restarted whenever it points uphill,
reaches 1e-4 bits in a few hundred steps.

Momentum makes log U and log V oscillate. In large problems every second lower bound is therefore
that of their means, weighted as the steps add up to the change of log A, which settles.
"""

import math

import torch
from torch import Tensor
from torch.nn.functional import pad

from pidlib.decomposition.broja import TINY, Coupling, Incumbents, lower_bound, thin_product

# Least kernel, relative to p1 p2' and to the tolerance: momentum can never lose a cell.
FLOOR = 1e-2
# Sweeps of an outer step, and outer steps per additional sweep: momentum stalls if the fit lags.
SWEEPS, MORE_SWEEPS = 3, 20
CHECK_EVERY = 5  # outer steps; three times as many in float32, where the certificate is expensive
# Problems with many cells and a coarse tolerance are fitted in float32 and certified in float64.
# They continue in float64 if the gap falls to no less than STALL of its value PATIENCE checks ago.
SINGLE_CELLS, SINGLE_TOLERANCE = 200_000, 1e-4
PATIENCE, STALL = 10, 0.98
SINGLE_TINY = 1e-30  # in place of TINY
# There the fit lags the more, the larger the alphabets: outer steps times values in MORE_SWEEPS.
SINGLE_MORE_SWEEPS = 20_000
OMITTED = 0.2  # share of the first steps that the means of log U and log V leave out


def ipfp(a: Tensor, b: Tensor, tol: float = 1e-6, max_iterations: int = 1000) -> Coupling:
    """Fit couplings to pairs of marginals by warm-started sweeps; solved problems leave the batch.

    Parameters are those of `pidlib.decomposition.solve.solve`, unchecked, with at most
    `max_iterations` outer steps. Memory is n1 n2 + (n1 + n2) k per problem.
    """
    is_single = a.shape[1] * b.shape[1] > SINGLE_CELLS and tol >= SINGLE_TOLERANCE
    p, q = (t.float() if is_single else t for t in (a, b))
    check_every = CHECK_EVERY * (3 if is_single else 1)
    more_sweeps = SINGLE_MORE_SWEEPS / max(p.shape[1], q.shape[1]) if is_single else MORE_SWEEPS
    last, V = cold_start(a, b)
    floor = last + math.log(FLOOR * math.log(2) * tol)
    last, V, floor = (x.to(p.dtype) for x in (last, V, floor))
    ahead, A, G = last.clone(), torch.empty_like(last), torch.empty_like(last)
    age = p.new_zeros(len(a), 1, 1)
    active, best, done = torch.arange(len(a), device=a.device), Incumbents(a, b, tol), 0
    # sums of log U, log V and one by the momentum of log A: now, extrapolated, and at each check
    total = pad(torch.zeros_like(torch.cat([a, b], 1)), (0, 0, 0, 1))
    previous, total_ahead, totals, widths = total, total, [total], []
    for count in range(1, max_iterations + 1):
        torch.exp(ahead, out=A)
        sweeps = SWEEPS + int(count / more_sweeps)
        for _ in range(sweeps):
            U, V = fit(p, q, A, V)
        done += sweeps
        torch.bmm(U, V.mT, out=G)
        if is_single:
            potentials = torch.cat([U, V], 1).double().clamp_min_(TINY).log_()
            previous, total = total, total_ahead + pad(potentials, (0, 0, 0, 1), value=1)
        if count % check_every == 0 or count == max_iterations:
            factors = A.double(), U.double(), V.double()
            dual = factors[1:]
            if is_single:
                totals.append(total)
            if is_single and count % 2 == 0:
                change = total - totals[int(OMITTED * len(totals))]
                dual = (change[:, :-1] / change[:, -1:]).exp_().split([a.shape[1], b.shape[1]], 1)
            g = torch.bmm(dual[0], dual[1].mT).clamp_min_(TINY).log_()
            lower = lower_bound(a, b, *dual, g)
            passed = best.update(active, (a, b), factors, lower, done)
            if passed.all() or count == max_iterations:
                break
            if passed.any():
                state = (active, a, b, p, q, V, A, G, ahead, last, floor, age, previous, total)
                state, totals = ([x[~passed] for x in values] for values in (state, totals))
                active, a, b, p, q, V, A, G, ahead, last, floor, age, previous, total = state
            widths.append((best.upper - best.lower).max().item())
            overflow = is_single and not (U.isfinite().all() and V.isfinite().all())
            stalled = len(widths) > PATIENCE and widths[-1] > STALL * widths[-1 - PATIENCE]
            if is_single and (overflow or stalled):
                is_single, p, q, more_sweeps = False, a, b, MORE_SWEEPS
                state = (V, A, G, ahead, last, floor, age)
                V, A, G, ahead, last, floor, age = (x.double() for x in state)
                if overflow:
                    last, V = cold_start(a, b)
                    ahead, age = last.clone(), torch.zeros_like(age)
                    continue
        last, ahead, age = extrapolate(last, ahead, A, G, floor, age)
        total_ahead = total + (age / (age + 3)) * (total - previous)
    return best.coupling()


def cold_start(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Log of the kernel p1 p2' and the factor p(y | x2); empty rows and columns get TINY mass."""
    p1, p2 = a.sum(2), b.sum(2)
    log_A = p1.clamp_min(TINY).log()[:, :, None] + p2.clamp_min(TINY).log()[:, None, :]
    return log_A, b / p2.clamp_min(TINY)[..., None]


def fit(a: Tensor, b: Tensor, A: Tensor, V: Tensor) -> tuple[Tensor, Tensor]:
    """One sweep: fit the rows, then the columns, of every slice A * (U_y V_y')."""
    tiny = TINY if A.dtype == torch.float64 else SINGLE_TINY
    U = a / thin_product(A, V).clamp_min_(tiny)
    return U, b / thin_product(A.mT, U).clamp_min_(tiny)


def extrapolate(
    last: Tensor, ahead: Tensor, A: Tensor, G: Tensor, floor: Tensor, age: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Continue log A along its step by (t-1)/(t+2); restart at t=1 where the step went uphill."""
    mass = A.mul_(G)  # in place: allocating a large kernel takes longer than computing it
    gradient = G.clamp_min_(TINY if G.dtype == torch.float64 else SINGLE_TINY).log_()
    new = torch.maximum(ahead.add_(gradient), floor, out=ahead)
    step = last.neg_().add_(new)
    uphill = gradient.mul_(step).mul_(mass).sum((1, 2), keepdim=True) < 0
    age = torch.where(uphill, 0, age + 1)
    step = torch.maximum(step.mul_(age / (age + 3)).add_(new), floor, out=step)
    return new, step, age
