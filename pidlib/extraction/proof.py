"""Proof: before a model is read, its masking is tested on made-up samples, once in a process.

What depends on length is not tested: models that attend to a selection of many tokens.
"""

import warnings
from contextlib import suppress
from dataclasses import replace
from itertools import combinations
from weakref import WeakKeyDictionary

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils._pytree import keystr, tree_flatten_with_path

from pidlib.benchmarks import Sample
from pidlib.extraction.reader import Encoded, Reader, Row, collate
from pidlib.models.families import arguments_of

_PROVED = WeakKeyDictionary()  # model -> by what its logit lens, and rows of a batch, are off


def prove(reader: Reader, sample: Sample):
    """Test a reader's model on noise of the same kind as the media of a sample.

    Warns and sets the reader's batch size to 1 if rows of a batch influence each other. Raises a
    ValueError that names what fails: what the language model receives of a masked modality, a
    modality without influence, a full pass that is not the model's own, or the lens of layers.
    """
    limit = max(1e-4, 8 * torch.finfo(reader.dtype).eps)  # relative to the largest logit
    if reader.model not in _PROVED:
        _PROVED[reader.model] = _test(reader, sample, limit)
    lens, batch = _PROVED[reader.model]
    if batch > limit and reader.batch_size > 1:
        reader.batch_size = 1
        text = f"rows of a batch influence each other ({batch:.1g} of the logits)"
        warnings.warn(f"{reader.family.name}: {text}; it runs with batch_size=1", stacklevel=3)
    if reader.layers and lens > limit:
        text = f"the logit lens of its last block is not its answer (off by {lens:.1g})"
        raise _fault(reader, f"{text}; leave out layers")


@torch.inference_mode()
def _test(reader: Reader, sample: Sample, limit: float) -> tuple[float, float]:
    first, second = _questions(reader, sample)
    samples = {name: _made_up(sample, first, name) for name in ("", *reader.family.media)}
    samples["language"] = _made_up(sample, second)
    others = {name: reader._encode([each])[0] for name, each in samples.items()}
    item = others.pop("")
    masks = {name: tokens.flip(0) for name, tokens in item.tokens.items()}

    def row(item: Encoded, *absent: str) -> Row:
        return Row(item.picture, item.question, lambda: {name: masks[name] for name in absent})

    def answer(*rows: Row) -> Tensor:
        return reader._run(rows, [])[0][:, 0].float()

    def gap(one: Tensor, other: Tensor) -> float:
        return float((one - other)[usual].abs().max() / whole[usual].abs().max())

    whole = answer(row(item))
    usual = whole.abs() < 1e30  # tokens that are not barred
    for name, other in others.items():
        for absent in ((name,), tuple(others)):
            pair = row(item, *absent), row(other, *absent)
            one, two = (_received(reader, each) for each in pair)
            leaks = [key for key in one if key not in two or not torch.equal(one[key], two[key])]
            if leaks or gap(*map(answer, pair)) > limit:
                raise _fault(reader, f"masked {name} is read in {', '.join(leaks) or 'the answer'}")
        if torch.equal(whole, answer(row(other))):
            raise _fault(reader, f"another {name} does not change the answer")
    inputs, ((question, picture),) = reader.prompter.tokenize([samples[""]])
    fields, _ = collate([Row(picture, question)], [{}], reader.pad)
    inputs |= {name: torch.from_numpy(value).to(reader.device) for name, value in fields.items()}
    inputs = inputs.to(reader.device, reader.dtype)
    named = {name: inputs[name] for name in arguments_of(reader.model) & inputs.keys()}
    own = reader.model(**named, **dict(reader.family.forward_kwargs)).logits[:, -1].float()
    if (off := gap(own, whole)) > limit:
        raise _fault(reader, f"the full pass is not its own forward pass (off by {off:.1g})")
    lens = batch = float("inf")  # if they cannot be computed
    with suppress(RuntimeError, ValueError):
        lens = gap(*reader._run([row(item)], reader.blocks[-1:])[0].float().unbind(1))
    with suppress(Exception):  # whatever a model raises
        rows = [samples[""], _made_up(sample, f"{first} {second}", "size"), samples["language"]]
        alone = [answer(row(*reader._encode([each]))) for each in rows]
        batch = max(map(gap, answer(*map(row, reader._encode(rows))).split(1), alone))
    return lens, batch


def _fault(reader: Reader, fault: str) -> ValueError:
    return ValueError(f"{reader.family.name} cannot be read: on made-up samples, {fault}")


def _made_up(sample: Sample, question: str, changed: str = "") -> Sample:
    """Return noise in place of media; ``changed`` is other noise, or ``"size"`` of a picture."""

    def noise(name, shape):
        generator = np.random.default_rng([len(name), name == changed])
        return generator.integers(0, 256, shape, dtype=np.uint8)

    media = {"image": Image.fromarray(noise("vision", (64, 160 if changed == "size" else 96, 3)))}
    if sample.video is not None:
        sound = noise("audio", sample.audio.shape).astype(np.float32) / 256
        media = {"video": noise("vision", sample.video.shape), "audio": sound}
    return replace(sample, sample_id="made up", question=question, options="", **media)


def _questions(reader: Reader, sample: Sample) -> tuple[str, str]:
    """Make two questions with equally many tokens out of the candidates."""
    words = sample.candidates[:4]  # in every order of a circle, so that each place differs
    texts = [" ".join(words[start:] + words[:start]) for start in range(len(words))]
    for pair in combinations([*texts, *words], 2):
        prompts = [reader.prompter.tokenize([_made_up(sample, text)])[1] for text in pair]
        one, other = (question.language_ids for ((question, _),) in prompts)
        if len(one) == len(other) and (one != other).any():
            return pair
    raise _fault(reader, f"no two of {[*texts, *words]} have equally many tokens")


class _Reached(Exception):
    """Ends a forward pass at the language model."""


def _received(reader: Reader, row: Row) -> dict[str, Tensor]:
    """Return every tensor that the language model is called with, by its path in the arguments."""

    def stop(module, args, kwargs):
        leaves, _ = tree_flatten_with_path({**dict(enumerate(args)), **kwargs})
        raise _Reached({keystr(path): leaf for path, leaf in leaves if isinstance(leaf, Tensor)})

    decoder = reader.family.decoder_of(reader.model)
    with (
        reader.prepared([row]) as inputs,
        decoder.register_forward_pre_hook(stop, with_kwargs=True),
    ):
        try:
            reader.runs(**inputs)
        except _Reached as reached:
            return reached.args[0]
    raise _fault(reader, "its forward pass does not call its language model")
