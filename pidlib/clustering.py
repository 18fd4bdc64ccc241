"""Codes of pooled embeddings: the alphabets of representation-level PID."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA
from sklearn.metrics import pairwise_distances_argmin

#: A partition with a larger share of the samples in one cluster than this says nearly nothing about them.
COLLAPSED = 0.95


@dataclass(frozen=True, eq=False)
class Codebook:
    r"""A quantiser x -> code, fitted on one part of a data set and applied to others.

    Embeddings are scaled to unit length, projected on their leading principal components and given the number of the
    nearest k-means centroid,

    .. math:: c(x) = \arg\min_j \lVert W (x / \lVert x \rVert - m) - z_j \rVert .

    `Codebook.fit` makes one; everything it learned is in the three arrays, so equal arrays give equal codes.

    Examples
    --------
    >>> angles = np.repeat([0.1, 1.5, 3.0], 20) + np.random.default_rng(0).normal(0, 0.05, 60)
    >>> book = Codebook.fit(np.stack([np.cos(angles), np.sin(angles)], axis=1), n_clusters=3, n_components=2, seed=0)
    >>> np.bincount(book.codes).tolist(), len(book)
    ([20, 20, 20], 3)
    """

    mean: Float[np.ndarray, " d"]
    components: Float[np.ndarray, "c d"]
    centroids: Float[np.ndarray, "k c"]
    codes: Int[np.ndarray, " n"]

    @classmethod
    def fit(
        cls,
        embeddings: Float[np.ndarray, "n d"],
        n_clusters: int,
        n_components: int = 10,
        seed: int = 0,
        sample_ids: Sequence[str] | None = None,
        allow_degenerate: bool = False,
    ) -> "Codebook":
        """Learn a codebook; its `codes` are those of the embeddings it was fitted on, in their order.

        Parameters
        ----------
        embeddings
            One row for each sample, shape [n, d].
        n_clusters, n_components
            Size of the alphabet; dimensions kept before clustering.
        seed
            Of the randomised decomposition and the ten starts of k-means.
        sample_ids
            Names for error messages; row numbers when left out.
        allow_degenerate
            Accept empty clusters, and one cluster with over 95 % of the samples. The solver is safe with both.

        Raises
        ------
        ValueError
            If embeddings are not finite or zero (the samples are named), if more clusters or components are asked than
            the data can have, or if clusters are empty or collapsed.
        """
        unit = _unit(embeddings, sample_ids)
        most = {"n_clusters": len(unit), "n_components": min(unit.shape)}
        for name, asked in {"n_clusters": n_clusters, "n_components": n_components}.items():
            if not 1 <= asked <= most[name]:
                raise ValueError(f"{name}={asked} asked of embeddings {unit.shape}: choose 1 to {most[name]}")
        pca = PCA(n_components, random_state=seed).fit(unit)
        points = (unit - pca.mean_) @ pca.components_.T
        # k-means would gladly divide rounding noise; float32 leaves a variance of about 1e-14 among equal vectors.
        if unit.var(0).sum() < 1e-12 and not allow_degenerate:
            raise ValueError(f"all {len(unit)} embeddings are equal up to rounding, so the codes would be noise; {_REMEDY}")
        centroids = KMeans(n_clusters, n_init=10, random_state=seed).fit(points).cluster_centers_
        return cls(pca.mean_, pca.components_, centroids, _nearest(points, centroids, allow_degenerate))

    def __len__(self) -> int:
        return len(self.centroids)

    def apply(
        self, embeddings: Float[np.ndarray, "n d"], sample_ids: Sequence[str] | None = None, allow_degenerate: bool = False
    ) -> Int[np.ndarray, " n"]:
        """Codes of other embeddings of the same width, in their order; refuses what `fit` refuses."""
        unit = _unit(embeddings, sample_ids)
        if unit.shape[1] != len(self.mean):
            raise ValueError(f"the codebook was fitted on width {len(self.mean)}; these embeddings have {unit.shape[1]}")
        return _nearest((unit - self.mean) @ self.components.T, self.centroids, allow_degenerate)


_REMEDY = "ask fewer clusters, give more samples, or pass allow_degenerate=True"


def _unit(embeddings: Float[np.ndarray, "n d"], sample_ids: Sequence[str] | None) -> Float[np.ndarray, "n d"]:
    x = np.asarray(embeddings, dtype=np.float64)
    if x.ndim != 2 or 0 in x.shape:
        raise ValueError(f"embeddings must be [samples, width] and not empty; got shape {x.shape}")
    names = np.arange(len(x)) if sample_ids is None else np.asarray(sample_ids)
    if len(names) != len(x):
        raise ValueError(f"{len(names)} sample ids for {len(x)} embeddings: give one each")
    norm = np.linalg.norm(x, axis=1)
    wrong = ~(np.isfinite(norm) & (norm > 0))
    if wrong.any():
        listed = ", ".join(map(str, names[wrong][:10]))
        raise ValueError(f"embeddings of {wrong.sum()} samples are not finite or zero: {listed}; extract these again or drop them")
    return x / norm[:, None]


def _nearest(points: Float[np.ndarray, "n c"], centroids: Float[np.ndarray, "k c"], allow_degenerate: bool) -> Int[np.ndarray, " n"]:
    codes = pairwise_distances_argmin(points, centroids)
    share = np.bincount(codes, minlength=len(centroids)) / len(codes)
    if not allow_degenerate and (empty := np.flatnonzero(share == 0)).size:
        raise ValueError(f"{empty.size} of {len(centroids)} clusters are empty: {', '.join(map(str, empty[:10]))}; {_REMEDY}")
    if not allow_degenerate and share.max() > COLLAPSED and len(centroids) > 1:
        raise ValueError(f"cluster {share.argmax()} holds {share.max():.1%} of the samples, so the codes have collapsed; {_REMEDY}")
    return codes
