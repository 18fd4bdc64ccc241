"""The house rules of the code: style, size, and imports that only point down.

``python tests/test_house.py`` prints the sizes and the arrows between rooms.
"""

import ast
import subprocess
import sys
import tomllib
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "pidlib"
LIMITS = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["pidlib"]["lines"]
# Rooms from the lowest floor to the highest; a room imports from lower floors only.
FLOORS = (
    ("_common",),
    ("decomposition", "models"),
    ("benchmarks",),
    ("extraction",),
    ("course", "sensory", "reweighting"),
    ("profiles", "training"),
    ("experiments",),
    ("__init__",),
    ("__main__",),
)
FLOOR = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}
FILES = sorted(PACKAGE.rglob("*.py"))


def name_of(file: Path) -> str:
    parts = file.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(file: Path) -> set[str]:
    """Modules of the package that a file imports, also inside functions."""
    modules = {name_of(other) for other in FILES}
    found = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        if isinstance(node, ast.ImportFrom) and node.module:
            submodules = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {node.module} if submodules - modules else set()
            found |= submodules & modules
    return {name for name in found if name in modules} - {name_of(file)}


def room(module: str) -> str:
    return (module.split(".") + ["__init__"])[1]


def lines() -> Counter:
    """Lines by part of the library."""
    count = Counter()
    for file in FILES:
        place = room(name_of(file))
        part = "benchmarks_and_training" if place in ("benchmarks", "training") else "core"
        part = place if place in ("experiments", "course") else part
        count[part] += len(file.read_text(encoding="utf-8").splitlines())
    return count


def arrows() -> Counter:
    """Imports between rooms."""
    pairs = ((room(name_of(file)), room(other)) for file in FILES for other in imports(file))
    return Counter((a, b) for a, b in pairs if a != b)


def test_rooms_are_few_and_known():
    entries = {file.stem for file in PACKAGE.iterdir() if file.name != "__pycache__"}
    assert entries == set(FLOOR)
    assert len(entries) <= LIMITS["entries"]


def test_sizes_stay_within_their_limits():
    over = {part: count for part, count in lines().items() if count > LIMITS[part]}
    assert not over, over
    sizes = {name_of(file): len(file.read_text().splitlines()) for file in FILES}
    assert not {name: size for name, size in sizes.items() if size > LIMITS["module"]}


def test_imports_point_down():
    assert not {(a, b): n for (a, b), n in arrows().items() if FLOOR[a] <= FLOOR[b]}


def test_experiments_do_not_import_each_other():
    for file in FILES:
        folder = name_of(file).split(".")[1:3]
        for other in imports(file):
            there = other.split(".")[1:3]
            if folder[:1] == there[:1] == ["experiments"] and len(there) == 2:
                shared = (PACKAGE / "experiments" / f"{there[1]}.py").exists()
                assert shared or folder == there or folder[-1] in ("__main__", "ahead"), (
                    name_of(file),
                    other,
                )


def test_no_import_circles():
    graph = {name_of(file): imports(file) for file in FILES}
    while leaves := {name for name, used in graph.items() if not used & graph.keys()}:
        graph = {name: used for name, used in graph.items() if name not in leaves}
    assert not graph, f"circles among {sorted(graph)}"


def test_style():
    for command in (["format", "--check"], ["check"]):
        run = [sys.executable, "-m", "ruff", *command, "pidlib", "tests"]
        found = subprocess.run(run, cwd=ROOT, capture_output=True, text=True)
        assert found.returncode == 0, found.stdout[-3000:]


def test_heavy_packages_load_only_when_needed():
    code = (
        "import sys, pidlib, pidlib.decomposition;"
        "assert not {'sklearn', 'pandas'} & set(sys.modules), 'pid loads pandas';"
        "from pidlib.experiments.draw import names, notebook_module;"
        "[notebook_module(name) for name in names()];"
        "heavy = {'transformers', 'peft', 'accelerate', 'sklearn', 'datasets'} & set(sys.modules);"
        "assert not heavy, heavy"
    )
    found = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert found.returncode == 0, found.stderr[-2000:]


if __name__ == "__main__":
    for part, count in lines().items():
        print(f"{part:25} {count:6,} lines of at most {LIMITS[part]:,}")
    print(
        f"{len(FILES)} modules, the largest {max(len(f.read_text().splitlines()) for f in FILES)}"
    )
    for (a, b), n in sorted(arrows().items()):
        print(f"{a} -> {b}: {n}" + (" UP" if FLOOR[a] <= FLOOR[b] else ""))
