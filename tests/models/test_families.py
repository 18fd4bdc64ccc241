"""What is derived from a model's signatures, and which models are refused before any weights."""

import pytest
import torch
import transformers as hf
from small_world import FAMILY_NAMES, loaded

from pidlib.models import FAMILIES, Family, family_named, family_of


@pytest.mark.parametrize("name", FAMILY_NAMES)
def test_family_needs_a_row_only_for_what_a_model_does_not_say(name):
    assert family_of(loaded(name).model) == FAMILIES.get(name, Family(name))


def test_family_of_a_part_has_the_name_of_the_whole():
    assert family_named("qwen2_5_omni_thinker") is family_named("qwen2_5_omni")
    assert family_named("qwen3_omni_moe").model_type == "qwen3_omni_moe_thinker"


SEAM = "its forward pass takes no mm_encoder_outputs of get_image_features"
REFUSED = {
    hf.LlamaForCausalLM: "it takes no image",
    hf.Pix2StructForConditionalGeneration: "",
    hf.GitForCausalLM: SEAM,
    hf.IdeficsForVisionText2Text: SEAM,
    hf.InstructBlipForConditionalGeneration: "tower reads the question (qformer_input_ids",
}


@pytest.mark.parametrize("kind", REFUSED)
def test_unreadable_model_is_refused_with_the_reason(kind):
    with torch.device("meta"):
        model = kind(kind.config_class())
    name = repr(model.config.model_type)
    with pytest.raises(ValueError, match=f"no extractor for model type {name}: ") as error:
        family_of(model)
    assert REFUSED[kind] in str(error.value)
