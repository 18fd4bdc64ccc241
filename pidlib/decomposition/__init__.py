"""Partial information decomposition of tables, decisions and codes. See `pid` for the equations."""

from pidlib.decomposition.atoms import PID, mean, pid, sensory_pid

__all__ = ["PID", "mean", "pid", "sensory_pid"]
