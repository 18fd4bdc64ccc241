"""What differs between model families, as data: a row each, and no branch on a family's name anywhere else."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter

import torch
from jaxtyping import Float
from torch import Tensor, nn
from transformers import PreTrainedModel


@dataclass(frozen=True)
class Family:
    """The facts the extractor needs about one architecture.

    The rest is common ground in transformers: ``get_image_features`` runs tower and projector, ``get_decoder`` is the language model,
    whose ``inputs_embeds`` is the one door through which every modality enters, and ``layers`` and ``norm`` are its blocks and last norm.
    A side door is known by the tower's own output: its ``deepstack_features`` (Qwen3-VL) are added to the states of the vision tokens
    behind the first blocks, so a vision token is then one long vector, the part for the door first and then one part a level.

    With cross-attention the blocks look at vision tokens that stand beside the text, and those enter through an argument of their own:
    all that the tower makes, also of tiles that a picture leaves empty (Mllama), since what stands before the picture sees them.

    Attributes
    ----------
    name : str
        ``config.model_type``.
    tower_inputs : tuple of str
        What the processor makes of a picture, and the tower reads.
    layout_inputs : tuple of str
        Those of them that the forward pass needs although the tower has run: the grid that rotary positions are counted on.
        One row a picture.
    placeholder : str or None
        The entry of the configuration that holds the id of a vision token, or, with cross-attention, of the token that stands for the
        picture; None where nothing in the text does.
    prompt : str or None
        The text given to the processor, with fields ``{image}``, ``{bos}`` and ``{question}``; None for its chat template.
    tokenized : str or None
        The text that the processor makes of ``prompt`` before it expands the picture; None where it adds nothing.
    cross : str or None
        The argument of the language model that takes the vision tokens, where they do not stand in the text.
    decoder, blocks, norm, head : str or None
        Paths to the language model, of its blocks and last norm from there, and to what makes logits of states, where they have other names
        than usual. A language model with a path is run by itself, since its model does not go without pixels.
    arguments : tuple of (str, value)
        What that run is to be told.
    leading : int
        Vision tokens before those of the patches.
    counts_padding : bool
        Whether positions are counted from the first place of a padded row: padding on the left then needs positions of its own.
    """

    name: str
    tower_inputs: tuple[str, ...] = ("pixel_values",)
    layout_inputs: tuple[str, ...] = ()
    placeholder: str | None = "image_token_id"
    prompt: str | None = None
    tokenized: str | None = None
    cross: str | None = None
    decoder: str | None = None
    blocks: str = "layers"
    norm: str | None = "norm"
    head: str | None = None
    arguments: tuple[tuple[str, object], ...] = ()
    leading: int = 0
    counts_padding: bool = False

    def placeholder_id(self, model: PreTrainedModel) -> int:
        """The id of the tokens that stand for a picture; -1, which no token has, where none does."""
        return getattr(model.config, self.placeholder) if self.placeholder else -1

    def decoder_of(self, model: PreTrainedModel) -> nn.Module:
        """The language model."""
        return attrgetter(self.decoder)(model) if self.decoder else model.get_decoder()

    def blocks_of(self, model: PreTrainedModel) -> Sequence[nn.Module]:
        """The blocks of the language model, first to last."""
        return attrgetter(self.blocks)(self.decoder_of(model))

    def see(self, model: PreTrainedModel, tower: Mapping[str, Tensor]) -> list[Float[Tensor, "patches levels*d"]]:
        """Run the tower and the projector: the vision tokens of each picture."""
        if self.cross is None:
            seen = model.get_image_features(**tower, return_dict=True)
            levels = zip(seen.pooler_output, *getattr(seen, "deepstack_features", ()), strict=True)
            return [torch.cat(some, -1) for some in levels]
        states = model.base_model.vision_model(**tower).last_hidden_state
        return list(getattr(model.base_model, "multi_modal_projector", nn.Identity())(states).flatten(1, -2))


FAMILIES = {
    family.name: family
    for family in (
        Family("llava"),
        Family("llava_onevision", tower_inputs=("pixel_values", "image_sizes", "batch_num_images")),
        Family("paligemma", prompt="{image}{question}", tokenized="{image}{bos}{question}\n"),
        Family("gemma3"),
        Family("idefics3", tower_inputs=("pixel_values", "pixel_attention_mask")),
        Family("internvl"),
        *(
            Family(name, tower_inputs=("pixel_values", "image_grid_thw"), layout_inputs=("image_grid_thw",))
            for name in ("qwen2_vl", "qwen2_5_vl", "qwen3_vl")
        ),
        Family(
            "mllama",
            tower_inputs=("pixel_values", "aspect_ratio_ids", "aspect_ratio_mask"),
            cross="cross_attention_states",
            leading=1,
        ),
        Family(  # the class that goes on with a text: that for questions has no logits in its output, and reads pixels anew for each pass
            "blip",
            placeholder=None,
            prompt="{bos}question: {question} answer:",
            cross="encoder_hidden_states",
            decoder="text_decoder.bert",
            blocks="encoder.layer",
            norm=None,
            head="text_decoder.cls",
            arguments=(("is_decoder", True),),
            leading=1,
            counts_padding=True,
        ),
    )
}


def family_of(model: PreTrainedModel) -> Family:
    """The family of a loaded model, by ``config.model_type``.

    Raises
    ------
    ValueError
        If the extractor does not know this kind of model.
    """
    name = model.config.model_type
    if name not in FAMILIES:
        raise ValueError(f"no extractor for model type {name!r}; there is one for {', '.join(FAMILIES)}: add a row to FAMILIES")
    return FAMILIES[name]
