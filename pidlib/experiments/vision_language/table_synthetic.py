"""Which protocol recovers known mixtures?

Each mixture is decomposed by the released protocol, with sequences of equal length and with a
longer picture, and at the level of the data set, by codes and by covariance (see `protocols`).
"""

import pandas as pd
from tqdm.auto import tqdm

from pidlib.experiments import Preset, style, tables
from pidlib.experiments.vision_language import protocols
from pidlib.extraction import SOURCES

_SETTINGS = {"n_sequences", "n_embedded", "n_clusters", "n_permutations", "n_bootstrap", "seed"}
_EXPECTED = {"vision": "$U_v$ alone", "more vision": r"$U_v>U_\ell$"}
_EXPECTED |= {"both": r"$U_v\approx U_\ell$; $R$, $S$", "synergy": "$S$ above all"}
_EXPECTED |= {"language": r"$U_\ell$ alone", "more language": r"$U_\ell>U_v$"}

COLUMNS = tables.declare(protocols.COLUMNS, "expected recovered", required="expected recovered")


def measure(preset: Preset) -> pd.DataFrame:
    """Atoms of the mixtures by each protocol, and whether they show the expected order."""
    profiles = []
    for name, (expected, _) in tqdm(protocols.MIXTURES.items(), desc="known mixtures"):
        parts = []
        for protocol, patches in protocols.PATCHES.items():
            tokens = protocols.mixed(name, preset.n_sequences, patches=patches, seed=preset.seed)
            rows = protocols.released(tokens, n_bootstrap=preset.n_bootstrap, seed=preset.seed)
            parts.append(rows.assign(protocol=protocol, benchmark=name))
        parts.append(protocols.mixture_rows(preset, name, preset.n_embedded, preset.n_clusters))
        parts.append(protocols.covariance_rows(preset, name, preset.n_embedded))
        profiles += [p.assign(expected=expected, recovered=recovers(p, expected)) for p in parts]
    return protocols.finished(preset, profiles, _SETTINGS, COLUMNS)


def recovers(rows: pd.DataFrame, expected: str) -> bool:
    """Whether four corrected atoms show the order expected of a mixture.

    ``more vision``: its unique atom is significant, with an interval above that of the other;
    ``vision``: it also has nine tenths of the sum of all atoms; ``both``: neither unique atom is
    ahead, redundancy and synergy are significant; ``synergy``: it is significant and the largest.
    """
    rows = rows.set_index("atom")
    value, significant = rows["corrected_bits"].astype(float), _significant(rows)
    if value.isna().any():
        return False
    ahead = {}
    for source, other in (SOURCES, SOURCES[::-1]):
        own, other = f"unique_{source}", f"unique_{other}"
        ahead[source] = significant[own] and rows.at[own, "ci_low"] > rows.at[other, "ci_high"]
    if expected == "synergy":
        return bool(significant["synergy"] and value.idxmax() == "synergy")
    if expected == "both":
        return bool(significant[["redundancy", "synergy"]].all() and not any(ahead.values()))
    source = expected.removeprefix("more ")
    alone = source != expected or value[f"unique_{source}"] >= 0.9 * value.clip(lower=0).sum()
    return bool(ahead[source] and alone)


def _significant(rows: pd.DataFrame) -> pd.Series:
    """By the p-value or, if there is none, by an interval above zero."""
    p, low = rows["null_p"].astype(float), rows["ci_low"].astype(float)
    return (p <= protocols.LEVEL) | (p.isna() & (low > 0))


def latex(table: pd.DataFrame) -> str:
    """Corrected atoms with intervals; in brackets if the atom is not significant."""
    symbols = [style.SYMBOLS[atom] for atom in style.VISION_LANGUAGE]
    header = ["target", "expected", *symbols, "null", "found"]
    rows = []
    for protocol, block in table.groupby("protocol", sort=False):
        first = block.iloc[0]
        codes = "" if pd.isna(first["n_codes"]) else f", {first['n_codes']} codes"
        title = f"{protocol}: {first['n_samples']} samples{codes}"
        rows.append(tables.heading(title, len(header), r"\midrule" * bool(rows)))
        keys = ["benchmark", "expected", "recovered"]
        for (mixture, expected, recovered), group in block.groupby(keys, sort=False):
            atoms = group.set_index("atom").loc[list(style.VISION_LANGUAGE)]
            atoms = atoms.assign(significant=_significant(atoms))
            cells = [*map(_cell, atoms.itertuples()), float(atoms["null_mean"].sum())]
            rows.append([mixture, _EXPECTED[expected], *cells, "yes" if recovered else "no"])
    return tables.booktabs(header, rows, align="ll" + "r" * 5 + "l", digits=2)


def _cell(row) -> str | None:
    if pd.isna(row.corrected_bits):
        return None
    text = tables.with_interval(row.corrected_bits, row.ci_low, row.ci_high)
    return text if row.significant else f"({text})"
