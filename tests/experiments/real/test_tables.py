"""Tables and figures of the real experiment: on tiny parts made here, and on synthetic rows."""

import matplotlib
import numpy as np
import pandas as pd
import pytest

from experiments.vision_language.synthetic import profiles
from pidlib.experiments import style
from pidlib.experiments.draw import STYLE, draw
from pidlib.experiments.extractions import extract_all
from pidlib.experiments.preset import MODES, load_preset
from pidlib.experiments.real import fig_reliance, table_contributions, table_profiles
from pidlib.experiments.tables import save, validate
from tests.experiments.real.test_parts import assembled

TASKS = ("stamps/both", "stamps/pair")


@pytest.fixture(scope="module")
def preset(tmp_path_factory):
    folder = tmp_path_factory.mktemp("real")
    assembled(folder / "model")
    models = [f"tiny={folder / 'model'}"]
    small = {"n_samples": 36, "n_population": 36, "n_contributions": 36, "contribution_codes": 2}
    small |= {"partners": 2, "draws": 2, "n_halves": 2, "n_bootstrap": 4, "n_permutations": 4}
    small |= {"models": models, "population": models, "benchmarks": TASKS, "dtype": "float32"}
    return load_preset("real", **small, output=str(folder), cache=str(folder / "cache"))


def written(preset, module, table):
    save(preset, module, table)
    drawn = draw(preset, module)
    assert {path.parent.name for path in drawn.paths} == {"real"}
    return {"".join(path.suffixes): path for path in drawn.paths}


def test_profiles_have_accuracies_and_are_read_by_both(preset):
    table = table_profiles.measure(preset)
    assert len(table) == 2 * 3 * 4 and set(table["experiment"]) == {"real"}
    assert table["expected"].isna().sum() == table["verdict"].isna().sum() == 2 * 4
    assert table[list(table_profiles.ACCURACIES)].notna().all(axis=None)
    text = written(preset, table_profiles, table)[".tex"].read_text()
    assert text.count("resampled") == 2 and "nan" not in text
    again = fig_reliance.measure(preset)
    pd.testing.assert_frame_equal(table, again)  # from the same extractions
    assert set(written(preset, fig_reliance, again)) == {".pdf", ".png"}


def test_accuracy_alone_is_that_of_each_picture_and_question(preset):
    for (answer,) in extract_all(preset, *table_profiles.requests(preset)):
        extraction = answer.extraction
        masked = table_profiles.accuracies_alone(extraction, "masked", 0.0)
        rows = pd.DataFrame(extraction.decisions("language", 0.0))
        means = rows.groupby(list(extraction.questions)).transform("mean").to_numpy()
        right = np.array(extraction.candidates)[means.argmax(1)] == np.array(extraction.answers)
        assert masked["accuracy_language"] == right.mean()
        resampled = table_profiles.accuracies_alone(extraction, "resampled", 0.0)
        decisions = extraction.resampled(0.0)
        first = {media: i for i, media in reversed(list(enumerate(extraction.media)))}
        own = [first[media] for media in extraction.media]
        pairs = [first[extraction.media[i]] for i in extraction.pairs.index[:, 0]]
        joint = pd.DataFrame(decisions.joint * decisions.weights[:, None])
        chosen = joint.groupby(pairs).sum().loc[own].to_numpy().argmax(1)
        right = np.array(extraction.candidates)[chosen] == np.array(extraction.answers)
        assert resampled["accuracy_vision"] == pytest.approx(right.mean())


def test_contributions_have_codes_and_covariance(preset):
    table = table_contributions.measure(preset)
    assert table.groupby("estimator")["n_samples"].unique().map(list).to_dict() == {
        "Gaussian": [36],
        "exact": [24],
    }
    text = written(preset, table_contributions, table)[".tex"].read_text()
    assert "tiny" in text and "covariance" in text and "nan" not in text
    assert len(list(table_contributions.summary(table))) == 3


@pytest.fixture(scope="module")
def table():
    """Three models, of which two have one accuracy; only the last is blind to the picture."""
    models = ("brief", "base_0", "picture_blind")
    rows = pd.DataFrame(profiles(benchmark=("stamps/captioned",), model=models, unimodal=MODES))
    rows = rows.assign(accuracy=rows["model"].map(dict(zip(models, (0.5, 0.9, 0.9), strict=True))))
    rows = rows.assign(accuracy_vision=0.5, accuracy_language=0.5, fallback=0.0, expected=None)
    for model, atom in (("base_0", "unique_vision"), ("picture_blind", "unique_language")):
        own = rows["model"] == model
        bits = rows["atom"].eq(atom).astype(float)
        for name, shift in (("corrected_bits", 0), ("ci_low", -0.1), ("ci_high", 0.1)):
            rows.loc[own, name] = bits + shift
    return validate(rows, table_profiles.COLUMNS)


def test_seeds_of_a_model_are_averaged(table):
    values = {"base_0": 0.1, "base_1": 0.2, "base_2": 0.6, "brief": 5.0}
    parts = [table[table["model"] == "brief"].assign(model=name) for name in values]
    rows = pd.concat(parts, ignore_index=True)
    means = rows["model"].map(values)
    rows = rows.assign(corrected_bits=means, accuracy=means / 2, ci_high=means, n_samples=100)
    seeds = table_profiles.over_seeds(rows)
    assert set(seeds.index.get_level_values("model")) == {"base"} and len(seeds) == len(MODES)
    assert set(seeds["synergy"]) == {".30 [−.36, .96]"}  # t of 2 degrees times .153
    assert set(seeds["redundancy"]) == {".30 [.00, .96]"}  # never below zero
    assert set(seeds["accuracy"]) == {".15 [.00, .48]"}
    wide = table_profiles.over_seeds(rows.assign(ci_high=means + 1))
    assert set(wide["synergy"]) == {".30 [−.90, 1.50]"}  # the root of .66 and 1, squared
    assert table_profiles.over_seeds(rows[rows["model"] != "base_2"]).empty


def test_contrasts_are_of_models_with_one_accuracy(table):
    pairs = fig_reliance.contrasts(table)
    assert set(zip(pairs["one"], pairs["other"], strict=True)) == {("base_0", "picture_blind")}
    assert pairs["apart"].tolist() == pytest.approx([0.8] * 3)
    first, second = fig_reliance.summary(table)
    assert first.startswith("Of 1 pairs") and "1 differ" in first
    assert (
        "*captioned*: base 0 and blind to pictures answer 0.90 and 0.90 of the questions right"
        in second
    )


def test_each_model_has_a_line_with_its_accuracy(table):
    with matplotlib.style.context(["default", STYLE]):
        figure = fig_reliance.figure(table)
        figure.draw_without_rendering()
    (ax,) = figure.axes
    texts = [text.get_text() for text in ax.texts]  # the largest atoms, then accuracies
    assert texts[-6:] == ["1.00", "1.00", "50 %", "90 %", "90 %", "right"]
    assert ax.get_title("left") == "captioned: what kind? (caption given)"
    assert len(ax.collections) == 2 * len(style.VISION_LANGUAGE)


def test_expected_atoms_must_exceed_all_others(table):
    rows = table[(table["model"] == "base_0") & (table["unimodal"] == "masked")]
    tested = [
        table_profiles.compare(rows, atoms.split()).iloc[0][["margin", "verdict"]].tolist()
        for atoms in ("unique_vision", "synergy", "unique_vision synergy")
    ]
    assert tested == [[1.0, "holds"], [-1.0, "against"], [0.0, "open"]]
    right = table_profiles.compare(rows, ["unique_vision"])
    (line,) = table_profiles.summary(validate(right, table_profiles.COLUMNS))
    assert line.endswith("largest in 1 of 1 profiles, with intervals apart in 1.")
