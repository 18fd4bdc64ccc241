"""Reader: forward passes over rows of tokens, and what is read from them."""

import logging
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from itertools import groupby
from operator import itemgetter
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from pidlib.benchmarks import Sample
from pidlib.extraction.candidates import CandidateTokens
from pidlib.extraction.checks import check_finite, check_layers
from pidlib.extraction.prefix import Prefix, run_part
from pidlib.extraction.prompts import Picture, Prompter, Question
from pidlib.extraction.seams import Seams
from pidlib.models.families import arguments_of

if TYPE_CHECKING:
    from transformers import BatchFeature

    from pidlib.models import LoadedModel

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
    shows_picture: bool = True  # or clip, unmasked
    stem: tuple[int, ...] = ()  # tokens of candidates behind the prompt

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


@contextmanager
def capture_outputs(blocks: Sequence[nn.Module], index: tuple) -> Iterator[list[Tensor]]:
    """Collect the output [row, position, d] of each block at an index: rows and positions."""
    states: list = [None] * len(blocks)

    def capture(number, module, args, output):
        output = output[0] if isinstance(output, tuple) else output
        places = (at.to(output.device) if isinstance(at, Tensor) else at for at in index)
        states[number] = output[tuple(places)]

    with ExitStack() as hooks:
        for number, block in enumerate(blocks):
            hooks.enter_context(block.register_forward_hook(partial(capture, number)))
        yield states


class Reader:
    """Reads logits of the candidates after the prompt of a question, and states of blocks."""

    def __init__(
        self,
        loaded: "LoadedModel",
        candidates: Sequence[str],
        layers: Sequence[int],
        question: str,
        batch_size: int,
        is_mean: bool = False,
    ):
        if batch_size < 1:
            raise ValueError(f"batch_size must be at least 1; got {batch_size}")
        self.batch_size = batch_size
        model, family = loaded.model, loaded.family
        self.model, self.family, self.device = model, family, loaded.device
        self.dtype, self.embed = model.dtype, model.get_input_embeddings()
        self.runs, self.head = family.runs(model), family.head_of(model)
        self.decoder = family.decoder_of(model)
        self.blocks, self.norm = family.blocks_of(model), family.norm_of(model)
        # Vision features are this wide at the input; those of deepstack levels follow.
        self.width = self.embed.weight.shape[1] if family.cross_attention_arg is None else None
        self.prompter = Prompter(loaded)
        self.candidates = CandidateTokens(
            self.prompter.candidate_tokens(candidates, question), is_mean
        )
        self.places = 1 + max(map(len, self.candidates.stems))
        self.vocabulary = torch.tensor(self.candidates.vocabulary).to(self.device)
        self.layers = check_layers(layers, len(self.blocks))
        self.pad = loaded.processor.tokenizer.pad_token_id or 0
        self.seams: Seams | None = None
        self.shares_prefixes = False

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
        return [question for _, prompts in batches for question, _ in prompts]

    def answer(self, rows: Sequence[Row], lens: bool = False) -> dict[str, np.ndarray]:
        """Run the rows, batched by length: ``logits`` [rows, k] and ``log_normalizer``, float32.

        ``lens`` adds ``hidden`` [rows, L, d], ``lens_logits`` and ``lens_log_normalizer``. Logits
        of candidates of several tokens are log probabilities, with log normalizers of zero.
        """
        rows = [replace(row, stem=stem) for stem in self.candidates.stems for row in rows]
        blocks = [self.blocks[layer] for layer in self.layers] if lens else []
        groups, alone, outputs = defaultdict(list), [], []
        for index, row in enumerate(rows):
            groups[row.prefix if self.shares_prefixes else None].append(index)
        for key in list(groups):
            if key is None or len(groups[key]) == 1:
                alone += groups.pop(key)
        outputs += self._outputs(rows, alone, blocks)
        by_length = groupby(sorted(groups, key=itemgetter(0)), itemgetter(0))
        for length, keys in by_length:
            read = partial(self._read_prefixes, rows, length)
            for pictures, cache in self.in_batches(read, [groups[key] for key in keys]):
                number = {index: row for row, group in enumerate(pictures) for index in group}
                outputs += self._outputs(rows, number, blocks, Prefix(length, cache, number))
        original = np.argsort(np.concatenate([batch for batch, _ in outputs]))
        read = [output for _, output in outputs]
        read = {name: np.concatenate([each[name] for each in read])[original] for name in read[0]}
        hidden = (
            {"hidden": read["hidden"][: len(rows) // len(self.candidates.stems)]} if lens else {}
        )
        return hidden | self.candidates.whole(read)

    def _outputs(self, rows: Sequence, indices: Iterable, blocks: list, prefix=None) -> Iterator:
        """Yield the indices and the output of each batch; batches are of similar length."""

        def run(batch):
            shared = prefix and prefix.of(batch)
            return batch, self._forward([rows[index] for index in batch], blocks, shared)

        return self.in_batches(run, sorted(indices, key=lambda index: len(rows[index])))

    @torch.inference_mode()
    def _read_prefixes(self, rows: Sequence[Row], length: int, groups: Sequence) -> tuple:
        from transformers import DynamicCache

        cache = DynamicCache(config=self.runs.config.get_text_config())
        part = run_part(self.decoder, Prefix(length, cache, {}), stop=length)
        self._run([rows[group[0]] for group in groups], [], part=part)
        return groups, cache

    @torch.inference_mode()
    def likeliest(self, rows: Sequence[Row]) -> list[int]:
        """Run the rows and return the likeliest token after each prompt, candidate or not."""
        run = lambda batch: self._run(batch, [])[0][:, 0, 0].argmax(-1).tolist()  # noqa: E731
        return [token for batch in self.in_batches(run, rows) for token in batch]

    def states(self, rows: Sequence[Row]) -> list[Float[np.ndarray, "length d"]]:
        """Run the rows and return the last block's output at every token, float32."""
        return [state for batch in self.in_batches(self._states, rows) for state in batch]

    @torch.inference_mode()
    def _encode(self, samples: Sequence[Sample]) -> list[Encoded]:
        inputs, prompts = self.prompter.tokenize(list(samples))
        features = self._features(inputs, samples, prompts) if inputs else {}
        words = [torch.from_numpy(question.language_ids) for question, _ in prompts]
        words = self.embed(torch.cat(words).to(self.device)).split(list(map(len, words)))
        encoded = []
        for row, (question, picture) in enumerate(prompts):
            own = {name: of_samples[row] for name, of_samples in features.items()}
            tokens, picture = own | {"language": words[row]}, replace(picture, features=own)
            encoded.append(Encoded(samples[row], picture, question, tokens))
        for name in encoded[0].tokens:
            tokens = {f"{name} embeddings": [item.tokens[name] for item in encoded]}
            check_finite(tokens, [sample.sample_id for sample in samples])
        return encoded

    def _features(self, inputs: "BatchFeature", samples: Sequence, prompts: Sequence) -> dict:
        """Run the towers; return the tokens [tokens, levels * d] of each sample, by modality."""
        outputs = self.family.encode(self.model, inputs.to(self.device, self.dtype))
        places = [picture.places for _, picture in prompts]
        counts = {name: [int(each[name].sum()) for each in places] for name in outputs}
        if self.family.cross_attention_arg:
            counts["vision"] = [outputs["vision"].pooler_output.shape[1]] * len(samples)
        if self.seams is None:  # what a forward pass reads of the tower's output
            inputs, (prompt,) = self.prompter.tokenize([samples[0]])
            output = self.family.encode(self.model, inputs.to(self.device, self.dtype))["vision"]
            self.seams = Seams(output, counts["vision"][0])
            with self.prepared([Row(*prompt[::-1])], self.seams) as arguments:
                self.runs(**arguments)
        tokens = {name: output.last_hidden_state for name, output in outputs.items()}
        tokens["vision"] = self.seams.matrix(outputs["vision"], sum(counts["vision"]))
        return {name: rows.split(counts[name]) for name, rows in tokens.items()}

    @torch.inference_mode()
    def _forward(
        self, rows: Sequence[Row], blocks: list, prefix: Prefix | None = None
    ) -> dict[str, np.ndarray]:
        part = run_part(self.decoder, prefix) if prefix else None
        skipped = prefix.length if prefix else 0
        logits, states, _ = self._run(rows, blocks, part=part, skipped=skipped)
        read = logits[..., self.vocabulary].float()
        # One by one, as all of the vocabulary in float32 needs memory.
        sums = torch.stack([each.float().logsumexp(-1) for each in logits.unbind(2)], 2)
        output = {"logits": read[:, :, 0], "log_normalizer": sums[:, :, 0]}
        if blocks:
            output["hidden"] = torch.stack(
                [state[:, 0].to(self.device) for state in states], 1
            ).float()
            output |= {"lens_logits": read[:, :, 1:], "lens_log_normalizer": sums[:, :, 1:]}
        return {name: value.cpu().numpy() for name, value in output.items()}

    @torch.inference_mode()
    def _states(self, rows: Sequence[Row]) -> list[Float[np.ndarray, "length d"]]:
        _, (states,), last = self._run(rows, [self.blocks[-1]], all_positions=True)
        ends = zip(states, last + 1, strict=True)
        return [state[:end].float().cpu().numpy() for state, end in ends]

    def _run(
        self,
        rows: Sequence[Row],
        blocks: list,
        all_positions: bool = False,
        part: AbstractContextManager | None = None,
        skipped: int = 0,
    ) -> tuple[Tensor, list[Float[Tensor, "rows *positions d"]], Tensor]:
        """Return logits [rows, places, 1 + L, vocabulary], outputs of the L blocks, last positions.

        The places are the last token of the prompt and the tokens of the stem. The model's own
        forward pass computes the logits, and with them the logit lens (nostalgebraist, 2020): its
        head receives the normed outputs of the blocks too.
        """

        def answering(head, args):
            if any(state is None for state in states):
                problem = "a requested layer attends to pictures only and is skipped without them"
                raise ValueError(f"{problem}; leave it out of layers")
            lens = [] if all_positions else [self.norm(state) for state in states]
            hidden = args[0][index.to(args[0].device), places.to(args[0].device)]
            each = torch.stack([hidden, *(state.to(hidden.device) for state in lens)], 2)
            return each.flatten(1, 2)

        with ExitStack() as stack:
            inputs = stack.enter_context(self.prepared(rows))
            # Padding is on the right: a token keeps its position and attends to no pad.
            last = inputs["attention_mask"].sum(1, keepdim=True) - 1
            index = torch.arange(len(rows), device=self.device)[:, None]
            behind = torch.tensor([[len(row.stem)] for row in rows], device=self.device)
            later = torch.arange(self.places, device=self.device)
            places = torch.minimum(last - behind + later, last)
            captured = (slice(None), slice(None)) if all_positions else (index, places - skipped)
            states = stack.enter_context(capture_outputs(blocks, captured))
            stack.enter_context(part or nullcontext())
            stack.enter_context(self.head.register_forward_pre_hook(answering))
            logits = self.runs(**inputs).logits
        return logits.unflatten(1, (self.places, -1)), states, last[:, 0]

    @contextmanager
    def prepared(self, rows: Sequence[Row], vision: Any = None) -> Iterator[dict[str, Any]]:
        """Yield the arguments of the forward pass; embeddings are replaced in the context.

        The model places the tokens of pictures (or ``vision``, an output of the tower); those of
        sound and of masked questions are written on its input embeddings. The ids of masked
        questions become those of padding, as some models look up ids in later layers.
        """
        pictures, noise = [row.picture for row in rows], [row.noise() for row in rows]
        fields, masks = collate(rows, noise, self.pad)
        unset = dict.fromkeys({"pixel_values"} & arguments_of(self.runs))  # no default in BLIP-2
        inputs = unset | {
            name: torch.from_numpy(value).to(self.device) for name, value in fields.items()
        }
        for name in pictures[0].layout:
            parts = [picture.layout[name] for picture in pictures]
            tensors = isinstance(parts[0], Tensor)
            inputs[name] = torch.cat(parts).to(self.device) if tensors else sum(parts, [])
        tokens = {}
        for name in (*pictures[0].features, "language"):
            pairs = zip(pictures, noise, strict=True)
            parts = [drawn.get(name, picture.features.get(name)) for picture, drawn in pairs]
            parts = [part.to(self.device, self.dtype) for part in parts if part is not None]
            tokens |= {name: torch.cat(parts)} if parts else {}
        if "vision" in tokens:
            vision = self.seams.output(tokens.pop("vision"))
        if vision and (argument := self.family.cross_attention_arg):
            inputs[argument] = vision.pooler_output
        elif vision:
            inputs["mm_encoder_outputs"] = {self.family.medium: vision}

        def write(embed, args, output):
            for name, values in tokens.items():
                places = torch.from_numpy(masks[name])[..., None].to(output.device)
                if output.shape[:2] == places.shape[:2]:
                    output = output.masked_scatter(places, values.to(output.device, output.dtype))
            return output

        with self.embed.register_forward_hook(write):
            yield inputs | dict(self.family.forward_kwargs) | {"use_cache": False}


def collate(rows: Sequence[Row], noise: Sequence[Mapping], pad: int) -> tuple[dict, dict]:
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
        prompt = end - len(row.stem)
        others = np.delete(np.arange(prompt), media)
        for name, values in question.fields.items():
            fields[name][index, others] = values
            fields[name][index, media] = span[name]
            if values.ndim > 1:  # a cross-attention mask, which depends on the picture alone
                fields[name][index, media.start : end] = span[name][-1]
        fields["input_ids"][index, prompt:end] = row.stem
        fields["attention_mask"][index, :end] = 1
        for name, places in row.picture.places.items():
            masks[name][index, media] = places
        if "language" in noise[index]:
            masks["language"][index, others] = question.is_language
            fields["input_ids"][index, masks["language"][index]] = pad
    return fields, masks
