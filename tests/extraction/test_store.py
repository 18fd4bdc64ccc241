"""Shards are complete or absent after a crash, and corruption is detected."""

import os
import re
import shutil
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
from filelock import SoftFileLease
from safetensors.numpy import save_file

from pidlib._common import fingerprint
from pidlib.extraction import claims
from pidlib.extraction import store as store_module
from pidlib.extraction.claims import Held, claimed, without_waiting
from pidlib.extraction.store import CorruptShard, Shard, Store, open_store

NAMES = ("a", "b", "c")


def make(name):
    rng = np.random.default_rng(ord(name))
    arrays = {
        "x/1": rng.random((3, 2), dtype=np.float32),
        "index": rng.integers(9, size=4),
        "w": rng.random(2),
    }
    return Shard(arrays, {"ids": [name], "é": None})


IDENTITY = {"seed": 0, "layers": (1, 2)}


def parts(computed, names=NAMES):
    return {name: lambda name=name: computed.append(name) or make(name) for name in names}


def fill(folder, computed):
    store = Store(folder, IDENTITY, {"device": "cpu"})
    store.fill(parts(computed))
    return store


def content(folder):
    """The files of a cache by their relative paths."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def test_write_and_read(tmp_path):
    fill(tmp_path / "run", [])
    assert list(content(tmp_path)) == ["run.tar"]
    store = Store(tmp_path / "run", IDENTITY)
    assert store.is_complete and store.names == NAMES
    for name in NAMES:
        shard, expected = store.read(name), make(name)
        assert shard.facts == expected.facts and shard.arrays.keys() == expected.arrays.keys()
        for key, value in expected.arrays.items():
            assert shard.arrays[key].dtype == value.dtype
            np.testing.assert_array_equal(shard.arrays[key], value)


def test_complete_store_is_read_only(tmp_path):
    first, second, read = [], [], []
    fill(tmp_path / "run", first)
    before = content(tmp_path)
    fill(tmp_path / "run", second)
    Store(tmp_path / "run", IDENTITY).fill(parts([]), lambda shard: read.append(shard.facts["ids"]))
    assert first == list(NAMES) and second == [] and content(tmp_path) == before
    assert read == [[name] for name in NAMES]


def test_two_runs_write_the_same_bytes_in_any_order(tmp_path):
    fill(tmp_path / "one", [])
    Store(tmp_path / "two", IDENTITY, {"device": "cpu"}).get("c", lambda: make("c"))
    fill(tmp_path / "two", [])
    assert content(tmp_path)["one.tar"] == content(tmp_path)["two.tar"]


def test_a_joined_store_can_grow(tmp_path):
    fill(tmp_path / "run", [])
    grown = Store(tmp_path / "run", IDENTITY, {"device": "cpu"})
    computed = []
    grown.fill(parts(computed, "abcd"))
    assert (
        computed == ["d"]
        and grown.names == tuple("abcd")
        and list(content(tmp_path)) == ["run.tar"]
    )


@pytest.mark.parametrize("call", ["fsync", "replace"])
@pytest.mark.parametrize("moment", range(4))
def test_crash_at_any_moment_leaves_complete_shards(tmp_path, monkeypatch, call, moment):
    fill(tmp_path / "uninterrupted" / "run", [])
    real, count = getattr(os, call), iter(range(100))

    def crashes(*arguments):
        if next(count) == moment:
            raise KeyboardInterrupt
        return real(*arguments)

    monkeypatch.setattr(os, call, crashes)
    first, second, run = [], [], tmp_path / "interrupted" / "run"
    with pytest.raises(KeyboardInterrupt):
        fill(run, first)
    monkeypatch.undo()
    kept = Store(run, IDENTITY)
    assert [kept.read(name).facts["ids"] for name in kept.names] == [[name] for name in kept.names]
    fill(run, second)
    assert set(first) | set(second) == set(NAMES) and len(first) + len(second) <= len(NAMES) + 1
    assert content(run.parent) == content(tmp_path / "uninterrupted")


def flip(path):
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)


def swap(path):
    path.write_bytes(path.with_name("a.safetensors").read_bytes())


def foreign(path):
    save_file({"x": np.zeros(2)}, path)


def renamed(path):
    other = Store(path.parent.with_name("other"), {"seed": 1})
    other.write("b", make("b"))
    path.write_bytes((other.folder / path.name).read_bytes())
    shutil.rmtree(other.folder)


def cut(path):
    path.write_bytes(path.read_bytes()[:-5])


@pytest.mark.parametrize("harm", [flip, swap, foreign, renamed, cut])
def test_corrupt_shard_is_named_and_recomputed_alone(tmp_path, caplog, harm):
    store, computed = Store(tmp_path / "run", IDENTITY, {"device": "cpu"}), []
    for name in NAMES:
        store.write(name, make(name))
    fill(tmp_path / "whole", [])
    harm(store.folder / "b.safetensors")
    with pytest.raises(CorruptShard, match=r"run/b is corrupt"):
        store.read("b")
    fill(store.folder, computed)
    assert computed == ["b"] and "run/b is corrupt" in caplog.text
    assert content(tmp_path)["run.tar"] == content(tmp_path)["whole.tar"]


@pytest.mark.parametrize("where", ["b", "end"])
def test_a_damaged_file_of_joined_shards_is_mended(tmp_path, caplog, where):
    fill(tmp_path / "run", [])
    before, computed, path = content(tmp_path), [], tmp_path / "run.tar"
    data = bytearray(path.read_bytes())
    if where == "b":
        data[data.index(make("b").arrays["w"].tobytes())] ^= 1
    else:  # cut within the last shard
        data = data[: data.index(make("c").arrays["w"].tobytes())]
    path.write_bytes(data)
    fill(tmp_path / "run", computed)
    assert computed == ["b" if where == "b" else "c"] and content(tmp_path) == before


def test_nothing_stored(tmp_path):
    store = Store(tmp_path / "nowhere", IDENTITY)
    with pytest.raises(FileNotFoundError, match="no shard a in .*nowhere or nowhere.tar"):
        store.read("a")
    assert store.names == () and not store.is_complete


def test_full_disk_stops_before_more_work(tmp_path, monkeypatch):
    store = Store(tmp_path / "run", {})
    store.require(6_000_000)
    free = store_module.shutil._ntuple_diskusage(9e6, 8e6, 1e6)
    monkeypatch.setattr(store_module.shutil, "disk_usage", lambda folder: free)
    with pytest.raises(OSError, match="needs about 2 MB and its disk has 1 MB free"):
        store.require(2_100_000)
    store.require(900_000)


def test_a_store_is_named_by_its_identity(tmp_path):
    with open_store(tmp_path / "cache", {"n": 1}, {}) as store:
        store.write("a", Shard({"x": np.arange(3)}))
    assert store.folder == tmp_path / "cache" / fingerprint(n=1)


@pytest.mark.parametrize("names", [("abc", "abc"), ("ab", "cde"), ("cba", "bcd")])
def test_writers_without_any_lock_lose_nothing(tmp_path, monkeypatch, names):
    """As on file systems whose locks do not reach other machines: the same or different shards."""
    monkeypatch.setattr(store_module, "claimed", lambda path: nullcontext())
    everything = sorted(set("".join(names)))
    for name in everything:  # the order of two writers in time differs from run to run
        Store(tmp_path / "whole", IDENTITY).write(name, make(name))
    whole = content(tmp_path / "whole")
    for run in range(20):
        folder, start = tmp_path / f"{run}", threading.Barrier(2)

        def write(mine, folder=folder, start=start):
            start.wait()
            for name, make_part in parts([], mine).items():
                Store(folder, IDENTITY).get(name, make_part)

        with ThreadPoolExecutor(2) as pool:
            list(pool.map(write, names))
        assert content(folder) == whole


def test_all_writers_without_any_lock_join_the_same_file(tmp_path, monkeypatch):
    monkeypatch.setattr(store_module, "claimed", lambda path: nullcontext())
    fill(tmp_path / "whole", [])
    for run in range(20):
        with ThreadPoolExecutor(3) as pool:
            results = list(pool.map(lambda _: fill(tmp_path / f"{run}", []), range(3)))  # noqa: B023
        assert all(store.read(name).facts["ids"] == [name] for store in results for name in NAMES)
        fill(tmp_path / f"{run}", [])  # a late shard may have made the folder again
        assert not (tmp_path / f"{run}").exists()
        assert (tmp_path / f"{run}.tar").read_bytes() == (tmp_path / "whole.tar").read_bytes()


def test_a_shard_is_made_once_while_another_waits(tmp_path):
    computed, started, go = [], threading.Event(), threading.Event()

    def slow(name):
        computed.append(name)
        started.set()
        assert go.wait(10)
        return make(name)

    store = Store(tmp_path / "run", IDENTITY)
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(store.get, "a", lambda: slow("a"))
        assert started.wait(10)
        second = pool.submit(store.get, "a", lambda: slow("a"))
        with pytest.raises(
            Held, match=rf"a in {tmp_path}/run is being made by process {os.getpid()}"
        ):
            with without_waiting():
                store.get("a", lambda: slow("a"))
        go.set()
        assert first.result(10).facts == second.result(10).facts
    assert computed == ["a"]


def test_a_shard_that_is_joined_while_another_waits_is_read(tmp_path, caplog):
    store, go = Store(tmp_path / "run", IDENTITY), threading.Event()
    with ThreadPoolExecutor(1) as pool:
        with SoftFileLease(store.folder / ".a.claim", lease_duration=claims.LEASE):
            waiting = pool.submit(store.get, "a", lambda: go.set())
            while "waiting: a in" not in caplog.text:
                time.sleep(0.01)
            store.write("a", make("a"))
            store.join(["a"])  # removes the folder with the claim
        assert waiting.result(10).facts == make("a").facts
    assert not go.is_set() and store.is_complete


def test_others_shards_come_last(tmp_path):
    """A process that may not wait makes all that is free, and says who has the rest."""
    store, computed = Store(tmp_path / "run", IDENTITY), []
    with SoftFileLease(store.folder / ".a.claim", lease_duration=claims.LEASE):
        with pytest.raises(Held), without_waiting():
            store.fill(parts(computed))
    assert computed == ["b", "c"] and not store.is_complete
    store.fill(parts(computed))
    assert computed == ["b", "c", "a"] and store.is_complete


def test_the_claim_of_a_dead_process_expires(tmp_path):
    code = "import os, sys; from pidlib.extraction.claims import claimed; from pathlib import Path;"
    code += "claim = claimed(Path(sys.argv[1])); claim.__enter__(); os._exit(1)"
    path = tmp_path / "run" / ".a.claim"
    subprocess.run([sys.executable, "-c", code, str(path)], check=False)
    assert path.exists()
    with without_waiting(), claimed(path):
        pass
    assert not path.exists()


def test_the_claim_of_another_machine_expires_when_it_is_not_renewed(tmp_path, monkeypatch):
    path = tmp_path / "run" / ".a.claim"
    with claimed(path):
        text = path.read_text()
    path.write_text(re.sub("host=.*", "host=elsewhere", text).replace("120.0", "0.3"))
    monkeypatch.setattr(claims, "LEASE", 0.3)
    claims._lease.cache_clear()
    with pytest.raises(Held, match="of elsewhere"), without_waiting(), claimed(path):
        pass
    with claimed(path):
        pass
    claims._lease.cache_clear()


def test_a_claim_survives_a_folder_that_is_removed_meanwhile(tmp_path, monkeypatch):
    def removed(*_, **__):
        raise FileExistsError

    monkeypatch.setattr(Path, "mkdir", removed)
    with claimed(tmp_path / "gone" / ".part"):
        assert not (tmp_path / "gone").exists()
