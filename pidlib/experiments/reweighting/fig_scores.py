"""Which training samples get more weight, which less, and are these the intended samples?

Scores of the first bases and the first seed, with PID weights by all estimators of local terms.
"""

import textwrap
from dataclasses import replace
from operator import attrgetter

import numpy as np
import pandas as pd

from pidlib import benchmarks
from pidlib._common import derive_seed
from pidlib.decomposition.decisions import decision_pid
from pidlib.experiments import Preset, declare, style, validate
from pidlib.experiments.reweighting.plan import first_bases
from pidlib.experiments.reweighting.settings import TrainingSpec
from pidlib.experiments.reweighting.training import sample_weights, scored
from pidlib.reweighting import Condition

_SCORES = "sr sc fp_bits gap_bits weight"
COLUMNS = declare(
    f"experiment base benchmark split sample_id question answer {_SCORES}",
    "weight_batch weight_lsmi p_answer p_answer_language moved_vision moved_language right",
    "fallback_vision fallback_language converged n_samples seed fingerprint",
    required=f"experiment base benchmark split sample_id {_SCORES} seed fingerprint",
    **dict.fromkeys(("fallback_vision", "fallback_language"), "boolean"),
)
_EXTREMES = {"gap_bits": "largest gap", "sc": "largest SC", "sr": "largest SR"}
_COUNT = 4  # samples shown of each extreme


def measure(preset: Preset) -> pd.DataFrame:
    """Scores and weights of the training questions, also by other estimators of the local terms."""
    parts, names = [], ["split", "sample_id", "question", "answer"]
    for base, trained_on in first_bases(preset):
        spec = TrainingSpec.from_preset(preset, base, trained_on, Condition.PID)
        samples, decisions, scores = scored(preset, spec)
        rows = np.arange(len(samples))
        answers = np.array([sample.candidates.index(sample.answer) for sample in samples])
        table = pd.DataFrame(map(attrgetter(*names), samples), columns=names)
        table = table.join(scores.rename(columns={"fp": "fp_bits", "gap": "gap_bits"}))
        table["weight"], _ = sample_weights(preset, spec)
        for estimator in ("BATCH", "LSMI"):
            other = replace(spec, weighting=replace(spec.weighting, estimator=estimator))
            table[f"weight_{estimator.lower()}"], _ = sample_weights(preset, other)
        table["p_answer"] = decisions.joint[rows, answers]
        table["p_answer_language"] = decisions.unimodal["language"][rows, answers]
        reconciliation = decision_pid(decisions, tol=0.1).reconciliation  # the same for every tol
        for name, source in decisions.sources.items():
            uniform = np.isclose(source, 1 / source.shape[1], rtol=0, atol=1e-12)
            table[f"fallback_{name}"] = uniform.all(1)
            table[f"moved_{name}"] = reconciliation[name]
        table["right"] = decisions.joint.argmax(1) == answers
        columns = {"base": spec.columns["base"], "benchmark": trained_on, "n_samples": len(samples)}
        seed = derive_seed(spec.stream, "tuning", spec.seed)
        parts.append(table.assign(**columns, fingerprint=spec.fingerprint, seed=seed))
    return validate(pd.concat(parts).assign(experiment="reweighting"), COLUMNS)


def figure(table: pd.DataFrame) -> style.Figure:
    """SC against SR, gap against FP (hollow: p(answer | text) below .5), and extreme samples."""
    benchmarked = table.groupby("benchmark", sort=False)
    weights = sorted(table["weight"].unique(), reverse=True)
    three = style.OTHERS[0], style.FAINT, style.OTHERS[1]
    colors = dict(zip(weights, three if len(weights) == 3 else style.OTHERS, strict=False))
    figure = style.page(3.35 * len(benchmarked) + 0.3)
    blocks = figure.subfigures(len(benchmarked), 1, squeeze=False)[:, 0]
    for block, (name, rows) in zip(blocks, benchmarked, strict=True):
        left, right = block.subfigures(1, 2, width_ratios=(1, 1.75))
        shares, bits = left.subplots(2, 1)
        title = f"{style.benchmark_name(name)},\n{style.model_name(rows['base'].iloc[0])}"
        shares.set(xlabel="SR", ylabel="SC", ylim=(-0.04, 1.04), title=title)
        bits.set(xlabel="FP, bits", ylabel="gap, bits")
        for ax, x, y in ((shares, "sr", "sc"), (bits, "fp_bits", "gap_bits")):
            for weight, color in sorted(colors.items(), key=lambda item: item[0] != 1):
                for unlikely, face in ((False, color), (True, "white")):
                    chosen = (rows["p_answer_language"] < 0.5) == unlikely
                    part = rows[(rows["weight"] == weight) & chosen]
                    look = {"color": color, "markerfacecolor": face, "markersize": 2.4}
                    look |= {"alpha": 0.8, "markeredgewidth": 0.6 * unlikely}
                    ax.plot(*style.floats(part, x, y), "o", **look)
        _draw_extremes(right, rows)
    dot = {"marker": "o", "markersize": 3}
    handles = [style.handle(f"weight {w:g}", color=color, **dot) for w, color in colors.items()]
    dot |= {"markerfacecolor": "none", "markeredgecolor": style.INK}
    handles.append(style.handle("right answer unlikely from the question alone", **dot))
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles))
    return figure


def _draw_extremes(figure: style.Figure, table: pd.DataFrame) -> None:
    """Pictures; below each its question, answer, and p(answer) with the picture and without."""
    benchmark, split, *numbers = table.iloc[0][["benchmark", "split", "n_samples", "seed"]]
    samples = benchmarks.load(benchmark, split, *map(int, numbers))
    pictures = {sample.sample_id: sample.image for sample in samples}
    axes = figure.subplots(len(_EXTREMES), _COUNT, squeeze=False)
    for row, (score, label) in zip(axes, _EXTREMES.items(), strict=True):
        largest = table.sort_values(score, ascending=False, kind="stable")
        largest = largest.drop_duplicates(["question", "answer"]).head(_COUNT)
        for ax, (_, sample) in zip(row, largest.iterrows(), strict=False):
            ax.imshow(pictures[sample["sample_id"]], interpolation="nearest")
            text = textwrap.fill(sample["question"], 24) + f"\n$\\bf{{{sample['answer']}}}$"
            text += f" {sample['p_answer']:.2f}, alone {sample['p_answer_language']:.2f}"
            ax.set_xlabel(text, fontsize=5.5, linespacing=1.05, labelpad=2)
            title = f"{sample[score]:.2f}{' bits' * score.endswith('bits')}"
            ax.set_title(title, fontsize=6, pad=2, loc="center")
        for ax in row:
            ax.set(xticks=[], yticks=[])
            ax.spines[:].set_visible(False)
            ax.grid(visible=False)
        row[0].set_ylabel(label, fontsize=7)
