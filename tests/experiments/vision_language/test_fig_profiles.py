"""Diagnostics with atoms in columns, and the figure and table of profiles."""

import numpy as np
import pandas as pd
import pytest

from experiments.vision_language.synthetic import MODELS, profiles
from pidlib import benchmarks
from pidlib.experiments.draw import draw
from pidlib.experiments.population import benchmark_kind
from pidlib.experiments.preset import MODES, load_preset
from pidlib.experiments.tables import DIAGNOSTICS, save, validate
from pidlib.experiments.vision_language import fig_profiles


@pytest.fixture(scope="module")
def tables() -> dict[str, pd.DataFrame]:
    names, modes = benchmarks.names("pictures"), MODES
    table = pd.DataFrame(profiles(benchmark=names, model=MODELS, unimodal=modes))
    table = table.assign(mmi_bits=table["value_bits"] + 0.123)
    table = validate(table, fig_profiles.COLUMNS["fig_profiles"])
    keys = ["benchmark", "model", "n_samples", "fingerprint", "experiment"]
    diagnostics = table.drop_duplicates(["benchmark", "model"])[keys].assign(split="test")
    diagnostics["kind"] = diagnostics["benchmark"].map(benchmark_kind)
    diagnostics = diagnostics.assign(**dict.fromkeys(DIAGNOSTICS, 0.5))
    return {
        "fig_profiles": table,
        "fig_profiles_diagnostics": fig_profiles.with_atoms(diagnostics, table),
    }


def test_atoms_are_columns_of_the_diagnostics(tables):
    table, diagnostics = tables["fig_profiles"], tables["fig_profiles_diagnostics"]
    assert len(diagnostics) == len(table) / 12 and diagnostics["converged"].all()
    row = table[(table["unimodal"] == "masked") & (table["atom"] == "redundancy")].iloc[0]
    columns = [f"masked_redundancy_{part}" for part in ("bits", "low", "high", "null")]
    values = row[["corrected_bits", "ci_low", "ci_high", "null_mean"]]
    assert diagnostics.loc[0, columns].tolist() == values.tolist()
    loose = table.assign(converged=table["model"] != "llava")
    plain = diagnostics.drop(columns="converged").filter(regex=f"^(?!{'|'.join(MODES)})")
    again = fig_profiles.with_atoms(plain, loose)
    assert (again["converged"] == (again["model"] != "llava")).all()


def test_benchmarks_are_drawn_in_the_order_of_their_kind(tables):
    text = fig_profiles.latex(tables)
    assert text.count(r"\begin{tabular}") == 1 and text.count("observational: bits") == 1
    assert "^{" in text and "} / 0.02$" in text and "minis" in text
    titles = [ax.get_title() for ax in fig_profiles.figure(tables).axes]
    titles = [title.partition("\n")[0] for title in titles]
    assert titles[0] == "micro: grounding (synergy-driven)" and "kind not known" in titles[4]
    kinds = [title.partition("(")[2].rstrip(")") for title in titles]
    assert kinds == [*fig_profiles.KINDS, fig_profiles.KINDS[0]]


def test_atoms_of_rounding_noise_do_not_fill_a_panel(tables):
    table, bits = tables["fig_profiles"], ["value_bits", "corrected_bits", "ci_low", "ci_high"]
    small = table.assign(**dict.fromkeys(bits, 1e-16), null_mean=pd.NA)
    small = small[small["benchmark"].str.startswith("easy_vqa")]
    diagnostics = tables["fig_profiles_diagnostics"]
    diagnostics = diagnostics[diagnostics["benchmark"].str.startswith("easy_vqa")]
    silent = (diagnostics["benchmark"] == "easy_vqa/yes_no") & (diagnostics["model"] == "llava")
    diagnostics = diagnostics.assign(fallback=silent.astype(float))
    given = {"fig_profiles": small, "fig_profiles_diagnostics": diagnostics}
    first, second, third = fig_profiles.figure(given).axes
    assert 0.05 <= first.get_ylim()[1] < 0.1
    texts = [[text.get_text() for text in ax.texts] for ax in (first, second, third)]
    assert sorted(texts) == [[], [], ["no candidate named by LLaVA mini"]]


@pytest.mark.parametrize("name", ["corrected_bits", "value_bits"])
def test_bars_are_corrected_values_where_they_are_known(tables, name):
    table = tables["fig_profiles"]
    if name == "value_bits":
        table = table.assign(corrected_bits=pd.NA).astype({"corrected_bits": "Float64"})
    panel = fig_profiles.figure(tables | {"fig_profiles": table}).axes[0]
    shown = table.query("unimodal == 'resampled' and benchmark == 'micro/grounding'")
    heights = [bar.get_height() for bar in panel.patches]
    for mean in shown.groupby("atom")[name].mean():
        assert np.isclose(heights, mean).any()


def test_the_distance_from_the_ideal_answerer_stands_in_the_titles(tables):
    ideal, unknown = tables["fig_profiles"], tables["fig_profiles"]
    ideal = ideal.assign(corrected_bits=fig_profiles._ideal(ideal))
    ideal = ideal[ideal["unimodal"] != "observational"]
    unknown = unknown[unknown["benchmark"].str.startswith("easy_vqa")]
    for rows, place, words in ((ideal, 0, "off the ideal: m .00, r .00"), (unknown, 4, "unknown")):
        ax = fig_profiles.figure(tables | {"fig_profiles": rows}).axes[place]
        assert ax.get_title().replace("†", "").endswith(words)


def test_rows_above_the_tolerance_are_drawn_with_a_warning(tables, tmp_path):
    preset = load_preset("smoke", output=str(tmp_path))
    part = {name: table[table["benchmark"] == "micro/scene"] for name, table in tables.items()}
    part["fig_profiles"] = part["fig_profiles"].reset_index(drop=True)
    part["fig_profiles"].loc[3, "converged"] = False
    save(preset, fig_profiles, part)
    with pytest.warns(UserWarning, match="1 of 36 rows are not solved to tolerance"):
        draw(preset, fig_profiles)
