r"""How much do picture and question contribute to the states of a model?

The share of language in the unique information, :math:`C_\ell = U_\ell / (U_\ell + U_v)`, of codes
of pooled embeddings about the last state at the answer. Padegal Amit et al., arXiv 2511.19470.
"""

import math

import numpy as np
import pandas as pd
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.patches import Rectangle

from pidlib.decomposition.estimate import estimate
from pidlib.experiments import ATOMS, Preset, Request, decision_profiles, extract_all, style, tables
from pidlib.experiments.decision_profiles import CODES, ESTIMATION
from pidlib.extraction import SOURCES

_SHARES = ("contribution", "contribution_low", "contribution_high")
_CAPTION = r"per cent with 95\,\% interval; below it $U_v+U_\ell$ in bits, "
_CAPTION += "as counted / with the target permuted"
_COLORS = [style.COLORS["unique_vision"], "#f7f7f7", style.COLORS["unique_language"]]

_REQUIRED = "experiment benchmark estimator atom seed fingerprint"  # published: no value_bits
COLUMNS = tables.declare(*ATOMS.types, *_SHARES, "unique_p source grade note", required=_REQUIRED)


def requests(preset: Preset) -> list[Request]:
    """The last state of each model of the population, for the codebooks and to profile."""
    request, n = decision_profiles.embedding_request(preset), preset.n_contributions
    counts = zip(request.queries, (-(-n // 2), n), strict=True)  # codebooks need fewer
    queries = tuple(query._replace(n_samples=n, layers=(-1,)) for query, n in counts)
    return [request._replace(models=preset.population, queries=queries)]


def measure(preset: Preset) -> pd.DataFrame:
    """Atoms of each model on each benchmark, with shares if unique information is significant."""
    k, settings = preset.contribution_codes, preset.model_dump(include=ESTIMATION)
    options = {"n_clusters": k, "seed": preset.seed, "allow_degenerate": True}
    profiles, key = [], {"n_clusters": k, **settings}
    for fitted, applied in extract_all(preset, *requests(preset)):
        pair = fitted.extraction, applied.extraction
        result = estimate(*decision_profiles.embedding_codes(*pair, **options), **settings)
        shares = {f"unique_{source}": result.contribution(source) for source in SOURCES}
        rows = pd.DataFrame(result.rows()).join(pd.DataFrame(shares).T, on="atom")
        key["fitted"] = fitted.columns["fingerprint"]
        columns = applied.row_columns("vision_language", **key)
        profiles.append(rows.assign(**columns, layer=applied.extraction.layers[-1]))
    table = pd.concat([pd.concat(profiles).assign(**CODES, n_codes=k), published()])
    return tables.validate(table.assign(seed=preset.seed, experiment="vision_language"), COLUMNS)


def published() -> pd.DataFrame:
    """Published shares, without atoms, and published atoms in bits."""
    table = tables.published("table2_contributions")
    table = table[table["unit"].isin(("share", "nats"))]
    value, share = table["value"].astype(float), table["unit"] == "share"
    names = {"low": "contribution_low", "high": "contribution_high", "quantity": "atom"}
    table = table.rename(columns=names).drop(columns=["unit", "value"])
    bits = {"value_bits": (value / math.log(2)).mask(share), "contribution": value.where(share)}
    atom = table["atom"].str.replace("contribution_", "unique_")
    return table.assign(atom=atom, **bits, estimator="published", fingerprint="published")


def figure(table: pd.DataFrame) -> style.Figure:
    """A map of the shares of language, with models sorted by their mean; published values aside."""
    shares = table[table["grade"].isna() & (table["atom"] == "unique_language")]
    cells = {"index": "model", "columns": "benchmark", "sort": False, "dropna": False}
    matrix, low, high = (shares.pivot_table(values=n, **cells).astype(float) for n in _SHARES)
    order = matrix.mean(axis=1).sort_values(kind="stable").index
    matrix, low, high = (values.loc[order] for values in (matrix, low, high))
    figure = style.page(0.19 * max(len(matrix), 5) + 1.0)
    ax, scale = figure.subplots(), LinearSegmentedColormap.from_list("modalities", _COLORS)
    image = ax.pcolormesh(100 * matrix, cmap=scale, vmin=0, vmax=100, ec="white", lw=0.8)
    hatched = {"facecolor": "white", "edgecolor": style.NULL, "hatch": "/////", "linewidth": 0}
    centered = {"ha": "center", "va": "center_baseline", "fontsize": 6.5}
    for (row, column), value in np.ndenumerate(matrix.to_numpy()):
        if np.isnan(value):
            ax.add_patch(Rectangle((column, row), 1, 1, **hatched))
            continue
        slant = "italic" if low.iloc[row, column] <= 0.5 <= high.iloc[row, column] else "normal"
        look = {"style": slant, "color": "white" if value < 0.25 else style.INK}
        ax.text(column + 0.5, row + 0.5, f"{100 * value:.0f}", **centered, **look)
    rows, columns = (np.arange(size) + 0.5 for size in matrix.shape)
    slanted = {"rotation": 25, "ha": "right", "rotation_mode": "anchor"}
    ax.set_xticks(columns, map(style.benchmark_name, matrix.columns), **slanted)
    ax.set_yticks(rows, map(style.model_name, matrix.index), fontsize=6.5)
    counts = (each.sum(axis=None) for each in (low > 0.5, low.notna(), high < 0.5))
    title = "Unique information: question leads in {} of {} shares, picture in {} (beyond 50 %)"
    ax.set_title(title.format(*counts))
    ax.invert_yaxis()
    ax.tick_params(length=0)
    ax.grid(visible=False)
    ax.spines[:].set_visible(False)
    label = r"share of language, $C_\ell$ (%)"
    bar = figure.colorbar(image, ax=ax, fraction=0.025, pad=0.03, label=label)
    handles = [style.swatch("no share: neither unique atom detected", **hatched)]
    handles.append(style.handle("slanted: interval holds 50 %; rows by mean share"))
    for row in table[table["grade"].notna() & table["value_bits"].isna()].itertuples():
        ends = [100 * end for end in _language_shares(row)]
        x, y, width, kind, marker = (-0.8, -0.1), ends * 2, 1, "share", "_"
        if len(ends) > 1:
            x, y, width, kind, marker = (-0.45, -0.45), ends, 1.6, "range", "|"
        look = {"linewidth": width, "solid_capstyle": "butt", "clip_on": False}
        bar.ax.plot(x, y, color=style.INK, **look)  # next to the color scale
        words = f"published {kind}: {_place(row)} (grade {row.grade})"
        handles.append(style.handle(words, color=style.INK, marker=marker, markersize=7))
    style.legend(figure, 2, *handles, loc="outside lower center")
    return figure


def latex(table: pd.DataFrame) -> str:
    """Shares with intervals and unique information; means of models, atoms; published numbers."""
    measured, reported = table[table["grade"].isna()], table[table["grade"].notna()]
    shares = measured[measured["atom"] == "unique_language"]
    benchmarks = list(shares["benchmark"].unique())
    header = ["", *(tables.escape(style.benchmark_name(name)) for name in benchmarks), "mean"]
    unique = measured[measured["atom"].str.startswith("unique")]
    unique = unique.groupby(["model", "benchmark"])[["value_bits", "null_mean"]].sum()
    rows = [*style.minis_line(shares["model"], len(header)), tables.heading(_CAPTION, len(header))]
    for model, block in shares.groupby("model", sort=False):
        ends = (100 * block[list(_SHARES)].astype(float)).to_numpy()
        cells = (None if np.isnan(e[0]) else tables.with_interval(*e, digits=0) for e in ends)
        rows.append([style.model_name(model), *cells, _percent(block["contribution"].mean())])
        below = unique.loc[model].loc[benchmarks].itertuples(index=False)
        rows.append(["", *(rf"\scriptsize {bits:.2f} / {null:.2f}" for bits, null in below), ""])
    means = shares.groupby("benchmark", sort=False)["contribution"].mean()
    rows.append([r"\midrule mean", *map(_percent, (*means, shares["contribution"].mean()))])
    for index, atom in enumerate(style.VISION_LANGUAGE):
        bits = measured[measured["atom"] == atom].groupby("benchmark")["corrected_bits"].mean()
        name = r"\midrule " * (index == 0) + f"{style.SYMBOLS[atom]}, bits"
        rows.append([name, *map(float, bits[benchmarks]), float(bits.mean())])
    for index, text in enumerate(_published_lines(reported)):
        rows.append(tables.heading(text, len(header), r"\midrule " * (index == 0)))
    return tables.booktabs(header, rows)


def _language_shares(row) -> list[float]:
    """A published share of language, or the ends of a range."""
    ends = (row.contribution, row.contribution_low, row.contribution_high)
    language = row.atom == "unique_language"
    return [end if language else 1 - end for end in ends if pd.notna(end)]


def _published_lines(rows: pd.DataFrame) -> list[str]:
    """A line per published share, range, decomposition and note."""
    lines = []
    for row in rows[rows["value_bits"].isna()].itertuples():
        ends = "--".join(map(_percent, sorted(_language_shares(row))))
        lines.append(f"{_place(row)}: {ends} (grade {row.grade})")
    for _, block in rows.dropna(subset="value_bits").groupby(["model", "benchmark"], sort=False):
        atoms = zip(block["atom"], block["value_bits"], strict=True)
        bits = ", ".join(f"{style.SYMBOLS[atom]} {value:.2f}" for atom, value in atoms)
        row = block.iloc[0]
        lines.append(f"{_place(row)}, {row.n_samples} samples: {bits} bits (grade {row.grade})")
    notes = rows.groupby("note", sort=False)["model"].unique()
    return lines + [f"{', '.join(models)}: {note}" for note, models in notes.items()]


def _place(row) -> str:
    everything = row.model == row.benchmark == "all"
    return "all models and benchmarks" if everything else f"{row.model}, {row.benchmark}"


def _percent(share: float) -> str | None:
    return None if pd.isna(share) else f"{100 * share:.0f}"
