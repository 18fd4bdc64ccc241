"""What the extractor needs to know of an architecture: derived from the model, or a row of facts.

transformers offers the seams: ``base_model.get_image_features`` runs the vision tower and the
projector, and names what it reads; the forward pass takes its output as ``mm_encoder_outputs``.
"""

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from torch import nn

if TYPE_CHECKING:
    from transformers import PreTrainedModel

_NORMS = ("norm", "final_layernorm", "final_layer_norm", "embedding_norm", "ln_f", "norm_f")


@dataclass(frozen=True)
class Family:
    """Facts about one architecture; the defaults hold for most models that take pictures."""

    name: str  # config.model_type
    # The text-generating part of a composite model (Qwen2.5-Omni: "thinker"), with configuration
    # {submodel}_config and a model_type that ends in _{submodel}.
    submodel: str | None = None
    medium: str = "image"  # or "video": names get_{medium}_features and {medium}_token_id
    has_audio: bool = False  # whether the model takes videos with sound instead of pictures
    # Text for the processor, with fields {image}, {bos} and {question} (None: its chat template),
    # and what the processor makes of it before it expands the picture (None: the same).
    prompt: str | None = None
    tokenized: str | None = None
    # Takes vision tokens outside the text, those of empty tiles too (tokens attend to them).
    cross_attention_arg: str | None = None
    part: str | None = None  # that is run, if the whole requires pixels
    head: str | None = None  # what computes logits in it
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
    def media(self) -> dict[str, str]:
        """The modalities besides language, and their names in transformers."""
        return {"vision": self.medium} | ({"audio": "audio"} if self.has_audio else {})

    def placeholder_ids(self, model: "PreTrainedModel") -> dict[str, int | None]:
        """Return the ids of the placeholder tokens; -1 for a prompt without, None if unknown."""
        if self.prompt and "{image}" not in self.prompt:
            return {"vision": -1}
        config, media = model.config, self.media.items()
        ids = {name: getattr(config, f"{key}_token_id", None) for name, key in media}
        if ids["vision"] is None:  # an older name
            ids["vision"] = getattr(config, f"{self.medium}_token_index", None)
        return ids

    def runs(self, model: "PreTrainedModel") -> "PreTrainedModel":
        """Return the `part` of the model that is run, by default all of it."""
        return attrgetter(self.part)(model) if self.part else model

    def decoder_of(self, model: "PreTrainedModel") -> nn.Module:
        """Return the language model."""
        return self.runs(model).get_decoder()

    def blocks_of(self, model: "PreTrainedModel") -> Sequence[nn.Module]:
        """Return the blocks of the language model, first to last."""
        depth, modules = model.config.get_text_config().num_hidden_layers, self.decoder_of(model)
        lists = (each for each in modules.modules() if isinstance(each, nn.ModuleList))
        return next(blocks for blocks in lists if len(blocks) == depth)

    def norm_of(self, model: "PreTrainedModel") -> nn.Module:
        """Return the norm after the last block; the identity if none has a usual name."""
        decoder = self.decoder_of(model)
        children = dict(getattr(decoder, "model", decoder).named_children())
        return next((children[name] for name in _NORMS if name in children), nn.Identity())

    def head_of(self, model: "PreTrainedModel") -> nn.Module:
        """Return what computes logits from states; the forward pass may scale or cap them."""
        runs = self.runs(model)
        return attrgetter(self.head)(runs) if self.head else runs.get_output_embeddings()

    def towers(self, model: "PreTrainedModel") -> dict[str, Callable]:
        """Return what encodes each modality besides language."""
        base = model.base_model
        if self.cross_attention_arg:
            return {"vision": base.vision_model}
        return {name: getattr(base, f"get_{key}_features") for name, key in self.media.items()}

    def arguments(self, model: "PreTrainedModel") -> tuple[set[str], set[str]]:
        """Name the processor's outputs that the forward pass takes, and those that towers read."""
        towers = self.towers(model).values()
        return arguments_of(self.runs(model)), set().union(*map(arguments_of, towers))

    def encode(self, model: "PreTrainedModel", inputs: Mapping[str, Any]) -> dict[str, Any]:
        """Run towers and projectors on those of the processor's outputs that they name.

        Projected tokens are in ``pooler_output``, those of sound in ``last_hidden_state``.
        """
        # Video-LLaVA's processor has another name for pixels than its tower.
        inputs = {"pixel_values": inputs.get("pixel_values_images")} | dict(inputs)
        outputs = {}
        for name, tower in self.towers(model).items():
            named = {key: inputs[key] for key in arguments_of(tower) & inputs.keys()}
            outputs[name] = output = tower(**named, return_dict=True)
            if self.cross_attention_arg:
                project = getattr(model.base_model, "multi_modal_projector", nn.Identity())
                output.pooler_output = project(output.last_hidden_state).flatten(1, -2)
        return outputs


def arguments_of(function: Callable) -> set[str]:
    """Return the names of the arguments of a function, or of the forward pass of a module."""
    return set(inspect.signature(getattr(function, "forward", function)).parameters) - {"kwargs"}


_SOUND = {"medium": "video", "has_audio": True, "forward_kwargs": (("use_audio_in_video", True),)}
# The captioning class: that for questions returns no logits and reads pixels in every pass.
_BLIP = {"prompt": "{bos}question: {question} answer:", "part": "text_decoder", "head": "cls"}
_BLIP |= {"cross_attention_arg": "encoder_hidden_states", "counts_padding": True}
_CLOCK = ("seconds_per_chunk", "position_id_per_seconds")
_ROWS = (
    Family("paligemma", prompt="{image}{question}", tokenized="{image}{bos}{question}\n"),
    Family("mllama", cross_attention_arg="cross_attention_states", n_prefix_tokens=1),
    Family("blip", n_prefix_tokens=1, **_BLIP),
    Family("qwen2_5_omni", "thinker", processor_settings=_CLOCK, **_SOUND),
    Family("qwen3_omni_moe", "thinker", **_SOUND),
)
FAMILIES = {family.name: family for family in _ROWS}


def family_named(model_type: str) -> Family:
    """Return the facts about a ``config.model_type``, whether or not it can be read."""
    rows = (row for row in _ROWS if model_type in (row.name, row.model_type))
    return next(rows, Family(model_type))


def family_of(model: "PreTrainedModel") -> Family:
    """Return the family of a model, without reading its weights (they may be on the meta device).

    Raises a ValueError that says why the model cannot be read through transformers' seams.
    """
    family, config = family_named(model.config.model_type), model.config
    tower = getattr(model.base_model, f"get_{family.medium}_features", None)
    ids = [name for name in arguments_of(tower or len) if "input_ids" in name]
    two = config.is_encoder_decoder or config.get_text_config().is_encoder_decoder
    seam = tower and "mm_encoder_outputs" in arguments_of(model)
    faults = {
        f"it takes no {family.medium}": family.medium not in model.input_modalities,
        "its encoder reads the question and its decoder answers": two,
        f"its forward pass takes no mm_encoder_outputs of get_{family.medium}_features": not seam,
        f"its vision tower reads the question ({', '.join(ids)}), despite masking": ids,
        "it has no output embeddings": not model.get_output_embeddings(),
        "its configuration names no placeholder": family.placeholder_ids(model)["vision"] is None,
    }
    for fault, is_present in faults.items():
        if is_present and family.cross_attention_arg is None:
            raise ValueError(f"no extractor for model type {config.model_type!r}: {fault}")
    return family
