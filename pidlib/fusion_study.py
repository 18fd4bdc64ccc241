"""The study of fusion: models of every mechanism and seed, trained or cached; their atoms; how far the mechanism moves C_language."""

import hashlib
import re
import warnings
from collections.abc import Callable, Iterator, Sequence
from functools import cache, partial
from itertools import product
from pathlib import Path
from random import Random

import numpy as np
import pandas as pd
import torch
from scipy.stats import f as f_distribution
from scipy.stats import false_discovery_control
from torch.nn.functional import adaptive_avg_pool2d
from tqdm.auto import tqdm

from pidlib import benchmarks, fusion, results, schemas
from pidlib.benchmarks import Sample
from pidlib.experiment import Preset, derive_seed, fingerprint, project_root
from pidlib.extraction.extractor import identity
from pidlib.fusion import MECHANISMS, Posed, train
from pidlib.models import LoadedModel, load
from pidlib.profiles import quantise
from pidlib.store import Shard, Store
from pidlib.uncertainty import estimate

GRID = 2  # a tower's tokens are averaged to so many rows and columns: a place in a picture is a quarter of it
PARTS, TARGETS = ("vision", "language", "hidden"), ("hidden", "hidden, same sources", "answer")
SHUFFLES = 2000  # of the mechanisms' names within each seed, and resamples of the seeds
CHUNK = 256  # pictures in the tower at once
TOLERANCE = 1e-4  # bits


def questions(name: str, split: str, n: int, seed: int = 0) -> list[Sample]:
    """The first n of a benchmark; or of all benchmarks of a source (``easy_vqa``) together, shuffled by the seed."""
    members = [known for known in benchmarks.BENCHMARKS if known.split("/")[0] == name] or [name]
    if len(members) == 1:
        return benchmarks.load(members[0], split, n, seed)
    together = [sample for member in members for sample in benchmarks.load(member, split)]
    if n > len(together):
        raise ValueError(f"asked for {n} questions of {name!r} {split}, which has {len(together)}; ask for fewer")
    Random(derive_seed(seed, "fusion", name, split)).shuffle(together)
    return together[:n]


@torch.no_grad()
def pose(parts: Sequence[Sequence[Sample]], tower: LoadedModel) -> list[Posed]:
    """Several lists of samples as tensors, with one vocabulary and one list of answers; each picture goes through the tower once."""
    everything = [sample for part in parts for sample in part]
    texts = sorted({sample.question for sample in everything})
    vocabulary = {word: 1 + index for index, word in enumerate(sorted({word for text in texts for word in _words(text)}))}
    answers = sorted({answer for sample in everything for answer in sample.candidates})
    words = torch.zeros(len(texts), max(len(_words(text)) for text in texts), dtype=torch.long)
    for row, text in zip(words, texts, strict=True):
        row[: len(_words(text))] = torch.tensor([vocabulary[word] for word in _words(text)])
    posed = []
    for part in parts:
        images = {id(sample.image): sample.image for sample in part}
        place = {key: index for index, key in enumerate(images)}
        shown = list(images.values())
        rows = ([place[id(sample.image)], texts.index(sample.question), answers.index(sample.answer)] for sample in part)
        image, question, answer = torch.tensor(list(rows)).T
        patches = torch.cat([_look(tower, shown[start : start + CHUNK]) for start in range(0, len(shown), CHUNK)])
        posed.append(Posed(patches, words, image, question, answer, len(vocabulary) + 1, len(answers)))
    return posed


def _words(text: str) -> list[str]:
    return re.findall(r"\w+", text)


def _look(tower: LoadedModel, images: list) -> torch.Tensor:
    inputs = tower.processor.image_processor(images, return_tensors="pt").to(tower.device)
    tokens = torch.stack(list(tower.model.get_image_features(**inputs).pooler_output)).float().cpu()
    side = int(tokens.shape[1] ** 0.5)
    return adaptive_avg_pool2d(tokens.mT.unflatten(-1, (side, side)), GRID).flatten(2).mT.contiguous()


def trained(preset: Preset) -> Iterator[tuple[dict, Shard]]:
    """Every mechanism and seed of the preset: what it is called, and its states, from the cache where they are there.

    A model learns from the train split of all of ``fusion_benchmarks``, as much from the first as from the others together. A shard holds,
    for each, the pooled vectors of both modalities and the hidden layer, of the questions that codebooks are fitted on and of those that
    are measured, and the number of each measured answer. Its facts are by benchmark the ``accuracy``, and ``prior``, that of a table of the
    answers each question has most often.
    """
    first, *others = names = preset.fusion_benchmarks
    fitted = "test" if preset.split == "validation" else "validation"
    learned = [(first, "train", preset.n_fusion_questions)]
    learned += [(name, "train", -(-preset.n_fusion_questions // len(others))) for name in others]
    kept = [(name, split, preset.n_embedded) for split in (fitted, preset.split) for name in names]
    parts = [questions(*which, preset.seed) for which in learned + kept]
    parts = [sum(parts[: len(learned)], []), *parts[len(learned) :]]
    tower = load(preset.fusion_tower, device=preset.device)
    told = {"asked": [identity(tower, part, (), 0, (), preset.seed) for part in parts], "steps": preset.fusion_steps}
    told |= {"kind": "fusion", "code": _code(), "seed": preset.seed}
    mark = fingerprint(**told)
    store = Store(project_root() / preset.cache / mark, told, {"torch": torch.__version__})
    posed = cache(partial(pose, parts, tower))
    with tqdm(list(product(range(preset.n_fusion_seeds), MECHANISMS)), desc="fusion", unit="model") as bar:
        for seed, mechanism in bar:
            bar.set_postfix_str(f"{mechanism} {seed}")
            shard = store.get(f"{mechanism}-{seed}", partial(_train, mechanism, seed, preset, posed))
            yield {"model": mechanism, "seed": seed, "fingerprint": mark, "split": preset.split}, shard


def _train(mechanism: str, seed: int, preset: Preset, posed: Callable[[], list[Posed]]) -> Shard:
    learned, *kept = posed()
    model = train(mechanism, derive_seed(preset.seed, seed), learned, preset.fusion_steps)
    names, arrays, facts = preset.fusion_benchmarks, {}, {"accuracy": {}, "prior": {}}
    for (which, name), asked in zip(product(("fitted", "applied"), names), kept, strict=True):
        with torch.no_grad():
            *states, logits = model(asked, torch.arange(len(asked.answer)))
        answer = logits.argmax(1)
        arrays |= {f"{name}/{which}/{part}": state.numpy().astype(np.float16) for part, state in zip(PARTS, states, strict=True)}
        arrays[f"{name}/{which}/answer"] = answer.numpy().astype(np.int16)
        facts["accuracy"][name] = (answer == asked.answer).double().mean().item()
        facts["prior"][name] = asked.prior
    return Shard(arrays, facts)


def _code() -> str:
    return hashlib.sha256(Path(fusion.__file__).read_bytes()).hexdigest()


def fusion_table(preset: Preset, experiment: str = "vision_language") -> pd.DataFrame:
    """Atoms and C_language of every model, about its hidden layer and about its answer; then how far the mechanism moves C_language.

    A mechanism also shapes the encoders that are trained with it, and so the codes of the sources. For the target "hidden, same sources"
    those are the sources of the first mechanism's model of the same seed: there only the fused state differs.

    Rows of ``kind`` "model" hold an atom each, of "moved" what `moved` says of a benchmark and target, of "published" what a paper did.
    """
    tables, first = [], {}
    made = {name: getattr(preset, name) for name in ("n_permutations", "n_bootstrap", "seed")}
    for columns, shard in trained(preset):
        columns["fingerprint"] = fingerprint(states=columns["fingerprint"], n_clusters=preset.n_clusters, **made)
        own = {name: [_codes(shard, name, part, preset) for part in ("vision", "language")] for name in preset.fusion_benchmarks}
        same = first.setdefault(columns["seed"], own)
        for benchmark, target in product(preset.fusion_benchmarks, TARGETS):
            sources = (same if target.endswith("same sources") else own)[benchmark]
            codes = [*sources, _codes(shard, benchmark, target.split(",")[0], preset)]
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", UserWarning)  # of the bias of synergy, which no unique atom has
                found = estimate(*codes, tol=TOLERANCE, **made)
            told = {"benchmark": benchmark, "target": target, "n_codes": preset.n_clusters}
            told |= columns | found.contribution("language") | {name: fact[benchmark] for name, fact in shard.facts.items()}
            tables.append(pd.DataFrame(found.rows()).assign(**told))
    models = pd.concat(tables, ignore_index=True).assign(kind="model", source_a="vision", source_b="language", unimodal="codes")
    published = results.published("fig_fusion").assign(kind="published")
    table = pd.concat([models, moved(models, preset.seed), published], ignore_index=True)
    return results.tidy(table.assign(experiment=experiment, estimator="exact"), schemas.SCHEMAS["fig_fusion"])


def _codes(shard: Shard, benchmark: str, part: str, preset: Preset) -> np.ndarray:
    if part == "answer":
        return shard.arrays[f"{benchmark}/applied/answer"]
    of_fitted, of_applied = (shard.arrays[f"{benchmark}/{which}/{part}"].astype(np.float64) for which in ("fitted", "applied"))
    return quantise(of_fitted, of_applied, preset.n_clusters, preset.seed, allow_degenerate=True)


def moved(models: pd.DataFrame, seed: int = 0) -> pd.DataFrame:
    r"""How far the mechanism moves C_language, against what the seeds do, a row for each benchmark and target.

    Of a table seeds x mechanisms of C_language, ``spread_mechanism`` and ``spread_rest`` are standard deviations in points of 100: of the
    mechanism, by the mean squares of a two-way layout (zero where those are smaller than the rest's), and of what neither mechanism nor
    seed explains. With F their ratio and s seeds, the ends of the first's interval are :math:`\sqrt{(F / F_q - 1) / s}` times the second,
    q = .975 and .025 (normal effects, Searle 1971). ``moved`` is the range of the mechanisms' means, with an interval over resampled seeds
    that is moved so that its mean is the value: the range of resampled means is too large. It holds a range of chance, too; its null
    shuffles the mechanisms' names within each seed, and ``null_q`` is its p-value among all rows by Benjamini and Hochberg.
    ``moved_once`` is the mean of the range within one seed, which a single training of each mechanism would report. Seeds without
    C_language in some mechanism are left out, and ``n_seeds`` are counted; with fewer than two everything is missing.
    """
    once = models.drop_duplicates(["benchmark", "target", "model", "seed"])
    rows = []
    for (benchmark, target), some in once.groupby(["benchmark", "target"], sort=False):
        shares = 100 * some.pivot(index="seed", columns="model", values="contribution").dropna().to_numpy(float)
        row = {"benchmark": benchmark, "target": target, "kind": "moved", "seed": seed, "n_seeds": len(shares)}
        rows.append(row | {"fingerprint": some["fingerprint"].iloc[0]} | (_spread(shares, seed) if len(shares) > 1 else {}))
    table = pd.DataFrame(rows)
    tested = table[table["null_p"].notna()] if "null_p" in table else table[:0]
    return table.assign(null_q=pd.Series(false_discovery_control(tested["null_p"]), tested.index)) if len(tested) else table


def _spread(shares: np.ndarray, seed: int) -> dict[str, float]:
    generator = np.random.default_rng(derive_seed("fusion moves", seed))
    seeds, mechanisms = shares.shape
    shuffled = np.ptp(generator.permuted(np.broadcast_to(shares, (SHUFFLES, *shares.shape)), axis=2).mean(1), axis=1)
    resampled = np.ptp(shares[generator.integers(seeds, size=(SHUFFLES, seeds))].mean(1), axis=1)
    value = np.ptp(shares.mean(0))
    residual = shares - shares.mean(0) - shares.mean(1, keepdims=True) + shares.mean()
    rest = (residual**2).sum() / ((seeds - 1) * (mechanisms - 1))
    between = max(shares.mean(0).var(ddof=1) - rest / seeds, 0.0)
    freedom = mechanisms - 1, (seeds - 1) * (mechanisms - 1)
    ends = shares.mean(0).var(ddof=1) / f_distribution.ppf([0.975, 0.025], *freedom) - rest / seeds
    found = {
        "moved": value,
        "moved_once": np.ptp(shares, axis=1).mean(),
        "null_mean": shuffled.mean(),
        "null_high": np.quantile(shuffled, 0.95),
    }
    found |= dict(zip(("ci_low", "ci_high"), np.quantile(resampled, [0.025, 0.975]) - resampled.mean() + value, strict=True))
    found |= dict(zip(("spread_low", "spread_high"), np.maximum(ends, 0) ** 0.5, strict=True))
    p = (1 + int((shuffled >= value - 1e-9).sum())) / (1 + SHUFFLES)
    return found | {"null_p": p, "spread_mechanism": between**0.5, "spread_rest": rest**0.5}
