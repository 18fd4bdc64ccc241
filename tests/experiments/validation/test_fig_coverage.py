import numpy as np
import pandas as pd
import pytest

from pidlib.decomposition import pid
from pidlib.decomposition.decisions import decision_pid
from pidlib.experiments import tables
from pidlib.experiments.preset import load_preset
from pidlib.experiments.validation import fig_coverage, laws
from pidlib.experiments.validation.fig_coverage import Cell

CELL = Cell("masked", "same information", 48, 6, 0)


def preset(folder, **options):
    return load_preset("smoke", cache=str(folder / "cache"), output=str(folder), **options)


@pytest.mark.parametrize("name", laws.answer_laws())
def test_samples_of_a_law_tend_to_its_atoms(name):
    law, generator = laws.answer_laws()[name], np.random.default_rng(0)
    n = 200 if all(law.new) else 2000
    for sample in (law.masked, law.resampled):
        bits = decision_pid(sample(n, generator), tol=1e-3).pid.atoms
        assert max(abs(bits[atom] - law.atoms[atom]) for atom in law.atoms) < 0.1


def test_sources_of_one_law_have_no_unique_information():
    law = laws.answer_laws()["same information"]
    (v, t), (pv, pt) = law.logits, law.weights
    joint = np.exp(v[:, None] + t)
    joint *= np.outer(pv, pt)[..., None] / joint.sum(-1, keepdims=True)
    solved = pid(joint, tol=1e-7).atoms
    np.testing.assert_allclose(list(solved.values()), list(law.atoms.values()), atol=1e-6)
    assert law.atoms["unique_vision"] == law.atoms["unique_language"] == 0


def test_coverage_is_the_share_of_intervals_that_hold_the_truth():
    truth = fig_coverage.true_atoms("codes", "minimum")
    repeats = np.zeros((4, 1, 4, 5))
    for number, distance in enumerate((0.2, 0.1, 0.1, -0.5)):
        for atom, value in enumerate(truth.values()):
            low, high = value - 0.1 + distance, value + 0.1 + distance
            repeats[number, 0, atom] = value + distance, low, high, 0.05 if distance > 0.1 else 1, 1
    cell = Cell("codes", "minimum", 64, 4, 0)
    rows = fig_coverage.summarize(cell, repeats)
    assert (rows["coverage"] == 0.5).all() and (rows["rejected"] == 0.25).all()
    np.testing.assert_allclose(rows["bias_bits"].to_numpy(float), -0.025)
    np.testing.assert_allclose(rows["width_bits"].to_numpy(float), 0.2)
    assert ((rows["coverage_low"] < 0.2) & (rows["coverage_high"] > 0.8)).all()


def test_halves_hold_truths_that_the_bootstrap_misses(tmp_path):
    rows = fig_coverage.measure_cell(preset(tmp_path), CELL._replace(n_repeats=12))
    held = rows.set_index(["estimator", "atom"])["coverage"]
    assert (held["halves"] - held["bootstrap"])[["redundancy", "unique_vision"]].min() > 0.4
    bias = rows.set_index(["estimator", "atom"])["bias_bits"].abs()
    assert (bias["halves"] < bias["bootstrap"]).all()


def test_small_p_values_of_unique_atoms_are_intervals_above_zero():
    repeats = np.stack([fig_coverage.repeat(CELL, number) for number in range(12)])
    low, p = repeats[:, 0, 1:3, 1], repeats[:, 0, 1:3, 3]
    assert ((p <= 0.05) == (low > 0)).all() and 0 < (p <= 0.5).mean() < 1
    assert np.isnan(repeats[:, 1, :, 3]).all()  # of the bootstrap
    rows = fig_coverage.summarize(CELL, repeats).set_index(["estimator", "atom"])["rejected"]
    assert rows["halves", "unique_vision"] == (p[:, 0] <= 0.05).mean()
    assert rows["halves", "synergy"] == 1 and pd.isna(rows["bootstrap", "synergy"])


def test_an_interrupted_cell_goes_on_and_is_the_same(tmp_path, monkeypatch):
    def broken(cell, number):
        if number == 3:
            raise KeyboardInterrupt
        return repeat(cell, number)

    repeat, calls = fig_coverage.repeat, []
    whole = fig_coverage.measure_cell(preset(tmp_path / "whole"), CELL)
    fig_coverage._code()  # of the functions before they are replaced
    monkeypatch.setattr(fig_coverage, "BLOCK", 2)
    monkeypatch.setattr(fig_coverage, "repeat", broken)
    with pytest.raises(KeyboardInterrupt):
        fig_coverage.measure_cell(preset(tmp_path), CELL)
    monkeypatch.setattr(fig_coverage, "repeat", lambda *each: calls.append(each) or repeat(*each))
    pd.testing.assert_frame_equal(fig_coverage.measure_cell(preset(tmp_path), CELL), whole)
    assert [number for _, number in calls] == [2, 3, 4, 5]


def test_other_numbers_than_the_committed_are_made_here(tmp_path):
    settings = load_preset("offline", cache=str(tmp_path), n_coverage=30, n_remade_cells=1)
    with pytest.raises(ValueError, match="42 of 43 cells .* with n_remade_cells 43"):
        fig_coverage.measure(settings)
    cells = fig_coverage.plan(load_preset("offline"))
    assert len({cell.identity["law"] + cell.kind for cell in cells}) == 15
    repeats = {cell[:3]: cell.n_repeats for cell in cells}
    assert repeats["codes", "minimum", 64] == 4 * repeats["masked", "finite, soft", 1024]
    assert repeats["masked", "all inputs new", 256] == 64
    assert ("masked", "all inputs new", 1024) not in repeats  # too few to tell


def test_a_cell_that_differs_from_the_committed_table_is_refused():
    path = load_preset("offline").table(fig_coverage.TABLE)
    committed = tables.read(path, fig_coverage.COLUMNS)
    assert len(fig_coverage.check(committed, committed)) == len(committed)
    moved = committed.assign(value_bits=committed["value_bits"] + 0.01)
    with pytest.raises(ValueError, match="value_bits of .* differs from the committed table"):
        fig_coverage.check(moved.iloc[:4], committed)
    more = committed.assign(rejected=committed["rejected"] + 3 / committed["n_repeats"])
    with pytest.raises(ValueError, match="rejected of 4 rows"):
        fig_coverage.check(more.iloc[:8], committed)
    twice = committed.assign(coverage=committed["coverage"] - 3 / committed["n_repeats"])
    with pytest.raises(ValueError, match="coverage of 8 rows"):
        fig_coverage.check(twice.iloc[:8], committed)


def test_the_committed_table_supports_what_the_notebook_advises():
    table = tables.read(load_preset("offline").table(fig_coverage.TABLE), fig_coverage.COLUMNS)
    tied = table.query("law == 'same information' and estimator == 'halves'")
    assert (tied.loc[tied["atom"] == "redundancy", "bias_bits"] < 0).all()
    held = table.set_index(["estimator", "law", "atom"])["coverage"]
    for atom in ("redundancy", "unique_vision", "unique_language"):
        assert held["bootstrap", "same information", atom].max() < 0.5
    minimum = held["codes", "minimum", "redundancy"]
    assert minimum.is_monotonic_increasing and minimum.max() < 0.8
    codes = table[table["kind"] == "codes"]
    assert codes.loc[codes["truth_bits"].abs() < 1e-6, "rejected"].mean() <= 0.05
    unique = table[(table["estimator"] == "halves") & table["atom"].str.startswith("unique")]
    found, is_zero = unique["rejected"].astype(float), unique["truth_bits"].abs() < 1e-6
    assert set(unique["law"][is_zero]) == {"same information", "all inputs new"}
    assert 0.03 < found[is_zero].mean() < 0.07 and found[is_zero].max() <= 0.13
    by_size = found[is_zero & unique["law"].eq("same information")].groupby(unique["n_samples"])
    assert by_size.mean().is_monotonic_increasing and by_size.mean()[1024] > 0.05
    masked = found[is_zero].groupby(unique["kind"]).mean()
    assert masked["masked"] > masked["resampled"]
    weak = found[~is_zero].groupby(unique["n_samples"]).min()
    assert weak[64] < 0.6 and weak[256] == weak[1024] == 1
