"""The one extractor: samples and a model in, an `Extraction` out."""

import hashlib
import warnings
from collections.abc import Callable, Iterable, Sequence
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING

import torch
import transformers
from tqdm.auto import tqdm

from pidlib.benchmarks import Sample
from pidlib.extraction.checks import check_ids, check_samples
from pidlib.extraction.job import Job
from pidlib.extraction.masking import FULL, SOURCES, Pass, full_pass, modalities_of
from pidlib.extraction.reader import Reader
from pidlib.extraction.record import Extraction
from pidlib.store import Shard, Store

if TYPE_CHECKING:
    from pidlib.models import LoadedModel

PASSES = (FULL, *SOURCES)
CALIBRATING = 32  # samples; noise of the mean and spread of fewer still resembles them


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
    progress: bool = True,
) -> Extraction:
    r"""Ask a model all questions of a profiling set, with all modalities and with some of them alone.

    One path serves all families: the model's own forward pass runs on the tokens of picture and question, and at the door of its language
    model the tokens of vision and sound are written in (the towers have run once, for all passes), those of an absent modality as
    calibrated noise.
    Position ids and masks are thereby those of the full pass. Answers are read at the last token of the prompt.

    Parameters
    ----------
    loaded : LoadedModel
        From `pidlib.models.load`.
    samples : sequence of Sample
        The profiling set, also the calibration set, so give dozens; one alphabet of candidates, ids that differ.
    passes : sequence of str
        Keys as `Pass.parse` reads them. Samples without a picture answer ``"vision+language"`` alone, which then is their text; of films
        with sound ``"vision+audio+language"`` hides nothing.
    partners : int
        Questions drawn for each picture independently of it; see `draw_partners`. 0 for none.
    layers : sequence of int
        Blocks whose states and logit lens are kept.
    seed : int
        Of noise and partners; a sample's numbers depend on it, on the sample and on the calibration, never on the batch.
    tokens : bool
        Keep the embeddings of single tokens, and the states of the last block at all of them: `Extraction.tokens`. One pass more.
    batch_size : int
        Rows in a forward pass; halves where memory does not suffice.
    progress : bool
        Show a progress bar.
    folder : path, optional
        Where the shards are kept. A run that was interrupted goes on there; a complete one is read.

    Raises
    ------
    ValueError
        For a pass, layer or alphabet that makes no sense, repeated or missing inputs, embeddings with NaN or Inf, or a folder that holds
        something else.

    Warns
    -----
    UserWarning
        If fewer than `CALIBRATING` samples calibrate a masked pass.
    """
    passes = {key: Pass.parse(key) for key in passes}
    samples = check_samples(samples, passes, partners, loaded.family.hears)
    if len(samples) < CALIBRATING and any(one.absent(modalities_of(samples[0])) for one in passes.values()):
        warnings.warn(
            f"{len(samples)} samples calibrate the noise that hides a modality, so that it resembles them and may give them away;"
            f" give {CALIBRATING} or more, or ask for the pass {full_pass(samples[0])!r} alone",
            stacklevel=2,
        )
    reader = Reader(loaded, samples[0].candidates, layers, samples[0].question, batch_size)
    job = Job(reader, samples, passes, partners, seed, tokens)
    make_or_read = _make
    if folder is not None:
        store = Store(folder, identity(loaded, samples, passes, partners, reader.layers, seed, tokens), _provenance(loaded, batch_size))
        store.require(job.size)
        make_or_read = store.get
    shards = []
    with tqdm(total=len(samples), desc=f"extract {loaded.name}", unit="sample", disable=not progress) as bar:
        job.calibrate(make_or_read("calibration", job.statistics))
        for start in job.starts:
            shard = make_or_read(f"samples-{start:06d}", partial(job.shard, start))
            check_ids(shard, samples[start : start + job.starts.step])
            shards.append(shard)
            bar.update(len(shard.facts["sample_ids"]))
    return Extraction.of(shards, candidates=samples[0].candidates, passes=list(passes), layers=reader.layers)


def _make(name: str, make: Callable[[], Shard]) -> Shard:
    return make()


def identity(
    loaded: "LoadedModel",
    samples: Sequence[Sample],
    passes: Iterable[str],
    partners: int,
    layers: Sequence[int],
    seed: int,
    tokens: bool = False,
) -> dict[str, object]:
    """All that is meant to change the numbers of an extraction: model and precision, samples, what is asked, and the code that asks."""
    digest = hashlib.sha256()
    for one in samples:
        digest.update(repr(one).encode())
        if one.image is not None:
            digest.update(repr((one.image.mode, one.image.size)).encode() + one.image.tobytes())
        for stream in (one.video, one.audio):
            if stream is not None:
                digest.update(repr((stream.dtype, stream.shape)).encode() + stream.tobytes())
    model = {"family": loaded.family.name, "revision": loaded.revision, "dtype": str(loaded.model.dtype)}
    asked = {"passes": list(passes), "partners": partners, "layers": list(layers), "seed": seed, "tokens": tokens}
    about = {"candidates": list(samples[0].candidates), "samples": digest.hexdigest(), "n": len(samples)}
    return {"kind": "extraction", "code": _code()} | about | model | asked


@cache
def _code() -> str:
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()


def _provenance(loaded: "LoadedModel", batch_size: int) -> dict:
    versions = {"torch": torch.__version__, "transformers": transformers.__version__}
    return {"model": loaded.name, "device": str(loaded.device), "batch_size": batch_size, **versions}
