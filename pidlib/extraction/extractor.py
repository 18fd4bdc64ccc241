"""The extractor: a model and samples in, an `Extraction` out."""

import hashlib
import sys
import warnings
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, nullcontext
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from pidlib._common import Deferred, code_version, derive_seed, single_thread, unknown_name
from pidlib.benchmarks import Sample
from pidlib.extraction.checks import check_samples
from pidlib.extraction.job import Job
from pidlib.extraction.masking import FULL, MASKS, SOURCES, Pass, full_pass, modalities_of
from pidlib.extraction.proof import prove
from pidlib.extraction.reader import Reader
from pidlib.extraction.result import Extraction
from pidlib.extraction.store import Shard, open_store
from pidlib.models import LoadedModel, families
from pidlib.models.load import load_model, load_processor

PASSES = (FULL, *SOURCES)
DRAWS = 4  # of the noise, in a profile
SMALL = 50_000_000  # parameters; smaller models gain nothing from threads of the CPU
CALIBRATING = 32  # samples; the moments of fewer still resemble the samples themselves
# Modules of this folder that do not determine the numbers of a shard.
NOT_HASHED = {"__init__.py", "checks.py", "claims.py", "proof.py", "store.py"}


def extract(
    loaded: LoadedModel,
    samples: Sequence[Sample],
    *,
    passes: Sequence[str] = PASSES,
    partners: int = 0,
    layers: Sequence[int] = (),
    mask: str = "noise",
    seed: int = 0,
    tokens: bool = False,
    length_normalized: bool = False,
    batch_size: int = 32,
    cache: str | Path | None = None,
    progress: bool = True,
) -> Extraction:
    """Extract a model's answers to samples, with all modalities and with modalities masked.

    The model's own forward pass reads the tokens of picture and question; those of a masked
    modality are replaced, at the same positions. Answers are read at the last token of the prompt.
    A model is first tested on made-up samples, see `pidlib.extraction.proof`.

    Parameters
    ----------
    loaded, samples
        From `load_model`; the profiling set, which also calibrates the noise: equal candidates,
        distinct ids.
    passes
        Keys; see `Pass.parse`, and `drawn` for several draws of the noise. Text-only samples
        support ``"vision+language"`` alone; for clips, ``"vision+audio+language"`` masks nothing.
    partners
        Questions paired with each picture independently of it; see `draw_partners`.
    layers, tokens
        Blocks whose hidden states and logit lens are saved (negative numbers count from the last);
        whether to save embeddings and last states of single tokens, `Extraction.tokens`.
    mask
        What replaces masked tokens: calibrated ``"noise"``, its ``"mean"``, or those of another
        sample (``"swapped"``), repeated or cut. Their number stays, so the size of a masked picture
        is not hidden (a warning says so).
    length_normalized
        Divide the log probability of a candidate by its number of tokens. A candidate of several
        tokens is scored whole, and one that another continues includes it ("1" and "10").
    seed, batch_size
        Seed of noise and partners; rows per forward pass, halved when memory runs out.
    cache, progress
        Folder with a `Store` for each extraction, named by its fingerprint: an interrupted
        extraction is resumed, a complete one is read without the model; whether to show a progress
        bar, in a terminal or an interactive notebook.
    """
    if isinstance(passes, str):
        raise ValueError(f"passes must be a sequence of keys, such as [{passes!r}]")
    if mask not in MASKS:
        raise ValueError(unknown_name("mask", mask, MASKS))
    passes = {key: Pass.parse(key) for key in passes}
    samples = check_samples(samples, passes, partners)
    masks = any(given.absent(modalities_of(samples[0])) for given in passes.values())
    if masks and mask == "swapped" and len(samples) < 2:
        raise ValueError("mask='swapped' takes tokens of another sample, but only one was given")
    if masks and mask != "swapped" and len(samples) < CALIBRATING:
        few = f"only {len(samples)} samples calibrate the noise and may be recognizable in it"
        advice = f"give {CALIBRATING} or more, or request {full_pass(samples[0])!r} alone"
        warnings.warn(f"{few}; {advice}", stacklevel=2)
    settings = {"partners": partners, "mask": mask, "seed": seed, "tokens": tokens}
    described = identity(loaded, samples, passes=list(passes), layers=layers, **settings)
    described |= {"length_normalized": True} if length_normalized else {}
    provenance = {"model": loaded.name, "batch_size": batch_size}
    provenance |= {name: version(name) for name in ("torch", "transformers")}
    opened = nullcontext() if cache is None else open_store(cache, described, provenance)
    hidden = not (progress and _is_interactive())
    bar = tqdm(total=len(samples), desc=f"extract {loaded.name}", unit="sample", disable=hidden)
    with opened as store, bar, ExitStack() as stack:

        def open_reader() -> Reader:
            check_samples(samples, passes, partners, loaded)
            small = loaded.model.device.type == "cpu" and loaded.model.num_parameters() < SMALL
            stack.enter_context(single_thread(small))
            options = described["layers"], samples[0].question, batch_size, length_normalized
            job.reader = Reader(loaded, samples[0].candidates, *options)
            if "vision" in job.modalities:
                prove(job.reader, samples[0])
            if store:
                store.provenance["device"] = str(loaded.device)
            return job.reader

        def counted(shard: Shard) -> Shard:
            bar.update(len(shard.facts["sample_ids"]))
            return shard

        job = Job(Deferred(open_reader), samples, passes, **settings)
        parts = {f"samples-{start:06d}": partial(job.shard, start) for start in job.starts}
        if masks:
            noise = store.get("calibration", job.statistics) if store else job.statistics()
            job.moments = noise.arrays
        makes = parts.values()
        shards = store.fill(parts, counted) if store else [counted(make()) for make in makes]
    return Extraction.from_shards(shards, described)


def identity(
    loaded: LoadedModel,
    samples: Sequence[Sample] | Mapping[str, object],
    layers: Sequence[int] = (),
    **settings,
) -> dict[str, object]:
    """Describe everything that determines an extraction, as JSON; ``settings`` as of `extract`.

    The attribute ``facts`` of a model and a mapping are `model_facts` and `sample_facts`.
    """
    paths = [path for path in Path(__file__).parent.glob("*.py") if path.name not in NOT_HASHED]
    code = code_version(load_model, load_processor, families, derive_seed, Sample, *sorted(paths))
    facts = getattr(loaded, "facts", None)
    if facts is None:
        model = loaded.model
        facts = model_facts(model.config, loaded.revision, model.dtype, loaded.options)
    depth = facts["depth"]
    for layer in layers:
        if not -depth <= layer < depth:
            blocks = f"{depth}, 0 to {depth - 1}; negative numbers count from the last"
            raise ValueError(f"no block {layer}: the language model has {blocks}")
    settings |= {"layers": [layer % depth for layer in layers]}
    known = samples if isinstance(samples, Mapping) else sample_facts(samples)
    return {"kind": "extraction", "code": code, **facts, **known, **settings}


def model_facts(
    config: Any,
    revision: str,
    dtype: torch.dtype,
    options: Mapping[str, Mapping[str, object]] | None = None,
) -> dict[str, object]:
    """Describe a model for `identity`, as far as it determines an extraction, without weights."""
    facts = {"family": config.model_type, "depth": config.get_text_config().num_hidden_layers}
    given = {kind: repr(sorted(each.items())) for kind, each in (options or {}).items() if each}
    return facts | {"revision": revision, "dtype": str(dtype), "options": given}


def sample_facts(samples: Sequence[Sample]) -> dict[str, object]:
    """Describe samples for `identity`."""
    text = "".join(repr(sample) + sample.media for sample in samples)
    digest = hashlib.sha256(text.encode()).hexdigest()
    return {"candidates": list(samples[0].candidates), "n": len(samples), "samples": digest}


def _is_interactive() -> bool:
    """Whether stderr is a terminal, or a notebook is run from a front end (not by papermill)."""
    ipython = sys.modules.get("IPython")
    kernel = getattr(ipython and ipython.get_ipython(), "kernel", None)
    return sys.stderr.isatty() if kernel is None else bool(getattr(kernel, "_allow_stdin", False))
