"""Training on clips: streams are swapped or replaced by noise, and tokens are classified too."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from itertools import chain, islice

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn.functional import cross_entropy
from torch.nn.utils.rnn import pad_sequence

from pidlib._common import derive_seed
from pidlib.benchmarks import Sample, micro_av
from pidlib.benchmarks.clips import FRAMES, Clip
from pidlib.benchmarks.pictures import FRAME
from pidlib.models import LoadedModel
from pidlib.training.loop import encode, step_generator
from pidlib.training.recipes import Recipe

CHUNK = 64  # samples processed together
AUDIO_INPUTS = ("input_features", "feature_attention_mask")
MOVING_ITEMS = [(color, way) for color in ("red", "blue") for way in ("left", "right")]
N_VISION, N_AUDIO = 1 + len(MOVING_ITEMS), 4  # classes of a vision token, and of an audio token
PITCH_BOUNDARY = 500  # Hz, between low and high


class ClipBatches:
    """Questions about n clips of equal length, processed once; batches combine their streams."""

    def __init__(self, mini: LoadedModel, pairs: Iterable[tuple[Sample, Clip]], n: int):
        self.ids, self.answers, self.clips, self.media = [], [], [], {}
        self.pad = mini.processor.tokenizer.pad_token_id
        pairs = iter(pairs)
        while chunk := list(islice(pairs, CHUNK)):
            samples, clips = zip(*chunk, strict=True)
            inputs = dict(encode(mini, samples))
            ids, mask = inputs.pop("input_ids"), inputs.pop("attention_mask").bool()
            start, stop = len(self.ids), len(self.ids) + len(ids)
            self.ids += [row[kept] for row, kept in zip(ids, mask, strict=True)]
            answers = [sample.answer for sample in samples]
            self.answers += mini.processor.tokenizer.convert_tokens_to_ids(answers)
            self.clips += clips
            for name, value in inputs.items():
                if isinstance(value, Tensor):
                    rows = value.reshape(len(ids), -1, *value.shape[1:])
                    if name not in self.media:  # allocated once, to avoid fragmentation
                        self.media[name] = rows.new_empty(n, *rows.shape[1:])
                    self.media[name][start:stop] = rows

    def batch(
        self, questions: Int[Tensor, " n"], videos: Int[Tensor, " n"], sounds: Int[Tensor, " n"]
    ) -> dict[str, Tensor]:
        """Return the inputs of a forward pass, padded on the left."""
        ids = [self.ids[index] for index in questions]
        mask = [torch.ones_like(row) for row in ids]
        options = {"batch_first": True, "padding_side": "left"}
        inputs = {
            "input_ids": pad_sequence(ids, padding_value=self.pad, **options),
            "attention_mask": pad_sequence(mask, **options),
        }
        for name, value in self.media.items():
            rows = sounds if name in AUDIO_INPUTS else videos
            inputs[name] = value[rows].flatten(0, 1)
        return inputs


@contextmanager
def mask_streams(
    mini: LoadedModel,
    ids: Int[Tensor, "n length"],
    masked: Mapping[str, Bool[Tensor, " n"]],
    generator: torch.Generator,
) -> Iterator[dict[str, Float[Tensor, "tokens d"]]]:
    """Replace the input embeddings of the masked rows of each stream by noise, in the context.

    The noise has the mean and spread of the batch's tokens; a mini learns to answer without a
    stream, as masking requires. Yields the tokens of each stream, row by row, before replacement.
    """
    placeholders = mini.family.placeholder_ids(mini.model)
    places = {name: ids == placeholders[name] for name in masked}
    streams = {}

    def write(module, args, kwargs):
        embeddings = kwargs["inputs_embeds"]
        written = embeddings.clone()
        for name, rows in masked.items():
            streams[name] = embeddings[places[name]]
            target = places[name] & rows[:, None]
            mean, std = streams[name].detach().mean(0), streams[name].detach().std(0)
            noise = torch.randn(int(target.sum()), len(mean), generator=generator)
            written[target] = noise * std + mean
        return args, kwargs | {"inputs_embeds": written}

    decoder = mini.family.decoder_of(mini.model)
    with decoder.register_forward_pre_hook(write, with_kwargs=True):
        yield streams


def token_labels(clip: Clip, grid: tuple[int, int, int], n_audio: int) -> dict[str, list[int]]:
    """Return the class of each token.

    Vision: 0, or 1 plus the index in `MOVING_ITEMS`, in the order of time and reading; audio: the
    pitches that sound (bit 0: low, bit 1: high).
    """
    times, rows, columns = grid
    vision = [0] * (times * rows * columns)
    for time in range(times):
        start, stop = time * FRAMES // times, (time + 1) * FRAMES // times
        frames = [clip.picture(frame).items for frame in range(start, stop)]
        for track, way in zip(zip(*frames, strict=True), clip.directions, strict=True):
            item, x = track[0], sum(place.x for place in track) // len(track)
            row = min(max(item.y * rows // FRAME, 0), rows - 1)
            column = min(max(x * columns // FRAME, 0), columns - 1)
            label = 1 + MOVING_ITEMS.index((item.color, way))
            vision[(time * rows + row) * columns + column] = label
    pitches = {tone.pitch > PITCH_BOUNDARY for tone in clip.tones}
    return {"vision": vision, "audio": [(False in pitches) + 2 * (True in pitches)] * n_audio}


def clip_loss(
    mini: LoadedModel, head: torch.nn.Module | None, recipe: Recipe
) -> Callable[[int], Tensor]:
    """Return the loss of a step: the cross-entropy of the answer and, by a head, of the tokens."""
    seed = derive_seed(recipe.seed, "answer")
    tasks = [name.split("/")[1] for name in recipe.mixture]
    pools = (micro_av.generate(task, "train", recipe.pool, seed) for task in tasks)
    batches = ClipBatches(mini, chain.from_iterable(pools), recipe.pool * len(tasks))
    weights = torch.tensor(list(recipe.mixture.values()))
    answers, kwargs = torch.tensor(batches.answers), dict(mini.family.forward_kwargs)
    merge = mini.processor.video_processor.merge_size
    time, height, width = batches.media["video_grid_thw"][0, 0].tolist()
    audio_id = mini.family.placeholder_ids(mini.model)["audio"]
    n_audio = int((batches.ids[0] == audio_id).sum())
    grid = time, height // merge, width // merge
    labels = [token_labels(clip, grid, n_audio) for clip in batches.clips]
    classes = {key: torch.tensor([label[key] for label in labels]) for key in labels[0]}

    def loss(step: int) -> Tensor:
        generator = step_generator(recipe, "answer", step)
        task = torch.multinomial(weights, recipe.batch, replacement=True, generator=generator)
        question, image, sound, hide_vision, hide_audio = (
            torch.rand(recipe.batch, generator=generator) for _ in range(5)
        )
        questions = task * recipe.pool + (question * recipe.pool).long()
        videos = torch.where(image < recipe.wrong_image_rate, questions.roll(1), questions)
        sounds = torch.where(sound < recipe.wrong_sound_rate, questions.roll(1), questions)
        inputs = batches.batch(questions, videos, sounds)
        rate = recipe.noise_rate
        masked = {"vision": hide_vision < rate, "audio": hide_audio < rate}
        with mask_streams(mini, inputs["input_ids"], masked, generator) as streams:
            logits = mini.model(**inputs, **kwargs).logits[:, -1]
        at_answer = cross_entropy(logits, answers[questions])
        if head is None:
            return at_answer
        vision, audio = head(streams["vision"])[:, :N_VISION], head(streams["audio"])[:, N_VISION:]
        at_vision = cross_entropy(vision, classes["vision"][videos].flatten())
        at_audio = cross_entropy(audio, classes["audio"][sounds].flatten())
        return at_answer + 4 * at_vision + at_audio

    return loss
