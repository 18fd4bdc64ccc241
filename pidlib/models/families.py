"""Facts about model families, a row each; no other code branches on a family's name."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from transformers import PreTrainedModel


@dataclass(frozen=True)
class Family:
    """Facts that the extractor needs about one architecture, where it differs from most.

    By default ``get_image_features`` runs the vision tower and the projector, and ``get_decoder``
    returns the language model, which receives every modality as ``inputs_embeds``. If the tower
    returns ``deepstack_features`` (Qwen3-VL), a vision token is a long vector: the input embedding,
    then a part for each level. With cross-attention, vision tokens enter through an argument of
    their own, those of empty tiles included (Mllama): tokens before the picture attend to them.
    """

    name: str  # config.model_type
    # The text-generating part of a composite model (Qwen2.5-Omni: "thinker"), with configuration
    # {submodel}_config and a model_type that ends in _{submodel}.
    submodel: str | None = None
    # Picture or video: names the tower get_{medium}_features, the processor's {medium}_token, and
    # {medium}_token_id of the configuration.
    medium: str = "image"
    # Processor outputs read by the vision tower, and by the audio tower if there is audio.
    tower_inputs: tuple[str, ...] = ("pixel_values",)
    audio_inputs: tuple[str, ...] = ()
    # Processor outputs, a row per picture, that the forward pass needs even when features are
    # given: the grid and the timing of rotary positions.
    layout_inputs: tuple[str, ...] = ()
    # Text for the processor, with fields {image}, {bos} and {question} (None: its chat template),
    # and what the processor makes of it before it expands the picture (None: the same).
    prompt: str | None = None
    tokenized: str | None = None
    # Argument of the language model that takes vision tokens outside the text.
    cross_attention_arg: str | None = None
    # Paths to the language model (which is then run alone, as its model requires pixels), from
    # there to its blocks and last norm, and to the module that computes logits.
    decoder: str | None = None
    blocks: str = "layers"
    norm: str | None = "norm"
    head: str | None = None
    forward_kwargs: tuple[tuple[str, object], ...] = ()  # further arguments of the forward pass
    # Entries of the configuration that the processor needs too and does not save.
    processor_settings: tuple[str, ...] = ()
    n_prefix_tokens: int = 0  # vision tokens before those of the patches
    # Whether positions count padding: rows padded on the left then need explicit position ids.
    counts_padding: bool = False

    @property
    def model_type(self) -> str:
        """``config.model_type`` of the part that is loaded."""
        return f"{self.name}_{self.submodel}" if self.submodel else self.name

    @property
    def has_audio(self) -> bool:
        """Whether the model takes videos with sound instead of pictures."""
        return bool(self.audio_inputs)

    def placeholder_ids(self, model: "PreTrainedModel") -> dict[str, int]:
        """Return the ids of the vision (and audio) placeholder tokens; -1 if there are none.

        With cross-attention, the vision placeholder is the one token that marks the picture.
        """
        if self.prompt and "{image}" not in self.prompt:
            return {"vision": -1}
        tokens = {"vision": self.medium} | ({"audio": "audio"} if self.has_audio else {})
        return {name: getattr(model.config, f"{token}_token_id") for name, token in tokens.items()}

    def decoder_of(self, model: "PreTrainedModel") -> nn.Module:
        """Return the language model."""
        return attrgetter(self.decoder)(model) if self.decoder else model.get_decoder()

    def blocks_of(self, model: "PreTrainedModel") -> Sequence[nn.Module]:
        """Return the blocks of the language model, first to last."""
        return attrgetter(self.blocks)(self.decoder_of(model))

    def encode_vision(self, model: "PreTrainedModel", inputs: Mapping[str, Tensor]) -> list[Tensor]:
        """Run the vision tower and projector; return [tokens, levels * d] of each picture or video.

        ``inputs`` hold the family's `tower_inputs`; for `encode_audio`, its `audio_inputs`.
        """
        inputs = {name: inputs[name] for name in self.tower_inputs}
        if self.cross_attention_arg is None:
            output = getattr(model, f"get_{self.medium}_features")(**inputs, return_dict=True)
            deepstack = getattr(output, "deepstack_features", ())
            levels = zip(output.pooler_output, *deepstack, strict=True)
            return [torch.cat(features, -1) for features in levels]
        states = model.base_model.vision_model(**inputs).last_hidden_state
        projector = getattr(model.base_model, "multi_modal_projector", nn.Identity())
        return list(projector(states).flatten(1, -2))

    def encode_audio(self, model: "PreTrainedModel", inputs: Mapping[str, Tensor]) -> Tensor:
        """Run the audio tower and projector; return [tokens, d] of all soundtracks together."""
        inputs = {name: inputs[name] for name in self.audio_inputs}
        return model.get_audio_features(**inputs, return_dict=True).last_hidden_state


_GRID = ("image_grid_thw",)
_ROWS = (
    Family("llava"),
    Family("llava_onevision", tower_inputs=("pixel_values", "image_sizes", "batch_num_images")),
    Family("paligemma", prompt="{image}{question}", tokenized="{image}{bos}{question}\n"),
    Family("gemma3"),
    Family("idefics3", tower_inputs=("pixel_values", "pixel_attention_mask")),
    Family("internvl"),
    Family("qwen2_vl", tower_inputs=("pixel_values", *_GRID), layout_inputs=_GRID),
    Family("qwen2_5_vl", tower_inputs=("pixel_values", *_GRID), layout_inputs=_GRID),
    Family("qwen3_vl", tower_inputs=("pixel_values", *_GRID), layout_inputs=_GRID),
    Family(
        "mllama",
        tower_inputs=("pixel_values", "aspect_ratio_ids", "aspect_ratio_mask"),
        cross_attention_arg="cross_attention_states",
        n_prefix_tokens=1,
    ),
    # The captioning class: that for questions returns no logits and reads pixels in every pass.
    Family(
        "blip",
        prompt="{bos}question: {question} answer:",
        cross_attention_arg="encoder_hidden_states",
        decoder="text_decoder.bert",
        blocks="encoder.layer",
        norm=None,
        head="text_decoder.cls",
        forward_kwargs=(("is_decoder", True),),
        n_prefix_tokens=1,
        counts_padding=True,
    ),
    Family(
        "qwen2_5_omni",
        submodel="thinker",
        medium="video",
        tower_inputs=("pixel_values_videos", "video_grid_thw"),
        audio_inputs=("input_features", "feature_attention_mask"),
        layout_inputs=("video_grid_thw", "video_second_per_grid", "feature_attention_mask"),
        forward_kwargs=(("use_audio_in_video", True),),
        processor_settings=("seconds_per_chunk", "position_id_per_seconds"),
    ),
)
FAMILIES = {family.name: family for family in _ROWS}


def family_of(model: "PreTrainedModel") -> Family:
    """Return the family of a loaded model; raises a ValueError if it is not supported."""
    name, known = model.config.model_type, {family.model_type: family for family in _ROWS}
    if name not in known:
        supported = f"supported are {', '.join(known)}: add a row to FAMILIES"
        raise ValueError(f"no extractor for model type {name!r}; {supported}")
    return known[name]
