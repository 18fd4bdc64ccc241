"""Small instances of real architectures, loading, and the training of the minis."""

import json
import re
from dataclasses import asdict, replace

import pytest
import torch
from safetensors.torch import load_file
from small_world import FAMILY_NAMES

from pidlib import benchmarks, models
from pidlib.experiment import load_preset
from pidlib.extraction.families import FAMILIES
from pidlib.models import minis, registry, tiny, training

SHIPPED = sorted(path.parent.name for path in registry.MINIS.glob("*/config.json"))


@pytest.fixture(scope="module")
def words():
    return minis.vocabulary()


def test_vocabulary_is_closed(words):
    _, processor = tiny.build("llava", words, "tiny")
    for name in benchmarks.BENCHMARKS:
        for sample in benchmarks.load(name, "test", 50):
            for text in (sample.question, *sample.candidates):
                assert processor.tokenizer.unk_token_id not in processor.tokenizer(text)["input_ids"], text
            assert len({processor.tokenizer.convert_tokens_to_ids(word) for word in sample.candidates}) == len(sample.candidates)


def test_every_family_has_a_tiny_instance():
    assert set(tiny.FAMILIES) == set(FAMILIES)


@pytest.mark.parametrize("family", FAMILY_NAMES)
def test_saved_model_loads_the_same(family, words, tmp_path):
    model, processor = tiny.build(family, words, "tiny", seed=1)
    model.save_pretrained(tmp_path)
    processor.save_pretrained(tmp_path)
    loaded = models.load(tmp_path, device="cpu")
    sample = benchmarks.load("micro/grounding", "test", 4)
    inputs = training.encode(loaded, sample)
    assert inputs.keys() == training.encode(replace(loaded, processor=processor), sample).keys()
    with torch.no_grad():
        assert torch.equal(loaded.model(**inputs).logits, model(**inputs).logits)
    assert loaded.family.name == family
    assert loaded.revision == registry.folder_revision(tmp_path) and len(loaded.revision) == 40


def test_seed_decides_the_weights_and_nothing_else_changes(words):
    state = torch.get_rng_state()
    first, again, other = (tiny.build("llava", words, "tiny", seed)[0].state_dict() for seed in (0, 0, 1))
    assert torch.equal(state, torch.get_rng_state())
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not all(torch.equal(first[name], other[name]) for name in first)


@pytest.mark.parametrize(
    ("name", "revision", "message"),
    [
        ("lava", None, "unknown model 'lava'; did you mean 'llava'"),
        ("owner/checkpoint", None, "40-hex commit"),
        ("owner/checkpoint", "main", "40-hex commit"),
    ],
)
def test_load_refuses(name, revision, message):
    with pytest.raises(ValueError, match=message):
        models.load(name, revision=revision)


def test_build_refuses():
    with pytest.raises(ValueError, match="unknown family 'lava'; choose one of llava"):
        tiny.build("lava", [])
    with pytest.raises(ValueError, match="unknown size 'huge'"):
        tiny.build("llava", [], "huge")


@pytest.fixture
def recipe():
    return minis.Recipe("llava", size="tiny", looks=4, answers=4, batch=8, pool=16, mixture={"micro/scene": 1.0, "micro/grounding": 1.0})


def test_interrupted_training_ends_with_the_same_weights(recipe, tmp_path, monkeypatch):
    monkeypatch.setattr(training, "EVERY", 1)
    monkeypatch.setattr(minis, "evaluate", lambda mini: {})
    minis.train("whole", recipe, tmp_path / "uninterrupted" / "whole")
    answering = minis._answering

    def broken(*arguments):
        loss = answering(*arguments)

        def stops(step):
            if step == 2:
                raise KeyboardInterrupt
            return loss(step)

        return stops

    monkeypatch.setattr(minis, "_answering", broken)
    with pytest.raises(KeyboardInterrupt):
        minis.train("broken", recipe, tmp_path / "broken")
    monkeypatch.setattr(minis, "_answering", answering)
    minis.train("broken", recipe, tmp_path / "broken")
    whole, broken = (load_file(tmp_path / name / "model.safetensors") for name in ("uninterrupted/whole", "broken"))
    assert all(torch.equal(whole[name], broken[name]) for name in whole)
    assert not list((tmp_path / "broken").glob("*.checkpoint"))


def test_attributes_stand_where_the_items_are():
    picture = next(picture for _, picture in benchmarks.micro.generate("grounding", "train", 1))
    labels = minis._attributes(picture)
    assert len(labels) == 16
    cells = [labels[row * 4 + column] for row in range(4) for column in range(4)]
    assert sum(map(bool, cells)) == 4
    for item in picture.items:
        assert minis.ATTRIBUTES[labels[item.y // 16 * 4 + item.x // 16]] == f"{item.color} {item.shape}"


@pytest.mark.parametrize("file", ["processor_config.json", "tokenizer.json", "chat_template.jinja", "config.json"])
def test_any_file_of_a_model_is_part_of_its_revision(file, words, tmp_path):
    model, processor = tiny.build("llava", words, "tiny")
    model.save_pretrained(tmp_path)
    processor.save_pretrained(tmp_path)
    before = registry.folder_revision(tmp_path)
    (tmp_path / "README.md").write_text("a card")
    assert registry.folder_revision(tmp_path) == before
    (tmp_path / file).write_text((tmp_path / file).read_text() + " ")
    assert registry.folder_revision(tmp_path) != before


def card(name):
    """Recipe and accuracy as the card of a mini tells them."""
    text = (registry.MINIS / name / "README.md").read_text()
    recipe = json.loads(text.split("```json")[1].split("```")[0])
    return recipe, {benchmark: float(value) for benchmark, value in re.findall(r"\| ([\w/]+) \| ([\d.]+) \|", text)}


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_mini_answers_as_its_card_says(name):
    recipe, told = card(name)
    assert recipe == asdict(minis.RECIPES[name])
    accuracy = minis.evaluate(models.load(name, device="cpu"), n=96)
    assert set(accuracy) == set(told)
    for benchmark, value in accuracy.items():  # 96 questions: three standard errors at .88 are .1
        assert abs(value - told[benchmark]) <= 0.1, (benchmark, value, told[benchmark])


@pytest.mark.parametrize("name", [name for name in SHIPPED if isinstance(minis.RECIPES[name], minis.Leaning)])
def test_a_leaning_mini_differs_in_its_last_blocks_from_the_one_it_began_with(name):
    loaded, start = models.load(name, device="cpu"), models.load(minis.RECIPES[name].start, device="cpu")
    before, blocks = dict(start.model.named_parameters()), loaded.family.blocks_of(loaded.model)
    last = {id(weight) for block in blocks[len(blocks) // 2 :] for weight in block.parameters()}
    assert {torch.equal(weight, before[path]) for path, weight in loaded.model.named_parameters() if id(weight) not in last} == {True}
    assert not all(torch.equal(weight, before[path]) for path, weight in loaded.model.named_parameters() if id(weight) in last)


@pytest.mark.parametrize("name", load_preset("offline").models)
def test_exemplars_answer_almost_everything(name):
    _, told = card(name)
    for benchmark, value in told.items():
        assert value >= (0.98 if benchmark.startswith("micro/") else 0.95), (benchmark, value)


def test_the_population_is_varied_and_small():
    names = load_preset("offline").population
    assert set(SHIPPED) == set(minis.RECIPES)
    trained = {name for name in SHIPPED if not isinstance(minis.RECIPES[name], minis.Leaning)}
    assert set(names) == {name for name in trained if not FAMILIES[minis.RECIPES[name].family].hears} and len(names) == 20
    recipes = [minis.RECIPES[name] for name in names]
    assert len({recipe.family for recipe in recipes}) >= 7 and len({recipe.size for recipe in recipes}) == 2
    files = [path for name in SHIPPED for path in (registry.MINIS / name).iterdir()]
    assert sum(path.stat().st_size for path in files) < 40e6 and max(path.stat().st_size for path in files) < 5e6
