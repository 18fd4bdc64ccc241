"""The build's own steps on tiny inputs; no encoder is needed."""

import hashlib
import re

import numpy as np
import pytest
from PIL import Image

from pidlib import stamps_build
from pidlib.experiment import project_root


def test_captions_are_read_by_language():
    text = "A “Fuji” apple.\nca@valencia.utf8=Una poma = Fuji.  \nfr.utf8=Une pomme Fuji.\nde.utf8=\nno caption\n"
    assert stamps_build.captions(text) == {"en": "A “Fuji” apple.", "ca@valencia": "Una poma = Fuji.", "fr": "Une pomme Fuji."}
    assert stamps_build.captions("") == {"en": ""}


@pytest.mark.parametrize(
    ("root", "box"),
    [
        ('<svg id="a" width="73.296" height="108.29">', "0 0 73.296 108.29"),
        ("<svg\n width='20px'\n height='10px'>", "0 0 20 10"),
        ('<svg stroke-width="3" width="20" height="10">', "0 0 20 10"),
    ],
)
def test_a_missing_view_box_comes_from_the_size(root, box):
    repaired = stamps_build.repaired_svg(f"<?xml?>{root}<g/></svg>")
    assert re.search(r'<svg viewBox="([^"]*)"', repaired)[1] == box
    assert repaired.replace(f' viewBox="{box}"', "") == f"<?xml?>{root}<g/></svg>"


@pytest.mark.parametrize(
    "root", ['<svg viewBox="0 0 5 5" width="20" height="10">', '<svg width="100%" height="10">', "<svg>", "no drawing"]
)
def test_a_drawing_is_left_alone_where_there_is_nothing_to_repair(root):
    assert stamps_build.repaired_svg(root) == root


def test_pictures_captions_and_clips_are_found(tmp_path):
    birds = tmp_path / "animals" / "birds"
    birds.mkdir(parents=True)
    files = {"owl.txt": "An owl.\nfr.utf8=Un hibou.\n", "owl.svg": "<svg/>", "owl.png": "", "owl.ogg": ""}
    files |= {"owl_desc_fr.ogg": "", "owl_desc_xx.ogg": ""}
    files |= {"sign.txt": "A sign.", "sign.svg": "<svg><text/></svg>", "sign.png": "", "gone.txt": "No picture.", "mute.png": ""}
    for name, text in files.items():
        (birds / name).write_text(text, encoding="utf-8")
    owl, sign = stamps_build.find(tmp_path)
    assert (owl.stamp_id, owl.category, owl.picture.name) == ("animals/birds/owl", "animals", "owl.svg")
    assert owl.captions["fr"] == "Un hibou." and {code: clip.name for code, clip in owl.clips.items()} == {"fr": "owl_desc_fr.ogg"}
    assert (sign.picture.name, sign.clips) == ("sign.png", {})  # letters depend on fonts


def test_a_folder_without_stamps_is_refused(tmp_path):
    with pytest.raises(ValueError, match="no pictures with captions under"):
        stamps_build.find(tmp_path)


def test_a_picture_lies_whole_on_a_white_square():
    square = np.asarray(stamps_build.squared(Image.new("RGBA", (40, 20), (255, 0, 0, 255)), side=8))
    assert square.shape == (8, 8, 3)
    assert (square[2:6] == (255, 0, 0)).all() and (square[[0, 1, 6, 7]] == 255).all()
    assert (np.asarray(stamps_build.squared(Image.new("RGBA", (4, 4), (9, 9, 9, 0)), side=8)) == 255).all()  # what is clear is white


def test_three_seconds_are_heard_at_16_khz():
    tone = np.sin(2 * np.pi * 440 * np.arange(4 * 44_100) / 44_100)
    wave = stamps_build.heard(np.stack([tone, np.zeros_like(tone)], axis=1), 44_100)
    assert wave.shape == (48_000,) and wave.dtype == np.float32
    assert np.abs(np.fft.rfft(wave[:16_000])).argmax() == 440
    assert len(stamps_build.heard(tone[:441, None], 44_100)) == 160


def test_shards_keep_order_and_size():
    rows = np.arange(70, dtype=np.float16).reshape(35, 2)
    parts = list(stamps_build.shards(rows, largest=60))
    assert all(part.nbytes <= 60 for part in parts) and len(parts) == 3
    assert np.array_equal(np.concatenate(parts), rows)


def test_the_encoders_are_pinned_by_version_and_checksum():
    lines = (project_root() / "data" / "stamps" / "requirements.txt").read_text().splitlines()
    pinned = {line.split("==")[0] for line in lines if re.fullmatch(r"[\w-]+==[\d.]+ --hash=sha256:[0-9a-f]{64}", line)}
    assert pinned == {package for _, packages in stamps_build.ENCODERS.values() for package in packages}


def test_another_package_is_refused(tmp_path, monkeypatch):
    other = tmp_path / "other.deb"
    other.write_bytes(b"not the package")
    monkeypatch.setattr("sys.argv", ["stamps_build", str(other)])
    with pytest.raises(SystemExit, match=hashlib.sha256(b"not the package").hexdigest()):
        stamps_build.main()
