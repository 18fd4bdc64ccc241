"""Embeddings after the last block and after every block, and their figures."""

import numpy as np
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


def test_bars_are_means_over_models_and_whiskers_their_range():
    table = synthetic()
    table["corrected_bits"] = (
        table["corrected_bits"].astype(float) + pd.factorize(table["model"])[0]
    )
    bits = table.groupby(["benchmark", "atom"])["corrected_bits"].agg(["mean", "min", "max"])
    ax = fig_embeddings.figure(table).axes[0]
    widths = sorted(bar.get_width() for bar in ax.patches)
    assert np.allclose(widths, sorted(bits["mean"]))
    ends = [line[:, 0] for part in ax.collections for line in part.get_segments()]
    assert np.allclose(sorted(low for low, _ in ends), sorted(bits["min"]))
    assert np.allclose(sorted(high for _, high in ends), sorted(bits["max"]))


def style_bars(table: pd.DataFrame) -> int:
    return sum(len(ax.patches) for ax in fig_embeddings.figure(table).axes)


def synthetic(**choices) -> pd.DataFrame:
    rows = pd.DataFrame(
        profiles(benchmark=benchmarks.names("pictures")[-5:], model=MODELS, **choices)
    )
    return validate(rows.eval("corrected_bits = 0.9 * value_bits"), ATOMS)


def test_the_figure_of_blocks_has_means_and_clear_changes():
    table = synthetic(layer=range(4))
    for name, shift in {"corrected_bits": 0, "ci_low": -0.1, "ci_high": 0.1}.items():
        table[name] = shift + np.where(table["atom"] == "synergy", table["layer"].astype(float), 0)
    figure = fig_embedding_layers.figure(table)
    assert len(figure.axes) == fig_embedding_layers.N_SHOWN
    lines = [line.get_ydata() for line in figure.axes[0].lines if len(line.get_xdata()) == 4]
    assert np.allclose(lines, [[0] * 4] * 3 + [[0, 1, 2, 3]])
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    cells = len(table) // 16
    assert any(f"rises in {cells}, falls in 0 of {cells}" in label for label in labels)
