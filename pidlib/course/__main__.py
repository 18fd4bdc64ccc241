"""Grade a folder of notebooks: ``python -m pidlib.course grade FOLDER``."""

import argparse
import csv
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

from pidlib.course import LESSONS, OPEN, answers, judged, questions
from pidlib.course.judges import plain

LIMIT = 30.0  # seconds for a cell and for an exercise; a notebook has ten times as many
FAULTS = ""  # the key of what stopped or failed, among the values of exercises


def grade(folder: str | Path, limit: float = LIMIT) -> list[dict[str, Any]]:
    """Judge the functions of all notebooks in a folder; return a row for each exercise.

    Code runs without a sandbox: grade in a container what you would not run yourself.
    """
    rows, seed = [], int.from_bytes(os.urandom(4), "little")
    for path in submissions(folder):
        row = {"submission": path.relative_to(folder).as_posix(), "exercise": "", "passed": False}
        tables = {name: questions(name, seed) for name in exercises(path)}
        if not tables:
            text = "no lesson: the name has no number of one, and no exercise is defined"
            rows.append(row | {"line": text})
            continue
        command = [sys.executable, "-m", "pidlib.course", "answer", path.name]
        command += ["--limit", str(limit)]
        options = {"input": json.dumps(plain(tables)), "capture_output": True, "text": True}
        options |= {"cwd": path.parent, "env": os.environ | {"MPLBACKEND": "Agg"}}
        try:
            run = subprocess.run(command, timeout=10 * limit, **options)
            values, fault = json.loads(run.stdout.splitlines()[-1]), ""
        except subprocess.TimeoutExpired:
            values, fault = {}, f"stopped after {10 * limit:g} seconds"
        except (ValueError, IndexError):
            values, fault = {}, f"gave no values: {run.stderr.strip()[-200:]}"
        values = values if isinstance(values, dict) else {}
        faults = "".join(f"; {text}" for text in str(values.get(FAULTS, "")).splitlines())
        for name in tables:
            given = values.get(name)
            if not isinstance(given, list) or len(given) != len(tables[name]):
                given = [None] * len(tables[name])  # no function of this name, or forged
            line = fault or judged(name, tables[name], given)
            line += faults * (line == OPEN)
            rows.append(row | {"exercise": name, "passed": not line, "line": line})
    return rows


def submissions(folder: str | Path) -> list[Path]:
    """The notebooks of a folder and its folders, without the copies that Jupyter makes."""
    paths = sorted(Path(folder).glob("**/*.ipynb"))
    return [path for path in paths if path.is_file() and ".ipynb_checkpoints" not in path.parts]


def exercises(path: Path) -> list[str]:
    """The exercises of the lesson that a name begins with, or that has a function in the file."""
    if path.stem[:2].isdecimal() and int(path.stem[:2]) in LESSONS:
        return list(LESSONS[int(path.stem[:2])].EXERCISES)
    text, found = path.read_text(encoding="utf-8", errors="replace"), []
    for lesson in LESSONS.values():
        if any(f"def {name}(" in text for name in lesson.EXERCISES):
            found += lesson.EXERCISES
    return found


@contextmanager
def stopping(limit: float) -> Iterator[None]:
    """Raise a KeyboardInterrupt after some seconds, and every second then; not on Windows."""

    def stop(*_: object) -> None:
        raise KeyboardInterrupt(f"stopped after {limit:g} seconds")

    if not hasattr(signal, "setitimer"):
        yield
        return
    signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, limit, 1)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def answer(path: str, limit: float = LIMIT) -> None:
    """Run the code of a notebook, call its functions on the tables of stdin, print the values."""
    names = {"__name__": "__main__", "display": lambda *_, **__: None}
    notebook, faults = json.loads(Path(path).read_text(encoding="utf-8")), []
    tables = json.load(sys.stdin)
    with redirect_stdout(StringIO()):
        for number, cell in enumerate(notebook["cells"], 1):
            lines = "".join(cell["source"]).splitlines()
            code = "\n".join(line for line in lines if not line.lstrip().startswith(("%", "!")))
            skipped = {"widget", "check"} & set(cell["metadata"].get("tags", []))
            if cell["cell_type"] != "code" or skipped:
                continue
            try:
                with stopping(limit):
                    exec(code, names)
            except BaseException as error:  # the next cells may still define their functions
                faults.append(f"cell {number}: {type(error).__name__}: {error}"[:200])
        values = {FAULTS: "\n".join(faults)}
        for name in tables:
            if callable(names.get(name)):
                try:
                    with stopping(limit):
                        values[name] = answers(names[name], tables[name])
                except BaseException as error:
                    values[name] = [{"error": str(error)}] * len(tables[name])
    print(json.dumps(values, default=repr))


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command: ``grade FOLDER``, which writes FOLDER/grades.csv."""
    parser = argparse.ArgumentParser(prog="python -m pidlib.course")
    commands = parser.add_subparsers(dest="command", required=True)
    grading = commands.add_parser("grade", help="judge all notebooks of a folder")
    grading.add_argument("folder", type=Path)
    grading.add_argument("--limit", type=float, default=LIMIT, help="seconds for a cell")
    answering = commands.add_parser("answer")
    answering.add_argument("notebook")
    answering.add_argument("--limit", type=float, default=LIMIT)
    options = parser.parse_args(arguments)
    if options.command == "answer":
        answer(options.notebook, options.limit)
        return
    if not submissions(options.folder):
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
