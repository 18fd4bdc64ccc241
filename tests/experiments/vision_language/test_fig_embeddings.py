"""Embeddings after the last block and after every block, and their figures."""

import pandas as pd
import pytest

from experiments.vision_language.synthetic import MODELS, profiles
from pidlib import benchmarks
from pidlib.experiments.preset import load_preset
from pidlib.experiments.tables import ATOMS, validate
from pidlib.experiments.vision_language import fig_embedding_layers, fig_embeddings
from pidlib.training.minis import vocabulary
from pidlib.training.tiny import build


@pytest.fixture(scope="module")
def preset(tmp_path_factory):
    """One tiny model with random weights on a benchmark with a single question."""
    folder = tmp_path_factory.mktemp("embeddings")
    model, processor = build("llava", sorted(vocabulary()), size="tiny")
    model.save_pretrained(folder / "model")
    processor.save_pretrained(folder / "model")
    sizes = {"n_embedded": 48, "n_permutations": 39, "n_bootstrap": 20}
    place = {"models": [str(folder / "model")], "cache": str(folder / "cache")}
    return load_preset("smoke", benchmarks=["micro/scene"], **place, **sizes)


def test_the_last_block_has_the_atoms_of_the_profile(preset):
    table, profile = fig_embedding_layers.measure(preset), fig_embeddings.measure(preset)
    last = table["layer"].max()
    assert table["layer"].tolist() == [layer for layer in range(last + 1) for _ in range(4)]
    names = ["atom", "layer", "value_bits", "corrected_bits", "null_p", "ci_low", "n_samples"]
    rows = table.loc[table["layer"] == last, names].reset_index(drop=True)
    assert set(profile["estimator"]) == {"exact"}  # a constant source has no covariance
    pd.testing.assert_frame_equal(rows, profile[names])


def test_the_table_has_dashes_where_there_is_no_gaussian_estimate():
    table = synthetic(estimator=["exact", "Gaussian"])
    absent = (table["benchmark"] == table["benchmark"].iloc[0]) & (table["estimator"] != "exact")
    text = fig_embeddings.latex(table[~absent])
    lines = [line for line in text.splitlines() if "mini" in line]
    assert len(lines) == 5 * len(MODELS) and sum("--" in line for line in lines) == len(MODELS)
    assert style_bars(table) == style_bars(table[table["estimator"] == "exact"])


def test_markers_are_plug_in_values_and_bars_corrected_ones():
    table = synthetic()
    axes = [ax for ax in fig_embeddings.figure(table).axes if ax.patches]
    markers = {round(y, 6) for ax in axes for line in ax.lines[1:] for y in line.get_ydata()}
    assert {round(value, 6) for value in table["value_bits"].astype(float)} <= markers
    heights = {round(bar.get_height(), 6) for ax in axes for bar in ax.patches}
    assert {round(value, 6) for value in table["corrected_bits"].astype(float)} <= heights


def style_bars(table: pd.DataFrame) -> int:
    return sum(len(ax.patches) for ax in fig_embeddings.figure(table).axes)


def synthetic(**choices) -> pd.DataFrame:
    rows = pd.DataFrame(
        profiles(benchmark=benchmarks.names("pictures")[-5:], model=MODELS, **choices)
    )
    return validate(rows.eval("corrected_bits = 0.9 * value_bits"), ATOMS)


def test_the_figure_of_blocks_fills_significant_markers():
    table = synthetic(layer=range(4))
    table["null_p"] = table["layer"] / 10
    lines = fig_embedding_layers.figure(table).axes[0].lines
    hollow = [line for line in lines if line.get_markerfacecolor() == "white"]
    assert {len(line.get_xdata()) for line in hollow} == {3}
