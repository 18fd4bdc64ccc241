"""Prompts: tokenize samples and locate question, options, media and chat scaffold."""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from os.path import commonprefix
from typing import TYPE_CHECKING, Any

import numpy as np
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

    @property
    def without_options(self) -> "Question":
        """The question with its options as part of the scaffold, which masking keeps."""
        is_language = self.is_language.copy()
        is_language[is_language] = ~self.is_options
        return replace(self, is_language=is_language, is_options=np.zeros(is_language.sum(), bool))


@dataclass(frozen=True, eq=False)
class Picture:
    """The tokens of a picture, or of a clip with its sound, and their features."""

    span: Fields  # all tokens that a prompt without the picture does not have
    places: Places  # of each modality in the span; video and sound are interleaved in time
    layout: dict[str, Any]  # what else the forward pass needs: the grid of rotary positions
    features: dict[str, Float[Tensor, "tokens levels*d"]]  # projected; deepstack levels follow


class _Spy:
    """A tokenizer that keeps the texts of its calls: the prompts as a processor changes them."""

    def __init__(self, tokenizer: Any):
        self._tokenizer, self.calls = tokenizer, []

    def __call__(self, text: list[str], *args, **kwargs):
        self.calls.append(text)
        return self._tokenizer(text, *args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._tokenizer, name)


Prompt = tuple[Question, Picture]  # a picture without features; without tokens if there is none


class Prompter:
    """Render questions for a processor and locate their tokens.

    A token belongs to the question exactly if it covers a character of it in the text that the
    processor gives to its tokenizer, where the placeholder of a picture is expanded. Without a
    picture, the same chat is rendered without its placeholder. Raises a ValueError without a fast
    tokenizer or a chat template.
    """

    def __init__(self, loaded: "LoadedModel"):
        self.processor, self.family = copy.copy(loaded.processor), loaded.family
        self.model, tokenizer = loaded.model, loaded.processor.tokenizer
        self.options = loaded.options.get("processor", {})
        if not getattr(tokenizer, "is_fast", False):
            name = type(tokenizer).__name__
            raise ValueError(f"{name} has no character offsets; load a fast tokenizer")
        if self.family.prompt is None and not self.processor.chat_template:
            name = self.family.name
            raise ValueError(f"this {name} model has no chat template; set it in processor")
        self.placeholder_ids = self.family.placeholder_ids(loaded.model)
        self.processor.tokenizer = self._spy = _Spy(tokenizer)
        self._bos = tokenizer.bos_token or tokenizer.cls_token
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

    def tokenize(self, samples: list[Sample]) -> tuple[Mapping[str, Any], list[Prompt]]:
        """Process samples: the processor's other outputs (empty without media), and prompts.

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
        self._spy.calls.clear()
        if picture or self.family.tokenized is None:
            inputs = self.processor(text=prompts, **media, **options, **self.options)
        else:  # a processor that adds to the prompt requires a picture
            prompts = [before + sample.text + after for sample in samples]
            inputs = self._spy(prompts, return_token_type_ids=True, **options)
        inputs.pop("labels", None)  # for training, added by PaliGemma's processor
        offsets, kept = inputs.pop("offset_mapping"), inputs.pop("attention_mask").bool().numpy()
        takes, reads = self.family.arguments(self.model)
        dims = {key: np.shape(inputs[key]) for key in inputs}
        fields = {key for key in takes - reads if dims.get(key, ())[:2] == dims["input_ids"]}
        fields = {name: inputs.pop(name).numpy() for name in list(inputs) if name in fields}
        # The forward pass needs grids, sizes and timing: a row (or as many) for each picture.
        layout = {name: inputs[name] for name in inputs if name in takes and len(dims[name]) < 3}
        pixels = {
            n for n in reads & layout.keys() if "float" in str(getattr(layout[n], "dtype", ""))
        }
        layout = {name: layout[name] for name in layout if name not in pixels and picture}
        step = {name: len(value) // len(samples) for name, value in layout.items()}
        # BLIP-2 puts the placeholders of the picture in front of the tokenized text.
        in_front = ((0, 0), (fields["input_ids"].shape[1] - offsets.shape[1], 0), (0, 0))
        offsets, split = np.pad(offsets.numpy(), in_front), []
        texts = next(call for call in self._spy.calls if samples[0].text in call[0])
        for row, (sample, text) in enumerate(zip(samples, texts, strict=True)):
            start = len(before)
            if text.endswith(sample.text + after):
                start = len(text) - len(sample.text + after)
            elif not text.startswith(before + sample.text):
                changed = f"given {prompts[row]!r}, tokenized {text[-len(prompts[row]) :]!r}"
                raise ValueError(f"the processor changes the prompt: {changed}")
            tokens = {name: values[row, kept[row]] for name, values in fields.items()}
            begin, end = offsets[row, kept[row]].T
            covers = (end > start) & (begin < end)  # a character at or after the start
            is_language = covers & (begin < start + len(sample.text))
            is_question = covers & (begin < start + len(sample.question.strip()))
            # Marks of tiles, which the processor adds around placeholders, belong to the picture.
            first = len(commonprefix([text[:start], before]))
            last = start - len(commonprefix([text[first:start][::-1], before[first:][::-1]]))
            added = (end > first) & (begin < last) & (first < last)
            own = {name: v[row * step[name] :][: step[name]] for name, v in layout.items()}
            split.append(self._split(tokens, own, added, is_language, ~is_question[is_language]))
        return inputs if picture else {}, split

    def candidate_tokens(
        self, candidates: Sequence[str], question: str
    ) -> tuple[tuple[int, ...], ...]:
        """Find the tokens of each candidate after the prompt.

        A space separates them unless the prompt ends in white space or in a special token. Raises a
        ValueError if two candidates have the same tokens, or if a token is unknown.
        """
        tokenizer, (before, after) = self.processor.tokenizer, self._scaffold()
        prompt = before + question + after
        special = any(prompt.endswith(token) for token in tokenizer.all_special_tokens)
        separator = "" if prompt[-1].isspace() or special else " "
        texts = [prompt + separator + candidate for candidate in candidates]
        encoded = tokenizer(texts, add_special_tokens=False, return_offsets_mapping=True)
        tokens = tuple(
            tuple(token for token, (_, end) in zip(ids, offsets, strict=True) if end > len(prompt))
            for ids, offsets in zip(encoded["input_ids"], encoded["offset_mapping"], strict=True)
        )
        for index, own in enumerate(tokens):
            unknown = [candidates[index]] * (tokenizer.unk_token_id in own)
            same = [candidates[tokens.index(own)]] * (own in tokens[:index])
            if unknown or same:
                fault = (
                    "the tokenizer does not know" if unknown else f"no tokens tell from {same[0]!r}"
                )
                raise ValueError(f"candidate {candidates[index]!r}: {fault}; rename it")
        return tokens

    def _fill(self, form: str | None, text: str, picture: bool) -> str:
        if form is None:
            media = [{"type": self.family.medium}] * picture
            turn = {"role": "user", "content": [*media, {"type": "text", "text": text}]}
            has_switch = "enable_thinking" in str(self.processor.chat_template)
            options = {"enable_thinking": False} if has_switch else {}
            return self.processor.apply_chat_template([turn], add_generation_prompt=True, **options)
        image = getattr(self.processor, f"{self.family.medium}_token", "") if picture else ""
        return form.format(image=image, bos=self._bos, question=text)

    def _scaffold(self, picture: bool = True) -> tuple[str, str]:
        """Render the text before and after a question, with what the processor adds to it."""
        if picture not in self._scaffolds:
            form = self.family.tokenized or self.family.prompt
            before, after = self._fill(form, _MARK, picture).split(_MARK)
            self._scaffolds[picture] = before, after
        return self._scaffolds[picture]

    def _split(
        self,
        fields: Fields,
        layout: dict,
        added: np.ndarray,
        is_language: np.ndarray,
        is_options: np.ndarray,
    ) -> Prompt:
        ids, placeholders = fields["input_ids"], self.placeholder_ids
        held = np.flatnonzero(np.isin(ids, list(placeholders.values())))
        marks = np.flatnonzero(added) if len(held) else held
        held = np.sort(np.concatenate([held, marks]))
        media = slice(held[0], held[-1] + 1) if len(held) else slice(len(ids), None)
        span = {name: values[media] for name, values in fields.items()}
        others = {name: np.delete(values, media, axis=0) for name, values in fields.items()}
        places = {name: ids[media] == token for name, token in placeholders.items()}
        question = Question(others, media.start, np.delete(is_language, media), is_options)
        return question, Picture(span, places, layout, {})
