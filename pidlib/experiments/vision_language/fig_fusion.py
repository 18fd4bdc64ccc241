r"""Does the way modalities are fused change what each contributes?

The models of `pidlib.training.fusion` differ in the mechanism and the seed only. Sources are the
pooled tokens of each encoder; the target is the hidden layer, or the answer; the quantity is the
share of language, :math:`C_{language} = U_\ell / (U_\ell + U_v)` (arXiv 2511.19470).
"""

import warnings
from collections.abc import Callable, Iterator
from functools import cache, partial
from itertools import product
from random import Random

import numpy as np
import pandas as pd
import torch
from scipy import stats
from tqdm.auto import tqdm

from pidlib import benchmarks
from pidlib._common import code_version, derive_seed, fingerprint, project_root
from pidlib.benchmarks import Sample
from pidlib.decomposition.codes import quantize
from pidlib.decomposition.estimate import estimate
from pidlib.experiments import ATOMS, Preset, declare, style, tables, words
from pidlib.experiments.decision_profiles import CODES, ESTIMATION
from pidlib.experiments.extractions import find_model
from pidlib.experiments.statistics import permutation_p
from pidlib.extraction import SOURCES
from pidlib.extraction.extractor import identity
from pidlib.extraction.store import Shard, open_store
from pidlib.training import fusion

PARTS = (*SOURCES, "hidden")
TARGETS = ("hidden", "hidden, same sources", "answer")
N_DRAWS = 10_000  # permutations of the mechanisms within each seed
TOLERANCE = 1e-4  # bits
_MECHANISMS = {"concatenation": "concatenation", "product": "product"}
_MECHANISMS |= {"bilinear": "low-rank bilinear", "co_attention": "co-attention"}
_MECHANISMS |= {"language_queries": "text queries vision", "vision_queries": "vision queries text"}
_PLACES, _PUBLISHED = list(_MECHANISMS), {"color": style.INK, "linestyle": "--", "linewidth": 1}
_SEEDS = {"color": style.FAINT, "linewidth": 1.2}
_studentized_range = cache(partial(stats.studentized_range.ppf, 0.95))  # an integral, slow
_LOOKS = {"hidden": (-0.25, "o", "white", "hidden layer")}  # place in a row, marker, face, words
_LOOKS["hidden, same sources"] = 0.0, "D", "#b8d4ea", "hidden layer, same encoders"
_LOOKS["answer"] = 0.25, "s", style.FAINT, "answer"
_MORE = "contribution contribution_low contribution_high unique_p note accuracy prior moved "
_MORE += "moved_once null_high null_q spread_mechanism spread_low spread_high spread_rest n_seeds"
COLUMNS = declare("kind target source grade", *ATOMS.types, _MORE, required="kind experiment")


def prepare(preset: Preset) -> None:
    """Train the models that `measure` reads and the cache lacks."""
    list(trained(preset))


def questions(name: str, split: str, n: int, seed: int = 0) -> list[Sample]:
    """The first n questions of a benchmark, or of all benchmarks of a source, shuffled."""
    members = [member for member in benchmarks.names("pictures") if member.split("/")[0] == name]
    if len(members) < 2:
        return benchmarks.load(members[0] if members else name, split, n, seed)
    samples = [sample for member in members for sample in benchmarks.load(member, split)]
    if n > len(samples):
        text = f"asked for {n} questions of {name!r} {split}, which has {len(samples)}"
        raise ValueError(f"{text}; ask for fewer")
    Random(derive_seed(seed, "fusion", name, split)).shuffle(samples)
    return samples[:n]


def trained(preset: Preset) -> Iterator[tuple[dict[str, object], Shard]]:
    """Train each mechanism with each seed, or read it from the cache: columns, and its states."""
    first, *others = names = preset.fusion_benchmarks
    n, seed = preset.n_fusion_questions, preset.seed
    counts = {first: n} | {name: -(-n // len(others)) for name in others}
    fitted = "test" if preset.split == "validation" else "validation"
    learned = (questions(name, "train", count, seed) for name, count in counts.items())
    sets = product((fitted, preset.split), names)
    measured = [questions(name, split, preset.n_embedded, seed) for split, name in sets]
    groups, tower = [sum(learned, []), *measured], find_model(preset, preset.fusion_tower)
    key = {"asked": [identity(tower, part, seed=seed) for part in groups], "seed": seed}
    key |= {"kind": "fusion", "code": code_version(fusion), "steps": preset.fusion_steps}
    opened = open_store(project_root() / preset.cache, key, {"torch": torch.__version__})
    encoded = cache(partial(fusion.encode_questions, groups, tower))
    models = list(product(range(preset.n_fusion_seeds), fusion.MECHANISMS))
    parts = {f"{name}-{k}": partial(_train, preset, name, k, encoded) for k, name in models}
    with opened as store, tqdm(total=len(parts), desc="fusion", unit="model") as bar:
        shards = store.fill(parts, lambda _: bar.update())
    shared = {"fingerprint": fingerprint(**key), "split": preset.split}
    for (seed, mechanism), states in zip(models, shards, strict=True):
        yield shared | {"model": mechanism, "seed": seed}, states


def _train(preset: Preset, mechanism: str, seed: int, encoded: Callable[[], list]) -> Shard:
    learned, *measured = encoded()
    model = fusion.train(mechanism, derive_seed(preset.seed, seed), learned, preset.fusion_steps)
    arrays, facts = {}, {"accuracy": {}, "prior": {}}
    sets = product(("fitted", "applied"), preset.fusion_benchmarks)
    for (which, name), tensors in zip(sets, measured, strict=True):
        with torch.no_grad():
            *states, logits = model(tensors, torch.arange(len(tensors.answer)))
        for part, state in zip(PARTS, states, strict=True):
            arrays[f"{name}/{which}/{part}"] = state.numpy().astype(np.float16)
        arrays[f"{name}/{which}/answer"] = logits.argmax(1).numpy().astype(np.int16)
        right = logits.argmax(1) == tensors.answer
        facts["accuracy"][name] = right.double().mean().item()
        facts["prior"][name] = tensors.prior
    return Shard(arrays, facts)


def measure(preset: Preset) -> pd.DataFrame:
    """Atoms and share of language of every model, and the effect of the mechanism on the share.

    For the target "hidden, same sources", encoders are those of the first mechanism with the seed.
    """
    profiles, first, names = [], {}, preset.fusion_benchmarks
    k, settings = preset.n_clusters, preset.model_dump(include=ESTIMATION)
    for model, states in trained(preset):
        model["fingerprint"] = fingerprint(states=model["fingerprint"], n_clusters=k, **settings)
        own = {name: [_codes(preset, states, name, part) for part in SOURCES] for name in names}
        same = first.setdefault(model["seed"], own)
        for name, target in product(names, TARGETS):
            sources = (same if target.endswith("same sources") else own)[name]
            codes = [*sources, _codes(preset, states, name, target.split(",")[0])]
            with warnings.catch_warnings(action="ignore", category=UserWarning):  # on synergy
                result = estimate(*codes, tol=TOLERANCE, **settings)
            columns = model | result.contribution("language")
            columns |= {fact: values[name] for fact, values in states.facts.items()}
            rows = pd.DataFrame(result.rows())
            profiles.append(rows.assign(benchmark=name, target=target, **columns))
    models = pd.concat(profiles).assign(**CODES, n_codes=k, kind="model")
    published = tables.published("fig_fusion").assign(kind="published")
    table = pd.concat([models, mechanism_effect(models, preset.seed), published])
    return tables.validate(table.assign(experiment="vision_language", estimator="exact"), COLUMNS)


def _codes(preset: Preset, states: Shard, benchmark: str, part: str) -> np.ndarray:
    if part == "answer":
        return states.arrays[f"{benchmark}/applied/answer"]
    vectors = (states.arrays[f"{benchmark}/{which}/{part}"] for which in ("fitted", "applied"))
    fitted, applied = (each.astype(np.float64) for each in vectors)
    return quantize(fitted, applied, preset.n_clusters, preset.seed, allow_degenerate=True)


def mechanism_effect(models: pd.DataFrame, seed: int = 0) -> pd.DataFrame:
    r"""The effect of the mechanism on the share of language, a row per benchmark and target.

    In points of 100, from a two-way layout of s seeds and the mechanisms. ``spread_mechanism`` is
    the standard deviation of the mechanism, with the interval of its F at .975 and .025 (Searle
    1971); ``spread_rest`` that of the residuals. ``moved`` is the range of the mechanisms' means,
    with an interval by Tukey's studentized range; ``moved_once`` the mean range within a seed. The
    null permutes the mechanisms within each seed; ``null_q`` is corrected for all rows.
    """
    once = models.drop_duplicates(["benchmark", "target", "model", "seed"])
    rows = []
    for (benchmark, target), group in once.groupby(["benchmark", "target"], sort=False):
        shares = group.pivot(index="seed", columns="model", values="contribution").dropna()
        row = {"benchmark": benchmark, "target": target, "n_seeds": len(shares)}
        effect = _effect(100 * shares.to_numpy(float), seed) if len(shares) > 1 else {}
        rows.append(row | effect | {"fingerprint": group["fingerprint"].iloc[0]})
    table = pd.DataFrame(rows).assign(kind="moved", seed=seed)
    if "null_p" in table:
        p = table["null_p"].dropna()
        table["null_q"] = pd.Series(stats.false_discovery_control(p), p.index)
    return table


def _effect(shares: np.ndarray, seed: int, n_draws: int = N_DRAWS) -> dict[str, float]:
    generator = np.random.default_rng(derive_seed("fusion moves", seed))
    (seeds, mechanisms), means = shares.shape, shares.mean(0)
    permuted = generator.permuted(np.broadcast_to(shares, (n_draws, *shares.shape)), axis=2)
    null = np.ptp(permuted.mean(1), axis=1)
    moved, variance = np.ptp(means), means.var(ddof=1)
    residual = shares - means - shares.mean(1, keepdims=True) + shares.mean()
    freedom = mechanisms - 1, (seeds - 1) * (mechanisms - 1)
    rest = (residual**2).sum() / freedom[1]
    ends = variance / stats.f.ppf([0.975, 0.025], *freedom) - rest / seeds
    off = _studentized_range(mechanisms, freedom[1]) * (rest / seeds) ** 0.5
    effect = {"moved": moved, "moved_once": np.ptp(shares, axis=1).mean()}
    effect |= {"ci_low": max(moved - off, 0.0), "ci_high": min(moved + off, 100.0)}
    effect |= {"null_mean": null.mean(), "null_high": np.quantile(null, 0.95)}
    effect |= {"null_p": permutation_p(moved, null), "spread_rest": rest**0.5}
    effect |= {"spread_mechanism": max(variance - rest / seeds, 0.0) ** 0.5}
    ends = np.maximum(ends, 0) ** 0.5
    return effect | dict(zip(("spread_low", "spread_high"), ends, strict=True))


def figure(table: pd.DataFrame) -> style.Figure:
    """By benchmark: shares of language by mechanism, and how far the mechanism moves their mean."""
    models, moved, published = (table[table["kind"] == k] for k in ("model", "moved", "published"))
    models = models.drop_duplicates(["benchmark", "target", "model", "seed"])
    names, n, figure = models["benchmark"].unique(), models["seed"].nunique(), style.page(4.8)
    layout = {"squeeze": False, "sharey": "row", "sharex": "row", "height_ratios": (10, 4)}
    axes = figure.subplots(2, len(names), **layout)
    for (shares, effect), benchmark in zip(axes.T, names, strict=True):
        rows = models[models["benchmark"] == benchmark]
        ends = map(words.number, (rows["accuracy"].min(), rows["accuracy"].max()))
        title, alone = " to ".join(dict.fromkeys(ends)), words.number(rows["prior"].iloc[0])
        title = f"accuracy {title}; question alone ≤ {alone}"
        shares.set_title(f"{style.benchmark_name(benchmark)}\n{title}", fontsize=7.5)
        shares.set_xlabel(r"share of language $U_\ell/(U_\ell+U_v)$")
        for (mechanism, target), own in rows.groupby(["model", "target"]):
            shift, marker, face, _ = _LOOKS[target]
            y, known = _PLACES.index(mechanism) + shift, own["contribution"].astype(float)
            shares.hlines(y, known.min(), known.max(), **_SEEDS)
            style.points(shares, [known.mean()], [y], marker, color=face)
        _draw_effect(effect, moved[moved["benchmark"] == benchmark], published, n)
    style.name_rows(axes[0, 0], list(_MECHANISMS.values()))
    axes[0, 0].set_xlim(-0.03, 1.03)
    axes[1, 0].set_yticks(range(len(_LOOKS)), [text for *_, text in _LOOKS.values()])
    most = np.nanmax(style.floats(table, "moved", "null_high"))
    axes[1, 0].set(ylim=(len(_LOOKS) - 0.4, -0.6), xlim=(0, 2.2 * most))
    text = "bold: $q$ < .05; $q$ is one-sided $p$ with mechanisms shuffled, corrected for all tests"
    figure.supxlabel(text, fontsize=7.5)
    entries = ((f"information about the {text}", m, face) for _, m, face, text in _LOOKS.values())
    line = style.line_handle(f"mean (marker) and range of up to {n} seeds", **_SEEDS)
    null = style.null_handle("mechanisms shuffled: one-sided 95 % limit")
    most = style.handle(f"published: up to {published['moved'].max():g} points", **_PUBLISHED)
    beyond = moved["null_q"] < 0.05
    title = "The fusion mechanism moves the share of language beyond chance in "
    title += f"{words.share(beyond, moved['null_q'])} tests"
    if beyond.any():
        ends = moved.loc[beyond.fillna(False), "moved"].agg(["min", "max"])
        title += ", by " + " to ".join(words.number(end, 0) for end in ends) + " points"
    markers = style.marker_handles(entries, markersize=4)
    style.legend(figure, 2, *markers, line, null, most, title=title)
    return figure


def _draw_effect(ax: style.Axes, moved: pd.DataFrame, published: pd.DataFrame, n: int) -> None:
    """Movement, its null and q of n seeds; its interval is in the table."""
    ax.set_xlabel("largest − smallest mean, points")
    ax.grid(visible=False)
    for row, (target, (_, marker, face, _)) in enumerate(_LOOKS.items()):
        rows = moved[moved["target"] == target]
        value, null, q = style.floats(rows, "moved", "null_high", "null_q")
        ax.barh([row] * len(rows), np.nan_to_num(null), 0.7, color=style.NULL, alpha=0.75)
        style.points(ax, value, [row] * len(rows), marker, color=face)
        text = f"not tested: in {rows['n_seeds'].sum():.0f} of {n} seeds (2 needed) all\n"
        text += "mechanisms have unique information"
        if np.isfinite(value).any():
            text = f"{value[0]:.0f} points, {words.p_value(q[0]).replace('p', 'q')}"
        look = {"weight": "bold" if (q < 0.05).any() else "normal", "linespacing": 1}
        look["bbox"] = {"facecolor": "white", "linewidth": 0, "pad": 0.5}
        style.margin(ax, row, text, 0.99, ha="right", **look)
    ax.axvline(published["moved"].max(), **_PUBLISHED)
