"""Generated tasks about pictures, each the pure or mixed case of one atom, with a known truth.

A task is one declaration, for both samples and truth: the law P(v, t) of the latent states of
picture and question, the answer y(v, t), and the wording and picture of a state.

The truth in bits (`pidlib.pid` of `pidlib.benchmarks.truth`): redundancy, unique to vision, unique
to language, synergy.

===========  =====================  ====================  ====================================
task         masked                 resampled             case
===========  =====================  ====================  ====================================
grounding    0, 0, 0, 2             0, 0, 0, 2            synergy
existence    .154, .253, 0, .593    .088, .077, 0, .806   as in POPE: a prior and a lure
knowledge    0, 0, 2, 0             0, 0, 2, 0            unique to language
relation     0, 0, .278, .722       0, 0, 0, 1            as in Reefknot: a prior in the words
captioned    1.634, .366, 0, 0      0, 2, 0, 0            redundancy
scene        0, 2, 0, 0             0, 2, 0, 0            unique to vision
pair         0, 1.585, 1, 0         0, 1.585, 1, 0        unique to each
pair_shared  .354, 1.231, .646, 0   0, 1.585, 1, 0        unique to each, and redundancy
===========  =====================  ====================  ====================================

The answer of `pair` and `pair_shared` is a code for both states, the shape in the picture and the
side in the question: the color of this side of this shape in the table `SIDES`. If redundancy were
min(I(Y;V), I(Y;T)), the other tasks would have the same atoms, but pair 1, .585, 0, 1 and
pair_shared 1, .585, 0, .646.

The tasks ``prior/25`` to ``prior/95`` are `captioned` with a caption that is right as often as
their names give in percent. At 25 % caption and picture are independent: on these balanced
questions a model that follows the caption is right by chance. Redundancy R and unique information
of vision U in bits (the other atoms are 0; resampled, everything is unique to vision):

=======  =====  =====  =====  =====  =====  =====
percent     25     50     70     80     90     95
=======  =====  =====  =====  =====  =====  =====
R            0   .208   .643   .961  1.373  1.634
U           2   1.792  1.357  1.039   .627   .366
=======  =====  =====  =====  =====  =====  =====
"""

from collections.abc import Hashable, Iterator, Mapping
from dataclasses import replace
from functools import lru_cache
from itertools import combinations, permutations, product
from math import prod
from random import Random

from pidlib.benchmarks.pictures import (
    BACKGROUNDS,
    COLORS,
    FRAME,
    SCENES,
    SHAPES,
    Item,
    Picture,
    jitter,
)
from pidlib.benchmarks.sample import Sample
from pidlib.benchmarks.task import SIZES, Task, stream
from pidlib.benchmarks.task import generate as generate_samples

ANSWERS = ("red", "green", "blue", "yellow")
CELLS = {
    "top left": (16, 16),
    "top right": (48, 16),
    "bottom left": (16, 48),
    "bottom right": (48, 48),
}
THINGS = {
    "red": ("a tomato", "a strawberry", "a cherry", "a ruby"),
    "green": ("a frog", "a cucumber", "a pea", "an emerald"),
    "blue": ("the sky", "the sea", "a sapphire", "a cornflower"),
    "yellow": ("a banana", "a lemon", "a canary", "a sunflower"),
}
# existence: probability of each kind, pairs of kinds, and the probability that the partner of the
# kind in the question is present
RATES = {"red circle": 0.8, "blue rectangle": 0.6, "green triangle": 0.4, "yellow circle": 0.2}
PAIRS = (("red circle", "blue rectangle"), ("green triangle", "yellow circle"))
PARTNERS = {kind: partner for pair in PAIRS for kind, partner in (pair, pair[::-1])}
LURE = 0.9
# relation: the half of the frame in which the circle must be, and the probability of yes
RELATIONS = {
    "left of": ("left", 0.8),
    "right of": ("right", 0.8),
    "above": ("top", 0.2),
    "below": ("bottom", 0.2),
}
CAPTION_AGREES = 0.95
# pair: the color of each side of each shape; pair_shared: the probability of the left side
SIDES = dict(zip(product(SHAPES, ("left", "right")), COLORS, strict=False))
LEFT = {"circle": 0.9, "rectangle": 0.5, "triangle": 0.1}
BALANCED = "25"


def generate(
    task: str, split: str, n: int, seed: int = 0, start: int = 0
) -> Iterator[tuple[Sample, Picture]]:
    """Yield samples ``start`` to ``start + n - 1`` of a task, each with its picture."""
    return generate_samples([(TASKS | PRIORS)[task]], render, split, n, seed, start)


def load(task: str, split: str, n: int | None = None, seed: int = 0) -> list[Sample]:
    """Return the first n samples of a task's split; by default the number in `SIZES`."""
    return list(_samples(task, split, SIZES[split] if n is None else n, seed))


@lru_cache(maxsize=32)  # every model of an experiment answers the same samples
def _samples(task: str, split: str, n: int, seed: int) -> tuple[Sample, ...]:
    return tuple(sample for sample, _ in generate(task, split, n, seed))


def states(task: str, split: str, n: int, seed: int = 0) -> list[tuple[Hashable, Hashable]]:
    """Return the latent states (v, t) of the first n samples."""
    declared = TASKS[task]
    return [declared.draw(stream(declared.benchmark, split, index, seed)) for index in range(n)]


def render(task: Task, states: tuple, split: str, rng: Random) -> Picture:
    return task.picture(states[0], rng)


def _setting(rng: Random, items: tuple[Item, ...], background: str = "plain") -> Picture:
    tint = jitter(rng)
    shift = 0 if background == "plain" else rng.randrange(FRAME)
    return Picture(background, items, tint, shift)


def _item(
    rng: Random, shape: str, color: str, center: tuple[int, int], reach: int, sizes: tuple[int, int]
) -> Item:
    """Draw an item of random size and place that stays within ``reach`` of the center."""
    width, height = rng.randint(*sizes), rng.randint(*sizes)
    stretch = height - width if shape == "rectangle" else 0
    free = reach - (max(width, width + stretch) + 1) // 2
    x, y = (c + rng.randint(-free, free) for c in center)
    return Item(shape, color, x, y, width, stretch, jitter(rng))


def _in_cell(rng: Random, shape: str, color: str, cell: str) -> Item:
    return _item(rng, shape, color, CELLS[cell], reach=15, sizes=(14, 24))


def _anywhere(rng: Random, shape: str, color: str) -> Item:
    return _item(rng, shape, color, (FRAME // 2, FRAME // 2), reach=FRAME // 2, sizes=(10, 32))


def _distractors(rng: Random, most: int) -> tuple[Item, ...]:
    cells = rng.sample(list(CELLS), rng.randint(1, most))
    return tuple(
        _in_cell(rng, rng.choice(SHAPES), rng.choice(list(COLORS)), cell) for cell in cells
    )


def _colors_of_cells(colors: tuple[str, ...], rng: Random) -> Picture:
    cells = zip(colors, CELLS, strict=True)
    return _setting(rng, tuple(_in_cell(rng, rng.choice(SHAPES), *pair) for pair in cells))


def _kinds(kinds: tuple[str, ...], rng: Random) -> Picture:
    items = []
    for kind, cell in zip(kinds, rng.sample(list(CELLS), len(kinds)), strict=True):
        color, shape = kind.split()
        items.append(_in_cell(rng, shape, color, cell))
    return _setting(rng, tuple(items))


def _diagonal(circle: str, rng: Random) -> Picture:
    x, y = CELLS[circle]
    opposite = (FRAME - x, FRAME - y)
    triangle = next(cell for cell, center in CELLS.items() if center == opposite)
    pair = (("circle", circle), ("triangle", triangle))
    items = (_in_cell(rng, shape, rng.choice(list(COLORS)), cell) for shape, cell in pair)
    return _setting(rng, tuple(items))


def _existence_law() -> dict[tuple[tuple[str, ...], str], float]:
    law = {}
    sets = [v for size in range(len(RATES) + 1) for v in combinations(RATES, size)]
    for v, t in product(sets, RATES):
        rates = RATES | {PARTNERS[t]: LURE}
        law[v, t] = prod(r if kind in v else 1 - r for kind, r in rates.items()) / len(RATES)
    return law


def _caption_law(agrees: float) -> dict[tuple[str, str], float]:
    pairs = product(ANSWERS, ANSWERS)
    return {(v, t): (agrees if v == t else (1 - agrees) / 3) / 4 for v, t in pairs}


def _worded(wording: str, states: Mapping | tuple) -> dict[str, tuple[str]]:
    return {t: (wording.format(t),) for t in states}


def _pair(name: str, left: Mapping[str, float]) -> Task:
    """Return a task with v, the shape, and t, a side, named left with a probability given v."""
    return Task(
        name=name,
        benchmark=f"micro/{name}",
        candidates=tuple(SIDES.values()),
        law={(v, t): (left[v] if t == "left" else 1 - left[v]) / len(left) for v, t in SIDES},
        answer=lambda v, t: SIDES[v, t],
        questions=_worded("what color is the {} of this shape?", ("left", "right")),
        picture=lambda v, rng: _setting(rng, (_anywhere(rng, v, rng.choice(("black", "gray"))),)),
    )


_COLOR_OF = {thing: color for color, things in THINGS.items() for thing in things}
TASKS = {
    task.name: task
    for task in (
        Task(
            name="grounding",  # v: the colors of the four cells; t: a cell
            benchmark="micro/grounding",
            candidates=ANSWERS,
            law={(v, t): 1 / 96 for v, t in product(permutations(ANSWERS), CELLS)},
            answer=lambda v, t: v[list(CELLS).index(t)],
            questions=_worded("what color is the shape at the {}?", CELLS),
            picture=_colors_of_cells,
        ),
        Task(
            name="existence",  # v: the kinds present; t: a kind, whose partner is a lure
            benchmark="micro/existence",
            candidates=("yes", "no"),
            law=_existence_law(),
            answer=lambda v, t: "yes" if t in v else "no",
            questions=_worded("is there a {}?", RATES),
            picture=_kinds,
        ),
        Task(
            name="knowledge",  # v: none, any picture; t: the thing
            benchmark="micro/knowledge",
            candidates=ANSWERS,
            law={("any", thing): 1 / 16 for thing in _COLOR_OF},
            answer=lambda v, t: _COLOR_OF[t],
            questions=_worded("what color is {}?", _COLOR_OF),
            picture=lambda v, rng: _setting(rng, _distractors(rng, 4), rng.choice(BACKGROUNDS)),
        ),
        Task(
            name="relation",  # v: the circle's cell, the triangle is opposite; t: the relation
            benchmark="micro/relation",
            candidates=("yes", "no"),
            law={
                (v, t): (yes if half in v else 1 - yes) / 8
                for v in CELLS
                for t, (half, yes) in RELATIONS.items()
            },
            answer=lambda v, t: "yes" if RELATIONS[t][0] in v else "no",
            questions=_worded("is the circle {} the triangle?", RELATIONS),
            picture=_diagonal,
        ),
        Task(
            name="captioned",  # v: the shape's color; t: the color in the caption
            benchmark="micro/captioned",
            candidates=ANSWERS,
            law=_caption_law(CAPTION_AGREES),
            answer=lambda v, t: v,
            questions=_worded("the shape is {}. what color is the shape?", ANSWERS),
            picture=lambda v, rng: _setting(rng, (_anywhere(rng, rng.choice(SHAPES), v),)),
        ),
        Task(
            name="scene",  # v: the background; t: always the same question
            benchmark="micro/scene",
            candidates=SCENES,
            law={(v, "scene"): 1 / 4 for v in SCENES},
            answer=lambda v, t: v,
            questions={"scene": ("what scene is this?",)},
            picture=lambda v, rng: _setting(rng, _distractors(rng, 3), v),
        ),
        _pair("pair", dict.fromkeys(LEFT, 0.5)),
        _pair("pair_shared", LEFT),
    )
}
PRIORS = {
    name: replace(
        TASKS["captioned"], name=name, benchmark=f"prior/{name}", law=_caption_law(int(name) / 100)
    )
    for name in ("25", "50", "70", "80", "90", "95")
}
