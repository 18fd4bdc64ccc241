"""From a question to tokens: which of them are the question, which the picture or film, and which the scaffold around both."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from transformers import ProcessorMixin

from pidlib.benchmarks import Sample
from pidlib.extraction.families import Family
from pidlib.extraction.masking import modalities_of

Fields = dict[str, Int[np.ndarray, " tokens"]]
Places = dict[str, Bool[np.ndarray, " tokens"]]
_MARK = "\ue000"  # a private character: no question holds it


@dataclass(frozen=True, eq=False)
class Question:
    """The tokens of a prompt without the picture: what comes before it, and what after.

    Each side maps the processor's per-token fields (``input_ids``, token types ...) to arrays; ``is_language`` marks the
    tokens of question and options on that side, in distinction to the scaffold of the chat. ``is_options`` tells, of these language
    tokens of both sides, which belong to the options; the line's end before them does.
    """

    head: Fields
    tail: Fields
    head_is_language: Bool[np.ndarray, " head"]
    tail_is_language: Bool[np.ndarray, " tail"]
    is_options: Bool[np.ndarray, " words"]

    def __len__(self) -> int:
        return len(self.head["input_ids"]) + len(self.tail["input_ids"])

    @property
    def language_ids(self) -> Int[np.ndarray, " words"]:
        """The ids of the language tokens, in order."""
        sides = (self.head["input_ids"][self.head_is_language], self.tail["input_ids"][self.tail_is_language])
        return np.concatenate(sides)


@dataclass(frozen=True, eq=False)
class Picture:
    """The tokens of a picture, or of a film with its sound, from the first to the last placeholder, with what the towers made of it.

    ``places`` says of each modality which tokens of the span are its own; in time, those of film and sound take turns. ``features`` are the
    projected token embeddings, in the order of the placeholders, followed along the last axis by those of the side door, if there is one;
    ``layout`` are the family's layout inputs.
    """

    span: Fields
    places: Places
    layout: dict[str, Tensor]
    features: dict[str, Float[Tensor, "tokens levels*d"]]


class Prompter:
    """Renders questions for a processor and finds their tokens.

    The place of the question is known in the rendered text, and a fast tokenizer says of each token which characters it covers; so a
    token is the question's exactly if it covers one of the question's characters. The processor expands the picture in between,
    which moves all that follows it by the length it adds. Without a picture the same chat is rendered, less all that stands for one.

    Raises
    ------
    ValueError
        If the tokenizer is not a fast one, or the processor has no chat template where its family needs one.
    """

    def __init__(self, processor: ProcessorMixin, family: Family, placeholder_ids: Mapping[str, int]):
        if not getattr(processor.tokenizer, "is_fast", False):
            raise ValueError(f"{type(processor.tokenizer).__name__} has no character offsets; load the processor with a fast tokenizer")
        if family.prompt is None and not processor.chat_template:
            raise ValueError(f"the processor of this {family.name} model has no chat template; set processor.chat_template")
        self.processor, self.family, self.placeholder_ids = processor, family, placeholder_ids
        self._bos = processor.tokenizer.bos_token or processor.tokenizer.cls_token  # BERT's has another name for it
        self._scaffolds: dict[bool, tuple[str, str]] = {}

    def render(self, text: str, picture: bool = True) -> tuple[str, str]:
        """The prompt given to the processor, and the prompt its tokenizer sees but for the expanded picture.

        Raises
        ------
        ValueError
            If the chat template changes the text, so that its tokens could not be told from the scaffold.
        """
        given = self._fill(self.family.prompt, text, picture)
        seen = self._fill(self.family.tokenized, text, picture) if self.family.tokenized else given
        before, after = self._scaffold(picture)
        if seen != before + text + after:
            raise ValueError(f"the chat template does not keep the question as it is: asked for {text!r}, got {seen!r}")
        return given, seen

    def media(self, samples: Sequence[Sample]) -> dict[str, object]:
        """The arguments by which the processor is given the samples' pictures, or their films with their sound; none where there is none.

        Raises
        ------
        ValueError
            If a soundtrack is longer than the processor keeps, or films show different numbers of frames a second.
        """
        if not has_picture(samples[0]):
            return {}
        if not self.family.hears:
            return {"images": [[sample.image] for sample in samples]}
        ears = self.processor.feature_extractor
        long = [sample.sample_id for sample in samples if len(sample.audio) > ears.n_samples]
        if long:
            kept = ears.n_samples / ears.sampling_rate
            raise ValueError(f"soundtracks of more than the {kept:g} s that the processor keeps: {', '.join(long[:8])}; cut the clips")
        rates = [len(sample.video) / len(sample.audio) * ears.sampling_rate for sample in samples]
        if max(rates) > 1.005 * min(rates):
            raise ValueError(
                f"films of {min(rates):.3g} to {max(rates):.3g} frames a second; sample them alike, for one clock counts their positions"
            )
        clips = {"videos": [sample.video for sample in samples], "audio": [sample.audio for sample in samples], "fps": rates[0]}
        # The processor asks for more pixels, whatever that of its films says; where that one takes but smaller films, it is a mini's.
        usual, own = self.processor.videos_kwargs["size"], self.processor.video_processor.size
        if own["longest_edge"] < usual["shortest_edge"]:
            clips["size"] = {edge: own[edge] for edge in usual}
        return clips | {"audio_from_video_indices": list(range(len(samples)))} | dict(self.family.media)

    def tokenize(self, samples: list[Sample]) -> tuple[dict[str, Tensor], list[Question], list[tuple[Fields, Places]]]:
        """Run the processor on whole samples: the towers' inputs, the questions, and of each picture the span and its places.

        Either all samples have a picture, or none has: then there are no towers' inputs, and the spans are empty.
        """
        picture = has_picture(samples[0])
        given, seen = zip(*(self.render(sample.text, picture) for sample in samples), strict=True)
        arguments = {
            "padding": True,
            "return_tensors": "pt",
            "return_offsets_mapping": True,
            "add_special_tokens": self._adds_special_tokens(picture),
        }
        if picture or self.family.tokenized is None:
            inputs = self.processor(text=list(given), **self.media(samples), **arguments)
        else:  # a processor that adds to the prompt wants a picture
            inputs = self.processor.tokenizer(list(seen), return_token_type_ids=True, **arguments)
        offsets, kept = inputs.pop("offset_mapping").numpy(), inputs.pop("attention_mask").bool().numpy()
        needed = dict.fromkeys((*self.family.tower_inputs, *self.family.audio_inputs, *self.family.layout_inputs))
        tower = {name: inputs[name] for name in needed if picture}
        # PaliGemma's processor adds training labels.
        fields = {name: value.numpy() for name, value in inputs.items() if name not in (*tower, "labels")}
        halves = []
        for row, sample in enumerate(samples):
            one = {name: value[row, kept[row]] for name, value in fields.items()}
            covered = offsets[row, kept[row]]
            start = self._start(covered, len(seen[row]), picture)
            is_language = _covers(covered, start, start + len(sample.text))
            is_question = _covers(covered, start, start + len(sample.question.strip()))
            halves.append(self._split(one, is_language, ~is_question[is_language]))
        return tower, [question for question, _, _ in halves], [(span, places) for _, span, places in halves]

    def first_tokens(self, candidates: tuple[str, ...], question: str) -> Int[Tensor, " k"]:
        """The first token of each candidate as it follows the prompt.

        A space stands between them unless the prompt ends in white space or in a special token.

        Raises
        ------
        ValueError
            If two candidates begin with the same token, since the answer position cannot tell them apart.
        """
        _, seen = self.render(question)
        special = any(seen.endswith(token) for token in self.processor.tokenizer.all_special_tokens)
        glue = "" if seen[-1].isspace() or special else " "
        texts = [seen + glue + candidate for candidate in candidates]
        encoded = self.processor.tokenizer(texts, add_special_tokens=False, return_offsets_mapping=True)
        first = [
            next(token for token, (_, end) in zip(ids, offsets, strict=True) if end > len(seen))
            for ids, offsets in zip(encoded["input_ids"], encoded["offset_mapping"], strict=True)
        ]
        shared = {token: [name for name, other in zip(candidates, first, strict=True) if other == token] for token in first}
        for token, names in shared.items():
            if len(names) > 1:
                text = self.processor.tokenizer.decode([token])
                raise ValueError(f"candidates {names} share their first token {text!r}; rename them so that it tells them apart (A, B ...)")
        return torch.tensor(first)

    def _fill(self, form: str | None, text: str, picture: bool) -> str:
        if form is None:
            content = [{"type": self.family.marker.removesuffix("_token")}] * picture + [{"type": "text", "text": text}]
            return self.processor.apply_chat_template([{"role": "user", "content": content}], add_generation_prompt=True)
        image = getattr(self.processor, self.family.marker, "") if picture else ""
        return form.format(image=image, bos=self._bos, question=text)

    def _scaffold(self, picture: bool) -> tuple[str, str]:
        if picture not in self._scaffolds:
            before, after = self._fill(self.family.tokenized or self.family.prompt, _MARK, picture).split(_MARK)
            self._scaffolds[picture] = before, after
        return self._scaffolds[picture]

    def _adds_special_tokens(self, picture: bool) -> bool:
        # As apply_chat_template decides it: a template that writes the beginning of the text itself wants no second one.
        return not (self._bos and self._scaffold(picture)[0].startswith(self._bos))

    @cached_property
    def _untokenized(self) -> int:
        """Characters at the end of a prompt that belong to no token: white space that the tokenizer drops."""
        _, seen = self.render("x")
        offsets = self.processor.tokenizer(seen, add_special_tokens=False, return_offsets_mapping=True)["offset_mapping"]
        return len(seen) - max(end for _, end in offsets)

    def _start(self, offsets: Int[np.ndarray, "tokens 2"], seen: int, picture: bool) -> int:
        """The character at which the question begins, in the prompt with the expanded picture."""
        before, _ = self._scaffold(picture)
        expanded = picture and getattr(self.processor, self.family.marker, _MARK) in before
        return len(before) + (offsets.max() + self._untokenized - seen if expanded else 0)

    def _split(self, fields: Fields, is_language: np.ndarray, is_options: np.ndarray) -> tuple[Question, Fields, Places]:
        held = np.flatnonzero(np.isin(fields["input_ids"], list(self.placeholder_ids.values())))
        first, last = (held[0], held[-1] + 1) if len(held) else (len(is_language), len(is_language))
        parts = (slice(first), slice(first, last), slice(last, None))
        head, span, tail = ({name: value[part] for name, value in fields.items()} for part in parts)
        question = Question(head, tail, is_language[:first], is_language[last:], is_options)
        return question, span, {name: span["input_ids"] == token for name, token in self.placeholder_ids.items()}


def has_picture(sample: Sample) -> bool:
    """Whether there is more to a sample than its text."""
    return modalities_of(sample) != ("language",)


def _covers(offsets: Int[np.ndarray, "tokens 2"], start: int, end: int) -> Bool[np.ndarray, " tokens"]:
    """Which tokens cover one of these characters."""
    return (offsets[:, 0] < end) & (offsets[:, 1] > start) & (offsets[:, 0] < offsets[:, 1])
