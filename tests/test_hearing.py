"""Films with their sound: each of the eight presence patterns is given what it says and nothing else, on one clock."""

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
from pidlib.extraction.reader import Reader, Row
from pidlib.models import films, training
from pidlib.models.recipes import RECIPES

NAMES = ("vision", "audio", "language")
PATTERNS = ["+".join(some) or "none" for some in chain.from_iterable(combinations(NAMES, size) for size in range(4))]


def _job(some):
    model = hearing()
    return Job(Reader(model, some[0].candidates, (), some[0].question, 8), some, {key: Pass.parse(key) for key in PATTERNS}, 0, 0)


@pytest.fixture(scope="module")
def answers():
    """What is answered to two samples, and to the same with other films, other sounds, other questions of equal length."""
    first = [film(0), film(2)]
    changed = {
        "nothing": first,
        "vision": [replace(one, video=film(7 + index).video) for index, one in enumerate(first)],
        "audio": [replace(one, audio=film(7 + index).audio) for index, one in enumerate(first)],
        "language": [replace(one, question=one.question.replace("red", "blue")) for one in first],
    }
    assert all("red" in one.question for one in first)
    statistics = _job([film(index) for index in range(10)]).statistics()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Job, "statistics", lambda self: statistics)
        return {name: extract(hearing(), some, passes=PATTERNS, progress=False).logits for name, some in changed.items()}


@pytest.mark.parametrize("key", PATTERNS)
@pytest.mark.parametrize("modality", NAMES)
def test_a_hidden_modality_has_no_influence_and_a_given_one_has(answers, key, modality):
    before, after = answers["nothing"][key], answers[modality][key]
    if modality in key.split("+"):
        assert np.abs(before - after).min() > 1e-5
    else:
        np.testing.assert_array_equal(before, after)


def test_every_draw_of_the_noise_is_another():
    some = [film(index) for index in range(4)]
    read = extract(hearing(), some, passes=("language", "language#1", "audio+language", "audio+language#1"), progress=False).logits
    for key in ("language", "audio+language"):
        assert np.abs(read[key] - read[f"{key}#1"]).min() > 1e-5


@pytest.mark.parametrize("seconds", [1, 3])
def test_positions_are_one_clock_and_equal_in_all_passes(seconds):
    some = [film(index, seconds=seconds) for index in (0, 1)]
    job, seen = _job(some), []
    job.calibrate(_job([film(index) for index in range(10)]).statistics())
    encoded = job.reader.encode(some)

    def spy(module, args, kwargs):
        seen.append(kwargs["position_ids"])

    handle = job.reader.decoder.register_forward_pre_hook(spy, with_kwargs=True)
    try:
        for given in job.passes.values():
            job.reader.answer([Row(one.picture, one.question, lambda one=one, given=given: job.noise(one, given)) for one in encoded])
    finally:
        handle.remove()
    assert len(seen) == len(PATTERNS) and all(torch.equal(one, seen[0]) for one in seen)
    shorter = min(encoded, key=lambda one: len(one.question))  # rows of like length go together, the shorter first
    span, start = shorter.picture, len(shorter.question.head["input_ids"])
    time = seen[0][0, 0][start : start + len(span.span["input_ids"])]
    vision, audio = (time[torch.from_numpy(span.places[name])] for name in ("vision", "audio"))
    assert vision.unique().numel() == 2 * seconds and audio.unique().numel() == len(audio) == 25 * seconds
    assert (vision.diff() >= 0).all() and (audio.diff() == 1).all()  # both in the order of time
    assert vision[0] == audio[0] and abs(int(vision[-1]) - int(audio[-1])) <= 13  # and on one clock: 25 steps a second


def test_film_and_sound_of_a_long_clip_take_turns():
    places = _job([film(0, seconds=3)]).reader.encode([film(0, seconds=3)])[0].picture.places
    turns = np.flatnonzero(np.diff(places["audio"].astype(int)) == 1)
    assert len(turns) == 3 and not (places["vision"] & places["audio"]).any()


def test_the_answer_depends_neither_on_the_batch_nor_on_padding_nor_on_the_run(tmp_path):
    some = [film(index) for index in range(10)]
    assert len({len(one.question.split()) for one in some}) > 1
    asked = {"passes": PATTERNS, "layers": (0, -1), "progress": False}
    eight = extract(hearing(), some, batch_size=8, folder=tmp_path, **asked)
    again = extract(hearing(), some, batch_size=8, folder=tmp_path, **asked)
    alone = extract(hearing(), some, batch_size=1, **asked)
    for key in PATTERNS:
        np.testing.assert_array_equal(eight.logits[key], again.logits[key])
        np.testing.assert_allclose(eight.logits[key], alone.logits[key], rtol=0, atol=1e-5)
        np.testing.assert_allclose(eight.lens_logits[key], alone.lens_logits[key], rtol=0, atol=1e-5)
    assert eight.templates == tuple(one.template for one in some) and eight.questions == tuple(one.question for one in some)
    assert {name: rows.shape for name, rows in eight.embeddings.items()} == dict.fromkeys(NAMES, (10, 32))


def test_the_full_pass_is_the_models_own():
    model, one = hearing(), film(0)
    found = extract(model, [one], passes=("vision+audio+language",), progress=False).logits["vision+audio+language"][0]
    inputs = training.encode(model, [one])
    with torch.inference_mode():
        logits = model.model(**{**inputs, **dict(model.family.arguments)}).logits[0, -1]
    ids = model.processor.tokenizer.convert_tokens_to_ids(list(one.candidates))
    np.testing.assert_allclose(found, logits[ids].numpy(), rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"audio": None}, "no sound: film/1"),
        ({"video": None}, "no film: film/1"),
        ({"audio": np.full(16_000, np.nan, np.float32)}, "NaN or Inf in the sound: film/1"),
        ({"audio": np.zeros(16_000)}, "float64"),
        ({"video": np.zeros((4, 48, 48), np.uint8)}, "film is not an array of uint8"),
    ],
)
def test_what_cannot_be_seen_or_heard_is_named(change, message):
    with pytest.raises(ValueError, match=message):
        extract(hearing(), [film(0), replace(film(1), **change)], progress=False, passes=("vision+audio+language",))


def test_pictures_are_refused_and_so_is_sound_for_those_that_see_alone():
    picture = benchmarks.load("micro/scene", "test", 1)
    with pytest.raises(ValueError, match="films with sound, and the samples hold pictures"):
        extract(hearing(), picture, passes=("vision+language",), progress=False)
    with pytest.raises(ValueError, match="pictures, and the samples hold films with sound"):
        extract(models.load("llava", device="cpu"), [film(0)], passes=("vision+audio+language",), progress=False)


def test_a_saved_mini_loads_the_same(tmp_path):
    model, some = hearing(), [film(0, seconds=3), film(1, seconds=3)]  # of more than one stretch of film and sound
    model.model.save_pretrained(tmp_path)
    model.processor.save_pretrained(tmp_path)
    again = models.load(tmp_path, device="cpu")
    assert again.processor.seconds_per_chunk == again.model.config.seconds_per_chunk == 1
    assert again.family.hears and again.model.dtype == torch.float32
    full = ("vision+audio+language",)
    before, after = (extract(one, some, passes=full, progress=False).logits[full[0]] for one in (model, again))
    np.testing.assert_array_equal(before, after)


def test_films_keep_their_size_where_the_processor_of_films_takes_it():
    model, one = hearing(), film(0)
    assert "size" in Prompter(model.processor, model.family, {}).media([one])
    real = copy.deepcopy(model.processor)
    real.video_processor.size = {"shortest_edge": 3136, "longest_edge": 12845056}  # as that of Qwen2.5-Omni says
    assert "size" not in Prompter(real, model.family, {}).media([one])  # so the processor's own holds


def test_tokens_stand_for_what_is_at_their_place():
    clip = next(clip for _, clip in benchmarks.micro_av.generate("visual", "train", 1))
    found = films.labels(clip, (2, 3, 3), 25)
    assert len(found["vision"]) == 18 and sum(map(bool, found["vision"][:9])) == len(clip.items)
    assert {films.THINGS[label - 1] for label in found["vision"] if label} == {
        (item.color, way) for item, way in zip(clip.items, clip.directions, strict=True)
    }
    low, high = (any((tone.pitch > films.MIDDLE) == above for tone in clip.tones) for above in (False, True))
    assert found["audio"] == [low + 2 * high] * 25


def test_streams_that_are_hidden_reach_the_language_model_as_noise_and_others_as_they_are():
    model = hearing()
    inputs = training.encode(model, [film(index) for index in range(6)])
    rows = {"vision": torch.tensor([True, False, False] * 2), "audio": torch.zeros(6, dtype=torch.bool)}
    entered = []
    with films.hiding(model, inputs["input_ids"], rows, torch.Generator().manual_seed(0)) as streams:
        decoder = model.family.decoder_of(model.model)
        handle = decoder.register_forward_pre_hook(lambda module, args, kwargs: entered.append(kwargs["inputs_embeds"]), with_kwargs=True)
        with torch.inference_mode():
            model.model(**{**inputs, **dict(model.family.arguments)})
        handle.remove()
    marks = model.family.placeholder_ids(model.model)
    for name in ("vision", "audio"):
        after = entered[0][inputs["input_ids"] == marks[name]].view(6, -1, 32)
        changed = (after != streams[name].view_as(after)).all(-1).all(-1)
        assert torch.equal(changed, rows[name])


def test_training_goes_on_where_it_stopped(tmp_path, monkeypatch):
    recipe = replace(RECIPES["qwen2_5_omni_compact"], size="tiny", answers=3, batch=4, pool=4)
    mini = hearing()

    def trained(folder, steps):
        whole = torch.nn.ModuleDict({"model": copy.deepcopy(mini.model), "head": _head()})
        loss = films.listening(replace(mini, model=whole["model"]), whole["head"], recipe)

        def stopping(step):
            if step == steps:
                raise KeyboardInterrupt
            return loss(step)

        training.fit(whole, stopping, recipe.answers, recipe, "answer", folder)
        return whole.state_dict()

    monkeypatch.setattr(training, "EVERY", 1)
    with pytest.raises(KeyboardInterrupt):
        trained(tmp_path / "broken", 2)
    broken, whole = trained(tmp_path / "broken", -1), trained(tmp_path / "whole", -1)
    assert all(torch.equal(broken[name], whole[name]) for name in whole)


def _head():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return torch.nn.Linear(32, 1 + len(films.THINGS) + 4)
