"""Figures and tables of the reweighting experiment; a module draws those that belong together."""

from pidlib.figures.reweighting.conditions import fig_tradeoff, table3_reweighting
from pidlib.figures.reweighting.gains import fig_ablation, fig_gain, fig_when
from pidlib.figures.reweighting.scores import fig_scores

__all__ = ["fig_ablation", "fig_gain", "fig_scores", "fig_tradeoff", "fig_when", "table3_reweighting"]
