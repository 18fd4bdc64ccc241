"""The public names: lazy and complete."""

import subprocess
import sys

import pytest

import pidlib


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
