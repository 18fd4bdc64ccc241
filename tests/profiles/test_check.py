"""`python -m pidlib check` says what was proved, and what a model says instead of candidates."""

import copy
from dataclasses import replace

import pytest
from small_world import loaded, samples

from pidlib import __main__ as shell
from pidlib.profiles.check import check


def test_a_model_is_described():
    lines = check(loaded("qwen2_5_vl"), samples(8))
    assert lines["family"] == "qwen2_5_vl, derived" and "float32, on cpu" in lines["weights"]
    assert "read once for all questions" in lines["proved"] and "batch" in lines["proved"]
    assert "what color is it" in lines["prompt"] and "red: red" in lines["candidates"]
    assert lines["thinking"] == "none" and "minutes for 256 samples" in lines["cost"]
    assert lines["words"] == "none unknown"
    again = check(loaded("paligemma"), samples(8), n=40)
    assert "minutes for 40 samples" in again["cost"]
    assert "read again for each question" in again["proved"] and "by its row" in again["family"]


def test_tokens_that_are_said_instead_of_candidates_are_shown():
    def answers(tau):
        return check(loaded("llava"), samples(8), tau)["answers"]

    assert answers(1.0).startswith("fallback 1.00 at tau = 1; likeliest tokens: ")
    assert answers(0.0).startswith("fallback 0.00")
    counts = answers(0.0).rpartition("tokens: ")[2].split(", ")
    assert sum(int(count.rpartition("(")[2].rstrip(")")) for count in counts) <= 8


def test_thinking_is_switched_off():
    model = loaded("llava")
    template = model.processor.chat_template + "{{ '' if enable_thinking else ' ' }}"
    template += "{% if enable_thinking %}<think>{% endif %}"
    processor = copy.copy(model.processor)
    processor.chat_template = template
    lines = check(replace(model, processor=processor), samples(4))
    assert lines["thinking"].startswith("switched off") and "<think" not in lines["prompt"]


def test_it_runs_from_a_shell(capsys):
    shell.main(["check", "llava_compact", "micro/existence", "--device", "cpu"])
    printed = capsys.readouterr().out
    assert "llava_compact, revision" in printed and "fallback 0.0" in printed
    with pytest.raises(SystemExit, match="error: unknown model 'nobody'"):
        shell.main(["check", "nobody"])
