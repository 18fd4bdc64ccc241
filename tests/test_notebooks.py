"""Notebooks keep the house style, stop at a wrong parameter, and run as they are shipped under the smoke preset."""

import ast
import importlib
import os
import re
import shutil
import subprocess
from pathlib import Path

import nbformat
import papermill
import pytest

from pidlib.experiment import Preset, project_root

NOTEBOOKS = sorted(project_root().glob("notebooks/*/*.ipynb"))
PAPER = [path for path in NOTEBOOKS if path.parent.name != "course"]


def name_of(path: Path) -> str:
    return f"{path.parent.name}/{path.stem}"


def parameters(notebook) -> dict[str, str]:
    """Name -> source of the type of every declared parameter."""
    (cell,) = [cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", [])]
    return {node.target.id: ast.unparse(node.annotation) for node in ast.parse(cell.source).body if isinstance(node, ast.AnnAssign)}


@pytest.mark.parametrize("path", NOTEBOOKS, ids=name_of)
def test_nothing_is_stored_but_the_text(path):
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    assert notebook.metadata.kernelspec.name == "python3"
    for cell in notebook.cells:
        assert cell.cell_type != "code" or (not cell.outputs and cell.execution_count is None)


@pytest.mark.parametrize("path", PAPER, ids=name_of)
def test_a_paper_notebook_is_short_and_holds_no_machinery(path):
    notebook = nbformat.read(path, as_version=4)
    code = [cell.source for cell in notebook.cells if cell.cell_type == "code"]
    assert len(notebook.cells) <= 12
    assert notebook.cells[0].cell_type == "markdown" and "How to read" in notebook.cells[0].source
    assert all(len(source.splitlines()) <= 12 for source in code)
    trees = [node for source in code for node in ast.walk(ast.parse(source))]
    assert not [node for node in trees if isinstance(node, ast.FunctionDef | ast.ClassDef | ast.Lambda | ast.For | ast.While)]


@pytest.mark.parametrize("path", PAPER, ids=name_of)
def test_parameters_are_typed_commented_fields_of_the_preset_and_guarded(path):
    notebook = nbformat.read(path, as_version=4)
    (cell,) = [cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", [])]
    declared = parameters(notebook)
    assert declared.keys() - {"preset"} <= Preset.model_fields.keys()
    assert "preset" in declared and "output" in declared
    assert len(declared) == len(cell.source.splitlines()) == cell.source.count("  # ")
    following = notebook.cells[notebook.cells.index(cell) + 1]
    assert "guard(globals())" in following.source
    # Magics win over variables in a cell of one name alone: `config`, `time`, `run` ... would show help instead of a value.
    from IPython.core.interactiveshell import InteractiveShell

    assert not [name for name in declared if InteractiveShell.instance().find_line_magic(name)]


def test_seed_and_output_are_the_parameters_of_all():
    declared = [parameters(nbformat.read(path, as_version=4)).keys() for path in PAPER]
    assert set.intersection(*map(set, declared)) == {"preset", "seed", "output"}


@pytest.mark.skipif(not shutil.which("make"), reason="no make")
@pytest.mark.parametrize(("given", "asked"), [("", True), ("-p seed 1", False)])
def test_models_are_asked_ahead_only_with_the_parameters_of_the_preset(given, asked, tmp_path):
    quiet = {key: value for key, value in os.environ.items() if not key.startswith(("MAKE", "MFLAGS"))}
    command = ["make", "--dry-run", "paper", "PRESET=smoke", f"BUILD={tmp_path}", f"PARAMETERS={given}"]
    plan = subprocess.run(command, cwd=project_root(), env=quiet, capture_output=True, text=True, check=True).stdout
    assert plan.count("-m papermill") == len(PAPER)
    assert ("-m pidlib.answers" in plan) == asked


@pytest.mark.skipif(not shutil.which("make"), reason="no make")
@pytest.mark.parametrize(
    ("target", "given", "runs"),
    [
        ("build/smoke/notebooks/validation/fig_bias.ipynb", "", "-p preset smoke"),
        ("build/mine/notebooks/validation/fig_bias.ipynb", "-p seed 1 -p output build/mine", "-p preset offline -p seed 1 -p output"),
        ("build/smoke/notebooks/validation/fig_bias.ipynb", "-p seed 1 -p output build/smoke", "-p preset smoke -p seed 1"),
    ],
)
def test_a_run_that_is_asked_for_by_its_path_is_of_that_preset_and_lies_with_its_output(target, given, runs):
    quiet = {key: value for key, value in os.environ.items() if not key.startswith(("MAKE", "MFLAGS", "PRESET"))}
    command = ["make", "--dry-run", "--always-make", target, f"PARAMETERS={given}"]
    plan = subprocess.run(command, cwd=project_root(), env=quiet, capture_output=True, text=True, check=True).stdout
    assert f"{target.replace('.ipynb', '.part.ipynb')} {runs}" in plan


@pytest.mark.parametrize("path", PAPER, ids=name_of)
def test_notebook_figure_and_drawing_function_have_one_name(path):
    module = importlib.import_module(f"pidlib.figures.{path.parent.name}")
    assert callable(getattr(module, path.stem))
    source = path.read_text()
    assert source.count(f'\\"{name_of(path)}\\"') == 2, "the table and the figure bear the notebook's name"


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"n_repeat": 3}, r"unknown parameter 'n_repeat'; did you mean 'n_repeats'\?"),
        ({"tau": 0.3}, "unknown parameter 'tau'"),
        ({"preset": "smok"}, r"unknown preset 'smok'; did you mean 'smoke'\?"),
        ({"n_repeats": "many"}, "n_repeats: .*valid integer"),
    ],
)
def test_papermill_stops_at_the_guard(wrong, message, tmp_path):
    notebook = nbformat.read(project_root() / "notebooks/validation/fig_bias.ipynb", as_version=4)
    notebook.cells = [cell for cell in notebook.cells if cell.source.startswith(("preset", "settings"))]
    notebook.cells.insert(0, nbformat.v4.new_code_cell("from pidlib.experiment import guard"))
    notebook.cells.append(nbformat.v4.new_code_cell("open('worked', 'w')"))
    nbformat.write(notebook, tmp_path / "in.ipynb")
    with pytest.raises(papermill.PapermillExecutionError, match=message):
        papermill.execute_notebook(tmp_path / "in.ipynb", None, {"preset": "smoke"} | wrong, cwd=tmp_path, progress_bar=False)
    assert not (tmp_path / "worked").exists()


@pytest.mark.parametrize("path", PAPER, ids=name_of)
def test_notebook_runs_as_it_is_shipped(path, tmp_path):
    asked = {"preset": "smoke", "output": str(tmp_path)}
    papermill.execute_notebook(path, None, asked, cwd=tmp_path, progress_bar=False)
    written = {file.relative_to(tmp_path).as_posix() for file in tmp_path.rglob("*.*") if file.is_file()}
    tables = re.findall(r'settings\.table\(\\"([\w/]+)\\"\)', path.read_text())
    assert name_of(path) in tables
    figures = {name: {".tex"} if "/table" in name else {".pdf", ".png"} for name in tables}
    assert written == {f"data/results/{name}.csv" for name in tables} | {f"figures/{n}{suffix}" for n in tables for suffix in figures[n]}
