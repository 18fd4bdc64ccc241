"""Prompts: tokenize samples and locate question, options, media and chat scaffold."""

import copy
import re
from collections.abc import Mapping, Sequence
from datetime import date
from os.path import commonprefix
from typing import Any

import numpy as np
from torch import Tensor

from pidlib.benchmarks import Sample
from pidlib.extraction.rows import Picture, Question
from pidlib.models import LoadedModel

_MARK = "\ue000"  # a private-use character, in place of the question
_PROBE = "Is <it> 'A',\n\"b\" & c?"  # a question that templates must leave as it is
_DATE = re.compile(r"strftime_now\s*\(\s*(['\"])(.*?)\1\s*\)")  # of the day, in chat templates
_DAY = date(2024, 7, 26)  # in its place, so that prompts are the same every day


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

    A token belongs to the question if it covers a character of it in the text that the processor
    gives to its tokenizer, where the placeholder of a picture is expanded. Raises a ValueError
    without a fast tokenizer, and for a chat template that changes questions.
    """

    def __init__(self, loaded: LoadedModel):
        self.processor, self.family = copy.copy(loaded.processor), loaded.family
        self.model, tokenizer = loaded.model, loaded.processor.tokenizer
        self.options = loaded.options.get("processor", {})
        if not getattr(tokenizer, "is_fast", False):
            name = type(tokenizer).__name__
            raise ValueError(f"{name} has no character offsets; load a fast tokenizer")
        if self.family.prompt is None and not self.processor.chat_template:
            name = self.family.name
            raise ValueError(f"this {name} model has no chat template; set it in processor")
        if tokenizer.pad_token is None:  # any token, as padding is cut off again
            tokenizer.pad_token = tokenizer.eos_token or tokenizer.convert_ids_to_tokens(0)
        self.processor.chat_template = _dated(self.processor.chat_template)
        self.placeholder_ids = self.family.placeholder_ids(loaded.model)
        self.processor.tokenizer = self._spy = _Spy(tokenizer)
        self._bos = tokenizer.bos_token or tokenizer.cls_token
        self._scaffolds: dict[bool, tuple[str, str]] = {}

    def render(self, text: str, picture: bool = True) -> str:
        """Render the prompt for the processor."""
        if self.family.prompt:
            return self._fill(self.family.prompt, text, picture)
        return text.join(self._scaffold(picture))

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

        Raises a ValueError that names a sample that the processor refuses or changes.
        """
        picture = samples[0].has_image or samples[0].video is not None
        before, after = self._scaffold(picture)
        inputs = self._process(samples, picture)
        offsets, kept = inputs.pop("offset_mapping"), inputs.pop("attention_mask").bool().numpy()
        takes, reads = self.family.arguments(self.model)
        dims = {key: np.shape(inputs[key]) for key in inputs}
        fields = {key for key in takes - reads if dims.get(key, ())[:2] == dims["input_ids"]}
        fields = {name: inputs.pop(name).numpy() for name in list(inputs) if name in fields}
        # The forward pass needs grids, sizes and timing: a row (or as many) for each picture.
        layout = {
            name: value
            for name, value in inputs.items()
            if picture and name in takes and len(dims[name]) < 3
            if not (name in reads and isinstance(value, Tensor) and value.is_floating_point())
        }
        step = {name: len(value) // len(samples) for name, value in layout.items()}
        # BLIP-2 puts the placeholders of the picture in front of the tokenized text.
        in_front = ((0, 0), (fields["input_ids"].shape[1] - offsets.shape[1], 0), (0, 0))
        offsets, prompts = np.pad(offsets.numpy(), in_front), []
        texts = next(call for call in self._spy.calls if samples[0].text in call[0])
        for row, (sample, text) in enumerate(zip(samples, texts, strict=True)):
            start = len(before)
            if text.endswith(sample.text + after):
                start = len(text) - len(sample.text + after)
            elif not text.startswith(before + sample.text):
                changed = f"the processor changes the prompt of {sample.text!r} to {text!r}"
                raise ValueError(f"{sample.sample_id}: {changed}")
            begin, end = offsets[row, kept[row]].T
            covers = (end > start) & (begin < end)  # a character at or after the start
            is_language = covers & (begin < start + len(sample.text))
            is_options = begin >= start + len(sample.question.strip())
            # Marks of tiles, which the processor adds around placeholders, belong to the picture.
            first = len(commonprefix([text[:start], before]))
            last = start - len(commonprefix([text[first:start][::-1], before[first:][::-1]]))
            added = (end > first) & (begin < last) & (first < last)
            tokens = {name: values[row, kept[row]] for name, values in fields.items()}
            ids, placeholders = tokens["input_ids"], self.placeholder_ids
            held = np.flatnonzero(np.isin(ids, list(placeholders.values())))
            held = np.union1d(held, np.flatnonzero(added)) if len(held) else held
            media = slice(held[0], held[-1] + 1) if len(held) else slice(len(ids), None)
            question = Question(
                {name: np.delete(values, media, axis=0) for name, values in tokens.items()},
                media.start,
                np.delete(is_language, media),
                is_options[is_language],
            )
            shown = Picture(
                {name: values[media] for name, values in tokens.items()},
                {name: ids[media] == token for name, token in placeholders.items()},
                {name: v[row * step[name] :][: step[name]] for name, v in layout.items()},
                {},
            )
            prompts.append((question, shown))
        return inputs if picture else {}, prompts

    def _process(self, samples: list[Sample], picture: bool) -> Any:
        before, after = self._scaffold(picture)
        # As in apply_chat_template: a template that starts with BOS needs no second BOS.
        has_bos = bool(self._bos) and before.startswith(self._bos)
        options = {"padding": True, "return_tensors": "pt", "add_special_tokens": not has_bos}
        options["return_offsets_mapping"] = True
        self._spy.calls.clear()
        if not picture and self.family.tokenized:  # its processor requires a picture
            prompts = [before + sample.text + after for sample in samples]
            return self._spy(prompts, return_token_type_ids=True, **options)
        prompts = [self.render(sample.text, picture) for sample in samples]
        media = self.media(samples)
        try:
            inputs = self.processor(text=prompts, **media, **options, **self.options)
        except (ValueError, TypeError, IndexError, ArithmeticError, RuntimeError) as error:
            if len(samples) == 1:
                refused = f"{samples[0].sample_id}: the processor refuses this sample"
                raise ValueError(f"{refused}: {error}") from error
            for sample in samples:
                self._process([sample], picture)
            raise
        inputs.pop("labels", None)  # for training, added by PaliGemma's processor
        return inputs

    def candidate_tokens(
        self, candidates: Sequence[str], question: str
    ) -> tuple[tuple[int, ...], ...]:
        """Find the tokens of each candidate after the prompt.

        A space separates them unless the prompt ends in white space or in a special token. Raises a
        ValueError if two candidates have the same tokens, or one has none or an unknown token.
        """
        tokenizer, prompt = self.processor.tokenizer, question.join(self._scaffold())
        special = any(prompt.endswith(token) for token in tokenizer.all_special_tokens)
        separator = "" if prompt[-1].isspace() or special else " "
        texts = [prompt + separator + candidate for candidate in candidates]
        encoded = tokenizer(texts, add_special_tokens=False, return_offsets_mapping=True)
        tokens = tuple(
            tuple(token for token, (_, end) in zip(ids, offsets, strict=True) if end > len(prompt))
            for ids, offsets in zip(encoded["input_ids"], encoded["offset_mapping"], strict=True)
        )
        for candidate, own in zip(candidates, tokens, strict=True):
            first = candidates[tokens.index(own)]
            if not own or set(own) & set(tokenizer.all_special_ids):
                raise ValueError(
                    f"candidate {candidate!r}: the tokenizer has no tokens for it; rename it"
                )
            if first != candidate:
                raise ValueError(f"candidate {candidate!r} has the tokens of {first!r}; rename it")
        return tokens

    def _fill(self, form: str | None, text: str, picture: bool) -> str:
        if form is None:
            media = [{"type": self.family.medium}] * picture
            turn = {"role": "user", "content": [*media, {"type": "text", "text": text}]}
            has_switch = "enable_thinking" in self.processor.chat_template
            options = {"enable_thinking": False} if has_switch else {}
            return self.processor.apply_chat_template([turn], add_generation_prompt=True, **options)
        image = getattr(self.processor, f"{self.family.medium}_token", "") if picture else ""
        return form.format(image=image, bos=self._bos, question=text)

    def _scaffold(self, picture: bool = True) -> tuple[str, str]:
        """Render the text before and after a question, with what the processor adds to it."""
        if picture not in self._scaffolds:
            form = self.family.tokenized or self.family.prompt
            before, after = self._fill(form, _MARK, picture).split(_MARK)
            if (prompt := self._fill(form, _PROBE, picture)) != before + _PROBE + after:
                raise ValueError(f"the chat template changes questions: {_PROBE!r} in {prompt!r}")
            self._scaffolds[picture] = before, after
        return self._scaffolds[picture]


def _dated(template: str | Mapping[str, str] | None) -> str | None:
    """Replace the day in a chat template by a fixed one."""
    template = template["default"] if isinstance(template, Mapping) else template
    dated = _DATE.sub(lambda call: repr(_DAY.strftime(call[2])), template or "")
    if "strftime_now" in dated.replace("strftime_now is defined", ""):
        raise ValueError("the chat template computes with the date; state a fixed date in it")
    return template and dated
