"""Input validation for `extract`."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import torch
from jaxtyping import Float32, UInt8
from torch import Tensor

from pidlib.benchmarks import Sample
from pidlib.extraction.masking import FULL, OPTIONS, modalities_of
from pidlib.models import LoadedModel

VIDEO = UInt8[np.ndarray, "frames height width 3"]
SOUND = Float32[np.ndarray, "n"]
SAMPLING_RATE = 16_000  # Hz, of `Sample.audio`


def check_samples(
    samples: Sequence[Sample],
    passes: Sequence[str] = (FULL,),
    partners: int = 0,
    loaded: LoadedModel | None = None,
) -> list[Sample]:
    """Validate a profiling set for `extract`; a ValueError names the samples at fault."""
    if not (isinstance(samples, Sequence) and all(isinstance(each, Sample) for each in samples)):
        advice = "load_benchmark(NAME) and load_table(TABLE) make lists of Sample"
        raise ValueError(f"got a {type(samples).__name__} that is no list of Sample; {advice}")
    if not samples:
        raise ValueError("no samples to extract from; give at least one")
    if partners < 0:
        raise ValueError(f"partners must be 0 or more; got {partners}")
    candidates = samples[0].candidates
    texts = {text.strip() for text in candidates if isinstance(text, str)} - {""}
    if isinstance(candidates, str) or len(texts) < max(2, len(candidates)):
        expected = "a tuple of two or more different, nonempty strings"
        raise ValueError(f"candidates must be {expected}; got {candidates!r}")
    clips = any(sample.video is not None or sample.audio is not None for sample in samples)
    text_only = list(passes) == [FULL] and not partners
    text_only &= all(modalities_of(sample) == ("language",) for sample in samples)
    if not clips and any("audio" in key for key in passes):
        raise ValueError(f"passes {list(passes)} include audio and no sample has any")
    if clips and partners:
        raise ValueError(f"clips have no partners (partners={partners}); request passes instead")
    if loaded and loaded.family.has_audio != clips and not text_only:
        kinds = {False: "pictures", True: "video with sound"}
        raise ValueError(f"this model takes {kinds[not clips]} and the samples hold {kinds[clips]}")
    lists_options = any(key.startswith(OPTIONS) for key in passes)
    repeated = Counter(sample.sample_id for sample in samples)
    special = _special_tokens(loaded) if loaded else ()

    def ids(is_fault):
        return [sample.sample_id for sample in samples if is_fault(sample)]

    faults = {
        "repeated sample ids": [name for name, count in repeated.items() if count > 1],
        f"candidates other than {candidates}": ids(lambda s: s.candidates != candidates),
        "no picture (in a table, the column picture or video)": ids(
            lambda s: not s.has_image and not text_only and not clips
        ),
        "no options": ids(lambda s: lists_options and not s.options.strip()),
        "no question": ids(lambda s: not s.question.strip()),
        "a special token in the question": ids(lambda s: any(each in s.text for each in special)),
    }
    for sample in samples if clips else ():
        faults.setdefault(_clip_fault(sample), []).append(sample.sample_id)
    for fault, names in faults.items():
        if fault and names:
            raise ValueError(f"{fault}: {_few(names)}; remove them, or extract them separately")
    if loaded and clips:
        _check_rates(samples, loaded.processor.feature_extractor)
    return list(samples)


def check_finite(arrays: Mapping[str, Sequence[np.ndarray | Tensor]], sample_ids: Sequence[str]):
    """Raise a ValueError that names the samples whose rows hold NaN or Inf."""
    for name, rows in arrays.items():
        finite = (torch.as_tensor(row).isfinite().all() for row in rows)
        if names := [each for each, good in zip(sample_ids, finite, strict=True) if not good]:
            hint = "check these inputs, or load the model with dtype=torch.float32"
            raise ValueError(f"NaN or Inf in the {name} of {_few(dict.fromkeys(names))}: {hint}")


def _few(names: Iterable[str]) -> str:
    names = list(names)
    return ", ".join(names[:8]) + " ..." * (len(names) > 8)


def _special_tokens(loaded: LoadedModel) -> set[str]:
    """Find texts that the tokenizer, or the processor before it, does not read as text."""
    processor = loaded.processor
    added = processor.tokenizer.added_tokens_decoder.values()
    media = [getattr(processor, f"{name}_token", None) for name in ("image", "video", "audio")]
    return {str(token) for token in (*filter(lambda each: each.special, added), *media) if token}


def _clip_fault(sample: Sample) -> str | None:
    """Describe the fault of a sample's video or sound."""
    for name, value, kind in (("video", sample.video, VIDEO), ("sound", sample.audio, SOUND)):
        if value is None:
            return f"no {name}"
        if not isinstance(value, kind) or not value.size:
            given = f"{getattr(value, 'dtype', type(value).__name__)} {getattr(value, 'shape', '')}"
            return f"{name} must be an array of {kind.dtypes[0]} [{kind.dim_str}], got {given}"
    return None if np.isfinite(sample.audio).all() else "NaN or Inf in the sound"


def _check_rates(samples: Sequence[Sample], extractor):
    """Raise a ValueError if a processor's ``extractor`` cannot represent these clips together."""
    rate, limit = extractor.sampling_rate, extractor.n_samples
    if rate != SAMPLING_RATE:
        raise ValueError(f"the model takes sound at {rate} Hz and samples have {SAMPLING_RATE} Hz")
    if long := [sample.sample_id for sample in samples if len(sample.audio) > limit]:
        raise ValueError(f"soundtracks longer than the model's {limit / rate:g} s: {_few(long)}")
    rates = [len(sample.video) / len(sample.audio) * rate for sample in samples]
    if max(rates) > 1.005 * min(rates):
        span = f"{min(rates):.3g} to {max(rates):.3g}"
        raise ValueError(f"clips of {span} frames per second; resample them to one rate")
