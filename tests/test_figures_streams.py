"""Figures of swapped streams, depth, gate and bottleneck, from made-up tables: drawn twice the same, with one model too."""

import itertools

import numpy as np
import pandas as pd
import pytest

from pidlib import figures, results, schemas
from pidlib.bottleneck import ATOMS, SUBSETS, effect
from pidlib.depth import weighed
from pidlib.experiment import load_preset
from pidlib.figures import marks, omni
from pidlib.gating import GATE, SATURATION
from pidlib.streams import QUANTITIES, STREAMS, correlations

MODELS = ("qwen2_5_omni", "qwen2_5_omni_compact_seeing", "qwen2_5_omni_compact", "qwen2_5_omni_compact_plain")
TEMPLATES = {"audio": ("sounding", "count"), "visual": ("direction", "moves_left"), "fusion": ("sounding_left", "playing", "silent_left")}
TEMPLATES |= {"gated": ("gated",), "polarity": ("polarity",)}
TOLD = {"experiment": "omni", "split": "test", "seed": 0, "n_samples": 96, "fingerprint": "f", "converged": True}


def cells(models=MODELS, noise=0.05):
    """Drops that follow U + S of the swapped stream, but for noise."""
    rng, rows = np.random.default_rng(0), []
    for model, (task, templates) in itertools.product(models, TEMPLATES.items()):
        for template in templates:
            lone = {"unique_vision": task in ("visual", "gated"), "unique_audio": task == "audio"}
            values = {name: rng.uniform(0.4, 1) * bool(on) + 0.01 * rng.random() for name, on in lone.items()}
            values["synergy"] = rng.uniform(0.1, 1) * (task in ("fusion", "gated", "polarity"))
            values |= {f"{a}_given_{b}": values[f"unique_{a}"] + values["synergy"] for a, b in (("vision", "audio"), ("audio", "vision"))}
            told = {"benchmark": f"micro_av/{task}", "template": template, "model": model} | TOLD
            for name in QUANTITIES:
                ends = {"ci_low": values[name] - 0.01, "ci_high": values[name] + 0.01}
                rows.append(told | {"kind": "quantity", "quantity": name, "intervention": "none", "value": values[name]} | ends)
            for name, quantity in zip(STREAMS, QUANTITIES[-2:], strict=True):
                lost = values[quantity] / 2 + noise * rng.normal()
                ends = {"ci_low": lost - 0.02, "ci_high": lost + 0.02}
                rows.append(told | {"kind": "drop", "quantity": "accuracy lost", "intervention": name, "value": lost} | ends)
    return pd.DataFrame(rows)


def shuffle(models=MODELS):
    measured = cells(models)
    known = results.published("fig_shuffle").drop(columns="note").rename(columns={"rho": "value"}).assign(kind="published")
    table = pd.concat([measured, correlations(measured, 20, 20), known], ignore_index=True).assign(experiment="omni")
    return results.tidy(table, schemas.SCHEMAS["fig_shuffle"])


def curves(models=MODELS[:3], blocks=4, **columns):
    rng, rows = np.random.default_rng(len(str(columns))), []
    for (place, model), (layer, atom) in itertools.product(enumerate(models), itertools.product(range(blocks), marks.SENSORY)):
        value = (layer / blocks) ** (3 if atom == "synergy" else 1) * (0.3 + 0.2 * place) + 0.02 * rng.random()
        told = TOLD | {"benchmark": "micro_av/fusion", "model": model, "layer": layer, "atom": atom, "estimator": "exact"} | columns
        rows.append(told | {"value_bits": value, "ci_low": value - 0.05, "ci_high": value + 0.05, "null_mean": 0.02})
    return pd.DataFrame(rows)


def gated():
    both, sight = curves(needs="both", accuracy=1.0), curves(needs="vision", accuracy=0.9, accuracy_sounding=1.0, accuracy_silent=0.8)
    sight.loc[sight["atom"] == "synergy", ["value_bits", "ci_low", "ci_high"]] /= 4
    return results.tidy(pd.concat([both, sight]), schemas.SCHEMAS["fig_gate"])


def stated(claims):
    rows = []
    for model in MODELS[:3]:
        spread = {name: np.array([0.1, 0.3]) for name in claims}
        found = weighed(claims, dict.fromkeys(claims, 0.2) | {next(iter(claims)): np.nan}, spread)
        told = {"benchmark": "micro_av/fusion", "model": model, "early_depth": 0.25, "late_depth": 0.75} | TOLD
        rows.append(found.assign(**told))
    return results.tidy(pd.concat(rows), schemas.SCHEMAS["table_gate"])


def bottleneck(shares=(0.125, 0.5, 0.875)):
    """Synergy that rises with the share, of three seeds each, on two subsets; on the first half of the questions with softer sound too."""
    rng, rows = np.random.default_rng(0), []
    told = TOLD | {"estimator": "exact", "truth_bits": 0.6, "accuracy": 0.8, "null_mean": 0.03}
    trained = [("training", subset, share, seed, 1.0) for subset in SUBSETS for share in shares for seed in range(3)]
    trained += [("salience", SUBSETS[0], 0.5, seed, gain) for seed in range(3) for gain in (0.0, 0.1, 0.3, 1.0)]
    for (kind, subset, share, seed, gain), atom in itertools.product(trained, marks.SENSORY):
        value = 0.1 + 0.4 * share * gain * (atom == "synergy") + 0.05 * rng.random()
        of = {"kind": kind, "benchmark": subset, "model": f"mini {share}, {seed}", "audio_share": share, "trained_seed": seed, "gain": gain}
        rows.append(told | of | {"atom": atom, "value_bits": value, "ci_low": value - 0.05, "ci_high": value + 0.05})
    for subset, atom in itertools.product(SUBSETS, ATOMS) if len(shares) > 1 else ():
        own = [row for row in rows if row["kind"] == "training" and row["atom"] == atom and row["benchmark"] == subset]
        for kind, places in (("effect", [row["audio_share"] for row in own]), ("bend", [row["audio_share"] == 0.5 for row in own])):
            found = effect(places, [row["value_bits"] for row in own], [row["trained_seed"] for row in own])
            rows.append(TOLD | {"kind": kind, "benchmark": subset, "estimator": "exact", "atom": atom} | found)
    return results.tidy(rows, schemas.SCHEMAS["fig_bottleneck"])


TABLES = {
    "fig_shuffle": shuffle,
    "fig_gate": gated,
    "fig_layers": lambda: results.tidy(curves()),
    "fig_bottleneck": bottleneck,
    "table_gate": lambda: stated(GATE),
    "table_layers": lambda: stated(SATURATION),
}


@pytest.mark.parametrize("name", TABLES)
def test_drawn_twice_is_the_same(name, tmp_path):
    preset = load_preset("smoke", output=str(tmp_path))
    results.write(TABLES[name](), preset.table(f"omni/{name}"))
    first = {path.name: path.read_bytes() for path in figures.draw(f"omni/{name}", preset).paths}
    assert first == {path.name: path.read_bytes() for path in figures.draw(f"omni/{name}", preset).paths}
    assert {name.partition(".")[2] for name in first} == ({"tex"} if name.startswith("table") else {"pdf", "png"})


@pytest.mark.parametrize(
    ("name", "table"), [("fig_shuffle", lambda: shuffle(MODELS[:1])), ("fig_bottleneck", lambda: bottleneck((0.5,)))]
)
def test_one_model_is_drawn_too(name, table, tmp_path):
    preset = load_preset("smoke", output=str(tmp_path))
    results.write(table(), preset.table(f"omni/{name}"))
    assert figures.draw(f"omni/{name}", preset).paths


def test_tables_tell_the_claims_and_leave_out_what_is_not_known(tmp_path):
    preset = load_preset("smoke", output=str(tmp_path))
    results.write(stated(GATE), preset.table("omni/table_gate"))
    text = figures.draw("omni/table_gate", preset).paths[0].read_text()
    assert text.count("Qwen2.5-Omni") == 3 and "$0.20^{-}$" in text  # what single senses tell is not to part
    assert "S(\\mathrm{late})$" not in text  # follows from right answers: no claim
    results.write(stated(SATURATION), preset.table("omni/table_layers"))
    assert figures.draw("omni/table_layers", preset).paths[0].read_text().count("--") == 3


def test_half_of_the_most_is_hollow_where_nothing_was_measured():
    rows = curves(MODELS[:1])
    rows.loc[rows["atom"] == "unique_vision", "value_bits"] = 0.5  # all there at the first reading
    ax = omni.fig_layers(results.tidy(rows)).axes[0]
    faces = {line.get_color(): line.get_markerfacecolor() for line in ax.lines if line.get_marker() == 7}
    assert faces == {marks.COLORS["unique_vision"]: "white", marks.COLORS["synergy"]: marks.COLORS["synergy"]}


def test_rows_the_solver_did_not_finish_are_refused(tmp_path):
    preset = load_preset("smoke", output=str(tmp_path))
    results.write(bottleneck().assign(converged=False), preset.table("omni/fig_bottleneck"))
    with pytest.raises(ValueError, match="did not converge"):
        figures.draw("omni/fig_bottleneck", preset)
