"""Visual saturation: does U_vision rise steeply in the middle stage, before synergy can form?

Fang et al. state that order for questions that need vision and audio; the bounds are ours.
"""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from pidlib.experiments import ATOMS, Preset, Request, extract_all, stages, style, validate
from pidlib.experiments.omni import profiles
from pidlib.experiments.stages import CLAIM_COLUMNS, MIN_BITS, Claim, Curves, Values
from pidlib.experiments.words import number

COLUMNS = {"fig_layers": ATOMS, "fig_layers_claims": CLAIM_COLUMNS}
CLAIMS = {
    "vision_lead": Claim(above=True, margin=0.05),
    "vision_middle": Claim(above=True, margin=0.05, early=True),
    "vision_levels_off": Claim(above=True, margin=0.05, early=True),
    "synergy_late": Claim(above=True, bound=0.5),
}
_DASHED = (0, (4, 2))
_ATOMS = ("unique_vision", "synergy")
_WORDS = {"vision_lead": "lead", "vision_levels_off": "slows"}


def requests(preset: Preset) -> list[Request]:
    """The passes of Sensory PID on the fusion subset, after every block."""
    return [Request(preset.omni_layer_models, [profiles.FUSION], (profiles.query(preset),))]


def measure(preset: Preset) -> dict[str, pd.DataFrame]:
    """Sensory atoms after every block, and the tested claims."""
    atoms, claims = [], []
    for (answer,) in extract_all(preset, *requests(preset)):
        profile, columns = profiles.measure_trajectory(preset, answer)
        atoms.append(profile.rows.assign(**columns))
        claims.append(stages.check_trajectories(CLAIMS, saturation, profile, **columns))
    tables = dict(zip(COLUMNS, map(pd.concat, (atoms, claims)), strict=True))
    return {name: validate(table, COLUMNS[name]) for name, table in tables.items()}


def half_depth(curve: np.ndarray) -> np.ndarray:
    """The relative depth at which a curve first reaches half of its maximum.

    The curve [L, *draws] is linear between blocks and 0 at depth 0; with a maximum below `MIN_BITS`
    the result is missing.
    """
    curve = np.concatenate([np.zeros_like(curve[:1]), curve])
    maximum = curve.max(0)
    after = np.maximum((2 * curve >= maximum).argmax(0), 1)
    low, high = (np.take_along_axis(curve, place[None], 0)[0] for place in (after - 1, after))
    part = (maximum / 2 - low) / np.where(high > low, high - low, 1)
    return np.where(maximum >= MIN_BITS, (after - 1 + part) / (len(curve) - 1), np.nan)


def saturation(curves: Curves) -> Values:
    r"""The statistics of `CLAIMS` for atoms after all L blocks, in bits.

    With e and m the last blocks of the first and the middle stage: :math:`h(S) - h(U_v)`, see
    `half_depth`; :math:`(U_v(m) - U_v(e)) / \max_d U_v(d)` minus the depth between e and m; the
    slope of :math:`U_v` from e to m minus that from m to 1; :math:`1 - S(m)/S(1)`.
    """
    vision, synergy = (np.asarray(curves[atom], float) for atom in ("unique_vision", "synergy"))
    blocks = len(vision)
    early, middle = stages.stage_blocks(blocks)
    rise, end = vision[middle] - vision[early], synergy[-1]
    late_slope = (vision[-1] - vision[middle]) / (blocks - 1 - middle)
    return {
        "vision_lead": half_depth(synergy) - half_depth(vision),
        "vision_middle": stages.share_of(rise, vision.max(0)) - (middle - early) / blocks,
        "vision_levels_off": blocks * (rise / (middle - early) - late_slope),
        "synergy_late": stages.share_of(end - synergy[middle], end),
    }


def figure(tables: Mapping[str, pd.DataFrame]) -> style.Figure:
    """A panel per model with U_vision, S and their half depths; the tests of the order below."""
    models, claims = tables["fig_layers"].groupby("model", sort=False), tables["fig_layers_claims"]
    figure = style.page(3)
    axes = figure.subplots(1, len(models), sharey=True, squeeze=False)[0]
    for ax, (model, rows) in zip(axes, models, strict=True):
        stages.draw_stages(ax, rows)
        stages.draw_trajectories(ax, rows, _ATOMS)
        for atom in _ATOMS:
            line = rows[rows["atom"] == atom].sort_values("layer")
            values, color = style.floats(line["value_bits"]), style.COLORS[atom]
            half = half_depth(values)
            if np.isfinite(half):
                ax.axvline(half, color=color, linewidth=0.8, linestyle=_DASHED, zorder=1)
                known = half >= 1 / len(line) and values.max() >= 2 * MIN_BITS
                look = {"color": color, "markerfacecolor": color if known else "white"}
                look |= {"transform": ax.get_xaxis_transform(), "clip_on": False}
                ax.plot([half], [1], marker=7, markersize=6, zorder=5, **look)
        ax.set_title(style.model_name(model).replace(", ", ",\n"), pad=10)  # above the markers
        stages.write_claims(ax, claims[claims["model"] == model], _WORDS)
    axes[0].set_ylabel("bits")
    figure.supxlabel("relative depth of the block", fontsize="medium")
    look = {"linestyle": _DASHED, "linewidth": 0.8, "marker": 7, "markersize": 5}
    half = style.handle("half of the most $U_v$ or $S$", color=style.INK, **look)
    words = f"hollow: before the first reading, or of less than {number(2 * MIN_BITS, 1)} bits"
    look |= {"linestyle": "", "markerfacecolor": "white"}
    handles = [half, style.handle(words, color=style.INK, **look), *profiles.legend_handles()]
    lines, note = style.atom_lines(style.MARKERS, _ATOMS), profiles.training_note(models.groups)
    style.legend(figure, 3, *lines, *handles, **note)
    return figure
