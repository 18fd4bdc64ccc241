"""What each modality contributes to the states of a model, per benchmark and block by block: pooled embeddings, a data set at a time."""

import math
from dataclasses import replace

import pandas as pd

from pidlib import results, runs, schemas
from pidlib.experiment import Preset, fingerprint
from pidlib.extraction import Extraction
from pidlib.extraction.masking import SOURCES
from pidlib.profiles import codes
from pidlib.uncertainty import estimate

_MADE = ("n_permutations", "n_bootstrap", "seed")
_TOLD = {"experiment": "vision_language", "source_a": "vision", "source_b": "language", "unimodal": "codes", "estimator": "exact"}


def asked(preset: Preset) -> tuple[runs.Asked, ...]:
    """Of each model of the population the last state of some samples to fit codes on, and of those profiled."""
    counts = (-(-preset.n_contributions // 2), preset.n_contributions)  # codebooks need fewer
    return tuple(one._replace(n_samples=n, layers=(-1,)) for one, n in zip(runs.embeddings(preset), counts, strict=True))


def contributions(preset: Preset) -> pd.DataFrame:
    """Atoms of every model of the population on every benchmark, and the shares of both sources in what is unique.

    One observation a sample. Shares stand in the rows of the unique atoms; they are missing where the unique information is not seen; see
    `Estimate.contribution`.
    """
    k, made = preset.contribution_codes, {name: getattr(preset, name) for name in _MADE}
    tables = []
    for fitted, applied in runs.runs(preset, asked(preset), models=preset.population):
        labels = codes(fitted.extraction, applied.extraction, k, preset.seed, allow_degenerate=True)
        found = estimate(*labels, **made)
        shares = pd.DataFrame({f"unique_{source}": found.contribution(source) for source in SOURCES}).T
        mark = fingerprint(of=[one.columns["fingerprint"] for one in (fitted, applied)], n_clusters=k, **made)
        told = applied.columns | {"fingerprint": mark, "layer": applied.extraction.layers[-1], "n_codes": k}
        tables.append(pd.DataFrame(found.rows()).join(shares, on="atom").assign(**told, **_TOLD))
    table = pd.concat([*tables, published()], ignore_index=True)
    return results.tidy(table.assign(seed=preset.seed, experiment="vision_language"), schemas.CONTRIBUTIONS)


def published() -> pd.DataFrame:
    """What the paper and its authors' files say of atoms and shares, as rows of the table: shares where they printed shares, else bits."""
    table = results.published("table2_contributions")
    table = table[table["unit"].isin(("share", "nats"))]
    value, share = table["value"].astype(float), table["unit"] == "share"
    told = table[["model", "benchmark", "n_samples", "source", "grade", "note"]].assign(estimator="published", fingerprint="published")
    atom = table["quantity"].str.replace("contribution_", "unique_")
    ends = {"contribution_low": table["low"], "contribution_high": table["high"]}
    return told.assign(atom=atom, value_bits=(value / math.log(2)).mask(share), contribution=value.where(share), **ends)


def embedding_layers(preset: Preset) -> pd.DataFrame:
    """Atoms of pooled embeddings about the answer-position state after each block of the exemplars."""
    k, made = preset.n_clusters, {name: getattr(preset, name) for name in _MADE}
    tables = []
    for run in runs.runs(preset, runs.embeddings(preset)):
        mark = fingerprint(of=[one.columns["fingerprint"] for one in run], n_clusters=k, every="layer", **made)
        for layer in run[1].extraction.layers:
            fitted, applied = (at_layer(one.extraction, layer) for one in run)
            found = estimate(*codes(fitted, applied, k, preset.seed, allow_degenerate=True), **made)
            told = run[1].columns | {"fingerprint": mark, "layer": layer, "n_codes": k}
            tables.append(pd.DataFrame(found.rows()).assign(**told))
    return results.tidy(pd.concat(tables, ignore_index=True).assign(seed=preset.seed, **_TOLD))


def at_layer(extraction: Extraction, layer: int) -> Extraction:
    """The same extraction as if no other block had been read.

    Raises
    ------
    ValueError
        If that block was not read.
    """
    if layer not in extraction.layers:
        raise ValueError(f"block {layer} was not read; there are {extraction.layers}: extract with layers=(..., {layer})")
    return replace(extraction, layers=(layer,), hidden=extraction.hidden[:, [extraction.layers.index(layer)]])
