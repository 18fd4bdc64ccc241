"""How do the atoms of embeddings change from block to block?

Sources as in `fig_embeddings`; the target is the last state after each block, with its codebook.
"""

from itertools import product

import pandas as pd

from pidlib.decomposition.codes import quantize
from pidlib.decomposition.estimate import estimate
from pidlib.experiments import ATOMS, Preset, extract_all, style, validate
from pidlib.experiments.decision_profiles import CODES, ESTIMATION, embedding_codes
from pidlib.experiments.vision_language import fig_embeddings

LEVEL = 0.05  # of significance
COLUMNS = ATOMS
requests = fig_embeddings.requests


def measure(preset: Preset) -> pd.DataFrame:
    """Atoms of each model on each benchmark about the state after each block."""
    settings = preset.model_dump(include=ESTIMATION)
    quantized = {"n_clusters": preset.n_clusters, "seed": preset.seed, "allow_degenerate": True}
    profiles = []
    for fitted, applied in extract_all(preset, *requests(preset)):
        others = {"fitted": fitted.columns["fingerprint"], "n_clusters": preset.n_clusters}
        columns = applied.row_columns("vision_language", **others, **settings, target="blocks")
        *sources, _ = embedding_codes(fitted.extraction, applied.extraction, **quantized)
        for index, layer in enumerate(applied.extraction.layers):
            states = (answer.extraction.hidden[:, index] for answer in (fitted, applied))
            result = estimate(*sources, quantize(*states, **quantized), **settings)
            profiles.append(pd.DataFrame(result.rows()).assign(**columns, layer=layer))
    shared = CODES | {"n_codes": preset.n_clusters, "seed": preset.seed}
    return validate(pd.concat(profiles).assign(**shared), COLUMNS)


def figure(table: pd.DataFrame) -> style.Figure:
    """Corrected atoms against the relative depth of the block; filled markers are significant."""
    models = list(table["model"].unique())
    figure, panels = style.benchmark_panels(table["benchmark"].unique(), xlabel="relative depth")
    lines = table.sort_values("layer", kind="stable").groupby(["benchmark", "model", "atom"])
    cells = product(panels.items(), enumerate(models), style.VISION_LANGUAGE)
    for (benchmark, ax), (index, model), atom in cells:
        rows, color = lines.get_group((benchmark, model, atom)), style.COLORS[atom]
        x = (rows["layer"].to_numpy(float) + 1) / (rows["layer"].max() + 1)
        x += 0.012 * (index - (len(models) - 1) / 2)
        value = style.floats(rows["corrected_bits"])
        significant = (rows["null_p"] <= LEVEL).to_numpy(bool, na_value=False)
        ax.plot(x, value, color=color, linewidth=0.9, zorder=2)
        style.interval(ax, x, rows["ci_low"], rows["ci_high"], color=color, linewidth=0.6)
        look = {"markeredgecolor": color, "markersize": 2.8, "zorder": 3}
        for chosen, face in ((significant, color), (~significant, "white")):
            ax.plot(x[chosen], value[chosen], style.MARKERS[index], color=face, **look)
    for ax in panels.values():
        ax.axhline(0, color=style.INK, linewidth=0.6, zorder=1)
        ax.set_xlim(0, 1.06)
    filled = ("clears its null", "o", style.FAINT), ("does not", "o", "white")
    filled = style.marker_handles(filled, markersize=3.4, markeredgecolor=style.FAINT)
    figure.legend(handles=style.atom_lines(), loc="outside upper center", ncols=4)
    handles = [*style.model_handles(models), *filled]
    figure.legend(handles=handles, loc="outside lower center", ncols=min(len(handles), 5))
    return figure
