r"""When in depth a model sees, hears and fuses, and whether the question is a gate: Sensory atoms by block, and two claims as statistics.

Paper 1 says of models that see and hear: vision saturates, U_vision rises steeply in the middle layers before S_av can form; and the
instruction is a gate: a paraphrase that needs no fusion lowers S_av in the late layers, while the unimodal trajectories of the early and
middle ones stay. Readings and stages are those of `pidlib.depth`. The bounds of the claims are ours: the published ones are told in words.

That synergy is lower at the output follows from right answers to both questions (the ideal answerer has .5 bits and none); that it is
not so before is the claim. With one reading in the last stage, as of 3 to 5 blocks, late is at the output.

Whether the gate is closed is told by answers (`heeded`): in half of the pairs the question without need for fusion names the silent thing.
"""

from collections.abc import Mapping, Sequence
from functools import partial

import numpy as np
import pandas as pd
from jaxtyping import Float

from pidlib import results, schemas, sensory, sensory_tables
from pidlib.benchmarks import Sample, micro_av
from pidlib.depth import LEAST, Claim, placed, readings, weighed
from pidlib.experiment import Preset, fingerprint
from pidlib.extraction import Extraction
from pidlib.runs import Asked, Run, runs
from pidlib.sensory_tables import Measured, measure

FUSION = "micro_av/fusion"  # the subset whose questions need both senses
NEEDS = {"both": 0, "vision": 1}  # what the questions of a pair need, and their places in it
SATURATION = {
    "vision_lead": Claim("depth at half of the most synergy, minus that at half of the most U_vision", above=True, margin=0.05),
    "vision_middle": Claim(
        "share of the most U_vision that arises in the middle stage, minus that of the depth", above=True, margin=0.05, early=True
    ),
    "vision_levels_off": Claim(
        "slope of U_vision in the middle stage minus that in the last, bits per depth", above=True, margin=0.05, early=True
    ),
    "synergy_late": Claim("share of the final synergy that arises in the last stage", above=True, bound=0.5),
}
GATE = {
    "late_synergy": Claim("synergy in the last stage: without need for fusion minus with it, bits", above=False, margin=0.05),
    "later_than_before": Claim("the same, minus what it is up to the middle stage", above=False, margin=0.05),
    "vision_parts": Claim("how far U_vision parts up to the middle stage, mean distance in bits", above=False, bound=0.1),
    "audio_parts": Claim("how far U_audio parts up to the middle stage, likewise", above=False, bound=0.1),
}
FOLLOWS = ("late_synergy",)  # no claim that could fail: a consequence of right answers to both questions, and told as such


def half_depth(curve: Float[np.ndarray, "L *draws"]) -> Float[np.ndarray, " *draws"]:
    """The relative depth at which a curve first reaches half of its most, on straight lines between blocks and from 0 at depth 0.

    Missing where its most is below `LEAST`.

    >>> half_depth(np.array([0, 0, 1.0, 1.0])), half_depth(np.array([1.0, 1.0])), half_depth(np.zeros(3))
    (array(0.625), array(0.25), array(nan))
    """
    curve = np.concatenate([np.zeros_like(curve[:1]), curve])
    most = curve.max(0)
    after = np.maximum((2 * curve >= most).argmax(0), 1)
    low, high = (np.take_along_axis(curve, place[None], 0)[0] for place in (after - 1, after))
    part = (most / 2 - low) / np.where(high > low, high - low, 1)
    return np.where(most >= LEAST, (after - 1 + part) / (len(curve) - 1), np.nan)


def saturation(curves: Mapping[str, Float[np.ndarray, "L *draws"]]) -> dict[str, Float[np.ndarray, " *draws"]]:
    r"""The statistics of `SATURATION` for atoms at all L depths, in bits.

    With the readings e and m at the ends of the first and the middle stage: :math:`h(S) - h(U_v)` by `half_depth`;
    :math:`(U_v(m) - U_v(e)) / \max_d U_v(d)` minus the share of the depth between, as steady growth would
    give; the slope of :math:`U_v` from e to m minus that from m to 1; :math:`1 - S(m)/S(1)`. A share of less than `LEAST` is missing.

    >>> rise = {"unique_vision": [0.1, 0.5, 0.9, 1.0, 1.0], "synergy": [0, 0, 0, 0.1, 0.5]}
    >>> {name: round(float(value), 2) for name, value in saturation(rise).items()}
    {'vision_lead': 0.47, 'vision_middle': 0.3, 'vision_levels_off': 1.5, 'synergy_late': 0.8}
    """
    vision, synergy = (np.asarray(curves[atom], float) for atom in ("unique_vision", "synergy"))
    blocks = len(vision)
    early, middle = readings(blocks)
    rise, most, end = vision[middle] - vision[early], vision.max(0), synergy[-1]
    late_slope = (vision[-1] - vision[middle]) / (blocks - 1 - middle)
    return {
        "vision_lead": half_depth(synergy) - half_depth(vision),
        "vision_middle": _share(rise, most) - (middle - early) / blocks,
        "vision_levels_off": blocks * (rise / (middle - early) - late_slope),
        "synergy_late": _share(end - synergy[middle], end),
    }


def gate(
    fused: Mapping[str, Float[np.ndarray, "L *draws"]], plain: Mapping[str, Float[np.ndarray, "L *draws"]]
) -> dict[str, Float[np.ndarray, " *draws"]]:
    r"""The statistics of `GATE` for atoms at all L depths of the same clips, asked with need for fusion and without.

    With :math:`\Delta = \text{plain} - \text{fused}`: the mean of :math:`\Delta S` over the readings of the last stage; the same minus its
    mean up to the middle stage; and the mean of :math:`|\Delta U|` up to the middle stage, of either sense.

    >>> fused = {"unique_vision": [0, 0.4, 0.5, 0.5], "unique_audio": [0, 0, 0, 0], "synergy": [0, 0, 0.1, 0.5]}
    >>> plain = {"unique_vision": [0, 0.4, 0.6, 1.0], "unique_audio": [0, 0, 0, 0], "synergy": [0, 0, 0, 0]}
    >>> {name: round(float(value), 2) for name, value in gate(fused, plain).items()}
    {'late_synergy': -0.5, 'later_than_before': -0.47, 'vision_parts': 0.03, 'audio_parts': 0.0}
    """
    apart = {atom: np.subtract(plain[atom], fused[atom]) for atom in ("unique_vision", "unique_audio", "synergy")}
    _, middle = readings(len(apart["synergy"]))
    before, late = np.split(apart["synergy"], [middle + 1])
    parts = {f"{name}_parts": np.abs(apart[f"unique_{name}"][: middle + 1]).mean(0) for name in ("vision", "audio")}
    return {"late_synergy": late.mean(0), "later_than_before": late.mean(0) - before.mean(0)} | parts


def _share(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    return np.where(whole >= LEAST, part / np.where(whole >= LEAST, whole, 1), np.nan)


def measured(extraction: Extraction, tau: float = 0.3, n_bootstrap: int = 100, seed: int = 0, layer: int | None = None) -> Measured:
    """Sensory atoms given the template, with bounds, intervals and a draw of the noise floor; of a ``layer`` as the logit lens reads it.

    The truth of every template of the generated clips is the same given the template as given the question
    (`pidlib.sensory_tables.truth`), and there are more samples that share it.

    Of equal seed and samples, the draws take the same samples: at every layer, and of two extractions whose templates are as frequent.
    """
    found = measure(sensory.conditions(extraction, "template", tau=tau, layer=layer), n_bootstrap=n_bootstrap, seed=seed, floor=1)
    rows = found.rows.query("atom != 'total'").filter(list(schemas.ATOMS.columns))
    return found._replace(rows=rows.assign(layer=layer))


def trajectory(extraction: Extraction, **made: float) -> Measured:
    """`measured` at every block, in the order of depth: values and draws are arrays [L] and [L, n].

    Raises
    ------
    ValueError
        If a block is missing.
    """
    if extraction.layers != tuple(range(len(extraction.layers))):
        raise ValueError(f"a trajectory needs every block from 0; there are {extraction.layers}: extract with layers=range(...)")
    blocks = [measured(extraction, layer=layer, **made) for layer in extraction.layers]
    atoms = {atom: np.array([one.atoms[atom] for one in blocks]) for atom in blocks[0].atoms}
    draws = {atom: np.stack([one.draws[atom] for one in blocks]) for atom in atoms}
    return Measured(pd.concat([one.rows for one in blocks], ignore_index=True), atoms, draws)


def asked(preset: Preset) -> tuple[Asked, ...]:
    """Of each model that sees and hears: its Sensory atoms at every block, on `FUSION` and on pairs with and without need for it."""
    (one,) = sensory_tables.asked(preset)
    pairs = (partial(paired, place=place, seed=preset.seed) for place in NEEDS.values())
    return (one, *(one._replace(n_samples=preset.n_omni_intervened, change=change) for change in pairs))


def paired(samples: Sequence[Sample], place: int, seed: int = 0) -> list[Sample]:
    """In place of as many samples, the first (0) or the second (1) questions of the pairs of `micro_av.load_pairs`."""
    return [pair[place] for pair in micro_av.load_pairs(samples[0].split, len(samples), seed)]


def heeded(extraction: Extraction) -> dict[str, float]:
    """The share of right answers, over all and where the second question of a pair names the sounding or the silent thing.

    One who heeds the sound although it is not asked for is right on all of the former and on half of the latter: those where both things
    move the same way. For other samples, the first alone.
    """
    best = np.array(extraction.candidates)[extraction.logits[extraction.full].argmax(1)]
    right = pd.Series(best == np.array(extraction.answers), index=extraction.sample_ids)
    named = {f"accuracy_{one}": right[right.index.str.endswith(f"_{one}")] for one in micro_av.NAMED}
    return {"accuracy": right.mean()} | {name: some.mean() for name, some in named.items() if len(some)}


def depth_tables(preset: Preset) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Sensory atoms by depth on `FUSION`, and `SATURATION` tested: rows of the results and of ``table_layers``."""
    tables, stated = [], []
    for (run,) in runs(preset, asked(preset)[:1], [FUSION], models=preset.omni_models):
        found, told = _trajectory(preset, run)
        tables.append(found.rows.assign(**told))
        stated.append(_stated(SATURATION, saturation(found.atoms), saturation(found.draws), found, told))
    return results.tidy(pd.concat(tables, ignore_index=True)), _tested(stated)


def gate_tables(preset: Preset) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Sensory atoms by depth of pairs of questions, and `GATE` tested: rows of ``fig_gate`` and of ``table_gate``.

    Accuracies, as of `heeded`, are those of the question the rows are of. In ``table_gate`` the verdict on what only `FOLLOWS` is
    ``follows``.
    """
    tables, stated = [], []
    for pair in runs(preset, asked(preset)[1:], [FUSION], models=preset.omni_models):
        (both, told), (sight, about) = (_trajectory(preset, run) for run in pair)
        for needs, run, rows, origin in zip(NEEDS, pair, (both.rows, sight.rows), (told, about), strict=True):
            tables.append(rows.assign(needs=needs, **heeded(run.extraction), **origin))
        told["fingerprint"] = fingerprint(of=[told["fingerprint"], about["fingerprint"]])
        stated.append(_stated(GATE, gate(both.atoms, sight.atoms), gate(both.draws, sight.draws), both, told))
    tested = _tested(stated)
    tested.loc[tested["statistic"].isin(FOLLOWS), "verdict"] = "follows"
    return results.tidy(pd.concat(tables, ignore_index=True), schemas.SCHEMAS["fig_gate"]), tested


def _trajectory(preset: Preset, run: Run) -> tuple[Measured, dict[str, object]]:
    """The trajectory of a run, and the columns that say where it is from."""
    made = {name: getattr(preset, name) for name in ("tau", "n_bootstrap", "seed")}
    mark = fingerprint(extraction=run.columns["fingerprint"], analysis="trajectory", **made)
    return trajectory(run.extraction, **made), run.columns | {"experiment": "omni", "fingerprint": mark}


def _stated(claims: Mapping[str, Claim], found: Mapping, spread: Mapping, of: Measured, told: Mapping[str, object]) -> pd.DataFrame:
    shared = {"seed": of.rows["seed"].iloc[0], "converged": of.rows["converged"].all(), **told}
    return placed(claims, weighed(claims, found, spread), len(of.atoms["synergy"])).assign(**shared)


def _tested(stated: Sequence[pd.DataFrame]) -> pd.DataFrame:
    return results.tidy(pd.concat(stated, ignore_index=True), schemas.SCHEMAS["table_gate"])
