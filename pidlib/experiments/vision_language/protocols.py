"""Two protocols that estimate atoms from embeddings, and mixtures to test them on.

At the level of a data set, each sample is pooled to one observation of three codes. `released`
follows the code of Padegal Amit et al., arXiv 2511.19470: the positions of the token sequences of
one sample are the observations, and atoms are averaged over samples. A sequence no longer than the
number of codes has a code for each position: R is log2 L bits and all else zero.
"""

import warnings
from collections.abc import Mapping, Sequence
from itertools import product

import numpy as np
import pandas as pd
from jaxtyping import Float, Int

from pidlib._common import derive_seed, fingerprint
from pidlib.decomposition import PID, pid
from pidlib.decomposition.codes import quantize
from pidlib.decomposition.entropies import tabulate
from pidlib.decomposition.estimate import estimate
from pidlib.experiments import Preset
from pidlib.experiments.decision_profiles import ESTIMATION, N_DRAWS, gaussian_rows
from pidlib.experiments.statistics import permutation_p
from pidlib.experiments.tables import ATOMS, Columns, declare, validate

VARIABLES = ("vision", "language", "hidden")
RELEASED_CODES = RELEASED_COMPONENTS = 10
N_PERMUTATIONS = 19  # the smallest possible p-value is 0.05
TOLERANCE = 1e-3  # bits, certified; the published iteration stops within it of the same limit
LEVEL = 0.05  # of significance
WIDTH, POSITIONS = 4, 16  # of the vectors and of the sequences of mixtures
EQUAL, LONGER = "released, equal lengths", "released, longer picture"
POOLED, COVARIANCE = "dataset level", "dataset level, covariance"
PATCHES = {EQUAL: 1, LONGER: 4}  # vision tokens per language token

Tokens = Mapping[str, Sequence[Float[np.ndarray, "positions d"]]]
COLUMNS = declare("protocol", ATOMS, "n_observations source grade", required="protocol")

#: The order of atoms that a mixture must show, and the weight of vision; None is a product.
MIXTURES = {"vision": ("vision", 1), "0.8 vision + 0.2 language": ("more vision", 0.8)}
MIXTURES |= {"0.6 vision + 0.4 language": ("more vision", 0.6), "sum": ("both", 0.5)}
MIXTURES |= {f"{v} vision + {1 - v} language": ("more language", v) for v in (0.4, 0.2)}
MIXTURES |= {"language": ("language", 0), "product": ("synergy", None)}


def mixed(
    mixture: str, n: int, positions: int = POSITIONS, patches: int = 1, seed: int = 0
) -> Tokens:
    """Sequences of n samples whose target is the mixture of both sources at every position.

    A vector is the sum of a part of its sample and one of its position, for either protocol to
    find. Vision and target have `patches` tokens per token of language.
    """
    generator = np.random.default_rng(derive_seed(seed, "mixture", mixture, n, positions, patches))
    normal, lengths = generator.normal, (positions * patches, positions)
    vision, language = (normal(size=(n, 1, WIDTH)) + normal(size=(n, k, WIDTH)) for k in lengths)
    (_, weight), repeated = MIXTURES[mixture], np.repeat(language, patches, axis=1)
    target = vision * repeated if weight is None else weight * vision + (1 - weight) * repeated
    return {"vision": vision, "language": language, "hidden": target}


def mixture_rows(preset: Preset, mixture: str, n: int, n_clusters: int) -> pd.DataFrame:
    """Atoms of a mixture at the level of a data set of n samples and n more for the codebooks."""
    seeds = (derive_seed(preset.seed, part) for part in ("fitted", "applied"))
    parts = [mixed(mixture, n, seed=seed) for seed in seeds]
    pooled = ([np.mean(part[name], axis=1) for part in parts] for name in VARIABLES)
    options = {"n_clusters": n_clusters, "seed": preset.seed, "allow_degenerate": True}
    codes = [quantize(*pair, **options) for pair in pooled]
    with warnings.catch_warnings(action="ignore", category=UserWarning):  # on too few samples
        rows = pd.DataFrame(estimate(*codes, **preset.model_dump(include=ESTIMATION)).rows())
    return rows.assign(protocol=POOLED, benchmark=mixture, n_codes=n_clusters, n_observations=n)


def covariance_rows(preset: Preset, mixture: str, n: int) -> pd.DataFrame:
    """Atoms of the same n samples by their covariance, without codes."""
    samples = mixed(mixture, n, seed=derive_seed(preset.seed, "applied"))
    parts = [np.mean(samples[name], axis=1) for name in VARIABLES]
    rows = gaussian_rows(parts, preset.seed, min(N_DRAWS, preset.n_permutations))
    return rows.assign(protocol=COVARIANCE, benchmark=mixture, n_observations=n)


def released(
    tokens: Tokens, n_clusters: int = RELEASED_CODES, n_bootstrap: int = 200, seed: int = 0
) -> pd.DataFrame:
    """Mean atoms over samples by the released procedure, with the null of permuted positions.

    The sequences ``[positions, d]`` of a sample are shortened, scaled to unit length, projected on
    principal components and clustered; position i of the three label lists is one observation. Our
    choice: the target is shortened too, and each list has its own seed. The corrected value, with
    its interval, is the value minus the mean of its null; ``n_observations`` is the mean length.
    """
    samples = enumerate(zip(*shorten(tokens, seed).values(), strict=True))
    codes = [position_codes(s, n_clusters, derive_seed(seed, "positions", i)) for i, s in samples]
    generator = np.random.default_rng(derive_seed(seed, "released"))
    nulls = [[generator.permuted(each, axis=1) for each in codes] for _ in range(N_PERMUTATIONS)]
    measured, *permuted = (_solve(labels, n_clusters) for labels in (codes, *nulls))
    draws = generator.integers(len(codes), size=(n_bootstrap, len(codes)))
    rows = []
    for atom, values in measured.atoms.items():
        null = np.stack([solved.atoms[atom] for solved in permuted])
        corrected = values - null.mean(0)
        low, high = np.quantile(corrected[draws].mean(1), (0.025, 0.975))
        p = permutation_p(values.mean(), null.mean(1), TOLERANCE)
        row = {"atom": atom, "value_bits": values.mean(), "corrected_bits": corrected.mean()}
        rows.append(row | {"ci_low": low, "ci_high": high, "null_mean": null.mean(), "null_p": p})
    shared = {"n_samples": len(codes), "n_codes": n_clusters}
    shared["n_observations"] = np.mean([labels.shape[1] for labels in codes])
    shared["converged"] = all(solved.converged.all() for solved in (measured, *permuted))
    return pd.DataFrame(rows).assign(**shared)


def shorten(tokens: Tokens, seed: int = 0) -> dict[str, list[Float[np.ndarray, "L d"]]]:
    """Replace sequences longer than the shorter source by as many k-means centroids as it has."""
    shorter = {name: list(tokens[name]) for name in VARIABLES}
    lengths = [min(map(len, pair)) for pair in zip(*map(tokens.get, VARIABLES[:2]), strict=True)]
    for name, (index, length) in product(VARIABLES, enumerate(lengths)):
        if len(shorter[name][index]) > length:
            own_seed = derive_seed(seed, "shorten", name, index)
            shorter[name][index], _ = _kmeans(shorter[name][index], length, 1, own_seed)
    return shorter


def position_codes(
    sequences: Sequence[Float[np.ndarray, "L d"]], n_clusters: int = RELEASED_CODES, seed: int = 0
) -> Int[np.ndarray, "3 L"]:
    """The three label lists of one sample, each clustered by itself."""
    from sklearn.decomposition import PCA
    from sklearn.preprocessing import normalize

    codes = []
    for name, sequence in zip(VARIABLES, sequences, strict=True):
        unit, own_seed = normalize(sequence), derive_seed(seed, name)
        projection = PCA(min(RELEASED_COMPONENTS, *unit.shape), random_state=own_seed)
        points = projection.fit_transform(unit)
        codes.append(_kmeans(points, min(n_clusters, len(unit)), 10, own_seed)[1])
    return np.stack(codes)


def _kmeans(points: np.ndarray, n_clusters: int, n_init: int, seed: int) -> tuple[np.ndarray, ...]:
    """Centroids and labels; equal tokens give fewer, which the released code accepts too."""
    from sklearn.cluster import k_means
    from sklearn.exceptions import ConvergenceWarning

    with warnings.catch_warnings(action="ignore", category=ConvergenceWarning):
        return k_means(points, n_clusters, n_init=n_init, random_state=seed)[:2]


def _solve(codes: Sequence[Int[np.ndarray, "3 L"]], n_clusters: int) -> PID:
    """A batch of decompositions, one per sample."""
    tables = [tabulate(*labels[:, None], (n_clusters,) * 3) for labels in codes]
    return pid(np.concatenate(tables), tol=TOLERANCE)


def finished(
    preset: Preset, tables: list[pd.DataFrame], settings: set[str], columns: Columns
) -> pd.DataFrame:
    """Join tables, add shared columns and missing fingerprints (of the settings), and validate."""
    own = fingerprint(**preset.model_dump(include=settings))
    missing = {"fingerprint": own, "estimator": "exact"}
    tables = [rows.assign(**{k: v for k, v in missing.items() if k not in rows}) for rows in tables]
    shared = {"experiment": "vision_language", "source_a": "vision", "source_b": "language"}
    return validate(pd.concat(tables).assign(**shared, seed=preset.seed), columns)
