"""Sensory atoms of models with vision and audio input, and the published atoms."""

from collections.abc import Mapping

import pandas as pd

from pidlib.benchmarks import micro_av
from pidlib.experiments import Preset, Request, definitions, extract_all, style, tables
from pidlib.experiments.omni import profiles
from pidlib.experiments.words import largest, number, share
from pidlib.profiles.modes import diagnose
from pidlib.sensory import REFERENCES, decompose, split_by

COLUMNS = tables.declare(profiles.COLUMNS, definitions.COLUMNS)
PUBLISHED_SUBSET = "MUSIC-AVQA: audio-visual"
_COLUMN_ORDER = ("unique_vision", "unique_audio", "synergy", "redundancy")  # of the paper's table
_REFERENCES = {"sample": "$R_s$", "template": "$R_c$", "marginal": "$R_m$"}
_ACCURACIES = {"accuracy": r"$\mathrm{acc}$", "accuracy_vision": "$_v$", "accuracy_audio": "$_a$"}
_ACCURACIES |= {"accuracy_text": "$_0$"}
_TOLERANCE = 1e-3  # bits


def requests(preset: Preset) -> list[Request]:
    """The passes of Sensory PID, for every model on every subset."""
    return [Request(preset.omni_models, preset.omni_benchmarks, (profiles.query(preset),))]


def measure(preset: Preset) -> pd.DataFrame:
    """Atoms under each of `REFERENCES`, and diagnostics, by model and subset; published atoms."""
    parts = []
    for (answer,) in extract_all(preset, *requests(preset)):
        groups = split_by(answer.extraction, preset.given, tau=preset.tau)
        rows = profiles.profile_rows(preset, answer, groups, *REFERENCES[preset.given])
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


def ideal(benchmark: str) -> Mapping[str, float]:
    """Mean atoms of the ideal answerer over the templates of a subset; empty if not generated."""
    templates = micro_av.TASKS.get(benchmark.removeprefix("micro_av/"), ())
    return pd.DataFrame([micro_av.sensory_truth(each.name).atoms for each in templates]).mean()


def figure(table: pd.DataFrame) -> style.Figure:
    """A panel per subset with the mean atoms of the models that can be read, then the paper's."""
    ours, printed = table["grade"].isna(), table[table["grade"].notna()]
    measured = table[ours & (table["reference"] == table["given"])]
    measured, readable = profiles.read_rows(measured, "benchmark", "model")
    panels, minis = {}, dict(zip(measured["model"].unique(), style.MARKERS, strict=False))
    others = dict(zip(printed["model"].unique(), style.MARKERS[len(minis) :], strict=False))
    for name, read in readable.groupby(level=0, sort=False):
        title = f"{style.benchmark_name(name)}\n{share(read)} models can be read"
        panels[title] = measured[measured["benchmark"] == name], ideal(name), minis
    panels[f"{PUBLISHED_SUBSET}\n{len(others)} models, published values only"] = printed, {}, others
    figure, axes = style.panels(list(panels), 2, 1, most=4)
    for title, panel in panels.items():
        profiles.draw_atoms(axes[title], *panel)
    clear = largest(measured, ["benchmark", "model"]).dropna()
    laws = [(law, atom) for (name, _), atom in clear.items() if len(law := ideal(name))]
    same = [law[atom] > law.max() - 0.01 for law, atom in laws]
    title = f"A clearly largest atom is that of an ideal answerer in {share(same)} models × subsets"
    title += "\nclearly: its interval is above all others; not read: models whose masked answers do"
    title += f" not fit the full ones (moved by over {number(profiles.MOST_MOVED, 1)})"
    models = [(style.model_name(m), look, "white") for m, look in (minis | others).items()]
    handles = [*style.atom_handles(style.SENSORY), *style.marker_handles(models)]
    handles.append(style.line_handle("an ideal answerer", **profiles.TRUTH))
    handles.append(style.null_handle("null: answers permuted"))
    handles.append(style.line_handle("95 % interval, if beyond the marker"))
    style.legend(figure, 4, *handles, title=title)
    return figure


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
    rows += [tables.heading(profiles.TRAINED_WITH_NOISE, len(header))] * len(rows)
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
    name = rf"\midrule {PUBLISHED_SUBSET}, published (grade {printed['grade'].iloc[0]})"
    for model, block in printed.groupby("model", sort=False):
        bits = pd.Series(style.best(block), block["atom"])
        bits = [f"{bits[atom]:.{3 if atom == 'redundancy' else 2}f}" for atom in _COLUMN_ORDER]
        rows.append([name, model, *bits, *[None] * (len(_REFERENCES) + 2), *_percent(block)])
        name = ""
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
