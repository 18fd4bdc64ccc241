"""Extractions whose atoms arise in known blocks."""

import numpy as np

from pidlib.extraction import Extraction
from pidlib.extraction.masking import drawn
from pidlib.sensory import PASSES

DRAWS = drawn(tuple(PASSES.values()), 2)  # of the noise: passes with equal decisions
SETTINGS = {"tau": 0.0, "n_bootstrap": 10, "seed": 0}


def content(n, seed=0):
    """Bits shown and sounding, every pair equally often."""
    return np.random.default_rng(seed).permutation(np.arange(n) % 4) // np.array([[2], [1]]) % 2


def answering(rules, n=64):
    """A model with the decisions ``rules[b]``, functions (v, a) -> {pass: p(yes)}, at block b.

    Its output is that of the last block.
    """
    v, a = content(n)
    lens = {key: np.empty((n, len(rules), 2)) for key in DRAWS}
    for layer, rule in enumerate(rules):
        yes = dict.fromkeys(PASSES.values(), np.full(n, 0.5)) | rule(v, a)
        for key in DRAWS:
            p = yes[key.partition("#")[0]]
            lens[key][:, layer] = np.log(np.clip(np.stack([p, 1 - p], 1), 1e-9, None))
    return Extraction(
        sample_ids=tuple(f"s{i}" for i in range(n)),
        answers=tuple("y" if bit else "n" for bit in v),
        candidates=("y", "n"),
        logits={key: values[:, -1] for key, values in lens.items()},
        log_normalizer={key: np.zeros(n) for key in DRAWS},
        embeddings={name: np.zeros((n, 1)) for name in ("vision", "audio", "language")},
        layers=tuple(range(len(rules))),
        hidden=None,
        lens_logits=lens,
        lens_log_normalizer={key: np.zeros((n, len(rules))) for key in DRAWS},
        pairs=None,
        templates=("t",) * n,
        questions=("q",) * n,
    )


def nothing(v, a):
    return {}


def sight(v, a):
    return {key: v.astype(float) for key in ("vision+audio+language", "vision+language")}


def xor(v, a):
    return {"vision+audio+language": (v ^ a).astype(float)}
