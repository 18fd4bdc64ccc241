"""The questions of a training: to train on, to profile on, and to evaluate on."""

import re
from collections.abc import Sequence
from functools import lru_cache, partial
from typing import NamedTuple

from pidlib._common import derive_seed
from pidlib.benchmarks import Sample, canonical, is_external, load, names
from pidlib.benchmarks.micro import BALANCED
from pidlib.experiments.reweighting.settings import TrainingSpec


class Questions(NamedTuple):
    """Samples of three splits, so no two sets share a question or a picture.

    But stamps have no validation: both others are of the test, and share pictures and questions.
    """

    train: list[Sample]  # of the seed, the same for all conditions
    profile: list[Sample]  # of the same distribution
    evaluation: list[Sample]  # balanced where every text occurs with every answer


def questions(spec: TrainingSpec, *, allow_unpinned: bool = False) -> Questions:
    """The questions of a training; the evaluation is balanced where every text has all answers."""
    on, get = spec.trained_on, partial(_loaded, allow_unpinned=allow_unpinned)
    is_stamps = on in names("stamps")
    train = get(on, "train", spec.n_tuned, derive_seed(spec.stream, "tuning", spec.seed))
    profile = get(on, "test" if is_stamps else "validation", spec.n_profiled, spec.stream)
    if is_stamps or is_external(on):
        on = evaluation_name(on) if is_stamps else on
        return Questions(train, profile, get(on, "test", spec.n_evaluated, spec.stream))
    everything = get(f"prior/{BALANCED}" if on in names("prior") else on, "test", None, spec.stream)
    return Questions(train, profile, balanced(everything, spec.n_evaluated))


_loaded = lru_cache(maxsize=3)(load)  # the samples of the last training; they are not changed


def evaluation_name(trained_on: str) -> str:
    """The name of the evaluation questions in a table; captions of stamps are right by chance."""
    if trained_on in names("stamps"):
        return re.sub(r"captioned\w*", "captioned_17", trained_on)
    return canonical(trained_on) if is_external(trained_on) else f"{trained_on} balanced"


def balanced(samples: Sequence[Sample], n: int | None = None) -> list[Sample]:
    """Samples in which each text has all answers equally often: the text alone is at chance.

    Every answer is kept as often as the rarest; n keeps the first whole sets, else a ValueError.
    """
    by_text: dict[str, dict[str, list[int]]] = {}
    for index, sample in enumerate(samples):
        answers = by_text.setdefault(sample.text, {answer: [] for answer in sample.candidates})
        answers[sample.answer].append(index)
    sets = [group for answers in by_text.values() for group in zip(*answers.values(), strict=False)]
    size = len(samples[0].candidates)
    count = len(sets) if n is None else n // size
    if not 0 < count <= len(sets):
        text = f"the {len(samples)} samples of {samples[0].benchmark} hold {len(sets) * size}"
        raise ValueError(f"requested {n} balanced samples; {text}; ask for fewer")
    return [samples[index] for group in sorted(sets, key=max)[:count] for index in group]
