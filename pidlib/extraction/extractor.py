"""The one extractor: samples and a model in, an `Extraction` out."""

import hashlib
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
import transformers
from jaxtyping import Float
from tqdm.auto import tqdm

from pidlib.benchmarks import Sample
from pidlib.extraction.masking import FULL, MODALITIES, Calibration, Moments, Pass
from pidlib.extraction.prompts import Question
from pidlib.extraction.reader import Encoded, Reader, Row
from pidlib.extraction.record import Extraction
from pidlib.extraction.resampling import draw_partners
from pidlib.store import Shard, Store

if TYPE_CHECKING:
    from pidlib.models import LoadedModel

PASSES = (FULL, *MODALITIES)
SHARD = 64  # samples
KEPT = 2**30  # bytes of token embeddings that stay between the statistics and the passes, so that the tower runs once


def extract(
    loaded: "LoadedModel",
    samples: Sequence[Sample],
    *,
    passes: Sequence[str] = PASSES,
    partners: int = 0,
    layers: Sequence[int] = (),
    seed: int = 0,
    batch_size: int = 64,
    folder: str | Path | None = None,
    progress: bool = True,
) -> Extraction:
    r"""Ask a model all questions of a profiling set, with both modalities and with each of them alone.

    One path serves all families: the model's own forward pass runs on the tokens of picture and question, and at the door of its language
    model the vision tokens are written in (the tower has run once, for all passes), those of an absent modality as calibrated noise.
    Position ids and masks are thereby those of the full pass. Answers are read at the last token of the prompt.

    Parameters
    ----------
    loaded : LoadedModel
        From `pidlib.models.load`.
    samples : sequence of Sample
        The profiling set, also the calibration set; one alphabet of candidates, ids that differ.
    passes : sequence of str
        Keys as `Pass.parse` reads them.
    partners : int
        Questions drawn for each picture independently of it; see `draw_partners`. 0 for none.
    layers : sequence of int
        Blocks whose states and logit lens are kept.
    seed : int
        Of noise and partners; a sample's numbers depend on it, on the sample and on the calibration, never on the batch.
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
    """
    samples = check_samples(samples)
    passes = {key: Pass.parse(key) for key in passes}
    reader = Reader(loaded, samples[0].candidates, layers, samples[0].question, batch_size)
    job = _Job(reader, samples, passes, partners, seed)
    make_or_read = _make
    if folder is not None:
        store = Store(folder, job.identity(loaded), _provenance(loaded, batch_size))
        store.require(job.size)
        make_or_read = store.get
    shards = []
    with tqdm(total=len(samples), desc=f"extract {loaded.name}", unit="sample", disable=not progress) as bar:
        job.calibrate(make_or_read("calibration", job.statistics))
        for start in range(0, len(samples), SHARD):
            shard = make_or_read(f"samples-{start:06d}", partial(job.shard, start))
            _check_ids(shard, samples[start : start + SHARD])
            shards.append(shard)
            bar.update(len(shard.facts["sample_ids"]))
    return Extraction.of(shards, samples[0].candidates, reader.layers)


class _Job:
    """One extraction in pieces that can be made alone: the statistics of the noise, and a shard for each block of samples."""

    def __init__(self, reader: Reader, samples: Sequence[Sample], passes: dict[str, Pass], partners: int, seed: int):
        self.reader, self.samples, self.passes, self.seed = reader, samples, passes, seed
        self.asked = {"passes": list(passes), "partners": partners, "layers": reader.layers, "seed": seed}
        self.partners = draw_partners(samples, partners, seed) if partners else [{}] * len(samples)
        self.calibration: Calibration | None = None
        self._encoded: dict[int, list[Encoded]] = {}
        self._questions: dict[int, Question] = {}

    def identity(self, loaded: "LoadedModel") -> dict:
        """All that is meant to change the numbers."""
        samples = hashlib.sha256()
        for one in self.samples:
            samples.update(repr((one, one.image.mode, one.image.size)).encode() + one.image.tobytes())
        model = {"family": loaded.family.name, "revision": loaded.revision}
        alphabet = {"candidates": self.samples[0].candidates, "samples": samples.hexdigest(), "n": len(self.samples)}
        return {"kind": "extraction", **model, **alphabet, **self.asked}

    @property
    def size(self) -> int:
        """About the bytes that the shards will take."""
        answer, width = len(self.samples[0].candidates) + 1, self.reader.embed.weight.shape[1]
        layers, pairs = len(self.reader.layers), sum(map(len, self.partners))
        return 4 * (len(self.samples) * (len(self.passes) * answer * (1 + layers) + (2 + layers) * width + 32) + pairs * (answer + 6))

    def statistics(self) -> Shard:
        """Mean and standard deviation of each modality's token embeddings over all samples."""
        moments, room = {name: Moments() for name in MODALITIES}, KEPT
        for start in range(0, len(self.samples), SHARD):
            encoded = self.reader.encode(self.samples[start : start + SHARD])
            for one in encoded:
                for name, tokens in one.tokens.items():
                    moments[name].add(tokens)
            room -= sum(tokens.nbytes for one in encoded for tokens in one.tokens.values())
            if room > 0:
                self._encoded[start] = encoded
        arrays = {f"mean/{name}": one.mean.cpu().numpy() for name, one in moments.items()}
        return Shard(arrays | {f"std/{name}": one.std.cpu().numpy() for name, one in moments.items()})

    def calibrate(self, statistics: Shard):
        """Take the noise to be that of ``statistics``."""
        moments = [{name: torch.from_numpy(statistics.arrays[f"{what}/{name}"]) for name in MODALITIES} for what in ("mean", "std")]
        self.calibration = Calibration(*moments)

    def shard(self, start: int) -> Shard:
        """All that is read off the block of samples that begins at ``start``."""
        encoded = self._encoded.pop(start, None) or self.reader.encode(self.samples[start : start + SHARD])
        arrays = {f"embeddings/{name}": np.stack([pooled(one.tokens[name]) for one in encoded]) for name in MODALITIES}
        arrays |= self._answer_passes(encoded)
        if any(self.partners):
            arrays |= self._answer_pairs(start, encoded)
        facts = {"sample_ids": [one.sample.sample_id for one in encoded], "answers": [one.sample.answer for one in encoded]}
        return Shard(arrays, facts)

    def _answer_passes(self, encoded: Sequence[Encoded]) -> dict[str, np.ndarray]:
        rows = [Row(one.picture, one.question, self._noise(one, given)) for given in self.passes.values() for one in encoded]
        if not rows:
            return {}
        read = self.reader.answer(rows, lens=bool(self.reader.layers))
        _refuse_not_finite(read, [one.sample.sample_id for one in encoded] * len(self.passes))
        by_pass = {name: dict(zip(self.passes, np.split(values, len(self.passes)), strict=True)) for name, values in read.items()}
        hidden = by_pass.pop("hidden", {})
        arrays = {f"{name}/{key}": values for name, of_pass in by_pass.items() for key, values in of_pass.items()}
        return arrays | ({"hidden": hidden[FULL]} if FULL in hidden else {})

    def _answer_pairs(self, start: int, encoded: Sequence[Encoded]) -> dict[str, np.ndarray]:
        partners = self.partners[start : start + len(encoded)]
        missing = sorted({question for some in partners for question in some} - set(self._questions))
        self._questions |= zip(missing, self.reader.questions([self.samples[index] for index in missing]), strict=True)
        pairs = [(place, question, weight) for place, some in enumerate(partners) for question, weight in some.items()]
        read = self.reader.answer([Row(encoded[place].picture, self._questions[question], {}) for place, question, _ in pairs])
        _refuse_not_finite(read, [encoded[place].sample.sample_id for place, _, _ in pairs])
        index = np.array([(start + place, question) for place, question, _ in pairs])
        weights = np.array([weight for _, _, weight in pairs]) / len(self.samples)
        return {"pairs/index": index, "pairs/weights": weights, **{f"pairs/{name}": values for name, values in read.items()}}

    def _noise(self, one: Encoded, given: Pass) -> dict[str, torch.Tensor]:
        draw = partial(self.calibration.noise, seed=self.seed, sample_id=one.sample.sample_id, draw=given.draw)
        return {name: draw(len(one.tokens[name]), modality=name) for name in given.absent}


def pooled(tokens: Float[torch.Tensor, "tokens d"]) -> Float[np.ndarray, " d"]:
    """The mean token embedding, float32."""
    return tokens.float().mean(0).cpu().numpy()


def check_samples(samples: Sequence[Sample]) -> list[Sample]:
    """The samples, if they make a profiling set.

    Raises
    ------
    ValueError
        If there are none, ids are repeated, alphabets differ, or a picture or question is missing; the samples are named.
    """
    samples = list(samples)
    if not samples:
        raise ValueError("asked to extract from no samples; give at least one")
    repeated = [name for name, count in Counter(one.sample_id for one in samples).items() if count > 1]
    faults = {
        "repeated sample ids": repeated,
        f"candidates other than {samples[0].candidates}": [one.sample_id for one in samples if one.candidates != samples[0].candidates],
        "no picture": [one.sample_id for one in samples if one.image is None],
        "no question": [one.sample_id for one in samples if not one.question.strip()],
    }
    for fault, names in faults.items():
        if names:
            raise ValueError(f"{fault}: {', '.join(names[:8])}{' ...' if len(names) > 8 else ''}; leave them out, or extract them apart")
    return samples


def _check_ids(shard: Shard, samples: Sequence[Sample]):
    asked, found = [one.sample_id for one in samples], list(shard.facts["sample_ids"])
    if asked != found:
        odd = sorted(set(asked) ^ set(found)) or found
        raise ValueError(f"the stored samples are not those asked for, or in another order: {', '.join(odd[:8])}; give another folder")


def _refuse_not_finite(read: dict[str, np.ndarray], ids: Sequence[str]):
    for name, values in read.items():
        bad = ~np.isfinite(values).reshape(len(values), -1).all(1)
        if bad.any():
            names = ", ".join(dict.fromkeys(np.array(ids)[bad]))
            raise ValueError(f"NaN or Inf in the {name} of {names}: check their inputs, or load the model with dtype=torch.float32")


def _make(name: str, make: Callable[[], Shard]) -> Shard:
    return make()


def _provenance(loaded: "LoadedModel", batch_size: int) -> dict:
    versions = {"torch": torch.__version__, "transformers": transformers.__version__}
    return {"model": loaded.name, "device": str(loaded.device), "dtype": str(loaded.model.dtype), "batch_size": batch_size, **versions}
