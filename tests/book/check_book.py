"""The built book in a real browser, from its files and without network: ``make book-test``.

Needs chromium (Debian: chromium). With BOOK_SHOTS=FOLDER, pictures of the pages are kept there.
"""

import os
from pathlib import Path

import pytest
from browser import Page, chromium

from pidlib.decomposition.gates import GATES

BOOK = Path(__file__).parents[2] / "build/book"
PAGES = sorted(path.relative_to(BOOK).with_suffix("").as_posix() for path in BOOK.rglob("*.html"))
SHOTS = ["index", *(f"book/{name}" for name in ("gallery", "explorer", "samples", "clips", "api"))]
SHOTS += ["notebooks/quickstart", "notebooks/validation/fig_bias", "notebooks/omni/fig_clips"]
LARGEST = 30_000_000  # bytes of the book
PHONE = 390  # pixels


@pytest.fixture(scope="module")
def page():
    if not (program := chromium()):
        pytest.skip("needs Chromium (apt-get install chromium)")
    page = Page(program)
    yield page
    page.close()


def address(name: str, query: str = "") -> str:
    return (BOOK / f"{name}.html").as_uri() + query


def test_the_book_is_small():
    sizes = [file.stat().st_size for file in BOOK.rglob("*") if file.is_file()]
    assert len(sizes) > 50 and sum(sizes) < LARGEST


@pytest.mark.parametrize("name", [name for name in PAGES if not name.startswith("_static/")])
def test_a_page_loads_from_its_file_without_errors_and_fits_a_phone(page, name):
    page.open(address(name))
    assert page.evaluate("[...document.querySelectorAll('h1')].some(h => h.innerText)")
    assert not page.faults
    assert [url for url in page.requests if not url.startswith(("file:", "data:", "blob:"))] == []
    assert (
        page.evaluate("[...document.images].filter(x => x.complete && !x.naturalWidth).length") == 0
    )
    folder = os.environ.get("BOOK_SHOTS") if name in SHOTS else None
    for width in (1280, PHONE):
        page.resize(width, 900)
        if folder:
            page.wait("new Promise(done => setTimeout(() => done(true), 500))")
            page.screenshot(Path(folder) / f"{name.replace('/', '_')}_{width}.png")
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE
    page.resize(1280, 900)


def test_mathematics_is_typeset(page):
    page.open(address("book/explorer"))
    assert page.wait("document.querySelectorAll('mjx-container').length") > 3


def test_search_finds_a_word(page):
    page.open(address("search", "?q=synergy"))
    assert page.wait("document.querySelectorAll('#search-results li').length > 5")
    assert not page.faults


def test_the_explorer_shows_the_atoms_of_a_gate_and_its_sliders_move_them(page):
    page.open(address("book/explorer"))
    shown = "[...document.querySelectorAll('.bar output')].map(x => parseFloat(x.textContent))"
    input_event = "dispatchEvent(new Event('input', {bubbles: true}))"
    for name in ("AND", "XOR", "RDN"):
        choose = f"{{const s = document.querySelector('#explorer select'); s.value = '{name}'; "
        page.evaluate(f"{choose} s.{input_event}}}")
        assert page.evaluate(shown) == pytest.approx(GATES[name].atoms, abs=6e-4)
    width = "document.querySelector('.fill').getBoundingClientRect().width"
    before = page.evaluate(width)
    page.evaluate(
        f"{{const s = document.querySelectorAll('.cells input')[1]; s.value = 60;s.{input_event}}}"
    )
    assert 0 < page.evaluate(width) < before


def test_clips_play_with_sound(page):
    page.open(address("book/clips"))
    page.evaluate("document.querySelector('video').play()")
    played = "(v => v.currentTime > 0.2 && v.webkitAudioDecodedByteCount)"
    assert page.wait(f"{played}(document.querySelector('video'))") > 0
    assert page.evaluate("[...document.querySelectorAll('video')].every(v => !v.error)")
