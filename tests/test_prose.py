"""What tests of the numbers in notebooks' text share."""

import json

import pandas as pd

from pidlib._common import project_root
from pidlib.experiments import tables

FOLDER = "vision_language"


def told(notebook: str, folder: str = FOLDER) -> str:
    """The text of a notebook, a space between words."""
    cells = json.loads(
        (project_root() / f"notebooks/{folder}/{notebook}.ipynb").read_text(encoding="utf-8")
    )["cells"]
    return " ".join(
        " ".join(
            "".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown"
        ).split()
    )


def read(table: str, folder: str = FOLDER) -> pd.DataFrame:
    return tables.read(project_root() / f"data/results/{folder}/{table}.csv")


def short(value: float, digits: int = 2) -> str:
    """``.07``, as numbers below 1 are written in the text."""
    return f"{value:.{digits}f}".removeprefix("0")
