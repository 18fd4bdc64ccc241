r"""Two ways to make atoms of embeddings: one observation a sample over a data set, or, as published code has it, one PID a sample.

`dataset_level` pools each sample to one observation of three codes, with codebooks of other samples; `pidlib.uncertainty` tells what of its
atoms is chance. `released` makes the positions of a single sample's token sequences its observations and averages the atoms over
samples. A sequence has few positions, as a rule fewer than the histogram has rows, so that most of what it finds is there in any three
lists of labels. It stands here next to that: its own null, where the positions of each list are shuffled independently.

Where a sequence is no longer than the codes asked for, each position gets a code of its own, and the three lists are one-to-one: R is
log2 L bits and the other atoms are zero, whatever the tokens were.

References
----------
Padegal Amit, Kashyap, Rayasam, Shekhar, Narayan, Quantifying Modality Contributions via Disentangling Multimodal Representations,
arXiv 2511.19470, and the code released with it.
"""

import warnings
from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float, Int
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA
from sklearn.exceptions import ConvergenceWarning
from sklearn.preprocessing import normalize

from pidlib.decomposition import PID, pid
from pidlib.experiment import derive_seed
from pidlib.profiles import quantise
from pidlib.uncertainty import Estimate, estimate

VARIABLES = ("vision", "language", "hidden")
Tokens = Mapping[str, Sequence[Float[np.ndarray, "positions d"]]]
RELEASED_CODES = RELEASED_COMPONENTS = 10
SHUFFLES = 19  # so that the least p-value is 0.05
GAP = 1e-3  # bits, certified; the published iteration stops within it of the same limit


def released(
    tokens: Tokens,
    *,
    n_clusters: int = RELEASED_CODES,
    n_permutations: int = SHUFFLES,
    n_bootstrap: int = 200,
    level: float = 0.95,
    seed: int = 0,
) -> list[dict[str, object]]:
    """Atoms by the released procedure, the mean over samples, beside those of shuffled positions; in bits, where the published are nats.

    Of each sample: all sequences are shortened to the length L of the shorter source, by k-means centroids; scaled to unit length,
    projected on principal components, clustered; position i of the three label lists is one observation. That the target is shortened
    like the sources, and that each list has a seed of its own, so that no order of centroids is shared, is our reading.

    Parameters
    ----------
    tokens
        For ``vision``, ``language`` and ``hidden`` a sequence ``[positions, d]`` of each sample; see ``Extraction.tokens``.
    n_clusters
        Codes of each list, at most L.
    n_permutations, n_bootstrap, level, seed
        Shuffles behind the null; resamples of samples behind the interval, and its level; where their randomness begins.

    Returns
    -------
    list of dict
        A row per atom as `Estimate.rows` gives them, and ``n_observations``, the mean of L. Corrected is the value less the null's mean;
        the interval is that of the corrected value.

    Raises
    ------
    ValueError
        If a variable is missing or the three differ in their number of samples.
    """
    counts = {name: len(tokens.get(name, ())) for name in VARIABLES}
    if len(set(counts.values())) != 1 or not counts["hidden"]:
        raise ValueError(f"asked for the released protocol on {counts} sequences; give one a sample of each of {', '.join(VARIABLES)}")
    samples = enumerate(zip(*shorten(tokens, seed).values(), strict=True))
    codes = [position_codes(one, n_clusters, derive_seed(seed, "positions", index)) for index, one in samples]
    generator = np.random.default_rng(derive_seed(seed, "released"))
    measured = _solve(codes, n_clusters)
    shuffled = [_solve([generator.permuted(one, axis=1) for one in codes], n_clusters) for _ in range(n_permutations)]
    draws = generator.integers(len(codes), size=(n_bootstrap, len(codes)))
    rows = []
    for atom, values in measured.atoms.items():
        null = np.stack([one.atoms[atom] for one in shuffled])
        gain = values - null.mean(0)
        low, high = np.quantile(gain[draws].mean(1), [(1 - level) / 2, (1 + level) / 2])
        reached = int((null.mean(1) >= values.mean() - GAP).sum())
        told = {"atom": atom, "value_bits": values.mean(), "corrected_bits": gain.mean(), "ci_low": low, "ci_high": high}
        told |= {"null_mean": null.mean(), "null_p": (1 + reached) / (1 + n_permutations), "n_samples": len(codes)}
        rows.append(told | {"converged": bool(measured.converged.all() and all(one.converged.all() for one in shuffled))})
    return [row | {"n_observations": np.mean([one.shape[1] for one in codes])} for row in rows]


def shorten(tokens: Tokens, seed: int = 0) -> dict[str, list[Float[np.ndarray, "L d"]]]:
    """The sequences of each sample as centroids, as many as its shorter source has positions; those of that length stay as they are."""
    lengths = [min(map(len, pair)) for pair in zip(tokens["vision"], tokens["language"], strict=True)]
    short: dict[str, list] = {name: [] for name in VARIABLES}
    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore", ConvergenceWarning
        )  # tokens that are equal make fewer centroids, as they would in the released code
        for name, index, length in ((name, index, length) for name in VARIABLES for index, length in enumerate(lengths)):
            sequence, own = tokens[name][index], derive_seed(seed, "shorten", name, index)
            longer = len(sequence) > length
            short[name].append(KMeans(length, n_init=1, random_state=own).fit(sequence).cluster_centers_ if longer else sequence)
    return short


def position_codes(
    sequences: Sequence[Float[np.ndarray, "L d"]], n_clusters: int = RELEASED_CODES, seed: int = 0
) -> Int[np.ndarray, "3 L"]:
    """The three label lists of one sample, each clustered by itself.

    >>> tokens = np.random.default_rng(0).normal(size=(3, 8, 4))
    >>> [len(set(labels)) for labels in position_codes(tokens).tolist()]
    [8, 8, 8]
    """
    codes = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        for name, sequence in zip(VARIABLES, sequences, strict=True):
            unit, own = normalize(sequence), derive_seed(seed, name)
            points = PCA(min(RELEASED_COMPONENTS, *unit.shape), random_state=own).fit_transform(unit)
            codes.append(KMeans(min(n_clusters, len(unit)), n_init=10, random_state=own).fit_predict(points))
    return np.stack(codes)


def dataset_level(
    fitted: Mapping[str, Float[np.ndarray, "m d"]],
    applied: Mapping[str, Float[np.ndarray, "n d"]],
    *,
    n_clusters: int,
    n_permutations: int = 200,
    n_bootstrap: int = 200,
    seed: int = 0,
    allow_degenerate: bool = False,
) -> Estimate:
    """Atoms of one observation a sample, with null, correction and interval.

    Parameters
    ----------
    fitted, applied
        ``vision``, ``language`` and ``hidden`` of disjoint samples, a vector each: for the codebooks, and to be measured.
    n_clusters
        Codes of each alphabet; keep its cube well below n.
    n_permutations, n_bootstrap, seed
        As `pidlib.uncertainty.estimate` takes them.
    allow_degenerate
        Accept clusters that no sample falls into; see `Codebook.fit`.
    """
    codes = (quantise(fitted[name], applied[name], n_clusters, seed, allow_degenerate=allow_degenerate) for name in VARIABLES)
    return estimate(*codes, n_permutations=n_permutations, n_bootstrap=n_bootstrap, seed=seed)


def _solve(codes: Sequence[Int[np.ndarray, "3 L"]], n_clusters: int) -> PID:
    """A batch of decompositions, one of each sample's histogram."""
    counts = np.zeros((len(codes), n_clusters, n_clusters, n_clusters))
    for table, labels in zip(counts, codes, strict=True):
        np.add.at(table, tuple(labels), 1)
    return pid(counts, tol=GAP)
