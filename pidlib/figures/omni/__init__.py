"""Figures and tables of the omni-modal experiment; a module draws those that belong together."""

from pidlib.figures.omni.clips import fig_clips

__all__ = ["fig_clips"]
