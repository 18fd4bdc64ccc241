"""Sensory atoms of models with vision and audio input, and the published atoms.

Redundancy is given under each of the `pidlib.sensory.REFERENCES`; the figure has P(Y | c).
"""

from collections.abc import Sequence
from itertools import product

import pandas as pd

from pidlib.experiments import Preset, Request, definitions, extract_all, style, tables
from pidlib.experiments.omni import profiles
from pidlib.profiles.modes import diagnose
from pidlib.sensory import REFERENCES, decompose, split_by

COLUMNS = tables.declare(profiles.COLUMNS, definitions.COLUMNS)
PUBLISHED_SUBSET = "MUSIC-AVQA: audio-visual"
_COLUMN_ORDER = ("unique_vision", "unique_audio", "synergy", "redundancy")  # of the paper's table
_REFERENCES = {"sample": "$R_s$", "template": "$R_c$", "marginal": "$R_m$"}
_ACCURACIES = {"accuracy": r"$\mathrm{acc}$", "accuracy_vision": "$_v$", "accuracy_audio": "$_a$"}
_ACCURACIES |= {"accuracy_text": "$_0$"}
_BARS = (*style.SENSORY, "total")
_TOLERANCE = 1e-3  # bits
_SPREAD = 0.84  # share of an atom's place on the axis that its bars take


def requests(preset: Preset) -> list[Request]:
    """The passes of Sensory PID, for every model on every subset."""
    return [Request(preset.omni_models, preset.omni_benchmarks, (profiles.query(preset),))]


def measure(preset: Preset) -> pd.DataFrame:
    """Atoms under each reference and diagnostics of each model on each subset; published atoms."""
    parts = []
    for (answer,) in extract_all(preset, *requests(preset)):
        groups = split_by(answer.extraction, preset.given, tau=preset.tau)
        references = REFERENCES[preset.given]
        rows = profiles.profile_rows(preset, answer, groups, references=references)
        n_alone = len(answer.extraction) - sum(len(group.decisions) for group in groups)
        solved = decompose([group.decisions for group in groups], tol=0.1)  # the same for every tol
        diagnosed = diagnose(answer.extraction, preset.tau, solved)
        rows = definitions.with_others(rows, solved.others)  # exact for every tol
        parts.append(rows.assign(n_alone=n_alone, **diagnosed))
    table = pd.concat([*parts, published_rows()], ignore_index=True)
    return tables.validate(table.assign(experiment="omni", seed=preset.seed), COLUMNS)


def published_rows() -> pd.DataFrame:
    """The paper's table of Sensory PID with a row for each atom, and accuracies as shares."""
    table = tables.published("table2_sensory")
    others = [name for name in table if name not in _COLUMN_ORDER]
    rows = table.melt(others, var_name="atom", value_name="value_bits")
    fixed = {"benchmark": PUBLISHED_SUBSET, "estimator": "published", "fingerprint": "published"}
    shares = {name: rows[name] / 100 for name in ("accuracy", "accuracy_vision")}
    return rows.assign(**fixed, **shares)


def figure(table: pd.DataFrame) -> style.Figure:
    """A panel per subset with bars of the atoms and their sum for each model, then the paper's."""
    measured, printed = table[table["grade"].isna()], table[table["grade"].notna()]
    measured = measured[measured["reference"] == measured["given"]]
    subsets = list(measured["benchmark"].unique())
    models = [list(rows["model"].unique()) for rows in (measured, printed)]
    figure, panels = style.benchmark_panels([*subsets, PUBLISHED_SUBSET], 1.45, 0.75)
    last = panels.pop(PUBLISHED_SUBSET)
    for subset, ax in panels.items():
        ax.sharey(panels[subsets[0]])  # before drawing, so that each extends the common range
        rows = measured[measured["benchmark"] == subset]
        _draw_bars(ax, rows, models[0])
        style.mark_silent(ax, rows)
    _draw_bars(last, printed, models[1], alpha=0.55)
    last.set_title(f"MUSIC-AVQA, published ({printed['grade'].iloc[0]})")
    total = style.swatch(r"$I(Y; V, A\,|\,T)$, their sum", facecolor=style.FAINT)
    null = style.null_handle("null: answers permuted")
    handles = [*style.atom_handles(style.SENSORY), total, null]
    figure.legend(handles=handles, loc="outside upper center", ncols=6)
    named = zip(("minis", "published"), models, strict=True)
    order = [f"{kind}, left to right: {'; '.join(map(style.model_name, m))}" for kind, m in named]
    note = profiles.training_note(models[0])
    figure.legend(handles=[*map(style.handle, order)], loc="outside lower center", ncols=1, **note)
    return figure


def _draw_bars(ax: style.Axes, rows: pd.DataFrame, models: Sequence[str], **options: float) -> None:
    spacing = _SPREAD / len(models)
    width = 0.88 * spacing
    present = [atom for atom in _BARS if atom in set(rows["atom"])]
    for (index, model), (place, atom) in product(enumerate(models), enumerate(present)):
        row = rows[(rows["model"] == model) & (rows["atom"] == atom)]
        x = [place + (index - (len(models) - 1) / 2) * spacing] * len(row)
        height = style.best(row)
        if atom == "total":
            ax.bar(x, height, width, color=style.FAINT, linewidth=0)
        else:
            style.bars(ax, x, height, atom, width, **options)
        style.null_band(ax, x, row["null_mean"], width)
        style.interval(ax, x, row["ci_low"], row["ci_high"])
    ax.set_xticks(range(len(present)), [style.SYMBOLS.get(atom, "$I$") for atom in present])
    ax.tick_params(axis="x", length=0, pad=4)
    ax.set_xlim(-0.55, len(_BARS) - 0.45)
    ax.axhline(0, color=style.INK, linewidth=0.6, zorder=2.7)


def latex(table: pd.DataFrame) -> str:
    """Atoms with half their interval, in italics if it reaches the null; accuracies in percent.

    Between them is by how much redundancy and synergy by other definitions are larger.
    """
    symbols = [style.SYMBOLS[atom] for atom in _COLUMN_ORDER]
    header = ["", "model", *symbols, *_REFERENCES.values(), *definitions.HEADER]
    header += _ACCURACIES.values()
    measured, printed = table[table["grade"].isna()], table[table["grade"].notna()]
    keys = ["given", "benchmark", "model"]
    added = definitions.added(measured[measured["reference"] == measured["given"]], keys)
    rows = style.minis_line(measured["model"], len(header))
    if rows:
        rows.append(tables.heading(profiles.TRAINED_WITH_NOISE, len(header)))
    for (given, benchmark), subset in measured.groupby(["given", "benchmark"], sort=False):
        name = r"\midrule " * bool(rows) + tables.escape(style.benchmark_name(benchmark))
        name += ", given the template" * (given == "template")
        for model, block in subset.groupby("model", sort=False):
            atoms = block.set_index(["reference", "atom"])
            bits = [_value(atoms, given, atom) for atom in _COLUMN_ORDER]
            bits += [_value(atoms, reference, "redundancy") for reference in _REFERENCES]
            bits += added.loc[(given, benchmark, model)].tolist()
            rows.append([name, style.model_name(model), *bits, *_percent(block)])
            name = ""
    for index, (model, block) in enumerate(printed.groupby("model", sort=False)):
        first = block.iloc[0]
        bits = block.assign(bits=style.best(block)).set_index("atom")["bits"]
        bits = [f"{bits[atom]:.{3 if atom == 'redundancy' else 2}f}" for atom in _COLUMN_ORDER]
        grade = f"{first['benchmark']}, published (grade {first['grade']})"
        name = "" if index else rf"\midrule {grade}"
        rows.append([name, model, *bits, *[None] * (len(_REFERENCES) + 2), *_percent(block)])
    return tables.booktabs(header, rows, align="ll" + "r" * (len(header) - 2), digits=2)


def _value(atoms: pd.DataFrame, reference: str, atom: str) -> str | None:
    if (reference, atom) not in atoms.index:
        return None
    row = atoms.loc[(reference, atom)]
    text = f"{round(style.best(row), 2) + 0.0:.2f}".replace("-", "$-$")
    text += rf"\,{{\tiny$\pm${(row['ci_high'] - row['ci_low']) / 2:.2f}}}"
    null = 0.0 if pd.isna(row["null_mean"]) else row["null_mean"]
    return rf"\emph{{{text}}}" if row["ci_low"] <= null + _TOLERANCE else text


def _percent(block: pd.DataFrame) -> list[str | None]:
    values = [block[name].iloc[0] for name in _ACCURACIES]
    return [None if pd.isna(value) else f"{100 * value:.1f}" for value in values]
