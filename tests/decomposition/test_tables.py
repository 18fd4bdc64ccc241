"""Decisions from tables: which are read, and what is refused with row and column named."""

import io

import numpy as np
import pandas as pd
import pytest

from pidlib.decomposition.decisions import Decisions, decision_pid

HALF = [0.5, 0.5, 0.5, 0.5]


def xor(**changes) -> pd.DataFrame:
    columns = {"sample_id": ["a", "b", "c", "d"], "prompt": list("wxyz")}
    columns |= {"both:no": [1.0, 0, 0, 1], "both:yes": [0.0, 1, 1, 0], "image:yes": HALF}
    columns |= {"image:no": HALF, "text:no": HALF, "text:yes": HALF}
    return pd.DataFrame(columns | changes)


def test_a_frame_a_file_and_a_stream_are_the_same(tmp_path):
    frame = xor()
    path = tmp_path / "log.csv"
    frame.to_csv(path, index=False)
    for table in (frame, path, str(path), io.StringIO(path.read_text()), frame[::-1].iloc[::-1]):
        decisions = Decisions.from_table(table)
        assert tuple(decisions.sources) == ("image", "text")
        assert decisions.ids == ("a", "b", "c", "d") and decisions.values["text"].max() == 0
        np.testing.assert_array_equal(decisions.joint, frame[["both:no", "both:yes"]])
        assert decision_pid(decisions).pid.synergy == pytest.approx(1, abs=2e-6)


def test_names_are_free_and_rows_may_be_normalized():
    frame = xor().rename(columns=lambda name: name.replace("both:", "full:"))
    options = {"joint": "full", "sources": ("text", "image"), "id_column": "prompt"}
    assert tuple(Decisions.from_table(frame, **options).sources) == ("text", "image")
    scaled = xor(**{"text:no": [0.2, 0.1, 0.4, 5], "text:yes": [0.6, 0.3, 0.1, 5]})
    decisions = Decisions.from_table(scaled, normalize=True)
    np.testing.assert_allclose(decisions.sources["text"][:, 0], [0.25, 0.25, 0.8, 0.5])
    third = xor(**{"text:no": [1.0, 0.333, 0.3333, 0], "text:yes": [0, 0.667, 0.6666, 1.0]})
    assert Decisions.from_table(third).sources["text"].sum(1) == pytest.approx(
        np.ones(4), abs=1e-15
    )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"text:no": [0.5, -0.1, 0.5, 0.5]}, "'text:no' of row 'b' is '-0.1'; .* not negative"),
        ({"text:no": [0.5, np.nan, 0.5, 0.5]}, "'text:no' of row 'b' is 'nan'"),
        ({"text:no": [0.5, 0.5, "n/a", 0.5]}, "'text:no' of row 'c' is 'n/a'"),
        ({"text:no": [0.5, 0.5, np.inf, 0.5]}, "'text:no' of row 'c' is 'inf'"),
        (
            {"text:no": [0.5, 0.5, 0.3, 0.5]},
            "text:.* 1 of 4 rows .* row 'c', with sum 0.8; pass norm",
        ),
        ({"sample_id": ["a", "b", "b", "d"]}, "sample_id must be unique, but is repeated for 'b'"),
        ({"sample_id": ["a", None, "c", "d"]}, "sample_id is empty in row 1"),
        ({"text:maybe": HALF}, "same candidates; missing columns: both:maybe"),
        ({"audio:no": HALF}, "two sources besides 'both', found image, text, audio"),
    ],
)
def test_faults_are_named(changes, message):
    with pytest.raises(ValueError, match=message):
        Decisions.from_table(xor(**changes))


@pytest.mark.parametrize(
    ("dropped", "message"),
    [
        (["text:no"], "missing columns: text:no"),
        (["text:no", "text:yes"], "two sources besides 'both', found image; pass sources"),
        (
            ["both:no"],
            "columns 'both:<candidate>' for at least two candidates; the table has .* prompt",
        ),
        (["sample_id"], "no column 'sample_id'; pass id_column"),
    ],
)
def test_missing_columns_are_named(dropped, message):
    with pytest.raises(ValueError, match=message):
        Decisions.from_table(xor().drop(columns=dropped))
    with pytest.raises(ValueError, match="no rows"):
        Decisions.from_table(xor()[:0])
    with pytest.raises(ValueError, match="two columns 'prompt'"):
        Decisions.from_table(pd.concat([xor(), xor()[["prompt"]]], axis=1))
    zero = xor(**{"text:no": [0.0] * 4, "text:yes": [0.0] * 4})
    with pytest.raises(ValueError, match="row 'a', with sum 0"):
        Decisions.from_table(zero, normalize=True)
