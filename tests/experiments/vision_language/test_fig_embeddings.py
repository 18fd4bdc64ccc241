"""Embeddings after the last block and after every block, and their figures."""

import numpy as np
import pandas as pd
import pytest

from experiments.vision_language.synthetic import MODELS, profiles
from pidlib import benchmarks
from pidlib.experiments import style
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
    assert n_points(table) == 2 * n_points(table[table["estimator"] == "exact"])


def test_every_model_has_a_point_with_its_interval():
    table = synthetic()
    table["ci_low"], table["ci_high"] = (table["corrected_bits"] + bits for bits in (-0.1, 0.2))
    ax = fig_embeddings.figure(table).axes[0]
    drawn = np.concatenate(
        [line.get_xdata() for line in ax.lines if line.get_marker() in style.MARKERS]
    )
    assert np.allclose(sorted(drawn), sorted(table["corrected_bits"]))
    ends = [line[:, 0] for part in ax.collections for line in part.get_segments()]
    assert np.allclose(sorted(low for low, _ in ends), sorted(table["ci_low"]))
    assert np.allclose(sorted(high for _, high in ends), sorted(table["ci_high"]))


def n_points(table: pd.DataFrame) -> int:
    lines = (line for ax in fig_embeddings.figure(table).axes for line in ax.lines)
    return sum(len(line.get_xdata()) for line in lines if line.get_marker() in style.MARKERS)


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
    cells = len(table) // 16
    titles = [ax.get_title() for ax in figure.axes]
    rises = [title.partition("rises in ")[2] for title in titles]
    assert rises == [f"{n}, falls in 0 of {cells}" for n in (0, 0, 0, cells)]
    ends = [line.get_xdata().tolist() for line in figure.axes[-1].lines[: 2 * cells]]
    assert ends == [[0], [3]] * cells
