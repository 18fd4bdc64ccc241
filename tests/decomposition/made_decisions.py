"""Decisions of made-up models: masked, resampled and sharp ones."""

import numpy as np
from scipy.special import softmax

from pidlib.decomposition.decisions import Decisions


def masked(n=60, k=4, seed=0, scale=1.5, noise=0.25):
    """Decisions of a noisy model that adds both logits, with either modality masked."""
    v, t, other = np.random.default_rng(seed).normal(size=(3, n, k)) * scale
    sources = {"vision": softmax(v, axis=1), "language": softmax(t, axis=1)}
    return Decisions(softmax(v + t + noise * other, axis=1), sources)


def resampled(n=60, questions=8, k=4, seed=0, scale=1.5, *, both=False, uniform=False):
    """The same model on all pairs of a picture and a question, with means over the other side.

    The bootstrap resamples pictures, and with `both` also questions.
    """
    generator = np.random.default_rng(seed)
    v = generator.normal(size=(n, 1, k)) * scale
    t = generator.normal(size=(1, questions, k)) * scale
    w = generator.dirichlet(np.full(questions, 5.0))
    w = np.full(questions, 1 / questions) if uniform else w
    joint = softmax(v + t, axis=2).reshape(-1, k)
    picture, question = np.divmod(np.arange(n * questions), questions)
    return Decisions(
        joint,
        {"vision": joint, "language": joint},
        np.tile(w / n, n),
        np.stack([picture, question], axis=1) if both else picture,
        values={"vision": picture, "language": question},
    )


def sharp(n=96, k=4, gap=12.0, seed=0):
    """Near one-hot decisions, 95 % correct, 60 % with one modality; one-hot for an infinite gap."""
    generator = np.random.default_rng(seed)
    y = generator.integers(k, size=n)

    def answers(wrong):
        said = np.eye(k)[np.where(generator.random(n) < wrong, generator.integers(k, size=n), y)]
        noise = generator.normal(size=(0 if np.isinf(gap) else n, k))
        return softmax(gap * said + noise, axis=1) if len(noise) else said

    return Decisions(answers(0.05), {"vision": answers(0.4), "language": answers(0.4)})
