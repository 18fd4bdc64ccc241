"""Reader: forward passes over rows of tokens, and what is read from them."""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from operator import attrgetter

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from pidlib.benchmarks import Sample
from pidlib.extraction.checks import check_finite, check_layers
from pidlib.extraction.masking import replace_inputs
from pidlib.extraction.prompts import Picture, Prompter, Question
from pidlib.models.families import Family

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
        return len(self.question.is_language) + len(self.picture.span["input_ids"])


@contextmanager
def capture_outputs(blocks: Sequence[nn.Module], index: tuple) -> Iterator[list[Tensor]]:
    """Collect the output [row, position, d] of each block at an index: rows and positions."""
    states: list = [None] * len(blocks)

    def capture(number, module, args, output):
        states[number] = (output[0] if isinstance(output, tuple) else output)[index]

    with ExitStack() as hooks:
        for number, block in enumerate(blocks):
            hooks.enter_context(block.register_forward_hook(partial(capture, number)))
        yield states


class Head:
    """Computes candidate logits [n, k] and log normalizer [n], float32, from normed states."""

    def __init__(self, model: nn.Module, family: Family, tokens: Int[Tensor, " k"]):
        head, norm = family.head, family.norm
        self.project = attrgetter(head)(model) if head else model.get_output_embeddings()
        self.norm = attrgetter(norm)(family.decoder_of(model)) if norm else nn.Identity()
        self.tokens = tokens
        self.softcap = getattr(model.config.get_text_config(), "final_logit_softcapping", None)

    def __call__(self, hidden: Float[Tensor, "n d"]) -> tuple[Tensor, Tensor]:
        logits = self.project(hidden).float()
        if self.softcap is not None:
            logits = torch.tanh(logits / self.softcap) * self.softcap
        return logits[:, self.tokens], logits.logsumexp(-1)

    def lens(self, states: list[Float[Tensor, "n d"]]) -> tuple[Tensor, Tensor]:
        """Apply the head to outputs of blocks, [n, L, .]: the logit lens (nostalgebraist, 2020)."""
        # Block by block: all at once would hold L vocabularies for each row.
        logits, log_normalizer = zip(*(self(self.norm(state)) for state in states), strict=True)
        return torch.stack(logits, 1), torch.stack(log_normalizer, 1)


class Reader:
    """Reads logits of the candidates after the prompt of a question, and states of blocks."""

    def __init__(self, loaded, candidates: tuple, layers: Sequence, question: str, batch_size: int):
        if batch_size < 1:
            raise ValueError(f"batch_size must be at least 1; got {batch_size}")
        self.batch_size = batch_size
        self.model, self.family, self.device = loaded.model, loaded.family, loaded.device
        model, family = loaded.model, loaded.family
        self.dtype, self.embed = model.dtype, model.get_input_embeddings()
        self.decoder, self.blocks = family.decoder_of(model), family.blocks_of(model)
        self.body = self.decoder if family.decoder else model.base_model
        # Vision features are this wide at the input; those of deepstack levels follow.
        self.width = self.embed.weight.shape[1] if family.cross_attention_arg is None else None
        self.prompter = Prompter(loaded)
        first_tokens = self.prompter.first_tokens(candidates, question).to(self.device)
        self.head = Head(model, family, first_tokens)
        self.layers = check_layers(layers, len(self.blocks))
        self.pad = loaded.processor.tokenizer.pad_token_id or 0

    def in_batches(self, run: Callable, items: Sequence) -> Iterator:
        """Yield the result of ``run`` for each batch; its size halves when memory runs out."""
        start = 0
        while start < len(items):
            batch, result = items[start : start + self.batch_size], None
            try:
                result = run(batch)
            except (RuntimeError, MemoryError) as error:
                from accelerate.utils.memory import clear_device_cache, should_reduce_batch_size

                no_memory = isinstance(error, (torch.OutOfMemoryError, MemoryError))
                if len(batch) == 1 or not (no_memory or should_reduce_batch_size(error)):
                    raise
            if result is not None:
                yield result
                start += len(batch)
            else:  # outside of the handler, since the error keeps the failed batch's tensors alive
                self.batch_size = len(batch) // 2
                sizes = len(batch), self.batch_size
                log.warning("out of memory at batch size %d; trying %d", *sizes)
                clear_device_cache()

    def encode(self, samples: Sequence[Sample]) -> list[Encoded]:
        """Process samples and run the towers."""
        return [item for batch in self.in_batches(self._encode, samples) for item in batch]

    def questions(self, samples: Sequence[Sample]) -> list[Question]:
        """Tokenize the samples' questions without running the towers."""
        batches = self.in_batches(self.prompter.tokenize, samples)
        return [question for _, prompts in batches for question, *_ in prompts]

    def answer(self, rows: Sequence[Row], lens: bool = False) -> dict[str, np.ndarray]:
        """Run the rows, batched by length: ``logits`` [rows, k] and ``log_normalizer``, float32.

        ``lens`` adds ``hidden`` [rows, L, d], ``lens_logits`` and ``lens_log_normalizer``.
        """
        blocks = [self.blocks[layer] for layer in self.layers] if lens else []
        by_length = sorted(range(len(rows)), key=lambda index: len(rows[index]))
        ordered, original = [rows[index] for index in by_length], np.argsort(by_length)
        outputs = list(self.in_batches(lambda batch: self._forward(batch, blocks), ordered))
        names = outputs[0]
        return {name: np.concatenate([out[name] for out in outputs])[original] for name in names}

    def states(self, rows: Sequence[Row]) -> list[Float[np.ndarray, "length d"]]:
        """Run the rows and return the last block's output at every token, float32."""
        return [state for batch in self.in_batches(self._states, rows) for state in batch]

    @torch.inference_mode()
    def _encode(self, samples: Sequence[Sample]) -> list[Encoded]:
        tower, prompts = self.prompter.tokenize(list(samples))
        tower = {name: value.to(self.device) for name, value in tower.items()}
        inputs = {
            name: v.to(self.dtype) if v.is_floating_point() else v for name, v in tower.items()
        }
        family, features = self.family, {}
        if tower:
            features["vision"] = family.encode_vision(self.model, inputs)
        if tower and family.has_audio:
            lengths = [int(places["audio"].sum()) for *_, places in prompts]
            features["audio"] = family.encode_audio(self.model, inputs).split(lengths)
        words = [torch.from_numpy(question.language_ids) for question, *_ in prompts]
        lengths = list(map(len, words))
        words = self.embed(torch.cat(words).to(self.device)).split(lengths)
        encoded, layout_inputs = [], family.layout_inputs if tower else ()
        for row, (question, span, places) in enumerate(prompts):
            layout = {name: tower[name][row : row + 1] for name in layout_inputs}
            own = {name: of_samples[row] for name, of_samples in features.items()}
            tokens, picture = own | {"language": words[row]}, Picture(span, places, layout, own)
            encoded.append(Encoded(samples[row], picture, question, tokens))
        for name in encoded[0].tokens:
            tokens = {f"{name} embeddings": [item.tokens[name] for item in encoded]}
            check_finite(tokens, [sample.sample_id for sample in samples])
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
        pictures, noise = [row.picture for row in rows], [row.noise() for row in rows]
        fields, masks = _collate(rows, noise, self.pad)
        inputs = {name: torch.from_numpy(value).to(self.device) for name, value in fields.items()}
        for name in pictures[0].layout:
            inputs[name] = torch.cat([picture.layout[name] for picture in pictures])
        tokens = {}
        for name in (*pictures[0].features, "language"):
            pairs = zip(pictures, noise, strict=True)
            parts = [drawn.get(name, picture.features.get(name)) for picture, drawn in pairs]
            parts = [part.to(self.device, self.dtype) for part in parts if part is not None]
            if parts:
                tokens[name] = torch.cat(parts)
        places = {name: torch.from_numpy(masks[name]).to(self.device) for name in tokens}

        def replace(embeddings):
            changed = {"inputs_embeds": embeddings.clone()}
            for name, values in tokens.items():
                if name == "vision" and self.family.cross_attention_arg:
                    values = values.view(len(rows), -1, values.shape[-1])
                    changed[self.family.cross_attention_arg] = values
                    continue
                values, *levels = values.split(embeddings.shape[-1], -1)
                changed["inputs_embeds"][places[name]] = values.to(embeddings.dtype)
                if levels:
                    changed |= {"visual_pos_masks": places[name], "deepstack_visual_embeds": levels}
            return changed

        # Padding is on the right: a token keeps the position it has alone and attends to no pad.
        last = inputs["attention_mask"].sum(1) - 1
        index = torch.arange(len(rows), device=self.device)
        captured = (slice(None), slice(None)) if all_positions else (index, last)
        inputs |= self.family.forward_kwargs
        with replace_inputs(self.decoder, replace), capture_outputs(blocks, captured) as states:
            hidden = self.body(**inputs, use_cache=False, return_dict=True).last_hidden_state
        if any(state is None for state in states):
            problem = "a requested layer attends to pictures only and is skipped without them"
            raise ValueError(f"{problem}; leave it out of layers")
        return hidden[index, last], states, last


def _collate(rows: Sequence[Row], noise: Sequence[Mapping], pad: int) -> tuple[dict, dict]:
    """Pad the rows' per-token fields on the right, and mark the positions of each modality."""
    shape = len(rows), max(map(len, rows))
    fields = {
        name: np.full(shape + value.shape[1:], pad if name == "input_ids" else 0)
        for name, value in rows[0].question.fields.items()
    }
    fields["attention_mask"] = np.zeros(shape, np.int64)
    masks = {name: np.zeros(shape, bool) for name in (*rows[0].picture.places, "language")}
    for index, row in enumerate(rows):
        question, span, end = row.question, row.picture.span, len(row)
        media = slice(question.start, question.start + len(span["input_ids"]))
        others = np.delete(np.arange(end), media)
        for name, values in question.fields.items():
            fields[name][index, others] = values
            fields[name][index, media] = span[name]
            if values.ndim > 1:  # a cross-attention mask, which depends on the picture alone
                fields[name][index, media.start : end] = span[name][-1]
        fields["attention_mask"][index, :end] = 1
        for name, places in row.picture.places.items():
            masks[name][index, media] = places
        if "language" in noise[index]:
            masks["language"][index, others] = question.is_language
    return fields, masks
