r"""Does training on vision limit the synergy of vision and audio, and is the sound too soft?

Fang et al. find much U_vision and little synergy, and call vision the bottleneck. Here minis differ
only in the share of audio questions among their unimodal training questions, and in their seed, and
the atoms of the ideal answerer are known. If training on vision limits synergy, it rises with that
share; if the sound is too weak, synergy rises with its loudness.
"""

from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from functools import partial
from itertools import product

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy import stats

from pidlib._common import fingerprint, unknown_name
from pidlib.benchmarks import micro_av
from pidlib.experiments import style
from pidlib.experiments.extractions import Extracted, Request, extractions
from pidlib.experiments.omni import profiles
from pidlib.experiments.omni.profiles import FUSION, Measured
from pidlib.experiments.preset import Preset
from pidlib.experiments.statistics import centered_interval
from pidlib.experiments.tables import ATOMS, Columns, of_type, validate
from pidlib.training.recipes import RECIPES

SUBSETS = (FUSION, "micro_av/polarity")
GAINS = (0.0, 0.1, 0.3, 1.0)  # of the soundtrack: noise alone, -20 dB, about -10 dB, unchanged
AUDIBLE = 0.3  # from here to 1 an ideal answerer gains no information
DRAWN = ("synergy", "unique_vision", "unique_audio")
EFFECTS = (*DRAWN, "redundancy")
COLUMNS = Columns(
    {
        "kind": "string",
        **ATOMS.types,
        **of_type("Float64", "audio_share", "gain", "truth_bits", "accuracy"),
        **of_type("Int64", "trained_seed", "dof"),
    },
    required=("kind", *ATOMS.required),
)
_DASHED = (0, (4, 2))


def requests(preset: Preset) -> list[Request]:
    """The passes of Sensory PID for every mini, and for those in the middle at each gain."""
    query = profiles.query(preset)._replace(n_samples=preset.n_omni_intervened, layers=())
    softer = (partial(micro_av.attenuated, gain=gain) for gain in GAINS[:-1])
    gains = (*(query._replace(change=change) for change in softer), query)
    models = preset.bottleneck_models
    return [Request(models, SUBSETS, (query,)), Request(middle(models), [FUSION], gains)]


def audio_share(model: str) -> float:
    """The share of audio questions in a mini's training among those of `audio` and `visual`.

    >>> audio_share("qwen2_5_omni_compact_audio1of8_seed2")
    0.125
    """
    mixture = RECIPES[model].mixture if model in RECIPES else {}
    if "micro_av/audio" not in mixture:
        known = (name for name in RECIPES if "micro_av/audio" in RECIPES[name].mixture)
        raise ValueError(unknown_name("mini trained on audio questions", model, known))
    audio, visual = (mixture[f"micro_av/{stream}"] for stream in ("audio", "visual"))
    return audio / (audio + visual)


def middle(models: Sequence[str]) -> list[str]:
    """The models with the median `audio_share`.

    >>> middle([f"qwen2_5_omni_compact_audio{eighths}of8_seed0" for eighths in (7, 1, 4)])
    ['qwen2_5_omni_compact_audio4of8_seed0']
    """
    shares = [audio_share(name) for name in models]
    median = sorted(shares)[len(shares) // 2]
    return [name for name, share in zip(models, shares, strict=True) if share == median]


def truth(templates: Mapping[str, int]) -> dict[str, float]:
    """Atoms of the ideal answerer in bits, averaged over templates with these counts."""
    ideal = {name: micro_av.sensory_truth(name).atoms for name in templates}
    total = sum(templates.values())
    return {
        atom: sum(ideal[name][atom] * count for name, count in templates.items()) / total
        for atom in style.SENSORY
    }


def effect(
    shares: Sequence[float], bits: Sequence[float], seeds: Sequence[int]
) -> dict[str, float]:
    r"""The change of an atom from the smallest share to the largest, in bits, over n trainings.

    Each of the m seeds, which decide initial weights, clips and order, has its own level: the
    least-squares slope b of bits on shares, both centered within seeds, gives
    :math:`b\,\Delta x`, the 95 % interval :math:`\pm t_{.975,\,n-m-1}\,\mathrm{se}(b)\,\Delta x`,
    and a two-sided p for no slope; both are missing without degrees of freedom.

    >>> result = effect([0, 0, 1, 1], [0.1, 0.3, 0.3, 0.4], [0, 1, 0, 1])
    >>> {name: round(float(value), 3) for name, value in result.items()}
    {'value_bits': 0.15, 'ci_low': -0.485, 'ci_high': 0.785, 'null_p': 0.205, 'dof': 1.0}
    """
    rows = pd.DataFrame({"x": np.asarray(shares, float), "y": np.asarray(bits, float)})
    blocks = rows.groupby(np.asarray(seeds, int))
    x, y = (rows - blocks.transform("mean")).to_numpy().T
    span, dof = np.ptp(rows["x"]), len(x) - blocks.ngroups - 1
    slope = x @ y / (x @ x) if x.any() else np.nan
    half = p = np.nan
    if dof > 0 and x.any():
        error = np.sqrt(((y - slope * x) ** 2).sum() / dof / (x @ x))
        half = stats.t.ppf(0.975, dof) * error * span
        p = 2 * stats.t.sf(abs(slope) / error, dof) if error else float(slope == 0)
    value = slope * span
    ends = {"ci_low": value - half, "ci_high": value + half}
    return {"value_bits": value, **ends, "null_p": p, "dof": dof}


def measure(preset: Preset) -> pd.DataFrame:
    """Atoms with their ceiling by training and by loudness, and the effects of both, by ``kind``.

    ``training``: a mini, with an interval over questions. ``effect``: of the share, see `effect`;
    ``bend``: the mean of the minis in the `middle` minus that of the rest, likewise. ``salience``:
    a mini in the middle at a gain; ``change``: its difference between the gains `AUDIBLE` and 1.
    """
    by_training, by_gain = requests(preset)
    trained = [_profile(preset, answer, 1.0).rows for (answer,) in extractions(preset, by_training)]
    tables = [pd.concat(trained).assign(kind="training")]
    for _, subset in tables[0].groupby("benchmark", sort=False):
        tables.append(pd.DataFrame(_effects(subset)))
    for answers in extractions(preset, by_gain):
        parts = [_profile(preset, *pair) for pair in zip(answers, GAINS, strict=True)]
        tables += [part.rows.assign(kind="salience") for part in parts]
        changes = pd.DataFrame(_changes(parts[GAINS.index(AUDIBLE)], parts[-1]))
        tables.append(changes.assign(kind="change"))
    table = pd.concat(tables, ignore_index=True)
    return validate(table.assign(experiment="omni", seed=preset.seed), COLUMNS)


def _profile(preset: Preset, answer: Extracted, gain: float) -> Measured:
    settings = {"tau": preset.tau, "n_bootstrap": preset.n_bootstrap, "seed": preset.seed}
    model, extraction = answer.columns["model"], answer.extraction
    profile = profiles.template_profile(extraction, **settings)
    ceiling = truth(dict(zip(*np.unique(extraction.templates, return_counts=True), strict=True)))
    ceiling = profile.rows["atom"].map(ceiling)
    columns = answer.row_columns("omni", analysis="bottleneck", given="template", **settings)
    columns |= {"audio_share": audio_share(model), "trained_seed": RECIPES[model].seed}
    columns |= {"gain": gain, "truth_bits": ceiling, "accuracy": extraction.accuracy()}
    return profile._replace(rows=profile.rows.assign(**columns))


def _effects(trained: pd.DataFrame) -> Iterator[dict[str, object]]:
    """Effects on each atom of a subset if shares differ, and bends if there are more than two."""
    shared = ["benchmark", "split", "n_samples", "source_a", "source_b", "given", "unimodal"]
    columns = trained[[*shared, "estimator"]].iloc[0].to_dict()
    columns["fingerprint"] = fingerprint(of=sorted(trained["fingerprint"].unique()))
    columns["converged"] = trained["converged"].all()
    central = trained["model"].isin(middle(trained["model"].unique()))
    n_shares = trained["audio_share"].nunique()
    places = {"effect": trained["audio_share"]} if n_shares > 1 else {}
    places |= {"bend": central.astype(float)} if n_shares > 2 else {}
    for atom in EFFECTS:
        own = trained["atom"] == atom
        bits, seeds = trained.loc[own, "value_bits"], trained.loc[own, "trained_seed"]
        for kind, x in places.items():
            yield columns | effect(x[own], bits, seeds) | {"kind": kind, "atom": atom}


def _changes(before: Measured, after: Measured) -> Iterator[dict[str, object]]:
    """Differences between two profiles whose draws take the same samples."""
    first, second = before.rows.iloc[0], after.rows.iloc[0]
    shared = ["benchmark", "split", "model", "revision", "n_samples", "gain", "audio_share"]
    columns = first[[*shared, "trained_seed", "estimator", "unimodal"]].to_dict()
    columns |= {"fingerprint": fingerprint(of=[first["fingerprint"], second["fingerprint"]])}
    columns["converged"] = before.rows["converged"].all() and after.rows["converged"].all()
    for atom in EFFECTS:
        value = after.atoms[atom] - before.atoms[atom]
        low, high = centered_interval(after.draws[atom] - before.draws[atom], value)
        yield columns | {"atom": atom, "value_bits": value, "ci_low": low, "ci_high": high}


def figure(table: pd.DataFrame) -> Figure:
    """A row per subset: atoms by share of audio questions; last, by loudness, and accuracies."""
    trained, softened = (table[table["kind"] == kind] for kind in ("training", "salience"))
    changes = table[table["kind"].isin(("effect", "bend"))]
    subsets = list(trained["benchmark"].unique())
    n_rows = max(len(subsets), 2)
    figure = Figure(figsize=(style.PAGE, 1.9 * n_rows + 0.9))
    widths = [1] * len(DRAWN) + [1.25]
    grid = figure.subplots(n_rows, len(widths), sharey="row", width_ratios=widths)
    for (*axes, _), subset in zip(grid, subsets, strict=False):
        for ax, atom in zip(axes, DRAWN, strict=True):
            own = f"benchmark == {subset!r} and atom == {atom!r}"
            _draw_by_share(ax, trained.query(own), changes.query(own).set_index("kind"))
        axes[0].set_ylabel(f"{style.benchmark_name(subset)}\nbits")
    _draw_by_gain(grid[0][-1], softened)
    _draw_accuracies(grid[-1][-1], trained, subsets)
    words = "share of sound in the questions of audio and visual that a mini is trained on"
    if len(changes):
        least, most = (_fraction(end(trained["audio_share"])) for end in (min, max))
        words += f"\nrise: of the line, from {least} to {most}; bend: the middle minus the rest; "
        words += "bits, with 95 % intervals over trainings"
    figure.supxlabel(words, fontsize="medium")
    look = {"color": "white", "markeredgecolor": style.INK, "markersize": 3.8}
    dashes = {"color": style.INK, "linewidth": 0.9, "linestyle": _DASHED}
    seeds = sorted(trained["trained_seed"].unique())
    handles = [
        *style.atom_lines(atoms=DRAWN),
        *(style.handle(f"seed {n}", marker=style.MARKERS[n], **look) for n in seeds),
        style.handle("ideal answerer", **dashes),
        style.handle("null: answers permuted", color=style.FAINT, marker="_", markersize=7),
    ]
    figure.legend(handles=handles, loc="outside upper center", ncols=4)
    return figure


def _draw_by_share(ax: Axes, rows: pd.DataFrame, changes: pd.DataFrame) -> None:
    """A point per training, the fitted line, and its rise and bend with their intervals."""
    atom, shares = rows["atom"].iloc[0], rows["audio_share"].to_numpy(float)
    ends, title = np.array([shares.min(), shares.max()]), [style.SYMBOLS[atom]]
    changes = changes[["value_bits", "ci_low", "ci_high"]].astype(float)
    for kind, word in (("effect", "rise"), ("bend", "bend")):
        if kind in changes.index:
            title.append("{} {:+.2f} [{:+.2f}, {:+.2f}]".format(word, *changes.loc[kind]))
    if "effect" in changes.index:
        slope = changes.loc["effect", "value_bits"] / np.ptp(ends)
        line = float(rows["value_bits"].mean()) + slope * (ends - shares.mean())
        ax.plot(ends, line, color=style.COLORS[atom], linewidth=1.2, zorder=2)
    _draw_points(ax, _dodged_shares(rows), rows)
    _draw_truth(ax, rows)
    _label_shares(ax, shares)
    ax.set_title("\n".join(title).replace("-", "\N{MINUS SIGN}"), pad=3)


def _draw_accuracies(ax: Axes, trained: pd.DataFrame, subsets: Sequence[str]) -> None:
    """Small white markers for the first subset, over larger gray ones for the second."""
    looks = (("white", 2.2), (style.FAINT, 5.2))
    for subset, (face, size) in zip(subsets, looks, strict=False):
        rows = trained[trained["benchmark"] == subset].drop_duplicates("model")
        x, look = _dodged_shares(rows), {"color": face, "markersize": size, "zorder": 6 - size / 10}
        for place, value, seed in zip(x, rows["accuracy"], rows["trained_seed"], strict=True):
            style.points(ax, [place], [value], style.MARKERS[seed], **look)
    _label_shares(ax, trained["audio_share"].to_numpy(float))
    names = [style.benchmark_name(subset).split(": ")[-1] for subset in subsets]
    names = [f"{name} {shade}" for name, shade in zip(names, ("white", "grey"), strict=False)]
    ax.set_title(f"share of right answers:\n{', '.join(names)}", pad=3)


def _draw_by_gain(ax: Axes, rows: pd.DataFrame) -> None:
    gains, seeds = np.sort(rows["gain"].unique()), np.sort(rows["trained_seed"].unique())
    for atom, seed in product(DRAWN, seeds):
        line = rows[(rows["atom"] == atom) & (rows["trained_seed"] == seed)].sort_values("gain")
        x = np.arange(len(gains)) + 0.1 * (float(seed) - float(seeds.mean()))
        color, bits = style.COLORS[atom], line["value_bits"].to_numpy(float)
        ax.plot(x, bits, color=color, linewidth=0.8, zorder=2)
        _draw_points(ax, x, line)
        if seed == seeds[-1]:
            _draw_truth(ax, line, color=color)
    ax.set_xticks(range(len(gains)), ["none" if gain == 0 else f"{gain:g}" for gain in gains])
    ax.set_xlabel("gain of the soundtrack")
    shares = ", ".join(map(_fraction, rows["audio_share"].unique()))
    ax.set_title(f"softer sound,\nshare {shares}", pad=3)


def _draw_points(ax: Axes, x: np.ndarray, rows: pd.DataFrame) -> None:
    """Points with intervals and nulls, in the color of the atom, by seed."""
    style.interval(ax, x, rows["ci_low"], rows["ci_high"])
    look = {"color": style.FAINT, "markeredgecolor": style.FAINT, "markersize": 7, "zorder": 3}
    style.points(ax, x, rows["null_mean"], "_", **look)
    columns = (rows[name] for name in ("value_bits", "trained_seed", "atom"))
    for place, value, seed, atom in zip(x, *columns, strict=True):
        style.points(ax, [place], [value], style.MARKERS[seed], color=style.COLORS[atom])


def _draw_truth(ax: Axes, rows: pd.DataFrame, color: str = style.INK) -> None:
    bits = float(rows["truth_bits"].iloc[0])
    ax.axhline(bits, color=color, linewidth=0.9, linestyle=_DASHED, zorder=1)


def _dodged_shares(rows: pd.DataFrame) -> np.ndarray:
    """The shares, shifted slightly by seed."""
    seeds = rows["trained_seed"].to_numpy(float)
    return rows["audio_share"].to_numpy(float) + 0.05 * (seeds - seeds.mean())


def _label_shares(ax: Axes, shares: np.ndarray) -> None:
    ticks = np.unique(shares)
    ax.set_xticks(ticks, map(_fraction, ticks))
    ax.set_xlim(ticks[0] - 0.15, ticks[-1] + 0.15)


def _fraction(share: float) -> str:
    return str(Fraction(share).limit_denominator(99))
