"""Extractions of models whose atoms are known: decisions by a rule on two bits."""

from collections.abc import Callable

import numpy as np

from pidlib.extraction import Extraction, Pairs
from pidlib.extraction.masking import drawn

N = 64


def extraction(rule: Callable, prefix: str = "a", noise: float = 0.0) -> Extraction:
    """N pictures v and questions t of one bit each; decisions ``rule(v, t)``.

    Decisions with an absent modality are noise of this standard deviation, in nats.
    """
    rng = np.random.default_rng(len(prefix))
    v, t = np.divmod(np.arange(N) % 4, 2)
    sure = np.log(np.array([[1 - 1e-9, 1e-9], [1e-9, 1 - 1e-9]]))
    logits = {"vision+language": sure[rule(v, t)]}
    for key in drawn(("vision", "language"), 4):
        logits[key] = np.log(0.5) + noise * rng.normal(size=(N, 2))
    logits = {key: values - np.logaddexp(*values.T)[:, None] for key, values in logits.items()}
    index = np.array([(i, j) for i in range(N) for j in (0, 1)])
    paired = sure[rule(v[index[:, 0]], t[index[:, 1]])]
    pairs = Pairs(index, np.full(2 * N, 0.5 / N), paired, np.zeros(2 * N))
    spread = 0.01 * rng.normal(size=(3, N, 4))
    places = np.stack([np.eye(4)[v], np.eye(4)[2 + t], np.eye(4)[rule(v, t)]]) + spread
    return Extraction(
        sample_ids=tuple(f"{prefix}/{i}" for i in range(N)),
        answers=tuple("yn"[i] for i in rule(v, t)),
        candidates=("y", "n"),
        logits=logits,
        log_normalizer={key: np.zeros(N) for key in logits},
        embeddings={"vision": places[0], "language": places[1]},
        layers=(3,),
        hidden=places[2][:, None],
        lens_logits={},
        lens_log_normalizer={},
        pairs=pairs,
    )


def xor(v, t):
    return v ^ t


def first(v, t):
    return v
