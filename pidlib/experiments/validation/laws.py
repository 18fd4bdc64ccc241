"""Laws of known atoms on which estimates and their intervals are tried, and samples of them."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Float, Int
from scipy.special import rel_entr, softmax
from scipy.stats import norm, qmc

from pidlib.decomposition import pid
from pidlib.decomposition.atoms import atoms
from pidlib.decomposition.decisions import Decisions
from pidlib.extraction import SOURCES

K, PARTNERS = 4, 32  # answers; questions for each picture where more differ
POINTS = 10  # quadrature points of a source whose inputs are all new, 2 to this power


@dataclass(frozen=True, eq=False)
class Answers:
    """Answers p(y | v, t) = softmax(v + t) to independent pictures and questions.

    `logits` [values, k] and `weights` [values] of both sources; of a source in `new`, whose inputs
    differ in all samples and are normal with deviation `scale`, the values are quadrature points.
    """

    logits: tuple[Float[np.ndarray, "values k"], ...]
    weights: tuple[Float[np.ndarray, " values"], ...]
    scale: float
    new: tuple[bool, bool] = (False, False)

    @cached_property
    def atoms(self) -> dict[str, float]:
        """The atoms of the law in bits; if both sources have one law, no information is unique."""
        (v, t), (pv, pt) = self.logits, self.weights
        joint = _softmax(v[:, None] + t)
        rows = [(pt[:, None] * joint).sum(1), np.einsum("v,vty->ty", pv, joint)]
        target = pv @ rows[0]
        i1, i2, i12 = (
            float((p * rel_entr(table, target).sum(-1)).sum() / np.log(2))
            for p, table in zip((pv, pt, np.outer(pv, pt)), (*rows, joint), strict=True)
        )
        iq = i1 if v is t else pid(np.outer(pv, pt)[..., None] * joint, SOURCES, tol=1e-5).upper
        return atoms(SOURCES, i1, i1 if v is t else i2, i12, iq)

    def draw(
        self, n: int, generator: np.random.Generator
    ) -> list[tuple[Int[np.ndarray, " n"], Float[np.ndarray, "n k"]]]:
        """The number of its value, and its logits, of each source in n independent samples."""
        drawn = []
        for logits, weights, new in zip(self.logits, self.weights, self.new, strict=True):
            if new:
                drawn.append((np.arange(n), self.scale * generator.normal(size=(n, K))))
            else:
                values = generator.choice(len(weights), n, p=weights)
                drawn.append((values, logits[values]))
        return drawn

    def masked(self, n: int, generator: np.random.Generator) -> Decisions:
        """Decisions with a row per sample; those of each source are exact means over the other."""
        (pictures, v), (questions, t) = self.draw(n, generator)
        rows, values = {}, dict(zip(SOURCES, (pictures, questions), strict=True))
        others = zip(SOURCES, (v, t), self.logits[::-1], self.weights[::-1], strict=True)
        for name, logits, other, weights in others:
            _, first, index = np.unique(values[name], return_index=True, return_inverse=True)
            answers = _softmax(logits[first][:, None] + other)
            rows[name] = np.einsum("ijy,j->iy", answers, weights)[index]
        return Decisions(_softmax(v + t), rows, values=values)

    def resampled(self, n: int, generator: np.random.Generator) -> Decisions:
        """Decisions of pairs: each picture with all questions, or `PARTNERS` random ones."""
        (pictures, v), (questions, t) = self.draw(n, generator)
        _, first, counts = np.unique(questions, return_index=True, return_counts=True)
        some = min(PARTNERS, len(first))
        columns = [generator.choice(len(first), some, replace=False) for _ in range(n)]
        rows, columns = np.repeat(np.arange(n), some), np.concatenate(columns)
        joint, weights = _softmax(v[rows] + t[first][columns]), counts[columns]
        return Decisions(
            joint,
            dict.fromkeys(SOURCES, joint),
            weights / weights.sum(),
            np.stack([rows, columns], 1),
            dict(zip(SOURCES, (pictures[rows], columns), strict=True)),
        )


def _softmax(logits: np.ndarray) -> np.ndarray:
    return softmax(logits, -1)


def answer_laws() -> dict[str, Answers]:
    """The laws of decisions by name."""
    generator = np.random.default_rng(3)
    v, t = generator.normal(size=(12, K)), generator.normal(size=(6, K))
    pv, pt = generator.dirichlet(np.full(12, 3.0)), generator.dirichlet(np.full(6, 3.0))
    points = {
        power: 2 * norm.ppf(qmc.Sobol(K, seed=0).random_base2(power))
        for power in (POINTS, POINTS + 2)
    }
    same, p = 2 * generator.normal(size=(8, K)), generator.dirichlet(np.full(8, 3.0))
    new, few = points[POINTS], points[POINTS + 2]
    even, many = np.full(len(new), 1 / len(new)), np.full(len(few), 1 / len(few))
    return {
        "finite, soft": Answers((2 * v, 2 * t), (pv, pt), 2),
        "finite, sharp": Answers((6 * v, 6 * t), (pv, pt), 6),
        "new pictures": Answers((few, 2 * t), (many, pt), 2, (True, False)),
        "same information": Answers((same, same), (p, p), 2),
        "all inputs new": Answers((new, new), (even, even), 2, (True, True)),
    }


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
