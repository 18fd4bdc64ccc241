"""How much synergy is estimated where there is none?

Two sources and a target are drawn independently, so every atom is zero. The plug-in estimate of
I(Y; X1, X2) is too large by about (k1 k2 - 1)(ky - 1) / (2 n ln 2) bits, nearly all of it synergy,
as I_Q sees pair tables only. Corrections: Panzeri et al. (2007), Journal of Neurophysiology 98.
"""

from itertools import cycle, product

import numpy as np
import pandas as pd
from jaxtyping import Float, Int
from tqdm.auto import tqdm

from pidlib._common import derive_seed, fingerprint
from pidlib.decomposition import pid
from pidlib.decomposition.entropies import ENTROPIES, joint_information, plug_in, tabulate
from pidlib.decomposition.estimate import permuted
from pidlib.experiments import Preset, style, tables
from pidlib.experiments.statistics import normal_interval, variance_of

COLUMNS = tables.ATOMS
TARGET_CODES = 4


def measure(preset: Preset) -> pd.DataFrame:
    """The mean over repeated draws by correction, with 1.96 standard deviations on either side."""
    parts, settings = [], list(product(preset.bias_codes, preset.bias_samples))
    for k, n in tqdm(settings, desc="independent codes", unit="setting"):
        options = {"n": n, "k": k, "n_repeats": preset.n_repeats, "seed": preset.seed}
        repeats = spurious_synergy(**options)
        low, high = normal_interval(repeats.mean(), repeats.std())
        rows = pd.DataFrame({"value_bits": repeats.mean(), "ci_low": low, "ci_high": high})
        columns = {"n_samples": n, "n_codes": k, "fingerprint": fingerprint(**options)}
        parts.append(rows.reset_index(names="estimator").assign(**columns))
    shared = {"experiment": "validation", "benchmark": "independent", "atom": "synergy"}
    return tables.validate(pd.concat(parts).assign(seed=preset.seed, **shared), COLUMNS)


def figure(table: pd.DataFrame) -> style.Figure:
    """Error of a single study against the number of samples, a panel per number of codes."""
    codes, sizes = (sorted(table[name].unique()) for name in ("n_codes", "n_samples"))
    colors = [style.COLORS["synergy"], *style.OTHERS]  # plug-in is the first
    dashes = cycle(["-", (0, (4, 1.2)), (0, (1.2, 1)), (0, (6, 1, 1, 1))])
    looks = list(zip(table["estimator"].unique(), colors, dashes, style.MARKERS, strict=False))
    words = {"plug-in": "plug-in (uncorrected)", "permutation mean": "plug-in − null"}
    figure = style.page(3.3)
    axes = figure.subplots(1, len(codes), sharex=True, sharey=True, squeeze=False)[0]
    left, right, middle = sizes[0] * 0.7, sizes[-1] * 1.3, sizes[(len(sizes) - 1) // 2]
    error = np.hypot(table["value_bits"], variance_of(table["ci_low"], table["ci_high"]) ** 0.5)
    errors = table.assign(error=error.astype(float)).set_index(["n_samples", "estimator"])
    for ax, k in zip(axes, codes, strict=True):
        cells = errors.loc[errors["n_codes"] == k, "error"].unstack()
        for name, color, dash, marker in looks:
            label = words.get(name, name.replace(", null", " − null"))
            look = {"color": color, "linestyle": dash, "marker": marker, "label": label}
            ax.plot(cells.index, cells[name], markersize=2.8, **look)
        shade = {"color": style.NULL, "alpha": 0.45, "linewidth": 0, "zorder": 0}
        ax.axvspan(left, max(k * k, left), label="fewer samples than pairs of codes", **shade)
        line = {"color": style.FAINT, "linewidth": 0.8, "zorder": 1}
        ax.axvline(middle, label=f"{middle:,} samples: numbers on top", **line)
        plain, corrected = cells.loc[middle, ["plug-in", "permutation mean"]]
        title = f"{k} codes per source\nplug-in {plain:.3f}, minus null {corrected:.3f} bits"
        ax.set(xscale="log", yscale="log", xlim=(left, right), xlabel="samples $n$", title=title)
    axes[0].set_ylabel("error of synergy (bits)\nroot mean square; the truth is 0")
    null = style.handle("null: mean over permuted targets")
    style.legend(figure, 4, *axes[0].get_legend_handles_labels()[0], null)
    return figure


def spurious_synergy(
    n: int, k: int, *, n_repeats: int = 8, n_permutations: int = 50, seed: int = 0
) -> pd.DataFrame:
    """Synergy of independent codes by correction; of I_Q, all but plug-in subtract the null."""
    shape, counts = (k, k, TARGET_CODES), []
    generator = np.random.default_rng(derive_seed("spurious_synergy", seed, n, *shape[1:]))
    for repeat in range(n_repeats):
        codes = [generator.integers(size, size=n) for size in shape]
        null = permuted(codes, shape, n_permutations, derive_seed(seed, n, *shape[1:], repeat))
        counts.append(np.concatenate([tabulate(*np.array(codes)[:, None], shape), null]))
    unions = pid(np.concatenate(counts), tol=1e-4).upper.reshape(n_repeats, -1)
    rows, nulls = [], {"plug-in": "permutation mean", "Chao-Wang-Jost": "Chao-Wang-Jost, null"}
    for joints, union in zip(counts, unions, strict=True):
        estimates = {name: joint_information(joints, f) for name, f in ENTROPIES.items()}
        information = {name: values[0] for name, values in estimates.items()}
        for name, corrected in nulls.items():
            information[corrected] = information[name] - estimates[name][1:].mean()
        information["Panzeri, null"] = shuffled_information(joints[:1], generator, 10).item()
        information["Panzeri, null"] -= shuffled_information(joints[1:], generator).mean()
        shared = dict.fromkeys(information, union[0] - union[1:].mean()) | {"plug-in": union[0]}
        rows.append({name: value - shared[name] for name, value in information.items()})
    return pd.DataFrame(rows)


def shuffled_information(
    counts: Int[np.ndarray, "b x1 x2 y"], generator: np.random.Generator, n_shuffles: int = 1
) -> Float[np.ndarray, " b"]:
    """I(Y; X1, X2) with the bias of H(X1, X2 | Y) removed by shuffling X2 within each value of Y.

    I_sh = H(X1, X2) - H_ind(X1, X2 | Y) + H_sh(X1, X2 | Y) - H(X1, X2 | Y), of Panzeri et al., with
    H_ind from pair tables. All tables need the same number of samples.
    """
    b, k1, k2, ky = counts.shape
    cells = np.moveaxis(counts, 3, 1).reshape(b, -1)
    samples = np.stack([np.repeat(np.arange(cells.shape[1]), row) for row in cells])
    y, x1, x2 = np.unravel_index(samples, (ky, k1, k2))
    shuffled = []
    for _ in range(n_shuffles):
        order = np.argsort(y + generator.random(y.shape), axis=1)  # shuffles within values of y
        joints = tabulate(x1, np.take_along_axis(x2, order, axis=1), y, (k1, k2, ky))
        shuffled.append(plug_in(joints.reshape(b, -1)))
    first, second, sources = (plug_in(counts.sum(axis).reshape(b, -1)) for axis in (2, 1, 3))
    independent = first + second - 2 * plug_in(counts.sum((1, 2)))  # H(Y) of full tables cancels
    return sources - independent + np.mean(shuffled, axis=0) - plug_in(counts.reshape(b, -1))
