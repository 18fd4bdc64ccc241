"""Runs a model on rows of tokens and reads its answers; knows nothing of samples, passes or files."""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from pidlib.benchmarks import Sample
from pidlib.extraction.masking import door
from pidlib.extraction.prompts import Picture, Places, Prompter, Question
from pidlib.extraction.readout import Head, tap

log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Encoded:
    """A sample ready for any pass: its picture, its question, and the tokens of each modality as they enter the language model.

    Of a sample without a picture, the picture is empty, and among the tokens are those of language alone.
    """

    sample: Sample
    picture: Picture
    question: Question
    tokens: Mapping[str, Float[Tensor, "tokens d"]]


@dataclass(frozen=True, eq=False)
class Row:
    """One forward pass: a picture with a question, and the noise of each modality that is absent.

    The noise is drawn when the row's batch runs: that of all rows together would take more memory than their pictures.
    """

    picture: Picture
    question: Question
    noise: Callable[[], Mapping[str, Float[Tensor, "tokens d"]]] = dict

    def __len__(self) -> int:
        return len(self.question) + len(self.picture.span["input_ids"])


class Batches:
    """Runs a function on batches of a list; where memory does not suffice the batch halves, and stays so."""

    def __init__(self, size: int):
        if size < 1:
            raise ValueError(f"batch_size must be at least 1; got {size}")
        self.size = size

    def __call__(self, run: Callable, items: Sequence) -> Iterator[tuple[Sequence, object]]:
        """Yield each batch with what ``run`` made of it. Errors other than a lack of memory are not retried."""
        start = 0
        while start < len(items):
            batch, result = items[start : start + self.size], None
            try:
                result = run(batch)
            except (RuntimeError, MemoryError) as error:
                if len(batch) == 1 or not _is_out_of_memory(error):
                    raise
            # Outside of the handler: while it lives, the error keeps the tensors of the failed batch alive.
            if result is None:
                self.size = len(batch) // 2
                log.warning("out of memory with a batch of %d; going on with %d", len(batch), self.size)
                if torch.cuda.is_available():
                    torch.cuda.empty_cache()
                continue
            yield batch, result
            start += len(batch)


class Reader:
    """A loaded model, asked for the logits of ``candidates`` and for the states of the blocks ``layers``.

    Parameters
    ----------
    loaded : LoadedModel
        Model, processor and family, as `pidlib.models.load` gives them.
    candidates : tuple of str
        The answer alphabet.
    layers : tuple of int
        Blocks of the language model, from 0; negative ones count from the last.
    question : str
        Any question that will be asked: the candidates are tokenized as they follow its prompt.
    batch_size : int
        Rows in one forward pass.
    """

    def __init__(self, loaded, candidates: tuple[str, ...], layers: Sequence[int], question: str, batch_size: int):
        self.model, self.family, self.device, self.dtype = loaded.model, loaded.family, loaded.device, loaded.model.dtype
        self.decoder, self.embed = self.family.decoder_of(self.model), self.model.get_input_embeddings()
        self.body = self.decoder if self.family.decoder else self.model.base_model
        self.blocks = self.family.blocks_of(self.model)
        self.width = self.embed.weight.shape[1] if self.family.cross is None else None  # of the door; the side door lies behind it
        self.prompter = Prompter(loaded.processor, self.family, self.family.placeholder_ids(self.model))
        self.head = Head(self.model, self.family, self.prompter.first_tokens(candidates, question).to(self.device))
        self.layers = check_layers(layers, len(self.blocks))
        self.pad = loaded.processor.tokenizer.pad_token_id or 0
        self.batches = Batches(batch_size)

    def encode(self, samples: Sequence[Sample]) -> list[Encoded]:
        """Process the samples and run the tower, once for each.

        Raises
        ------
        ValueError
            If token embeddings hold NaN or Inf; the samples are named.
        """
        return [encoded for _, batch in self.batches(self._encode, samples) for encoded in batch]

    def questions(self, samples: Sequence[Sample]) -> list[Question]:
        """The tokens of the samples' questions; the tower does not run."""
        return [question for _, batch in self.batches(lambda some: self.prompter.tokenize(some)[1], samples) for question in batch]

    def answer(self, rows: Sequence[Row], lens: bool = False) -> dict[str, np.ndarray]:
        """Run the rows, those of like length together.

        Returns
        -------
        dict
            ``logits`` [rows, k] and ``log_normalizer`` [rows]; with ``lens`` also ``hidden`` [rows, L, d], ``lens_logits`` [rows, L, k] and
            ``lens_log_normalizer`` [rows, L]. float32, in the order of the rows.
        """
        order = sorted(range(len(rows)), key=lambda index: len(rows[index]))
        blocks = [self.blocks[layer] for layer in self.layers] if lens else []
        done = [(batch, read) for batch, read in self.batches(lambda some: self._forward([rows[index] for index in some], blocks), order)]
        back = np.argsort(np.concatenate([batch for batch, _ in done]))
        return {name: np.concatenate([read[name] for _, read in done])[back] for name in done[0][1]}

    def states(self, rows: Sequence[Row]) -> list[Float[np.ndarray, "length d"]]:
        """Run the rows, and give what the last block puts out at every token, float32."""
        return [state for _, batch in self.batches(self._states, rows) for state in batch]

    @torch.inference_mode()
    def _encode(self, samples: Sequence[Sample]) -> list[Encoded]:
        tower, questions, spans = self.prompter.tokenize(list(samples))
        tower = {name: value.to(self.device) for name, value in tower.items()}
        features = self._perceive(tower, [places for _, places in spans]) if tower else {}
        words = torch.cat([torch.from_numpy(question.language_ids) for question in questions]).to(self.device)
        words = self.embed(words).split([len(question.language_ids) for question in questions])
        encoded = []
        for index, (sample, question, (span, places)) in enumerate(zip(samples, questions, spans, strict=True)):
            layout = {name: tower[name][index : index + 1] for name in self.family.layout_inputs if tower}
            own = {name: some[index] for name, some in features.items()}
            encoded.append(Encoded(sample, Picture(span, places, layout, own), question, own | {"language": words[index]}))
        refuse_not_finite(encoded)
        return encoded

    def _perceive(self, tower: Mapping[str, Tensor], places: Sequence[Places]) -> dict[str, Sequence[Float[Tensor, "tokens levels*d"]]]:
        """Run the towers: for each modality but language the tokens of each sample."""

        def read(names):
            return {name: tower[name].to(self.dtype if tower[name].is_floating_point() else None) for name in names}

        features = {"vision": self.family.see(self.model, read(self.family.tower_inputs))}
        if self.family.hears:
            heard = self.family.hear(self.model, read(self.family.audio_inputs))
            features["audio"] = heard.split([int(one["audio"].sum()) for one in places])
        return features

    @torch.inference_mode()
    def _forward(self, rows: Sequence[Row], blocks: list) -> dict[str, np.ndarray]:
        hidden, states, _ = self._run(rows, blocks)
        logits, log_normalizer = self.head(hidden)
        read = {"logits": logits, "log_normalizer": log_normalizer}
        if blocks:
            read["hidden"] = torch.stack(states, 1).float()
            read["lens_logits"], read["lens_log_normalizer"] = self.head.lens(states)
        return {name: value.cpu().numpy() for name, value in read.items()}

    @torch.inference_mode()
    def _states(self, rows: Sequence[Row]) -> list[Float[np.ndarray, "length d"]]:
        _, (states,), last = self._run(rows, [self.blocks[-1]], everywhere=True)
        return [one[: end + 1].float().cpu().numpy() for one, end in zip(states, last, strict=True)]

    def _run(
        self, rows: Sequence[Row], blocks: list, everywhere: bool = False
    ) -> tuple[Float[Tensor, "rows d"], list[Float[Tensor, "rows *places d"]], Int[Tensor, " rows"]]:
        """The model's output at the last token of each row, that of the blocks there or everywhere, and where that is."""
        noise = [row.noise() for row in rows]
        fields, masks = _collate(rows, noise, self.pad)
        fields = {name: torch.from_numpy(value).to(self.device) for name, value in fields.items()}
        layout = {name: torch.cat([row.picture.layout[name] for row in rows]) for name in rows[0].picture.layout}
        tokens = {
            name: [absent.get(name, row.picture.features[name]) for row, absent in zip(rows, noise, strict=True)]
            for name in rows[0].picture.features
        }
        tokens["language"] = [absent["language"] for absent in noise if "language" in absent]
        tokens = {name: torch.cat([one.to(self.device, self.dtype) for one in some]) for name, some in tokens.items() if some}
        at = {name: torch.from_numpy(masks[name]).to(self.device) for name in tokens}

        def write(embeddings):
            written = {"inputs_embeds": embeddings.clone()}
            for name, some in tokens.items():
                if name == "vision" and self.family.cross:
                    written[self.family.cross] = some.view(len(rows), -1, some.shape[-1])
                    continue
                some, *levels = some.split(embeddings.shape[-1], -1)
                written["inputs_embeds"][at[name]] = some.to(embeddings.dtype)
                if levels:
                    written |= {"visual_pos_masks": at[name], "deepstack_visual_embeds": levels}
            return written

        # Padding stands on the right: every token keeps the position it has alone, and none of them sees what follows.
        last = fields["attention_mask"].sum(1) - 1
        each = torch.arange(len(rows), device=self.device)
        places = (slice(None), slice(None)) if everywhere else (each, last)
        with door(self.decoder, write), tap(blocks, *places) as states:
            arguments = {**fields, **layout, **dict(self.family.arguments)}
            hidden = self.body(**arguments, use_cache=False, return_dict=True).last_hidden_state
        if any(state is None for state in states):
            raise ValueError("asked for a block that looks at pictures alone and is passed over without one; leave it out of the layers")
        return hidden[each, last], states, last


def check_layers(layers: Sequence[int], depth: int) -> tuple[int, ...]:
    """Layers counted from 0, in the order asked for.

    >>> check_layers((0, -1), depth=4)
    (0, 3)

    Raises
    ------
    ValueError
        If the model has no such block.
    """
    outside = [layer for layer in layers if not -depth <= layer < depth]
    if outside:
        raise ValueError(f"no block {outside[0]}: the language model has {depth}, 0 to {depth - 1}; negative numbers count from the last")
    return tuple(layer % depth for layer in layers)


def refuse_not_finite(encoded: Sequence[Encoded]):
    """Raise a ValueError that names the samples with NaN or Inf among their token embeddings."""
    for name in encoded[0].tokens:
        bad = [one.sample.sample_id for one in encoded if not torch.isfinite(one.tokens[name]).all()]
        if bad:
            names = ", ".join(bad)
            raise ValueError(f"NaN or Inf in the {name} embeddings of {names}: check them, or load the model with dtype=torch.float32")


def _collate(rows: Sequence[Row], noise: Sequence[Mapping], pad: int) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Per-token fields of the model's forward pass, padded on the right, and the places where modalities are written."""
    shape, first = (len(rows), max(map(len, rows))), rows[0].question.head
    fields = {name: np.full(shape + value.shape[1:], pad if name == "input_ids" else 0) for name, value in first.items()}
    fields["attention_mask"] = np.zeros(shape, np.int64)
    masks = {name: np.zeros(shape, bool) for name in (*rows[0].picture.places, "language")}
    for index, row in enumerate(rows):
        head, tail, span = row.question.head, row.question.tail, row.picture.span
        end = len(row)
        start, stop = len(head["input_ids"]), end - len(tail["input_ids"])
        for name in head:
            fields[name][index, :end] = np.concatenate([head[name], span[name], tail[name]])
            if span[name].ndim > 1:  # what may look at the picture, and at which of its tiles, is the picture's to say
                fields[name][index, start:end] = span[name][-1]
        fields["attention_mask"][index, :end] = 1
        for name, places in row.picture.places.items():
            masks[name][index, start:stop] = places
        if "language" in noise[index]:
            masks["language"][index, :start] = row.question.head_is_language
            masks["language"][index, stop:end] = row.question.tail_is_language
    return fields, masks


def _is_out_of_memory(error: Exception) -> bool:
    return isinstance(error, (torch.OutOfMemoryError, MemoryError)) or "can't allocate memory" in str(error)
