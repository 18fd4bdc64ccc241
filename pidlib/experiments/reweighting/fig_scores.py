"""Which training samples get more weight, which less, and are these the intended samples?"""

import textwrap
from dataclasses import replace
from operator import attrgetter

import numpy as np
import pandas as pd
from scipy import stats

from pidlib import benchmarks
from pidlib._common import derive_seed
from pidlib.decomposition.decisions import decision_pid
from pidlib.experiments import Preset, declare, style, validate, words
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
_EXTREMES = {"gap_bits": ("largest gap", " bits"), "sc": ("largest shortcut", "")}
_OFTEN = "fewer than at random", "as many as at random", "more than at random"
_FOREST = "value", "ci_low", "ci_high", "null_low", "null_high"
_TITLE = "Weight 3 is meant for samples that need the picture, weight 0.5 for those that do not;\n"
_TITLE += "gap: bits that fusion of both inputs would add and the model does not use, "
_TITLE += "shortcut: share that the question alone gives"


def measure(preset: Preset) -> pd.DataFrame:
    """Scores and PID weights of the first bases and seed, by all estimators of local terms."""
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
    """By weight, the share of samples that need the picture, and extreme samples."""
    up, same, down = (style.OTHERS[index] for index in (0, 1, 3))
    color = np.select([table["weight"] > 1, table["weight"] == 1], [up, same], down)
    table = table.assign(needs=table["p_answer_language"] < 0.5, color=color)
    figure = style.page(2.35 * table["benchmark"].nunique() + 0.6)
    blocks = figure.subfigures(table["benchmark"].nunique(), 1, squeeze=False)[:, 0]
    for block, (name, rows) in zip(blocks, table.groupby("benchmark", sort=False), strict=True):
        base = style.model_name(rows["base"].iloc[0])
        left, right = block.subfigures(1, 2, width_ratios=(1, 1.4))
        shares = "; ".join(_draw_shares(left.subplots(), rows)) or "all of weight 1"
        title = f"{base}, trained on {style.benchmark_name(name)}\n"
        block.suptitle(f"{title}samples that need the picture: {shares}", x=0.01, ha="left")
        _draw_extremes(right, rows)
    dot = style.line_handle(
        "share of the samples of one weight, 95 % interval", marker="o", markersize=3.5
    )
    null = style.null_handle("as many samples at random, 95 %")
    style.legend(figure, 2, dot, null, title=_TITLE, alignment="left")
    return figure


def _draw_shares(ax: style.Axes, rows: pd.DataFrame) -> list[str]:
    """Draw shares of samples that need the picture; return how often these are, by weight."""
    n, total, lists = len(rows), rows["needs"].sum(), rows.groupby("weight")
    more = []
    for place, (weight, part) in enumerate(lists):
        ends = stats.binomtest(part["needs"].sum(), len(part)).proportion_ci(method="wilson")
        null = stats.hypergeom.ppf([0.025, 0.975], n, total, len(part)) / len(part)
        row = 100 * pd.DataFrame([[part["needs"].mean(), *ends, *null]], columns=_FOREST)
        look = {"color": part["color"].iloc[0], "clip_on": False}
        style.forest(ax, [place], row, 0.7, s=16, **look)
        text = words.interval(*row.to_numpy()[0, :3], digits=0) + " %"
        style.margin(ax, place, text, fontsize=8, **look)
        if weight != 1:
            share = part["needs"].mean()
            often = _OFTEN[1 + int(share > null[1]) - int(share < null[0])]
            more.insert(0, f"at weight {weight:g} {often}")
    ax.set_yticks(range(len(lists)), [f"weight {weight:g}" for weight, _ in lists])
    label = "samples that need the picture, %:\np(right answer) < 1/2 from the question alone"
    label += f"\n(all samples: {100 * total / n:.0f} %)"
    ax.set(xlim=(0, 100), ylim=(-0.5, len(lists) - 0.5), xlabel=label)
    return more


def _draw_extremes(figure: style.Figure, table: pd.DataFrame) -> None:
    """Two pictures of each extreme, with question, and p(answer) with the picture and without."""
    benchmark, split, *numbers = table.iloc[0][["benchmark", "split", "n_samples", "seed"]]
    samples = benchmarks.load(benchmark, split, *map(int, numbers))
    pictures = {sample.sample_id: sample.image for sample in samples}
    axes = iter(figure.subplots(1, 2 * len(_EXTREMES)))
    for score, (label, unit) in _EXTREMES.items():
        largest = table.sort_values(score, ascending=False, kind="stable")
        for _, row in largest.drop_duplicates(["question", "answer"]).head(2).iterrows():
            ax = next(axes)
            ax.imshow(pictures[row["sample_id"]], interpolation="nearest")
            text = textwrap.fill(row["question"], 20) + f"\np($\\bf{{{row['answer']}}}$) = "
            text += f"{row['p_answer']:.2f},\n{row['p_answer_language']:.2f} without picture"
            ax.set_xlabel(text, fontsize=6.5, linespacing=1.05, labelpad=2)
            look = {"fontsize": 7, "pad": 2, "loc": "center", "color": row["color"]}
            value = f"{words.number(row[score])}{unit}"
            ax.set_title(f"{label}: {value},\nweight {row['weight']:g}", **look)
            ax.set(xticks=[], yticks=[])
            ax.spines[:].set_visible(False)
            ax.grid(visible=False)
