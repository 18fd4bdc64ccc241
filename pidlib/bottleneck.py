r"""Does training on sight hold synergy of sight and sound down? One mini trained over and over with one thing varied, and softer sound.

Paper 1 finds much that is unique to vision and little synergy, and calls vision the bottleneck. Here the ceiling is known, the ideal
answerer's (`pidlib.benchmarks.micro_av.sensory_truth`), and what a mini is trained on is varied: of the questions of one sense, the share
that is about sound, where a question about sound takes the place of one about sight and all else is equal. If learning to see is in the
way, U_vision falls with that share and synergy rises. Every share is trained from several seeds, so that the effect has an interval over
trainings. Where all minis answer everything right a loss is hard to see: so a subset, all synergy, that not all have mastered stands beside
`FUSION`; and a share may do best in the middle, which no line shows: so the middle is held against the rest too. With minis and clips as
they are, the sound is softened before its noise floor: if it is too weak, synergy rises with loudness.
"""

from collections.abc import Iterator, Mapping, Sequence
from functools import partial

import numpy as np
import pandas as pd
from scipy import stats

from pidlib import results, schemas, sensory_tables
from pidlib.benchmarks import micro_av
from pidlib.experiment import Preset, fingerprint, unknown
from pidlib.gating import FUSION, measured
from pidlib.models.recipes import RECIPES
from pidlib.runs import Asked, Run, runs
from pidlib.sensory_tables import Measured

SUBSETS = (FUSION, "micro_av/polarity")
GAINS = (0.0, 0.1, 0.3)  # of the soundtrack: only noise, -20 and about -10 dB; 1 is the soundtrack as it is
AUDIBLE = 0.3  # from here to 1 there is more loudness and, for an ideal ear, no more information
ATOMS = ("synergy", "unique_vision", "unique_audio", "redundancy")


def asked(preset: Preset) -> tuple[Asked]:
    """Of every mini: what its Sensory atoms need."""
    return tuple(one._replace(n_samples=preset.n_omni_intervened, layers=()) for one in sensory_tables.asked(preset))


def softer(preset: Preset) -> tuple[Asked, ...]:
    """Of the minis in the `middle`: the same with softer sound, then with the sound as it is."""
    (one,) = asked(preset)
    return (*(one._replace(change=partial(micro_av.attenuated, gain=gain)) for gain in GAINS), one)


def audio_share(model: str) -> float:
    """Of the questions of the subsets audio and visual in a mini's training, the share that is about sound.

    Raises
    ------
    ValueError
        For a model that is no mini which was asked about sound.

    >>> audio_share("qwen2_5_omni_compact_audio1of8_seed2")
    0.125
    """
    heard = {name: recipe.mixture for name, recipe in RECIPES.items() if "micro_av/audio" in recipe.mixture}
    if model not in heard:
        raise ValueError(unknown("mini that hears", model, heard))
    audio, visual = (heard[model][f"micro_av/{sense}"] for sense in ("audio", "visual"))
    return audio / (audio + visual)


def middle(models: Sequence[str]) -> list[str]:
    """Those whose `audio_share` is the one in the middle.

    >>> middle([f"qwen2_5_omni_compact_audio{eighths}of8_seed0" for eighths in (7, 1, 4)])
    ['qwen2_5_omni_compact_audio4of8_seed0']
    """
    shares = [audio_share(name) for name in models]
    usual = sorted(shares)[len(shares) // 2]
    return [name for name, share in zip(models, shares, strict=True) if share == usual]


def truth(templates: Mapping[str, int]) -> dict[str, float]:
    """Atoms of the ideal answerer in bits, in the mean over templates that occur so often."""
    ideal = {name: micro_av.sensory_truth(name).atoms for name in templates}
    count = sum(templates.values())
    return {atom: sum(ideal[name][atom] * times for name, times in templates.items()) / count for atom in next(iter(ideal.values()))}


def effect(shares: Sequence[float], bits: Sequence[float], seeds: Sequence[int]) -> dict[str, float]:
    r"""How an atom changes from the least share to the most, in bits, on lines of one slope through n trainings from m seeds.

    One seed stands for the same initial weights, clips and order at every share, so that each has a level of its own: with x and y less
    their means within it, the least-squares slope b gives :math:`b\,\Delta x`, :math:`\Delta x = x_{\max} - x_{\min}`; its 95 % interval,
    :math:`\pm t_{.975,\,n-m-1}\,\mathrm{se}(b)\,\Delta x`; and p of no slope, two-sided. The interval is over trainings, all on the
    same questions; without degrees of freedom there is none. Between shares 0 and 1 it is the difference of two means.

    >>> {name: round(float(value), 3) for name, value in effect([0, 0, 1, 1], [0.1, 0.3, 0.3, 0.4], [0, 1, 0, 1]).items()}
    {'value_bits': 0.15, 'ci_low': -0.485, 'ci_high': 0.785, 'null_p': 0.205, 'dof': 1.0}
    """
    rows = pd.DataFrame({"x": np.asarray(shares, float), "y": np.asarray(bits, float)})
    blocks = rows.groupby(np.asarray(seeds, int))
    x, y = (rows - blocks.transform("mean")).to_numpy().T
    span, dof = np.ptp(rows["x"]), len(x) - blocks.ngroups - 1
    slope = x @ y / (x @ x) if x.any() else np.nan
    half = p = np.nan
    if dof > 0 and x.any():
        error = np.sqrt(((y - slope * x) ** 2).sum() / dof / (x @ x))
        half = stats.t.ppf(0.975, dof) * error * span
        p = 2 * stats.t.sf(abs(slope) / error, dof) if error else float(slope == 0)
    return {"value_bits": slope * span, "ci_low": slope * span - half, "ci_high": slope * span + half, "null_p": p, "dof": dof}


def bottleneck_table(preset: Preset) -> pd.DataFrame:
    """Atoms beside their ceiling by training, on `SUBSETS`, and by loudness, on `FUSION`, and the effects of both: ``fig_bottleneck``.

    Kind ``training``: a mini, with an interval over questions. ``effect``: of the share, with one over trainings (`effect`); ``bend``: the
    mean of the minis in the `middle` minus that of the rest, likewise.
    ``salience``: a mini in the middle at a gain; ``change``: how it differs in bits between the gain `AUDIBLE` and 1, with an interval
    of differences over the same questions.
    """
    models = preset.bottleneck_models
    usual = middle(models)  # no model without a share passes
    rows = [
        found.rows.assign(kind="training", **told)
        for (run,) in runs(preset, asked(preset), SUBSETS, models=models)
        for told, found in [_measured(preset, run, 1.0)]
    ]
    rows += [pd.DataFrame(_effects(some)) for _, some in pd.concat(rows).groupby("benchmark", sort=False)]
    for several in runs(preset, softer(preset), [FUSION], models=usual):
        heard = {gain: _measured(preset, run, gain) for gain, run in zip((*GAINS, 1.0), several, strict=True)}
        rows += [found.rows.assign(kind="salience", **told) for told, found in heard.values()]
        rows.append(pd.DataFrame(_changes(heard[AUDIBLE], heard[1.0])))
    table = pd.concat(rows, ignore_index=True).assign(experiment="omni", seed=preset.seed)
    return results.tidy(table, schemas.SCHEMAS["fig_bottleneck"])


def _measured(preset: Preset, run: Run, gain: float) -> tuple[dict[str, object], Measured]:
    made = {name: getattr(preset, name) for name in ("tau", "n_bootstrap", "seed")}
    mark = fingerprint(extraction=run.columns["fingerprint"], analysis="bottleneck", **made)
    model, extraction = run.columns["model"], run.extraction
    told = run.columns | {"gain": gain, "audio_share": audio_share(model), "trained_seed": RECIPES[model].seed, "fingerprint": mark}
    found = measured(extraction, **made)
    ceiling = truth(dict(zip(*np.unique(extraction.templates, return_counts=True), strict=True)))
    return told, found._replace(rows=found.rows.assign(truth_bits=found.rows["atom"].map(ceiling), accuracy=extraction.accuracy()))


def _effects(trained: pd.DataFrame) -> Iterator[dict[str, object]]:
    """Of every atom of a subset, if the minis differ in their share; the bend, if there are shares on both sides of the middle."""
    told = trained[["benchmark", "split", "n_samples", "source_a", "source_b", "given", "unimodal", "estimator"]].iloc[0].to_dict()
    told |= {"fingerprint": fingerprint(of=sorted(trained["fingerprint"].unique())), "converged": trained["converged"].all()}
    usual = trained["model"].isin(middle(list(trained["model"].unique())))
    places = {"effect": trained["audio_share"], "bend": usual.astype(float)}
    count = trained["audio_share"].nunique()
    for atom in ATOMS if count > 1 else ():
        own = trained["atom"] == atom
        for kind in list(places)[: 1 + (count > 2)]:
            found = effect(places[kind][own], trained.loc[own, "value_bits"], trained.loc[own, "trained_seed"])
            yield told | found | {"kind": kind, "atom": atom}


def _changes(before: tuple[dict, Measured], after: tuple[dict, Measured]) -> Iterator[dict[str, object]]:
    """From one to the other, whose draws are of the same samples."""
    told = before[0] | {"kind": "change", "fingerprint": fingerprint(of=[before[0]["fingerprint"], after[0]["fingerprint"]])}
    told["converged"] = all(one.rows["converged"].all() for _, one in (before, after))
    for atom in ATOMS:
        value = after[1].atoms[atom] - before[1].atoms[atom]
        draws = after[1].draws[atom] - before[1].draws[atom]
        low, high = np.quantile(draws, [0.025, 0.975]) - draws.mean() + value
        yield told | {"atom": atom, "value_bits": value, "ci_low": low, "ci_high": high, "estimator": "exact", "unimodal": "masked"}
