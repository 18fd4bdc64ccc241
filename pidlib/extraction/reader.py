"""Reader: forward passes over rows of tokens, and what is read from them."""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from pidlib.benchmarks import Sample
from pidlib.extraction.checks import check_finite, check_layers
from pidlib.extraction.masking import replace_inputs
from pidlib.extraction.prompts import Picture, Prompter, Question
from pidlib.extraction.readout import Head, capture_outputs

log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Encoded:
    """A sample ready for any pass."""

    sample: Sample
    picture: Picture
    question: Question
    tokens: Mapping[str, Float[Tensor, "tokens d"]]  # input embeddings of the language model


@dataclass(frozen=True, eq=False)
class Row:
    """One forward pass; ``noise`` of masked modalities is drawn when its batch runs (memory)."""

    picture: Picture
    question: Question
    noise: Callable[[], Mapping[str, Float[Tensor, "tokens d"]]] = dict

    def __len__(self) -> int:
        return len(self.question) + len(self.picture.span["input_ids"])


class Batches:
    """Maps a function over batches of a list; the batch size halves when memory runs out."""

    def __init__(self, size: int):
        if size < 1:
            raise ValueError(f"batch_size must be at least 1; got {size}")
        self.size = size

    def __call__(self, run: Callable, items: Sequence) -> Iterator[tuple[Sequence, object]]:
        """Yield each batch with the result of ``run``; other errors are raised."""
        start = 0
        while start < len(items):
            batch, result = items[start : start + self.size], None
            try:
                result = run(batch)
            except (RuntimeError, MemoryError) as error:
                from accelerate.utils.memory import clear_device_cache, should_reduce_batch_size

                no_memory = isinstance(error, (torch.OutOfMemoryError, MemoryError))
                if len(batch) == 1 or not (no_memory or should_reduce_batch_size(error)):
                    raise
            # Outside of the handler, since the error keeps the failed batch's tensors alive.
            if result is None:
                self.size = len(batch) // 2
                log.warning("out of memory at batch size %d; trying %d", len(batch), self.size)
                clear_device_cache()
                continue
            yield batch, result
            start += len(batch)


class Reader:
    """Reads logits of the candidates after the prompt of a question, and states of blocks."""

    def __init__(self, loaded, candidates: tuple, layers: Sequence, question: str, batch_size: int):
        self.model, self.family, self.device = loaded.model, loaded.family, loaded.device
        model, family = self.model, self.family
        self.dtype, self.embed = model.dtype, model.get_input_embeddings()
        self.decoder, self.blocks = family.decoder_of(model), family.blocks_of(model)
        self.body = self.decoder if family.decoder else model.base_model
        # Vision features are this wide at the input; those of deepstack levels follow.
        self.width = self.embed.weight.shape[1] if family.cross_attention_arg is None else None
        self.prompter = Prompter(loaded.processor, family, family.placeholder_ids(model))
        first_tokens = self.prompter.first_tokens(candidates, question).to(self.device)
        self.head = Head(model, family, first_tokens)
        self.layers = check_layers(layers, len(self.blocks))
        self.pad = loaded.processor.tokenizer.pad_token_id or 0
        self.batches = Batches(batch_size)

    def encode(self, samples: Sequence[Sample]) -> list[Encoded]:
        """Process samples and run the towers."""
        return [encoded for _, batch in self.batches(self._encode, samples) for encoded in batch]

    def questions(self, samples: Sequence[Sample]) -> list[Question]:
        """Tokenize the samples' questions without running the towers."""
        batches = self.batches(self.prompter.tokenize, samples)
        return [question for _, (_, questions, _) in batches for question in questions]

    def answer(self, rows: Sequence[Row], lens: bool = False) -> dict[str, np.ndarray]:
        """Run the rows, batched by length: ``logits`` [rows, k] and ``log_normalizer``, float32.

        ``lens`` adds ``hidden`` [rows, L, d], ``lens_logits`` and ``lens_log_normalizer``.
        """
        blocks = [self.blocks[layer] for layer in self.layers] if lens else []

        def run(batch):
            return self._forward([rows[index] for index in batch], blocks)

        by_length = sorted(range(len(rows)), key=lambda index: len(rows[index]))
        batches, outputs = zip(*self.batches(run, by_length), strict=True)
        order = np.argsort(np.concatenate(batches))
        names = outputs[0]
        return {name: np.concatenate([out[name] for out in outputs])[order] for name in names}

    def states(self, rows: Sequence[Row]) -> list[Float[np.ndarray, "length d"]]:
        """Run the rows and return the last block's output at every token, float32."""
        return [state for _, batch in self.batches(self._states, rows) for state in batch]

    @torch.inference_mode()
    def _encode(self, samples: Sequence[Sample]) -> list[Encoded]:
        tower, questions, spans = self.prompter.tokenize(list(samples))
        tower = {name: value.to(self.device) for name, value in tower.items()}
        inputs = {
            name: v.to(self.dtype) if v.is_floating_point() else v for name, v in tower.items()
        }
        family, model, features = self.family, self.model, {}
        if tower:
            given = {name: inputs[name] for name in family.tower_inputs}
            features["vision"] = family.encode_vision(model, given)
        if tower and family.has_audio:
            given = {name: inputs[name] for name in family.audio_inputs}
            lengths = [int(places["audio"].sum()) for _, places in spans]
            features["audio"] = family.encode_audio(model, given).split(lengths)
        words = [torch.from_numpy(question.language_ids) for question in questions]
        lengths = list(map(len, words))
        words = self.embed(torch.cat(words).to(self.device)).split(lengths)
        encoded, layout_inputs = [], family.layout_inputs if tower else ()
        for row, (span, places) in enumerate(spans):
            layout = {name: tower[name][row : row + 1] for name in layout_inputs}
            own = {name: of_samples[row] for name, of_samples in features.items()}
            tokens, picture = own | {"language": words[row]}, Picture(span, places, layout, own)
            encoded.append(Encoded(samples[row], picture, questions[row], tokens))
        ids = [item.sample.sample_id for item in encoded]
        for name in encoded[0].tokens:
            finite = [bool(torch.isfinite(item.tokens[name]).all()) for item in encoded]
            check_finite({f"{name} embeddings": np.where(finite, 0, np.nan)}, ids)
        return encoded

    @torch.inference_mode()
    def _forward(self, rows: Sequence[Row], blocks: list) -> dict[str, np.ndarray]:
        hidden, states, _ = self._run(rows, blocks)
        logits, log_normalizer = self.head(hidden)
        output = {"logits": logits, "log_normalizer": log_normalizer}
        if blocks:
            output["hidden"] = torch.stack(states, 1).float()
            output["lens_logits"], output["lens_log_normalizer"] = self.head.lens(states)
        return {name: value.cpu().numpy() for name, value in output.items()}

    @torch.inference_mode()
    def _states(self, rows: Sequence[Row]) -> list[Float[np.ndarray, "length d"]]:
        _, (states,), last = self._run(rows, [self.blocks[-1]], all_positions=True)
        ends = zip(states, last + 1, strict=True)
        return [state[:end].float().cpu().numpy() for state, end in ends]

    def _run(
        self, rows: Sequence[Row], blocks: list, all_positions: bool = False
    ) -> tuple[Float[Tensor, "rows d"], list[Float[Tensor, "rows *positions d"]], Tensor]:
        """Return the outputs at the last tokens, the outputs of the blocks, the last positions."""
        noise = [row.noise() for row in rows]
        fields, masks = _collate(rows, noise, self.pad)
        fields = {name: torch.from_numpy(value).to(self.device) for name, value in fields.items()}
        pictures = [row.picture for row in rows]
        names = pictures[0].layout
        layout = {name: torch.cat([picture.layout[name] for picture in pictures]) for name in names}
        tokens = {}
        for name in (*pictures[0].features, "language"):
            pairs = zip(pictures, noise, strict=True)
            parts = [drawn.get(name, picture.features.get(name)) for picture, drawn in pairs]
            parts = [part.to(self.device, self.dtype) for part in parts if part is not None]
            if parts:
                tokens[name] = torch.cat(parts)
        places = {name: torch.from_numpy(masks[name]).to(self.device) for name in tokens}

        def replace(embeddings):
            inputs = {"inputs_embeds": embeddings.clone()}
            for name, values in tokens.items():
                if name == "vision" and self.family.cross_attention_arg:
                    values = values.view(len(rows), -1, values.shape[-1])
                    inputs[self.family.cross_attention_arg] = values
                    continue
                values, *levels = values.split(embeddings.shape[-1], -1)
                inputs["inputs_embeds"][places[name]] = values.to(embeddings.dtype)
                if levels:
                    inputs |= {"visual_pos_masks": places[name], "deepstack_visual_embeds": levels}
            return inputs

        # Padding is on the right: a token keeps the position it has alone and attends to no pad.
        last = fields["attention_mask"].sum(1) - 1
        index = torch.arange(len(rows), device=self.device)
        captured = (slice(None), slice(None)) if all_positions else (index, last)
        arguments = {**fields, **layout, **dict(self.family.forward_kwargs)}
        with replace_inputs(self.decoder, replace), capture_outputs(blocks, *captured) as states:
            hidden = self.body(**arguments, use_cache=False, return_dict=True).last_hidden_state
        if any(state is None for state in states):
            problem = "a requested layer attends to pictures only and is skipped without them"
            raise ValueError(f"{problem}; leave it out of layers")
        return hidden[index, last], states, last


def _collate(
    rows: Sequence[Row], noise: Sequence[Mapping], pad: int
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Pad the rows' per-token fields on the right, and mark the positions of each modality."""
    shape, first = (len(rows), max(map(len, rows))), rows[0].question.head
    fields = {
        name: np.full(shape + value.shape[1:], pad if name == "input_ids" else 0)
        for name, value in first.items()
    }
    fields["attention_mask"] = np.zeros(shape, np.int64)
    masks = {name: np.zeros(shape, bool) for name in (*rows[0].picture.places, "language")}
    for index, row in enumerate(rows):
        head, tail, span = row.question.head, row.question.tail, row.picture.span
        end = len(row)
        start, stop = len(head["input_ids"]), end - len(tail["input_ids"])
        for name in head:
            fields[name][index, :end] = np.concatenate([head[name], span[name], tail[name]])
            if span[name].ndim > 1:  # a cross-attention mask, which depends on the picture alone
                fields[name][index, start:end] = span[name][-1]
        fields["attention_mask"][index, :end] = 1
        for name, places in row.picture.places.items():
            masks[name][index, start:stop] = places
        if "language" in noise[index]:
            masks["language"][index, :start] = row.question.head_is_language
            masks["language"][index, stop:end] = row.question.tail_is_language
    return fields, masks
