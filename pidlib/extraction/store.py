"""Named array shards of one computation: written atomically, verified on read, resumable."""

import hashlib
import io
import json
import logging
import shutil
import tarfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from pidlib._common import fingerprint, replacing
from pidlib.extraction.claims import Held, claimed, without_waiting

log = logging.getLogger(__name__)
_SUFFIX = ".safetensors"
_HEADER = "shard"  # with two metadata keys, safetensors files differ from run to run


class CorruptShard(ValueError):
    """A shard that does not match its checksum, its name or its computation."""


@dataclass(frozen=True, eq=False)
class Shard:
    """Named arrays, and facts about them as JSON values."""

    arrays: Mapping[str, np.ndarray]
    facts: Mapping[str, Any] = field(default_factory=dict)


Make = Callable[[], Shard]


class Store:
    """The shards of one computation: files of a folder, joined in ``FOLDER.tar`` once complete.

    A shard is a safetensors file, renamed once it is on disk, whose header has its name, checksum,
    ``provenance`` (device, versions) and ``identity``: everything that determines the numbers, as
    JSON. Processes write without locks, a killed run leaves complete shards, claims save work only.
    """

    def __init__(self, folder: str | Path, identity: object = None, provenance: Mapping = {}):
        self.folder = Path(folder)
        self.file = self.folder.with_name(f"{self.folder.name}.tar")
        self.identity = json.loads(json.dumps(identity))
        self.provenance = dict(provenance)

    @property
    def names(self) -> tuple[str, ...]:
        """The stored shards, sorted by name."""
        names: set[str] = set()
        with suppress(FileNotFoundError):  # first the folder: it is removed after it was joined
            names = {path.stem for path in self.folder.glob(f"*{_SUFFIX}")}
        return tuple(sorted(names | {name for name, _ in self._joined()}))

    @property
    def is_complete(self) -> bool:
        """Whether all shards were made and joined."""
        return self.file.exists() and not self.folder.exists()

    def get(self, name: str, make: Make) -> Shard:
        """Read a shard; make and write it first, as `claimed`, if it is missing or corrupt."""
        if (shard := self._intact(name)) is None:
            with claimed(self.folder / f".{name}.claim"):
                if (shard := self._intact(name)) is None:  # nobody made it meanwhile
                    self.write(name, make())
                    shard = self.read(name)
        return shard

    def fill(self, parts: Mapping[str, Make], done: Callable = lambda shard: None) -> list[Shard]:
        """`get` all shards, call ``done``, join them; an OSError if the disk is too small."""
        shards, missing = {}, parts.keys() - self.names
        for name, make in parts.items():
            with suppress(Held), without_waiting():
                shards[name] = self.get(name, make)
                size = sum(array.nbytes for array in shards[name].arrays.values())
                self.require(size * len(missing := missing - {name}))
                done(shards[name])
        for name in [name for name in parts if name not in shards]:  # others are making these
            shards[name] = self.get(name, parts[name])
            done(shards[name])
        self.join(parts)
        return [shards[name] for name in parts]

    def read(self, name: str) -> Shard:
        """Read a shard; raise a FileNotFoundError if it is not stored, or a `CorruptShard`."""
        try:
            data = self._bytes(name)
            header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
            note, arrays = json.loads(header["__metadata__"][_HEADER]), load(data)
            if note.pop("sha256") != _digest(note, arrays):
                raise ValueError("its SHA-256 differs")
            if (note["name"], note["identity"]) != (name, self.identity):
                raise ValueError(f"it is {note['name']!r} of another computation")
            return Shard(arrays, note["facts"])
        except (SafetensorError, tarfile.ReadError, ValueError, KeyError, TypeError) as error:
            raise CorruptShard(f"shard {self.folder / name} is corrupt: {error}") from error

    def write(self, name: str, shard: Shard) -> None:
        """Write a shard."""
        arrays = {key: np.ascontiguousarray(value) for key, value in shard.arrays.items()}
        note = {"identity": self.identity, "name": name}
        note = json.loads(json.dumps(note | {"facts": shard.facts, "provenance": self.provenance}))
        text = json.dumps(note | {"sha256": _digest(note, arrays)}, sort_keys=True)
        data = save(arrays, metadata={_HEADER: text})
        for _ in range(9):
            with suppress(FileNotFoundError):  # the folder is gone: another process joined it
                with replacing(self.folder / f"{name}{_SUFFIX}") as part:
                    part.write_bytes(data)
                return
        raise FileNotFoundError(f"cannot write to {self.folder}: it is removed again and again")

    def require(self, size: float) -> None:
        """Raise an OSError if the disk has no space for ``size`` bytes."""
        if size > (free := shutil.disk_usage(self.folder.parent).free):
            needed = f"about {size / 1e6:,.0f} MB and its disk has {free / 1e6:,.0f} MB free"
            raise OSError(f"{self.folder} needs {needed}: request fewer samples or layers")

    def join(self, names: Iterable[str]) -> None:
        """Once these shards are stored, join all in one file: equal bytes, whoever does it."""
        if not self.folder.exists() or set(names) - set(self.names):
            return
        with replacing(self.file) as part, tarfile.open(part, "w") as joined:
            for name in self.names:
                data, entry = self._bytes(name), tarfile.TarInfo(f"{name}{_SUFFIX}")
                entry.size = len(data)
                joined.addfile(entry, io.BytesIO(data))
        shutil.rmtree(self.folder, ignore_errors=True)

    def _intact(self, name: str) -> Shard | None:
        try:
            return self.read(name)
        except FileNotFoundError:
            return None
        except CorruptShard as error:
            log.warning("%s; computing it again", error)
            return None

    def _bytes(self, name: str) -> bytes:
        with suppress(FileNotFoundError):
            return (self.folder / f"{name}{_SUFFIX}").read_bytes()
        for other, data in self._joined():
            if other == name:
                return data()
        raise FileNotFoundError(f"no shard {name} in {self.folder} or {self.file.name}")

    def _joined(self) -> Iterator[tuple[str, Callable[[], bytes]]]:
        """The names of joined shards, and functions that read them; up to where a file is cut."""
        with suppress(FileNotFoundError, tarfile.ReadError), tarfile.open(self.file) as joined:
            for entry in filter(tarfile.TarInfo.isfile, joined):
                yield entry.name.removesuffix(_SUFFIX), joined.extractfile(entry).read


def _digest(note: Mapping, arrays: Mapping[str, np.ndarray]) -> str:
    digest = hashlib.sha256(json.dumps(note, sort_keys=True).encode())
    for name, array in sorted(arrays.items()):
        digest.update(f"{name} {array.dtype} {array.shape}".encode() + array.tobytes())
    return digest.hexdigest()


@contextmanager
def open_store(cache: str | Path, identity: Mapping, provenance: Mapping) -> Iterator[Store]:
    """Open the store of a cache that is named by the fingerprint of the identity."""
    Path(cache).mkdir(parents=True, exist_ok=True)
    yield Store(Path(cache) / fingerprint(**identity), identity, provenance)
