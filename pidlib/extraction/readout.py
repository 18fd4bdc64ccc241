"""What is read off a forward pass: hidden states at the answer position, candidate logits, and the distributions they mean."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from operator import attrgetter

import numpy as np
import torch
from jaxtyping import Float, Float64, Int
from scipy.special import logsumexp, softmax
from torch import Tensor, nn
from transformers import PreTrainedModel

from pidlib.extraction.families import Family


@contextmanager
def tap(
    blocks: Sequence[nn.Module], rows: Int[Tensor, " batch"] | slice, places: Int[Tensor, " batch"] | slice
) -> Iterator[list[Float[Tensor, "batch *places d"]]]:
    """While open, collect the output of each block at one place of each row; but for slices, the whole hidden state is never kept."""
    states: list = [None] * len(blocks)

    def reader(index):
        def read(module, args, output):
            output = output[0] if isinstance(output, tuple) else output
            states[index] = output[rows, places]

        return read

    handles = [block.register_forward_hook(reader(index)) for index, block in enumerate(blocks)]
    try:
        yield states
    finally:
        for handle in handles:
            handle.remove()


class Head:
    r"""The language-model head, read at the candidates.

    For a hidden state :math:`h` after the last norm it gives the logits of the candidates' first tokens, and
    :math:`\log \sum_{w \in V} e^{z_w}` over the whole vocabulary V, so that the candidates' share of the mass can be told later.
    """

    def __init__(self, model: PreTrainedModel, family: Family, tokens: Int[Tensor, " k"]):
        self.project = attrgetter(family.head)(model) if family.head else model.get_output_embeddings()
        self.norm = attrgetter(family.norm)(family.decoder_of(model)) if family.norm else nn.Identity()
        self.tokens = tokens
        self.softcap = getattr(model.config.get_text_config(), "final_logit_softcapping", None)

    def __call__(self, hidden: Float[Tensor, "batch d"]) -> tuple[Float[Tensor, "batch k"], Float[Tensor, " batch"]]:
        """Candidate logits and log normaliser, float32."""
        logits = self.project(hidden).float()
        if self.softcap is not None:
            logits = torch.tanh(logits / self.softcap) * self.softcap
        return logits[:, self.tokens], logits.logsumexp(-1)

    def lens(self, states: list[Float[Tensor, "batch d"]]) -> tuple[Float[Tensor, "batch L k"], Float[Tensor, "batch L"]]:
        """The same of the outputs of blocks, each as if it were the last one: the logit lens (nostalgebraist, 2020)."""
        # Block by block: all at once would hold L vocabularies for each row.
        logits, log_normalizer = zip(*(self(self.norm(state)) for state in states), strict=True)
        return torch.stack(logits, 1), torch.stack(log_normalizer, 1)


def candidate_mass(logits: Float[np.ndarray, "n k"], log_normalizer: Float[np.ndarray, " n"]) -> Float64[np.ndarray, " n"]:
    """The share of the whole vocabulary's probability that falls on the candidates.

    >>> candidate_mass(np.log([[0.2, 0.1]]), np.log([1.0])).round(6).tolist()
    [0.3]
    """
    return np.exp(logsumexp(logits.astype(np.float64), axis=-1) - log_normalizer)


def decide(logits: Float[np.ndarray, "n k"], log_normalizer: Float[np.ndarray, " n"], tau: float = 0.3) -> Float64[np.ndarray, "n k"]:
    r"""Distributions over the candidates: renormalised, or uniform where the candidates hold less than ``tau`` of the vocabulary's mass.

    A model that would rather say something else has not decided, and its preference among the candidates is not taken for a decision.

    >>> decide(np.log([[0.2, 0.1], [0.9, 0.1]]), np.zeros(2), tau=0.5).round(6).tolist()
    [[0.5, 0.5], [0.9, 0.1]]
    """
    rows = softmax(logits.astype(np.float64), axis=-1)
    rows[candidate_mass(logits, log_normalizer) < tau] = 1 / rows.shape[-1]
    return rows
