"""Training: the mini models from scratch, and low-rank adapters on weighted samples."""
