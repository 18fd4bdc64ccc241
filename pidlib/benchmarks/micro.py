"""Six generated tasks, each the pure or mixed case of one atom, whose ideal answerer is known exactly.

A task is one declaration: the law P(v, t) of its latent states, the answer y(v, t), and how a state is worded and pictured. The sampler
draws from the law and the truth tabulates it, so the two cannot drift apart. ``v`` is what matters of the picture, ``t`` what matters of
the question; both inputs together always determine the answer.

The truth in bits (`pidlib.decomposition.pid` of `pidlib.benchmarks.truth`): redundancy, unique to vision, unique to language, synergy.

==========  =======================  =======================  =============================================
task        masked                   resampled                the case
==========  =======================  =======================  =============================================
grounding   0, 0, 0, 2               0, 0, 0, 2               synergy
existence   .154, .253, 0, .593      .088, .077, 0, .806      POPE's kind: a prior and a co-occurring lure
knowledge   0, 0, 2, 0               0, 0, 2, 0               unique to language
relation    0, 0, .278, .722         0, 0, 0, 1               Reefknot's kind: a prior in the relation word
captioned   1.634, .366, 0, 0        0, 2, 0, 0               redundancy
scene       0, 2, 0, 0               0, 2, 0, 0               unique to vision
==========  =======================  =======================  =============================================
"""

from collections.abc import Hashable, Iterator
from functools import lru_cache
from itertools import combinations, permutations, product
from math import prod
from random import Random

from pidlib.benchmarks.pictures import BACKGROUNDS, COLORS, FRAME, JITTER, SCENES, SHAPES, Item, Picture
from pidlib.benchmarks.sample import Sample
from pidlib.benchmarks.task import Task
from pidlib.experiment import derive_seed

SIZES = {"train": 4096, "validation": 512, "test": 1024}  # how many samples load() gives when not told

ANSWERS = ("red", "green", "blue", "yellow")
CELLS = {"top left": (16, 16), "top right": (48, 16), "bottom left": (16, 48), "bottom right": (48, 48)}
THINGS = {
    "red": ("a tomato", "a strawberry", "a cherry", "a ruby"),
    "green": ("a frog", "a cucumber", "a pea", "an emerald"),
    "blue": ("the sky", "the sea", "a sapphire", "a cornflower"),
    "yellow": ("a banana", "a lemon", "a canary", "a sunflower"),
}
# existence: how often a kind is there, whom it tends to come with, and how surely the partner of the kind asked for is there
RATES = {"red circle": 0.8, "blue rectangle": 0.6, "green triangle": 0.4, "yellow circle": 0.2}
PAIRS = (("red circle", "blue rectangle"), ("green triangle", "yellow circle"))
PARTNERS = {kind: partner for pair in PAIRS for kind, partner in (pair, pair[::-1])}
LURE = 0.9
# relation: the half of the frame in which the circle must be, and how often the answer is yes
RELATIONS = {"left of": ("left", 0.8), "right of": ("right", 0.8), "above": ("top", 0.2), "below": ("bottom", 0.2)}
CAPTION_AGREES = 0.95


def generate(task: str, split: str, n: int, seed: int = 0, start: int = 0) -> Iterator[tuple[Sample, Picture]]:
    """Samples ``start`` to ``start + n - 1`` of a task, each with the picture that its image was drawn from; see `drawn`."""
    return drawn("micro", TASKS[task], split, n, seed, start)


def drawn(source: str, declared: Task, split: str, n: int, seed: int = 0, start: int = 0) -> Iterator[tuple[Sample, Picture]]:
    """Samples of a declared task, named and seeded as one of ``source``, each with its picture.

    Sample i depends on (seed, source, task, split, i) alone. A picture belongs to one split by its own hash, whatever the seed, and
    pictures are drawn until one fits, so no picture is ever in two splits and the law is the same in all.
    """
    benchmark = f"{source}/{declared.name}"
    for index in range(start, start + n):
        rng = _stream(source, declared.name, split, index, seed)
        v, t = declared.draw(rng)
        while split_of(picture := declared.picture(v, rng)) != split:
            pass
        name = f"{index:05d}" if seed == 0 else f"{index:05d}@{seed}"
        sample = Sample(
            sample_id=f"{benchmark}/{split}/{name}",
            benchmark=benchmark,
            template=declared.name,
            question=declared.question(t),
            candidates=declared.candidates,
            answer=declared.answer(v, t),
            split=split,
            image=picture.draw(),
        )
        yield sample, picture


def load(task: str, split: str, n: int | None = None, seed: int = 0) -> list[Sample]:
    """The first n samples of a task's split; by default as many as `SIZES` says."""
    return list(_samples(task, split, SIZES[split] if n is None else n, seed))


@lru_cache(maxsize=32)  # every model is asked the same
def _samples(task: str, split: str, n: int, seed: int) -> tuple[Sample, ...]:
    return tuple(sample for sample, _ in generate(task, split, n, seed))


def states(task: str, split: str, n: int, seed: int = 0) -> list[tuple[Hashable, Hashable]]:
    """The latent states (v, t) of the first n samples: all that matters of their pictures and of their questions."""
    return [TASKS[task].draw(_stream("micro", task, split, index, seed)) for index in range(n)]


def _stream(source: str, task: str, split: str, index: int, seed: int) -> Random:
    """Where the randomness of one sample begins; its states come first."""
    return Random(derive_seed(seed, source, task, split, index))


def split_of(picture: Picture) -> str:
    """The only split in which the picture may appear: half of all pictures train, a quarter each validate and test."""
    return ("train", "train", "validation", "test")[derive_seed("split", picture) % 4]


def _jitter(rng: Random) -> tuple[int, int, int]:
    return (rng.randint(0, JITTER), rng.randint(0, JITTER), rng.randint(0, JITTER))


def _setting(rng: Random, items: tuple[Item, ...], background: str = "plain") -> Picture:
    return Picture(background, items, _jitter(rng), 0 if background == "plain" else rng.randrange(FRAME))


def _item(rng: Random, shape: str, color: str, centre: tuple[int, int], reach: int, sizes: tuple[int, int]) -> Item:
    """An item of random size and place that stays within ``reach`` of the centre."""
    width, height = rng.randint(*sizes), rng.randint(*sizes)
    stretch = height - width if shape == "rectangle" else 0
    free = reach - (max(width, width + stretch) + 1) // 2
    x, y = (c + rng.randint(-free, free) for c in centre)
    return Item(shape, color, x, y, width, stretch, _jitter(rng))


def _in_cell(rng: Random, shape: str, color: str, cell: str) -> Item:
    return _item(rng, shape, color, CELLS[cell], reach=15, sizes=(14, 24))


def _anywhere(rng: Random, shape: str, color: str) -> Item:
    return _item(rng, shape, color, (FRAME // 2, FRAME // 2), reach=FRAME // 2, sizes=(10, 32))


def _distractors(rng: Random, most: int) -> tuple[Item, ...]:
    cells = rng.sample(list(CELLS), rng.randint(1, most))
    return tuple(_in_cell(rng, rng.choice(SHAPES), rng.choice(list(COLORS)), cell) for cell in cells)


def _kinds(kinds: tuple[str, ...], rng: Random) -> Picture:
    cells = rng.sample(list(CELLS), len(kinds))
    return _setting(rng, tuple(_in_cell(rng, *reversed(kind.split()), cell) for kind, cell in zip(kinds, cells, strict=True)))


def _diagonal(circle: str, rng: Random) -> Picture:
    x, y = CELLS[circle]
    triangle = next(cell for cell, centre in CELLS.items() if centre == (FRAME - x, FRAME - y))
    pair = (("circle", circle), ("triangle", triangle))
    return _setting(rng, tuple(_in_cell(rng, shape, rng.choice(list(COLORS)), cell) for shape, cell in pair))


TASKS = {
    task.name: task
    for task in (
        Task(
            name="grounding",  # v: the colours of the four cells; t: the cell asked for
            candidates=ANSWERS,
            law={(v, t): 1 / 96 for v, t in product(permutations(ANSWERS), CELLS)},
            answer=lambda v, t: v[list(CELLS).index(t)],
            question=lambda t: f"what color is the shape at the {t}?",
            picture=lambda v, rng: _setting(rng, tuple(_in_cell(rng, rng.choice(SHAPES), *pair) for pair in zip(v, CELLS, strict=True))),
        ),
        Task(
            name="existence",  # v: the kinds that are there; t: the kind asked for, whose partner is there as a lure
            candidates=("yes", "no"),
            law={
                (v, t): prod(rate if kind in v else 1 - rate for kind, rate in (RATES | {PARTNERS[t]: LURE}).items()) / len(RATES)
                for v in (v for size in range(len(RATES) + 1) for v in combinations(RATES, size))
                for t in RATES
            },
            answer=lambda v, t: "yes" if t in v else "no",
            question=lambda t: f"is there a {t}?",
            picture=_kinds,
        ),
        Task(
            name="knowledge",  # v: nothing, any picture will do; t: the thing
            candidates=ANSWERS,
            law={("any", thing): 1 / 16 for things in THINGS.values() for thing in things},
            answer=lambda v, t: next(color for color, things in THINGS.items() if t in things),
            question=lambda t: f"what color is {t}?",
            picture=lambda v, rng: _setting(rng, _distractors(rng, 4), rng.choice(BACKGROUNDS)),
        ),
        Task(
            name="relation",  # v: the circle's cell, the triangle is opposite; t: the relation asked for
            candidates=("yes", "no"),
            law={(v, t): (yes if half in v else 1 - yes) / 8 for v in CELLS for t, (half, yes) in RELATIONS.items()},
            answer=lambda v, t: "yes" if RELATIONS[t][0] in v else "no",
            question=lambda t: f"is the circle {t} the triangle?",
            picture=_diagonal,
        ),
        Task(
            name="captioned",  # v: the shape's colour; t: the colour that the caption claims
            candidates=ANSWERS,
            law={(v, t): (CAPTION_AGREES if v == t else (1 - CAPTION_AGREES) / 3) / 4 for v, t in product(ANSWERS, ANSWERS)},
            answer=lambda v, t: v,
            question=lambda t: f"the shape is {t}. what color is the shape?",
            picture=lambda v, rng: _setting(rng, (_anywhere(rng, rng.choice(SHAPES), v),)),
        ),
        Task(
            name="scene",  # v: the background; t: always the same question
            candidates=SCENES,
            law={(v, "scene"): 1 / 4 for v in SCENES},
            answer=lambda v, t: v,
            question=lambda t: "what scene is this?",
            picture=lambda v, rng: _setting(rng, _distractors(rng, 3), v),
        ),
    )
}
