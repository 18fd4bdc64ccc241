"""Queries to the models of a preset: checked first, answered once, identified in every row."""

from types import SimpleNamespace

import pandas as pd
import pytest

from pidlib import benchmarks
from pidlib.experiments import __main__ as shell
from pidlib.experiments import ahead
from pidlib.experiments import extractions as module
from pidlib.experiments.extractions import (
    Query,
    Request,
    check_names,
    extract_requests,
    extractions,
)
from pidlib.experiments.preset import load_preset
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
    ((first, second),) = extractions(preset, request(preset, *queries))
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
    ((none, every, fewer),) = extractions(preset, request(preset, none, every, fewer))
    assert none.extraction.layers == () and len(every.extraction.layers) > 1
    assert fewer.extraction.sample_ids == none.extraction.sample_ids[1:]
    assert len({answer.columns["fingerprint"] for answer in (none, every, fewer)}) == 3


def test_a_mask_changes_masked_passes_alone(preset):
    noise, mean = QUERY._replace(passes=(FULL, "vision")), QUERY._replace(mask="mean")
    mean = mean._replace(passes=noise.passes)
    ((noise, mean),) = extractions(preset, request(preset, noise, mean))
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
        next(extractions(preset, request(preset, QUERY)._replace(**changes)))


def test_all_faults_of_names_are_reported_together(preset, tmp_path, monkeypatch):
    (tmp_path / "q.csv").write_text("question,answer\n,yes\n")
    names = {"models": ["me/one", "nobody", "name=me/two"]}
    names["benchmarks"] = ["micro/scene", "hub/pope", f"table:{tmp_path / 'q.csv'}"]
    faults = (
        r"me/one is a hub (.|\n)*'nobody'(.|\n)*me/two is(.|\n)*hub/pope is(.|\n)*row 1, column"
    )
    for ask in (check_names, lambda preset, requests: next(extractions(preset, *requests))):
        with pytest.raises(ValueError, match=faults):
            ask(preset, [request(preset, QUERY)._replace(**names)])
    monkeypatch.setattr(ahead, "all_requests", lambda preset: [Request(**names, queries=(QUERY,))])
    with pytest.raises(ValueError, match=faults):
        ahead.run(preset)


def test_rows_name_the_model_and_the_revision_of_your_questions(preset, tmp_path):
    samples = benchmarks.load("micro/existence", "test", 4)
    for index, sample in enumerate(samples):
        sample.image.save(tmp_path / f"{index}.png")
    rows = [(sample.question, sample.answer, f"{i}.png") for i, sample in enumerate(samples)]
    table = pd.DataFrame(rows, columns=["question", "answer", "picture"])
    table.to_csv(tmp_path / "mine.csv", index=False)
    name, models = f"table:{tmp_path / 'mine.csv'}", [f"tuned={preset.models[0]}"]
    ((answer,),) = extractions(preset, Request(models, [name], (QUERY,)))
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


def test_equal_queries_of_notebooks_are_answered_once(preset, monkeypatch):
    more = QUERY._replace(n_samples=3)
    requests = [request(preset, QUERY), request(preset, QUERY, more)]
    monkeypatch.setattr(ahead, "all_requests", lambda _: requests)
    monkeypatch.setattr(ahead, "names", list)  # without preparations
    assert ahead.extract_model(preset, preset.models[0]) == 7
    assert ahead.extract_model(preset, "nobody") == 0


def test_the_shell_answers_all_requests_and_trains(preset, monkeypatch, capsys):
    from pidlib.experiments.reweighting import outcomes

    calls = []
    monkeypatch.setattr(outcomes, "rerun", lambda *arguments: calls.append(arguments) or "trained")
    monkeypatch.setattr(ahead, "all_requests", lambda _: [request(preset, QUERY)])
    monkeypatch.setattr(ahead, "names", list)
    monkeypatch.setattr(shell, "load_preset", lambda _: preset)
    monkeypatch.setattr("sys.argv", ["experiments", "extract", "--preset", "smoke"])
    shell.main()
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("1 models answered 4 questions") and lines[1:] == ["trained"]
    assert calls == [(preset, 1)]
