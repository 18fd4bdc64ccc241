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

import subprocess  # noqa: E402
import sys  # noqa: E402
from concurrent.futures import ThreadPoolExecutor  # noqa: E402

import pytest  # noqa: E402


@pytest.fixture(scope="session", autouse=True)
def notebook_runs(request, tmp_path_factory):
    """Run the selected notebooks under the smoke preset, on the core that other tests leave idle.

    A dictionary of futures by path: the output folder and the finished process.
    """
    name = "test_a_notebook_runs_and_writes_tables_and_figures_of_its_name"
    items = [item for item in request.session.items if item.name.startswith(name)]

    def run(path, folder):
        given = ["-p", "preset", "smoke", "-p", "output", str(folder)]
        quiet = ["--no-progress-bar", "--log-level", "ERROR", "--cwd", str(folder)]
        command = [sys.executable, "-m", "papermill", *quiet, str(path), os.devnull, *given]
        return folder, subprocess.run(command, capture_output=True, text=True)

    with ThreadPoolExecutor(2) as pool:
        paths = [item.callspec.params["path"] for item in items]
        folders = [tmp_path_factory.mktemp("run") for _ in paths]
        yield dict(zip(paths, map(pool.submit, [run] * len(paths), paths, folders), strict=True))
        pool.shutdown(cancel_futures=True)
