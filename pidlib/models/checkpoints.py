"""Facts about checkpoints of the hub, read from ``checkpoints.csv``.

The papers name models or families, the assignment is ours. Licenses are quoted from the model cards
(Qwen2.5-Omni-3B: its file LICENSE). A revision, used by public code, is suggested, never a default.
"""

import csv
from dataclasses import dataclass
from pathlib import Path

MARGIN = 1.2  # memory relative to the weights: activations of a batch, buffers, the CUDA context


@dataclass(frozen=True)
class Checkpoint:
    """One checkpoint of the hub."""

    checkpoint: str  # "owner/name"
    family: str  # config.model_type
    parameters: float  # nominal, in billions; of Qwen2.5-Omni, of the submodel that is loaded
    licence: str  # as on its card; "(gated)" where the hub requires consent
    paper: str  # "1", "2", both or neither
    revision: str  # a commit to pin, 40 hex digits, or empty
    reason: str  # why it cannot be loaded, or empty

    @property
    def memory(self) -> float:
        """Estimated GPU memory in GiB: two bytes per parameter (bfloat16), times `MARGIN`."""
        return 2e9 * self.parameters / 2**30 * MARGIN


with Path(__file__).with_name("checkpoints.csv").open(encoding="utf-8", newline="") as _file:
    CHECKPOINTS = {
        row["checkpoint"]: Checkpoint(**row | {"parameters": float(row["parameters"])})
        for row in csv.DictReader(_file)
    }
