"""From the decisions of a model to codes of its embeddings, one change at a time: where synergy is lost on the way.

Decisions have the samples themselves for alphabets; the representation level has codes. Between them stand tables of codes that share all
but one variable with a neighbour. Sources, from all that an input says to what codes of its mean embedding say:

- ``states``: the latent states that a generated benchmark drew, all that matters of picture and question;
- ``probe``: these states as a linear probe, trained on other samples, reads them off the pooled embeddings: what pooling keeps;
- ``codes``: k-means codes of the same pooled embeddings: what coding keeps of that.

Targets: ``decision``, the likeliest candidate; ``state``, a code of the answer-position state after the last block. A target of about as
many codes as there are answers tells the answers apart; one of more can tell questions apart too, and what a target remembers of one
source is unique to that source.
"""

import warnings
from collections.abc import Iterator, Mapping

import numpy as np
import pandas as pd
from jaxtyping import Int
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from pidlib import results, runs, schemas
from pidlib.benchmarks import micro
from pidlib.estimators import DRAWS
from pidlib.experiment import Preset, fingerprint
from pidlib.extraction import Extraction
from pidlib.extraction.masking import SOURCES
from pidlib.information import entropy
from pidlib.profiles import codes, decision_profile
from pidlib.uncertainty import estimate

Sources = tuple[Int[np.ndarray, " n"], Int[np.ndarray, " n"]]


def two_levels_table(preset: Preset, experiment: str = "vision_language") -> pd.DataFrame:
    """Atoms at both levels and at the steps between, with null and interval; `TWO_LEVELS` of `pidlib.schemas`.

    Steps of codes are taken with ``n_clusters`` codes and with twice as many; steps that need latent states exist for micro benchmarks
    only. ``target_bits`` is the entropy of the target, what the atoms would sum to if the sources told all of it.
    """
    tables = []
    for decided, fitted, applied in runs.runs(preset, (*runs.decisions(preset), *runs.embeddings(preset))):
        tables += _decided(preset, decided)
        tables += _coded(preset, fitted, applied)
    return results.tidy(pd.concat(tables, ignore_index=True).assign(experiment=experiment), schemas.TWO_LEVELS)


def steps(
    fitted: Extraction, applied: Extraction, n_clusters: int, known: tuple[Sources, Sources] | None = None, tau: float = 0.3, seed: int = 0
) -> dict[tuple[str, str, int | None], tuple[Int[np.ndarray, " n"], ...]]:
    """Codes (x1, x2, y) of every step between the levels, by sources, target and number of codes.

    Parameters
    ----------
    fitted, applied
        Extractions of disjoint samples with the last layer: one for codebooks and probes, one whose codes are given.
    n_clusters
        Codes of each variable; the steps of codes are repeated with twice as many.
    known
        Latent states of both, numbered alike, if they are known.
    tau, seed
        Candidate mass below which a decision is uniform, and so the first candidate; seed of the codebooks.
    """
    decision = applied.decisions(tau=tau).argmax(1)
    coded = {k: codes(fitted, applied, k, seed) for k in (n_clusters, 2 * n_clusters)}
    sources = {} if known is None else {"states": known[1], "probe": tuple(map(probe, *_embedded(fitted, applied), known[0]))}
    found = {(name, "decision", None): (*pair, decision) for name, pair in sources.items()}
    for k, (*pair, state) in coded.items():
        found |= {("codes", "decision", k): (*pair, decision), ("codes", "state", k): (*pair, state)}
        found |= {("states", "state", k): (*known[1], state)} if known else {}
    return found


def probe(fitted: np.ndarray, applied: np.ndarray, states: Int[np.ndarray, " n"]) -> Int[np.ndarray, " m"]:
    """States of other samples as a linear discriminant reads them off the embeddings [m, d], trained on embeddings [n, d] and states."""
    if len(np.unique(states)) == 1:
        return np.full(len(applied), states[0])
    return make_pipeline(StandardScaler(), LinearDiscriminantAnalysis()).fit(fitted, states).predict(applied)


def _embedded(*extractions: Extraction) -> list[list[np.ndarray]]:
    return [[one.embeddings[name] for name in SOURCES] for one in extractions]


def _decided(preset: Preset, run: runs.Run) -> Iterator[pd.DataFrame]:
    made = {"tau": preset.tau, "n_bootstrap": min(DRAWS, preset.n_bootstrap), "seed": preset.seed}
    for unimodal in preset.unimodal:
        asked = run.extraction.masked(preset.tau) if unimodal == "masked" else run.extraction.resampled(preset.tau)
        told = run.columns | {"fingerprint": fingerprint(extraction=run.columns["fingerprint"], unimodal=unimodal, **made)}
        told |= {"sources": "samples", "target": "decision", "target_bits": entropy(asked.target).item()}
        yield decision_profile(run.extraction, unimodal=unimodal, **made, **told)


def _coded(preset: Preset, fitted: runs.Run, applied: runs.Run) -> Iterator[pd.DataFrame]:
    made = {name: getattr(preset, name) for name in ("n_permutations", "n_bootstrap", "seed")}
    marks = {"fitted": fitted.columns["fingerprint"], "applied": applied.columns["fingerprint"], "tau": preset.tau, **made}
    shared = applied.columns | {"source_a": SOURCES[0], "source_b": SOURCES[1], "unimodal": "codes", "estimator": "exact"}
    known = _states(fitted.columns, applied.columns, preset.seed)
    taken = steps(fitted.extraction, applied.extraction, preset.n_clusters, known, preset.tau, preset.seed)
    for (sources, target, k), labels in taken.items():
        told = shared | {"sources": sources, "target": target, "n_codes": k, "seed": preset.seed}
        told |= {
            "layer": applied.extraction.layers[-1] if target == "state" else None,
            "target_bits": entropy(np.bincount(labels[-1])).item(),
        }
        told |= {"fingerprint": fingerprint(sources=sources, target=target, n_codes=k, **marks)}
        with warnings.catch_warnings():  # that there are many codes for the samples is what these steps show; the null stands beside
            warnings.filterwarnings("ignore", message=".* codes give a synergy of")
            found = estimate(*labels, **made)
        yield pd.DataFrame(found.rows()).drop(columns="n_samples").assign(**told)


def _states(fitted: Mapping, applied: Mapping, seed: int) -> tuple[Sources, Sources] | None:
    """Numbers of the latent states of both, where there are such."""
    source, _, task = applied["benchmark"].partition("/")
    if source != "micro":
        return None
    drawn = [micro.states(task, one["split"], one["n_samples"], seed) for one in (fitted, applied)]
    numbers = [{state: number for number, state in enumerate(dict.fromkeys(all))} for all in zip(*micro.TASKS[task].law, strict=True)]
    return tuple(tuple(np.array([number[pair[which]] for pair in pairs]) for which, number in enumerate(numbers)) for pairs in drawn)
