"""Rows of Sensory PID on extractions whose truth is known, and what is made of them in tables and figures."""

import numpy as np
import pandas as pd
import pytest
from scipy.special import rel_entr
from test_sensory import ideal, record, soft

from pidlib import results, schemas
from pidlib.benchmarks import micro_av
from pidlib.experiment import load_preset
from pidlib.figures.omni import fig2_sensory, fig_recovery, table2_sensory
from pidlib.profiles import FLOOR_TOLERANCE
from pidlib.sensory import GIVEN, REFERENCES, TURNS, added, conditions, decompose
from pidlib.sensory_tables import diagnose, measure, published, truth

ATOMS = ("redundancy", "unique_vision", "unique_audio", "synergy", "total")
TOLD = {"experiment": "omni", "fingerprint": "t", "split": "test"}


def values(table, column="value_bits"):
    return dict(zip(table["atom"], table[column], strict=True))


def test_rows_hold_the_atoms_their_sum_and_an_interval_around_each():
    extraction, _ = ideal("gated")
    table = measure(conditions(extraction, "question"), n_bootstrap=20).rows
    assert values(table) == pytest.approx(dict(zip(ATOMS, (0, 0.5, 0, 0.5, 1), strict=True)), abs=3e-4)
    assert (table["ci_low"] <= table["value_bits"] + 1e-9).all() and (table["value_bits"] <= table["ci_high"] + 1e-9).all()
    assert (table["lower_bits"] <= table["value_bits"] + 1e-9).all() and (table["value_bits"] <= table["upper_bits"] + 1e-9).all()
    assert table["converged"].all() and set(table["n_conditions"]) == {2} and set(table["n_samples"]) == {160}
    assert set(table["n_per_condition"]) == {80}
    assert values(table, "null_mean") == pytest.approx(dict.fromkeys(ATOMS, 0), abs=1e-6)  # uniform where nothing is seen or heard
    assert max(table["moved_vision"].max(), table["moved_audio"].max()) < 1e-6


def test_what_a_model_says_of_noise_stands_in_its_floor():
    rng = np.random.default_rng(0)
    confident = {key: 4 * rng.normal(size=(60, 4)) for key in ("language", "language#1", "language#2")}
    still = soft()
    parts = conditions(record(dict(still.logits) | confident, still.templates, still.questions), "question")
    assert measure(parts, n_bootstrap=4).rows["null_mean"].abs().max() > 0.2
    assert measure(conditions(still, "question"), n_bootstrap=4).rows["null_mean"].abs().max() < 0.1


def test_the_floor_of_a_reference_leaves_out_the_noise_that_it_is_held_against():
    parts = conditions(soft(), "question")
    targets = [np.stack([part.floor[turn].target for part in parts]) for turn in range(3)]
    more = [float(added(parts, "sample", *how)) for how in zip(targets, TURNS, strict=True)]
    others = [[part.told[[draw for draw in range(3) if draw != turn]].mean(0) for part in parts] for turn in range(3)]
    assert more == pytest.approx([rel_entr(mine, r).sum(1).mean() / np.log(2) for mine, r in zip(targets, others, strict=True)])
    floors = [decompose([part.floor[turn] for part in parts], tol=FLOOR_TOLERANCE).pid for turn in range(3)]
    expected = {atom: np.mean([floor.atoms[atom] for floor in floors]) for atom in ATOMS[:-1]}
    expected["redundancy"] += np.mean(more)
    found = values(measure(parts, ["sample"], n_bootstrap=2).rows, "null_mean")
    assert found == pytest.approx(expected | {"total": sum(expected.values())}, abs=1e-9)
    assert np.mean(more) > 1.5 * np.mean([added(parts, "sample", mine) for mine in targets]) > 0  # it would be in its own reference


def test_references_move_redundancy_and_the_sum_with_their_intervals():
    table = measure(conditions(soft(texts=4, templates=2), "question"), REFERENCES["question"], n_bootstrap=20).rows
    wide = table.pivot(index="reference", columns="atom", values="value_bits")
    assert (wide[["unique_vision", "unique_audio", "synergy"]].std() < 1e-12).all()
    assert wide["redundancy"].nunique() == 4 and wide["redundancy"].idxmin() == "question"
    assert (wide["total"] - wide["redundancy"]).std() < 1e-12
    inside = table["value_bits"].between(table["ci_low"] - 1e-9, table["ci_high"] + 1e-9)
    assert inside.all() and (table["upper_bits"] - table["lower_bits"]).between(0, 1e-4 + 1e-12).all()


def test_diagnostics_tell_the_senses_apart():
    v = np.arange(40) % 2
    sure = 20 * np.eye(2)[v]
    told = {"vision+audio+language": sure, "vision+language": sure}
    extraction = record(told, ["t"] * 40, ["q"] * 40, answers=tuple(map(str, v)))
    found = diagnose(extraction)
    assert found["accuracy"] == found["accuracy_vision"] == 1 and found["accuracy_audio"] == found["accuracy_text"] == 0.5
    assert found["entropy_vision_bits"] < 1e-6 and found["entropy_audio_bits"] == pytest.approx(1)
    assert found["fallback"] == 0


def test_truth_of_each_estimate():
    assert truth("polarity", "question").synergy == pytest.approx(1, abs=1e-5)
    assert truth("polarity", "template").synergy == pytest.approx(1, abs=1e-5)
    assert truth("polarity", "none").total == pytest.approx(0, abs=1e-9)
    for name, template in micro_av.TEMPLATES.items():
        given, thrown = truth(name, "question"), truth(name, "template")
        assert (len(template.questions) > 1) or thrown.atoms == pytest.approx(given.atoms, abs=2e-6)
        for source in ("vision", "audio"):
            assert thrown.unique[source] <= given.unique[source] + 2e-6
        assert thrown.synergy >= given.synergy - 2e-6
        extraction, content = ideal(name)
        parts = {one: conditions(extraction, one, content=content if one == "none" else None) for one in GIVEN}
        for one, some in parts.items():
            measured = values(measure(some, n_bootstrap=2).rows)
            assert measured == pytest.approx(truth(name, one).atoms | {"total": truth(name, one).total}, abs=3e-4), (name, one)


def test_published_rows_are_shares_and_bits_with_a_grade():
    table = results.tidy(published().assign(experiment="omni", seed=0), schemas.SENSORY)
    large = table[table["model"] == "Qwen2.5-Omni 7B"]
    assert values(large) == pytest.approx({"unique_vision": 1.42, "unique_audio": 0.65, "synergy": 0.32, "redundancy": 0.004})
    assert set(table["grade"]) == {"N"} and large["accuracy"].tolist() == pytest.approx([0.62] * 4)
    assert large["accuracy_audio"].isna().all()


def measured(given="question", **columns):
    """Rows as `sensory_table` makes them, of two models on two subsets."""
    tables = []
    for seed, (benchmark, model) in enumerate((b, m) for b in ("micro_av/fusion", "micro_av/gated") for m in ("one", "two_b")):
        extraction = soft(seed=seed, texts=4, templates=2)
        found = measure(conditions(extraction, given), REFERENCES[given], n_bootstrap=4).rows
        tables.append(found.assign(benchmark=benchmark, model=model, given=given, **diagnose(extraction)))
    return results.tidy(pd.concat([*tables, published()], ignore_index=True).assign(**{"seed": 0, **TOLD, **columns}), schemas.SENSORY)


def test_the_table_has_a_row_for_every_model_and_the_printed_ones():
    text = table2_sensory(pd.concat([measured(), measured("template").query("grade.isna()")], ignore_index=True))
    assert text.count(r"two\_b") == 4 and text.count("given the template") == 2 and text.count("(grade N)") == 1
    assert "1.42 & 0.65 & 0.32 & 0.004 & -- & -- & -- & 62.0 & 58.0 & -- & --" in text
    assert len({line.count("&") for line in text.splitlines() if "&" in line}) == 1


def test_the_table_says_which_models_are_minis_and_what_they_were_taught():
    table = measured()
    assert "noise in training" not in table2_sensory(table)
    text = table2_sensory(table.replace({"model": {table["model"][0]: "qwen2_5_omni_compact"}}))
    assert text.count("minis: the architectures") == text.count("all minis but plain had a fifth of each stream as noise in training") == 1


def test_what_is_given_is_a_field_of_the_preset():
    assert [load_preset(name).given for name in ("smoke", "offline", "paper")] == ["question", "question", "template"]
    with pytest.raises(ValueError, match="given: Input should be 'question' or 'template', got 'none'"):
        load_preset("smoke", given="none")


def test_no_bar_ends_beyond_its_axis():
    """Though the first subset's are the least."""
    table = measured().query("reference.isna() or reference == 'question'").copy()
    bits = ["value_bits", "lower_bits", "upper_bits", "ci_low", "ci_high", "null_mean"]
    table.loc[table["benchmark"] == "micro_av/fusion", bits] /= 10
    drawn = fig2_sensory(table)
    panels = [ax for ax in drawn.axes if ax.axison]
    assert panels[0].get_ylim() == panels[1].get_ylim()
    for ax in panels:
        low, high = ax.get_ylim()
        ends = [(bar.get_y(), bar.get_y() + bar.get_height()) for bar in ax.patches]
        ends += [path.vertices[:, 1] for lines in ax.collections for path in lines.get_paths()]
        assert low <= np.nanmin(ends) and np.nanmax(ends) <= high


def test_figures_draw_every_panel():
    table = measured()
    own = table[table["reference"].isna() | (table["reference"] == "question")]
    drawn = fig2_sensory(own)
    titles = [ax.get_title() for ax in drawn.axes if ax.axison]
    assert titles[:2] == ["micro AV: fusion", "micro AV: gated"] and "published (N)" in titles[2]
    rows = [
        {"benchmark": "micro_av/gated", "template": name, "given": given, "atom": atom, "estimator": "truth", "value_bits": bits}
        for name in ("gated", "polarity")
        for given in GIVEN
        for atom, bits in truth(name, given).atoms.items()
    ]
    mine = own[own["benchmark"] == "micro_av/gated"]
    copies = [mine.assign(template=name, given=given) for name in ("gated", "polarity") for given in GIVEN]
    whole = pd.concat([pd.DataFrame(rows), *copies], ignore_index=True)
    drawn = fig_recovery(results.tidy(whole.assign(seed=0, **TOLD), schemas.SENSORY))
    assert len(drawn.axes) == 6 and [ax.get_title() for ax in drawn.axes[:2]] == ["gated", "polarity"]
