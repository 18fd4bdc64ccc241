"""Pictures of colored shapes in front of a background: small value objects that draw themselves.

Shapes and colors are those of easy-VQA, with the same vocabulary. A picture holds everything that
determines its pixels, jitter included, as integers: its hash identifies the image.
"""

from dataclasses import dataclass
from random import Random

from PIL import Image, ImageDraw

SHAPES = ("circle", "rectangle", "triangle")
COLORS = {
    "red": (255, 0, 0),
    "green": (0, 255, 0),
    "blue": (0, 0, 255),
    "yellow": (255, 255, 0),
    "teal": (0, 128, 128),
    "brown": (165, 42, 42),
    "black": (0, 0, 0),
    "gray": (128, 128, 128),
}
SCENES = ("meadow", "night", "beach", "snow")
BACKGROUNDS = ("plain", *SCENES)
FRAME = 64  # coordinates are pixels of a 64 x 64 frame, at any drawn size
JITTER = 25  # largest value of a tint or a shade
SUPERSAMPLING = 4

_RGB = tuple[int, int, int]
_STARS_X = (2, 5, 11, 14, 19, 22, 29, 33, 38, 44, 47, 53, 58)
_STARS_Y = (52, 30, 9, 60, 44, 20, 56, 7, 34, 50, 24, 40, 14)
_STARS = tuple(zip(_STARS_X, _STARS_Y, strict=True))


@dataclass(frozen=True, slots=True)
class Item:
    """One shape: its center (x, y), width ``size``, and color, changed by ``shade`` (0 to 25).

    A triangle is equilateral; a rectangle is ``size + stretch`` high.
    """

    shape: str
    color: str
    x: int
    y: int
    size: int
    stretch: int = 0
    shade: _RGB = (0, 0, 0)


@dataclass(frozen=True, slots=True)
class Picture:
    """Items in front of a background.

    ``tint`` (0 to 25 per channel) colors the background, ``shift`` (pixels) moves parts of a scene.

    >>> Picture("plain", (Item("circle", "red", 32, 32, 20),)).draw().getpixel((32, 32))
    (255, 0, 0)
    """

    background: str
    items: tuple[Item, ...] = ()
    tint: _RGB = (JITTER, JITTER, JITTER)
    shift: int = 0

    def draw(self, size: int = FRAME) -> Image.Image:
        """Return the RGB image, ``size`` x ``size`` pixels, anti-aliased by supersampling."""
        canvas = Image.new("RGB", (size * SUPERSAMPLING, size * SUPERSAMPLING))
        pen = _Pen(canvas, size * SUPERSAMPLING / FRAME)
        _PAINTERS[self.background](pen, self.tint, self.shift)
        for item in self.items:
            _paint_item(pen, item)
        return canvas.reduce(SUPERSAMPLING)

    @property
    def layout(self) -> "Picture":
        """The picture, which determines the split."""
        return self

    def media(self) -> dict[str, Image.Image]:
        """Return the input of a sample."""
        return {"image": self.draw()}


def jitter(rng: Random) -> _RGB:
    """Draw a tint or shade."""
    return (rng.randint(0, JITTER), rng.randint(0, JITTER), rng.randint(0, JITTER))


class _Pen:
    """Draws in coordinates of the frame on a larger canvas."""

    def __init__(self, canvas: Image.Image, scale: float):
        self._draw, self._scale = ImageDraw.Draw(canvas), scale

    def _box(self, left: float, top: float, right: float, bottom: float) -> tuple[float, ...]:
        s = self._scale
        return (left * s, top * s, right * s - 1, bottom * s - 1)  # Pillow includes the last pixel

    def box(self, left: float, top: float, right: float, bottom: float, fill: _RGB):
        self._draw.rectangle(self._box(left, top, right, bottom), fill)

    def oval(self, left: float, top: float, right: float, bottom: float, fill: _RGB):
        self._draw.ellipse(self._box(left, top, right, bottom), fill)

    def triangle(self, left: float, top: float, right: float, bottom: float, fill: _RGB):
        left, top, right, bottom = self._box(left, top, right, bottom)
        self._draw.polygon((left, bottom, (left + right) / 2, top, right, bottom), fill)


def _paint_item(pen: _Pen, item: Item):
    # shades move each channel into its range, so that different shades stay different pixels
    fill = tuple(
        c + s if c < 128 else c - s for c, s in zip(COLORS[item.color], item.shade, strict=True)
    )
    width, height = item.size, item.size
    if item.shape == "rectangle":
        height += item.stretch
    elif item.shape == "triangle":
        height *= 0.866
    stroke = {"circle": pen.oval, "rectangle": pen.box, "triangle": pen.triangle}[item.shape]
    stroke(item.x - width / 2, item.y - height / 2, item.x + width / 2, item.y + height / 2, fill)


def _tinted(base: _RGB, tint: _RGB) -> _RGB:
    return tuple(b + t - JITTER // 2 for b, t in zip(base, tint, strict=True))


def _plain(pen: _Pen, tint: _RGB, shift: int):
    pen.box(0, 0, FRAME, FRAME, tuple(255 - JITTER + t for t in tint))


def _meadow(pen: _Pen, tint: _RGB, shift: int):
    pen.box(0, 0, FRAME, 40, _tinted((130, 200, 240), tint))
    x = shift % FRAME
    # Clouds move with the shift and wrap around.
    for left, top, right, bottom in ((-14, 9, 6, 15), (-9, 5, 2, 13), (4, 18, 22, 23)):
        for move in (x - FRAME // 2, x + FRAME // 2):
            pen.oval(left + move, top, right + move, bottom, (246, 250, 252))
    pen.oval(x - 40, 30, x + 40, 70, _tinted((70, 150, 60), tint))
    pen.box(0, 40, FRAME, FRAME, _tinted((100, 180, 70), tint))


def _night(pen: _Pen, tint: _RGB, shift: int):
    sky = _tinted((25, 25, 70), tint)
    pen.box(0, 0, FRAME, FRAME, sky)
    for x, y in _STARS:
        x = (x + shift) % FRAME
        pen.oval(x - 0.8, y - 0.8, x + 0.8, y + 0.8, (240, 240, 225))
    x = 8 + shift % (FRAME - 16)
    pen.oval(x - 7, 5, x + 7, 19, (240, 238, 215))  # a crescent: a disc, partly covered by sky
    pen.oval(x - 3, 3, x + 11, 17, sky)


def _beach(pen: _Pen, tint: _RGB, shift: int):
    pen.box(0, 0, FRAME, 24, _tinted((170, 220, 242), tint))
    pen.box(0, 23, FRAME, FRAME, _tinted((40, 120, 190), tint))
    x = shift % FRAME
    pen.oval(x - 74, 38, x + 54, 100, (245, 248, 250))  # foam, then sand
    pen.oval(x - 10, 41, x + 100, 100, (245, 248, 250))
    pen.oval(x - 74, 41, x + 54, 103, _tinted((235, 208, 145), tint))
    pen.oval(x - 10, 44, x + 100, 103, _tinted((235, 208, 145), tint))


def _snow(pen: _Pen, tint: _RGB, shift: int):
    gray = tuple((JITTER + t) // 3 for t in tint)
    pen.box(0, 0, FRAME, FRAME, _tinted((152, 158, 166), gray))
    x = shift % FRAME
    pen.oval(x - 70, 34, x + 30, 90, tuple(222 + t // 2 for t in tint))
    pen.oval(x - 20, 38, x + 90, 90, tuple(255 - JITTER + t for t in tint))
    for left, top in _STARS:  # snowflakes
        left = (left + shift) % FRAME
        pen.oval(left - 1.2, top - 1.2, left + 1.2, top + 1.2, (255, 255, 255))


_PAINTERS = {"plain": _plain, "meadow": _meadow, "night": _night, "beach": _beach, "snow": _snow}
