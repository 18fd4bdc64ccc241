"""Adapters trained on weighted samples: loss, scope, side effects and resuming."""

import copy
import json
import random
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from small_world import CANDIDATES, FAMILY_NAMES, film, hearing, loaded, picture, samples

from pidlib.extraction import extract
from pidlib.extraction.masking import full_pass
from pidlib.training import loop, lora
from pidlib.training.loop import answer_loss, encode
from pidlib.training.lora import Tuning, tune, with_adapter

BASE, SAMPLES = loaded("llava"), samples(12)
QUICK = Tuning(rank=4, learning_rate=0.05, warmup=0.0, dropout=0.5, batch=4, steps=7)
FILES = {"adapter_config.json", "adapter_model.safetensors", "training.json"}


def trained(folder, weights=None, tuning=QUICK, seed=0, of=SAMPLES, sampling=None):
    """Train an adapter and return its bytes."""
    tune(BASE, of, weights, tuning, seed, folder=folder, sampling=sampling)
    return (folder / "adapter_model.safetensors").read_bytes()


def test_defaults_are_those_of_the_paper():
    paper = Tuning()
    assert (paper.rank, paper.alpha, paper.dropout, paper.last, paper.batch) == (
        16,
        32,
        0.05,
        0.2,
        16,
    )
    assert (paper.learning_rate, paper.schedule, paper.warmup) == (2e-5, "cosine", 0.05)
    assert paper.length(3000) == 188 and replace(paper, steps=7).length(3000) == 7


def test_loss_is_the_mean_of_weight_times_cross_entropy():
    weights, tokens = (
        torch.tensor([3.0, 0.5, 0.0, 1.0]),
        dict(zip(CANDIDATES, (5, 6, 7), strict=True)),
    )
    answers = [tokens[sample.answer] for sample in SAMPLES[:4]]
    with torch.no_grad():
        own = {answer: (token,) for answer, token in tokens.items()}
        loss = answer_loss(BASE, SAMPLES[:4], own, weights)
        logits = BASE.model(**encode(BASE, SAMPLES[:4])).logits[:, -1]
        surprise = -logits.log_softmax(-1)[range(4), answers]
    assert loss.item() == pytest.approx(
        (3 * surprise[0] + 0.5 * surprise[1] + surprise[3]).item() / 4, rel=1e-5
    )


def test_answers_of_several_tokens_are_trained_whole_or_refused():
    long, short = CANDIDATES[:2]
    tokens = {long: (5, 6, 7), short: (5, 8)}
    asked = [replace(SAMPLES[0], answer=long), replace(SAMPLES[1], answer=short)]
    with torch.no_grad():
        loss = answer_loss(BASE, asked, tokens, torch.tensor([1.0, 2.0])).item()
        expected = 0.0
        for row, (weight, ids) in enumerate(((1, (5, 6, 7)), (2, (5, 8)))):
            own, place = encode(BASE, asked[row : row + 1]), len(ids)
            own["input_ids"] = torch.cat([own["input_ids"], torch.tensor([ids])], 1)
            own["attention_mask"] = torch.ones_like(own["input_ids"])
            logits = BASE.model(**own).logits[0, -place - 1 : -1].log_softmax(-1)
            expected -= weight * logits[range(place), ids].mean().item() / 2
    assert loss == pytest.approx(expected, rel=1e-4)
    with pytest.raises(ValueError, match="share the first, and .* of each token; letter or rename"):
        answer_loss(loaded("paligemma"), asked, tokens)


def test_weights_of_one_equal_no_weights_bit_for_bit(tmp_path):
    plain = trained(tmp_path / "none")
    assert plain == trained(tmp_path / "ones", np.ones(12))
    assert plain != trained(tmp_path / "other", np.r_[np.ones(11), 3.0])
    assert plain != trained(tmp_path / "seed", seed=1)


def test_adapter_has_rank_scale_and_dropout_of_its_tuning(tmp_path):
    trained(tmp_path, tuning=replace(QUICK, alpha=12, dropout=0.3, steps=1))
    config = json.loads((tmp_path / "adapter_config.json").read_text())
    assert (config["r"], config["lora_alpha"], config["lora_dropout"]) == (4, 12, 0.3)


def test_schedule_and_warmup_matter(tmp_path):
    changes = {"cosine": {}, "constant": {"schedule": "constant"}, "warm": {"warmup": 0.5}}
    assert (
        len(
            {
                trained(tmp_path / name, tuning=replace(QUICK, **change))
                for name, change in changes.items()
            }
        )
        == 3
    )


def test_gradients_are_clipped(tmp_path):
    """With one sample per step its weight has no effect above the norm, and an effect below."""
    tuning, distances = replace(QUICK, batch=1, steps=6, dropout=0.0), []
    for unit in (1e4, 1e-4):
        for name, weights in {"even": np.ones(12), "uneven": 4.0 ** (np.arange(12) % 4)}.items():
            trained(tmp_path / f"{unit} {name}", unit * weights, tuning)
        even, uneven = (
            load_file(tmp_path / f"{unit} {name}" / "adapter_model.safetensors")
            for name in ("even", "uneven")
        )
        distances.append(max((even[name] - uneven[name]).abs().max().item() for name in even))
    assert distances[0] < 1e-3 < 0.02 < distances[1]


def test_weight_of_zero_removes_all_influence(tmp_path):
    weights = np.where(np.arange(12) < 6, 1.0, 0.0)
    other = [
        *SAMPLES[:6],
        *(
            replace(entry, answer="blue", image=picture(100 + index))
            for index, entry in enumerate(SAMPLES[6:])
        ),
    ]
    assert trained(tmp_path / "a", weights) == trained(tmp_path / "b", weights, of=other)
    assert trained(tmp_path / "c", np.ones(12)) != trained(tmp_path / "d", np.ones(12), of=other)


def test_heavier_of_two_answers_is_learned(tmp_path):
    pair = [replace(SAMPLES[0], sample_id=answer, answer=answer) for answer in CANDIDATES[:2]]
    for favourite, weights in enumerate(([3.0, 0.5], [0.5, 3.0])):
        tuned = tune(
            BASE,
            pair,
            weights,
            replace(QUICK, steps=20, batch=2, dropout=0.0),
            folder=tmp_path / str(favourite),
        )
        full = full_pass(pair[0])
        logits = extract(tuned, pair, passes=(full,), progress=False).logits[full]
        assert (logits.argmax(-1) == favourite).all()


@pytest.mark.parametrize("sampling", [None, np.arange(12.0)])
def test_interrupted_training_ends_with_the_same_weights(tmp_path, monkeypatch, sampling):
    uninterrupted = trained(tmp_path / "once", sampling=sampling)
    monkeypatch.setattr(lora, "EVERY", 3)
    seen = []

    def counting(model, chosen):
        if len(seen) == 5:
            raise KeyboardInterrupt
        seen.append([entry.sample_id for entry in chosen])
        return encode(model, chosen)

    with monkeypatch.context() as patch:
        patch.setattr(loop, "encode", counting)
        with pytest.raises(KeyboardInterrupt):
            trained(tmp_path / "twice", sampling=sampling)
    assert {path.name for path in (tmp_path / "twice").iterdir()} == {
        "training.json",
        "training.checkpoint",
    }
    monkeypatch.setattr(
        loop,
        "encode",
        lambda model, chosen: (
            seen.append([entry.sample_id for entry in chosen]) or encode(model, chosen)
        ),
    )
    assert trained(tmp_path / "twice", sampling=sampling) == uninterrupted
    assert (
        len(seen) == 5 + 4 and seen[3:5] == seen[5:7]
    )  # steps 0 to 4, then again from the checkpoint at 3
    assert {path.name for path in (tmp_path / "twice").iterdir()} == FILES


def test_finished_training_is_read_and_another_is_refused(tmp_path, monkeypatch):
    first = tune(BASE, SAMPLES, None, QUICK, folder=tmp_path)
    monkeypatch.setattr(lora, "_fit", None)
    assert tune(BASE, SAMPLES, np.ones(12), QUICK, folder=tmp_path).revision == first.revision
    others = {
        "weights": 2 * np.ones(12),
        "tuning": replace(QUICK, steps=8),
        "seed": 1,
        "samples": SAMPLES[:11],
        "sampling": np.ones(12),
    }
    for name, value in others.items():
        with pytest.raises(ValueError, match="holds a training of other"):
            tune(
                **{"loaded": BASE, "samples": SAMPLES, "tuning": QUICK, "folder": tmp_path}
                | {name: value}
            )


@pytest.mark.parametrize(("last", "blocks"), [(0.01, [1]), (0.5, [1]), (1.0, [0, 1])])
def test_only_the_last_blocks_are_adapted_and_the_base_is_unchanged(tmp_path, last, blocks):
    before = {name: value.clone() for name, value in BASE.model.state_dict().items()}
    tuned = tune(
        BASE,
        SAMPLES,
        None,
        replace(QUICK, last=last, targets=("q_proj", "down_proj")),
        folder=tmp_path,
    )
    new = [name for name, _ in tuned.model.named_parameters() if "lora" in name]
    prefix = "model.language_model.layers"
    modules = [
        f"{prefix}.{block}.{name}"
        for block in blocks
        for name in ("self_attn.q_proj", "mlp.down_proj")
    ]
    assert new == [f"{module}.lora_{side}.default.weight" for module in modules for side in "AB"]
    assert BASE.model.state_dict().keys() == before.keys()
    assert all(torch.equal(value, before[name]) for name, value in BASE.model.state_dict().items())
    assert all(weight.requires_grad for weight in BASE.model.parameters())
    shared = {weight.data_ptr() for weight in tuned.model.parameters()}
    assert all(weight.data_ptr() in shared for weight in BASE.model.parameters())
    assert (
        tuned.revision != BASE.revision and len(tuned.revision) == 40 and not tuned.model.training
    )


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`")
def test_peft_alone_loads_an_adapter(tmp_path):
    tuned = tune(BASE, SAMPLES, None, QUICK, folder=tmp_path)
    alone = lora.PeftModel.from_pretrained(copy.deepcopy(BASE.model), tmp_path).eval()
    inputs = encode(BASE, SAMPLES[:4])
    with torch.no_grad():
        answers = [model(**inputs).logits for model in (alone, tuned.model, BASE.model)]
    assert torch.equal(answers[0], answers[1]) and not torch.allclose(answers[0], answers[2])


def test_extraction_distinguishes_adapted_model_and_base(tmp_path):
    tuned = tune(BASE, SAMPLES, None, QUICK, folder=tmp_path)
    full = full_pass(SAMPLES[0])
    before, after = (
        extract(model, SAMPLES, passes=(full,), layers=(0, 1), progress=False)
        for model in (BASE, tuned)
    )
    assert not np.allclose(before.logits[full], after.logits[full])
    changed = [
        not np.array_equal(before.hidden[:, block], after.hidden[:, block]) for block in (0, 1)
    ]
    assert changed == [False, True]
    assert before.fingerprint != after.fingerprint


def test_training_is_silent_and_without_side_effects(tmp_path, monkeypatch, capfd, recwarn):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    legacy = np.random.get_state()[1].tolist()  # noqa: NPY002
    states = torch.get_rng_state(), legacy, random.getstate()
    trained(tmp_path / "there")
    assert torch.equal(states[0], torch.get_rng_state())
    assert states[1:] == (np.random.get_state()[1].tolist(), random.getstate())  # noqa: NPY002
    assert tuple(capfd.readouterr()) == ("", "") and not recwarn.list
    assert not list((tmp_path / "here").iterdir())
    assert {path.name for path in (tmp_path / "there").iterdir()} == FILES


def test_order():
    passes = lora._order(5, 12, 0, None)
    assert (
        sorted(passes[:5]) == sorted(passes[5:10]) == list(range(5))
        and passes[:5] != passes[5:10]
        and len(passes) == 12
    )
    drawn = lora._order(3, 4000, 0, np.array([0.0, 1.0, 3.0]))
    assert np.bincount(drawn, minlength=3) / 4000 == pytest.approx([0, 0.25, 0.75], abs=0.03)


@pytest.mark.parametrize("family", [*FAMILY_NAMES, "hearing"])
def test_every_family_can_be_tuned(family, tmp_path):
    model, data = (
        (hearing(), [film(index) for index in range(4)])
        if family == "hearing"
        else (loaded(family), samples(4))
    )
    targets = ("query", "value") if family == "blip" else ("q_proj", "v_proj")
    tuned = tune(model, data, tuning=replace(QUICK, steps=1, targets=targets), folder=tmp_path)
    full = full_pass(data[0])
    before, after = (
        extract(entry, data, passes=(full,), progress=False).logits[full]
        for entry in (model, tuned)
    )
    assert not np.allclose(before, after)


def test_adapter_of_a_model_in_16_bits_has_32_bits(tmp_path):
    half = replace(BASE, model=copy.deepcopy(BASE.model).bfloat16())
    tuned = tune(half, SAMPLES, tuning=QUICK, folder=tmp_path)
    kinds = {"lora" in name: weight.dtype for name, weight in tuned.model.named_parameters()}
    assert kinds == {True: torch.float32, False: torch.bfloat16}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"weights": np.ones(11)}, "weights of 12 samples"),
        ({"weights": np.r_[np.ones(11), -1.0]}, "give one for each, >= 0"),
        ({"weights": np.r_[np.ones(11), np.nan]}, "give one for each, >= 0"),
        ({"sampling": np.zeros(12)}, "not all 0"),
        ({"tuning": Tuning(targets=("c_attn",))}, "have no c_attn; give targets of .*q_proj"),
        ({"samples": [*SAMPLES, SAMPLES[0]]}, "repeated sample ids"),
    ],
)
def test_tune_refuses(given, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        tune(**{"loaded": BASE, "samples": SAMPLES, "folder": tmp_path} | given)


def test_with_adapter_refuses(tmp_path):
    with pytest.raises(ValueError, match="no adapter in"):
        with_adapter(BASE, tmp_path)
    trained(tmp_path, tuning=replace(QUICK, steps=1))
    with pytest.raises(ValueError, match="is for revision 0000"):
        with_adapter(replace(BASE, revision="1" * 40), tmp_path)


def test_systematic_draw_follows_the_shares():
    shares = np.array([3, 1, 1, 0.5, 0])
    order = lora._order(5, 110, 0, shares)
    counts = np.bincount(order, minlength=5)
    assert (np.abs(counts - 110 * shares / shares.sum()) < 1).all()
    assert sorted(order) != order and lora._order(5, 110, 1, shares) != order
