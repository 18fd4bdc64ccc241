"""Multimodal models: loading, the facts about each family, and the table of known checkpoints."""

from pidlib.models.families import FAMILIES, Family, family_named, family_of
from pidlib.models.load import LoadedModel, load_model

__all__ = ["FAMILIES", "Family", "LoadedModel", "family_named", "family_of", "load_model"]
