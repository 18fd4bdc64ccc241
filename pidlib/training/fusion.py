"""A vision and a text encoder, fused by one of six mechanisms.

The vision encoder is the frozen tower of a mini and a transformer block on its tokens; the text
encoder is a table of word vectors and a transformer block. Their tokens go to the fusion mechanism,
its output to a hidden layer, and the hidden layer to the answers. With the same seed, all models
start from the same encoders and head and are trained on the same batches.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d, cross_entropy, scaled_dot_product_attention
from torch.optim import AdamW
from torch.optim.lr_scheduler import OneCycleLR

from pidlib._common import derive_seed, unknown_name
from pidlib.benchmarks import Sample
from pidlib.models import LoadedModel

WIDTH, HEADS = 64, 4
BATCH, LEARNING_RATE = 128, 4e-3
GRID = 2  # the tokens of the tower are averaged to GRID x GRID
CHUNK = 256  # pictures per pass of the tower

Tokens = Float[Tensor, "b tokens width"]
Vector = Float[Tensor, "b width"]
Present = Bool[Tensor, "b words"]


def pool(tokens: Tokens, present: Present | None = None) -> Vector:
    """Mean over the tokens, or over those that are present."""
    if present is None:
        return tokens.mean(1)
    weight = present[..., None].to(tokens.dtype)
    return (tokens * weight).sum(1) / weight.sum(1)


def _concatenate(layers, vision: Tokens, language: Tokens, present: Present):
    """[v; t] of the pooled tokens."""
    return torch.cat([pool(vision), pool(language, present)], -1)


def _multiply(layers, vision: Tokens, language: Tokens, present: Present):
    """v * t, element by element."""
    return pool(vision) * pool(language, present)


def _multiply_projected(layers, vision: Tokens, language: Tokens, present: Present):
    """Low-rank bilinear pooling, tanh(A v) * tanh(B t); Kim et al., arXiv 1610.04325."""
    vision, language = layers["vision"](pool(vision)), layers["language"](pool(language, present))
    return torch.tanh(vision) * torch.tanh(language)


def _co_attend(layers, vision: Tokens, language: Tokens, present: Present):
    """[v; t], each attended by the other, by an affinity matrix t' M v; after Lu et al., 2016."""
    scores = layers["affinity"](language) @ vision.mT / vision.shape[-1] ** 0.5
    of_vision = scores.softmax(2) @ vision
    of_language = scores.masked_fill(~present[..., None], -torch.inf).softmax(1).mT @ language
    return torch.cat([pool(of_vision, present), pool(of_language)], -1)


def _query_vision(layers, vision: Tokens, language: Tokens, present: Present):
    """Mean of q + softmax(q K') V over the tokens q of language, K and V of vision."""
    return pool(language + _attend(layers, language, vision), present)


def _query_language(layers, vision: Tokens, language: Tokens, present: Present):
    """Mean of q + softmax(q K') V over the tokens q of vision, K and V of language."""
    return pool(vision + _attend(layers, vision, language, present[:, None]))


def _attend(layers, queries: Tokens, keys: Tokens, mask: Tensor | None = None) -> Tokens:
    inputs = layers["q"](queries), layers["k"](keys), layers["v"](keys)
    return scaled_dot_product_attention(*inputs, attn_mask=mask)


_ATTENTION = dict.fromkeys(("q", "k", "v", "out"), (1, 1))
#: What goes into the output layer, and inputs and outputs of all layers in units of the width.
MECHANISMS = {
    "concatenation": (_concatenate, {"out": (2, 1)}),
    "product": (_multiply, {"out": (1, 1)}),
    "bilinear": (_multiply_projected, {"vision": (1, 2), "language": (1, 2), "out": (2, 1)}),
    "co_attention": (_co_attend, {"affinity": (1, 1), "out": (2, 1)}),
    "language_queries": (_query_vision, _ATTENTION),
    "vision_queries": (_query_language, _ATTENTION),
}


class Mechanism(nn.Module):
    """A fusion mechanism: vision tokens, language tokens and present words to one vector."""

    def __init__(self, name: str, width: int):
        super().__init__()
        if name not in MECHANISMS:
            raise ValueError(unknown_name("mechanism", name, MECHANISMS))
        self.combine, sizes = MECHANISMS[name]
        linear = {key: nn.Linear(n * width, m * width) for key, (n, m) in sizes.items()}
        self.layers = nn.ModuleDict(linear)

    def forward(self, vision: Tokens, language: Tokens, present: Present) -> Vector:
        return self.layers["out"](self.combine(self.layers, vision, language, present))


class Encoder(nn.Module):
    """An embedding with learned positions, and one transformer block."""

    def __init__(self, embedding: nn.Module, length: int):
        super().__init__()
        self.embedding = embedding
        self.positions = nn.Parameter(0.5 * torch.randn(length, WIDTH))
        options = {"dropout": 0.0, "batch_first": True, "norm_first": True}
        self.block = nn.TransformerEncoderLayer(WIDTH, HEADS, 2 * WIDTH, **options)
        self.norm = nn.LayerNorm(WIDTH)

    def forward(self, inputs: Tensor, absent: Present | None = None) -> Tokens:
        tokens = self.embedding(inputs) + self.positions[: inputs.shape[1]]
        return self.norm(self.block(tokens, src_key_padding_mask=absent))


@dataclass(frozen=True, eq=False)
class QuestionTensors:
    """Question i: ``words[question[i]]``, ``patches[image[i]]``, and the correct ``answer[i]``.

    Words are below ``vocabulary``, 0 is padding; answers are below ``n_answers``.
    """

    patches: Float[Tensor, "images patches features"]
    words: Int[Tensor, "questions words"]
    image: Int[Tensor, " n"]
    question: Int[Tensor, " n"]
    answer: Int[Tensor, " n"]
    vocabulary: int
    n_answers: int

    @property
    def prior(self) -> float:
        """Accuracy of the most frequent answer to each question, without the picture."""
        counts = pd.crosstab(self.question.numpy(), self.answer.numpy()).to_numpy()
        return float(counts.max(1).sum() / counts.sum())


@torch.no_grad()
def encode_questions(
    parts: Sequence[Sequence[Sample]], tower: LoadedModel
) -> list[QuestionTensors]:
    """Encode lists of samples with one vocabulary and one list of answers.

    Each picture of a list passes the tower once.
    """
    everything = [sample for part in parts for sample in part]
    texts = sorted({sample.question for sample in everything})
    lines = [re.findall(r"\w+", text) for text in texts]
    vocabulary = sorted({word for line in lines for word in line})
    answers = sorted({answer for sample in everything for answer in sample.candidates})
    words = torch.zeros(len(texts), max(map(len, lines)), dtype=torch.long)
    for row, line in zip(words, lines, strict=True):
        row[: len(line)] = torch.tensor([1 + vocabulary.index(word) for word in line])
    encoded = []
    for part in parts:
        images = {sample.media: sample.image for sample in part}
        shown, numbers = list(images.values()), dict(zip(images, range(len(images)), strict=True))
        image = torch.tensor([numbers[sample.media] for sample in part])
        question = torch.tensor([texts.index(sample.question) for sample in part])
        answer = torch.tensor([answers.index(sample.answer) for sample in part])
        chunks = (shown[start : start + CHUNK] for start in range(0, len(shown), CHUNK))
        patches = torch.cat([tower_features(tower, chunk) for chunk in chunks])
        sizes = len(vocabulary) + 1, len(answers)
        encoded.append(QuestionTensors(patches, words, image, question, answer, *sizes))
    return encoded


def tower_features(tower: LoadedModel, images: list) -> Float[Tensor, "images patches features"]:
    """The tokens of the vision tower, averaged to `GRID` x `GRID` per picture."""
    inputs = tower.processor.image_processor(images, return_tensors="pt").to(tower.device)
    outputs = tower.model.get_image_features(**inputs).pooler_output
    tokens = torch.stack(list(outputs)).float().cpu()
    side = int(tokens.shape[1] ** 0.5)
    grid = adaptive_avg_pool2d(tokens.mT.unflatten(-1, (side, side)), GRID)
    return grid.flatten(2).mT.contiguous()


class Fusion(nn.Module):
    """Both encoders, a mechanism of `MECHANISMS`, a hidden layer and the answers.

    Initial weights of encoders and head depend on the seed only, and sizes on the questions.
    """

    def __init__(self, mechanism: str, seed: int, questions: QuestionTensors):
        super().__init__()
        patches, features = questions.patches.shape[1:]
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(derive_seed(seed, "fusion", "encoders and head"))
            projection = nn.Sequential(nn.LayerNorm(features), nn.Linear(features, WIDTH))
            self.vision = Encoder(projection, patches)
            embedding = nn.Embedding(questions.vocabulary, WIDTH)
            self.language = Encoder(embedding, questions.words.shape[1])
            layers = nn.GELU(), nn.LayerNorm(WIDTH), nn.Linear(WIDTH, WIDTH), nn.GELU()
            self.hidden = nn.Sequential(*layers)
            self.head = nn.Linear(WIDTH, questions.n_answers)
            torch.manual_seed(derive_seed(seed, "fusion", mechanism))
            self.mechanism = Mechanism(mechanism, WIDTH)

    def forward(
        self, questions: QuestionTensors, rows: Int[Tensor, " b"]
    ) -> tuple[Vector, Vector, Vector, Float[Tensor, "b answers"]]:
        """Pooled vision and language before fusion, the hidden layer after it, and logits."""
        # A batch repeats pictures and questions: encode each once.
        images, image = questions.image[rows].unique(return_inverse=True)
        texts, text = questions.question[rows].unique(return_inverse=True)
        words = questions.words[texts]
        vision = self.vision(questions.patches[images])[image]
        language, present = self.language(words, words == 0)[text], (words != 0)[text]
        hidden = self.hidden(self.mechanism(vision, language, present))
        return pool(vision), pool(language, present), hidden, self.head(hidden)


def train(mechanism: str, seed: int, questions: QuestionTensors, steps: int) -> Fusion:
    """Train a model with AdamW for `steps` batches; the seed decides batches and weights."""
    model = Fusion(mechanism, seed, questions)
    parameters = list(model.parameters())
    optimizer = AdamW(parameters, LEARNING_RATE, (0.9, 0.98), weight_decay=0.01, fused=True)
    once = {"pct_start": 0.1, "cycle_momentum": False}
    schedule = OneCycleLR(optimizer, LEARNING_RATE, total_steps=steps + 1, **once)
    for step in range(steps):
        generator = torch.Generator().manual_seed(derive_seed(seed, "fusion", "batch", step))
        rows = torch.randint(len(questions.answer), (BATCH,), generator=generator)
        optimizer.zero_grad()
        cross_entropy(model(questions, rows)[3], questions.answer[rows]).backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        schedule.step()
    return model.eval()
