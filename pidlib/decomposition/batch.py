r"""BATCH, the estimator of the paper: two networks learn the coupling of mini-batches.

For a batch of B samples, networks map x1 and x2 to one embedding of size d for each answer y; with
standardized e,

.. math:: c(a, b, y) = s_y(a)\, \exp(\langle e_1(a, y), e_2(b, y) \rangle / \sqrt d)\, t_y(b),

where Sinkhorn scalings s, t give each slice the row sums p(y | x1_a), column sums p(y | x2_b). The
networks minimize I_c(X2; Y | X1), which is I_Q - I(Y; X1) at the optimum. Standardized embeddings
bound the kernel, so however long it is trained, BATCH stays above the I_Q of `decision_pid`, which
it approaches with the width d: its unique atoms are too large, the others too small, by one amount.
(Liang et al., Quantifying & Modeling Multimodal Interactions, NeurIPS 2023, arXiv 2302.12247; Fang
et al., ICML 2026, arXiv 2606.00959.)
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from pidlib._common import derive_seed, single_thread
from pidlib.decomposition.atoms import atoms
from pidlib.decomposition.decisions import Decisions
from pidlib.decomposition.information import to_numpy
from pidlib.decomposition.marginals import RECONCILIATIONS, divergence

# Published: of Adam, of hidden layers (width, number), size of embeddings; of the Sinkhorn scaling.
LEARNING_RATE, HIDDEN, N_LAYERS, WIDTH = 1e-3, 32, 3, 10
SINKHORN_ITERATIONS, SINKHORN_TOLERANCE = 500, 0.01
STALLED = 1e-5  # change of the scalings below which targets of different totals get no nearer

Network = list[tuple[Tensor, Tensor]]  # weight and bias of each layer


@dataclass(frozen=True, eq=False)
class BatchEstimate:
    """Atoms of `batch_pid` by name, in bits; not clamped at zero, unlike the published ones."""

    atoms: Mapping[str, float]  # means over the batches
    spread: Mapping[str, float]  # their standard deviation, without the error of the training
    # means at each row over the batches with that row (NaN if there is none), and its occurrences
    local: Mapping[str, Float[np.ndarray, " rows"]] = field(repr=False)
    occurrences: Int[np.ndarray, " rows"] = field(repr=False)


def batch_pid(
    decisions: Decisions,
    *,
    embeddings: Mapping[str, Float[np.ndarray, "rows d"]] | None = None,
    n_batches: int = 50,
    batch_size: int = 256,
    epochs: int = 8,
    seed: int = 0,
    width: int = WIDTH,
) -> BatchEstimate:
    """Estimate the decomposition of predictive distributions from random batches, by training.

    Rows are drawn by their weights. `embeddings` are the inputs of the networks, [rows, d] by
    source; p(y | value) by default. `n_batches` are averaged after training by Adam, with
    `batch_size` and `epochs` as published by default; an epoch holds every sample once. `width` is
    the size d of the embeddings. The two targets of a batch are reconciled as the decisions say;
    published ones were not (``"none"``). Raises ValueError if embeddings do not fit.
    """
    if min(n_batches, batch_size, epochs, width) < 1:
        raise ValueError(f"{n_batches=}, {batch_size=}, {epochs=}, {width=}: at least 1 each")
    inputs = [torch.from_numpy(x.astype(np.float32)) for x in inputs_of(decisions, embeddings)]
    n_rows, k = decisions.joint.shape
    generator = torch.Generator().manual_seed(derive_seed("batch_estimator", seed))
    networks = [_network([x.shape[1], *[HIDDEN] * N_LAYERS, width * k], generator) for x in inputs]
    parameters = [p for network in networks for layer in network for p in layer]
    optimizer = torch.optim.Adam(parameters, lr=LEARNING_RATE)
    size = min(batch_size, n_rows)
    names, reads = tuple(decisions.sources), []
    summed = torch.zeros(n_rows, 4, dtype=torch.float64)
    occurrences = torch.zeros(n_rows, dtype=torch.int64)
    reconcile = RECONCILIATIONS.get(decisions.reconciliation)

    def draw() -> tuple[Tensor, ...]:
        """Rows of a batch, p(y | x1) and p(y | x2) with its mean p(y | v, t), coupling."""
        rows = _draw(decisions.weights, size, generator)
        target = torch.as_tensor(decisions.joint[rows]).mean(0)
        pair = torch.stack([torch.as_tensor(table[rows]) for table in decisions.unimodal.values()])
        if reconcile:
            pair = size * reconcile(pair / size, target.expand(2, -1))
        return rows, *pair.float(), _coupling(networks, [x[rows] for x in inputs], *pair.float())

    with single_thread():
        for _ in range(epochs * math.ceil(len(np.unique(decisions.groups)) / size)):
            coupling = draw()[-1]
            loss = _terms(coupling).sum() / coupling.sum()  # I(X2; Y | X1)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        with torch.no_grad():
            for _ in range(n_batches):
                rows, a, b, coupling = draw()
                joint = torch.as_tensor(decisions.joint[rows])
                local = [divergence(t, joint.mean(0)) for t in (a.double(), b.double(), joint)]
                i1, i2, i12 = (t.mean().item() for t in local)
                iq = i1 + (_terms(coupling).sum() / coupling.sum()).item()
                reads.append(list(atoms(names, i1, i2, i12, iq).values()))
                shares = _shares(coupling, *local[:2], iq)
                terms = torch.stack(list(atoms(names, *local, shares).values()), 1)
                summed.index_add_(0, rows, terms)
                occurrences += rows.bincount(minlength=n_rows)
    local = (summed / occurrences[:, None]).T.numpy()
    values = np.mean(reads, axis=0).tolist(), np.std(reads, axis=0).tolist(), local
    by_atom = (dict(zip(atoms(names, 0, 0, 0, 0), each, strict=True)) for each in values)
    return BatchEstimate(*by_atom, occurrences=occurrences.numpy())


def inputs_of(decisions: Decisions, embeddings: Mapping[str, np.ndarray] | None) -> list:
    """The embeddings [rows, d] of both sources, or else their rows; ValueError unless they fit."""
    given, inputs = decisions.unimodal if embeddings is None else embeddings, []
    if set(given) != set(decisions.sources):
        text = f"embeddings of {', '.join(given)} for sources {', '.join(decisions.sources)}"
        raise ValueError(f"{text}: give one array for each by name")
    for name in decisions.sources:
        x = to_numpy(given[name], f"the embeddings of {name!r}").astype(np.float64)
        if x.ndim != 2 or len(x) != len(decisions) or not np.isfinite(x).all():
            text = f"embeddings of {name!r}, {x.shape}, must be finite, one row for each of"
            raise ValueError(f"{text} {len(decisions)} decisions")
        inputs.append(x)
    return inputs


def _network(sizes: list[int], generator: torch.Generator) -> Network:
    """Weights and biases, uniform within 1 / sqrt(fan in), drawn from `generator`."""
    network = []
    for n_in, n in pairwise(sizes):
        drawn = (2 * torch.rand(shape, generator=generator) - 1 for shape in ((n, n_in), (n,)))
        network.append(tuple((part / math.sqrt(n_in)).requires_grad_() for part in drawn))
    return network


def _draw(weights: np.ndarray, size: int, generator: torch.Generator) -> Int[Tensor, " size"]:
    """Systematic draw in random order: row m occurs size * w_m times, rounded up or down."""
    order = torch.randperm(len(weights), generator=generator)
    cumulative = torch.as_tensor(weights)[order].cumsum(0)
    offset = torch.rand(1, generator=generator, dtype=torch.float64)
    ticks = (torch.arange(size) + offset) / size * cumulative[-1]
    return order[torch.searchsorted(cumulative, ticks).clamp(max=len(order) - 1)]


def _coupling(networks: list[Network], inputs: list[Tensor], a: Tensor, b: Tensor) -> Tensor:
    """Coupling [size, size, k] of rows a and b, [size, k]."""
    k = a.shape[1]
    e1, e2 = (_embed(network, x, k) for network, x in zip(networks, inputs, strict=True))
    kernel = torch.exp(torch.einsum("ayd,byd->yab", e1, e2) / math.sqrt(e1.shape[-1]))
    a, b = a.T[..., None], b.T[..., None]
    s, t = torch.ones_like(a), b / kernel.sum(1)[..., None]
    for _ in range(SINKHORN_ITERATIONS):
        rows, before = kernel @ t, s
        if (s * rows - a).detach().abs().max() <= SINKHORN_TOLERANCE:
            break
        s = a / rows.clamp(min=1e-30)
        s = s / s.amax(1, keepdim=True).clamp(min=1e-30)  # else both drift where totals differ
        t = b / (kernel.mT @ s).clamp(min=1e-30)
        if (s - before).detach().abs().max() <= STALLED:
            break
    return (s * kernel * t.mT).permute(1, 2, 0)


def _embed(network: Network, x: Float[Tensor, "size d"], k: int) -> Float[Tensor, "size k w"]:
    *hidden, last = network
    for weight, bias in hidden:
        x = torch.relu(x @ weight.T + bias)
    e = (x @ last[0].T + last[1]).unflatten(1, (k, -1))
    return (e - e.mean(-1, keepdim=True)) / torch.sqrt(e.var(-1, keepdim=True) + 1e-8)


def _terms(coupling: Float[Tensor, "a b k"]) -> Float[Tensor, "a b k"]:
    """Terms of I(X2; Y | X1) of a coupling, in bits, times its mass."""
    q = coupling.detach()  # the derivatives of the logarithms add up to zero
    of_pair, of_row = q.sum(2, keepdim=True), q.sum(1, keepdim=True)
    ratio = q * of_row.sum(2, keepdim=True) / (of_pair * of_row).clamp(min=1e-30)
    return coupling * torch.log2(ratio.clamp(min=1e-30))


def _shares(coupling: Tensor, i1: Tensor, i2: Tensor, iq: float) -> Float[Tensor, " size"]:
    """Share of each place of a batch in I_Q, the mean of both chain rules shifted to mean `iq`."""
    by_row, by_column = (
        len(i1) * _terms(q).double().sum((1, 2)) / q.sum()
        for q in (coupling, coupling.transpose(0, 1))
    )
    shares = (i1 + by_row + i2 + by_column) / 2
    return shares + (iq - shares.mean())
