"""What is known of the real checkpoints: those that the papers name, Llama 3.2 Vision, which attends across, and others that hear.

The facts stand in ``checkpoints.csv``. Parameters are nominal and rounded, of Qwen2.5-Omni those of the part that is loaded (it thinks, and
does not talk). Licences are as the cards name them (read the card before use); that of Qwen2.5-Omni-3B is told by its file LICENSE.
A revision is a commit under which public code is known to use the checkpoint: a suggestion to pin, never a default. Paper 2 tells
models, not checkpoints, and paper 1 families: which checkpoint stands for them is our choice.
"""

import csv
from dataclasses import dataclass
from pathlib import Path

MARGIN = 1.2  # memory over that of the weights: activations of a batch, buffers, the CUDA context


@dataclass(frozen=True)
class Checkpoint:
    """One checkpoint of the hub.

    Attributes
    ----------
    checkpoint : str
        ``"owner/name"``.
    family : str
        ``config.model_type``, the name of its row in `pidlib.extraction.families`.
    parameters : float
        In billions.
    licence : str
        As its card names it; ``(gated)`` where the hub asks for consent first.
    paper : str
        ``"1"``, ``"2"``, both or neither.
    revision : str
        A commit to pin, 40 hex digits, or nothing.
    reason : str
        Why it cannot be loaded, or nothing: then `AutoModelForImageTextToText` and `AutoProcessor` load it.
    """

    checkpoint: str
    family: str
    parameters: float
    licence: str
    paper: str
    revision: str
    reason: str

    @property
    def memory(self) -> float:
        """About the GiB of GPU memory it takes: two bytes a parameter (bfloat16) and `MARGIN`.

        >>> round(CHECKPOINTS["Qwen/Qwen2.5-VL-7B-Instruct"].memory)
        19
        """
        return 2e9 * self.parameters / 2**30 * MARGIN


def _read() -> dict[str, Checkpoint]:
    with Path(__file__).with_name("checkpoints.csv").open(encoding="utf-8", newline="") as file:
        rows = [Checkpoint(**row | {"parameters": float(row["parameters"])}) for row in csv.DictReader(file)]
    return {row.checkpoint: row for row in rows}


CHECKPOINTS = _read()
