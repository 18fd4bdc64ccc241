"""Measure the atoms of decisions: sampling errors, nulls, and diagnostics."""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Float
from scipy.special import entr

from pidlib import sensory
from pidlib._common import derive_seed, unknown_name
from pidlib.decomposition.decisions import DecisionPID, Decisions, decision_pid, pid_together
from pidlib.decomposition.resampling import N_HALVES, extrapolate, solve_halves
from pidlib.extraction import Extraction
from pidlib.extraction.masking import FULL, SOURCES
from pidlib.sensory import SensoryPID

N_PERMUTATIONS, PERMUTATION_TOLERANCE = 19, 1e-3  # the least p-value is .05; bits
MODES = ("masked", "resampled", "observational")


class Measured(NamedTuple):
    """Atoms as rows of a table, and by name in bits: their draws [n] and values."""

    rows: pd.DataFrame
    draws: Mapping[str, Float[np.ndarray, " n"]]
    atoms: Mapping[str, float]
    solved: DecisionPID | SensoryPID | None = None
    zero_p: Mapping[str, float] | None = None  # of halves, that an atom is zero


def measure_decisions(
    decisions: Decisions, n_halves: int = N_HALVES, seed: int = 0, device: "Device" = None
) -> Measured:
    """Atoms of decisions with solver bounds; corrected for finite n, with 95 % intervals."""
    result = decision_pid(decisions, device=device)
    halves = solve_halves(decisions, result, n_halves, seed, device=device)
    corrected = extrapolate(halves, tuple(decisions.sources))
    rows = atom_rows(result, corrected.interval)
    rows["corrected_bits"] = rows["atom"].map(corrected.atoms)
    rows["converged"] &= halves.converged
    return Measured(rows, corrected.draws, corrected.atoms, result, corrected.p)


def atom_rows(
    result: DecisionPID | SensoryPID, intervals: Mapping[str, tuple[float, float]]
) -> pd.DataFrame:
    """A row per atom: value, bounds of the solver and interval, in bits."""
    bounds = result.pid.bounds
    rows = [(name, v, *bounds[name], *intervals[name]) for name, v in result.pid.atoms.items()]
    columns = ["atom", "value_bits", "lower_bits", "upper_bits", "ci_low", "ci_high"]
    return pd.DataFrame(rows, columns=columns).assign(converged=result.pid.converged)


def measure_mode(
    extraction: Extraction,
    mode: str,
    tau: float = 0.3,
    n_halves: int = N_HALVES,
    seed: int = 0,
    device: "Device" = None,
) -> Measured:
    """Atoms of a model's decisions in one of the `MODES`, corrected for finite n, with a null.

    The null permutes the answers from one modality `N_PERMUTATIONS` times, those of masked passes
    among samples and draws of noise, those of resampled pairs among pairs, see `permutation_test`.
    A unique atom must also exceed zero by the spread of halves, since permutations do not test it
    where both sources tell the same (there p <= .05 in .06 of samples, at most .12). Decisions
    that are observational are predictions for other samples, whose information is 0 where nothing
    is predicted, and have no null; so have masked answers to one draw of noise for inputs that all
    differ. `tau` is as in `profile`. ValueError for a mode that is unknown or was not extracted.
    """
    if mode not in MODES:
        raise ValueError(unknown_name("mode", mode, MODES))
    decide = getattr(extraction, mode)
    options = {"seed": seed} if mode == "observational" else {}
    measured = measure_decisions(decide(tau, **options), n_halves, seed, device)
    columns = {"source_a": "vision", "source_b": "language", "unimodal": mode}
    rows = measured.rows.assign(**columns, null_mean=np.nan, null_p=np.nan)
    if mode != "observational":
        lower = rows.set_index("atom")["lower_bits"]  # a gap of the solver is no evidence

        def draw(source: str, generator: np.random.Generator) -> list[Decisions]:
            return [decide(tau, permute=source, generator=generator)]

        sources = [name for name in SOURCES if mode != "masked" or extraction.repeats(name)]
        null = permutation_test(draw, lower, sources, seed, measured.zero_p, device=device)
        rows["null_mean"], rows["null_p"] = rows["atom"].map(null.mean), rows["atom"].map(null.p)
        rows["converged"] &= null.converged
    return measured._replace(rows=rows)


class Null(NamedTuple):
    """Of permuted answers, by tested atom: mean in bits, p-value; whether all were solved."""

    mean: Mapping[str, float]
    p: Mapping[str, float]
    converged: bool


def permutation_test(
    draw: Callable[[str, np.random.Generator], Sequence[Decisions]],
    lower: pd.Series,
    sources: Sequence[str],
    seed: int,
    zero_p: Mapping[str, float] | None = None,
    n: int = N_PERMUTATIONS,
    device: "Device" = None,
) -> Null:
    """Compare measured atoms with those of permuted answers, one source at a time.

    Without information in a source, its unique atom and redundancy are zero: so the null of a
    unique atom permutes that source, and redundancy must exceed the nulls of both (the larger mean
    and p-value). Synergy has none. `zero_p` raises the p-values of unique atoms. `draw` returns the
    decisions of each condition, with answers of a source permuted by a generator; atoms are means
    over conditions, weighted by rows. `lower` are lower bounds of the measured atoms. Atoms of a
    source that is not in `sources` are missing.
    """
    means, p_values, converged = {"redundancy": []}, {"redundancy": []}, True
    for source in sources:
        generator = np.random.default_rng(derive_seed(seed, "permutations", source))
        parts = [draw(source, generator) for _ in range(n)]
        together = [(part, part.weights[None]) for drawn in parts for part in drawn]
        solved = pid_together(together, PERMUTATION_TOLERANCE, device)
        shares = np.array([len(part) for part in parts[0]], dtype=float)
        for atom in ("redundancy", f"unique_{source}"):
            draws = solved.atoms[atom].reshape(n, -1) @ (shares / shares.sum())
            reached = (draws >= lower[atom] - PERMUTATION_TOLERANCE).sum()
            means.setdefault(atom, []).append(draws.mean())
            p_values.setdefault(atom, []).append((1 + reached) / (1 + n))
        converged &= bool(solved.converged.all())
    for atom in set(p_values) & set(zero_p or ()) - {"redundancy"}:
        p_values[atom].append(zero_p[atom])
    if len(sources) < 2:
        del means["redundancy"], p_values["redundancy"]
    greatest = ({atom: max(values) for atom, values in each.items()} for each in (means, p_values))
    return Null(*greatest, converged)


def diagnose(
    extraction: Extraction, tau: float = 0.3, solved: DecisionPID | SensoryPID | None = None
) -> dict[str, float]:
    """Diagnostics of all inputs (without suffix), of each source alone, and of clips' text.

    ``accuracy``; mean ``entropy..._bits`` of the decisions; ``fallback``, the share of decisions
    replaced by the uniform one. Of each source, masked: ``spread``, the mean total variation of a
    draw of noise from the mean of all; ``moved``, that by which reconciliation changed the answers;
    and I(Y; source) in bits: ``answered``, if every answer was a value of the source (of pictures
    and questions only), ``averaged`` over draws and equal inputs, and ``reconciled``; given the
    text for clips. `solved` is the masked decomposition, if known.
    """
    passes = sensory.PASSES
    pictures = passes["joint"] not in extraction.logits
    if pictures:
        passes = {"joint": FULL} | {name: name for name in SOURCES}
        solved = solved or decision_pid(extraction.masked(tau), tol=0.1)
    values = {}
    for role, key in passes.items():
        suffix = "" if role == "joint" else f"_{role}"
        entropy = entr(extraction.decisions(key, tau)).sum(1).mean() / np.log(2)
        values[f"accuracy{suffix}"] = extraction.accuracy(key)
        values[f"entropy{suffix}_bits"] = float(entropy)
        values[f"fallback{suffix}"] = extraction.fallback(key, tau)
    for name in solved.reconciliation if solved else ():
        values[f"spread_{name}"] = extraction.spread(passes[name], tau)
        values[f"moved_{name}"] = solved.reconciliation[name]
        if pictures:
            values[f"answered_{name}_bits"] = extraction.information(passes[name], tau)
        values[f"averaged_{name}_bits"] = solved.given[name]
        values[f"reconciled_{name}_bits"] = solved.pid.informations[name]
    return values
