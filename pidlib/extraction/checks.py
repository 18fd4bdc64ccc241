"""What an extraction refuses before any work, with the names of the samples."""

from collections import Counter
from collections.abc import Sequence

import numpy as np

from pidlib.benchmarks import Sample
from pidlib.extraction.masking import FULL, OPTIONS, Pass, modalities_of
from pidlib.store import Shard


def check_samples(samples: Sequence[Sample], passes: Sequence[str] = (FULL,), partners: int = 0, hears: bool | None = None) -> list[Sample]:
    """The samples, if they make a profiling set that can be asked so.

    Parameters
    ----------
    samples, passes, partners
        As of `pidlib.extraction.extract`.
    hears
        Whether the model takes films with their sound, in place of pictures; None if it is not known.

    Raises
    ------
    ValueError
        If there are none, ids are repeated, alphabets differ, or a question is missing, or options that are to stay, or a picture, unless
        all lack it and no pass goes without one of the two; if a film or its soundtrack is missing or not what it should be; if the model
        takes what the samples are not, or a pass is given sound that they lack. The samples are named.
    """
    samples = list(samples)
    if not samples:
        raise ValueError("asked to extract from no samples; give at least one")
    asked = [key.split("#")[0] for key in passes]
    films = any(one.video is not None or one.audio is not None for one in samples)
    text = list(passes) == [FULL] and not partners and not any(set(modalities_of(one)) - {"language"} for one in samples)
    if not films and any("audio" in Pass.parse(key).present for key in asked):
        raise ValueError(f"passes {list(passes)} are given sound, and no sample has any; leave these passes out, or give films with sound")
    if films and partners:
        raise ValueError(f"partners={partners} pairs pictures with questions, and these samples are films; ask for passes instead")
    if hears is not None and hears != films and not text:
        takes, given = ("films with sound", "pictures")[:: 1 if hears else -1]
        raise ValueError(f"this model is asked with {takes}, and the samples hold {given}; take another model, or other samples")
    repeated = [name for name, count in Counter(one.sample_id for one in samples).items() if count > 1]
    faults = {
        "repeated sample ids": repeated,
        f"candidates other than {samples[0].candidates}": [one.sample_id for one in samples if one.candidates != samples[0].candidates],
        "no picture": [one.sample_id for one in samples if one.image is None and not text and not films],
        "no options": [one.sample_id for one in samples if not one.options.strip() and OPTIONS in asked],
        "no question": [one.sample_id for one in samples if not one.question.strip()],
    }
    if films:
        wrong = [(one.sample_id, _fault_of_film(one)) for one in samples]
        faults |= {fault: [name for name, found in wrong if found == fault] for _, fault in wrong if fault}
    for fault, names in faults.items():
        if names:
            raise ValueError(f"{fault}: {', '.join(names[:8])}{' ...' if len(names) > 8 else ''}; leave them out, or extract them apart")
    return samples


def _fault_of_film(sample: Sample) -> str | None:
    """What is wrong with a sample's film or soundtrack."""
    for name, value, kind, axes in (("film", sample.video, np.uint8, "frames, height, width, 3"), ("sound", sample.audio, np.float32, "n")):
        if value is None:
            return f"no {name}"
        if not isinstance(value, np.ndarray) or value.dtype != kind or value.ndim != len(axes.split(",")) or not value.size:
            given = f"{value.dtype} {list(value.shape)}" if isinstance(value, np.ndarray) else type(value).__name__
            return f"{name} is not an array of {np.dtype(kind)} [{axes}] but {given}"
    if sample.video.shape[-1] != 3:
        return f"film is not an array of uint8 [frames, height, width, 3] but uint8 {list(sample.video.shape)}"
    return None if np.isfinite(sample.audio).all() else "NaN or Inf in the sound"


def check_ids(shard: Shard, samples: Sequence[Sample]):
    """Raise a ValueError if a stored shard is not that of these samples, in this order."""
    asked, found = [one.sample_id for one in samples], list(shard.facts["sample_ids"])
    if asked != found:
        odd = sorted(set(asked) ^ set(found)) or found
        raise ValueError(f"the stored samples are not those asked for, or in another order: {', '.join(odd[:8])}; give another folder")
