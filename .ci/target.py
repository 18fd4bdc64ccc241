"""Exit with what to give instead of a target that make does not have: argv is TARGET RUNS."""

import difflib
import re
import sys
from pathlib import Path

target, runs = sys.argv[1:]
root = Path(__file__).parents[1]
folder, _, name = target.removesuffix(".ipynb").rpartition("notebooks/")
places = [file.relative_to(root / "notebooks") for file in root.glob("notebooks/**/*.ipynb")]
notebooks = [place.with_suffix("").as_posix() for place in places]
goals = re.findall(r"^([a-z][a-z-]*):", (root / "Makefile").read_text(encoding="utf-8"), re.M)

if folder and name in notebooks:
    here = f"for this folder add PARAMETERS='-p output {folder.rstrip('/')}' with what you change"
    sys.exit(f"{target}: this run writes to {runs}/{name}.ipynb, which is the target; {here}")
is_notebook = target.endswith(".ipynb")
kind, known = ("notebook", notebooks) if is_notebook else ("target", goals)
given = "/".join(target.removesuffix(".ipynb").split("/")[-2:]) if is_notebook else target
near = difflib.get_close_matches(given, known, n=1, cutoff=0.5)
hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(sorted(known))}"
sys.exit(f"there is no {kind} {given}; {hint}")
