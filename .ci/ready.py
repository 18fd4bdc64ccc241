"""Exit with what this interpreter lacks of pyproject.toml; needs the standard library only."""

import importlib.metadata
import re
import sys
from pathlib import Path


def key(name: str) -> str:
    return name.lower().replace("_", "-")


if not (3, 11) <= sys.version_info < (3, 14):
    sys.exit("Python 3.11 to 3.13 is needed")

import tomllib  # noqa: E402  (new in 3.11)

text = Path(__file__).parents[1].joinpath("pyproject.toml").read_text(encoding="utf-8")
project = tomllib.loads(text)["project"]
extras = project["optional-dependencies"].values()
installed = {key(found.metadata["Name"] or "") for found in importlib.metadata.distributions()}
needed = {re.match(r"[\w.-]+", one)[0] for one in [*project["dependencies"], *sum(extras, [])]}
missing = sorted(name for name in needed if key(name) not in installed | {"pidlib"})
if missing:
    sys.exit(f"lacks {', '.join(missing)}")
