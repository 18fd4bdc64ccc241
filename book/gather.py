"""Build the book: ``python book/gather.py PRESET OUTPUT``.

The source of Sphinx, OUTPUT-src, has the layout of the repository, so relative links hold there
too: the pages of this folder, and all notebooks, executed where build/PRESET/notebooks has a run.
Links to files that are not in the book lead to the repository. The gallery and the page of public
names are made here; clips, samples and gates come from parts.py.
"""

import base64
import importlib.util
import inspect
import io
import json
import os
import posixpath
import re
import shutil
import sys
import tempfile
import tomllib
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
REPOSITORY = PROJECT["urls"]["Repository"]
HEADINGS = {  # folders of notebooks, in the order of the book; others follow
    "": "Start",
    "course": "Course",
    "validation": "Validation",
    "vision_language": "Pictures and questions",
    "omni": "Sight and sound",
    "reweighting": "Reweighting of training samples",
    "real": "Real parts and models",
}
MADE = ("gallery", "explorer", "samples", "clips", "api")  # pages of the index; others are guides
PAGES = (
    "running your_model cluster map data faq glossary contributing changelog".split()
)  # others follow
WIDEST, THUMBNAIL = 1400, 640  # pixels of pictures
MATH = re.compile(r"\$([^$<>\n]+)\$")
BAR = re.compile(r"\d+%\|")
WARNING = re.compile(r"^\S+?:\d+: (?=\w*Warning: )")
LINK = re.compile(r"(!?\[[^\]]*\])\(([^)\s#]*)(#[^)\s]*)?\)")
COLAB = """\
```ipython3
!git clone --depth 1 {repository}
!pip install --quiet --editable "./{name}[notebooks]"
%cd {name}
```"""


def main(preset: str, output: str) -> int:
    from sphinx.cmd.build import main as build

    source = ROOT / f"{output}-src"
    shutil.rmtree(source, ignore_errors=True)
    source.mkdir(parents=True)
    shutil.copytree(ROOT / "build/book-parts", source, dirs_exist_ok=True)
    shutil.copytree(ROOT / "book/_static", source / "_static", dirs_exist_ok=True)
    shutil.copy(ROOT / "book/conf.py", source)
    copy_mathjax(source / "_static/mathjax")
    paths = sorted(ROOT.glob("notebooks/**/*.ipynb"))
    missing = []
    for path in paths:
        run = ROOT / "build" / preset / path.relative_to(ROOT)
        if not run.exists():
            missing.append(path.relative_to(ROOT / "notebooks").as_posix())
        write_notebook(path, run if run.exists() else path, preset, source)
    for path in sorted(ROOT.glob("book/*.md")):
        write_page(path, source, paths)
    write(source / "book/gallery.md", gallery(paths, source, preset))
    write(source / "book/api.md", api())
    if missing:
        text = f"{len(missing)} of {len(paths)} notebooks have no run of the preset {preset} and "
        text += f"are shown with the committed figures: {', '.join(missing)}"
        print(f"{text}\nTo run them all: make PRESET={preset} paper", file=sys.stderr)
    options = ["-W", "--keep-going", "-q", "-d", str(ROOT / f"{output}-doctrees")]
    options += ["-D", f"html_theme_options.repository_url={REPOSITORY}"]
    shutil.rmtree(ROOT / output, ignore_errors=True)
    failed = build([*options, str(source), str(ROOT / output)])
    for path in (ROOT / output).rglob("*.map"):  # of scripts and styles, for their authors
        path.unlink()
    return failed


def copy_mathjax(target: Path) -> None:
    """Copy the script and the fonts that pages load."""
    package = Path(importlib.util.find_spec("mathjax").origin).parent / "static/mathjax/es5"
    shutil.copytree(package / "output/chtml/fonts/woff-v2", target / "output/chtml/fonts/woff-v2")
    shutil.copy(package / "tex-mml-chtml.js", target)


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def in_book(path: str) -> bool:
    """Whether a file of the repository is a page of the book."""
    if path in [f"book/{name}.md" for name in MADE]:
        return True
    return bool(re.match(r"book/.*\.md|notebooks/.*\.ipynb", path)) and (ROOT / path).exists()


def linked(text: str, at: str, source: Path, base: str | None = None) -> str:
    """Mend the links of Markdown at `at`, and copy figures; `base` is the folder of the page."""
    folder = posixpath.dirname(at)
    base = folder if base is None else base

    def mended(match: re.Match) -> str:
        label, target, anchor = match[1], match[2], match[3] or ""
        if not target or re.match(r"[a-z]+:", target):
            return match[0]
        path = posixpath.normpath(posixpath.join(folder, target))
        if path == "book/index.md":
            return f"{label}({posixpath.relpath('index.md', base or '.')}{anchor})"
        if label.startswith("!"):
            if not (ROOT / path).exists():  # not drawn yet
                return ""
            picture(ROOT / path, source / path, WIDEST)
        elif not in_book(path):
            return f"{label}({REPOSITORY}/blob/main/{quote(path)}{anchor})"
        return f"{label}({posixpath.relpath(path, base or '.')}{anchor})"

    return LINK.sub(mended, text)


def picture(path: Path | io.BytesIO, target: Path | io.BytesIO, width: int) -> None:
    """Write a picture as PNG with 256 colors, at most so wide."""
    from PIL import Image

    if isinstance(target, Path):
        if target.exists():
            return
        target.parent.mkdir(parents=True, exist_ok=True)
    image = Image.open(path).convert("RGB")
    image.thumbnail((width, image.height), Image.Resampling.LANCZOS, reducing_gap=3)
    image.quantize(256).save(target, format="PNG")


def write_page(path: Path, source: Path, paths: list[Path]) -> None:
    """Copy a page of text; the index lists all pages and notebooks."""
    at, text = path.relative_to(ROOT).as_posix(), path.read_text(encoding="utf-8")
    if path.stem != "index":
        return write(source / at, linked(named(text, at), at, source))
    names = sorted({p.stem for p in path.parent.glob("*.md")} - {"index", *MADE})
    names.sort(key=lambda name: PAGES.index(name) if name in PAGES else len(PAGES))
    groups = {"Guide": [f"book/{name}" for name in names]}
    for heading, group in by_folder(paths):
        groups[heading] = [p.relative_to(ROOT).with_suffix("").as_posix() for p in group]
    trees = (
        "\n".join(["```{toctree}", ":hidden:", f":caption: {heading}", "", *entries, "```\n"])
        for heading, entries in groups.items()
        if entries
    )
    text = linked(text, at, source, "").replace("% contents", "\n".join(trees))
    write(source / "index.md", text)


def by_folder(paths: list[Path]) -> list[tuple[str, list[Path]]]:
    """Headings and notebooks, in the order of book/map.md."""
    listed = (ROOT / "book/map.md").read_text(encoding="utf-8")
    groups: dict[str, list[Path]] = {folder: [] for folder in HEADINGS}
    for path in paths:
        name = path.relative_to(ROOT / "notebooks").as_posix()
        groups.setdefault(posixpath.dirname(name), []).append(path)

    def place(path: Path) -> int:
        return listed.find(f"(../{path.relative_to(ROOT).as_posix()})") % (1 << 60)

    named = ((HEADINGS.get(folder, folder), group) for folder, group in groups.items() if group)
    return [(heading, sorted(group, key=place)) for heading, group in named]


def write_notebook(path: Path, run: Path, preset: str, source: Path) -> None:
    """Write a notebook: code folded, outputs cleaned, a line on how to run it below the title."""
    at = path.relative_to(ROOT).as_posix()
    notebook = json.loads(run.read_text(encoding="utf-8"))
    folder, executed, seen, cells = posixpath.dirname(at), run != path, set(), []
    is_lesson = folder == "notebooks/course"

    def mended(text: str) -> str:
        return linked(named(text, at), at, source)

    for cell in notebook["cells"]:
        text, tags = "".join(cell["source"]), cell["metadata"].get("tags", [])
        if "injected-parameters" in tags:
            continue
        if cell["cell_type"] == "markdown":
            cells.append({"cell_type": "markdown", "metadata": {}, "source": mended(text)})
            continue
        hidden = ["hide-input"] if folder.count("/") and not is_lesson else []
        metadata = {"tags": ["hide-cell"] if "solution" in tags else hidden}
        outputs = clean(cell.get("outputs", []), seen, mended)
        fields = {"execution_count": None, "metadata": metadata, "outputs": outputs}
        cells.append({"cell_type": "code", **fields, "source": text})
    figure = at.replace("notebooks", "figures", 1).replace(".ipynb", ".png")
    shown = executed or any("](" in cell["source"] and "![" in cell["source"] for cell in cells)
    if not shown and (ROOT / figure).exists():
        line = f"![The committed figure]({posixpath.relpath(figure, folder)})"
        cells.append({"cell_type": "markdown", "metadata": {}, "source": linked(line, at, source)})
    title, _, rest = cells[0]["source"].partition("\n")
    cells[0]["source"] = f"{title}\n\n{how_to_run(at, executed, preset)}\n{rest}"
    kept = {key: notebook["metadata"][key] for key in ("kernelspec", "language_info")}
    content = {"cells": [dict(cell, id=str(i)) for i, cell in enumerate(cells)]}
    write(source / at, json.dumps(content | {"metadata": kept, "nbformat": 4, "nbformat_minor": 5}))


def named(text: str, at: str) -> str:
    """Link the names of notebooks that stand in code font."""
    folder = posixpath.dirname(at)

    def link(match: re.Match) -> str:
        paths = [p.relative_to(ROOT) for p in ROOT.glob(f"notebooks/**/{match[1]}.ipynb")]
        found = [p for p in paths if p.parent.as_posix() == folder] or paths
        if len(found) != 1 or found[0].as_posix() == at:
            return match[0]
        return f"[{match[0]}]({posixpath.relpath(found[0].as_posix(), folder)})"

    return re.sub(r"(?<!\[)`((?:fig|table)\d*_\w+)`", link, text)


def how_to_run(at: str, executed: bool, preset: str) -> str:
    """The badges of a notebook, and what its outputs are."""
    place = REPOSITORY.removeprefix("https://github.com/")
    binder = f"https://mybinder.org/v2/gh/{place}/main?urlpath=lab/tree/{quote(at)}"
    colab = f"https://colab.research.google.com/github/{place}/blob/main/{quote(at)}"
    badges = f"[Binder]({binder}) [Colab]({colab}) [Source]({REPOSITORY}/blob/main/{quote(at)})"
    state = f"Outputs are those of the preset `{preset}`." if executed else "Not run in this book."
    if executed and preset == "smoke":
        state += " They test the code; their numbers mean nothing."
    setup = COLAB.format(repository=REPOSITORY, name=posixpath.basename(REPOSITORY))
    target = "course" if "/course/" in at else f"build/{preset}/{at}"
    return (
        f"{{.badges}}\n{badges}\n\n:::{{dropdown}} Run it\n{state} With a clone: "
        f"`make {target}`. On Colab, run this first:\n\n{setup}\n:::\n"
    )


def clean(outputs: list[dict], seen: set[str], mended: Callable[[str], str] = str) -> list[dict]:
    """Outputs without bars, repeated warnings and paths; with smaller pictures, mended links."""
    kept: list[dict] = []
    for output in outputs:
        if output["output_type"] == "stream":
            lines = re.split(r"[\r\n]", "".join(output["text"]))
            if output["name"] == "stderr":
                lines = [WARNING.sub("", x) for x in lines if not BAR.search(x) and x[:1] != " "]
                lines = [x for x in dict.fromkeys(lines) if x.strip() and x not in seen]
                seen.update(lines)
            text = without_paths("\n".join(lines).strip("\n"))
            if text:
                kept.append({"output_type": "stream", "name": output["name"], "text": text + "\n"})
            continue
        data = dict(output.get("data", {}))
        if "application/vnd.jupyter.widget-view+json" in data:
            continue
        for kind, value in data.items():
            if kind == "image/png":
                encoded = io.BytesIO()
                picture(io.BytesIO(base64.b64decode("".join(value))), encoded, WIDEST)
                data[kind] = base64.b64encode(encoded.getvalue()).decode()
            elif isinstance(value, str | list):
                data[kind] = without_paths("".join(value))
        if "text/html" in data:
            data["text/html"] = MATH.sub(r'<span class="math">\\(\1\\)</span>', data["text/html"])
        if "text/markdown" in data:
            data["text/markdown"] = mended(data["text/markdown"])
        kept.append(dict(output, data=data, metadata={}))
    return kept


def without_paths(text: str) -> str:
    """Text without the folders of the repository, of the user and of temporary files."""
    text = text.replace(f"{ROOT}{os.sep}", "").replace(str(ROOT), ".")
    if len(str(Path.home())) > 1:
        text = text.replace(str(Path.home()), "~")
    return re.sub(rf"{re.escape(tempfile.gettempdir())}/[\w./-]*/", "", text)


def gallery(paths: list[Path], source: Path, preset: str) -> str:
    """Cards of all notebooks: figure, question, and the answer of an executed one."""
    text = "# Gallery\n\nEach picture leads to the notebook that makes it.\n"
    for heading, group in by_folder(paths):
        text += f"\n## {heading}\n\n::::{{grid}} 1 2 2 3\n:gutter: 3\n\n"
        for path in group:
            at = path.relative_to(ROOT)
            title = re.search(r"^# (.*)", json.loads(path.read_text())["cells"][0]["source"][0])[1]
            figure = ROOT / "figures" / at.relative_to("notebooks").with_suffix(".png")
            top = ""
            if figure.exists():
                thumbnail = f"_thumbnails/{figure.relative_to(ROOT / 'figures').as_posix()}"
                picture(figure, source / thumbnail, THUMBNAIL)
                top = f":img-top: ../{thumbnail}\n:img-alt: {json.dumps(title)}\n"
            link = f":link: ../{at.with_suffix('').as_posix()}\n:link-type: doc\n"
            answer = first_answer(ROOT / "build" / preset / at) if preset != "smoke" else ""
            text += f":::{{grid-item-card}} {title}\n{link}{top}\n{answer}\n:::\n\n"
        text += "::::\n"
    return text


def first_answer(run: Path) -> str:
    """The first sentence that an executed notebook computes as its answer."""
    cells = json.loads(run.read_text(encoding="utf-8"))["cells"] if run.exists() else []
    outputs = [output for cell in cells for output in cell.get("outputs", [])]
    texts = ["".join(output.get("data", {}).get("text/markdown", "")) for output in outputs]
    found = [re.match(r"\*\*Answer\.\*\*\s+(.*?[.?!])(?=\s+[A-Z]|$)", text, re.S) for text in texts]
    return next((match[1] for match in found if match), "")


def api() -> str:
    """The public names with their docstrings."""
    pidlib = importlib.import_module("pidlib")
    text = f"# Public names\n\n{inspect.getdoc(pidlib)}\n"
    for name in pidlib.__all__:
        value = getattr(pidlib, name)
        is_module = inspect.ismodule(value)
        kind = "module" if is_module else "class" if inspect.isclass(value) else "function"
        where = value.__name__ if is_module else f"pidlib.{name}"
        members = "   :members:\n" if kind != "function" else ""
        directive = f".. auto{kind}:: {where}\n{members}"
        text += f"\n## `{name}`\n\n```{{eval-rst}}\n{directive}```\n"
    return text


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    sys.exit(main(*sys.argv[1:]))
