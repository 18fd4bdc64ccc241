"""One list of tasks, done by any number of equal processes on one machine or on many."""

import logging
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
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
    """Something to make once and to keep in the cache.

    Tasks of a group follow each other and share what is loaded; after a failure, the rest of the
    group is left out.
    """

    group: str
    model: str  # that is run or trained
    run: Callable[[], Any]


def work(tasks: Sequence[Task], cache: Path) -> dict[str, Exception]:
    """Do all tasks together with other processes; return the failures by group.

    A process prefers groups that nobody works on, then helps with the others; it returns when all
    is done, what others do included.
    """
    failures: dict[str, Exception] = {}
    left, in_groups = list(tasks), True
    with tqdm(total=len(tasks), desc="extractions and trainings", unit="task") as bar:
        while left:
            held: dict[Task, Held] = {}
            for name, members in groupby(left, attrgetter("group")):
                group, claim = list(members), cache / ".claims" / fingerprint(group=name)
                bar.set_postfix_str(name)
                try:
                    with without_waiting():
                        if in_groups:
                            with claimed(claim):
                                held |= _do(group, bar)
                        else:
                            held |= _do(group, bar)
                except Held as error:
                    held |= dict.fromkeys(group, error)
                except Exception as error:
                    log.error("%s failed", name, exc_info=error)
                    failures[name] = error
            if len(held) == len(left) and not in_groups:
                bar.set_postfix_str(str(next(iter(held.values()))))
                time.sleep(PAUSE)
            left, in_groups = list(held), False
    with suppress(OSError):
        (cache / ".claims").rmdir()
    return failures


def _do(group: Sequence[Task], bar: tqdm) -> dict[Task, Held]:
    """Run tasks; return those that other processes hold."""
    held = {}
    for task in group:
        try:
            task.run()
            bar.update()
        except Held as error:
            held[task] = error
    return held


def launch(arguments: Sequence[str], jobs: int, gpus: bool = False) -> int:
    """Run ``python -m pidlib.experiments`` in several processes; return 0 if any did everything.

    With ``gpus`` each sees one of the visible GPUs, and there are at most as many. Ctrl-C ends all.
    """
    devices = _gpus() if gpus else []
    if gpus and not devices:
        raise ValueError("no GPU is visible; leave out --gpus, or look at nvidia-smi")
    workers = []
    try:
        for number in range(len(devices) or jobs):
            own = {"TQDM_DISABLE": "1"} if number else {}
            own |= {"CUDA_VISIBLE_DEVICES": devices[number]} if gpus else {}
            command = [sys.executable, "-m", "pidlib.experiments", *arguments]
            workers.append(subprocess.Popen(command, env=os.environ | own))
        return min([abs(worker.wait()) for worker in workers])
    finally:
        for worker in workers:
            worker.terminate()


def _gpus() -> list[str]:
    import torch

    stated = os.environ.get("CUDA_VISIBLE_DEVICES")
    count = map(str, range(torch.cuda.device_count()))
    return list(count) if stated is None else [name for name in stated.split(",") if name]
