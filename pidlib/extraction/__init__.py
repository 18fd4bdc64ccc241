"""From a multimodal model and samples to what it answers with each modality: one extractor for all families."""

import pidlib.models  # noqa: F401  (makes torchvision importable, which transformers needs from here on)
from pidlib.extraction.extractor import PASSES, extract
from pidlib.extraction.families import FAMILIES, Family, family_of
from pidlib.extraction.record import Extraction, Pairs

__all__ = ["FAMILIES", "PASSES", "Extraction", "Family", "Pairs", "extract", "family_of"]
