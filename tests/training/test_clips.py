"""Training on clips: token labels, masked streams, and resuming."""

import copy
from dataclasses import replace

import pytest
import torch
from small_world import film, hearing

from pidlib import benchmarks
from pidlib.training import clips, loop
from pidlib.training.recipes import RECIPES


def test_token_labels_are_at_the_places_of_the_items():
    clip = next(clip for _, clip in benchmarks.micro_av.generate("visual", "train", 1))
    actual = clips.token_labels(clip, (2, 3, 3), 25)
    assert len(actual["vision"]) == 18 and sum(map(bool, actual["vision"][:9])) == len(clip.items)
    assert {clips.MOVING_ITEMS[label - 1] for label in actual["vision"] if label} == {
        (item.color, way) for item, way in zip(clip.items, clip.directions, strict=True)
    }
    low, high = (
        any((tone.pitch > clips.PITCH_BOUNDARY) == above for tone in clip.tones)
        for above in (False, True)
    )
    assert actual["audio"] == [low + 2 * high] * 25


def test_masked_streams_become_noise_and_others_are_unchanged():
    model = hearing()
    inputs = loop.encode(model, [film(index) for index in range(6)])
    rows = {
        "vision": torch.tensor([True, False, False] * 2),
        "audio": torch.zeros(6, dtype=torch.bool),
    }
    entered = []
    with clips.mask_streams(
        model, inputs["input_ids"], rows, torch.Generator().manual_seed(0)
    ) as streams:
        decoder = model.family.decoder_of(model.model)
        handle = decoder.register_forward_pre_hook(
            lambda module, args, kwargs: entered.append(kwargs["inputs_embeds"]), with_kwargs=True
        )
        with torch.inference_mode():
            model.model(**{**inputs, **dict(model.family.forward_kwargs)})
        handle.remove()
    marks = model.family.placeholder_ids(model.model)
    for name in ("vision", "audio"):
        after = entered[0][inputs["input_ids"] == marks[name]].view(6, -1, 32)
        changed = (after != streams[name].view_as(after)).all(-1).all(-1)
        assert torch.equal(changed, rows[name])


def test_training_resumes_where_it_stopped(tmp_path, monkeypatch):
    recipe = replace(RECIPES["qwen2_5_omni_compact"], size="tiny", answer_steps=3, batch=4, pool=4)
    mini = hearing()

    def trained(folder, steps):
        whole = torch.nn.ModuleDict({"model": copy.deepcopy(mini.model), "head": _head()})
        loss = clips.clip_loss(replace(mini, model=whole["model"]), whole["head"], recipe)

        def stopping(step):
            if step == steps:
                raise KeyboardInterrupt
            return loss(step)

        loop.fit_stage(whole, stopping, recipe.answer_steps, recipe, "answer", folder)
        return whole.state_dict()

    monkeypatch.setattr(loop, "EVERY", 1)
    with pytest.raises(KeyboardInterrupt):
        trained(tmp_path / "broken", 2)
    broken, whole = trained(tmp_path / "broken", -1), trained(tmp_path / "whole", -1)
    assert all(torch.equal(broken[name], whole[name]) for name in whole)


def _head():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return torch.nn.Linear(32, 1 + len(clips.MOVING_ITEMS) + 4)
