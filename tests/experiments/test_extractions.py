"""Queries to the models of a preset: checked first, answered once, identified in every row."""

import runpy
import shutil
import signal
import sys
from types import SimpleNamespace

import pandas as pd
import pytest
import torch

from pidlib import benchmarks
from pidlib.experiments import __main__ as shell
from pidlib.experiments import ahead
from pidlib.experiments import extractions as module
from pidlib.experiments.extractions import (
    Query,
    Request,
    extract_all,
    extract_requests,
)
from pidlib.experiments.preset import load_preset
from pidlib.experiments.reweighting.settings import TrainingSpec
from pidlib.extraction import extract
from pidlib.extraction.masking import FULL
from pidlib.training.minis import vocabulary
from pidlib.training.tiny import build

QUERY = Query("test", 4, 0, (FULL,))


@pytest.fixture(scope="module")
def preset(tmp_path_factory):
    folder = tmp_path_factory.mktemp("extractions")
    for part in build("llava", sorted(vocabulary()), size="tiny"):
        part.save_pretrained(folder / "model")
    places = {"models": [str(folder / "model")], "cache": str(folder / "cache")}
    return load_preset("smoke", benchmarks=["micro/existence"], **places)


def request(preset, *queries) -> Request:
    return Request(preset.models, preset.benchmarks, queries)


def test_answers_come_by_query_with_the_columns_of_their_rows(preset):
    queries = (QUERY, QUERY._replace(split="train", n_samples=3))
    ((first, second),) = extract_all(preset, request(preset, *queries))
    assert (first.columns["split"], first.columns["n_samples"]) == ("test", 4)
    assert (second.columns["split"], len(second.extraction)) == ("train", 3)
    assert first.columns["benchmark"] == "micro/existence"
    row = first.row_columns("omni", tau=0.3)
    assert row["experiment"] == "omni" and row["model"] == first.columns["model"]
    marks = {first.row_columns("omni", tau=tau)["fingerprint"] for tau in (0.3, 0.4)}
    assert len(marks) == 2 and row["fingerprint"] in marks


def test_a_query_chooses_layers_and_changes_samples(preset):
    none, every = QUERY, QUERY._replace(layers=None)
    fewer = QUERY._replace(change=lambda samples: samples[1:])
    ((none, every, fewer),) = extract_all(preset, request(preset, none, every, fewer))
    assert none.extraction.layers == () and len(every.extraction.layers) > 1
    assert fewer.extraction.sample_ids == none.extraction.sample_ids[1:]
    assert len({answer.columns["fingerprint"] for answer in (none, every, fewer)}) == 3


def test_a_mask_changes_masked_passes_alone(preset):
    noise, mean = QUERY._replace(passes=(FULL, "vision")), QUERY._replace(mask="mean")
    mean = mean._replace(passes=noise.passes)
    ((noise, mean),) = extract_all(preset, request(preset, noise, mean))
    logits = noise.extraction.logits, mean.extraction.logits
    assert (logits[0][FULL] == logits[1][FULL]).all()
    assert (logits[0]["vision"] != logits[1]["vision"]).any()
    assert noise.columns["fingerprint"] != mean.columns["fingerprint"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"models": ["nobody"]}, "nobody"),
        ({"benchmarks": ["micro/existence", "micro/nothing"]}, "micro/nothing"),
    ],
)
def test_all_names_are_checked_before_the_first_model_is_loaded(
    preset, changes, message, monkeypatch
):
    monkeypatch.setattr(module, "load_model", None)
    with pytest.raises(ValueError, match=message):
        next(extract_all(preset, request(preset, QUERY)._replace(**changes)))


def test_all_faults_of_names_are_reported_together(preset, tmp_path, monkeypatch):
    (tmp_path / "q.csv").write_text("question,answer\n,yes\n")
    names = {"models": ["me/one", "nobody", "name=me/two"]}
    names["benchmarks"] = ["micro/scene", "hub/pope", f"table:{tmp_path / 'q.csv'}"]
    faults = (
        r"me/one is a hub (.|\n)*'nobody'(.|\n)*me/two is(.|\n)*hub/pope is(.|\n)*row 1, column"
    )
    with pytest.raises(ValueError, match=faults):
        next(extract_all(preset, request(preset, QUERY)._replace(**names)))
    monkeypatch.setattr(ahead, "all_requests", lambda preset: [Request(**names, queries=(QUERY,))])
    with pytest.raises(ValueError, match=faults):
        ahead.queries(preset)


def test_words_that_a_model_lacks_are_named_before_any_work(preset, tmp_path, monkeypatch):
    for index, sample in enumerate(benchmarks.load("micro/existence", "test", 4)):
        sample.image.save(tmp_path / f"{index}.png")
    questions = ["is there a red circle?"] * 3 + ["is there a zeppelin?"]
    rows = [(text, "ab"[i % 2], f"{i}.png", "red|blue") for i, text in enumerate(questions)]
    table = pd.DataFrame(rows, columns=["question", "answer", "picture", "options"])
    table.assign(answer=["A", "B"] * 2).to_csv(tmp_path / "letters.csv", index=False)
    names = ("question", "answer", "picture")
    table[[*names]].assign(answer=["yes", "no"] * 2).to_csv(tmp_path / "words.csv", index=False)
    monkeypatch.setattr(module, "load_model", None)
    folder = preset.models[0]
    asked = Request([f"tuned={folder}"], [f"table:{tmp_path}/letters.csv"], (QUERY,))
    with pytest.warns(UserWarning, match="tuned has no tokens for .*zeppelin.* in questions of"):
        with pytest.raises(ValueError, match="tuned has no tokens for A, B, candidates of table:"):
            next(extract_all(preset, asked))
    with pytest.warns(UserWarning, match="tuned has no tokens for zeppelin in questions of"):
        module.check_names(preset, [asked._replace(benchmarks=[f"table:{tmp_path}/words.csv"])])


def test_rows_name_the_model_and_the_revision_of_your_questions(preset, tmp_path):
    samples = benchmarks.load("micro/existence", "test", 4)
    for index, sample in enumerate(samples):
        sample.image.save(tmp_path / f"{index}.png")
    rows = [(sample.question, sample.answer, f"{i}.png") for i, sample in enumerate(samples)]
    table = pd.DataFrame(rows, columns=["question", "answer", "picture"])
    table.to_csv(tmp_path / "mine.csv", index=False)
    name, models = f"table:{tmp_path / 'mine.csv'}", [f"tuned={preset.models[0]}"]
    ((answer,),) = extract_all(preset, Request(models, [name], (QUERY,)))
    row = answer.row_columns("omni", tau=0.25)
    assert (row["model"], row["benchmark"]) == ("tuned", "table:mine.csv")
    assert row["benchmark_revision"] == benchmarks.revision(name)
    assert (row["dtype"], row["partners"], row["tau"]) == ("float32", 0, 0.25)
    assert row["family"] == "llava" and len(answer.extraction) == 4


def test_the_requests_of_a_notebook_are_answered_ahead(preset):
    both = [request(preset, QUERY), request(preset, QUERY._replace(n_samples=3))]
    summary = extract_requests(preset, SimpleNamespace(requests=lambda _: both))
    assert summary == f"2 extractions of 7 samples in {preset.cache}"


def test_all_requests_include_every_notebook():
    preset = load_preset("smoke")
    modules = map(ahead.notebook_module, ahead.names())
    each = [module.requests(preset) for module in modules if hasattr(module, "requests")]
    requests = ahead.all_requests(preset)
    assert len(requests) == sum(map(len, each)) >= len(each) > 10
    models = {name for request in requests for name in request.models}
    assert {*preset.models, *preset.population, *preset.omni_models} <= models


def test_a_complete_cache_is_read_without_weights_and_transformers(preset, monkeypatch):
    queries = QUERY._replace(layers=None), QUERY._replace(passes=(FULL, "vision"), tokens=True)
    (first,) = extract_all(preset, request(preset, *queries))
    loads = []
    monkeypatch.setattr(module, "load_model", lambda name, **_: loads.append(name) or 1 / 0)
    monkeypatch.setitem(sys.modules, "pidlib.models._transformers", None)  # cannot be imported
    (second,) = extract_all(preset, request(preset, *queries))
    for before, after in zip(first, second, strict=True):
        assert before.columns == after.columns and len(after.extraction) == 4
        assert (before.extraction.logits[FULL] == after.extraction.logits[FULL]).all()
    with pytest.raises(ZeroDivisionError):
        next(extract_all(preset, request(preset, QUERY._replace(n_samples=5))))
    assert loads == list(preset.models)


def test_a_model_that_is_not_loaded_has_the_identity_of_the_loaded_one(preset):
    ((answer,),) = extract_all(preset, request(preset, QUERY))
    model = module.load_model(preset.models[0], device="cpu", dtype=torch.float32)
    direct = extract(model, benchmarks.load("micro/existence", "test", 4), passes=(FULL,))
    assert direct.fingerprint == answer.columns["fingerprint"]


def test_dtype_comes_from_the_preset(preset):
    as_saved = preset.model_copy(update={"dtype": "auto"})
    half = preset.model_copy(update={"dtype": "bfloat16"})
    marks = {}
    for name, each in {"float32": preset, "auto": as_saved, "bfloat16": half}.items():
        ((answer,),) = extract_all(each, request(each, QUERY))
        marks[name] = answer.columns["fingerprint"]
    assert marks["auto"] == marks["float32"] != marks["bfloat16"]
    assert module.find_model(half, half.models[0]).model.dtype == torch.bfloat16


def test_a_complete_extraction_is_not_read_by_the_first_step(preset, monkeypatch):
    arguments = preset, preset.models[0], "micro/existence", QUERY._replace(n_samples=6)
    module.extract_missing(*arguments)
    monkeypatch.setattr(module, "extract", None)
    monkeypatch.setattr(module, "_samples", None)  # they are identified once in a process
    module.extract_missing(*arguments)


def test_equal_queries_of_notebooks_are_answered_once(preset, monkeypatch):
    more = QUERY._replace(n_samples=3)
    requests = [request(preset, QUERY), request(preset, QUERY, more)]
    monkeypatch.setattr(ahead, "all_requests", lambda _: requests)
    pairs = [("micro/existence", QUERY), ("micro/existence", more)]
    assert ahead.queries(preset) == {preset.models[0]: pairs}


@pytest.fixture(scope="module")
def adapter(preset, tmp_path_factory):
    """The folder of an adapter of peft for the model of the preset."""
    from peft import LoraConfig, get_peft_model

    folder, (base,) = tmp_path_factory.mktemp("adapters") / "lora", preset.models
    model = module.load_model(base, device="cpu").model
    config = LoraConfig(r=2, target_modules=["q_proj", "v_proj"], init_lora_weights=False)
    tuned = get_peft_model(model, config)
    tuned.peft_config["default"].base_model_name_or_path = base
    tuned.save_pretrained(folder)
    return folder


def test_models_with_adapters_have_the_identity_of_the_loaded_ones(preset, adapter):
    (base,) = preset.models
    both = f"{base}+{adapter}"
    names = load_preset("smoke", models=f"{base},tuned={both},{adapter}").models
    asked = request(preset, QUERY)._replace(models=names)
    (plain,), (named,), (alone,) = extract_all(preset, asked)
    loaded = module.load_model(both, device="cpu", dtype=torch.float32)
    direct = extract(loaded, benchmarks.load("micro/existence", "test", 4), passes=(FULL,))
    assert named.columns["revision"] == alone.columns["revision"] == loaded.revision
    assert named.columns["fingerprint"] == direct.fingerprint == alone.columns["fingerprint"]
    assert (named.columns["model"], alone.columns["model"]) == ("tuned", str(adapter))
    assert plain.columns["revision"] != loaded.revision
    assert (named.extraction.logits[FULL] == direct.logits[FULL]).all()
    assert (named.extraction.logits[FULL] != plain.extraction.logits[FULL]).any()


def test_faults_of_adapters_and_processors_are_reported_with_all_others(preset, adapter, tmp_path):
    (base,) = preset.models
    shutil.copytree(base, tmp_path / "bare")
    (tmp_path / "bare/tokenizer.json").unlink()
    names = [f"{base}+{tmp_path}", f"none+{adapter}", str(tmp_path / "bare"), "nobody"]
    faults = "(?s)no adapter of peft in .*unknown model 'none'.*bare has no processor.*'nobody'"
    with pytest.raises(ValueError, match=faults):
        next(extract_all(preset, request(preset, QUERY)._replace(models=names)))


def test_the_shell_takes_models_with_adapters_and_names(preset, adapter, monkeypatch, capsys):
    models = (f"tuned={preset.models[0]}+{adapter}", f"plain={preset.models[0]}")
    both = preset.model_copy(update={"models": models, "tuned_models": {}})
    monkeypatch.setattr(ahead, "all_requests", lambda _: [request(both, QUERY)])
    monkeypatch.setattr(ahead.fig_fusion, "prepare", lambda _: None)
    monkeypatch.setattr(ahead, "all_trainings", lambda _: [])
    monkeypatch.setattr(shell, "load_preset", lambda _: both)
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    for options in (["--models", models[0]], ["--dry-run"], ["--fetch"]):
        monkeypatch.setattr("sys.argv", ["experiments", "extract", *options])
        assert not shell.main()
    printed = capsys.readouterr().out
    assert "1 extractions" in printed and models[0] in printed and models[1] in printed


def test_a_model_with_an_adapter_is_not_trained(preset, adapter):
    name = f"{preset.models[0]}+{adapter}"
    with pytest.raises(ValueError, match="has an adapter; merge it into the weights to train"):
        TrainingSpec.from_preset(preset, name, "micro/existence", "A")


@pytest.fixture
def shell_of(preset, monkeypatch, tmp_path):
    """Run a command of the shell on two models, without trainings; the second has no weights."""
    folder = tmp_path / "broken"
    shutil.copytree(preset.models[0], folder)
    (folder / "model.safetensors").unlink()
    both = preset.model_copy(update={"models": (str(folder), *preset.models)})

    def run(*arguments):
        asked = [request(both, QUERY, QUERY._replace(n_samples=7))]
        monkeypatch.setattr(ahead, "all_requests", lambda _: asked)
        monkeypatch.setattr(ahead.fig_fusion, "prepare", lambda _: None)
        monkeypatch.setattr(ahead, "all_trainings", lambda _: [])
        monkeypatch.setattr(shell, "load_preset", lambda _: both)
        monkeypatch.setattr(signal, "signal", lambda *_: None)
        monkeypatch.setattr("sys.argv", ["experiments", *arguments])
        return shell.main()

    return run


def test_the_shell_names_the_models_that_failed_and_does_the_others(preset, shell_of, capsys):
    assert shell_of("extract") == 1
    (line,) = [line for line in capsys.readouterr().err.splitlines() if "failed:" in line]
    assert "broken: OSError: " in line and "model.safetensors" in line
    assert shell_of("extract", "--models", preset.models[0]) == 0
    assert capsys.readouterr().out == f"2 extractions and trainings are in {preset.cache}\n"


def test_the_shell_knows_the_models_of_a_preset(shell_of):
    with pytest.raises(ValueError, match="unknown model of preset smoke 'nobody'"):
        shell_of("extract", "--models", "nobody")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["extract", "--preset", "smke"], "unknown preset 'smke'; did you mean 'smoke'"),
        (
            ["extract", "--preset", "smoke", "--models", "lava"],
            "smoke 'lava'; did you mean 'llava'",
        ),
        (["extract", "--preset", "smoke", "--dry-run", "--models", "lava"], "did you mean 'llava'"),
        (["outcomes", "--preset", "none.yaml"], "unknown preset 'none.yaml'"),
        (["coverage", "--preset", "smoke", "--gpus"], "no GPU is visible"),
    ],
)
def test_errors_of_users_are_one_line_in_a_shell(arguments, message, monkeypatch):
    monkeypatch.setattr("sys.argv", ["experiments", *arguments])
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    with pytest.raises(SystemExit) as caught:
        runpy.run_path(shell.__file__, run_name="__main__")
    line = str(caught.value)
    assert line.startswith("error: ") and message in line and len(line.splitlines()) == 1


def test_several_processes_run_the_same_command(shell_of, monkeypatch):
    calls = []
    monkeypatch.setattr(shell, "launch", lambda *arguments: calls.append(arguments) or 3)
    assert shell_of("extract", "--preset", "smoke", "--jobs", "2") == 3
    assert calls == [(["extract", "--preset", "smoke"], 2, False)]
