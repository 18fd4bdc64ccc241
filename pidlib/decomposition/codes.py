"""Codes of pooled embeddings: the alphabets of representation-level PID."""

import numpy as np
from jaxtyping import Float, Int

from pidlib.decomposition.information import to_numpy

N_COMPONENTS = 10
COLLAPSED = 0.95  # largest share of the samples that one cluster may hold
_REMEDY = "use fewer clusters or more samples, or pass allow_degenerate=True"


def quantize(
    fitted: Float[np.ndarray, "m d"],
    applied: Float[np.ndarray, "n d"],
    n_clusters: int,
    seed: int = 0,
    *,
    allow_degenerate: bool = False,
) -> Int[np.ndarray, " n"]:
    """Codes of `applied` by a codebook that is fitted on other embeddings.

    Embeddings are scaled to unit length, projected on principal components and assigned to the
    nearest k-means centroid. If `fitted` has no more distinct vectors than clusters, each is a
    code. Raises ValueError if embeddings are masked, not finite or zero, or, without
    `allow_degenerate`, if clusters are empty or hold over 95 % of the samples of either part.

    >>> x = np.eye(12).repeat(5, axis=0)
    >>> np.bincount(quantize(x, x, n_clusters=12)).tolist() == [5] * 12
    True
    """
    fitted = to_numpy(fitted, "the embeddings")
    unit, other = _unit(fitted), _unit(applied)
    if unit.shape[1] != other.shape[1]:
        raise ValueError(f"the codebook has width {len(unit.T)}; these embeddings {len(other.T)}")
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
        share = np.bincount(codes, minlength=kmeans.n_clusters) / len(codes)
        empty = np.flatnonzero(share == 0).tolist()
        if empty and not allow_degenerate:
            raise ValueError(
                f"{len(empty)} of {len(share)} clusters are empty, {empty[:10]}; {_REMEDY}"
            )
        if share.max() > COLLAPSED and len(share) > 1 and not allow_degenerate:
            text = f"cluster {share.argmax()} holds {share.max():.1%} of the samples"
            raise ValueError(f"{text}; {_REMEDY}")
    return codes


def _unit(embeddings: Float[np.ndarray, "n d"]) -> Float[np.ndarray, "n d"]:
    x = to_numpy(embeddings, "the embeddings").astype(np.float64)
    if x.ndim != 2 or 0 in x.shape:
        raise ValueError(f"embeddings must be [samples, width], not empty; got shape {x.shape}")
    norm = np.linalg.norm(x, axis=1)
    if (wrong := np.flatnonzero(~(np.isfinite(norm) & (norm > 0)))).size:
        text = f"rows {', '.join(map(str, wrong[:10]))}; extract these again or drop them"
        raise ValueError(f"embeddings of {wrong.size} samples are not finite or zero: {text}")
    return x / norm[:, None]
