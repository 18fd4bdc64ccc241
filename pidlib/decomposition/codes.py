"""Codes of pooled embeddings: the alphabets of representation-level PID."""

import numpy as np
from jaxtyping import Float, Int

from pidlib.decomposition.information import to_numpy

N_COMPONENTS = 10
COLLAPSED = 0.95  # largest share of the samples that one cluster may hold
_REMEDY = "use fewer clusters or more samples, or pass allow_degenerate=True"


def quantise(
    fitted: Float[np.ndarray, "m d"],
    applied: Float[np.ndarray, "n d"],
    n_clusters: int,
    seed: int = 0,
    *,
    allow_degenerate: bool = False,
) -> Int[np.ndarray, " n"]:
    r"""Codes of `applied` by a codebook that is fitted on other embeddings.

    Embeddings are scaled to unit length, projected on principal components W and assigned to the
    nearest k-means centroid, :math:`\arg\min_j \lVert W (x / \lVert x \rVert - m) - z_j \rVert`.
    If `fitted` has no more distinct vectors than clusters, each vector is a code.

    Raises ValueError if embeddings are masked, not finite or zero, or, without `allow_degenerate`,
    if clusters are empty or hold over 95 % of the samples of either part.

    >>> x = np.eye(12).repeat(5, axis=0)
    >>> np.bincount(quantise(x, x, n_clusters=12)).tolist() == [5] * 12
    True
    """
    fitted = to_numpy(fitted, "the embeddings")
    unit, other = _unit(fitted), _unit(applied)
    if n_clusters < 1:
        raise ValueError(f"n_clusters={n_clusters} for embeddings {unit.shape}: choose 1 or more")
    if unit.shape[1] != other.shape[1]:
        raise ValueError(
            f"the codebook has width {unit.shape[1]}; these embeddings {other.shape[1]}"
        )
    n_distinct = len(np.unique((fitted / np.abs(fitted).max()).round(5), axis=0))
    allow_degenerate = allow_degenerate or n_distinct <= n_clusters
    # float32 leaves a variance of about 1e-14 among equal vectors, which k-means would split
    if unit.var(0).sum() < 1e-12 and not allow_degenerate:
        raise ValueError(f"all {len(unit)} embeddings are equal up to rounding; {_REMEDY}")
    from sklearn.cluster import KMeans
    from sklearn.decomposition import PCA
    from sklearn.metrics import pairwise_distances_argmin

    pca = PCA(min(N_COMPONENTS, *unit.shape), random_state=seed).fit(unit)
    points, others = ((x - pca.mean_) @ pca.components_.T for x in (unit, other))
    kmeans = KMeans(min(n_clusters, n_distinct), n_init=10, random_state=seed).fit(points)
    for part in (points, others):
        codes = pairwise_distances_argmin(part, kmeans.cluster_centers_)
        if not allow_degenerate:
            _check_shares(np.bincount(codes, minlength=kmeans.n_clusters) / len(codes))
    return codes


def _unit(embeddings: Float[np.ndarray, "n d"]) -> Float[np.ndarray, "n d"]:
    x = to_numpy(embeddings, "the embeddings").astype(np.float64)
    if x.ndim != 2 or 0 in x.shape:
        raise ValueError(f"embeddings must be [samples, width], not empty; got shape {x.shape}")
    norm = np.linalg.norm(x, axis=1)
    wrong = np.flatnonzero(~(np.isfinite(norm) & (norm > 0)))
    if wrong.size:
        raise ValueError(
            f"embeddings of {wrong.size} samples are not finite or zero: rows "
            f"{', '.join(map(str, wrong[:10]))}; extract these again or drop them"
        )
    return x / norm[:, None]


def _check_shares(share: Float[np.ndarray, " k"]) -> None:
    empty = np.flatnonzero(share == 0)
    if empty.size:
        listed = ", ".join(map(str, empty[:10]))
        raise ValueError(f"{empty.size} of {len(share)} clusters are empty: {listed}; {_REMEDY}")
    if share.max() > COLLAPSED and len(share) > 1:
        raise ValueError(
            f"cluster {share.argmax()} holds {share.max():.1%} of the samples; {_REMEDY}"
        )
