"""Sensory PID at the level of representations, on real pictures, captions and voices: the stamps of Tux Paint.

Features of 950 pictures, of their captions and of 5,479 spoken descriptions lie under ``data/stamps`` (see its README), where
`pidlib.stamps_build` put them. An observation is a picture, its caption and one clip, in a language dealt to it at random. Clips of one
picture are not independent; since a picture is counted once, observations are, and resampling them resamples pictures. Each source becomes
a few labels in two ways, both learned from other pictures, whose captions are other captions too:

- ``codes``: k-means codes of the features, learned without the target, as in all of the project;
- ``probe``: the value of the target that a linear probe reads off the features: what they tell linearly, which few codes may lose.
"""

import hashlib
import json
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from jaxtyping import Float, Int
from safetensors.numpy import load_file
from scipy.stats import binomtest
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from pidlib import results, schemas
from pidlib.corrections import joint_information, miller_madow, plug_in, tabulate
from pidlib.experiment import Preset, derive_seed, fingerprint, project_root
from pidlib.profiles import quantise
from pidlib.uncertainty import estimate

FOLDER = project_root() / "data" / "stamps"
CATEGORIES = ("animals", "town", "food", "household", "seasonal", "vehicles", "clothes", "plants")  # things, at least 40 pictures of each
PARTS = ("pictures", "captions", "speech")
TARGETS = {"category": "category", "spoken": "spoken", "match": "category"}  # and what a probe reads for it
CASES = {  # pairs of sources for each target, and the condition
    "category": (("vision", "language", ""), ("vision", "audio", ""), ("vision", "audio", "language")),
    "spoken": (("vision", "audio", ""), ("language", "audio", ""), ("vision", "audio", "language")),
    "match": (("vision", "language", ""), ("vision", "audio", "")),
}
GIVEN = 3  # codes of the caption as a condition, so that each has a hundred observations
SHRINKAGE = 0.01  # of the probes, as their inverse penalty: there are more features than pictures


@dataclass(frozen=True, eq=False)
class Features:
    """What was encoded: `pictures` and `captions` in the order of `stamps`, `speech` in the order of `clips`."""

    stamps: pd.DataFrame
    clips: pd.DataFrame
    pictures: Float[np.ndarray, "n v"]
    captions: Float[np.ndarray, "n l"]
    speech: Float[np.ndarray, "m a"]


@dataclass(frozen=True, eq=False)
class Observations:
    """Features by source, and the targets: the category of the picture and the language in which it is spoken of."""

    stamp_ids: np.ndarray
    sources: Mapping[str, Float[np.ndarray, "n d"]]
    targets: Mapping[str, np.ndarray]


def load(folder: Path = FOLDER) -> Features:
    """The features as they were built.

    Raises
    ------
    FileNotFoundError
        If there are none.
    ValueError
        If a file is not the one that was built.
    """
    manifest = folder / "manifest.json"
    if not manifest.exists():
        raise FileNotFoundError(f"no features at {folder}; they come with the source tree, or: python -m pidlib.stamps_build SOURCE")
    expected = json.loads(manifest.read_text(encoding="utf-8"))["files"]
    for name, known in expected.items():
        if hashlib.sha256((folder / name).read_bytes()).hexdigest() != known:
            raise ValueError(f"{folder / name} is not the file that was built; take it anew from the repository, or build all of them")
    arrays = {
        part: np.concatenate([load_file(folder / name)[part] for name in sorted(expected) if name.startswith(f"{part}-")]) for part in PARTS
    }
    tables = {name: pd.read_csv(folder / f"{name}.csv", dtype={"spoken": "string"}, keep_default_na=False) for name in ("stamps", "clips")}
    return Features(**tables, **{part: rows.astype(np.float32) for part, rows in arrays.items()})


def split(features: Features, seed: int = 0) -> tuple[Observations, Observations]:
    """One part to learn labels from, with every clip of its pictures, and one to be measured, with one clip of each.

    Of `CATEGORIES`, the pictures that are spoken of in every language. A caption's hash decides the part, so that neither a picture nor
    another one of the same caption is in both. In the second part languages are dealt out evenly, by `seed`.
    """
    rows = features.clips.assign(row=range(len(features.clips))).pivot(index="stamp_id", columns="spoken", values="row").dropna()
    stamps = features.stamps.assign(row=range(len(features.stamps))).set_index("stamp_id", drop=False)
    stamps = stamps[stamps["category"].isin(CATEGORIES) & stamps.index.isin(rows.index)]
    rows = rows.loc[stamps.index].astype(int)
    learned = stamps["caption"].map(lambda caption: hashlib.sha256(caption.encode()).digest()[0] % 2 == 0).to_numpy()
    dealt = np.random.default_rng(derive_seed("stamps, languages", seed)).permutation(np.arange((~learned).sum()) % rows.shape[1])
    every, one = rows[learned].to_numpy(), rows[~learned].to_numpy()[np.arange(len(dealt)), dealt]
    return (
        _observed(features, stamps[learned].loc[np.repeat(stamps.index[learned], rows.shape[1])], every.ravel()),
        _observed(features, stamps[~learned], one),
    )


def _observed(features: Features, stamps: pd.DataFrame, clips: Int[np.ndarray, " n"]) -> Observations:
    pictures = stamps["row"].to_numpy()
    sources = {"vision": features.pictures[pictures], "language": features.captions[pictures], "audio": features.speech[clips]}
    targets = {"category": stamps["category"].to_numpy(str), "spoken": features.clips["spoken"].to_numpy(str)[clips]}
    return Observations(stamps.index.to_numpy(str), sources, targets)


def codes(fitted: Observations, applied: Observations, n_clusters: int, seed: int = 0) -> dict[str, Int[np.ndarray, " n"]]:
    """Codes of every source, by codebooks of the other pictures."""
    return {name: quantise(rows, applied.sources[name], n_clusters, seed, allow_degenerate=True) for name, rows in fitted.sources.items()}


def probe(fitted: Observations, applied: Observations, target: str) -> dict[str, np.ndarray]:
    """The target as a linear probe, trained on the other pictures, reads it off every source: logistic regression of scaled features."""
    known = fitted.targets[target]
    _, once = np.unique(np.stack([fitted.stamp_ids, known]), axis=1, return_index=True)  # a picture's features, and its caption's, repeat
    read = {}
    for name, rows in fitted.sources.items():
        kept = slice(None) if name == "audio" else once
        model = make_pipeline(StandardScaler(), LogisticRegression(C=SHRINKAGE, max_iter=200))
        read[name] = model.fit(rows[kept], known[kept]).predict(applied.sources[name])
    return read


def decompose(
    x1: np.ndarray, x2: np.ndarray, y: np.ndarray, given: np.ndarray | None = None, *, sources: tuple[str, str], **options: int
) -> pd.DataFrame:
    r"""Atoms of labels with null, correction and interval, one row each; with ``given``, their mean over its values, weighted by share.

    Where a source nearly tells Y, and a table has few observations for its cells, `pidlib.uncertainty` finds synergy that nobody counted:
    it takes a mean over permutations from I and from I_Q, each as large as for a Y that nothing tells, but that of I by another estimator,
    and S is left with the difference of the two. Here synergy is corrected like the other atoms, by its own null, and has no corrected
    value where there is nothing above it:

        S_corrected = S - E[S | Y permuted]   if that is positive, else missing,

    so S = 0 stays without a bar, and bar, null and p-value speak of one quantity. As permuted tables have the most bias, this is rather
    too little: a missing value says that synergy is not seen, not that there is none. The interval keeps the spread of the bootstrap.

    The mean over conditions is `pidlib.decomposition.sensory_pid` of the counts, and so for the null, the corrected values and the
    resamples, which stay within a value. Its p-value is against the permutations of the target alone; those of the sources could only
    raise it.

    Parameters
    ----------
    x1, x2, y, given
        Labels of the two sources, of the target and of the condition, one for each observation.
    sources, options
        As in `pidlib.uncertainty.estimate`.
    """
    parts = [np.full(len(y), True)] if given is None else [given == value for value in np.unique(given)]
    with warnings.catch_warnings():  # how much of the synergy is chance stands beside it, as its null
        warnings.filterwarnings("ignore", message=".* codes give a synergy of")
        found = [estimate(x1[on], x2[on], y[on], sources=sources, **options) for on in parts]
    if given is None:
        return _above_chance(pd.DataFrame(found[0].rows()))
    share = np.array([on.mean() for on in parts])
    mean = pd.DataFrame(found[0].rows()).assign(n_samples=len(y), converged=all(one.converged for one in found))
    for column in ("value_bits", "corrected_bits", "lower_bits", "upper_bits", "null_mean"):
        mean[column] = share @ np.array([[row[column] for row in one.rows()] for one in found], dtype=float)  # None is NaN from here on
    null, draws = (np.array([share @ [getattr(one, of)[atom] for one in found] for atom in mean["atom"]]) for of in ("null", "draws"))
    mean["null_p"] = (1 + (null >= mean[["value_bits"]].to_numpy() - 1e-6).sum(1)) / (1 + null.shape[1])
    mean[["ci_low", "ci_high"]] = np.quantile(draws, (0.025, 0.975), axis=1).T
    return _above_chance(mean)


def _above_chance(atoms: pd.DataFrame) -> pd.DataFrame:
    """Synergy less the mean of its null, with its interval moved along; missing where that leaves nothing, or was missing."""
    columns = ["corrected_bits", "ci_low", "ci_high"]
    atoms, synergy = atoms.astype(dict.fromkeys(columns, float)), atoms["atom"] == "synergy"
    above = atoms["value_bits"] - atoms["null_mean"]
    atoms.loc[synergy, columns] = atoms[columns].add(above - atoms["corrected_bits"], axis=0)
    atoms.loc[synergy & (above <= 1e-6), columns] = np.nan  # the solver's tolerance
    return atoms


def stamps_table(preset: Preset, features: Features | None = None) -> pd.DataFrame:
    """Atoms of `CASES` by both kinds of labels, for the pairs as they are and for two controls; `STAMPS` of `pidlib.schemas`.

    ``pairing`` says whose features meet: ``matched``; ``mismatched``, the first source is another picture's; ``shuffled``, the target's
    values are dealt out anew. Of the target ``match`` half of the pairs are mismatched, and which half is what is asked.
    """
    fitted, applied = split(features or load(), preset.seed)
    coded = codes(fitted, applied, preset.n_clusters, preset.seed)
    given = quantise(fitted.sources["language"], applied.sources["language"], GIVEN, preset.seed, allow_degenerate=True)
    options = {"n_permutations": preset.n_permutations, "n_bootstrap": preset.n_bootstrap, "seed": preset.seed}
    rows = []
    for target in TARGETS:
        read = probe(fitted, applied, TARGETS[target])
        for kind, labels in (("codes", coded), ("probe", read)):
            for first, second, condition in CASES[target]:
                for pairing, x1, y in _pairings(labels[first], applied, target, preset.seed):
                    found = decompose(x1, labels[second], y, given if condition else None, sources=(first, second), **options)
                    told = {"source_a": first, "source_b": second, "given": condition or None, "pairing": pairing, "unimodal": kind}
                    told |= {"n_codes": len(np.unique(x1)), "target_bits": float(plug_in(np.unique(y, return_counts=True)[1]))}
                    rows.append(found.assign(benchmark=f"stamps/{target}", **told))
    shared = {"experiment": "omni", "split": "test", "estimator": "exact", "seed": preset.seed, "fingerprint": _fingerprint(preset)}
    return results.tidy(pd.concat(rows, ignore_index=True).assign(**shared), schemas.STAMPS)


def _pairings(x1: np.ndarray, applied: Observations, target: str, seed: int) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    generator = np.random.default_rng(derive_seed("stamps, pairings", seed))
    order = generator.permutation(len(x1))
    if target == "match":
        apart = order[::2]
        y = np.isin(np.arange(len(x1)), apart, invert=True)
        x1 = _moved(x1, apart)
    else:
        y = applied.targets[target]
        yield "mismatched", _moved(x1, order), y
    yield "matched", x1, y
    yield "shuffled", x1, generator.permutation(y)


def _moved(labels: np.ndarray, places: Int[np.ndarray, " m"]) -> np.ndarray:
    """Labels that went one place on along the places given; nobody keeps their own."""
    moved = labels.copy()
    moved[places] = labels[np.roll(places, 1)]
    return moved


def probes_table(preset: Preset, features: Features | None = None) -> pd.DataFrame:
    """How well each source tells each target, read linearly and by codes; `PROBED` of `pidlib.schemas`.

    Information is that of the labels with the target, by the entropies of Miller and Madow; the interval of the accuracy is Wilson's.
    """
    fitted, applied = split(features or load(), preset.seed)
    coded, rows = codes(fitted, applied, preset.n_clusters, preset.seed), []
    for target, y in applied.targets.items():
        counts = np.unique(y, return_counts=True)[1]
        known = {"benchmark": f"stamps/{target}", "prior": counts.max() / len(y), "target_bits": float(plug_in(counts))}
        for source, read in probe(fitted, applied, target).items():
            right = binomtest(int((read == y).sum()), len(y))
            ends = right.proportion_ci(method="wilson")
            told = {"source": source, "accuracy": right.statistic, "ci_low": ends.low, "ci_high": ends.high}
            rows.append(known | told | {"probe_bits": _information(read, y), "codes_bits": _information(coded[source], y)})
    shared = {"experiment": "omni", "split": "test", "n_codes": preset.n_clusters, "n_samples": len(applied.stamp_ids)}
    counted = {"n_fitted": len(np.unique(fitted.stamp_ids)), "seed": preset.seed, "fingerprint": _fingerprint(preset)}
    return results.tidy(pd.DataFrame(rows).assign(**shared, **counted), schemas.PROBED)


def _information(labels: np.ndarray, y: np.ndarray) -> float:
    pair = [np.unique(values, return_inverse=True)[1] for values in (labels, y)]
    counts = tabulate(pair[0][None], np.zeros_like(pair[0])[None], pair[1][None], (pair[0].max() + 1, 1, pair[1].max() + 1))
    return float(joint_information(counts, miller_madow)[0])


def _fingerprint(preset: Preset) -> str:
    manifest = (FOLDER / "manifest.json").read_text(encoding="utf-8")
    turned = preset.model_dump(mode="json", include={"seed", "n_clusters", "n_permutations", "n_bootstrap"})
    return fingerprint(what="stamps", synergy="less its null", features=json.loads(manifest)["files"], **turned)
