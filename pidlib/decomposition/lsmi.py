r"""LSMI: atoms of single samples from pointwise informations.

At a sample and an answer y, with :math:`i_m = \log_2 p(y | x_m) / P(y)` and the surprisals
:math:`h_m = -\log_2 p(x_m)` of both inputs,

.. math:: r = \min(h_1, h_2) - \min(h_1 - i_1, h_2 - i_2), \quad u_m = i_m - r,
          \quad s = i_{12} - i_1 - i_2 + r.

The definition, the five Gaussian kernels (Pichler et al., ICML 2022) and the shift (one number for
all samples, r and s up, u down, until the mean r and s, or else the mean u, are not negative) are
those of the code of Yang, Wang, Hu, ICML 2025, arXiv 2506.17248. Our reconstruction: terms are
averaged over y by p(y | v, t); p(y | x_m) are not reconciled; both inputs are whitened on equally
many principal components, the kernels fitted by expectation maximization.
"""

import math
from collections.abc import Mapping

import numpy as np
from jaxtyping import Float

from pidlib._common import derive_seed
from pidlib.decomposition.batch import inputs_of
from pidlib.decomposition.decisions import Decisions

KERNELS, COMPONENTS = 5, 10
LEAST_VARIANCE = math.exp(-2)  # of a kernel in any direction
LEAST_PROBABILITY = 1e-6  # of an answer: limits pointwise information to -20 bits


def lsmi(
    decisions: Decisions,
    embeddings: Mapping[str, Float[np.ndarray, "rows d"]] | None = None,
    seed: int = 0,
) -> dict[str, Float[np.ndarray, " rows"]]:
    """Return each atom at each row of masked decisions, in bits; weighted means are the estimates.

    `embeddings` are the inputs whose surprisals are used, [rows, d] by source; the source rows by
    default. `seed` is that of the initial kernels.
    """
    first, second = decisions.sources
    h1, h2 = (h[:, None] for h in surprisals(*inputs_of(decisions, embeddings), seed=seed))
    prior = np.maximum(decisions.target, LEAST_PROBABILITY)
    i1, i2, i12 = (
        np.log2(np.maximum(rows, LEAST_PROBABILITY) / prior)
        for rows in (*decisions.unimodal.values(), decisions.joint)
    )
    pointwise = np.minimum(h1, h2) - np.minimum(h1 - i1, h2 - i2)
    r, i1, i2, i12 = ((decisions.joint * terms).sum(1) for terms in (pointwise, i1, i2, i12))
    u1, u2, s = i1 - r, i2 - r, i12 - i1 - i2 + r
    mean_r, mean_u1, mean_u2, mean_s = (decisions.weights @ terms for terms in (r, u1, u2, s))
    lowest = min(mean_r, mean_s)
    shift = -lowest if lowest < 0 else min(mean_u1, mean_u2, 0.0)
    unique = {f"unique_{first}": u1 - shift, f"unique_{second}": u2 - shift}
    return {"redundancy": r + shift, **unique, "synergy": s + shift}


def surprisals(*inputs: np.ndarray, seed: int = 0) -> list[Float[np.ndarray, " rows"]]:
    """-log2 density of each row of whitened inputs [rows, d], by mixtures of Gaussian kernels."""
    from sklearn.mixture import GaussianMixture

    axes, result = [], []  # principal components with unit variance, as many as exceed rounding
    for x in inputs:
        u, scale, _ = np.linalg.svd(x - x.mean(0), full_matrices=False)
        axes.append(u[:, scale > 1e-6 * max(scale[0], np.abs(x).max())] * math.sqrt(len(x)))
    n = min(COMPONENTS, *(x.shape[1] for x in axes))
    if n == 0:
        shapes = [x.shape for x in inputs]
        raise ValueError(f"an input of shapes {shapes} is constant, so it has no density")
    options = {"reg_covar": LEAST_VARIANCE, "random_state": derive_seed("lsmi", seed)}
    for x in (axis[:, :n] for axis in axes):
        kernels = min(KERNELS, len(np.unique(x.round(6), axis=0)))
        mixture = GaussianMixture(kernels, **options).fit(x)
        result.append(-mixture.score_samples(x) / math.log(2))
    return result
