"""The minis: vocabulary, training, and what is shipped."""

import json
import re
from dataclasses import asdict

import pytest
import torch
from safetensors.torch import load_file
from small_world import random_model

from pidlib import benchmarks
from pidlib.experiments.preset import load_preset
from pidlib.models import family_named, load_model
from pidlib.models.load import MINIS
from pidlib.training import loop, minis, tiny
from pidlib.training.recipes import DEEP, RECIPES, ContinuedRecipe, Recipe

SHIPPED = sorted(path.parent.name for path in MINIS.glob("*/config.json"))
KNOWN = RECIPES | DEEP
CONTINUED = [name for name in SHIPPED if isinstance(KNOWN[name], ContinuedRecipe)]
CARD_NAMES = {  # the shipped cards have former names of some fields
    "looks": "tower_steps",
    "answers": "answer_steps",
    "blind": "wrong_image_rate",
    "deaf": "wrong_sound_rate",
    "hidden": "noise_rate",
}


def test_vocabulary_of_the_minis_is_closed():
    tokenizer = load_model("llava_compact", device="cpu").processor.tokenizer
    words = minis.vocabulary(n=512)
    assert words | tiny._WORDS <= set(tokenizer.get_vocab())
    assert tokenizer.get_vocab() == random_model("llava", words)[1].tokenizer.get_vocab()
    for name in minis.benchmarks_of("llava"):
        for sample in benchmarks.load(name, "test", 50):
            for text in (sample.question, *sample.candidates):
                assert tokenizer.unk_token_id not in tokenizer(text)["input_ids"], text
            ids = tokenizer.convert_tokens_to_ids(list(sample.candidates))
            assert len(set(ids)) == len(sample.candidates)


def test_added_tasks_need_no_new_words():
    for audio, family in enumerate(("llava", "qwen2_5_omni")):
        name = ("llava_compact", "qwen2_5_omni_compact")[audio]
        known = set(load_model(name, device="cpu").processor.tokenizer.get_vocab())
        pairs = set(minis.benchmarks_of(family)) & set(benchmarks.names("pairs"))
        assert pairs == {*KNOWN[name].added} and len(pairs) == 2 - audio
        assert minis.vocabulary(sorted(pairs), 64) <= known


@pytest.fixture
def recipe():
    return Recipe(
        "llava",
        "tiny",
        4,
        4,
        batch=8,
        pool=16,
        mixture={"micro/scene": 1.0, "micro/grounding": 1.0},
        added={"micro/pair": 1.0},
        added_share=0.5,
    )


def test_interrupted_training_ends_with_the_same_weights(recipe, tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "EVERY", 1)
    monkeypatch.setattr(minis, "evaluate", lambda mini: {})
    monkeypatch.setattr(minis, "training_words", lambda family: minis.vocabulary(n=64))
    minis.train("whole", recipe, tmp_path / "uninterrupted" / "whole")
    intact = minis._answer_loss

    def broken(*arguments):
        loss = intact(*arguments)

        def stops(step):
            if step == 2:
                raise KeyboardInterrupt
            return loss(step)

        return stops

    monkeypatch.setattr(minis, "_answer_loss", broken)
    with pytest.raises(KeyboardInterrupt):
        minis.train("broken", recipe, tmp_path / "broken")
    monkeypatch.setattr(minis, "_answer_loss", intact)
    minis.train("broken", recipe, tmp_path / "broken")
    whole, broken = (
        load_file(tmp_path / name / "model.safetensors")
        for name in ("uninterrupted/whole", "broken")
    )
    assert all(torch.equal(whole[name], broken[name]) for name in whole)
    assert not list((tmp_path / "broken").glob("*.checkpoint"))


def test_third_stage_has_the_old_and_the_added_tasks(recipe):
    third = recipe.extended()
    assert third.mixture == {"micro/scene": 1.0, "micro/grounding": 1.0, "micro/pair": 1.0}
    assert third.answer_steps == 2 and third.learning_rate == recipe.learning_rate / 4
    for name, known in KNOWN.items():
        audio = family_named(known.family).has_audio
        assert all(key.startswith("micro_av/") == audio for key in known.extended().mixture), name
        assert (known.added_share == 0) == isinstance(known, ContinuedRecipe)


def test_stages_follow_each_other_and_the_command_trains_the_named(recipe, tmp_path, monkeypatch):
    monkeypatch.setattr(minis, "evaluate", lambda mini: {})
    monkeypatch.setattr(minis, "training_words", lambda family: minis.vocabulary(n=64))
    stages, intact = [], minis.fit_stage
    monkeypatch.setattr(minis, "fit_stage", lambda *a: stages.append((a[4], a[2])) or intact(*a))
    minis.train("mini", recipe, tmp_path / "mini")
    assert stages == [("look", 4), ("answer", 4), ("added", 2)]
    calls = []
    monkeypatch.setattr(minis, "train", lambda name, *_: calls.append(name) or {})
    minis.main(["train", "llava", "llava_deep"])
    assert calls == ["llava", "llava_deep"]


@pytest.mark.parametrize("name", DEEP)
def test_deep_mini_has_twelve_blocks_and_a_small_file(name):
    family = DEEP[name].family
    words = load_model(family, device="cpu").processor.tokenizer.get_vocab()
    model, _ = tiny.build(family, words, DEEP[name].size)
    assert len(family_named(family).blocks_of(model)) == 12
    assert 1e6 < model.num_parameters() < 2e6


def test_attributes_are_at_the_places_of_the_items():
    picture = next(picture for _, picture in benchmarks.micro.generate("grounding", "train", 1))
    labels = minis._attributes(picture)
    assert len(labels) == 16
    cells = [labels[row * 4 + column] for row in range(4) for column in range(4)]
    assert sum(map(bool, cells)) == 4
    for item in picture.items:
        assert (
            minis.ATTRIBUTES[labels[item.y // 16 * 4 + item.x // 16]]
            == f"{item.color} {item.shape}"
        )


def card(name):
    """Read recipe and accuracy off the card of a mini."""
    text = (MINIS / name / "README.md").read_text()
    recipe = json.loads(text.split("```json")[1].split("```")[0])
    rows = re.findall(r"\| ([\w/]+) \| ([\d.]+) \|", text)
    recipe = {CARD_NAMES.get(key, key): value for key, value in recipe.items()}
    return recipe, {benchmark: float(value) for benchmark, value in rows}


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_mini_has_the_accuracy_on_its_card(name):
    recipe, accuracy_on_card = card(name)
    added = {"added", "added_share"}  # not on the cards of minis without the third stage
    declared = asdict(KNOWN[name])
    assert recipe == {key: declared[key] for key in declared if key in recipe or key not in added}
    accuracy = minis.evaluate(load_model(name, device="cpu"), n=64)
    third = set(benchmarks.names("pairs")) if not added & set(recipe) else set()
    assert set(accuracy) - third == set(accuracy_on_card)
    for benchmark, expected in accuracy_on_card.items():
        value = accuracy[benchmark]
        error = (max(expected * (1 - expected), 0.01) / 64) ** 0.5  # of a share of 64 questions
        assert abs(value - expected) <= 4 * error, (benchmark, value)


@pytest.mark.parametrize("name", CONTINUED)
def test_continued_mini_differs_from_its_start_in_the_last_blocks_only(name):
    loaded, start = load_model(name, device="cpu"), load_model(KNOWN[name].start, device="cpu")
    before, blocks = dict(start.model.named_parameters()), loaded.family.blocks_of(loaded.model)
    last = {id(weight) for block in blocks[len(blocks) // 2 :] for weight in block.parameters()}
    for path, weight in loaded.model.named_parameters():
        assert id(weight) in last or torch.equal(weight, before[path])
    assert not all(
        torch.equal(weight, before[path])
        for path, weight in loaded.model.named_parameters()
        if id(weight) in last
    )


@pytest.mark.parametrize("name", load_preset("offline").models)
def test_exemplars_answer_almost_everything(name):
    _, accuracy = card(name)
    for benchmark, value in accuracy.items():
        assert value >= (0.98 if benchmark.startswith("micro/") else 0.95), (benchmark, value)


def test_population_is_varied_and_small():
    names = load_preset("offline").population
    assert set(RECIPES) <= set(SHIPPED) <= set(KNOWN)
    pictures = {name for name in RECIPES if not family_named(RECIPES[name].family).has_audio}
    assert set(names) == pictures - set(CONTINUED) and len(names) == 20
    recipes = [RECIPES[name] for name in names]
    assert (
        len({recipe.family for recipe in recipes}) >= 7
        and len({recipe.size for recipe in recipes}) == 2
    )
    files = [path for name in SHIPPED for path in (MINIS / name).iterdir()]
    assert (
        sum(path.stat().st_size for path in files) < 45e6
        and max(path.stat().st_size for path in files) < 5e6
    )
