"""Profiles of tiny models: both modes, refusals before any work, warnings, and comparison."""

import re
import warnings
from dataclasses import replace
from pathlib import Path

import datasets
import numpy as np
import pandas as pd
import pytest
from known_models import extraction, xor
from small_world import hearing, loaded, samples

from pidlib import __main__ as shell
from pidlib import benchmarks, profiles
from pidlib.decomposition.decisions import Decisions
from pidlib.decomposition.information import unseen_bits
from pidlib.profiles import Profile, compare, profile
from pidlib.profiles.report import MIN_SAMPLES, report

SMALL = {"n_halves": 4, "partners": 2, "draws": 2, "progress": False}
WORLD = samples(12)
ATOMS = ("redundancy", "unique_vision", "unique_language", "synergy")


def quietly(*arguments, **options) -> Profile:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return profile(*arguments, **SMALL | options)


@pytest.fixture(scope="module")
def result() -> Profile:
    return quietly(loaded("llava"), WORLD, tau=0)


@pytest.fixture(scope="module")
def clips():
    return benchmarks.load("micro_av/visual", "test", n=24)


def test_pictures_have_both_modes_with_intervals_bounds_and_nulls(result):
    table = result.table
    assert list(result.atoms) == ["masked", "resampled"]
    assert all(tuple(atoms) == ATOMS for atoms in result.atoms.values())
    assert list(table["unimodal"]) == ["masked"] * 4 + ["resampled"] * 4
    assert table["value_bits"].between(table["lower_bits"], table["upper_bits"]).all()
    assert table["corrected_bits"].between(table["ci_low"] - 1e-9, table["ci_high"] + 1e-9).all()
    assert table["null_mean"].isna().sum() == 2  # synergy of permuted decisions
    assert table["null_p"].notna().sum() == 6
    assert table[
        ["source_a", "source_b", "model", "benchmark"]
    ].drop_duplicates().values.tolist() == [["vision", "language", "llava", "world"]]
    assert set(table["n_samples"]) == {12} and set(table["partners"]) == {2}
    assert result.sample_ids == tuple(sample.sample_id for sample in WORLD)
    assert {"accuracy", "fallback_vision", "moved_language"} <= set(result.diagnostics)
    assert len(result.extraction) == 12


def test_without_partners_only_the_masked_mode_is_measured():
    found = quietly(loaded("llava"), WORLD, partners=0)
    assert list(found.atoms) == list(found.draws) == ["masked"]


def test_a_benchmark_and_a_model_can_be_given_by_name(tmp_path):
    found = quietly("llava", "micro/existence", n=6, cache=tmp_path)
    assert len(found.sample_ids) == 6 and set(found.table["model"]) == {"llava"}
    again = quietly("llava", "micro/existence", n=6, cache=tmp_path)
    (revision,) = set(found.table["benchmark_revision"])
    fewer = quietly("llava", benchmarks.load("micro/existence", n=5), cache=tmp_path)
    assert revision not in set(fewer.table["benchmark_revision"]) and len(revision) == 16
    assert again.table.equals(found.table) and list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        (("llava", WORLD), {"tau": 1.5}, "tau=1.5 is a share of probability; give 0 to 1"),
        (("llava", WORLD), {"tau": float("nan")}, "tau=nan is a share of probability"),
        (("llava", WORLD), {"partners": -1}, "partners=-1; give 0"),
        (("llava", WORLD), {"n_halves": 1}, "n_halves=1; give 2 or more"),
        (("llava", WORLD), {"draws": 0}, "draws=0; give 1 or more"),
        (("llava", WORLD), {"orders": 0}, "orders=0; give 1 .as listed., or up to"),
        (
            ("llava", WORLD),
            {"orders": 2},
            "orders=2 of the options, but 12 of 12 samples list none",
        ),
        (("llava", WORLD), {"mask": "blur"}, "unknown mask 'blur'"),
        (("llava", WORLD), {"given": "ignored"}, "unknown condition 'ignored'"),
        (("llava", WORLD), {"n": 4}, "n=4 is for a benchmark given by name; pass samples"),
        (("llava",), {}, r"load_benchmark\(NAME\) and load_table\(TABLE\) make"),
        (
            ("llava", pd.DataFrame({"question": ["?"]})),
            {},
            r"a DataFrame that .* load_table\(TABLE",
        ),
        (("llava", datasets.Dataset.from_dict({"a": [1]})), {}, r"a Dataset .* load_table\("),
        (("llava", [{"question": "?"}]), {}, "a list that is no list of Sample"),
        (("llava", ["cars.csv"]), {}, "a list that is no list of Sample"),
        (("llava", WORLD[0]), {}, "a Sample that is no list of Sample"),
        (("llava", "cars.csv"), {}, "did you mean 'table:cars.csv'"),
        (("llava", Path("a/cars.csv")), {}, "did you mean 'table:a/cars.csv'"),
        ((object(), WORLD), {}, r"the model is a object; give load_model\(FOLDER\)"),
        (("llava", []), {}, "no samples to extract from"),
        (("llava", [WORLD[0], WORLD[0]]), {}, "repeated sample ids: world/000"),
        (("llava", [replace(WORLD[0], image=None)]), {}, "no picture .*: world/000"),
        (("llava", "micro/existense"), {}, "did you mean 'micro/existence'"),
        (
            (Decisions(np.eye(2), {"a": np.eye(2), "b": np.eye(2)}), WORLD),
            {},
            "with samples, n, cache or orders",
        ),
    ],
)
def test_invalid_options_are_refused_before_a_model_is_loaded(
    arguments, options, message, monkeypatch
):
    def unexpected(*_, **__):
        raise AssertionError("work before the check")

    monkeypatch.setattr(profiles, "load_model", unexpected)
    monkeypatch.setattr(profiles, "extract", unexpected)
    with pytest.raises(ValueError, match=message):
        profile(*arguments, **options)


def test_decisions_are_decomposed_as_they_are():
    decisions = extraction(xor).masked()
    found = quietly(decisions)
    assert found.atoms["decisions"]["synergy"] == pytest.approx(1, abs=0.03)
    assert found.table["null_mean"].isna().all() and not found.diagnostics
    assert found.extraction is None and len(found.sample_ids) == 64
    assert compare(found, quietly(decisions))["difference"].abs().max() == 0
    with pytest.raises(ValueError, match="differ in n_halves"):
        compare(found, quietly(decisions, n_halves=5))
    with pytest.raises(ValueError, match="differ in seed"):
        compare(found, quietly(decisions, seed=1))


def test_decisions_of_other_sources_are_drawn_too():
    rng = np.random.default_rng(0)
    sources = {"picture": rng.dirichlet(np.ones(3), 20), "caption": rng.dirichlet(np.ones(3), 20)}
    found = quietly(Decisions(rng.dirichlet(np.ones(3), 20), sources))
    assert "unique_picture" in found.atoms["decisions"]
    assert "unique\npicture" in [text.get_text() for text in found.plot().axes[0].get_xticklabels()]


@pytest.mark.filterwarnings("ignore:.*the median condition")
@pytest.mark.parametrize("given", ["question", "template"])
def test_clips_have_vision_and_audio_given_the_text(given, clips):
    found = quietly(hearing(), clips, given=given)
    assert list(found.atoms) == ["masked"]
    assert list(found.atoms["masked"]) == ["redundancy", "unique_vision", "unique_audio", "synergy"]
    assert set(found.table["given"]) == {given} and found.table["null_mean"].notna().sum() == 3
    assert {"accuracy_audio", "fallback_text", "moved_vision"} <= set(found.diagnostics)
    assert f"given the {given}" in repr(found)
    assert set(found.table["partners"]) == {0}


def test_videos_without_sound_are_refused(clips):
    with pytest.raises(ValueError, match=f"no sound: {clips[0].sample_id}"):
        profile("llava", [replace(clips[0], audio=None), *clips[1:]])


@pytest.mark.filterwarnings("ignore:.*the median condition")
def test_profiles_given_other_conditions_are_not_compared(clips):
    first, second = (quietly(hearing(), clips, given=given) for given in ("question", "template"))
    with pytest.raises(ValueError, match="differ in given"):
        compare(first, second)


def test_equal_profiles_have_no_difference(result):
    again = quietly(loaded("llava"), WORLD, tau=0)
    table = compare(result, again)
    assert len(table) == 8
    assert (table["difference"] == 0).all() and result.unseen == unseen_bits(12, 3)
    assert np.allclose(table["ci_high"], result.unseen, atol=1e-6)
    assert np.allclose(table["ci_low"], -result.unseen, atol=1e-6)
    readable = result.table.set_index(["unimodal", "atom"])["readable"]
    assert table.set_index(["unimodal", "atom"])["readable"].equals(readable)


def test_differences_are_paired(result):
    result, other = (
        replace(each, unseen=0.0)
        for each in (result, quietly(loaded("llava", seed=1), WORLD, tau=0))
    )
    table = compare(result, other).set_index(["unimodal", "atom"])
    for mode, atoms in other.atoms.items():
        for atom, value in atoms.items():
            row, first = table.loc[(mode, atom)], result.atoms[mode][atom]
            shown = row["corrected_bits_first"], row["corrected_bits_second"], row["difference"]
            assert shown == pytest.approx((first, value, value - first), abs=2e-6)
            draws = other.draws[mode][atom] - result.draws[mode][atom]
            width = 2 * 3.182 * draws.std(ddof=1)  # quantile of Student's t for 3 degrees
            assert row["ci_high"] - row["ci_low"] == pytest.approx(width, rel=1e-3)
            wide = compare(replace(result, unseen=9.0), other).set_index(["unimodal", "atom"])
            assert wide.loc[(mode, atom), "ci_low"] == pytest.approx(row["difference"] - 9)
    assert np.allclose(compare(other, result)["difference"], -table["difference"])


def test_profiles_of_other_samples_or_modes_are_not_compared(result):
    with pytest.raises(ValueError, match="world/011 are in one only; profile both on one list"):
        compare(result, quietly(loaded("llava"), WORLD[:-1], tau=0))
    with pytest.raises(ValueError, match="their order differs"):
        compare(result, quietly(loaded("llava"), WORLD[::-1], tau=0))
    with pytest.raises(ValueError, match="differ in tau"):
        compare(result, quietly(loaded("llava"), WORLD, tau=0.1))
    resampled = replace(result, draws={"resampled": result.draws["resampled"]})
    masked = replace(result, draws={"masked": result.draws["masked"]})
    with pytest.raises(ValueError, match="no mode in common: masked; resampled"):
        compare(masked, resampled)


def test_decisions_are_compared_by_their_ids():
    table = pd.DataFrame(
        np.random.default_rng(0).dirichlet(np.ones(2), (12, 3)).reshape(12, 6),
        columns=[f"{name}:{y}" for name in ("both", "a", "b") for y in "yn"],
    ).assign(sample_id=[f"q{i}" for i in range(12)])
    first, second = (quietly(Decisions.from_table(t)) for t in (table, table[::-1]))
    assert first.sample_ids == tuple(table["sample_id"])
    with pytest.raises(ValueError, match="their order differs"):
        compare(first, second)
    nameless = quietly(replace(Decisions.from_table(table), ids=()))
    with pytest.raises(ValueError, match="no sample ids"):
        compare(first, nameless)
    renamed = table.rename(columns=lambda name: name.replace("a:", "c:"))
    with pytest.raises(ValueError, match="differ in source_a"):
        compare(first, quietly(Decisions.from_table(renamed)))


def test_warnings_of_the_extraction_are_among_those_of_the_profile():
    with pytest.warns(UserWarning, match=r"\(\d+ warnings, see Profile.warnings\)"):
        found = profile(loaded("llava"), WORLD, partners=2, n_halves=4, progress=False)
    assert sum("inflates the information" in note for note in found.warnings) == 1
    assert any("samples calibrate the noise" in note for note in found.warnings)


def test_warnings_of_a_mode_name_it_and_are_not_issued_alone():
    with warnings.catch_warnings(record=True) as issued:
        warnings.simplefilter("always")
        found = profile(loaded("llava"), WORLD, tau=1, **SMALL)
    uniform = [note for note in found.warnings if "as where a model names no candidate" in note]
    assert [note.partition(":")[0] for note in uniform] == ["masked", "resampled"]
    assert len([entry for entry in issued if entry.category is UserWarning]) == 1


def test_unknown_words_of_questions_are_named():
    odd = [replace(sample, question=f"{sample.question} zebra quagga") for sample in WORLD]
    found = quietly(loaded("llava"), odd, tau=0)
    assert "words that the model does not know: 'zebra', 'quagga'" in found.warnings
    assert not any("does not know" in note for note in quietly(loaded("llava"), WORLD).warnings)


def test_a_model_that_names_no_candidate_gives_warnings_and_hollow_atoms():
    found = quietly(loaded("llava"), WORLD, tau=1)
    assert any("do not read; both modalities: 1.00 of" in note for note in found.warnings)
    assert found.diagnostics["fallback"] == 1 and not found.table["readable"].any()
    assert repr(found).count(" !") == 9  # eight atoms and the head
    assert "hollow" in found.plot().get_supxlabel()
    assert any("hardly depend on the inputs" in note for note in found.warnings)
    (said,) = [note for note in found.warnings if "instead of a candidate" in note]
    counts = re.findall(r"\((\d+)\)", said)
    assert 1 <= len(counts) <= 5 and sum(map(int, counts)) <= 8
    assert not any("instead" in note for note in quietly(loaded("llava"), WORLD, tau=0).warnings)


def test_the_figure_and_the_page_of_a_profile_without_information_can_be_read():
    nothing = dict.fromkeys(["value_bits", "corrected_bits", "ci_high", "null_mean"], 1e-16)
    with pytest.warns(UserWarning, match="'<pad>'"):
        found = reported(measured().assign(ci_low=0.0, **nothing), notes=["tokens: '<pad>' (8)"])
    low, high = found.plot().axes[0].get_ylim()
    assert high >= 0.05 and low > -0.01  # rounding errors are not drawn as atoms
    assert "<pad>" not in found._repr_html_() and "&lt;pad&gt;" in found._repr_html_()


def measured(**values) -> pd.DataFrame:
    """Rows of two modes with readable atoms."""
    shared = {"lower_bits": 0.0, "upper_bits": 1.0, "ci_low": 0.2, "ci_high": 0.4}
    rows = pd.DataFrame(
        {"unimodal": mode, "atom": atom, "value_bits": 0.3, "corrected_bits": 0.3} | shared
        for mode in ("masked", "resampled")
        for atom in ATOMS
    )
    return rows.assign(converged=True, null_mean=0.1, **values)


def reported(rows=None, n=MIN_SAMPLES, notes=(), **diagnostics) -> Profile:
    ids = tuple(map(str, range(n)))
    draws = {"masked": {}, "resampled": {}}
    rows = measured() if rows is None else rows
    return report(rows, draws, ids, diagnostics, notes=notes, model="m", benchmark="b")


def test_limits_of_a_profile_without_warnings():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        within = reported(fallback=0.2, fallback_vision=0.5, moved_language=0.2)
    assert within.warnings == () and within.table["readable"].all()
    assert "hollow" not in within.plot().get_supxlabel()


@pytest.mark.parametrize(
    ("changes", "message", "modes"),
    [
        ({"fallback": 0.6}, "masked, resampled: do not read; both modalities: 0.60", set()),
        (
            {"fallback": 0.5},
            "^both modalities: 0.50 of .*, which lowers all atoms$",
            {"masked", "resampled"},
        ),
        ({"fallback_vision": 0.6}, "^masked: do not read; vision: 0.60", {"resampled"}),
        ({"moved_language": 0.3}, "^masked: do not read; language: 0.30", {"resampled"}),
        ({"n": 63}, "63 samples: estimates are biased", {"masked", "resampled"}),
        ({"rows": measured().assign(converged=False)}, "solved only to", {"masked", "resampled"}),
        ({"rows": measured().assign(value_bits=0.01)}, "hardly depend", {"masked", "resampled"}),
        (
            {"rows": measured().eval("value_bits = value_bits * (atom != 'unique_vision')")},
            "a unique atom is 0",
            {"masked", "resampled"},
        ),
        (
            {"rows": measured().eval("ci_low = ci_low * (atom in ('redundancy', 'synergy'))")},
            "both sources may carry the same information",
            {"masked", "resampled"},
        ),
    ],
)
def test_each_limit_has_a_warning(changes, message, modes):
    with pytest.warns(UserWarning, match=message):
        found = reported(**changes)
    readable = found.table.loc[found.table["readable"], "unimodal"]
    assert set(readable) == modes
    assert all(f"warning: {note}" in repr(found) for note in found.warnings)


def test_the_table_and_the_diagnostics_are_written_as_csv(result, tmp_path):
    result.to_csv(tmp_path / "mine.csv")
    again = pd.read_csv(tmp_path / "mine.csv")
    columns = ["unimodal", "atom", "corrected_bits", "ci_low", "ci_high"]
    columns += ["null_mean", "readable"]
    pd.testing.assert_frame_equal(again[columns], result.table[columns], check_dtype=False)
    for name, value in result.diagnostics.items():
        assert again[name].tolist() == pytest.approx([value] * len(again))


def test_representations_are_short(result):
    lines = repr(result).splitlines()
    assert lines[0].startswith("llava on world, 12 samples: bits [95 % interval]")
    assert lines[6].startswith("answers to both: accuracy ") and "; language: accuracy " in lines[6]
    assert len(lines) == 7 + len(result.warnings) and max(map(len, lines[:6])) <= 100
    assert result._repr_html_().count("<tr") == 5
    assert "-0.00" not in repr(result)


def test_the_number_of_forward_passes_is_printed_first(result, capsys):
    count = 12 * (1 + 2 * 2) + len(result.extraction.pairs.index)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        profile(loaded("llava"), WORLD, n_halves=2, draws=2, partners=2)
    assert capsys.readouterr().err.startswith(f"llava: {count} forward passes on cpu\n")


def test_a_profile_is_drawn_with_both_modes(result):
    figure = result.plot()
    (ax,) = figure.axes
    texts = [text.get_text() for text in ax.texts]
    assert len(texts) == 8 and texts[0].startswith("masked ")
    assert "llava on world" in ax.get_title()


def test_a_profile_from_a_shell(tmp_path, capsys):
    options = ["--n", "8", "--halves", "2", "--draws", "2", "--partners", "2"]
    places = ["--out", str(tmp_path / "mine.csv"), "--plot", str(tmp_path / "mine.png")]
    rows = []
    for index, sample in enumerate(benchmarks.load("micro/existence", n=8)):
        sample.image.save(tmp_path / f"{index}.png")
        rows.append((sample.question, sample.answer, f"{index}.png"))
    table = pd.DataFrame(rows, columns=["question", "answer", "picture"])
    table.to_csv(tmp_path / "questions.csv", index=False)
    name = f"table:{tmp_path / 'questions.csv'}"
    shell.main(["profile", "llava", name, *options, *places])
    output = capsys.readouterr()
    assert output.out.startswith("llava on table:questions.csv, 8 samples")
    assert "forward passes" in output.err and "Warning" not in output.err
    written = pd.read_csv(tmp_path / "mine.csv")
    assert len(written) == 8 and set(written["dtype"]) == {"float32"}
    assert set(written["benchmark_revision"]) == {benchmarks.revision(name)}
    assert (tmp_path / "mine.png").read_bytes().startswith(b"\x89PNG")


def test_inputs_that_cannot_be_read_are_named():
    """One question, one picture, constant answers, fewer samples than answers."""
    rng = np.random.default_rng(0)
    joint, other = rng.dirichlet(np.ones(4), (2, 40))
    labels = {"vision": np.arange(40), "language": np.zeros(40, int)}
    rows = {"vision": other, "language": other[::-1]}
    one = quietly(Decisions(joint, rows, values=labels))
    readable = one.table.set_index("atom")["readable"]
    assert readable.to_dict() == {atom: atom == "unique_vision" for atom in ATOMS}
    assert any("one value of language" in note for note in one.warnings)
    swapped = {"vision": labels["language"], "language": labels["vision"]}
    mirrored = quietly(Decisions(joint, rows, values=swapped))
    assert mirrored.table.set_index("atom")["readable"].idxmax() == "unique_language"
    few = quietly(Decisions(joint[:3], {name: each[:3] for name, each in rows.items()}))
    assert not few.table["readable"].any()
    assert any(note.startswith("3 samples for 4 answers: do not read") for note in few.warnings)
    still = quietly(Decisions(np.tile(joint[:1], (40, 1)), rows))
    assert any("hardly depend" in note for note in still.warnings)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["llava", "micro/existense"], "error: .*did you mean 'micro/existence'"),
        (["lava", "micro/existence"], "error: .*did you mean 'llava'"),
        (["llava", "table:none.csv"], "error: there is no table .*none.csv"),
        (["llava", "micro/existence", "--tau", "3"], "error: tau=3.0"),
        (
            ["llava", "micro/existence", "--orders", "2"],
            "error: orders=2 of the options, but 256 of",
        ),
        (["llava", "micro/existence", "--out", "missing/mine.csv"], "error: no folder missing"),
        (["llava", "micro/existence", "--out", "."], "error: . is a folder; give the name of a"),
        (["llava", "micro/existence", "--plot", "mine.txt"], "error: .*mine.txt.*pdf or .png"),
        (["llava", "cars.csv"], "error: unknown benchmark 'cars.csv'; did you mean 'table:cars"),
    ],
)
def test_wrong_arguments_stop_before_any_work(arguments, message, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(profiles, "extract", None)
    with pytest.raises(SystemExit, match=message):
        shell.main(["profile", *arguments])
