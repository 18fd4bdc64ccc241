"""A hub on this machine: folders as repositories, in the protocol of huggingface.co."""

import hashlib
import json
import re
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

API = re.compile(r"/api/(models|datasets)/([^/]+/[^/]+)(?:/(revision|tree)/([^/]+)(?:/(.+))?)?")
FILE = re.compile(r"(?:/cdn)?/(?:(datasets)/)?([^/]+/[^/]+)/resolve/([^/]+)/(.+)")
LARGE = (".safetensors", ".parquet", ".mp4")  # redirected, as files of Git LFS are


class Repository(NamedTuple):
    folder: Path
    commit: str
    gated: bool

    def files(self) -> dict[str, Path]:
        paths = sorted(path for path in self.folder.rglob("*") if path.is_file())
        return {path.relative_to(self.folder).as_posix(): path for path in paths}


class Hub(ThreadingHTTPServer):
    """A context manager; ``log`` has the requests.

    ``cut`` has the number of bytes after which the next download of a file breaks off.
    """

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.repositories: dict[tuple[str, str], Repository] = {}
        self.log: list[str] = []
        self.cut: dict[str, int] = {}

    def add(self, name: str, folder: Path, kind: str = "models", gated: bool = False) -> str:
        """Serve a folder; return its commit."""
        commit = hashlib.sha1(f"{kind} {name} {folder}".encode()).hexdigest()
        self.repositories[kind, name] = Repository(folder, commit, gated)
        return commit

    def __enter__(self) -> "Hub":
        Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *_):
        self.shutdown()
        self.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        path = unquote(urlsplit(self.path).path)
        asked = self.headers.get("Range", "")
        self.server.log.append(f"{self.command} {path} {asked}".strip())
        if match := API.fullmatch(path):
            self.describe(*match.groups())
        elif match := FILE.fullmatch(path):
            self.file(*match.groups(), asked)
        else:
            self.fail(404, "EntryNotFound")

    do_HEAD = do_GET

    def describe(self, kind, name, what, revision, inside):
        if (repository := self.find(kind, name, revision)) is None:
            return
        hashes = {path: hash_of(file) for path, file in repository.files().items()}
        if what != "tree":
            siblings = [{"rfilename": path} for path in hashes]
            facts = {"id": name, "sha": repository.commit, "siblings": siblings, "tags": []}
            return self.send(json.dumps(facts).encode())
        rows = []
        for path, digest in hashes.items():
            size = (repository.folder / path).stat().st_size
            row = {"type": "file", "path": path, "size": size, "oid": digest[:40]}
            if path.endswith(LARGE):
                row["lfs"] = {"oid": digest, "size": size, "pointerSize": 134}
            rows += [row] if not inside or path.startswith(f"{inside}/") else []
        return self.send(json.dumps(rows).encode()) if rows else self.fail(404, "EntryNotFound")

    def file(self, kind, name, revision, path, asked):
        repository = self.find(kind or "models", name, revision)
        if repository is None:
            return
        if repository.gated:
            return self.fail(403 if self.headers.get("Authorization") else 401, "GatedRepo")
        commit = {"X-Repo-Commit": repository.commit}
        if (file := repository.files().get(path)) is None:
            return self.fail(404, "EntryNotFound", commit)
        content, etag = file.read_bytes(), f'"{hash_of(file)}"'
        if path.endswith(LARGE) and not self.path.startswith("/cdn/"):
            linked = {"X-Linked-Etag": etag, "X-Linked-Size": str(len(content))}
            location = {"Location": f"{self.server.url}/cdn{self.path}"}
            return self.send(b"", 302, commit | linked | location)
        start = int(asked.removeprefix("bytes=").removesuffix("-") or 0)
        headers = commit | {"ETag": etag, "Accept-Ranges": "bytes"}
        if start:
            headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
        self.send(content[start:], 206 if start else 200, headers, path)

    def find(self, kind, name, revision) -> Repository | None:
        repository = self.server.repositories.get((kind, name))
        if repository is None:
            self.fail(401, "RepoNotFound")  # as to anyone who is not logged in
        elif revision not in (None, "main", repository.commit):
            return self.fail(404, "RevisionNotFound")
        return repository

    def fail(self, status, code, headers=()):
        self.send(b"{}", status, {"X-Error-Code": code, "X-Error-Message": code, **dict(headers)})

    def send(self, content, status=200, headers=(), path=""):
        self.send_response(status)
        for key, value in {**dict(headers), "Content-Length": str(len(content))}.items():
            self.send_header(key, value)
        self.end_headers()
        if self.command == "GET":
            kept = self.server.cut.pop(path, len(content))
            self.wfile.write(content[:kept])
            self.close_connection |= kept < len(content)

    def log_message(self, *_):
        """Print nothing."""


def hash_of(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()
