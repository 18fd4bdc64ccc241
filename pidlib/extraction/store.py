"""A folder of named array shards: written atomically, verified on read, resumable."""

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

    A shard is written to a temporary file, flushed to disk and renamed before its SHA-256 enters
    the manifest. The manifest of a killed run therefore lists complete shards only, and the next
    run computes the missing shards.

    ``identity`` is everything that determines the numbers, as JSON; None opens an existing folder,
    and another identity or a broken manifest is refused. ``provenance`` (device, versions) is saved
    in the manifest of a new folder and never compared.
    """

    def __init__(
        self, folder: str | Path, identity: Mapping | None = None, provenance: Mapping | None = None
    ):
        self.folder = Path(folder)
        requested = identity if identity is None else json.loads(_canonical(identity))
        path = self.folder / MANIFEST
        if not path.exists():
            if requested is None:
                raise FileNotFoundError(f"no {MANIFEST} in {self.folder}: nothing is stored there")
            self.folder.mkdir(parents=True, exist_ok=True)
            self.identity, self.provenance, self._shards = requested, dict(provenance or {}), {}
            return
        try:
            manifest = json.loads(path.read_text())
            self.identity = stored = manifest["identity"]
            self.provenance = manifest.get("provenance", {})
            self._shards = dict(manifest["shards"].items())
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            problem = f"{path} is not a manifest of shards ({error})"
            raise ValueError(f"{problem}; delete {self.folder} to start again") from error
        if requested not in (None, stored):
            listed = "; ".join(
                f"{key}: requested {json.dumps(requested.get(key))}, stored"
                f" {json.dumps(stored.get(key))}"
                for key in sorted({*stored, *requested})
                if stored.get(key) != requested.get(key)
            )
            raise ValueError(f"{self.folder} holds other results ({listed}); use another folder")

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
        path, entry = self._path(name), self._shards.get(name)
        if entry is None:
            stored = ", ".join(self.names) or "none"
            raise CorruptShard(f"no shard {name!r} in {self.folder / MANIFEST}; stored: {stored}")
        if not path.exists():
            raise CorruptShard(f"shard {path} is missing")
        data = path.read_bytes()
        digest = hashlib.sha256(data).hexdigest()
        if digest != entry["sha256"]:
            expected = f"{entry['bytes']} bytes of SHA-256 {entry['sha256'][:12]}"
            actual = f"{len(data)} bytes of SHA-256 {digest[:12]}"
            raise CorruptShard(f"shard {path} is corrupt: {actual}, expected {expected}")
        try:
            length = int.from_bytes(data[:8], "little")
            facts = json.loads(json.loads(data[8 : 8 + length])["__metadata__"][_HEADER])
            return Shard(load(data), facts)
        except (SafetensorError, ValueError, KeyError) as error:
            raise CorruptShard(f"{path} is not a shard of this store: {error}") from error

    def write(self, name: str, shard: Shard):
        """Write a shard, then the manifest that lists it."""
        arrays = {key: np.ascontiguousarray(value) for key, value in shard.arrays.items()}
        data = save(arrays, metadata={_HEADER: _canonical(shard.facts)})
        _write_atomically(self._path(name), data)
        self._shards[name] = {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}
        manifest = {"identity": self.identity, "provenance": self.provenance}
        manifest["shards"] = self._shards
        text = json.dumps(manifest, indent=1, sort_keys=True) + "\n"
        _write_atomically(self.folder / MANIFEST, text.encode())

    def require(self, size: int):
        """Raise an OSError if the disk has no space for ``size`` bytes, minus those stored."""
        free = shutil.disk_usage(self.folder).free
        missing = size - sum(entry["bytes"] for entry in self._shards.values())
        if missing > free:
            sizes = f"about {missing / 1e6:,.0f} MB and its disk has {free / 1e6:,.0f} MB free"
            raise OSError(f"{self.folder} needs {sizes}: request fewer samples or layers")

    def _path(self, name: str) -> Path:
        return self.folder / f"{name}.safetensors"


def _canonical(value: object) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"))


def _write_atomically(path: Path, data: bytes):
    """Replace the content of ``path``; after a crash it has the old or the new content."""
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
