"""Partial information decomposition of multimodal language models: exact, certified, reproducible.

Tables: `pid`, `sensory_pid`, `gate`. A model's answers: `Decisions`, `decision_pid`. Codes of embeddings: `Codebook`, `estimate`.
Of clips that are seen and heard: `pidlib.sensory` (`sensory_pid` is for tables).
To ask a model, `pidlib.models.load`, `pidlib.benchmarks.load` and `pidlib.extraction.extract`.
"""

from pidlib.clustering import Codebook
from pidlib.decisions import Decisions, decision_pid
from pidlib.decomposition import PID, pid, sensory_pid
from pidlib.distributions import GATES, gate
from pidlib.uncertainty import estimate

__all__ = ["GATES", "PID", "Codebook", "Decisions", "decision_pid", "estimate", "gate", "pid", "sensory_pid"]
