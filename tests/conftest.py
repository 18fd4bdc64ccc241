"""Run every test, and every process that it starts, on one thread, offline, without sockets."""

import os
import runpy
from pathlib import Path

OFFLINE = Path(__file__).with_name("offline")

os.environ.update(
    HF_HUB_OFFLINE="1",
    TRANSFORMERS_OFFLINE="1",
    HF_DATASETS_OFFLINE="1",
    TOKENIZERS_PARALLELISM="false",
)
os.environ.update(OMP_NUM_THREADS="1", OMP_WAIT_POLICY="PASSIVE", MPLBACKEND="agg")
os.environ["PYTHONPATH"] = os.pathsep.join(
    [str(OFFLINE), str(OFFLINE.parents[1]), os.environ.get("PYTHONPATH", "")]
)
runpy.run_path(str(OFFLINE / "sitecustomize.py"))

import torch  # noqa: E402  (the thread settings above are read on import)

torch.set_num_threads(1)
