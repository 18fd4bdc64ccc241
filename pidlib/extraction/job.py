"""Job: the parts of an extraction that can be computed alone, and the pairs that it answers."""

import math
import warnings
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from functools import partial

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from pidlib._common import derive_seed
from pidlib.benchmarks import Sample
from pidlib.extraction.checks import check_finite
from pidlib.extraction.masking import Moments, Pass, draw_noise, full_pass, modalities_of
from pidlib.extraction.prompts import Question
from pidlib.extraction.reader import Encoded, Reader, Row
from pidlib.extraction.result import FACTS
from pidlib.extraction.store import Shard

SHARD = 64  # samples
MAX_CACHED = 2**30  # bytes of token embeddings kept after calibration, to run the towers once


class Job:
    """One extraction, split into shards that can be made in any order once it has ``moments``.

    Parameters as of `extract`; ``passes`` maps keys to `Pass`.
    """

    def __init__(
        self,
        reader: Reader,
        samples: Sequence,
        passes: Mapping,
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
        self._encoded: dict[int, list[Encoded]] = {}
        self._questions: dict[int, Question] = {}
        self._donors: list[Encoded] = []  # of tokens for the mask "swapped"

    @property
    def size(self) -> int:
        """Approximate bytes of all shards; samples have about as many tokens as the first."""
        answer, width = len(self.samples[0].candidates) + 1, self.reader.embed.weight.shape[1]
        vectors = len(self.reader.layers)
        answers = len(self.passes) * answer * (1 + vectors)
        vectors += len(self.modalities)
        if self.tokens:
            _, ((question, picture),) = self.reader.prompter.tokenize(self.samples[:1])
            vectors += 2 * len(Row(picture, question))
        pairs = sum(map(len, self.partners)) * (answer + 6)
        return 4 * (len(self.samples) * (answers + vectors * width) + pairs)

    def statistics(self) -> Shard:
        """Compute mean and standard deviation of each modality's token embeddings."""
        moments, free = {name: Moments() for name in self.modalities}, MAX_CACHED
        layouts = set()
        for start in self.starts:
            encoded = self.reader.encode(self.samples[start : start + SHARD])
            for picture in (item.picture for item in encoded):
                layouts.add(str(([v.tobytes() for v in picture.span.values()], picture.layout)))
            for item in encoded:
                for name, tokens in item.tokens.items():
                    moments[name].add(tokens)
                    free -= tokens.nbytes
            if free > 0:
                self._encoded[start] = encoded
        if len(layouts) > 1 and any(
            "vision" not in given.present for given in self.passes.values()
        ):
            text = "pictures of different sizes have other tokens or positions, which masking keeps"
            warnings.warn(f"{text}; resize them to hide the size of a picture", stacklevel=2)
        arrays = {}
        for name, moment in moments.items():
            arrays[f"mean/{name}"] = moment.mean.cpu().numpy()
            arrays[f"std/{name}"] = moment.std.cpu().numpy()
        return Shard(arrays)

    def noise(self, encoded: Encoded, given: Pass) -> dict[str, Float[Tensor, "tokens d"]]:
        """Draw the embeddings that replace the masked modalities of a pass."""
        noise = {}
        for name in given.absent(self.modalities):
            count = len(encoded.tokens[name])
            stream = (self.seed, encoded.sample.sample_id, name, given.draw)
            if self.mask == "swapped":
                others = [item for item in self._donors if item.sample is not encoded.sample]
                place = np.random.default_rng(derive_seed(*stream)).integers(len(others))
                tokens = others[place].tokens[name].float().cpu()
                noise[name] = tokens[torch.arange(count) % len(tokens)]
            elif self.mask == "mean":
                mean = torch.from_numpy(self.moments[f"mean/{name}"]).float()
                noise[name] = mean.expand(count, -1)
            else:
                noise[name] = draw_noise(self.moments, name, count, *stream)
        if "options" in given.present:
            noise["language"] = noise["language"][~torch.from_numpy(encoded.question.is_options)]
        return noise

    def row(self, encoded: Encoded, given: Pass) -> Row:
        """Return the forward pass of a sample with the modalities of a pass."""
        question = encoded.question
        question = question.without_options if "options" in given.present else question
        hidden = set(given.absent(self.modalities)) - {"language"}
        noise = partial(self.noise, encoded, given)
        return Row(encoded.picture, question, noise, shows_picture=not hidden)

    def shard(self, start: int) -> Shard:
        """Extract the `SHARD` samples from ``start``."""
        encoded = self._encoded.pop(start, None)
        encoded = encoded or self.reader.encode(self.samples[start : start + SHARD])
        self._donors = encoded
        if self.mask == "swapped" and len(encoded) == 1:
            self._donors = encoded + self.reader.encode(self.samples[:1])
        arrays, tokens = {}, {}
        for name in self.modalities:
            inputs = [item.tokens[name][:, : self.reader.width].float() for item in encoded]
            arrays[f"embeddings/{name}"] = np.stack([rows.mean(0).cpu().numpy() for rows in inputs])
            tokens[name] = [rows.cpu().numpy() for rows in inputs] if self.tokens else []
        if self.tokens:
            rows = [Row(item.picture, item.question) for item in encoded]
            tokens["hidden"] = self.reader.states(rows)
            for name, of_samples in tokens.items():
                arrays[f"tokens/{name}"] = np.concatenate(of_samples)
                arrays[f"lengths/{name}"] = np.array([len(rows) for rows in of_samples])
        arrays |= self._answer_passes(encoded)
        if any(self.partners):
            arrays |= self._answer_pairs(start, encoded)
        samples = [item.sample for item in encoded]
        facts = {name: [getattr(s, field) for s in samples] for name, field in FACTS.items()}
        return Shard(arrays, facts)

    def _answer_passes(self, encoded: Sequence[Encoded]) -> dict[str, np.ndarray]:
        if not self.passes:
            return {}
        rows = [self.row(item, given) for given in self.passes.values() for item in encoded]
        output = self.reader.answer(rows, lens=bool(self.reader.layers))
        check_finite(output, [item.sample.sample_id for item in encoded] * len(self.passes))
        arrays = {}
        for name, values in output.items():
            for key, of_pass in zip(self.passes, np.split(values, len(self.passes)), strict=True):
                if name != "hidden":
                    arrays[f"{name}/{key}"] = of_pass
                elif key == self.full:
                    arrays["hidden"] = of_pass
        return arrays

    def _answer_pairs(self, start: int, encoded: Sequence[Encoded]) -> dict[str, np.ndarray]:
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
        return {
            "pairs/index": np.array(index) + (start, 0),
            "pairs/weights": np.array(weights) / len(self.samples),
            **{f"pairs/{name}": values for name, values in output.items()},
        }


def draw_partners(samples: Sequence[Sample], count: int, seed: int) -> list[dict[int, float]]:
    r"""Draw the questions to pair each sample's picture with, and their weights.

    Partners come from the whole benchmark, the picture's own question and all templates included,
    so that pairs follow :math:`P(v)\,P(t)`. Up to ``count`` different texts are all used, weighted
    by frequency, and the product is exact. Otherwise ``count`` samples are drawn for each picture
    without replacement, with a warning: by chance, means over K questions differ between pictures,
    which inflates their information by up to about (k - 1) / (2 K ln 2) bits for k candidates.

    Returns, for each sample, index of the first sample with the partner's question -> weight; the
    weights of a picture sum to one.
    """
    groups, first = defaultdict(list), {}
    for index, sample in enumerate(samples):
        groups[sample.benchmark].append(index)
        first.setdefault((sample.benchmark, sample.text), index)
    question = [first[sample.benchmark, sample.text] for sample in samples]
    partners = [{}] * len(samples)
    for benchmark, group in groups.items():
        every_question = _frequencies(question[index] for index in group)
        if count >= len(every_question):
            for index in group:
                partners[index] = every_question
            continue
        bias = (len(samples[group[0]].candidates) - 1) / (2 * count * math.log(2))
        paired = f"{len(every_question)} questions and each picture is paired with {count} of them"
        inflated = f"inflates the information of pictures alone by up to {bias:.2f} bits"
        text = f"{benchmark} has {paired}, which {inflated}; use more partners"
        warnings.warn(text, stacklevel=2)
        for index in group:
            stream = derive_seed(seed, samples[index].sample_id, "partners")
            drawn = np.random.default_rng(stream).choice(len(group), count, replace=False)
            partners[index] = _frequencies(question[group[row]] for row in drawn)
    return partners


def _frequencies(questions: Iterable[int]) -> dict[int, float]:
    counts = Counter(questions)
    return {question: counts[question] / counts.total() for question in sorted(counts)}
