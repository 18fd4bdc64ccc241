"""Experiment on a model assembled of real pretrained parts, and on real pictures."""
