"""How the book gathers notebooks: clean outputs, links that hold, pinned packages."""

import importlib.util
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SPEC = importlib.util.spec_from_file_location("gather", ROOT / "book/gather.py")
gather = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(gather)


def stream(text: str, name: str = "stderr") -> dict:
    return {"output_type": "stream", "name": name, "text": text}


def test_outputs_lose_bars_and_paths_and_show_each_warning_once():
    warning = f"{ROOT}/pidlib/a.py:12: UserWarning: few samples\n  warnings.warn(text)\n"
    seen: set[str] = set()
    bar = stream("\r 50%|#####     | 1/2 [00:01<00:01]\n" + warning)
    assert gather.clean([bar, stream(warning)], seen) == [stream("UserWarning: few samples\n")]
    assert gather.clean([stream(warning)], seen) == []
    widget = {"output_type": "display_data", "metadata": {}}
    widget["data"] = {"application/vnd.jupyter.widget-view+json": {}, "text/plain": "bar"}
    assert gather.clean([widget], seen) == []
    printed = gather.clean([stream(f"wrote {ROOT}/figures/a.pdf\n  2 lines\n", "stdout")], seen)
    assert printed == [stream("wrote figures/a.pdf\n  2 lines\n", "stdout")]
    table = {"output_type": "display_data", "data": {"text/html": ["<td>$U_v$</td>"]}}
    (shown,) = gather.clean([table], seen)
    assert shown["data"]["text/html"] == r'<td><span class="math">\(U_v\)</span></td>'


@pytest.mark.parametrize(
    ("target", "mended"),
    [
        ("../notebooks/quickstart.ipynb", "../notebooks/quickstart.ipynb"),
        ("gallery.md#omni", "gallery.md#omni"),
        ("../data/README.md", f"{gather.REPOSITORY}/blob/main/data/README.md"),
        ("../notebooks/gone.ipynb", f"{gather.REPOSITORY}/blob/main/notebooks/gone.ipynb"),
        ("index.md", "../index.md"),
        ("#below", "#below"),
        ("../figures/claims.png", f"{gather.REPOSITORY}/blob/main/figures/claims.png"),
        ("https://arxiv.org/abs/2606.00959", "https://arxiv.org/abs/2606.00959"),
    ],
)
def test_links_stay_in_the_book_or_lead_to_the_repository(target, mended, tmp_path):
    assert gather.linked(f"see [it]({target}).", "book/a.md", tmp_path) == f"see [it]({mended})."


def test_a_figure_that_is_not_there_is_left_out(tmp_path):
    assert gather.linked("![a](../figures/none.png)", "book/a.md", tmp_path) == ""
    shown = "![a](../figures/claims.png)"
    assert gather.linked(shown, "book/a.md", tmp_path) == shown
    assert (tmp_path / "figures/claims.png").exists()


def test_the_index_lies_above_its_links(tmp_path):
    text = gather.linked("[a](../notebooks/quickstart.ipynb)", "book/index.md", tmp_path, "")
    assert text == "[a](notebooks/quickstart.ipynb)"


def test_names_of_notebooks_become_links():
    at = "notebooks/validation/fig_bias.ipynb"
    assert gather.named("see `fig_clips`", at) == "see [`fig_clips`](../omni/fig_clips.ipynb)"
    assert gather.named("`fig_bias`, `fig_none`", at) == "`fig_bias`, `fig_none`"
    assert gather.named("`fig_layers`", "book/a.md") == "`fig_layers`"  # there are two


def test_every_notebook_is_in_one_section():
    paths = sorted(ROOT.glob("notebooks/**/*.ipynb"))
    sections = gather.by_folder(paths)
    assert sorted(path for _, group in sections for path in group) == paths
    assert sections[0][0] == "Start"


def test_a_notebook_has_badges_and_folded_code_and_its_committed_figure(tmp_path, monkeypatch):
    written = []
    monkeypatch.setattr(gather, "picture", lambda path, target, width: written.append(target))
    path = ROOT / "notebooks/validation/fig_bias.ipynb"
    gather.write_notebook(path, path, "offline", tmp_path)
    notebook = gather.json.loads((tmp_path / path.relative_to(ROOT)).read_text())
    first, text = notebook["cells"][0]["source"], str(notebook["cells"])
    assert first.startswith("# ") and "mybinder.org" in first and "colab.research" in first
    assert "make build/offline/notebooks/validation/fig_bias.ipynb" in first
    code = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert all(cell["metadata"]["tags"] == ["hide-input"] for cell in code)
    assert "../../figures/validation/fig_bias.png" in text and str(ROOT) not in text
    assert written == [tmp_path / "figures/validation/fig_bias.png"]


def test_the_gallery_shows_a_computed_answer(tmp_path):
    run, output = tmp_path / "a.ipynb", {"output_type": "display_data"}
    text = "**Answer.** Synergy is .71 [.5, .9] bits. It grows."
    output["data"] = {"text/markdown": [text]}
    run.write_text(gather.json.dumps({"cells": [{"outputs": [output]}]}))
    assert gather.first_answer(run) == "Synergy is .71 [.5, .9] bits."
    assert gather.first_answer(tmp_path / "none.ipynb") == ""


def test_packages_of_the_book_are_pinned_by_hash():
    lines = (ROOT / "book/requirements-book.txt").read_text(encoding="utf-8").splitlines()
    rows = [line for line in lines if not line.startswith("#")]
    assert all(re.fullmatch(r"[\w-]+==[\w.]+ --hash=sha256:[0-9a-f]{64}", row) for row in rows)
    assert "://" not in "".join(lines)


def test_binder_installs_the_repository():
    script = ROOT / "binder/postBuild"
    assert script.stat().st_mode & 0o111 and '--editable ".[notebooks]"' in script.read_text()
