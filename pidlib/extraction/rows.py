"""Rows: a picture and a question, with noise for what is masked, make one forward pass."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int
from torch import Tensor

from pidlib.benchmarks import Sample

Fields = dict[str, Int[np.ndarray, " tokens"] | Bool[np.ndarray, " tokens"]]
Tokens = Mapping[str, Float[Tensor, "tokens d"]]  # by modality


@dataclass(frozen=True, eq=False)
class Question:
    """The processor's per-token fields of a prompt, without those of the picture or clip."""

    fields: Fields
    start: int  # number of tokens before the picture or clip
    is_language: Bool[np.ndarray, " tokens"]  # question and options, not the chat scaffold
    is_options: Bool[np.ndarray, " words"]  # of the language tokens, with the line break before
    embeddings: Float[Tensor, "words d"] | None = None  # of the language tokens

    @property
    def language_ids(self) -> Int[np.ndarray, " words"]:
        """Ids of the language tokens, in order."""
        return self.fields["input_ids"][self.is_language]


@dataclass(frozen=True, eq=False)
class Picture:
    """The tokens of a picture, or of a clip with its sound, and their features."""

    span: Fields  # all tokens that a prompt without the picture does not have
    places: Fields  # true for each modality in the span; video and sound are interleaved in time
    layout: dict[str, Any]  # what else the forward pass needs: the grid of rotary positions
    features: dict[str, Float[Tensor, "tokens levels*d"]]  # projected; deepstack levels follow


@dataclass(frozen=True, eq=False)
class Row:
    """One forward pass; ``noise`` of masked modalities is drawn when its batch runs (memory)."""

    picture: Picture
    question: Question
    noise: Callable[[], Tokens] = dict
    shows_picture: bool = True  # or clip, unmasked
    stem: tuple[int, ...] = ()  # tokens of candidates behind the prompt
    sample: Sample | None = None

    @property
    def tokens(self) -> Tokens:
        """The input embeddings of each modality."""
        return self.picture.features | {"language": self.question.embeddings}

    @property
    def prefix(self) -> tuple[int, object] | None:
        """Number of tokens before the question, and what they depend on; None if it is masked."""
        start, words = self.question.start, np.flatnonzero(self.question.is_language)
        if not (self.shows_picture and self.picture.features and len(words)) or words[0] < start:
            return None
        before = tuple(field[: words[0]].tobytes() for field in self.question.fields.values())
        return words[0] + len(self.picture.span["input_ids"]), (id(self.picture), before)

    def __len__(self) -> int:
        prompt = len(self.question.is_language) + len(self.picture.span["input_ids"])
        return prompt + len(self.stem)


def collate(rows: Sequence[Row], noise: Sequence[Tokens], pad: int) -> tuple[Fields, Fields]:
    """Pad the rows' per-token fields on the right, and mark the positions of each modality."""
    shape = len(rows), max(map(len, rows))
    fields = {
        name: np.full(shape + value.shape[1:], pad if name == "input_ids" else 0)
        for name, value in rows[0].question.fields.items()
    }
    fields["attention_mask"] = np.zeros(shape, np.int64)
    masks = {name: np.zeros(shape, bool) for name in (*rows[0].picture.places, "language")}
    for index, row in enumerate(rows):
        question, span, start, end = row.question, row.picture.span, row.question.start, len(row)
        prompt = end - len(row.stem)
        for name, values in question.fields.items():
            fields[name][index, :prompt] = np.insert(values, start, span[name], axis=0)
            if values.ndim > 1:  # a cross-attention mask, which depends on the picture alone
                fields[name][index, start:end] = span[name][-1]
        fields["input_ids"][index, prompt:end] = row.stem
        fields["attention_mask"][index, :end] = 1
        for name, places in row.picture.places.items():
            masks[name][index, start : start + len(places)] = places
        if "language" in noise[index]:
            hidden = np.insert(question.is_language, start, np.zeros(len(span["input_ids"]), bool))
            masks["language"][index, :prompt] = hidden
            fields["input_ids"][index, :prompt][hidden] = pad  # which later layers may look up
    return fields, masks
