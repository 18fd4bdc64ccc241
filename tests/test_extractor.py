"""The promises of the extractor: the same numbers in any company, after any interruption, and nothing silently wrong."""

import copy
import logging
import warnings
from dataclasses import fields, replace

import numpy as np
import pytest
import torch
from small_world import CANDIDATES, FAMILY_NAMES, loaded, sample, samples, sized, tiled

from pidlib.extraction import Extraction, extract, job
from pidlib.extraction.bench import throughput
from pidlib.extraction.extractor import CALIBRATING
from pidlib.extraction.reader import Batches, Reader
from pidlib.models import training

ASKED = {"passes": ("vision+language", "vision", "language", "none"), "partners": 16, "layers": (0, -1), "progress": False}
EVERYTHING = ASKED | {"tokens": True}


def assert_same(one: Extraction, other: Extraction, atol: float = 0.0):
    """Equal, bit for bit unless a tolerance is given."""
    for field in fields(Extraction):
        left, right = getattr(one, field.name), getattr(other, field.name)
        if field.name == "pairs":
            left, right = vars(left), vars(right)
        if isinstance(left, tuple):
            assert left == right
        elif isinstance(left, dict):
            assert list(left) == list(right)
            for name in left:
                pairs = zip(left[name], right[name], strict=True) if field.name == "tokens" else [(left[name], right[name])]
                for here, there in pairs:
                    np.testing.assert_allclose(here, there, rtol=0, atol=atol, err_msg=f"{field.name} {name}")
        else:
            np.testing.assert_allclose(left, right, rtol=0, atol=atol, err_msg=field.name)


@pytest.mark.parametrize("family", FAMILY_NAMES)
def test_batch_of_one_equals_batch_of_eight_and_two_runs_are_equal(family):
    model, some = loaded(family), samples(10)
    assert len({len(one.question.split()) for one in some}) > 3  # so that a batch of eight is padded
    eight = extract(model, some, batch_size=8, **EVERYTHING)
    assert_same(eight, extract(model, some, batch_size=8, **EVERYTHING))
    assert_same(eight, extract(model, some, batch_size=1, **EVERYTHING), atol=1e-5)


def test_window_shorter_than_the_prompt():
    model = loaded("gemma3")
    model = replace(model, model=copy.deepcopy(model.model))
    model.model.config.text_config.sliding_window = 16
    some = samples(10)
    narrow = extract(model, some, batch_size=8, **EVERYTHING)
    assert_same(narrow, extract(model, some, batch_size=1, **EVERYTHING), atol=1e-5)
    assert np.abs(narrow.logits["vision+language"] - extract(loaded("gemma3"), some, **EVERYTHING).logits["vision+language"]).max() > 1e-3


@pytest.mark.parametrize("make", [sized, tiled])
def test_pictures_of_different_sizes_share_a_batch(make):
    model, some = make(), samples(8)
    some = [replace(one, image=one.image.resize(((64, 64), (96, 32), (32, 48))[index % 3])) for index, one in enumerate(some)]
    eight = extract(model, some, batch_size=8, **EVERYTHING)
    assert_same(eight, extract(model, some, batch_size=1, **EVERYTHING), atol=1e-5)
    pairs = eight.pairs
    alone = [replace(some[v], sample_id=f"{v} {t}", question=some[t].question) for v, t in pairs.index]
    expected = extract(model, alone, passes=["vision+language"], progress=False)
    np.testing.assert_allclose(pairs.logits, expected.logits["vision+language"], atol=1e-5)


def test_ids_and_answers_are_kept_in_order():
    some = samples(9)[::-1]
    extraction = extract(loaded("llava"), some, progress=False)
    assert extraction.sample_ids == tuple(one.sample_id for one in some)
    assert extraction.answers == tuple(one.answer for one in some)
    assert extraction.candidates == CANDIDATES
    back = extract(loaded("llava"), some[::-1], progress=False)
    np.testing.assert_allclose(extraction.logits["vision"], back.logits["vision"][::-1], atol=1e-5)


def test_embeddings_are_the_means_of_the_modalitys_tokens():
    model, some = loaded("qwen2_5_vl"), samples(3)
    extraction = extract(model, some, progress=False)
    ids = model.processor.tokenizer(some[1].question, return_tensors="pt")["input_ids"]
    words = model.model.get_input_embeddings()(ids)[0].mean(0)
    np.testing.assert_allclose(extraction.embeddings["language"][1], words.detach(), atol=1e-6)
    pixels = model.processor.image_processor([some[1].image], return_tensors="pt")
    (patches,) = model.model.get_image_features(**pixels).pooler_output
    np.testing.assert_allclose(extraction.embeddings["vision"][1], patches.mean(0).detach(), atol=1e-6)


@pytest.mark.parametrize("family", FAMILY_NAMES)
def test_tokens_are_those_that_the_means_and_the_answers_come_from(family):
    model, some = loaded(family), [replace(sample(index), options="red, green or blue?" * (index % 2)) for index in range(6)]
    extraction = extract(model, some, tokens=True, layers=(-1,), batch_size=4, progress=False)
    assert list(extraction.tokens) == ["vision", "language", "hidden"]
    for name in ("vision", "language"):
        means = np.stack([tokens.mean(0) for tokens in extraction.tokens[name]])
        np.testing.assert_allclose(extraction.embeddings[name], means, atol=1e-6)
    words = [len(one.text.replace("\n", " n ").replace("?", " ?").replace(",", " ,").split()) for one in some]
    assert [len(tokens) for tokens in extraction.tokens["language"]] == words
    last = np.stack([states[-1] for states in extraction.tokens["hidden"]])
    np.testing.assert_allclose(last, extraction.hidden[:, 0], atol=1e-5)
    lengths = [len(states) for states in extraction.tokens["hidden"]]
    assert lengths == [len(training.encode(model, [one])["input_ids"][0]) for one in some]


@pytest.mark.parametrize("family", FAMILY_NAMES)
def test_tower_runs_once_for_each_sample(family):
    model, runs = loaded(family), []
    (tower,) = {name for name, _ in model.model.base_model.named_children()} & {"vision_tower", "vision_model", "visual"}
    handle = getattr(model.model.base_model, tower).register_forward_hook(lambda *_: runs.append(1))
    extract(model, samples(10), **EVERYTHING)
    handle.remove()
    assert len(runs) == 1  # one batch


def test_decisions_of_both_kinds():
    some = samples(8)
    extraction = extract(loaded("llava"), some, **EVERYTHING)
    masked = extraction.masked(tau=0)
    assert len(masked) == 8 and masked.groups.tolist() == list(range(8))
    np.testing.assert_allclose(masked.sources["language"], extraction.decisions("language", tau=0), rtol=1e-12)
    assert len(extraction.resampled()) == len(extraction.pairs.weights)


@pytest.fixture
def shards_of_four(monkeypatch):
    monkeypatch.setattr(job, "SHARD", 4)


def killed_after(count, monkeypatch):
    real, made = job.Job.shard, []

    def dies(self, start):
        if len(made) == count:
            raise KeyboardInterrupt
        made.append(start)
        return real(self, start)

    monkeypatch.setattr(job.Job, "shard", dies)


@pytest.mark.parametrize("count", [0, 2])
def test_killed_run_goes_on_and_equals_an_uninterrupted_one(tmp_path, monkeypatch, shards_of_four, count):
    model, some = loaded("llava"), samples(11)
    uninterrupted = extract(model, some, folder=tmp_path / "whole", **EVERYTHING)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        killed_after(count, patch)
        extract(model, some, folder=tmp_path / "killed", **EVERYTHING)
    with pytest.raises(ValueError, match=f"holds {4 * count} of 11 samples; call extract") if count else pytest.raises(ValueError):
        Extraction.load(tmp_path / "killed")
    made = []
    real = job.Job.shard
    monkeypatch.setattr(job.Job, "shard", lambda self, start: made.append(start) or real(self, start))
    assert_same(extract(model, some, folder=tmp_path / "killed", **EVERYTHING), uninterrupted)
    assert made == [0, 4, 8][count:]
    for path in sorted((tmp_path / "whole").iterdir()):
        assert path.read_bytes() == (tmp_path / "killed" / path.name).read_bytes()


def test_stored_extraction_is_the_same_object(tmp_path, monkeypatch, shards_of_four):
    model, some = loaded("gemma3"), samples(6)
    fresh = extract(model, some, **EVERYTHING)
    assert_same(extract(model, some, folder=tmp_path, **EVERYTHING), fresh)
    assert_same(Extraction.load(tmp_path), fresh)
    monkeypatch.setattr(Reader, "_forward", None)
    monkeypatch.setattr(Reader, "_encode", None)
    assert_same(extract(model, some, folder=tmp_path, **EVERYTHING), fresh)


def test_corrupt_shard_is_named_and_recomputed_alone(tmp_path, monkeypatch, caplog, shards_of_four):
    model, some = loaded("llava"), samples(11)
    first = extract(model, some, folder=tmp_path, **EVERYTHING)
    path = tmp_path / "samples-000004.safetensors"
    path.write_bytes(path.read_bytes()[:-1])
    made, real = [], job.Job.shard
    monkeypatch.setattr(job.Job, "shard", lambda self, start: made.append(start) or real(self, start))
    assert_same(extract(model, some, folder=tmp_path, **EVERYTHING), first)
    assert made == [4] and "samples-000004" in caplog.text


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"samples": samples(5)}, "samples"),
        ({"samples": [*samples(3), replace(sample(3), image=sample(9).image)]}, "samples"),
        ({"seed": 1}, "seed: asked 1, stored 0"),
        ({"partners": 2}, "partners"),
        ({"passes": ["vision"]}, "passes"),
        ({"tokens": False}, "tokens: asked false, stored true"),
        ({"samples": [*samples(3), replace(sample(3), options="red or blue?")]}, "samples"),
        ({"layers": [0]}, r"layers: asked \[0\], stored \[0, 1\]"),
        ({"loaded": replace(loaded("llava"), revision="1" * 40)}, "revision"),
    ],
)
def test_folder_of_another_extraction_is_refused(tmp_path, change, named):
    arguments = {"loaded": loaded("llava"), "samples": samples(4), "folder": tmp_path, **EVERYTHING}
    extract(**arguments)
    with pytest.raises(ValueError, match=f"holds other results .*{named}"):
        extract(**arguments | change)


def test_batch_size_is_provenance(tmp_path):
    model, some = loaded("llava"), samples(4)
    assert_same(extract(model, some, folder=tmp_path, batch_size=3, **EVERYTHING), extract(model, some, folder=tmp_path, **EVERYTHING))


SHORT_OF_MEMORY = torch.OutOfMemoryError("CUDA out of memory"), RuntimeError("DefaultCPUAllocator: can't allocate memory")


@pytest.mark.parametrize("error", SHORT_OF_MEMORY)
def test_batch_halves_when_memory_is_short(monkeypatch, caplog, error):
    model, some, sizes = loaded("llava"), samples(9), []
    expected, real = extract(model, some, batch_size=3, **ASKED), Reader._forward

    def short(self, rows, blocks):
        sizes.append(len(rows))
        if len(rows) > 3:
            raise error
        return real(self, rows, blocks)

    monkeypatch.setattr(Reader, "_forward", short)
    assert_same(extract(model, some, batch_size=13, **ASKED), expected)
    assert sizes[:4] == [13, 6, 3, 3] and max(sizes[2:]) == 3
    assert "out of memory with a batch of 13; going on with 6" in caplog.text


def test_other_errors_and_a_batch_of_one_are_not_retried():
    def fails(error):
        def run(batch):
            calls.append(len(batch))
            raise error

        return run

    for error, expected in ((RuntimeError("shapes differ"), [4]), (torch.OutOfMemoryError(), [4, 2, 1])):
        calls = []
        with pytest.raises(type(error)):
            list(Batches(4)(fails(error), range(4)))
        assert calls == expected
    with pytest.raises(ValueError, match="batch_size must be at least 1; got 0"):
        Batches(0)


def spoiled(parameter):
    model = loaded("llava", seed=1)
    state = {name: value.clone() for name, value in model.model.state_dict().items()}
    return model, state, model.model.get_parameter(parameter)


def test_samples_with_nan_embeddings_are_named():
    model, state, weight = spoiled("model.language_model.embed_tokens.weight")
    try:
        with torch.no_grad():
            weight[model.processor.tokenizer.convert_tokens_to_ids("this")] = float("nan")
        with pytest.raises(ValueError, match="NaN or Inf in the language embeddings of world/002, world/008: check"):
            extract(model, samples(9), progress=False)
    finally:
        model.model.load_state_dict(state)


def test_samples_with_nan_answers_are_named():
    model, state, weight = spoiled("lm_head.weight")
    try:
        with torch.no_grad():
            weight.fill_(float("inf"))
        with pytest.raises(ValueError, match="NaN or Inf in the logits of world/000, world/001"):
            extract(model, samples(2), progress=False)
    finally:
        model.model.load_state_dict(state)


@pytest.mark.parametrize(
    ("some", "message"),
    [
        ([], "no samples; give at least one"),
        ([sample(0), sample(1), sample(0)], "repeated sample ids: world/000;"),
        ([sample(0), sample(1, candidates=("green", "red"))], r"candidates other than \('red', 'green', 'blue'\): world/001"),
        ([sample(0), sample(1, image=None)], "no picture: world/001"),
        ([sample(0, image=None), sample(1, image=None)], "no picture: world/000, world/001"),
        ([sample(0, question=" ")], "no question: world/000"),
    ],
)
def test_samples_that_make_no_profiling_set_are_refused(some, message):
    with pytest.raises(ValueError, match=message):
        extract(loaded("llava"), some, progress=False)


def test_nothing_is_said_unless_asked(capsys, caplog):
    with caplog.at_level(logging.INFO, "pidlib"):
        extract(loaded("llava"), samples(2), progress=False)
    assert capsys.readouterr() == ("", "") and not caplog.records
    extract(loaded("llava"), samples(2))
    assert "extract llava" in capsys.readouterr().err


def test_bench_runs_both_ways_over_the_same_passes():
    table = throughput(loaded("llava"), samples(4), partners=16)
    assert table["way"].tolist() == ["plain", "batched"] and table["forward_passes"].tolist() == [4 * 4 + 4 * 4] * 2
    assert table["ratio"][0] == 1 and (table["samples_per_second"] > 0).all()


@pytest.mark.parametrize("family", FAMILY_NAMES)
def test_half_precision_model_gives_float32_numbers_nearby(family):
    exact, some = loaded(family), samples(6)
    half = replace(exact, model=copy.deepcopy(exact.model).to(torch.bfloat16))
    extraction, expected = extract(half, some, **EVERYTHING), extract(exact, some, **EVERYTHING)
    for key in expected.logits:
        assert extraction.logits[key].dtype == extraction.lens_logits[key].dtype == np.float32
        assert np.corrcoef(extraction.logits[key].ravel(), expected.logits[key].ravel())[0, 1] > 0.99
    assert extraction.hidden.dtype == extraction.embeddings["vision"].dtype == np.float32


def test_few_samples_that_calibrate_their_own_noise_are_warned_of():
    with pytest.warns(UserWarning, match="4 samples calibrate the noise"):
        extract(loaded("llava"), samples(4), progress=False)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        extract(loaded("llava"), samples(4), passes=["vision+language"], progress=False)
        extract(loaded("llava"), samples(CALIBRATING), passes=["vision"], progress=False)


@pytest.mark.parametrize("changes", [{"passes": ["vision+language", "vision"]}, {"partners": 3}])
def test_samples_without_a_picture_are_asked_nothing_else(changes):
    blind = [replace(one, image=None) for one in samples(4)]
    with pytest.raises(ValueError, match="no picture: world/000"):
        extract(loaded("llava"), blind, **{"passes": ["vision+language"], "progress": False} | changes)


def test_options_that_stay_must_be_there():
    with pytest.raises(ValueError, match="no options: world/001; leave them out"):
        extract(loaded("llava"), [sample(0, options="red or blue?"), sample(1)], passes=["vision+options#1"], progress=False)
