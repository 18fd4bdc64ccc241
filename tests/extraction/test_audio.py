"""Clips with sound: each of the eight passes receives its modalities and no other."""

import copy
from dataclasses import replace
from itertools import chain, combinations

import numpy as np
import pytest
import torch
from small_world import film, hearing

from pidlib import benchmarks, models
from pidlib.extraction import extract
from pidlib.extraction.job import Job
from pidlib.extraction.masking import Pass
from pidlib.extraction.prompts import Prompter
from pidlib.extraction.reader import Reader
from pidlib.extraction.rows import Row
from pidlib.training import loop

NAMES = ("vision", "audio", "language")
PATTERNS = [
    "+".join(data) or "none"
    for data in chain.from_iterable(combinations(NAMES, size) for size in range(4))
]


def _job(data):
    model = hearing()
    return Job(
        Reader(model, data[0].candidates, (), data[0].question, 8),
        data,
        {key: Pass.parse(key) for key in PATTERNS},
        0,
        0,
    )


@pytest.fixture(scope="module")
def answers():
    """Answers to two samples, and with other videos, sounds or questions of equal length."""
    first = [film(0), film(2)]
    changed = {
        "nothing": first,
        "vision": [replace(item, video=film(7 + index).video) for index, item in enumerate(first)],
        "audio": [replace(item, audio=film(7 + index).audio) for index, item in enumerate(first)],
        "language": [
            replace(item, question=item.question.replace("red", "blue")) for item in first
        ],
    }
    assert all("red" in item.question for item in first)
    statistics = _job([film(index) for index in range(10)]).statistics()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Job, "statistics", lambda self: statistics)
        return {
            name: extract(hearing(), data, passes=PATTERNS, progress=False).logits
            for name, data in changed.items()
        }


@pytest.mark.parametrize("key", PATTERNS)
@pytest.mark.parametrize("modality", NAMES)
def test_only_present_modalities_have_influence(answers, key, modality):
    before, after = answers["nothing"][key], answers[modality][key]
    if modality in key.split("+"):
        assert np.abs(before - after).min() > 1e-5
    else:
        np.testing.assert_array_equal(before, after)


def test_draws_of_the_noise_differ():
    data = [film(index) for index in range(4)]
    read = extract(
        hearing(),
        data,
        passes=("language", "language#1", "audio+language", "audio+language#1"),
        progress=False,
    ).logits
    for key in ("language", "audio+language"):
        assert np.abs(read[key] - read[f"{key}#1"]).min() > 1e-5


@pytest.mark.parametrize("seconds", [1, 3])
def test_position_ids_are_synchronized_and_equal_in_all_passes(seconds):
    data = [film(index, seconds=seconds) for index in (0, 1)]
    job, seen = _job(data), []
    job.moments = _job([film(index) for index in range(10)]).statistics().arrays
    encoded = job.reader.encode(data)

    def spy(module, args, kwargs):
        seen.append(kwargs["position_ids"])

    decoder = job.reader.family.decoder_of(job.reader.model)
    handle = decoder.register_forward_pre_hook(spy, with_kwargs=True)
    try:
        for given in job.passes.values():
            job.reader.answer(
                [
                    Row(
                        item.picture,
                        item.question,
                        lambda item=item, given=given: job.noise(item, given),
                    )
                    for item in encoded
                ]
            )
    finally:
        handle.remove()
    assert len(seen) == len(PATTERNS) and all(torch.equal(item, seen[0]) for item in seen)
    shorter = min(
        encoded, key=lambda item: len(item.question.is_language)
    )  # rows of like length go together, the shorter first
    span, start = shorter.picture, shorter.question.start
    time = seen[0][0, 0][start : start + len(span.span["input_ids"])]
    vision, audio = (time[torch.from_numpy(span.places[name])] for name in ("vision", "audio"))
    assert (
        vision.unique().numel() == 2 * seconds
        and audio.unique().numel() == len(audio) == 25 * seconds
    )
    assert (vision.diff() >= 0).all() and (audio.diff() == 1).all()  # both in the order of time
    assert (
        vision[0] == audio[0] and abs(int(vision[-1]) - int(audio[-1])) <= 13
    )  # and on item clock: 25 steps a second


def test_video_and_sound_tokens_of_a_long_clip_are_interleaved():
    places = _job([film(0, seconds=3)]).reader.encode([film(0, seconds=3)])[0].picture.places
    turns = np.flatnonzero(np.diff(places["audio"].astype(int)) == 1)
    assert len(turns) == 3 and not (places["vision"] & places["audio"]).any()


def test_batch_padding_and_reruns_do_not_change_clips(tmp_path):
    data = [film(index) for index in range(10)]
    assert len({len(item.question.split()) for item in data}) > 1
    arguments = {"passes": PATTERNS, "layers": (0, -1), "progress": False}
    eight = extract(hearing(), data, batch_size=8, cache=tmp_path, **arguments)
    again = extract(hearing(), data, batch_size=8, cache=tmp_path, **arguments)
    alone = extract(hearing(), data, batch_size=1, **arguments)
    for key in PATTERNS:
        np.testing.assert_array_equal(eight.logits[key], again.logits[key])
        np.testing.assert_allclose(eight.logits[key], alone.logits[key], rtol=0, atol=1e-5)
        np.testing.assert_allclose(
            eight.lens_logits[key], alone.lens_logits[key], rtol=0, atol=1e-5
        )
    assert eight.templates == tuple(item.template for item in data) and eight.questions == tuple(
        item.question for item in data
    )
    assert {name: rows.shape for name, rows in eight.embeddings.items()} == dict.fromkeys(
        NAMES, (10, 32)
    )


def test_full_pass_of_a_clip_equals_the_models_forward():
    model, item = hearing(), film(0)
    result = extract(model, [item], passes=("vision+audio+language",), progress=False).logits[
        "vision+audio+language"
    ][0]
    inputs = loop.encode(model, [item])
    with torch.inference_mode():
        logits = model.model(**{**inputs, **dict(model.family.forward_kwargs)}).logits[0, -1]
    ids = model.processor.tokenizer.convert_tokens_to_ids(list(item.candidates))
    np.testing.assert_allclose(result, logits[ids].numpy(), rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"audio": None}, "no sound: film/1"),
        ({"video": None}, "no video: film/1"),
        ({"audio": np.full(16_000, np.nan, np.float32)}, "NaN or Inf in the sound: film/1"),
        ({"audio": np.zeros(16_000)}, "float64"),
        ({"audio": np.full(16_000, 3e4, np.float32)}, "film/1: the sound reaches 30000, outside"),
        ({"audio": np.zeros(16_000 * 400, np.float32)}, "soundtracks longer than the .* film/1"),
        ({"audio": np.zeros(48_000, np.float32)}, "frames per second; resample them to one rate"),
        ({"video": np.zeros((4, 48, 48), np.uint8)}, "video must be an array of uint8"),
    ],
)
def test_malformed_clips_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        extract(
            hearing(),
            [film(0), replace(film(1), **change)],
            progress=False,
            passes=("vision+audio+language",),
        )


def test_sampling_rate_of_another_model_is_refused():
    model = replace(hearing(), processor=copy.deepcopy(hearing().processor))
    model.processor.feature_extractor.sampling_rate = 24_000
    with pytest.raises(ValueError, match="takes sound at 24000 Hz and samples have 16000 Hz"):
        extract(model, [film(0)], progress=False, passes=("vision+audio+language",))


def test_samples_must_fit_the_model():
    picture = benchmarks.load("micro/scene", "test", 1)
    with pytest.raises(ValueError, match="takes video with sound and the samples hold pictures"):
        extract(hearing(), picture, passes=("vision+language",), progress=False)
    with pytest.raises(ValueError, match="takes pictures and the samples hold video with sound"):
        extract(
            models.load_model("llava", device="cpu"),
            [film(0)],
            passes=("vision+audio+language",),
            progress=False,
        )


def test_saved_audio_model_loads_identically(tmp_path):
    model, data = (
        hearing(),
        [film(0, seconds=3), film(1, seconds=3)],
    )  # of more than item stretch of film and sound
    model.model.save_pretrained(tmp_path)
    model.processor.save_pretrained(tmp_path)
    again = models.load_model(tmp_path, device="cpu")
    assert again.processor.seconds_per_chunk == again.model.config.seconds_per_chunk == 1
    assert again.family.has_audio and again.model.dtype == torch.float32
    full = ("vision+audio+language",)
    before, after = (
        extract(item, data, passes=full, progress=False).logits[full[0]] for item in (model, again)
    )
    np.testing.assert_array_equal(before, after)


def test_video_size_follows_the_smaller_processor():
    model, item = hearing(), film(0)
    assert "size" in Prompter(model).media([item])
    real = copy.deepcopy(model.processor)
    real.video_processor.size = {
        "shortest_edge": 3136,
        "longest_edge": 12845056,
    }  # as that of Qwen2.5-Omni says
    assert "size" not in Prompter(replace(model, processor=real)).media(
        [item]
    )  # so the processor's own holds
