"""The public names: lazy, complete, and those of the README."""

import re
import subprocess
import sys

import pytest

import pidlib
from pidlib._common import project_root


def run(code: str) -> str:
    command = [sys.executable, "-c", code]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def test_importing_pidlib_loads_neither_torch_nor_pandas():
    code = "import sys, pidlib; print({'torch', 'pandas', 'numpy'} & set(sys.modules))"
    assert run(code) == "set()\n"


def test_the_solver_loads_no_pandas():
    code = "import sys, pidlib; pidlib.pid; pidlib.Decisions; print('pandas' in sys.modules)"
    assert run(code) == "False\n"


@pytest.mark.parametrize("name", pidlib.__all__)
def test_public_names_resolve_and_are_listed(name):
    assert getattr(pidlib, name) is getattr(pidlib, name)
    assert name in dir(pidlib)


def test_unknown_names_are_refused():
    with pytest.raises(AttributeError, match="no attribute 'nothing'; see pidlib.__all__"):
        _ = pidlib.nothing


def test_the_readme_uses_public_names_and_its_examples_run():
    text = (project_root() / "README.md").read_text(encoding="utf-8")
    first, second = re.findall(r"```python\n(.*?)```", text, re.S)
    used = set(re.findall(r"pidlib\.(\w+)[(.]", first + second))
    assert used <= set(pidlib.__all__)
    exec(second, {})  # the first takes a minute; notebooks/quickstart.ipynb has the same calls
