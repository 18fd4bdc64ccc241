"""Shards are complete or absent after a crash, and corruption is detected."""

import json
import os

import numpy as np
import pytest
from safetensors.numpy import save_file

from pidlib._common import fingerprint
from pidlib.extraction import store as store_module
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


def fill(folder, computed):
    store = Store(folder, {"seed": 0, "layers": (1, 2)})
    for name in NAMES:
        store.get(name, lambda name=name: computed.append(name) or make(name))
    return store


def content(folder):
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def test_write_and_read(tmp_path):
    fill(tmp_path, [])
    store = Store(tmp_path)
    assert store.names == NAMES and store.identity == {"seed": 0, "layers": [1, 2]}
    for name in NAMES:
        shard, expected = store.read(name), make(name)
        assert shard.facts == expected.facts and shard.arrays.keys() == expected.arrays.keys()
        for key, value in expected.arrays.items():
            assert shard.arrays[key].dtype == value.dtype
            np.testing.assert_array_equal(shard.arrays[key], value)


def test_complete_store_is_read_only(tmp_path):
    first, second = [], []
    fill(tmp_path, first)
    before = content(tmp_path)
    fill(tmp_path, second)
    assert first == list(NAMES) and second == [] and content(tmp_path) == before


def test_two_runs_write_the_same_bytes(tmp_path):
    fill(tmp_path / "one", [])
    fill(tmp_path / "two", [])
    assert content(tmp_path / "one") == content(tmp_path / "two")


@pytest.mark.parametrize("call", ["fsync", "replace"])
@pytest.mark.parametrize("moment", range(6))
def test_crash_at_any_moment_leaves_complete_shards(tmp_path, monkeypatch, call, moment):
    fill(tmp_path / "uninterrupted", [])
    real, count = getattr(os, call), iter(range(100))

    def crashes(*arguments):
        if next(count) == moment:
            raise KeyboardInterrupt
        return real(*arguments)

    monkeypatch.setattr(os, call, crashes)
    first, second = [], []
    with pytest.raises(KeyboardInterrupt):
        fill(tmp_path / "interrupted", first)
    monkeypatch.undo()
    if (tmp_path / "interrupted" / "manifest.json").exists():
        kept = Store(tmp_path / "interrupted")
        assert [kept.read(name).facts["ids"] for name in kept.names] == [
            [name] for name in kept.names
        ]
    fill(tmp_path / "interrupted", second)
    assert set(first) | set(second) == set(NAMES) and len(first) + len(second) <= len(NAMES) + 1
    assert content(tmp_path / "interrupted") == content(tmp_path / "uninterrupted")


def flip(path):
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)


def swap(path):
    path.write_bytes(path.with_name("a.safetensors").read_bytes())


@pytest.mark.parametrize(
    "harm",
    [flip, swap, lambda path: path.write_bytes(path.read_bytes()[:-5]), lambda path: path.unlink()],
)
def test_corrupt_shard_is_named_and_recomputed_alone(tmp_path, caplog, harm):
    fill(tmp_path, [])
    before, computed = content(tmp_path), []
    harm(tmp_path / "b.safetensors")
    with pytest.raises(CorruptShard, match=r"b\.safetensors is (corrupt|missing)"):
        Store(tmp_path).read("b")
    fill(tmp_path, computed)
    assert computed == ["b"] and "b.safetensors" in caplog.text and content(tmp_path) == before


def test_foreign_file_with_the_right_checksum_is_refused(tmp_path):
    store = fill(tmp_path, [])
    path = tmp_path / "a.safetensors"
    save_file({"x": np.zeros(2)}, path)
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    manifest["shards"]["a"] = {
        "sha256": store_module.hashlib.sha256(path.read_bytes()).hexdigest(),
        "bytes": path.stat().st_size,
    }
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    store = Store(tmp_path)
    with pytest.raises(CorruptShard, match="not a shard of this store"):
        store.read("a")


@pytest.mark.parametrize("text", ["{", "[]", '{"identity": {}}', '{"identity": {}, "shards": []}'])
def test_broken_manifest_is_refused(tmp_path, text):
    (tmp_path / "manifest.json").write_text(text)
    with pytest.raises(ValueError, match="not a manifest of shards"):
        Store(tmp_path, {})


def test_nothing_stored(tmp_path):
    with pytest.raises(FileNotFoundError, match="nothing is stored there"):
        Store(tmp_path / "nowhere")


def test_full_disk_stops_before_more_work(tmp_path, monkeypatch):
    store = Store(tmp_path, {})
    store.write("a", Shard({"x": np.zeros(2**18)}))
    store.require(6_000_000)
    monkeypatch.setattr(
        store_module.shutil,
        "disk_usage",
        lambda folder: store_module.shutil._ntuple_diskusage(9e6, 8e6, 1e6),
    )
    with pytest.raises(OSError, match="needs about 2 MB and its disk has 1 MB free"):
        store.require(4_100_000)
    store.require(3_000_000)  # 2 MB are stored already


def test_a_renamed_folder_of_another_computation_is_refused(tmp_path):
    with open_store(tmp_path, {"n": 1}, {}) as store:
        store.write("a", Shard({"x": np.arange(3)}))
    store.folder.rename(tmp_path / fingerprint(n=2))
    with pytest.raises(ValueError, match="holds another computation"):
        with open_store(tmp_path, {"n": 2}, {}):
            pass
