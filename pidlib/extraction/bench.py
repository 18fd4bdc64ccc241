"""What batching, and one run of the tower, are worth: the extractor against the loop that it replaces."""

import time
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import pandas as pd
import torch

from pidlib.benchmarks import Sample
from pidlib.extraction.extractor import extract
from pidlib.extraction.job import Job
from pidlib.extraction.masking import Pass
from pidlib.extraction.reader import Reader, Row

if TYPE_CHECKING:
    from pidlib.models import LoadedModel

PASSES = ("vision+language", "vision", "language", "none")


def throughput(loaded: "LoadedModel", samples: Sequence[Sample], *, partners: int = 16, batch_size: int = 32) -> pd.DataFrame:
    """Samples per second of the plain loop and of `extract`, in one run on the same samples.

    The plain loop is what published code does: one sample and one pass at a time, with the processor and the tower anew each time. It
    is given the statistics of the noise, which the extractor has to gather in its time.

    Parameters
    ----------
    loaded : LoadedModel
        The model.
    samples : sequence of Sample
        Both go through all of them; 32 are enough.
    partners : int
        Resampled pairs of each sample, beside the four passes.
    batch_size : int
        Of the extractor.

    Returns
    -------
    DataFrame
        A row for each ``way`` (``"plain"``, ``"batched"``): ``forward_passes``, ``seconds`` (of the CPU, or of the clock on a GPU),
        ``samples_per_second``, and ``ratio`` to the plain loop.
    """
    samples = list(samples)
    reader = Reader(loaded, samples[0].candidates, (), samples[0].question, batch_size=1)
    job = Job(reader, samples, {key: Pass.parse(key) for key in PASSES}, partners, seed=0)
    job.calibrate(job.statistics())
    forward_passes = len(PASSES) * len(samples) + sum(map(len, job.partners))
    work = {
        "plain": lambda: _plain(job),
        "batched": lambda: extract(loaded, samples, passes=PASSES, partners=partners, batch_size=batch_size, progress=False),
    }
    seconds = {way: _seconds(run, loaded.device) for way, run in work.items()}
    table = pd.DataFrame({"way": list(seconds), "forward_passes": forward_passes, "seconds": list(seconds.values())})
    table["samples_per_second"] = len(samples) / table["seconds"]
    table["ratio"] = table["samples_per_second"] / table["samples_per_second"].iloc[0]
    return table


def _plain(job: Job):
    full = Pass.parse("vision+language")
    for sample, partners in zip(job.samples, job.partners, strict=True):
        asked = [(sample, given) for given in job.passes.values()]
        asked += [(replace(sample, question=job.samples[partner].question), full) for partner in partners]
        for one, given in asked:
            (encoded,) = job.reader.encode([one])
            job.reader.answer([Row(encoded.picture, encoded.question, partial(job.noise, encoded, given))])


def _seconds(run, device: torch.device) -> float:
    clock = time.perf_counter if device.type == "cuda" else time.process_time
    start = clock()
    run()
    return clock() - start
