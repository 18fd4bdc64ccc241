"""What do the models take from the picture, from the question, and from both together?

Atoms of their decisions by unimodal mode, and diagnostics of the masked profiles.
"""

from collections.abc import Mapping
from itertools import product

import pandas as pd

from pidlib.experiments import MODES, Preset, Request, decision_profiles, definitions, style
from pidlib.experiments.extractions import extract_all
from pidlib.experiments.population import benchmark_kind
from pidlib.experiments.tables import (
    ATOMS,
    COMPUTED,
    DIAGNOSTICS,
    ORIGIN,
    booktabs,
    declare,
    heading,
    validate,
    with_interval,
)
from pidlib.experiments.vision_language.panels import compare
from pidlib.profiles.modes import diagnose

EXPERIMENT = "vision_language"
# The order of the panels.
KINDS = ("synergy-driven", "prior-driven", "picture-driven", "redundant", "kind not known")
_PARTS = {"corrected_bits": "bits", "ci_low": "low", "ci_high": "high", "null_mean": "null"}
_COMBINED = list(product(MODES, style.VISION_LANGUAGE, _PARTS.values()))

COLUMNS = {
    "fig_profiles": declare(ATOMS, definitions.COLUMNS),
    "fig_profiles_diagnostics": declare(
        f"experiment kind {ORIGIN}",
        *(*DIAGNOSTICS, *map("_".join, _COMBINED)),
        f"n_samples {COMPUTED}",
        required="experiment benchmark split model accuracy n_samples fingerprint",
    ),
}


def requests(preset: Preset) -> list[Request]:
    """Both modalities, each alone, and pictures with questions of other samples."""
    return [decision_profiles.request(preset)]


def measure(preset: Preset) -> dict[str, pd.DataFrame]:
    """Atoms by model, benchmark and mode, and the diagnostics of each model on each benchmark."""
    profiles, rows = [], []
    for (answer,) in extract_all(preset, *requests(preset)):
        options = {"others": True, "estimator": "exact"}
        profiles += decision_profiles.mode_profiles(preset, answer, EXPERIMENT, **options)
        rows.append(answer.columns | diagnose(answer.extraction, preset.tau))
    atoms = validate(pd.concat(profiles), COLUMNS["fig_profiles"])
    rows = pd.DataFrame(rows).assign(experiment=EXPERIMENT)
    rows["kind"] = rows["benchmark"].map(benchmark_kind)
    return {"fig_profiles": atoms, "fig_profiles_diagnostics": with_atoms(rows, atoms)}


def with_atoms(diagnostics: pd.DataFrame, atoms: pd.DataFrame) -> pd.DataFrame:
    """Diagnostics of each model on each benchmark, with its atoms by mode in columns."""
    keys = ["benchmark", "model"]
    wide = atoms.pivot(index=keys, columns=["unimodal", "atom"], values=list(_PARTS))
    wide.columns = [f"{mode}_{atom}_{_PARTS[column]}" for column, mode, atom in wide.columns]
    wide["converged"] = atoms.groupby(keys)["converged"].all()
    return validate(diagnostics.join(wide, on=keys), COLUMNS["fig_profiles_diagnostics"])


def figure(tables: Mapping[str, pd.DataFrame]) -> style.Figure:
    """Bars of resampled profiles, markers of the other modes; benchmarks in order of their kind."""
    table, diagnostics = tables["fig_profiles"], tables["fig_profiles_diagnostics"]
    kinds = diagnostics.groupby("benchmark", sort=False)["kind"].first()
    kinds = kinds.astype(object).fillna(KINDS[-1])
    order = sorted(kinds.index, key=lambda name: KINDS.index(kinds[name]))
    table = table.sort_values("benchmark", key=lambda names: names.map(order.index), kind="stable")
    masked, resampled, observational = (table[table["unimodal"] == mode] for mode in MODES)
    bars = resampled.assign(bits=style.best(resampled))
    words = "bars: resampled; white: masked; black: observational"
    result = compare(bars, masked, words, "null of masked: answers permuted", observational)
    for name, ax in zip(order, result.axes, strict=False):
        ax.set_title(f"{style.benchmark_name(name)} ({kinds[name]})")
        style.mark_silent(ax, diagnostics[diagnostics["benchmark"] == name])
    return result


def latex(tables: Mapping[str, pd.DataFrame]) -> str:
    """Atoms with interval and null, by mode; last, by how much R and S of others are larger."""
    table = tables["fig_profiles_diagnostics"]
    labels = table["benchmark"].map(style.benchmark_name), table["model"].map(style.model_name)
    names = list(zip(*(label.str.replace("_", r"\_") for label in labels), strict=True))
    header = ["benchmark", "model", *map(style.SYMBOLS.get, style.VISION_LANGUAGE)]
    header += definitions.HEADER
    added = definitions.added(tables["fig_profiles"], ("unimodal", "benchmark", "model"))
    rows = style.minis_line(table["model"], len(header))
    for mode in MODES:
        text = f"{mode}: bits with 95\\,\\% interval"
        if mode != "observational":  # has no null
            text += "; after the slash the mean over permuted answers"
        rows.append(heading(text, len(header), r"\midrule" * bool(rows)))
        for name, row in zip(names, table.to_dict("records"), strict=True):
            bits = (_cell(row, f"{mode}_{atom}") for atom in style.VISION_LANGUAGE)
            known = added.reindex([(mode, row["benchmark"], row["model"])]).to_numpy()[0]
            rows.append([*name, *bits, *known])
    return booktabs(header, rows, align="ll" + "r" * 6, digits=2)


def _cell(row: Mapping[str, float], name: str) -> str | None:
    """The value with its interval, and after a slash the null if it is known."""
    *numbers, null = (row[f"{name}_{part}"] for part in _PARTS.values())
    if pd.isna(numbers[0]):
        return None
    text = with_interval(*numbers)
    return text if pd.isna(null) else f"{text[:-1]} / {round(null, 2) + 0.0:.2f}$"
