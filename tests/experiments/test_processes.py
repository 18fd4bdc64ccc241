"""Equal processes share one list of tasks: each is done once, by whoever is free."""

import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
import pytest

from pidlib.experiments import processes
from pidlib.experiments.processes import Task, launch, work
from pidlib.extraction.claims import claimed
from pidlib.extraction.store import Shard, Store


@pytest.fixture(autouse=True)
def _short_pause(monkeypatch):
    monkeypatch.setattr(processes, "PAUSE", 0.02)


def store_task(cache, group, name, made, wait=lambda: None):
    """A task that fills a store of two shards."""

    def make(part):
        wait()
        made.append((group, name, part, threading.get_ident()))
        return Shard({"x": np.arange(3)})

    def run():
        store = Store(cache / f"{group}-{name}", {"group": group, "name": name})
        store.fill({part: partial(make, part) for part in "ab"})

    return Task(group, group, run)


def tasks(cache, made, **options):
    return [store_task(cache, group, name, made, **options) for group in "mno" for name in "123"]


def content(cache):
    return {path.name: path.read_bytes() for path in cache.iterdir() if path.is_file()}


@pytest.mark.parametrize("count", [1, 2, 5])
def test_any_number_of_workers_does_each_task_once(tmp_path, count):
    made, alone = [], []
    assert work(tasks(tmp_path / "one", alone), tmp_path / "one") == {}
    cache = tmp_path / "many"
    with ThreadPoolExecutor(count) as pool:
        lists = [
            tasks(cache, made, wait=partial(threading.Event().wait, 0.01)) for _ in range(count)
        ]
        assert list(pool.map(lambda each: work(each, cache), lists)) == [{}] * count
    assert len(made) == len({entry[:3] for entry in made}) == 18
    assert content(cache) == content(tmp_path / "one")


def test_a_late_worker_helps_with_a_group_that_another_works_on(tmp_path):
    made, go, started = [], threading.Event(), threading.Event()

    def wait():  # the first shard takes until the late worker has made one
        started.set()
        if len(made) == 0 and not go.is_set():
            go.wait(10)

    group = [store_task(tmp_path, "m", name, made, wait) for name in "123"]
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(work, group, tmp_path)
        assert started.wait(10)
        go_later = threading.Timer(0.3, go.set)
        started_late = [Task(*task) for task in group]
        go_later.start()
        assert pool.submit(work, started_late, tmp_path).result(20) == first.result(20) == {}
    assert len({thread for *_, thread in made}) == 2 and len(made) == 6


def test_a_failed_group_does_not_end_the_others(tmp_path, caplog):
    made = []
    broken = Task("n", "n", lambda: 1 / 0)
    listed = tasks(tmp_path, made)
    failures = work([*listed[:3], broken, *listed[3:]], tmp_path)
    assert list(failures) == ["n"] and isinstance(failures["n"], ZeroDivisionError)
    assert {entry[0] for entry in made} == {"m", "o"} and "n failed" in caplog.text


def test_an_interrupt_ends_the_work_at_once(tmp_path):
    made = []

    def interrupt():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        work([Task("m", "m", interrupt), *tasks(tmp_path, made)], tmp_path)
    assert made == []
    with claimed(tmp_path / "free.claim"):  # claims were given back
        assert work(tasks(tmp_path, made), tmp_path) == {}


def test_gpus_must_be_there(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    with pytest.raises(ValueError, match="no GPU is visible"):
        launch(["extract"], 1, gpus=True)


def test_one_process_is_started_for_each_gpu(monkeypatch):
    started = []

    class Process:
        def __init__(self, command, env, stdout):
            started.append((command[3:], env["CUDA_VISIBLE_DEVICES"]))

        def wait(self):
            return 3 - len(started)

        def terminate(self):
            started.append("terminated")

    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,GPU-5")
    monkeypatch.setattr(processes.subprocess, "Popen", Process)
    assert launch(["extract"], 1, gpus=True) == 1
    assert started == [(["extract"], "2"), (["extract"], "GPU-5"), "terminated", "terminated"]
