"""Laws of known atoms on which estimates are tried, and samples of them."""

import numpy as np


def sampled_laws(k: int) -> dict[str, np.ndarray]:
    """Joints [x1, x2, y] of k values each on which estimates are tried; `pid` has their atoms."""
    informs, chance = 0.6 * np.eye(k) + 0.4 / k, np.full(k, 1 / k)
    first, second = np.random.default_rng(11).normal(size=(2, k, k)) * 1.5
    evidence = np.exp(first[:, None] + second)
    x1, x2 = np.indices((k, k))
    return {
        "additive evidence": evidence / evidence.sum(2, keepdims=True) / k**2,
        "noisy sum": (0.7 * np.eye(k) + 0.3 / k)[(x1 + x2) % k] / k**2,
        "same noisy channel": np.einsum("yi,yj->ijy", informs, informs) / k,
        "one source alone": np.einsum("iy,j->ijy", informs, chance) / k,
        "minimum": np.eye(k)[np.minimum(x1, x2)] / k**2,
    }


def sample_law(law: np.ndarray, n: int, seed: int) -> tuple[np.ndarray, ...]:
    """Codes of X1, X2 and Y of n independent samples of a joint."""
    cells = np.random.default_rng(seed).choice(law.size, size=n, p=law.ravel() / law.sum())
    return np.unravel_index(cells, law.shape)
