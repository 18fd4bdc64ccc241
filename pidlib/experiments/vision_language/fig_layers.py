"""At which depth of a model does its answer arise?

The masked decisions are decomposed after every block (logit lens), and the three stages of Fang et
al. (`pidlib.experiments.stages`) are tested by `stage_statistics`; thresholds and margins are ours.
"""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from pidlib.decomposition.decisions import Decisions, decision_pid
from pidlib.decomposition.resampling import bootstrap_decisions, percentile_intervals
from pidlib.experiments import ATOMS, Preset, Query, Request, extract_all, stages, style, validate
from pidlib.experiments.stages import Claim, share_of
from pidlib.experiments.words import number, share
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
_WORDS = {  # of the claims, with a place for the bound
    "silence": "1  at depth .2, {} of the most bits at any depth",
    "accumulation": "2  from .2 to .8, $R + U_v + U_\\ell$ grows by {} bits",
    "middle_share": "2  from .2 to .8, {} of the most $R + U_v + U_\\ell$ arises",
    "late_share": "3  after .8, {} of the final $S$ arises",
    "synergy_slope": "3  after .8, slope of $S$ {} bits per unit of depth",
    "language_slope": "3  after .8, slope of $U_\\ell$ {} bits per unit of depth",
}
_LOOKS = {"holds": (style.INK, "holds: the whole 95 % interval is beyond the bound")}
_LOOKS |= {"open": ("white", "open: part of it"), "no reading": ("white", "no reading before .2")}
_LOOKS |= {"against": (style.OTHERS[0], "against: none of it")}


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
    tested = [name for name in SOURCES if extraction.repeats(name)]

    def measure_block(layer: int) -> Measured:
        def draw(source: str, generator: np.random.Generator) -> list[Decisions]:
            return [extraction.masked(preset.tau, layer, source, generator)]

        decisions = extraction.masked(preset.tau, layer)
        result = decision_pid(decisions, tol=TOLERANCE, device=preset.device)
        draws = bootstrap_decisions(decisions, result, preset.n_bootstrap, preset.seed)
        rows = atom_rows(result, percentile_intervals(draws, result.pid.atoms)).assign(layer=layer)
        rows = stages.with_null(rows, draw, tested, preset.seed, preset.device)
        return Measured(rows, draws, result.pid.atoms)

    profile = stages.trajectory(extraction.layers, measure_block)
    fixed = {"source_a": "vision", "source_b": "language", "unimodal": "masked"}
    claims = stages.check_trajectories(CLAIMS, stage_statistics, profile)
    return profile.rows.assign(**fixed, estimator="exact"), claims


def stage_statistics(curves: stages.Curves) -> stages.Values:
    """The statistics of `CLAIMS` for atoms in bits after all L blocks.

    Accumulation is positive for any curve that grows in the middle stage; the middle share tests
    for more than steady growth.
    """
    curves = {atom: np.asarray(values, float) for atom, values in curves.items()}
    synergy, language, total = curves["synergy"], curves["unique_language"], sum(curves.values())
    early, middle = stages.stage_blocks(len(total))
    last_stage, unimodal = 1 - (middle + 1) / len(total), total - synergy
    accumulation = unimodal[middle] - unimodal[early]
    values = {"silence": share_of(total[early], total.max(0), 0), "accumulation": accumulation}
    values["middle_share"] = share_of(accumulation, unimodal.max(0))
    values["late_share"] = 1 - share_of(synergy[middle], synergy[-1])
    values["synergy_slope"] = (synergy[-1] - synergy[middle]) / last_stage
    return values | {"language_slope": (language[-1] - language[middle]) / last_stage}


def figure(tables: Mapping[str, pd.DataFrame]) -> style.Figure:
    """Above, the mean over benchmarks of each model; below, the verdicts."""
    table, figure = tables["fig_layers"], style.page(4.7)
    above, below = figure.subfigures(2, 1, height_ratios=(1.2, 1))
    models, count = table.groupby("model", sort=False), table["benchmark"].nunique()
    axes = above.subplots(1, len(models), sharey=True, squeeze=False)[0]
    for ax, (model, own) in zip(axes, models, strict=True):
        ends = own[["ci_low", "ci_high"]].astype(float)
        own = own.assign(**ends.sub(own["value_bits"].astype(float), axis=0) ** 2 / count)
        rows = own.groupby(["atom", "layer"])[["value_bits", "null_mean", *ends]].mean()
        rows[[*ends]] = (rows[[*ends]] ** 0.5 * [-1, 1]).add(rows["value_bits"], axis=0)
        stages.draw_stages(ax)
        stages.draw_trajectories(ax, rows.reset_index())
        name = "assembled of pretrained parts, adapter " * (own["experiment"] == "real").all()
        ax.set(title=name + style.model_name(model), xlabel="relative depth of the block")
    axes[0].set_ylabel(f"bits, mean over {count} benchmarks")
    words = "null of its color ($S$ has none)", "95 % interval of the mean (benchmarks independent)"
    style.legend(above, 4, *style.atom_lines(), *stages.legend_handles(*words))
    _draw_verdicts(below, tables["fig_layers_claims"])
    return figure


def _draw_verdicts(figure: style.Figure, claims: pd.DataFrame) -> None:
    """A row per claim with the number of cells by verdict; in the title, how many hold in all."""
    early = claims["statistic"].map({name: claim.early for name, claim in CLAIMS.items()})
    unread = early & (claims["early_depth"] > stages.FIRST_END)
    claims = claims.assign(found=claims["verdict"].mask(unread, "no reading"))
    counts = claims.groupby("statistic")["found"].value_counts().unstack(fill_value=0)
    counts = counts.reindex(index=list(CLAIMS), columns=_LOOKS, fill_value=0)
    ax, left, bars = figure.subplots(), np.zeros(len(CLAIMS)), []
    for verdict, (color, label) in _LOOKS.items():
        n = counts[verdict].to_numpy()
        look = {"facecolor": color, "hatch": "////" * (verdict == "no reading"), "label": label}
        bars.append(ax.barh(range(len(n)), n, 0.74, left, ec=style.INK, linewidth=0.5, **look))
        box = {"facecolor": color, "linewidth": 0, "pad": 0.6}
        text = {"color": "white" if verdict == "holds" else style.INK, "bbox": box}
        ax.bar_label(bars[-1], [str(k or "") for k in n], label_type="center", fontsize=7, **text)
        left += n
    bounds = [number(c.bound + c.margin * (2 * c.above - 1)) for c in CLAIMS.values()]
    labels = (_WORDS[name].format("<>"[claim.above] + " {}") for name, claim in CLAIMS.items())
    style.name_rows(ax, list(map(str.format, labels, bounds)))
    ax.set(xlim=(0, left.max()), xticks=[])
    ax.tick_params(axis="y", length=0)
    ax.spines[:].set_visible(False)
    every = (claims["verdict"] == "holds").groupby([claims["model"], claims["benchmark"]]).all()
    text = f"All claims on stages 1 to 3 hold in {share(every)} cells (a model on a benchmark)"
    shown = (bar for bar in bars if any(part.get_width() for part in bar))
    style.legend(figure, 4, *shown, title=text, title_fontsize=9)
