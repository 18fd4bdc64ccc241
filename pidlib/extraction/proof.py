"""Proof: before a model is read, its masking is tested on made-up samples, once in a process.

The full pass is the model's own forward pass, a masked modality has no influence, and a row of a
batch is the row alone. A model that attends to a selection of tokens beyond some length is not
tested there: its own batches differ.
"""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from itertools import combinations
from weakref import WeakKeyDictionary

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.utils._pytree import keystr, tree_flatten_with_path

from pidlib.benchmarks import Sample
from pidlib.extraction.reader import Reader
from pidlib.extraction.rows import Row, collate
from pidlib.models.families import arguments_of


@dataclass(frozen=True)
class Proof:
    """Differences of logits, relative to the largest; those below `limit` are rounding."""

    limit: float
    lens: float  # of the lens of the last block and the answer
    batch: float  # of rows in a batch and alone; infinite if the batch fails
    stem: float  # of the prompt with a token of an answer behind it, and alone
    prefix: float  # of questions behind a picture that is read once, and alone; likewise


_PROVED: "WeakKeyDictionary[nn.Module, Proof]" = WeakKeyDictionary()


def prove(reader: Reader, sample: Sample) -> Proof:
    """Test a reader's model on noise of the same kind as the media of a sample.

    Sets the batch size to 1, with a warning, if rows of a batch influence each other. Raises a
    ValueError that names what else fails, such as what is received of a masked modality.
    """
    proof = _PROVED.get(reader.model) or _PROVED.setdefault(reader.model, _test(reader, sample))
    if proof.batch > proof.limit and reader.batch_size > 1:
        reader.batch_size = 1
        text = f"rows of a batch influence each other ({proof.batch:.1g} of the logits)"
        warnings.warn(f"{reader.family.name}: {text}; it runs with batch_size=1", stacklevel=3)
    reader.shares_prefixes = proof.prefix <= proof.limit
    if reader.places > 1 and proof.stem > proof.limit:
        text = "its prompt attends to the tokens of an answer"
        raise _fault(reader, f"{text}, so candidates must be single tokens; letter or rename them")
    if reader.layers and proof.lens > proof.limit:
        raise _fault(reader, f"its last logit lens is off by {proof.lens:.1g}; leave out layers")
    return proof


@torch.inference_mode()
def _test(reader: Reader, sample: Sample) -> Proof:
    first, second, longer = _questions(reader, sample)
    samples = {name: _made_up(sample, first, name) for name in ("", *reader.family.media)}
    samples["language"] = _made_up(sample, second)
    items = {name: reader._encode([each])[0] for name, each in samples.items()}
    item = items.pop("")
    masks = {name: tokens.flip(0) for name, tokens in item.tokens.items()}

    def answer(*rows: Row) -> Tensor:
        return reader._run(rows, [])[0][:, 0, 0].float()

    def gap(one: Tensor, other: Tensor) -> float:
        return float((one - other)[usual].abs().max() / whole[usual].abs().max())

    whole = answer(item)
    usual, limit = whole.abs() < 1e30, max(1e-4, 8 * torch.finfo(reader.dtype).eps)
    for name, other in items.items():
        for absent in ({name: masks[name]}, masks):
            with _received(reader) as received:
                pair = [answer(replace(each, noise=absent.copy)) for each in (item, other)]
            one, two = received[0], received[-1]
            leaks = [key for key in one if key not in two or not torch.equal(one[key], two[key])]
            if leaks or gap(*pair) > limit:
                raise _fault(reader, f"masked {name} is read in {', '.join(leaks) or 'its answer'}")
        if torch.equal(whole, answer(other)):
            raise _fault(reader, f"another {name} does not change the answer")
    if (own := gap(_own_answer(reader, samples[""]), whole)) > limit:
        raise _fault(reader, f"the full pass is not its own forward pass (off by {own:.1g})")
    batch = [samples[""], _made_up(sample, longer, "size"), samples["language"]]
    gaps = dict.fromkeys(("lens", "batch", "prefix"), float("inf"))  # if they cannot be computed
    with suppress(Exception):  # whatever a model raises
        together = answer(*reader._encode(batch)).split(1)
        alone = [answer(*reader._encode([each])) for each in batch]
        gaps["batch"] = max(map(gap, together, alone))
    with suppress(Exception):
        questions, answers = [item, items["language"], *reader._encode(batch[1:2])], []
        for reader.shares_prefixes in (False, True):  # is a picture read once for all, or alone?
            read = reader.answer([replace(each, picture=item.picture) for each in questions])
            answers.append(np.c_[read["logits"], read["log_normalizer"]])
        gaps["prefix"] = float(np.abs(np.subtract(*answers)).max() / np.abs(answers[0]).max())
    with suppress(RuntimeError, ValueError):
        gaps["lens"] = gap(*reader._run([item], reader.blocks[-1:])[0][:, 0].float().unbind(1))
    stem = answer(replace(item, stem=tuple(reader.candidates.vocabulary[:1])))
    return Proof(limit, stem=gap(whole, stem), **gaps)


def _fault(reader: Reader, fault: str) -> ValueError:
    return ValueError(f"{reader.family.name} cannot be read: on made-up samples, {fault}")


def _made_up(sample: Sample, question: str, changed: str = "") -> Sample:
    """Return noise in place of media; ``changed`` is other noise, or ``"size"`` of a picture."""

    def noise(name, shape):
        generator = np.random.default_rng([len(name), name == changed])
        return generator.integers(0, 256, shape, dtype=np.uint8)

    if sample.video is not None:
        sound = noise("audio", sample.audio.shape).astype(np.float32) / 256
        media = {"video": noise("vision", sample.video.shape), "audio": sound}
    else:
        shape = 64, 160 if changed == "size" else 96, 3
        media = {"image": Image.fromarray(noise("vision", shape))}
    return replace(sample, sample_id="made up", question=question, options="", **media)


def _questions(reader: Reader, sample: Sample) -> tuple[str, str, str]:
    """Make two questions with equally many tokens from the candidates, and a longer one."""
    words = sample.candidates[:4]  # in every order of a circle, so that each place differs
    texts = [" ".join(words[start:] + words[:start]) for start in range(len(words))] + [*words]
    questions = reader.questions([_made_up(sample, text) for text in texts])
    ids = [question.language_ids for question in questions]
    for (one, first), (other, second) in combinations(zip(texts, ids, strict=True), 2):
        if len(first) == len(second) and (first != second).any():
            return one, other, f"{one} {other}"
    raise _fault(reader, f"no two of {texts} have equally many tokens")


def _own_answer(reader: Reader, sample: Sample) -> Tensor:
    """Compute the logits of the model's own forward pass, with pixels."""
    inputs, ((question, picture),) = reader.prompter.tokenize([sample])
    fields, _ = collate([Row(picture, question)], [{}], reader.pad)
    inputs |= {name: torch.from_numpy(value).to(reader.device) for name, value in fields.items()}
    inputs = inputs.to(reader.device, reader.dtype)
    inputs = {name: inputs[name] for name in arguments_of(reader.model) & inputs.keys()}
    return reader.model(**inputs, **dict(reader.family.forward_kwargs)).logits[:, -1].float()


@contextmanager
def _received(reader: Reader) -> Iterator[list[dict[str, Tensor]]]:
    """Collect the tensors of every call of the language model, by their paths in the arguments."""
    calls = []

    def collect(decoder, args, kwargs):
        leaves, _ = tree_flatten_with_path({**dict(enumerate(args)), **kwargs})
        tensors = [(keystr(path), leaf) for path, leaf in leaves if isinstance(leaf, Tensor)]
        calls.append({path: tensor.clone() for path, tensor in tensors})

    decoder = reader.family.decoder_of(reader.model)
    with decoder.register_forward_pre_hook(collect, with_kwargs=True):
        yield calls
