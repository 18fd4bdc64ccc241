"""Training on clips: each is processed once; streams may be those of others, or noise; and every token is asked what it stands for."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from itertools import chain, islice

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn.functional import cross_entropy

from pidlib.benchmarks import Sample, micro_av
from pidlib.benchmarks.clips import FRAMES, Clip
from pidlib.benchmarks.pictures import FRAME
from pidlib.experiment import derive_seed
from pidlib.extraction.masking import door
from pidlib.models.recipes import Recipe
from pidlib.models.registry import LoadedModel
from pidlib.models.training import encode, stream

CHUNK = 64  # samples that are processed together
SOUND = ("input_features", "feature_attention_mask")
THINGS = [(color, way) for color in ("red", "blue") for way in ("left", "right")]
MIDDLE = 500  # Hz, between low and high


class Films:
    """Questions about clips of one length, run through the processor once; a batch takes rows of each stream from any of them.

    Parameters
    ----------
    mini : LoadedModel
        Whose processor it is.
    made : iterable of (Sample, Clip)
        Questions about films with sound, and what these were made from; of the samples nothing is kept but what the processor makes.
    n : int
        How many.
    """

    def __init__(self, mini: LoadedModel, made: Iterable[tuple[Sample, Clip]], n: int):
        self.ids, self.answers, self.clips, self.media, made = [], [], [], {}, iter(made)
        self.pad = mini.processor.tokenizer.pad_token_id
        while some := list(islice(made, CHUNK)):
            samples, clips = zip(*some, strict=True)
            inputs = dict(encode(mini, samples))
            ids, kept, start = inputs.pop("input_ids"), inputs.pop("attention_mask").bool(), len(self.ids)
            self.ids += [one[keep] for one, keep in zip(ids, kept, strict=True)]
            self.answers += mini.processor.tokenizer.convert_tokens_to_ids([one.answer for one in samples])
            self.clips += clips
            for name, value in inputs.items():
                if isinstance(value, Tensor):
                    rows = value.reshape(len(ids), -1, *value.shape[1:])
                    if name not in self.media:  # at once: pieces of it would scatter the memory
                        self.media[name] = rows.new_empty(n, *rows.shape[1:])
                    self.media[name][start : start + len(ids)] = rows

    def batch(self, asked: Int[Tensor, " n"], seen: Int[Tensor, " n"], heard: Int[Tensor, " n"]) -> dict[str, Tensor]:
        """The inputs of the forward pass for questions ``asked`` of the films ``seen`` with the sound ``heard``, padded on the left."""
        ids = torch.nn.utils.rnn.pad_sequence([self.ids[i] for i in asked], batch_first=True, padding_value=self.pad, padding_side="left")
        kept = torch.nn.utils.rnn.pad_sequence([torch.ones_like(self.ids[i]) for i in asked], batch_first=True, padding_side="left")
        media = {name: value[heard if name in SOUND else seen].flatten(0, 1) for name, value in self.media.items()}
        return {"input_ids": ids, "attention_mask": kept, **media}


@contextmanager
def hiding(
    mini: LoadedModel, ids: Int[Tensor, "n length"], rows: Mapping[str, Bool[Tensor, " n"]], generator: torch.Generator
) -> Iterator[dict[str, Float[Tensor, "tokens d"]]]:
    """While open, the language model gets noise for the streams of some rows, of the mean and spread of the batch's own tokens.

    A mini that is trained so learns what can be told of an answer where a stream is missing; masking asks it just that. Yields the
    tokens of each stream, row by row, as they were before.
    """
    places = {name: ids == mini.family.placeholder_ids(mini.model)[name] for name in rows}
    streams = {}

    def write(embeddings):
        written = embeddings.clone()
        for name, hidden in rows.items():
            streams[name], at = embeddings[places[name]], places[name] & hidden[:, None]
            mean, std = streams[name].detach().mean(0), streams[name].detach().std(0)
            written[at] = torch.randn(int(at.sum()), len(mean), generator=generator) * std + mean
        return {"inputs_embeds": written}

    with door(mini.family.decoder_of(mini.model), write):
        yield streams


def labels(clip: Clip, grid: tuple[int, int, int], n_heard: int) -> dict[str, list[int]]:
    """What each token stands for: of film, in the order of time and reading, nothing or one of `THINGS`; of sound, which pitches sound."""
    times, rows, columns = grid
    seen = [0] * (times * rows * columns)
    for time in range(times):
        frames = [clip.picture(frame).items for frame in range(time * FRAMES // times, (time + 1) * FRAMES // times)]
        for item, way, *others in zip(frames[0], clip.directions, *frames[1:], strict=True):
            x = (item.x + sum(one.x for one in others)) // len(frames)
            row, column = min(max(item.y * rows // FRAME, 0), rows - 1), min(max(x * columns // FRAME, 0), columns - 1)
            seen[(time * rows + row) * columns + column] = 1 + THINGS.index((item.color, way))
    pitches = {tone.pitch > MIDDLE for tone in clip.tones}
    return {"vision": seen, "audio": [(False in pitches) + 2 * (True in pitches)] * n_heard}


def listening(mini: LoadedModel, head: torch.nn.Module, recipe: Recipe) -> Callable[[int], Tensor]:
    """The loss of training on clips: the answer's word, next after the prompt, and what each token of film and sound stands for."""
    seed = derive_seed(recipe.seed, "answer")
    pools = (micro_av.generate(name.split("/")[1], "train", recipe.pool, seed) for name in recipe.mixture)
    films = Films(mini, chain.from_iterable(pools), recipe.pool * len(recipe.mixture))
    weights = torch.tensor(list(recipe.mixture.values()))
    answers, arguments = torch.tensor(films.answers), dict(mini.family.arguments)
    marks = mini.family.placeholder_ids(mini.model)
    merge = mini.processor.video_processor.merge_size
    time, height, width = films.media["video_grid_thw"][0, 0].tolist()
    shape = (time, height // merge, width // merge), int((films.ids[0] == marks["audio"]).sum())
    found = [labels(clip, *shape) for clip in films.clips]
    stands_for = {name: torch.tensor([one[name] for one in found]) for name in ("vision", "audio")}

    def loss(step: int) -> Tensor:
        generator = stream(recipe, "answer", step)
        tasks = torch.multinomial(weights, recipe.batch, replacement=True, generator=generator)
        draws = {name: torch.rand(recipe.batch, generator=generator) for name in ("question", "blind", "deaf", "vision", "audio")}
        asked = tasks * recipe.pool + (draws["question"] * recipe.pool).long()
        seen, heard = (torch.where(draws[name] < getattr(recipe, name), asked.roll(1), asked) for name in ("blind", "deaf"))
        inputs = films.batch(asked, seen, heard)
        hidden = {name: draws[name] < recipe.hidden for name in ("vision", "audio")}
        with hiding(mini, inputs["input_ids"], hidden, generator) as streams:
            logits = mini.model(**inputs, **arguments).logits[:, -1]
        at_film = cross_entropy(head(streams["vision"])[:, : 1 + len(THINGS)], stands_for["vision"][seen].flatten())
        at_sound = cross_entropy(head(streams["audio"])[:, 1 + len(THINGS) :], stands_for["audio"][heard].flatten())
        return cross_entropy(logits, answers[asked]) + 4 * at_film + at_sound

    return loss
