"""The experiments: one module per notebook, of the notebook's name, and what they share."""
