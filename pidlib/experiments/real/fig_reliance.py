"""Do models of one accuracy take their answers from the same sources?"""

from collections.abc import Iterator
from itertools import combinations
from textwrap import fill

import numpy as np
import pandas as pd
from matplotlib.ticker import MaxNLocator

from pidlib.experiments import Preset, Request, decision_profiles, style, words
from pidlib.experiments.real import table_profiles

COLUMNS, MODE = table_profiles.COLUMNS, "resampled"
TASKS = {"category": "what kind of thing is shown?", "naming": "is this an owl?"}
TASKS |= {"both": "is a vehicle shown?", "knowledge": "is an owl an animal?"}
TASKS |= {"captioned": "what kind? (caption given)", "pair": "a part from each source"}
NAMES = {"picture_blind": "blind to pictures", "caption_blind": "captions by chance"}
NAMES |= {"caption_prior": "captions 80 % right", "brief": "base, stopped early"}
SAME, LEAST = 0.05, 0.1  # accuracies that count as one, and bits that count as another atom


def requests(preset: Preset) -> list[Request]:
    """As of `table_profiles`, of the adapters of one model, see `real.population`."""
    (query,) = decision_profiles.request(preset).queries
    query = query._replace(n_samples=preset.n_population)
    return [Request(preset.population, preset.benchmarks, (query,))]


def measure(preset: Preset) -> pd.DataFrame:
    """Atoms by model, task and mode, with accuracies."""
    return table_profiles.measure(preset, requests(preset))


def contrasts(table: pd.DataFrame) -> pd.DataFrame:
    """Pairs of models with accuracies apart by at most `SAME`, and their most unlike atom.

    A row for each pair, task and mode; ``apart`` are the bits between the intervals of the atom.
    """
    rows = []
    for (task, mode), block in table.groupby(["benchmark", "unimodal"], sort=False):
        block = block.assign(bits=style.best(block)).set_index("atom")
        for (one, a), (other, b) in combinations(block.groupby("model", sort=False), 2):
            shares = [float(part["accuracy"].iloc[0]) for part in (a, b)]
            if abs(shares[0] - shares[1]) > SAME + 1e-9:
                continue
            gaps = np.maximum(a["ci_low"] - b["ci_high"], b["ci_low"] - a["ci_high"]).astype(float)
            atom = gaps.idxmax()
            bits = a.loc[atom, "bits"], b.loc[atom, "bits"]
            rows.append((task, mode, one, other, atom, *bits, *shares, gaps[atom]))
    columns = "benchmark unimodal one other atom one_bits other_bits accuracy_one accuracy_other"
    return pd.DataFrame(rows, columns=[*columns.split(), "apart"])


def summary(table: pd.DataFrame) -> Iterator[str]:
    """Sentences on pairs of models with one accuracy: how many differ in an atom, where most."""
    pairs = contrasts(table[table["unimodal"] == MODE])
    unlike = pairs[pairs["apart"] > LEAST].sort_values("apart", ascending=False, kind="stable")
    text = f"Of {len(pairs)} pairs of models whose accuracies on a task differ by at most {SAME}, "
    text += f"{len(unlike)} differ in an atom by more than {LEAST} bits between the intervals"
    yield f"{text} ({MODE})."
    for row in unlike.drop_duplicates("benchmark").itertuples():
        text = f"*{table_profiles.name(row.benchmark)}*: {_name(row.one)} and {_name(row.other)} "
        text += f"answer {row.accuracy_one:.2f} and {row.accuracy_other:.2f} of the questions right"
        bits = f"{row.one_bits:.2f} and {row.other_bits:.2f} bits of {style.SYMBOLS[row.atom]}"
        yield f"{text}, with {bits}."


def _name(model: str) -> str:
    return NAMES.get(model, model.replace("_", " "))


def figure(table: pd.DataFrame) -> style.Figure:
    """A panel for each task, a line for each model: resampled atoms and its accuracy."""
    table = table[table["unimodal"] == MODE].assign(value=style.best)
    models, tasks = list(table["model"].unique()), list(table["benchmark"].unique())
    result, panels = style.panels(tasks, 0.17 * len(models) + 0.62, 0.4, ylabel="")
    offsets = np.linspace(-0.27, 0.27, len(style.VISION_LANGUAGE))
    for task, ax in panels.items():
        rows = table[table["benchmark"] == task]
        for offset, atom in zip(offsets, style.VISION_LANGUAGE, strict=True):
            own = rows[rows["atom"] == atom].set_index("model").reindex(models)
            own = own.assign(null_low=0.0, null_high=own["null_mean"].fillna(0))
            look = {"s": 9, "color": style.COLORS[atom], "edgecolors": style.INK, "linewidths": 0.3}
            style.forest(ax, np.arange(len(models)) + offset, own, 0.2, **look)
        largest = rows[rows["value"] == rows.groupby("model")["value"].transform("max")]
        for row in largest[largest["ci_low"] > LEAST].itertuples():
            place = models.index(row.model) + offsets[style.VISION_LANGUAGE.index(row.atom)]
            at, look = (row.ci_high, place), {"fontsize": 6, "va": "center"}
            ax.annotate(words.number(row.value), at, (2, 0), textcoords="offset points", **look)
        right = rows.drop_duplicates("model").set_index("model")["accuracy"].reindex(models)
        for place, share in enumerate(right):
            style.margin(ax, place, f"{100 * share:.0f} %", fontsize=6.5)
        style.margin(ax, -0.8, "right", fontsize=6.5)
        ax.axvline(0, color=style.INK, linewidth=0.6)
        ax.set_xlim(right=max(1.12 * ax.get_xlim()[1], style.LEAST_BITS))
        ax.xaxis.set_major_locator(MaxNLocator(4))
        task = table_profiles.name(task)
        ax.set_title(f"{task}: {TASKS[task]}" if task in TASKS else task, fontsize=7.5)
        ax.set_yticks(range(len(models)), list(map(_name, models)))
        ax.tick_params(axis="y", length=0)
    ax.invert_yaxis()  # of all panels
    text = "bits (scales differ), with 95 % intervals; the largest atom is labeled; "
    result.supxlabel(f"{text}at the right, the share of right answers", fontsize="medium")
    null = style.null_handle("null: answers permuted")
    first, *pairs = (text.replace(f" ({MODE})", "").replace("*", "") for text in summary(table))
    title = "\n".join(fill(text, 140) for text in (first, *pairs[:1]))
    style.legend(result, 5, *style.atom_points(), null, title=title, title_fontsize=8)
    return result
