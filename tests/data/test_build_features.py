"""Steps of the build of data/stamps on tiny inputs; no encoder is needed."""

import hashlib
import importlib.util
import re
import sys

import numpy as np
import pytest
from PIL import Image

from pidlib._common import project_root

FOLDER = project_root() / "data" / "stamps"


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("build_features", FOLDER / "build_features.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look it up
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


def test_captions_are_read_by_language(script):
    text = "A “Fuji” apple.\nca@valencia.utf8=Una poma = Fuji.  \nfr.utf8=Une pomme Fuji.\n"
    text += "de.utf8=\nno caption\n"
    assert script.captions(text) == {
        "en": "A “Fuji” apple.",
        "ca@valencia": "Una poma = Fuji.",
        "fr": "Une pomme Fuji.",
    }
    assert script.captions("") == {"en": ""}


@pytest.mark.parametrize(
    ("root", "box"),
    [
        ('<svg id="a" width="73.296" height="108.29">', "0 0 73.296 108.29"),
        ("<svg\n width='20px'\n height='10px'>", "0 0 20 10"),
        ('<svg stroke-width="3" width="20" height="10">', "0 0 20 10"),
    ],
)
def test_a_missing_view_box_is_taken_from_the_size(script, root, box):
    repaired = script.repaired_svg(f"<?xml?>{root}<g/></svg>")
    assert re.search(r'<svg viewBox="([^"]*)"', repaired)[1] == box
    assert repaired.replace(f' viewBox="{box}"', "") == f"<?xml?>{root}<g/></svg>"


@pytest.mark.parametrize(
    "root",
    [
        '<svg viewBox="0 0 5 5" width="20" height="10">',
        '<svg width="100%" height="10">',
        "<svg>",
        "no drawing",
    ],
)
def test_a_drawing_is_unchanged_if_there_is_nothing_to_repair(script, root):
    assert script.repaired_svg(root) == root


def test_pictures_captions_and_clips_are_found(script, tmp_path):
    birds = tmp_path / "animals" / "birds"
    birds.mkdir(parents=True)
    files = {
        "owl.txt": "An owl.\nfr.utf8=Un hibou.\n",
        "owl.svg": "<svg/>",
        "owl.png": "",
        "owl.ogg": "",
    }
    files |= {"owl_desc_fr.ogg": "", "owl_desc_xx.ogg": ""}
    files |= {"sign.txt": "A sign.", "sign.svg": "<svg><text/></svg>", "sign.png": ""}
    files |= {"gone.txt": "No picture.", "mute.png": ""}
    for name, text in files.items():
        (birds / name).write_text(text, encoding="utf-8")
    owl, sign = script.find(tmp_path)
    assert (owl.stamp_id, owl.category, owl.picture.name) == (
        "animals/birds/owl",
        "animals",
        "owl.svg",
    )
    assert owl.captions["fr"] == "Un hibou."
    assert {code: clip.name for code, clip in owl.clips.items()} == {"fr": "owl_desc_fr.ogg"}
    assert (sign.picture.name, sign.clips) == ("sign.png", {})  # letters depend on fonts


def test_a_folder_without_stamps_is_refused(script, tmp_path):
    with pytest.raises(ValueError, match="no pictures with captions under"):
        script.find(tmp_path)


def test_a_picture_is_placed_whole_on_a_white_square(script):
    square = np.asarray(script.squared(Image.new("RGBA", (40, 20), (255, 0, 0, 255)), side=8))
    assert square.shape == (8, 8, 3)
    assert (square[2:6] == (255, 0, 0)).all() and (square[[0, 1, 6, 7]] == 255).all()
    transparent = Image.new("RGBA", (4, 4), (9, 9, 9, 0))
    assert (np.asarray(script.squared(transparent, side=8)) == 255).all()


def test_three_seconds_are_kept_at_16_khz(script):
    tone = np.sin(2 * np.pi * 440 * np.arange(4 * 44_100) / 44_100)
    wave = script.first_seconds(np.stack([tone, np.zeros_like(tone)], axis=1), 44_100)
    assert wave.shape == (48_000,) and wave.dtype == np.float32
    assert np.abs(np.fft.rfft(wave[:16_000])).argmax() == 440
    assert len(script.first_seconds(tone[:441, None], 44_100)) == 160


def test_shards_keep_order_and_size(script):
    rows = np.arange(70, dtype=np.float16).reshape(35, 2)
    parts = list(script.shards(rows, max_bytes=60))
    assert all(part.nbytes <= 60 for part in parts) and len(parts) == 3
    assert np.array_equal(np.concatenate(parts), rows)


def test_the_encoders_are_pinned_by_version_and_checksum(script):
    lines = (FOLDER / "requirements.txt").read_text().splitlines()
    pattern = r"[\w-]+==[\d.]+ --hash=sha256:[0-9a-f]{64}"
    pinned = {line.split("==")[0] for line in lines if re.fullmatch(pattern, line)}
    assert pinned == {package for _, packages in script.ENCODERS.values() for package in packages}


def test_another_package_is_refused(script, tmp_path, monkeypatch):
    other = tmp_path / "other.deb"
    other.write_bytes(b"not the package")
    monkeypatch.setattr("sys.argv", ["build_features", str(other)])
    with pytest.raises(SystemExit, match=hashlib.sha256(b"not the package").hexdigest()):
        script.main()
