"""Exit 0 if this interpreter has what pyproject.toml asks for; needs nothing but the standard library."""

import importlib.metadata
import re
import sys
from pathlib import Path


def key(name):
    return name.lower().replace("_", "-")


if not (3, 11) <= sys.version_info < (3, 14):
    sys.exit(1)

import tomllib  # noqa: E402  (new in 3.11)

project = tomllib.loads(Path(__file__).parents[1].joinpath("pyproject.toml").read_text(encoding="utf-8"))["project"]
have = {key(found.metadata["Name"] or ""): found.version.split("+")[0] for found in importlib.metadata.distributions()}
for requirement in project["dependencies"] + project["optional-dependencies"]["test"]:
    name, relation, version = re.fullmatch(r"([\w.-]+)(==)?(.*)", requirement).groups()
    if key(name) not in have or (relation and have[key(name)] != version):
        sys.exit(f"{sys.prefix} lacks {requirement}")
