"""Pictures of coloured shapes before a background: small value objects that draw themselves.

Shapes and colours are those of easy-VQA, so one vocabulary serves both. A picture holds everything that determines its pixels, jitters
included, as integers: equal pictures draw equal images, and a hash of the picture can stand for the image.
"""

from dataclasses import dataclass

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
FRAME = 64  # all coordinates are pixels of a 64 x 64 frame, whatever the size drawn
JITTER = 25  # largest value of a tint or a shade
SUPERSAMPLING = 4

_RGB = tuple[int, int, int]
_STARS = ((2, 52), (5, 30), (11, 9), (14, 60), (19, 44), (22, 20), (29, 56), (33, 7), (38, 34), (44, 50), (47, 24), (53, 40), (58, 14))


@dataclass(frozen=True, slots=True)
class Item:
    """One shape: its centre (x, y), its width ``size``, and its colour darkened or lightened by ``shade`` (0 to 25 per channel).

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
    """Items before a background; ``tint`` (0 to 25 per channel) colours the background, ``shift`` (pixels) moves the parts of a scene.

    >>> Picture("plain", (Item("circle", "red", 32, 32, 20),)).draw().getpixel((32, 32))
    (255, 0, 0)
    """

    background: str
    items: tuple[Item, ...] = ()
    tint: _RGB = (JITTER, JITTER, JITTER)
    shift: int = 0

    def draw(self, size: int = FRAME) -> Image.Image:
        """The RGB image, ``size`` x ``size`` pixels, anti-aliased by drawing larger and averaging."""
        canvas = Image.new("RGB", (size * SUPERSAMPLING, size * SUPERSAMPLING))
        pen = _Pen(canvas, size * SUPERSAMPLING / FRAME)
        _PAINTERS[self.background](pen, self.tint, self.shift)
        for item in self.items:
            _paint_item(pen, item)
        return canvas.reduce(SUPERSAMPLING)


class _Pen:
    """Draws in coordinates of the frame on a larger canvas."""

    def __init__(self, canvas: Image.Image, scale: float):
        self._draw, self._scale = ImageDraw.Draw(canvas), scale

    def _box(self, left: float, top: float, right: float, bottom: float) -> tuple[float, ...]:
        s = self._scale
        return (left * s, top * s, right * s - 1, bottom * s - 1)  # Pillow counts the last pixel in

    def box(self, left: float, top: float, right: float, bottom: float, fill: _RGB):
        self._draw.rectangle(self._box(left, top, right, bottom), fill)

    def oval(self, left: float, top: float, right: float, bottom: float, fill: _RGB):
        self._draw.ellipse(self._box(left, top, right, bottom), fill)

    def triangle(self, left: float, top: float, right: float, bottom: float, fill: _RGB):
        left, top, right, bottom = self._box(left, top, right, bottom)
        self._draw.polygon((left, bottom, (left + right) / 2, top, right, bottom), fill)


def _paint_item(pen: _Pen, item: Item):
    # the jitter moves each channel into the range, never out of it, so different shades stay different pixels
    fill = tuple(c + s if c < 128 else c - s for c, s in zip(COLORS[item.color], item.shade, strict=True))
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
    for left, top, right, bottom in ((-14, 9, 6, 15), (-9, 5, 2, 13), (4, 18, 22, 23)):  # clouds drift with the shift and come in again
        for turn in (0, FRAME):
            pen.oval(left + x + turn - FRAME // 2, top, right + x + turn - FRAME // 2, bottom, (246, 250, 252))
    pen.oval(x - 40, 30, x + 40, 70, _tinted((70, 150, 60), tint))
    pen.box(0, 40, FRAME, FRAME, _tinted((100, 180, 70), tint))


def _night(pen: _Pen, tint: _RGB, shift: int):
    sky = _tinted((25, 25, 70), tint)
    pen.box(0, 0, FRAME, FRAME, sky)
    for x, y in _STARS:
        x = (x + shift) % FRAME
        pen.oval(x - 0.8, y - 0.8, x + 0.8, y + 0.8, (240, 240, 225))
    x = 8 + shift % (FRAME - 16)
    pen.oval(x - 7, 5, x + 7, 19, (240, 238, 215))  # a crescent: a bright disc, bitten by the sky
    pen.oval(x - 3, 3, x + 11, 17, sky)


def _beach(pen: _Pen, tint: _RGB, shift: int):
    pen.box(0, 0, FRAME, 24, _tinted((170, 220, 242), tint))
    pen.box(0, 23, FRAME, FRAME, _tinted((40, 120, 190), tint))
    x = shift % FRAME
    pen.oval(x - 74, 38, x + 54, 100, (245, 248, 250))  # foam, then sand: the shore is a wide arc
    pen.oval(x - 10, 41, x + 100, 100, (245, 248, 250))
    pen.oval(x - 74, 41, x + 54, 103, _tinted((235, 208, 145), tint))
    pen.oval(x - 10, 44, x + 100, 103, _tinted((235, 208, 145), tint))


def _snow(pen: _Pen, tint: _RGB, shift: int):
    pen.box(0, 0, FRAME, FRAME, _tinted((152, 158, 166), tuple((JITTER + t) // 3 for t in tint)))  # the sky stays grey
    x = shift % FRAME
    pen.oval(x - 70, 34, x + 30, 90, tuple(222 + t // 2 for t in tint))
    pen.oval(x - 20, 38, x + 90, 90, tuple(255 - JITTER + t for t in tint))
    for left, top in _STARS:  # snowflakes
        left = (left + shift) % FRAME
        pen.oval(left - 1.2, top - 1.2, left + 1.2, top + 1.2, (255, 255, 255))


_PAINTERS = {"plain": _plain, "meadow": _meadow, "night": _night, "beach": _beach, "snow": _snow}
