"""The questions about clips, declared: law, wordings and answer of every template."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate, product
from random import Random

Seen = tuple[str | None, str | None]  # which way the red circle moves, and the blue triangle; None where it is out of sight
Heard = tuple[str, ...]  # which instruments sound, the low one first

ANSWERS = ("yes", "no", "left", "right", "low", "high", "one", "two")
COLORS = {"low": "red", "high": "blue"}  # of the thing whose instrument it is
SHAPES = {"low": "circle", "high": "triangle"}
AGREES = 0.9  # playing: how often the thing that is seen is the one that is heard
OPPOSITE = 0.75  # sounding_left: how often the two things move in opposite directions

BOTH: tuple[Seen, ...] = tuple(product(("left", "right"), repeat=2))
TOGETHER, APART = (BOTH[0], BOTH[3]), (BOTH[1], BOTH[2])
ALONE: tuple[Seen, ...] = (("left", None), ("right", None), (None, "left"), (None, "right"))
SEEN, HEARD = (*BOTH, *ALONE), ((), ("low",), ("high",), ("low", "high"))
SINGLE = HEARD[1:3]
OTHER = {"low": "high", "high": "low"}


@dataclass(frozen=True)
class Template:
    """One form of question, declared.

    Attributes
    ----------
    name, task, kind
        Its name, the task it belongs to, and which senses its answer needs: ``"audio"``, ``"visual"`` or ``"audio-visual"``.
    law
        P(v, a), a probability for every pair of what is seen and what sounds.
    questions
        Each question t, by what it asks for, in wordings that mean the same.
    answer
        y(v, a, t), one of `ANSWERS`.
    """

    name: str
    task: str
    kind: str
    law: Mapping[tuple[Seen, Heard], float]
    questions: Mapping[str, tuple[str, ...]]
    answer: Callable[[Seen, Heard, str], str]

    @cached_property
    def _cumulative(self) -> tuple[list[tuple[Seen, Heard]], list[float]]:
        return list(self.law), list(accumulate(self.law.values()))

    def draw(self, rng: Random) -> tuple[Seen, Heard, str]:
        """States (v, a, t) from the law."""
        states, weights = self._cumulative
        return *rng.choices(states, cum_weights=weights)[0], rng.choice(list(self.questions))


def _independent(vs: Sequence[Seen], heard: Mapping[Heard, float]) -> dict[tuple[Seen, Heard], float]:
    """Every v as likely as the others, whatever sounds."""
    return {(v, a): weight / len(vs) for v, (a, weight) in product(vs, heard.items())}


def _worded(wordings: Sequence[str], names: Sequence[str]) -> dict[str, tuple[str, ...]]:
    return {name: tuple(wording.format(name) for wording in wordings) for name in names}


def _way(v: Seen, name: str) -> str:
    """Which way the thing of that instrument moves."""
    return v[list(COLORS).index(name)]


def _turned(way: str, turn: bool) -> str:
    return {"left": "right", "right": "left"}[way] if turn else way


def _yes(true: bool) -> str:
    return "yes" if true else "no"


_WAY = ("which way does the {} one move?", "which way does the {} one go?", "where does the {} one go?")
_LEFT = ("does the {} one move left?", "does the {} one go left?", "is the {} one going left?")
_THEY = ("which way do they move?", "which way do they go?", "where do they go?")
_SWAP = ("if it sounds high, swap the answer: ", "swap the answer if it sounds high: ")
_SOUNDS = dict.fromkeys(HEARD, 1 / 4)
_EITHER = dict.fromkeys(SINGLE, 1 / 2)
_INSTRUMENTS = {color: name for name, color in COLORS.items()}

TEMPLATES = {
    template.name: template
    for template in (
        Template(
            name="sounding",
            task="audio",
            kind="audio",
            law=_independent(BOTH, _SOUNDS),
            questions=_worded(("is the {} one sounding?", "does the {} one sound?", "can you hear the {} one?"), ("low", "high")),
            answer=lambda v, a, t: _yes(t in a),
        ),
        Template(
            name="count",
            task="audio",
            kind="audio",
            law=_independent(BOTH, {("low",): 1 / 4, ("high",): 1 / 4, ("low", "high"): 1 / 2}),
            questions={"count": ("how many are sounding?", "how many sound?", "how many can you hear?")},
            answer=lambda v, a, t: {1: "one", 2: "two"}[len(a)],
        ),
        Template(
            name="direction",
            task="visual",
            kind="visual",
            law=_independent(BOTH, _SOUNDS),
            questions=_worded(_WAY, ("red", "blue")),
            answer=lambda v, a, t: _way(v, _INSTRUMENTS[t]),
        ),
        Template(
            name="moves_left",
            task="visual",
            kind="visual",
            law=_independent(BOTH, _SOUNDS),
            questions=_worded(_LEFT, ("red", "blue")),
            answer=lambda v, a, t: _yes(_way(v, _INSTRUMENTS[t]) == "left"),
        ),
        Template(
            name="sounding_direction",
            task="fusion",
            kind="audio-visual",
            law=_independent(BOTH, _EITHER),
            questions=_worded(_WAY, ("sounding",)),
            answer=lambda v, a, t: _way(v, a[0]),
        ),
        Template(
            name="sounding_left",
            task="fusion",
            kind="audio-visual",
            law={(v, a): (OPPOSITE if v in APART else 1 - OPPOSITE) / 4 for v, a in product(BOTH, SINGLE)},
            questions=_worded(_LEFT, ("sounding",)),
            answer=lambda v, a, t: _yes(_way(v, a[0]) == "left"),
        ),
        Template(
            name="silent_left",
            task="fusion",
            kind="audio-visual",
            law=_independent(APART, _EITHER),
            questions=_worded(_LEFT, ("silent",)),
            answer=lambda v, a, t: _yes(_way(v, OTHER[a[0]]) == "left"),
        ),
        Template(
            name="playing",
            task="fusion",
            kind="audio-visual",
            law={(v, a): (AGREES if _way(v, a[0]) else 1 - AGREES) / 4 for v, a in product(ALONE, SINGLE)},
            questions={"playing": ("is the low or the high one playing?", "which one is playing, low or high?", "is it low or high?")},
            answer=lambda v, a, t: a[0],
        ),
        Template(
            name="gated",  # both move the same way
            task="gated",
            kind="audio-visual",
            law=_independent(TOGETHER, _EITHER),
            questions={"sight": _THEY, "swap": tuple(swap + way for swap, way in product(_SWAP, _THEY))},
            answer=lambda v, a, t: _turned(v[0], t == "swap" and a[0] == "high"),
        ),
        Template(
            name="polarity",  # both move the same way
            task="polarity",
            kind="audio-visual",
            law=_independent(TOGETHER, _EITHER),
            questions=_worded(("do left and {} go together?", "do {} and left go together?", "does left go with {}?"), ("low", "high")),
            answer=lambda v, a, t: _yes((v[0] == "left") == (a[0] == t)),
        ),
    )
}
