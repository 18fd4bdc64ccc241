"""Grade a folder of notebooks: ``python -m pidlib.course grade FOLDER``."""

import argparse
import csv
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

from pidlib.course import LESSONS, answers, judged, questions
from pidlib.course.judges import plain

LIMIT = 120  # seconds for each notebook


def grade(folder: str | Path, limit: float = LIMIT) -> list[dict[str, Any]]:
    """Judge the functions of all notebooks in a folder; return a row for each exercise.

    Code runs without a sandbox: grade in a container what you would not run yourself.
    """
    rows, seed = [], int.from_bytes(os.urandom(4), "little")
    for path in sorted(Path(folder).glob("**/*.ipynb")):
        lesson = int(path.stem[:2]) if path.stem[:2].isdigit() else 0
        names = LESSONS[lesson].EXERCISES if lesson in LESSONS else ()
        tables = {name: questions(name, seed) for name in names}
        command = [sys.executable, "-m", "pidlib.course", "answer", path.name]
        options = {"input": json.dumps(plain(tables)), "capture_output": True, "text": True}
        options |= {"cwd": path.parent, "env": os.environ | {"MPLBACKEND": "Agg"}}
        try:
            run = subprocess.run(command, timeout=limit, **options)
            values, fault = json.loads(run.stdout.splitlines()[-1]), ""
        except subprocess.TimeoutExpired:
            values, fault = {}, f"stopped after {limit:g} seconds"
        except (ValueError, IndexError):
            values, fault = {}, f"gave no values: {run.stderr.strip()[-200:]}"
        for name in names:
            given = values.get(name) if isinstance(values, dict) else None
            if not isinstance(given, list) or len(given) != len(tables[name]):
                given = [None] * len(tables[name])  # no function of this name, or forged
            line = fault or judged(name, tables[name], given)
            row = {"submission": path.relative_to(folder).as_posix(), "exercise": name}
            rows.append(row | {"passed": not line, "line": line})
    return rows


def answer(path: str) -> None:
    """Run the code of a notebook, call its functions on the tables of stdin, print the values."""
    names, notebook = {"__name__": "__main__"}, json.loads(Path(path).read_text(encoding="utf-8"))
    with redirect_stdout(StringIO()):
        for cell in notebook["cells"]:
            source = "".join(cell["source"])
            lines = [
                line for line in source.splitlines() if not line.lstrip().startswith(("%", "!"))
            ]
            if cell["cell_type"] == "code" and "widget" not in cell["metadata"].get("tags", []):
                try:
                    exec("\n".join(lines), names)
                except BaseException as error:  # the next cells may still define their functions
                    print(f"{type(error).__name__}: {error}", file=sys.stderr)
        tables = json.load(sys.stdin)
        known = {name: names[name] for name in tables if callable(names.get(name))}
        values = {name: answers(function, tables[name]) for name, function in known.items()}
    print(json.dumps(values, default=repr))


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command: ``grade FOLDER``, which writes FOLDER/grades.csv."""
    parser = argparse.ArgumentParser(prog="python -m pidlib.course")
    commands = parser.add_subparsers(dest="command", required=True)
    grading = commands.add_parser("grade", help="judge all notebooks of a folder")
    grading.add_argument("folder", type=Path)
    grading.add_argument("--limit", type=float, default=LIMIT, help="seconds for each notebook")
    commands.add_parser("answer").add_argument("notebook")
    options = parser.parse_args(arguments)
    if options.command == "answer":
        answer(options.notebook)
        return
    if not any(options.folder.glob("**/*.ipynb")):
        parser.error(f"no notebooks in {options.folder}; give the folder of the submissions")
    rows = grade(options.folder, options.limit)
    with open(options.folder / "grades.csv", "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, ["submission", "exercise", "passed", "line"])
        writer.writeheader()
        writer.writerows(rows)
    passed = sum(row["passed"] for row in rows)
    print(f"{passed} of {len(rows)} exercises passed; wrote {options.folder / 'grades.csv'}")


if __name__ == "__main__":
    main()
