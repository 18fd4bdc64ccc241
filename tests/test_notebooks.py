"""Notebooks keep the house style, stop at a wrong parameter, and run under the smoke preset."""

import ast
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pandas as pd
import papermill
import pytest
from papermill.cli import _resolve_type

from pidlib._common import project_root
from pidlib.experiments import draw, tables
from pidlib.experiments.preset import Preset, load_preset

ROOT = project_root()
REAL = sorted(ROOT.glob("notebooks/real/*.ipynb"))  # of `make real-paper`
PAPER = sorted([*ROOT.glob("notebooks/*/*.ipynb"), ROOT / "notebooks/claims.ipynb"])
PAPER = [path for path in PAPER if path not in REAL and path.parent.name != "course"]
MODULES = {path: name for path in REAL for name in draw.names("real") if path.stem in name}
QUICKSTART, YOURS = (ROOT / f"notebooks/{name}.ipynb" for name in ("quickstart", "your_model"))
needs_make = pytest.mark.skipif(not shutil.which("make"), reason="make is not installed")


def name_of(path: Path) -> str:
    return path.relative_to(ROOT / "notebooks").with_suffix("").as_posix()


def parameters_cell(notebook):
    (cell,) = [cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", [])]
    return cell


def parameters(notebook) -> set[str]:
    """The names of all declared parameters."""
    statements = ast.parse(parameters_cell(notebook).source).body
    return {node.target.id for node in statements if isinstance(node, ast.AnnAssign)}


def quiet() -> dict[str, str]:
    """The environment without what make passes on."""
    return {k: v for k, v in os.environ.items() if not k.startswith(("MAKE", "MFLAGS", "PRESET"))}


def make(*arguments: str, folder: Path = ROOT) -> str:
    """What make would run."""
    command = ["make", "--dry-run", *arguments]
    run = subprocess.run(command, cwd=folder, env=quiet(), capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    return run.stdout


def test_notebooks_and_modules_have_the_same_names():
    assert list(map(name_of, PAPER)) == sorted(draw.names())
    assert sorted(MODULES.values()) == sorted(draw.names("real")) and len(MODULES) == len(REAL)


@pytest.mark.parametrize("path", [*PAPER, *REAL, QUICKSTART, YOURS], ids=name_of)
def test_notebooks_are_short_without_definitions_and_outputs(path):
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    assert notebook.metadata.kernelspec.name == "python3" and len(notebook.cells) <= 12
    assert notebook.cells[0].cell_type == "markdown"
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert all(not cell.outputs and cell.execution_count is None for cell in cells)
    assert all(len(cell.source.splitlines()) <= 12 for cell in cells)
    nodes = [node for cell in cells for node in ast.walk(ast.parse(cell.source))]
    machinery = ast.FunctionDef | ast.ClassDef | ast.Lambda | ast.For | ast.While
    assert not [node for node in nodes if isinstance(node, machinery)]
    # A magic of the same name would show its help instead of the value.
    from IPython.core.interactiveshell import InteractiveShell

    magics = InteractiveShell.instance()
    assert not [name for name in parameters(notebook) if magics.find_line_magic(name)]
    cell = parameters_cell(notebook).source
    assert len(parameters(notebook)) == len(cell.splitlines()) == cell.count("  # ")
    text = " ".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    assert len(text.split()) <= 350


@pytest.mark.parametrize("path", [*PAPER, *REAL], ids=name_of)
def test_a_notebook_shows_the_committed_figure_and_computes_its_answer(path):
    notebook = nbformat.read(path, as_version=4)
    assert notebook.cells[0].source.startswith("# ") and "?" in notebook.cells[0].source
    code = [cell.source for cell in notebook.cells if cell.cell_type == "code"]
    if path.stem != "claims":
        assert [source for source in code if "**Answer.**" in source and "Markdown(" in source]
    module = draw.notebook_module(MODULES.get(path, name_of(path)))
    if hasattr(module, "figure"):
        (shown,) = re.findall(r"!\[[^]]+\]\(([^)]+)\)", notebook.cells[0].source)
        figure = (path.parent / shown).resolve()
        assert figure == ROOT / f"figures/{name_of(path)}.png"
        assert figure.exists() or path in REAL


@pytest.mark.parametrize("path", [*PAPER, *REAL], ids=name_of)
def test_a_notebook_declares_fields_of_the_preset_and_follows_its_module(path):
    notebook = nbformat.read(path, as_version=4)
    declared = parameters(notebook)
    assert declared - {"preset"} <= Preset.model_fields.keys()
    assert {"preset", "seed", "output"} <= declared
    following = notebook.cells[notebook.cells.index(parameters_cell(notebook)) + 1]
    read = "trained(read_parameters(globals()))" if path in REAL else "read_parameters(globals())"
    assert following.source == f"settings = {read}\nsettings"
    name, module = path.stem, draw.notebook_module(MODULES.get(path, name_of(path)))
    code = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "code")
    assert f"save(settings, {name}, {name}.measure(settings))" in code
    assert f"draw(settings, {name})" in code
    assert (f"extract_requests(settings, {name})" in code) == hasattr(module, "requests")
    assert isinstance(module.COLUMNS, tables.Columns | dict) and callable(module.measure)
    assert hasattr(module, "figure") or hasattr(module, "latex")


def test_seed_and_output_are_the_parameters_of_all():
    declared = [parameters(nbformat.read(path, as_version=4)) for path in PAPER]
    assert set.intersection(*declared) == {"preset", "seed", "output"}


def without_process_id(plan: str) -> str:
    return re.sub(r"\.part-\d+\.ipynb", ".part.ipynb", plan)


@needs_make
@pytest.mark.parametrize(("given", "extracted"), [("", True), ("-p seed 1", False)])
def test_extraction_runs_ahead_only_with_the_parameters_of_the_preset(given, extracted, tmp_path):
    plan = make("notebooks", "PRESET=smoke", f"BUILD={tmp_path}", f"PARAMETERS={given}")
    assert plan.count("-m papermill") == len(PAPER) + 2
    assert ("-m pidlib.experiments extract --preset smoke" in plan) == extracted


@needs_make
def test_a_notebook_alone_extracts_only_what_it_needs():
    plan = make("build/smoke/notebooks/vision_language/fig_profiles.ipynb", "--always-make")
    assert plan.count("-m papermill") == 1 and "experiments extract" not in plan


@needs_make
def test_real_notebooks_run_with_their_preset_and_not_in_the_paper():
    plan = make("notebooks", "PRESET=real", "--always-make", f"PY={sys.executable}")
    assert plan.count("-m papermill") == len(REAL) == plan.count("-p preset real")
    assert "-m pidlib.experiments extract --preset real" in plan
    assert "notebooks/real" not in make("notebooks", "PRESET=smoke", "--always-make")


def test_prose_of_real_notebooks_is_short_and_says_what_the_model_is():
    for path in REAL:
        cells = nbformat.read(path, as_version=4).cells
        text = " ".join(cell.source for cell in cells if cell.cell_type == "markdown")
        for words in ("assembled from pretrained parts", "no general vision-language model"):
            assert words in text, path


@needs_make
@pytest.mark.parametrize(
    ("target", "given", "runs"),
    [
        ("build/smoke/notebooks/validation/fig_bias.ipynb", "", "-p preset smoke"),
        (
            "build/mine/notebooks/validation/fig_bias.ipynb",
            "-p seed 1 -p output build/mine",
            "-p preset offline -p seed 1 -p output",
        ),
        (
            "build/smoke/notebooks/validation/fig_bias.ipynb",
            "-p seed 1 -p output build/smoke",
            "-p preset smoke -p seed 1",
        ),
    ],
)
def test_the_path_of_a_run_selects_its_preset_and_output(target, given, runs):
    plan = make("--always-make", target, f"PARAMETERS={given}")
    assert f"{target.removesuffix('.ipynb')}.part.ipynb {runs}" in without_process_id(plan)


@needs_make
@pytest.mark.parametrize(
    ("target", "message"),
    [
        (
            "build/tau0/notebooks/omni/fig_gate.ipynb",
            "writes to build/smoke/notebooks/omni/fig_gate.ipynb, .* add PARAMETERS='-p output "
            "build/tau0'",
        ),
        (
            "build/smoke/notebooks/omni/fig_gat.ipynb",
            "no notebook omni/fig_gat; .*mean omni/fig_gate?",
        ),
        ("results/notebooks/omni/fig_gat.ipynb", "no notebook omni/fig_gat; .*mean omni/fig_gate?"),
        ("build/smoke/notebooks/quickstrat.ipynb", "no notebook .*; did you mean quickstart?"),
        ("papr", "no target papr; did you mean paper?"),
        ("xyzzy", "no target xyzzy; there are bench, .*paper"),
    ],
)
def test_what_is_no_target_is_answered_with_the_right_one(target, message):
    command = ["make", "PRESET=smoke", target]
    run = subprocess.run(command, cwd=ROOT, env=quiet(), capture_output=True, text=True)
    assert run.returncode == 2 and re.search(message, run.stderr)
    assert not (ROOT / target).exists()


@needs_make
def test_a_preset_is_also_a_file(tmp_path):
    preset = tmp_path / "mine.yaml"
    with pytest.raises(
        AssertionError, match="unknown preset '.*mine.yaml'; known: .*, or the path"
    ):
        make("notebooks", f"PRESET={preset}")
    shutil.copy(ROOT / "pidlib/experiments/presets/smoke.yaml", preset)
    target = "build/mine/notebooks/validation/fig_bias.ipynb"
    plan = make("--always-make", target, f"PRESET={preset}")
    part = f"{target.removesuffix('.ipynb')}.part.ipynb"
    assert f"{part} -p preset {preset}" in without_process_id(plan)


@needs_make
def test_two_runs_of_one_target_write_to_files_of_their_own():
    target = "build/smoke/notebooks/validation/fig_bias.ipynb"
    parts = [re.search(r"\S+part-\d+\.ipynb", make("--always-make", target))[0] for _ in "ab"]
    assert parts[0] != parts[1]


@needs_make
def test_lists_and_mappings_pass_through_make_as_json():
    given = {"benchmarks": ["table:my questions.csv"], "tuned_models": {"prior/80": ["llava"]}}
    words = [f"-p {key} '{json.dumps(value)}'" for key, value in given.items()]
    target = "build/mine/notebooks/vision_language/fig_profiles.ipynb"
    parameters = f"PARAMETERS={' '.join(words)} -p output build/mine"
    (line,) = [
        x for x in make("--always-make", target, parameters).splitlines() if "-m papermill" in x
    ]
    passed = shlex.split(line)
    for key, value in given.items():
        assert json.loads(passed[passed.index(key) + 1]) == value


@needs_make
def test_a_clone_in_a_folder_with_a_space_runs_its_notebooks(tmp_path):
    clone = tmp_path / "my papers" / "checkout"
    left_out = shutil.ignore_patterns("data", "build", ".venv", ".git", "figures", "__pycache__")
    shutil.copytree(ROOT, clone, ignore=left_out)
    target = "build/smoke/notebooks/validation/table_gates.ipynb"
    plan = make("PRESET=smoke", target, folder=clone)
    (line,) = [line for line in plan.splitlines() if "-m papermill" in line]
    words = shlex.split(line)
    assert words[words.index("--cwd") + 1] in (str(clone), ".")
    assert "notebooks/validation/table_gates.ipynb" in words


def test_a_mapping_is_typed_on_the_command_line_as_json():
    """papermill passes it as text."""
    value = _resolve_type('{"prior/80": ["paligemma_leaning"]}')
    assert load_preset("smoke", tuned_models=value).tuned_models == {
        "prior/80": ("paligemma_leaning",)
    }
    for given in ("steps=3", "[steps, 3]"):
        with pytest.raises(ValueError, match="tuning: a mapping expected"):
            load_preset("smoke", tuning=given)


def test_progress_counts_the_notebooks_that_were_written():
    lines = "wrote build/a.ipynb\nsomething else\nwrote build/b.ipynb\nwrote notes.txt\n"
    command = [sys.executable, ROOT / ".ci/progress.py", "2"]
    run = subprocess.run(command, input=lines, capture_output=True, text=True, check=True)
    assert "2/2" in run.stderr and lines in run.stdout


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"n_repeat": 3}, r"unknown parameter 'n_repeat'; did you mean 'n_repeats'\?"),
        ({"tau": 0.3}, "unknown parameter 'tau'"),
        ({"preset": "smok"}, r"unknown preset 'smok'; did you mean 'smoke'\?"),
        ({"n_repeats": "many"}, "n_repeats: .*valid integer"),
    ],
)
def test_a_wrong_parameter_stops_papermill_before_any_work(wrong, message, tmp_path):
    notebook = nbformat.read(ROOT / "notebooks/validation/fig_bias.ipynb", as_version=4)
    cells = [c for c in notebook.cells if c.source.startswith(("preset", "settings", "from"))]
    notebook.cells = [*cells, nbformat.v4.new_code_cell("open('worked', 'w')")]
    nbformat.write(notebook, tmp_path / "in.ipynb")
    given = {"preset": "smoke"} | wrong
    options = {"cwd": tmp_path, "progress_bar": False}
    with pytest.raises(papermill.PapermillExecutionError, match=message):
        papermill.execute_notebook(tmp_path / "in.ipynb", None, given, **options)
    assert not (tmp_path / "worked").exists()


def run_here(path: Path, given: dict[str, str]) -> None:
    """Run the cells as papermill does, without a process that imports all packages again."""
    from IPython.core.interactiveshell import InteractiveShell

    notebook = papermill.iorw.load_notebook_node(str(path))
    notebook = papermill.parameterize.parameterize_notebook(notebook, given)
    shell = InteractiveShell()
    shell.history_manager.enabled = False
    try:
        for cell in notebook.cells:
            if cell.cell_type == "code":
                shell.run_cell(cell.source).raise_error()
    finally:
        shell.restore_sys_module_state()


@pytest.mark.parametrize("path", PAPER, ids=name_of)
def test_a_notebook_runs_and_writes_tables_and_figures_of_its_name(path, tmp_path, monkeypatch):
    given = {"preset": "smoke", "output": str(tmp_path)}
    if path.stem == "claims":  # reads the tables of the others
        shutil.copytree(ROOT / "data/results/omni", tmp_path / "data/results/omni")
    before = set(tmp_path.rglob("*.*"))
    monkeypatch.chdir(tmp_path)
    run_here(path, given)
    files = set(tmp_path.rglob("*.*")) - before
    written = {file.relative_to(tmp_path).as_posix() for file in files}
    module, name = draw.notebook_module(name_of(path)), name_of(path)
    parts = [path.stem] if isinstance(module.COLUMNS, tables.Columns) else module.COLUMNS
    expected = {f"data/results/{Path(name).with_name(part)}.csv" for part in parts}
    suffixes = [".pdf", ".png"] * hasattr(module, "figure")
    suffixes += [".tex", ".caption.tex"] * hasattr(module, "latex")
    suffixes += ["_column.pdf", "_column.png"] * hasattr(module, "column")
    assert written == expected | {f"figures/{name}{suffix}" for suffix in suffixes}


def test_your_model_runs(tmp_path):
    options = {"cwd": tmp_path, "progress_bar": False}
    given = {"n": 32, "partners": 4, "output": "mine", "device": "cpu"}
    executed = papermill.execute_notebook(YOURS, None, given, **options)
    outputs = [output for cell in executed.cells for output in cell.get("outputs", ())]
    text = "".join(output.get("text", "") for output in outputs)
    assert "32 questions of table:" in text and "llava_compact_blind" in str(outputs[-1])
    written = pd.read_csv(tmp_path / "mine/your_model.csv")
    assert set(written["benchmark"]) == {"table:example.csv"} and written["accuracy"].min() > 0.9
    assert sorted(path.name for path in (tmp_path / "mine").iterdir()) == [
        "your_model.csv",
        "your_model.pdf",
    ]


def test_quickstart_runs(tmp_path):
    assert parameters(nbformat.read(QUICKSTART, as_version=4)) == {
        "model_name",
        "benchmark",
        "n",
        "other_name",
    }
    options = {"cwd": tmp_path, "progress_bar": False}
    given = {"n": 32, "preset": "smoke"}  # make gives every notebook the preset
    executed = papermill.execute_notebook(QUICKSTART, None, given, **options)
    outputs = [output for cell in executed.cells for output in cell.get("outputs", ())]
    pictures = [output for output in outputs if "image/png" in output.get("data", {})]
    assert len(pictures) == 2  # a sample and the plot
    assert not list(tmp_path.iterdir())


def test_your_model_stops_at_an_unknown_parameter(tmp_path):
    with pytest.raises(papermill.exceptions.PapermillExecutionError, match="did you mean 'table'"):
        papermill.execute_notebook(YOURS, None, {"tabel": "x"}, cwd=ROOT, progress_bar=False)
