r"""BATCH, the estimator the paper used: two networks learn the coupling of a mini-batch.

For a batch of B samples, networks map x1 and x2 to one embedding of size d for each answer y; with e standardised,

.. math:: c(a, b, y) = s_y(a)\, \exp(\langle e_1(a, y), e_2(b, y) \rangle / \sqrt d)\, t_y(b),

where Sinkhorn scalings s, t give each slice the row sums p(y | x1_a) and column sums p(y | x2_b). The networks descend on
I_c(X2; Y | X1), which is I_Q - I(Y; X1) at the optimum; atoms are read from random batches and averaged.

It stands beside the exact solver of `decisions`, which finds the same minimum without network, batch or seed. With the published
training it is far from that: on 256 samples of soft answers, k = 4 (v, t normal with deviation 1.5; softmax of v, of t, of v + t), exact
R = .59, U = .01 and .09, S = .15 bits, it gives

- 8 epochs of batches of 256, that is 8 steps: R = .21, U = .40 and .48, S = -.24;
- 20 epochs of batches of 64, that is 80 steps: R = .44, U = .16 and .24, S = -.00;
- 60 epochs of batches of 256, that is 60 steps: R = .43, U = .17 and .26, S = -.02.

Too few steps leave I_Q too large, so both unique atoms are too large and redundancy and synergy too small by the same amount.

References
----------
Liang et al., Quantifying & Modeling Multimodal Interactions, NeurIPS 2023, arXiv 2302.12247.
Fang et al., Towards Understanding Modality Interaction in Multimodal Language Models via PID, ICML 2026, arXiv 2606.00959.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from pidlib.decisions import Decisions
from pidlib.experiment import derive_seed
from pidlib.marginals import divergence, reconcile

SINKHORN_ITERATIONS, SINKHORN_TOLERANCE = 500, 0.01


@dataclass(frozen=True, eq=False)
class BatchEstimate:
    """Atoms of `batch_pid`, in bits.

    Attributes
    ----------
    sources
        Their names.
    unclamped
        Means over the batches.
    atoms
        The same clamped at zero, as published. They no longer sum to the information.
    spread
        Standard deviation over the batches. It belongs to `unclamped`: an interval stands around that mean, and where the mean is
        negative the clamped atom can lie outside of it. Zero where one batch holds all samples, whatever the error of the training.
    residual
        The largest distance of a row of a coupling from its p(y | x1) after the last Sinkhorn step.
    reconciliation
        For each source the mean total variation by which its rows were moved to the P(Y) of their batch.
    losses
        I_c(X2; Y | X1) along the training.
    local
        Each atom's value at each row, in bits, as `pidlib.decisions.DecisionPID` has it: the mean over the batches in which the row
        occurs; NaN where it occurs in none. Weighted by `occurrences` their means are `unclamped`.
    occurrences
        How many places each row had in the batches that were averaged.
    """

    sources: tuple[str, str]
    atoms: Mapping[str, float]
    unclamped: Mapping[str, float]
    spread: Mapping[str, float]
    residual: float
    reconciliation: Mapping[str, float]
    losses: Float[np.ndarray, " steps"]
    local: Mapping[str, Float[np.ndarray, " rows"]]
    occurrences: Int[np.ndarray, " rows"]


def batch_pid(
    decisions: Decisions,
    *,
    embeddings: Mapping[str, Float[np.ndarray, "rows d"]] | None = None,
    n_batches: int = 50,
    batch_size: int = 256,
    epochs: int = 8,
    learning_rate: float = 1e-3,
    hidden: int = 32,
    n_layers: int = 3,
    width: int = 10,
    seed: int = 0,
) -> BatchEstimate:
    """Estimate the decomposition of predictive distributions from random batches.

    Parameters
    ----------
    decisions
        Rows p(y | v, t), p(y | v) and p(y | t) with their weights.
    embeddings
        What the networks see of each source, [rows, d] by name: pooled embeddings. The source rows when left out.
    n_batches
        Batches that are averaged after training.
    batch_size, epochs, learning_rate, hidden, n_layers, width
        Training, by Adam, of two perceptrons of `n_layers` hidden layers and ReLU; `width` is d. An epoch is as many
        batches as hold every sample once. The defaults are the published ones.
    seed
        Of initial weights and batches.

    Raises
    ------
    ValueError
        If the embeddings do not fit the decisions.

    Notes
    -----
    Batches are drawn by weight. Published code leaves the two Sinkhorn targets of a batch with different column totals;
    here both are reconciled to the batch mean of p(y | v, t), which is also the P(Y) of its information terms.
    """
    inputs = _inputs(decisions, embeddings)
    n_rows, k = decisions.joint.shape
    generator = torch.Generator().manual_seed(derive_seed("batch_estimator", seed))
    networks = [_network([x.shape[1], *[hidden] * n_layers, width * k], generator) for x in inputs]
    optimiser = torch.optim.Adam([parameter for network in networks for layer in network for parameter in layer], lr=learning_rate)
    size = min(batch_size, n_rows)
    losses = []
    for _ in range(epochs * math.ceil(len(np.unique(decisions.groups)) / size)):
        rows = _draw(decisions.weights, size, generator)
        a, b, _ = _targets(decisions, rows)
        loss = _conditional_information(_coupling(networks, [x[rows] for x in inputs], a, b, width))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())

    reads, residual, moved = [], 0.0, []
    summed, occurrences = torch.zeros(n_rows, 4, dtype=torch.float64), torch.zeros(n_rows, dtype=torch.int64)
    with torch.no_grad():
        for _ in range(n_batches):
            rows = _draw(decisions.weights, size, generator)
            a, b, distances = _targets(decisions, rows)
            coupling = _coupling(networks, [x[rows] for x in inputs], a, b, width)
            joint = torch.as_tensor(decisions.joint[rows])
            local = [divergence(t, joint.mean(0)) for t in (a.double(), b.double(), joint)]
            i1, i2, i12 = (t.mean().item() for t in local)
            iq = i1 + _conditional_information(coupling).item()
            reads.append(_atoms(i1, i2, i12, iq))
            shares = _shares(coupling, *local[:2], iq)
            summed.index_add_(0, rows, torch.stack(_atoms(*local, shares), 1))
            occurrences += rows.bincount(minlength=n_rows)
            residual = max(residual, (coupling.sum(1) - a).abs().max().item())
            moved.append(distances)
    reads = np.array(reads)
    first, second = decisions.sources
    names = ("redundancy", f"unique_{first}", f"unique_{second}", "synergy")
    mean, spread = reads.mean(0), reads.std(0)
    return BatchEstimate(
        sources=(first, second),
        atoms=dict(zip(names, np.maximum(mean, 0).tolist(), strict=True)),
        unclamped=dict(zip(names, mean.tolist(), strict=True)),
        spread=dict(zip(names, spread.tolist(), strict=True)),
        residual=residual,
        reconciliation=dict(zip((first, second), np.mean(moved, axis=0).tolist(), strict=True)),
        losses=np.array(losses),
        local=dict(zip(names, (summed / occurrences[:, None]).T.numpy(), strict=True)),
        occurrences=occurrences.numpy(),
    )


def _inputs(decisions: Decisions, embeddings: Mapping[str, Float[np.ndarray, "rows d"]] | None) -> list[Float[Tensor, "rows d"]]:
    given = decisions.sources if embeddings is None else embeddings
    if set(given) != set(decisions.sources):
        raise ValueError(f"embeddings of {', '.join(given)} for sources {', '.join(decisions.sources)}: give one array for each by name")
    inputs = [torch.as_tensor(np.asarray(given[name]), dtype=torch.float32) for name in decisions.sources]
    for name, x in zip(decisions.sources, inputs, strict=True):
        if x.ndim != 2 or len(x) != len(decisions) or not x.isfinite().all():
            raise ValueError(f"embeddings of {name!r}, {tuple(x.shape)}, must be finite, one row for each of {len(decisions)} decisions")
    return inputs


def _network(sizes: list[int], generator: torch.Generator) -> list[tuple[Tensor, Tensor]]:
    """Weights and biases, uniform within 1 / sqrt(fan in), drawn from `generator` so that no global state is touched."""
    shapes = [((n_out, n_in), (n_out,)) for n_in, n_out in zip(sizes, sizes[1:], strict=False)]
    draw = [tuple((2 * torch.rand(shape, generator=generator) - 1) / math.sqrt(pair[0][1]) for shape in pair) for pair in shapes]
    return [(weight.requires_grad_(), bias.requires_grad_()) for weight, bias in draw]


def _draw(weights: Float[np.ndarray, " rows"], size: int, generator: torch.Generator) -> Int[Tensor, " size"]:
    """Systematic draw from a random order: row m comes size * w_m times, up or down to a whole number."""
    order = torch.randperm(len(weights), generator=generator)
    cumulated = torch.as_tensor(weights)[order].cumsum(0)
    ticks = (torch.arange(size) + torch.rand(1, generator=generator, dtype=torch.float64)) / size
    return order[torch.searchsorted(cumulated, ticks * cumulated[-1]).clamp(max=len(order) - 1)]


def _targets(decisions: Decisions, rows: Int[Tensor, " size"]) -> tuple[Tensor, Tensor, list[float]]:
    """p(y | x1) and p(y | x2) of a batch, both with the mean of its p(y | v, t), and the distance each was moved."""
    target = torch.as_tensor(decisions.joint[rows]).mean(0)
    before = [torch.as_tensor(decisions.sources[name][rows]) for name in decisions.sources]
    after = [len(rows) * reconcile(t / len(rows), target) for t in before]
    return *(t.float() for t in after), [(t - s).abs().sum(1).mean().item() / 2 for t, s in zip(after, before, strict=True)]


def _coupling(
    networks: list[list[tuple[Tensor, Tensor]]], inputs: list[Float[Tensor, "size d"]], a: Tensor, b: Tensor, width: int
) -> Float[Tensor, "size size k"]:
    e1, e2 = (_embed(network, x, width) for network, x in zip(networks, inputs, strict=True))
    kernel = torch.exp(torch.einsum("ayd,byd->yab", e1, e2) / math.sqrt(width))
    a, b = a.T[..., None], b.T[..., None]
    s, t = torch.ones_like(a), b / kernel.sum(1)[..., None]
    for _ in range(SINKHORN_ITERATIONS):
        rows = kernel @ t
        if (s * rows - a).detach().abs().max() <= SINKHORN_TOLERANCE:
            break
        s = a / rows.clamp(min=1e-30)
        t = b / (kernel.mT @ s).clamp(min=1e-30)
    return (s * kernel * t.mT).permute(1, 2, 0)


def _embed(network: list[tuple[Tensor, Tensor]], x: Float[Tensor, "size d"], width: int) -> Float[Tensor, "size k width"]:
    *hidden, last = network
    for weight, bias in hidden:
        x = torch.relu(x @ weight.T + bias)
    e = (x @ last[0].T + last[1]).unflatten(1, (-1, width))
    return (e - e.mean(-1, keepdim=True)) / torch.sqrt(e.var(-1, keepdim=True) + 1e-8)


def _conditional_information(coupling: Float[Tensor, "a b k"]) -> Float[Tensor, ""]:
    """I(X2; Y | X1) of a coupling, in bits."""
    return _terms(coupling).sum() / coupling.sum()


def _terms(coupling: Float[Tensor, "a b k"]) -> Float[Tensor, "a b k"]:
    of_pair, of_row = coupling.sum(2, keepdim=True), coupling.sum(1, keepdim=True)
    ratio = coupling * of_row.sum(2, keepdim=True) / (of_pair * of_row).clamp(min=1e-30)
    return coupling * torch.log2(ratio.clamp(min=1e-30))


def _shares(coupling: Float[Tensor, "a b k"], i1: Float[Tensor, " a"], i2: Float[Tensor, " b"], iq: float) -> Float[Tensor, " a"]:
    """What each place of a batch contributes to its I_Q: the mean of I(X1; Y) + I(X2; Y | X1) by its x1 and of the reverse by its x2.

    Sinkhorn leaves the rows a little off their targets, so the two sums differ by as little; all are moved by one number to the mean `iq`.
    """
    by_row, by_column = (len(i1) * _terms(q).double().sum((1, 2)) / q.sum() for q in (coupling, coupling.transpose(0, 1)))
    shares = (i1 + by_row + i2 + by_column) / 2
    return shares + (iq - shares.mean())


def _atoms(i1, i2, i12, iq) -> list:
    return [i1 + i2 - iq, iq - i2, iq - i1, i12 - iq]
