"""Pictures show what they declare, and only equal pictures draw equal images."""

from random import Random

import numpy as np
import pytest

from pidlib.benchmarks.micro import generate
from pidlib.benchmarks.pictures import BACKGROUNDS, COLORS, JITTER, SCENES, SHAPES, Item, Picture


def _nearest_color(pixel) -> str:
    return min(COLORS, key=lambda name: np.abs(np.subtract(COLORS[name], pixel)).sum())


@pytest.mark.parametrize("background", BACKGROUNDS)
@pytest.mark.parametrize("color", COLORS)
def test_items_have_their_color_at_any_shade(background, color):
    for shape in SHAPES:
        for shade in ((0, 0, 0), (JITTER, 0, JITTER), (JITTER, JITTER, JITTER)):
            image = Picture(background, (Item(shape, color, 20, 40, 16, shade=shade),)).draw()
            assert image.size == (64, 64) and image.mode == "RGB"
            assert _nearest_color(image.getpixel((20, 40))) == color


@pytest.mark.parametrize(
    ("shape", "area"),
    [("circle", np.pi * 10**2), ("rectangle", 20 * 14), ("triangle", 20 * 20 * 0.866 / 2)],
)
def test_items_have_their_place_and_area(shape, area):
    item = Item(shape, "black", 25, 37, 20, stretch=-6 if shape == "rectangle" else 0)
    ink = 1 - np.asarray(Picture("plain", (item,)).draw(), dtype=float).mean(-1) / 255
    rows, columns = np.nonzero(ink > 0.5)
    assert ink.sum() == pytest.approx(area, rel=0.03)
    assert (columns.min() + columns.max() + 1) / 2 == pytest.approx(25, abs=0.6)
    assert (rows.min() + rows.max() + 1) / 2 == pytest.approx(37, abs=0.6)


@pytest.mark.parametrize("size", [32, 96, 224])
def test_any_size_shows_the_same_picture(size):
    picture = Picture("beach", (Item("circle", "red", 16, 48, 20),))
    image = picture.draw(size)
    assert image.size == (size, size)
    assert (
        np.abs(
            np.asarray(image.resize((8, 8)), float)
            - np.asarray(picture.draw().resize((8, 8)), float)
        ).mean()
        < 6
    )


def test_scenes_are_distinct_without_items():
    rng = Random(0)

    def features(scene):
        tint, shift = tuple(rng.randint(0, JITTER) for _ in range(3)), rng.randrange(64)
        return np.asarray(Picture(scene, (), tint, shift).draw().resize((4, 4)), float).ravel()

    means = {scene: np.mean([features(scene) for _ in range(30)], axis=0) for scene in SCENES}
    for scene in SCENES:
        for _ in range(50):
            seen = features(scene)
            assert min(means, key=lambda name: np.abs(means[name] - seen).sum()) == scene


@pytest.mark.parametrize("task", ["scene", "knowledge", "existence", "captioned"])
def test_pictures_and_pixels_correspond(task):
    pictures = {picture for _, picture in generate(task, "train", 400)}
    assert len({picture.draw().tobytes() for picture in pictures}) == len(pictures)
    assert all(
        picture.draw().tobytes() == picture.draw().tobytes() for picture in list(pictures)[:20]
    )
