"""Generated questions about clips that need sight, sound or both, with a known truth.

A red circle has a low instrument and a blue triangle a high instrument; each moves left or right,
and may be out of sight. A template is one declaration, for both samples and truth: the law P(v, a)
of visible items and sounds, equally likely questions t in several wordings, the answer y(v, a, t).

The truth in bits (`sensory_truth`): redundancy, unique to vision, unique to audio and synergy,
given the question t, and with the question ignored.

==================  ========  ==================  ================  ================================
template            task      given the question  question ignored  case
==================  ========  ==================  ================  ================================
sounding            audio     0, 0, 1, 0          0, 0, .5, 0       does the low one sound?
count               audio     0, 0, 1, 0          the same          how many sound?
direction           visual    0, 1, 0, 0          0, .5, 0, 0       which way does the red one move?
moves_left          visual    0, 1, 0, 0          0, .5, 0, 0       does the red one move left?
sounding_direction  fusion    0, .5, 0, .5        the same          where does the sounding one go?
sounding_left       fusion    0, .25, 0, .75      the same          does it go left?
silent_left         fusion    0, 0, 0, 1          the same          does the silent one go left?
playing             fusion    .531, 0, .469, 0    the same          a visible item likely sounds
gated               gated     0, .5, 0, .5        0, .189, 0, .311  the question gates the sound
polarity            polarity  0, 0, 0, 1          0, 0, 0, 0        the question inverts the answer
pair                pair      .278, 1.722, .722, 0  the same        a code for sight and sound
==================  ========  ==================  ================  ================================

With the absent modality resampled, `playing` has 0, 0, 1, 0; the others do not change, as their v
and a are independent.

Everything starts near the middle and stays in the frame: the last frame alone shows the direction.
"""

from collections.abc import Iterator
from functools import lru_cache
from random import Random

import numpy as np
from jaxtyping import Float64

from pidlib._common import unknown_name
from pidlib.benchmarks.clips import Clip, Tone
from pidlib.benchmarks.pictures import FRAME, Item, jitter
from pidlib.benchmarks.sample import Sample
from pidlib.benchmarks.task import SIZES, Task, draw_in_split, sample_id, stream
from pidlib.benchmarks.task import generate as generate_samples
from pidlib.benchmarks.templates import (
    ANSWERS,
    COLORS,
    HEARD,
    OTHER,
    SEEN,
    SHAPES,
    TEMPLATES,
    Heard,
    Seen,
)
from pidlib.decomposition import PID, sensory_pid

PITCHES = {"low": (200, 240), "high": (800, 960)}  # Hz
NAMED = ("sounding", "silent")  # which item the second question of a pair names
ROWS = (17, 47)  # of the two items, in random order
TIMBRES = {  # amplitudes of the first six harmonics; each split has its own instruments
    "train": (
        (1, 0.5, 0.33, 0.25, 0.2, 0.17),
        (1, 0, 0.33, 0, 0.2, 0),
        (1, 0.7, 0.1, 0.05, 0, 0),
        (1, 0.2, 0.5, 0.1, 0.3, 0.05),
    ),
    "validation": ((1, 0.3, 0.1, 0.03, 0.01, 0), (1, 0.1, 0.6, 0.2, 0.1, 0.1)),
    "test": ((1, 0.6, 0.4, 0.1, 0.1, 0.1), (1, 0.05, 0.2, 0.2, 0.1, 0), (1, 0.4, 0, 0.2, 0, 0.1)),
}
TASKS: dict[str, tuple[Task, ...]] = {}
for _template in TEMPLATES.values():
    TASKS[_template.task] = (*TASKS.get(_template.task, ()), _template)


def generate(
    task: str, split: str, n: int, seed: int = 0, start: int = 0
) -> Iterator[tuple[Sample, Clip]]:
    """Yield samples ``start`` to ``start + n - 1`` of a task, each with its clip.

    A clip belongs to one split by its layout, and uses the instruments of that split only.
    """
    return generate_samples(TASKS[task], render, split, n, seed, start)


def load(task: str, split: str, n: int | None = None, seed: int = 0) -> list[Sample]:
    """Return the first n samples of a task's split; by default the number in `SIZES`."""
    return list(_samples(task, split, SIZES[split] if n is None else n, seed))


@lru_cache(maxsize=12)  # six tasks in two sizes; a hundred samples take 9 MB
def _samples(task: str, split: str, n: int, seed: int) -> tuple[Sample, ...]:
    return tuple(sample for sample, _ in generate(task, split, n, seed))


def states(task: str, split: str, n: int, seed: int = 0) -> list[tuple[Task, Seen, Heard, str]]:
    """Return template and latent states (v, a, t) of the first n samples."""
    drawn = []
    for index in range(n):
        template = TASKS[task][index % len(TASKS[task])]
        rng = stream(template.benchmark, split, index, seed)
        drawn.append((template, *template.draw(rng)))
    return drawn


@lru_cache(maxsize=1)
def load_pairs(split: str, n: int, seed: int = 0) -> tuple[tuple[Sample, Sample], ...]:
    """Return n clips with two questions each that differ in one word.

    The first, about the direction of the sounding item, needs both modalities; the second, about
    the item of a color, needs vision only: its ideal answerer has U_vision = 1, S = 0. The color is
    that of the sounding or the silent item with equal probability (the id of the second sample
    names which), so the sound does not reveal the item. If the silent item is named and moves the
    other way, the answers differ, and a model that still uses the sound is wrong.
    """
    fused, visual = TEMPLATES["sounding_direction"], TEMPLATES["direction"]
    pairs = []
    for index in range(n):
        rng = stream("micro_av/pairs", split, index, seed)
        v, a, t = fused.draw(rng)
        clip = draw_in_split(split, lambda: render(fused, (v, a, t), split, rng))  # noqa: B023
        wording = rng.randrange(len(fused.questions[t]))
        named = rng.choice(NAMED)
        color = COLORS[a[0] if named == "sounding" else OTHER[a[0]]]
        name, media = sample_id("micro_av/pairs", split, index, seed), clip.media()
        rows = ((fused, t, fused.name), (visual, color, f"{visual.name}_{named}"))
        pair = (
            Sample(
                sample_id=f"{name}/{kind}",
                benchmark=template.benchmark,
                template=template.name,
                question=template.questions[question][wording],
                candidates=ANSWERS,
                answer=template.answer(v, a, question),
                split=split,
                **media,
            )
            for template, question, kind in rows
        )
        pairs.append(tuple(pair))
    return tuple(pairs)


def joint(
    template: str, unimodal: str = "masked"
) -> dict[str, tuple[float, Float64[np.ndarray, "v a y"]]]:
    """Return, for each question t of a template, P(t) and the ideal answerer's P(v, a, y | t).

    The axes are `SEEN`, `HEARD` and `ANSWERS`. ``"masked"`` is the law itself; ``"resampled"`` has
    P(v) P(a) in place of P(v, a). Raises a ValueError if the template or mode does not exist.

    Examples
    --------
    >>> {t: (weight, table.shape) for t, (weight, table) in joint("gated").items()}
    {'sight': (0.5, (8, 4, 8)), 'swap': (0.5, (8, 4, 8))}
    """
    if template not in TEMPLATES:
        raise ValueError(unknown_name("template", template, TEMPLATES))
    if unimodal not in ("masked", "resampled"):
        raise ValueError(unknown_name("mode", unimodal, ("masked", "resampled")))
    task, independent = TEMPLATES[template], unimodal == "resampled"
    return {
        t: (1 / len(task.questions), task.joint(independent, (SEEN, HEARD), (t,)))
        for t in task.questions
    }


def sensory_truth(template: str, unimodal: str = "masked", *, ignored: bool = False) -> PID:
    """Return the ideal answerer's decomposition of I(Y; V, A | T), in bits.

    With the question ``ignored``, that of I(Y; V, A).

    Examples
    --------
    >>> sensory_truth("gated")
    PID(redundancy=0.000000, unique_vision=0.500000, unique_audio=0.000000,
        synergy=0.500000, gap=... bits)
    """
    weights, tables = zip(*joint(template, unimodal).values(), strict=True)
    if ignored:
        return sensory_pid([np.tensordot(weights, tables, 1)])
    return sensory_pid(tables, weights)


def render(task: Task, states: tuple, split: str, rng: Random) -> Clip:
    v, a, _ = states
    rows = rng.sample(ROWS, 2)
    items = tuple(
        Item(
            SHAPES[name],
            COLORS[name],
            x=FRAME // 2 + rng.randint(-3, 3),
            y=row + rng.randint(-6, 6),
            size=rng.randint(12, 15),
            shade=jitter(rng),
        )
        for name, row, way in zip(COLORS, rows, v, strict=True)
        if way
    )
    tones = tuple(
        Tone(
            pitch=rng.randint(*PITCHES[name]),
            timbre=rng.choice(TIMBRES[split]),
            loudness=rng.uniform(0.05, 0.1),
            onset=rng.uniform(0, 0.3),
        )
        for name in a
    )
    return Clip(items, tuple(filter(None, v)), tones, jitter(rng), rng.getrandbits(32))
