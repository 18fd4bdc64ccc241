"""Job: the parts of an extraction that can be computed alone, and the pairs that it answers."""

import math
import warnings
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial

import numpy as np
import torch

from pidlib._common import derive_seed
from pidlib.benchmarks import Sample
from pidlib.extraction.checks import check_finite
from pidlib.extraction.masking import Moments, Pass, draw_noise, full_pass, modalities_of
from pidlib.extraction.reader import Reader
from pidlib.extraction.result import FACTS
from pidlib.extraction.rows import Question, Row, Tokens
from pidlib.extraction.store import Shard

SHARD = 64  # samples
MAX_CACHED = 2**30  # bytes of token embeddings kept after calibration, to run the towers once


class Job:
    """One extraction (see `extract`), split into shards that can be made in any order."""

    def __init__(
        self,
        reader: Reader,
        samples: Sequence[Sample],
        passes: Mapping[str, Pass],
        partners: int = 0,
        seed: int = 0,
        tokens: bool = False,
        mask: str = "noise",
    ):
        self.reader, self.samples, self.passes = reader, samples, passes
        self.mask, self.seed, self.tokens = mask, seed, tokens
        self.modalities, self.full = modalities_of(samples[0]), full_pass(samples[0])
        self.partners = draw_partners(samples, partners, seed) if partners else [{}] * len(samples)
        self.starts = range(0, len(samples), SHARD)
        self.moments: Mapping[str, np.ndarray] = {}  # of the noise: the arrays of `statistics`
        self._encoded: dict[int, list[Row]] = {}
        self._questions: dict[int, Question] = {}
        self._donors: list[Row] = []  # of tokens for the mask "swapped"

    def statistics(self) -> Shard:
        """Compute mean and standard deviation of each modality's token embeddings."""
        moments, layouts = {name: Moments() for name in self.modalities}, set()
        free = MAX_CACHED
        for start in self.starts:
            encoded = self._encode(start)
            for item in encoded:
                span = [field.tobytes() for field in item.picture.span.values()]
                layouts.add(str((span, item.picture.layout)))
                for name, tokens in item.tokens.items():
                    moments[name].add(tokens)
                    free -= tokens.nbytes
            if free > 0:
                self._encoded[start] = encoded
        masks_vision = any("vision" not in given.present for given in self.passes.values())
        if len(layouts) > 1 and masks_vision:
            text = "pictures of different sizes have other tokens or positions, which masking keeps"
            warnings.warn(f"{text}; resize them to hide the size of a picture", stacklevel=2)
        arrays = {f"mean/{name}": moment.mean for name, moment in moments.items()}
        arrays |= {f"std/{name}": moment.std for name, moment in moments.items()}
        return Shard({name: value.cpu().numpy() for name, value in arrays.items()})

    def noise(self, encoded: Row, given: Pass) -> Tokens:
        """Draw the embeddings that replace the masked modalities of a pass."""
        noise = {}
        for name in given.absent(self.modalities):
            count = len(encoded.tokens[name])
            stream = (self.seed, encoded.sample.sample_id, name, given.draw)
            if self.mask == "swapped":
                others = [item for item in self._donors if item.sample is not encoded.sample]
                place = np.random.default_rng(derive_seed(*stream)).integers(len(others))
                tokens = others[place].tokens[name].float()
                noise[name] = tokens[torch.arange(count) % len(tokens)]
            else:
                moments = (self.moments[f"{kind}/{name}"] for kind in ("mean", "std"))
                mean, std = (torch.from_numpy(m).float().to(self.reader.device) for m in moments)
                noise[name] = mean.expand(count, -1)
                if self.mask == "noise":
                    noise[name] = draw_noise(mean, std, count, *stream)
        if "options" in given.present:
            noise["language"] = noise["language"][~torch.from_numpy(encoded.question.is_options)]
        return noise

    def row(self, encoded: Row, given: Pass) -> Row:
        """Return the forward pass of a sample with the modalities of a pass."""
        question = encoded.question
        if "options" in given.present:  # as part of the scaffold, which masking keeps
            is_language = question.is_language.copy()
            is_language[is_language] = ~question.is_options
            question = replace(question, is_language=is_language)
        hidden = set(given.absent(self.modalities)) - {"language"}
        noise = partial(self.noise, encoded, given)
        return replace(encoded, question=question, noise=noise, shows_picture=not hidden)

    def shard(self, start: int) -> Shard:
        """Extract the `SHARD` samples from ``start``."""
        encoded, width = self._encode(start), self.reader.width
        self._donors = encoded
        if self.mask == "swapped" and len(encoded) == 1:
            self._donors = encoded + self.reader.encode(self.samples[:1])
        tokens, arrays = {}, {}
        for name in self.modalities:
            tokens[name] = [item.tokens[name][:, :width].float() for item in encoded]
            means = [rows.mean(0).cpu().numpy() for rows in tokens[name]]
            arrays[f"embeddings/{name}"] = np.stack(means)
        if self.tokens:
            tokens["hidden"] = self.reader.states(encoded)
            for name, of_samples in tokens.items():
                arrays[f"tokens/{name}"] = torch.cat(of_samples).cpu().numpy()
                arrays[f"lengths/{name}"] = np.array(list(map(len, of_samples)))
        arrays |= self._answer_passes(encoded) if self.passes else {}
        arrays |= self._answer_pairs(start, encoded) if any(self.partners) else {}
        samples = [item.sample for item in encoded]
        facts = {name: [getattr(s, field) for s in samples] for name, field in FACTS.items()}
        return Shard(arrays, facts)

    def _encode(self, start: int) -> list[Row]:
        samples = self.samples[start : start + SHARD]
        return self._encoded.pop(start, None) or self.reader.encode(samples)

    def _answer_passes(self, encoded: Sequence[Row]) -> dict[str, np.ndarray]:
        rows = [self.row(item, given) for given in self.passes.values() for item in encoded]
        output = self.reader.answer(rows, lens=bool(self.reader.layers))
        check_finite(output, [item.sample.sample_id for item in encoded] * len(self.passes))
        arrays = {}
        for name, values in output.items():
            for key, of_pass in zip(self.passes, np.split(values, len(self.passes)), strict=True):
                arrays[f"{name}/{key}"] = of_pass
        hidden = {key: arrays.pop(f"hidden/{key}") for key in self.passes if self.reader.layers}
        return arrays | ({"hidden": hidden[self.full]} if self.full in hidden else {})

    def _answer_pairs(self, start: int, encoded: Sequence[Row]) -> dict[str, np.ndarray]:
        partners = self.partners[start : start + len(encoded)]
        missing = sorted({key for of_row in partners for key in of_row} - set(self._questions))
        questions = self.reader.questions([self.samples[index] for index in missing])
        self._questions |= zip(missing, questions, strict=True)
        index = [(row, question) for row, of_row in enumerate(partners) for question in of_row]
        weights = [weight for of_row in partners for weight in of_row.values()]
        output = self.reader.answer(
            [Row(encoded[row].picture, self._questions[question]) for row, question in index]
        )
        check_finite(output, [encoded[row].sample.sample_id for row, _ in index])
        output |= {"index": np.array(index) + (start, 0)}
        output |= {"weights": np.array(weights) / len(self.samples)}
        return {f"pairs/{name}": values for name, values in output.items()}


def draw_partners(samples: Sequence[Sample], count: int, seed: int) -> list[dict[int, float]]:
    r"""Draw the questions to pair each sample's picture with, and their weights.

    Partners come from the whole benchmark, the picture's own question included, so that pairs
    follow :math:`P(v)\,P(t)`. Up to ``count`` different texts are all used, by frequency. Otherwise
    ``count`` samples are drawn for each picture, with a warning: means over K questions differ
    between pictures by chance, which adds up to about (k - 1) / (2 K ln 2) bits for k candidates.

    Returns, for each sample, the first sample with a partner's question -> its weight, of sum 1.
    """
    groups, first = defaultdict(list), {}
    for index, sample in enumerate(samples):
        groups[sample.benchmark].append(index)
        first.setdefault((sample.benchmark, sample.text), index)
    question = [first[sample.benchmark, sample.text] for sample in samples]
    partners = [{}] * len(samples)
    for benchmark, group in groups.items():
        every_question = _frequencies(question[index] for index in group)
        if count < len(every_question):
            bias = (len(samples[group[0]].candidates) - 1) / (2 * count * math.log(2))
            paired = f"has {len(every_question)} questions and each picture is paired with {count}"
            inflated = f"inflates the information of pictures alone by up to {bias:.2f} bits"
            text = f"{benchmark} {paired} of them, which {inflated}; use more partners"
            warnings.warn(text, stacklevel=2)
        for index in group:
            partners[index] = every_question
            if count < len(every_question):
                stream = derive_seed(seed, samples[index].sample_id, "partners")
                drawn = np.random.default_rng(stream).choice(len(group), count, replace=False)
                partners[index] = _frequencies(question[group[row]] for row in drawn)
    return partners


def _frequencies(questions: Iterable[int]) -> dict[int, float]:
    counts = Counter(questions)
    return {question: counts[question] / counts.total() for question in sorted(counts)}
