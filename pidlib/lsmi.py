r"""LSMI: atoms of single samples by pointwise informations, after Yang, Wang and Hu (2025); no coupling is sought.

At a sample and an answer y, with :math:`i_m = \log_2 p(y | x_m) / P(y)` and the surprisals :math:`h_m = -\log_2 p(x_m)` of both inputs,

.. math:: r = \min(h_1, h_2) - \min(h_1 - i_1, h_2 - i_2), \quad u_m = i_m - r, \quad s = i_{12} - i_1 - i_2 + r,

redundancy being what two lattices, of h and of h given y, each call shared. Everything hangs on surprisals of continuous inputs, which only
compare if both have one scale: where one source is far less surprising than the other its whole information is redundant.

The definition, the mixture of five Gaussian kernels for the densities, and the last step are those of the paper's public code. That step
moves all samples by one number, r and s up as the u go down, so that the mean r and s are not negative or, if they were not, the mean u; in
the second case r can end below zero, and does where one source alone misleads. The rest is our reconstruction, since the paper has other
inputs and labels: the target is the model's own answer, so that terms are averaged over y by p(y | v, t); p(y | x_m) are its masked
answers, which are not moved to one P(Y) as the solver's are, so that the mean i_m is no information; P(Y) is the mean of the joint
answers and not uniform (which concerns r alone); both inputs are whitened on as many principal components, and the
kernels are fitted by expectation maximisation.

References
----------
Yang, Wang, Hu, Efficient Quantification of Multimodal Interaction at Sample Level, ICML 2025, arXiv 2506.17248.
Pichler et al., A Differential Entropy Estimator for Training Neural Networks, ICML 2022 (the kernels).
Finn, Lizier, Pointwise Partial Information Decomposition Using the Specificity and Ambiguity Lattices, Entropy 2018.
"""

import math
from collections.abc import Mapping

import numpy as np
from jaxtyping import Float
from sklearn.mixture import GaussianMixture

from pidlib.decisions import Decisions
from pidlib.experiment import derive_seed

KERNELS, COMPONENTS = 5, 10
LEAST_VARIANCE = math.exp(-2)  # of a kernel in any direction; of the released ones along an axis, before they are sheared
LEAST_PROBABILITY = 1e-6  # of an answer: a source that rules out what the model answers misleads by 20 bits at most


def lsmi(
    decisions: Decisions, embeddings: Mapping[str, Float[np.ndarray, "rows d"]] | None = None, seed: int = 0
) -> dict[str, Float[np.ndarray, " rows"]]:
    """Each atom's value at each row of masked decisions, in bits, by name; the weighted mean of all is the estimate of the atom.

    Parameters
    ----------
    decisions
        Rows p(y | v, t), p(y | v) and p(y | t) with their weights.
    embeddings
        The inputs x of each source, [rows, d] by name, for their surprisals. The source rows when left out.
    seed
        Of the kernels' first places.

    Raises
    ------
    ValueError
        If the embeddings do not fit the decisions, or a source never varies, so that it has no density.
    """
    given = decisions.sources if embeddings is None else embeddings
    if set(given) != set(decisions.sources) or any(np.shape(x)[:1] != (len(decisions),) for x in given.values()):
        told = ", ".join(f"{name} {np.shape(x)}" for name, x in given.items())
        raise ValueError(f"embeddings {told}: give [{len(decisions)}, d] for each of {', '.join(decisions.sources)}")
    first, second = decisions.sources
    h1, h2 = (h[:, None] for h in surprisals(*(np.asarray(given[name], dtype=np.float64) for name in (first, second)), seed=seed))
    i1, i2, i12 = (
        np.log2(np.maximum(rows, LEAST_PROBABILITY) / np.maximum(decisions.target, LEAST_PROBABILITY))
        for rows in (*decisions.sources.values(), decisions.joint)
    )
    pointwise = np.minimum(h1, h2) - np.minimum(h1 - i1, h2 - i2)
    r, i1, i2, i12 = ((decisions.joint * terms).sum(1) for terms in (pointwise, i1, i2, i12))
    u1, u2, s = i1 - r, i2 - r, i12 - i1 - i2 + r
    mean_r, mean_u1, mean_u2, mean_s = (decisions.weights @ terms for terms in (r, u1, u2, s))
    shift = -min(mean_r, mean_s) if min(mean_r, mean_s) < 0 else min(mean_u1, mean_u2, 0.0)
    return {"redundancy": r + shift, f"unique_{first}": u1 - shift, f"unique_{second}": u2 - shift, "synergy": s + shift}


def surprisals(*inputs: Float[np.ndarray, "rows d"], seed: int = 0) -> list[Float[np.ndarray, " rows"]]:
    """-log2 of the density of each row of each input, all whitened to as many components, by mixtures of Gaussian kernels."""
    axes = [_principal(x) for x in inputs]
    n = min(COMPONENTS, *(axis.shape[1] for axis in axes))
    if n == 0:
        raise ValueError(f"inputs of shapes {[x.shape for x in inputs]}: one never varies, so it has no density; give another estimator")
    found = []
    for x in (axis[:, :n] for axis in axes):
        kernels = min(KERNELS, len(np.unique(x.round(6), axis=0)))
        mixture = GaussianMixture(kernels, reg_covar=LEAST_VARIANCE, random_state=derive_seed("lsmi", seed)).fit(x)
        found.append(-mixture.score_samples(x) / math.log(2))
    return found


def _principal(x: Float[np.ndarray, "rows d"]) -> Float[np.ndarray, "rows rank"]:
    """Its principal components, each with variance one, as many as are more than rounding."""
    u, scale, _ = np.linalg.svd(x - x.mean(0), full_matrices=False)
    return u[:, scale > 1e-6 * max(scale[0], np.abs(x).max())] * math.sqrt(len(x))
