"""The extractor: independent of batching, resumable, and strict about its inputs."""

import copy
import logging
import sys
import tarfile
import warnings
from dataclasses import fields, replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from small_world import CANDIDATES, FAMILY_NAMES, hearing, loaded, sample, samples, sized, tiled

from pidlib.extraction import Extraction, extract, extractor, job, store
from pidlib.extraction.extractor import CALIBRATING
from pidlib.extraction.reader import Reader
from pidlib.training import loop

OPTIONS = {
    "passes": ("vision+language", "vision", "language", "none"),
    "partners": 16,
    "layers": (0, -1),
    "progress": False,
}
EVERYTHING = OPTIONS | {"tokens": True}


def assert_same(item: Extraction, other: Extraction, atol: float = 0.0):
    """Equal, bit for bit unless a tolerance is given."""
    for field in fields(Extraction):
        left, right = getattr(item, field.name), getattr(other, field.name)
        if field.name == "pairs":
            left, right = vars(left), vars(right)
        if isinstance(left, (tuple, str)):
            assert left == right
        elif isinstance(left, dict):
            assert list(left) == list(right)
            for name in left:
                pairs = (
                    zip(left[name], right[name], strict=True)
                    if field.name == "tokens"
                    else [(left[name], right[name])]
                )
                for here, there in pairs:
                    np.testing.assert_allclose(
                        here, there, rtol=0, atol=atol, err_msg=f"{field.name} {name}"
                    )
        else:
            np.testing.assert_allclose(left, right, rtol=0, atol=atol, err_msg=field.name)


@pytest.mark.parametrize("family", FAMILY_NAMES)
def test_batch_size_and_reruns_do_not_change_the_result(family):
    model, data = loaded(family), samples(10)
    assert (
        len({len(item.question.split()) for item in data}) > 3
    )  # so that a batch of eight is padded
    eight = extract(model, data, batch_size=8, **EVERYTHING)
    assert_same(eight, extract(model, data, batch_size=8, **EVERYTHING))
    assert_same(eight, extract(model, data, batch_size=1, **EVERYTHING), atol=1e-5)


def test_sliding_window_shorter_than_the_prompt():
    model = loaded("gemma3")
    model = replace(model, model=copy.deepcopy(model.model))
    model.model.config.text_config.sliding_window = 16
    data = samples(10)
    narrow = extract(model, data, batch_size=8, **EVERYTHING)
    assert_same(narrow, extract(model, data, batch_size=1, **EVERYTHING), atol=1e-5)
    assert (
        np.abs(
            narrow.logits["vision+language"]
            - extract(loaded("gemma3"), data, **EVERYTHING).logits["vision+language"]
        ).max()
        > 1e-3
    )


@pytest.mark.parametrize("make", [sized, tiled])
def test_pictures_of_different_sizes_share_a_batch(make):
    model, data = make(), samples(8)
    data = [
        replace(item, image=item.image.resize(((64, 64), (96, 32), (32, 48))[index % 3]))
        for index, item in enumerate(data)
    ]
    eight = extract(model, data, batch_size=8, **EVERYTHING)
    assert_same(eight, extract(model, data, batch_size=1, **EVERYTHING), atol=1e-5)
    pairs = eight.pairs
    alone = [
        replace(data[v], sample_id=f"{v} {t}", question=data[t].question) for v, t in pairs.index
    ]
    expected = extract(model, alone, passes=["vision+language"], progress=False)
    np.testing.assert_allclose(pairs.logits, expected.logits["vision+language"], atol=1e-5)


def test_size_of_a_masked_picture_is_not_hidden_and_said_so():
    data = [
        replace(item, image=item.image.resize((64, 64 + 32 * (index % 2))))
        for index, item in enumerate(samples(4))
    ]
    for model, passes, warns in (
        (sized(), ["language"], True),
        (sized(), ["vision"], False),
        (loaded("llava"), ["language"], False),
    ):
        with warnings.catch_warnings(record=True) as raised:
            warnings.simplefilter("always")
            extract(model, data, passes=passes, progress=False)
        assert any("hide the size" in str(item.message) for item in raised) == warns


def test_ids_and_answers_are_kept_in_order():
    data = samples(9)[::-1]
    extraction = extract(loaded("llava"), data, progress=False)
    assert extraction.sample_ids == tuple(item.sample_id for item in data)
    assert extraction.answers == tuple(item.answer for item in data)
    assert extraction.candidates == CANDIDATES
    back = extract(loaded("llava"), data[::-1], progress=False)
    np.testing.assert_allclose(extraction.logits["vision"], back.logits["vision"][::-1], atol=1e-5)


def test_questions_with_other_options_are_other_values():
    options = ("red or blue?", "green or blue?")
    data = [sample(i, question="what color is it?", options=options[i % 2]) for i in range(6)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # few samples
        answers = extract(loaded("llava"), data, partners=4, progress=False)
    assert answers.questions[1] == "what color is it?\ngreen or blue?"
    for decisions in (answers.masked(), answers.resampled()):
        assert decisions.values["language"].max() == 1


def test_embeddings_are_token_means():
    model, data = loaded("qwen2_5_vl"), samples(3)
    extraction = extract(model, data, progress=False)
    ids = model.processor.tokenizer(data[1].question, return_tensors="pt")["input_ids"]
    words = model.model.get_input_embeddings()(ids)[0].mean(0)
    np.testing.assert_allclose(extraction.embeddings["language"][1], words.detach(), atol=1e-6)
    pixels = model.processor.image_processor([data[1].image], return_tensors="pt")
    (patches,) = model.model.get_image_features(**pixels).pooler_output
    np.testing.assert_allclose(
        extraction.embeddings["vision"][1], patches.mean(0).detach(), atol=1e-6
    )


@pytest.mark.parametrize("family", FAMILY_NAMES)
def test_tokens_match_the_means_and_the_answers(family):
    model, data = (
        loaded(family),
        [replace(sample(index), options="red, green or blue?" * (index % 2)) for index in range(6)],
    )
    extraction = extract(model, data, tokens=True, layers=(-1,), batch_size=4, progress=False)
    assert list(extraction.tokens) == ["vision", "language", "hidden"]
    for name in ("vision", "language"):
        means = np.stack([tokens.mean(0) for tokens in extraction.tokens[name]])
        np.testing.assert_allclose(extraction.embeddings[name], means, atol=1e-6)
    words = [
        len(item.text.replace("\n", " n ").replace("?", " ?").replace(",", " ,").split())
        for item in data
    ]
    assert [len(tokens) for tokens in extraction.tokens["language"]] == words
    last = np.stack([states[-1] for states in extraction.tokens["hidden"]])
    np.testing.assert_allclose(last, extraction.hidden[:, 0], atol=1e-5)
    lengths = [len(states) for states in extraction.tokens["hidden"]]
    assert lengths == [len(loop.encode(model, [item])["input_ids"][0]) for item in data]


@pytest.mark.parametrize("family", FAMILY_NAMES)
def test_tower_runs_once_per_sample(family):
    model, runs = loaded(family), []
    (tower,) = {name for name, _ in model.model.base_model.named_children()} & {
        "vision_tower",
        "vision_model",
        "visual",
    }
    extract(model, samples(2), progress=False)  # the model is tested once
    handle = getattr(model.model.base_model, tower).register_forward_hook(lambda *_: runs.append(1))
    extract(model, samples(10), **EVERYTHING)
    handle.remove()
    assert len(runs) == 2  # one picture to see what is read, and one batch


def test_decisions_of_both_kinds():
    data = samples(8)
    extraction = extract(loaded("llava"), data, **EVERYTHING)
    masked = extraction.masked(tau=0)
    assert len(masked) == 8 and masked.groups.tolist() == list(range(8))
    np.testing.assert_allclose(
        masked.sources["language"], extraction.decisions("language", tau=0), rtol=1e-12
    )
    assert len(extraction.resampled()) == len(extraction.pairs.weights)


@pytest.fixture
def shards_of_four(monkeypatch):
    monkeypatch.setattr(job, "SHARD", 4)


def killed_after(count, monkeypatch):
    real, computed = job.Job.shard, []

    def crashes(self, start):
        if len(computed) == count:
            raise KeyboardInterrupt
        computed.append(start)
        return real(self, start)

    monkeypatch.setattr(job.Job, "shard", crashes)


@pytest.mark.parametrize("count", [0, 2])
def test_killed_run_resumes_and_equals_an_uninterrupted_one(
    tmp_path, monkeypatch, shards_of_four, count
):
    model, data = loaded("llava"), samples(11)
    uninterrupted = extract(model, data, cache=tmp_path / "whole", **EVERYTHING)
    whole, killed = (tmp_path / name / uninterrupted.fingerprint for name in ("whole", "killed"))
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        killed_after(count, patch)
        extract(model, data, cache=tmp_path / "killed", **EVERYTHING)
    computed = []
    real = job.Job.shard
    monkeypatch.setattr(
        job.Job, "shard", lambda self, start: computed.append(start) or real(self, start)
    )
    assert_same(extract(model, data, cache=tmp_path / "killed", **EVERYTHING), uninterrupted)
    assert computed == [0, 4, 8][count:]
    assert whole.with_suffix(".tar").read_bytes() == killed.with_suffix(".tar").read_bytes()


def test_stored_extraction_equals_a_fresh_one(tmp_path, monkeypatch, shards_of_four):
    model, data = loaded("gemma3"), samples(6)
    fresh = extract(model, data, **EVERYTHING)
    assert_same(extract(model, data, cache=tmp_path, **EVERYTHING), fresh)
    monkeypatch.setattr(extractor, "Reader", None)  # a complete extraction needs none
    assert_same(extract(model, data, cache=tmp_path, **EVERYTHING), fresh)


def test_a_full_disk_stops_after_the_first_shard(tmp_path, monkeypatch, shards_of_four):
    model, data = loaded("llava"), samples(11)
    monkeypatch.setattr(store.shutil, "disk_usage", lambda folder: SimpleNamespace(free=9))
    computed, real = [], job.Job.shard
    monkeypatch.setattr(
        job.Job, "shard", lambda self, start: computed.append(start) or real(self, start)
    )
    with pytest.raises(OSError, match="MB free: request fewer samples or layers"):
        extract(model, data, cache=tmp_path, **OPTIONS)
    monkeypatch.setattr(store.shutil, "disk_usage", lambda folder: SimpleNamespace(free=1e9))
    extract(model, data, cache=tmp_path, **OPTIONS)
    assert computed == [0, 4, 8]


def test_corrupt_shard_is_named_and_recomputed_alone(tmp_path, monkeypatch, caplog, shards_of_four):
    model, data = loaded("llava"), samples(11)
    first = extract(model, data, cache=tmp_path, **EVERYTHING)
    path = tmp_path / f"{first.fingerprint}.tar"
    with tarfile.open(path) as joined:
        place = joined.getmember("samples-000004.safetensors").offset_data
    damaged = bytearray(path.read_bytes())
    damaged[place + 4000] ^= 1
    path.write_bytes(damaged)
    computed, real = [], job.Job.shard
    monkeypatch.setattr(
        job.Job, "shard", lambda self, start: computed.append(start) or real(self, start)
    )
    assert_same(extract(model, data, cache=tmp_path, **EVERYTHING), first)
    assert computed == [4] and "samples-000004" in caplog.text


@pytest.mark.parametrize(
    "change",
    [
        {"samples": samples(5)},
        {"samples": [*samples(3), replace(sample(3), image=sample(9).image)]},
        {"samples": [*samples(3), replace(sample(3), options="red or blue?")]},
        {"samples": samples(4)[::-1]},
        {"seed": 1},
        {"partners": 2},
        {"passes": ["vision"]},
        {"tokens": False},
        {"layers": [0]},
        {"loaded": replace(loaded("llava"), revision="1" * 40)},
    ],
)
def test_another_extraction_has_another_fingerprint(change):
    arguments = {"loaded": loaded("llava"), "samples": samples(4), **EVERYTHING}
    first, other = extract(**arguments), extract(**arguments | change)
    assert first.fingerprint != other.fingerprint


def test_pictures_are_identified_by_their_colors():
    def fingerprint(palette):
        picture = Image.new("P", (64, 64), 1)
        picture.putpalette(palette)
        painted = [sample(index, image=picture) for index in range(3)]
        arguments = {"passes": ["vision+language"], "progress": False}
        return extract(loaded("llava"), painted, **arguments).fingerprint

    red = fingerprint([0, 0, 0, 255, 0, 0])
    assert red == fingerprint([9, 9, 9, 255, 0, 0])  # a color not used
    assert red != fingerprint([0, 0, 0, 0, 0, 255])


def test_identity_includes_the_code_but_not_the_checks(monkeypatch):
    def code():
        return extractor.identity(loaded("llava"), samples(2))["code"]

    before = code()
    assert len(before) == 16 and code() == before
    monkeypatch.setattr(extractor, "NOT_HASHED", {*extractor.NOT_HASHED, "masking.py"})
    assert code() != before
    monkeypatch.undo()
    assert code() == before


def test_cache_holds_each_extraction_under_its_fingerprint(tmp_path, monkeypatch):
    model, data, calls = loaded("llava"), samples(4), []
    first = extract(model, data, cache=tmp_path, **OPTIONS)
    other = extract(model, data, cache=tmp_path, **OPTIONS | {"seed": 1})
    files = {f"{extraction.fingerprint}.tar" for extraction in (first, other)}
    assert {path.name for path in tmp_path.iterdir()} == files
    real = extractor.identity
    monkeypatch.setattr(extractor, "identity", lambda *a, **b: calls.append(a) or real(*a, **b))
    monkeypatch.setattr(Reader, "_forward", None)
    assert_same(extract(model, data, cache=tmp_path, **OPTIONS), first)
    assert len(calls) == 1


def test_batch_size_is_provenance(tmp_path):
    model, data = loaded("llava"), samples(4)
    assert_same(
        extract(model, data, cache=tmp_path, batch_size=3, **EVERYTHING),
        extract(model, data, cache=tmp_path, **EVERYTHING),
    )


SHORT_OF_MEMORY = (
    torch.OutOfMemoryError("CUDA out of memory"),
    RuntimeError("DefaultCPUAllocator: can't allocate memory"),
)


@pytest.mark.parametrize("error", SHORT_OF_MEMORY)
def test_batch_halves_when_memory_runs_out(monkeypatch, caplog, error):
    model, data, sizes = loaded("paligemma"), samples(9), []
    expected, real = extract(model, data, batch_size=3, **OPTIONS), Reader._forward

    def short(self, rows, *others):
        sizes.append(len(rows))
        if len(rows) > 3:
            raise error
        return real(self, rows, *others)

    monkeypatch.setattr(Reader, "_forward", short)
    assert_same(extract(model, data, batch_size=13, **OPTIONS), expected)
    assert sizes[:4] == [13, 6, 3, 3] and max(sizes[2:]) == 3
    assert "out of memory at batch size 13; trying 6" in caplog.text


def test_other_errors_and_a_batch_of_one_are_not_retried():
    def fails(error):
        def run(batch):
            calls.append(len(batch))
            raise error

        return run

    def reader(batch_size):
        return Reader(loaded("llava"), CANDIDATES, (), "is it red?", batch_size)

    for error, expected in (
        (RuntimeError("shapes differ"), [4]),
        (torch.OutOfMemoryError(), [4, 2, 1]),
    ):
        calls = []
        with pytest.raises(type(error)):
            list(reader(4).in_batches(fails(error), range(4)))
        assert calls == expected
    with pytest.raises(ValueError, match="batch_size must be at least 1; got 0"):
        reader(0)


def spoiled(parameter):
    model = loaded("llava", seed=1)
    state = {name: value.clone() for name, value in model.model.state_dict().items()}
    return model, state, model.model.get_parameter(parameter)


def test_samples_with_nan_embeddings_are_named():
    model, state, weight = spoiled("model.language_model.embed_tokens.weight")
    try:
        with torch.no_grad():
            weight[model.processor.tokenizer.convert_tokens_to_ids("this")] = float("nan")
        with pytest.raises(
            ValueError, match="NaN or Inf in the language embeddings of world/002, world/008: check"
        ):
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
    ("data", "message"),
    [
        ([], "no samples to extract from; give at least one"),
        (pd.DataFrame({"question": ["?"]}), "a DataFrame that is no list of Sample; load_bench"),
        ([sample(0), sample(1), sample(0)], "repeated sample ids: world/000;"),
        (
            [sample(0), sample(1, candidates=("green", "red"))],
            r"candidates other than \('red', 'green', 'blue'\): world/001",
        ),
        ([sample(0), sample(1, image=None)], r"no picture \(in a table, the column .*: world/001"),
        (
            [sample(0, image=None), sample(1, image=None)],
            "no picture .*: world/000, world/001",
        ),
        ([sample(0, question=" ")], "no question: world/000"),
        ([sample(0, candidates="red")], "nonempty strings; got 'red'"),
        ([sample(0, candidates=("red", " "))], r"nonempty strings; got \('red', ' '\)"),
        (
            [sample(0, candidates=("red",))],
            r"two or more different, nonempty strings; got \('red',\)",
        ),
        ([sample(0, candidates=("red", "red"))], r"two or more different, nonempty strings"),
    ],
)
def test_invalid_profiling_sets_are_refused(data, message):
    with pytest.raises(ValueError, match=message):
        extract(loaded("llava"), data, progress=False)


def test_output_is_silent_without_progress(capsys, caplog):
    with caplog.at_level(logging.INFO, "pidlib"):
        extract(loaded("llava"), samples(2), progress=False)
        extract(loaded("llava"), samples(2))  # stderr is no terminal
    assert capsys.readouterr() == ("", "") and not caplog.records


@pytest.mark.parametrize("explicit", [True, False])
def test_small_models_use_one_thread_unless_a_number_is_set(monkeypatch, explicit):
    model, data, threads = loaded("llava"), samples(4), []
    expected = extract(model, data, **OPTIONS)
    if not explicit:
        monkeypatch.delenv("OMP_NUM_THREADS")
    real = Reader._forward
    monkeypatch.setattr(
        Reader, "_forward", lambda *a: threads.append(torch.get_num_threads()) or real(*a)
    )
    torch.set_num_threads(2)
    try:
        result = extract(model, data, **OPTIONS)
        assert_same(result, expected, atol=1e-5 if explicit else 0.0)
        assert set(threads) == {2 if explicit else 1} and torch.get_num_threads() == 2
        monkeypatch.setattr(extractor, "SMALL", 0)
        threads.clear()
        extract(model, data, **OPTIONS)
        assert set(threads) == {2}
    finally:
        torch.set_num_threads(1)


@pytest.mark.parametrize("front_end", [True, False])
def test_progress_bar_is_shown_in_interactive_notebooks_only(monkeypatch, capsys, front_end):
    kernel = SimpleNamespace(kernel=SimpleNamespace(_allow_stdin=front_end))
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: kernel))
    extract(loaded("llava"), samples(2))
    assert ("extract llava" in capsys.readouterr().err) == front_end


@pytest.mark.parametrize("family", FAMILY_NAMES)
def test_half_precision_gives_similar_float32_numbers(family):
    exact, data = loaded(family), samples(6)
    half = replace(exact, model=copy.deepcopy(exact.model).to(torch.bfloat16))
    extraction, expected = extract(half, data, **EVERYTHING), extract(exact, data, **EVERYTHING)
    for key in expected.logits:
        assert extraction.logits[key].dtype == extraction.lens_logits[key].dtype == np.float32
        assert (
            np.corrcoef(extraction.logits[key].ravel(), expected.logits[key].ravel())[0, 1] > 0.99
        )
    assert extraction.hidden.dtype == extraction.embeddings["vision"].dtype == np.float32


def test_few_calibration_samples_warn():
    with pytest.warns(UserWarning, match="4 samples calibrate the noise"):
        extract(loaded("llava"), samples(4), progress=False)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        extract(loaded("llava"), samples(4), passes=["vision+language"], progress=False)
        extract(loaded("llava"), samples(CALIBRATING), passes=["vision"], progress=False)


@pytest.mark.parametrize("changes", [{"passes": ["vision+language", "vision"]}, {"partners": 3}])
def test_text_only_samples_support_the_full_pass_alone(changes):
    blind = [replace(item, image=None) for item in samples(4)]
    with pytest.raises(ValueError, match="no picture .*: world/000"):
        extract(
            loaded("llava"), blind, **{"passes": ["vision+language"], "progress": False} | changes
        )


def no_work(monkeypatch):
    monkeypatch.setattr(Reader, "encode", None)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"partners": -1}, "partners must be 0 or more; got -1"),
        ({"passes": "vision"}, r"passes must be a sequence of keys, such as \['vision'\]"),
        ({"passes": ["visoin"]}, "did you mean 'vision'"),
        ({"layers": (7,)}, "no block 7: the language model has 2"),
        ({"layers": (-3,)}, "no block -3: the language model has 2"),
        ({"batch_size": 0}, "batch_size must be at least 1; got 0"),
    ],
)
def test_invalid_arguments_are_refused_before_any_work(monkeypatch, arguments, message):
    no_work(monkeypatch)
    with warnings.catch_warnings(), pytest.raises(ValueError, match=message):
        warnings.simplefilter("error")
        extract(loaded("llava"), samples(CALIBRATING), **{"progress": False} | arguments)


def test_options_pass_requires_options():
    with pytest.raises(ValueError, match="no options: world/001; remove them"):
        extract(
            loaded("llava"),
            [sample(0, options="red or blue?"), sample(1)],
            passes=["vision+options#1"],
            progress=False,
        )


@pytest.mark.parametrize("family", [*FAMILY_NAMES, "hearing"])
def test_the_configuration_states_the_number_of_blocks(family):
    model = hearing() if family == "hearing" else loaded(family)
    facts = extractor.model_facts(model.model.config, model.revision, model.model.dtype)
    assert facts["depth"] == len(model.family.blocks_of(model.model))
    assert facts["dtype"] == "torch.float32" and facts["revision"] == "0" * 40


def test_padding_needs_no_token_of_its_own():
    model, data = loaded("llava"), samples(5)
    expected = extract(model, data, **EVERYTHING)
    bare = replace(model, processor=copy.deepcopy(model.processor))
    bare.processor.tokenizer.pad_token = None
    assert_same(extract(bare, data, **EVERYTHING), expected, atol=1e-5)


@pytest.mark.parametrize(
    ("family", "changes", "message"),
    [
        ("llava", {"question": "<image>\nwhat color is it?"}, "special token.*: world/001; remove"),
        ("llava", {"options": "red or blue?</s>"}, "special token in the question: world/001;"),
        ("qwen2_5_vl", {"image": Image.new("RGB", (2000, 3))}, "world/001: the processor refuses"),
    ],
)
def test_samples_that_cannot_be_processed_are_named(family, changes, message):
    with pytest.raises(ValueError, match=message):
        extract(loaded(family), [sample(0), sample(1, **changes), sample(2)], progress=False)
