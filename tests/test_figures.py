"""Figures: the same bytes twice, fonts embedded, no label over another, and no row drawn that the solver did not finish."""

import importlib
import itertools
import re
import zlib

import matplotlib
import numpy as np
import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Text
from test_population import made_up
from test_predictors import MODELS as PEOPLE
from test_predictors import measured

from pidlib import benchmarks, figures, results, schemas
from pidlib.agreement import agreement_table
from pidlib.contributions import published
from pidlib.depth import CLAIMS
from pidlib.experiment import load_preset, project_root
from pidlib.figures import __main__ as redraw
from pidlib.figures import marks, omni, validation, vision_language
from pidlib.fusion import MECHANISMS
from pidlib.fusion_study import TARGETS, moved
from pidlib.population import sensitivity_table
from pidlib.predictors import correlations
from pidlib.profiles import beside
from pidlib.validation import clip_truths

MODELS = ("llava", "paligemma", "qwen2_5_vl")


def profile(**columns) -> list[dict]:
    """Four made-up atoms, the same for the same columns."""
    rng = np.random.default_rng(len(str(columns)))
    values = dict(zip(marks.VISION_LANGUAGE, rng.dirichlet(np.full(4, 0.4)) * 2, strict=True))
    row = {"experiment": "made up", "n_samples": 256, "seed": 0, "converged": True, "fingerprint": "f", "null_mean": 0.02} | columns
    return [
        row | {"atom": atom, "value_bits": value, "corrected_bits": 0.9 * value, "ci_low": 0.9 * value, "ci_high": 1.1 * value}
        for atom, value in values.items()
    ]


def profiles() -> pd.DataFrame:
    places = itertools.product(benchmarks.BENCHMARKS, MODELS, ("masked", "resampled"))
    return results.tidy(sum((profile(benchmark=b, model=m, unimodal=u, estimator="exact") for b, m, u in places), []))


def embeddings() -> pd.DataFrame:
    places = itertools.product(benchmarks.BENCHMARKS, MODELS)
    return results.tidy(sum((profile(benchmark=b, model=m, estimator="newton") for b, m in places), []))


def recovery() -> pd.DataFrame:
    places = itertools.product(benchmarks.BENCHMARKS[:6], ("masked", "resampled"))
    rows = []
    for b, u in places:
        rows += profile(benchmark=b, unimodal=u, estimator="truth")
        rows += sum((profile(benchmark=b, unimodal=u, model=m, estimator=e) for m in MODELS for e in ("exact", "BATCH")), [])
    return results.tidy(rows)


def truths() -> pd.DataFrame:
    places = itertools.product(benchmarks.BENCHMARKS[:6], ("masked", "resampled"))
    return results.tidy(sum((profile(benchmark=b, unimodal=u, estimator="truth") for b, u in places), []))


def bias() -> pd.DataFrame:
    estimators = ("plug-in", "Miller-Madow", "permutation", "Chao-Wang-Jost", "shuffled")
    places = itertools.product((5, 10, 20), (100, 1000, 10000), enumerate(estimators))
    rows = [
        {"n_codes": k, "n_samples": n, "estimator": e, "value_bits": k * k / n / (1 + i), "ci_low": 0.0, "ci_high": k * k / n}
        for k, n, (i, e) in places
    ]
    shared = {"experiment": "validation", "benchmark": "independent", "atom": "synergy", "seed": 0, "converged": True, "fingerprint": "f"}
    return results.tidy(row | shared for row in rows)


def bench() -> pd.DataFrame:
    sizes = {"2x2x2": 8, "5x5x3": 75, "20x20x4": 1600, "20x20x20": 8000, "50x50x10": 25000}
    places = itertools.product(sizes.items(), enumerate(("ours, a batch at a time", "ours, one at a time", "plain fitting", "dit, cone")))
    return pd.DataFrame(
        {"method": m, "size": s, "cells": c, "tables": 5, "seconds": 1e-5 * c * 10**i, "ratio": 10.0**i, "error_bits": 1e-12 * 100**i}
        | {"seed": 0, "fingerprint": "f"}
        for (s, c), (i, m) in places
    )


def gates() -> pd.DataFrame:
    rows = [row | {"estimator": e} for e in ("closed form", "newton") for row in profile(benchmark="gate/AND")]
    return results.tidy(pd.DataFrame(rows).assign(lower_bits=0.0, upper_bits=3e-8))


def estimators() -> pd.DataFrame:
    rows = []
    for b in benchmarks.BENCHMARKS:
        shared = {"study": "estimator", "benchmark": b, "model": "llava", "unimodal": "masked"}
        rows += profile(**shared, estimator="exact")
        trained = itertools.product(((10, 256), (20, 64)), range(3))
        rows += sum((profile(**shared, estimator="BATCH", epochs=e, batch_size=n, seed=s, ratio=9.0) for (e, n), s in trained), [])
        asked = itertools.product(MODELS, ("masked", "resampled"))
        rows += sum((profile(study="alone", benchmark=b, model=m, unimodal=u, estimator="exact") for m, u in asked), [])
        listed = {"study": "options", "benchmark": b, "model": "gemma3", "estimator": "exact"}
        rows += sum((profile(**listed, source_a=key) for key in ("vision", "vision#1", "vision+options")), [])
    return results.tidy(rows, schemas.ESTIMATORS)


def two_levels() -> pd.DataFrame:
    steps = [("states", "decision", None), ("probe", "decision", None)]
    steps += [(s, t, k) for s, t in (("codes", "decision"), ("codes", "state"), ("states", "state")) for k in (5, 10)]
    rows = []
    for b, m in itertools.product(benchmarks.BENCHMARKS, MODELS):
        shared = {"benchmark": b, "model": m, "estimator": "exact", "target_bits": 2.0}
        rows += sum((profile(**shared, sources="samples", target="decision", unimodal=u) for u in ("masked", "resampled")), [])
        rows += sum((profile(**shared, sources=s, target=t, n_codes=k) for s, t, k in steps), [])
    return results.tidy(rows, schemas.TWO_LEVELS)


def blocks() -> pd.DataFrame:
    places = itertools.product(benchmarks.BENCHMARKS, MODELS, range(4))
    return results.tidy(sum((profile(benchmark=b, model=m, layer=n, estimator="exact", null_p=n / 10) for b, m, n in places), []))


def shares() -> pd.DataFrame:
    ours = embeddings().query("atom == 'unique_language'").assign(contribution=0.6, contribution_low=0.45, contribution_high=0.7)
    ours.loc[ours["benchmark"] == "micro/scene", ["contribution", "contribution_low", "contribution_high"]] = None
    return results.tidy(pd.concat([ours, published()]).assign(seed=0, experiment="made up"), schemas.CONTRIBUTIONS)


def audited() -> pd.DataFrame:
    places = itertools.product(("released, equal lengths", "released, longer picture", "dataset level"), (3, 5, 10), (16, 64, 256, 1024))
    rows = [profile(protocol=p, n_codes=k, n_observations=n, benchmark="mixture") for p, k, n in places]
    places = itertools.product(("released", "dataset level"), MODELS, benchmarks.BENCHMARKS)
    rows += [profile(protocol=p, n_codes=10, n_observations=8, model=m, benchmark=b) for p, m, b in places]
    rows += [profile(protocol="released, authors' files", benchmark="BLIP, VQA", grade="P")]
    places = itertools.product((50, 1000, 20_000), (None, "R"))
    rows += [profile(protocol="independent labels", n_codes=10, n_observations=n, benchmark="labels", grade=g) for n, g in places]
    return results.tidy(pd.DataFrame(sum(rows, [])).assign(estimator="exact"), schemas.AUDIT)


def foretold() -> pd.DataFrame:
    table = measured(np.random.default_rng(1))
    found = correlations(table, pd.Series([f"f{index % 6}" for index in range(12)], index=PEOPLE), 20, 20)
    return results.tidy(pd.concat([table, found]).assign(seed=0), schemas.INTERVENED)


def fused() -> pd.DataFrame:
    places = itertools.product(("easy_vqa", "micro/existence", "micro/captioned"), TARGETS, MECHANISMS, range(3))
    models = pd.DataFrame(places, columns=["benchmark", "target", "model", "seed"]).assign(kind="model", fingerprint="f", converged=True)
    share = np.random.default_rng(0).uniform(0.7, 0.9, len(models))
    models = models.assign(contribution=share, contribution_low=share - 0.1, contribution_high=share + 0.1, accuracy=0.9, prior=0.7)
    models.loc[models["benchmark"] == "micro/captioned", ["contribution", "contribution_low", "contribution_high"]] = None
    table = pd.concat([models, moved(models), results.published("fig_fusion").assign(kind="published")])
    return results.tidy(table.assign(experiment="made up"), schemas.FUSION)


FIGURES = {
    "vision_language/fig_interventions": (vision_language.fig_interventions, foretold),
    "vision_language/fig_layers": (vision_language.fig_layers, blocks),
    "vision_language/fig_fusion": (vision_language.fig_fusion, fused),
    "vision_language/fig_estimators": (vision_language.fig_estimators, estimators),
    "vision_language/fig_two_levels": (vision_language.fig_two_levels, two_levels),
    "vision_language/fig_profiles": (vision_language.fig_profiles, profiles),
    "vision_language/fig_embeddings": (vision_language.fig_embeddings, embeddings),
    "vision_language/fig_sensitivity": (vision_language.fig_sensitivity, made_up),
    "vision_language/fig_families": (vision_language.fig_families, lambda: agreement_table(made_up(), 20)),
    "vision_language/fig_embedding_layers": (vision_language.fig_embedding_layers, blocks),
    "vision_language/fig_contributions": (vision_language.fig_contributions, shares),
    "vision_language/fig_protocol_audit": (vision_language.fig_protocol_audit, audited),
    "validation/fig_recovery": (validation.fig_recovery, recovery),
    "validation/fig_bias": (validation.fig_bias, bias),
    "validation/fig_solver": (validation.fig_solver, bench),
    "validation/fig_benchmarks": (validation.fig_benchmarks, truths),
    "omni/fig_clips": (omni.fig_clips, lambda: clip_truths(load_preset("offline"))),
}


def test_every_figure_is_tested():
    exported = {f"{module.__name__.split('.')[-1]}/{name}" for module in (vision_language, validation) for name in dir(module)}
    assert {name for name in exported if "/fig_" in name} == {name for name in FIGURES if not name.startswith("omni/")}


@pytest.fixture
def preset(tmp_path):
    return load_preset("smoke", output=str(tmp_path))


@pytest.mark.parametrize("name", FIGURES)
def test_twice_drawn_is_byte_for_byte_the_same(name, preset):
    results.write(FIGURES[name][1](), preset.table(name))
    first = {path.suffix: path.read_bytes() for path in figures.draw(name, preset).paths}
    again = figures.draw(name, preset)
    assert first == {path.suffix: path.read_bytes() for path in again.paths}
    assert set(first) == {".pdf", ".png"}
    assert again._repr_png_() == first[".png"]
    assert sorted(path.suffix for path in preset.figure(name).parent.iterdir()) == [".pdf", ".png"]
    inflated = b"".join(_streams(first[".pdf"])) + first[".pdf"]
    assert b"/FontFile2" in inflated and b"/Type3" not in inflated
    assert b"CreationDate" not in inflated


def _streams(pdf: bytes):
    for stream in re.findall(rb"stream\r?\n(.*?)endstream", pdf, re.S):
        try:
            yield zlib.decompress(stream)
        except zlib.error:
            continue


@pytest.mark.parametrize("name", FIGURES)
def test_no_label_lies_over_another_or_off_the_page(name, monkeypatch):
    maker, table = FIGURES[name]
    assert labels_apart(lambda: maker(table()), monkeypatch) > 10


def labels_apart(make, monkeypatch) -> int:
    """Draw a figure in the house's style and hold the ink of its labels against the page and each other; how many there are."""
    drawn, draw = {}, Text.draw

    def record(text, renderer):
        if text.get_text().strip():
            drawn[text] = text.get_window_extent(renderer)
        draw(text, renderer)

    with matplotlib.rc_context():
        matplotlib.style.use(["default", figures.STYLE])
        figure = make()
        figure.draw_without_rendering()  # lays the figure out
        monkeypatch.setattr(Text, "draw", record)
        FigureCanvasAgg(figure).draw()
    page = figure.bbox.padded(1)
    for text, box in drawn.items():
        assert page.x0 <= box.x0 and box.x1 <= page.x1 and page.y0 <= box.y0 and box.y1 <= page.y1, f"{text} off the page"
    upright = ((text, box) for text, box in drawn.items() if text.get_rotation() % 90 == 0)  # the box of a slanted text is not its ink
    for (text, box), (other, second) in itertools.combinations(upright, 2):
        across = min(box.x1, second.x1) - max(box.x0, second.x0)
        along = min(box.y1, second.y1) - max(box.y0, second.y0)
        assert across <= 1 or along <= 1, f"{text} lies over {other}"
    return len(drawn)


@pytest.mark.parametrize("name", ["vision_language/fig_profiles", "vision_language/fig_layers", "validation/fig_recovery"])
def test_rows_that_did_not_converge_are_refused_unless_asked_for(name):
    maker, table = FIGURES[name]
    frame = table()
    frame.loc[3, "converged"] = False
    with pytest.raises(ValueError, match="1 of .* did not converge"):
        maker(frame)
    maker(frame, allow_unconverged=True)


def test_make_figures_draws_every_committed_table_and_no_other(monkeypatch):
    drawn = []
    monkeypatch.setattr("sys.argv", ["figures"])
    monkeypatch.setattr(redraw, "draw", lambda name, preset: drawn.append(name))
    redraw.main()
    committed = {f"{path.parent.name}/{path.stem}" for path in (project_root() / "figures").glob("*/*.*")}
    assert set(drawn) == committed and len(drawn) == len(committed) > 30
    places = {one: importlib.import_module(f"pidlib.figures.{one}") for one in {name.split("/")[0] for name in drawn}}
    assert all(callable(getattr(places[experiment], function)) for experiment, function in (name.split("/") for name in drawn))


def test_atoms_differ_in_colour_and_hatch():
    assert len(set(marks.COLORS.values())) == len(set(marks.HATCHES.values())) == len(marks.COLORS)
    assert not set(marks.COLORS.values()) & {*marks.OTHERS, marks.NULL}


def test_names_are_written_as_people_write_them():
    assert marks.model_name("qwen2_5_vl") == "Qwen2.5-VL mini"
    assert marks.model_name("llava_onevision_compact") == "LLaVA-OneVision mini, compact"
    assert marks.minis_line(["a/llava", "else"], 3) == [] and "minis" in marks.minis_line(["a/b", "llava"], 3)[0][0]
    assert marks.model_name("llava-hf/llava-1.5-7b-hf@" + 40 * "a") == "llava-1.5-7b-hf"
    assert marks.benchmark_name("easy_vqa/yes_no") == "easy-VQA: yes/no"
    assert [marks.benchmark_name(name) for name in ("prior/80", "prior/80 balanced")] == ["captions: 80 % right", "captions: balanced"]


def test_the_table_of_gates_is_latex(preset):
    results.write(gates(), preset.table("validation/table_gates"))
    drawn = figures.draw("validation/table_gates", preset)
    text = drawn.paths[0].read_text()
    assert drawn.paths[0].suffix == ".tex" and text.startswith(r"\begin{tabular}") and r"$3\cdot10^{-8}$" in text
    assert repr(drawn).startswith("wrote ")


def test_the_table_of_correlations_is_latex_with_the_published_below(preset):
    results.write(sensitivity_table(made_up(), 50), preset.table("vision_language/table1_sensitivity"))
    text = figures.draw("vision_language/table1_sensitivity", preset).paths[0].read_text()
    rows = {line.split(" & ")[0]: line.split(" & ") for line in text.splitlines()}
    assert rows["MMBench"][1] == "0.809" and rows["micro: scene"][1] == "--" and "0.840" in text
    assert rows["micro: grounding"][1].endswith(r"\rlap{$^\ast$}") and "20 models of 7 families" in text
    assert len({len(row) for name, row in rows.items() if " & " in " & ".join(row)}) == 1


@pytest.mark.parametrize(("value", "text"), [(0, "$<10^{-9}$"), (3.2e-9, r"$3\cdot10^{-9}$"), (9.7e-9, r"$1\cdot10^{-8}$")])
def test_magnitudes(value, text):
    assert validation._power(value) == text


def test_the_tables_of_embeddings_are_latex(preset):
    mixtures = audited().query("protocol == 'dataset level' and benchmark == 'mixture' and n_observations == 16 and n_codes == 3")
    mixtures = mixtures.assign(benchmark="product", expected="synergy", recovered=True, null_p=0.2)
    results.write(mixtures, preset.table("vision_language/table_synthetic"))
    text = figures.draw("vision_language/table_synthetic", preset).paths[0].read_text()
    assert "product & $S$ above all" in text and "yes" in text and text.count("($") == 4
    whole = pd.concat([embeddings(), shares()]).drop_duplicates(["benchmark", "model", "atom", "grade"], keep="last")
    results.write(whole.assign(seed=0), preset.table("vision_language/table2_contributions"))
    text = figures.draw("vision_language/table2_contributions", preset).paths[0].read_text()
    rows = {line.split(" & ")[0]: line.split(" & ") for line in text.splitlines()}
    assert rows["LLaVA mini"][1] == "$60_{45}^{70}$" and rows["LLaVA mini"].count("--") == 1
    assert "minis" in text and r"\scriptsize" in text and "all models and benchmarks: 49--81 (grade P)" in text
    assert "SmolVLM-256M, GQA: 81 (grade P)" in text and "BLIP: named as in the files; the released code swaps" in text


def test_the_table_of_profiles_has_intervals_and_what_was_not_solved_is_refused(preset):
    checks = profiles().drop_duplicates(["benchmark", "model"])[["benchmark", "model", "n_samples", "fingerprint", "experiment"]]
    checks = checks.assign(**dict.fromkeys(schemas.DIAGNOSED, 0.5), split="test")
    table = results.write(beside(profiles(), checks), preset.table("vision_language/table_profiles"))
    text = figures.draw("vision_language/table_profiles", preset).paths[0].read_text()
    assert text.count(r"\begin{tabular}") == 2 and "^{" in text and "} / 0.02$" in text and "minis" in text
    loose = results.read(table)
    loose.loc[0, "converged"] = False
    results.write(loose, table)
    with pytest.raises(ValueError, match="did not converge"):
        figures.draw("vision_language/table_profiles", preset)
    stated = pd.DataFrame({"benchmark": "micro/scene", "model": "llava", "statistic": list(CLAIMS), "value": 0.5, "verdict": "open"})
    told = {"experiment": "e", "seed": 0, "fingerprint": "f", "early_depth": 0.2, "late_depth": 0.8, "n_samples": 9}
    stated = results.tidy(stated.assign(**told), schemas.STAGES)
    assert "minis" in vision_language.table_layers(stated.assign(converged=True))
    with pytest.raises(ValueError, match="did not converge"):
        vision_language.table_layers(stated.assign(converged=False))
