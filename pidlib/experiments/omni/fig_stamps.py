"""What do real pictures, captions and voices share, and what is unique to each of them?

Sensory PID of representations, see `pidlib.experiments.omni.stamps`. Each source is reduced to a
few labels, fitted on other pictures: k-means ``codes``, and the target as predicted by a ``probe``.
"""

import json
import warnings
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from itertools import product
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Int
from scipy.stats import binomtest, false_discovery_control

from pidlib._common import derive_seed, fingerprint
from pidlib.decomposition.codes import quantize
from pidlib.decomposition.entropies import joint_information, miller_madow, plug_in
from pidlib.decomposition.estimate import estimate
from pidlib.experiments import ATOMS, Preset, declare, style, tables
from pidlib.experiments.decision_profiles import ESTIMATION
from pidlib.experiments.omni import stamps
from pidlib.experiments.omni.stamps import Observations
from pidlib.experiments.statistics import permutation_p
from pidlib.experiments.words import number

Labels = Mapping[str, Mapping[str, Mapping[str, np.ndarray]]]  # by kind, target and source
Codes = Int[np.ndarray, " n"]
_PROBES = "experiment benchmark split source accuracy ci_low ci_high prior probe_bits codes_bits "
_PROBES += "target_bits n_fitted n_samples n_codes seed fingerprint"
_REQUIRED = "pairing target_bits n_samples"
COLUMNS = {"fig_stamps": declare("pairing", ATOMS, "target_bits", required=_REQUIRED)}
COLUMNS["fig_stamps_probes"] = declare(_PROBES, required=_PROBES)
_CAPTION, _VOICE = ("vision", "language", None), ("vision", "audio", None)
_VOICE_GIVEN = ("vision", "audio", "language")
TARGETS = {"category": (_CAPTION, _VOICE, _VOICE_GIVEN)}  # pairs of sources, with a condition
TARGETS |= {"spoken": (_VOICE, ("language", "audio", None), _VOICE_GIVEN)}
TARGETS |= {"match": (_CAPTION, _VOICE)}
N_CONDITIONS = 3  # codes of the caption as a condition: about a hundred observations each
_SOURCES = {"vision": "picture", "language": "caption", "audio": "voice"}
_TARGETS = {"category": "category of the picture", "spoken": "language spoken"}
_TARGETS |= {"match": "one picture or two?"}
_KINDS = {"probe": "linear probes", "codes": "$k$-means codes"}
LEVEL = 0.05  # of significance


def measure(preset: Preset) -> dict[str, pd.DataFrame]:
    """Atoms of each target, and how well each source predicts the target."""
    fitted, applied = stamps.split(stamps.load(), preset.seed)
    pairs = {name: (fitted.sources[name], applied.sources[name]) for name in applied.sources}
    quantized, k = partial(quantize, seed=preset.seed, allow_degenerate=True), preset.n_clusters
    codes = {name: quantized(*pair, k) for name, pair in pairs.items()}
    predicted = {name: stamps.probe(fitted, applied, name) for name in applied.targets}
    predicted["match"] = predicted["category"]
    labels = {"codes": dict.fromkeys(TARGETS, codes), "probe": predicted}
    given = quantized(*pairs["language"], N_CONDITIONS)
    manifest = json.loads((stamps.FOLDER / "manifest.json").read_text(encoding="utf-8"))
    settings = preset.model_dump(include={"n_clusters", *ESTIMATION}) | {"study": "stamps"}
    key = fingerprint(**settings, synergy="value minus its null", files=manifest["files"])
    columns = {"experiment": "omni", "split": "test", "seed": preset.seed, "fingerprint": key}
    atoms = _atoms(preset, applied, labels, given).assign(estimator="exact", **columns)
    probes = _probes(applied, labels).assign(n_codes=k, **columns)
    probes["n_fitted"] = len(np.unique(fitted.stamp_ids))
    return dict(zip(COLUMNS, map(tables.validate, (atoms, probes), COLUMNS.values()), strict=True))


def _atoms(preset: Preset, applied: Observations, labels: Labels, given: Codes) -> pd.DataFrame:
    """Atoms by target, kind of labels, pair of sources and pairing."""
    rows, options = [], preset.model_dump(include=ESTIMATION)
    for target, kind in product(TARGETS, labels):
        by_source = labels[kind][target]
        for first, second, condition in TARGETS[target]:
            options |= {"sources": (first, second), "given": given if condition else None}
            columns = {"benchmark": f"stamps/{target}", "unimodal": kind, "given": condition}
            columns |= {"source_a": first, "source_b": second}
            for pairing, x1, y in _pairings(by_source[first], applied, target, preset.seed):
                columns |= {"pairing": pairing, "n_codes": len(np.unique(x1))}
                columns["target_bits"] = float(plug_in(np.unique(y, return_counts=True)[1]))
                rows.append(decompose(x1, by_source[second], y, **options).assign(**columns))
    return pd.concat(rows)


def _pairings(x1: np.ndarray, applied: Observations, target: str, seed: int) -> Iterator[tuple]:
    """Pairing, labels of the first source, target; of ``match``, half the pairs are mismatched."""
    generator = np.random.default_rng(derive_seed("stamps, pairings", seed))
    order = generator.permutation(len(x1))
    if target == "match":
        y = np.isin(np.arange(len(x1)), order[::2], invert=True)
        x1 = _shift(x1, order[::2])
    else:
        y = applied.targets[target]
        yield "mismatched", _shift(x1, order), y
    yield "matched", x1, y
    yield "shuffled", x1, generator.permutation(y)


def _shift(labels: np.ndarray, places: Int[np.ndarray, " m"]) -> np.ndarray:
    """Move the labels at the given places to the next of them, so that none keeps its own."""
    shifted = labels.copy()
    shifted[places] = labels[np.roll(places, 1)]
    return shifted


def decompose(
    x1: np.ndarray, x2: np.ndarray, y: np.ndarray, given: np.ndarray | None = None, **options: Any
) -> pd.DataFrame:
    """Atoms of labels with null, correction and interval, as by `pidlib.estimate`.

    But synergy is corrected by its own null, S - E[S | Y permuted], and missing unless that is
    positive: where a source nearly determines Y, correcting I and I_Q by different estimators
    reports spurious synergy. With ``given``, all numbers are means over its values, weighted by
    their share; p-values of unique atoms are combined by Simes' test, the others are against
    permutations of the target alone, which is conservative.
    """
    parts = [np.full(len(y), True)] if given is None else [given == g for g in np.unique(given)]
    with warnings.catch_warnings():  # each row has the null, which measures the bias
        warnings.filterwarnings("ignore", message=".*predicted bias")
        estimates = [estimate(x1[part], x2[part], y[part], **options) for part in parts]
    rows = [pd.DataFrame(each.rows()) for each in estimates]
    if given is None:
        return _correct_synergy(rows[0])
    share = np.array([part.mean() for part in parts])
    mean = rows[0].assign(n_samples=len(y), converged=all(each.converged for each in estimates))
    for column in ("value_bits", "corrected_bits", "lower_bits", "upper_bits", "null_mean"):
        mean[column] = share @ np.array([each[column] for each in rows], dtype=float)
    null = np.array([share @ [each.null[atom] for each in estimates] for atom in mean["atom"]])
    draws = np.array([share @ [each.draws[atom] for each in estimates] for atom in mean["atom"]])
    mean["null_p"] = permutation_p(mean["value_bits"].to_numpy(), null.T, 1e-6)
    unique = mean["atom"].str.startswith("unique")
    p_values = np.array([each.loc[unique, "null_p"] for each in rows], float)
    mean.loc[unique, "null_p"] = false_discovery_control(p_values, axis=0).min(0)
    mean[["ci_low", "ci_high"]] = np.quantile(draws, (0.025, 0.975), axis=1).T
    return _correct_synergy(mean)


def _correct_synergy(atoms: pd.DataFrame) -> pd.DataFrame:
    """Replace the correction of synergy by its value minus the mean of its null, if positive."""
    columns = ["corrected_bits", "ci_low", "ci_high"]
    atoms = atoms.astype(dict.fromkeys(columns, float))
    synergy, excess = atoms["atom"] == "synergy", atoms["value_bits"] - atoms["null_mean"]
    atoms.loc[synergy, columns] = atoms[columns].add(excess - atoms["corrected_bits"], axis=0)
    atoms.loc[synergy & (excess <= 1e-6), columns] = np.nan  # the solver's tolerance
    return atoms


def _probes(applied: Observations, labels: Labels) -> pd.DataFrame:
    """Accuracy of each probe with its interval (Wilson); bits of probe and codes on the target."""
    rows = []
    for target, y in applied.targets.items():
        counts, n = np.unique(y, return_counts=True)[1], len(y)
        for source, predicted in labels["probe"][target].items():
            accuracy = binomtest(int((predicted == y).sum()), n)
            shares = accuracy.statistic, *accuracy.proportion_ci(method="wilson"), counts.max() / n
            chosen = predicted, labels["codes"][target][source]
            bits = *(_information(each, y) for each in chosen), float(plug_in(counts))
            rows.append((f"stamps/{target}", source, *shares, *bits, n))
    columns = "benchmark source accuracy ci_low ci_high prior probe_bits codes_bits target_bits"
    return pd.DataFrame(rows, columns=[*columns.split(), "n_samples"])


def _information(labels: np.ndarray, y: np.ndarray) -> float:
    """Mutual information by the entropies of Miller and Madow."""
    return float(joint_information(pd.crosstab(labels, y).to_numpy()[None], miller_madow))


def figure(measured: Mapping[str, pd.DataFrame]) -> style.Figure:
    """Atoms above their null by labels (rows) and target (columns); hollow if not detected."""
    table = measured["fig_stamps"].query("given.isna() and pairing == 'matched'")
    first, second = (table[column].map(_SOURCES) for column in ("source_a", "source_b"))
    table = table.assign(pair=first + ", " + second)
    kinds = [kind for kind in _KINDS if kind in set(table["unimodal"])]
    pairs = table.groupby("benchmark", sort=False)["pair"].unique().to_dict()
    figure = style.page(1.3 * len(kinds) + 0.9)
    axes = figure.subplots(len(kinds), len(pairs), squeeze=False, sharex="col")
    for column, (target, names) in zip(axes.T, pairs.items(), strict=True):
        rows = table[table["benchmark"] == target]
        for kind, ax in zip(kinds, column, strict=True):
            _draw_pairs(ax, rows[rows["unimodal"] == kind], names)
        bits = rows["target_bits"].iloc[0]
        column[0].set_title(f"{_TARGETS[target.partition('/')[2]]}\n(entropy {bits:.2f} bits)")
    for kind, ax in zip(kinds, axes[:, 0], strict=True):
        ax.set_ylabel(f"{_KINDS[kind]}\nbits above the null")
    atoms = [atom for atom in style.SYMBOLS if atom in set(table["atom"])]
    hollow = style.swatch("hollow: $p > .05$, one-sided", facecolor="white", edgecolor=style.INK)
    others = style.line_handle("95 % interval"), style.handle("–: $S$ is not above its null")
    title = "Bars are what exceeds the null (target shuffled), whose mean is 0 here; scales differ"
    style.legend(figure, 4, *style.atom_handles(atoms), hollow, *others, title=title)
    return figure


def _draw_pairs(ax: style.Axes, rows: pd.DataFrame, pairs: Sequence[str]) -> None:
    width = 0.8 / 4  # four bars take this share of a pair's space
    for center, pair in enumerate(pairs):
        group = rows[rows["pair"] == pair]
        for index, atom in enumerate(group["atom"].unique()):
            x = center + (index - 1.5) * width
            bar, color = group[group["atom"] == atom].iloc[0], style.COLORS[atom]
            bits, low, high = style.floats(bar[["corrected_bits", "ci_low", "ci_high"]])
            detected = bar["null_p"] <= LEVEL
            look = {} if detected else {"color": "white", "edgecolor": color, "linewidth": 1}
            style.bars(ax, [x], [bits], atom, 0.9 * width, **look)
            style.interval(ax, [x], [low], [high])
            text, top = number(bits).replace("unknown", "–"), np.nanmax([0, bits, high])
            look = {"color": style.INK if detected else style.FAINT, "fontsize": 6.5}
            ax.annotate(text, (x, top), (0, 2), textcoords="offset points", ha="center", **look)
    ax.margins(y=0.12)  # room for numbers
    ax.axhline(0, color=style.INK, linewidth=0.6, zorder=2.7)
    ax.set(xticks=range(len(pairs)), xticklabels=pairs, xlim=(-0.5, len(pairs) - 0.5))
    ax.tick_params(axis="x", length=0)


def latex(measured: Mapping[str, pd.DataFrame]) -> str:
    """Accuracy of a linear probe with its interval, and bits by probe and by codes."""
    header = ["target", "source", "accuracy", "95\\,\\%", "prior", "probe", "codes", "$H(Y)$"]
    rows = []
    for row in measured["fig_stamps_probes"].itertuples():
        names = _TARGETS[row.benchmark.partition("/")[2]], _SOURCES[row.source]
        accuracy = row.accuracy, f"{row.ci_low:.2f}--{row.ci_high:.2f}", row.prior
        rows.append([*names, *accuracy, row.probe_bits, row.codes_bits, row.target_bits])
    return tables.booktabs(header, rows, align="llrrrrrr", digits=2)
