"""Figures and tables of the omni-modal experiment; a module draws those that belong together."""

from pidlib.figures.omni.clips import fig_clips
from pidlib.figures.omni.gating import fig_gate, fig_layers, table_gate, table_layers
from pidlib.figures.omni.sensory import fig2_sensory, fig_recovery, table2_sensory
from pidlib.figures.omni.stamps import fig_stamps, table_stamps
from pidlib.figures.omni.streams import fig_bottleneck, fig_shuffle

__all__ = [
    "fig2_sensory",
    "fig_bottleneck",
    "fig_clips",
    "fig_gate",
    "fig_layers",
    "fig_recovery",
    "fig_shuffle",
    "fig_stamps",
    "table2_sensory",
    "table_gate",
    "table_layers",
    "table_stamps",
]
