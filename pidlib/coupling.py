"""One pair of marginals, coupled by the stage that its size affords, and the price of others near to it."""

import math
from dataclasses import fields

import torch
from jaxtyping import Float
from torch import Tensor

from pidlib.ipfp import TINY, Coupling, ipfp, sweep
from pidlib.newton import newton

# The largest n1 n2^2 k^3, the order of one step of stage 2, that is sent there: 500 values a source with k = 4 on a CPU, in 10 seconds.
NEWTON_WORK = {"cpu": 1e10, "cuda": 1e13}

Prices = tuple[Float[Tensor, "x1 k"], Float[Tensor, "x2 k"]]


def couple(a: Float[Tensor, "x1 k"], b: Float[Tensor, "x2 k"], tol: float = 1e-6, max_iterations: int = 1000) -> Coupling:
    """Couple P(x1, y) and P(x2, y): by stage 2, or by stage 1 alone where the alphabets are large or stage 2 falls short.

    Parameters
    ----------
    a, b
        Pair marginals of one problem, [n, k], with one P(y); computed where they are.
    tol
        Certified gap asked for, in bits.
    max_iterations
        Outer steps of stage 1.

    Returns
    -------
    Coupling
        A batch of one, on the CPU.
    """
    a, b = a[None], b[None]
    (_, n1, k), n2 = a.shape, b.shape[1]
    made = []
    if max(n1, n2) * min(n1, n2) ** 2 * k**3 <= NEWTON_WORK[a.device.type]:
        # stage 2 eliminates the first source, which should be the larger
        made.append(newton(a, b, tol=tol) if n1 >= n2 else _swapped(newton(b, a, tol=tol)))
    if not made or not made[0].converged:
        made.append(ipfp(a, b, tol=tol, max_iterations=max_iterations))
    best = min(made, key=lambda coupling: coupling.gap.item())
    return Coupling(*(getattr(best, field.name).cpu() for field in fields(Coupling)))


def dual_prices(a: Float[Tensor, "x1 k"], b: Float[Tensor, "x2 k"], coupling: Coupling) -> Prices:
    """A feasible dual point of the problem in `pidlib.ipfp`: lam, mu in nats with sum_y exp(lam + mu) <= 1 for all pairs.

    What cannot happen has the price of next to nothing.
    """
    U, V, G = sweep(a[None], b[None], coupling.A, coupling.V)
    g = G[0].clamp(min=TINY).log()
    alpha = g.amax(1, keepdim=True)
    return U[0].clamp(min=TINY).log() - alpha, V[0].clamp(min=TINY).log() - (g - alpha).amax(0)[:, None]


def priced(
    a: Float[Tensor, "*draws x1 k"], b: Float[Tensor, "*draws x2 k"], target: Float[Tensor, "*draws k"], prices: Prices
) -> Float[Tensor, "*draws"]:
    """A lower bound, in bits, of I_Q for these marginals, by the prices of others with the same values of X1 and X2.

    I_Q >= H(Y) + <a, lam> + <b, mu>. Every price row of one source is feasible with every one of the other, so each value takes the
    row that is best for it. The bound is exact, up to the gap, at the marginals the prices are from, and to first order around them.
    """
    value = sum((table @ price.T).amax(-1).sum(-1) for table, price in zip((a, b), prices, strict=True))
    return (value - torch.xlogy(target, target).sum(-1)) / math.log(2)


def _swapped(c: Coupling) -> Coupling:
    return Coupling(c.A.mT, c.V, c.U, c.lower, c.upper, c.sweeps, c.converged)
