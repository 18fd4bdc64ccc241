"""Figures and tables of the vision-language experiment; a module draws those that belong together."""

from pidlib.figures.vision_language.profiles import fig_embeddings, fig_profiles, table_profiles

__all__ = ["fig_embeddings", "fig_profiles", "table_profiles"]
