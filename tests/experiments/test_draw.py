"""Figures and LaTeX tables from the committed tables: reproducible, with labels apart."""

import itertools
import re
import runpy
import shutil
import zlib
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from types import ModuleType

import matplotlib
import matplotlib.image
import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text

from pidlib._common import project_root
from pidlib.experiments import draw, tables
from pidlib.experiments.preset import Preset, load_preset


def kept(figures: list[Figure], make: Callable[..., Figure], table: object) -> Figure:
    """Draw a figure and keep it in a list."""
    figures.append(make(table))
    return figures[-1]


def committed(name: str, output: Path) -> Preset:
    """A preset that writes to a folder, with a copy of the committed tables of a notebook."""
    preset = load_preset("smoke", output=str(output))
    folder = Path(name).parent  # none of claims
    for table in tables.declared(draw.notebook_module(name)):
        path = preset.table((folder / table).as_posix())
        source = project_root() / f"data/results/{folder / table}.csv"
        if not source.exists():
            pytest.skip(f"{source.name} is not committed yet")
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source, path)
    return preset


def count_labels(figure: Figure) -> int:
    """Count the labels of a figure; fail if any is off the page or over another."""
    boxes, draw_text = {}, Text.draw

    def record(text, renderer):
        if text.get_text().strip():
            boxes[text] = text.get_window_extent(renderer)
        draw_text(text, renderer)

    with pytest.MonkeyPatch.context() as patch, matplotlib.rc_context():
        matplotlib.style.use(["default", draw.STYLE])
        patch.setattr(Text, "draw", record)
        FigureCanvasAgg(figure).draw()
    page = figure.bbox.padded(1)
    for text, box in boxes.items():
        inside = page.x0 <= box.x0 and box.x1 <= page.x1 and page.y0 <= box.y0 and box.y1 <= page.y1
        assert inside, f"{text} is off the page"
    # The box of a slanted text is larger than its ink.
    upright = [(text, box) for text, box in boxes.items() if text.get_rotation() % 90 == 0]
    for (text, box), (other, second) in itertools.combinations(upright, 2):
        width = min(box.x1, second.x1) - max(box.x0, second.x0)
        height = min(box.y1, second.y1) - max(box.y0, second.y0)
        assert width <= 1 or height <= 1, f"{text} lies over {other}"
    return len(boxes)


def styled_figure(module: ModuleType, table: object) -> Figure:
    """The figure of a notebook in the style of all figures."""
    with matplotlib.rc_context():
        matplotlib.style.use(["default", draw.STYLE])
        return module.figure(table)


def _inflated(pdf: bytes) -> Iterator[bytes]:
    for stream in re.findall(rb"stream\r?\n(.*?)endstream", pdf, re.S):
        try:
            yield zlib.decompress(stream)
        except zlib.error:
            continue


def assert_same(first: Path, second: Path) -> None:
    """The same drawing up to rounding: the layout's last bits can differ between drawings."""
    if first.suffix == ".tex":
        assert first.read_text() == second.read_text()
    elif first.suffix == ".png":
        one, other = matplotlib.image.imread(first), matplotlib.image.imread(second)
        assert one.shape == other.shape and np.abs(one - other).mean() < 1e-4
    else:
        one, other = (list(_inflated(path.read_bytes())) for path in (first, second))
        assert len(one) == len(other) > 1
        number = re.compile(rb"-?[0-9]+[.]?[0-9]*")
        for stream, again in zip(one, other, strict=True):
            assert number.split(stream) == number.split(again)
            values = (np.array(number.findall(part), float) for part in (stream, again))
            np.testing.assert_allclose(*values, atol=0.01)


@pytest.mark.parametrize("name", draw.names())
def test_a_drawing_is_the_committed_one_and_labels_are_apart(name, tmp_path, monkeypatch):
    module, preset = draw.notebook_module(name), committed(name, tmp_path)
    figures = []
    for kind in {"figure", "column"} & set(vars(module)):
        monkeypatch.setattr(module, kind, partial(kept, figures, getattr(module, kind)))
    stem, folder = preset.figure(name).name, project_root() / "figures" / name
    first = {path.name.removeprefix(stem): path for path in draw.draw(preset, module).paths}
    for path in first.values():
        assert_same(path, folder.with_name(path.name))
    kinds = {"figure": {".pdf", ".png"}, "column": {"_column.pdf", "_column.png"}}
    kinds["latex"] = {".tex", ".caption.tex"}
    assert set(first) == {each for k in set(kinds) & set(vars(module)) for each in kinds[k]}
    assert {path.name for path in preset.figure(name).parent.iterdir()} == {
        path.name for path in first.values()
    }
    if ".tex" in first:
        text = first[".tex"].read_text()
        assert text.startswith(r"\begin{tabular}") and "nan" not in text
        caption = first[".caption.tex"].read_text()
        plain = re.sub(r"\$[^$]+\$|\\[_%]|\\(texttt|emph)", "", caption)
        assert "?" in caption and caption.endswith(".\n")
        assert not set("*`_%$#&\\±−") & set(plain) and plain.count("{") == plain.count("}")
    for suffix in {".pdf", "_column.pdf"} & set(first):
        file = first[suffix].read_bytes()
        pdf = file + b"".join(_inflated(file))
        assert b"/FontFile2" in pdf and b"/Type3" not in pdf and b"CreationDate" not in pdf
    assert all(count_labels(figure) > 10 for figure in figures)


def test_a_notebook_shows_the_picture(tmp_path):
    name = "validation/fig_bias"
    drawn = draw.draw(committed(name, tmp_path), draw.notebook_module(name))
    assert drawn._repr_png_().startswith(b"\x89PNG")
    assert repr(drawn).startswith("wrote ") and "fig_bias.pdf" in repr(drawn)


def test_a_missing_table_stops_before_a_figure_is_written(tmp_path):
    preset = load_preset("smoke", output=str(tmp_path))
    with pytest.raises(FileNotFoundError, match="run its notebook first, or `make paper`"):
        draw.draw(preset, draw.notebook_module("validation/fig_bias"))
    assert not (tmp_path / "figures").exists()


def test_figures_are_drawn_from_a_shell(tmp_path, monkeypatch, capsys):
    preset = committed("validation/table_gates", tmp_path)
    monkeypatch.setattr(draw, "load_preset", lambda name: preset)
    monkeypatch.setattr("sys.argv", ["draw", "validation/table_gates"])
    draw.main()
    assert "table_gates.tex" in capsys.readouterr().out
    assert preset.figure("validation/table_gates").with_suffix(".tex").exists()
    monkeypatch.setattr("sys.argv", ["draw", "validation/table_gate"])
    with pytest.raises(SystemExit):
        draw.main()
    assert "did you mean 'validation/table_gates'?" in capsys.readouterr().err
    for preset, message in (("smke", "did you mean 'smoke'"), ("none.yaml", "unknown preset")):
        monkeypatch.setattr("sys.argv", ["draw", "--preset", preset])
        with pytest.raises(SystemExit, match=f"^error: .*{message}"):
            runpy.run_path(draw.__file__, run_name="__main__")
