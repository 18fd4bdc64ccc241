"""The scorecard: statistics of claims, verdicts of cells, and the claims that are committed."""

import numpy as np
import pandas as pd
import pytest

from pidlib.experiments import claims
from pidlib.experiments.omni import profiles
from pidlib.experiments.preset import load_preset
from pidlib.experiments.tables import published, validate

OWN = "vision_language/table2_contributions"


def atom_rows(model, **atoms):
    return [
        {"benchmark": "b", "model": model, "atom": atom, "value_bits": value}
        | {"ci_low": value - 0.1, "ci_high": value + 0.1, "corrected_bits": np.nan}
        for atom, value in atoms.items()
    ]


def claim(statistic, quantity, side="above", bound="0", rows="benchmark == benchmark"):
    given = {"statistic": statistic, "quantity": quantity, "side": side, "bound": bound}
    return given | {"rows": rows}


ATOMS = pd.DataFrame(
    atom_rows("a", redundancy=0.0, unique_vision=0.4, unique_language=0.3, synergy=1.3)
    + atom_rows("b", redundancy=0.0, unique_vision=0.6, unique_language=0.9, synergy=0.5)
)


def test_atoms_are_added_with_the_ends_of_their_intervals():
    found = claims.atoms(ATOMS, "unique_vision + unique_language - synergy")
    np.testing.assert_allclose(found["value"], [-0.6, 1.0])
    np.testing.assert_allclose(found["low"], [-0.9, 0.7])
    np.testing.assert_allclose(found["high"], [-0.3, 1.3])
    leading = claims.atoms(ATOMS, "synergy - others")
    np.testing.assert_allclose(leading["value"], [0.9, -0.4])
    np.testing.assert_allclose(leading["low"], [0.7, -0.6])


def test_atoms_are_the_corrected_ones_where_there_are_any():
    corrected = ATOMS.assign(corrected_bits=ATOMS["value_bits"].where(ATOMS["model"] == "a") + 0.1)
    found = claims.atoms(corrected, "unique_vision + unique_language - synergy")
    np.testing.assert_allclose(found["value"], [-0.5, 1.0])


def test_the_share_of_an_atom_lies_between_its_ends():
    found = claims.share(ATOMS, "synergy")
    np.testing.assert_allclose(found["value"], [0.65, 0.25])
    assert (found["low"] < found["value"]).all() and (found["high"] > found["value"]).all()
    np.testing.assert_allclose(found["low"], [1.2 / (1.2 + 1.0), 0.4 / (0.4 + 1.8)])


def test_two_groups_of_benchmarks_are_compared_only_if_both_have_intervals():
    rows = pd.DataFrame({"kind": ["s", "s", "p"], "rho": [0.8, 0.6, 0.2]})
    rows = rows.assign(family_low=rows["rho"] - 0.1, family_high=rows["rho"] + 0.1)
    found = claims.groups(rows, "s - p")
    np.testing.assert_allclose(found[["value", "low", "high"]], [[0.5, 0.3, 0.7]])
    assert claims.groups(rows.query("kind == 's'"), "s - p").empty
    partly = pd.concat([rows, rows.tail(1).assign(rho=0.9, family_low=np.nan)])
    pd.testing.assert_frame_equal(claims.groups(partly, "s - p"), found)
    untested = rows.assign(family_low=rows["family_low"].where(rows["kind"] == "s"))
    given = claim("groups", "s - p", rows="kind == kind")
    assert claims.verdict(claims.cells(given, untested)) == "untested"


def test_a_cell_is_decided_by_its_whole_interval():
    table = pd.DataFrame({"benchmark": "b", "rho": [0.5, 0.5, -0.5, 0.5]})
    table = table.assign(ci_low=[0.1, -0.1, -0.9, np.nan], ci_high=[0.9, 0.9, -0.1, np.nan])
    above = claims.cells(claim("value", "rho"), table)["verdict"]
    below = claims.cells(claim("value", "rho", "below"), table)["verdict"]
    within = claims.cells(claim("value", "rho", "within", "-.2 .95"), table)["verdict"]
    assert above.tolist() == ["holds", "open", "fails"]
    assert below.tolist() == ["fails", "open", "holds"]
    assert within.tolist() == ["holds", "holds", "open"]
    null = table.assign(null_low=-0.3, null_high=[0.2, 0.6, 0.2, 0.2])
    excess = claims.cells(claim("excess", "rho"), null)
    assert excess["verdict"].tolist() == ["holds", "open", "fails", "holds"]
    np.testing.assert_allclose(excess["value"], [0.5, 0.5, -0.5, 0.5])
    onesided = claims.cells(claim("excess", "rho"), null.drop(columns="null_low"))
    assert onesided["verdict"].tolist() == ["holds", "open", "fails", "holds"]
    hundredths = claims.cells(claim("points", "rho"), table)
    np.testing.assert_allclose(hundredths["value"], [50, 50, -50])


@pytest.mark.parametrize(
    ("holding", "failing", "of", "expected"),
    [(6, 1, 10, "holds"), (6, 2, 10, "mixed"), (5, 0, 10, "open"), (1, 8, 10, "fails")]
    + [(0, 0, 0, "untested"), (0, 0, 3, "open")],
)
def test_the_verdict_of_a_claim_counts_its_cells(holding, failing, of, expected):
    verdicts = ["holds"] * holding + ["fails"] * failing
    verdicts += ["open"] * (of - len(verdicts))
    assert claims.verdict(pd.DataFrame({"verdict": verdicts})) == expected


def test_all_committed_claims_are_tested_on_committed_tables():
    preset = load_preset("offline")
    table = claims.measure(preset)
    validate(table, claims.COLUMNS)
    assert table["statement"].tolist() == published("claims")["statement"].tolist()
    # Of prior-driven benchmarks there is one, and its outcome is noise.
    untested = table.loc[table["verdict"] == "untested", "statistic"]
    assert untested.tolist() == ["groups"]
    tested = table[table["n_cells"] > 0]
    assert (tested["lowest"] <= tested["value"]).all() and (tested["value"] < 100).all()
    one = table[table["statistic"].isin(["value", "excess"]) & (table["table"] != OWN)]
    assert set(one.loc[one["quantity"] == "rho", "n_cells"]) == {1}
    models = table.loc[table["table"] == "omni/table2_sensory", "n_cells"]
    plain = [name for name in preset.omni_models if name.endswith("_plain")]
    assert set(models) == {len(preset.omni_models) - len(plain)} and plain  # is not read
    limits = published("claims")["rows"].str.findall(r"moved_\w+ <= (\S+)").explode().dropna()
    assert len(limits) == 6 and set(limits.astype(float)) == {profiles.MOST_MOVED}
    tests, words = table.drop_duplicates(claims.TEST), claims.summary(table)
    count = (tests["verdict"] == "holds").sum()
    assert words.startswith(f"Of {len(tests)} distinct tests of {len(table)} claims, {count} hold,")
    assert words.endswith(" cannot be tested on these models.")
    (ax,) = claims.figure(table).axes
    assert ax.get_title() == words
    texts = {text.get_text() for text in ax.texts}
    assert {*table["statement"], *table["verdict"]} <= texts


def test_claims_of_two_papers_that_are_one_test_are_counted_once():
    known = published("claims")
    tested = ["table", "rows", "statistic", "quantity", "side", "bound"]
    verdicts = known["statistic"] == "verdicts"
    assert known.duplicated(tested).equals(known.duplicated(claims.TEST))
    assert known[~verdicts].duplicated(tested).sum() == 1
    same = {"table": "t", "statement": "s", "verdict": "holds"}
    other = same | {"statement": "other", "verdict": "not run"}
    assert claims.summary(pd.DataFrame([same, same, other])) == (
        "Of 2 distinct tests of 3 claims, 1 hold, 0 fail, 0 are mixed, 0 are open, "
        "0 cannot be tested on these models, and 1 not run."
    )


@pytest.mark.parametrize("given", published("claims").to_dict("records"))
def test_a_claim_without_rows_is_untested(given):
    table = pd.read_csv(load_preset("offline").table(given["table"]), low_memory=False)
    assert claims.verdict(claims.cells(given, table.iloc[:0])) == "untested"


def test_missing_tables_are_not_run_or_named(tmp_path):
    preset = load_preset("offline", output=str(tmp_path))
    with pytest.raises(FileNotFoundError, match="no tables in .*; run notebooks first"):
        claims.measure(preset)
    own = load_preset("offline").table(OWN)
    path = preset.table(OWN)
    path.parent.mkdir(parents=True)
    path.write_bytes(own.read_bytes())
    table = claims.measure(preset)
    assert set(table.loc[table["verdict"] != "not run", "table"]) == {OWN}
    assert (table["table"] != OWN).equals(table["verdict"] == "not run")
    validate(table, claims.COLUMNS)
