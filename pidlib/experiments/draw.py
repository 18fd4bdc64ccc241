"""Draw figures and LaTeX tables from result tables: ``python -m pidlib.experiments.draw``.

The module of a notebook has `figure`, `latex` (the text of a table), or both, and key figures a
`column`, one column wide; each takes the notebook's table, or a dictionary of its tables by name.
"""

import argparse
import importlib
import json
import re
import sys
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import matplotlib
import pandas as pd
from matplotlib.figure import Figure, SubFigure
from tqdm import tqdm

from pidlib._common import project_root, replacing, unknown_name
from pidlib.experiments.preset import Preset, load_preset
from pidlib.experiments.tables import Columns, declared, escape, notebook_name, read, unconverged
from pidlib.models.load import MINIS

STYLE = Path(__file__).with_name("paper.mplstyle")


@dataclass(frozen=True)
class Drawn:
    """The files that were written; a notebook shows the picture."""

    paths: tuple[Path, ...]

    def __repr__(self) -> str:
        root = project_root()
        names = (p.relative_to(root) if p.is_relative_to(root) else p for p in self.paths)
        return "wrote " + ", ".join(name.as_posix() for name in names)

    def _repr_png_(self) -> bytes | None:
        return next((path.read_bytes() for path in self.paths if path.suffix == ".png"), None)


def draw(preset: Preset, module: ModuleType) -> Drawn:
    """Draw a notebook's figure (PDF, PNG) and table (.tex); warn of rows above the tolerance."""
    name, tables = notebook_name(module), {}
    for table, columns in declared(module).items():
        tables[table] = read(preset.table(name).with_stem(table), columns)
        if note := unconverged(tables[table]):
            warnings.warn(f"{name}: {note}", stacklevel=2)
    if isinstance(module.COLUMNS, Columns):
        (tables,) = tables.values()
    stem, paths = preset.figure(name), []
    with matplotlib.rc_context():
        matplotlib.style.use(["default", STYLE])  # independent of the user's matplotlibrc
        if hasattr(module, "figure"):
            paths += _save_figure(module.figure(tables), stem)
        if hasattr(module, "column"):
            paths += _save_figure(module.column(tables), stem.with_name(f"{stem.name}_column"))
        if hasattr(module, "latex"):
            texts = {".tex": module.latex(tables), ".caption.tex": _caption(name, tables)}
            for suffix, text in texts.items():
                paths.append(stem.with_suffix(suffix))
                with replacing(paths[-1]) as part:
                    part.write_text(text, encoding="utf-8")
    return Drawn(tuple(paths))


def _caption(name: str, tables: pd.DataFrame | Mapping[str, pd.DataFrame]) -> str:
    """The question of a notebook and how to read its table, in LaTeX."""
    frames = [tables] if isinstance(tables, pd.DataFrame) else tables.values()
    columns = [table[column] for table in frames for column in {"model", "base"} & set(table)]
    is_mini = {(MINIS / str(model)).is_dir() for column in columns for model in column.dropna()}
    path = project_root() / "notebooks" / f"{name}.ipynb"
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    texts = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown"]
    how = r"(?s)\*\*How to read the (?:LaTeX )?table\.?\*\*(?: `\S+`\.)? (.*?)(?:\n\n|\Z)"
    found = re.findall(how, "\n\n".join(texts))
    question = texts[0].partition("\n")[0].removeprefix("# ")
    parts = re.split(r"(\$[^$]+\$)", " ".join([question, *found]))  # formulas stay
    parts[::2] = [_plain(part) for part in parts[::2]]
    known = "Some of the models" if False in is_mini else "The models"
    minis = f" {known} are minis, trained on synthetic questions." * (True in is_mini)
    return "".join([*parts, minis, "\n"])


def _plain(text: str) -> str:
    """LaTeX of Markdown without formulas."""
    text = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", escape(text))
    for mark, command in (("`", "texttt"), (r"\*\*", "textbf"), (r"\*", "emph")):
        text = re.sub(rf"{mark}([^*`]+){mark}", rf"\\{command}{{\1}}", text)
    for sign, command in (("−", "$-$"), ("±", r"$\pm$"), ("∘", r"$\circ$")):
        text = text.replace(sign, command)
    return text


def _save_figure(figure: Figure, stem: Path) -> tuple[Path, ...]:
    """Save PDF and PNG of one layout, without dates, each replaced as a whole."""
    figure.draw_without_rendering()
    figure.set_layout_engine("none")
    for part in figure.findobj(SubFigure):
        part.patch.set_visible(False)  # invisible, but its corner may be written as 0 or as -0
    for ax in figure.axes:  # the last bit of the layout can differ between drawings
        ax.set_position([round(side, 12) for side in ax.get_position(original=True).bounds])
    undated = {".pdf": {"CreationDate": None}, ".png": {"Software": None}}
    for suffix, metadata in undated.items():
        with replacing(stem.with_suffix(suffix)) as part:
            figure.savefig(part, metadata=metadata)
    return tuple(stem.with_suffix(suffix) for suffix in undated)


def notebook_module(name: str) -> ModuleType:
    """The module of a notebook: ``validation/fig_bias``."""
    return importlib.import_module(f"pidlib.experiments.{name.replace('/', '.')}")


def names(experiment: str | None = None) -> list[str]:
    """All notebooks that draw, and ``claims``, which reads their tables; or an experiment's own."""
    if experiment:
        return list(importlib.import_module(f"pidlib.experiments.{experiment}").NOTEBOOKS)
    folder = Path(__file__).parent
    files = sorted((*folder.glob("*/fig*.py"), *folder.glob("*/table*.py")))
    files = [file for file in files if file.parent.name != "real"] + [folder / "claims.py"]
    return [file.relative_to(folder).with_suffix("").as_posix() for file in files]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m pidlib.experiments.draw")
    parser.add_argument("names", nargs="*", help="validation/fig_bias ...; by default all")
    parser.add_argument("--preset", default="offline", help="a name such as paper, or a YAML file")
    chosen = parser.parse_args()
    preset = load_preset(chosen.preset)
    known = names(preset.experiment)
    for name in set(chosen.names) - set(known):
        parser.error(unknown_name("notebook", name, known))
    for name in (bar := tqdm(chosen.names or known, desc="drawing", unit="figure")):
        bar.set_postfix_str(name)
        bar.write(repr(draw(preset, notebook_module(name))))


if __name__ == "__main__":
    try:
        main()
    except (ValueError, OSError) as error:
        sys.exit(f"error: {error}")
