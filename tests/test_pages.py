"""README and the pages of the book: blocks made by code, links, commands and examples.

``python tests/test_pages.py`` writes the blocks again.
"""

import csv
import json
import re
import tomllib
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from PIL import Image
from safetensors import safe_open

import pidlib
from pidlib import benchmarks
from pidlib._common import project_root
from pidlib.benchmarks import table
from pidlib.experiments import claims, cluster
from pidlib.experiments.preset import PRESETS, load_preset
from pidlib.experiments.tables import ATOMS, DIAGNOSTICS
from pidlib.experiments.validation import fig_recovery
from pidlib.extraction import DRAWS, PASSES, drawn
from pidlib.models.checkpoints import CHECKPOINTS

ROOT = project_root()
README, BOOK = ROOT / "README.md", ROOT / "book"
PAGES = [README, *ROOT.glob("*/README.md"), ROOT / "CONTRIBUTING.md", *sorted(BOOK.glob("*.md"))]
MADE = ("gallery.md", "samples.md", "clips.md", "api.md")  # by book/gather.py
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
CITATION = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
URL = PROJECT["urls"]["Repository"]
EXPERIMENTS = "validation", "vision_language", "omni", "reweighting"
BLOCK = re.compile(r"(<!-- block (\w+) -->\n).*?(<!-- end -->)", re.S)
GALLERY = (
    "validation/fig_benchmarks validation/fig_recovery validation/fig_bias "
    "vision_language/fig_profiles vision_language/table1_sensitivity vision_language/fig_layers "
    "omni/fig_clips omni/table2_sensory reweighting/fig_scores"
).split()
# What notebooks test of the papers that is no row of data/published/claims.csv.
TESTED = {
    "validation/table_gates": "both papers: the decomposition",
    "validation/fig_recovery": "Fang et al.: answers from one modality",
    "validation/fig_bias": "Padegal Amit et al.: the estimator",
    "validation/fig_samples": "Fang et al.: the estimator",
    "validation/fig_coverage": "the intervals in all notebooks",
    "validation/fig_solver": "both papers: the solver",
    "vision_language/fig_interventions": "Fang et al.: the loss without the picture",
    "vision_language/fig_estimators": "Fang et al.: the estimator",
    "vision_language/fig_embeddings": "Padegal Amit et al.: the level of representations",
    "vision_language/fig_two_levels": "both papers, whose levels disagree",
    "vision_language/fig_embedding_layers": "Padegal Amit et al.: contributions by layer",
    "vision_language/fig_protocol_audit": "Padegal Amit et al.: the released procedure",
    "vision_language/table_synthetic": "both papers' protocols",
    "omni/fig_recovery": "Fang et al.: the condition on the question",
    "omni/fig_stamps": "both papers, on real data",
    "reweighting/fig_scores": "Fang et al.: the scores of samples",
    "reweighting/fig_gain": "Fang et al.: which models gain",
    "reweighting/fig_tradeoff": "Fang et al.: gains and losses by benchmark",
}


def read(path: str) -> pd.DataFrame:
    return pd.read_csv(ROOT / "data/results" / f"{path}.csv")


def lines(*rows: Sequence[object]) -> str:
    """A Markdown table: a header and rows."""
    texts = ["| " + " | ".join(map(str, row)) + " |" for row in rows]
    return "\n".join([texts[0], "|" + "---|" * len(rows[0]), *texts[1:]])


def title(notebook: str) -> str:
    cell = json.loads((ROOT / f"notebooks/{notebook}.ipynb").read_text(encoding="utf-8"))["cells"][
        0
    ]
    return "".join(cell["source"]).splitlines()[0].removeprefix("# ")


def badges() -> str:
    low, beyond = map(int, re.findall(r"3\.(\d+)", PROJECT["requires-python"]))
    python = f"3.{low}--3.{beyond - 1}"
    shown = [("python", python, "pyproject.toml"), ("license", PROJECT["license"], "LICENSE")]
    for paper in CITATION["references"]:
        number = paper["identifiers"][0]["value"].removeprefix("arXiv:")
        shown.append(("arXiv", number, f"https://arxiv.org/abs/{number}"))
    image = "https://img.shields.io/badge"
    made = [f"[![{a} {b}]({image}/{a}-{b}-blue)]({link})" for a, b, link in shown]
    place, start = URL.removeprefix("https://github.com/"), "notebooks/quickstart.ipynb"
    binder = f"https://mybinder.org/v2/gh/{place}/main?urlpath=lab/tree/{start}"
    colab = f"https://colab.research.google.com/github/{place}/blob/main/{start}"
    made.append(f"[![Binder](https://mybinder.org/badge_logo.svg)]({binder})")
    return " ".join([*made, f"[![Colab]({image}/open_in-Colab-blue)]({colab})"])


def scorecard() -> str:
    return f"**{claims.summary(read('claims'))}**"


def minis() -> str:
    sizes = []
    for folder in (ROOT / "data/minis").iterdir():
        weights = [safe_open(file, "np") for file in folder.glob("*.safetensors")]
        shapes = [w.get_slice(key).get_shape() for w in weights for key in w.keys()]
        sizes.append(sum(map(np.prod, shapes)) / 1e6)
    return (
        f"**The models in this repository are minis**: {len(sizes)} of {min(sizes):.1f} to "
        f"{max(sizes):.1f} million parameters, with real architectures,\ntrained from scratch on "
        "synthetic questions. They run through the same code as large models; nothing measured on "
        "them is a\nstatement about a large model."
    )


def install() -> str:
    return f"""```sh
# For your own project; without [models], the solver alone.
pip install "pidlib[models] @ git+{URL}"
# With the mini models and the notebooks; with conda: conda env create -f environment.yml
git clone {URL} && cd pidlib && make setup && source .venv/bin/activate
```

On Colab, a first cell runs `!git clone {URL}`, `%cd pidlib` and `%pip install ".[notebooks]"`."""


def gallery() -> str:
    cells = [
        f'[<img src="figures/{name}.png" width="270" alt="{name}">](notebooks/{name}.ipynb)<br>'
        + title(name)
        for name in GALLERY
    ]
    return lines(*(cells[row : row + 3] for row in range(0, 9, 3)))


def recovery() -> str:
    table = read("validation/fig_recovery")
    found = fig_recovery.errors(table).xs("all", level="group")[["error_bits", "covered"]]
    texts = [
        f"  - `{mode}` is off by {bits:.2g} bits on average; "
        f"{100 * share:.3g} % of its 95 % intervals contain the truth"
        for mode, bits, share in found.itertuples()
    ]
    count, link = table["model"].nunique(), "book/faq.md#masked-resampled-or-observational"
    head = (
        f"- **The three modes** answer [different questions]({link}) and are not equally exact. "
        f"Against\n  known atoms of {count} mini models (`resampled`: of independent inputs), in "
        "[fig_recovery](notebooks/validation/fig_recovery.ipynb):"
    )
    return "\n".join([head, *texts])


def bibtex() -> str:
    def entry(kind: str, key: str, **fields: object) -> str:
        first, *others = (f"{name} = {{{value}}}" for name, value in fields.items())
        return f"@{kind}{{{key}, {first},\n  {', '.join(others)}}}"

    software = {"author": f"{{{CITATION['authors'][0]['name']}}}", "version": CITATION["version"]}
    made = [entry("software", "pidlib", title=CITATION["title"], **software, url=URL)]
    for paper in CITATION["references"]:
        names = [author["family-names"] for author in paper["authors"]]
        facts = {"author": " and ".join(f"{{{x}}}" if " " in x else x for x in names)}
        facts |= {"booktitle": paper["conference"]["name"], "year": paper["year"]}
        facts["eprint"] = paper["identifiers"][0]["value"].removeprefix("arXiv:")
        key = f"{names[0].replace(' ', '').lower()}{paper['year']}"
        made.append(entry("inproceedings", key, title=paper["title"], **facts))
    return "\n".join(["```bibtex", *made, "```"])


def presets() -> str:
    rows = [["preset", "device", "models shown", "models of correlations", "benchmarks",
             "questions each", "writes to"]]  # fmt: skip
    for path in sorted(PRESETS.glob("*.yaml"), key=lambda path: path.stem != "offline"):
        made = load_preset(path.stem)
        counts = [len(made.models), len(made.population), len(made.benchmarks)]
        place = "the repository" if made.output == Path(".") else f"`{made.output.as_posix()}`"
        rows.append([f"`{made.name}`", made.device, *counts, f"{made.n_samples:,}", place])
    return lines(*rows)


def families() -> str:
    ways = read("validation/table_families")["way"].value_counts()
    return (
        f"Of {ways.sum()} image-text-to-text architectures of transformers, {ways['derived']} are "
        f"derived, {ways['row']} are read by a row of facts, {ways['refused']} are refused,\nand "
        f"{ways['unknown']} are undecided, since their default configuration cannot be built."
    )


def checkpoints() -> str:
    n, partners = 1000, load_preset("paper").partners
    passes = n * (len(drawn(PASSES, DRAWS)) + partners)
    rows = [["checkpoint", "parameters, billions", "GPU memory, GiB",
             f"GPU minutes per {n:,} questions", "license"]]  # fmt: skip
    for known in sorted(CHECKPOINTS.values(), key=lambda known: known.parameters):
        if not known.reason:
            minutes = passes * 2e9 * known.parameters * cluster.TOKENS / cluster.FLOPS / 60
            rows.append([known.checkpoint, f"{known.parameters:g}", f"{known.memory:.1f}",
                         f"{minutes:.0f}" if minutes >= 1 else "<1", known.licence])  # fmt: skip
    return lines(*rows)


def coverage() -> str:
    rows = read("validation/fig_coverage").query("estimator in ['halves', 'codes']")
    groups = rows.groupby(["n_samples", "kind"], sort=False)
    kinds = list(rows["kind"].unique())
    shown = [["samples", *(f"{kind}: contain the truth; width" for kind in kinds)]]
    for n in sorted(rows["n_samples"].unique()):
        parts = [groups.get_group((n, kind)) for kind in kinds]
        shares = [(part["coverage"].mean(), part["coverage"].min()) for part in parts]
        widths = [part["width_bits"].mean() for part in parts]
        texts = (
            f"{100 * mean:.0f} % (worst {100 * least:.0f} %); {width:.2f} bits"
            for (mean, least), width in zip(shares, widths, strict=True)
        )
        shown.append([f"{n:,}", *texts])
    return lines(*shown)


def notebook_map() -> str:
    """Tables of notebooks, those of an experiment in the order that the page has; new ones last."""
    with (ROOT / "data/published/claims.csv").open(encoding="utf-8", newline="") as file:
        stated = list(csv.DictReader(file))
    folders = [*EXPERIMENTS, *sorted({p.parent.name for p in ROOT.glob("notebooks/*/*.ipynb")})]
    texts, listed = [], (BOOK / "map.md").read_text(encoding="utf-8")
    for folder in dict.fromkeys(folders):
        texts.append(f"\n## {folder.replace('_', '-').capitalize()}\n")
        texts.append(lines(["notebook", "output", "tests"]))
        paths = sorted(ROOT.glob(f"notebooks/{folder}/*.ipynb"))
        for path in sorted(paths, key=lambda path: listed.find(f"{folder}/{path.name}") % 10**9):
            name = f"{folder}/{path.stem}"
            own = [row for row in stated if re.fullmatch(rf"{name}(_\w+)?", row["table"])]
            cells = [question(name), outputs(name), claimed(own) or TESTED.get(name, "–")]
            texts.append(lines(cells).splitlines()[0])
    return "\n".join(texts).strip()


def question(name: str) -> str:
    return f"[{name.partition('/')[2]}](../notebooks/{name}.ipynb): {title(name)}"


def outputs(name: str) -> str:
    kinds = {"png": "figure", "tex": "table"}
    there = [(kind, f"figures/{name}.{suffix}") for suffix, kind in kinds.items()]
    return ", ".join(f"[{kind}](../{path})" for kind, path in there if (ROOT / path).exists())


def claimed(rows: list[dict[str, str]]) -> str:
    """The statements of claims by source, with their grades."""
    parts: dict[str, list[str]] = {}
    for row in rows:
        text = row["statement"].removeprefix("… ")
        parts.setdefault(row["source"].partition(" (")[0], []).append(f"{text} ({row['grade']})")
    return "<br>".join(f"{source}: {'; '.join(texts)}" for source, texts in parts.items())


BLOCKS = {
    each.__name__: each
    for each in (badges, scorecard, minis, install, gallery, recovery, bibtex, presets, families)
}
BLOCKS |= {"checkpoints": checkpoints, "coverage": coverage, "map": notebook_map}


def rewritten(text: str) -> str:
    return BLOCK.sub(lambda found: f"{found[1]}{BLOCKS[found[2]]()}\n\n{found[3]}", text)


def anchors(path: Path) -> set[str]:
    """The anchors of headings, as code hosts and MyST make them."""
    heads = re.findall(r"^#+ (.+)$", path.read_text(encoding="utf-8"), re.M)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


def code(path: Path, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", path.read_text(encoding="utf-8"), re.S)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_blocks_links_and_commands_of_a_page(page):
    text = page.read_text(encoding="utf-8")
    assert text == rewritten(text), "run python tests/test_pages.py"
    for link in re.findall(r"\]\(([^)\s]+)\)|src=\"([^\"]+)(?<!\.js)\"", text):
        place, _, anchor = max(link).partition("#")
        if not place.startswith("http"):
            path = page.parent / place if place else page
            assert path.exists() or place in MADE, f"{page.name} links {place}"
            assert not anchor or anchor in anchors(path), f"{page.name} links {place}#{anchor}"
    goals = re.findall(r"^([a-z][a-z-]*):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M)
    goals += ["PRESET", "PARAMETERS", "build", "help"]
    for goal in re.findall(r"(?:^|`|&& )make (?:[A-Z]+=\S+ )*([A-Za-z][A-Za-z-]*)", text, re.M):
        assert goal in goals, f"{page.name}: make {goal}"
    for module, rest in re.findall(r"python -m (pidlib[\w.]*)([^\n`#|]*)", text):
        path = ROOT.joinpath(*module.split("."))
        source = path / "__main__.py" if path.is_dir() else path.with_suffix(".py")
        known = source.read_text(encoding="utf-8")
        assert all(f'"{flag}"' in known for flag in re.findall(r"(?<= )--[\w-]+", rest)), rest


def test_the_readme_is_one_page_and_its_example_uses_public_names():
    text = README.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 120
    (example,) = code(README, "python")  # takes a minute; quickstart.ipynb has the same calls
    assert set(re.findall(r"pidlib\.(\w+)[(.]", example)) <= set(pidlib.__all__)
    assert CITATION["repository-code"] == URL and CITATION["version"] == PROJECT["version"]
    assert set(re.findall(r"https://[\w./-]*/pidlib\b(?!/)", text)) == {URL}


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_the_examples_of_your_model_run(tmp_path, monkeypatch):
    own, tables, *_ = code(BOOK / "your_model.md", "python")
    questions, logged = code(BOOK / "your_model.md", "csv")
    (tmp_path / "photos").mkdir()
    for name, color in (("1", "red"), ("2", "blue")):
        Image.new("RGB", (64, 64), color).save(tmp_path / f"photos/{name}.jpg")
    (tmp_path / "cars.csv").write_text(questions)
    (tmp_path / "answers.csv").write_text(logged)
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs/checkpoint-500").symlink_to(ROOT / "data/minis/llava_compact")
    monkeypatch.chdir(tmp_path)
    names = {}
    exec(own, names)
    written = pd.read_csv("mine.csv")
    assert set(written["benchmark"]) == {"table:cars.csv"}
    assert set(written["benchmark_revision"]) == {benchmarks.revision("table:cars.csv")}
    assert names["samples"][0].candidates == ("A", "B")
    exec(tables, {})


def test_the_data_sheet_has_all_columns():
    described = set(re.findall(r"`([a-z_]+)`", (BOOK / "data.md").read_text(encoding="utf-8")))
    assert set(ATOMS.types) <= described
    assert set(table.COLUMNS) <= set(
        re.findall(r"^\| `(\w+)`", (BOOK / "your_model.md").read_text(encoding="utf-8"), re.M)
    )
    measures = {re.sub(r"_(vision|language)|_bits", "", name) for name in DIAGNOSTICS}
    known = {re.sub(r"_(vision|language)|_bits", "", name) for name in described}
    assert measures <= known


def entries() -> Iterator[tuple[str, str]]:
    parts = re.split(r"^## (.+)$", (BOOK / "glossary.md").read_text(encoding="utf-8"), flags=re.M)
    return zip(parts[1::2], parts[2::2], strict=True)


def test_the_glossary_defines_terms_in_two_sentences():
    for term, text in entries():
        words = re.sub(r"et al\.|\$[^$]*\$|`[^`]*`", "x", text)
        assert 1 <= len(re.findall(r"[.?!](?=\s|$)", words)) <= 2, term


if __name__ == "__main__":
    for page in PAGES:
        before = page.read_text(encoding="utf-8")
        page.write_text(rewritten(before), encoding="utf-8")
        print(page.relative_to(ROOT), "changed" if rewritten(before) != before else "unchanged")
