"""Figures and table of the reweighting experiment, from made-up outcomes: the same bytes twice, labels apart, few seeds or bases too."""

import re

import numpy as np
import pandas as pd
import pytest
from test_figures import labels_apart
from test_reweighting_tables import BASES, gain, table3, tradeoff, varied

from pidlib import benchmarks, figures, results, schemas
from pidlib.experiment import load_preset
from pidlib.figures import marks, reweighting
from pidlib.reweighting import CONDITIONS
from pidlib.reweighting_tables import ablation_arms, when_arms


def scores(preset) -> pd.DataFrame:
    rng, rows = np.random.default_rng(0), []
    for on, (base, *_) in preset.tuned_models.items():
        for one in benchmarks.load(on, "train", 48, 7):
            sr, sc, fp = rng.uniform(0, 1, 3)
            row = {"experiment": "reweighting", "base": base, "benchmark": on, "n_samples": 48, "seed": 7, "fingerprint": "f"}
            row |= {name: getattr(one, name) for name in ("split", "sample_id", "question", "answer")}
            row |= {"sr": sr, "sc": sc, "fp_bits": fp, "gap_bits": (1 - sr) * (1 - sc) * fp, "weight": rng.choice([0.5, 1.0, 3.0])}
            rows.append(row | {"p_answer": rng.uniform(), "p_answer_language": rng.uniform(), "right": True, "converged": True})
    return results.tidy(rows, schemas.SCHEMAS["fig_scores"])


FIGURES = {
    "fig_scores": scores,
    "fig_gain": gain,
    "fig_ablation": lambda preset: varied(preset, ablation_arms(preset)),
    "fig_tradeoff": tradeoff,
    "fig_when": lambda preset: varied(preset, when_arms(preset)),
}
ONE = {"prior/80": ["llava_compact_blind"]}


def made_of(tmp_path, **changes):
    return load_preset("offline", **{"n_tuning_seeds": 6, "tuned_models": BASES, "n_resamples": 200, "output": str(tmp_path)} | changes)


def test_every_figure_is_tested():
    assert {name for name in reweighting.__all__ if name.startswith("fig_")} == set(FIGURES)


@pytest.mark.parametrize("name", FIGURES)
def test_twice_drawn_is_byte_for_byte_the_same(name, tmp_path):
    preset = made_of(tmp_path)
    results.write(FIGURES[name](preset), preset.table(f"reweighting/{name}"))
    first = {path.suffix: path.read_bytes() for path in figures.draw(f"reweighting/{name}", preset).paths}
    assert first == {path.suffix: path.read_bytes() for path in figures.draw(f"reweighting/{name}", preset).paths}
    assert set(first) == {".pdf", ".png"}


@pytest.mark.parametrize("changes", [{}, {"tuned_models": ONE, "n_tuning_seeds": 2}], ids=["all", "one base, two seeds"])
@pytest.mark.parametrize("name", FIGURES)
def test_no_label_lies_over_another_or_off_the_page(name, changes, tmp_path, monkeypatch):
    table = FIGURES[name](made_of(tmp_path, **changes))
    assert labels_apart(lambda: getattr(reweighting, name)(table), monkeypatch) > 10


def test_one_seed_is_drawn_too(tmp_path):
    preset = made_of(tmp_path, n_tuning_seeds=1, tuned_models=ONE)
    for name, table in FIGURES.items():
        results.write(table(preset), preset.table(f"reweighting/{name}"))
        assert figures.draw(f"reweighting/{name}", preset).paths


def test_conditions_differ_in_colour_and_marker():
    assert set(marks.CONDITION_LOOKS) == set(CONDITIONS) and len(set(marks.CONDITION_LOOKS.values())) == 8
    assert len({color for color, _ in marks.CONDITION_LOOKS.values()}) == len({marker for _, marker in marks.CONDITION_LOOKS.values()}) == 8


def test_the_table_has_a_column_for_each_condition_and_the_printed_one_below(tmp_path):
    preset = made_of(tmp_path)
    results.write(table3(preset), preset.table("reweighting/table3_reweighting"))
    text = figures.draw("reweighting/table3_reweighting", preset).paths[0].read_text()
    lines = text.splitlines()
    assert lines[2].split(r"\shortstack[r]")[1:] == [*sorted(lines[2].split(r"\shortstack[r]")[1:])] and lines[2].count("&") == 8
    assert all(word in lines[2] for words in CONDITIONS.values() for word in words.split())
    assert not re.search(r"(?<!\\)%", text)
    row = next(line for line in lines if line.startswith("MMStar")).split(" & ")
    assert row[1:7] == ["60.7", "62.0", "64.3", "61.5", "62.5", "63.0"] and "--" in row[7]
    below = lines[lines.index(" & ".join(row)) + 1].split(" & ")
    assert "$+2.3$" in below[3] and "0.3" in below[3]
    starts = [line.split(" & ")[0] for line in lines]
    assert [starts.index(name) for name in (r"captions: 80 \% right", "captions: balanced")] == [6, 8]  # its own questions come first
    own = lines[8].split(" & ")
    assert own[3].endswith(r"\rlap{$^\ast$}") and "ast" not in own[4]
    assert "minis" in text and "3 seeds" in text and "6 seeds; balanced accuracy: C less B p = .0312, C less D p = .0" in text


def test_a_header_says_how_many_seeds_there_are_of_all_conditions(tmp_path):
    preset = made_of(tmp_path)
    table = table3(preset)
    table["n_seeds"] = table["n_seeds"].where(~table["condition"].isin(["C", "D"]) | table["grade"].notna(), 2)
    assert "2 to 6 seeds" in reweighting.table3_reweighting(table)


@pytest.mark.parametrize("name", [*FIGURES, "table3_reweighting"])
def test_rows_the_solver_did_not_finish_are_refused(name, tmp_path):
    table = (FIGURES | {"table3_reweighting": table3})[name](made_of(tmp_path)).assign(converged=False)
    with pytest.raises(ValueError, match="did not converge"):
        getattr(reweighting, name)(table)
