"""Scores of the questions that the figure loads again."""

import numpy as np
import pandas as pd
import pytest

from experiments.reweighting.synthetic import BASES, ONE_BASE
from experiments.test_draw import count_labels, styled_figure
from pidlib import benchmarks
from pidlib.experiments import style
from pidlib.experiments.preset import load_preset
from pidlib.experiments.reweighting import fig_scores
from pidlib.experiments.tables import validate


def test_scores_and_weights_of_the_training_questions(tmp_path):
    preset = load_preset("smoke", cache=str(tmp_path))
    table = fig_scores.measure(preset)
    assert len(table) == preset.n_tuned and set(table["benchmark"]) == {"prior/80"}
    first = table.iloc[0]
    sizes = int(first["n_samples"]), int(first["seed"])
    samples = benchmarks.load(first["benchmark"], first["split"], *sizes)
    assert [sample.sample_id for sample in samples] == list(table["sample_id"])
    assert [sample.answer for sample in samples] == list(table["answer"])
    raised = table["weight"] == 3
    assert raised.sum() <= round(0.2 * len(table)) and table["weight"].isin((0.5, 1, 3)).all()
    assert table.loc[raised, "gap_bits"].min() >= table.loc[~raised, "gap_bits"].max()
    assert (table["sr"] + table["sc"]).max() <= 1 + 1e-9 and table["p_answer"].between(0, 1).all()
    for name in ("weight_batch", "weight_lsmi"):
        assert sorted(table[name]) == sorted(table["weight"])
    assert (table["weight_lsmi"] != table["weight"]).any() and table["converged"].all()
    moved = table[["moved_vision", "moved_language"]]
    assert moved.nunique().eq(1).all() and moved.stack().between(0, 1).all()
    assert table[["fallback_vision", "fallback_language"]].notna().all(axis=None)


@pytest.mark.parametrize("bases", [BASES, ONE_BASE], ids=["two benchmarks", "one benchmark"])
def test_the_figure_of_one_or_two_benchmarks(bases):
    rng, rows = np.random.default_rng(0), []
    for benchmark, (base, *_) in bases.items():
        for sample in benchmarks.load(benchmark, "train", 48, 7):
            sr, sc, fp, p, p_language = rng.uniform(0, 1, 5)
            names = ("split", "sample_id", "question", "answer")
            row = {name: getattr(sample, name) for name in names}
            row |= {"sr": sr, "sc": sc, "fp_bits": fp, "gap_bits": (1 - sr) * (1 - sc) * fp}
            row |= {"base": base, "benchmark": benchmark, "weight": rng.choice([0.5, 1.0, 3.0])}
            rows.append(row | {"p_answer": p, "p_answer_language": p_language})
    constants = {"experiment": "reweighting", "n_samples": 48, "seed": 7, "fingerprint": "f"}
    table = pd.DataFrame(rows).assign(right=True, converged=True, **constants)
    table = validate(table, fig_scores.COLUMNS)
    assert count_labels(styled_figure(fig_scores, table)) > 10


@pytest.mark.parametrize("needing, often", [((0, 0, 8), "as many as"), ((8, 0, 0), "more than")])
def test_samples_of_a_weight_are_compared_with_the_whole_random_range(needing, often):
    weight = np.repeat([3.0, 1.0, 0.5], (8, 24, 8))
    needs = np.concatenate(
        [np.arange(size) < n for size, n in zip((8, 24, 8), needing, strict=True)]
    )
    rows = pd.DataFrame({"weight": weight, "needs": needs, "color": "black"})
    texts = fig_scores._draw_shares(style.page(1).subplots(), rows)
    assert texts[0] == f"at weight 3 {often} at random"
    other = "more than" if needing[2] else "as many as"
    assert texts[1] == f"at weight 0.5 {other} at random"
