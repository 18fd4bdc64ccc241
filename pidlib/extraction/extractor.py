"""The extractor: a model and samples in, an `Extraction` out."""

import hashlib
import sys
import warnings
from collections.abc import Iterable, Sequence
from contextlib import nullcontext
from functools import cache, partial
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from filelock import FileLock
from tqdm import tqdm

from pidlib._common import code_version, derive_seed, fingerprint, single_thread
from pidlib.benchmarks import Sample
from pidlib.extraction.checks import check_clips, check_ids, check_samples
from pidlib.extraction.job import Job
from pidlib.extraction.masking import FULL, SOURCES, Pass, full_pass, modalities_of
from pidlib.extraction.reader import Reader
from pidlib.extraction.result import Extraction
from pidlib.extraction.store import Store
from pidlib.models import families
from pidlib.models.load import load_model, load_processor

if TYPE_CHECKING:
    from pidlib.models import LoadedModel

PASSES = (FULL, *SOURCES)
SMALL = 50_000_000  # parameters; smaller models gain nothing from threads of the CPU
CALIBRATING = 32  # samples; the moments of fewer still resemble the samples themselves
# Modules of this folder that do not determine the numbers of a shard.
NOT_HASHED = {"__init__.py", "checks.py", "store.py"}


def extract(
    loaded: "LoadedModel",
    samples: Sequence[Sample],
    *,
    passes: Sequence[str] = PASSES,
    partners: int = 0,
    layers: Sequence[int] = (),
    seed: int = 0,
    tokens: bool = False,
    batch_size: int = 32,
    folder: str | Path | None = None,
    cache: str | Path | None = None,
    progress: bool = True,
) -> Extraction:
    """Extract a model's answers to samples, with all modalities and with modalities masked.

    The model's own forward pass runs on the tokens of picture and question, and the input
    embeddings of its language model are replaced: those of vision and audio by the output of the
    towers (which run once), those of masked modalities by calibrated noise. Position ids remain
    those of the full pass. Answers are read at the last token of the prompt.

    Parameters
    ----------
    loaded : LoadedModel
        From `pidlib.models.load_model`.
    samples : sequence of Sample
        The profiling set, which also calibrates the noise: equal candidates, distinct ids.
    passes : sequence of str
        Keys; see `Pass.parse`. Text-only samples support ``"vision+language"`` alone; for clips,
        ``"vision+audio+language"`` masks nothing.
    partners : int
        Questions paired with each picture independently of it; see `draw_partners`.
    layers : sequence of int
        Blocks whose hidden states and logit lens are saved.
    seed : int
        Of noise and partners, together with the sample id.
    tokens : bool
        Save embeddings and last states of single tokens, `Extraction.tokens`, in another pass.
    batch_size : int
        Rows per forward pass; halved when memory runs out.
    folder, cache : path, optional
        Folder of this extraction, or folder with a locked subfolder for each, named by fingerprint.
        An interrupted extraction is resumed, a complete extraction is read.
    progress : bool
        Show a progress bar in a terminal or an interactive notebook.
    """
    if folder is not None and cache is not None:
        raise ValueError("give a folder for this extraction or a cache for many, not both")
    if isinstance(passes, str):
        raise ValueError(f"passes must be a sequence of keys, such as [{passes!r}]")
    passes = {key: Pass.parse(key) for key in passes}
    samples = check_samples(samples, passes, partners, loaded.family.has_audio)
    if samples[0].audio is not None:
        check_clips(samples, loaded.processor.feature_extractor)
    masks = any(given.absent(modalities_of(samples[0])) for given in passes.values())
    if len(samples) < CALIBRATING and masks:
        few = f"only {len(samples)} samples calibrate the noise and may be recognizable in it"
        advice = f"give {CALIBRATING} or more, or request {full_pass(samples[0])!r} alone"
        warnings.warn(f"{few}; {advice}", stacklevel=2)
    reader = Reader(loaded, samples[0].candidates, layers, samples[0].question, batch_size)
    described = identity(loaded, samples, passes, partners, reader.layers, seed, tokens)
    job = Job(reader, samples, passes, partners, seed, tokens)
    lock, get = nullcontext(), lambda name, make: make()
    if cache is not None:
        folder = Path(cache) / fingerprint(**described)
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / ".lock")
    hidden = not (progress and _is_interactive())
    bar = tqdm(total=len(samples), desc=f"extract {loaded.name}", unit="sample", disable=hidden)
    small = loaded.model.device.type == "cpu" and loaded.model.num_parameters() < SMALL
    with lock, bar, single_thread(small):
        if folder is not None:
            provenance = {
                "model": loaded.name,
                "device": str(loaded.device),
                "batch_size": batch_size,
                "depth": len(reader.blocks),
                "torch": torch.__version__,
                "transformers": version("transformers"),
            }
            store = Store(folder, described, provenance)
            store.require(job.size)
            get = store.get
        job.calibrate(get("calibration", job.statistics))
        shards = []
        for start in job.starts:
            shard = get(f"samples-{start:06d}", partial(job.shard, start))
            check_ids(shard, samples[start : start + job.starts.step])
            shards.append(shard)
            bar.update(len(shard.facts["sample_ids"]))
    return Extraction.from_shards(shards, described, len(reader.blocks))


def identity(
    loaded: "LoadedModel",
    samples: Sequence[Sample],
    passes: Iterable[str],
    partners: int,
    layers: Sequence[int],
    seed: int,
    tokens: bool = False,
) -> dict[str, object]:
    """Describe everything that determines the numbers of an extraction, as JSON."""
    digest = hashlib.sha256()
    for sample in samples:
        digest.update(repr(sample).encode())
        if sample.image is not None:
            facts = repr((sample.image.mode, sample.image.size))
            digest.update(facts.encode() + sample.image.tobytes())
        for array in (sample.video, sample.audio):
            if array is not None:
                digest.update(repr((array.dtype, array.shape)).encode() + array.tobytes())
    return {
        "kind": "extraction",
        "code": _code(),
        "candidates": list(samples[0].candidates),
        "samples": digest.hexdigest(),
        "n": len(samples),
        "family": loaded.family.name,
        "revision": loaded.revision,
        "dtype": str(loaded.model.dtype),
        "passes": list(passes),
        "partners": partners,
        "layers": list(layers),
        "seed": seed,
        "tokens": tokens,
    }


@cache
def _code() -> str:
    """Hash the code that determines the numbers of a shard."""
    paths = [path for path in Path(__file__).parent.glob("*.py") if path.name not in NOT_HASHED]
    return code_version(load_model, load_processor, families, derive_seed, Sample, *paths)


def _is_interactive() -> bool:
    """Whether stderr is a terminal, or a notebook is run from a front end (not by papermill)."""
    ipython = sys.modules.get("IPython")
    kernel = getattr(ipython and ipython.get_ipython(), "kernel", None)
    return sys.stderr.isatty() if kernel is None else bool(getattr(kernel, "_allow_stdin", False))
