"""Prompts: tokenize samples and locate question, options, media and chat scaffold."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from pidlib.benchmarks import Sample

if TYPE_CHECKING:
    from pidlib.models import LoadedModel

Fields = dict[str, Int[np.ndarray, " tokens"]]
Places = dict[str, Bool[np.ndarray, " tokens"]]
_MARK = "\ue000"  # a private-use character, in place of the question


@dataclass(frozen=True, eq=False)
class Question:
    """The processor's per-token fields of a prompt, without those of the picture or clip."""

    fields: Fields
    start: int  # number of tokens before the picture or clip
    is_language: Bool[np.ndarray, " tokens"]  # question and options, not the chat scaffold
    is_options: Bool[np.ndarray, " words"]  # of the language tokens, with the line break before

    @property
    def language_ids(self) -> Int[np.ndarray, " words"]:
        """Ids of the language tokens, in order."""
        return self.fields["input_ids"][self.is_language]


@dataclass(frozen=True, eq=False)
class Picture:
    """The tokens of a picture, or of a clip with its sound, and their features."""

    span: Fields  # from the first to the last placeholder
    places: Places  # of each modality in the span; video and sound are interleaved in time
    layout: dict[str, Tensor]  # the family's layout inputs
    features: dict[str, Float[Tensor, "tokens levels*d"]]  # projected; deepstack levels follow


Prompt = tuple[Question, Fields, Places]  # question, span and places of the picture or clip


class Prompter:
    """Render questions for a processor and locate their tokens.

    A token belongs to the question exactly if it covers a character of it in the rendered text; the
    processor expands the placeholder of a picture, which shifts the characters after it. Without a
    picture, the same chat is rendered without its placeholder. Raises a ValueError without a fast
    tokenizer or a chat template.
    """

    def __init__(self, loaded: "LoadedModel"):
        self.processor, self.family = processor, family = loaded.processor, loaded.family
        if not getattr(processor.tokenizer, "is_fast", False):
            name = type(processor.tokenizer).__name__
            raise ValueError(f"{name} has no character offsets; load a fast tokenizer")
        if family.prompt is None and not processor.chat_template:
            raise ValueError(f"this {family.name} model has no chat template; set it in processor")
        self.placeholder_ids = family.placeholder_ids(loaded.model)
        self._bos = processor.tokenizer.bos_token or processor.tokenizer.cls_token
        self._marker = getattr(processor, f"{family.medium}_token", "")
        self._scaffolds: dict[bool, tuple[str, str]] = {}

    def render(self, text: str, picture: bool = True) -> str:
        """Render the prompt for the processor.

        Raises a ValueError if the chat template changes the text: its tokens are then unknown.
        """
        prompt = self._fill(self.family.prompt, text, picture)
        before, after = self._scaffold(picture)
        if self.family.prompt is None and prompt != before + text + after:
            difference = f"given {text!r}, rendered {prompt!r}"
            raise ValueError(f"the chat template changes the question: {difference}")
        return prompt

    def media(self, samples: Sequence[Sample]) -> dict[str, object]:
        """Collect the processor's arguments for pictures or clips; empty if there are none."""
        first = samples[0]
        if first.image is not None:
            return {"images": [[sample.image] for sample in samples]}
        if first.video is None:
            return {}
        rate = self.processor.feature_extractor.sampling_rate
        arguments = {
            "videos": [sample.video for sample in samples],
            "audio": [sample.audio for sample in samples],
            "fps": len(first.video) / len(first.audio) * rate,
            "load_audio_from_video": True,
            "audio_from_video_indices": list(range(len(samples))),
        }
        # The processor's default size overrides the video processor's; keep a smaller size (minis).
        default = self.processor.videos_kwargs["size"]
        own = self.processor.video_processor.size
        if own["longest_edge"] < default["shortest_edge"]:
            arguments["size"] = {edge: own[edge] for edge in default}
        return arguments

    def tokenize(self, samples: list[Sample]) -> tuple[dict[str, Tensor], list[Prompt]]:
        """Process samples: inputs of the towers (empty without media), and prompts.

        Either all samples have a picture or clip, or none.
        """
        media = self.media(samples)
        picture = bool(media)
        prompts = [self.render(sample.text, picture) for sample in samples]
        before, after = self._scaffold(picture)
        # As in apply_chat_template: a template that starts with BOS needs no second BOS.
        has_bos = bool(self._bos) and before.startswith(self._bos)
        options = {"padding": True, "return_tensors": "pt", "add_special_tokens": not has_bos}
        options["return_offsets_mapping"] = True
        if picture or self.family.tokenized is None:
            inputs = self.processor(text=prompts, **media, **options)
        else:  # a processor that adds to the prompt requires a picture
            prompts = [before + sample.text + after for sample in samples]
            inputs = self.processor.tokenizer(prompts, return_token_type_ids=True, **options)
        inputs.pop("labels", None)  # for training, added by PaliGemma's processor
        offsets = inputs.pop("offset_mapping").numpy()
        kept = inputs.pop("attention_mask").bool().numpy()
        family = self.family
        needed = {*family.tower_inputs, *family.audio_inputs, *family.layout_inputs}
        tower = {name: inputs.pop(name) for name in needed if picture}
        fields = {name: values.numpy() for name, values in inputs.items()}
        is_expanded = picture and self._marker and self._marker in before
        split = []
        for row, sample in enumerate(samples):
            tokens = {name: values[row, kept[row]] for name, values in fields.items()}
            begin, end = offsets[row, kept[row]].T
            start = len(before)
            if is_expanded:  # counted from the end, as characters behind the picture are shifted
                start = end.max() + self._untokenized - len(after) - len(sample.text)
            covers = (end > start) & (begin < end)  # a character at or after the start
            is_language = covers & (begin < start + len(sample.text))
            is_question = covers & (begin < start + len(sample.question.strip()))
            split.append(self._split(tokens, is_language, ~is_question[is_language]))
        return tower, split

    def first_tokens(self, candidates: tuple[str, ...], question: str) -> Int[Tensor, " k"]:
        """Find the first token of each candidate after the prompt; a ValueError if two are equal.

        A space separates them unless the prompt ends in white space or in a special token.
        """
        tokenizer, (before, after) = self.processor.tokenizer, self._scaffold()
        prompt = before + question + after
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
        if form is None:
            media = [{"type": self.family.medium}] * picture
            turn = {"role": "user", "content": [*media, {"type": "text", "text": text}]}
            return self.processor.apply_chat_template([turn], add_generation_prompt=True)
        image = self._marker if picture else ""
        return form.format(image=image, bos=self._bos, question=text)

    def _scaffold(self, picture: bool = True) -> tuple[str, str]:
        """Render the text before and after a question, with what the processor adds to it."""
        if picture not in self._scaffolds:
            form = self.family.tokenized or self.family.prompt
            before, after = self._fill(form, _MARK, picture).split(_MARK)
            self._scaffolds[picture] = before, after
        return self._scaffolds[picture]

    @cached_property
    def _untokenized(self) -> int:
        """Number of characters (white space) that the tokenizer drops at the end of a prompt."""
        before, after = self._scaffold()
        prompt, tokenizer = before + "x" + after, self.processor.tokenizer
        encoded = tokenizer(prompt, add_special_tokens=False, return_offsets_mapping=True)
        return len(prompt) - max(end for _, end in encoded["offset_mapping"])

    def _split(self, fields: Fields, is_language: np.ndarray, is_options: np.ndarray) -> Prompt:
        ids, placeholders = fields["input_ids"], self.placeholder_ids
        held = np.flatnonzero(np.isin(ids, list(placeholders.values())))
        media = slice(held[0], held[-1] + 1) if len(held) else slice(len(ids), None)
        span = {name: values[media] for name, values in fields.items()}
        others = {name: np.delete(values, media, axis=0) for name, values in fields.items()}
        question = Question(others, media.start, np.delete(is_language, media), is_options)
        return question, span, {name: ids[media] == token for name, token in placeholders.items()}
