"""Prompts: tokenize samples and locate question, options, media and chat scaffold."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from pidlib.benchmarks import Sample
from pidlib.extraction.checks import check_clips
from pidlib.extraction.masking import modalities_of
from pidlib.models.families import Family

if TYPE_CHECKING:
    from transformers import ProcessorMixin

Fields = dict[str, Int[np.ndarray, " tokens"]]
Places = dict[str, Bool[np.ndarray, " tokens"]]
_MARK = "\ue000"  # a private-use character, in place of the question


@dataclass(frozen=True, eq=False)
class Question:
    """The processor's per-token fields before (head) and after (tail) the picture or clip."""

    head: Fields
    tail: Fields
    head_is_language: Bool[np.ndarray, " head"]  # question and options, not the chat scaffold
    tail_is_language: Bool[np.ndarray, " tail"]
    is_options: Bool[np.ndarray, " words"]  # of the language tokens, with the line break before

    def __len__(self) -> int:
        return len(self.head["input_ids"]) + len(self.tail["input_ids"])

    @property
    def language_ids(self) -> Int[np.ndarray, " words"]:
        """Ids of the language tokens, in order."""
        head, tail = self.head["input_ids"], self.tail["input_ids"]
        return np.concatenate([head[self.head_is_language], tail[self.tail_is_language]])


@dataclass(frozen=True, eq=False)
class Picture:
    """The tokens of a picture, or of a clip with its sound, and their features."""

    span: Fields  # from the first to the last placeholder
    places: Places  # of each modality in the span; video and sound are interleaved in time
    layout: dict[str, Tensor]  # the family's layout inputs
    features: dict[str, Float[Tensor, "tokens levels*d"]]  # projected; deepstack levels follow


class Prompter:
    """Render questions for a processor and locate their tokens.

    A token belongs to the question exactly if it covers a character of it in the rendered text; the
    processor expands the placeholder of a picture, which shifts the characters after it. Without a
    picture, the same chat is rendered without its placeholder. Raises a ValueError without a fast
    tokenizer or a chat template.
    """

    def __init__(
        self, processor: "ProcessorMixin", family: Family, placeholder_ids: Mapping[str, int]
    ):
        if not getattr(processor.tokenizer, "is_fast", False):
            name = type(processor.tokenizer).__name__
            raise ValueError(f"{name} has no character offsets; load a fast tokenizer")
        if family.prompt is None and not processor.chat_template:
            raise ValueError(f"this {family.name} model has no chat template; set it in processor")
        self.processor, self.family = processor, family
        self.placeholder_ids = placeholder_ids
        self._bos = processor.tokenizer.bos_token or processor.tokenizer.cls_token
        self._scaffolds: dict[bool, tuple[str, str]] = {}

    def render(self, text: str, picture: bool = True) -> tuple[str, str]:
        """Render the prompt for the processor, and with what the processor adds to it.

        Raises a ValueError if the chat template changes the text: its tokens are then unknown.
        """
        prompt = tokenized = self._fill(self.family.prompt, text, picture)
        if self.family.tokenized:
            tokenized = self._fill(self.family.tokenized, text, picture)
        before, after = self._scaffold(picture)
        if tokenized != before + text + after:
            difference = f"given {text!r}, rendered {tokenized!r}"
            raise ValueError(f"the chat template changes the question: {difference}")
        return prompt, tokenized

    def media(self, samples: Sequence[Sample]) -> dict[str, object]:
        """Collect the processor's arguments for pictures or clips; clips are checked."""
        if not has_picture(samples[0]):
            return {}
        if not self.family.has_audio:
            return {"images": [[sample.image] for sample in samples]}
        extractor = self.processor.feature_extractor
        check_clips(samples, extractor)
        first = samples[0]
        arguments = dict(self.family.media)
        arguments["videos"] = [sample.video for sample in samples]
        arguments["audio"] = [sample.audio for sample in samples]
        arguments["fps"] = len(first.video) / len(first.audio) * extractor.sampling_rate
        arguments["audio_from_video_indices"] = list(range(len(samples)))
        # The processor's default size overrides the video processor's; keep a smaller size (minis).
        default = self.processor.videos_kwargs["size"]
        own = self.processor.video_processor.size
        if own["longest_edge"] < default["shortest_edge"]:
            arguments["size"] = {edge: own[edge] for edge in default}
        return arguments

    def tokenize(
        self, samples: list[Sample]
    ) -> tuple[dict[str, Tensor], list[Question], list[tuple[Fields, Places]]]:
        """Process samples: inputs of the towers (empty without media), questions, media spans.

        Either all samples have a picture or clip, or none.
        """
        picture = has_picture(samples[0])
        prompts, tokenized = zip(*(self.render(s.text, picture) for s in samples), strict=True)
        # As in apply_chat_template: a template that starts with BOS needs no second BOS.
        has_bos = bool(self._bos) and self._scaffold(picture)[0].startswith(self._bos)
        options = {"padding": True, "return_tensors": "pt", "add_special_tokens": not has_bos}
        options["return_offsets_mapping"] = True
        if picture or self.family.tokenized is None:
            inputs = self.processor(text=list(prompts), **self.media(samples), **options)
        else:  # a processor that adds to the prompt requires a picture
            tokenizer = self.processor.tokenizer
            inputs = tokenizer(list(tokenized), return_token_type_ids=True, **options)
        offsets = inputs.pop("offset_mapping").numpy()
        kept = inputs.pop("attention_mask").bool().numpy()
        family = self.family
        needed = (*family.tower_inputs, *family.audio_inputs, *family.layout_inputs)
        tower = {name: inputs[name] for name in needed if picture}
        excluded = {*tower, "labels"}  # PaliGemma's processor adds training labels
        fields = {name: v.numpy() for name, v in inputs.items() if name not in excluded}
        questions, spans = [], []
        for row, sample in enumerate(samples):
            tokens = {name: values[row, kept[row]] for name, values in fields.items()}
            begin, end = offsets[row, kept[row]].T
            start = self._start(end.max(), len(tokenized[row]), picture)
            covers = (end > start) & (begin < end)  # a character at or after the start
            is_language = covers & (begin < start + len(sample.text))
            is_question = covers & (begin < start + len(sample.question.strip()))
            question, *span = self._split(tokens, is_language, ~is_question[is_language])
            questions.append(question)
            spans.append(tuple(span))
        return tower, questions, spans

    def first_tokens(self, candidates: tuple[str, ...], question: str) -> Int[Tensor, " k"]:
        """Find the first token of each candidate after the prompt; a ValueError if two are equal.

        A space separates them unless the prompt ends in white space or in a special token.
        """
        tokenizer, (_, prompt) = self.processor.tokenizer, self.render(question)
        special = any(prompt.endswith(token) for token in tokenizer.all_special_tokens)
        separator = "" if prompt[-1].isspace() or special else " "
        texts = [prompt + separator + candidate for candidate in candidates]
        encoded = tokenizer(texts, add_special_tokens=False, return_offsets_mapping=True)
        first = [
            next(token for token, (_, end) in zip(ids, offsets, strict=True) if end > len(prompt))
            for ids, offsets in zip(encoded["input_ids"], encoded["offset_mapping"], strict=True)
        ]
        for token in first:
            shared = [name for name, t in zip(candidates, first, strict=True) if t == token]
            if len(shared) > 1:
                text = f"share their first token {tokenizer.decode([token])!r}"
                raise ValueError(f"candidates {shared} {text}; rename them")
        return torch.tensor(first)

    def _fill(self, form: str | None, text: str, picture: bool) -> str:
        marker = self.family.marker
        if form is None:
            media = [{"type": marker.removesuffix("_token")}] * picture
            turn = {"role": "user", "content": [*media, {"type": "text", "text": text}]}
            return self.processor.apply_chat_template([turn], add_generation_prompt=True)
        image = getattr(self.processor, marker, "") if picture else ""
        return form.format(image=image, bos=self._bos, question=text)

    def _scaffold(self, picture: bool) -> tuple[str, str]:
        if picture not in self._scaffolds:
            form = self.family.tokenized or self.family.prompt
            before, after = self._fill(form, _MARK, picture).split(_MARK)
            self._scaffolds[picture] = before, after
        return self._scaffolds[picture]

    @cached_property
    def _untokenized(self) -> int:
        """Number of characters (white space) that the tokenizer drops at the end of a prompt."""
        _, prompt = self.render("x")
        tokenizer = self.processor.tokenizer
        encoded = tokenizer(prompt, add_special_tokens=False, return_offsets_mapping=True)
        return len(prompt) - max(end for _, end in encoded["offset_mapping"])

    def _start(self, end: int, length: int, picture: bool) -> int:
        """Find the question's first character in the prompt with the expanded picture."""
        before, _ = self._scaffold(picture)
        expanded = picture and getattr(self.processor, self.family.marker, _MARK) in before
        return len(before) + (end + self._untokenized - length if expanded else 0)

    def _split(
        self, fields: Fields, is_language: np.ndarray, is_options: np.ndarray
    ) -> tuple[Question, Fields, Places]:
        placeholders = list(self.placeholder_ids.values())
        held = np.flatnonzero(np.isin(fields["input_ids"], placeholders))
        end = len(is_language)
        first, last = (held[0], held[-1] + 1) if len(held) else (end, end)
        parts = slice(first), slice(first, last), slice(last, None)
        head, span, tail = ({name: v[part] for name, v in fields.items()} for part in parts)
        question = Question(head, tail, is_language[:first], is_language[last:], is_options)
        places = {name: span["input_ids"] == token for name, token in self.placeholder_ids.items()}
        return question, span, places


def has_picture(sample: Sample) -> bool:
    """Whether a sample has a picture, video or sound."""
    return modalities_of(sample) != ("language",)
