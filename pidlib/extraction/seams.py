"""Seams: the tokens of pictures as one matrix, and in the form that a forward pass reads."""

from types import SimpleNamespace
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.utils._pytree import tree_flatten, tree_leaves, tree_unflatten


class Seams:
    """Converts outputs of a vision tower to matrices [tokens, levels * d] and back.

    A forward pass receives it in place of the output for a picture of ``count`` tokens, and it
    records what is read: tensors of tiles or lists of them, with one or more vectors for a token.
    """

    def __init__(self, output: object, count: int):
        self._output, self._count, self._reads = output, count, {}

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._output, name)
        self._reads[name] = value if isinstance(value, Tensor | list | tuple) else None
        return value

    def matrix(self, output: object, count: int) -> Float[Tensor, "count levels*d"]:
        """Flatten an output for pictures of ``count`` tokens together."""
        names = [name for name, read in self._reads.items() if read is not None]
        leaves = tree_leaves([getattr(output, name) for name in names])
        levels = [
            [leaves[place].flatten(0, -2) for place in level] for level in _levels(leaves, count)
        ]
        if not levels:
            sizes = [list(leaf.shape) for leaf in leaves if isinstance(leaf, Tensor)]
            raise ValueError(f"{count} placeholders stand for pictures with features of {sizes}")
        return torch.cat([torch.cat(level) for level in levels], -1)

    def output(self, values: Float[Tensor, "tokens levels*d"]) -> SimpleNamespace:
        """Return what is read of an output, with these tokens of one or several pictures."""
        leaves, tree = tree_flatten(self._reads)
        levels = _levels(leaves, self._count)
        widths = [leaves[level[0]].shape[-1] for level in levels]
        for level, rows in zip(levels, values.split(widths, -1), strict=True):
            for place in level:  # all tokens in the first tensor of a list
                tile = leaves[place].shape[1:]
                tile = rows.shape if rows.numel() % tile.numel() else tile
                leaves[place] = rows.reshape(rows.numel() // tile.numel(), *tile)
                rows = rows[:0]
        return SimpleNamespace(**tree_unflatten(leaves, tree))


def _levels(leaves: list, count: int) -> list[list[int]]:
    """Find the places of tensors that have ``count`` vectors, alone or with their neighbors."""
    levels, level, size = [], [], 0
    for place, leaf in enumerate(leaves):
        if isinstance(leaf, Tensor) and leaf.is_floating_point() and leaf.ndim > 1:
            level.append(place)
            size += leaf[..., 0].numel()
            if size >= count:
                levels += [level] * (size == count)
                level, size = [], 0
    return levels
