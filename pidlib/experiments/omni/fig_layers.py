"""Visual saturation: does U_vision rise steeply in the middle stage, before synergy can form?"""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from pidlib.experiments import ATOMS, Preset, Request, extract_all, stages, style, validate
from pidlib.experiments.omni import profiles
from pidlib.experiments.words import interval, number, share

COLUMNS = {"fig_layers": ATOMS, "fig_layers_claims": stages.CLAIM_COLUMNS}
CLAIMS = {  # Fang et al. state that order for questions that need vision and audio; bounds are ours
    "vision_lead": stages.Claim(above=True, margin=0.05),
    "vision_middle": stages.Claim(above=True, margin=0.05, early=True),
    "vision_levels_off": stages.Claim(above=True, margin=0.05, early=True),
    "synergy_late": stages.Claim(above=True, bound=0.5),
}
_DASHED = {"linewidth": 0.8, "linestyle": (0, (4, 2))}
_ATOMS = ("unique_vision", "synergy")
_WORDS = {"holds": "vision first", "open": "order open: $S$ later", "against": "synergy first"}


def requests(preset: Preset) -> list[Request]:
    """The passes of Sensory PID on the fusion subset, after every block."""
    return [Request(preset.omni_layer_models, [profiles.FUSION], (profiles.query(preset),))]


def measure(preset: Preset) -> dict[str, pd.DataFrame]:
    """Sensory atoms after every block, and the tested claims."""
    atoms, claims = [], []
    for (answer,) in extract_all(preset, *requests(preset)):
        profile, columns = profiles.measure_trajectory(preset, answer)
        atoms.append(profile.rows.assign(**columns))
        tested = stages.check_trajectories(CLAIMS, saturation, profile, **columns)
        unread = ["vision_lead"] * bool(unread_lead(profile.atoms))
        claims.append(profiles.mark_unread(tested, [answer], preset.tau, *unread))
    tables = map(validate, map(pd.concat, (atoms, claims)), COLUMNS.values())
    return dict(zip(COLUMNS, tables, strict=True))


def half_depth(curve: np.ndarray) -> np.ndarray:
    """The relative depth at which a curve first reaches half of its maximum.

    Of a curve [L, *draws], linear between blocks, 0 at depth 0; missing if all is below `MIN_BITS`.
    """
    curve = np.concatenate([np.zeros_like(curve[:1]), curve])
    maximum = curve.max(0)
    after = np.maximum((2 * curve >= maximum).argmax(0), 1)
    low, high = (np.take_along_axis(curve, place[None], 0)[0] for place in (after - 1, after))
    part = (maximum / 2 - low) / np.where(high > low, high - low, 1)
    return np.where(maximum >= stages.MIN_BITS, (after - 1 + part) / (len(curve) - 1), np.nan)


def unread_lead(curves: stages.Curves) -> str:
    """Why the half depths of vision and synergy are not compared; empty if they are."""
    both = {atom: np.asarray(curves[atom], float) for atom in _ATOMS}
    for atom, curve in both.items():
        if curve.max() < stages.READABLE_BITS:
            return f"{style.SYMBOLS[atom]} stays\nbelow {number(stages.READABLE_BITS, 1)} bits"
    early = any(half_depth(curve) < 1 / len(curve) for curve in both.values())
    return "half is reached\nbefore the first reading" if early else ""


def saturation(curves: stages.Curves) -> stages.Values:
    r"""The statistics of `CLAIMS` for atoms after all L blocks, in bits.

    With e and m the last blocks of the first and the middle stage: :math:`h(S) - h(U_v)`, see
    `half_depth`; :math:`(U_v(m) - U_v(e)) / \max_d U_v(d)` minus the depth between e and m; the
    slope of :math:`U_v` from e to m minus that from m to 1; :math:`1 - S(m)/S(1)`.
    """
    vision, synergy = (np.asarray(curves[atom], float) for atom in _ATOMS)
    early, middle = stages.stage_blocks(blocks := len(vision))
    rise, end = vision[middle] - vision[early], synergy[-1]
    late_slope = (vision[-1] - vision[middle]) / (blocks - 1 - middle)
    return {
        "vision_lead": half_depth(synergy) - half_depth(vision),
        "vision_middle": stages.share_of(rise, vision.max(0)) - (middle - early) / blocks,
        "vision_levels_off": blocks * (rise / (middle - early) - late_slope),
        "synergy_late": stages.share_of(end - synergy[middle], end),
    }


def figure(tables: Mapping[str, pd.DataFrame]) -> style.Figure:
    """A panel per model with U_vision, S, their half depths, and the distance between these."""
    table, note = profiles.read_models(tables["fig_layers"], tables["fig_layers_claims"])
    if table.empty:
        return profiles.empty_page(note)
    claims = tables["fig_layers_claims"].query("statistic == 'vision_lead'").set_index("model")
    figure, verdicts, models = style.page(3.1), [], table.groupby("model", sort=False)
    axes = figure.subplots(1, len(models), sharey=True, squeeze=False)[0]
    for ax, (model, rows) in zip(axes, models, strict=True):
        stages.draw_stages(ax)
        stages.draw_trajectories(ax, rows, _ATOMS)
        curves = rows.pivot(index="layer", columns="atom", values="value_bits").astype(float)
        *lead, verdict = claims.loc[model, "value":"verdict"]
        if verdict == profiles.UNREAD:
            text = f"{verdict}: {unread_lead(curves)}"
        else:
            verdicts.append(verdict == "holds")
            text = f"{_WORDS[verdict]}\nby {interval(*lead)} of the depth"
            place = {"transform": ax.get_xaxis_transform(), "clip_on": False, "zorder": 5}
            for atom in _ATOMS:
                look = _DASHED | place | {"color": style.COLORS[atom], "markersize": 6}
                half = half_depth(curves[atom].to_numpy())
                ax.plot([half] * 2, [1, 0], marker=7, markevery=2, **look)
        name = f"{style.model_name(model)}, {len(curves)} blocks"
        ax.set_title(name.replace(", ", ",\n", 1), pad=10)  # above the markers
        ax.set_xlabel(text, fontsize=7.5)
    axes[0].set_ylabel("bits")
    figure.supxlabel(f"relative depth of the block (markers){note}", fontsize="medium")
    look = _DASHED | {"color": style.INK, "marker": 7, "markersize": 5}
    half = style.handle("depth at half of its maximum", **look)
    title = f"Vision comes first in {share(verdicts)} models that can be read (first: the 95 %"
    title += " interval of the distance between the triangles is above .05)"
    handles = *style.atom_lines(_ATOMS), half, *stages.legend_handles(*profiles.LEGEND)
    style.legend(figure, 3, *handles, title=title)
    return figure
