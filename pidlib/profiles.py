"""From what a model answered to rows of the results: its atoms with bounds, interval and null, by its decisions or by its embeddings."""

from itertools import permutations

import numpy as np
import pandas as pd
from jaxtyping import Float, Int
from scipy.special import entr

from pidlib.batch_estimator import batch_pid
from pidlib.clustering import Codebook
from pidlib.decisions import DecisionPID, Decisions, bootstrap_decisions, decision_pid
from pidlib.experiment import derive_seed
from pidlib.extraction import Extraction
from pidlib.extraction.masking import FULL, SOURCES
from pidlib.uncertainty import estimate

NOISE = ("none", "none#1", "none#2")  # three passes that see nothing, each with noise of its own
DEALS, DEAL_TOLERANCE = 19, 1e-4  # so that the least p-value is 0.05; bits
FLOOR_TOLERANCE = 1e-3  # bits
BATCH = {"epochs": 20, "batch_size": 64}  # within the published ranges, for a few hundred samples


def decision_profile(
    extraction: Extraction,
    *,
    unimodal: str,
    estimator: str = "exact",
    tau: float = 0.3,
    n_bootstrap: int = 100,
    n_batches: int = 50,
    seed: int = 0,
    **columns: object,
) -> pd.DataFrame:
    """Atoms of a model's decisions, one row each.

    Beside each atom stands what it comes to where there is nothing to find. Masked, that is the model's noise floor: the mean over
    bootstrap draws of the same decomposition of three passes in which both modalities are noise. It is no hypothesis and has no p-value:
    BROJA calls redundant whatever two sources could share, so that a model which is confident about noise has a high floor of it.
    Resampled, answers are dealt out anew to the pairs, `DEALS` times: a permutation test of what pictures or questions tell alone. Synergy
    has no such null, since dealt answers do depend on picture and question together. BATCH is given none.

    Parameters
    ----------
    extraction
        With the passes ``vision+language``, ``vision``, ``language`` and `NOISE`, and pairs for the resampled mode.
    unimodal
        ``"masked"`` or ``"resampled"``: how one modality alone is asked.
    estimator
        ``"exact"``, with certified bounds and a bootstrap interval over samples; or ``"BATCH"``, whose interval is the spread over its
        random batches and which certifies nothing.
    tau
        Candidate mass below which a decision counts as uniform.
    n_bootstrap, n_batches, seed
        Resamples of the interval and of the null; batches of BATCH; where their randomness begins.
    columns
        More columns of the results, the same in every row.

    Raises
    ------
    ValueError
        For another way to ask or to estimate, and if passes or pairs that it takes were not extracted.
    """
    for what, given, known in (("unimodal", unimodal, ("masked", "resampled")), ("estimator", estimator, ("exact", "BATCH"))):
        if given not in known:
            raise ValueError(f"unknown {what} {given!r}; choose {' or '.join(map(repr, known))}")
    decisions = extraction.masked(tau) if unimodal == "masked" else extraction.resampled(tau)
    if estimator == "exact":
        rows = certified(decisions, n_bootstrap, seed)
    else:
        rows = _batch(decisions, _embeddings(extraction, unimodal), n_batches, seed)
    if estimator == "exact":
        rows = _floor(rows, extraction, tau, n_bootstrap, seed) if unimodal == "masked" else _against_deals(rows, extraction, tau, seed)
    return rows.assign(source_a="vision", source_b="language", unimodal=unimodal, estimator=estimator, seed=seed, **columns)


def certified(decisions: Decisions, n_bootstrap: int = 100, seed: int = 0) -> pd.DataFrame:
    """Atoms of decisions by the exact solver, one row each, with certified bounds and a bootstrap interval over samples."""
    solved = decision_pid(decisions)
    intervals = bootstrap_decisions(decisions, n_bootstrap, seed, solved=solved).interval(solved.pid.atoms)
    bounds = solved.pid.bounds
    rows = [
        {"atom": atom, "value_bits": value, "lower_bits": bounds[atom][0], "upper_bits": bounds[atom][1]}
        | {"ci_low": intervals[atom][0], "ci_high": intervals[atom][1], "converged": solved.pid.converged}
        for atom, value in solved.pid.atoms.items()
    ]
    return pd.DataFrame(rows)


def noise_floor(
    extraction: Extraction, tau: float = 0.3, n: int = 100, seed: int = 0, layer: int | None = None
) -> tuple[dict[str, float], bool]:
    """Mean atoms of at least n bootstrap draws of three passes that saw nothing, in every assignment of the three roles; all solved?

    With ``layer``, as the logit lens reads the passes `NOISE` after that block.
    """
    passes, draws, converged = [extraction.decisions(key, tau, layer) for key in NOISE], [], True
    for role, (joint, vision, language) in enumerate(permutations(passes)):
        nothing = Decisions(joint=joint, sources={"vision": vision, "language": language})
        solved = decision_pid(nothing, tol=FLOOR_TOLERANCE)
        draws.append(bootstrap_decisions(nothing, -(-n // 6), derive_seed(seed, "noise floor", role), solved=solved).atoms)
        converged &= solved.pid.converged
    return {atom: float(np.mean([draw[atom] for draw in draws])) for atom in draws[0]}, converged


def diagnose(extraction: Extraction, tau: float = 0.3, solved: DecisionPID | None = None) -> dict[str, float]:
    """What to know before a masked profile is believed, in the columns of ``table_profiles``; ``solved``, if it was decomposed already.

    Of the full pass and of each modality alone: ``accuracy``; the mean ``entropy_..._bits`` of the decisions (near log2 k, that modality
    alone says nothing, and the profile is an ablation of the other); the share of decisions that fell back to uniform (``fallback``). And
    how far each source was ``moved``, in mean total variation, to have one P(Y) with the other.
    """
    found = {}
    for key, suffix in ((FULL, ""), *((name, f"_{name}") for name in SOURCES)):
        found[f"accuracy{suffix}"] = extraction.accuracy(key)
        found[f"entropy{suffix}_bits"] = float(entr(extraction.decisions(key, tau)).sum(1).mean() / np.log(2))
        found[f"fallback{suffix}"] = extraction.fallback(key, tau)
    moved = (solved or decision_pid(extraction.masked(tau), tol=0.1)).reconciliation
    return found | {f"moved_{name}": distance for name, distance in moved.items()}


def beside(profiles: pd.DataFrame, diagnosed: pd.DataFrame) -> pd.DataFrame:
    """What `diagnose` says of each model on each benchmark, and its atoms by either way to ask, as rows of ``table_profiles``."""
    place, named = ["benchmark", "model"], {"value_bits": "bits", "ci_low": "low", "ci_high": "high", "null_mean": "null"}
    atoms = profiles.pivot(index=place, columns=["unimodal", "atom"], values=list(named))
    atoms.columns = [f"{mode}_{atom}_{named[column]}" for column, mode, atom in atoms.columns]
    converged = profiles.groupby(place)["converged"].all()
    return diagnosed.merge(atoms.assign(converged=converged).reset_index(), on=place, how="left")


def embedding_profile(
    fitted: Extraction,
    applied: Extraction,
    *,
    n_clusters: int,
    n_permutations: int = 200,
    n_bootstrap: int = 200,
    seed: int = 0,
    **columns: object,
) -> pd.DataFrame:
    """Atoms of pooled embeddings about the state at the answer position, one row each; one observation a sample.

    Sources are the mean token embeddings of picture and question where they enter the language model, the target is the last state
    that was read. All three are quantised by codebooks fitted on other samples. A source with fewer distinct embeddings than codes
    (a benchmark with one question) has that many codes.

    Parameters
    ----------
    fitted, applied
        Extractions of disjoint samples with the last layer: one for the codebooks, one to be profiled.
    n_clusters
        Codes of each alphabet; keep its cube well below the number of samples.
    n_permutations, n_bootstrap, seed
        Shuffles of the null and the correction; resamples of the interval; where their randomness begins.
    columns
        More columns of the results, the same in every row.

    Raises
    ------
    ValueError
        If the two extractions share samples.
    """
    found = estimate(*codes(fitted, applied, n_clusters, seed), n_permutations=n_permutations, n_bootstrap=n_bootstrap, seed=seed)
    told = {"source_a": "vision", "source_b": "language", "unimodal": "codes", "estimator": "exact", "layer": applied.layers[-1]}
    return pd.DataFrame(found.rows()).assign(n_codes=n_clusters, seed=seed, **told, **columns)


def codes(
    fitted: Extraction, applied: Extraction, n_clusters: int, seed: int = 0, *, allow_degenerate: bool = False
) -> tuple[Int[np.ndarray, " n"], ...]:
    """Codes of the pooled vision and language embeddings and of the answer-position state, by codebooks of other samples.

    A variable with fewer distinct values than codes has that many; for ``allow_degenerate`` see `quantise`.

    Raises
    ------
    ValueError
        If the two extractions share samples.
    """
    shared = set(fitted.sample_ids) & set(applied.sample_ids)
    if shared:
        raise ValueError(f"codebooks must come from other samples, but {len(shared)} are in both, {min(shared)} among them")
    variables = (lambda one: one.embeddings["vision"], lambda one: one.embeddings["language"], lambda one: one.hidden[:, -1])
    return tuple(quantise(of(fitted), of(applied), n_clusters, seed, allow_degenerate=allow_degenerate) for of in variables)


def quantise(
    fitted: Float[np.ndarray, "m d"], applied: Float[np.ndarray, "n d"], n_clusters: int, seed: int = 0, *, allow_degenerate: bool = False
) -> Int[np.ndarray, " n"]:
    """Codes by a codebook of other samples; fewer than asked, and then as they come, where there are fewer distinct vectors than clusters.

    Empty and collapsed clusters are refused unless that is so, or ``allow_degenerate``; see `Codebook`.
    """
    scale = np.abs(fitted).max()
    distinct = len(np.unique((fitted / scale).round(5), axis=0))
    few = {"allow_degenerate": allow_degenerate or distinct <= n_clusters}
    book = Codebook.fit(fitted, min(n_clusters, distinct), n_components=min(10, *fitted.shape), seed=seed, **few)
    return book.apply(applied, **few)


def _batch(decisions: Decisions, embeddings: dict[str, np.ndarray], n_batches: int, seed: int) -> pd.DataFrame:
    """Atoms and 95 % range over the batches, both clamped at zero as published."""
    found = batch_pid(decisions, embeddings=embeddings, n_batches=n_batches, seed=seed, **BATCH)
    ends = {atom: np.maximum(found.unclamped[atom] + np.array([-1.96, 1.96]) * spread, 0) for atom, spread in found.spread.items()}
    return pd.DataFrame(
        [{"atom": atom, "value_bits": value, "ci_low": ends[atom][0], "ci_high": ends[atom][1]} for atom, value in found.atoms.items()]
    )


def _embeddings(extraction: Extraction, unimodal: str) -> dict[str, np.ndarray]:
    """Pooled embeddings of each source, one row for each decision."""
    if unimodal == "masked":
        return dict(extraction.embeddings)
    return {name: extraction.embeddings[name][of] for name, of in zip(SOURCES, extraction.pairs.index.T, strict=True)}


def _floor(rows: pd.DataFrame, extraction: Extraction, tau: float, n: int, seed: int) -> pd.DataFrame:
    floor, converged = noise_floor(extraction, tau, n, seed)
    return rows.assign(null_mean=rows["atom"].map(floor), converged=rows["converged"] & converged)


def _against_deals(rows: pd.DataFrame, extraction: Extraction, tau: float, seed: int) -> pd.DataFrame:
    """Mean atoms where the answers are dealt out anew, and the share of deals, the real one counted in, that reach the value."""
    generator = np.random.default_rng(derive_seed(seed, "deals"))
    dealt = [decision_pid(extraction.resampled(tau, generator), tol=DEAL_TOLERANCE).pid for _ in range(DEALS)]
    nulls = pd.DataFrame([one.atoms for one in dealt]).drop(columns="synergy")
    values = rows.set_index("atom")["value_bits"]
    p = {atom: (1 + (nulls[atom] >= values[atom] - DEAL_TOLERANCE).sum()) / (1 + DEALS) for atom in nulls}
    converged = rows["converged"] & all(one.converged for one in dealt)
    return rows.assign(null_mean=rows["atom"].map(nulls.mean()), null_p=rows["atom"].map(p), converged=converged)
