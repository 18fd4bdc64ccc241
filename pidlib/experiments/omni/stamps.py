"""Features of the Tux Paint stamps, and the labels that sources are reduced to."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Float
from safetensors.numpy import load_file

from pidlib._common import derive_seed, project_root

FOLDER = project_root() / "data" / "stamps"
# Categories of things with at least 40 pictures each.
CATEGORIES = ("animals", "town", "food", "household", "seasonal", "vehicles", "clothes", "plants")
PARTS = ("pictures", "captions", "speech")
INVERSE_PENALTY = 0.01  # of the probes: there are more features than pictures


class Features(NamedTuple):
    """Encoded `pictures` and `captions` in the order of `stamps`, `speech` in that of `clips`."""

    stamps: pd.DataFrame
    clips: pd.DataFrame
    pictures: Float[np.ndarray, "n v"]
    captions: Float[np.ndarray, "n l"]
    speech: Float[np.ndarray, "m a"]


class Observations(NamedTuple):
    """Independent pictures, their captions, a clip each; ``category`` and language ``spoken``."""

    stamp_ids: np.ndarray
    sources: Mapping[str, Float[np.ndarray, "n d"]]
    targets: Mapping[str, np.ndarray]


def load(folder: Path = FOLDER) -> Features:
    """Load the features; raises an error if there are none, or if a file has another hash."""
    manifest = folder / "manifest.json"
    if not manifest.exists():
        text = f"no features at {folder}; build them: python data/stamps/build_features.py SOURCE"
        raise FileNotFoundError(text)
    checksums = json.loads(manifest.read_text(encoding="utf-8"))["files"]
    for name, checksum in checksums.items():
        if hashlib.sha256((folder / name).read_bytes()).hexdigest() != checksum:
            raise ValueError(f"{folder / name} differs from the file that was built; restore it")
    arrays = {}
    for part in PARTS:
        shards = sorted(name for name in checksums if name.startswith(f"{part}-"))
        rows = np.concatenate([load_file(folder / name)[part] for name in shards])
        arrays[part] = rows.astype(np.float32)
    options = {"dtype": {"spoken": "string"}, "keep_default_na": False}
    stamps, clips = (pd.read_csv(folder / f"{name}.csv", **options) for name in ("stamps", "clips"))
    return Features(stamps, clips, **arrays)


def split(features: Features, seed: int = 0) -> tuple[Observations, Observations]:
    """Observations to fit labels on, with every clip of a picture, and to measure, with one clip.

    Pictures are those of `CATEGORIES` with a clip in every language. The hash of a caption decides
    the part, so the parts share neither pictures nor captions; `seed` assigns languages evenly.
    """
    clips = features.clips.reset_index(names="row")
    clips = clips.pivot(index="stamp_id", columns="spoken", values="row").dropna()
    stamps = features.stamps.reset_index(names="row").set_index("stamp_id")
    stamps = stamps[stamps["category"].isin(CATEGORIES) & stamps.index.isin(clips.index)]
    clips = clips.loc[stamps.index].astype(int)
    digests = stamps["caption"].map(lambda text: hashlib.sha256(text.encode()).digest())
    in_first = digests.str[0].to_numpy() % 2 == 0
    first, second = clips[in_first].to_numpy(), clips[~in_first].to_numpy()
    generator = np.random.default_rng(derive_seed("stamps, languages", seed))
    languages = generator.permutation(np.arange(len(second)) % second.shape[1])
    repeated = stamps.loc[np.repeat(stamps.index[in_first], first.shape[1])]
    chosen = second[np.arange(len(second)), languages]
    parts = []
    for part, clips in ((repeated, first.ravel()), (stamps[~in_first], chosen)):
        rows, spoken = part["row"].to_numpy(), features.clips["spoken"].to_numpy(str)[clips]
        sources = {"vision": features.pictures[rows], "language": features.captions[rows]}
        sources["audio"] = features.speech[clips]
        targets = {"category": part["category"].to_numpy(str), "spoken": spoken}
        parts.append(Observations(part.index.to_numpy(str), sources, targets))
    return tuple(parts)


def probe(fitted: Observations, applied: Observations, target: str) -> dict[str, np.ndarray]:
    """The target as predicted from each source by logistic regression on the other pictures."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    y = fitted.targets[target]
    _, once = np.unique(np.stack([fitted.stamp_ids, y]), axis=1, return_index=True)
    predicted = {}
    for name, rows in fitted.sources.items():
        kept = slice(None) if name == "audio" else once  # the others repeat with every clip
        regression = LogisticRegression(C=INVERSE_PENALTY, max_iter=200)
        model = make_pipeline(StandardScaler(), regression).fit(rows[kept], y[kept])
        predicted[name] = model.predict(applied.sources[name])
    return predicted
