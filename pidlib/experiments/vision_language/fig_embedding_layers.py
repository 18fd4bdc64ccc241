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

N_SHOWN = 4  # benchmarks: those of which an atom changes most
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
    """Atoms by relative depth, means over models with their range, where they change most."""
    keys = ["benchmark", "atom", "model"]
    depth = (table["layer"] + 1) / (table.groupby("model")["layer"].transform("max") + 1)
    rows = table.assign(depth=depth.astype(float), bits=table["corrected_bits"].astype(float))
    bits = rows.pivot(index="depth", columns=keys, values="bits")
    bits = bits.interpolate("index", limit_area="inside").sort_index(axis=1)
    means = bits.T.groupby(level=["benchmark", "atom"]).mean().T
    moved = (means.iloc[-1] - means.iloc[0]).abs().groupby("benchmark").max()
    chosen = moved.sort_values(ascending=False, kind="stable").index[:N_SHOWN]
    figure = style.page(2.6)
    axes = figure.subplots(1, len(chosen), sharey=True, squeeze=False)[0]
    for (benchmark, ax), atom in product(zip(chosen, axes, strict=True), style.VISION_LANGUAGE):
        cells, color = bits[benchmark, atom], style.COLORS[atom]
        look = {"color": color, "linewidth": 0}
        ax.fill_between(cells.index, cells.min(axis=1), cells.max(axis=1), alpha=0.25, **look)
        ax.plot(cells.index, cells.mean(axis=1), color=color, marker="o", markersize=2.6)
        ax.set(title=style.benchmark_name(benchmark), xlabel="relative depth", xlim=(0, 1.06))
        ax.axhline(0, color=style.INK, linewidth=0.6, zorder=1)
    axes[0].set_ylabel("bits, corrected for bias")
    ends = rows.sort_values("layer", kind="stable").groupby(keys, sort=False)[["ci_low", "ci_high"]]
    first, last = ends.first(), ends.last()
    rises = (last["ci_low"] > first["ci_high"]).groupby("atom").sum()
    falls = (last["ci_high"] < first["ci_low"]).groupby("atom").sum()
    handles = style.atom_lines()
    for atom, handle in zip(style.VISION_LANGUAGE, handles, strict=True):
        n = len(first.xs(atom, level="atom"))
        words = f"rises in {rises[atom]}, falls in {falls[atom]} of {n}"
        handle.set_label(f"{handle.get_label()}: {words}")
    handles.append(style.swatch("range over models", facecolor=style.FAINT, alpha=0.4, linewidth=0))
    words = style.handle("rises, falls: clearly, first block to last")
    style.legend(figure, 3, *handles, words)
    return figure
