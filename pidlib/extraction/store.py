"""A folder of named array shards: written atomically, verified on read, resumable."""

import hashlib
import json
import logging
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock
from safetensors import SafetensorError
from safetensors.numpy import load, save

from pidlib._common import fingerprint, replacing

log = logging.getLogger(__name__)
MANIFEST = "manifest.json"
_HEADER = "shard"  # with two metadata keys, safetensors files differ from run to run


class CorruptShard(ValueError):
    """A shard that does not match its manifest: missing, truncated, changed or swapped."""


@dataclass(frozen=True, eq=False)
class Shard:
    """Named arrays, and facts about them as JSON values."""

    arrays: Mapping[str, np.ndarray]
    facts: Mapping[str, Any] = field(default_factory=dict)


class Store:
    """A folder of ``*.safetensors`` shards with a ``manifest.json``.

    A shard is flushed to disk and renamed before its SHA-256 enters the manifest, which therefore
    lists complete shards only: after a killed run, the next run computes the missing shards.

    A new folder needs ``identity``, everything that determines the numbers, as JSON; `open_store`
    names the folder after it. ``provenance`` (device, versions) is saved in the manifest too.
    """

    def __init__(
        self, folder: str | Path, identity: Mapping | None = None, provenance: Mapping | None = None
    ):
        self.folder = Path(folder)
        path = self.folder / MANIFEST
        if not path.exists():
            if identity is None:
                raise FileNotFoundError(f"no {MANIFEST} in {self.folder}: nothing is stored there")
            self.folder.mkdir(parents=True, exist_ok=True)
            self.identity, self.provenance, self._shards = identity, provenance or {}, {}
            return
        try:
            manifest = json.loads(path.read_text())
            self.identity, self.provenance = manifest["identity"], manifest["provenance"]
            self._shards = dict(manifest["shards"].items())
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            problem = f"{path} is not a manifest of shards ({error})"
            raise ValueError(f"{problem}; delete {self.folder} to start again") from error

    @property
    def names(self) -> tuple[str, ...]:
        """The stored shards, sorted by name."""
        return tuple(sorted(self._shards))

    def get(self, name: str, make: Callable[[], Shard]) -> Shard:
        """Read a shard; make and write it first if it is missing or corrupt."""
        if name in self._shards:
            try:
                return self.read(name)
            except CorruptShard as error:
                log.warning("%s; computing it again", error)
        self.write(name, make())
        return self.read(name)

    def read(self, name: str) -> Shard:
        """Read a shard; raises `CorruptShard` if it does not match its checksum."""
        path, entry = self._path(name), self._shards[name]
        if not path.exists():
            raise CorruptShard(f"shard {path} is missing")
        data = path.read_bytes()
        if hashlib.sha256(data).hexdigest() != entry["sha256"]:
            sizes = f"{len(data)} bytes, expected {entry['bytes']} of another SHA-256"
            raise CorruptShard(f"shard {path} is corrupt: {sizes}")
        try:
            length = int.from_bytes(data[:8], "little")
            facts = json.loads(json.loads(data[8 : 8 + length])["__metadata__"][_HEADER])
            return Shard(load(data), facts)
        except (SafetensorError, ValueError, KeyError) as error:
            raise CorruptShard(f"{path} is not a shard of this store: {error}") from error

    def write(self, name: str, shard: Shard):
        """Write a shard, then the manifest that lists it."""
        arrays = {key: np.ascontiguousarray(value) for key, value in shard.arrays.items()}
        facts = json.dumps(shard.facts, sort_keys=True, separators=(",", ":"))
        data = save(arrays, metadata={_HEADER: facts})
        with replacing(self._path(name)) as part:
            part.write_bytes(data)
        self._shards[name] = {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}
        described = {"identity": self.identity, "provenance": self.provenance}
        text = json.dumps(described | {"shards": self._shards}, indent=1, sort_keys=True) + "\n"
        with replacing(self.folder / MANIFEST) as part:
            part.write_text(text, encoding="utf-8")

    def require(self, size: int):
        """Raise an OSError if the disk has no space for ``size`` bytes, minus those stored."""
        missing = size - sum(entry["bytes"] for entry in self._shards.values())
        if missing > (free := shutil.disk_usage(self.folder).free):
            needed = f"about {missing / 1e6:,.0f} MB and its disk has {free / 1e6:,.0f} MB free"
            raise OSError(f"{self.folder} needs {needed}: request fewer samples or layers")

    def _path(self, name: str) -> Path:
        return self.folder / f"{name}.safetensors"


@contextmanager
def open_store(cache: str | Path, identity: Mapping, provenance: Mapping) -> Iterator[Store]:
    """Open the subfolder of a cache that is named by the fingerprint, locked while it is open."""
    folder = Path(cache) / fingerprint(**identity)
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / ".lock"):
        store = Store(folder, identity, provenance)
        if fingerprint(**store.identity) != folder.name:
            raise ValueError(f"{folder} holds another computation; delete it to start again")
        yield store
