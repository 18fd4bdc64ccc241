"""One list of tasks, done by any number of equal processes on one machine or on many."""

import logging
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from itertools import groupby
from operator import attrgetter
from pathlib import Path
from typing import Any, NamedTuple

from tqdm import tqdm

from pidlib._common import fingerprint
from pidlib.extraction.claims import Held, claimed, without_waiting

log = logging.getLogger(__name__)
PAUSE = 1.0  # seconds before tasks that others hold are tried again


class Task(NamedTuple):
    """Something to make once and keep in the cache; after a failure its group is left out."""

    group: str  # of tasks that follow each other and share what is loaded
    model: str  # that is run or trained
    run: Callable[[], Any]


def work(tasks: Sequence[Task], cache: Path) -> dict[str, Exception]:
    """Do all tasks together with other processes; return the failures by group.

    A process prefers groups that nobody works on, and then helps with the others until all is done.
    """
    failures: dict[str, Exception] = {}
    left, alone = list(tasks), True
    with tqdm(total=len(tasks), desc="extractions and trainings", unit="task") as bar:
        while left:
            held: dict[Task, Held] = {}
            for name, members in groupby(left, attrgetter("group")):
                group, place = list(members), cache / ".claims" / fingerprint(group=name)
                bar.set_postfix_str(name)
                try:
                    with without_waiting(), claimed(place) if alone else nullcontext():
                        for task in group:
                            try:
                                task.run()
                                bar.update()
                            except Held as error:
                                held[task] = error
                except Held as error:  # the whole group
                    held |= dict.fromkeys(group, error)
                except Exception as error:
                    log.error("%s failed", name, exc_info=error)
                    failures[name] = error
            if len(held) == len(left) and not alone:
                bar.set_postfix_str(str(next(iter(held.values()))))
                time.sleep(PAUSE)
            left, alone = list(held), False
    return failures


def launch(arguments: Sequence[str], jobs: int, gpus: bool = False) -> int:
    """Run ``python -m pidlib.experiments`` in several processes; return 0 if any did everything.

    With ``gpus`` (not tried on real ones) each sees one of the visible GPUs. Ctrl-C ends all.
    """
    owns: list[dict[str, str]] = [{}] * jobs
    if gpus:
        import torch

        count = ",".join(map(str, range(torch.cuda.device_count())))
        names = filter(None, os.environ.get("CUDA_VISIBLE_DEVICES", count).split(","))
        if not (owns := [{"CUDA_VISIBLE_DEVICES": name} for name in names]):
            raise ValueError("no GPU is visible; leave out --gpus, or look at nvidia-smi")
    command, workers = [sys.executable, "-m", "pidlib.experiments", *arguments], []
    try:
        for number, own in enumerate(owns):
            env = os.environ | own | ({"TQDM_DISABLE": "1"} if number else {})  # one bar is enough
            workers.append(subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL))
        return min([abs(worker.wait()) for worker in workers])
    finally:
        for worker in workers:
            worker.terminate()
