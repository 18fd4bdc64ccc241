r"""Where in depth a model's answer is made: atoms block by block through the logit lens, and three stages put as statistics.

After block b of B the answer position is read as if the model ended there (final norm and head: the logit lens), at the relative depth
(b + 1) / B, and the masked decisions read so are decomposed like those of the whole model. Paper 1 sees three stages: up to 20 % of the
depth nothing is told of the answer (silent encoding), up to 80 % each modality alone tells more and more (unimodal accumulation), and
then synergy rises while what is unique to language falls (late fusion).
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Float

from pidlib import results, schemas
from pidlib.decisions import bootstrap_decisions, decision_pid
from pidlib.experiment import Preset, fingerprint
from pidlib.extraction import PASSES, Extraction
from pidlib.profiles import NOISE, noise_floor
from pidlib.runs import Asked, runs

SILENT, FUSING = 0.2, 0.8  # relative depths at which the published stages change
TOLERANCE = 1e-4  # bits
LEAST = 0.05  # bits below which a share of them says nothing


class Claim(NamedTuple):
    """What a stage predicts of a statistic: that it is above or below a bound, by more than a margin; ``early`` as in `placed`."""

    words: str
    above: bool
    bound: float = 0.0
    margin: float = 0.0
    early: bool = False


CLAIMS = {
    "silence": Claim("information at the end of silent encoding, as a share of the most at any depth", above=False, bound=0.1, early=True),
    "accumulation": Claim("rise of what either modality tells alone from the first stage to the last, bits", above=True, margin=0.05),
    "middle_share": Claim(
        "share of the most that either tells alone that arises between these stages", above=True, bound=FUSING - SILENT, early=True
    ),
    "late_share": Claim("share of the final synergy that arises in the last stage", above=True, bound=0.5),
    "synergy_slope": Claim("slope of synergy in the last stage, bits per unit of depth", above=True, margin=0.05),
    "language_slope": Claim("slope of what is unique to language in the last stage, likewise", above=False, margin=0.05),
}


def readings(blocks: int) -> tuple[int, int]:
    """The blocks that are read for the end of the first stage and of the second one.

    The last ones within 20 % and within 80 % of the depth; the first block where none is as early as that, which tells more than a
    fifth of the depth would.

    >>> readings(28), readings(4)
    ((4, 21), (0, 2))

    Raises
    ------
    ValueError
        For fewer than three blocks: there are no three stages to tell apart.
    """
    if blocks < 3:
        raise ValueError(f"{blocks} blocks have no three stages; ask a model of at least 3")
    return max(int(SILENT * blocks + 1e-9) - 1, 0), int(FUSING * blocks + 1e-9) - 1


def stages(curves: Mapping[str, Float[np.ndarray, "L *draws"]]) -> dict[str, Float[np.ndarray, " *draws"]]:
    r"""The statistics of `CLAIMS` for atoms at all L depths, in bits.

    With :math:`I = R + U_v + U_\ell + S`, the readings e and m of `readings`, and depth 1 at the last block: silence is
    :math:`I(e) / \max_d I(d)`; accumulation :math:`(I - S)(m) - (I - S)(e)`, and the middle share the same over :math:`\max_d (I - S)(d)`;
    the late share :math:`1 - S(m) / S(1)`; a share is missing where what it is of is below `LEAST`; a slope is the rise from m to 1,
    divided by the depth between. Thresholds and margins are ours: the published stages are told in words. Accumulation holds for any curve
    that grows between e and m; the middle share asks whether more grows there than its part of the depth, as in steady growth.

    >>> late = {"redundancy": [0, 0, 0, 0], "unique_vision": [0, 0.5, 1, 1], "unique_language": [0, 0.5, 1, 0.5], "synergy": [0, 0, 0.2, 1]}
    >>> {name: round(float(value), 2) for name, value in stages(late).items()}
    {'silence': 0.0, 'accumulation': 2.0, 'middle_share': 1.0, 'late_share': 0.8, 'synergy_slope': 3.2, 'language_slope': -2.0}
    """
    curves = {atom: np.asarray(values, float) for atom, values in curves.items()}
    synergy, language = curves["synergy"], curves["unique_language"]
    total = sum(curves.values())
    alone, most, end = total - synergy, total.max(0), synergy[-1]
    apart = alone.max(0)
    early, middle = readings(len(total))
    last_stage = 1 - (middle + 1) / len(total)
    return {
        "silence": np.where(most > 0, total[early] / np.where(most > 0, most, 1), np.nan),
        "accumulation": alone[middle] - alone[early],
        "middle_share": np.where(apart > LEAST, (alone[middle] - alone[early]) / np.where(apart > LEAST, apart, 1), np.nan),
        "late_share": np.where(end > LEAST, 1 - synergy[middle] / np.where(end > LEAST, end, 1), np.nan),
        "synergy_slope": (end - synergy[middle]) / last_stage,
        "language_slope": (language[-1] - language[middle]) / last_stage,
    }


def verdict(claim: Claim, low: float, high: float) -> str:
    """``holds`` or ``against``, where the whole interval is on one side of the claim's bound, beyond its margin; else ``open``.

    >>> verdict(CLAIMS["late_share"], 0.6, 0.9), verdict(CLAIMS["silence"], 0.05, 0.3), verdict(CLAIMS["silence"], np.nan, np.nan)
    ('holds', 'open', 'open')
    """
    above, below = low > claim.bound + claim.margin, high < claim.bound - claim.margin
    return "holds" if (above if claim.above else below) else "against" if (below if claim.above else above) else "open"


def depth_profile(
    extraction: Extraction, *, tau: float = 0.3, n_bootstrap: int = 100, seed: int = 0, **columns: object
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Atoms at every block, and the statistics of the three stages, a row each.

    Every block's draws take the same samples, so that a statistic across depths has an interval of its own.

    Parameters
    ----------
    extraction
        With every block, and the passes ``vision+language``, ``vision``, ``language`` and `NOISE`; the floor is that of
        `pidlib.profiles.noise_floor`.
    tau, n_bootstrap, seed
        Candidate mass below which a decision counts as uniform; draws of the intervals; where their randomness begins.
    columns
        More columns, the same in every row.

    Raises
    ------
    ValueError
        If a block is missing, or there are too few for stages.
    """
    blocks = len(extraction.layers)
    if extraction.layers != tuple(range(blocks)):
        raise ValueError(f"stages need every block from 0; this extraction holds {extraction.layers}: extract with layers=range(...)")
    readings(blocks)
    rows, values, draws, converged = [], [], [], []
    for layer in extraction.layers:
        decisions = extraction.masked(tau, layer)
        solved = decision_pid(decisions, tol=TOLERANCE)
        drawn = bootstrap_decisions(decisions, n_bootstrap, seed, solved=solved)
        ends, (floor, floored) = drawn.interval(solved.pid.atoms), noise_floor(extraction, tau, 6, seed, layer)
        converged.append(solved.pid.converged)
        for atom, value in solved.pid.atoms.items():
            lower, upper = solved.pid.bounds[atom]
            bounds = {"lower_bits": lower, "upper_bits": upper, "ci_low": ends[atom][0], "ci_high": ends[atom][1]}
            told = {"layer": layer, "atom": atom, "value_bits": value, "null_mean": floor[atom], "converged": converged[-1] and floored}
            rows.append(told | bounds)
        values.append(solved.pid.atoms)
        draws.append(drawn.atoms)
    found = stages({atom: [value[atom] for value in values] for atom in values[0]})
    spread = stages({atom: np.stack([draw[atom] for draw in draws]) for atom in values[0]})
    claims = placed(CLAIMS, weighed(CLAIMS, found, spread), blocks)
    shared = {"seed": seed, **columns}
    return (
        pd.DataFrame(rows).assign(source_a="vision", source_b="language", unimodal="masked", estimator="exact", **shared),
        claims.assign(converged=all(converged), **shared),
    )


def placed(claims: Mapping[str, Claim], tested: pd.DataFrame, blocks: int) -> pd.DataFrame:
    """Tested claims beside the relative depths that were read for the ends of the first stage and of the second.

    Where the first of them lies beyond `SILENT`, what was told by then may have come after the stage: of a claim that is ``early``,
    on what is told by its end or on what rises from there, ``against`` becomes ``open``.
    """
    early, middle = readings(blocks)
    if early + 1 > SILENT * blocks:
        late_read = tested["statistic"].map(lambda name: claims[name].early)
        tested = tested.assign(verdict=tested["verdict"].mask(late_read & (tested["verdict"] == "against"), "open"))
    return tested.assign(early_depth=(early + 1) / blocks, late_depth=(middle + 1) / blocks)


def weighed(
    claims: Mapping[str, Claim], found: Mapping[str, Float[np.ndarray, ""]], spread: Mapping[str, Float[np.ndarray, " draws"]]
) -> pd.DataFrame:
    """Statistics by name with their intervals, moved as those of the atoms are, and what they say of the claims; a row each."""
    rows = []
    for name, claim in claims.items():
        value, draws = float(found[name]), spread[name][np.isfinite(spread[name])]
        known = np.isfinite(value) and len(draws) > 0
        low, high = np.quantile(draws, [0.025, 0.975]) - draws.mean() + value if known else (np.nan, np.nan)
        rows.append({"statistic": name, "value": value, "ci_low": low, "ci_high": high, "verdict": verdict(claim, low, high)})
    return pd.DataFrame(rows)


def asked(preset: Preset) -> tuple[Asked]:
    """For atoms by depth: as for the profiles of decisions, read after every block, without partners."""
    return (Asked(preset.split, preset.n_samples, preset.seed, (*PASSES, *NOISE), layers=None),)


def depth_tables(preset: Preset, experiment: str = "vision_language") -> tuple[pd.DataFrame, pd.DataFrame]:
    """Atoms by depth and tested stages of the exemplars on all benchmarks, as rows of the results and of ``table_layers``."""
    made = {name: getattr(preset, name) for name in ("tau", "n_bootstrap", "seed")}
    atoms, stated = [], []
    for (run,) in runs(preset, asked(preset)):
        mark = fingerprint(extraction=run.columns["fingerprint"], analysis="depth", **made)
        profile, claims = depth_profile(run.extraction, **made, **run.columns | {"experiment": experiment, "fingerprint": mark})
        atoms.append(profile)
        stated.append(claims)
    schema = schemas.SCHEMAS["table_layers"]
    return results.tidy(pd.concat(atoms, ignore_index=True)), results.tidy(pd.concat(stated, ignore_index=True), schema)
