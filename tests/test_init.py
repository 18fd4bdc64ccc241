"""The public names: lazy, complete, and those of the README."""

import re
import subprocess
import sys

import pandas as pd
import pytest
from PIL import Image

import pidlib
from pidlib import benchmarks
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
    first, own, tables = re.findall(r"```python\n(.*?)```", text, re.S)
    used = set(re.findall(r"pidlib\.(\w+)[(.]", first + own + tables))
    assert used <= set(pidlib.__all__)
    exec(tables, {})  # the first takes a minute; notebooks/quickstart.ipynb has the same calls


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_your_model_and_your_questions_of_the_readme(tmp_path, monkeypatch):
    text = (project_root() / "README.md").read_text(encoding="utf-8")
    _, own, _ = re.findall(r"```python\n(.*?)```", text, re.S)
    rows = re.search(r"```csv\n(question.*?)```", text, re.S)[1]
    (tmp_path / "photos").mkdir()
    for name, color in (("1", "red"), ("2", "blue")):
        Image.new("RGB", (64, 64), color).save(tmp_path / f"photos/{name}.jpg")
    (tmp_path / "cars.csv").write_text(rows)
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs/checkpoint-500").symlink_to(project_root() / "data/minis/llava_compact")
    monkeypatch.chdir(tmp_path)
    names = {}
    exec(own, names)
    written = pd.read_csv("mine.csv")
    assert set(written["benchmark"]) == {"table:cars.csv"}
    assert set(written["benchmark_revision"]) == {benchmarks.revision("table:cars.csv")}
    assert names["samples"][0].candidates == ("A", "B")
