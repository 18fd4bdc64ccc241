"""Generated questions about clips, some of sight, some of sound and some of both, whose ideal answerer is known exactly.

The world: a red circle whose instrument is low and a blue triangle whose instrument is high, each moving left or right; one may be out of
sight. A template is one declaration: the law P(v, a) of what is seen and of what sounds, the questions t, each as likely as the others, in
several wordings, and the answer y(v, a, t). The sampler draws from it and the truth tabulates it, so the two cannot drift apart.

The truth in bits (`sensory_truth`): redundancy, unique to vision, unique to audio and synergy, given the question t, and where it is
ignored.

==================  ========  ======================  ======================  =============================================
template            task      given the question      question ignored        the case
==================  ========  ======================  ======================  =============================================
sounding            audio     0, 0, 1, 0              0, 0, .5, 0             is the low one sounding?
count               audio     0, 0, 1, 0              the same                how many are sounding?
direction           visual    0, 1, 0, 0              0, .5, 0, 0             which way does the red one move?
moves_left          visual    0, 1, 0, 0              0, .5, 0, 0             does the red one move left?
sounding_direction  fusion    0, .5, 0, .5            the same                which way does the sounding one move?
sounding_left       fusion    0, .25, 0, .75          the same                does the sounding one move left?
silent_left         fusion    0, 0, 0, 1              the same                does the silent one move left?
playing             fusion    .531, 0, .469, 0        the same                one is seen, and likely the one that is heard
gated               gated     0, .5, 0, .5            0, .189, 0, .311        the question decides whether sound matters
polarity            polarity  0, 0, 0, 1              0, 0, 0, 0              the question turns the answer round
==================  ========  ======================  ======================  =============================================

Where the absent modality is resampled, `playing` is 0, 0, 1, 0 and all others are as they are, for their v and a are independent.

Everything starts near the middle, so that nothing leaves the frame: the last frame alone tells which way a thing has moved.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import lru_cache
from random import Random

import numpy as np
from jaxtyping import Float32, Float64, UInt8

from pidlib.benchmarks.clips import FLOOR, Clip, Tone, hiss
from pidlib.benchmarks.micro import SIZES, split_of
from pidlib.benchmarks.pictures import FRAME, JITTER, Item
from pidlib.benchmarks.sample import Sample
from pidlib.benchmarks.templates import ANSWERS, COLORS, HEARD, OTHER, SEEN, SHAPES, TEMPLATES, Heard, Seen, Template
from pidlib.decomposition import PID, sensory_pid
from pidlib.experiment import derive_seed, unknown

PITCHES = {"low": (200, 240), "high": (800, 960)}  # Hz
NAMED = ("sounding", "silent")  # which one the second question of a pair names
ROWS = (17, 47)  # of the two things, which is in which being random
TIMBRES = {  # amplitudes of the first six harmonics; each split has its own instruments
    "train": ((1, 0.5, 0.33, 0.25, 0.2, 0.17), (1, 0, 0.33, 0, 0.2, 0), (1, 0.7, 0.1, 0.05, 0, 0), (1, 0.2, 0.5, 0.1, 0.3, 0.05)),
    "validation": ((1, 0.3, 0.1, 0.03, 0.01, 0), (1, 0.1, 0.6, 0.2, 0.1, 0.1)),
    "test": ((1, 0.6, 0.4, 0.1, 0.1, 0.1), (1, 0.05, 0.2, 0.2, 0.1, 0), (1, 0.4, 0, 0.2, 0, 0.1)),
}
TASKS = {one.task: tuple(other for other in TEMPLATES.values() if other.task == one.task) for one in TEMPLATES.values()}


def generate(task: str, split: str, n: int, seed: int = 0, start: int = 0) -> Iterator[tuple[Sample, Clip]]:
    """Samples ``start`` to ``start + n - 1`` of a task, each with the clip that it was made from.

    Sample i depends on (seed, task, split, i) alone; a task's templates take turns. A clip belongs to one split by its layout, whatever the
    seed, and sounds of the instruments of that split alone.
    """
    for index in range(start, start + n):
        rng = Random(derive_seed(seed, "micro_av", task, split, index))
        template, v, a, t = _states(task, index, rng)
        clip = film(v, a, split, rng)
        asked = template, rng.choice(template.questions[t]), template.answer(v, a, t)
        yield _sample(_name(task, split, index, seed), split, *asked, clip.frames(), clip.sound()), clip


def load(task: str, split: str, n: int | None = None, seed: int = 0) -> list[Sample]:
    """The first n samples of a task's split; by default as many as `SIZES` says."""
    return list(_samples(task, split, SIZES[split] if n is None else n, seed))


@lru_cache(maxsize=12)  # every model is asked the same five tasks, of two sizes; a hundred samples take 9 MB
def _samples(task: str, split: str, n: int, seed: int) -> tuple[Sample, ...]:
    return tuple(sample for sample, _ in generate(task, split, n, seed))


def states(task: str, split: str, n: int, seed: int = 0) -> list[tuple[Template, Seen, Heard, str]]:
    """Template and latent states (v, a, t) of the first n samples: all that matters of their clips and of their questions."""
    return [_states(task, index, Random(derive_seed(seed, "micro_av", task, split, index))) for index in range(n)]


def load_pairs(split: str, n: int, seed: int = 0) -> list[tuple[Sample, Sample]]:
    """The same n clips asked twice: which way the sounding one moves, and which way the one of a colour moves.

    The first question needs both senses, the second sight alone, and but for one word they are the same. By a coin the colour is that of
    the sounding or of the silent one, as the name of the second sample says: what sounds does not tell which of them is meant. To the
    second question the ideal answerer has U_vision = 1 and S = 0. Where it names the silent one and that moves the other way, the right
    answers of the pair differ, and who listens all the same is wrong.
    """
    return list(_pairs(split, n, seed))


@lru_cache(maxsize=1)  # as of samples; both questions of a pair are asked of the same clips
def _pairs(split: str, n: int, seed: int) -> tuple[tuple[Sample, Sample], ...]:
    fused, plain = TEMPLATES["sounding_direction"], TEMPLATES["direction"]
    pairs = []
    for index in range(n):
        rng = Random(derive_seed(seed, "micro_av", "pairs", split, index))
        v, a, t = fused.draw(rng)
        clip, wording = film(v, a, split, rng), rng.randrange(len(fused.questions[t]))
        named = rng.choice(NAMED)
        color = COLORS[a[0] if named == "sounding" else OTHER[a[0]]]
        name, shown = _name("pairs", split, index, seed), (clip.frames(), clip.sound())
        asked = ((fused, t, fused.name), (plain, color, f"{plain.name}_{named}"))
        pairs.append(
            tuple(_sample(f"{name}/{kind}", split, one, one.questions[q][wording], one.answer(v, a, q), *shown) for one, q, kind in asked)
        )
    return tuple(pairs)


def attenuated(samples: Sequence[Sample], gain: float) -> list[Sample]:
    r"""Samples whose tones are softer, before the same noise floor.

    The soundtrack becomes :math:`g\,x + \sqrt{1-g^2}\,\sigma\epsilon` with the gain g and new noise :math:`\epsilon`, the same for every
    gain, of the floor's level :math:`\sigma`: the tones are g times as loud, and the two noises together have the level of the floor.

    Raises
    ------
    ValueError
        For a gain outside [0, 1].
    """
    if not 0 <= gain <= 1:
        raise ValueError(f"asked for a gain of {gain}; give one from 0, the noise floor alone, to 1, the soundtrack as it is")
    rest = FLOOR * np.float32(np.sqrt(1 - gain**2))
    return [replace(one, audio=np.float32(gain) * one.audio + rest * hiss(derive_seed("attenuated", one.sample_id))) for one in samples]


def joint(template: str, unimodal: str = "masked") -> dict[str, tuple[float, Float64[np.ndarray, "v a y"]]]:
    """For each question t of a template P(t) and the ideal answerer's P(v, a, y | t), over `SEEN`, `HEARD` and `ANSWERS`.

    ``"masked"`` is the law itself; ``"resampled"`` has P(v) P(a) in place of P(v, a).

    Raises
    ------
    ValueError
        For a template or mode that does not exist, with the nearest right name.

    Examples
    --------
    >>> {t: (weight, table.shape) for t, (weight, table) in joint("gated").items()}
    {'sight': (0.5, (8, 4, 8)), 'swap': (0.5, (8, 4, 8))}
    """
    for what, given, known in (("template", template, TEMPLATES), ("mode", unimodal, ("masked", "resampled"))):
        if given not in known:
            raise ValueError(unknown(what, given, known))
    declared = TEMPLATES[template]
    pairs = np.array([[declared.law.get((v, a), 0.0) for a in HEARD] for v in SEEN])
    if unimodal == "resampled":
        pairs = pairs.sum(1, keepdims=True) * pairs.sum(0, keepdims=True)
    tables = {}
    for t in declared.questions:
        table = np.zeros((*pairs.shape, len(ANSWERS)))
        for v, a in np.argwhere(pairs):
            table[v, a, ANSWERS.index(declared.answer(SEEN[v], HEARD[a], t))] = pairs[v, a]
        tables[t] = (1 / len(declared.questions), table)
    return tables


def sensory_truth(template: str, unimodal: str = "masked", *, ignored: bool = False) -> PID:
    """The decomposition of I(Y; V, A | T) of the ideal answerer in bits, or of I(Y; V, A) where the question is ``ignored``.

    Examples
    --------
    >>> sensory_truth("gated")
    PID(redundancy=0.000000, unique_vision=0.500000, unique_audio=0.000000, synergy=0.500000, gap=... bits)
    """
    weights, tables = zip(*joint(template, unimodal).values(), strict=True)
    return sensory_pid([np.tensordot(weights, tables, 1)]) if ignored else sensory_pid(tables, weights)


def film(v: Seen, a: Heard, split: str, rng: Random) -> Clip:
    """A random clip of a split that shows v and sounds like a."""
    while split_of((clip := _film(v, a, split, rng)).picture()) != split:
        pass
    return clip


def _film(v: Seen, a: Heard, split: str, rng: Random) -> Clip:
    rows = rng.sample(ROWS, 2)
    items = tuple(
        Item(SHAPES[name], COLORS[name], FRAME // 2 + rng.randint(-3, 3), row + rng.randint(-6, 6), rng.randint(12, 15), 0, _jitter(rng))
        for name, row, way in zip(COLORS, rows, v, strict=True)
        if way
    )
    tones = tuple(Tone(rng.randint(*PITCHES[name]), rng.choice(TIMBRES[split]), rng.uniform(0.05, 0.1), rng.uniform(0, 0.3)) for name in a)
    return Clip(items, tuple(filter(None, v)), tones, _jitter(rng), rng.getrandbits(32))


def _jitter(rng: Random) -> tuple[int, int, int]:
    return (rng.randint(0, JITTER), rng.randint(0, JITTER), rng.randint(0, JITTER))


def _sample(
    name: str,
    split: str,
    template: Template,
    question: str,
    answer: str,
    video: UInt8[np.ndarray, "4 48 48 3"],
    audio: Float32[np.ndarray, "16000"],
) -> Sample:
    benchmark = f"micro_av/{template.task}"
    return Sample(name, benchmark, template.name, question, ANSWERS, answer, split, video=video, audio=audio)


def _name(kind: str, split: str, index: int, seed: int) -> str:
    return f"micro_av/{kind}/{split}/{index:05d}" + (f"@{seed}" if seed else "")


def _states(task: str, index: int, rng: Random) -> tuple[Template, Seen, Heard, str]:
    """Which template has its turn, and states from its law; they come first in the randomness of a sample."""
    template = TASKS[task][index % len(TASKS[task])]
    return template, *template.draw(rng)
