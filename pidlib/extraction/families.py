"""What differs between model families, as data: a row each, and no branch on a family's name anywhere else."""

from dataclasses import dataclass

from transformers import PreTrainedModel


@dataclass(frozen=True)
class Family:
    """The facts the extractor needs about one architecture.

    The rest is common ground in transformers: ``get_image_features`` runs tower and projector, ``get_decoder`` is the language model,
    whose ``inputs_embeds`` is the one door through which every modality enters, and ``layers`` and ``norm`` are its blocks and last norm.
    A side door is known by the tower's own output: its ``deepstack_features`` (Qwen3-VL) are added to the states of the vision tokens
    behind the first blocks, so a vision token is then one long vector, the part for the door first and then one part a level.

    Attributes
    ----------
    name : str
        ``config.model_type``.
    tower_inputs : tuple of str
        What the processor makes of a picture, and ``get_image_features`` reads.
    layout_inputs : tuple of str
        Those of them that the forward pass needs although the tower has run: the grid that rotary positions are counted on.
        One row a picture.
    placeholder : str
        The entry of the configuration that holds the id of a vision token.
    prompt : str or None
        The text given to the processor, with fields ``{image}``, ``{bos}`` and ``{question}``; None for its chat template.
    tokenized : str or None
        The text that the processor makes of ``prompt`` before it expands the picture; None where it adds nothing.
    """

    name: str
    tower_inputs: tuple[str, ...] = ("pixel_values",)
    layout_inputs: tuple[str, ...] = ()
    placeholder: str = "image_token_id"
    prompt: str | None = None
    tokenized: str | None = None


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
