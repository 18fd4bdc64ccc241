"""Which atoms do a model's embeddings have?

The sources are pooled embeddings at the input of the language model, the target is the last state
at the answer; all become k-means codes, by codebooks of other samples, or a covariance (Gaussian).
"""

import pandas as pd

from pidlib._common import fingerprint
from pidlib.experiments import ATOMS, Preset, Request, booktabs, extract_all, style, validate
from pidlib.experiments import decision_profiles as profiles
from pidlib.experiments.words import largest, share
from pidlib.extraction import SOURCES

COLUMNS = ATOMS
_TITLES = {"exact": "By codes (clusters)"}
_TITLES |= {"Gaussian": "By covariance (linear; bits not comparable)"}


def requests(preset: Preset) -> list[Request]:
    """States at the answer position after every block, for the codebooks and to profile."""
    return [profiles.embedding_request(preset)]


def measure(preset: Preset) -> pd.DataFrame:
    """Atoms of each model on each benchmark, with null, correction and interval."""
    settings = preset.model_dump(include={"n_clusters", *profiles.ESTIMATION})
    options = {"seed": preset.seed, "n_draws": min(profiles.N_DRAWS, preset.n_permutations)}
    tables = []
    for fitted, (states, columns) in extract_all(preset, *requests(preset)):
        applied = columns.pop("fingerprint")
        key = fingerprint(fitted=fitted.columns["fingerprint"], applied=applied, **settings)
        rows = profiles.embedding_profile(preset, fitted.extraction, states)
        tables.append(rows.assign(**columns, fingerprint=key))
        parts = [*(states.embeddings[name] for name in SOURCES), states.hidden[:, -1]]
        key = fingerprint(applied=applied, **profiles.GAUSSIAN, **options)
        columns |= {"layer": states.layers[-1], "seed": preset.seed, "fingerprint": key}
        tables.append(profiles.gaussian_rows(parts, **options).assign(**columns))
    return validate(pd.concat(tables).assign(experiment="vision_language"), COLUMNS)


def figure(table: pd.DataFrame) -> style.Figure:
    """Atoms of each model by codes and by covariances; how often each is clearly largest."""
    benchmarks, models = (list(table[name].unique()) for name in ("benchmark", "model"))
    result = style.page(0.42 * len(benchmarks) + 1.1)
    axes = result.subplots(1, len(_TITLES), sharex=True, sharey=True)
    leading = largest(table, ["benchmark", "model", "estimator"]).unstack("estimator")
    leading = leading.reindex(columns=list(_TITLES))
    same = leading.dropna().eval("exact == Gaussian")
    counts = leading["exact"].value_counts().reindex(style.VISION_LANGUAGE, fill_value=0)
    text = ", ".join(f"{style.SYMBOLS[atom]} in {n}" for atom, n in counts.items())
    text = f"clearly largest: {text} of {len(leading)} cells"
    for ax, (estimator, title) in zip(axes, _TITLES.items(), strict=True):
        rows = table[table["estimator"] == estimator]
        for (atom, model), shown in rows.groupby(["atom", "model"], sort=False):
            index, color = models.index(model), style.COLORS[atom]
            marker = style.MARKERS[index % len(style.MARKERS)]
            y = shown["benchmark"].map(benchmarks.index) + 0.04 * (index - (len(models) - 1) / 2)
            y += 0.22 * (style.VISION_LANGUAGE.index(atom) - 1.5)
            ax.hlines(y, *style.floats(shown, "ci_low", "ci_high"), color=color, linewidth=0.8)
            look = {"color": color, "markeredgewidth": 0, "markersize": 2.8}
            style.points(ax, shown["corrected_bits"], y, marker, **look)
        for y, benchmark in enumerate(benchmarks):
            atoms = leading.loc[benchmark, estimator].value_counts()
            words = ", ".join(f"{style.SYMBOLS[atom]} {n}" for atom, n in atoms.items())
            words = words or "none" if benchmark in set(rows["benchmark"]) else "one\nquestion"
            others = (~same.get(benchmark, default=same[:0])).sum() * (estimator != "exact")
            words += f"\n(differs in {others})" * (others > 0)
            style.margin(ax, y, words, weight="bold" if others else "normal")
            ax.axhline(y + 0.5, color=style.NULL, linewidth=0.5, zorder=0)
        ax.axvline(0, color=style.INK, linewidth=0.6)
        ax.grid(visible=False, axis="y")
        ax.set(title=f"{title}\n{text}", xlabel="bits beyond the null")
        text = f"the same in {share(same)} cells clear in both"
    style.name_rows(axes[0], list(map(style.benchmark_name, benchmarks)))
    marked = zip(map(style.model_name, models), style.MARKERS, strict=False)
    minis = style.marker_handles((name, marker, "white") for name, marker in marked)
    line = style.line_handle("95 % interval of a model", 0.8)
    words = "clearly largest (right: models): interval above all others"
    words = map(style.handle, (words, "cell: a model on a benchmark"))
    style.legend(result, 3, *style.atom_points(), *minis, line, *words)
    return result


def latex(table: pd.DataFrame) -> str:
    """Corrected atoms in bits by codes and by covariance; dashes where a source is constant."""
    keys = ["benchmark", "model"]
    columns = {"index": keys, "columns": ["estimator", "atom"], "values": "corrected_bits"}
    cells = table.pivot(**columns).reindex(index=table.set_index(keys).index.unique())
    chosen = [(name, atom) for name in ("exact", "Gaussian") for atom in style.VISION_LANGUAGE]
    cells = cells.reindex(columns=pd.MultiIndex.from_tuples(chosen)).astype(float)
    symbols = [f"{style.SYMBOLS[atom]}{' Gaussian' * (name != 'exact')}" for name, atom in chosen]
    names = ((style.benchmark_name(name), style.model_name(model)) for name, model in cells.index)
    rows = [[*each, *bits] for each, bits in zip(names, cells.to_numpy(), strict=True)]
    return booktabs(["benchmark", "model", *symbols], rows, align="ll" + "r" * 8)
