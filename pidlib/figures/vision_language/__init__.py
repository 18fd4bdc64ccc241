"""Figures and tables of the vision-language experiment; a module draws those that belong together."""

from pidlib.figures.vision_language.contributions import fig_contributions, table2_contributions
from pidlib.figures.vision_language.depth import fig_layers, table_layers
from pidlib.figures.vision_language.estimators import fig_estimators, fig_two_levels
from pidlib.figures.vision_language.fusion import fig_fusion
from pidlib.figures.vision_language.interventions import fig_interventions
from pidlib.figures.vision_language.population import fig_families, fig_sensitivity, table1_sensitivity
from pidlib.figures.vision_language.profiles import fig_embeddings, fig_profiles, table_profiles
from pidlib.figures.vision_language.representation import fig_embedding_layers, fig_protocol_audit, table_synthetic

__all__ = [
    "fig_contributions",
    "fig_embedding_layers",
    "fig_embeddings",
    "fig_estimators",
    "fig_families",
    "fig_fusion",
    "fig_interventions",
    "fig_layers",
    "fig_profiles",
    "fig_protocol_audit",
    "fig_sensitivity",
    "fig_two_levels",
    "table1_sensitivity",
    "table2_contributions",
    "table_layers",
    "table_profiles",
    "table_synthetic",
]
