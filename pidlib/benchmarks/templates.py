"""Templates of the questions about clips: law, wordings and answer of each."""

from collections.abc import Callable, Mapping, Sequence
from itertools import product

from pidlib.benchmarks.task import Task

Seen = tuple[str | None, str | None]  # directions of circle and triangle; None: not visible
Heard = tuple[str, ...]  # the instruments that sound, low before high

ANSWERS = ("yes", "no", "left", "right", "low", "high", "one", "two")
COLORS = {"low": "red", "high": "blue"}  # of the item with this instrument
SHAPES = {"low": "circle", "high": "triangle"}
AGREES = 0.9  # playing: probability that the visible item is the item that sounds
LOW = {"left": 0.8, "right": 0.2}  # pair: probability of the low sound, given the red item's way
OPPOSITE = 0.75  # sounding_left: probability that the items move in opposite directions

BOTH: tuple[Seen, ...] = tuple(product(("left", "right"), repeat=2))
TOGETHER, APART = (BOTH[0], BOTH[3]), (BOTH[1], BOTH[2])
ALONE: tuple[Seen, ...] = (("left", None), ("right", None), (None, "left"), (None, "right"))
SEEN, HEARD = (*BOTH, *ALONE), ((), ("low",), ("high",), ("low", "high"))
SINGLE = HEARD[1:3]
OTHER = {"low": "high", "high": "low"}


Law = dict[tuple[Seen, Heard], float]


def _independent(vs: Sequence[Seen], sounds: Mapping[Heard, float]) -> Law:
    """Return a law in which v is uniform and independent of a."""
    return {(v, a): weight / len(vs) for v, (a, weight) in product(vs, sounds.items())}


def _law(vs: Sequence[Seen], share: Callable[[Seen, Heard], float]) -> Law:
    """Return a law in which v is uniform and a single sound has a probability given v."""
    return {(v, a): share(v, a) / len(vs) for v, a in product(vs, SINGLE)}


def _worded(wordings: Sequence[str], names: Sequence[str]) -> dict[str, tuple[str, ...]]:
    return {name: tuple(wording.format(name) for wording in wordings) for name in names}


def _way(v: Seen, name: str) -> str:
    """Return the direction of the item with an instrument."""
    return v[list(COLORS).index(name)]


def _turned(way: str, turn: bool) -> str:
    return {"left": "right", "right": "left"}[way] if turn else way


def _yes(true: bool) -> str:
    return "yes" if true else "no"


def _template(path: str, law: Law, questions: Mapping, answer: Callable[..., str]) -> Task:
    task, name = path.split("/")
    kind = task if task in ("audio", "visual") else "audio-visual"
    return Task(name, f"micro_av/{task}", ANSWERS, law, answer, questions, kind=kind)


_GOING = (("which way", "move"), ("which way", "go"), ("where", "go"))
_WAY = tuple(f"{way} does the {{}} one {go}?" for way, go in _GOING)
_LEFT = ("does the {} one move left?", "does the {} one go left?", "is the {} one going left?")
_THEY = tuple(f"{way} do they {go}?" for way, go in _GOING)
_GO = ("which way do they go", "which way do they move", "where do they go")
_PLAYING = ("is the low or the high one playing?", "which one is playing, low or high?")
_PLAYING += ("is it low or high?",)
_SWAP = ("if it sounds high, swap the answer: ", "swap the answer if it sounds high: ")
_SOUNDS = dict.fromkeys(HEARD, 1 / 4)
_EITHER = dict.fromkeys(SINGLE, 1 / 2)
_CODE = dict(zip(product(BOTH, SINGLE), ANSWERS, strict=True))  # pair: the answer for (v, a)
_INSTRUMENTS = {color: name for name, color in COLORS.items()}

_TEMPLATES = (
    _template(
        "audio/sounding",
        law=_independent(BOTH, _SOUNDS),
        questions=_worded(
            ("is the {} one sounding?", "does the {} one sound?", "can you hear the {} one?"),
            ("low", "high"),
        ),
        answer=lambda v, a, t: _yes(t in a),
    ),
    _template(
        "audio/count",
        law=_independent(BOTH, {("low",): 1 / 4, ("high",): 1 / 4, ("low", "high"): 1 / 2}),
        questions={
            "count": ("how many are sounding?", "how many sound?", "how many can you hear?")
        },
        answer=lambda v, a, t: {1: "one", 2: "two"}[len(a)],
    ),
    _template(
        "visual/direction",
        law=_independent(BOTH, _SOUNDS),
        questions=_worded(_WAY, ("red", "blue")),
        answer=lambda v, a, t: _way(v, _INSTRUMENTS[t]),
    ),
    _template(
        "visual/moves_left",
        law=_independent(BOTH, _SOUNDS),
        questions=_worded(_LEFT, ("red", "blue")),
        answer=lambda v, a, t: _yes(_way(v, _INSTRUMENTS[t]) == "left"),
    ),
    _template(
        "fusion/sounding_direction",
        law=_independent(BOTH, _EITHER),
        questions=_worded(_WAY, ("sounding",)),
        answer=lambda v, a, t: _way(v, a[0]),
    ),
    _template(
        "fusion/sounding_left",
        law=_law(BOTH, lambda v, a: OPPOSITE if v in APART else 1 - OPPOSITE),
        questions=_worded(_LEFT, ("sounding",)),
        answer=lambda v, a, t: _yes(_way(v, a[0]) == "left"),
    ),
    _template(
        "fusion/silent_left",
        law=_independent(APART, _EITHER),
        questions=_worded(_LEFT, ("silent",)),
        answer=lambda v, a, t: _yes(_way(v, OTHER[a[0]]) == "left"),
    ),
    _template(
        "fusion/playing",
        law=_law(ALONE, lambda v, a: AGREES if _way(v, a[0]) else 1 - AGREES),
        questions={"playing": _PLAYING},
        answer=lambda v, a, t: a[0],
    ),
    _template(
        "gated/gated",  # both move the same way
        law=_independent(TOGETHER, _EITHER),
        questions={"sight": _THEY, "swap": tuple(map("".join, product(_SWAP, _THEY)))},
        answer=lambda v, a, t: _turned(v[0], t == "swap" and a[0] == "high"),
    ),
    _template(
        "polarity/polarity",  # both move the same way
        law=_independent(TOGETHER, _EITHER),
        questions=_worded(
            ("do left and {} go together?", "do {} and left go together?", "does left go with {}?"),
            ("low", "high"),
        ),
        answer=lambda v, a, t: _yes((v[0] == "left") == (a[0] == t)),
    ),
    _template(
        "pair/pair",
        law=_law(BOTH, lambda v, a: LOW[v[0]] if a == ("low",) else 1 - LOW[v[0]]),
        questions={"pair": tuple(f"{way} and how do they sound?" for way in _GO)},
        answer=lambda v, a, t: _CODE[v, a],
    ),
)
TEMPLATES = {template.name: template for template in _TEMPLATES}
