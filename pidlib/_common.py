"""For every module: seeds, fingerprints, unknown names, files, devices, styles of atoms."""

import ast
import difflib
import hashlib
import inspect
import json
import os
import textwrap
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

    Device = torch.device | str | None

# Atom -> symbol, words, color, hatch. Neighbors differ in hue, lightness and hatch (gray print).
ATOM_STYLES = {
    "redundancy": ("$R$", "redundancy", "#029e73", ""),
    "unique_vision": ("$U_v$", "unique to vision", "#0173b2", "/////"),
    "unique_language": (r"$U_\ell$", "unique to language", "#de8f05", r"\\\\\\"),
    "unique_audio": ("$U_a$", "unique to audio", "#ece133", "-----"),
    "synergy": ("$S$", "synergy", "#cc78bc", "xxxxx"),
}


def project_root() -> Path:
    """Return the folder of relative paths: the source tree, else the working directory."""
    source = Path(__file__).resolve().parents[1]
    return source if (source / "pyproject.toml").exists() else Path.cwd()


def derive_seed(*names: object) -> int:
    """Return a 32-bit seed for a stream with these names, e.g. ``derive_seed(7, "train")``."""
    text = "\x1f".join(map(str, names))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big")


def fingerprint(**parts: Any) -> str:
    """Return sixteen hex digits that identify a computation by what changes it, as JSON values."""
    text = json.dumps(parts, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def unknown_name(kind: str, name: str, known: Iterable[str]) -> str:
    """Return the message for a name that does not exist, with the nearest name that does.

    >>> unknown_name("parameter", "n_cluster", ["n_clusters", "seed"])
    "unknown parameter 'n_cluster'; did you mean 'n_clusters'? known: n_clusters, seed"
    """
    known = sorted(known)
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    hint = f"; did you mean {near[0]!r}?" if near else ";"
    return f"unknown {kind} {name!r}{hint} known: {', '.join(known) or 'none'}"


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Yield a new file to write, which then replaces ``path``: readers see the old or the new."""
    path = Path(path).resolve()  # a link stays one
    path.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=".part-", dir=path.parent) as folder:
        part = Path(folder, path.name)
        yield part
        with open(part, "rb+") as file:
            os.fsync(file.fileno())
        os.replace(part, path)


@cache
def code_version(*sources: Any) -> str:
    """Hash the syntax trees of modules, files (by path), functions and classes.

    Docstrings, comments, formatting, imports, names of files and the order of sources do not
    matter; the hash is the same in Python 3.11 to 3.13.
    """
    shapes = sorted(json.dumps(_shape(ast.parse(_text(source)).body)) for source in sources)
    return hashlib.sha256("\n".join(shapes).encode()).hexdigest()[:16]


def _text(source: Any) -> str:
    if isinstance(source, str | Path):
        return Path(source).read_text(encoding="utf-8")
    return textwrap.dedent(inspect.getsource(source))


def _shape(node: Any) -> Any:
    if isinstance(node, list):
        return [_shape(part) for part in node if not _is_ignored(part)]
    if isinstance(node, ast.AST):
        fields = {name: _shape(value) for name, value in ast.iter_fields(node)}
        # Newer versions of Python have more fields, which are empty here.
        named = {name: value for name, value in fields.items() if value not in ("None", [])}
        return [type(node).__name__, named]
    return repr(node)


def _is_ignored(node: Any) -> bool:
    """Whether a statement is an import, a docstring or another bare constant."""
    if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
        return all(map(_is_ignored, node.body))
    constant = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    return constant or isinstance(node, ast.Import | ast.ImportFrom)


class Deferred:
    """An object that is made when an attribute other than the ``known`` ones is first read."""

    def __init__(self, make: Callable[[], Any], **known: Any):
        self.__dict__ |= known | {"_make": cache(make)}

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # a question about the type, such as that of copy
            raise AttributeError(name)
        return getattr(self.__dict__["_make"](), name)


def resolve_device(device: "Device", default: "Device" = "cpu") -> "torch.device":
    """Return a device that exists and computes in float64; ``"auto"`` prefers CUDA to the CPU."""
    import torch

    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        resolved = torch.device(default if device is None else device)
    except (RuntimeError, TypeError):
        resolved = None
    if resolved is None or resolved.type not in ("cpu", "cuda"):
        raise ValueError(f"unknown device {device!r}; choose 'auto', 'cpu', 'cuda' or 'cuda:N'")
    if resolved.type == "cuda" and (resolved.index or 0) >= torch.cuda.device_count():
        raise ValueError(f"device {str(resolved)!r} is not available; choose 'auto' or 'cpu'")
    return resolved


@contextmanager
def single_thread(small: bool = True) -> Iterator[None]:
    """Run small tensor operations on one thread, which is as fast; keep OMP_NUM_THREADS if set."""
    import torch

    before = torch.get_num_threads()
    if small and "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
