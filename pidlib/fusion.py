"""One text and one vision encoder, joined in six ways and trained alike: does the way they are joined move a modality's contribution?

The vision encoder is a mini's tower, trained already and frozen, and a transformer block on its tokens; the text encoder is a table of word
vectors and such a block. Their tokens go to a fusion mechanism, its output to a hidden layer and that to the answers. With one seed all
mechanisms start from the same encoders and head and see the same batches, so that what differs between them is the mechanism.

Sources are the pooled tokens of each encoder, before fusion; the target is the hidden layer, after it, or the answer the model gives.
"""

from dataclasses import dataclass

import pandas as pd
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, scaled_dot_product_attention

from pidlib.experiment import derive_seed, unknown

WIDTH, HEADS = 64, 4
BATCH, RATE = 128, 4e-3

Tokens = Float[Tensor, "b tokens width"]
Vector = Float[Tensor, "b width"]
Present = Bool[Tensor, "b words"]


def pool(tokens: Tokens, present: Present | None = None) -> Vector:
    """Mean over the tokens, or over those that are present."""
    if present is None:
        return tokens.mean(1)
    weight = present[..., None].to(tokens.dtype)
    return (tokens * weight).sum(1) / weight.sum(1)


class Concatenation(nn.Module):
    """W [v; t] of the pooled tokens."""

    def __init__(self, width: int):
        super().__init__()
        self.out = nn.Linear(2 * width, width)

    def forward(self, vision: Tokens, language: Tokens, present: Present) -> Vector:
        return self.out(torch.cat([pool(vision), pool(language, present)], -1))


class Product(nn.Module):
    """W (v * t), element by element."""

    def __init__(self, width: int):
        super().__init__()
        self.out = nn.Linear(width, width)

    def forward(self, vision: Tokens, language: Tokens, present: Present) -> Vector:
        return self.out(pool(vision) * pool(language, present))


class Bilinear(nn.Module):
    """Low-rank bilinear pooling, W (tanh(A v) * tanh(B t)); Kim et al., ICLR 2017, arXiv 1610.04325."""

    def __init__(self, width: int):
        super().__init__()
        self.vision, self.language, self.out = nn.Linear(width, 2 * width), nn.Linear(width, 2 * width), nn.Linear(2 * width, width)

    def forward(self, vision: Tokens, language: Tokens, present: Present) -> Vector:
        return self.out(torch.tanh(self.vision(pool(vision))) * torch.tanh(self.language(pool(language, present))))


class CoAttention(nn.Module):
    """Each attends to the other by one affinity matrix t' M v; W [v; t] of what was attended to. After Lu et al., NeurIPS 2016."""

    def __init__(self, width: int):
        super().__init__()
        self.affinity, self.out = nn.Linear(width, width), nn.Linear(2 * width, width)

    def forward(self, vision: Tokens, language: Tokens, present: Present) -> Vector:
        scores = self.affinity(language) @ vision.mT / vision.shape[-1] ** 0.5
        seen = scores.softmax(2) @ vision
        heard = scores.masked_fill(~present[..., None], -torch.inf).softmax(1).mT @ language
        return self.out(torch.cat([pool(seen, present), pool(heard)], -1))


class CrossAttention(nn.Module):
    """The queries' tokens and what each takes from the others by attention, pooled: W (q + softmax(q K') V)."""

    def __init__(self, width: int, queries: str):
        super().__init__()
        self.queries = queries
        self.q, self.k, self.v, self.out = (nn.Linear(width, width) for _ in range(4))

    def forward(self, vision: Tokens, language: Tokens, present: Present) -> Vector:
        asks, told, heard = (language, vision, None) if self.queries == "language" else (vision, language, present[:, None])
        taken = scaled_dot_product_attention(self.q(asks), self.k(told), self.v(told), attn_mask=heard)
        return self.out(pool(asks + taken, present if self.queries == "language" else None))


MECHANISMS = {
    "concatenation": Concatenation,
    "product": Product,
    "bilinear": Bilinear,
    "co_attention": CoAttention,
    "language_queries": lambda width: CrossAttention(width, "language"),
    "vision_queries": lambda width: CrossAttention(width, "vision"),
}


class Encoder(nn.Module):
    """What comes in, projected or looked up, with a learned place, through one transformer block."""

    def __init__(self, door: nn.Module, length: int):
        super().__init__()
        self.door, self.places = door, nn.Parameter(0.5 * torch.randn(length, WIDTH))
        self.block = nn.TransformerEncoderLayer(WIDTH, HEADS, 2 * WIDTH, 0.0, batch_first=True, norm_first=True)
        self.norm = nn.LayerNorm(WIDTH)

    def forward(self, inputs: Tensor, absent: Present | None = None) -> Tokens:
        return self.norm(self.block(self.door(inputs) + self.places[: inputs.shape[1]], src_key_padding_mask=absent))


@dataclass(frozen=True, eq=False)
class Posed:
    """Questions as tensors: row i asks ``words[question[i]]`` about ``patches[image[i]]``, and ``answer[i]`` is right.

    Words are below ``vocabulary``, of which 0 pads; answers below ``answers``.
    """

    patches: Float[Tensor, "images patches features"]
    words: Int[Tensor, "questions words"]
    image: Int[Tensor, " n"]
    question: Int[Tensor, " n"]
    answer: Int[Tensor, " n"]
    vocabulary: int
    answers: int

    @property
    def prior(self) -> float:
        """Accuracy of who gives to every question the answer that it has most often here, whatever the picture."""
        counts = pd.crosstab(self.question.numpy(), self.answer.numpy()).to_numpy()
        return float(counts.max(1).sum() / counts.sum())


class Fusion(nn.Module):
    """Both encoders, a mechanism, a hidden layer and the answers.

    Parameters
    ----------
    mechanism, seed
        One of `MECHANISMS`; where the initial weights begin. Encoders and head do not depend on the mechanism.
    asked
        Says how many features, patches, words and answers there are.
    """

    def __init__(self, mechanism: str, seed: int, asked: Posed):
        super().__init__()
        if mechanism not in MECHANISMS:
            raise ValueError(unknown("mechanism", mechanism, MECHANISMS))
        patches, features = asked.patches.shape[1:]
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(derive_seed(seed, "fusion", "encoders and head"))
            self.vision = Encoder(nn.Sequential(nn.LayerNorm(features), nn.Linear(features, WIDTH)), patches)
            self.language = Encoder(nn.Embedding(asked.vocabulary, WIDTH), asked.words.shape[1])
            self.hidden = nn.Sequential(nn.GELU(), nn.LayerNorm(WIDTH), nn.Linear(WIDTH, WIDTH), nn.GELU())
            self.head = nn.Linear(WIDTH, asked.answers)
            torch.manual_seed(derive_seed(seed, "fusion", mechanism))
            self.mechanism = MECHANISMS[mechanism](WIDTH)

    def forward(self, asked: Posed, rows: Int[Tensor, " b"]) -> tuple[Vector, Vector, Vector, Float[Tensor, "b answers"]]:
        """Pooled vision and language before fusion, the hidden layer after it, and logits."""
        images, image = asked.image[rows].unique(return_inverse=True)  # a batch asks much about few
        questions, question = asked.question[rows].unique(return_inverse=True)
        words = asked.words[questions]
        seen, heard = self.vision(asked.patches[images])[image], self.language(words, words == 0)[question]
        present = (words != 0)[question]
        hidden = self.hidden(self.mechanism(seen, heard, present))
        return pool(seen), pool(heard, present), hidden, self.head(hidden)


def train(mechanism: str, seed: int, asked: Posed, steps: int) -> Fusion:
    """A model of one mechanism, trained with AdamW for `steps` batches; the seed decides batches and, with the mechanism, weights."""
    model = Fusion(mechanism, seed, asked)
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE, betas=(0.9, 0.98), weight_decay=0.01, fused=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=steps + 1, pct_start=0.1, cycle_momentum=False)
    for step in range(steps):
        generator = torch.Generator().manual_seed(derive_seed(seed, "fusion", "batch", step))
        rows = torch.randint(len(asked.answer), (BATCH,), generator=generator)
        optimizer.zero_grad()
        cross_entropy(model(asked, rows)[3], asked.answer[rows]).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
    return model.eval()
