"""Small instances of real multimodal architectures: the classes of transformers, a few layers wide, with random weights.

The minis are trained from these and the contract tests run on them, so a checkpoint of the same class from a hub takes the same code path.
Every family gets the same closed vocabulary (one token a word), the same 64 x 64 pictures as 4 x 4 tokens in reading order, or films of
48 x 48 as 3 x 3 tokens for every two frames, with sound as 25 tokens a second, and a chat template of its own kind.
"""

from collections.abc import Iterable

import torch
from transformers import PreTrainedModel, ProcessorMixin

from pidlib.models.tiny import cross, omni, prefix, qwen
from pidlib.models.tiny.parts import SIZES, Size

__all__ = ["FAMILIES", "SIZES", "Size", "build"]

_BUILDERS = {
    builder.__name__: builder
    for builder in (
        prefix.llava,
        prefix.llava_onevision,
        prefix.paligemma,
        prefix.gemma3,
        prefix.idefics3,
        prefix.internvl,
        qwen.qwen2_vl,
        qwen.qwen2_5_vl,
        qwen.qwen3_vl,
        cross.mllama,
        cross.blip,
        omni.qwen2_5_omni,
    )
}
FAMILIES = tuple(_BUILDERS)


def build(family: str, words: Iterable[str], size: str = "small", seed: int = 0) -> tuple[PreTrainedModel, ProcessorMixin]:
    """A randomly initialised model of ``family`` and its processor.

    Parameters
    ----------
    family : str
        One of ``FAMILIES``: the ``model_type`` of its configuration, as a hub names it.
    words : iterable of str
        The closed vocabulary; unknown words become ``<unk>``.
    size : {"tiny", "compact", "small"}
        About 0.05, 0.3 and 1 million parameters.
    seed : int
        Of the initial weights; the global generator is left as it was.

    Returns
    -------
    (PreTrainedModel, ProcessorMixin)
        In evaluation mode, on the CPU, float32.

    Raises
    ------
    ValueError
        If the family or the size is unknown.
    """
    for what, given, known in (("family", family, _BUILDERS), ("size", size, SIZES)):
        if given not in known:
            raise ValueError(f"unknown {what} {given!r}; choose one of {', '.join(known)}")
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model, processor = _BUILDERS[family](words, SIZES[size])
    return model.eval(), processor
