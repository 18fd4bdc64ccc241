"""For every module: seeds, fingerprints, unknown names, devices, threads, styles of atoms."""

import ast
import difflib
import hashlib
import inspect
import json
import os
import textwrap
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
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
    """Return sixteen hex digits that identify a computation: a hash of everything that changes it.

    Parts are JSON values, sets or paths; their order does not matter. Device, batch size and
    versions are provenance and stay out. Raises a TypeError for a part that JSON cannot represent.

    >>> fingerprint(model="llava", n=256) == fingerprint(n=256, model="llava")
    True
    """
    options = {"sort_keys": True, "separators": (",", ":"), "allow_nan": False}
    text = json.dumps(parts, default=_jsonable, **options)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _jsonable(value: Any) -> Any:
    if isinstance(value, frozenset | set):
        return sorted(value)
    if isinstance(value, Path):
        return value.as_posix()
    raise TypeError(
        f"a fingerprint takes JSON values; got {type(value).__name__}: {value!r}; "
        "pass a string or numbers that identify it"
    )


def unknown_name(kind: str, name: str, known: Iterable[str]) -> str:
    """Return the message for a name that does not exist, with the nearest name that does.

    >>> unknown_name("parameter", "n_cluster", ["n_clusters", "seed"])
    "unknown parameter 'n_cluster'; did you mean 'n_clusters'? known: n_clusters, seed"
    """
    known = sorted(known)
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    hint = f"; did you mean {near[0]!r}?" if near else ";"
    return f"unknown {kind} {name!r}{hint} known: {', '.join(known) or 'none'}"


@cache
def code_version(*sources: Any) -> str:
    """Hash the syntax trees of modules, files, folders (their ``*.py``), functions and classes.

    Docstrings, comments, formatting, imports, names of files and the order of sources do not
    matter; the hash is the same in Python 3.11 to 3.13.
    """
    trees = [ast.parse(text).body for source in sources for text in _texts(source)]
    shapes = sorted(json.dumps(_shape(tree)) for tree in trees)
    return hashlib.sha256("\n".join(shapes).encode()).hexdigest()[:16]


def _texts(source: Any) -> list[str]:
    if not isinstance(source, str | Path):
        return [textwrap.dedent(inspect.getsource(source))]
    path = Path(source)
    paths = sorted(path.glob("*.py")) if path.is_dir() else [path]
    return [path.read_text(encoding="utf-8") for path in paths]


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


def resolve_device(device: "Device", default: "Device" = "cpu") -> "torch.device":
    """Return a device that exists and computes in float64; None is the default.

    ``"auto"`` is CUDA if available, else the CPU.

    >>> resolve_device("cpu"), resolve_device(None)
    (device(type='cpu'), device(type='cpu'))
    """
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
