"""At which depth of a model does its answer arise?

The masked decisions are decomposed after every block (logit lens), and the three stages of Fang et
al. (`pidlib.experiments.stages`) are tested by `stage_statistics`; thresholds and margins are ours.
"""

from collections.abc import Mapping
from itertools import product

import numpy as np
import pandas as pd

from pidlib.decomposition.decisions import Decisions, decision_pid
from pidlib.decomposition.resampling import bootstrap_decisions, percentile_intervals
from pidlib.experiments import ATOMS, Preset, Query, Request, extract_all, stages, style, validate
from pidlib.experiments.stages import Claim, Curves, Values, share_of
from pidlib.extraction import PASSES, SOURCES, Extraction, drawn
from pidlib.profiles.modes import Measured, atom_rows

TOLERANCE = 1e-4  # bits
MIDDLE = stages.LAST_START - stages.FIRST_END  # the length of the middle stage
COLUMNS = {"fig_layers": ATOMS, "fig_layers_claims": stages.CLAIM_COLUMNS}

CLAIMS = {"silence": Claim(above=False, bound=0.1, early=True)}
CLAIMS |= {"accumulation": Claim(above=True, margin=0.05)}
CLAIMS |= {"middle_share": Claim(above=True, bound=MIDDLE, early=True)}
CLAIMS |= {"late_share": Claim(above=True, bound=0.5)}
CLAIMS |= {"synergy_slope": Claim(above=True, margin=0.05)}
CLAIMS |= {"language_slope": Claim(above=False, margin=0.05)}


def requests(preset: Preset) -> list[Request]:
    """Both modalities and each alone, after every block."""
    passes = drawn(PASSES, preset.draws)
    query = Query(preset.split, preset.n_samples, preset.seed, passes, layers=None)
    return [Request(preset.layer_models, preset.benchmarks, (query,))]


def measure(preset: Preset) -> dict[str, pd.DataFrame]:
    """Atoms by depth, and the tested claims, by model and benchmark."""
    settings = preset.model_dump(include={"tau", "n_bootstrap", "seed"})
    profiles = []
    for (answer,) in extract_all(preset, *requests(preset)):
        columns = answer.row_columns("vision_language", analysis="depth", **settings)
        tables = depth_profile(preset, answer.extraction)
        profiles.append([table.assign(**columns, seed=preset.seed) for table in tables])
    tables = dict(zip(COLUMNS, map(pd.concat, zip(*profiles, strict=True)), strict=True))
    return {name: validate(table, COLUMNS[name]) for name, table in tables.items()}


def depth_profile(preset: Preset, extraction: Extraction) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Atoms after every block, and the tested claims; all blocks draw the same samples."""
    seed, device = preset.seed, preset.device

    def measure_block(layer: int) -> Measured:
        def draw(source: str, generator: np.random.Generator) -> list[Decisions]:
            return [extraction.masked(preset.tau, layer, source, generator)]

        decisions = extraction.masked(preset.tau, layer)
        result = decision_pid(decisions, tol=TOLERANCE, device=device)
        draws = bootstrap_decisions(decisions, result, preset.n_bootstrap, seed)
        rows = atom_rows(result, percentile_intervals(draws, result.pid.atoms)).assign(layer=layer)
        tested = [name for name in SOURCES if extraction.repeats(name)]
        rows = stages.with_null(rows, draw, tested, seed, device)
        return Measured(rows, draws, result.pid.atoms)

    profile = stages.trajectory(extraction.layers, measure_block)
    fixed = {"source_a": "vision", "source_b": "language", "unimodal": "masked"}
    claims = stages.check_trajectories(CLAIMS, stage_statistics, profile)
    return profile.rows.assign(**fixed, estimator="exact"), claims


def stage_statistics(curves: Curves) -> Values:
    """The statistics of `CLAIMS` for atoms in bits after all L blocks.

    Accumulation is positive for any curve that grows in the middle stage; the middle share tests
    for more than steady growth.
    """
    curves = {atom: np.asarray(values, float) for atom, values in curves.items()}
    synergy, language, total = curves["synergy"], curves["unique_language"], sum(curves.values())
    unimodal, final = total - synergy, synergy[-1]
    early, middle = stages.stage_blocks(len(total))
    last_stage = 1 - (middle + 1) / len(total)
    accumulation = unimodal[middle] - unimodal[early]
    return {
        "silence": share_of(total[early], total.max(0), 0),
        "accumulation": accumulation,
        "middle_share": share_of(accumulation, unimodal.max(0)),
        "late_share": 1 - share_of(synergy[middle], final),
        "synergy_slope": (final - synergy[middle]) / last_stage,
        "language_slope": (language[-1] - language[middle]) / last_stage,
    }


def figure(tables: Mapping[str, pd.DataFrame]) -> style.Figure:
    """Masked atoms against relative depth: a row for each model, a column for each benchmark."""
    table = tables["fig_layers"]
    models, benchmarks = table["model"].unique(), table["benchmark"].unique()
    result = style.page(1.15 * len(models) + 0.75)
    layout = {"sharex": True, "sharey": "row", "squeeze": False}
    axes = result.subplots(len(models), len(benchmarks), **layout)
    for (model, benchmark), ax in zip(product(models, benchmarks), axes.flat, strict=True):
        stages.draw_stages(ax)
        rows = table[(table["model"] == model) & (table["benchmark"] == benchmark)]
        stages.draw_trajectories(ax, rows)
    for ax, benchmark in zip(axes[0], benchmarks, strict=True):
        ax.set_title(style.benchmark_name(benchmark).replace(": ", "\n"), pad=3)
    for ax, model in zip(axes[:, 0], models, strict=True):
        ax.set_ylabel(f"{style.model_name(model)}\nbits")
    result.supxlabel("relative depth of the block", fontsize="medium")
    handles = [*style.atom_lines(style.MARKERS), *stages.legend_handles("null")]
    result.legend(handles=handles, loc="outside upper center", ncols=6)
    return result
