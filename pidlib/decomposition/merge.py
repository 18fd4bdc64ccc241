r"""Solutions for the alphabets of decisions, where rows are merged if there are too many of them.

Let F = f(X1) and G = g(X2) merge rows of the pair marginals. Then

    I*(Y; F, G)  <=  I*(Y; X1, X2)  <=  I*(Y; F, G) + I(Y; X1 | F) + I(Y; X2 | G).

Left: the image of a coupling of X1 and X2 is one of F and G, and has no more information. Right:
lift a coupling of F and G by P(x1 | f, y) and P(x2 | g, y). Both losses, I(Y; X1) - I(Y; F) and its
mirror, are sums over rows, which k-means under KL divergence makes small, without n1 n2 numbers.
"""

from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from pidlib._common import derive_seed
from pidlib.decomposition.broja import TINY, Coupling, information_shares
from pidlib.decomposition.marginals import divergence
from pidlib.decomposition.solve import CHUNK, Potentials, dual_bound, dual_potentials, solve

MERGE_CELLS = 25_000_000  # pairs of rows above which rows are merged
CLUSTERS, KMEANS_STEPS = 1000, 10  # per source


class Solution(NamedTuple):
    """Bounds of I_Q in bits, I_Q of each row of each source, and dual potentials in nats."""

    lower: float
    upper: float
    converged: bool
    local: list[Float[Tensor, " n"]]
    potentials: Potentials


def solve_rows(a: Tensor, b: Tensor, tol: float, device: torch.device) -> Solution:
    """Couple marginals [x1, k] and [x2, k], with rows merged above `MERGE_CELLS` pairs of them."""
    if len(a) * len(b) <= MERGE_CELLS:
        batch = a[None], b[None]
        coupling = solve(*(table.to(device) for table in batch), tol=tol)
        coupling = Coupling(*(values.cpu() for values in coupling))
        shares, potentials = information_shares(*batch, coupling), dual_potentials(*batch, coupling)
        local = [share[0] / t.sum(1) for share, t in zip(shares, (a, b), strict=True)]
        bounds = (values.item() for values in coupling[3:6])
        return Solution(*bounds, local, tuple(values[0] for values in potentials))
    target, tables, merged, beyond = a.sum(0), (a, b), [], []
    labels = [clusters(t, min(len(t), CLUSTERS)) for t in tables]
    for t, label in zip(tables, labels, strict=True):
        merged.append(_sums(t, label))
        # information of each row beyond that of its cluster
        beyond.append(divergence(t, target) - divergence(merged[-1], target)[label])
    loss = sum((t.sum(1) @ more).item() for t, more in zip(tables, beyond, strict=True))
    solved = solve_rows(*merged, max(tol, loss / 5) / 2, device)
    lower = max(solved.lower, dual_bound(a, b, target, solved.potentials).item())
    upper = solved.upper + max(loss, 0)
    local = []
    for t, iq, more, label in zip(tables, solved.local, beyond, labels, strict=True):
        iq = iq[label] + more
        local.append(iq + (upper - t.sum(1) @ iq))
    return Solution(lower, upper, upper - lower <= tol, local, solved.potentials)


def clusters(table: Float[Tensor, "n k"], count: int) -> Int[Tensor, " n"]:
    """At most `count` clusters of rows with little KL(row || mean of its cluster), weighted."""
    mass = table.sum(1, keepdim=True)
    generator = torch.Generator().manual_seed(derive_seed("clusters"))
    centers = (table / mass)[torch.multinomial(mass[:, 0], count, generator=generator)]
    for _ in range(KMEANS_STEPS):
        log_centers = centers.clamp(min=TINY).log().T
        label = torch.cat([(part @ log_centers).argmax(1) for part in table.split(CHUNK)])
        label = label.unique(return_inverse=True)[1]
        centers = _sums(table, label)
        centers = centers / centers.sum(1, keepdim=True)
    return label


def _sums(table: Float[Tensor, "n k"], label: Int[Tensor, " n"]) -> Float[Tensor, "m k"]:
    return table.new_zeros(int(label.max()) + 1, table.shape[1]).index_add_(0, label, table)
