"""Readout: hidden states and candidate logits at the answer position, and decisions from them."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from operator import attrgetter
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Float, Float64, Int
from scipy.special import logsumexp, softmax
from torch import Tensor, nn

from pidlib.extraction.checks import check_tau
from pidlib.models.families import Family

if TYPE_CHECKING:
    from transformers import PreTrainedModel

Logits = Float[np.ndarray, "n k"]


@contextmanager
def capture_outputs(
    blocks: Sequence[nn.Module],
    rows: Int[Tensor, " batch"] | slice,
    positions: Int[Tensor, " batch"] | slice,
) -> Iterator[list[Float[Tensor, "batch *positions d"]]]:
    """Collect the output of each block at one position of each row, or at slices."""
    states: list = [None] * len(blocks)

    def hook(index):
        def capture(module, args, output):
            output = output[0] if isinstance(output, tuple) else output
            states[index] = output[rows, positions]

        return capture

    handles = [block.register_forward_hook(hook(index)) for index, block in enumerate(blocks)]
    try:
        yield states
    finally:
        for handle in handles:
            handle.remove()


class Head:
    """Computes candidate logits and log normalizer, float32, from normed hidden states."""

    def __init__(self, model: "PreTrainedModel", family: Family, tokens: Int[Tensor, " k"]):
        head, norm = family.head, family.norm
        self.project = attrgetter(head)(model) if head else model.get_output_embeddings()
        self.norm = attrgetter(norm)(family.decoder_of(model)) if norm else nn.Identity()
        self.tokens = tokens
        self.softcap = getattr(model.config.get_text_config(), "final_logit_softcapping", None)

    def __call__(
        self, hidden: Float[Tensor, "batch d"]
    ) -> tuple[Float[Tensor, "batch k"], Float[Tensor, " batch"]]:
        logits = self.project(hidden).float()
        if self.softcap is not None:
            logits = torch.tanh(logits / self.softcap) * self.softcap
        return logits[:, self.tokens], logits.logsumexp(-1)

    def lens(
        self, states: list[Float[Tensor, "batch d"]]
    ) -> tuple[Float[Tensor, "batch L k"], Float[Tensor, "batch L"]]:
        """Apply the head to the outputs of blocks: the logit lens (nostalgebraist, 2020)."""
        # Block by block: all at once would hold L vocabularies for each row.
        logits, log_normalizer = zip(*(self(self.norm(state)) for state in states), strict=True)
        return torch.stack(logits, 1), torch.stack(log_normalizer, 1)


def candidate_mass(logits: Logits, log_normalizer: Float[np.ndarray, " n"]) -> np.ndarray:
    """Compute the probability of all candidates within the whole vocabulary, [n].

    >>> candidate_mass(np.log([[0.2, 0.1]]), np.log([1.0])).round(6).tolist()
    [0.3]
    """
    return np.exp(logsumexp(logits.astype(np.float64), axis=-1) - log_normalizer)


def decide(
    logits: Logits, log_normalizer: Float[np.ndarray, " n"], tau: float = 0.3
) -> Float64[np.ndarray, "n k"]:
    """Renormalize over the candidates; uniform where their mass is below ``tau`` (no decision).

    >>> decide(np.log([[0.2, 0.1], [0.9, 0.1]]), np.zeros(2), tau=0.5).round(6).tolist()
    [[0.5, 0.5], [0.9, 0.1]]
    """
    check_tau(tau)
    rows = softmax(logits.astype(np.float64), axis=-1)
    rows[candidate_mass(logits, log_normalizer) < tau] = 1 / rows.shape[-1]
    return rows
