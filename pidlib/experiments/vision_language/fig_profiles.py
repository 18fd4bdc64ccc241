"""What do the models take from the picture, from the question, and from both together?"""

from collections.abc import Mapping
from itertools import product

import numpy as np
import pandas as pd

from pidlib import benchmarks
from pidlib.decomposition import pid
from pidlib.experiments import ATOMS, COMPUTED, booktabs, decision_profiles, definitions, style
from pidlib.experiments.extractions import Request, extract_all
from pidlib.experiments.population import benchmark_kind
from pidlib.experiments.preset import MODES, Preset
from pidlib.experiments.tables import DIAGNOSTICS, ORIGIN, declare, heading, validate, with_interval
from pidlib.experiments.words import listed, number
from pidlib.extraction import SOURCES
from pidlib.profiles.modes import diagnose

KINDS = ("synergy-driven", "prior-driven", "picture-driven", "redundant", "kind not known")
_BARS = dict(zip(MODES, (-0.29, 0, 0.29), strict=True))
_WORDS = """\
Other modality: m masked by noise, r resampled, o left out by regression (observational).
† Pale, do not read: over half of a model's answers to the picture alone name no candidate.
Resampling breaks what ties the question to the picture, so its ideal can differ."""
_SHOWN, _IDEAL = 6, {"fill": False, "linewidth": 1, "edgecolor": style.INK, "zorder": 3}
_PARTS = {"corrected_bits": "bits", "ci_low": "low", "ci_high": "high", "null_mean": "null"}
_COMBINED = list(product(MODES, style.VISION_LANGUAGE, _PARTS.values()))

COLUMNS = {
    "fig_profiles": declare(ATOMS, definitions.COLUMNS),
    "fig_profiles_diagnostics": declare(
        *(f"experiment kind {ORIGIN}", *DIAGNOSTICS, *map("_".join, _COMBINED)),
        f"n_samples {COMPUTED}",
        required="experiment benchmark split model accuracy n_samples fingerprint",
    ),
}


def requests(preset: Preset) -> list[Request]:
    """Both modalities, each alone, and pictures with questions of other samples."""
    return [decision_profiles.request(preset)]


def measure(preset: Preset) -> dict[str, pd.DataFrame]:
    """Atoms by model, benchmark and mode, and the diagnostics of each model on each benchmark."""
    profiles, rows, options = [], [], {"others": True, "estimator": "exact"}
    for (answer,) in extract_all(preset, *requests(preset)):
        profiles += decision_profiles.mode_profiles(preset, answer, "vision_language", **options)
        rows.append(answer.columns | diagnose(answer.extraction, preset.tau))
    atoms, rows = validate(pd.concat(profiles), COLUMNS["fig_profiles"]), pd.DataFrame(rows)
    rows = rows.assign(experiment="vision_language", kind=rows["benchmark"].map(benchmark_kind))
    return {"fig_profiles": atoms, "fig_profiles_diagnostics": with_atoms(rows, atoms)}


def with_atoms(diagnostics: pd.DataFrame, atoms: pd.DataFrame) -> pd.DataFrame:
    """Diagnostics of each model on each benchmark, with its atoms by mode in columns."""
    keys = ["benchmark", "model"]
    wide = atoms.pivot(index=keys, columns=["unimodal", "atom"], values=list(_PARTS))
    wide.columns = [f"{mode}_{atom}_{_PARTS[column]}" for column, mode, atom in wide.columns]
    wide["converged"] = atoms.groupby(keys)["converged"].all()
    return validate(diagnostics.join(wide, on=keys), COLUMNS["fig_profiles_diagnostics"])


def figure(tables: Mapping[str, pd.DataFrame]) -> style.Figure:
    """Mean atoms by mode, first on one benchmark of each kind, and those of the ideal answerer."""
    table, diagnostics = tables["fig_profiles"], tables["fig_profiles_diagnostics"]
    kinds = diagnostics.drop_duplicates("benchmark").set_index("benchmark")["kind"]
    kinds = kinds.astype(object).fillna(KINDS[-1])
    ranks = zip(kinds.groupby(kinds).cumcount(), kinds.map(KINDS.index), kinds.index, strict=True)
    chosen = [name for *_, name in sorted(ranks)][:_SHOWN]
    result, panels = style.panels(chosen, 1.75, 0.5)
    table = table.assign(bits=style.best(table), ideal=_ideal(table))
    away = {mode: {} for mode in _BARS}
    silent = diagnostics.groupby("benchmark")["fallback_vision"].max() > 0.5
    atoms, x = list(style.VISION_LANGUAGE), np.arange(4)
    for benchmark, ax in panels.items():
        style.show_least_bits(ax)
        ax.tick_params(axis="x", length=0)
        ax.axhline(0, color=style.INK, linewidth=0.6, zorder=2.7)
        style.mark_silent(ax, diagnostics[diagnostics["benchmark"] == benchmark])
        off, letters = [], {}
        for mode, offset in _BARS.items():
            rows = table[(table["benchmark"] == benchmark) & (table["unimodal"] == mode)]
            cells = rows.groupby("atom")[["bits", "null_mean", "ideal"]]
            mean, low, high = (cells.agg(how).reindex(atoms) for how in ("mean", "min", "max"))
            letter = mode[0] + "†" * bool(mode == "masked" and silent[benchmark])
            alpha = 0.25 if "†" in letter else 1
            for place, atom in enumerate(atoms):
                style.bars(ax, [place + offset], [mean["bits"][atom]], atom, 0.24, alpha=alpha)
                letters[place + offset] = f"{letter}\n{' ' if offset else style.SYMBOLS[atom]}"
            if mode == "masked":
                style.null_band(ax, x + offset, mean["null_mean"], 0.24)
            style.interval(ax, x + offset, low["bits"], high["bits"])
            ax.bar(x + offset, mean["ideal"].where(mean["ideal"] > 0.005), 0.27, **_IDEAL)
            bits = (rows["bits"] - rows["ideal"]).abs().mean()
            if bits >= 0:  # else unknown
                off.append(f"{letter} {number(bits) if alpha == 1 else 'not read'}")
                away[mode] |= {benchmark: bits} if alpha == 1 else {}
        ax.set_xticks([*letters], letters.values(), fontsize=7)
        words = "bits off the ideal: " + ", ".join(off) if off else "ideal unknown"
        ax.set_title(f"{style.benchmark_name(benchmark)} ({kinds[benchmark]})\n{words}")
    ideal, line = style.swatch("ideal answerer, if not 0", **_IDEAL), "lowest to highest model"
    null = style.null_handle("null of m, mean: answers permuted")
    both = [name for name in away["masked"] if all(name in bits for bits in away.values())]
    title = None
    if both:
        off = (f"{mode} {number(np.mean([bits[b] for b in both]))}" for mode, bits in away.items())
        title = "Bits off the ideal answerer (mean of atoms) where all modes are read: "
        title += f"{listed(off)} (on {listed(map(style.benchmark_name, both))})"
    handles = *style.atom_handles(), ideal, style.line_handle(line, 0.8), null
    style.legend(result, 4, *handles, title=title)
    result.supxlabel(_WORDS, fontsize="medium")
    return result


def _ideal(table: pd.DataFrame) -> list[float]:
    """The atoms of the ideal answerer, in bits; missing where the law of a benchmark is unknown."""
    cells = list(table[["benchmark", "unimodal", "atom"]].itertuples(index=False, name=None))
    laws = {}
    for name, mode in {cell[:2] for cell in cells if cell[0].startswith("micro/")}:
        law = benchmarks.truth(name, "resampled" if mode == "resampled" else "masked")
        laws[name, mode] = pid(law, SOURCES).atoms
    return [laws.get((name, mode), {}).get(atom, np.nan) for name, mode, atom in cells]


def latex(tables: Mapping[str, pd.DataFrame]) -> str:
    """Atoms with interval and null, by mode; last, by how much R and S of others are larger."""
    table = tables["fig_profiles_diagnostics"]
    labels = table["benchmark"].map(style.benchmark_name), table["model"].map(style.model_name)
    symbols = map(style.SYMBOLS.get, style.VISION_LANGUAGE)
    header = ["benchmark", "model", *symbols, *definitions.HEADER]
    added = definitions.added(tables["fig_profiles"], ("unimodal", "benchmark", "model"))
    rows = style.minis_line(table["model"], len(header))
    for mode in MODES:
        text = f"{mode}: bits with 95\\,\\% interval"
        if mode != "observational":  # has no null
            text += "; after the slash the mean over permuted answers"
        rows.append(heading(text, len(header), r"\midrule" * bool(rows)))
        for *name, row in zip(*labels, table.to_dict("records"), strict=True):
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
