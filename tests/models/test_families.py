"""Rows of the table of families."""

import pytest
from small_world import FAMILY_NAMES, loaded
from transformers import LlamaConfig

from pidlib.models import FAMILIES, family_of


@pytest.mark.parametrize("family", FAMILY_NAMES)
def test_family_is_found_by_the_model_type(family):
    assert family_of(loaded(family).model) is FAMILIES[family]


def test_unknown_family_is_refused_with_the_known_ones():
    class Text:
        config = LlamaConfig()

    message = "no extractor for model type 'llama'; supported are llava, llava_onevision, "
    with pytest.raises(ValueError, match=message):
        family_of(Text())
