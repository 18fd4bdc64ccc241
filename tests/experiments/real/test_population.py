"""Training the population, on tiny parts made here."""

from dataclasses import replace

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from pidlib import benchmarks, load_model
from pidlib.benchmarks import stamps
from pidlib.experiments.real import population
from pidlib.experiments.real.population import MEMBERS, Member
from pidlib.extraction.prompts import Prompter
from tests.experiments.real.test_parts import assembled

SHORT = {"stamps/both": 1.0, "stamps/pair": 1.0}


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    folder = tmp_path_factory.mktemp("real") / "model"
    assembled(folder)
    return load_model(folder)


@pytest.fixture
def small(monkeypatch, tmp_path):
    """A population of short trainings on the test pictures."""
    monkeypatch.setattr(population, "STEPS", 4)
    monkeypatch.setattr(population, "BATCH", 3)
    monkeypatch.setattr(population, "EVERY", 1)
    monkeypatch.setattr(population, "PROJECTOR_RANK", 4)
    members = {
        "base": Member(mixture=SHORT, steps=4),
        "blind": Member(mixture=SHORT, wrong_pictures=True, steps=4),
        "brief": Member(mixture=SHORT, steps=2),
    }
    monkeypatch.setattr(population, "MEMBERS", members)
    monkeypatch.setattr(benchmarks, "load", lambda name, *_: LOAD(name, "test", 8))
    return tmp_path


LOAD = benchmarks.load


def weights(folder):
    return load_file(folder / "adapter_model.safetensors")


def test_members_differ_from_the_base_in_one_thing():
    base = MEMBERS["base_0"]
    for name, member in MEMBERS.items():
        changed = [key for key in vars(base) if vars(member)[key] != vars(base)[key]]
        assert len(changed) == (name != "base_0"), name
    assert MEMBERS["caption_prior"].mixture["stamps/captioned_80"] == 1
    assert MEMBERS["brief"].steps < population.STEPS
    assert set(population.MIXTURE) <= set(benchmarks.names("stamps"))


def test_training_resumes_with_equal_weights_and_passes_the_brief_state(base, small, monkeypatch):
    population.train("base", base, small / "whole", small / "one")
    assert {path.name for path in (small / "whole").iterdir()} == {"base", "brief"}
    intact, calls = population.answer_loss, []

    def broken(*arguments):
        calls.append(1)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return intact(*arguments)

    monkeypatch.setattr(population, "answer_loss", broken)
    with pytest.raises(KeyboardInterrupt):
        population.train("base", base, small / "broken", small / "two")
    population.train("base", base, small / "broken", small / "two")
    assert len(calls) == 5
    for name in ("base", "brief"):
        one, two = weights(small / "whole" / name), weights(small / "broken" / name)
        assert all(torch.equal(one[key], two[key]) for key in one)
        assert {value.dtype for value in one.values()} == {torch.float16}
    brief, full = weights(small / "whole" / "brief"), weights(small / "whole" / "base")
    assert any(not torch.equal(brief[key], full[key]) for key in full)
    # A finished training is not repeated, and a lost early state is not taken from a later one.
    population.train("base", base, small / "whole", small / "one")
    assert len(calls) == 5
    (small / "whole" / "brief" / "adapter_config.json").unlink()
    with pytest.raises(ValueError, match="beyond 2 steps"):
        population.train("brief", base, small / "whole", small / "one")


def test_adapters_are_read_with_their_base_and_hold_what_was_trained(base, small):
    population.train("base", base, small / "adapters", small)
    folder = small / "adapters" / "base"
    tuned = load_model(f"{base.name}+{folder}")
    assert tuned.revision != base.revision
    keys = {key.split("base_model.model.")[1].split(".lora")[0] for key in weights(folder)}
    blocks = {f"model.language_model.layers.{n}.self_attn.{p}_proj" for n in (0, 1) for p in "qv"}
    assert keys == blocks | {f"model.multi_modal_projector.linear_{n}" for n in (1, 2)}
    before, after = (population.evaluate(model, 6) for model in (base, tuned))
    assert set(before) == set(after) == set(population.MIXTURE)


def test_blind_twin_sees_pictures_of_others(base, small, monkeypatch):
    seen = []
    monkeypatch.setattr(
        population,
        "answer_loss",
        lambda tuned, samples, tokens: seen.append(samples) or LOSS(tuned),
    )
    population.train("blind", base, small / "a", small)
    population.train("base", base, small / "b", small)
    blind, sighted = seen[: len(seen) // 2], seen[len(seen) // 2 :]
    for wrong, right in zip(blind, sighted, strict=True):
        assert [sample.sample_id for sample in wrong] == [sample.sample_id for sample in right]
        own = [_gray(sample.image) for sample in right]
        assert [_gray(sample.image) for sample in wrong] == own[1:] + own[:1]


def LOSS(tuned):
    return sum(p.sum() for p in tuned.model.parameters() if p.requires_grad) * 0


def _gray(image):
    """The histogram, which mirroring does not change."""
    return image.histogram()


def test_loss_is_that_of_each_answer_alone(base):
    tuned, tokens = population.adapted(base, 0), {}
    samples = [
        *benchmarks.load("stamps/both", "test", 2),
        *benchmarks.load("stamps/pair", "test", 2),
    ]
    prompter = Prompter(base)
    for sample in samples:
        known = prompter.candidate_tokens(sample.candidates, sample.question)
        tokens[sample.answer] = known[sample.candidates.index(sample.answer)]
    assert {*map(len, tokens.values())} == {1, 2}
    with torch.no_grad():
        together = population.answer_loss(tuned, samples, tokens)
        alone = [population.answer_loss(tuned, [sample], tokens) for sample in samples]
        changed = replace(samples[0], image=Image.new("RGB", (32, 32), "red"))
        other = population.answer_loss(tuned, [changed], tokens)
    assert together.item() == pytest.approx(sum(alone).item() / 4, rel=1e-5)
    assert other.item() != alone[0].item()


def test_projector_is_aligned_with_the_names(base, tmp_path):
    classifier = torch.randn(10, 1280), torch.zeros(10)
    paths = sorted(stamps.PICTURES["test"].glob("*.webp"))[:6]
    names = [f"a {word}" for word in ("lion", "goat", "crow", "fly", "bull", "rat", "otter")]
    names += ["a rose", "a bus", "a tent"]
    losses, intact = [], population.fit

    def watched(module, loss_at, steps, *rest, **options):
        losses.append(loss_at(0).item())
        intact(module, loss_at, steps, *rest, **options)
        losses.append(loss_at(0).item())

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(population, "fit", watched)
        images = [Image.open(path) for path in paths]
        model = replace(base, model=population.lora.frozen_copy(base.model))
        model.model.model.multi_modal_projector.requires_grad_(True)
        population.align(model, classifier, names, images, tmp_path, steps=30)
    assert losses[1] < 0.8 * losses[0]


def test_bfloat16_is_for_processors_that_multiply_it(tmp_path):
    info = tmp_path / "cpuinfo"
    assert population.fast_type(info) == torch.float32
    info.write_text("flags : avx512f avx512_bf16")
    assert population.fast_type(info) == torch.bfloat16


def test_unknown_members_are_refused(capsys):
    with pytest.raises(SystemExit):
        population.main(["bas_0"])
    assert "did you mean 'base_0'" in capsys.readouterr().err
