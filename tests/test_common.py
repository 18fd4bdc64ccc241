"""Seeds, fingerprints, files, the hash of code, and devices."""

from types import SimpleNamespace

import pytest
import torch

from pidlib._common import (
    Deferred,
    code_version,
    derive_seed,
    fingerprint,
    replacing,
    resolve_device,
)

CODE = '''"""A module."""
from typing import TYPE_CHECKING
import math

if TYPE_CHECKING:
    import os


def area(r):
    """Compute an area."""
    return math.pi * r**2  # a comment
'''


@pytest.mark.parametrize(
    ("old", "new", "same"),
    [
        ("# a comment", "# another", True),
        ("Compute an area", "Calculate an area", True),
        ("import math", "import math\nimport json", True),
        ("    import os", "    import sys\n    import os", True),
        ("math.pi * r**2", "(math.pi\n        * r ** 2)", True),
        ("r**2", "r**3", False),
        ("def area", "def volume", False),
        ("import math\n", "import math\n\nX = 1\n", False),
    ],
)
def test_only_what_code_does_matters(tmp_path, old, new, same):
    (tmp_path / "first.py").write_text(CODE)
    (tmp_path / "moved.py").write_text(CODE.replace(old, new))
    before, after = code_version(tmp_path / "first.py"), code_version(tmp_path / "moved.py")
    assert (before == after) == same


def test_hash_is_the_same_in_every_python(tmp_path):
    (tmp_path / "a.py").write_text(CODE)
    assert code_version(tmp_path / "a.py") == "2946a8469e622e0a"


def test_functions_and_modules_are_sources():
    import json

    assert code_version(json.dumps, json.loads) == code_version(json.loads, json.dumps)
    assert code_version(json) == code_version(json.__file__) != code_version(json.dumps)


def test_a_fingerprint_depends_on_every_part_and_on_no_order():
    base = {"model": "llava", "n": 8, "passes": ["vision", "language"]}
    assert fingerprint(**base) == fingerprint(**dict(reversed(base.items())))
    others = [{}, {"n": 9}, {"seed": 0}]
    assert len({fingerprint(**base | changes) for changes in others}) == 3
    with pytest.raises(TypeError, match="object is not JSON"):
        fingerprint(model=object())


def test_derived_seeds_depend_on_names_only():
    assert derive_seed(0, "a", 1) == derive_seed(0, "a", 1) != derive_seed(0, "a1")


def test_devices_are_resolved_or_refused():
    auto = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    assert resolve_device("auto") == auto
    assert resolve_device(None) == resolve_device("cpu") == torch.device("cpu")
    assert resolve_device(torch.device("cpu")) == torch.device("cpu")
    for unknown in ("gpu", "mps", 0.5):
        with pytest.raises(ValueError, match="choose 'auto', 'cpu', 'cuda'"):
            resolve_device(unknown)
    with pytest.raises(ValueError, match="not available; choose 'auto' or 'cpu'"):
        resolve_device(f"cuda:{torch.cuda.device_count()}")


def test_a_file_is_replaced_as_a_whole_or_left(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text("old")
    with pytest.raises(KeyboardInterrupt), replacing(path) as part:
        part.write_text("half")
        raise KeyboardInterrupt
    assert path.read_text() == "old"
    with replacing(str(path)) as part:
        part.write_text("new")
        assert part.suffix == path.suffix and path.read_text() == "old"
    assert path.read_text() == "new" and list(tmp_path.iterdir()) == [path]
    link = tmp_path / "link.csv"
    link.symlink_to(path)
    with replacing(link) as part:
        part.write_text("through the link")
    assert link.is_symlink() and path.read_text() == "through the link"


def test_a_deferred_object_is_made_once_when_an_unknown_attribute_is_read():
    made = []
    model = Deferred(
        lambda: made.append(1) or SimpleNamespace(name="loaded", width=3), name="known"
    )
    assert model.name == "known" and not hasattr(model, "__array__") and made == []
    assert (model.width, model.width, made) == (3, 3, [1])
    with pytest.raises(AttributeError, match="depth"):
        model.depth  # noqa: B018
