"""Figures and tables of the vision-language experiment; a module draws those that belong together."""

from pidlib.figures.vision_language.depth import fig_layers, table_layers
from pidlib.figures.vision_language.interventions import fig_interventions
from pidlib.figures.vision_language.population import fig_families, fig_sensitivity, table1_sensitivity
from pidlib.figures.vision_language.profiles import fig_embeddings, fig_profiles, table_profiles

__all__ = [
    "fig_embeddings",
    "fig_families",
    "fig_interventions",
    "fig_layers",
    "fig_profiles",
    "fig_sensitivity",
    "table1_sensitivity",
    "table_layers",
    "table_profiles",
]
