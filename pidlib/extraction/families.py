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
    part : str or None
        Of a model of several parts (Qwen2.5-Omni thinks and talks) the one that answers in text. Its configuration is ``{part}_config`` in
        that of the whole, and its own ``model_type`` ends in ``_{part}``.
    tower_inputs, audio_inputs : tuple of str
        What the processor makes of a picture or film, and the tower reads; of a soundtrack, and the audio tower. No ``audio_inputs``: deaf.
    tower, audio_tower : str
        The model's methods that run them, with their projectors.
    layout_inputs : tuple of str
        What the forward pass needs of what the processor makes, although the towers have run: the grid and the clock that rotary positions
        are counted on. One row a picture.
    marker : str
        The attribute of the processor that holds the token for a picture or film in the prompt.
    placeholder, audio_placeholder : str or None
        The entry of the configuration that holds the id of a vision token, or, with cross-attention, of the token that stands for the
        picture; None where nothing in the text does. The same for tokens of sound.
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
        What the run is to be told.
    media : tuple of (str, value)
        What the processor is to be told of films.
    clock : tuple of str
        Entries of the configuration that the processor must share, for both count by them, and does not save.
    leading : int
        Vision tokens before those of the patches.
    counts_padding : bool
        Whether positions are counted from the first place of a padded row: padding on the left then needs positions of its own.
    """

    name: str
    part: str | None = None
    tower_inputs: tuple[str, ...] = ("pixel_values",)
    audio_inputs: tuple[str, ...] = ()
    tower: str = "get_image_features"
    audio_tower: str = "get_audio_features"
    layout_inputs: tuple[str, ...] = ()
    marker: str = "image_token"
    placeholder: str | None = "image_token_id"
    audio_placeholder: str | None = None
    prompt: str | None = None
    tokenized: str | None = None
    cross: str | None = None
    decoder: str | None = None
    blocks: str = "layers"
    norm: str | None = "norm"
    head: str | None = None
    arguments: tuple[tuple[str, object], ...] = ()
    media: tuple[tuple[str, object], ...] = ()
    clock: tuple[str, ...] = ()
    leading: int = 0
    counts_padding: bool = False

    @property
    def model_type(self) -> str:
        """``config.model_type`` of what is loaded: of the part, if there are parts."""
        return f"{self.name}_{self.part}" if self.part else self.name

    @property
    def hears(self) -> bool:
        """Whether it takes films with their sound, in place of pictures."""
        return bool(self.audio_inputs)

    def placeholder_ids(self, model: PreTrainedModel) -> dict[str, int]:
        """For each modality but language the id of the tokens that stand for it; -1, which no token has, where none does."""
        names = {"vision": self.placeholder} | ({"audio": self.audio_placeholder} if self.hears else {})
        return {modality: getattr(model.config, name) if name else -1 for modality, name in names.items()}

    def decoder_of(self, model: PreTrainedModel) -> nn.Module:
        """The language model."""
        return attrgetter(self.decoder)(model) if self.decoder else model.get_decoder()

    def blocks_of(self, model: PreTrainedModel) -> Sequence[nn.Module]:
        """The blocks of the language model, first to last."""
        return attrgetter(self.blocks)(self.decoder_of(model))

    def see(self, model: PreTrainedModel, tower: Mapping[str, Tensor]) -> list[Float[Tensor, "patches levels*d"]]:
        """Run the tower and the projector: the vision tokens of each picture or film."""
        if self.cross is None:
            seen = getattr(model, self.tower)(**tower, return_dict=True)
            levels = zip(seen.pooler_output, *getattr(seen, "deepstack_features", ()), strict=True)
            return [torch.cat(some, -1) for some in levels]
        states = model.base_model.vision_model(**tower).last_hidden_state
        return list(getattr(model.base_model, "multi_modal_projector", nn.Identity())(states).flatten(1, -2))

    def hear(self, model: PreTrainedModel, tower: Mapping[str, Tensor]) -> Float[Tensor, "tokens d"]:
        """Run the audio tower and its projector: the tokens of all soundtracks, one behind the other."""
        return getattr(model, self.audio_tower)(**tower, return_dict=True).last_hidden_state


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
        Family(
            "qwen2_5_omni",
            part="thinker",
            tower_inputs=("pixel_values_videos", "video_grid_thw"),
            audio_inputs=("input_features", "feature_attention_mask"),
            tower="get_video_features",
            layout_inputs=("video_grid_thw", "video_second_per_grid", "feature_attention_mask"),
            marker="video_token",
            placeholder="video_token_id",
            audio_placeholder="audio_token_id",
            arguments=(("use_audio_in_video", True),),
            media=(("load_audio_from_video", True),),
            clock=("seconds_per_chunk", "position_id_per_seconds"),
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
    known = {family.model_type: family for family in FAMILIES.values()}
    if name not in known:
        raise ValueError(f"no extractor for model type {name!r}; there is one for {', '.join(known)}: add a row to FAMILIES")
    return known[name]
