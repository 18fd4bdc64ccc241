"""Taking a picture away or spoiling it, what that costs a model in accuracy, and which quantity foretells the cost.

An intervention makes other samples of samples, with the same ids, seeded by them; it never changes the answer that counts as right. What
it does to one sample is a function of that sample; only `resample` needs the others.
"""

from collections.abc import Callable, Hashable, Sequence
from dataclasses import replace
from hashlib import sha256

import numpy as np
import pandas as pd
from PIL import Image
from scipy.ndimage import gaussian_filter
from scipy.stats import bootstrap

from pidlib.benchmarks import Sample
from pidlib.experiment import derive_seed
from pidlib.extraction import Extraction
from pidlib.extraction.masking import FULL

GREY = 128  # the middle of the scale: where processors with mean and deviation one half put zero
GRID = 4  # patches a side
WIDTH = 1 / 8  # of the picture's shorter side: the deviation of the blur


def blank(sample: Sample) -> Sample:
    """A grey picture of the same size."""
    return replace(sample, image=Image.new("RGB", sample.image.size, (GREY,) * 3))


def no_image(sample: Sample) -> Sample:
    """No picture: the prompt is the question alone."""
    return replace(sample, image=None)


def shuffle_pixels(sample: Sample, seed: int = 0) -> Sample:
    """The same pixels in random places: colours and how much there is of each stay, shapes and places go."""
    pixels = np.asarray(sample.image.convert("RGB"))
    return _shown(sample, _generator(sample, seed).permutation(pixels.reshape(-1, 3)).reshape(pixels.shape))


def shuffle_patches(sample: Sample, seed: int = 0) -> Sample:
    """The same `GRID` x `GRID` patches in random places: what is local stays, where it is goes. Pixels left over at the edges stay."""
    pixels = np.array(sample.image.convert("RGB"))
    height, width = (side // GRID for side in pixels.shape[:2])
    inner = pixels[: GRID * height, : GRID * width]
    patches = inner.reshape(GRID, height, GRID, width, 3).swapaxes(1, 2).reshape(GRID**2, height, width, 3)
    patches = _generator(sample, seed).permutation(patches).reshape(GRID, GRID, height, width, 3).swapaxes(1, 2)
    pixels[: GRID * height, : GRID * width] = patches.reshape(inner.shape)
    return _shown(sample, pixels)


def blur(sample: Sample) -> Sample:
    """The picture through a Gaussian of `WIDTH`, reflected at its edges so that the mean colour stays: coarse places and colours remain."""
    pixels = np.asarray(sample.image.convert("RGB"), float)
    deviation = WIDTH * min(pixels.shape[:2])
    return _shown(sample, gaussian_filter(pixels, (deviation, deviation, 0), mode="reflect").round().astype(np.uint8))


def shuffle_words(sample: Sample, seed: int = 0) -> Sample:
    """The question's words in random order; a final mark stays last."""
    words = sample.question.rstrip("?. ").split()
    mark = sample.question.strip()[len(sample.question.strip().rstrip("?. ")) :]
    return replace(sample, question=" ".join(_generator(sample, seed).permutation(words)) + mark)


def resample(samples: Sequence[Sample], modality: str, seed: int = 0, within: Callable[[Sample], Hashable] | None = None) -> list[Sample]:
    """Each sample with the picture (or video), the sound, or the question of another, by a random permutation.

    A picture, video or sound never stays, nor does one that is equal to it: a derangement. A question is that of another sample, which may
    be worded alike. With ``within``, only samples for which it is the same exchange theirs, and those are left out that have no partner,
    because one picture, video or sound belongs to more than half of their part.

    Raises
    ------
    ValueError
        For a modality that the samples lack, or if one picture, video or sound belongs to more than half of them, or of every part.
    """
    fields = {"vision": "image" if samples[0].video is None else "video", "audio": "audio", "language": "question"}
    known = [name for name, field in fields.items() if getattr(samples[0], field) is not None]
    if modality not in known:
        raise ValueError(f"asked to resample {modality!r}; choose {' or '.join(map(repr, known))}")
    field = fields[modality]
    group, _ = pd.factorize(pd.Series([one.sample_id if field == "question" else _digest(getattr(one, field)) for one in samples]))
    if within is not None:
        parts = pd.Series(group).groupby(pd.factorize(pd.Series([within(one) for one in samples]))[0])
        whole = [rows.index for _, rows in parts if 2 * rows.value_counts().max() <= len(rows)]
        if not whole:
            raise ValueError(f"in none of {len(parts)} parts can all samples get another {field}; give more samples")
        dealt = [dict(zip(rows, resample([samples[row] for row in rows], modality, seed), strict=True)) for rows in whole]
        return [one for _, one in sorted((place for part in dealt for place in part.items()), key=lambda place: place[0])]
    generator = np.random.default_rng(derive_seed(seed, "resample", modality, *(sample.sample_id for sample in samples)))
    counts = np.bincount(group)
    if 2 * counts.max() > len(samples):
        raise ValueError(f"{counts.max()} of {len(samples)} samples have one {field}, so that not all can get another; give more samples")
    # Equal ones stand together, in random order; who is moved by as many places as the most frequent one has leaves its own kind.
    order = np.lexsort((generator.random(len(samples)), generator.permutation(len(counts))[group]))
    partner = np.empty(len(samples), int)
    partner[order] = np.roll(order, counts.max())
    return [replace(sample, **{field: getattr(samples[other], field)}) for sample, other in zip(samples, partner, strict=True)]


def _each(change: Callable[[Sample], Sample]) -> Callable[[Sequence[Sample], int], list[Sample]]:
    return lambda samples, seed: [change(sample) for sample in samples]


def _each_seeded(change: Callable[[Sample, int], Sample]) -> Callable[[Sequence[Sample], int], list[Sample]]:
    return lambda samples, seed: [change(sample, seed) for sample in samples]


# By name, on samples and with a seed; those on the picture, then those on the question.
INTERVENTIONS: dict[str, Callable[[Sequence[Sample], int], list[Sample]]] = {
    "blank": _each(blank),
    "no image": _each(no_image),
    "resampled": lambda samples, seed: resample(samples, "vision", seed),
    "pixels": _each_seeded(shuffle_pixels),
    "patches": _each_seeded(shuffle_patches),
    "blurred": _each(blur),
    "words": _each_seeded(shuffle_words),
    "question": lambda samples, seed: resample(samples, "language", seed),
}


def right(extraction: Extraction, key: str = FULL) -> pd.Series:
    """Whether the likeliest candidate is the answer, 1 or 0, by sample id."""
    best = np.asarray(extraction.candidates)[extraction.logits[key].argmax(1)]
    return pd.Series((best == np.asarray(extraction.answers)).astype(float), index=list(extraction.sample_ids))


def drop(full: pd.Series, changed: pd.Series, n_bootstrap: int = 1000, seed: int = 0) -> tuple[float, float, float]:
    r"""The accuracy that an intervention costs, :math:`a(\text{full}) - a(\text{intervened})`, and its 95 % interval.

    Samples are joined by id, and resampled as pairs (percentile bootstrap).

    >>> samples = list("abcd")
    >>> drop(pd.Series([1.0, 1, 1, 0], samples), pd.Series([0.0, 1, 0, 0], samples))[0]
    0.5

    Raises
    ------
    ValueError
        If an intervened sample was not asked in full; they are named.
    """
    missing = changed.index.difference(full.index)
    if len(missing):
        raise ValueError(f"{len(missing)} intervened samples were not asked in full: {', '.join(missing[:8])}; ask for them too")
    lost = (full[changed.index] - changed).to_numpy()
    if len(lost) < 2:
        return float(lost.mean()), np.nan, np.nan
    generator = np.random.default_rng(derive_seed(seed, "drop"))
    ends = bootstrap((lost,), np.mean, n_resamples=n_bootstrap, method="percentile", random_state=generator).confidence_interval
    return float(lost.mean()), float(ends.low), float(ends.high)


def perceptual_score(full: pd.Series, permuted: Sequence[pd.Series]) -> float:
    r"""The perceptual score of a modality (Gat, Schwartz and Schwing, 2021), normalised by what the model can do.

    .. math:: \frac{a - E_\pi[a_\pi]}{a}

    with the accuracy :math:`a`, and :math:`a_\pi` that with the modality permuted across the test samples, in the mean over permutations.
    Missing where the model is never right.

    >>> perceptual_score(pd.Series([1.0, 1, 1, 0]), [pd.Series([1.0, 0, 0, 0]), pd.Series([0.0, 1, 1, 0])])
    0.5
    """
    accuracy = full.mean()
    return float((accuracy - np.mean([one.mean() for one in permuted])) / accuracy) if accuracy > 0 else np.nan


def _generator(sample: Sample, seed: int) -> np.random.Generator:
    return np.random.default_rng(derive_seed(seed, "intervention", sample.sample_id))


def _digest(shown: Image.Image | np.ndarray) -> bytes:
    """Stands for the content, which would fill the memory: a long clip has ten million bytes."""
    return sha256(shown.tobytes()).digest()


def _shown(sample: Sample, pixels: np.ndarray) -> Sample:
    return replace(sample, image=Image.fromarray(pixels))
