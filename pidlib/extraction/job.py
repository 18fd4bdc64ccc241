"""The pieces of an extraction that can be made alone: the statistics of the noise, and a shard for each block of samples."""

from collections.abc import Mapping, Sequence
from functools import partial

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from pidlib.benchmarks import Sample
from pidlib.extraction.masking import Calibration, Moments, Pass, full_pass, modalities_of
from pidlib.extraction.prompts import Question
from pidlib.extraction.reader import Encoded, Reader, Row
from pidlib.extraction.resampling import draw_partners
from pidlib.store import Shard

SHARD = 64  # samples
KEPT = 2**30  # bytes of token embeddings that stay between the statistics and the passes, so that the tower runs once


class Job:
    """One extraction, cut into shards that are made in any order, once `calibrate` was called.

    Parameters
    ----------
    reader : Reader
        The model.
    samples : sequence of Sample
        The profiling set.
    passes : mapping
        Key -> Pass.
    partners, seed, tokens
        As in `extract`.
    """

    def __init__(
        self, reader: Reader, samples: Sequence[Sample], passes: Mapping[str, Pass], partners: int, seed: int, tokens: bool = False
    ):
        self.reader, self.samples, self.passes, self.seed, self.tokens = reader, samples, passes, seed, tokens
        self.modalities, self.full = modalities_of(samples[0]), full_pass(samples[0])
        self.partners = draw_partners(samples, partners, seed) if partners else [{}] * len(samples)
        self.starts = range(0, len(samples), SHARD)
        self.calibration: Calibration | None = None
        self._encoded: dict[int, list[Encoded]] = {}
        self._questions: dict[int, Question] = {}

    @property
    def size(self) -> int:
        """About the bytes that the shards will take."""
        answer, width = len(self.samples[0].candidates) + 1, self.reader.embed.weight.shape[1]
        layers, pairs = len(self.reader.layers), sum(map(len, self.partners))
        if self.tokens:
            _, (question,), ((span, _),) = self.reader.prompter.tokenize(self.samples[:1])
            layers += 2 * (len(question) + len(span["input_ids"]))
        width *= len(self.modalities) + layers
        return 4 * (len(self.samples) * (len(self.passes) * answer * (1 + layers) + width + 64) + pairs * (answer + 6))

    def statistics(self) -> Shard:
        """Mean and standard deviation of each modality's token embeddings over all samples."""
        moments, room = {name: Moments() for name in self.modalities}, KEPT
        for start in self.starts:
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
        mean, std = ({name: torch.from_numpy(statistics.arrays[f"{what}/{name}"]) for name in self.modalities} for what in ("mean", "std"))
        self.calibration = Calibration(mean, std)

    def noise(self, one: Encoded, given: Pass) -> dict[str, Float[Tensor, "tokens d"]]:
        """The tokens that stand for what a pass is not given."""
        draw = partial(self.calibration.noise, seed=self.seed, sample_id=one.sample.sample_id, draw=given.draw)
        noise = {name: draw(len(one.tokens[name]), modality=name) for name in given.absent(self.modalities)}
        if "options" in given.present:
            stays = torch.from_numpy(one.question.is_options)[:, None]
            noise["language"] = torch.where(stays, one.tokens["language"].float().cpu(), noise["language"])
        return noise

    def shard(self, start: int) -> Shard:
        """All that is read off the block of samples that begins at ``start``."""
        encoded = self._encoded.pop(start, None) or self.reader.encode(self.samples[start : start + SHARD])
        entering = {name: [one.tokens[name][:, : self.reader.width].float() for one in encoded] for name in self.modalities}
        arrays = {f"embeddings/{name}": np.stack([one.mean(0).cpu().numpy() for one in some]) for name, some in entering.items()}
        if self.tokens:
            whole = {name: [one.cpu().numpy() for one in some] for name, some in entering.items()}
            arrays |= _ragged(whole | {"hidden": self.reader.states([Row(one.picture, one.question) for one in encoded])})
        arrays |= self._answer_passes(encoded)
        if any(self.partners):
            arrays |= self._answer_pairs(start, encoded)
        told = {"sample_ids": "sample_id", "answers": "answer", "templates": "template", "questions": "question"}
        facts = {name: [getattr(one.sample, field) for one in encoded] for name, field in told.items()}
        return Shard(arrays, facts)

    def _answer_passes(self, encoded: Sequence[Encoded]) -> dict[str, np.ndarray]:
        rows = [Row(one.picture, one.question, partial(self.noise, one, given)) for given in self.passes.values() for one in encoded]
        if not rows:
            return {}
        read = self.reader.answer(rows, lens=bool(self.reader.layers))
        _refuse_not_finite(read, [one.sample.sample_id for one in encoded] * len(self.passes))
        by_pass = {name: dict(zip(self.passes, np.split(values, len(self.passes)), strict=True)) for name, values in read.items()}
        hidden = by_pass.pop("hidden", {})
        arrays = {f"{name}/{key}": values for name, of_pass in by_pass.items() for key, values in of_pass.items()}
        return arrays | ({"hidden": hidden[self.full]} if self.full in hidden else {})

    def _answer_pairs(self, start: int, encoded: Sequence[Encoded]) -> dict[str, np.ndarray]:
        partners = self.partners[start : start + len(encoded)]
        missing = sorted({question for some in partners for question in some} - set(self._questions))
        self._questions |= zip(missing, self.reader.questions([self.samples[index] for index in missing]), strict=True)
        pairs = [(place, question, weight) for place, some in enumerate(partners) for question, weight in some.items()]
        read = self.reader.answer([Row(encoded[place].picture, self._questions[question]) for place, question, _ in pairs])
        _refuse_not_finite(read, [encoded[place].sample.sample_id for place, _, _ in pairs])
        index = np.array([(start + place, question) for place, question, _ in pairs])
        weights = np.array([weight for _, _, weight in pairs]) / len(self.samples)
        return {"pairs/index": index, "pairs/weights": weights, **{f"pairs/{name}": values for name, values in read.items()}}


def _ragged(arrays: Mapping[str, Sequence[np.ndarray]]) -> dict[str, np.ndarray]:
    """Arrays of different lengths as one behind the other, and their lengths."""
    joined = {f"tokens/{name}": np.concatenate(some) for name, some in arrays.items()}
    return joined | {f"lengths/{name}": np.array([len(one) for one in some]) for name, some in arrays.items()}


def _refuse_not_finite(read: dict[str, np.ndarray], ids: Sequence[str]):
    for name, values in read.items():
        bad = ~np.isfinite(values).reshape(len(values), -1).all(1)
        if bad.any():
            names = ", ".join(dict.fromkeys(np.array(ids)[bad]))
            raise ValueError(f"NaN or Inf in the {name} of {names}: check their inputs, or load the model with dtype=torch.float32")
