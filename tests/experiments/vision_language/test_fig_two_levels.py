"""The steps between the levels, on a model that answers XOR: each loses only what it leaves out."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from known_models import N, extraction, xor

from experiments.vision_language.synthetic import MODELS, profiles
from pidlib import benchmarks
from pidlib.decomposition.estimate import estimate
from pidlib.experiments import style, words
from pidlib.experiments.extractions import Extracted
from pidlib.experiments.preset import MODES, load_preset
from pidlib.experiments.tables import validate
from pidlib.experiments.vision_language import fig_two_levels
from pidlib.experiments.vision_language.fig_two_levels import COLUMNS, measure, probe, steps

V, T = np.divmod(np.arange(N) % 4, 2)
STATES = ((V, T), (V, T))


def atoms(fitted, applied, k=2) -> dict:
    """Measured atoms of every step."""
    return {
        key: estimate(*labels, n_permutations=1, n_bootstrap=1).measured.atoms
        for key, labels in steps(fitted, applied, k, STATES, tau=0.3, seed=0).items()
    }


def without_vision(answers):
    """Replace the pooled embeddings of the picture by a constant and noise."""
    noise = np.random.default_rng(len(answers.sample_ids[0])).normal(size=(N, 4))
    return replace(answers, embeddings=answers.embeddings | {"vision": 1 + 0.1 * noise})


def test_complete_variables_keep_all_synergy():
    values = atoms(extraction(xor, "fit"), extraction(xor))
    assert len(values) == 8
    synergy = {key: value["synergy"] for key, value in values.items()}
    assert synergy == pytest.approx(dict.fromkeys(values, 1), abs=0.1)


def test_pooling_without_the_picture_loses_synergy_except_of_states():
    values = atoms(*map(without_vision, (extraction(xor, "fit"), extraction(xor))))
    for (sources, _, k), value in values.items():
        if sources == "states":
            assert value["synergy"] == pytest.approx(1, abs=0.1)
        elif k != 4:  # four codes of noise have synergy by chance
            assert value["synergy"] < 0.3


def test_a_target_that_holds_its_sources_turns_synergy_into_unique_information():
    inputs = np.eye(4)[2 * V + T][:, None]
    values = atoms(*(replace(extraction(xor, name), hidden=inputs) for name in ("fit", "a")))
    unique = {"redundancy": 0, "unique_vision": 1, "unique_language": 1, "synergy": 0}
    assert values["states", "state", 4] == pytest.approx(unique, abs=1e-5)
    assert values["states", "decision", None]["synergy"] == pytest.approx(1, abs=1e-5)


def test_a_probe_reads_the_states_from_the_embeddings():
    vision = extraction(xor).embeddings["vision"]
    assert (probe(vision, vision, V) == V).all()
    assert (probe(vision, vision[:5], np.full(N, 3)) == np.full(5, 3)).all()


def test_the_table_has_both_levels_and_all_possible_steps(monkeypatch):
    def answers(benchmark):
        columns = {"model": "m", "revision": "0", "benchmark": benchmark, "n_samples": N}
        return tuple(
            Extracted(extraction(xor, name), columns | {"split": split, "fingerprint": split})
            for split, name in (("test", "a"), ("train", "fit"), ("test", "a"))
        )

    both = [answers("micro/existence"), answers("easy_vqa/yes_no")]
    monkeypatch.setattr(fig_two_levels, "extract_all", lambda *_: iter(both))
    table = measure(load_preset("smoke"))
    steps_of = table.groupby("benchmark")["fingerprint"].nunique().to_dict()
    assert steps_of == {"micro/existence": 11, "easy_vqa/yes_no": 7}
    assert len(table) == 72
    missing = table[table["null_mean"].isna()]  # permuted decisions test no synergy
    assert (missing["sources"] == "samples").all()
    counts = {"masked": 2, "resampled": 2, "observational": 8}
    assert missing["unimodal"].value_counts().to_dict() == counts
    decided = table[table["target"] == "decision"]
    assert decided["target_bits"].to_list() == pytest.approx([1] * len(decided))
    assert decided["layer"].isna().all()
    assert set(table.loc[table["target"] == "state", "layer"]) == {3}
    synergy = decided[(decided["sources"] == "samples") & (decided["atom"] == "synergy")]
    regressed = synergy["unimodal"] == "observational"
    assert synergy.loc[~regressed, "value_bits"].to_list() == pytest.approx([1] * 4, abs=1e-5)
    assert synergy.loc[regressed, "value_bits"].to_list() == pytest.approx([1] * 2, abs=0.15)


def test_the_figure_has_the_steps_in_order():
    panels = {"benchmark": benchmarks.names("pictures")[-4:], "model": MODELS, "target_bits": [2.0]}
    rows = profiles(**panels, sources=["samples"], target=["decision"], unimodal=MODES)
    rows += profiles(**panels, sources=("states", "probe"), target=["decision"])
    rows += profiles(**panels, sources=["codes"], target=("decision", "state"), n_codes=(5, 10))
    rows += profiles(**panels, sources=["states"], target=["state"], n_codes=(5, 10))
    table = pd.DataFrame(rows).eval("corrected_bits = 0.9 * value_bits")
    table = validate(table, COLUMNS)
    labels = list(fig_two_levels.by_step(table))
    assert set(labels[:3]) == {f"decisions, {mode}" for mode in MODES}
    assert len(labels) == 11 and labels[3] == "true states → answer"
    table = table[table["benchmark"] == table["benchmark"].iloc[0]]
    drawn = fig_two_levels.column(table)
    (ax,) = drawn.axes
    shown = [text.get_text() for text in ax.get_yticklabels()]
    groups = {"target: decision", "target: answer", "target: 5 codes of last state"}
    rows = [name for name in shown if name not in groups]
    known = [label for label in labels if "10 codes" not in label]
    expected = [label.removeprefix("decisions, ").partition(" → ")[0] for label in known]
    assert groups < set(shown) and rows == expected
    ladder = fig_two_levels.by_step(table[table["atom"] == "synergy"])
    share = {label: rows["corrected_bits"].mean() / 2 for label, rows in ladder.items()}
    name, levels, lost = ax.get_title().split("\n")
    assert name == style.benchmark_name(table["benchmark"].iloc[0])
    first, last = (words.number(share[known[n]]) for n in (1, 6))
    assert levels == f"{known[1]} {first}; all coded {last}"
    path = [share[label] for label in known[3:6]]
    place = np.diff(path).argmin()
    both = " to ".join(map(words.number, path[place : place + 2]))
    assert path[place] > path[place + 1]
    step = ("read off embeddings", "coded")[place]
    assert lost == f"lost when {step}: {both}"
