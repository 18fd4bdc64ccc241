"""Reader: forward passes over rows of tokens, and what is read from them."""

import logging
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from pidlib.benchmarks import Sample
from pidlib.extraction.candidates import CandidateTokens
from pidlib.extraction.checks import check_finite
from pidlib.extraction.prefix import Prefix, run_part
from pidlib.extraction.prompts import Prompter
from pidlib.extraction.rows import Question, Row, collate
from pidlib.extraction.seams import Seams
from pidlib.models import LoadedModel
from pidlib.models.families import arguments_of

log = logging.getLogger(__name__)


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
        loaded: LoadedModel,
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
        # Of vision features at the input; those of deepstack levels follow.
        self.width = None if family.cross_attention_arg else self.embed.weight.shape[1]
        self.layers, self.prompter = layers, Prompter(loaded)
        tokens = self.prompter.candidate_tokens(candidates, question)
        self.candidates = CandidateTokens(tokens, is_mean)
        self.places = 1 + max(map(len, self.candidates.stems))
        self.vocabulary = torch.tensor(self.candidates.vocabulary).to(self.device)
        self.pad = loaded.processor.tokenizer.pad_token_id
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
                half = self.batch_size = len(batch) // 2
                log.warning("out of memory at batch size %d; trying %d", len(batch), half)
                clear_device_cache()

    def encode(self, samples: Sequence[Sample]) -> list[Row]:
        """Process samples and run the towers."""
        return [item for batch in self.in_batches(self._encode, samples) for item in batch]

    def questions(self, samples: Sequence[Sample]) -> list[Question]:
        """Tokenize the samples' questions without running the towers."""
        batches = self.in_batches(self.prompter.tokenize, samples)
        return [question for _, prompts in batches for question, _ in prompts]

    def answer(self, rows: Sequence[Row], lens: bool = False) -> dict[str, np.ndarray]:
        """Run the rows, batched by length: ``logits`` [rows, k] and ``log_normalizer``, float32.

        ``lens`` adds ``hidden`` [rows, L, d], ``lens_logits`` and ``lens_log_normalizer``.
        """
        count, stems = len(rows), self.candidates.stems
        rows = [replace(row, stem=stem) for stem in stems for row in rows]
        blocks = [self.blocks[layer] for layer in self.layers] if lens else []
        outputs, groups, alone = [], defaultdict(list), []

        def collect(indices, prefix=None):  # in batches of similar length
            def run(batch):
                shared = prefix and prefix.of(batch)
                return batch, self._forward([rows[index] for index in batch], blocks, shared)

            indices = sorted(indices, key=lambda index: len(rows[index]))
            outputs.extend(self.in_batches(run, indices))

        for index, row in enumerate(rows):
            groups[row.prefix if self.shares_prefixes else None].append(index)
        for key in list(groups):
            if key is None or len(groups[key]) == 1:
                alone += groups.pop(key)
        collect(alone)
        for length in sorted({length for length, _ in groups}):
            of_length = [group for key, group in groups.items() if key[0] == length]
            for prefix in self.in_batches(partial(self._read_prefixes, rows, length), of_length):
                collect(prefix.number, prefix)
        batches, read = zip(*outputs, strict=True)
        original = np.argsort(np.concatenate(batches))
        read = {name: np.concatenate([each[name] for each in read])[original] for name in read[0]}
        hidden = {"hidden": read["hidden"][:count]} if lens else {}
        return hidden | self.candidates.whole(read)

    def _read_prefixes(self, rows: Sequence[Row], length: int, groups: Sequence) -> Prefix:
        from transformers import DynamicCache

        cache = DynamicCache(config=self.runs.config.get_text_config())
        self._run([rows[group[0]] for group in groups], [], Prefix(length, cache, {}))
        number = {index: place for place, group in enumerate(groups) for index in group}
        return Prefix(length, cache, number)

    def likeliest(self, rows: Sequence[Row]) -> list[int]:
        """Run the rows and return the likeliest token after each prompt, candidate or not."""
        batches = self.in_batches(lambda batch: self._run(batch, [])[0], rows)
        return [token for logits in batches for token in logits[:, 0, 0].argmax(-1).tolist()]

    def states(self, rows: Sequence[Row]) -> list[Float[Tensor, "length d"]]:
        """Run the rows and return the last block's output at every token, float32."""
        return [state for batch in self.in_batches(self._states, rows) for state in batch]

    @torch.inference_mode()
    def _encode(self, samples: Sequence[Sample]) -> list[Row]:
        inputs, prompts = self.prompter.tokenize(list(samples))
        features = self._features(inputs, samples, prompts) if inputs else {}
        words = [torch.from_numpy(question.language_ids) for question, _ in prompts]
        words = self.embed(torch.cat(words).to(self.device)).split(list(map(len, words)))
        rows = []
        for n, (question, picture) in enumerate(prompts):
            own = {name: of_samples[n] for name, of_samples in features.items()}
            shown = replace(picture, features=own), replace(question, embeddings=words[n])
            rows.append(Row(*shown, sample=samples[n]))
        features |= {"language": words}
        embeddings = {f"{name} embeddings": each for name, each in features.items()}
        check_finite(embeddings, [sample.sample_id for sample in samples])
        return rows

    def _features(self, inputs: Any, samples: Sequence, prompts: Sequence) -> dict:
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

    def _forward(self, rows: Sequence[Row], blocks: list, prefix: Prefix | None) -> dict:
        logits, states = self._run(rows, blocks, prefix)
        read = logits[..., self.vocabulary].float()
        # One by one, as all of the vocabulary in float32 needs memory.
        sums = torch.stack([each.float().logsumexp(-1) for each in logits.unbind(2)], 2)
        output = {"logits": read[:, :, 0], "log_normalizer": sums[:, :, 0]}
        if blocks:
            hidden = [state[:, 0].to(self.device) for state in states]
            output["hidden"] = torch.stack(hidden, 1).float()
            output |= {"lens_logits": read[:, :, 1:], "lens_log_normalizer": sums[:, :, 1:]}
        return {name: value.cpu().numpy() for name, value in output.items()}

    def _states(self, rows: Sequence[Row]) -> list[Float[Tensor, "length d"]]:
        with capture_outputs(self.blocks[-1:], (...,)) as states:
            self._run(rows, [])
        ends = zip(states[0], map(len, rows), strict=True)
        return [state[:end].float().cpu() for state, end in ends]

    @torch.inference_mode()
    def _run(
        self, rows: Sequence[Row], blocks: list, prefix: Prefix | None = None
    ) -> tuple[Tensor, list[Float[Tensor, "rows places d"]]]:
        """Return logits [rows, places, 1 + L, vocabulary], and outputs of the L blocks.

        The places are the last token of the prompt and the stem. The model's own forward pass also
        computes the logit lens (nostalgebraist, 2020), of the normed outputs of the blocks.
        """

        def answering(head, args):
            if any(state is None for state in states):
                problem = "a requested layer attends to pictures only and is skipped without them"
                raise ValueError(f"{problem}; leave it out of layers")
            hidden = args[0][index.to(args[0].device), places.to(args[0].device)]
            lens = (self.norm(state).to(hidden.device) for state in states)
            return torch.stack([hidden, *lens], 2).flatten(1, 2)

        # Padding is on the right: a token keeps its position and attends to no pad.
        index = torch.arange(len(rows), device=self.device)[:, None]
        last = torch.tensor([[len(row) - 1] for row in rows], device=self.device)
        stems = torch.tensor([[len(row.stem)] for row in rows], device=self.device)
        later = torch.arange(self.places, device=self.device)
        places = torch.minimum(last - stems + later, last)
        captured = index, places - (prefix.length if prefix else 0)
        with ExitStack() as stack:
            inputs = stack.enter_context(self.prepared(rows))
            states = stack.enter_context(capture_outputs(blocks, captured))
            if prefix:
                stack.enter_context(run_part(self.decoder, prefix))
            stack.enter_context(self.head.register_forward_pre_hook(answering))
            logits = self.runs(**inputs).logits
        return logits.unflatten(1, (self.places, -1)), states

    @contextmanager
    def prepared(self, rows: Sequence[Row], vision: Any = None) -> Iterator[dict[str, Any]]:
        """Yield the arguments of the forward pass; embeddings are replaced in the context.

        The model places the tokens of pictures (or ``vision``, an output of the tower); those of
        sound and of masked questions are written on its input embeddings.
        """
        pictures, noise = [row.picture for row in rows], [row.noise() for row in rows]
        fields, masks = collate(rows, noise, self.pad)
        inputs = dict.fromkeys({"pixel_values"} & arguments_of(self.runs))  # no default in BLIP-2
        inputs |= {name: torch.from_numpy(value).to(self.device) for name, value in fields.items()}
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
        vision = self.seams.output(tokens.pop("vision")) if "vision" in tokens else vision
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
