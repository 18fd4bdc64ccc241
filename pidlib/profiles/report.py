"""The report of a profile: table, diagnostics, warnings, plot, and paired comparison."""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from jaxtyping import Float

from pidlib._common import ATOM_STYLES, replacing
from pidlib.decomposition.atoms import atoms
from pidlib.decomposition.decisions import Decisions
from pidlib.decomposition.information import unseen_bits
from pidlib.decomposition.resampling import normal_interval
from pidlib.extraction import Extraction

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Limits of a profile without warnings: of diagnostics, of samples, of the total and unique atoms.
LIMITS = {"fallback": (0.5, "of decisions are uniform, since the candidates have little mass")}
LIMITS |= {"moved": (0.2, "total variation was changed by reconciliation")}
SOME_FALLBACK = 0.2  # of answers to both sources; above it a profile warns
MIN_SAMPLES, MIN_BITS, MIN_UNIQUE = 64, 0.05, 0.005  # the fewest of validation/fig_coverage
LEAST_AXIS = 0.1  # bits; a shorter axis would show rounding errors as atoms
_LEGEND = "bits [95 % interval] (null: shuffled answers), ! see warnings"


@dataclass(frozen=True, eq=False)
class Profile:
    """Atoms of a model's decisions on samples, or of `Decisions`: these without diagnostics."""

    # A row per mode and atom: value of the samples, solver bounds and null, and the value corrected
    # for finite n with its 95 % interval, in bits.
    table: pd.DataFrame
    diagnostics: Mapping[str, float]  # of `diagnose`
    warnings: tuple[str, ...]  # which atoms should not be read (`readable` is False), and why
    sample_ids: tuple[str, ...]
    draws: Mapping[str, Mapping[str, Float[np.ndarray, " n"]]]  # halves, by mode and atom
    extraction: Extraction | None = None  # all decisions and embeddings of a model
    unseen: float = 0.0  # bits that events unseen in the samples could add

    @property
    def atoms(self) -> dict[str, dict[str, float]]:
        """The corrected atoms in bits, by mode and name."""
        modes = self.table.set_index("atom").groupby("unimodal", sort=False)["corrected_bits"]
        return {mode: values.to_dict() for mode, values in modes}

    def to_csv(self, path: str | Path) -> None:
        """Write the table with the diagnostics as further columns."""
        with replacing(path) as part:
            self.table.assign(**self.diagnostics).to_csv(part, index=False)

    def plot(self) -> "Figure":
        """Draw the atoms with intervals and nulls; atoms that a warning names are hollow."""
        from matplotlib.figure import Figure

        modes, atoms = list(self.atoms), list(self.table["atom"].unique())
        gray = {atom: (atom.replace("_", "\n"), atom, "#777777", "") for atom in atoms}
        styles, width = gray | ATOM_STYLES, 0.84 / len(modes)
        figure = Figure(figsize=(3.4, 2.6), layout="constrained")
        ax = figure.subplots()
        text = {"ha": "center", "va": "bottom", "fontsize": 6, "textcoords": "offset points"}
        text["rotation"] = 0 if len(modes) == 1 else 90
        for row in self.table.fillna({"null_mean": 0}).itertuples():
            x = atoms.index(row.atom) + (modes.index(row.unimodal) - (len(modes) - 1) / 2) * width
            *_, color, hatch = styles[row.atom]
            look = {"facecolor": color, "edgecolor": "white", "hatch": hatch, "linewidth": 0}
            if not row.readable:
                look = {"facecolor": "white", "edgecolor": color, "linewidth": 0.9}
            ax.bar(x, row.corrected_bits, 0.86 * width, zorder=2, **look)
            ax.bar(x, row.null_mean, width, color="#d9d9d9", linewidth=0, zorder=1)
            ax.vlines(x, row.ci_low, row.ci_high, color="#222222", linewidth=0.9, zorder=3)
            label = f"{row.unimodal} " * (len(modes) > 1)
            label += f"{row.corrected_bits:.2f}".replace("-0.00", "0.00")
            top = max(row.corrected_bits, row.ci_high, row.null_mean)
            ax.annotate(label, (x, top), (0, 2), **text)
        ax.axhline(0, color="#222222", linewidth=0.6, zorder=4)
        ax.set_ylim(top=max(1.6 * ax.get_ylim()[1], LEAST_AXIS))
        ax.spines[["top", "right"]].set_visible(False)
        ax.set_xticks(range(len(atoms)), [styles[atom][0] for atom in atoms])
        ax.set_ylabel("bits", fontsize=8)
        ax.tick_params(labelsize=8)
        ax.set_title(self._title().replace(" given", "\ngiven"), fontsize=8)
        null = "; gray: null" if self.table["null_mean"].notna().any() else ""
        hollow = "" if self.table["readable"].all() else "; hollow: do not read, see warnings"
        figure.supxlabel(f"lines: 95 % intervals{null}{hollow}", fontsize=6)
        figure._repr_png_ = partial(_png, figure)  # notebooks show it, without pyplot
        return figure

    def __repr__(self) -> str:
        lines = [f"{self._title()}: {_LEGEND}", self._wide().to_string(), self._answers()]
        return "\n".join(filter(None, [*lines, *(f"warning: {note}" for note in self.warnings)]))

    def _repr_html_(self) -> str:
        notes = "".join(f"<li>{escape(note)}</li>" for note in self.warnings)
        table = f"<p>{self._title()}: {_LEGEND}</p>{self._wide().to_html()}<p>{self._answers()}</p>"
        return table + (f"<ul>{notes}</ul>" if notes else "")

    def _answers(self) -> str:
        """The diagnostics to read before any atom: of all answers, and of those to one source."""
        shown: dict[str, list[str]] = {}
        for key, value in self.diagnostics.items():
            measure, _, source = key.partition("_")
            if measure in ("accuracy", "fallback", "moved"):
                shown.setdefault(source, []).append(f"{measure} {value:.2f}")
        parts = [f"{name or 'both'}: {', '.join(each)}" for name, each in shown.items()]
        return f"answers to {'; '.join(parts)}" if parts else ""

    def _title(self) -> str:
        row = self.table.iloc[0]
        given = f" given the {row['given']}" if pd.notna(row["given"]) else ""
        return f"{row['model']} on {row['benchmark']}{given}, {row['n_samples']} samples"

    def _wide(self) -> pd.DataFrame:
        cells: dict[str, dict[str, str]] = {mode: {} for mode in self.atoms}
        for row in self.table.itertuples():
            null = "" if pd.isna(row.null_mean) else f" ({row.null_mean:.2f})"
            text = f"{row.corrected_bits:.2f} [{row.ci_low:.2f}, {row.ci_high:.2f}]{null}"
            text = text.replace("-0.00", "0.00")
            cells[row.unimodal][row.atom] = text if row.readable else f"{text} !"
        return pd.DataFrame(cells)


def _png(figure: "Figure") -> bytes:
    from IPython.core.pylabtools import print_figure

    return print_figure(figure, dpi=150)


def compare(first: Profile, second: Profile) -> pd.DataFrame:
    """Paired differences, second minus first, of two profiles on the same samples.

    Returns a row per mode and atom: both corrected values, ``difference``, ``ci_low`` and
    ``ci_high``, in bits; ``readable`` is False where a profile warns against the atom. The halves
    of both are the same samples, so the interval is that of the difference; as those of profiles,
    it is at least +-`Profile.unseen` wide. Raises a ValueError if the samples or settings differ,
    or no mode is in common.
    """
    if not (first.sample_ids and second.sample_ids):
        raise ValueError("the decisions have no sample ids; give Decisions(..., ids=...)")
    if first.sample_ids != second.sample_ids:
        only = sorted(set(first.sample_ids) ^ set(second.sample_ids))
        where = f"{', '.join(only[:4])} are in one only" if only else "their order differs"
        raise ValueError(f"profiles of different samples: {where}; profile both on one list")
    if not first.draws.keys() & second.draws.keys():
        raise ValueError(f"no mode in common: {', '.join(first.draws)}; {', '.join(second.draws)}")
    settings = ("given", "seed", "tau", "n_halves", "partners", "draws", "orders", "mask")
    for name in (*settings, "source_a", "source_b"):
        columns = [profile.table.get(name, pd.Series([None])) for profile in (first, second)]
        values = [set(column.dropna()) for column in columns]
        if values[0] != values[1]:
            raise ValueError(f"the profiles differ in {name}: {values[0]} and {values[1]}")
    keys = ["unimodal", "atom"]
    values = [profile.table[[*keys, "corrected_bits", "readable"]] for profile in (first, second)]
    table = values[0].merge(values[1], on=keys, suffixes=("_first", "_second"))
    table["readable"] = table.pop("readable_first") & table.pop("readable_second")
    table["difference"] = table["corrected_bits_second"] - table["corrected_bits_first"]
    rows = table[keys].itertuples(index=False)
    draws = (second.draws[mode][atom] - first.draws[mode][atom] for mode, atom in rows)
    intervals = partial(normal_interval, least=max(first.unseen, second.unseen))
    table[["ci_low", "ci_high"]] = list(map(intervals, table["difference"], draws))
    return table.round(6)  # bits, as precise as the solver


def report(
    rows: pd.DataFrame,
    halves: Mapping[str, Mapping[str, np.ndarray]],
    sample_ids: tuple[str, ...],
    diagnostics: Mapping[str, float] | None = None,
    extraction: Extraction | None = None,
    notes: Sequence[str] = (),
    decisions: Decisions | None = None,  # of any mode: their values and answers are counted
    **columns: object,
) -> Profile:
    """Make a profile, and issue the first of its warnings; `notes` are earlier ones."""
    diagnostics = {name: round(value, 4) for name, value in (diagnostics or {}).items()}
    notes = list(dict.fromkeys(notes))
    degenerate = _degenerate(decisions, notes) if decisions else []
    readable = ~rows["atom"].isin(degenerate)
    for key, value in diagnostics.items():
        measure, _, source = key.partition("_")
        limit, meaning = LIMITS.get(measure, (np.inf, ""))
        if value > limit:
            modes, where = (["masked"], source) if source else (list(halves), "both modalities")
            readable &= ~rows["unimodal"].isin(modes)
            notes.append(f"{', '.join(modes)}: do not read; {where}: {value:.2f} {meaning}")
        elif key == "fallback" and value > SOME_FALLBACK:
            notes.append(f"both modalities: {value:.2f} {meaning}, which lowers all atoms")
    rows = rows.assign(n_samples=rows.get("n_samples", len(sample_ids)))
    if (count := rows["n_samples"].min()) < MIN_SAMPLES:
        notes.append(f"{count} samples: estimates are biased; give {MIN_SAMPLES} or more")
    for mode, group in rows.groupby("unimodal", sort=False):
        values = group.set_index("atom")["value_bits"]
        unique = values.index.str.startswith("unique")
        if not group["converged"].all():
            notes.append(f"{mode}: solved only to the bounds in the table")
        if values.sum() < MIN_BITS:
            total = max(values.sum(), 0.0)
            notes.append(f"{mode}: the decisions hardly depend on the inputs ({total:.3f} bits)")
        elif values[unique].min() < MIN_UNIQUE:
            meaning = "redundancy is the smaller of the informations of the two sources"
            notes.append(f"{mode}: a unique atom is 0, so {meaning}")
        low = group.set_index("atom")["ci_low"][unique]
        if (low <= 0).all() and values["redundancy"] > MIN_BITS:
            bias = "redundancy is too small and unique atoms are too large (fig_coverage)"
            notes.append(f"{mode}: both sources may carry the same information; then {bias}")
    notes.sort(key=lambda note: "do not read" not in note)  # first, as only the first is issued
    if notes:
        more = f" ({len(notes)} warnings, see Profile.warnings)" * (len(notes) > 1)
        warnings.warn(f"{notes[0]}{more}", stacklevel=3)
    rows = rows.assign(readable=readable, **columns)
    rows["given"] = rows.get("given", pd.NA)
    answers = extraction.candidates if extraction else decisions.joint[0] if decisions else ()
    unseen = unseen_bits(len(sample_ids) or decisions.n_samples, len(answers))
    return Profile(rows, diagnostics, tuple(notes), sample_ids, halves, extraction, unseen)


def _degenerate(decisions: Decisions, notes: list[str]) -> list[str]:
    """Atoms that too few values or samples leave without meaning; adds notes."""
    n, k = decisions.n_samples, decisions.joint.shape[1]
    found = []
    for name, labels in decisions.values.items():
        if not labels.any():
            found += ["redundancy", f"unique_{name}", "synergy"]
            text = f"all samples have one value of {name}, which can tell nothing: do not read"
            notes.append(f"{text} redundancy, unique_{name} and synergy; give samples that differ")
    if n < k:
        found += atoms(tuple(decisions.sources), 0, 0, 0, 0)
        notes.append(f"{n} samples for {k} answers: do not read any atom; give more samples")
    return found
