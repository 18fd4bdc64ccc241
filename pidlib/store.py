"""Named shards of arrays in a folder: written whole or not at all, checked when read, resumed where they stop."""

import hashlib
import json
import logging
import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

log = logging.getLogger(__name__)
MANIFEST = "manifest.json"
_HEADER = "shard"  # safetensors files with two metadata keys differ from run to run: one key, canonical JSON


class CorruptShard(ValueError):
    """A shard that is not what its manifest says: missing, cut short, changed or swapped."""


@dataclass(frozen=True, eq=False)
class Shard:
    """Arrays by name, and facts about them that JSON can hold."""

    arrays: Mapping[str, np.ndarray]
    facts: Mapping[str, Any] = field(default_factory=dict)


class Store:
    """A folder of ``*.safetensors`` shards with a ``manifest.json``.

    A shard is written to a temporary file, flushed to the disk, renamed, and only then entered in the manifest with its SHA-256; so
    whatever moment a run dies at, the manifest names whole shards only, and the next run makes the missing ones. Nothing that is
    read can run code.

    Parameters
    ----------
    folder : path
        Made if it does not exist.
    identity : mapping, optional
        All that is meant to change the numbers, as JSON. A folder made for another identity is refused. None opens what is there.
    provenance : mapping, optional
        What else is worth knowing (device, versions); kept with the manifest of a new folder, never compared.

    Raises
    ------
    FileNotFoundError
        If no identity is given and there is no manifest.
    ValueError
        If the folder was made for another identity, or its manifest cannot be read.

    Examples
    --------
    >>> import tempfile
    >>> store = Store(tempfile.mkdtemp(), identity={"seed": 0})
    >>> for _ in range(2):
    ...     shard = store.get("a", lambda: Shard({"x": np.arange(3)}))
    >>> shard.arrays["x"].tolist(), store.names
    ([0, 1, 2], ('a',))
    """

    def __init__(self, folder: str | Path, identity: Mapping | None = None, provenance: Mapping | None = None):
        self.folder = Path(folder)
        path = self.folder / MANIFEST
        if not path.exists():
            if identity is None:
                raise FileNotFoundError(f"no {MANIFEST} in {self.folder}: nothing was stored there")
            self.folder.mkdir(parents=True, exist_ok=True)
            self._manifest = {"identity": _plain(identity), "provenance": _plain(provenance or {}), "shards": {}}
            return
        try:
            self._manifest = json.loads(path.read_text())
            found = self._manifest["identity"]
            self._manifest["shards"].values()
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"{path} is not a manifest of shards ({error}); remove {self.folder} to start again") from error
        if identity is not None and found != (asked := _plain(identity)):
            keys = sorted(key for key in {*found, *asked} if found.get(key) != asked.get(key))
            differences = "; ".join(f"{key}: asked {_brief(asked.get(key))}, stored {_brief(found.get(key))}" for key in keys)
            raise ValueError(f"{self.folder} holds other results ({differences}); give another folder, or remove it")

    @property
    def identity(self) -> dict:
        """What the numbers in this folder depend on."""
        return self._manifest["identity"]

    @property
    def names(self) -> tuple[str, ...]:
        """The shards that are there, in the order of their names."""
        return tuple(sorted(self._manifest["shards"]))

    def get(self, name: str, make: Callable[[], Shard]) -> Shard:
        """Read a shard, or make and write it if it is missing or corrupt; the others are left alone."""
        if name in self._manifest["shards"]:
            try:
                return self.read(name)
            except CorruptShard as error:
                log.warning("%s; making it again", error)
        self.write(name, make())
        return self.read(name)

    def read(self, name: str) -> Shard:
        """Read a shard and check it against the manifest.

        Raises
        ------
        CorruptShard
            If it is missing, cut short, changed or swapped.
        """
        path, entry = self._path(name), self._manifest["shards"].get(name)
        if entry is None:
            raise CorruptShard(f"no shard {name!r} in the manifest of {self.folder}; there are {', '.join(self.names) or 'none'}")
        if not path.exists():
            raise CorruptShard(f"shard {path} is missing")
        data = path.read_bytes()
        digest = hashlib.sha256(data).hexdigest()
        if digest != entry["sha256"]:
            expected = f"{entry['bytes']} bytes of SHA-256 {entry['sha256'][:12]}"
            raise CorruptShard(f"shard {path} is corrupt: it has {len(data)} bytes of SHA-256 {digest[:12]}, expected {expected}")
        return _unpack(data)

    def write(self, name: str, shard: Shard):
        """Write a shard, then the manifest that names it."""
        facts = {_HEADER: _canonical(shard.facts)}
        data = save({key: np.ascontiguousarray(value) for key, value in shard.arrays.items()}, metadata=facts)
        _replace(self._path(name), data)
        self._manifest["shards"][name] = {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}
        _replace(self.folder / MANIFEST, (json.dumps(self._manifest, indent=1, sort_keys=True) + "\n").encode())

    def require(self, size: int):
        """Stop before any work if the disk has no room for shards of ``size`` bytes in all, less those that are there.

        Raises
        ------
        OSError
            With what is asked and what is free.
        """
        free = shutil.disk_usage(self.folder).free
        missing = size - sum(entry["bytes"] for entry in self._manifest["shards"].values())
        if missing > free:
            needs, has = f"about {missing / 1e6:,.0f} MB", f"{free / 1e6:,.0f} MB"
            raise OSError(f"{self.folder} needs {needs} and its disk has {has} free: make room, or ask for fewer samples or layers")

    def _path(self, name: str) -> Path:
        return self.folder / f"{name}.safetensors"


def _replace(path: Path, data: bytes):
    """Let ``path`` hold ``data``, or what it held before, whatever happens in between."""
    temporary = path.with_name(path.name + ".part")
    with open(temporary, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def _unpack(data: bytes) -> Shard:
    try:
        length = int.from_bytes(data[:8], "little")
        facts = json.loads(json.loads(data[8 : 8 + length])["__metadata__"][_HEADER])
        return Shard(load(data), facts)
    except (SafetensorError, ValueError, KeyError) as error:
        raise CorruptShard(f"not a shard of this store: {error}") from error


def _canonical(value: object) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"))


def _plain(value: Mapping) -> dict:
    """As JSON gives it back: tuples are lists."""
    return json.loads(_canonical(value))


def _brief(value: object) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else text[:57] + "..."
