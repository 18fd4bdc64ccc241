r"""Conditional distributions by cross-fitted regression, p(y | x) of decisions on features."""

import numpy as np
from jaxtyping import Float
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, softmax

from pidlib._common import derive_seed

N_FOLDS, MAX_STEPS = 5, 500
MIN_WEIGHT = 1e-4  # probability below which an answer is no training example


def cross_fit(
    features: Float[np.ndarray, "n d"], decisions: Float[np.ndarray, "n k"], seed: int = 0
) -> Float[np.ndarray, "n k"]:
    r"""Regress decisions on features, and predict every sample from the other folds.

    Multinomial logistic regression with the probabilities as labels (standardized features,
    `N_FOLDS` folds). Overconfident predictions would count their errors as information, so they
    are tempered (Guo et al., ICML 2017): p(y | x) ~ P(y) (prediction / P(y))^b, with the b from 0
    to 2 of the largest likelihood of all held-out decisions. Features that do not predict the
    decisions so yield P(Y); what a linear predictor cannot read from them is missing.

    >>> x = np.repeat([[0.0], [1.0]], 20, axis=0)
    >>> cross_fit(x, np.repeat([[0.9, 0.1], [0.2, 0.8]], 20, axis=0))[[0, -1]].round(1).tolist()
    [[0.9, 0.1], [0.2, 0.8]]
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import KFold
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    n, k = decisions.shape
    if len(features) != n or n < 2 * N_FOLDS or not np.isfinite(features).all():
        given = f"features of shape {features.shape} for {n} decisions"
        raise ValueError(f"{given}; give {2 * N_FOLDS} or more, finite, a row for each decision")
    log_prior = np.log(np.maximum(decisions.mean(0), 1e-12))
    log_odds = np.zeros((n, k))  # of a prediction to the prior
    folds = KFold(N_FOLDS, shuffle=True, random_state=derive_seed("cross-fit", seed) % 2**32)
    for fitted, held_out in folds.split(features):
        index, answer = np.nonzero(decisions[fitted] > MIN_WEIGHT)
        if len(np.unique(answer)) < 2:
            continue
        model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=MAX_STEPS))
        x, weights = features[fitted].astype(np.float64)[index], decisions[fitted][index, answer]
        model.fit(x, answer, logisticregression__sample_weight=weights)
        rows = np.full((len(held_out), k), 1e-12)
        rows[:, model.classes_] = model.predict_proba(features[held_out])
        log_odds[held_out] = np.log(np.maximum(rows, 1e-12)) - log_prior

    def loss(power: float) -> float:
        return -(decisions * log_softmax(log_prior + power * log_odds, axis=1)).sum()

    power = minimize_scalar(loss, bounds=(0, 2), method="bounded").x
    return softmax(log_prior + power * log_odds, axis=1)
