"""Extraction of a multimodal model's answers with each modality: one extractor for all families."""

from pidlib.extraction.extractor import DRAWS, PASSES, extract
from pidlib.extraction.masking import FULL, OPTIONS, SOURCES, drawn
from pidlib.extraction.result import Extraction, Pairs

__all__ = ["DRAWS", "FULL", "OPTIONS", "PASSES", "SOURCES"]
__all__ += ["Extraction", "Pairs", "drawn", "extract"]
