"""Interventions on samples, seeded by their ids, and the accuracy that they cost."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from hashlib import sha256

import numpy as np
import pandas as pd
from PIL import Image
from scipy.stats import bootstrap

from pidlib._common import derive_seed
from pidlib.benchmarks import Sample
from pidlib.extraction import Extraction

GRAY = 128  # zero after normalization with mean and deviation one half
GRID = 4  # patches a side


def blank(sample: Sample) -> Sample:
    """Replace the picture by gray pixels of the same size."""
    return replace(sample, image=Image.new("RGB", sample.image.size, (GRAY,) * 3))


def shuffle_patches(sample: Sample, seed: int = 0) -> Sample:
    """Permute `GRID` x `GRID` patches: local content stays, as do pixels beyond the last patch."""
    pixels = np.array(sample.image.convert("RGB"))
    height, width = (side // GRID for side in pixels.shape[:2])
    inner = pixels[: GRID * height, : GRID * width]
    patches = inner.reshape(GRID, height, GRID, width, 3).swapaxes(1, 2)
    shuffled = _generator(sample, seed).permutation(patches.reshape(GRID**2, height, width, 3))
    inner[:] = shuffled.reshape(patches.shape).swapaxes(1, 2).reshape(inner.shape)
    return replace(sample, image=Image.fromarray(pixels))


def shuffle_words(sample: Sample, seed: int = 0) -> Sample:
    """Permute the words of the question; a final punctuation mark stays last."""
    words = sample.question.rstrip("?. ").split()
    mark = sample.question.strip()[len(sample.question.strip().rstrip("?. ")) :]
    return replace(sample, question=" ".join(_generator(sample, seed).permutation(words)) + mark)


def resample(
    samples: Sequence[Sample], modality: str, seed: int = 0, within: Callable | None = None
) -> list[Sample]:
    """Exchange pictures (or videos), audio or questions: no sample gets a content equal to its own.

    With ``within``, only samples with the same value exchange contents; groups in which more than
    half share one are left out. A ValueError if nothing is left, or for a modality they lack.
    """
    video = "image" if samples[0].video is None else "video"
    fields = {"vision": video, "audio": "audio", "language": "question"}
    known = [name for name, field in fields.items() if getattr(samples[0], field) is not None]
    if modality not in known:
        choices = " or ".join(map(repr, known))
        raise ValueError(f"requested to resample {modality!r}; choose {choices}")
    field, ids = fields[modality], [sample.sample_id for sample in samples]
    contents = ids  # of questions, which all count as different
    if field != "question":
        contents = [sha256(getattr(each, field).tobytes()).digest() for each in samples]
    group = pd.Series(pd.factorize(pd.Series(contents))[0])
    if within is not None:
        parts, changed = group.groupby(pd.factorize(pd.Series(map(within, samples)))[0]), {}
        for _, rows in parts:
            if 2 * rows.value_counts().max() <= len(rows):
                part = resample([samples[row] for row in rows.index], modality, seed)
                changed |= dict(zip(rows.index, part, strict=True))
        if not changed:
            text = f"no derangement of {field} exists within any of {len(parts)} groups"
            raise ValueError(f"{text}; give more samples")
        return [changed[row] for row in sorted(changed)]
    generator = np.random.default_rng(derive_seed(seed, "resample", modality, *ids))
    counts = np.bincount(group)
    if 2 * counts.max() > len(samples):
        text = f"{counts.max()} of {len(samples)} samples share one {field}; give more samples"
        raise ValueError(f"no derangement of {field} exists: {text}")
    # Sorted by content, shifting by the largest group's size guarantees a derangement.
    order = np.lexsort((generator.random(len(samples)), generator.permutation(len(counts))[group]))
    partner = dict(zip(order, np.roll(order, counts.max()), strict=True))
    contents = (getattr(samples[partner[row]], field) for row in range(len(samples)))
    return [replace(each, **{field: new}) for each, new in zip(samples, contents, strict=True)]


# On the picture, then on the question; of samples and a seed.
INTERVENTIONS: dict[str, Callable[[Sequence[Sample], int], list[Sample]]] = {
    "blank": lambda samples, seed: list(map(blank, samples)),
    "resampled": lambda samples, seed: resample(samples, "vision", seed),
    "patches": lambda samples, seed: [shuffle_patches(sample, seed) for sample in samples],
    "words": lambda samples, seed: [shuffle_words(sample, seed) for sample in samples],
    "question": lambda samples, seed: resample(samples, "language", seed),
}


def accuracy_drop(
    full: pd.Series, changed: pd.Series, n_bootstrap: int = 1000, seed: int = 0
) -> tuple[float, float, float]:
    """Accuracy without minus accuracy with an intervention, and the ends of its 95 % interval.

    Samples are joined by id and resampled in pairs; a ValueError if an answer is missing.
    """
    if len(missing := changed.index.difference(full.index)):
        text = f"{len(missing)} intervened samples have no full answer: {', '.join(missing[:8])}"
        raise ValueError(f"{text}; extract them without the intervention too")
    lost = (full[changed.index] - changed).to_numpy()
    if len(lost) < 2:
        return float(lost.mean()), np.nan, np.nan
    generator = np.random.default_rng(derive_seed(seed, "drop"))
    options = {"n_resamples": n_bootstrap, "method": "percentile", "random_state": generator}
    ends = bootstrap((lost,), np.mean, **options).confidence_interval
    return float(lost.mean()), float(ends.low), float(ends.high)


def perceptual_score(full: pd.Series, permuted: pd.Series) -> float:
    """The share (a - a') / a of accuracy that permuting a modality costs (Gat et al., 2021)."""
    accuracy = full.mean()
    return float((accuracy - permuted.mean()) / accuracy) if accuracy > 0 else np.nan


def _generator(sample: Sample, seed: int) -> np.random.Generator:
    return np.random.default_rng(derive_seed(seed, "intervention", sample.sample_id))


def correct_by_id(extraction: Extraction, key: str | None = None) -> pd.Series:
    """The share of draws of a pass in which each decision is correct, by sample id."""
    return pd.Series(extraction.correct(key).astype(float), index=list(extraction.sample_ids))
