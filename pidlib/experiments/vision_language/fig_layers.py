r"""At which depth of a model does its answer arise?

The masked decisions are decomposed after every block (logit lens), and the three stages of Fang et
al. (`pidlib.experiments.stages`) are tested as statistics of the atoms, with
:math:`I = R + U_v + U_\ell + S`, the readings e and m at the end of the first and of the second
stage, and depth 1 at the last block:

- silence: :math:`I(e) / \max_d I(d)`;
- accumulation: :math:`(I - S)(m) - (I - S)(e)`, positive for any curve that grows in between; the
  middle share, the same over :math:`\max_d (I - S)(d)`, tests for more than steady growth;
- late share of synergy: :math:`1 - S(m) / S(1)`; slopes of S and :math:`U_\ell` from m to 1.

The published stages are stated in words; thresholds and margins are ours.
"""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from jaxtyping import Float
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from pidlib.decomposition.decisions import bootstrap_decisions, decision_pid
from pidlib.experiments import stages, style
from pidlib.experiments.extractions import Query, Request, extractions
from pidlib.experiments.preset import Preset
from pidlib.experiments.stages import FIRST_END, LAST_START, MIN_BITS, Claim, stage_blocks
from pidlib.experiments.tables import ATOMS, validate
from pidlib.extraction import PASSES, Extraction
from pidlib.profiles.modes import NOISE, noise_floor

EXPERIMENT = "vision_language"
TOLERANCE = 1e-4  # bits
N_FLOOR = 6  # bootstrap draws of the noise floor: one for each assignment of the passes to roles

COLUMNS = {"fig_layers": ATOMS, "fig_layers_claims": stages.CLAIM_COLUMNS}

CLAIMS = {
    "silence": Claim("I early, as a share of its maximum", above=False, bound=0.1, early=True),
    "accumulation": Claim("rise of I - S in the middle stage, bits", above=True, margin=0.05),
    "middle_share": Claim(
        "the same, as a share of its maximum", above=True, bound=LAST_START - FIRST_END, early=True
    ),
    "late_share": Claim("share of S that arises in the last stage", above=True, bound=0.5),
    "synergy_slope": Claim("slope of S in the last stage, bits", above=True, margin=0.05),
    "language_slope": Claim("slope of U_l in the last stage, bits", above=False, margin=0.05),
}
_SYMBOLS = {
    "silence": r"$I_{.2}/I_{\max}$",
    "accumulation": r"$\Delta(I - S)$",
    "middle_share": r"$\Delta(I - S)/\max$",
    "late_share": r"$1 - S_{.8}/S$",
    "synergy_slope": "$S'$",
    "language_slope": r"$U_\ell'$",
}


def requests(preset: Preset) -> list[Request]:
    """Both modalities, each alone and noise alone, after every block."""
    query = Query(preset.split, preset.n_samples, preset.seed, (*PASSES, *NOISE), layers=None)
    return [Request(preset.models, preset.benchmarks, (query,))]


def measure(preset: Preset) -> dict[str, pd.DataFrame]:
    """Atoms by depth, and the tested claims, by model and benchmark."""
    settings = preset.model_dump(include={"tau", "n_bootstrap", "seed"})
    atoms, claims = [], []
    for (answer,) in extractions(preset, *requests(preset)):
        columns = answer.row_columns(EXPERIMENT, analysis="depth", **settings)
        profile, tested = depth_profile(answer.extraction, **settings, **columns)
        atoms.append(profile)
        claims.append(tested)
    tables = zip(COLUMNS.items(), (atoms, claims), strict=True)
    return {
        name: validate(pd.concat(parts, ignore_index=True), columns)
        for (name, columns), parts in tables
    }


def depth_profile(
    extraction: Extraction,
    *,
    tau: float = 0.3,
    n_bootstrap: int = 100,
    seed: int = 0,
    **columns: object,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Atoms after every block, and the statistics of the three stages.

    The draws of all blocks take the same samples, so statistics across depths have intervals too.

    Parameters
    ----------
    extraction
        With every block, and the passes ``vision+language``, ``vision``, ``language`` and `NOISE`.
    tau, n_bootstrap, seed
        Candidate mass below which a decision counts as uniform; draws of the intervals; their seed.
    columns
        Further columns, the same in every row.

    Raises
    ------
    ValueError
        If a block is missing, or there are too few for stages.
    """
    n_blocks = len(extraction.layers)
    if extraction.layers != tuple(range(n_blocks)):
        raise ValueError(
            f"stages need every block from 0; this extraction has {extraction.layers}: "
            "extract with layers=range(...)"
        )
    stage_blocks(n_blocks)  # raises if there are too few
    rows, values, draws, solved = [], [], [], True
    for layer in extraction.layers:
        decisions = extraction.masked(tau, layer)
        result = decision_pid(decisions, tol=TOLERANCE)
        drawn = bootstrap_decisions(decisions, n_bootstrap, seed, solved=result)
        intervals = drawn.interval(result.pid.atoms)
        floor, floor_solved = noise_floor(extraction, tau, N_FLOOR, seed, layer)
        solved &= result.pid.converged
        for atom, value in result.pid.atoms.items():
            (lower, upper), (low, high) = result.pid.bounds[atom], intervals[atom]
            row = {"layer": layer, "atom": atom, "value_bits": value, "null_mean": floor[atom]}
            row |= {"lower_bits": lower, "upper_bits": upper, "ci_low": low, "ci_high": high}
            rows.append(row | {"converged": result.pid.converged and floor_solved})
        values.append(result.pid.atoms)
        draws.append(drawn.atoms)
    statistics = (
        stage_statistics({atom: np.stack([block[atom] for block in blocks]) for atom in values[0]})
        for blocks in (values, draws)
    )
    tested = stages.check_claims(CLAIMS, *statistics)
    shared = {"seed": seed, **columns}
    modes = {"source_a": "vision", "source_b": "language", "unimodal": "masked"}
    return (
        pd.DataFrame(rows).assign(estimator="exact", **modes, **shared),
        stages.with_stage_depths(CLAIMS, tested, n_blocks).assign(converged=solved, **shared),
    )


def stage_statistics(
    curves: Mapping[str, Float[np.ndarray, "L *draws"]],
) -> dict[str, Float[np.ndarray, " *draws"]]:
    """The statistics of `CLAIMS` for atoms in bits after all L blocks.

    A share is missing if the quantity that it is a share of is below `MIN_BITS`.

    >>> curves = {"redundancy": [0, 0, 0, 0], "unique_vision": [0, 0.5, 1, 1]}
    >>> curves |= {"unique_language": [0, 0.5, 1, 0.5], "synergy": [0, 0, 0.2, 1]}
    >>> [round(float(value), 2) for value in stage_statistics(curves).values()]
    [0.0, 2.0, 1.0, 0.8, 3.2, -2.0]
    """
    curves = {atom: np.asarray(values, float) for atom, values in curves.items()}
    synergy, language, total = curves["synergy"], curves["unique_language"], sum(curves.values())
    unimodal, final = total - synergy, synergy[-1]
    most, most_unimodal = total.max(0), unimodal.max(0)
    early, middle = stage_blocks(len(total))
    last_stage = 1 - (middle + 1) / len(total)
    accumulation = unimodal[middle] - unimodal[early]
    return {
        "silence": _share(total[early], most, 0),
        "accumulation": accumulation,
        "middle_share": _share(accumulation, most_unimodal),
        "late_share": 1 - _share(synergy[middle], final),
        "synergy_slope": (final - synergy[middle]) / last_stage,
        "language_slope": (language[-1] - language[middle]) / last_stage,
    }


def _share(
    part: Float[np.ndarray, "*draws"], whole: Float[np.ndarray, "*draws"], least: float = MIN_BITS
) -> Float[np.ndarray, "*draws"]:
    known = whole > least
    return np.where(known, part / np.where(known, whole, 1), np.nan)


def figure(tables: Mapping[str, pd.DataFrame]) -> Figure:
    """Masked atoms against relative depth: a row for each model, a column for each benchmark."""
    table = tables["fig_layers"]
    models, benchmarks = list(table["model"].unique()), list(table["benchmark"].unique())
    result = Figure(figsize=(style.PAGE, 1.15 * len(models) + 0.75))
    layout = {"sharex": True, "sharey": "row", "squeeze": False}
    axes = result.subplots(len(models), len(benchmarks), **layout)
    for (row, column), ax in np.ndenumerate(axes):
        chosen = (table["model"] == models[row]) & (table["benchmark"] == benchmarks[column])
        stages.draw_stages(ax)
        stages.draw_trajectories(ax, table[chosen])
    for ax, benchmark in zip(axes[0], benchmarks, strict=True):
        ax.set_title(style.benchmark_name(benchmark).replace(": ", "\n"), pad=3)
    for ax, model in zip(axes[:, 0], models, strict=True):
        ax.set_ylabel(f"{style.model_name(model)}\nbits")
    result.supxlabel("relative depth of the block", fontsize="medium")
    look = {"color": style.FAINT, "linewidth": 0.8, "linestyle": (0, (1, 1))}
    handles = [
        *style.atom_lines(style.MARKERS),
        Line2D([], [], label="noise floor", **look),
        Patch(color=style.NULL, alpha=0.45, label="first and last stage, as published"),
    ]
    result.legend(handles=handles, loc="outside upper center", ncols=6)
    return result


def latex(tables: Mapping[str, pd.DataFrame]) -> str:
    """The tested statistics of the stages."""
    return stages.latex_claims(tables["fig_layers_claims"], _SYMBOLS)
