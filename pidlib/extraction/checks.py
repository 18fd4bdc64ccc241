"""Input validation for `extract`."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from pidlib.benchmarks import Sample
from pidlib.extraction.masking import FULL, OPTIONS, Pass, modalities_of
from pidlib.extraction.store import Shard

if TYPE_CHECKING:
    from transformers import FeatureExtractionMixin

SAMPLING_RATE = 16_000  # Hz, of `Sample.audio`


def check_samples(
    samples: Sequence[Sample],
    passes: Sequence[str] = (FULL,),
    partners: int = 0,
    has_audio: bool | None = None,
) -> list[Sample]:
    """Validate a profiling set for `extract`; a ValueError names the samples at fault.

    ``has_audio``: whether the model takes video with sound instead of pictures; None if unknown.
    """
    samples = list(samples)
    if not samples:
        raise ValueError("no samples to extract from; give at least one")
    if partners < 0:
        raise ValueError(f"partners must be 0 or more; got {partners}")
    candidates = samples[0].candidates
    if isinstance(candidates, str) or not all(isinstance(c, str) and c.strip() for c in candidates):
        raise ValueError(f"candidates must be a tuple of nonempty strings; got {candidates!r}")
    if len({candidate.strip() for candidate in candidates}) < max(2, len(candidates)):
        raise ValueError(f"candidates must be two or more different answers; got {candidates!r}")
    keys = [key.split("#")[0] for key in passes]
    clips = any(sample.video is not None or sample.audio is not None for sample in samples)
    text_only = list(passes) == [FULL] and not partners
    text_only &= all(modalities_of(sample) == ("language",) for sample in samples)
    if not clips and any("audio" in Pass.parse(key).present for key in keys):
        raise ValueError(f"passes {list(passes)} include audio and no sample has any")
    if clips and partners:
        raise ValueError(f"clips have no partners (partners={partners}); request passes instead")
    if has_audio is not None and has_audio != clips and not text_only:
        takes, given = ("video with sound", "pictures")[:: 1 if has_audio else -1]
        raise ValueError(f"this model takes {takes} and the samples hold {given}")
    repeated = Counter(sample.sample_id for sample in samples)

    def ids(is_fault):
        return [sample.sample_id for sample in samples if is_fault(sample)]

    faults = {
        "repeated sample ids": [name for name, count in repeated.items() if count > 1],
        f"candidates other than {candidates}": ids(lambda s: s.candidates != candidates),
        "no picture": ids(lambda s: s.image is None and not text_only and not clips),
        "no options": ids(lambda s: OPTIONS in keys and not s.options.strip()),
        "no question": ids(lambda s: not s.question.strip()),
    }
    for sample in samples if clips else ():
        faults.setdefault(_clip_fault(sample), []).append(sample.sample_id)
    for fault, names in faults.items():
        if fault and names:
            listed = ", ".join(names[:8]) + " ..." * (len(names) > 8)
            raise ValueError(f"{fault}: {listed}; remove them, or extract them separately")
    return samples


def check_clips(samples: Sequence[Sample], extractor: "FeatureExtractionMixin"):
    """Raise a ValueError if a model's processor cannot represent these clips together."""
    rate, limit = extractor.sampling_rate, extractor.n_samples
    if rate != SAMPLING_RATE:
        raise ValueError(f"the model takes sound at {rate} Hz and samples have {SAMPLING_RATE} Hz")
    if long := [sample.sample_id for sample in samples if len(sample.audio) > limit]:
        fault = f"soundtracks longer than the model's {limit / rate:g} s"
        raise ValueError(f"{fault}: {', '.join(long[:8])}; cut them")
    rates = [len(sample.video) / len(sample.audio) * rate for sample in samples]
    if max(rates) > 1.005 * min(rates):
        span = f"{min(rates):.3g} to {max(rates):.3g}"
        raise ValueError(f"clips of {span} frames per second; resample them to one rate")


def check_layers(layers: Sequence[int], depth: int) -> tuple[int, ...]:
    """Convert layers to nonnegative numbers; raise a ValueError for those outside the model."""
    for layer in layers:
        if not -depth <= layer < depth:
            blocks = f"{depth}, 0 to {depth - 1}; negative numbers count from the last"
            raise ValueError(f"no block {layer}: the language model has {blocks}")
    return tuple(layer % depth for layer in layers)


def check_tau(tau: float) -> float:
    """Return ``tau``; raise a ValueError unless it is a share of probability."""
    if not 0 <= tau <= 1:
        raise ValueError(f"tau is a share of probability, from 0 to 1; got {tau}")
    return tau


def check_finite(arrays: Mapping[str, np.ndarray], sample_ids: Sequence[str]):
    """Raise a ValueError that names the samples whose rows hold NaN or Inf."""
    for name, rows in arrays.items():
        bad = ~np.isfinite(rows).reshape(len(rows), -1).all(1)
        if bad.any():
            names = ", ".join(dict.fromkeys(np.array(sample_ids)[bad]))
            hint = "check these inputs, or load the model with dtype=torch.float32"
            raise ValueError(f"NaN or Inf in the {name} of {names}: {hint}")


def check_ids(shard: Shard, samples: Sequence[Sample]):
    """Raise a ValueError if a stored shard has other samples, or another order."""
    requested, stored = [sample.sample_id for sample in samples], list(shard.facts["sample_ids"])
    if requested != stored:
        different = sorted(set(requested) ^ set(stored)) or stored
        names = ", ".join(different[:8])
        raise ValueError(f"stored samples, or their order, differ: {names}; use another folder")


def _clip_fault(sample: Sample) -> str | None:
    """Describe the fault of a sample's video or sound."""
    for name, value, dtype, shape in (
        ("video", sample.video, np.uint8, "frames, height, width, 3"),
        ("sound", sample.audio, np.float32, "n"),
    ):
        if value is None:
            return f"no {name}"
        expected = f"{name} must be an array of {np.dtype(dtype)} [{shape}]"
        if not isinstance(value, np.ndarray):
            return f"{expected}, got {type(value).__name__}"
        rank = len(shape.split(","))
        wrong_axis = name == "video" and value.shape[-1:] != (3,)
        if value.dtype != dtype or value.ndim != rank or not value.size or wrong_axis:
            return f"{expected}, got {value.dtype} {list(value.shape)}"
    return None if np.isfinite(sample.audio).all() else "NaN or Inf in the sound"
