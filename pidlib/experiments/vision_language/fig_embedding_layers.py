"""How do the atoms of embeddings change from block to block?

Sources as in `fig_embeddings`; the target is the last state after each block, with its codebook.
"""

import pandas as pd

from pidlib.decomposition.codes import quantize
from pidlib.decomposition.estimate import estimate
from pidlib.experiments import ATOMS, Preset, extract_all, style, validate
from pidlib.experiments.decision_profiles import CODES, ESTIMATION, embedding_codes
from pidlib.experiments.vision_language import fig_embeddings

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
    """Each atom of each model at the first block and at the last; clear changes in color."""
    benchmarks, models = (list(table[name].unique()) for name in ("benchmark", "model"))
    keys, columns = ["benchmark", "model"], ["corrected_bits", "ci_low", "ci_high"]
    figure = style.page(0.34 * len(benchmarks) + 1.2)
    axes = figure.subplots(1, len(style.VISION_LANGUAGE), sharex=True, sharey=True)
    for ax, atom in zip(axes, style.VISION_LANGUAGE, strict=True):
        rows = table[table["atom"] == atom].sort_values("layer", kind="stable")
        ends = rows.groupby(keys, sort=False)[columns].agg(["first", "last"]).astype(float)
        bits, low, high = (ends[name] for name in columns)
        rises, falls = low["last"] > high["first"], high["last"] < low["first"]
        for (benchmark, model), (start, end) in bits.iterrows():
            y = benchmarks.index(benchmark) + 0.25 * (models.index(model) - (len(models) - 1) / 2)
            clear = (rises | falls)[benchmark, model]
            color = style.COLORS[atom] if clear else style.FAINT
            ax.hlines(y, start, end, color=color, linewidth=1.2 if clear else 0.6)
            look = {"color": "white", "markeredgecolor": color, "markersize": 2.4}
            style.points(ax, [start], [y], "o", **look)
            style.points(ax, [end], [y], "o", **look | {"color": color})
        title = f"{style.SYMBOLS[atom]}  {style.WORDS[atom]}\nrises in {rises.sum()}, falls in"
        ax.set(title=f"{title} {falls.sum()} of {len(bits)}", xlabel="bits beyond the null")
        ax.axvline(0, color=style.INK, linewidth=0.6, zorder=1)
    style.name_rows(axes[0], list(map(style.benchmark_name, benchmarks)))
    marked = ("after the first block", "o", "white"), ("after the last block", "o", style.INK)
    handles = style.marker_handles(marked, markersize=2.8)
    handles.append(style.line_handle("clear change: 95 % intervals do not overlap", 1.2))
    handles.append(style.line_handle("no clear change", 0.6, color=style.FAINT))
    handles.append(style.handle("from the top: " + ", ".join(map(style.model_name, models))))
    handles.append(style.handle(f"above: clear changes of {len(bits)} (models × benchmarks)"))
    style.legend(figure, 3, *handles)
    return figure
