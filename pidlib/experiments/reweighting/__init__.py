"""Fine-tuning on weighted questions.

The module of a notebook has `trainings(preset)` in the place of `requests`; fig_gain has both.
"""
