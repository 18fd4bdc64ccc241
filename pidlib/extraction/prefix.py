"""Shared prefixes: the language model reads a picture once for all questions behind it."""

import copy
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

# Arguments of a language model by the dimension that counts tokens; others prevent sharing.
_TOKENS = {"inputs_embeds": 1, "position_ids": -1, "cache_position": 0, "visual_pos_masks": 1}
_LEVELS = "deepstack_visual_embeds"  # added to the tokens of the picture, in the first blocks


class Prefix(NamedTuple):
    """The first tokens of rows: keys and values, and where each row finds its own."""

    length: int  # number of these tokens
    cache: Any  # of transformers
    number: Mapping[int, int]  # by row; empty if keys and values are still to be computed

    def of(self, rows: Sequence[int]) -> "Prefix":
        """Copy keys and values for a batch of rows, whose forward pass adds to them."""
        cache = copy.copy(self.cache)
        cache.layers = [copy.copy(layer) for layer in cache.layers]
        cache.batch_select_indices(torch.tensor([self.number[row] for row in rows]))
        return self._replace(cache=cache)


@contextmanager
def run_part(decoder: nn.Module, prefix: Prefix) -> Iterator[None]:
    """Let a language model run on tokens behind a prefix, or first on its own; zeros elsewhere."""
    own, forward = vars(decoder).get("forward"), decoder.forward

    def run(*args: Any, **kwargs: Any) -> Any:
        if args:
            raise ValueError("the language model is called with arguments without a name")
        length = kwargs["inputs_embeds"].shape[1]
        kept = slice(prefix.length, length) if prefix.number else slice(0, prefix.length)
        cut = {name: _cut(name, value, kept) for name, value in kwargs.items()}
        if prefix.number:
            cut |= dict.fromkeys({"visual_pos_masks", _LEVELS} & cut.keys())
        output = forward(**cut | {"past_key_values": prefix.cache, "use_cache": True})
        sides = (0, 0, kept.start, length - kept.stop)
        output.last_hidden_state = nn.functional.pad(output.last_hidden_state, sides)
        return output

    decoder.forward = run
    try:
        yield
    finally:
        del decoder.forward
        if own:  # of accelerate, which places the parts of a model on devices
            decoder.forward = own


def _cut(name: str, value: Any, kept: slice) -> Any:
    if name == "attention_mask":  # of keys, or of queries and keys, by kind of block
        if isinstance(value, dict):
            return {kind: _cut(name, mask, kept) for kind, mask in value.items()}
        if value is not None:
            value = value[..., : kept.stop]
            return value if value.ndim == 2 else value[..., kept, :]
    elif name in _TOKENS and value is not None:
        return value.narrow(_TOKENS[name], kept.start, kept.stop - kept.start)
    elif name != _LEVELS and any(isinstance(each, Tensor) for each in tree_leaves(value)):
        raise ValueError(f"the language model has an argument {name}, which cannot be cut")
    return value
