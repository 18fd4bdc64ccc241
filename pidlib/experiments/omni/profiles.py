"""Sensory profiles of models, of their answers and after every block, as rows of tables."""

from collections.abc import Mapping, Sequence
from functools import partial
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float
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

MOST_MOVED = LIMITS["moved"][0]  # total variation
FUSION = "micro_av/fusion"  # the subset whose questions need vision and audio
TRAINED_WITH_NOISE = "all minis but plain had a fifth of each stream as noise in training, "
TRAINED_WITH_NOISE += "so that masking asks them something they know"
_TRUTH = {"color": style.OTHERS[0], "linewidth": 1.4}

COLUMNS = declare(
    "source grade template reference",
    ATOMS,
    *diagnostics("", "_vision", "_audio", "_text"),
    *masked_diagnostics("vision", "audio"),
    "n_per_condition n_conditions n_alone",
)


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
    rows = rows.assign(**fixed, given="template", layer=layer, seed=seed)
    return Measured(rows, draws, result.pid.atoms, result)


def trajectory(extraction: Extraction, **settings: float) -> Measured:
    """`template_profile` of every block, see `stages.trajectory`."""
    measure = partial(template_profile, extraction, **settings)
    return stages.trajectory(extraction.layers, lambda layer: measure(layer=layer))


def measure_trajectory(preset: Preset, answer: Extracted) -> tuple[Measured, dict[str, object]]:
    """The trajectory of an extraction, and the columns that identify it."""
    settings = preset.model_dump(include={"tau", "n_bootstrap", "seed"})
    columns = answer.row_columns("omni", analysis="trajectory", given="template", **settings)
    return trajectory(answer.extraction, **settings), columns | {"seed": preset.seed}


def moved(preset: Preset, module: ModuleType) -> pd.DataFrame:
    """How far reconciliation moves masked answers given the template, by model and benchmark."""
    (request,), rows = module.requests(preset), []
    for (extraction, columns), *_ in extract_all(preset, request):
        groups = sensory.split_by(extraction, "template", tau=preset.tau)
        solved = sensory.decompose([group.decisions for group in groups], tol=0.1)
        far = {f"moved_{name}": by for name, by in solved.reconciliation.items()}
        rows.append({name: columns[name] for name in ("benchmark", "model")} | far)
    return pd.DataFrame(rows)


def readable(rows: pd.DataFrame, *keys: str) -> pd.Series:
    """By keys, whether masked answers are known to be moved by at most `MOST_MOVED` in all rows."""
    near = rows[["moved_vision", "moved_audio"]].astype(float).le(MOST_MOVED).all(axis=1)
    return near.groupby([rows[key] for key in keys], sort=False).all()


def read_rows(rows: pd.DataFrame, *keys: str) -> tuple[pd.DataFrame, pd.Series]:
    """The rows of cells that are `readable`, and which cells are."""
    known = readable(rows, *keys)
    return rows[known[pd.MultiIndex.from_frame(rows[list(keys)])].to_numpy()], known


def profile_rows(
    preset: Preset,
    answer: Extracted,
    groups: Sequence[Group],
    references: Sequence[str] = (),
    **options: Any,
) -> pd.DataFrame:
    """Rows of `sensory_profile`, by reference, with the columns that identify their origin."""
    settings = preset.model_dump(include={"n_halves", "seed"})
    rows = sensory_profile(groups, **settings, **options).rows
    rows = with_references(rows, groups, references) if references else rows
    settings |= {"analysis": "sensory", "given": groups[0].condition, "tau": preset.tau}
    named = (answer.row_columns("omni", reference=name, **settings) for name in rows["reference"])
    columns = answer.columns | {"fingerprint": [each["fingerprint"] for each in named]}
    return rows.assign(**{key: columns[key] for key in columns if key not in rows})


def with_references(
    rows: pd.DataFrame, groups: Sequence[Group], references: Sequence[str]
) -> pd.DataFrame:
    """Rows of `sensory_profile` for each reference, which adds to redundancy and the sum."""
    columns = ["value_bits", "corrected_bits", "ci_low", "ci_high", "lower_bits", "upper_bits"]
    parts = []
    for reference in references:
        part = rows.assign(reference=reference)
        grows = part["atom"].isin(("redundancy", "total"))
        part.loc[grows, [*columns, "null_mean"]] += reference_shift(groups, reference)
        parts.append(part)
    return pd.concat(parts, ignore_index=True)


def reference_shift(groups: Sequence[Group], reference: str) -> float:
    r"""Return the bits that a reference r other than P(Y | c) adds to redundancy.

    .. math:: \sum_c w_c\,\mathrm{KL}(P(Y|c)\,\|\,r_c)

    The paper's terms are KL(p(y | v, t) || r), and likewise for audio and for both, with an
    unstated r. All of them and I_Q grow by KL(P(Y | c) || r) if r is one of the `REFERENCES` of the
    condition (else a ValueError): the mean of the samples of a ``question`` or ``template``, of all
    samples (``marginal``), or of p(y | t) (``sample``).
    """
    condition, allowed = groups[0].condition, sensory.REFERENCES[groups[0].condition]
    if reference not in allowed:
        text = f"reference {reference!r} is not constant within condition={condition!r}"
        raise ValueError(f"{text}; choose one of {', '.join(allowed)}")
    if reference == allowed[0]:
        return 0.0
    sizes = np.array([len(group.decisions) for group in groups])
    shares = sizes / sizes.sum()
    targets = np.stack([group.decisions.target for group in groups])
    if reference == "sample":
        against = np.stack([group.drawn["text"].mean((0, 1)) for group in groups])
    else:
        against = np.empty_like(targets)
        keys = [(group.template, group.template or group.question) for group in groups]
        keys = [""] * len(groups) if reference == "marginal" else keys
        for key in set(keys):
            own = np.array([other == key for other in keys])
            against[own] = np.tensordot(shares[own] / shares[own].sum(), targets[own], 1)
    return float(np.tensordot(shares, rel_entr(targets, against).sum(-1), 1) / np.log(2))


def bootstrap(
    result: SensoryPID, decisions: Sequence[Decisions], n: int = 100, seed: int = 0
) -> dict[str, Float[np.ndarray, " n"]]:
    """Return draws of the mean atoms; samples are drawn within conditions."""
    atoms = {name: np.zeros(n) for name in result.pid.atoms}
    for index, (part, solved) in enumerate(zip(decisions, result.solved, strict=True)):
        draws = bootstrap_decisions(part, solved, n, derive_seed(seed, index))
        for name, values in draws.items():
            atoms[name] += len(part) / sum(map(len, decisions)) * values
    return atoms


def legend_handles() -> list[style.Artist]:
    """Legend entries of null, interval and stages."""
    null, stage = stages.legend_handles("null: answers permuted")
    look = {"color": style.COLORS["synergy"], "alpha": 0.3, "linewidth": 0}
    return [null, style.swatch("bootstrap over clips, 95 %", **look), stage]


def draw_atoms(
    ax: style.Axes, rows: pd.DataFrame, truth: Mapping[str, float], numbers: bool = False
) -> None:
    """Bars of medians over models, a dot with its interval for each, the median null, truths."""
    if rows.empty:
        ax.text(1.5, 0.1, "not\nreadable", ha="center", fontsize=6.5)
    for place, atom in enumerate(style.SENSORY):
        if len(own := rows[rows["atom"] == atom]):
            low, high, null = style.floats(own, "ci_low", "ci_high", "null_mean")
            bits = style.best(own)
            style.bars(ax, [place], [np.median(bits)], atom, 0.84)
            style.null_band(ax, [place], [np.median(null)], 0.84)
            places = place + 0.22 * (np.arange(len(own)) - (len(own) - 1) / 2)
            style.interval(ax, places, low, high, linewidth=0.5)
            style.points(ax, places, bits, "o", markersize=2, markeredgewidth=0.4)
            if numbers:
                top = max(np.fmax(high, bits).max(), truth.get(atom, 0))
                look = {"textcoords": "offset points", "ha": "center", "fontsize": 6.5}
                ax.annotate(number(np.median(bits)), (place, top), (0, 3), **look)
        if atom in truth:
            ax.hlines(truth[atom], place - 0.46, place + 0.46, zorder=3, **_TRUTH)
    ax.axhline(0, color=style.INK, linewidth=0.6, zorder=2.7)
    ax.margins(y=0.14)
    ax.set(xlim=(-0.6, 3.6), xticks=[])


def atom_handles() -> list[style.Artist]:
    """Legend entries of `draw_atoms`."""
    dot = {"marker": "o", "color": "white", "markeredgecolor": style.INK, "markersize": 3}
    models = style.handle("dots: models, with 95 % intervals; bars: their median", **dot)
    ideal, null = style.line_handle("an ideal answerer", **_TRUTH), "null: answers permuted"
    return [*style.atom_handles(style.SENSORY), models, ideal, style.null_handle(null)]


def training_note(models: Sequence[str]) -> dict[str, object]:
    """Title of a legend on what the minis were trained with; empty without minis."""
    minis = style.minis_line(models, 1)
    return {"title": TRAINED_WITH_NOISE, "title_fontsize": 6.5} if minis else {}
