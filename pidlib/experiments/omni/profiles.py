"""Sensory profiles of models, of their answers and after every block, as rows of tables."""

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float
from matplotlib.transforms import ScaledTranslation
from scipy.special import rel_entr

from pidlib import sensory
from pidlib._common import derive_seed
from pidlib.decomposition.decisions import Decisions
from pidlib.decomposition.resampling import bootstrap_decisions, percentile_intervals
from pidlib.experiments import Extracted, Preset, Query, extract_all, stages, style
from pidlib.experiments.tables import ATOMS, declare, diagnostics, masked_diagnostics
from pidlib.experiments.words import number
from pidlib.extraction import Extraction, drawn
from pidlib.profiles.clips import sensory_profile
from pidlib.profiles.modes import Measured, atom_rows
from pidlib.profiles.report import LIMITS
from pidlib.sensory import Group, SensoryPID

Groups = Sequence[Group]
MOST_MOVED = LIMITS["moved"][0]  # total variation
UNREAD = "not read"  # the verdict on what should not be read
FUSION = "micro_av/fusion"  # the subset whose questions need vision and audio
TRAINED_WITH_NOISE = "a stream is masked by noise, which all minis but plain met in training"
LEGEND = "null (none for $S$): answers permuted", "95 % interval, bootstrap over clips"
TRUTH = {"color": style.OTHERS[0], "linewidth": 1.4}
_SHARES = *diagnostics("", "_vision", "_audio", "_text"), *masked_diagnostics("vision", "audio")
_COUNTS = "n_per_condition n_conditions n_alone"
COLUMNS = declare("source grade template reference", ATOMS, *_SHARES, _COUNTS)


def query(preset: Preset) -> Query:
    """The passes of Sensory PID, read after every block."""
    passes = drawn(tuple(sensory.PASSES.values()), preset.draws)
    return Query(preset.split, preset.n_omni, preset.seed, passes, layers=None)


def template_profile(
    extraction: Extraction, tau: float, n_bootstrap: int, seed: int, layer: int | None = None
) -> Measured:
    """Sensory atoms given the template, with bootstrap draws and the mean of a small null.

    For generated clips its truth is that given the question. Equal seeds draw the same samples.
    """
    groups = sensory.split_by(extraction, "template", tau=tau, layer=layer)
    decisions = [group.decisions for group in groups]
    result = sensory.decompose(decisions)
    draws = bootstrap(result, decisions, n_bootstrap, seed)
    rows = atom_rows(result, percentile_intervals(draws, result.pid.atoms))
    rows = stages.with_null(rows, partial(sensory.permuted, groups), sensory.averaged(groups), seed)
    fixed = {"source_a": "vision", "source_b": "audio", "unimodal": "masked", "estimator": "exact"}
    fixed |= {"given": "template", "layer": layer, "seed": seed}
    return Measured(rows.assign(**fixed), draws, result.pid.atoms, result)


def trajectory(extraction: Extraction, **settings: float) -> Measured:
    """`template_profile` of every block, see `stages.trajectory`."""
    measure = partial(template_profile, extraction, **settings)
    return stages.trajectory(extraction.layers, lambda layer: measure(layer=layer))


def measure_trajectory(preset: Preset, answer: Extracted) -> tuple[Measured, dict[str, object]]:
    """The trajectory of an extraction, and the columns that identify it."""
    settings = preset.model_dump(include={"tau", "n_bootstrap", "seed"})
    columns = answer.row_columns("omni", analysis="trajectory", given="template", **settings)
    return trajectory(answer.extraction, **settings), columns | {"seed": preset.seed}


def fits(extraction: Extraction, tau: float) -> bool:
    """Whether masked answers given the template are moved by at most `MOST_MOVED` in the mean."""
    groups = sensory.split_by(extraction, "template", tau=tau)
    solved = sensory.decompose([group.decisions for group in groups], tol=0.1)
    return max(solved.reconciliation[name] for name in ("vision", "audio")) <= MOST_MOVED


def fitting(preset: Preset, module: ModuleType) -> pd.Series:
    """By benchmark and model, whether the first answers that a module asks for are `fits`."""
    (request,), read = module.requests(preset), {}
    for (extraction, columns), *_ in extract_all(preset, request):
        read[columns["benchmark"], columns["model"]] = fits(extraction, preset.tau)
    return pd.Series(read, dtype=bool).rename_axis(["benchmark", "model"])


def readable(rows: pd.DataFrame, *keys: str) -> pd.Series:
    """By keys, whether masked answers are known to be moved by at most `MOST_MOVED` in all rows."""
    near = rows[["moved_vision", "moved_audio"]].astype(float).le(MOST_MOVED).all(axis=1)
    return near.groupby([rows[key] for key in keys], sort=False).all()


def read_rows(rows: pd.DataFrame, *keys: str) -> tuple[pd.DataFrame, pd.Series]:
    """The rows of cells that are `readable`, and which cells are."""
    known = readable(rows, *keys)
    return rows[known[pd.MultiIndex.from_frame(rows[list(keys)])].to_numpy()], known


def profile_rows(
    preset: Preset, answer: Extracted, groups: Groups, *references: str, **options: Any
) -> pd.DataFrame:
    """Rows of `sensory_profile`, by reference, with the columns that identify their origin."""
    settings = preset.model_dump(include={"n_halves", "seed"})
    rows = sensory_profile(groups, **settings, **options).rows
    rows = with_references(rows, groups, references) if references else rows
    settings |= {"analysis": "sensory", "given": groups[0].condition, "tau": preset.tau}
    named = (answer.row_columns("omni", reference=name, **settings) for name in rows["reference"])
    columns = answer.columns | {"fingerprint": [each["fingerprint"] for each in named]}
    return rows.assign(**{key: columns[key] for key in columns if key not in rows})


def with_references(rows: pd.DataFrame, groups: Groups, references: Sequence[str]) -> pd.DataFrame:
    """Rows of `sensory_profile` for each reference, which adds to redundancy and the sum."""
    columns = "value_bits corrected_bits ci_low ci_high lower_bits upper_bits null_mean".split()
    grows, parts = rows["atom"].isin(("redundancy", "total")), []
    for reference in references:
        parts.append(rows.assign(reference=reference))
        parts[-1].loc[grows, columns] += reference_shift(groups, reference)
    return pd.concat(parts, ignore_index=True)


def reference_shift(groups: Groups, reference: str) -> float:
    r"""Return the bits that a reference r other than P(Y | c) adds to redundancy.

    .. math:: \sum_c w_c\,\mathrm{KL}(P(Y|c)\,\|\,r_c)

    The paper's terms KL(p(y | v, t) || r), with an unstated r, and I_Q grow by KL(P(Y | c) || r)
    if r is one of the `REFERENCES` of the condition (else a ValueError): the mean of the samples of
    a ``question`` or ``template``, of all (``marginal``), or of p(y | t) (``sample``).
    """
    allowed = sensory.REFERENCES[groups[0].condition]
    if reference not in allowed:
        text = f"reference {reference!r} is not constant within condition={groups[0].condition!r}"
        raise ValueError(f"{text}; choose one of {', '.join(allowed)}")
    if reference == allowed[0]:
        return 0.0
    sizes = [len(group.decisions) for group in groups]
    shares = np.divide(sizes, sum(sizes))
    targets = np.stack([group.decisions.target for group in groups])
    if reference == "sample":
        against = np.stack([group.drawn["text"].mean((0, 1)) for group in groups])
    else:
        against = np.empty_like(targets)
        keys = [(group.template, group.template or group.question) for group in groups]
        for key in set(keys):
            own = np.array([reference == "marginal" or other == key for other in keys])
            against[own] = np.tensordot(shares[own] / shares[own].sum(), targets[own], 1)
    return float(np.tensordot(shares, rel_entr(targets, against).sum(-1), 1) / np.log(2))


def bootstrap(
    result: SensoryPID, decisions: Sequence[Decisions], n: int = 100, seed: int = 0
) -> dict[str, Float[np.ndarray, " n"]]:
    """Return draws of the mean atoms; samples are drawn within conditions."""
    atoms, total = dict.fromkeys(result.pid.atoms, np.zeros(n)), sum(map(len, decisions))
    for index, (part, solved) in enumerate(zip(decisions, result.solved, strict=True)):
        draws = bootstrap_decisions(part, solved, n, derive_seed(seed, index))
        atoms = {name: atoms[name] + len(part) / total * draws[name] for name in atoms}
    return atoms


def draw_atoms(
    ax: style.Axes, rows: pd.DataFrame, truth: Mapping[str, float], looks: Mapping[str, str]
) -> None:
    """A bar for each model, with its interval, null and marker; truths; below, the numbers."""
    for line, (model, marker) in enumerate(looks.items()):
        own = rows[rows["model"] == model].set_index("atom").reindex(style.SENSORY)
        width, bits = 0.84 / len(looks), style.best(own)
        places = np.arange(len(bits)) + width * (line - (len(looks) - 1) / 2)
        style.null_band(ax, places, own["null_mean"], 0.92 * width)
        style.interval(ax, places, own["ci_low"], own["ci_high"])
        style.points(ax, places, bits, marker, markersize=2.6, markeredgewidth=0.4)
        down = ScaledTranslation(0, -(19 + 8 * line) / 72, ax.figure.dpi_scale_trans)
        below = {"transform": ax.get_xaxis_transform() + down, "clip_on": False}
        ax.plot([-0.75], [0], marker, color="white", mec=style.INK, markersize=3, **below)
        look = {"ha": "center", "va": "center", "fontsize": 6.5} | below
        for place, atom in enumerate(style.SENSORY):
            style.bars(ax, places[[place]], bits[[place]], atom, 0.92 * width)
            ax.text(place, 0, number(bits[place]).replace("unknown", "–"), **look)
    for place, bits in enumerate(map(truth.get, style.SENSORY)):
        ax.hlines(style.floats(bits), place - 0.46, place + 0.46, zorder=3, **TRUTH)
    ax.axhline(0, color=style.INK, linewidth=0.6, zorder=2.7)
    ax.set_xlabel("\n" * (len(looks) - 1), fontsize=6.5)  # room for the numbers
    names = [style.SYMBOLS[atom] for atom in style.SENSORY]
    ax.set(xlim=(-0.6, 3.6), ymargin=0.05, xticks=range(4), xticklabels=names)


def mark_unread(
    claims: pd.DataFrame, answers: Iterable[Extracted], tau: float, *statistics: str
) -> pd.DataFrame:
    """Claims with the verdict `UNREAD` on these statistics, or on all unless all answers `fits`."""
    unread = claims["statistic"].isin(statistics)
    unread |= not all(fits(answer.extraction, tau) for answer in answers)
    return claims.assign(verdict=claims["verdict"].mask(unread, UNREAD))


def read_models(rows: pd.DataFrame, claims: pd.DataFrame) -> tuple[pd.DataFrame, str]:
    """The rows of models on which a claim is read, and a note on the others."""
    read = rows["model"].isin(claims.loc[claims["verdict"] != UNREAD, "model"])
    left, models = rows.loc[~read, "model"].nunique(), rows["model"].nunique()
    note = f"\nleft out: {left} of {models} models, whose masked answers do not fit the full ones"
    return rows[read], f"{note} (moved by over {number(MOST_MOVED, 1)})" * bool(left)


def empty_page(note: str) -> style.Figure:
    """A page that says that there is nothing to draw."""
    figure = style.page(1)
    figure.suptitle(f"No model can be read{note}", fontsize="medium")
    return figure
